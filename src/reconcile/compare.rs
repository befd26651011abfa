//! Pure: an object of the tenant against what it is to hold.
//!
//! Equality is what a person would call equal: `"30"` is 30, null is absent, and a field that the spec does not set is
//! not compared. A secret is compared through its echo, where the tenant sends one that can be verified.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use sha1::{Digest, Sha1};

use super::desired::{Desired, at, camel, leaves, plain};
use super::facts::Sameness;
use crate::sse::types::{SECRET_FIELDS, VENDOR, echoed_digest};

/// How many members besides the wanted one are told.
const MOST_OTHERS: usize = 8;
/// The longest name of a member that is shown.
const LONGEST_NAME: usize = 64;
/// What stands for a name that is not shown.
const UNNAMED: &str = "another";

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
        let others = members.into_iter().flatten().filter(|(member, value)| *member != vendor && !value.is_null());
        differing.extend(others.take(MOST_OTHERS).map(|(member, _)| {
            // The name is the tenant's word, and the path is shown.
            let member = if is_harmless(member) { member.as_str() } else { UNNAMED };
            spec_path(&format!("{VENDOR}.{member}"))
        }));
    }
    differing.sort_unstable();
    differing.dedup();
    differing
}

/// Whether a name is fit to be shown: as short and plain as a vendor's.
fn is_harmless(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A path in the spec's names.
#[must_use]
pub fn spec_path(path: &str) -> String {
    path.split('.').map(camel).collect::<Vec<_>>().join(".")
}

/// The digests that the object echoes of the secrets of `desired`, in their order; `None` where it echoes none.
#[must_use]
pub fn echoed<'a>(desired: &Desired, shown: &'a Map<String, Value>) -> Vec<Option<&'a str>> {
    let member = desired.vendor.as_ref().and_then(|vendor| shown.get(VENDOR)?.get(vendor));
    let digest =
        |field: &str| member.and_then(|member| member.get(field)).and_then(Value::as_str).and_then(echoed_digest);
    desired.secrets.iter().map(|secret| digest(&secret.field)).collect()
}

/// The digest of a secret, in the form in which it is echoed.
#[must_use]
pub fn digest_of(secret: &SecretString) -> SecretString {
    SecretString::from(STANDARD.encode(Sha1::digest(secret.expose_secret().as_bytes())))
}

/// What several comparisons come to: one that differs is enough, and one that is not known is in doubt.
#[must_use]
pub fn all_same(each: impl IntoIterator<Item = Sameness>) -> Sameness {
    each.into_iter().fold(Sameness::Same, |all, one| match (all, one) {
        (Sameness::Differs, _) | (_, Sameness::Differs) => Sameness::Differs,
        (Sameness::Unknown, _) | (_, Sameness::Unknown) => Sameness::Unknown,
        (Sameness::Same, Sameness::Same) => Sameness::Same,
    })
}

/// Whether the object holds these secrets, as far as its echo tells. `secrets` are those of `desired`, in their order.
#[must_use]
pub fn echo(desired: &Desired, secrets: &[SecretString], shown: &Map<String, Value>) -> Sameness {
    let member = desired.vendor.as_ref().and_then(|vendor| shown.get(VENDOR)?.get(vendor));
    let one = |field: &str, secret: &SecretString| {
        let echoed = member.and_then(|member| member.get(field)).and_then(Value::as_str);
        echoed.map_or(Sameness::Unknown, |echoed| verify(echoed, secret.expose_secret()))
    };
    all_same(desired.secrets.iter().zip(secrets).map(|(field, secret)| one(&field.field, secret)))
}

/// An echo can be the vendor's form of it, which holds a digest; or the plaintext; or a mask, which tells nothing.
fn verify(echoed: &str, secret: &str) -> Sameness {
    if echoed == secret {
        return Sameness::Same;
    }
    match echoed_digest(echoed) {
        Some(digest) if digest == digest_of(&SecretString::from(secret)).expose_secret() => Sameness::Same,
        Some(_) => Sameness::Differs,
        None => Sameness::Unknown,
    }
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
