//! A create whose answer is lost, late, undecodable or a refusal.

use std::collections::BTreeMap;
use std::time::Instant;

use mfa_operator::crd::{ANNOTATION_RECONCILE_REQUESTED_AT, FINALIZER};
use mfa_sandbox::simulator::{Apply, Documented, Position, Reply, Route, Rule};
use serde_json::json;

use super::{
    FOLDER, TIMEOUT, foreign, in_order, listings, next_post, objects, only_object, posts, posts_in, wait_listing,
    wait_post,
};
use crate::operator::{Stage, okta, okta_with, says};

#[tokio::test]
async fn an_answer_lost_after_the_tenant_acted_makes_no_second_object() {
    let stage = Stage::new().await;
    let undecodable = |status, body: &str| Reply::Raw { status, headers: BTreeMap::default(), body: body.to_owned() };
    let cases = [
        ("close", Reply::Close),
        ("reset", Reply::Reset),
        ("hang", Reply::Hang),
        ("truncated-body", Reply::TruncatedBody),
        ("truncated-json", Reply::TruncatedJson),
        ("html-201", Reply::Html { status: 201 }),
        ("html-502", Reply::Html { status: 502 }),
        ("html-404", Reply::Html { status: 404 }),
        ("empty-503", Reply::Empty { status: 503 }),
        ("empty-201", Reply::Empty { status: 201 }),
        ("without-id", undecodable(201, r#"{"name":"without-id"}"#)),
        ("errors-in-a-201", undecodable(201, r#"{"_errors":[{"code":"E001","message":"no"}]}"#)),
        ("huge", Reply::Huge { status: 201, bytes: 9 * 1024 * 1024 }),
    ];
    for (name, reply) in &cases {
        stage.simulator.inject(next_post(name, reply.clone()).apply(Apply::Yes).named(name));
    }
    let _operator = stage.operator().impatient().flag("--resync-interval", "1h").start();
    for (name, _) in &cases {
        stage.apply(&okta(name)).await;
    }
    for (name, _) in &cases {
        in_order(&stage, name).await;
        assert_eq!(stage.simulator.hits(name), 1, "{name}");
        assert_eq!(posts(&stage, name).len(), 1, "{name}{}", stage.log_ends());
    }
    let log = stage.simulator.log();
    assert_eq!(log.count("PUT", Route::MfaServer) + log.count("DELETE", Route::MfaServer), 0);
}

#[tokio::test]
async fn a_create_answered_without_a_body_costs_one_listing_more() {
    let stage = Stage::new().await;
    stage.tenant.answer(|answers| answers.create_body = false);
    let _operator = stage.operator().impatient().flag("--resync-interval", "1h").start();
    stage.apply(&okta("corp")).await;
    in_order(&stage, "corp").await;
    let log = stage.simulator.log();
    assert_eq!(log.count("POST", Route::MfaServers), 1);
    log.with(|log| assert_eq!((listings(log), log.entries().len()), (2, 3), "{:?}", log.summary()));
}

#[tokio::test]
async fn a_create_that_lands_after_the_operator_has_looked_is_found() {
    let stage = Stage::new().await;
    // Times out after 3 s, lands after 5, settles after 6.
    stage.simulator.inject(next_post("corp", Reply::Hang).apply(Apply::LateMs(5_000)));
    let _operator = stage.operator().flag("--resync-interval", "1h").flag("--request-timeout", "3s").start();
    stage.apply(&okta("corp")).await;
    stage.wait_condition("corp", "Reconciling", "True", "OutcomeUnknown").await;
    // The verb makes the operator look at once, and not only when it is time.
    stage.annotate("corp", ANNOTATION_RECONCILE_REQUESTED_AT, "1").await;
    wait_listing(&stage).await;
    assert!(objects(&stage, "corp").is_empty(), "the create landed before the operator looked");
    in_order(&stage, "corp").await;
    let posts = posts(&stage, "corp");
    assert_eq!(posts.len(), 1, "{posts:?}");
    let looked = stage.simulator.log().entries().into_iter().any(|entry| {
        entry.method == "GET"
            && entry.start_us > posts[0].start_us
            && entry.end_us.is_some_and(|end| Some(end) < posts[0].applied_us)
    });
    assert!(looked, "no listing came between the create and its effect");
}

#[tokio::test]
async fn a_create_that_never_landed_is_sent_again_once_it_has_settled() {
    let stage = Stage::new().await;
    stage.simulator.inject(next_post("corp", Reply::Hang));
    stage.simulator.inject(next_post("reset", Reply::Reset));
    let _operator = stage.operator().impatient().flag("--resync-interval", "1h").start();
    stage.apply(&okta("corp")).await;
    stage.apply(&okta("reset")).await;
    let unknown = |name| stage.wait_condition(name, "Reconciling", "True", "OutcomeUnknown");
    let (corp, reset) = tokio::join!(unknown("corp"), unknown("reset"));
    for (name, unknown) in [("corp", corp), ("reset", reset)] {
        assert_eq!(says(&unknown, "Ready").as_deref(), Some("False/OutcomeUnknown"));
        in_order(&stage, name).await;
        let posts = posts(&stage, name);
        assert_eq!(posts.len(), 2, "{posts:?}");
        let apart = posts[1].start_us - posts[0].start_us;
        assert!(u128::from(apart) >= (TIMEOUT * 2).as_micros(), "{name}: sent again after {apart} µs");
    }
}

#[tokio::test]
async fn a_decoded_refusal_is_an_answer_and_the_same_attempt_is_sent_again() {
    let stage = Stage::new().await;
    let cases = [
        ("server-error", Reply::ServerError { message: "Internal Error".to_owned() }),
        ("write-lock", Reply::WriteLock),
        ("session-timeout", Reply::Documented(Documented::SessionTimeout)),
        ("too-many", Reply::TooManyRequests { retry_after: Some("1".to_owned()) }),
    ];
    for (name, reply) in &cases {
        stage.simulator.inject(next_post(name, reply.clone()));
    }
    let _operator = stage.operator().impatient().flag("--resync-interval", "1h").start();
    for (name, _) in &cases {
        stage.apply(&okta(name)).await;
    }
    for (name, _) in &cases {
        in_order(&stage, name).await;
        assert_eq!(posts(&stage, name).len(), 2, "{name}");
    }
}

#[tokio::test]
async fn a_conflict_while_an_earlier_outcome_is_unknown_takes_nothing_from_anybody() {
    let stage = Stage::new().await;
    // The first create is lost without an effect; the second finds the name taken by somebody else meanwhile.
    stage.simulator.inject(next_post("corp", Reply::Reset));
    stage.simulator.inject(next_post("corp", Reply::Usual).delay(TIMEOUT / 2));
    let _operator = stage.operator().impatient().flag("--resync-interval", "1h").start();
    stage.apply(&okta("corp")).await;
    stage.wait_requests("a second POST", |log| posts_in(log, "corp") == 2).await;
    let id = stage.tenant.create(FOLDER, Position::Pre, &foreign("corp", "another-profile")).unwrap();
    let before = stage.tenant.get(&id);
    let server = stage.wait_ready("corp", "False", "NameNotUnique").await;
    assert_eq!(says(&server, "Stalled").as_deref(), Some("True/NameNotUnique"));
    assert_eq!(server.status.as_ref().unwrap().id, None);
    // It looks once more, and leaves it.
    stage.annotate("corp", ANNOTATION_RECONCILE_REQUESTED_AT, "1").await;
    stage.wait("corp", "asked", |server| server.status.as_ref().unwrap().last_handled_reconcile_at.is_some()).await;
    assert_eq!(stage.tenant.get(&id), before);
    assert_eq!((objects(&stage, "corp").len(), posts(&stage, "corp").len()), (1, 2));

    // It is deleted without touching what is not ours.
    stage.delete("corp").await;
    stage.wait_gone("corp").await;
    assert_eq!(stage.tenant.get(&id), before);
}

#[tokio::test]
async fn a_name_that_stood_there_before_the_first_try_is_never_taken() {
    let stage = Stage::new().await;
    let identical = stage.tenant.create(FOLDER, Position::Pre, &foreign("identical", "corp-ca")).unwrap();
    let different = stage.tenant.create(FOLDER, Position::Pre, &foreign("different", "another-profile")).unwrap();
    let before = stage.tenant.objects();
    let _operator = stage.operator().impatient().start();
    for name in ["identical", "different"] {
        stage.apply(&okta(name)).await;
    }
    for (name, id) in [("identical", &identical), ("different", &different)] {
        let server = stage.wait_ready(name, "False", "NameNotUnique").await;
        assert_eq!(server.status.unwrap().id, None, "{name}");
        assert_eq!(only_object(&stage, name).id, *id);
        assert!(posts(&stage, name).is_empty(), "{name}");
    }
    for name in ["identical", "different"] {
        stage.delete(name).await;
        stage.wait_gone(name).await;
    }
    assert!(stage.tenant.objects() == before, "a foreign object was changed");
}

#[tokio::test]
async fn a_name_that_the_api_alone_knows_to_be_taken_is_a_conflict() {
    let stage = Stage::new().await;
    // The object comes between the list and the create.
    stage.simulator.inject(next_post("corp", Reply::Usual).delay(TIMEOUT / 2));
    let _operator = stage.operator().impatient().flag("--resync-interval", "1h").start();
    stage.apply(&okta("corp")).await;
    wait_post(&stage, "corp").await;
    let id = stage.tenant.create(FOLDER, Position::Pre, &foreign("corp", "corp-ca")).unwrap();
    let before = stage.tenant.get(&id);
    let server = stage.wait_ready("corp", "False", "NameNotUnique").await;
    let error = server.status.unwrap().last_error.expect("the API's error");
    assert_eq!((error.http_status, error.code.as_deref()), (Some(409), Some("E006")));
    assert_eq!(stage.tenant.get(&id), before);
    assert_eq!(posts(&stage, "corp").len(), 1);
}

#[tokio::test]
async fn a_foreign_object_made_while_the_outcome_is_unknown_is_not_taken() {
    let stage = Stage::new().await;
    stage.simulator.inject(next_post("corp", Reply::Reset));
    let _operator = stage.operator().impatient().flag("--resync-interval", "1h").start();
    stage.apply(&okta("corp")).await;
    stage.wait_condition("corp", "Reconciling", "True", "OutcomeUnknown").await;
    let id = stage.tenant.create(FOLDER, Position::Pre, &foreign("corp", "another-profile")).unwrap();
    let before = stage.tenant.get(&id);
    stage.wait_ready("corp", "False", "NameNotUnique").await;
    assert_eq!(stage.tenant.get(&id), before);
    assert_eq!((objects(&stage, "corp").len(), posts(&stage, "corp").len()), (1, 1));
}

#[tokio::test]
async fn a_spec_changed_while_the_outcome_is_unknown_finds_what_was_sent() {
    let stage = Stage::new().await;
    stage.simulator.inject(next_post("corp", Reply::Hang).apply(Apply::Yes));
    let _operator = stage.operator().impatient().flag("--resync-interval", "1h").start();
    stage.apply(&okta("corp")).await;
    wait_post(&stage, "corp").await;
    stage.apply(&okta_with("corp", &json!({ "mfaCertProfile": "new-ca" }))).await;
    let (_, object) = in_order(&stage, "corp").await;
    assert_eq!(object.body["mfa_cert_profile"], "new-ca");
    assert_eq!((posts(&stage, "corp").len(), object.version), (1, 2));
}

#[tokio::test]
async fn a_resource_deleted_while_its_create_is_unknown_leaves_nothing() {
    let stage = Stage::new().await;
    let cases = [
        ("applied", Reply::Hang, Apply::Yes),
        ("late", Reply::Hang, Apply::LateMs(3_000)),
        ("never", Reply::Hang, Apply::No),
        ("reset-applied", Reply::Reset, Apply::Yes),
        ("reset-late", Reply::Reset, Apply::LateMs(3_000)),
        ("answered", Reply::Usual, Apply::Yes),
    ];
    for (name, reply, apply) in &cases {
        let rule = next_post(name, reply.clone()).apply(*apply);
        stage.simulator.inject(if *name == "answered" { rule.delay(TIMEOUT / 2) } else { rule });
    }
    let _operator = stage.operator().impatient().flag("--resync-interval", "1h").start();
    let begun = Instant::now();
    for (name, ..) in &cases {
        stage.apply(&okta(name)).await;
    }
    for (name, ..) in &cases {
        wait_post(&stage, name).await;
        stage.delete(name).await;
    }
    for (name, _, apply) in &cases {
        stage.wait_gone(name).await;
        let gone = begun.elapsed();
        assert!(objects(&stage, name).is_empty(), "{name} is left in the tenant");
        let posts = posts(&stage, name);
        assert_eq!(posts.len(), 1, "{name}: {posts:?}");
        if *apply == Apply::No {
            assert!(gone >= TIMEOUT * 2, "{name}: the finalizer went after {gone:?}, before the create had settled");
        } else {
            assert!(posts[0].applied_us.is_some(), "{name}: the finalizer went before the create had landed");
        }
    }
    let deletes = stage.simulator.log().with(|log| log.answered("DELETE", Route::MfaServer, 200));
    assert_eq!(deletes, 5, "one for each that landed");
}

#[tokio::test]
async fn a_create_that_is_answered_after_its_resource_was_forced_away_is_undone() {
    let stage = Stage::new().await;
    for name in ["gone", "again", "retained"] {
        stage.simulator.inject(next_post(name, Reply::Usual).delay(TIMEOUT / 2));
    }
    let _operator = stage.operator().impatient().flag("--resync-interval", "1h").start();
    for name in ["gone", "again"] {
        stage.apply(&okta(name)).await;
    }
    stage.apply(&okta_with("retained", &json!({ "deletionPolicy": "Retain" }))).await;
    for name in ["gone", "again", "retained"] {
        wait_post(&stage, name).await;
        stage.delete(name).await;
        stage.patch(name, &json!({ "metadata": { "finalizers": null } })).await;
        stage.wait_gone(name).await;
    }
    let first = stage.apply(&okta("again")).await;
    for name in ["gone", "again"] {
        let undone = |entry: &mfa_sandbox::simulator::Entry| {
            entry.method == "DELETE" && entry.object.as_deref() == Some(name) && entry.status == Some(200)
        };
        stage.wait_requests(&format!("{name} being deleted"), |log| log.entries().iter().any(undone)).await;
    }
    assert!(objects(&stage, "gone").is_empty());
    let (again, _) = in_order(&stage, "again").await;
    assert_eq!(again.metadata.uid, first.metadata.uid);
    assert_eq!(posts(&stage, "again").len(), 2);
    assert_eq!(objects(&stage, "retained").len(), 1);
    assert_eq!(stage.simulator.log().count("DELETE", Route::MfaServer), 2);
}

#[tokio::test]
async fn the_last_resource_forced_away_while_its_create_is_under_way_leaves_nothing() {
    let stage = Stage::new().await;
    stage.simulator.inject(next_post("corp", Reply::Usual).delay(TIMEOUT / 2));
    let _operator = stage.operator().impatient().flag("--resync-interval", "1h").start();
    stage.apply(&okta("corp")).await;
    wait_post(&stage, "corp").await;
    let server = stage.get("corp").await.expect("the resource");
    assert!(server.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER));
    stage.delete("corp").await;
    stage.patch("corp", &json!({ "metadata": { "finalizers": null } })).await;
    stage.wait_gone("corp").await;
    stage.wait_requests("the object's deletion", |log| log.answered("DELETE", Route::MfaServer, 200) == 1).await;
    assert!(objects(&stage, "corp").is_empty());
}

#[tokio::test]
async fn a_refused_create_names_the_documented_reason_and_is_not_repeated() {
    let stage = Stage::new().await;
    stage.simulator.inject(Rule::documented(Documented::InvalidObject).on("POST", Route::MfaServers));
    let _operator = stage.operator().impatient().start();
    stage.apply(&okta("corp")).await;
    let server = stage.wait_ready("corp", "False", "InvalidObject").await;
    assert_eq!(says(&server, "Stalled").as_deref(), Some("True/InvalidObject"));
    assert_eq!(posts(&stage, "corp").len(), 1);
    // At once on a change of the spec.
    stage.simulator.clear_rules();
    stage.apply(&okta_with("corp", &json!({ "mfaCertProfile": "new-ca" }))).await;
    in_order(&stage, "corp").await;
    assert_eq!(posts(&stage, "corp").len(), 2);
}
