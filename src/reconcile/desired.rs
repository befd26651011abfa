//! Pure: from a resource to what the tenant is to hold.
//!
//! Input: the resource. Output: [`Desired`], the API's object without its secrets, and where those come from. The API's
//! names are the spec's in snake case, so no vendor is named here: a new one is a struct in `crd` and nothing else.

use std::fmt;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::crd::{self, MfaServer, VendorSecret};
use crate::sse::types::{Body, Folder, Position, VENDOR};
use secrecy::{ExposeSecret, SecretString};

/// What the tenant is to hold.
#[derive(Clone, Debug)]
pub struct Desired {
    /// The object's name.
    pub name: String,
    /// Where it is created.
    pub folder: Folder,
    /// Where it is created.
    pub position: Position,
    /// The vendor's member, by the API's name.
    pub vendor: Option<String>,
    /// The fields that are no secrets, as they are sent.
    pub fields: Map<String, Value>,
    /// The fields that are, all of them the vendor's.
    pub secrets: Vec<SecretField>,
}

/// A secret of the vendor's member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretField {
    /// The field's name in the API.
    pub field: String,
    /// The Secret, in the resource's namespace.
    pub secret: String,
    /// The key in it.
    pub key: String,
    /// The fewest characters that the API takes.
    pub min_length: usize,
}

impl SecretField {
    /// The field's name in the spec.
    #[must_use]
    pub fn spec_name(&self) -> String {
        camel(&self.field)
    }
}

/// The spec cannot be sent; the API server's validation lets none through that is so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct InvalidSpec {
    /// The field.
    pub field: &'static str,
    /// What to do.
    pub problem: &'static str,
}

/// What the tenant is to hold for this resource.
///
/// # Errors
/// [`InvalidSpec`] where the CRD's validation was passed by, as an older version of the CRD in the cluster may do.
pub fn desired(server: &MfaServer) -> Result<Desired, InvalidSpec> {
    let spec = &server.spec;
    let invalid = |field, problem| InvalidSpec { field, problem };
    let name = server.effective_name();
    if name.is_empty() {
        return Err(invalid("spec.name", "must not be empty"));
    }
    let mut fields = Map::new();
    fields.insert("name".to_owned(), name.into());
    fields.insert("mfa_cert_profile".to_owned(), spec.mfa_cert_profile.as_str().into());
    let (mut secrets, mut vendor) = (Vec::new(), None);
    if let Some(vendors) = &spec.mfa_vendor_type {
        let Ok(Value::Object(members)) = serde_json::to_value(vendors) else {
            return Err(invalid("spec.mfaVendorType", "cannot be read"));
        };
        let mut members = members.into_iter();
        let (Some((member, Value::Object(values))), None) = (members.next(), members.next()) else {
            return Err(invalid("spec.mfaVendorType", "set exactly one vendor"));
        };
        let mut readable = Map::new();
        for (field, value) in values {
            // What is no leaf is a reference to a secret.
            if let Some(text) = plain(&value) {
                readable.insert(snake(&field), text.into());
            }
        }
        secrets = vendors.secrets().into_iter().map(secret_field).collect();
        let member = snake(&member);
        fields.insert(VENDOR.to_owned(), Value::Object(Map::from_iter([(member.clone(), Value::Object(readable))])));
        vendor = Some(member);
    }
    Ok(Desired {
        name: name.to_owned(),
        folder: folder(spec.folder),
        position: match spec.position {
            crd::Position::Pre => Position::Pre,
            crd::Position::Post => Position::Post,
        },
        vendor,
        fields,
        secrets,
    })
}

const fn folder(folder: crd::Folder) -> Folder {
    match folder {
        crd::Folder::Shared => Folder::Shared,
        crd::Folder::MobileUsers => Folder::MobileUsers,
        crd::Folder::RemoteNetworks => Folder::RemoteNetworks,
        crd::Folder::ServiceConnections => Folder::ServiceConnections,
        crd::Folder::MobileUsersContainer => Folder::MobileUsersContainer,
        crd::Folder::MobileUsersExplicitProxy => Folder::MobileUsersExplicitProxy,
    }
}

fn secret_field(secret: VendorSecret<'_>) -> SecretField {
    SecretField {
        field: snake(secret.field),
        secret: secret.reference.name.clone(),
        key: secret.reference.key.clone(),
        min_length: secret.min_length,
    }
}

