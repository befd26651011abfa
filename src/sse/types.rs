//! What goes over the wire, and what is known of it.
//!
//! A response body can hold secrets (the vendor's store echoes an unsalted digest of them), so nothing here shows a
//! value in `Debug`.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

/// A folder of the tenant, by the names of the API's document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Folder {
    Shared,
    MobileUsers,
    RemoteNetworks,
    ServiceConnections,
    MobileUsersContainer,
    MobileUsersExplicitProxy,
}

impl Folder {
    /// Every folder, in the order of the API's document.
    pub const ALL: [Self; 6] = [
        Self::Shared,
        Self::MobileUsers,
        Self::RemoteNetworks,
        Self::ServiceConnections,
        Self::MobileUsersContainer,
        Self::MobileUsersExplicitProxy,
    ];

    /// The name as it is sent in `?folder=`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "Shared",
            Self::MobileUsers => "Mobile Users",
            Self::RemoteNetworks => "Remote Networks",
            Self::ServiceConnections => "Service Connections",
            Self::MobileUsersContainer => "Mobile Users Container",
            Self::MobileUsersExplicitProxy => "Mobile Users Explicit Proxy",
        }
    }

    /// The folder of that name, if it is one of the six.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|folder| folder.as_str() == name)
    }

    /// The folders whose objects a LIST of this one may also return, nearest first.
    #[must_use]
    pub const fn parents(self) -> &'static [Self] {
        match self {
            Self::Shared => &[],
            Self::MobileUsers | Self::MobileUsersExplicitProxy => &[Self::MobileUsersContainer, Self::Shared],
            Self::RemoteNetworks | Self::ServiceConnections | Self::MobileUsersContainer => &[Self::Shared],
        }
    }
}

/// Where in the rule base the object stands: `?position=`, asked for on creation only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Position {
    Pre,
    Post,
}

impl Position {
    /// The name as it is sent in `?position=`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::Post => "post",
        }
    }
}

/// An object as the tenant showed it: every field kept, known or not.
#[derive(Clone, PartialEq)]
pub struct Remote {
    /// The tenant's id of it. A list's item without one is of no use and is dropped where it is decoded.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The folder that it says it is in; absent where the API does not tell.
    pub folder: Option<String>,
    /// The whole JSON object, `id`, `name` and `folder` included.
    pub fields: Map<String, Value>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// The object's member that holds the vendor.
pub const VENDOR: &str = "mfa_vendor_type";

/// The vendors' fields that hold a secret.
pub const SECRET_FIELDS: [&str; 5] =
    ["okta_token", "duo_secret_key", "ping_token", "ping_use_base64_key", "rsa_accesskey"];

/// What the vendor's form of an echoed secret begins with; a SHA-1 in base64 follows, and then a ciphertext.
const ECHO: &str = "-AQ==";
/// SHA-1 in base64.
const DIGEST_LENGTH: usize = 28;
/// What stands for an echo that tells nothing.
const MASK: &str = "********";

/// The digest in an echoed secret, in base64, where it has the form that holds one.
#[must_use]
pub fn echoed_digest(echoed: &str) -> Option<&str> {
    let digest = echoed.strip_prefix(ECHO)?.get(..DIGEST_LENGTH)?;
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
    let (text, end) = digest.split_at(DIGEST_LENGTH - 1);
    (text.bytes().all(is_base64) && end == "=").then_some(digest)
}

impl Remote {
    /// The object with no more of its secrets than tells whether they are those that are wanted: what is kept for long.
    #[must_use]
    pub fn to_be_kept(mut self) -> Self {
        let members = self.fields.get_mut(VENDOR).and_then(Value::as_object_mut).into_iter().flatten();
        let fields = members.filter_map(|(_, member)| member.as_object_mut()).flatten();
        for (_, value) in fields.filter(|(field, value)| SECRET_FIELDS.contains(&field.as_str()) && !value.is_null()) {
            let digest = value.as_str().and_then(echoed_digest).map(|digest| format!("{ECHO}{digest}"));
            *value = Value::String(digest.unwrap_or_else(|| MASK.to_owned()));
        }
        self
    }
}

/// The JSON text of an object to be sent; it holds the vendor's secrets in the clear.
#[derive(Clone)]
pub struct Body(SecretString);

impl Body {
    /// The body of this JSON object.
    #[must_use]
    pub fn of(fields: &Map<String, Value>) -> Self {
        Self(SecretString::from(serde_json::to_string(fields).unwrap_or_default()))
    }

    /// The text, for the request alone.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body(REDACTED)")
    }
}
