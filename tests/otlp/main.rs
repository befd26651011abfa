//! The operator with the feature `otlp`, as a process, against a collector that keeps what it gets.
//!
//! A build of its own (`cargo test --features otlp --test otlp`, which `make test` runs), and otherwise the harness of the
//! other integration tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::manual_assert, missing_docs)]

#[allow(dead_code, reason = "this test needs a part of it")]
#[path = "../it/harness.rs"]
mod harness;
#[allow(dead_code, reason = "this test needs a part of it")]
#[path = "../it/operator.rs"]
mod operator;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mfa_sandbox::simulator::{Documented, Route, Rule};
use serde_json::json;
use tokio::net::TcpListener;

use crate::operator::{OKTA_TOKEN, Stage, TENANT, TOKEN, okta, okta_with};

const COLLECTOR_TOKEN: &str = "the-token-of-the-collector";
const CLIENT_SECRET: &str = "the-client-secret-of-the-first-tenant";

/// What a collector has got: the token that it asks for, and a batch.
type Got = Arc<Mutex<Vec<(Option<String>, Bytes)>>>;

async fn collector() -> (SocketAddr, Got) {
    async fn take(
        State(got): State<Got>,
        headers: HeaderMap,
        body: Bytes,
    ) -> (StatusCode, [(&'static str, &'static str); 1]) {
        assert_eq!(headers["content-type"], "application/x-protobuf");
        let token = headers.get("x-collector-token").map(|token| token.to_str().unwrap().to_owned());
        got.lock().unwrap().push((token, body));
        (StatusCode::OK, [("content-type", "application/x-protobuf")])
    }
    let got = Got::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&got));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, got)
}

/// The fields of a protobuf message that have a length: texts, bytes and messages, each with its number.
fn fields(mut message: &[u8]) -> Vec<(u64, &[u8])> {
    fn varint(message: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (byte, rest) = message.split_first().expect("a whole message");
            *message = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let length = match tag & 7 {
            0 => {
                varint(&mut message);
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message)).unwrap(),
            5 => 4,
            kind => panic!("no message of OTLP has a field of type {kind}"),
        };
        let (field, rest) = message.split_at(length);
        message = rest;
        if tag & 7 == 2 {
            fields.push((tag >> 3, field));
        }
    }
    fields
}

/// What stands at these numbers, one within the other.
fn at<'a>(message: &'a [u8], path: &[u64]) -> Vec<&'a [u8]> {
    let Some((number, path)) = path.split_first() else { return vec![message] };
    let found = fields(message).into_iter().filter(|(field, _)| field == number);
    found.flat_map(|(_, field)| at(field, path)).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A span, as opentelemetry-proto's trace.proto numbers its fields.
#[derive(Debug)]
struct Span {
    id: Vec<u8>,
    parent: Vec<u8>,
    name: String,
    /// Those that are texts.
    attributes: Vec<(String, String)>,
    events: Vec<String>,
}

impl Span {
    fn read(span: &[u8]) -> Self {
        let one = |number| at(span, &[number]).first().copied().unwrap_or_default();
        let attribute = |field: &[u8]| Some((text(at(field, &[1])[0]), text(at(field, &[2, 1]).first()?)));
        Self {
            id: one(2).to_vec(),
            parent: one(4).to_vec(),
            name: text(one(5)),
            attributes: at(span, &[9]).into_iter().filter_map(attribute).collect(),
            events: at(span, &[11, 2]).into_iter().map(text).collect(),
        }
    }

