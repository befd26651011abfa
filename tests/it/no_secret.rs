//! No secret is in anything that the operator writes: its log at level TRACE, resources, Events.
//!
//! Secrets are planted that are random and long, so that twelve characters of one of them in a row are no accident, as they
//! are or in another guise. Then everything happens to them that can: they are sent, refused, echoed and changed.

use std::{collections::HashMap, fmt::Write as _};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use futures::{StreamExt as _, future::join_all};
use kube::{
    Api,
    api::{DynamicObject, ListParams},
    core::ApiResource,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, watcher},
    },
};
use mfa_operator::crd::MfaServer;
use mfa_sandbox::simulator::{Documented, Folder, Position, Reply, Route, Rule, SecretEcho};
use rand::{Rng as _, distr::Alphanumeric};
use serde_json::{Value, json};
use sha1::Digest as _;
use tokio::sync::mpsc;

use crate::operator::{Stage, TENANT, okta, okta_with};

/// So many characters in a row are no accident.
const TELLING: usize = 12;

/// A secret that is planted.
fn plant() -> String {
    rand::rng().sample_iter(Alphanumeric).take(40).map(char::from).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What is looked for: every run of [`TELLING`] characters of every guise of every secret, and whose it is.
#[derive(Default)]
struct Needles(HashMap<Vec<u8>, String>);

impl Needles {
    fn add(&mut self, name: &str, secret: &str) {
        self.add_bytes(name, "plain", secret.as_bytes());
        let digests: [(&str, Vec<u8>); 3] = [
            ("itself", secret.as_bytes().to_vec()),
            ("SHA-1", sha1::Sha1::digest(secret).to_vec()),
            ("SHA-256", sha2::Sha256::digest(secret).to_vec()),
        ];
        for (what, bytes) in digests {
            let hex = hex(&bytes);
            self.add_bytes(name, &format!("hex of {what}"), hex.as_bytes());
            self.add_bytes(name, &format!("hex of {what}"), hex.to_uppercase().as_bytes());
            // As Debug writes bytes.
            let list = bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
            self.add_whole(name, &format!("bytes of {what}"), &list.as_bytes()[..list.len().min(40)]);
            for (at, ahead) in [&b""[..], b"\0", b"\0\0"].into_iter().enumerate() {
                let text = [ahead, &bytes].concat();
                // Only the characters that these bytes alone decide.
                let (begin, end) = ((at * 8).div_ceil(6), text.len() * 8 / 6);
                for encoded in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                    self.add_bytes(name, &format!("base64 of {what}"), &encoded.as_bytes()[begin..end]);
                }
            }
        }
    }

    fn add_bytes(&mut self, name: &str, guise: &str, bytes: &[u8]) {
        for run in bytes.windows(TELLING) {
            self.0.insert(run.to_vec(), format!("{name} ({guise})"));
        }
    }

    fn add_whole(&mut self, name: &str, guise: &str, bytes: &[u8]) {
        self.0.insert(bytes.to_vec(), format!("{name} ({guise})"));
    }

    /// What of it is in a text, each once, with what stands around it.
    fn found(&self, text: &str) -> Vec<String> {
        let mut found: HashMap<&str, String> = HashMap::new();
        let mut lengths: Vec<usize> = self.0.keys().map(Vec::len).collect();
        lengths.sort_unstable();
        lengths.dedup();
        for line in text.lines() {
            for length in &lengths {
                for (at, run) in line.as_bytes().windows(*length).enumerate() {
                    if let Some(whose) = self.0.get(run) {
                        let around = line.as_bytes()[at.saturating_sub(200)..(at + 60).min(line.len())].to_vec();
                        found.entry(whose).or_insert_with(|| String::from_utf8_lossy(&around).into_owned());
                    }
                }
            }
        }
        let mut found: Vec<_> = found.into_iter().map(|(whose, around)| format!("{whose}: …{around}…")).collect();
        found.sort();
        found
    }
}

