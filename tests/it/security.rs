//! What docs/security.md claims and no other test holds: against the real API server, a tenant that means harm, and a
//! token endpoint that does.

use std::time::Duration;

use kube::{
    Api,
    api::{Patch, PatchParams},
};
use mfa_operator::crd::MfaServer;
use mfa_sandbox::simulator::{Folder, Position, Reply, Route, Rule, TokenShape};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::harness::{self, LIMIT};
use crate::operator::{Stage, TENANT, TOKEN, condition, furnish, okta, okta_with};

// ---- namespaces ---------------------------------------------------------------------------------------------------------

/// Ways to write a reference that would name a Secret of another namespace, if a path were made of it unseen.
const LEAVING: [&str; 9] = [
    "../../other/secrets/prisma-access",
    "../../../namespaces/other/secrets/prisma-access",
    "other/prisma-access",
    "..",
    "../prisma-access",
    "%2e%2e%2fother",
    "prisma-access?fieldSelector=a",
    "prisma-access#a",
    "",
];

#[tokio::test]
async fn a_reference_that_would_leave_the_namespace_is_refused() {
    let namespace = harness::namespace().await;
    let api: Api<MfaServer> = namespace.api();
    let apply = async |server: &Value| {
        let params = PatchParams { dry_run: true, ..PatchParams::apply("tests") };
        api.patch("corp", &params, &Patch::Apply(server)).await
    };
    for name in LEAVING {
        let credentials = okta_with("corp", &json!({ "credentialsSecretRef": { "name": name } }));
        let mut vendor = okta("corp");
        vendor["spec"]["mfaVendorType"]["oktaAdaptiveV1"]["oktaToken"]["secretKeyRef"]["name"] = json!(name);
        for server in [credentials, vendor] {
            match apply(&server).await {
                Err(kube::Error::Api(status)) => assert_eq!(status.code, 422, "{name:?}: {status:?}"),
                other => panic!("{name:?}: {other:?}"),
            }
        }
    }
    // Nor is there a field for a namespace: one that is written all the same is refused, or dropped where nobody asks.
    let mut server =
        okta_with("corp", &json!({ "credentialsSecretRef": { "name": "prisma-access", "namespace": "other" } }));
    server["spec"]["mfaVendorType"]["oktaAdaptiveV1"]["oktaToken"]["secretKeyRef"]["namespace"] = json!("other");
    let strict = ["apply", "--validate=strict", "--dry-run=server", "-f", "-"];
    let answer = namespace.kubectl_with(&strict, &server.to_string()).await;
    assert!(!answer.ok && answer.stderr.contains("unknown field"), "{answer:?}");
    let dropped = ["apply", "--validate=false", "--dry-run=server", "-o", "json", "-f", "-"];
    let answer = namespace.kubectl_with(&dropped, &server.to_string()).await;
    assert!(answer.ok && !answer.stdout.contains(r#""namespace": "other""#), "{answer:?}");
    assert!(apply(&okta("corp")).await.is_ok());
}

/// Another namespace has Secrets of the same names; none of them is used here, whatever is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_of_another_namespace_is_never_used() {
    let stage = Stage::new().await;
    let rich = stage.namespace.cluster.namespace().await;
    furnish(&rich, TOKEN).await;
    stage.delete_secret("prisma-access").await;
    stage.delete_secret("vendor").await;
    let operator = stage.operator().start();
    stage.apply(&okta("corp")).await;
    let server = stage.wait_ready("corp", "False", "SecretNotFound").await;
    let message = &condition(&server, "Ready").unwrap().message;
    assert!(message.contains(&stage.namespace.name) && !message.contains(&rich.name), "{message}");
    stage.secret("prisma-access", &[("token", TOKEN)]).await;
    stage
        .wait("corp", "told of the vendor's Secret", |server| {
            condition(server, "Ready").is_some_and(|ready| ready.message.contains("oktaToken"))
        })
        .await;
    assert!(stage.tenant.objects().is_empty());
    assert!(!operator.log().text().contains(&rich.name));
}

// ---- a tenant that means harm -------------------------------------------------------------------------------------------

fn page(items: &[Value]) -> String {
    json!({ "data": items, "offset": 0, "total": items.len(), "limit": 200 }).to_string()
}

fn raw(status: u16, body: String) -> Reply {
    Reply::Raw { status, headers: [("content-type".to_owned(), "application/json".to_owned())].into(), body }
}

/// Texts that do harm where they are shown, or where a path is made of them.
const HARMFUL: [&str; 6] =
    ["\u{1b}[2J\u{1b}[31mHARM", "HARM\nlevel=error", "../../HARM", "HARM/..", "HARM?x=y", "\u{202e}HARM\0"];

fn is_clean(what: &str, text: &str) {
    for harmful in ["HARM", "\u{1b}", "\u{202e}", "\\u001b", "\\u202e"] {
        assert!(!text.contains(harmful), "{what} holds {harmful:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_tenant_sends_is_neither_shown_nor_made_a_path_of() {
    let stage = Stage::new().await;
    // Ids, names, folders and vendors that are not what they should be: in lists, in answers to a creation, in errors.
    let items: Vec<Value> = HARMFUL
        .iter()
        .map(|text| json!({ "id": text, "name": "corp", "folder": "Shared", "mfa_cert_profile": text }))
        .chain([json!({
            "id": "00000000-0000-4000-8000-000000000001", "name": "shown", "folder": "Shared",
            "mfa_cert_profile": HARMFUL[0],
            "mfa_vendor_type": { HARMFUL[0]: { "a": HARMFUL[1] }, HARMFUL[1]: {}, "HARM".repeat(50_000): {} },
        })])
        .collect();
    let list = Rule::new(raw(200, page(&items))).named("list").on("GET", Route::MfaServers).folder(Folder::Shared);
    stage.simulator.inject(list);
    let created = json!({ "id": HARMFUL[2], "name": HARMFUL[0], "folder": HARMFUL[1] }).to_string();
    stage
        .simulator
        .inject(Rule::new(raw(201, created)).named("created").on("POST", Route::MfaServers).object("created"));
    let error = json!({
        "_errors": [{ "code": HARMFUL[0], "message": HARMFUL[1], "details": { "errorType": HARMFUL[0], "message": HARMFUL } }],
        "_request_id": HARMFUL[0],
    });
    stage
        .simulator
        .inject(Rule::new(raw(400, error.to_string())).named("error").on("POST", Route::MfaServers).object("error"));

    let operator = stage.operator().env("RUST_LOG", "trace,hyper=info,h2=info").start();
    stage.apply(&okta_with("shown", &json!({ "folder": "Shared", "adoptionPolicy": "IfIdentical" }))).await;
    stage.apply(&okta("error")).await;
    stage.apply(&okta("created")).await;
    let shown = stage.wait_ready("shown", "False", "AdoptionRefused").await;
    let message = condition(&shown, "Ready").unwrap().message.clone();
    assert!(message.contains("mfaVendorType.another"), "{message}");
    stage.wait_ready("error", "False", "BadRequest").await;
    stage.wait_ready("created", "False", "OutcomeUnknown").await;
    for name in ["shown", "error", "created"] {
        let server = stage.get(name).await.unwrap();
        is_clean(name, &serde_json::to_string(&server.status).unwrap());
    }
    for event in stage.events().await {
        is_clean("an event", &serde_json::to_string(&event).unwrap());
    }
    is_clean("the log", &operator.log().text());
    is_clean("the metrics", &crate::admin::scraped(&operator).await);
    // No call went anywhere but to the collection, or to an object by an id that is one.
    stage.simulator.log().with(|log| {
        for entry in log.entries() {
            is_clean("a call", &format!("{entry:?}"));
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_too_deep_or_too_long_is_a_failure_and_nothing_else() {
    let stage = Stage::new().await;
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let long = format!("[\"{}\"]", "x".repeat(9 * 1024 * 1024));
    let unfinished = format!("{{\"data\":{}", "{\"a\":".repeat(100_000));
    let mut operator = stage.operator().start();
    stage.apply(&okta("first")).await;
    stage.wait_ready("first", "True", "Available").await;
    for (name, body) in [("deep", deep), ("long", long), ("unfinished", unfinished)] {
        stage.simulator.log().reset();
        stage.simulator.inject(Rule::new(raw(200, body)).named("harm").on("GET", Route::MfaServers));
        stage.annotate("first", "sse.mfa-operator.io/reconcile-requested-at", name).await;
        stage.wait_requests("the list", |log| log.count("GET", Route::MfaServers) >= 1).await;
        operator.wait_line("that the list failed", |line| line["message"] == "list failed").await;
        stage.simulator.remove_rule("harm");
        // It lives, and goes on.
        stage.apply(&okta(name)).await;
        stage.wait_ready(name, "True", "Available").await;
        assert!(operator.is_running());
        let failed = operator.log().lines().into_iter().filter(|line| line["message"] == "list failed");
        for line in failed {
            assert!(line.to_string().len() < 4096, "{line}");
        }
    }
    stage.wait_ready("first", "True", "Available").await;
    assert_eq!(stage.tenant.objects().len(), 4);
}

/// A tenant's redirect, with the token, the Secret and everything: nobody follows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_takes_no_secret_elsewhere() {
    let stage = Stage::new().await;
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let location = format!("http://{}/", elsewhere.local_addr().unwrap());
    for (method, route) in [("POST", Route::MfaServers), ("POST", Route::Token)] {
        for status in [307_u16, 308] {
            let headers = [("location".to_owned(), location.clone())].into();
            let reply = Reply::Raw { status, headers, body: String::new() };
            stage.simulator.inject(Rule::new(reply).named(&format!("{method}-{route:?}-{status}")).on(method, route));
        }
    }
    let keys = [("client_id", "a"), ("client_secret", "b"), ("tsg_id", TENANT)];
    stage.secret("account", &keys).await;
    let _operator = stage.operator().start();
    stage.apply(&okta("corp")).await;
    stage.apply(&okta_with("by-account", &json!({ "credentialsSecretRef": { "name": "account" } }))).await;
    stage
        .wait_requests("both calls", |log| {
            log.count("POST", Route::MfaServers) >= 1 && log.count("POST", Route::Token) >= 1
        })
        .await;
    stage.wait_ready("by-account", "False", "TokenEndpointUnavailable").await;
    stage.wait_ready("corp", "False", "OutcomeUnknown").await;
    let connected = tokio::time::timeout(Duration::from_millis(500), elsewhere.accept()).await;
    assert!(connected.is_err(), "somebody followed the redirect");
}

// ---- a token endpoint that means harm -----------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_token_endpoint_sends_is_not_shown_and_never_asked_for_in_a_tight_loop() {
    let stage = Stage::new().await;
    let token = stage.tenant.issue_token(None, Duration::from_hours(1), TokenShape::Opaque);
    let answers = [
        ("over-at-once", json!({ "access_token": token, "expires_in": 0 }).to_string(), "Available"),
        ("control", json!({ "access_token": "HARM\r\nX-Harm: 1" }).to_string(), "TokenEndpointUnavailable"),
        ("spaces", json!({ "access_token": "HARM HARM" }).to_string(), "TokenEndpointUnavailable"),
        ("long", json!({ "access_token": "HARM".repeat(50_000) }).to_string(), "TokenEndpointUnavailable"),
        ("deep", "[".repeat(100_000), "TokenEndpointUnavailable"),
        ("huge", "x".repeat(9 * 1024 * 1024), "TokenEndpointUnavailable"),
    ];
    let error = json!({ "error": HARMFUL[0], "error_description": HARMFUL[1] }).to_string();
    for (name, body, _) in &answers {
        stage.simulator.inject(Rule::new(raw(200, body.clone())).named(name).on("POST", Route::Token).client_id(name));
    }
    stage.simulator.inject(Rule::new(raw(400, error)).named("error").on("POST", Route::Token).client_id("error"));
    let operator = stage.operator().env("RUST_LOG", "debug,hyper=info,h2=info").start();
    let all = answers.iter().map(|(name, _, reason)| (*name, *reason)).chain([("error", "TokenRequestRejected")]);
    for (name, reason) in all.clone() {
        stage.secret(name, &[("client_id", name), ("client_secret", "b"), ("tsg_id", TENANT)]).await;
        stage.apply(&okta_with(name, &json!({ "credentialsSecretRef": { "name": name } }))).await;
        let status = if reason == "Available" { "True" } else { "False" };
        let server = stage.wait_ready(name, status, reason).await;
        is_clean(name, &serde_json::to_string(&server.status).unwrap());
    }
    is_clean("the log", &operator.log().text());
    for (name, _) in all {
        // A first try, and one or two that wait for their delay.
        assert!(stage.simulator.hits(name) < 20, "{name} was asked for {} times", stage.simulator.hits(name));
    }
}

// ---- the proxy ----------------------------------------------------------------------------------------------------------

/// Listens as a proxy does, answers 502, and tells what it was asked.
async fn proxy() -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://somebody:the-proxys-password@{}", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut head = vec![0; 4096];
                let read = stream.read(&mut head).await.unwrap_or_default();
                let _ = sender.send(String::from_utf8_lossy(&head[..read]).into_owned());
                let _ = stream
                    .write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                    .await;
            });
        }
    });
    (url, receiver)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_is_for_the_tenant_alone_and_sees_no_token_and_its_password_is_not_shown() {
    let stage = Stage::new().await;
    let (url, mut asked) = proxy().await;
    let operator = stage
        .operator()
        .env("HTTPS_PROXY", &url)
        .env("RUST_LOG", "trace")
        .flag("--api-url", "https://sse.example.com")
        .start();
    stage.apply(&okta("corp")).await;
    // The API server is reached without it, or nothing would be in the status.
    let server = stage.wait_ready("corp", "False", "Unreachable").await;
    let first = tokio::time::timeout(LIMIT, asked.recv()).await.expect("a call through the proxy").unwrap();
    assert!(first.starts_with("CONNECT sse.example.com:443 HTTP/1.1\r\n"), "{first}");
    assert!(first.to_lowercase().contains("proxy-authorization: basic "), "{first}");
    let told = [first.to_lowercase(), operator.log().text(), serde_json::to_string(&server).unwrap()];
    assert!(!told[0].contains("bearer") && !told[0].contains(TOKEN), "{first}");
    for text in &told[1..] {
        assert!(!text.contains("the-proxys-password"), "{text}");
        // As it is in the header.
        assert!(!text.contains("c29tZWJvZHk6dGhlLXByb3h5cy1wYXNzd29yZA"), "{text}");
    }
    while let Ok(next) = asked.try_recv() {
        assert!(next.starts_with("CONNECT sse.example.com:443 "), "{next}");
    }
}