    fn says(&self, key: &str, value: &str) -> bool {
        self.attributes.iter().any(|(of, is)| of == key && is == value)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_and_calls_are_traced_and_no_secret_and_no_body_is_in_the_traces() {
    let (address, got) = collector().await;
    let stage = Stage::new().await;
    stage.secret("account", &[("client_id", "the-client"), ("client_secret", CLIENT_SECRET), ("tsg_id", TENANT)]).await;
    stage.tenant.set_service_account("the-client", CLIENT_SECRET);
    stage.simulator.inject(Rule::documented(Documented::InvalidObject).on("POST", Route::MfaServers).object("invalid"));
    let operator = stage
        .operator()
        .flag("--otlp-endpoint", &format!("http://{address}/"))
        .env("RUST_LOG", "trace")
        .env("OTEL_EXPORTER_OTLP_HEADERS", &format!("x-collector-token={COLLECTOR_TOKEN}"))
        .start();
    let mut account = okta_with("account", &json!({ "credentialsSecretRef": { "name": "account" } }));
    account["spec"]["mfaVendorType"]["oktaAdaptiveV1"]["oktaOrg"] = json!("planted-org");
    for server in [okta("corp"), account, okta("invalid")] {
        stage.apply(&server).await;
    }
    stage.wait_ready("corp", "True", "Available").await;
    stage.wait_ready("account", "True", "Available").await;
    stage.wait_ready("invalid", "False", "InvalidObject").await;
    let log = operator.log().clone();
    // What has not been sent by then is sent at the end.
    assert_eq!(operator.terminate().await.code(), Some(0));

    let (tokens, got): (Vec<_>, Vec<_>) = got.lock().unwrap().drain(..).unzip();
    assert!(!got.is_empty(), "{}", log.end());
    assert!(tokens.iter().all(|token| token.as_deref() == Some(COLLECTOR_TOKEN)), "{tokens:?}");
    let services = got.iter().flat_map(|body| at(body, &[1, 1, 1])).filter(|attribute| {
        text(at(attribute, &[1])[0]) == "service.name" && text(at(attribute, &[2, 1])[0]) == "mfa-operator"
    });
    assert_eq!(services.count(), got.len());
    let spans: Vec<Span> = got.iter().flat_map(|body| at(body, &[1, 2, 2])).map(Span::read).collect();
    let resource = format!("{}/corp", stage.namespace.name);
    let passes: Vec<&Span> =
        spans.iter().filter(|span| span.name == "pass" && span.says("resource", &resource)).collect();
    let in_order = passes.iter().find(|pass| pass.says("outcome", "in_order")).expect("a pass that ends in order");
    assert!(in_order.parent.is_empty());
    assert!(in_order.events.iter().any(|event| event == "step"), "{in_order:?}");
    let calls = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let creates = calls("POST /sse/config/v1/mfa-servers");
    assert!(creates.iter().any(|call| passes.iter().any(|pass| pass.id == call.parent)), "{creates:#?}");
    assert!(creates.iter().any(|call| call.says("reason", "InvalidObject")), "{creates:#?}");
    assert_eq!(calls("POST token").len(), 1);
    let lists = calls("list");
    assert!(calls("GET /sse/config/v1/mfa-servers").iter().any(|call| lists.iter().any(|list| list.id == call.parent)));

    for body in got {
        let sent = String::from_utf8_lossy(&body).into_owned();
        let secrets = [TOKEN, OKTA_TOKEN, CLIENT_SECRET, "the-client", COLLECTOR_TOKEN];
        let coded = STANDARD.encode(format!("the-client:{CLIENT_SECRET}"));
        for planted in secrets.into_iter().chain(["planted-org", "corp.okta.example.com", "Bearer ", coded.as_str()]) {
            assert!(!sent.contains(planted), "{planted} is in a trace");
        }
    }
    assert!(!log.text().contains(COLLECTOR_TOKEN));
    // With traces, log lines are what they are without.
    assert!(!log.text().contains("mfa_operator::trace"), "{}", log.text());
    let lines = log.lines();
    let shown = lines.iter().flat_map(|line| line["spans"].as_array().into_iter().flatten());
    let shown: Vec<_> = shown.filter_map(|span| span["name"].as_str()).collect();
    assert!(!["pass", "call", "list"].iter().any(|ours| shown.contains(ours)), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_does_not_answer_holds_up_nothing_and_the_end_only_for_a_moment() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stage = Stage::new().await;
    let operator = stage.operator().flag("--otlp-endpoint", &format!("http://{address}")).start();
    stage.apply(&okta("corp")).await;
    stage.wait_ready("corp", "True", "Available").await;
    let log = operator.log().clone();
    assert_eq!(operator.terminate().await.code(), Some(0));
    assert!(log.text().contains("the collector did not take the last traces in time"), "{}", log.end());
    drop(listener);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_not_there_is_told_once() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let stage = Stage::new().await;
    let operator = stage.operator().flag("--otlp-endpoint", &format!("http://{gone}")).start();
    stage.apply(&okta("corp")).await;
    stage.wait_ready("corp", "True", "Available").await;
    let line = operator.wait_message("the collector takes no traces; they are dropped until it does").await;
    assert!(line["error"].as_str().is_some_and(|error| error.contains("refused")), "{line}");
    let log = operator.log().clone();
    assert_eq!(operator.terminate().await.code(), Some(0));
    assert_eq!(log.text().matches("the collector takes no traces").count(), 1, "{}", log.text());
}
