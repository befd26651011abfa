//! What keeps an operator from starting, or from getting to work: each is told in a sentence that says what to do.

use std::path::{Path, PathBuf};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, ResourceExt as _,
    api::DeleteParams,
    runtime::wait::{await_condition, conditions},
};
use mfa_operator::crd::{self, MfaServer};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    process::Command,
};

use crate::{
    harness::{Cluster, LIMIT},
    operator::{Log, Stage, okta, operator},
};

/// A file that goes with the test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("start-{}-{name}", std::process::id()));
        std::fs::write(&file, text).unwrap();
        Self(file)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A kubeconfig, variables of the environment, and what is told.
type Case<'a> = (&'a Path, &'a [(&'a str, &'a str)], &'a [&'a str]);

/// Runs the operator to its end.
async fn giving_up(kubeconfig: &str, environment: &[(&str, &str)]) -> String {
    let mut command = operator();
    command.env("KUBECONFIG", kubeconfig).envs(environment.iter().copied());
    let ended = tokio::time::timeout(LIMIT, command.output()).await.expect("an end").unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    String::from_utf8(ended.stderr).unwrap()
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_used_is_told_with_what_is_wrong_and_what_to_do() {
    let context = |user: &Value| {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{ "name": "here", "cluster": { "server": "https://192.0.2.1:6443" } }],
            "contexts": [{ "name": "here", "context": { "cluster": "here", "user": "me" } }],
            "users": [{ "name": "me", "user": user }],
        })
    };
    let mut elsewhere = context(&json!({}));
    elsewhere["current-context"] = json!("elsewhere");
    let no_yaml = File::new("no-yaml", "clusters: [");
    let elsewhere = File::new("elsewhere", &elsewhere.to_string());
    let certificate = json!({ "client-certificate-data": "bm8gY2VydGlmaWNhdGU=", "client-key-data": "bm8ga2V5" });
    let certificate = File::new("certificate", &context(&certificate).to_string());
    let login = json!({ "exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-login-command", "interactiveMode": "Never",
    }});
    let login = File::new("login", &context(&login).to_string());
    let pod: &[(&str, &str)] = &[("KUBERNETES_SERVICE_HOST", "192.0.2.1"), ("KUBERNETES_SERVICE_PORT", "443")];
    let absent = PathBuf::from("/nonexistent/kubeconfig");
    let cases: [Case<'_>; 6] = [
        (
            &absent,
            &[],
            &["neither a kubeconfig nor a pod's service account", "set KUBECONFIG", "/nonexistent/kubeconfig"],
        ),
        (&absent, pod, &["service account of this pod cannot be used", "automountServiceAccountToken"]),
        (&no_yaml.0, &[], &["the kubeconfig cannot be used: mend it", "kubectl config view", "YAML"]),
        (&elsewhere.0, pod, &["the kubeconfig cannot be used: mend it", "elsewhere"]),
        (&certificate.0, &[], &["what the kubeconfig says about certificates or a proxy cannot be used"]),
        (&login.0, &[], &["the login that the kubeconfig asks for failed", "its command is installed"]),
    ];
    for (kubeconfig, environment, words) in cases {
        let told = giving_up(kubeconfig.to_str().unwrap(), environment).await;
        for word in words {
            assert!(told.contains(word), "{word:?} is not in: {told}");
        }
        let errors: Vec<&str> = told.lines().filter(|line| line.contains("ERROR")).collect();
        assert!(errors.len() == 1 && errors[0].contains("giving up"), "{told}");
    }
}

/// The kubeconfig of a stage, changed.
fn changed(stage: &Stage, name: &str, change: impl FnOnce(&mut Value)) -> File {
    let text = std::fs::read_to_string(stage.namespace.cluster.control_plane.kubeconfig()).unwrap();
    let mut kubeconfig: Value = serde_json::from_str(&text).unwrap();
    change(&mut kubeconfig);
    File::new(&format!("{}-{name}", stage.namespace.name), &kubeconfig.to_string())
}

