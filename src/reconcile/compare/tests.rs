use serde_json::json;

use super::super::desired::desired;
use super::*;

const SAMPLE: &str = "a-very-secret-password-123!";
/// The echo of [`SAMPLE`] as it was published, its ciphertext shortened.
const SAMPLE_ECHO: &str = "-AQ==evdypN5IrznU/9l3Lsgcrbl1QpU=74yjYQ0pJ1w=";

fn wanted(vendor: &Value) -> Desired {
    let resource = json!({
        "apiVersion": "sse.mfa-operator.io/v1alpha1", "kind": "MfaServer", "metadata": {"name": "corp"},
        "spec": {"folder": "Shared", "mfaCertProfile": "corp-ca", "mfaVendorType": vendor},
    });
    desired(&serde_json::from_value(resource).unwrap()).unwrap()
}

fn reference() -> Value {
    json!({"secretKeyRef": {"name": "a", "key": "b"}})
}

fn okta() -> Desired {
    wanted(&json!({"oktaAdaptiveV1": {
        "oktaApiHost": "corp.okta.example.com", "oktaOrg": "corp", "oktaToken": reference(),
    }}))
}

fn ping() -> Desired {
    wanted(&json!({"pingIdentityV1": {
        "pingOrg": "org", "pingToken": reference(), "pingUseBase64Key": reference(),
    }}))
}

/// An object that equals [`okta`], with these changes to the vendor's member.
fn shown(changes: &Value) -> Map<String, Value> {
    let mut member = json!({
        "okta_api_host": "corp.okta.example.com", "okta_baseuri": "/api/v1", "okta_org": "corp", "okta_timeout": "30",
        "okta_token": "********",
    });
    for (field, value) in changes.as_object().unwrap() {
        member[field] = value.clone();
    }
    object(&json!({"name": "corp", "mfa_cert_profile": "corp-ca", "mfa_vendor_type": {"okta_adaptive_v1": member}}))
}

fn object(json: &Value) -> Map<String, Value> {
    json.as_object().unwrap().clone()
}

fn secrets(texts: &[&str]) -> Vec<SecretString> {
    texts.iter().map(|text| SecretString::from(*text)).collect()
}

#[test]
fn what_a_person_calls_equal_is_equal() {
    for changes in [
        json!({}),
        json!({"okta_timeout": 30}),
        json!({"okta_timeout": "30"}),
        json!({"okta_novelty": "unknown to the spec"}),
        json!({"okta_novelty": null}),
        json!({"okta_token": null}),
        json!({"okta_token": "another"}),
    ] {
        assert_eq!(differences(&okta(), &shown(&changes)), [""; 0], "{changes}");
    }
    let mut other = shown(&json!({}));
    other.insert("id".to_owned(), json!("1"));
    other.insert("folder".to_owned(), json!("All"));
    other["mfa_vendor_type"]["duo_security_v2"] = json!(null);
    assert_eq!(differences(&okta(), &other), [""; 0]);
}

#[test]
fn what_differs_is_named_as_the_spec_names_it() {
    for (changes, paths) in [
        (json!({"okta_timeout": 31}), vec!["mfaVendorType.oktaAdaptiveV1.oktaTimeout"]),
        (json!({"okta_org": null}), vec!["mfaVendorType.oktaAdaptiveV1.oktaOrg"]),
        (json!({"okta_org": ["corp"]}), vec!["mfaVendorType.oktaAdaptiveV1.oktaOrg"]),
        (
            json!({"okta_org": "x", "okta_api_host": "CORP.okta.example.com"}),
            vec!["mfaVendorType.oktaAdaptiveV1.oktaApiHost", "mfaVendorType.oktaAdaptiveV1.oktaOrg"],
        ),
    ] {
        assert_eq!(differences(&okta(), &shown(&changes)), paths, "{changes}");
    }
    let mut other = shown(&json!({}));
    other.insert("mfa_cert_profile".to_owned(), json!("x"));
    assert_eq!(differences(&okta(), &other), ["mfaCertProfile"]);
    other.remove("mfa_cert_profile");
    other.insert("name".to_owned(), json!("Corp"));
    assert_eq!(differences(&okta(), &other), ["mfaCertProfile", "name"]);
}

