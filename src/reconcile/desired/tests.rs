use serde_json::json;

use super::*;

fn spec(vendor: &Value) -> Value {
    json!({"folder": "Mobile Users", "mfaCertProfile": "corp-ca", "mfaVendorType": vendor})
}

fn server(spec: &Value) -> MfaServer {
    let resource = json!({
        "apiVersion": "sse.mfa-operator.io/v1alpha1", "kind": "MfaServer",
        "metadata": {"name": "corp", "namespace": "team", "uid": "uid-1"}, "spec": spec,
    });
    serde_json::from_value(resource).unwrap()
}

fn wanted(spec: &Value) -> Desired {
    desired(&server(spec)).unwrap()
}

fn reference(name: &str, key: &str) -> Value {
    json!({"secretKeyRef": {"name": name, "key": key}})
}

fn okta() -> Value {
    json!({"oktaAdaptiveV1": {
        "oktaApiHost": "corp.okta.example.com", "oktaOrg": "corp", "oktaToken": reference("okta-api", "token"),
    }})
}

fn secrets(texts: &[&str]) -> Vec<SecretString> {
    texts.iter().map(|text| SecretString::from(*text)).collect()
}

fn object(json: &Value) -> Map<String, Value> {
    json.as_object().unwrap().clone()
}

fn json_of(body: &Body) -> Value {
    serde_json::from_str(body.expose()).unwrap()
}

#[test]
fn every_vendor_is_sent_in_the_apis_names_with_strings_for_leaves() {
    let cases = [
        (
            okta(),
            vec!["okta-secret"],
            json!({"okta_adaptive_v1": {
                "okta_api_host": "corp.okta.example.com", "okta_baseuri": "/api/v1", "okta_org": "corp",
                "okta_timeout": "30", "okta_token": "okta-secret",
            }}),
        ),
        (
            json!({"duoSecurityV2": {
                "duoApiHost": "api-1.duo.example.com", "duoIntegrationKey": "integration-key-1", "duoTimeout": 600,
                "duoSecretKey": reference("duo", "key"),
            }}),
            vec!["duo-secret"],
            json!({"duo_security_v2": {
                "duo_api_host": "api-1.duo.example.com", "duo_baseuri": "/auth/v2",
                "duo_integration_key": "integration-key-1", "duo_secret_key": "duo-secret", "duo_timeout": "600",
            }}),
        ),
        (
            json!({"pingIdentityV1": {
                "pingOrg": "org-1", "pingOrgAlias": "org-alias", "pingTimeout": 5,
                "pingToken": reference("ping", "token"), "pingUseBase64Key": reference("ping", "base64"),
            }}),
            vec!["ping-token", "ping-base64"],
            json!({"ping_identity_v1": {
                "ping_api_host": "idpxny3lm.pingidentity.com", "ping_baseuri": "/pingid/rest/4", "ping_org": "org-1",
                "ping_org_alias": "org-alias", "ping_timeout": "5", "ping_token": "ping-token",
                "ping_use_base64_key": "ping-base64",
            }}),
        ),
        (
            json!({"rsaSecuridAccessV1": {
                "rsaAccessid": "access-id-1", "rsaApiHost": "rsa.example.com", "rsaAssurancepolicyid": "policy-1",
                "rsaAccesskey": reference("rsa", "key"),
            }}),
            vec!["rsa-secret"],
            json!({"rsa_securid_access_v1": {
                "rsa_accessid": "access-id-1", "rsa_accesskey": "rsa-secret", "rsa_api_host": "rsa.example.com",
                "rsa_assurancepolicyid": "policy-1", "rsa_baseuri": "/mfa/v1_1", "rsa_timeout": "30",
            }}),
        ),
        (
            json!({"rsaSecuridAccessV1": {}}),
            vec![],
            json!({"rsa_securid_access_v1": {"rsa_baseuri": "/mfa/v1_1", "rsa_timeout": "30"}}),
        ),
    ];
    for (vendor, values, expected) in cases {
        let desired = wanted(&spec(&vendor));
        assert_eq!(desired.secrets.len(), values.len());
        assert_eq!(
            json_of(&desired.body(&secrets(&values))),
            json!({"name": "corp", "mfa_cert_profile": "corp-ca", "mfa_vendor_type": expected})
        );
    }
}

#[test]
fn without_a_vendor_only_name_and_profile_are_sent() {
    let desired = wanted(&json!({"folder": "Shared", "mfaCertProfile": "ca", "position": "post", "name": "Corp MFA"}));
    assert_eq!(json_of(&desired.body(&[])), json!({"name": "Corp MFA", "mfa_cert_profile": "ca"}));
    assert_eq!((desired.folder, desired.position, desired.vendor), (Folder::Shared, Position::Post, None));
}