#[test]
fn the_search_finds_a_secret_in_every_guise() {
    let secret = plant();
    let mut needles = Needles::default();
    needles.add("planted", &secret);
    let digest = sha1::Sha1::digest(&secret);
    for text in [
        format!("token={secret}"),
        format!("a part: {}", &secret[13..26]),
        STANDARD_NO_PAD.encode(&secret),
        STANDARD_NO_PAD.encode(format!("a:{secret}")),
        URL_SAFE_NO_PAD.encode(format!(r#"{{"okta_token":"{secret}"}}"#)),
        hex(secret.as_bytes()),
        format!("{:?}", secret.as_bytes()),
        format!("-AQ=={}=", STANDARD_NO_PAD.encode(digest)),
        hex(&digest).to_uppercase(),
    ] {
        assert!(!needles.found(&text).is_empty(), "{text}");
    }
    assert_eq!(needles.found(&plant()), Vec::<String>::new());
}

/// One resource of each vendor; the Secret is `vendor-secrets`.
fn vendors() -> [(&'static str, Value, &'static [&'static str]); 4] {
    let secret = |key: &str| json!({ "secretKeyRef": { "name": "vendor-secrets", "key": key } });
    [
        (
            "okta",
            json!({ "oktaAdaptiveV1": {
                "oktaApiHost": "corp.okta.example.com", "oktaOrg": "corp", "oktaToken": secret("okta"),
            }}),
            &["okta"],
        ),
        (
            "duo",
            json!({ "duoSecurityV2": {
                "duoApiHost": "api-1.duo.example.com", "duoIntegrationKey": "DI00000000EXAMPLE000",
                "duoSecretKey": secret("duo"),
            }}),
            &["duo"],
        ),
        (
            "ping",
            json!({ "pingIdentityV1": {
                "pingOrg": "corp", "pingToken": secret("ping"), "pingUseBase64Key": secret("ping-key"),
            }}),
            &["ping", "ping-key"],
        ),
        (
            "rsa",
            json!({ "rsaSecuridAccessV1": {
                "rsaApiHost": "rsa.example.com", "rsaAccessid": "an-access-id", "rsaAssurancepolicyid": "policy",
                "rsaAccesskey": secret("rsa"),
            }}),
            &["rsa"],
        ),
    ]
}

/// Every state that a resource has had, as the API server tells it.
fn follow(stage: &Stage) -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let api: Api<DynamicObject> = untyped(stage);
    tokio::spawn(async move {
        let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
        while let Some(event) = events.next().await {
            let told = match event {
                Ok(
                    watcher::Event::Apply(object) | watcher::Event::InitApply(object) | watcher::Event::Delete(object),
                ) => serde_json::to_string(&object).unwrap(),
                _ => continue,
            };
            if sender.send(told).is_err() {
                return;
            }
        }
    });
    receiver
}

fn untyped(stage: &Stage) -> Api<DynamicObject> {
    Api::namespaced_with(stage.namespace.client.clone(), &stage.namespace.name, &ApiResource::erase::<MfaServer>(&()))
}

fn with_credentials(name: &str) -> Value {
    okta_with(name, &json!({ "credentialsSecretRef": { "name": name } }))
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "what happens to secrets, one thing after another")]
async fn no_secret_is_in_a_log_a_resource_or_an_event() {
    let stage = Stage::new().await;
    let mut needles = Needles::default();
    let mut planted = |name: &str| {
        let secret = plant();
        needles.add(name, &secret);
        secret
    };

    // The credentials: a bearer token, a service account and the token that it gets, and some that are refused.
    let bearer = planted("bearer token");
    stage.credentials("prisma-access", &bearer).await;
    let (account, fetched) = (planted("service account's secret"), planted("fetched token"));
    stage.tenant.set_service_account("account", &account);
    stage.tenant.add_bearer_token(&fetched);
    let token = json!({ "access_token": fetched, "token_type": "Bearer", "expires_in": 899 }).to_string();
    let reply = Reply::Raw { status: 200, headers: [].into(), body: token };
    stage.simulator.inject(Rule::new(reply).named("token").on("POST", Route::Token).client_id("account"));
    stage.secret("account", &[("client_id", "account"), ("client_secret", &account), ("tsg_id", TENANT)]).await;
    let refused = planted("refused account's secret");
    let reply = Reply::OauthError {
        status: 401,
        error: "invalid_client".to_owned(),
        description: format!("{refused} is not the secret"),
    };
    stage.simulator.inject(Rule::new(reply).on("POST", Route::Token).client_id("refused-account"));
    let keys = [("client_id", "refused-account"), ("client_secret", refused.as_str()), ("tsg_id", TENANT)];
    stage.secret("refused-account", &keys).await;
    // What is forbidden one resource is forbidden all that share its credential: so this one shares none.
    let forbidden = planted("token that may not create");
    stage.credentials("echo-403", &forbidden).await;
    let revoked = planted("revoked token");
    stage.secret("revoked", &[("token", &revoked)]).await;
    let reply = Reply::Raw {
        status: 401,
        headers: [("content-type".to_owned(), "application/json".to_owned())].into(),
        body: json!({ "_errors": [{ "code": "E016", "message": format!("Invalid Credential: {revoked}"),
            "details": [revoked] }], "_request_id": "abcd-1234" })
        .to_string(),
    };
    stage.simulator.inject(Rule::new(reply).named("revoked").token(&revoked));
    let two_lines = planted("token with a line break");
    stage.secret("two-lines", &[("token", &format!("{two_lines}\n{two_lines}"))]).await;

    // The vendors' secrets.
    let keys = ["okta", "duo", "ping", "ping-key", "rsa"];
    let mut values: HashMap<&str, String> = keys.into_iter().map(|key| (key, planted(key))).collect();
    let pairs = |values: &HashMap<&'static str, String>| {
        values.iter().map(|(key, value)| (*key, value.clone())).collect::<Vec<_>>()
    };
    let store = async |values: &HashMap<&'static str, String>| {
        let pairs = pairs(values);
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| (*key, value.as_str())).collect();
        stage.secret("vendor-secrets", &pairs).await;
    };
    store(&values).await;
    let bytes = [planted("vendor's secret that is not text").as_bytes(), b"\xff\xfe"].concat();
    stage.secret_of_bytes("not-text", &[("token", &bytes)]).await;
    let echoed = planted("vendor's secret that is echoed");
    stage.secret("vendor", &[("token", &echoed)]).await;

    // Two that stand there already, one to be adopted and one not, with secrets that somebody else has set.
    let foreign = planted("foreign secret");
    for name in ["adopted", "not-adopted"] {
        let body = json!({ "name": name, "mfa_cert_profile": "theirs", "mfa_vendor_type": { "okta_adaptive_v1": {
            "okta_api_host": "theirs.okta.example.com", "okta_baseuri": "/api/v1", "okta_org": "theirs",
            "okta_timeout": "30", "okta_token": foreign,
        }}});
        stage.tenant.create(Folder::MobileUsers, Position::Pre, &body).unwrap();
    }

    // Answers that repeat the request, or break off within it.
    let post = |name: &str, reply: Reply| {
        stage.simulator.inject(Rule::new(reply).named(name).on("POST", Route::MfaServers).object(name));
    };
    let repeating = [
        ("echo-400", 400),
        ("echo-403", 403),
        ("echo-409", 409),
        ("echo-500", 500),
        ("echo-502", 502),
        ("echo-200", 200),
    ];
    for (name, status) in repeating {
        post(name, Reply::EchoRequest { status });
    }
    post("half-json", Reply::TruncatedJson);
    post("half-body", Reply::TruncatedBody);
    post("name-not-unique", Reply::Documented(Documented::NameNotUnique));

    let mut states = follow(&stage);
    let first = stage.operator().env("RUST_LOG", "trace").start();
    for (name, vendor, _) in vendors() {
        stage.apply(&okta_with(name, &json!({ "mfaVendorType": vendor }))).await;
    }
    stage.apply(&okta_with("adopted", &json!({ "adoptionPolicy": "Always" }))).await;
    stage.apply(&okta_with("not-adopted", &json!({ "adoptionPolicy": "IfIdentical" }))).await;
    for name in ["account", "refused-account", "revoked", "two-lines", "echo-403"] {
        stage.apply(&with_credentials(name)).await;
    }
    for name in
        ["echo-400", "echo-409", "echo-500", "echo-502", "echo-200", "half-json", "half-body", "name-not-unique"]
    {
        stage.apply(&okta(name)).await;
    }
    let mut not_text = okta("not-text");
    not_text["spec"]["mfaVendorType"]["oktaAdaptiveV1"]["oktaToken"]["secretKeyRef"]["name"] = json!("not-text");
    stage.apply(&not_text).await;

    let available = ["okta", "duo", "ping", "rsa", "adopted", "account"];
    join_all(available.iter().map(|name| stage.wait_ready(name, "True", "Available"))).await;
    for (name, reason) in [
        ("not-adopted", "AdoptionRefused"),
        ("refused-account", "TokenRequestRejected"),
        ("revoked", "InvalidCredential"),
        ("two-lines", "SecretInvalid"),
        ("not-text", "SecretInvalid"),
        ("echo-400", "InvalidObject"),
        ("echo-403", "Forbidden"),
        ("echo-409", "Conflict"),
        ("echo-500", "ServerError"),
        ("echo-502", "ServerError"),
        ("echo-200", "OutcomeUnknown"),
        ("name-not-unique", "NameNotUnique"),
    ] {
        stage.wait_ready(name, "False", reason).await;
    }
    // What was cut off had taken effect, and is found out.
    join_all(["half-json", "half-body"].iter().map(|name| stage.wait_ready(name, "True", "Available"))).await;
    for (name, _, keys) in vendors() {
        let body = stage.tenant.find(Folder::MobileUsers, name).unwrap().body;
        let sent = serde_json::to_string(&body).unwrap();
        assert!(keys.iter().all(|key| sent.contains(&values[key])), "{name} was sent without its secret");
    }

    // Changed: a spec, a secret, an object in the tenant; and a change that is refused with an echo.
    for name in ["duo", "adopted"] {
        stage.patch(name, &json!({ "spec": { "mfaCertProfile": "another-ca" } })).await;
    }
    for key in ["okta", "ping"] {
        values.insert(key, planted("changed secret"));
    }
    store(&values).await;
    let by_name = |name: &str| stage.tenant.find(Folder::MobileUsers, name).unwrap().id;
    stage.patch("rsa", &json!({ "spec": { "driftPolicy": "Report" } })).await;
    let drift = json!({ "mfa_vendor_type": { "rsa_securid_access_v1": {
        "rsa_api_host": "drift.example.com", "rsa_accesskey": planted("drifted secret"),
    }}});
    stage.tenant.edit(&by_name("rsa"), &drift).unwrap();
    stage
        .wait_requests("the changed secrets", |_| {
            ["okta", "ping"].iter().all(|name| {
                let body = stage.tenant.find(Folder::MobileUsers, name).map(|object| object.body);
                body.is_some_and(|body| serde_json::to_string(&body).unwrap().contains(&values[name]))
            })
        })
        .await;
    stage.wait_ready("rsa", "False", "DriftReported").await;
    join_all(["okta", "duo", "ping", "adopted"].iter().map(|name| stage.wait_ready(name, "True", "Available"))).await;
    assert_eq!(first.log().lines().iter().filter(|line| line["level"] == "TRACE").take(1).count(), 1);
    let log = first.log().clone();
    assert_eq!(first.terminate().await.code(), Some(0));
    let mut written = vec![("the log as JSON", log.text())];

    // And again as text, with a tenant that shows every secret as it is.
    stage.tenant.answer(|answers| answers.secrets = SecretEcho::Plaintext);
    let put = Rule::new(Reply::EchoRequest { status: 400 }).named("put").on("PUT", Route::MfaServer).object("duo");
    stage.simulator.inject(put);
    let get = Rule::new(Reply::TruncatedJson).named("get").on("GET", Route::MfaServer).object("adopted").once();
    stage.simulator.inject(get);
    let list = Rule::new(Reply::TruncatedJson).named("list").on("GET", Route::MfaServers).once();
    stage.simulator.inject(list);
    let second = stage.operator().env("RUST_LOG", "trace").flag("--log-format", "text").start();
    for name in ["duo", "adopted"] {
        stage.patch(name, &json!({ "spec": { "mfaCertProfile": "a-third-ca" } })).await;
    }
    stage.wait_ready("duo", "False", "InvalidObject").await;
    stage.wait_ready("adopted", "True", "Available").await;
    assert_eq!(["put", "get", "list"].map(|rule| stage.simulator.hits(rule) > 0), [true; 3]);
    for name in ["okta", "duo", "ping", "account"] {
        stage.delete(name).await;
    }
    join_all(["okta", "duo", "ping", "account"].iter().map(|name| stage.wait_gone(name))).await;
    let log = second.log().clone();
    assert_eq!(second.terminate().await.code(), Some(0));
    assert!(log.text().contains("TRACE"));
    written.push(("the log as text", log.text()));

    let mut seen = String::new();
    while let Ok(state) = states.try_recv() {
        seen.push_str(&state);
        seen.push('\n');
    }
    assert!(seen.contains("echo-400"), "no resource was seen");
    written.push(("a resource", seen));
    let left = untyped(&stage).list(&ListParams::default()).await.unwrap();
    written.push(("a resource that is left", serde_saphyr::to_string(&left.items).unwrap()));
    let events = serde_json::to_string(&stage.events().await).unwrap();
    assert!(events.contains("InvalidCredential"), "no event was seen");
    written.push(("an event", events));

    let mut leaks = Vec::new();
    for (place, text) in &written {
        leaks.extend(needles.found(text).into_iter().map(|leak| format!("{place}: {leak}")));
    }
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}