#[tokio::test]
async fn an_api_server_out_of_reach_and_missing_rights_are_told_with_what_to_do() {
    let stage = Stage::new().await;
    let nowhere = changed(&stage, "nowhere", |kubeconfig| {
        kubeconfig["clusters"][0]["cluster"]["server"] = json!("https://127.0.0.1:1");
    });
    let nobody = changed(&stage, "nobody", |kubeconfig| kubeconfig["users"][0]["user"]["as"] = json!("nobody"));
    let unknown = changed(&stage, "unknown", |kubeconfig| {
        kubeconfig["users"][0]["user"] = json!({ "token": "nobody-knows-it" });
    });
    for (kubeconfig, words) in [
        (&nowhere, ["the API server cannot be reached", "the address of the cluster in the kubeconfig"]),
        (&nobody, ["the operator may not do this", "docs/operations.md"]),
        (&unknown, ["the API server does not know who asks", "renew the credentials"]),
    ] {
        let operator = stage.operator().kubeconfig(&kubeconfig.0).start();
        let line = operator.wait_message("watching Secrets failed; it is tried again").await;
        let advice = line["advice"].as_str().unwrap();
        assert!(words.iter().all(|word| advice.contains(word)), "{line}");
        let starting = operator.wait_message("starting").await;
        let server = starting["api_server"].as_str().unwrap();
        let wanted = if words[0].contains("reached") {
            "https://127.0.0.1:1"
        } else {
            stage.namespace.cluster.control_plane.url()
        };
        assert_eq!(server.trim_end_matches('/'), wanted);
        assert_eq!(operator.terminate().await.code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_definition_the_operator_says_how_to_install_it_and_goes_on_when_it_is_there() {
    let stage = Stage::new().await;
    let cluster = Cluster::start().await.unwrap_or_else(|sentence| panic!("a control plane: {sentence}"));
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client());
    let name = crd::crd().name_any();
    let uid = definitions.get(&name).await.unwrap().uid().unwrap();
    definitions.delete(&name, &DeleteParams::default()).await.unwrap();
    let gone = await_condition(definitions, &name, conditions::is_deleted(&uid));
    tokio::time::timeout(LIMIT, gone).await.expect("the definition gone in time").unwrap();

    let operator = stage.operator().kubeconfig(cluster.control_plane.kubeconfig()).start();
    let warned = |line: &Value| line["message"] == "watching MfaServers failed; it is tried again";
    let line = operator.wait_line("that it cannot watch", warned).await;
    let advice = line["advice"].as_str().unwrap();
    let (_, command) = advice.split_once("run `").unwrap_or_else(|| panic!("{line}"));
    let command = command.trim_end_matches('`').to_owned();

    // What it says is done to the letter.
    let folder = Path::new(env!("CARGO_BIN_EXE_mfa-operator")).parent().unwrap();
    let kubectl = cluster.control_plane.kubectl();
    let binaries = Path::new(kubectl.as_std().get_program()).parent().unwrap();
    let path = format!("{}:{}:/usr/bin:/bin", folder.display(), binaries.display());
    let mut shell = Command::new("sh");
    shell.args(["-c", &command]).env_clear().env("PATH", path).env("KUBECONFIG", cluster.control_plane.kubeconfig());
    // Or kubectl would keep a cache in the folder that this runs in.
    shell.env("HOME", cluster.control_plane.kubeconfig().parent().unwrap());
    let done = tokio::time::timeout(LIMIT, shell.output()).await.expect("an end").unwrap();
    assert!(done.status.success(), "{command}: {done:?}");

    // There are no credentials: it says so, hence it has looked.
    let servers: Api<MfaServer> = Api::namespaced(cluster.client(), "default");
    let established = Api::<CustomResourceDefinition>::all(cluster.client());
    let established = await_condition(established, &name, conditions::is_crd_established());
    tokio::time::timeout(LIMIT, established).await.expect("the definition in time").unwrap();
    servers.create(&kube::api::PostParams::default(), &serde_json::from_value(okta("corp")).unwrap()).await.unwrap();
    let looked = await_condition(servers, "corp", |server: Option<&MfaServer>| {
        let status = server.and_then(|server| server.status.as_ref());
        status.is_some_and(|status| status.observed_generation == Some(1))
    });
    tokio::time::timeout(crate::operator::LIMIT, looked).await.expect("a look in time").unwrap();
    assert_eq!(operator.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_asks_for_patience_is_told_and_asked_again_soon() {
    let stage = Stage::new().await;
    let busy = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", busy.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let body = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "busy", "code": 503 });
        let body = body.to_string();
        let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 600";
        let answer = format!("{head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        loop {
            let (mut asks, _) = busy.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = asks.read(&mut request).await;
            let _ = asks.write_all(answer.as_bytes()).await;
        }
    });
    let kubeconfig = changed(&stage, "busy", |kubeconfig| {
        kubeconfig["clusters"][0]["cluster"] = json!({ "server": url });
    });
    let operator = stage.operator().kubeconfig(&kubeconfig.0).start();
    let again = |log: &Log| {
        let lines = log.lines();
        let failed = lines.iter().filter(|line| line["message"] == "watching Secrets failed; it is tried again");
        (failed.count() > 1).then_some(())
    };
    operator.log().wait(again).await.expect("a second look within the test's patience, not the server's");
    assert_eq!(operator.terminate().await.code(), Some(0));
    serving.abort();
}
