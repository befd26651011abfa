//! The folders of a tenant, and which inherits from which.

use serde::{Deserialize, Serialize};

/// A folder of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Folder {
    /// `Shared`, from which all others inherit.
    Shared,
    /// `Mobile Users`.
    #[serde(rename = "Mobile Users")]
    MobileUsers,
    /// `Remote Networks`.
    #[serde(rename = "Remote Networks")]
    RemoteNetworks,
    /// `Service Connections`.
    #[serde(rename = "Service Connections")]
    ServiceConnections,
    /// `Mobile Users Container`, the parent of the two kinds of mobile users.
    #[serde(rename = "Mobile Users Container")]
    MobileUsersContainer,
    /// `Mobile Users Explicit Proxy`.
    #[serde(rename = "Mobile Users Explicit Proxy")]
    MobileUsersExplicitProxy,
}

impl Folder {
    /// All folders.
    pub const ALL: [Self; 6] = [
        Self::Shared,
        Self::MobileUsers,
        Self::RemoteNetworks,
        Self::ServiceConnections,
        Self::MobileUsersContainer,
        Self::MobileUsersExplicitProxy,
    ];

    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "Shared",
            Self::MobileUsers => "Mobile Users",
            Self::RemoteNetworks => "Remote Networks",
            Self::ServiceConnections => "Service Connections",
            Self::MobileUsersContainer => "Mobile Users Container",
            Self::MobileUsersExplicitProxy => "Mobile Users Explicit Proxy",
        }
    }

    /// The folder of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|folder| folder.as_str() == name)
    }

    /// The folder that this one inherits from.
    #[must_use]
    pub fn parent(self) -> Option<Self> {
        match self {
            Self::Shared => None,
            Self::MobileUsers | Self::MobileUsersExplicitProxy => Some(Self::MobileUsersContainer),
            Self::RemoteNetworks | Self::ServiceConnections | Self::MobileUsersContainer => Some(Self::Shared),
        }
    }

    /// This folder and those it inherits from, nearest first.
    pub fn lineage(self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self), |folder| folder.parent())
    }
}

impl std::fmt::Display for Folder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Where among a folder's objects a new one goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Position {
    /// `pre`.
    Pre,
    /// `post`.
    Post,
}

impl Position {
    /// The position of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "pre" => Some(Self::Pre),
            "post" => Some(Self::Post),
            _ => None,
        }
    }

    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::Post => "post",
        }
    }
}