/// A leaf as the wire has it: a string. `None` for what is no leaf, or absent.
#[must_use]
pub fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// `oktaApiHost` → `okta_api_host`.
#[must_use]
pub fn snake(camel: &str) -> String {
    let mut snake = String::with_capacity(camel.len() + 4);
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// `okta_api_host` → `oktaApiHost`.
#[must_use]
pub fn camel(snake: &str) -> String {
    let mut words = snake.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

impl Desired {
    /// The vendor's fields that are no secrets.
    #[must_use]
    pub fn vendor_fields(&self) -> Option<&Map<String, Value>> {
        self.fields.get(VENDOR)?.get(self.vendor.as_deref()?)?.as_object()
    }

    /// The body of a create. `secrets` are those of [`Desired::secrets`], in their order.
    #[must_use]
    pub fn body(&self, secrets: &[SecretString]) -> Body {
        let mut fields = self.fields.clone();
        self.insert_secrets(&mut fields, secrets);
        Body::of(&fields)
    }

    /// The body of an update: what the tenant showed, overlaid with what the spec sets. Fields that nobody here knows stay
    /// as they are; another vendor replaces the old one whole.
    #[must_use]
    pub fn overlay(&self, shown: &Map<String, Value>, secrets: &[SecretString]) -> Body {
        let mut fields = shown.clone();
        // Not part of what is written: set once, by the tenant or in the query of the create.
        for fixed in ["id", "folder", "position"] {
            fields.remove(fixed);
        }
        for (key, value) in &self.fields {
            if key != VENDOR {
                fields.insert(key.clone(), value.clone());
            }
        }
        if let (Some(vendor), Some(readable)) = (&self.vendor, self.vendor_fields()) {
            let kept = shown.get(VENDOR).and_then(|shown| shown.get(vendor)).and_then(Value::as_object);
            let mut member = kept.cloned().unwrap_or_default();
            member.extend(readable.clone());
            fields.insert(VENDOR.to_owned(), Value::Object(Map::from_iter([(vendor.clone(), Value::Object(member))])));
        }
        self.insert_secrets(&mut fields, secrets);
        Body::of(&fields)
    }

    fn insert_secrets(&self, fields: &mut Map<String, Value>, secrets: &[SecretString]) {
        let Some(vendor) = &self.vendor else { return };
        let member = fields.get_mut(VENDOR).and_then(|vendors| vendors.get_mut(vendor)).and_then(Value::as_object_mut);
        let Some(member) = member else { return };
        for (field, secret) in self.secrets.iter().zip(secrets) {
            member.insert(field.field.clone(), secret.expose_secret().into());
        }
    }

    /// The paths of the fields that are no secrets, and a digest of their values: what an attempt is known again by.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut fields = Vec::new();
        leaves(&self.fields, "", &mut fields);
        let mut paths: Vec<String> = fields.into_iter().map(|(path, _)| path).collect();
        paths.sort_unstable();
        let hash = digest(&paths, &self.fields);
        Fingerprint { fields: paths, hash }
    }
}

/// What an object is known again by: the fields that were sent, and a digest of their values.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Fingerprint {
    /// The paths, in the API's names, sorted.
    pub fields: Vec<String>,
    /// SHA-256 of the values, in hexadecimal. None of them is a secret.
    pub hash: String,
}

impl Fingerprint {
    /// Whether this object holds what was sent.
    #[must_use]
    pub fn matches(&self, shown: &Map<String, Value>) -> bool {
        digest(&self.fields, shown) == self.hash
    }
}

fn digest(paths: &[String], fields: &Map<String, Value>) -> String {
    let mut hash = Sha256::new();
    for path in paths {
        let value = at(fields, path).and_then(plain).unwrap_or_default();
        hash.update(path.as_bytes());
        hash.update([0]);
        hash.update(value.as_bytes());
        hash.update([0]);
    }
    Hex(&hash.finalize()).to_string()
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The value at a path of names joined by dots.
#[must_use]
pub fn at<'a>(fields: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let mut names = path.split('.');
    let mut value = fields.get(names.next()?)?;
    for name in names {
        value = value.get(name)?;
    }
    Some(value)
}

/// Every leaf below, with its path.
pub(super) fn leaves<'a>(fields: &'a Map<String, Value>, under: &str, found: &mut Vec<(String, &'a Value)>) {
    for (name, value) in fields {
        let path = if under.is_empty() { name.clone() } else { format!("{under}.{name}") };
        match value {
            Value::Object(inner) => leaves(inner, &path, found),
            Value::Null => {}
            _ => found.push((path, value)),
        }
    }
}

#[cfg(test)]
mod tests;