#[test]
fn each_folder_and_position_keeps_its_name() {
    for folder in crd::Folder::ALL {
        for position in [crd::Position::Pre, crd::Position::Post] {
            let desired =
                wanted(&json!({"folder": folder.as_str(), "mfaCertProfile": "ca", "position": position.as_str()}));
            assert_eq!(desired.folder.as_str(), folder.as_str());
            assert_eq!(desired.position.as_str(), position.as_str());
        }
    }
}

#[test]
fn a_secret_is_known_by_where_it_stands_and_is_in_no_field() {
    let desired = wanted(&spec(&okta()));
    let expected = SecretField {
        field: "okta_token".to_owned(),
        secret: "okta-api".to_owned(),
        key: "token".to_owned(),
        min_length: 8,
    };
    assert_eq!(desired.secrets, std::slice::from_ref(&expected));
    assert_eq!(expected.spec_name(), "oktaToken");
    assert_eq!(desired.vendor_fields().unwrap().get("okta_token"), None);
}

#[test]
fn a_spec_that_validation_should_not_have_let_through_is_invalid() {
    let two = json!({
        "oktaAdaptiveV1": okta()["oktaAdaptiveV1"], "rsaSecuridAccessV1": {},
    });
    for (vendor, message) in
        [(two, "spec.mfaVendorType: set exactly one vendor"), (json!({}), "spec.mfaVendorType: set exactly one vendor")]
    {
        assert_eq!(desired(&server(&spec(&vendor))).unwrap_err().to_string(), message);
    }
    let mut nameless = server(&spec(&okta()));
    nameless.metadata.name = None;
    assert_eq!(desired(&nameless).unwrap_err().to_string(), "spec.name: must not be empty");
}

#[test]
fn an_update_keeps_what_nobody_here_knows_and_sends_nothing_that_is_fixed() {
    let shown = object(&json!({
        "id": "1", "folder": "Mobile Users", "position": "pre", "name": "corp", "mfa_cert_profile": "other",
        "description": "kept", "snippet": null,
        "mfa_vendor_type": {"okta_adaptive_v1": {
            "okta_api_host": "old.example.com", "okta_baseuri": "/api/v1", "okta_org": null, "okta_timeout": 60,
            "okta_token": "-AQ==echo", "okta_novelty": {"kept": [1, 2]},
        }},
    }));
    assert_eq!(
        json_of(&wanted(&spec(&okta())).overlay(&shown, &secrets(&["okta-secret"]))),
        json!({
            "name": "corp", "mfa_cert_profile": "corp-ca", "description": "kept", "snippet": null,
            "mfa_vendor_type": {"okta_adaptive_v1": {
                "okta_api_host": "corp.okta.example.com", "okta_baseuri": "/api/v1", "okta_org": "corp",
                "okta_timeout": "30", "okta_token": "okta-secret", "okta_novelty": {"kept": [1, 2]},
            }},
        })
    );
}

#[test]
fn another_vendor_replaces_the_old_one_whole() {
    for shown in [
        json!({"duo_security_v2": {"duo_api_host": "a", "duo_secret_key": "-AQ==echo"}}),
        json!({"duo_security_v2": {"duo_api_host": "a"}, "okta_adaptive_v1": null}),
        json!({"novelty_v9": {"a": 1}}),
        json!(null),
        json!("not an object"),
    ] {
        let shown = object(&json!({"name": "corp", "mfa_vendor_type": shown}));
        let body = json_of(&wanted(&spec(&okta())).overlay(&shown, &secrets(&["okta-secret"])));
        assert_eq!(body, json_of(&wanted(&spec(&okta())).body(&secrets(&["okta-secret"]))), "{shown:?}");
    }
}

#[test]
fn a_vendor_that_the_spec_does_not_name_stays() {
    let vendor = json!({"duo_security_v2": {"duo_api_host": "a"}});
    let shown = object(&json!({"name": "corp", "mfa_vendor_type": vendor}));
    let body = json_of(&wanted(&json!({"folder": "Shared", "mfaCertProfile": "ca"})).overlay(&shown, &[]));
    assert_eq!(body, json!({"name": "corp", "mfa_cert_profile": "ca", "mfa_vendor_type": vendor}));
}

#[test]
fn no_body_and_no_desired_shows_a_secret() {
    let desired = wanted(&spec(&okta()));
    let body = desired.body(&secrets(&["okta-secret"]));
    assert!(!format!("{desired:?} {body:?}").contains("okta-secret"));
}

