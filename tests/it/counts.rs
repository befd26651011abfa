//! How much the operator asks of the tenant and of the API server, counted by both.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use kube::ResourceExt as _;
use kube::api::ListParams;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use mfa_sandbox::simulator::{
    Entry, Folder, Log, Options, Position, RateLimit, Reply, Route, Rule, TenantOptions, WriteLock,
};
use serde_json::{Value, json};

use crate::faults::foreign;
use crate::harness::LIMIT;
use crate::operator::{Stage, TENANT, TOKEN, okta_with, says};

/// How long a call takes that is on its way when another one is told to wait.
const ON_ITS_WAY: Duration = Duration::from_millis(200);

/// Resources of these names, applied side by side.
async fn apply_all(stage: &Stage, resources: &[(String, Value)]) {
    stream::iter(resources)
        .for_each_concurrent(16, |(name, spec)| async move {
            stage.apply(&okta_with(name, spec)).await;
        })
        .await;
}

fn many(prefix: &str, count: usize, spec: &Value) -> Vec<(String, Value)> {
    (0..count).map(|number| (format!("{prefix}-{number}"), spec.clone())).collect()
}

/// Waits until all of these are in order.
async fn all_ready(stage: &Stage, resources: &[(String, Value)]) {
    let mut missing: BTreeSet<&str> = resources.iter().map(|(name, _)| name.as_str()).collect();
    let ready = async {
        let mut events = std::pin::pin!(watcher(stage.servers(), watcher::Config::default()).default_backoff());
        while let Some(event) = events.next().await {
            if let Ok(Event::Apply(server) | Event::InitApply(server)) = event
                && says(&server, "Ready").as_deref() == Some("True/Available")
            {
                missing.remove(&*server.name_any());
            }
            if missing.is_empty() {
                return;
            }
        }
    };
    let late = tokio::time::timeout(LIMIT, ready).await.is_err();
    assert!(!late, "{} are not ready, {:?} among them{}", missing.len(), missing.first(), stage.log_ends());
}

/// Every resource's version.
async fn versions(stage: &Stage) -> BTreeMap<String, Option<String>> {
    let servers = stage.servers().list(&ListParams::default()).await.expect("the resources");
    servers.into_iter().map(|server| (server.name_any(), server.resource_version())).collect()
}

/// The writes to resources so far, as the API server counts them: by verb, and subresource where there is one.
async fn writes(stage: &Stage) -> BTreeMap<String, u64> {
    let metrics = stage.namespace.kubectl(&["get", "--raw", "/metrics"]).await;
    assert!(metrics.ok, "{}", metrics.stderr);
    let mut writes = BTreeMap::new();
    for line in metrics.stdout.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
        let label = |name: &str| line.split_once(&format!("{name}=\"")).and_then(|(_, rest)| rest.split('"').next());
        let verb = label("verb").unwrap_or_default();
        if label(",resource") != Some("mfaservers") || matches!(verb, "GET" | "LIST" | "WATCH") {
            continue;
        }
        let count = line.rsplit(' ').next().and_then(|count| count.parse::<f64>().ok()).expect("a number");
        let what = format!("{verb} {}", label("subresource").unwrap_or_default());
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
        let count = count as u64;
        *writes.entry(what.trim().to_owned()).or_default() += count;
    }
    writes
}

/// What was written since: an entry for each kind that was.
fn since(before: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>) -> Vec<(String, u64)> {
    let more = |(what, count): (&String, &u64)| (what.clone(), count - before.get(what).copied().unwrap_or(0));
    now.iter().map(more).filter(|(_, count)| *count > 0).collect()
}

fn of_folder(log: &Log, folder: Folder) -> impl Iterator<Item = &Entry> {
    log.entries().iter().filter(move |entry| entry.folder.as_deref() == Some(folder.as_str()))
}

