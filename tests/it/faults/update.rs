//! Updates under faults, rotated secrets, and adoption by id: what is written, and how often.

use mfa_operator::crd::{ANNOTATION_ID, ANNOTATION_RECONCILE_REQUESTED_AT, MfaServer};
use mfa_sandbox::simulator::{Apply, Documented, Folder, Position, Reply, Route, Rule, SecretEcho};
use serde_json::json;

use super::{FOLDER, TIMEOUT, foreign, in_order, listings, objects, only_object, posts};
use crate::operator::{OKTA_TOKEN, Stage, okta, okta_with, says};

fn next_put(name: &str, reply: Reply) -> Rule {
    Rule::new(reply).on("PUT", Route::MfaServer).object(name).once()
}

/// The calls about this id: how often each method.
fn calls(stage: &Stage, id: &str) -> (usize, usize) {
    stage.simulator.log().with(|log| {
        let of = |method| {
            log.entries().iter().filter(|entry| entry.method == method && entry.id.as_deref() == Some(id)).count()
        };
        (of("GET"), of("PUT"))
    })
}

#[tokio::test]
async fn a_changed_spec_is_one_look_and_one_write() {
    let stage = Stage::new().await;
    let _operator = stage.operator().flag("--resync-interval", "1h").start();
    stage.apply(&okta("corp")).await;
    let (_, object) = in_order(&stage, "corp").await;
    stage.tenant.edit(&object.id, &json!({ "a_field_of_tomorrow": "kept" })).unwrap();
    stage.simulator.log().reset();
    stage.apply(&okta_with("corp", &json!({ "mfaCertProfile": "new-ca" }))).await;
    let (_, updated) = in_order(&stage, "corp").await;
    assert_eq!(updated.id, object.id);
    assert_eq!(updated.body["mfa_cert_profile"], "new-ca");
    assert_eq!(updated.body["a_field_of_tomorrow"], "kept");
    assert_eq!(updated.field("/mfa_vendor_type/okta_adaptive_v1/okta_token"), Some(&json!(OKTA_TOKEN)));
    assert_eq!(calls(&stage, &object.id), (1, 1));
    assert_eq!(stage.simulator.log().with(|log| log.entries().len()), 2);
    // What the tenant has nothing of costs no call.
    stage.simulator.log().reset();
    stage.patch("corp", &json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    in_order(&stage, "corp").await;
    assert_eq!(stage.simulator.log().with(|log| log.entries().len()), 0);
}

#[tokio::test]
async fn another_vendor_replaces_the_old_one_whole() {
    let stage = Stage::new().await;
    stage.secret("duo", &[("key", "a-secret-key-of-duo-0123")]).await;
    let _operator = stage.operator().flag("--resync-interval", "1h").start();
    stage.apply(&okta("corp")).await;
    let (_, object) = in_order(&stage, "corp").await;
    let duo = json!({ "mfaVendorType": { "duoSecurityV2": {
        "duoApiHost": "api-0123456.duosecurity.com", "duoIntegrationKey": "an-integration-key-0",
        "duoSecretKey": { "secretKeyRef": { "name": "duo", "key": "key" } },
    } } });
    stage.apply(&okta_with("corp", &duo)).await;
    let (server, replaced) = in_order(&stage, "corp").await;
    assert_eq!(replaced.id, object.id);
    assert_eq!(server.status.unwrap().vendor.as_deref(), Some("duoSecurityV2"));
    assert_eq!(replaced.field("/mfa_vendor_type/okta_adaptive_v1"), None);
    assert_eq!(
        replaced.field("/mfa_vendor_type/duo_security_v2/duo_secret_key"),
        Some(&json!("a-secret-key-of-duo-0123"))
    );
    assert_eq!(calls(&stage, &object.id), (1, 1));
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_looked_at_before_it_is_repeated() {
    let stage = Stage::new().await;
    let server_error = Reply::ServerError { message: "Internal Error".to_owned() };
    // The fault, whether the tenant acted, and how many writes it takes.
    let cases = [
        ("lost-closed", Reply::Close, Apply::Yes, 1),
        ("lost-reset", Reply::Reset, Apply::Yes, 1),
        ("lost-hung", Reply::Hang, Apply::Yes, 1),
        ("gateway", Reply::Html { status: 502 }, Apply::Yes, 1),
        ("late", Reply::Reset, Apply::LateMs(2_000), 1),
        ("never-closed", Reply::Close, Apply::No, 2),
        ("never-hung", Reply::Hang, Apply::No, 2),
        ("server-error", server_error, Apply::No, 2),
        ("write-lock", Reply::WriteLock, Apply::No, 2),
        ("proxys-404", Reply::Html { status: 404 }, Apply::No, 2),
        ("truncated", Reply::TruncatedJson, Apply::Yes, 1),
        ("empty-200", Reply::Empty { status: 200 }, Apply::Yes, 1),
    ];
    let _operator = stage.operator().impatient().flag("--api-qps", "0").flag("--resync-interval", "1h").start();
    for (name, ..) in &cases {
        stage.apply(&okta(name)).await;
    }
    let mut ids = Vec::new();
    for (name, reply, apply, _) in &cases {
        ids.push(in_order(&stage, name).await.1.id);
        stage.simulator.inject(next_put(name, reply.clone()).apply(*apply));
    }
    for (name, ..) in &cases {
        stage.patch(name, &json!({ "spec": { "mfaCertProfile": "new-ca" } })).await;
    }
    for ((name, _, _, wanted), id) in cases.iter().zip(&ids) {
        let (_, object) = in_order(&stage, name).await;
        assert_eq!((&object.id, &object.body["mfa_cert_profile"]), (id, &json!("new-ca")), "{name}");
        let (gets, puts) = calls(&stage, id);
        assert_eq!(puts, *wanted, "{name}{}", stage.log_ends());
        assert!(gets >= puts, "{name}: {gets} looks before {puts} writes");
        assert_eq!(posts(&stage, name).len(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_write_to_what_is_gone_meanwhile_makes_it_anew_and_a_false_word_does_not() {
    let stage = Stage::new().await;
    let _operator = stage.operator().impatient().flag("--resync-interval", "1h").start();
    let names = ["gone", "there"];
    let mut ids = Vec::new();
    for name in names {
        stage.apply(&okta(name)).await;
        ids.push(in_order(&stage, name).await.1.id);
    }
    stage.simulator.inject(next_put("gone", Reply::Usual).delay(TIMEOUT / 2).named("gone"));
    stage.simulator.inject(next_put("there", Reply::Documented(Documented::ObjectNotPresent)));
    for name in names {
        stage.patch(name, &json!({ "spec": { "mfaCertProfile": "new-ca" } })).await;
    }
    stage.wait_requests("the PUT", |_| stage.simulator.hits("gone") == 1).await;
    stage.tenant.delete(&ids[0]).unwrap();
    let (_, gone) = in_order(&stage, "gone").await;
    let (_, there) = in_order(&stage, "there").await;
    assert_ne!(gone.id, ids[0]);
    assert_eq!(there.id, ids[1]);
    for object in [&gone, &there] {
        assert_eq!(object.body["mfa_cert_profile"], "new-ca");
    }
    assert_eq!((posts(&stage, "gone").len(), posts(&stage, "there").len()), (2, 1));
}

#[tokio::test]
async fn drift_is_corrected_by_the_resync_with_one_look_and_one_write() {
    let stage = Stage::new().await;
    let _operator = stage.operator().start();
    stage.apply(&okta("corp")).await;
    let (server, object) = in_order(&stage, "corp").await;
    stage.simulator.log().reset();
    stage.tenant.edit(&object.id, &json!({ "mfa_cert_profile": "edited" })).unwrap();
    stage.wait_requests("the correction", |log| log.answered("PUT", Route::MfaServer, 200) == 1).await;
    assert_eq!(stage.tenant.get(&object.id).unwrap().body["mfa_cert_profile"], "corp-ca");
    let synced = |server: &MfaServer| server.status.as_ref().unwrap().last_sync_time.clone();
    let before = synced(&server);
    stage.wait("corp", "corrected and recorded", |server| synced(server) != before).await;
    // The next resync finds nothing to do.
    let lists = stage.simulator.log().with(listings);
    stage.wait_requests("two more listings", |log| listings(log) >= lists + 2).await;
    assert_eq!(calls(&stage, &object.id), (1, 1));
}

/// A Secret that many use is rotated, and touched without a change.
async fn rotated(echo: SecretEcho) {
    let stage = Stage::new().await;
    stage.tenant.answer(|answers| answers.secrets = echo);
    stage.secret("other-vendor", &[("token", OKTA_TOKEN)]).await;
    let _operator = stage.operator().flag("--resync-interval", "1h").start();
    let names = ["first", "second", "third"];
    for name in names {
        stage.apply(&okta(name)).await;
    }
    let mut other = okta("other");
    other["spec"]["mfaVendorType"]["oktaAdaptiveV1"]["oktaToken"]["secretKeyRef"]["name"] = json!("other-vendor");
    stage.apply(&other).await;
    for name in names.iter().chain(&["other"]) {
        in_order(&stage, name).await;
    }
    let log = stage.simulator.log();
    log.reset();
    let secret = stage.secret("vendor", &[("token", "a-rotated-token-0123")]).await;
    for name in names {
        let version = secret.metadata.resource_version.clone();
        stage
            .wait(name, "sent again", |server| {
                let observed = &server.status.as_ref().unwrap().observed_secrets;
                observed
                    .iter()
                    .any(|secret| secret.name == "vendor" && Some(&secret.resource_version) == version.as_ref())
            })
            .await;
        let (_, object) = in_order(&stage, name).await;
        assert_eq!(object.field("/mfa_vendor_type/okta_adaptive_v1/okta_token"), Some(&json!("a-rotated-token-0123")));
        assert_eq!(calls(&stage, &object.id).1, 1, "{name}");
    }
    let (_, object) = in_order(&stage, "other").await;
    assert_eq!(calls(&stage, &object.id), (0, 0), "the Secret of another one was rotated");
    assert_eq!(log.count("PUT", Route::MfaServer), 3);

    // Another version with the same bytes: nothing is sent.
    log.reset();
    let annotated = stage.namespace.kubectl(&["annotate", "secret", "vendor", "touched=yes"]).await;
    assert!(annotated.ok, "{annotated:?}");
    for name in names {
        stage.annotate(name, ANNOTATION_RECONCILE_REQUESTED_AT, "1").await;
        stage
            .wait(name, "looked at again", |server| server.status.as_ref().unwrap().last_handled_reconcile_at.is_some())
            .await;
        in_order(&stage, name).await;
    }
    assert_eq!(log.count("PUT", Route::MfaServer), 0, "{echo:?}{}", stage.log_ends());
}

#[tokio::test]
async fn a_rotated_secret_is_sent_once_by_each_that_uses_it() {
    rotated(SecretEcho::Digest).await;
}

#[tokio::test]
async fn a_rotated_secret_is_sent_once_where_its_echo_tells_nothing() {
    rotated(SecretEcho::Mask).await;
}

#[tokio::test]
async fn a_rotated_secret_is_sent_once_where_it_is_not_echoed() {
    rotated(SecretEcho::Absent).await;
}

#[tokio::test]
async fn a_secret_rotated_back_after_a_lost_answer_is_sent_again() {
    let stage = Stage::new().await;
    stage.tenant.answer(|answers| answers.secrets = SecretEcho::Mask);
    let _operator = stage.operator().impatient().flag("--resync-interval", "1h").start();
    stage.apply(&okta("corp")).await;
    in_order(&stage, "corp").await;
    stage.simulator.inject(next_put("corp", Reply::Close).apply(Apply::Yes).named("lost"));
    stage.secret("vendor", &[("token", "a-rotated-token-0123")]).await;
    stage.wait_requests("the lost PUT", |_| stage.simulator.hits("lost") == 1).await;
    // The tenant holds the new one, and the operator cannot know.
    let version = stage.secret("vendor", &[("token", OKTA_TOKEN)]).await.metadata.resource_version;
    let sent = |server: &MfaServer| {
        let mut observed = server.status.iter().flat_map(|status| &status.observed_secrets);
        observed.any(|secret| Some(&secret.resource_version) == version.as_ref())
    };
    stage.wait("corp", "sent again", sent).await;
    let (_, object) = in_order(&stage, "corp").await;
    assert_eq!(object.field("/mfa_vendor_type/okta_adaptive_v1/okta_token"), Some(&json!(OKTA_TOKEN)));
}

#[tokio::test]
async fn the_id_annotation_adopts_what_it_names_and_nothing_else() {
    let stage = Stage::new().await;
    let create = |folder, name: &str| stage.tenant.create(folder, Position::Pre, &foreign(name, "their-ca")).unwrap();
    let named = create(FOLDER, "named");
    let misnamed = create(FOLDER, "another-name");
    let elsewhere = create(Folder::Shared, "elsewhere");
    let before = [&misnamed, &elsewhere].map(|id| stage.tenant.get(id));
    let _operator = stage.operator().flag("--resync-interval", "1h").start();
    let nothing = "00000000-0000-4000-8000-000000000000".to_owned();
    for (name, id) in [("named", &named), ("misnamed", &misnamed), ("elsewhere", &elsewhere), ("nothing", &nothing)] {
        let mut server = okta(name);
        server["metadata"]["annotations"] = json!({ ANNOTATION_ID: id });
        stage.apply(&server).await;
    }
    let (_, adopted) = in_order(&stage, "named").await;
    assert_eq!(adopted.id, named);
    assert_eq!(adopted.body["mfa_cert_profile"], "corp-ca");
    for name in ["misnamed", "elsewhere", "nothing"] {
        let server = stage.wait_ready(name, "False", "AdoptionRefused").await;
        assert_eq!(says(&server, "Stalled").as_deref(), Some("True/AdoptionRefused"));
        assert!(posts(&stage, name).is_empty(), "{name}");
    }
    assert_eq!([&misnamed, &elsewhere].map(|id| stage.tenant.get(id)), before);
    // Whoever claims what is somebody's already gets nothing.
    let mut thief = okta_with("thief", &json!({ "name": "named" }));
    thief["metadata"]["annotations"] = json!({ ANNOTATION_ID: named });
    stage.apply(&thief).await;
    stage.wait_ready("thief", "False", "DuplicateClaim").await;
    stage.delete("thief").await;
    stage.wait_gone("thief").await;
    assert_eq!(only_object(&stage, "named").id, named);
    // Without the annotation, what it kept from being created is created.
    stage.patch("nothing", &json!({ "metadata": { "annotations": { ANNOTATION_ID: null } } })).await;
    in_order(&stage, "nothing").await;
    assert_eq!(objects(&stage, "nothing").len(), 1);
}
