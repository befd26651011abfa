//! Deletions under faults: the finalizer goes after the object, or when somebody says so.

use std::fmt::Write as _;

use mfa_operator::crd::{ANNOTATION_FORCE_DELETE, ANNOTATION_RECONCILE_REQUESTED_AT, FINALIZER, MfaServer};
use mfa_sandbox::simulator::{Apply, Documented, ErrorForm, Reply, Route, Rule};
use serde_json::json;

use super::{in_order, objects};
use crate::operator::{OKTA_TOKEN, Stage, TOKEN, condition, okta, okta_with, says};

fn next_delete(name: &str, reply: Reply) -> Rule {
    Rule::new(reply).on("DELETE", Route::MfaServer).object(name).once()
}

/// The deletes of this id that reached the tenant.
fn deletes(stage: &Stage, id: &str) -> usize {
    stage.simulator.log().with(|log| {
        log.entries().iter().filter(|entry| entry.method == "DELETE" && entry.id.as_deref() == Some(id)).count()
    })
}

fn is_guarded(server: &MfaServer) -> bool {
    server.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

#[tokio::test]
async fn a_delete_is_repeated_until_the_tenant_has_no_such_object() {
    let stage = Stage::new().await;
    let server_error = Reply::ServerError { message: "Internal Error".to_owned() };
    let typed = Reply::DocumentedAs { error: Documented::ObjectNotPresent, form: ErrorForm::ErrorType };
    // The fault, whether the tenant acted, and how many deletes it takes.
    let cases = [
        ("lost-closed", Some(Reply::Close), Apply::Yes, 2),
        ("lost-reset", Some(Reply::Reset), Apply::Yes, 2),
        ("lost-hung", Some(Reply::Hang), Apply::Yes, 2),
        ("never-closed", Some(Reply::Close), Apply::No, 2),
        ("never-hung", Some(Reply::Hang), Apply::No, 2),
        ("late", Some(Reply::Reset), Apply::LateMs(2_000), 2),
        ("server-error", Some(server_error), Apply::No, 2),
        ("write-lock", Some(Reply::WriteLock), Apply::No, 2),
        ("too-many", Some(Reply::TooManyRequests { retry_after: Some("1".to_owned()) }), Apply::No, 2),
        ("gateway", Some(Reply::Html { status: 502 }), Apply::Yes, 2),
        ("proxys-404", Some(Reply::Html { status: 404 }), Apply::No, 2),
        ("proxys-200", Some(Reply::Html { status: 200 }), Apply::No, 2),
        ("empty-404", Some(Reply::Empty { status: 404 }), Apply::No, 2),
        ("gone-documented", Some(Reply::Documented(Documented::ObjectNotPresent)), Apply::Yes, 1),
        ("gone-typed", Some(typed), Apply::Yes, 1),
        ("empty-200", Some(Reply::Empty { status: 200 }), Apply::Yes, 1),
        ("plain", None, Apply::Yes, 1),
    ];
    let _operator = stage.operator().impatient().flag("--api-qps", "0").flag("--resync-interval", "1h").start();
    for (name, ..) in &cases {
        stage.apply(&okta(name)).await;
    }
    let mut ids = Vec::new();
    for (name, reply, apply, _) in &cases {
        ids.push(in_order(&stage, name).await.1.id);
        if let Some(reply) = reply {
            stage.simulator.inject(next_delete(name, reply.clone()).apply(*apply));
        }
    }
    for (name, ..) in &cases {
        stage.delete(name).await;
    }
    let mut wrong = String::new();
    for ((name, _, _, wanted), id) in cases.iter().zip(&ids) {
        stage.wait_gone(name).await;
        if !objects(&stage, name).is_empty() {
            writeln!(wrong, "{name}: the object is left").unwrap();
        }
        let deletes = deletes(&stage, id);
        if deletes != *wanted {
            writeln!(wrong, "{name}: {deletes} deletes and not {wanted}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}{}", stage.log_ends());
}

#[tokio::test]
async fn an_object_that_is_gone_already_is_no_trouble() {
    let stage = Stage::new().await;
    let _operator = stage.operator().flag("--resync-interval", "1h").start();
    stage.apply(&okta("corp")).await;
    let (_, object) = in_order(&stage, "corp").await;
    stage.tenant.delete(&object.id).unwrap();
    stage.delete("corp").await;
    stage.wait_gone("corp").await;
    assert_eq!(deletes(&stage, &object.id), 1);
}

#[tokio::test]
async fn an_object_in_use_is_waited_for_visibly() {
    let stage = Stage::new().await;
    let _operator = stage.operator().flag("--resync-interval", "1h").start();
    stage.apply(&okta("corp")).await;
    let (_, object) = in_order(&stage, "corp").await;
    stage.tenant.set_references(&object.id, 1).unwrap();
    stage.delete("corp").await;
    let server = stage.wait_ready("corp", "False", "ReferenceNotZero").await;
    assert_eq!(says(&server, "Reconciling").as_deref(), Some("True/ReferenceNotZero"));
    assert_eq!(condition(&server, "Stalled"), None);
    let error = server.status.as_ref().unwrap().last_error.clone().expect("the API's error");
    assert_eq!((error.http_status, error.code.as_deref()), (Some(409), Some("E009")));
    assert!(is_guarded(&server));
    assert_eq!(deletes(&stage, &object.id), 1, "tried in a tight loop");
    // Nobody has to wait for the next try.
    stage.tenant.set_references(&object.id, 0).unwrap();
    stage.annotate("corp", ANNOTATION_RECONCILE_REQUESTED_AT, "1").await;
    stage.wait_gone("corp").await;
    assert!(objects(&stage, "corp").is_empty());
    assert_eq!(deletes(&stage, &object.id), 2);
}

#[tokio::test]
async fn suspended_and_broken_resources_can_be_deleted() {
    let stage = Stage::new().await;
    stage.secret("other-vendor", &[("token", OKTA_TOKEN)]).await;
    let _operator = stage.operator().flag("--resync-interval", "1h").start();
    stage.apply(&okta("suspended")).await;
    let mut broken = okta("broken");
    broken["spec"]["mfaVendorType"]["oktaAdaptiveV1"]["oktaToken"]["secretKeyRef"]["name"] = json!("other-vendor");
    stage.apply(&broken).await;
    in_order(&stage, "suspended").await;
    in_order(&stage, "broken").await;
    stage.patch("suspended", &json!({ "spec": { "suspend": true } })).await;
    stage.wait_ready("suspended", "True", "Suspended").await;
    stage.delete_secret("other-vendor").await;
    stage.wait_ready("broken", "False", "SecretNotFound").await;
    for name in ["suspended", "broken"] {
        stage.delete(name).await;
        stage.wait_gone(name).await;
        assert!(objects(&stage, name).is_empty(), "{name}");
    }
}

#[tokio::test]
async fn what_was_never_made_is_deleted_without_a_call() {
    let stage = Stage::new().await;
    let _operator = stage.operator().flag("--resync-interval", "1h").start();
    stage.apply(&okta_with("never", &json!({ "suspend": true }))).await;
    stage.wait_ready("never", "False", "Suspended").await;
    stage.delete("never").await;
    stage.wait_gone("never").await;
    stage.simulator.log().with(|log| assert_eq!(log.entries(), []));
}

#[tokio::test]
async fn a_refused_credential_blocks_the_deletion_until_it_is_mended() {
    let stage = Stage::new().await;
    let _operator = stage.operator().flag("--resync-interval", "1h").start();
    for name in ["mended", "forced"] {
        stage.apply(&okta(name)).await;
        in_order(&stage, name).await;
    }
    stage.tenant.remove_bearer_token(TOKEN);
    for name in ["mended", "forced"] {
        stage.delete(name).await;
    }
    for name in ["mended", "forced"] {
        let server = stage.wait_ready(name, "False", "NotAuthenticated").await;
        assert_eq!(says(&server, "Authenticated").as_deref(), Some("False/NotAuthenticated"));
        assert!(is_guarded(&server), "{name}");
    }
    let calls = stage.simulator.log().with(|log| log.entries().len());
    stage.annotate("forced", ANNOTATION_FORCE_DELETE, "true").await;
    stage.wait_gone("forced").await;
    assert_eq!(stage.simulator.log().with(|log| log.entries().len()), calls, "a call for a forced deletion");
    stage.credentials("prisma-access", "another-bearer-token-of-the-tenant").await;
    stage.wait_gone("mended").await;
    assert!(objects(&stage, "mended").is_empty());
    assert_eq!(objects(&stage, "forced").len(), 1);
}

#[tokio::test]
async fn retain_leaves_the_object_and_force_delete_makes_no_call() {
    let stage = Stage::new().await;
    let _operator = stage.operator().impatient().flag("--resync-interval", "1h").start();
    let kinds = [("retained", json!({ "deletionPolicy": "Retain" })), ("forced", json!({}))];
    for (name, spec) in &kinds {
        stage.apply(&okta_with(name, spec)).await;
        in_order(&stage, name).await;
    }
    let before = stage.tenant.objects();
    stage.simulator.inject(Rule::new(Reply::Hang).named("silence"));
    stage.annotate("forced", ANNOTATION_FORCE_DELETE, "true").await;
    for (name, _) in &kinds {
        stage.delete(name).await;
        stage.wait_gone(name).await;
    }
    assert_eq!(stage.simulator.hits("silence"), 0);
    assert!(stage.tenant.objects() == before, "an object was changed");
}

#[tokio::test]
async fn the_default_deletion_policy_is_a_flag() {
    let stage = Stage::new().await;
    let flags = stage.operator().flag("--default-deletion-policy", "Retain");
    let _operator = flags.flag("--resync-interval", "1h").start();
    for (name, spec) in [("retained", json!({})), ("deleted", json!({ "deletionPolicy": "Delete" }))] {
        stage.apply(&okta_with(name, &spec)).await;
        in_order(&stage, name).await;
        stage.delete(name).await;
        stage.wait_gone(name).await;
    }
    assert_eq!((objects(&stage, "retained").len(), objects(&stage, "deleted").len()), (1, 0));
}

#[tokio::test]
async fn the_last_good_credential_serves_the_deletions_of_a_namespace_that_lost_its_secret() {
    let stage = Stage::new().await;
    let operator = stage.operator().flag("--resync-interval", "1h").start();
    for name in ["first", "second", "third"] {
        stage.apply(&okta(name)).await;
        in_order(&stage, name).await;
    }
    // As a dying namespace may do it: the Secrets go first.
    stage.delete_secret("prisma-access").await;
    stage.delete_secret("vendor").await;
    stage.wait_ready("third", "False", "SecretNotFound").await;
    for name in ["first", "second"] {
        stage.delete(name).await;
        stage.wait_gone(name).await;
        assert!(objects(&stage, name).is_empty(), "{name}");
    }
    // Another operator never knew the credential: the deletion waits, and says so.
    operator.kill().await;
    let _operator = stage.operator().flag("--resync-interval", "1h").start();
    stage.delete("third").await;
    let server = stage.wait_ready("third", "False", "SecretNotFound").await;
    assert!(is_guarded(&server));
    assert_eq!(objects(&stage, "third").len(), 1);
    stage.secret("prisma-access", &[("token", TOKEN)]).await;
    stage.wait_gone("third").await;
    assert!(objects(&stage, "third").is_empty());
}
