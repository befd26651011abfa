//! One credential, many resources: one token, one probe, and nobody else's trouble.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::{StreamExt as _, stream};
use kube::ResourceExt as _;
use kube::api::ListParams;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use mfa_operator::crd::MfaServer;
use mfa_sandbox::simulator::{Documented, Entry, Folder, Options, Reply, Route, Rule, TenantOptions, TokenShape};
use serde_json::{Value, json};

use crate::operator::{OKTA_TOKEN, Stage, TENANT, TOKEN, condition, okta, okta_with, says};

const CLIENT: &str = "mfa-operator@1000000001.iam.example.com";
const SECRET: &str = "not-a-real-client-secret";

fn many(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("server-{number}")).collect()
}

async fn apply_all(stage: &Stage, names: &[String], spec: &Value) {
    stream::iter(names)
        .for_each_concurrent(16, |name| async move {
            stage.apply(&okta_with(name, spec)).await;
        })
        .await;
}

/// Waits until so many resources say this and none says anything else, and answers how long that took.
async fn all_say(stage: &Stage, count: usize, status: &str, reason: &str, within: Duration) -> Duration {
    let begin = Instant::now();
    let wanted = format!("{status}/{reason}");
    let mut said: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut events = std::pin::pin!(watcher(stage.servers(), watcher::Config::default()).default_backoff());
    let seen = async {
        while let Some(event) = events.next().await {
            if let Ok(Event::Apply(server) | Event::InitApply(server)) = event {
                said.insert(server.name_any(), says(&server, "Ready"));
            }
            if said.len() == count && said.values().all(|said| said.as_ref() == Some(&wanted)) {
                return;
            }
        }
    };
    if tokio::time::timeout(within, seen).await.is_err() {
        said.retain(|_, said| said.as_ref() != Some(&wanted));
        panic!(
            "after {within:?}, {} do not say {wanted}: {:?}{}",
            said.len(),
            said.first_key_value(),
            stage.log_ends()
        );
    }
    begin.elapsed()
}

fn count(stage: &Stage, wanted: impl Fn(&Entry) -> bool) -> u64 {
    stage.simulator.log().with(|log| log.entries().iter().filter(|entry| wanted(entry)).count() as u64)
}

fn versions(servers: &[MfaServer]) -> Vec<Option<String>> {
    servers.iter().map(|server| server.metadata.resource_version.clone()).collect()
}

