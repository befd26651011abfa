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
