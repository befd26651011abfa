//! Suspending, asking for a look, and credentials that are mended.

use std::time::{Duration, Instant};

use mfa_operator::crd::{ANNOTATION_RECONCILE_REQUESTED_AT, MfaServer};
use mfa_sandbox::simulator::Route;
use serde_json::json;

use crate::faults::in_order;
use crate::operator::{Stage, condition, okta, okta_with, says};

fn handled(server: &MfaServer) -> Option<&str> {
    server.status.as_ref()?.last_handled_reconcile_at.as_deref()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_resource_stays_as_it_was_and_asks_for_nothing() {
    let stage = Stage::new().await;
    let operator = stage.operator().start();
    stage.apply(&okta("corp")).await;
    let (_, object) = in_order(&stage, "corp").await;
    stage.patch("corp", &json!({ "spec": { "suspend": true } })).await;
    let server = stage.wait_ready("corp", "True", "Suspended").await;
    assert_eq!(says(&server, "Synced").as_deref(), Some("True/UpToDate"));
    assert_eq!((condition(&server, "Reconciling"), condition(&server, "Stalled")), (None, None));
    stage.tenant.edit(&object.id, &json!({ "mfa_cert_profile": "edited" })).unwrap();

    // Neither a change, nor a verb, nor another operator makes it look.
    let log = stage.simulator.log();
    log.reset();
    stage.annotate("corp", ANNOTATION_RECONCILE_REQUESTED_AT, "1").await;
    stage.wait("corp", "told that it was asked", |server| handled(server) == Some("1")).await;
    assert_eq!(operator.terminate().await.code(), Some(0));
    let _operator = stage.operator().start();
    stage.patch("corp", &json!({ "spec": { "mfaCertProfile": "new-ca" } })).await;
    // The spec is another one now, and nothing says that the tenant has it.
    stage.wait_ready("corp", "False", "Suspended").await;
    log.with(|log| assert_eq!(log.entries(), []));
    assert_eq!(stage.tenant.get(&object.id).unwrap().body["mfa_cert_profile"], "edited");

    stage.patch("corp", &json!({ "spec": { "suspend": false } })).await;
    let (_, resumed) = in_order(&stage, "corp").await;
    assert_eq!((resumed.id, &resumed.body["mfa_cert_profile"]), (object.id, &json!("new-ca")));
    assert_eq!(log.count("PUT", Route::MfaServer), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_to_look_is_acted_on_once_and_told() {
    let stage = Stage::new().await;
    let _operator = stage.operator().flag("--resync-interval", "1h").start();
    stage.apply(&okta("corp")).await;
    let (server, _) = in_order(&stage, "corp").await;
    assert_eq!(handled(&server), None);
    let log = stage.simulator.log();
    for value in ["2026-01-01T00:00:00Z", "anything else"] {
        log.reset();
        let asked = stage.annotate("corp", ANNOTATION_RECONCILE_REQUESTED_AT, value).await;
        let told = stage.wait("corp", "looked at", |server| handled(server) == Some(value)).await;
        assert_eq!(says(&told, "Ready").as_deref(), Some("True/Available"));
        assert_eq!(told.metadata.generation, asked.metadata.generation);
        log.with(|log| assert_eq!((log.entries().len(), log.count("GET", Route::MfaServers)), (1, 1)));
    }
    // Another change of the resource is no request.
    log.reset();
    stage.annotate("corp", "example.com/note", "nothing to do").await;
    stage.apply(&okta("other")).await;
    in_order(&stage, "other").await;
    log.with(|log| assert_eq!((log.entries().len(), log.count("POST", Route::MfaServers)), (1, 1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mended_credential_wakes_all_that_use_it() {
    let stage = Stage::new().await;
    stage.secret("mended", &[("token", "a-token-that-nobody-knows")]).await;
    let _operator = stage.operator().flag("--api-qps", "0").flag("--resync-interval", "1h").start();
    let names: Vec<String> = (0..20).map(|number| format!("corp-{number}")).collect();
    for name in &names {
        stage.apply(&okta_with(name, &json!({ "credentialsSecretRef": { "name": "mended" } }))).await;
    }
    for name in &names {
        let server = stage.wait_ready(name, "False", "NotAuthenticated").await;
        assert_eq!(says(&server, "Authenticated").as_deref(), Some("False/NotAuthenticated"));
        assert_eq!(says(&server, "Stalled").as_deref(), Some("True/NotAuthenticated"));
    }
    assert_eq!(stage.simulator.log().with(|log| log.entries().len()), 1, "one probe for all");
    stage.credentials("mended", "a-token-that-is-known-0").await;
    let mended = Instant::now();
    for name in &names {
        in_order(&stage, name).await;
    }
    let took = mended.elapsed();
    // Before the next probe would be due.
    assert!(took < Duration::from_secs(40), "it took {took:?}{}", stage.log_ends());
}
