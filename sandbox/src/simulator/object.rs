//! An MFA server on the wire: what is valid, and how it is echoed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use sha1::{Digest as _, Sha1};

use super::options::{Answers, SecretEcho, TimeoutEcho, UnknownFields};
use super::store::Object;

/// A vendor's member and its fields.
struct Vendor {
    member: &'static str,
    fields: &'static [&'static str],
    timeout: &'static str,
    secrets: &'static [&'static str],
}

const VENDORS: [Vendor; 4] = [
    Vendor {
        member: "okta_adaptive_v1",
        fields: &["okta_api_host", "okta_baseuri", "okta_org", "okta_timeout", "okta_token"],
        timeout: "okta_timeout",
        secrets: &["okta_token"],
    },
    Vendor {
        member: "duo_security_v2",
        fields: &["duo_api_host", "duo_baseuri", "duo_integration_key", "duo_secret_key", "duo_timeout"],
        timeout: "duo_timeout",
        secrets: &["duo_secret_key"],
    },
    Vendor {
        member: "ping_identity_v1",
        fields: &[
            "ping_api_host",
            "ping_baseuri",
            "ping_org",
            "ping_org_alias",
            "ping_timeout",
            "ping_token",
            "ping_use_base64_key",
        ],
        timeout: "ping_timeout",
        secrets: &["ping_token", "ping_use_base64_key"],
    },
    Vendor {
        member: "rsa_securid_access_v1",
        fields: &[
            "rsa_accessid",
            "rsa_accesskey",
            "rsa_api_host",
            "rsa_assurancepolicyid",
            "rsa_baseuri",
            "rsa_timeout",
        ],
        timeout: "rsa_timeout",
        secrets: &["rsa_accesskey"],
    },
];

/// The member that holds the vendor.
const VENDOR_TYPE: &str = "mfa_vendor_type";

fn vendor(member: &str) -> Option<&'static Vendor> {
    VENDORS.iter().find(|vendor| vendor.member == member)
}

/// Checks a body and returns what is stored of it; `None` is an invalid object.
pub(crate) fn accept(body: &Value, answers: &Answers) -> Option<Map<String, Value>> {
    let body = body.as_object()?;
    let mut stored = Map::new();
    for (member, value) in body {
        match member.as_str() {
            // Read-only: the server's own is what counts.
            "id" => {}
            "name" | "mfa_cert_profile" => {
                value.as_str().filter(|text| !text.is_empty())?;
                stored.insert(member.clone(), value.clone());
            }
            VENDOR_TYPE => {
                stored.insert(member.clone(), Value::Object(accept_vendor(value, answers)?));
            }
            "folder" | "position" if answers.unknown_fields == UnknownFields::Keep => {}
            _ => keep_unknown(&mut stored, member, value, answers)?,
        }
    }
    (stored.contains_key("name") && stored.contains_key("mfa_cert_profile")).then_some(stored)
}

fn accept_vendor(value: &Value, answers: &Answers) -> Option<Map<String, Value>> {
    let value = value.as_object()?;
    let mut stored = Map::new();
    for (member, fields) in value {
        let vendor = vendor(member)?;
        let mut kept = Map::new();
        for (field, leaf) in fields.as_object()? {
            if vendor.fields.contains(&field.as_str()) {
                let timeout = field == vendor.timeout && answers.integer_timeouts && leaf.is_u64();
                (leaf.is_string() || timeout).then_some(())?;
                kept.insert(field.clone(), leaf.clone());
            } else {
                keep_unknown(&mut kept, field, leaf, answers)?;
            }
        }
        stored.insert(member.clone(), Value::Object(kept));
    }
    (stored.len() <= 1).then_some(stored)
}

fn keep_unknown(stored: &mut Map<String, Value>, member: &str, value: &Value, answers: &Answers) -> Option<()> {
    match answers.unknown_fields {
        UnknownFields::Keep => {
            stored.insert(member.to_owned(), value.clone());
            Some(())
        }
        UnknownFields::Drop => Some(()),
        UnknownFields::Reject => None,
    }
}

/// The object as a client sees it.
pub(crate) fn echo(object: &Object, answers: &Answers) -> Value {
    let mut body = object.body.clone();
    body.insert("id".to_owned(), Value::String(object.id.clone()));
    if answers.item_folder {
        body.insert("folder".to_owned(), Value::String(object.folder.as_str().to_owned()));
    }
    if let Some(Value::Object(vendors)) = body.get_mut(VENDOR_TYPE) {
        for (member, fields) in vendors {
            if let (Some(vendor), Value::Object(fields)) = (vendor(member), fields) {
                echo_vendor(vendor, fields, object, answers);
            }
        }
    }
    Value::Object(body)
}

fn echo_vendor(vendor: &Vendor, fields: &mut Map<String, Value>, object: &Object, answers: &Answers) {
    if let Some(timeout) = fields.get_mut(vendor.timeout) {
        match (answers.timeouts, &*timeout) {
            (TimeoutEcho::String, Value::Number(number)) => *timeout = Value::String(number.to_string()),
            (TimeoutEcho::Integer, Value::String(text)) => {
                if let Ok(number) = text.parse::<u64>() {
                    *timeout = Value::from(number);
                }
            }
            _ => {}
        }
    }
    for secret in vendor.secrets {
        if answers.secrets == SecretEcho::Absent {
            fields.remove(*secret);
        } else if let Some(Value::String(text)) = fields.get_mut(*secret) {
            match answers.secrets {
                SecretEcho::Digest => *text = digest(text, &format!("{}/{}/{secret}", object.id, object.version)),
                SecretEcho::Mask => "********".clone_into(text),
                SecretEcho::Plaintext | SecretEcho::Absent => {}
            }
        }
    }
}

/// A secret as the vendor's configuration store echoes it: a mark, the plaintext's SHA-1, a ciphertext.
///
/// The ciphertext is only something of a likely length that another `salt` changes; nobody can decrypt it.
pub(crate) fn digest(plaintext: &str, salt: &str) -> String {
    let mut cipher = Vec::new();
    let blocks = plaintext.len() / 16 + 1;
    while cipher.len() < blocks * 16 {
        cipher.extend_from_slice(&Sha1::digest(format!("{salt}/{}/{plaintext}", cipher.len())));
    }
    cipher.truncate(blocks * 16);
    format!("-AQ=={}{}", STANDARD.encode(Sha1::digest(plaintext)), STANDARD.encode(cipher))
}
