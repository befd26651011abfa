//! Two resources that mean one object: one owns it, the other says so and takes over when the owner goes.

use std::time::Duration;

use kube::{
    Api,
    api::{Patch, PatchParams},
};
use mfa_operator::crd::MfaServer;
use mfa_sandbox::simulator::{Route, TokenShape};
use serde_json::{Value, json};

use crate::faults::{in_order, objects, only_object, posts};
use crate::harness::Namespace;
use crate::operator::{OKTA_TOKEN, Stage, condition, okta, okta_with, says};

/// Another namespace with the same Secrets. The tokens tell their tenant: others are known by their Secrets alone.
async fn other_namespace(stage: &Stage) -> Namespace {
    let other = stage.namespace.cluster.namespace().await;
    let tell = |client| stage.tenant.issue_token(Some(client), Duration::from_hours(1), TokenShape::Jwt);
    stage.secret("prisma-access", &[("token", &tell("first"))]).await;
    for (name, token) in [("prisma-access", &*tell("second")), ("vendor", OKTA_TOKEN)] {
        let literal = format!("--from-literal=token={token}");
        let made = other.kubectl(&["create", "secret", "generic", name, &literal]).await;
        assert!(made.ok, "{made:?}");
    }
    other
}

async fn apply(namespace: &Namespace, server: &Value) {
    let api: Api<MfaServer> = namespace.api();
    let name = server["metadata"]["name"].as_str().unwrap();
    api.patch(name, &PatchParams::apply("tests").force(), &Patch::Apply(server)).await.expect("a resource");
}

/// Waits until `Ready` of the resource has this reason.
async fn wait_reason(stage: &Stage, namespace: &Namespace, name: &str, reason: &str) -> MfaServer {
    let path = format!("--for=jsonpath={{.status.conditions[?(@.type==\"Ready\")].reason}}={reason}");
    let waited = namespace.kubectl(&["wait", "mfaserver", name, &path, "--timeout=55s"]).await;
    assert!(waited.ok, "{name} does not become {reason}: {waited:?}{}", stage.log_ends());
    namespace.api::<MfaServer>().get(name).await.expect("the resource")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_resources_for_one_object_one_owns_it_until_it_goes() {
    let stage = Stage::new().await;
    let _operator = stage.operator().flag("--resync-interval", "1h").start();
    stage.apply(&okta("owner")).await;
    let (_, object) = in_order(&stage, "owner").await;
    stage.apply(&okta_with("other", &json!({ "name": "owner", "mfaCertProfile": "other-ca" }))).await;
    let server = stage.wait_ready("other", "False", "DuplicateClaim").await;
    assert_eq!(says(&server, "Stalled").as_deref(), Some("True/DuplicateClaim"));
    let message = &condition(&server, "Ready").unwrap().message;
    assert!(message.contains("\"owner\""), "{message}");
    assert_eq!(server.status.as_ref().unwrap().id, None);
    assert!(stage.tenant.get(&object.id).as_ref() == Some(&object));

    // A change of the one that owns nothing changes nothing; its deletion neither.
    stage.patch("other", &json!({ "spec": { "mfaCertProfile": "another-ca" } })).await;
    stage.wait_ready("other", "False", "DuplicateClaim").await;
    stage.apply(&okta_with("third", &json!({ "name": "owner" }))).await;
    stage.wait_ready("third", "False", "DuplicateClaim").await;
    stage.delete("third").await;
    stage.wait_gone("third").await;
    assert!(stage.tenant.get(&object.id).as_ref() == Some(&object));

    stage.delete("owner").await;
    stage.wait_gone("owner").await;
    let server = stage.wait_ready("other", "True", "Available").await;
    let taken = only_object(&stage, "owner");
    assert_ne!(taken.id, object.id);
    assert_eq!(taken.body["mfa_cert_profile"], "another-ca");
    assert_eq!(server.status.unwrap().id, Some(taken.id));
    assert_eq!(posts(&stage, "owner").len(), 2);
    assert_eq!(stage.simulator.log().count("PUT", Route::MfaServer), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_resources_created_at_once_one_creates() {
    let stage = Stage::new().await;
    for name in ["first", "second", "third"] {
        stage.apply(&okta_with(name, &json!({ "name": "wanted" }))).await;
    }
    let _operator = stage.operator().flag("--api-qps", "0").flag("--resync-interval", "1h").start();
    let one = |server: &MfaServer| {
        matches!(says(server, "Ready").as_deref(), Some("True/Available" | "False/DuplicateClaim"))
    };
    let mut ready = 0;
    for name in ["first", "second", "third"] {
        let server = stage.wait(name, "decided", one).await;
        ready += usize::from(says(&server, "Ready").as_deref() == Some("True/Available"));
    }
    assert_eq!((ready, objects(&stage, "wanted").len(), posts(&stage, "wanted").len()), (1, 1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_in_another_namespace_is_not_named() {
    let stage = Stage::new().await;
    let other = other_namespace(&stage).await;
    let operator = stage.operator().flag("--resync-interval", "1h").start();
    stage.apply(&okta("corp-of-the-first")).await;
    let (_, object) = in_order(&stage, "corp-of-the-first").await;
    apply(&other, &okta_with("second", &json!({ "name": "corp-of-the-first", "adoptionPolicy": "Always" }))).await;
    let server = wait_reason(&stage, &other, "second", "DuplicateClaim").await;
    let message = &condition(&server, "Ready").unwrap().message;
    assert!(!message.contains("\"corp-of-the-first\"") && !message.contains(&stage.namespace.name), "{message}");
    assert!(stage.tenant.get(&object.id).as_ref() == Some(&object));

    // A restart changes nothing of that.
    operator.kill().await;
    let _operator = stage.operator().flag("--resync-interval", "1h").start();
    let touched =
        other.kubectl(&["annotate", "mfaserver", "second", "sse.mfa-operator.io/reconcile-requested-at=1"]).await;
    assert!(touched.ok, "{touched:?}");
    let path = "--for=jsonpath={.status.lastHandledReconcileAt}=1";
    let handled = other.kubectl(&["wait", "mfaserver", "second", path, "--timeout=55s"]).await;
    assert!(handled.ok, "{handled:?}{}", stage.log_ends());
    wait_reason(&stage, &other, "second", "DuplicateClaim").await;
    assert!(stage.tenant.get(&object.id).as_ref() == Some(&object));

    // The owner goes and leaves the object; whoever may adopt it, does.
    stage.patch("corp-of-the-first", &json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    stage.delete("corp-of-the-first").await;
    stage.wait_gone("corp-of-the-first").await;
    let server = wait_reason(&stage, &other, "second", "Available").await;
    assert_eq!(server.status.unwrap().id.as_ref(), Some(&object.id));
    assert_eq!(posts(&stage, "corp-of-the-first").len(), 1);
}
