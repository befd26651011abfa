//! The API server acts and its answer does not come, while its watches lag behind: what the operator knows of the cluster is
//! old, and it does nothing twice for that, and nothing for a resource that is gone.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use mfa_operator::crd::{ANNOTATION_ATTEMPT, MfaServer};
use mfa_sandbox::simulator::{Position, Reply, Route, Rule};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{FOLDER, attempt, foreign, in_order, objects, posts};
use crate::operator::{LIMIT, Launch, Stage, okta};

/// How long the API server takes for an Event, which nothing waits for.
const EVENT: Duration = Duration::from_millis(300);
/// What removes the last finalizer.
const NO_FINALIZERS: &str = r#""finalizers":[]"#;

/// What stands between the operator and its API server.
struct Between {
    client: kube::Client,
    /// From the next write on that holds this text, no watch of MfaServers tells anything.
    hides: Mutex<Option<&'static str>>,
    /// The next write that holds this text is done, and its answer lost.
    loses: Mutex<Option<&'static str>>,
    shows: watch::Sender<bool>,
    lost: watch::Sender<bool>,
    /// How Secrets were asked for.
    secrets: Mutex<Vec<String>>,
    /// It knows no version of a Secret that it is asked for, as after the restoring of a backup.
    set_back: AtomicBool,
    kubeconfig: PathBuf,
}

impl Between {
    async fn start(stage: &Stage, hides: &'static str, loses: &'static str) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "between",
            "contexts": [{ "name": "between", "context": { "cluster": "between", "user": "nobody" } }],
            "clusters": [{ "name": "between", "cluster": {
                "server": format!("http://{}", listener.local_addr().expect("an address")),
            } }],
            "users": [{ "name": "nobody", "user": {} }],
        });
        let administrator = stage.namespace.cluster.control_plane.kubeconfig();
        let kubeconfig = administrator.with_file_name(format!("{}-between.kubeconfig", stage.namespace.name));
        std::fs::write(&kubeconfig, config.to_string()).expect("a kubeconfig");
        let between = Arc::new(Self {
            client: stage.namespace.client.clone(),
            hides: Mutex::new(Some(hides)),
            loses: Mutex::new(Some(loses)),
            shows: watch::Sender::new(true),
            lost: watch::Sender::new(false),
            secrets: Mutex::default(),
            set_back: AtomicBool::new(false),
            kubeconfig,
        });
        let router = Router::new().fallback(pass).with_state(Arc::clone(&between));
        tokio::spawn(async move { axum::serve(listener, router).await });
        between
    }

    fn operator<'a>(&self, stage: &'a Stage) -> Launch<'a> {
        let operator = stage.operator().kubeconfig(&self.kubeconfig).flag("--resync-interval", "1h");
        operator.env("RUST_LOG", "info,mfa_operator=debug")
    }

    /// Waits until an answer has been lost.
    async fn wait_lost(&self) {
        let mut lost = self.lost.subscribe();
        let lost = tokio::time::timeout(LIMIT, lost.wait_for(|lost| *lost)).await;
        assert!(lost.is_ok_and(|lost| lost.is_ok()), "no such write came");
    }
}

/// Whether it is in the text; if so, it is not looked for again.
fn meets(needle: &Mutex<Option<&'static str>>, text: &str) -> bool {
    needle.lock().expect("nobody panics").take_if(|needle| text.contains(*needle)).is_some()
}

async fn pass(State(between): State<Arc<Between>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("a body");
    let text = String::from_utf8_lossy(&body).replace(' ', "");
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let watches = parts.uri.path().ends_with("/mfaservers") && query.split('&').any(|pair| pair.starts_with("watch="));
    if meets(&between.hides, &text) {
        between.shows.send_replace(false);
    }
    let loses = meets(&between.loses, &text);
    if parts.method == Method::POST && parts.uri.path().ends_with("/events") {
        tokio::time::sleep(EVENT).await;
    }
    if parts.method == Method::GET && parts.uri.path().contains("/secrets/") {
        between.secrets.lock().expect("nobody panics").push(query.clone());
        if query.contains("resourceVersion=") && between.set_back.load(Ordering::Relaxed) {
            let message = "Too large resource version: 9, current: 8";
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
                "reason": "Timeout", "code": 504, "details": {
                    "causes": [{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }],
                    "retryAfterSeconds": 1,
                },
            });
            return (StatusCode::GATEWAY_TIMEOUT, axum::Json(status)).into_response();
        }
    }
    parts.headers.remove(header::HOST);
    let answer = between.client.send(Request::from_parts(parts, body.to_vec().into())).await;
    let Ok(answer) = answer else { return StatusCode::BAD_GATEWAY.into_response() };
    if loses {
        assert!(answer.status().is_success(), "{answer:?}");
        between.lost.send_replace(true);
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let answer = answer.map(Body::new);
    if !watches {
        return answer;
    }
    answer.map(|body| {
        let shows = between.shows.subscribe();
        Body::from_stream(body.into_data_stream().then(move |part| {
            let mut shows = shows.clone();
            async move {
                let _ = shows.wait_for(|shows| *shows).await;
                part
            }
        }))
    })
}

