//! Faults: what else a client meets than an answer.

use std::error::Error as _;
use std::time::{Duration, Instant};

use super::super::{Apply, Outcome, Reply, Route, Rule, Simulator};
use super::{Client, LONG, SECRET, SERVERS, create_path, okta, start};

fn post(reply: Reply) -> Rule {
    Rule::new(reply).on("POST", Route::MfaServers).once()
}

async fn outcome(simulator: &Simulator) -> Outcome {
    simulator.log().wait_until(LONG, |log| log.entries().iter().all(|entry| entry.end_us.is_some())).await.unwrap();
    simulator.log().entries().last().unwrap().outcome
}

/// Sends a create, and leaves once it has arrived (unless it was answered by then).
async fn create_and_leave(simulator: &Simulator, client: &Client) {
    let client = client.clone();
    let asking = tokio::spawn(async move { client.create("Shared", &okta("a")).await });
    simulator.log().wait_until(LONG, |log| !log.entries().is_empty()).await.unwrap();
    asking.abort();
    let _ = asking.await;
}

fn io_kind(error: &reqwest::Error) -> Option<std::io::ErrorKind> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        source = error.source();
    }
    None
}

#[tokio::test]
async fn a_hang_never_answers_and_ends_when_the_client_leaves() {
    for (apply, created) in [(Apply::No, 0), (Apply::Yes, 1)] {
        let (simulator, client) = start().await;
        simulator.inject(post(Reply::Hang).apply(apply));
        create_and_leave(&simulator, &client).await;
        assert_eq!(outcome(&simulator).await, Outcome::Hung);
        assert_eq!(simulator.objects().len(), created);
        assert_eq!(simulator.log().entries()[0].applied_us.is_some(), created == 1);
        assert_eq!(simulator.log().entries()[0].status, None);
    }
}

#[tokio::test]
async fn a_connection_is_reset_before_or_after_the_request_took_effect() {
    for (apply, created) in [(Apply::No, 0), (Apply::Yes, 1)] {
        let (simulator, client) = start().await;
        simulator.inject(post(Reply::Reset).apply(apply));
        let error = client.try_call("POST", &create_path("Shared"), Some(&okta("a"))).await.unwrap_err();
        assert_eq!(io_kind(&error), Some(std::io::ErrorKind::ConnectionReset), "{error:?}");
        assert_eq!(outcome(&simulator).await, Outcome::Reset);
        assert_eq!(simulator.objects().len(), created);
        assert_eq!(client.list("Shared", "").await.status, 200, "a new connection is welcome");
    }
}

#[tokio::test]
async fn a_connection_ends_in_order_without_an_answer() {
    let (simulator, client) = start().await;
    simulator.inject(post(Reply::Close).apply(Apply::Yes));
    let error = client.try_call("POST", &create_path("Shared"), Some(&okta("a"))).await.unwrap_err();
    assert_ne!(io_kind(&error), Some(std::io::ErrorKind::ConnectionReset), "{error:?}");
    assert_eq!(outcome(&simulator).await, Outcome::Closed);
    assert_eq!(simulator.objects().len(), 1, "applied, but the answer is lost");
}

#[tokio::test]
async fn a_request_takes_effect_late_whatever_was_answered() {
    for reply in [Reply::Close, Reply::Hang, Reply::Html { status: 502 }] {
        let (simulator, client) = start().await;
        simulator.inject(post(reply.clone()).apply(Apply::LateMs(150)));
        create_and_leave(&simulator, &client).await;
        simulator.log().wait_until(LONG, |log| log.entries()[0].applied_us.is_some()).await.unwrap();
        let entry = simulator.log().entries()[0].clone();
        assert!(entry.applied_us.unwrap() >= entry.start_us + 150_000, "{entry:?}");
        assert_eq!(simulator.objects().len(), 1);
    }
}

#[tokio::test]
async fn what_was_answered_is_not_yet_there_when_it_takes_effect_late() {
    let (simulator, client) = start().await;
    simulator.inject(post(Reply::Html { status: 502 }).apply(Apply::LateMs(3_600_000)));
    assert_eq!(client.create("Shared", &okta("a")).await.status, 502);
    assert!(simulator.objects().is_empty());
}

#[tokio::test]
async fn a_body_ends_in_the_middle() {
    let (simulator, client) = start().await;
    simulator.inject(post(Reply::TruncatedBody));
    let response = client.request("POST", &create_path("Shared")).json(&okta("a")).send().await.unwrap();
    assert_eq!(response.status(), 201);
    assert!(response.content_length().unwrap() > 100);
    assert!(response.text().await.is_err());
    assert_eq!(outcome(&simulator).await, Outcome::Truncated);
    assert_eq!(simulator.objects().len(), 1);
}

#[tokio::test]
async fn json_ends_in_the_middle_of_a_whole_body() {
    let (simulator, client) = start().await;
    simulator.inject(post(Reply::TruncatedJson));
    let answered = client.create("Shared", &okta("a")).await;
    assert_eq!(answered.status, 201);
    assert!(answered.text.starts_with('{') && serde_json::from_str::<serde_json::Value>(&answered.text).is_err());
    assert_eq!(simulator.objects().len(), 1);
    simulator.inject(post(Reply::TruncatedJson).apply(Apply::No));
    assert_eq!(client.create("Shared", &okta("b")).await.status, 500);
    assert_eq!(simulator.objects().len(), 1);
}

