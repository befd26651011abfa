//! The API server goes while objects are created, and the operator is told to stop while it waits for an answer.

use std::time::{Duration, Instant};

use kube::{Api, ResourceExt as _, api::ListParams};
use mfa_operator::crd::MfaServer;
use mfa_sandbox::simulator::{Apply, Reply, Route};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::faults::{in_order, next_post, only_object, posts, wait_post};
use crate::harness::Cluster;
use crate::operator::{Log, OKTA_TOKEN, Stage, TOKEN, okta, okta_with, says};

/// How many resources are being created when the API server goes.
const COUNT: usize = 40;

/// Runs the real kubectl against a control plane that is not a stage's.
async fn kubectl(cluster: &Cluster, arguments: &[&str], stdin: &Value) -> String {
    let mut child = cluster
        .control_plane
        .kubectl()
        .args(arguments)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("kubectl");
    let mut input = child.stdin.take().expect("kubectl's standard input");
    let _ = input.write_all(stdin.to_string().as_bytes()).await;
    drop(input);
    let output = child.wait_with_output().await.expect("kubectl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "kubectl {arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn list(items: &[Value]) -> Value {
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

/// The API server goes while 40 objects are being created; `killed`: and the operator with it.
async fn created_through_an_outage(killed: bool) {
    // The stage's own control plane has no resources; its simulator and its operator's log are what is needed of it.
    let stage = Stage::new().await;
    let mut cluster = Cluster::start().await.expect("a control plane");
    let secret = |name: &str, token: &str| {
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "namespace": "default" },
            "stringData": { "token": token } })
    };
    let mut items = vec![secret("prisma-access", TOKEN), secret("vendor", OKTA_TOKEN)];
    items.extend((0..COUNT).map(|number| okta(&format!("corp-{number}"))));
    kubectl(&cluster, &["apply", "-f", "-"], &list(&items)).await;

    stage.tenant.configure(|options| options.latency_ms = 50);
    let kubeconfig = cluster.control_plane.kubeconfig().to_owned();
    let start = || {
        let operator = stage.operator().impatient().flag("--api-qps", "0").flag("--resync-interval", "1h");
        operator.kubeconfig(&kubeconfig).start()
    };
    let operator = start();
    let created = |wanted: u64| {
        stage.wait_requests("some creates", move |log| log.answered("POST", Route::MfaServers, 201) >= wanted)
    };
    created(10).await;
    cluster.control_plane.stop_api_server().await.expect("an API server to stop");
    let operator = if killed {
        operator.kill().await;
        None
    } else {
        operator.wait_message("the API server failed").await;
        Some(operator)
    };
    cluster.control_plane.start_api_server().await.expect("an API server to start");
    let operator = operator.unwrap_or_else(start);
    let wait = ["wait", "mfaserver", "--all", "--for=condition=Ready", "--timeout=90s"];
    kubectl(&cluster, &wait, &Value::Null).await;
    let servers: Api<MfaServer> = Api::namespaced(cluster.client(), "default");
    let servers = servers.list(&ListParams::default()).await.expect("the resources").items;
    assert_eq!((servers.len(), stage.tenant.objects().len()), (COUNT, COUNT), "{}", stage.log_ends());
    for server in &servers {
        let name = server.name_any();
        let id = server.status.as_ref().and_then(|status| status.id.clone());
        assert_eq!(id, Some(only_object(&stage, &name).id), "{name}");
        assert_eq!(posts(&stage, &name).len(), 1, "{name}{}", stage.log_ends());
    }
    let log = stage.simulator.log();
    assert_eq!(log.count("PUT", Route::MfaServer) + log.count("DELETE", Route::MfaServer), 0);
    assert_eq!(operator.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_api_server_during_creation_loses_and_doubles_nothing() {
    created_through_an_outage(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_api_server_and_a_crash_during_creation_lose_and_double_nothing() {
    created_through_an_outage(true).await;
}

/// Long enough that every wait has come to its longest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_applied_after_a_long_outage_of_the_api_server_is_worked_on() {
    let stage = Stage::new().await;
    let mut cluster = Cluster::start().await.expect("a control plane");
    let secret = |name: &str, token: &str| {
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "namespace": "default" },
            "stringData": { "token": token } })
    };
    // So many that a list has several pages, of which what comes later is on the first: it is told long before the list is
    // at its end.
    let many = (0..250).map(|number| okta_with(&format!("many-{number:03}"), &json!({ "suspend": true })));
    let items = [secret("prisma-access", TOKEN), secret("vendor", OKTA_TOKEN), okta("before")];
    kubectl(&cluster, &["apply", "-f", "-"], &list(&items)).await;
    kubectl(&cluster, &["create", "-f", "-"], &list(&many.collect::<Vec<_>>())).await;
    let kubeconfig = cluster.control_plane.kubeconfig().to_owned();
    let operator = stage.operator().flag("--resync-interval", "1h").kubeconfig(&kubeconfig).start();
    let ready = ["wait", "mfaserver", "before", "--for=condition=Ready", "--timeout=90s"];
    kubectl(&cluster, &ready, &Value::Null).await;
    cluster.control_plane.stop_api_server().await.expect("an API server to stop");
    let failures = |log: &Log| {
        let lines = log.lines();
        let failed = lines.iter().filter(|line| line["message"] == "watching MfaServers failed; it is tried again");
        (failed.count() >= 9).then_some(())
    };
    operator.log().wait(failures).await.expect("the watch fails again and again");
    cluster.control_plane.start_api_server().await.expect("an API server to start");
    kubectl(&cluster, &["apply", "-f", "-"], &list(&[okta("after")])).await;
    let ready = ["wait", "mfaserver", "after", "--for=condition=Ready", "--timeout=90s"];
    kubectl(&cluster, &ready, &Value::Null).await;
    assert_eq!(posts(&stage, "after").len(), 1);
    assert_eq!(operator.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_when_the_operator_is_told_to_stop_is_recorded() {
    let stage = Stage::new().await;
    stage.simulator.inject(next_post("corp", Reply::Usual).delay(Duration::from_millis(800)));
    let operator = stage.operator().flag("--resync-interval", "1h").start();
    stage.apply(&okta("corp")).await;
    wait_post(&stage, "corp").await;
    let told = Instant::now();
    assert_eq!(operator.terminate().await.code(), Some(0));
    let took = told.elapsed();
    // Less than it would wait for an answer; how fast it is, the end-to-end test measures.
    assert!(took < Duration::from_secs(8), "it took {took:?}{}", stage.log_ends());
    // Nobody is there who could do it now.
    let server = stage.get("corp").await.expect("the resource");
    assert_eq!(says(&server, "Ready").as_deref(), Some("True/Available"), "{}", stage.log_ends());
    assert_eq!(server.status.unwrap().id, Some(only_object(&stage, "corp").id));
    assert_eq!(posts(&stage, "corp").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_hangs_when_the_operator_is_told_to_stop_is_found_by_the_next() {
    let stage = Stage::new().await;
    stage.simulator.inject(next_post("corp", Reply::Hang).apply(Apply::Yes));
    let operator = stage.operator().impatient().flag("--resync-interval", "1h").start();
    stage.apply(&okta("corp")).await;
    wait_post(&stage, "corp").await;
    assert_eq!(operator.terminate().await.code(), Some(0));
    let _operator = stage.operator().impatient().flag("--resync-interval", "1h").start();
    in_order(&stage, "corp").await;
    assert_eq!(posts(&stage, "corp").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_operator_ends_at_once() {
    let stage = Stage::new().await;
    let operator = stage.operator().start();
    operator.wait_message("Secrets are known; starting").await;
    stage.apply(&okta("corp")).await;
    in_order(&stage, "corp").await;
    let told = Instant::now();
    assert_eq!(operator.terminate().await.code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(2), "it took {:?}", told.elapsed());
}
