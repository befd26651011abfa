//! Pure: an object as it is kept between two lists: as text, which is a fifth of the size of the parsed form.
//!
//! # Guarantees
//! - No more of a secret is kept than tells whether it is the one that is wanted.
//! - What is kept is the same text for the same object, so that a list that shows what was known shares it.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::types::Remote;

/// An object without its id, which is what it is kept under.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept {
    /// The name, and then the other fields in JSON.
    text: Arc<str>,
    /// The length of the name.
    name: usize,
}

impl Kept {
    /// What is kept of this object.
    #[must_use]
    pub fn of(remote: Remote) -> Self {
        let Remote { name, folder, mut fields, .. } = remote.to_be_kept();
        fields.remove("id");
        fields.remove("name");
        // What was sent to a folder is in it, though what was sent does not say so.
        if let Some(folder) = folder {
            fields.insert("folder".to_owned(), folder.into());
        }
        let length = name.len();
        let mut text = name;
        text.push_str(&Value::Object(fields).to_string());
        Self { text: text.into(), name: length }
    }

    /// The object, whose id is this.
    #[must_use]
    pub fn to_remote(&self, id: &str) -> Remote {
        let mut fields: Map<String, Value> = serde_json::from_str(&self.text[self.name..]).unwrap_or_default();
        fields.insert("id".to_owned(), id.into());
        fields.insert("name".to_owned(), self.name().into());
        let folder = fields.get("folder").and_then(Value::as_str).map(str::to_owned);
        Remote { id: id.to_owned(), name: self.name().to_owned(), folder, fields }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.text[..self.name]
    }

    /// The same, sharing the text of what was known if that is equal.
    #[must_use]
    pub fn or_known(self, known: Option<&Self>) -> Self {
        known.filter(|known| **known == self).cloned().unwrap_or(self)
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("name", &self.name()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn remote(token: &str) -> Remote {
        let Value::Object(fields) = json!({
            "id": "1", "name": "größe", "folder": "Shared", "unknown": [1, {"a": null}],
            "mfa_vendor_type": {"okta_adaptive_v1": {"okta_org": "corp", "okta_token": token}},
        }) else {
            unreachable!()
        };
        Remote { id: "1".to_owned(), name: "größe".to_owned(), folder: Some("Shared".to_owned()), fields }
    }

    #[test]
    fn an_object_comes_back_as_it_was_but_for_its_secrets() {
        let kept = Kept::of(remote("a-secret-in-the-clear"));
        assert_eq!(kept.name(), "größe");
        assert_eq!(kept.to_remote("1"), remote("a-secret-in-the-clear").to_be_kept());
        assert!(!kept.text.contains("a-secret-in-the-clear"));
        assert_eq!(format!("{kept:?}"), r#"Kept { name: "größe", .. }"#);
    }

    #[test]
    fn what_is_as_it_was_shares_its_text_and_what_is_not_does_not() {
        // The vendor's form: a digest, and a ciphertext that differs each time.
        let echo = |digest: char, ciphertext: &str| format!("-AQ=={}={ciphertext}", digest.to_string().repeat(27));
        let known = Kept::of(remote(&echo('a', "x")));
        let same = Kept::of(remote(&echo('a', "y"))).or_known(Some(&known));
        assert!(Arc::ptr_eq(&same.text, &known.text));
        let other = Kept::of(remote(&echo('b', "x"))).or_known(Some(&known));
        assert_ne!(other, known);
    }
}
