//! What another administrator does to the tenant, with the operator away and with it there.

use mfa_operator::crd::MfaServer;
use mfa_sandbox::simulator::{Folder, Position, StoredObject};
use serde_json::{Value, json};

use crate::operator::{OKTA_TOKEN, Stage, condition, okta_with, says};

const RECONCILE: &str = "sse.mfa-operator.io/reconcile-requested-at";

fn drift(server: &MfaServer) -> Vec<String> {
    server.status.as_ref().map(|status| status.drift.clone()).unwrap_or_default()
}

fn object(stage: &Stage, name: &str) -> StoredObject {
    stage.tenant.find(Folder::MobileUsers, name).unwrap_or_else(|| panic!("no object {name}"))
}

fn edit(stage: &Stage, name: &str, change: &Value) {
    stage.tenant.edit(&object(stage, name).id, change).expect("an object to edit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_was_edited_while_the_operator_was_away_is_corrected_or_reported_and_nothing_else_is_touched() {
    let stage = Stage::new().await;
    let foreign = json!({
        "name": "another-administrators", "mfa_cert_profile": "their-ca",
        "mfa_vendor_type": { "okta_adaptive_v1": { "okta_api_host": "their.okta.example.com", "okta_token": "their-token-0" } },
    });
    for folder in [Folder::MobileUsers, Folder::MobileUsersContainer, Folder::RemoteNetworks] {
        stage.tenant.create(folder, Position::Pre, &foreign).expect("a foreign object");
    }
    let others: Vec<_> = stage.tenant.objects();
    let operator = stage.operator().start();
    let names = ["field", "secret", "vendor", "unknown", "name", "gone"];
    for policy in ["Correct", "Report"] {
        for name in names {
            let server = okta_with(&format!("{name}-{}", policy.to_lowercase()), &json!({ "driftPolicy": policy }));
            stage.apply(&server).await;
        }
    }
    for name in names {
        stage.wait_ready(&format!("{name}-correct"), "True", "Available").await;
        stage.wait_ready(&format!("{name}-report"), "True", "Available").await;
    }
    assert_eq!(operator.terminate().await.code(), Some(0));

    let mut ids = std::collections::BTreeMap::new();
    for policy in ["correct", "report"] {
        let of = |name: &str| format!("{name}-{policy}");
        for name in names {
            ids.insert(of(name), object(&stage, &of(name)).id);
        }
        let vendor = |fields: Value| json!({ "mfa_vendor_type": { "okta_adaptive_v1": fields } });
        edit(&stage, &of("field"), &vendor(json!({ "okta_timeout": "99" })));
        edit(&stage, &of("secret"), &vendor(json!({ "okta_token": "edited-by-hand-0" })));
        let duo = json!({ "okta_adaptive_v1": null, "duo_security_v2": { "duo_api_host": "api.duo.example.com" } });
        edit(&stage, &of("vendor"), &json!({ "mfa_vendor_type": duo }));
        edit(&stage, &of("unknown"), &json!({ "a_field_of_tomorrow": "kept" }));
        stage.tenant.rename(&ids[&of("name")], &format!("renamed-{policy}")).unwrap();
        stage.tenant.delete(&ids[&of("gone")]).unwrap();
    }
    let edited: Vec<_> = stage.tenant.objects();
    let _operator = stage.operator().start();

    let reported = [
        ("field", vec!["mfaVendorType.oktaAdaptiveV1.oktaTimeout"]),
        ("secret", vec!["mfaVendorType.oktaAdaptiveV1.oktaToken"]),
        ("name", vec!["name"]),
        ("gone", vec!["id"]),
    ];
    for (name, paths) in reported {
        let server = stage.wait_ready(&format!("{name}-report"), "False", "DriftReported").await;
        assert_eq!(drift(&server), paths, "{name}");
        assert_eq!(says(&server, "Synced").as_deref(), Some("False/DriftReported"));
        assert!(condition(&server, "Stalled").is_some());
    }
    let server = stage.wait_ready("vendor-report", "False", "DriftReported").await;
    assert!(drift(&server).contains(&"mfaVendorType.duoSecurityV2".to_owned()), "{:?}", drift(&server));
    stage.wait_ready("unknown-report", "True", "Available").await;

    for name in names {
        let name = format!("{name}-correct");
        stage
            .wait(&name, "corrected", |server| {
                let now = stage.tenant.find(Folder::MobileUsers, &name);
                now.is_some_and(|object| {
                    object.field("/mfa_vendor_type/okta_adaptive_v1/okta_timeout") == Some(&json!("30"))
                        && object.field("/mfa_vendor_type/okta_adaptive_v1/okta_token") == Some(&json!(OKTA_TOKEN))
                        && object.field("/mfa_vendor_type/duo_security_v2").is_none()
                        && server.status.as_ref().and_then(|status| status.id.as_ref()) == Some(&object.id)
                }) && says(server, "Ready").as_deref() == Some("True/Available")
            })
            .await;
        let same = object(&stage, &name).id == ids[&name];
        assert_eq!(same, name != "gone-correct", "{name}");
    }
    assert_eq!(object(&stage, "unknown-correct").field("/a_field_of_tomorrow"), Some(&json!("kept")));

    let now = stage.tenant.objects();
    let untouched = others.iter().chain(edited.iter().filter(|object| object.name.ends_with("report")));
    for before in untouched {
        let after =
            now.iter().find(|object| object.id == before.id).unwrap_or_else(|| panic!("{} is gone", before.name));
        assert_eq!((&after.body, after.version), (&before.body, before.version), "{}", before.name);
    }
    assert!(!now.iter().any(|object| object.name == "gone-report"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_that_is_changed_again_and_again_is_corrected_three_times_and_then_left() {
    let stage = Stage::new().await;
    let _operator = stage.operator().start();
    stage.apply(&okta_with("corp", &json!({}))).await;
    stage.wait_ready("corp", "True", "Available").await;
    let profile = || object(&stage, "corp").field("/mfa_cert_profile").cloned();
    for round in 1..=3 {
        edit(&stage, "corp", &json!({ "mfa_cert_profile": format!("edited-{round}") }));
        stage.annotate("corp", RECONCILE, &round.to_string()).await;
        let text = round.to_string();
        stage
            .wait("corp", "corrected", |server| {
                let handled = server.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_ref());
                handled == Some(&text) && profile() == Some(json!("corp-ca"))
            })
            .await;
    }
    edit(&stage, "corp", &json!({ "mfa_cert_profile": "edited-4" }));
    stage.annotate("corp", RECONCILE, "4").await;
    let server = stage.wait_ready("corp", "False", "Flapping").await;
    assert_eq!(drift(&server), ["mfaCertProfile"]);
    assert_eq!(profile(), Some(json!("edited-4")));
    // A new spec is a new start for what it changes.
    stage.patch("corp", &json!({ "spec": { "mfaCertProfile": "edited-4" } })).await;
    stage.wait_ready("corp", "True", "Available").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_told_by_one_event_and_its_values_by_none() {
    let stage = Stage::new().await;
    let _operator = stage.operator().start();
    stage.apply(&okta_with("corp", &json!({ "driftPolicy": "Report" }))).await;
    stage.wait_ready("corp", "True", "Available").await;
    edit(&stage, "corp", &json!({ "mfa_cert_profile": "a-telling-value" }));
    for round in ["1", "2"] {
        stage.annotate("corp", RECONCILE, round).await;
        let handled = |server: &MfaServer| {
            let status = server.status.as_ref();
            status.and_then(|status| status.last_handled_reconcile_at.as_deref()) == Some(round)
        };
        stage.wait("corp", "looked at again", handled).await;
    }
    let server = stage.wait_ready("corp", "False", "DriftReported").await;
    assert!(!serde_json::to_string(&server.status).unwrap().contains("a-telling-value"));
    let events = loop {
        let events = stage.events().await;
        if events.iter().any(|event| event.reason.as_deref() == Some("DriftReported")) {
            break events;
        }
    };
    let told: Vec<_> = events.iter().filter(|event| event.reason.as_deref() == Some("DriftReported")).collect();
    assert_eq!(told.len(), 1);
    assert!(!serde_json::to_string(&events).unwrap().contains("a-telling-value"));
}