#[test]
fn another_vendors_member_is_a_difference_beside_ours_and_in_its_place() {
    let mut beside = shown(&json!({}));
    beside["mfa_vendor_type"]["duo_security_v2"] = json!({});
    assert_eq!(differences(&okta(), &beside), ["mfaVendorType.duoSecurityV2"]);
    let instead = object(&json!({
        "name": "corp", "mfa_cert_profile": "corp-ca", "mfa_vendor_type": {"novelty_v9": {"a": 1}},
    }));
    let found = differences(&okta(), &instead);
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found.contains(&"mfaVendorType.noveltyV9".to_owned()));
}

#[test]
fn a_members_name_that_is_not_fit_to_be_shown_is_not() {
    let long = "v".repeat(100_000);
    for name in ["line\nbreak", "\u{1b}[31mred", "", "with space", "a/../b", "geheim-\u{202e}", long.as_str()] {
        let mut beside = shown(&json!({}));
        beside["mfa_vendor_type"][name] = json!({});
        assert_eq!(differences(&okta(), &beside), ["mfaVendorType.another"], "{name:?}");
    }
    let mut many = shown(&json!({}));
    for number in 0..1000 {
        many["mfa_vendor_type"][format!("vendor_v{number}")] = json!({});
    }
    assert!((1..10).contains(&differences(&okta(), &many).len()));
}

#[test]
fn a_vendor_of_secrets_alone_is_missed_where_it_is_not() {
    let mut bare = okta();
    bare.fields.insert(VENDOR.to_owned(), json!({"okta_adaptive_v1": {}}));
    let empty = object(&json!({"name": "corp", "mfa_cert_profile": "corp-ca", "mfa_vendor_type": {}}));
    assert_eq!(differences(&bare, &empty), ["mfaVendorType.oktaAdaptiveV1"]);
    assert_eq!(differences(&bare, &shown(&json!({}))), [""; 0]);
}

#[test]
fn a_spec_without_a_vendor_does_not_ask_for_one() {
    let desired = wanted(&json!(null));
    assert_eq!(differences(&desired, &shown(&json!({}))), [""; 0]);
    assert_eq!(echo(&desired, &[], &shown(&json!({}))), Sameness::Same);
}

#[test]
fn the_published_echo_is_known_again() {
    let shown = |echo: &str| shown(&json!({"okta_token": echo}));
    assert_eq!(echo(&okta(), &secrets(&[SAMPLE]), &shown(SAMPLE_ECHO)), Sameness::Same);
    assert_eq!(echo(&okta(), &secrets(&["another-password"]), &shown(SAMPLE_ECHO)), Sameness::Differs);
    assert_eq!(digest_of(&SecretString::from(SAMPLE)).expose_secret(), "evdypN5IrznU/9l3Lsgcrbl1QpU=");
    assert_eq!(echoed(&okta(), &shown(SAMPLE_ECHO)), [Some("evdypN5IrznU/9l3Lsgcrbl1QpU=")]);
}

#[test]
fn an_echo_that_is_no_digest_is_the_plaintext_or_tells_nothing() {
    let of = |echoed: &Value| echo(&okta(), &secrets(&[SAMPLE]), &shown(&json!({"okta_token": echoed})));
    assert_eq!(of(&json!(SAMPLE)), Sameness::Same);
    for vague in [
        json!("********"),
        json!(""),
        json!(null),
        json!(17),
        json!("a-very-secret-password"),
        json!("-AQ=="),
        json!("-AQ==short"),
        json!("-AQ==notBase64!!!!!!!!!!!!!!!!!!!!!!"),
        json!("-AQ==ünicode-ünicode-ünicode-ünicode"),
        json!("-AR==evdypN5IrznU/9l3Lsgcrbl1QpU=74yj"),
    ] {
        assert_eq!(of(&vague), Sameness::Unknown, "{vague}");
    }
    let mut absent = shown(&json!({}));
    absent["mfa_vendor_type"]["okta_adaptive_v1"].as_object_mut().unwrap().remove("okta_token");
    assert_eq!(echo(&okta(), &secrets(&[SAMPLE]), &absent), Sameness::Unknown);
    assert_eq!(echo(&okta(), &secrets(&[SAMPLE]), &Map::new()), Sameness::Unknown);
    assert_eq!(echoed(&okta(), &absent), [None]);
}

