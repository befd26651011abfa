//! What users get wrong: Secrets, flags, addresses. Each has a message that names what to mend, and mending it is enough.

use std::{fmt::Write as _, net::SocketAddr, path::PathBuf};

use futures::future::join_all;
use mfa_operator::crd::MfaServer;
use mfa_sandbox::simulator::Folder;
use serde_json::{Value, json};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use crate::operator::{LIMIT, Log, Stage, TENANT, condition, okta, okta_with, operator};

type Keys = &'static [(&'static str, &'static [u8])];

/// A Secret that cannot be used.
struct Case {
    /// The resource and the Secret.
    name: &'static str,
    /// What the Secret holds; none where there is no Secret.
    keys: Option<Keys>,
    /// `Ready`'s reason, and `Stalled` or `Reconciling`.
    says: (&'static str, &'static str),
    /// What the message names.
    names: &'static [&'static str],
}

const NOT_FOUND: (&str, &str) = ("SecretNotFound", "Reconciling");
const KEY_MISSING: (&str, &str) = ("SecretKeyMissing", "Reconciling");
const INVALID: (&str, &str) = ("SecretInvalid", "Stalled");

fn case(name: &'static str, keys: Keys, says: (&'static str, &'static str), names: &'static [&'static str]) -> Case {
    Case { name, keys: Some(keys), says, names }
}

/// The Secret with the credentials.
fn credentials() -> Vec<Case> {
    vec![
        Case {
            name: "c-missing",
            keys: None,
            says: NOT_FOUND,
            names: &["\"c-missing\"", "credentials", "does not exist", "test-"],
        },
        case("c-no-keys", &[("other", b"x")], KEY_MISSING, &["\"c-no-keys\"", "\"token\"", "\"client_id\""]),
        case("c-empty", &[("token", b"")], INVALID, &["\"token\"", "\"c-empty\"", "it is empty"]),
        case("c-newline-alone", &[("token", b"\n")], INVALID, &["\"token\"", "it is empty"]),
        case("c-bytes", &[("token", b"abc\xff\xfedef")], INVALID, &["\"token\"", "not UTF-8"]),
        case("c-two-lines", &[("token", b"first\nsecond")], INVALID, &["\"token\"", "line break"]),
        case("c-bearer", &[("token", b"Bearer abcdef")], INVALID, &["\"token\"", "without `Bearer`"]),
        case("c-tab", &[("token", b"abc\tdef")], INVALID, &["\"token\"", "cannot be printed"]),
        case(
            "c-both",
            &[("token", b"abc"), ("client_id", b"a"), ("client_secret", b"b"), ("tsg_id", b"1")],
            INVALID,
            &["\"c-both\"", "both token and a service account"],
        ),
        case("c-half", &[("client_id", b"a"), ("tsg_id", b"1")], KEY_MISSING, &["\"c-half\"", "\"client_secret\""]),
        case(
            "c-no-tenant",
            &[("client_id", b"a"), ("client_secret", b"b"), ("tsg_id", b"not a tenant")],
            INVALID,
            &["\"tsg_id\"", "\"c-no-tenant\"", "tenant service group"],
        ),
        case(
            "c-empty-account",
            &[("client_id", b"a"), ("client_secret", b""), ("tsg_id", b"1")],
            INVALID,
            &["\"client_secret\"", "it is empty"],
        ),
    ]
}

/// The Secret that a vendor's field refers to, under the key `key`.
fn vendor() -> Vec<Case> {
    vec![
        Case {
            name: "v-missing",
            keys: None,
            says: NOT_FOUND,
            names: &["\"v-missing\"", "oktaToken", "does not exist", "test-"],
        },
        case("v-no-key", &[("other", b"okta-token-01")], KEY_MISSING, &["\"v-no-key\"", "\"key\"", "oktaToken"]),
        case("v-empty", &[("key", b"")], INVALID, &["\"key\"", "\"v-empty\"", "oktaToken", "it is empty"]),
        case("v-bytes", &[("key", b"okta\xff\xfetoken-01")], INVALID, &["\"key\"", "oktaToken", "not UTF-8"]),
        case("v-two-lines", &[("key", b"okta-token\n01234567")], INVALID, &["\"key\"", "oktaToken", "line break"]),
        case("v-short", &[("key", b"1234567")], INVALID, &["\"key\"", "oktaToken", "8 characters"]),
    ]
}

fn with_credentials(name: &str) -> Value {
    okta_with(name, &json!({ "credentialsSecretRef": { "name": name } }))
}

fn with_vendor(name: &str) -> Value {
    let mut server = okta(name);
    server["spec"]["mfaVendorType"]["oktaAdaptiveV1"]["oktaToken"]["secretKeyRef"] =
        json!({ "name": name, "key": "key" });
    server
}

fn told(server: &MfaServer) -> String {
    let conditions = ["Ready", "Stalled", "Reconciling"].into_iter().filter_map(|kind| condition(server, kind));
    conditions
        .map(|condition| format!("{}={}/{}", condition.type_, condition.status, condition.reason))
        .collect::<Vec<_>>()
        .join(" ")
}

#[tokio::test]
async fn a_secret_that_cannot_be_used_is_named_and_mending_it_is_enough() {
    let stage = Stage::new().await;
    let operator = stage.operator().flag("--resync-interval", "1h").start();
    let (credentials, vendor) = (credentials(), vendor());
    let cases = || credentials.iter().chain(&vendor);
    for case in cases() {
        if let Some(keys) = case.keys {
            stage.secret_of_bytes(case.name, keys).await;
        }
    }
    for case in &credentials {
        stage.apply(&with_credentials(case.name)).await;
    }
    for case in &vendor {
        stage.apply(&with_vendor(case.name)).await;
    }
    let mut wrong = String::new();
    for case in cases() {
        let (reason, kstatus) = case.says;
        let wanted = format!("Ready=False/{reason} {kstatus}=True/{reason}");
        let seen = stage.settle(case.name, &wanted, told).await;
        let server = stage.get(case.name).await.unwrap();
        let message = condition(&server, "Ready").map(|ready| ready.message.clone()).unwrap_or_default();
        if seen != wanted || !case.names.iter().all(|name| message.contains(name)) {
            let _ = writeln!(wrong, "{}: {seen}: {message:?}; wanted {wanted} and {:?}", case.name, case.names);
        }
        assert!(server.status.unwrap().last_error.is_none(), "{}", case.name);
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(stage.tenant.objects().is_empty());
    // The credentials of the vendor's cases are good: their folder was listed. Nothing else was asked of the tenant.
    assert!(
        stage.simulator.log().entries().iter().all(|entry| entry.method == "GET"),
        "{:?}",
        stage.simulator.log().summary()
    );

    for case in &credentials {
        // One line break at the end, as editors leave it, is not part of a token.
        stage.tenant.add_bearer_token(case.name);
        stage.secret(case.name, &[("token", &format!("{}\n", case.name))]).await;
    }
    for case in &vendor {
        stage.secret(case.name, &[("key", "okta-token-01234567\n")]).await;
    }
    // Nothing else wakes them: the resync is an hour away.
    for case in cases() {
        stage.wait_ready(case.name, "True", "Available").await;
    }
    for case in &vendor {
        let object = stage.tenant.find(Folder::MobileUsers, case.name).unwrap();
        assert_eq!(object.body["mfa_vendor_type"]["okta_adaptive_v1"]["okta_token"], "okta-token-01234567");
    }

    // A Secret that is spoilt later is told as well, and mended as well.
    stage.delete_secret("c-both").await;
    stage.patch("c-both", &json!({ "spec": { "mfaCertProfile": "another-ca" } })).await;
    stage.wait_ready("c-both", "False", "SecretNotFound").await;
    stage.secret("c-both", &[("token", "c-both")]).await;
    stage.wait_ready("c-both", "True", "Available").await;
    stage.secret("v-short", &[("key", "short")]).await;
    stage.wait_ready("v-short", "False", "SecretInvalid").await;
    stage.secret("v-short", &[("key", "okta-token-76543210\r\n")]).await;
    stage.wait_ready("v-short", "True", "Available").await;
    let object = stage.tenant.find(Folder::MobileUsers, "v-short").unwrap();
    assert_eq!(object.body["mfa_vendor_type"]["okta_adaptive_v1"]["okta_token"], "okta-token-76543210");
    drop(operator);
}

#[tokio::test]
async fn a_service_account_in_the_secret_works() {
    let stage = Stage::new().await;
    stage.tenant.set_service_account("operator@example.com", "its secret: with a colon");
    let keys = [
        ("client_id", "operator@example.com\n"),
        ("client_secret", "its secret: with a colon\n"),
        ("tsg_id", "1000000001\n"),
    ];
    stage.secret("prisma-access", &keys).await;
    let operator = stage.operator().start();
    stage.apply(&okta("corp")).await;
    let server = stage.wait_ready("corp", "True", "Available").await;
    assert_eq!(server.status.unwrap().tenant.as_deref(), Some(TENANT));
    drop(operator);
}

/// Runs the operator to its end: its exit code and all that it wrote.
async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = operator();
    command.args(arguments).envs(environment.iter().copied()).env("KUBECONFIG", "/nonexistent/kubeconfig");
    let output = tokio::time::timeout(LIMIT, command.output()).await.expect("an end").unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn a_flag_that_cannot_be_used_is_refused_by_its_name_before_anything_is_done() {
    const USAGE: Option<i32> = Some(2);
    const FAILURE: Option<i32> = Some(1);
    let cases: &[(&[&str], Option<i32>, &[&str])] = &[
        (&["--no-such-flag"], USAGE, &["--no-such-flag"]),
        (&["run", "--apiurl", "https://api.example.com"], USAGE, &["--apiurl", "--api-url"]),
        (&["walk"], USAGE, &["walk"]),
        (&["--request-timeout", "0s"], USAGE, &["--request-timeout", "between 1s and 600s"]),
        (&["--request-timeout", "30"], USAGE, &["--request-timeout", "like 30s"]),
        (&["--resync-interval", "5s"], USAGE, &["--resync-interval", "between 10s"]),
        (&["--api-qps", "many"], USAGE, &["--api-qps"]),
        (&["--api-burst", "0"], USAGE, &["--api-burst"]),
        (&["--concurrency", "0"], USAGE, &["--concurrency"]),
        (&["--log-format", "xml"], USAGE, &["--log-format", "json"]),
        (&["--credentials-secret", "Not A Name"], USAGE, &["--credentials-secret", "name of a Secret"]),
        (&["--shared-credentials", "team/secret"], USAGE, &["--shared-credentials-namespaces"]),
        (
            &["--shared-credentials", "secret", "--shared-credentials-namespaces", "a"],
            USAGE,
            &["--shared-credentials", "NAMESPACE/NAME"],
        ),
        (&["--api-url", "not a url"], FAILURE, &["--api-url is not a URL", "https://host.example.com"]),
        (&["--api-url", ""], FAILURE, &["--api-url is not a URL"]),
        (&["--api-url", "ftp://api.example.com"], FAILURE, &["--api-url is neither https nor http"]),
        (&["--api-url", "https://api.example.com/?a=b"], FAILURE, &["--api-url holds a query"]),
        (&["--api-url", "http://api.example.com"], FAILURE, &["--api-url is plain http", "--allow-http"]),
        (&["--auth-url", "http://192.0.2.1/token"], FAILURE, &["--auth-url is plain http", "--allow-http"]),
        (&["--auth-url", "https://"], FAILURE, &["--auth-url"]),
        // What is said before the kubeconfig is looked for, which there is none of, is said before anything is done.
        (&["--api-url", "http://api.example.com", "--allow-http"], FAILURE, &["kubeconfig"]),
        (&["--api-url", "http://127.0.0.1:1"], FAILURE, &["kubeconfig"]),
        (&["--api-url", "http://[::1]:1"], FAILURE, &["kubeconfig"]),
    ];
    let found = join_all(cases.iter().map(|(arguments, ..)| run(arguments, &[]))).await;
    let mut wrong = String::new();
    for ((arguments, code, names), (found, text)) in cases.iter().zip(found) {
        if found != *code || !names.iter().all(|name| text.contains(name)) {
            let _ = writeln!(wrong, "{arguments:?}: exit code {found:?}, wanted {code:?} and {names:?}:\n{text}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");

    // As variables too; and what is in a URL that is refused may be a password.
    let (code, text) = run(&[], &[("MFA_OPERATOR_API_URL", "https://user:hunter2@api.example.com")]).await;
    assert_eq!(code, FAILURE);
    assert!(text.contains("--api-url holds a user name or a password") && !text.contains("hunter2"), "{text}");
    let (code, text) = run(&[], &[("MFA_OPERATOR_RESYNC_INTERVAL", "soon")]).await;
    assert_eq!(code, USAGE);
    assert!(text.contains("--resync-interval") && text.contains("between 10s"), "{text}");
}

#[tokio::test]
async fn an_api_server_that_is_not_there_is_told_and_waited_for() {
    let stage = Stage::new().await;
    stage.apply(&okta("corp")).await;
    // A kubeconfig for the same server, at a port where nobody listens yet.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let control_plane = &stage.namespace.cluster.control_plane;
    let kubeconfig = std::fs::read_to_string(control_plane.kubeconfig()).unwrap();
    assert!(kubeconfig.contains(control_plane.url()));
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("kubeconfig-{}", address.port()));
    std::fs::write(&file, kubeconfig.replace(control_plane.url(), &format!("https://{address}"))).unwrap();

    let mut operator = stage.operator().kubeconfig(&file).start();
    let warnings = |log: &Log| {
        let mut lines = log.lines();
        lines.retain(|line| line["level"] == "WARN");
        (lines.len() >= 2).then_some(lines)
    };
    let warned = operator.log().wait(warnings).await;
    for line in warned.unwrap_or_else(|| panic!("it gave up:\n{}", operator.log().end())) {
        assert_eq!(line["message"], "watching Secrets failed; it is tried again");
        assert!(line["error"].as_str().unwrap().contains("onnection refused"), "{line}");
    }
    assert!(operator.is_running());

    let listener = TcpListener::bind(address).await.unwrap();
    let server: SocketAddr = control_plane.url().trim_start_matches("https://").parse().unwrap();
    let forward = tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut to) = TcpStream::connect(server).await else { return };
                let _ = copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    stage.wait_ready("corp", "True", "Available").await;
    assert_eq!(operator.terminate().await.code(), Some(0));
    forward.abort();
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn an_operator_that_never_reached_its_api_server_stops_when_it_is_told() {
    let stage = Stage::new().await;
    let kubeconfig = std::fs::read_to_string(stage.namespace.cluster.control_plane.kubeconfig()).unwrap();
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("kubeconfig-{}", stage.namespace.name));
    // A port that needs privileges, and where nobody listens.
    let nowhere = kubeconfig.replace(stage.namespace.cluster.control_plane.url(), "https://127.0.0.1:1");
    std::fs::write(&file, nowhere).unwrap();
    let operator = stage.operator().kubeconfig(&file).start();
    operator.wait_line("a warning", |line| line["level"] == "WARN").await;
    assert_eq!(operator.terminate().await.code(), Some(0));
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn a_flag_that_is_a_yes_or_no_takes_the_usual_words_from_its_variable_and_no_others() {
    for (value, code) in [("1", 1), ("true", 1), ("no", 1), ("perhaps", 2)] {
        for variable in ["MFA_OPERATOR_ALLOW_HTTP", "MFA_OPERATOR_LEADER_ELECT"] {
            // With a URL that cannot be used it ends with 1, once its flags are understood.
            let mut command = crate::operator::operator();
            let ended = command.args(["--api-url", "nonsense"]).env(variable, value).output().await.unwrap();
            let told = String::from_utf8_lossy(&ended.stderr).into_owned();
            assert_eq!(ended.status.code(), Some(code), "{variable}={value}: {told}");
        }
    }
}
