//! `/livez`, `/readyz` and `/metrics` of the real operator, over HTTP.
#![allow(clippy::float_cmp, reason = "counts are whole numbers")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mfa_operator::metrics::CONTENT_TYPE;
use mfa_sandbox::simulator::{Documented, Folder, Position, Route, Rule};
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::harness::LIMIT;
use crate::operator::{OKTA_TOKEN, Operator, Stage, TENANT, TOKEN, okta, okta_with, operator};

/// How often is looked again at what tells no changes.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Where this operator listens, by its own word.
pub(crate) async fn address(operator: &Operator) -> SocketAddr {
    let line = operator.wait_message("listening for probes and scrapes").await;
    line["address"].as_str().and_then(|address| address.parse().ok()).expect("an address")
}

/// What is answered to a GET: the status, and the text.
pub(crate) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().timeout(LIMIT).build().expect("a client");
    let answer = client.get(format!("http://{address}{path}")).send().await.expect("an answer");
    let (status, kind) = (answer.status().as_u16(), answer.headers().get("content-type").cloned());
    if path == "/metrics" {
        assert_eq!(kind.expect("a content type"), CONTENT_TYPE);
    }
    (status, answer.text().await.expect("a text"))
}

/// What this operator tells whoever scrapes it.
pub(crate) async fn scraped(operator: &Operator) -> String {
    get(address(operator).await, "/metrics").await.1
}