#[test]
fn of_several_secrets_one_that_differs_is_enough_and_one_that_is_vague_casts_doubt() {
    let shown = |token: &str, key: &str| {
        let member = json!({"ping_token": token, "ping_use_base64_key": key});
        object(&json!({"mfa_vendor_type": {"ping_identity_v1": member}}))
    };
    let values = secrets(&[SAMPLE, "base64-key"]);
    let of = |token, key| echo(&ping(), &values, &shown(token, key));
    assert_eq!(of(SAMPLE_ECHO, "base64-key"), Sameness::Same);
    assert_eq!(of(SAMPLE_ECHO, "****"), Sameness::Unknown);
    assert_eq!(of("****", SAMPLE_ECHO), Sameness::Differs);
    assert_eq!(of(SAMPLE_ECHO, SAMPLE_ECHO), Sameness::Differs);
    // Each is compared with its own.
    assert_eq!(echo(&ping(), &secrets(&["base64-key", SAMPLE]), &shown(SAMPLE_ECHO, "base64-key")), Sameness::Differs);
}

#[test]
fn what_is_kept_of_an_object_tells_as_much_as_the_object() {
    for (echoed, sameness) in
        [(SAMPLE_ECHO, Sameness::Same), ("********", Sameness::Unknown), (SAMPLE, Sameness::Unknown)]
    {
        let fields = shown(&json!({"okta_token": echoed}));
        let remote = crate::sse::types::Remote { id: "1".to_owned(), name: "corp".to_owned(), folder: None, fields };
        let kept = remote.to_be_kept().fields;
        assert_eq!(echo(&okta(), &secrets(&[SAMPLE]), &kept), sameness, "{echoed}");
        let text = serde_json::to_string(&kept).unwrap();
        assert!(!text.contains(SAMPLE) && !text.contains("74yj"), "{text}");
    }
}

#[test]
fn a_secret_that_the_spec_does_not_give_cannot_be_written_back() {
    let okta_shown = shown(&json!({"okta_token": "-AQ==echo"}));
    assert!(!is_unwritable(&okta(), &okta_shown), "the spec gives it");
    assert!(is_unwritable(&wanted(&json!(null)), &okta_shown), "no vendor in the spec: it would be kept");
    assert!(!is_unwritable(&ping(), &okta_shown), "another vendor's member is replaced whole");
    assert!(!is_unwritable(&wanted(&json!(null)), &shown(&json!({"okta_token": null}))));

    let rsa = |key: Value| object(&json!({"mfa_vendor_type": {"rsa_securid_access_v1": {"rsa_accesskey": key}}}));
    let without = wanted(&json!({"rsaSecuridAccessV1": {}}));
    let with = wanted(&json!({"rsaSecuridAccessV1": {"rsaAccesskey": reference()}}));
    assert!(is_unwritable(&without, &rsa(json!("********"))));
    assert!(!is_unwritable(&without, &rsa(json!(null))));
    assert!(!is_unwritable(&with, &rsa(json!("********"))));
    assert!(!is_unwritable(&with, &Map::new()));
}

#[test]
fn a_path_is_told_in_the_specs_names() {
    assert_eq!(
        spec_path("mfa_vendor_type.ping_identity_v1.ping_use_base64_key"),
        "mfaVendorType.pingIdentityV1.pingUseBase64Key"
    );
}
