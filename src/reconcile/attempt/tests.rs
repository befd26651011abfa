use serde_json::{Value, json};

use super::super::desired::desired;
use super::*;

fn resource(org: &str) -> MfaServer {
    let resource = json!({
        "apiVersion": "sse.mfa-operator.io/v1alpha1", "kind": "MfaServer",
        "metadata": {"name": "corp", "namespace": "team", "uid": "uid-1"},
        "spec": {"folder": "Mobile Users", "position": "post", "mfaCertProfile": "corp-ca", "mfaVendorType": {
            "oktaAdaptiveV1": {
                "oktaApiHost": "corp.okta.example.com", "oktaOrg": org,
                "oktaToken": {"secretKeyRef": {"name": "okta-api", "key": "token"}},
            },
        }},
    });
    serde_json::from_value(resource).unwrap()
}

fn wanted(org: &str) -> Desired {
    desired(&resource(org)).unwrap()
}

fn observed() -> Vec<ObservedSecret> {
    let observed =
        |name: &str, version: &str| ObservedSecret { name: name.to_owned(), resource_version: version.to_owned() };
    vec![observed("a", "7"), observed("okta-api", "42")]
}

fn attempt() -> Attempt {
    Attempt::new("uid-1", "nonce-1".to_owned(), "tsg-1", &wanted("corp"), &observed())
}

fn with_annotation(text: &str) -> MfaServer {
    let mut server = resource("corp");
    server.metadata.annotations = Some([(ANNOTATION_ATTEMPT.to_owned(), text.to_owned())].into());
    server
}

#[test]
fn an_attempt_is_read_as_it_was_written() {
    let text = serde_json::to_string(&attempt()).unwrap();
    assert_eq!(Attempt::of(&with_annotation(&text)), Some(attempt()));
    assert_eq!(attempt().observed_secrets(), observed());
}

#[test]
fn the_annotation_holds_what_an_object_is_known_again_by_and_no_value() {
    let json: Value = serde_json::to_value(attempt()).unwrap();
    for (field, value) in [
        ("uid", "uid-1"),
        ("nonce", "nonce-1"),
        ("tenant", "tsg-1"),
        ("folder", "Mobile Users"),
        ("position", "post"),
        ("name", "corp"),
    ] {
        assert_eq!(json[field], value);
    }
    assert_eq!(json["secrets"], json!({"a": "7", "okta-api": "42"}));
    assert_eq!(json["fields"].as_array().unwrap().len(), 6);
    assert_eq!(json["hash"], wanted("corp").fingerprint().hash);
    assert!(!json.to_string().contains("okta.example.com"));
}

#[test]
fn an_attempt_that_no_status_could_hold_the_answer_of_is_void() {
    let of = |change: &dyn Fn(&mut Attempt)| {
        let mut attempt = attempt();
        change(&mut attempt);
        Attempt::of(&with_annotation(&serde_json::to_string(&attempt).unwrap())).is_some()
    };
    let secrets = |count: usize, name: usize, version: usize| {
        let each = |at: usize| (format!("{at:0name$}"), "1".repeat(version));
        (0..count).map(each).collect::<BTreeMap<_, _>>()
    };
    for (nonce, count, name, version, held) in [
        (1024, 15, 253, 253, true),
        (1025, 1, 1, 1, false),
        (1, 16, 2, 1, false),
        (1, 1, 254, 1, false),
        (1, 1, 1, 254, false),
    ] {
        let held_now = of(&|attempt| {
            attempt.nonce = "n".repeat(nonce);
            attempt.secrets = secrets(count, name, version);
        });
        assert_eq!(held_now, held, "{nonce} {count} {name} {version}");
    }
}

#[test]
fn an_attempt_of_another_uid_or_that_cannot_be_read_is_void() {
    let text = serde_json::to_string(&attempt()).unwrap();
    let mut restored = with_annotation(&text);
    restored.metadata.uid = Some("uid-2".to_owned());
    assert_eq!(Attempt::of(&restored), None);
    restored.metadata.uid = None;
    assert_eq!(Attempt::of(&restored), None);
    for text in ["", "{}", "null", "[]", "{\"uid\":\"uid-1\"}", &text[..text.len() - 1], &format!("{text}x")] {
        assert_eq!(Attempt::of(&with_annotation(text)), None, "{text}");
    }
    assert_eq!(Attempt::of(&resource("corp")), None);
}

#[test]
fn an_attempt_of_an_older_or_newer_operator_is_read_for_what_is_needed() {
    let mut json = serde_json::to_value(attempt()).unwrap();
    json["novelty"] = json!(1);
    json.as_object_mut().unwrap().remove("secrets");
    let read = Attempt::of(&with_annotation(&json.to_string())).unwrap();
    assert_eq!(read, Attempt { secrets: BTreeMap::new(), ..attempt() });
}

#[test]
fn an_attempt_is_answered_once_the_status_names_it() {
    let mut server = resource("corp");
    assert!(!attempt().is_answered(&server));
    for (named, answered) in
        [(json!({}), false), (json!({"attempt": "nonce-0"}), false), (json!({"attempt": "nonce-1"}), true)]
    {
        server.status = Some(serde_json::from_value(named).unwrap());
        assert_eq!(attempt().is_answered(&server), answered);
    }
}

#[test]
fn an_attempt_can_be_sent_as_it_is_only_while_it_says_what_is_wanted() {
    assert!(attempt().sends(&wanted("corp"), "tsg-1"));
    assert!(!attempt().sends(&wanted("other"), "tsg-1"), "the spec is another one");
    assert!(!attempt().sends(&wanted("corp"), "tsg-2"), "the tenant is another one");
    let renamed = Desired { name: "other".to_owned(), ..wanted("corp") };
    assert!(!attempt().sends(&renamed, "tsg-1"));
}

#[test]
fn what_was_sent_is_known_again() {
    let shown = |org: &str| {
        json!({"id": "1", "name": "corp", "mfa_cert_profile": "corp-ca", "mfa_vendor_type": {"okta_adaptive_v1": {
            "okta_api_host": "corp.okta.example.com", "okta_baseuri": "/api/v1", "okta_org": org, "okta_timeout": 30,
            "okta_token": "********",
        }}})
    };
    let matches = |org| attempt().sent.matches(shown(org).as_object().unwrap());
    assert!(matches("corp"));
    assert!(!matches("other"));
}
