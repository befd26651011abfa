//! Limits, latency, the write lock, and the log.

use std::time::{Duration, Instant};

use futures::future::join_all;

use super::super::{Documented, Outcome, RateLimit, Route, Rule, TenantOptions, WriteLock};
use super::{LONG, SECRET, SERVERS, TOKEN, TSG, id_of, okta, start, start_with};

#[tokio::test]
async fn a_burst_passes_and_the_rest_is_told_to_wait() {
    for retry_after in [false, true] {
        let rate_limit = Some(RateLimit { rate: 0.01, burst: 3, retry_after });
        let (simulator, client) = start_with(TenantOptions { rate_limit, ..TenantOptions::default() }).await;
        for _ in 0..3 {
            assert_eq!(client.list("Shared", "").await.status, 200);
        }
        let refused = client.list("Shared", "").await;
        assert_eq!((refused.status, refused.message().as_str()), (429, "Too Many Requests"));
        let wait = refused.headers.get("retry-after").map(|value| value.to_str().unwrap().parse::<u64>().unwrap());
        assert_eq!(wait.is_some(), retry_after);
        assert!(wait.is_none_or(|wait| (50..=100).contains(&wait)), "{wait:?}");
        simulator.tenant(TSG).configure(|options| options.rate_limit = None);
        assert_eq!(client.list("Shared", "").await.status, 200);
    }
}

#[tokio::test]
async fn the_bucket_fills_again_at_its_rate() {
    let rate_limit = Some(RateLimit { rate: 20.0, burst: 1, retry_after: true });
    let (_simulator, client) = start_with(TenantOptions { rate_limit, ..TenantOptions::default() }).await;
    let begun = Instant::now();
    let mut passed = 0;
    while passed < 5 {
        passed += u32::from(client.list("Shared", "").await.status == 200);
    }
    assert!(begun.elapsed() >= Duration::from_millis(195), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_limited_request_uses_up_no_rule() {
    let rate_limit = Some(RateLimit { rate: 0.001, burst: 0, retry_after: false });
    let (simulator, client) = start_with(TenantOptions { rate_limit, ..TenantOptions::default() }).await;
    simulator.inject(Rule::documented(Documented::BadXpath).named("kept").once());
    assert_eq!(client.list("Shared", "").await.status, 429);
    assert_eq!(simulator.hits("kept"), 0);
}

#[tokio::test]
async fn writes_to_one_tenant_exclude_each_other() {
    for (write_lock, created) in [(WriteLock::Fail, 1), (WriteLock::Queue, 3), (WriteLock::Off, 3)] {
        let options = TenantOptions { write_lock, latency_ms: 400, ..TenantOptions::default() };
        let (simulator, client) = start_with(options).await;
        let bodies = [okta("a"), okta("b"), okta("c")];
        let answers = join_all(bodies.iter().map(|body| client.create("Shared", body))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), created, "{write_lock:?}");
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            assert_eq!(answer.status, 500);
            assert!(answer.message().contains("write lock"));
        }
        let mut applied: Vec<u64> = simulator.log().entries().iter().filter_map(|entry| entry.applied_us).collect();
        applied.sort_unstable();
        let apart = applied.windows(2).all(|pair| pair[1] - pair[0] >= 399_000);
        assert_eq!(apart, write_lock != WriteLock::Off, "{write_lock:?} {applied:?}");
    }
}

#[tokio::test]
async fn reads_do_not_wait_for_writes() {
    let (simulator, client) = start_with(TenantOptions { latency_ms: 1500, ..TenantOptions::default() }).await;
    let writing = tokio::spawn({
        let client = client.clone();
        async move { client.create("Shared", &okta("a")).await.status }
    });
    simulator.log().wait_until(LONG, |log| log.in_flight() == 1).await.unwrap();
    simulator.tenant(TSG).configure(|options| options.latency_ms = 0);
    assert_eq!(client.list("Shared", "").await.status, 200);
    assert_eq!(simulator.log().with(super::super::Log::in_flight), 1, "the write is still under way");
    assert_eq!(writing.await.unwrap(), 201);
}

#[tokio::test]
async fn the_log_tells_what_was_asked_and_holds_no_secret() {
    let (simulator, client) = start().await;
    simulator.inject(Rule::documented(Documented::InvalidObject).named("second").skip(1).times(1));
    let id = id_of(&client.create("Mobile Users", &okta("a")).await);
    client.create("Mobile Users", &okta("b")).await;
    client.list("Mobile Users", "&limit=7&offset=3&name=a").await;
    client.get(&format!("{SERVERS}/{id}")).await;
    let entries = simulator.log().entries();
    assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let post = &entries[0];
    assert_eq!((post.method.as_str(), post.path.as_str(), post.route), ("POST", SERVERS, Route::MfaServers));
    assert_eq!((post.folder.as_deref(), post.position.as_deref()), (Some("Mobile Users"), Some("pre")));
    assert_eq!((post.name.as_deref(), post.tenant.as_deref()), (Some("a"), Some(TSG)));
    assert_eq!((post.status, post.outcome, post.client.as_deref()), (Some(201), Outcome::Answered, Some("static")));
    assert!(post.start_us <= post.applied_us.unwrap() && post.applied_us <= post.end_us);
    assert_eq!((entries[1].rule.as_deref(), entries[1].status), (Some("second"), Some(400)));
    assert_eq!(entries[1].applied_us, None);
    let list = &entries[2];
    assert_eq!((list.limit.as_deref(), list.offset.as_deref()), (Some("7"), Some("3")));
    assert_eq!(list.query_name.as_deref(), Some("a"));
    assert_eq!((entries[3].id.as_deref(), entries[3].object.as_deref()), (Some(id.as_str()), Some("a")));
    let text = serde_json::to_string(&entries).unwrap();
    assert!(!text.contains(SECRET) && !text.contains(TOKEN) && !text.contains("evdypN5"), "{text}");
}

#[tokio::test]
async fn the_log_counts_and_is_reset() {
    let (simulator, client) = start_with(TenantOptions { latency_ms: 500, ..TenantOptions::default() }).await;
    join_all((0..5).map(|_| client.list("Shared", ""))).await;
    client.list("Nowhere", "").await;
    let summary = simulator.log().summary();
    assert_eq!(summary.by_route.get("GET mfa-servers"), Some(&6));
    assert_eq!(summary.by_answer.get("GET mfa-servers 200"), Some(&5));
    assert_eq!(summary.by_answer.get("GET mfa-servers 400"), Some(&1));
    assert_eq!((summary.max_in_flight, summary.max_in_flight_by_tenant[TSG], summary.in_flight), (5, 5, 0));
    assert_eq!(summary.per_second.iter().sum::<u32>(), 6);
    simulator.log().reset();
    assert_eq!(simulator.log().summary().requests, 0);
    client.list("Shared", "").await;
    assert_eq!(simulator.log().entries()[0].seq, 7, "numbers go on");
}

#[tokio::test]
async fn a_wait_on_the_log_ends_with_its_condition_or_its_deadline() {
    let (simulator, client) = start().await;
    let log = simulator.log();
    let waiting = tokio::spawn({
        let log = log.clone();
        async move { log.wait_until(LONG, |log| log.count("GET", Route::MfaServers) >= 2).await }
    });
    client.list("Shared", "").await;
    client.list("Shared", "").await;
    waiting.await.unwrap().unwrap();
    let late = log.wait_until(Duration::from_millis(20), |log| log.count("PUT", Route::MfaServer) > 0).await;
    let message = late.unwrap_err().to_string();
    assert!(message.contains("GET mfa-servers"), "it says what the log holds instead: {message}");
}
