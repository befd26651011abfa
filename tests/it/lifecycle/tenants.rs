//! A resource is bound to its tenant: credentials of another one change nothing in either.

use std::time::Duration;

use mfa_operator::crd::{ANNOTATION_FORCE_DELETE, FINALIZER, MfaServer};
use mfa_sandbox::simulator::{Entry, Folder, Options, Position, TenantOptions, TokenShape};
use serde_json::json;

use crate::faults::{foreign, in_order, objects};
use crate::operator::{Stage, TENANT, TOKEN, okta, says};

const OTHER: &str = "1000000002";

/// A stage with two tenants, a JWT of the first in its Secret, and a JWT of the second.
async fn two_tenants(shape: TokenShape) -> (Stage, String, String) {
    let options = Options::single(TENANT, TOKEN).tenant(OTHER, TenantOptions::default());
    let stage = Stage::with(options).await;
    let token = |tenant| stage.simulator.tenant(tenant).issue_token(None, Duration::from_hours(1), shape);
    let (first, second) = (token(TENANT), token(OTHER));
    stage.secret("prisma-access", &[("token", &first)]).await;
    (stage, first, second)
}

/// Nothing was asked of the other tenant but what its folder holds, which is how a credential is proven.
fn only_listed(stage: &Stage) {
    stage.simulator.log().with(|log| {
        let of_other = |entry: &&Entry| entry.tenant.as_deref() == Some(OTHER);
        let wrong = log.entries().iter().filter(of_other).find(|entry| entry.method != "GET" || entry.id.is_some());
        assert!(wrong.is_none(), "{wrong:?}");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_of_another_tenant_block_everything_until_they_are_put_back() {
    let (stage, first, second) = two_tenants(TokenShape::Jwt).await;
    let other = stage.simulator.tenant(OTHER);
    other.create(Folder::MobileUsers, Position::Pre, &foreign("kept", "their-ca")).unwrap();
    let theirs = other.objects();
    let _operator = stage.operator().flag("--resync-interval", "1h").start();
    for name in ["kept", "deleted", "forced"] {
        stage.apply(&okta(name)).await;
        let (server, _) = in_order(&stage, name).await;
        assert_eq!(server.status.unwrap().tenant.as_deref(), Some(TENANT));
    }
    let ours = stage.tenant.objects();
    stage.simulator.log().reset();
    stage.secret("prisma-access", &[("token", &second)]).await;
    for name in ["kept", "deleted", "forced"] {
        let server = stage.wait_ready(name, "False", "TenantMismatch").await;
        assert_eq!(says(&server, "Stalled").as_deref(), Some("True/TenantMismatch"));
        assert_eq!(server.status.unwrap().tenant.as_deref(), Some(TENANT));
    }
    stage.patch("kept", &json!({ "spec": { "mfaCertProfile": "new-ca" } })).await;
    stage.wait_ready("kept", "False", "TenantMismatch").await;
    for name in ["deleted", "forced"] {
        stage.delete(name).await;
        let blocked = |server: &MfaServer| {
            let guarded = server.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
            let told =
                server.status.as_ref().and_then(|status| status.observed_generation) == server.metadata.generation;
            guarded && told && says(server, "Ready").as_deref() == Some("False/TenantMismatch")
        };
        stage.wait(name, "blocked", blocked).await;
    }
    stage.annotate("forced", ANNOTATION_FORCE_DELETE, "true").await;
    stage.wait_gone("forced").await;
    only_listed(&stage);
    assert!(stage.tenant.objects() == ours, "the first tenant was changed");
    assert!(other.objects() == theirs, "the other tenant was changed");

    stage.secret("prisma-access", &[("token", &first)]).await;
    stage.wait_gone("deleted").await;
    assert!(objects(&stage, "deleted").is_empty());
    let (_, object) = in_order(&stage, "kept").await;
    assert_eq!(object.body["mfa_cert_profile"], "new-ca");
    assert_eq!(objects(&stage, "forced").len(), 1);
    assert!(other.objects() == theirs, "the other tenant was changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_tells_no_tenant_proves_no_absence_in_another() {
    let (stage, first, second) = two_tenants(TokenShape::Opaque).await;
    let operator = stage.operator().flag("--resync-interval", "1h").start();
    for name in ["kept", "deleted"] {
        stage.apply(&okta(name)).await;
        in_order(&stage, name).await;
    }
    let ours = stage.tenant.objects();
    stage.secret("prisma-access", &[("token", &second)]).await;
    for name in ["kept", "deleted"] {
        stage.wait_ready(name, "False", "TenantMismatch").await;
    }
    stage.delete("deleted").await;
    let told = |server: &MfaServer| {
        server.status.as_ref().and_then(|status| status.observed_generation) == server.metadata.generation
    };
    stage.wait("deleted", "blocked", told).await;
    stage.wait_ready("deleted", "False", "TenantMismatch").await;
    // Nor does another operator believe it.
    operator.kill().await;
    let _operator = stage.operator().flag("--resync-interval", "1h").start();
    stage.patch("kept", &json!({ "spec": { "mfaCertProfile": "new-ca" } })).await;
    stage.wait_ready("kept", "False", "TenantMismatch").await;
    assert!(stage.tenant.objects() == ours, "the first tenant was changed");
    assert!(stage.simulator.tenant(OTHER).objects().is_empty(), "the other tenant was changed");

    stage.secret("prisma-access", &[("token", &first)]).await;
    stage.wait_gone("deleted").await;
    assert!(objects(&stage, "deleted").is_empty());
    in_order(&stage, "kept").await;
    assert!(stage.simulator.tenant(OTHER).objects().is_empty(), "the other tenant was changed");
}