/// Every series with its value.
async fn metrics(address: SocketAddr) -> BTreeMap<String, f64> {
    let (status, text) = get(address, "/metrics").await;
    assert_eq!(status, 200);
    assert!(text.ends_with("# EOF\n"), "{text}");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a sample");
            (series.strip_prefix("mfa_operator_").expect("our prefix").to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

/// Waits until the metrics are as wanted.
async fn wait_metrics(address: SocketAddr, what: &str, wanted: impl Fn(&BTreeMap<String, f64>) -> bool) {
    let begin = Instant::now();
    loop {
        let metrics = metrics(address).await;
        if wanted(&metrics) {
            return;
        }
        assert!(begin.elapsed() < LIMIT, "the metrics do not say {what}: {metrics:#?}");
        sleep(LOOK_AGAIN).await;
    }
}

async fn wait_ready(address: SocketAddr) {
    let begin = Instant::now();
    loop {
        let (status, text) = get(address, "/readyz").await;
        if (status, text.as_str()) == (200, "ok\n") {
            return;
        }
        assert!(begin.elapsed() < LIMIT, "not ready: {text}");
        sleep(LOOK_AGAIN).await;
    }
}

/// A kubeconfig whose server is reached once the door is open; until then connections are closed at once.
async fn behind_a_door(stage: &Stage) -> (std::path::PathBuf, Arc<AtomicBool>) {
    let kubeconfig = stage.namespace.cluster.control_plane.kubeconfig();
    let text = std::fs::read_to_string(kubeconfig).expect("the kubeconfig");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let url = json["clusters"][0]["cluster"]["server"].as_str().expect("a URL").to_owned();
    let server = url.strip_prefix("https://").expect("https").trim_end_matches('/').to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a door");
    let door = listener.local_addr().expect("its address");
    let open = Arc::new(AtomicBool::new(false));
    let is_open = Arc::clone(&open);
    tokio::spawn(async move {
        while let Ok((mut inside, _)) = listener.accept().await {
            if !is_open.load(Ordering::Relaxed) {
                continue;
            }
            let mut outside = TcpStream::connect(&server).await.expect("the API server");
            tokio::spawn(async move { copy_bidirectional(&mut inside, &mut outside).await });
        }
    });
    let path = kubeconfig.with_file_name(format!("kubeconfig-{}", door.port()));
    std::fs::write(&path, text.replace(&url, &format!("https://{door}"))).expect("a kubeconfig");
    (path, open)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_lives_without_an_api_server_and_is_ready_once_it_has_seen_everything() {
    let stage = Stage::new().await;
    let (kubeconfig, open) = behind_a_door(&stage).await;
    let operator = stage.operator().kubeconfig(kubeconfig).start();
    let address = address(&operator).await;
    wait_metrics(address, "that a watch fails", |metrics| metrics[r#"watch_errors_total{resource="secrets"}"#] > 0.0)
        .await;
    assert_eq!(get(address, "/livez").await, (200, "ok\n".to_owned()));
    let (status, text) = get(address, "/readyz").await;
    assert_eq!(status, 503);
    assert!(text.starts_with("not ready: Secrets have not been listed yet"), "{text}");
    assert_eq!(get(address, "/").await.0, 404);

    open.store(true, Ordering::Relaxed);
    wait_ready(address).await;
    assert_eq!(get(address, "/livez").await, (200, "ok\n".to_owned()));
    let metrics = metrics(address).await;
    assert_eq!(metrics["leader"], 1.0);
    assert_eq!(metrics[&format!(r#"build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION"))], 1.0);
    assert_eq!(operator.terminate().await.code(), Some(0));
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_ready_and_leads_once_the_leader_has_gone() {
    let stage = Stage::new().await;
    let electing = || stage.operator().flag("--leader-elect", "").flag("--lease-namespace", &stage.namespace.name);
    let leader = electing().start();
    let first = address(&leader).await;
    wait_metrics(first, "that it leads", |metrics| metrics["leader"] == 1.0).await;
    wait_ready(first).await;
    let standby = electing().start();
    standby.wait_message("another process leads").await;
    let second = address(&standby).await;
    assert_eq!(get(second, "/readyz").await, (200, "standby\n".to_owned()));
    assert_eq!(get(second, "/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(metrics(second).await["leader"], 0.0);
    assert_eq!(leader.terminate().await.code(), Some(0));
    wait_metrics(second, "that it leads", |metrics| metrics["leader"] == 1.0).await;
    wait_ready(second).await;
    assert_eq!(standby.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_is_counted() {
    let stage = Stage::new().await;
    let foreign = json!({ "name": "taken", "mfa_cert_profile": "their-ca" });
    stage.tenant.create(Folder::MobileUsers, Position::Pre, &foreign).expect("a foreign object");
    stage.simulator.inject(Rule::documented(Documented::InvalidObject).on("POST", Route::MfaServers).object("invalid"));
    let operator = stage.operator().flag("--resync-interval", "1h").start();
    let address = address(&operator).await;
    for name in ["a", "b", "taken", "invalid"] {
        stage.apply(&okta(name)).await;
    }
    stage.apply(&okta_with("homeless", &json!({ "credentialsSecretRef": { "name": "absent" } }))).await;
    for name in ["a", "b"] {
        stage.wait_ready(name, "True", "Available").await;
    }
    stage.wait_ready("taken", "False", "NameNotUnique").await;
    stage.wait_ready("invalid", "False", "InvalidObject").await;
    stage.wait_ready("homeless", "False", "SecretNotFound").await;

    let ready =
        |status: &str, reason: &str| format!(r#"resources{{condition="Ready",status="{status}",reason="{reason}"}}"#);
    let post = |status: u16| {
        format!(r#"api_requests_total{{method="POST",route="/sse/config/v1/mfa-servers",status="{status}"}}"#)
    };
    let told = [
        (ready("True", "Available"), 2.0),
        (ready("False", "NameNotUnique"), 1.0),
        (ready("False", "InvalidObject"), 1.0),
        (ready("False", "SecretNotFound"), 1.0),
        (post(201), 2.0),
        (post(400), 1.0),
        (r#"api_request_duration_seconds_count{method="POST",route="/sse/config/v1/mfa-servers"}"#.to_owned(), 3.0),
        (r#"steps_total{step="create",outcome="done"}"#.to_owned(), 2.0),
        (r#"steps_total{step="create",outcome="refused"}"#.to_owned(), 1.0),
        (r#"retries_total{class="input"}"#.to_owned(), 1.0),
        (r#"retries_waiting{class="input"}"#.to_owned(), 1.0),
        (r#"retries_waiting{class="server"}"#.to_owned(), 0.0),
        ("ready_latency_seconds_count".to_owned(), 2.0),
        ("drift_found_total".to_owned(), 0.0),
        (r#"lists_total{result="failed"}"#.to_owned(), 0.0),
    ];
    let all_told =
        |metrics: &BTreeMap<String, f64>| told.iter().all(|(series, value)| metrics.get(series) == Some(value));
    wait_metrics(address, &format!("{told:#?}"), all_told).await;
    let counted = metrics(address).await;
    let at_least = |series: &str, least: f64| assert!(counted[series] >= least, "{series} {}", counted[series]);
    at_least(r#"reconciles_total{outcome="in_order"}"#, 2.0);
    at_least(r#"reconciles_total{outcome="name_taken"}"#, 1.0);
    at_least("reconcile_duration_seconds_count", 5.0);
    at_least(r#"lists_total{result="complete"}"#, 1.0);
    at_least("list_duration_seconds_count", 1.0);
    at_least("api_limiter_wait_seconds_count", 4.0);
    let due = counted[r#"retry_due_seconds{class="input"}"#];
    assert!((1.0..=3600.0 * 1.5).contains(&due), "{due}");

    // One is edited and one is removed by somebody else; what was refused, and what is gone, is no drift.
    let id = |name: &str| stage.tenant.find(Folder::MobileUsers, name).expect("an object").id;
    stage.tenant.edit(&id("a"), &json!({ "mfa_cert_profile": "edited" })).expect("an object to edit");
    stage.tenant.delete(&id("b")).expect("an object to delete");
    for name in ["a", "b"] {
        stage.annotate(name, "sse.mfa-operator.io/reconcile-requested-at", "1").await;
        stage
            .wait(name, "handled", |server| {
                let handled = server.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_deref());
                handled == Some("1")
            })
            .await;
        stage.wait_ready(name, "True", "Available").await;
    }
    stage.delete("invalid").await;
    stage.wait_gone("invalid").await;
    wait_metrics(address, "the drift", |metrics| {
        let told = [("drift_found_total", 2.0), ("drift_corrected_total", 2.0), ("ready_latency_seconds_count", 2.0)];
        told.iter().all(|(series, value)| metrics[*series] == *value)
            && metrics[&ready("False", "InvalidObject")] == 0.0
            && metrics[&ready("True", "Available")] == 2.0
            && metrics[r#"retries_waiting{class="input"}"#] == 0.0
    })
    .await;
    assert_eq!(operator.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_resources_make_no_more_series_than_two_and_no_name_or_secret_is_in_them() {
    let stage = Stage::new().await;
    stage
        .secret("account", &[("client_id", "the-client"), ("client_secret", "the-client-secret"), ("tsg_id", TENANT)])
        .await;
    stage.tenant.set_service_account("the-client", "the-client-secret");
    // Two resources wait for their turn as two hundred do; no list comes by itself between the two looks.
    let launch = stage.operator().flag("--api-burst", "1").flag("--api-qps", "25").flag("--resync-interval", "24h");
    let operator = launch.start();
    let address = address(&operator).await;
    let name = |number: u32| format!("planted-{number}");
    let server = |number| okta_with(&name(number), &json!({ "credentialsSecretRef": { "name": "account" } }));
    let settled = async |count: u32| {
        for number in 0..count {
            stage.wait_ready(&name(number), "True", "Available").await;
        }
        let ready = r#"resources{condition="Ready",status="True",reason="Available"}"#;
        wait_metrics(address, "that all are ready", |metrics| metrics.get(ready) == Some(&f64::from(count))).await;
        metrics(address).await.into_keys().collect::<BTreeSet<String>>()
    };
    for number in 0..2 {
        stage.apply(&server(number)).await;
    }
    let two = settled(2).await;
    for number in 2..200 {
        stage.apply(&server(number)).await;
    }
    let many = settled(200).await;
    assert_eq!(many.difference(&two).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(many.len(), two.len());

    let (_, text) = get(address, "/metrics").await;
    let tokens = ["the-client", "planted", "account", "prisma-access", "vendor", TENANT, TOKEN, OKTA_TOKEN];
    for planted in tokens.into_iter().chain([stage.namespace.name.as_str()]) {
        assert!(!text.contains(planted), "{planted} is in the metrics:\n{text}");
    }
    assert_eq!(metrics(address).await[r#"token_fetches_total{result="fetched"}"#], 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_an_error_that_names_the_flag_and_off_listens_nowhere() {
    let stage = Stage::new().await;
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let mut refused = stage.operator().flag("--http-addr", &address).start();
    assert_eq!(refused.ended().await.code(), Some(1));
    let sentence = format!("cannot start: --http-addr {address} cannot be listened on");
    assert!(refused.log().text().contains(&sentence), "{}", refused.log().text());

    let off = stage.operator().flag("--http-addr", "off").start();
    stage.apply(&okta("corp")).await;
    stage.wait_ready("corp", "True", "Available").await;
    assert!(!off.log().text().contains("listening"), "{}", off.log().text());
    assert_eq!(off.terminate().await.code(), Some(0));

    let wrong = operator().args(["--http-addr", "localhost"]).output().await.expect("the operator's answer");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("--http-addr"), "{wrong:?}");
}
