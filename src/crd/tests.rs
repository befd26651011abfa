use kube::Resource as _;
use serde_json::{Value, json};

use super::*;

#[test]
fn the_group_is_the_one_of_the_derive() {
    assert_eq!(MfaServer::group(&()), GROUP);
    assert_eq!(crd().metadata.name.unwrap(), format!("mfaservers.{GROUP}"));
    for name in
        [FINALIZER, ANNOTATION_ATTEMPT, ANNOTATION_RECONCILE_REQUESTED_AT, ANNOTATION_FORCE_DELETE, ANNOTATION_ID]
    {
        assert!(name.starts_with(&format!("{GROUP}/")), "{name}");
    }
}

#[test]
fn folders_and_positions_are_named_as_they_are_written() {
    for folder in Folder::ALL {
        assert_eq!(json!(folder), json!(folder.as_str()));
    }
    for position in [Position::Pre, Position::Post] {
        assert_eq!(json!(position), json!(position.as_str()));
    }
}

#[test]
fn the_effective_name_is_the_given_one_or_the_resources_own() {
    let mut server = server(&json!(null));
    assert_eq!(server.effective_name(), "corp");
    server.spec.name = Some("Corp MFA".to_owned());
    assert_eq!(server.effective_name(), "Corp MFA");
}

#[test]
fn what_is_read_is_written_again() {
    let spec = server(&json!({ "duoSecurityV2": {
        "duoApiHost": "duo.example.com", "duoBaseuri": "/auth/v2", "duoIntegrationKey": "integration",
        "duoSecretKey": { "secretKeyRef": { "name": "duo", "key": "secret" } }, "duoTimeout": 30,
    }}))
    .spec;
    let again: MfaServerSpec = serde_json::from_value(json!(spec)).unwrap();
    assert_eq!(again, spec);
    assert_eq!(json!(spec)["mfaVendorType"].as_object().unwrap().len(), 1, "what is absent is not written as null");
    assert_eq!(json!(MfaServerStatus::default()), json!({}));
}

#[test]
fn a_vendor_names_itself_and_its_secrets() {
    let secret = |name: &str| json!({ "secretKeyRef": { "name": name, "key": "key" } });
    let cases = [
        (
            json!({ "oktaAdaptiveV1": { "oktaApiHost": "okta.example.com", "oktaOrg": "corp", "oktaToken": secret("a") } }),
            Some("oktaAdaptiveV1"),
            vec![("oktaToken", "a", 8)],
        ),
        (
            json!({ "duoSecurityV2": {
                "duoApiHost": "duo.example.com", "duoIntegrationKey": "integration", "duoSecretKey": secret("b"),
            }}),
            Some("duoSecurityV2"),
            vec![("duoSecretKey", "b", 16)],
        ),
        (
            json!({ "pingIdentityV1": { "pingOrg": "corp", "pingToken": secret("c"), "pingUseBase64Key": secret("d") } }),
            Some("pingIdentityV1"),
            vec![("pingToken", "c", 8), ("pingUseBase64Key", "d", 8)],
        ),
        (json!({ "rsaSecuridAccessV1": {} }), Some("rsaSecuridAccessV1"), vec![]),
        (
            json!({ "rsaSecuridAccessV1": { "rsaAccesskey": secret("e") } }),
            Some("rsaSecuridAccessV1"),
            vec![("rsaAccesskey", "e", 8)],
        ),
        (json!({}), None, vec![]),
    ];
    for (written, member, secrets) in cases {
        let vendor: MfaVendorType = serde_json::from_value(written).unwrap();
        assert_eq!(vendor.member(), member);
        let found = vendor.secrets().into_iter();
        let found: Vec<_> = found.map(|found| (found.field, &*found.reference.name, found.min_length)).collect();
        assert_eq!(found, secrets);
    }
}

#[test]
fn everything_in_the_definition_is_described_and_bounded_and_nothing_is_nullable() {
    fn look(path: &str, schema: &Value) {
        assert_eq!(schema["nullable"], Value::Null, "{path}");
        let bounded = match schema["type"].as_str() {
            Some("string") => {
                schema["maxLength"].is_i64() || schema["enum"].is_array() || schema["format"] == json!("date-time")
            }
            Some("array") => schema["maxItems"].is_i64(),
            Some("object") => schema["properties"].is_object() || path == ".metadata",
            Some("integer" | "boolean") => true,
            kind => panic!("{path} is of type {kind:?}"),
        };
        assert!(bounded, "{path} has no limit");
        for (name, child) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            let description = child["description"].as_str().unwrap_or_default();
            assert!(description.ends_with('.') && !description.contains('\n'), "{path}: {description:?}");
            look(&path, child);
        }
        if schema["items"].is_object() {
            look(&format!("{path}[]"), &schema["items"]);
        }
    }
    look("", &schema());
}

#[test]
fn text_of_others_in_the_status_has_the_limit_that_is_told() {
    let status = &schema()["properties"]["status"]["properties"];
    for limit in
        [&status["id"], &status["tenant"], &status["lastError"]["properties"]["code"], &status["drift"]["items"]]
    {
        assert_eq!(limit["maxLength"], json!(STATUS_TEXT_MAX));
    }
}

fn schema() -> Value {
    let crd = crd();
    json!(crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema)
}

fn server(vendor: &Value) -> MfaServer {
    serde_json::from_value(json!({
        "apiVersion": format!("{GROUP}/v1alpha1"),
        "kind": "MfaServer",
        "metadata": { "name": "corp" },
        "spec": { "folder": "Mobile Users", "mfaCertProfile": "corp-ca", "mfaVendorType": vendor },
    }))
    .unwrap()
}
