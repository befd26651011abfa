//! What a real API server and kubectl make of the definition.

use std::{fmt::Write as _, path::Path, time::Instant};

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::{DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::ApiResource,
};
use mfa_operator::crd::{Folder, MfaServer, MfaServerStatus, Position};
use serde_json::{Value, json};

use super::cases::{Base, fields, wholes, with};
use crate::harness::{self, LIMIT, Namespace};

/// Untyped, so that a test can send what the types could not.
fn untyped(namespace: &Namespace) -> Api<DynamicObject> {
    Api::namespaced_with(namespace.client.clone(), &namespace.name, &ApiResource::erase::<MfaServer>(&()))
}

fn object(resource: &Value) -> DynamicObject {
    serde_json::from_value(resource.clone()).unwrap()
}

fn dry_run() -> PostParams {
    PostParams { dry_run: true, ..PostParams::default() }
}

/// The API server's words, or nothing where it accepts.
fn refusal<T>(answer: kube::Result<T>) -> Option<String> {
    match answer {
        Ok(_) => None,
        Err(kube::Error::Api(status)) => {
            assert_eq!(status.code, 422, "{}", status.message);
            Some(status.message)
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn the_definition_is_established_without_a_complaint() {
    let crds = Api::<CustomResourceDefinition>::all(harness::cluster().await.client());
    let crd = crds.get("mfaservers.sse.mfa-operator.io").await.unwrap();
    let conditions = crd.status.unwrap().conditions.unwrap();
    let status = |name: &str| conditions.iter().find(|condition| condition.type_ == name).map(|found| &*found.status);
    assert_eq!(status("Established"), Some("True"));
    assert_eq!(status("NamesAccepted"), Some("True"));
    assert_eq!(status("NonStructuralSchema"), None);
}

#[tokio::test]
async fn every_rule_of_a_field_holds_on_the_server() {
    let namespace = harness::namespace().await;
    let api = untyped(&namespace);
    let mut wrong = String::new();
    for field in fields() {
        let accepted = object(&with(field.base.resource(), &[(field.path, field.accepted.clone())]));
        if let Some(words) = refusal(api.create(&dry_run(), &accepted).await) {
            writeln!(wrong, "{} = {} should be accepted: {words}", field.path, field.accepted).unwrap();
        }
        let refused = object(&with(field.base.resource(), &[(field.path, field.refused.clone())]));
        let words = refusal(api.create(&dry_run(), &refused).await).unwrap_or_default();
        if !(words.contains(field.path) && words.contains(field.message)) || words.contains("cost") {
            writeln!(wrong, "{} = {} says {words:?}, not {:?}", field.path, field.refused, field.message).unwrap();
        }
    }
    assert_eq!(wrong, "");
}

#[tokio::test]
async fn every_rule_of_the_whole_holds_on_the_server() {
    for whole in wholes() {
        let namespace = harness::namespace().await;
        let api = untyped(&namespace);
        let found = match &whole.before {
            None => refusal(api.create(&dry_run(), &object(&whole.after)).await),
            Some(before) => {
                let created = api.create(&PostParams::default(), &object(before)).await.unwrap();
                let mut after = object(&whole.after);
                after.metadata.resource_version = created.resource_version();
                refusal(api.replace(&created.name_any(), &dry_run(), &after).await)
            }
        };
        match (whole.refusal, found) {
            (None, None) => {}
            (Some((field, message)), Some(words)) => {
                let wanted = format!("is invalid: {field}: ");
                assert!(words.contains(&wanted) && words.contains(message), "{}: {words:?}", whole.says);
            }
            (wanted, found) => panic!("{}: wanted {wanted:?}, found {found:?}", whole.says),
        }
    }
}

#[tokio::test]
async fn what_the_schema_itself_refuses_names_the_field_and_the_values() {
    let namespace = harness::namespace().await;
    let api = untyped(&namespace);
    let okta = |name: &'static str, value: Value| {
        with(Base::Okta.resource(), &[(String::leak(format!("spec.mfaVendorType.oktaAdaptiveV1.{name}")), value)])
    };
    let plain = |path, value| with(Base::Plain.resource(), &[(path, value)]);
    for (resource, wanted) in [
        (plain("spec.folder", Value::Null), "spec.folder: Required value"),
        (plain("spec.mfaCertProfile", Value::Null), "spec.mfaCertProfile: Required value"),
        (plain("spec", Value::Null), "spec: Required value"),
        (
            plain("spec.folder", json!("mobile users")),
            r#"spec.folder: Unsupported value: "mobile users": supported values: "Shared", "Mobile Users", "Remote Networks", "Service Connections", "Mobile Users Container", "Mobile Users Explicit Proxy""#,
        ),
        (plain("spec.position", json!("Pre")), r#"supported values: "pre", "post""#),
        (plain("spec.deletionPolicy", json!("Orphan")), r#"supported values: "Delete", "Retain""#),
        (plain("spec.adoptionPolicy", json!("")), r#"supported values: "Never", "IfIdentical", "Always""#),
        (plain("spec.driftPolicy", json!("Ignore")), r#"supported values: "Correct", "Report""#),
        (plain("spec.name", json!("m".repeat(64))), "spec.name: Too long: may not be more than 63"),
        (
            plain("spec.mfaCertProfile", json!("m".repeat(256))),
            "spec.mfaCertProfile: Too long: may not be more than 255",
        ),
        (okta("oktaTimeout", json!("30")), r#"oktaTimeout in body must be of type integer: "string""#),
        (okta("oktaToken", json!("in-the-clear")), r#"oktaToken in body must be of type object: "string""#),
        (okta("oktaToken", json!({})), "oktaToken.secretKeyRef: Required value"),
        (okta("oktaToken", json!({ "secretKeyRef": { "name": "a" } })), "oktaToken.secretKeyRef.key: Required value"),
        (okta("oktaToken", Value::Null), "oktaAdaptiveV1.oktaToken: Required value"),
        (okta("oktaApiHost", Value::Null), "oktaAdaptiveV1.oktaApiHost: Required value"),
        (okta("oktaOrg", Value::Null), "oktaAdaptiveV1.oktaOrg: Required value"),
    ] {
        let words = refusal(api.create(&dry_run(), &object(&resource)).await).unwrap_or_default();
        assert!(words.contains(wanted), "{words:?} does not say {wanted:?}");
    }
}

#[tokio::test]
async fn what_is_left_out_is_filled_in() {
    let namespace = harness::namespace().await;
    let wanted = json!([
        ["oktaAdaptiveV1", { "oktaBaseuri": "/api/v1", "oktaTimeout": 30 }],
        ["duoSecurityV2", { "duoBaseuri": "/auth/v2", "duoTimeout": 30 }],
        ["pingIdentityV1", {
            "pingApiHost": "idpxny3lm.pingidentity.com", "pingBaseuri": "/pingid/rest/4", "pingTimeout": 30,
        }],
        ["rsaSecuridAccessV1", { "rsaBaseuri": "/mfa/v1_1", "rsaTimeout": 30 }],
    ]);
    for vendor in wanted.as_array().unwrap() {
        let (member, wanted) = (vendor[0].as_str().unwrap(), vendor[1].as_object().unwrap());
        let base = Base::ALL.into_iter().find(|base| !base.vendor()[member].is_null()).unwrap();
        let created = untyped(&namespace).create(&dry_run(), &object(&base.resource())).await.unwrap();
        let found = &created.data["spec"]["mfaVendorType"][member];
        let given = base.vendor()[member].as_object().unwrap().clone();
        assert_eq!(*found, Value::Object(given.into_iter().chain(wanted.clone()).collect()));
    }

    let created = untyped(&namespace).create(&PostParams::default(), &object(&Base::Plain.resource())).await.unwrap();
    assert_eq!(created.data["status"], json!({ "observedGeneration": -1 }));
    assert_eq!(
        created.data["spec"],
        json!({
            "folder": "Mobile Users", "position": "pre", "mfaCertProfile": "corp-ca",
            "adoptionPolicy": "Never", "driftPolicy": "Correct", "suspend": false,
        })
    );

    let typed = namespace.api::<MfaServer>().get("corp").await.unwrap();
    assert_eq!(typed.effective_name(), "corp");
    assert_eq!((typed.spec.folder, typed.spec.position), (Folder::MobileUsers, Position::Pre));
    assert_eq!(typed.spec.deletion_policy, None);
    assert_eq!(typed.status.unwrap().observed_generation, Some(-1));
}

#[tokio::test]
async fn a_null_is_as_good_as_left_out() {
    let namespace = harness::namespace().await;
    let mut resource = Base::Rsa.resource();
    for field in ["name", "position", "credentialsSecretRef", "deletionPolicy", "suspend"] {
        resource["spec"][field] = Value::Null;
    }
    resource["spec"]["mfaVendorType"]["oktaAdaptiveV1"] = Value::Null;
    resource["spec"]["mfaVendorType"]["rsaSecuridAccessV1"] = json!({ "rsaTimeout": null, "rsaAccesskey": null });
    let created = untyped(&namespace).create(&PostParams::default(), &object(&resource)).await.unwrap();
    assert_eq!(
        created.data["spec"],
        json!({
            "folder": "Mobile Users", "position": "pre", "mfaCertProfile": "corp-ca",
            "mfaVendorType": { "rsaSecuridAccessV1": { "rsaBaseuri": "/mfa/v1_1", "rsaTimeout": 30 } },
            "adoptionPolicy": "Never", "driftPolicy": "Correct", "suspend": false,
        })
    );
}

#[tokio::test]
async fn a_status_takes_effect_only_through_its_subresource() {
    let namespace = harness::namespace().await;
    let mut resource = Base::Plain.resource();
    resource["status"] = json!({ "observedGeneration": 1, "id": "forged" });
    let created = untyped(&namespace).create(&PostParams::default(), &object(&resource)).await.unwrap();
    assert_eq!(created.data["status"], json!({ "observedGeneration": -1 }));

    let status = full_status();
    let applied = apply_status(&namespace, "corp", &status).await;
    assert_eq!(applied.status.as_ref(), Some(&status));
    assert_eq!(applied.metadata.generation, Some(1));
    let again = apply_status(&namespace, "corp", &status).await;
    assert_eq!(again.metadata.resource_version, applied.metadata.resource_version, "the same again writes nothing");
}

/// A status with every field set.
fn full_status() -> MfaServerStatus {
    serde_json::from_value(json!({
        "observedGeneration": 1,
        "id": "abcd-1234",
        "name": "corp",
        "folder": "Mobile Users",
        "position": "pre",
        "vendor": "oktaAdaptiveV1",
        "tenant": "1234567890",
        "conditions": [condition("Ready", "False", "NameNotUnique", "the tenant has an MFA server of this name")],
        "lastError": { "httpStatus": 409, "code": "E006", "reason": "NameNotUnique", "requestId": "abcd-1234" },
        "attempt": "0123456789abcdef",
        "lastSyncTime": "2026-01-02T03:04:05Z",
        "drift": ["mfaVendorType.oktaAdaptiveV1.oktaTimeout"],
        "observedSecrets": [{ "name": "okta-api", "resourceVersion": "7" }],
        "lastHandledReconcileAt": "now",
    }))
    .unwrap()
}

fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: Some(1),
        last_transition_time: Time("2026-01-02T03:04:05Z".parse::<Timestamp>().unwrap()),
    }
}

async fn apply_status(namespace: &Namespace, name: &str, status: &MfaServerStatus) -> MfaServer {
    let (kind, version) = (MfaServer::kind(&()), MfaServer::api_version(&()));
    let patch = json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name }, "status": status });
    let params = PatchParams::apply("tests").force();
    namespace.api::<MfaServer>().patch_status(name, &params, &Patch::Apply(patch)).await.unwrap()
}

#[tokio::test]
async fn kubectl_shows_the_columns() {
    let namespace = harness::namespace().await;
    untyped(&namespace).create(&PostParams::default(), &object(&Base::Okta.resource())).await.unwrap();
    let words =
        |line: &str| line.split("  ").map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let table = |text: String| text.lines().map(words).collect::<Vec<Vec<_>>>();

    let fresh = table(namespace.kubectl(&["get", "mfa"]).await.stdout);
    assert_eq!(fresh[0], ["NAME", "VENDOR", "FOLDER", "READY", "REASON", "AGE"]);
    assert_eq!(fresh[1][..2], ["corp", "Mobile Users"]);

    apply_status(&namespace, "corp", &full_status()).await;
    let known = table(namespace.kubectl(&["get", "mfaservers"]).await.stdout);
    assert_eq!(known[1][..5], ["corp", "oktaAdaptiveV1", "Mobile Users", "False", "NameNotUnique"]);

    let wide = table(namespace.kubectl(&["get", "sse", "-o", "wide"]).await.stdout);
    assert_eq!(wide[0], ["NAME", "VENDOR", "FOLDER", "READY", "REASON", "REMOTE-ID", "NAME", "MESSAGE", "AGE"]);
    assert_eq!(wide[1][5..8], ["abcd-1234", "corp", "the tenant has an MFA server of this name"]);
}

#[tokio::test]
async fn resources_can_be_selected_by_folder() {
    let namespace = harness::namespace().await;
    let api = untyped(&namespace);
    for (name, folder) in [("a", "Shared"), ("b", "Mobile Users")] {
        let resource = with(Base::Plain.resource(), &[("metadata.name", json!(name)), ("spec.folder", json!(folder))]);
        api.create(&PostParams::default(), &object(&resource)).await.unwrap();
    }
    let found = api.list(&ListParams::default().fields("spec.folder=Mobile Users")).await.unwrap();
    assert_eq!(found.items.iter().map(kube::ResourceExt::name_any).collect::<Vec<_>>(), ["b"]);
}

#[tokio::test]
async fn kubectl_names_a_field_that_does_not_exist() {
    let namespace = harness::namespace().await;
    for (path, value) in [
        ("spec.mfaCertProfil", json!("corp-ca")),
        ("spec.mfaVendorType.oktaAdaptiveV1.oktaTimeOut", json!(30)),
        ("spec.mfaVendorType.oktaAdaptiveV1.oktaToken.value", json!("in-the-clear")),
    ] {
        let resource = with(Base::Okta.resource(), &[(path, value)]).to_string();
        let answer = namespace.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &resource).await;
        assert!(!answer.ok && answer.stderr.contains(&format!(r#"unknown field "{path}""#)), "{answer:?}");
    }
}

#[tokio::test]
async fn kubectl_explains_every_field() {
    let namespace = harness::namespace().await;
    let begin = Instant::now();
    // The API server publishes a definition's documentation a moment after the definition.
    let explained = loop {
        let answer = namespace.kubectl(&["explain", "mfa.spec"]).await;
        if answer.ok {
            break answer.stdout;
        }
        assert!(begin.elapsed() < LIMIT, "{answer:?}");
    };
    for words in
        ["KIND:       MfaServer", "mfaCertProfile\t<string> -required-", "It cannot be changed", "suspend\t<boolean>"]
    {
        assert!(explained.contains(words), "{words:?} is not in:\n{explained}");
    }
    let timeout = namespace.kubectl(&["explain", "mfa.spec.mfaVendorType.oktaAdaptiveV1.oktaTimeout"]).await.stdout;
    assert!(timeout.contains("in seconds, 5 to 600"), "{timeout}");
    let recursive = namespace.kubectl(&["explain", "--recursive", "mfa"]).await.stdout;
    for field in ["secretKeyRef", "rsaAssurancepolicyid", "lastHandledReconcileAt", "observedSecrets"] {
        assert!(recursive.contains(field), "{field} is not in:\n{recursive}");
    }
}

#[tokio::test]
async fn applying_the_same_again_is_no_change() {
    let namespace = harness::namespace().await;
    let api = untyped(&namespace);
    let apply = async || {
        let params = PatchParams::apply("gitops");
        api.patch("corp", &params, &Patch::Apply(Base::Okta.resource())).await.unwrap().metadata
    };
    let first = apply().await;
    // The first update stores the default of the status, once: a create drops the status after defaulting.
    let second = apply().await;
    let third = apply().await;
    assert_eq!((first.generation, second.generation, third.generation), (Some(1), Some(1), Some(1)));
    assert_eq!(second.resource_version, third.resource_version);
}

#[tokio::test]
async fn another_vendor_replaces_the_old_one_by_server_side_apply() {
    let namespace = harness::namespace().await;
    let api = untyped(&namespace);
    for (manager, base) in
        [("gitops", Base::Okta), ("gitops", Base::Duo), ("person", Base::Ping), ("gitops", Base::Okta)]
    {
        let params = PatchParams::apply(manager).force();
        let applied = api.patch("corp", &params, &Patch::Apply(base.resource())).await.unwrap();
        let vendor = applied.data["spec"]["mfaVendorType"].as_object().unwrap();
        assert!(vendor.keys().eq(base.vendor().as_object().unwrap().keys()), "{vendor:?}");
    }
}

#[tokio::test]
async fn another_vendor_replaces_the_old_one_by_kubectl_apply() {
    let namespace = harness::namespace().await;
    for base in [Base::Okta, Base::Duo, Base::Ping, Base::Rsa, Base::Okta] {
        let answer = namespace.kubectl_with(&["apply", "-f", "-"], &base.resource().to_string()).await;
        assert!(answer.ok, "{answer:?}");
    }
}

#[tokio::test]
async fn the_examples_are_accepted() {
    let namespace = harness::namespace().await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut manifests: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    manifests.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    assert!(manifests.len() >= 5, "{manifests:?}");
    for manifest in manifests {
        let answer = namespace.kubectl(&["apply", "--validate=strict", "-f", manifest.to_str().unwrap()]).await;
        assert!(answer.ok, "{}: {answer:?}", manifest.display());
    }
    let servers = namespace.api::<MfaServer>().list(&ListParams::default()).await.unwrap();
    let secrets = namespace.api::<k8s_openapi::api::core::v1::Secret>();
    assert!(servers.items.len() >= 4);
    for server in servers {
        for secret in server.spec.mfa_vendor_type.as_ref().unwrap().secrets() {
            let data = secrets.get(&secret.reference.name).await.unwrap().data.unwrap();
            let value = &data[&secret.reference.key];
            assert!(value.0.len() >= secret.min_length, "{}: {}", server.name_any(), secret.field);
        }
    }
}