async fn service_account() -> Stage {
    let options = Options::default().tenant(TENANT, TenantOptions::with_service_account(CLIENT, SECRET));
    let stage = Stage::with(options).await;
    let keys = [("client_id", CLIENT), ("client_secret", SECRET), ("tsg_id", TENANT)];
    stage.delete_secret("prisma-access").await;
    stage.secret("prisma-access", &keys).await;
    stage
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_account_with_100_resources_asks_for_one_token() {
    let stage = service_account().await;
    let _operator = stage.operator().flag("--api-qps", "0").start();
    apply_all(&stage, &many(100), &json!({})).await;
    all_say(&stage, 100, "True", "Available", Duration::from_mins(1)).await;
    assert_eq!(stage.simulator.log().count("POST", Route::Token), 1);
    assert_eq!(stage.simulator.log().count("POST", Route::MfaServers), 100);
    let server = stage.get("server-0").await.unwrap();
    assert_eq!(server.status.unwrap().tenant.as_deref(), Some(TENANT));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_refused_by_many_calls_at_once_is_refreshed_once() {
    let stage = service_account().await;
    stage.tenant.configure(|options| options.latency_ms = 300);
    let _operator = stage.operator().flag("--api-qps", "0").start();
    stage.apply(&okta("first")).await;
    stage.wait_ready("first", "True", "Available").await;
    stage.tenant.revoke_tokens(Some(CLIENT));
    let names = many(8);
    apply_all(&stage, &names, &json!({})).await;
    for name in &names {
        stage.wait_ready(name, "True", "Available").await;
    }
    assert_eq!(stage.simulator.log().count("POST", Route::Token), 2);
    let created = count(&stage, |entry| entry.method == "POST" && entry.status == Some(201));
    assert_eq!(created, 9);
    let refused = count(&stage, |entry| entry.method == "POST" && entry.status == Some(401));
    assert!((1..=8).contains(&refused), "{refused} calls met the 401");
    assert_eq!(stage.tenant.objects().len(), 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_account_that_is_refused_says_so_and_recovers_with_its_secret() {
    let stage = service_account().await;
    stage.tenant.set_service_account(CLIENT, "another-secret-by-now");
    let _operator = stage.operator().start();
    stage.apply(&okta("corp")).await;
    let server = stage.wait_ready("corp", "False", "TokenRequestRejected").await;
    assert_eq!(says(&server, "Authenticated").as_deref(), Some("False/TokenRequestRejected"));
    assert!(condition(&server, "Stalled").is_some());
    assert_eq!(stage.simulator.log().count("POST", Route::Token), 1);
    let keys = [("client_id", CLIENT), ("client_secret", "another-secret-by-now"), ("tsg_id", TENANT)];
    stage.secret("prisma-access", &keys).await;
    stage.wait_ready("corp", "True", "Available").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_token_is_said_before_any_call() {
    let stage = Stage::new().await;
    let token = stage.tenant.issue_token(None, Duration::ZERO, TokenShape::Jwt);
    stage.secret("prisma-access", &[("token", &token)]).await;
    let _operator = stage.operator().start();
    stage.apply(&okta("corp")).await;
    let server = stage.wait_ready("corp", "False", "TokenExpired").await;
    assert!(condition(&server, "Stalled").is_some());
    assert_eq!(stage.simulator.log().entries().len(), 0);
    let fresh = stage.tenant.issue_token(None, Duration::from_mins(10), TokenShape::Jwt);
    stage.secret("prisma-access", &[("token", &fresh)]).await;
    stage.wait_ready("corp", "True", "Available").await;
}

/// A thousand resources through the life of their credential: created, checked, restarted, revoked, mended, cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_resources_cost_a_listing_a_resync_and_one_probe_when_their_credential_is_refused() {
    const COUNT: usize = 1_000;
    let limit = Duration::from_mins(3);
    let stage = Stage::new().await;
    let log = stage.simulator.log();
    apply_all(&stage, &many(COUNT), &json!({})).await;
    let operator = stage.operator().flag("--api-qps", "0").start();
    all_say(&stage, COUNT, "True", "Available", limit).await;
    assert_eq!(log.count("POST", Route::MfaServers), COUNT as u64);

    // Two resyncs: five pages each, and no Kubernetes write; the same after a restart.
    let pages = COUNT.div_ceil(200) as u64;
    let before = versions(&stage.servers().list(&ListParams::default()).await.unwrap().items);
    log.reset();
    stage.wait_requests("two resyncs", |log| log.count("GET", Route::MfaServers) >= 2 * pages).await;
    assert_eq!(operator.terminate().await.code(), Some(0));
    let operator = stage.operator().flag("--api-qps", "0").start();
    stage.wait_requests("a listing after the restart", |log| log.count("GET", Route::MfaServers) >= 3 * pages).await;
    stage.wait_requests("another resync", |log| log.count("GET", Route::MfaServers) >= 4 * pages).await;
    assert_eq!(count(&stage, |entry| entry.route != Route::MfaServers || entry.method != "GET"), 0);
    assert_eq!(versions(&stage.servers().list(&ListParams::default()).await.unwrap().items), before);

    // An outage shorter than three resyncs changes nothing.
    stage.simulator.stop().await;
    operator
        .wait_line("two failed lists", |line| {
            line["message"] == "list failed" && line["retry_in_seconds"].as_u64() >= Some(9)
        })
        .await;
    assert_eq!(versions(&stage.servers().list(&ListParams::default()).await.unwrap().items), before);
    log.reset();
    stage.simulator.resume().await.unwrap();
    stage.wait_requests("a listing after the outage", |log| log.answered("GET", Route::MfaServers, 200) >= pages).await;
    assert_eq!(versions(&stage.servers().list(&ListParams::default()).await.unwrap().items), before);

    // Revoked: one call finds out, all say so, and nobody asks again before a minute is over.
    stage.tenant.remove_bearer_token(TOKEN);
    log.reset();
    all_say(&stage, COUNT, "False", "NotAuthenticated", limit).await;
    assert_eq!(count(&stage, |entry| entry.status == Some(401)), 1);

    // Mended: its Secret's change wakes all, well before the minute after which one of them would ask again by itself.
    // `make bench` holds the ten seconds of the design.
    let token = "the-second-token-of-the-first-tenant";
    stage.tenant.add_bearer_token(token);
    stage.credentials("prisma-access", token).await;
    let took = all_say(&stage, COUNT, "True", "Available", limit).await;
    assert!(took < Duration::from_secs(40), "{took:?} from the mended Secret");
    assert_eq!(count(&stage, |entry| entry.method != "GET"), 0);
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forbidden_in_one_folder_is_asked_for_once_and_concerns_no_other_folder() {
    let stage = Stage::new().await;
    let forbidden = Rule::documented(Documented::AuthUnauthorized).on("POST", Route::MfaServers).folder(Folder::Shared);
    stage.simulator.inject(forbidden.named("forbidden"));
    let _operator = stage.operator().flag("--api-qps", "0").flag("--api-max-in-flight", "2").start();
    let names = many(30);
    apply_all(&stage, &names, &json!({ "folder": "Shared" })).await;
    stage.apply(&okta("allowed")).await;
    stage.wait_ready("allowed", "True", "Available").await;
    for name in &names {
        let server = stage.wait_ready(name, "False", "Unauthorized").await;
        assert!(condition(&server, "Stalled").is_some(), "{name}");
        assert_eq!(says(&server, "Authenticated").as_deref(), Some("True/Accepted"), "{name}");
    }
    // Those in flight when the first answer came, and no more.
    let asked = stage.simulator.hits("forbidden");
    assert!((1..=2).contains(&asked), "{asked} calls");
    // Another Secret is another try.
    stage.simulator.remove_rule("forbidden");
    stage.credentials("prisma-access", "the-token-of-a-better-role").await;
    for name in &names {
        stage.wait_ready(name, "True", "Available").await;
    }
}

/// A namespace whose user forges a token for another's tenant: it reaches nothing of that one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_token_neither_sees_nor_pauses_nor_blocks_the_tenant_that_it_names() {
    let options = Options::default().tenant(TENANT, TenantOptions::default());
    let stage = Stage::with(options).await;
    let real = stage.tenant.issue_token(None, Duration::from_mins(10), TokenShape::Jwt);
    stage.secret("prisma-access", &[("token", &real)]).await;
    let claims = json!({ "tsg_id": TENANT, "exp": 4_102_444_800_u64 }).to_string();
    let forged =
        format!("{}.{}.Zm9yZ2Vk", URL_SAFE_NO_PAD.encode("{\"alg\":\"none\"}"), URL_SAFE_NO_PAD.encode(claims));
    // Whatever is answered to the forged token is said to be throttled for long.
    let throttled = Rule::new(Reply::TooManyRequests { retry_after: Some("3600".to_owned()) }).token(&forged);
    stage.simulator.inject(throttled.named("attacker"));
    stage.secret("attacker", &[("token", &forged)]).await;

    let _operator = stage.operator().start();
    // The attacker's resource is the older one of the same name, and says that it is in the middle of creating it.
    let mut attack = okta_with("attack", &json!({ "name": "corp", "credentialsSecretRef": { "name": "attacker" } }));
    attack["metadata"]["annotations"] = json!({ "sse.mfa-operator.io/id": "00000000-0000-4000-8000-000000000000" });
    let attacker = stage.apply(&attack).await;
    let attempt = json!({
        "uid": attacker.metadata.uid, "nonce": "0123456789abcdef", "tenant": TENANT, "folder": "Mobile Users",
        "position": "pre", "name": "corp", "fields": ["name"], "hash": "",
    });
    stage.annotate("attack", "sse.mfa-operator.io/attempt", &attempt.to_string()).await;
    stage.wait_requests("the attacker's call", |log| log.entries().iter().any(|entry| entry.status == Some(429))).await;

    stage.apply(&okta("corp")).await;
    let server = stage.wait_ready("corp", "True", "Available").await;
    let id = server.status.unwrap().id.unwrap();
    // Rejected outright, it learns nothing either.
    stage.simulator.remove_rule("attacker");
    let other = format!("{forged}x");
    stage.secret("attacker", &[("token", &other)]).await;
    let attacker = stage.wait_ready("attack", "False", "NotAuthenticated").await;
    assert!(!serde_json::to_string(&attacker).unwrap().contains(&id));
    assert_eq!(stage.tenant.objects().len(), 1);
    assert_eq!(stage.wait_ready("corp", "True", "Available").await.status.unwrap().id.as_deref(), Some(&*id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_credentials_serve_the_namespaces_that_they_are_meant_for() {
    let stage = Stage::new().await;
    let (served, other) = (stage.namespace.cluster.namespace().await, stage.namespace.cluster.namespace().await);
    let _operator = stage
        .operator()
        .flag("--shared-credentials", &format!("{}/prisma-access", stage.namespace.name))
        .flag("--shared-credentials-namespaces", &served.name)
        .start();
    for namespace in [&served, &other] {
        let vendor = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: vendor}}\nstringData: {{token: {OKTA_TOKEN}}}\n---\n{}",
            okta(&format!("corp-{}", namespace.name))
        );
        let applied = namespace.kubectl_with(&["apply", "-f", "-"], &vendor).await;
        assert!(applied.ok, "{applied:?}");
    }
    let ready = |namespace: &str| format!("mfaserver/corp-{namespace}");
    let wait = ["wait", "--timeout=60s"];
    let yes = served.kubectl(&[&wait[..], &["--for=condition=Ready", &ready(&served.name)]].concat()).await;
    assert!(yes.ok, "{yes:?}{}", stage.log_ends());
    let reason = "--for=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}=SecretNotFound";
    let no = other.kubectl(&[&wait[..], &[reason, &ready(&other.name)]].concat()).await;
    assert!(no.ok, "{no:?}{}", stage.log_ends());
    assert_eq!(stage.tenant.objects().len(), 1);
}