fn listings(log: &Log, folder: Folder) -> usize {
    of_folder(log, folder).filter(|entry| entry.method == "GET" && entry.status == Some(200)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_resources_cost_what_is_needed_and_then_a_listing_a_resync() {
    const FOLDERS: [Folder; 2] = [Folder::MobileUsers, Folder::RemoteNetworks];
    let stage = Stage::new().await;
    let mut resources = many("mobile", 100, &json!({}));
    resources.extend(many("remote", 100, &json!({ "folder": "Remote Networks" })));
    let before = writes(&stage).await;
    let operator = stage.operator().flag("--api-qps", "0").flag("--resync-interval", "1h").start();
    apply_all(&stage, &resources).await;
    all_ready(&stage, &resources).await;
    assert_eq!(operator.terminate().await.code(), Some(0));

    let log = stage.simulator.log();
    assert_eq!(log.count("POST", Route::MfaServers), 200);
    for folder in FOLDERS {
        assert_eq!(log.with(|log| listings(log, folder)), 1, "{folder}");
    }
    log.with(|log| assert_eq!(log.entries().len(), 202, "{:?}", log.summary()));
    let written = since(&before, &writes(&stage).await);
    // The first 200 are the test's own; then a merge patch and a status apply for each.
    let expected = [("APPLY", 200), ("APPLY status", 200), ("PATCH", 200)];
    assert_eq!(written, expected.map(|(what, count)| (what.to_owned(), count)), "{}", stage.log_ends());
    assert!(stage.events().await.len() <= 200);

    // Another operator looks, and then twice more at each resync.
    let (before, at) = (writes(&stage).await, versions(&stage).await);
    log.reset();
    let operator = stage.operator().flag("--api-qps", "0").start();
    let looked = |log: &Log| FOLDERS.iter().all(|folder| listings(log, *folder) >= 3);
    stage.wait_requests("three listings of each folder", looked).await;
    assert_eq!(operator.terminate().await.code(), Some(0));
    log.with(|log| {
        for folder in FOLDERS {
            let starts: Vec<u64> = of_folder(log, folder).map(|entry| entry.start_us).collect();
            let apart: Vec<u64> = starts.windows(2).map(|two| (two[1] - two[0]) / 1_000_000).collect();
            assert!(starts.len() >= 3 && apart.iter().all(|seconds| *seconds >= 8), "{folder}: {apart:?} s apart");
        }
        let listed = FOLDERS.map(|folder| listings(log, folder)).iter().sum::<usize>();
        assert_eq!(log.entries().len(), listed, "{:?}", log.summary());
    });
    assert_eq!(since(&before, &writes(&stage).await), [], "{}", stage.log_ends());
    assert_eq!(versions(&stage).await, at);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_hangs_delays_no_other() {
    const SLOW: &str = "1000000002";
    const SLOW_TOKEN: &str = "the-bearer-token-of-the-slow-tenant";
    let options = Options::single(TENANT, TOKEN).tenant(SLOW, TenantOptions::with_bearer_token(SLOW_TOKEN));
    let stage = Stage::with(options).await;
    stage.secret("slow", &[("token", SLOW_TOKEN)]).await;
    // Lists are answered, so that every resource gets as far as its create.
    stage.simulator.inject(Rule::new(Reply::Hang).on("POST", Route::MfaServers).tenant(SLOW));
    let folder = Folder::RemoteNetworks;
    stage.simulator.inject(Rule::new(Reply::Hang).on("GET", Route::MfaServers).folder(folder).tenant(SLOW));
    let _operator = stage.operator().flag("--request-timeout", "1m").flag("--resync-interval", "1h").start();
    let slow = json!({ "credentialsSecretRef": { "name": "slow" } });
    apply_all(&stage, &many("slow", 60, &slow)).await;
    let unlisted = json!({ "credentialsSecretRef": { "name": "slow" }, "folder": folder.as_str() });
    apply_all(&stage, &many("unlisted", 60, &unlisted)).await;
    // At most as many as are allowed in flight.
    stage.wait_requests("the slow tenant's calls", |log| log.in_flight() >= 8).await;
    let begin = Instant::now();
    let quick = many("quick", 20, &json!({}));
    apply_all(&stage, &quick).await;
    all_ready(&stage, &quick).await;
    let took = begin.elapsed();
    // Before the slow tenant's calls are given up.
    assert!(took < Duration::from_secs(40), "the other tenant's resources took {took:?}{}", stage.log_ends());
    stage.simulator.log().with(|log| {
        let most = log.summary().max_in_flight_by_tenant[SLOW];
        assert_eq!(most, 8, "calls in flight to the slow tenant");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_is_kept_to_the_second() {
    let stage = Stage::new().await;
    let limit = RateLimit { rate: 10.0, burst: 10, retry_after: true };
    stage.tenant.configure(|options| options.rate_limit = Some(limit));
    let _operator = stage.operator().flag("--api-qps", "0").flag("--resync-interval", "1h").start();
    let resources = many("corp", 60, &json!({}));
    apply_all(&stage, &resources).await;
    all_ready(&stage, &resources).await;
    let entries = stage.simulator.log().entries();
    let refused: Vec<&Entry> = entries.iter().filter(|entry| entry.status == Some(429)).collect();
    assert!(!refused.is_empty(), "nothing was refused");
    for entry in &refused {
        let seconds: u64 = entry.retry_after.as_deref().expect("a Retry-After").parse().expect("seconds");
        let told = entry.end_us.expect("an answer");
        let early = entries
            .iter()
            .find(|other| other.start_us > told + micros(ON_ITS_WAY) && other.start_us < told + seconds * 1_000_000);
        assert!(early.is_none(), "told to wait {seconds} s at {told} µs, but {early:?}");
    }
    assert_eq!(stage.simulator.log().with(|log| log.answered("POST", Route::MfaServers, 201)), 60);
    assert_eq!(stage.tenant.objects().len(), 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_lock_that_fails_others_makes_the_operator_send_fewer_at_a_time() {
    let stage = Stage::new().await;
    stage.tenant.configure(|options| {
        options.write_lock = WriteLock::Fail;
        options.latency_ms = 20;
    });
    let _operator = stage.operator().flag("--api-qps", "0").flag("--resync-interval", "1h").start();
    let resources = many("corp", 60, &json!({}));
    apply_all(&stage, &resources).await;
    all_ready(&stage, &resources).await;
    let entries = stage.simulator.log().entries();
    let locked = entries.iter().filter(|entry| entry.status == Some(500)).count();
    assert!(locked > 0, "no write met another");
    assert_eq!(stage.tenant.objects().len(), 60);
    // Once it has learned that, two at a time are the most: it tries one more after twenty that went well.
    let learned = entries.iter().filter(|entry| entry.status == Some(500)).nth(8).and_then(|entry| entry.end_us);
    let later: Vec<&Entry> = entries.iter().filter(|entry| Some(entry.start_us) > learned).collect();
    let at_once = |entry: &Entry| {
        entries
            .iter()
            .filter(|other| other.start_us <= entry.start_us && other.end_us.is_none_or(|end| end > entry.start_us))
            .count()
    };
    let most = later.iter().map(|entry| at_once(entry)).max();
    assert!(learned.is_none() || most <= Some(3), "{most:?} at once after {locked} met a lock");
    assert!(locked <= 30, "{locked} creates met a lock");
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).expect("a short time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_that_wait_for_their_turns_look_once_each_and_then_write() {
    let stage = Stage::new().await;
    let mine = [many("edited", 20, &json!({})), many("gone", 10, &json!({}))].concat();
    let first = stage.operator().flag("--api-qps", "0").start();
    apply_all(&stage, &mine).await;
    all_ready(&stage, &mine).await;
    assert_eq!(first.terminate().await.code(), Some(0));
    for object in stage.tenant.objects() {
        if object.name.starts_with("edited") {
            stage.tenant.edit(&object.id, &json!({ "mfa_cert_profile": "edited" })).unwrap();
        } else {
            stage.tenant.delete(&object.id).unwrap();
        }
    }
    let adopted = many("adopted", 10, &json!({ "adoptionPolicy": "Always" }));
    for (name, _) in &adopted {
        stage.tenant.create(Folder::MobileUsers, Position::Pre, &foreign(name, "theirs")).unwrap();
    }
    apply_all(&stage, &adopted).await;
    stage.simulator.log().reset();

    // So few turns that somebody is always waiting for one.
    let second = stage.operator().flag("--resync-interval", "1h").flag("--request-timeout", "1m");
    let _second = second.flag("--api-qps", "20").flag("--api-burst", "1").start();
    let written = |log: &Log| {
        log.answered("PUT", Route::MfaServer, 200) == 30 && log.answered("POST", Route::MfaServers, 201) == 10
    };
    stage.wait_requests("all writes", written).await;
    assert_eq!(stage.simulator.log().count("GET", Route::MfaServer), 40, "{:?}", stage.simulator.log().summary());
    assert!(stage.tenant.objects().iter().all(|object| object.field("/mfa_cert_profile") == Some(&json!("corp-ca"))));
}