#[tokio::test]
async fn proxies_answer_with_html() {
    let (simulator, client) = start().await;
    for status in [200, 404, 502, 503] {
        simulator.inject(Rule::new(Reply::Html { status }).once());
        let answered = client.list("Shared", "").await;
        assert_eq!(answered.status, status);
        assert_eq!(answered.headers["content-type"], "text/html");
        assert!(answered.text.starts_with("<html>"));
    }
}

#[tokio::test]
async fn an_answer_can_be_empty_and_yet_applied() {
    let (simulator, client) = start().await;
    simulator.inject(post(Reply::Empty { status: 500 }).apply(Apply::Yes));
    let answered = client.create("Shared", &okta("a")).await;
    assert_eq!((answered.status, answered.text.as_str()), (500, ""));
    assert_eq!(simulator.objects().len(), 1);
}

#[tokio::test]
async fn a_body_can_be_larger_than_eight_mebibytes() {
    let (simulator, client) = start().await;
    for status in [200, 500] {
        simulator.inject(Rule::new(Reply::Huge { status, bytes: 9 * 1024 * 1024 }).once());
        let answered = client.list("Shared", "").await;
        assert_eq!(answered.status, status);
        assert!(answered.text.len() > 8 * 1024 * 1024);
        assert!(answered.json().is_object(), "well-formed, but for its size");
    }
}

#[tokio::test]
async fn a_body_can_come_slowly() {
    let (simulator, client) = start().await;
    simulator.inject(Rule::new(Reply::Slow { chunk_bytes: 16, pause_ms: 20 }).once());
    let begun = Instant::now();
    let answered = client.list("Shared", "").await;
    assert_eq!(answered.json()["total"], 0);
    assert!(begun.elapsed() >= Duration::from_millis(40));
}

#[tokio::test]
async fn an_error_can_repeat_the_whole_request_secrets_included() {
    let (simulator, client) = start().await;
    simulator.inject(post(Reply::EchoRequest { status: 400 }));
    let error = client.create("Shared", &okta("a")).await.json()["_errors"][0].clone();
    assert!(error["message"].as_str().unwrap().contains(SECRET));
    assert!(error["details"].as_str().unwrap().contains(SECRET));
    assert!(!serde_json::to_string(&simulator.log().entries()).unwrap().contains(SECRET));
}

#[tokio::test]
async fn a_429_says_when_to_come_again_or_not() {
    let (simulator, client) = start().await;
    for retry_after in [None, Some("7".to_owned()), Some("Wed, 21 Oct 2065 07:28:00 GMT".to_owned())] {
        simulator.inject(Rule::new(Reply::TooManyRequests { retry_after: retry_after.clone() }).once());
        let answered = client.list("Shared", "").await;
        assert_eq!(answered.status, 429);
        let header = answered.headers.get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header, retry_after);
        assert_eq!(simulator.log().entries().last().unwrap().retry_after, retry_after);
    }
}

#[tokio::test]
async fn a_500_is_about_the_write_lock_or_about_anything() {
    let (simulator, client) = start().await;
    simulator.inject(post(Reply::WriteLock));
    let busy = client.create("Shared", &okta("a")).await;
    assert_eq!(busy.status, 500);
    assert!(busy.message().contains("configuration write lock"));
    simulator.inject(post(Reply::ServerError { message: "no idea".to_owned() }));
    assert_eq!(client.create("Shared", &okta("a")).await.message(), "no idea");
    let headers = [("x-proxy".to_owned(), "yes".to_owned())].into();
    simulator.inject(post(Reply::Raw { status: 418, headers, body: "tea".to_owned() }));
    let raw = client.create("Shared", &okta("a")).await;
    assert_eq!((raw.status, raw.text.as_str(), raw.headers["x-proxy"].to_str().unwrap()), (418, "tea", "yes"));
}

#[tokio::test]
async fn a_request_is_carried_out_though_its_client_left() {
    let (simulator, client) = start().await;
    simulator.tenant(super::TSG).configure(|options| options.latency_ms = 500);
    create_and_leave(&simulator, &client).await;
    simulator.log().wait_until(LONG, |log| log.answered("POST", Route::MfaServers, 201) == 1).await.unwrap();
    assert!(simulator.log().entries()[0].client_left);
    assert_eq!(simulator.objects().len(), 1);
}

#[tokio::test]
async fn an_outage_refuses_connections_and_keeps_the_state() {
    let (simulator, client) = start().await;
    assert_eq!(client.create("Shared", &okta("a")).await.status, 201);
    let before = simulator.url();
    simulator.inject(Rule::new(Reply::Hang).once());
    let hanging = tokio::spawn({
        let client = client.clone();
        async move { client.try_call("GET", &format!("{SERVERS}?folder=Shared"), None).await.is_err() }
    });
    simulator.log().wait_until(LONG, |log| log.in_flight() == 1).await.unwrap();
    simulator.stop().await;
    assert!(hanging.await.unwrap(), "what was open is cut");
    let refused = client.try_call("GET", &format!("{SERVERS}?folder=Shared"), None).await.unwrap_err();
    assert!(refused.is_connect(), "{refused:?}");
    assert_eq!(simulator.connections(), 0);
    simulator.resume().await.unwrap();
    assert_eq!(simulator.url(), before);
    assert_eq!(client.list("Shared", "").await.names(), ["a"]);
}
