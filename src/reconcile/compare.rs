//! Pure: an object of the tenant against what it is to hold.
//!
//! Equality is what a person would call equal: `"30"` is 30, null is absent, and a field that the spec does not set is
//! not compared. A secret is compared through its echo, where the tenant sends one that can be verified.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use sha1::{Digest, Sha1};

use super::desired::{Desired, VENDOR, at, camel, leaves, plain};
use super::facts::Sameness;

/// The vendors' fields that hold a secret, by the API's names.
pub const SECRET_FIELDS: [&str; 5] =
    ["okta_token", "duo_secret_key", "ping_token", "ping_use_base64_key", "rsa_accesskey"];

/// What an echoed secret begins with.
const ECHO: &str = "-AQ==";
/// SHA-1 in base64.
const DIGEST_LENGTH: usize = 28;

/// The paths, in the spec's names, of the fields that differ; empty where none does.
#[must_use]
pub fn differences(desired: &Desired, shown: &Map<String, Value>) -> Vec<String> {
    let mut wanted = Vec::new();
    leaves(&desired.fields, "", &mut wanted);
    let mut differing: Vec<String> = wanted
        .into_iter()
        .filter(|(path, value)| at(shown, path).and_then(plain) != plain(value))
        .map(|(path, _)| spec_path(&path))
        .collect();
    // A vendor whose fields are all secrets, or unset, has no leaf above.
    if let Some(vendor) = &desired.vendor {
        let members = shown.get(VENDOR).and_then(Value::as_object);
        let present = |member: &str| members.and_then(|members| members.get(member)).is_some_and(Value::is_object);
        if !present(vendor) && desired.vendor_fields().is_none_or(Map::is_empty) {
            differing.push(spec_path(&format!("{VENDOR}.{vendor}")));
        }
        for (member, value) in members.into_iter().flatten() {
            if member != vendor && !value.is_null() {
                differing.push(spec_path(&format!("{VENDOR}.{member}")));
            }
        }
    }
    differing.sort_unstable();
    differing
}

/// A path in the spec's names.
#[must_use]
pub fn spec_path(path: &str) -> String {
    path.split('.').map(camel).collect::<Vec<_>>().join(".")
}

/// Whether the object holds these secrets, as far as its echo tells. `secrets` are those of `desired`, in their order.
#[must_use]
pub fn echo(desired: &Desired, secrets: &[SecretString], shown: &Map<String, Value>) -> Sameness {
    let member = desired.vendor.as_ref().and_then(|vendor| shown.get(VENDOR)?.get(vendor));
    let one = |field: &str, secret: &SecretString| {
        let echoed = member.and_then(|member| member.get(field)).and_then(Value::as_str);
        echoed.map_or(Sameness::Unknown, |echoed| verify(echoed, secret.expose_secret()))
    };
    let each = desired.secrets.iter().zip(secrets).map(|(field, secret)| one(&field.field, secret));
    each.fold(Sameness::Same, |all, one| match (all, one) {
        (Sameness::Differs, _) | (_, Sameness::Differs) => Sameness::Differs,
        (Sameness::Unknown, _) | (_, Sameness::Unknown) => Sameness::Unknown,
        (Sameness::Same, Sameness::Same) => Sameness::Same,
    })
}

/// An echo can be the vendor's form of it, which holds a digest; or the plaintext; or a mask, which tells nothing.
fn verify(echoed: &str, secret: &str) -> Sameness {
    if echoed == secret {
        return Sameness::Same;
    }
    match echoed_digest(echoed) {
        Some(digest) if digest == STANDARD.encode(Sha1::digest(secret.as_bytes())) => Sameness::Same,
        Some(_) => Sameness::Differs,
        None => Sameness::Unknown,
    }
}

/// The digest in an echo, where it has the form that holds one.
fn echoed_digest(echoed: &str) -> Option<&str> {
    let digest = echoed.strip_prefix(ECHO)?.get(..DIGEST_LENGTH)?;
    (STANDARD.decode(digest).ok()?.len() == 20).then_some(digest)
}

/// Whether the object holds a secret that the spec does not give: its echo would be written back for the secret.
#[must_use]
pub fn is_unwritable(desired: &Desired, shown: &Map<String, Value>) -> bool {
    let Some(members) = shown.get(VENDOR).and_then(Value::as_object) else { return false };
    members
        .iter()
        // Another vendor's member is replaced whole.
        .filter(|(member, _)| desired.vendor.as_ref().is_none_or(|vendor| vendor == *member))
        .filter_map(|(_, fields)| fields.as_object())
        .flatten()
        .any(|(field, value)| {
            let given = desired.secrets.iter().any(|secret| secret.field == *field);
            SECRET_FIELDS.contains(&field.as_str()) && !value.is_null() && !given
        })
}

#[cfg(test)]
mod tests;