// ---- those who share ----------------------------------------------------------------------------------------------------

/// Shared credentials reach what no MfaServer of another namespace owns, and nothing that one does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_shares_credentials_takes_no_object_of_another() {
    let stage = Stage::new().await;
    let other = stage.namespace.cluster.namespace().await;
    furnish(&other, "not-used").await;
    let removed = other.kubectl(&["delete", "secret", "prisma-access"]).await;
    assert!(removed.ok, "{removed:?}");
    let shared = stage.namespace.cluster.namespace().await;
    furnish(&shared, TOKEN).await;
    stage.delete_secret("prisma-access").await;
    let _operator = stage
        .operator()
        .flag("--shared-credentials", &format!("{}/prisma-access", shared.name))
        .flag("--shared-credentials-namespaces", &format!("{},{}", stage.namespace.name, other.name))
        .start();
    stage.apply(&okta("owner")).await;
    let server = stage.wait_ready("owner", "True", "Available").await;
    let object = stage.tenant.find(Folder::MobileUsers, "owner").unwrap();
    // By name, by id, and by an attempt that claims to have created it.
    let api: Api<MfaServer> = other.api();
    let mut thief =
        okta_with("thief", &json!({ "name": "owner", "adoptionPolicy": "Always", "mfaCertProfile": "theirs" }));
    thief["metadata"]["annotations"] = json!({ "sse.mfa-operator.io/id": object.id });
    let params = PatchParams::apply("tests").force();
    let made = api.patch("thief", &params, &Patch::Apply(&thief)).await.unwrap();
    let attempt = json!({
        "uid": made.metadata.uid, "nonce": "0123456789abcdef", "tenant": server.status.unwrap().tenant,
        "folder": "Mobile Users", "position": "pre", "name": "owner", "fields": ["name"], "hash": "",
    });
    let annotations = json!({ "metadata": { "annotations": { "sse.mfa-operator.io/attempt": attempt.to_string() } } });
    api.patch("thief", &PatchParams::default(), &Patch::Merge(&annotations)).await.unwrap();
    let path = "--for=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}=DuplicateClaim";
    let waited = other.kubectl(&["wait", "mfaserver", "thief", path, "--timeout=55s"]).await;
    assert!(waited.ok, "{waited:?}{}", stage.log_ends());
    let told = other.kubectl(&["get", "mfaserver", "thief", "-o", "jsonpath={.status}"]).await;
    assert!(!told.stdout.contains(&stage.namespace.name) && !told.stdout.contains(&object.id), "{told:?}");
    let gone = other.kubectl(&["delete", "mfaserver", "thief", "--timeout=2s"]).await;
    drop(gone);
    assert!(stage.tenant.get(&object.id).as_ref() == Some(&object));
    // Something nobody owns may be adopted, as its policy says.
    let body = json!({ "name": "nobodys", "mfa_cert_profile": "theirs" });
    let nobodys = stage.tenant.create(Folder::MobileUsers, Position::Pre, &body).unwrap();
    let adopter = okta_with("adopter", &json!({ "name": "nobodys", "adoptionPolicy": "Always" }));
    api.patch("adopter", &params, &Patch::Apply(&adopter)).await.unwrap();
    let path = "--for=condition=Ready";
    let waited = other.kubectl(&["wait", "mfaserver", "adopter", path, "--timeout=55s"]).await;
    assert!(waited.ok, "{waited:?}{}", stage.log_ends());
    assert_eq!(stage.tenant.find(Folder::MobileUsers, "nobodys").unwrap().id, nobodys);
}