#[test]
fn an_object_is_known_again_whether_it_holds_numbers_or_texts() {
    let print = wanted(&spec(&okta())).fingerprint();
    assert_eq!(
        print.fields,
        [
            "mfa_cert_profile",
            "mfa_vendor_type.okta_adaptive_v1.okta_api_host",
            "mfa_vendor_type.okta_adaptive_v1.okta_baseuri",
            "mfa_vendor_type.okta_adaptive_v1.okta_org",
            "mfa_vendor_type.okta_adaptive_v1.okta_timeout",
            "name",
        ]
    );
    let shown = |timeout: &Value| {
        object(&json!({
            "id": "1", "folder": "Mobile Users", "name": "corp", "mfa_cert_profile": "corp-ca", "novelty": 1,
            "mfa_vendor_type": {"okta_adaptive_v1": {
                "okta_api_host": "corp.okta.example.com", "okta_baseuri": "/api/v1", "okta_org": "corp",
                "okta_timeout": timeout, "okta_token": "-AQ==echo", "okta_novelty": null,
            }, "duo_security_v2": null},
        }))
    };
    assert!(print.matches(&shown(&json!("30"))));
    assert!(print.matches(&shown(&json!(30))));
    for other in [json!("31"), json!(31), json!(null), json!([30]), json!("030")] {
        assert!(!print.matches(&shown(&other)), "{other}");
    }
    assert!(!print.matches(&Map::new()));
}

#[test]
fn a_fingerprint_tells_every_value_that_is_sent_from_another() {
    let print = wanted(&spec(&okta())).fingerprint();
    let mut prints = vec![print.hash.clone()];
    for (field, value) in
        [("oktaApiHost", json!("x.okta.example.com")), ("oktaOrg", json!("other")), ("oktaTimeout", json!(31))]
    {
        let mut vendor = okta();
        vendor["oktaAdaptiveV1"][field] = value;
        prints.push(wanted(&spec(&vendor)).fingerprint().hash);
    }
    let mut named = spec(&okta());
    named["name"] = json!("other");
    prints.push(wanted(&named).fingerprint().hash);
    prints.sort_unstable();
    prints.dedup();
    assert_eq!(prints.len(), 5);
    assert_eq!(wanted(&spec(&okta())).fingerprint(), print, "the same spec gives the same print");
    // Where a value ends and the next path begins is part of it.
    let of = |a: &str, b: &str| digest(&["a".to_owned(), "b".to_owned()], &object(&json!({"a": a, "b": b})));
    assert_ne!(of("1", "2"), of("12", ""));
    assert!(!print.hash.contains(|c: char| !c.is_ascii_hexdigit()) && print.hash.len() == 64);
}

#[test]
fn a_fingerprint_does_not_depend_on_secrets() {
    let mut vendor = okta();
    vendor["oktaAdaptiveV1"]["oktaToken"] = reference("another", "key");
    assert_eq!(wanted(&spec(&vendor)).fingerprint(), wanted(&spec(&okta())).fingerprint());
}

#[test]
fn every_name_of_the_spec_goes_to_the_wire_and_back() {
    let crd = serde_json::to_value(crd::crd()).unwrap();
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    let vendors = &spec["mfaVendorType"]["properties"];
    let members = vendors.as_object().unwrap();
    assert_eq!(members.len(), 4);
    let fields = members.values().flat_map(|member| member["properties"].as_object().unwrap().keys());
    let mut count = 0;
    for name in members.keys().chain(fields).chain(spec.as_object().unwrap().keys()) {
        assert_eq!(camel(&snake(name)), *name);
        assert!(!snake(name).contains(|c: char| c.is_ascii_uppercase()), "{name}");
        count += 1;
    }
    assert!(count > 30, "{count}");
}

#[test]
fn what_a_secret_is_in_the_definition_is_one_here() {
    let crd = serde_json::to_value(crd::crd()).unwrap();
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    let members = spec["mfaVendorType"]["properties"].as_object().unwrap();
    let fields = members.values().flat_map(|member| member["properties"].as_object().unwrap());
    let referring = fields.filter(|(_, schema)| schema["properties"].get("secretKeyRef").is_some());
    let mut found: Vec<String> = referring.map(|(name, _)| snake(name)).collect();
    found.sort_unstable();
    let mut known = crate::sse::types::SECRET_FIELDS.to_vec();
    known.sort_unstable();
    assert_eq!(found, known);
}

#[test]
fn a_path_leads_to_a_value_or_nowhere() {
    let fields = object(&json!({"a": {"b": {"c": 1}}, "d": null}));
    assert_eq!(at(&fields, "a.b.c"), Some(&json!(1)));
    assert_eq!(at(&fields, "d"), Some(&json!(null)));
    for nowhere in ["", "x", "a.x", "a.b.c.d", "d.e"] {
        assert_eq!(at(&fields, nowhere), None, "{nowhere:?}");
    }
}

#[test]
fn a_null_is_no_leaf() {
    let Value::Object(fields) = json!({"a": null, "b": {"c": null, "d": 1}, "e": "f"}) else { unreachable!() };
    let mut found = Vec::new();
    leaves(&fields, "", &mut found);
    assert_eq!(found, [("b.d".to_owned(), &json!(1)), ("e".to_owned(), &json!("f"))]);
}