fn nonce(server: &MfaServer) -> Value {
    attempt(server).expect("an attempt")["nonce"].take()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_whose_record_was_not_answered_is_recorded_anew_and_sent_once() {
    let stage = Stage::new().await;
    let between = Between::start(&stage, ANNOTATION_ATTEMPT, ANNOTATION_ATTEMPT).await;
    let operator = between.operator(&stage).start();
    stage.apply(&okta("corp")).await;
    between.wait_lost().await;
    let first = nonce(&stage.get("corp").await.expect("the resource"));
    let (server, _) = in_order(&stage, "corp").await;
    assert_eq!(nonce(&server), first, "it was taken for one that may have been sent{}", stage.log_ends());
    assert_eq!(posts(&stage, "corp").len(), 1);
    let unknown = |line: &Value| line["step"] == "Record(OutcomeUnknown)";
    assert!(!operator.log().lines().iter().any(unknown), "{}", stage.log_ends());
    between.shows.send_replace(true);
}

/// Somebody makes just what would have been sent, under an attempt that was recorded and, as the operator knows, not sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_makes_under_an_attempt_that_was_not_sent_is_not_ours() {
    let stage = Stage::new().await;
    let between = Between::start(&stage, ANNOTATION_ATTEMPT, ANNOTATION_ATTEMPT).await;
    let _operator = between.operator(&stage).start();
    stage.apply(&okta("corp")).await;
    between.wait_lost().await;
    let twin = stage.tenant.create(FOLDER, Position::Pre, &foreign("corp", "corp-ca")).expect("an object");
    stage.wait_ready("corp", "False", "NameNotUnique").await;
    between.shows.send_replace(true);
    stage.delete("corp").await;
    stage.wait_gone("corp").await;
    let left: Vec<_> = objects(&stage, "corp").into_iter().map(|object| (object.id, object.by_hand)).collect();
    assert_eq!(left, [(twin, true)], "{}", stage.log_ends());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_gone_is_not_created_by_what_was_known_of_it() {
    let stage = Stage::new().await;
    stage.simulator.inject(Rule::new(Reply::WriteLock).on("POST", Route::MfaServers).object("corp"));
    let between = Between::start(&stage, ANNOTATION_ATTEMPT, NO_FINALIZERS).await;
    let operator = between.operator(&stage).start();
    stage.apply(&okta("corp")).await;
    // The answer to this record is the newest that the operator knows.
    stage.wait_condition("corp", "Reconciling", "True", "Busy").await;
    stage.delete("corp").await;
    between.wait_lost().await;
    assert!(stage.get("corp").await.is_none(), "the finalizer is gone");
    let before = posts(&stage, "corp").len();
    stage.simulator.clear_rules();
    let gone = |line: &Value| line["step"] == "ReadLive" && line["outcome"] == "Gone";
    operator.wait_line("that the resource is gone", gone).await;
    assert_eq!(posts(&stage, "corp").len(), before, "{}", stage.log_ends());
    assert_eq!(objects(&stage, "corp"), []);
    between.shows.send_replace(true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stops_publishes_first_what_it_has_told() {
    let stage = Stage::new().await;
    let between = Between::start(&stage, "nothing hides", "nothing is lost").await;
    let operator = between.operator(&stage).start();
    let names = ["corp-1", "corp-2", "corp-3"];
    for name in names {
        stage.apply(&okta(name)).await;
    }
    for name in names {
        stage.wait_ready(name, "True", "Available").await;
    }
    assert_eq!(operator.terminate().await.code(), Some(0));
    let events = stage.events().await;
    let told = events.iter().filter(|event| event.reason.as_deref() == Some("Available"));
    assert_eq!(told.count(), names.len(), "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_asked_for_as_the_watch_has_shown_it_and_where_that_is_refused_as_it_is_now() {
    let stage = Stage::new().await;
    let between = Between::start(&stage, "nothing is hidden", "nothing is lost").await;
    let asked = || std::mem::take(&mut *between.secrets.lock().expect("nobody panics"));
    let _operator = between.operator(&stage).start();
    stage.apply(&okta("corp")).await;
    stage.wait_ready("corp", "True", "Available").await;
    let queries = asked();
    // The credential's, and the vendor's.
    assert_eq!(queries.len(), 2, "{queries:?}");
    assert!(queries.iter().all(|query| query.contains("resourceVersion=")), "{queries:?}");

    between.set_back.store(true, Ordering::Relaxed);
    stage.apply(&okta("lab")).await;
    stage.wait_ready("lab", "True", "Available").await;
    let queries = asked();
    assert_eq!(queries.len(), 2, "{queries:?}");
    assert!(queries[0].contains("resourceVersion=") && !queries[1].contains("resourceVersion="), "{queries:?}");
}