// ---- dependencies -------------------------------------------------------------------------------------------------------

#[test]
fn every_dependency_is_locked_by_its_checksum() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let lock = read("Cargo.lock");
    let (mut foreign, mut own) = (0, Vec::new());
    for package in lock.split("[[package]]").skip(1) {
        let name = package.lines().find_map(|line| line.strip_prefix("name = ")).unwrap();
        match package.lines().find_map(|line| line.strip_prefix("source = ")) {
            Some(source) => {
                assert_eq!(source, r#""registry+https://github.com/rust-lang/crates.io-index""#, "{name}");
                assert!(package.lines().any(|line| line.starts_with("checksum = \"")), "{name} has no checksum");
                foreign += 1;
            }
            None => own.push(name.trim_matches('"').to_owned()),
        }
    }
    assert!(foreign > 100, "{foreign}");
    assert_eq!(own, ["mfa-bench", "mfa-fuzz", "mfa-operator", "mfa-sandbox"]);
    // The tools: each module with the sums of what it takes.
    let mut modules = 0;
    for entry in std::fs::read_dir(root.join("tools")).unwrap() {
        let folder = entry.unwrap().path();
        if folder.join("go.mod").is_file() {
            let sums = std::fs::read_to_string(folder.join("go.sum")).unwrap();
            assert!(sums.lines().count() > 5, "{}", folder.display());
            modules += 1;
        }
    }
    assert!(modules >= 3, "{modules}");
}
