//! The `MfaServer` resource: what users write, what the operator answers, and the rules that the API server holds.
//!
//! The doc comments on fields are the text of `kubectl explain` and of `docs/reference.md`: they speak to users. Every
//! rule stands in `rules` with the sentence that is shown when it is broken. `make generate` writes what follows from
//! this file.
#![allow(unreachable_pub, reason = "KubeSchema repeats each struct, `pub` included, inside of a function")]

mod generate;
mod rules;
mod status;
mod vendor;

use std::fmt;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use generate::{crd, crd_yaml};
pub use status::{LastError, MfaServerStatus, ObservedSecret, STATUS_TEXT_MAX};
pub use vendor::{
    DuoSecurityV2, MfaVendorType, OktaAdaptiveV1, PingIdentityV1, RsaSecuridAccessV1, SecretKeyRef, SecretValue,
    VendorSecret,
};

// `concat!` takes literals only. A test compares this with the derive's own literal below.
macro_rules! group {
    () => {
        "sse.mfa-operator.io"
    };
}

/// The API group of the resource, and the prefix of its annotations and its finalizer.
pub const GROUP: &str = group!();
/// Holds the object in the cluster until its counterpart in the tenant is gone.
pub const FINALIZER: &str = concat!(group!(), "/finalizer");
/// The operator's own: what it was about to create, written before the request is sent.
pub const ANNOTATION_ATTEMPT: &str = concat!(group!(), "/attempt");
/// A user's verb: any new value means "reconcile now".
pub const ANNOTATION_RECONCILE_REQUESTED_AT: &str = concat!(group!(), "/reconcile-requested-at");
/// A user's verb: `"true"` drops the finalizer without calling the API.
pub const ANNOTATION_FORCE_DELETE: &str = concat!(group!(), "/force-delete");
/// A user's verb: adopt the object of this id.
pub const ANNOTATION_ID: &str = concat!(group!(), "/id");

/// The desired state of one MFA server.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "sse.mfa-operator.io",
    version = "v1alpha1",
    kind = "MfaServer",
    plural = "mfaservers",
    singular = "mfaserver",
    shortname = "mfa",
    category = "sse",
    namespaced,
    status = "MfaServerStatus",
    derive = "PartialEq",
    doc = "A multi-factor-authentication server of a Prisma Access tenant. Changes go to the tenant's candidate configuration; they take effect when it is pushed.",
    selectable = ".spec.folder",
    printcolumn(
        name = "Vendor",
        type_ = "string",
        json_path = ".status.vendor",
        description = "The vendor: the member of spec.mfaVendorType that is set."
    ),
    printcolumn(
        name = "Folder",
        type_ = "string",
        json_path = ".spec.folder",
        description = "The folder of the tenant."
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status",
        description = "Whether the candidate configuration equals the spec."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
        description = "Why it is ready or not."
    ),
    printcolumn(
        name = "Remote-ID",
        type_ = "string",
        json_path = ".status.id",
        priority = 1,
        description = "The id of the object in the tenant."
    ),
    printcolumn(
        name = "Name",
        type_ = "string",
        json_path = ".status.name",
        priority = 1,
        description = "The name of the object in the tenant."
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1,
        description = "What happened, in a sentence."
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "How long ago this resource was created."
    ),
    validation = rules::effective_name_is_immutable(),
    validation = rules::default_name_is_short()
)]
#[x_kube(validation = rules::vendor_is_not_removed())]
#[serde(rename_all = "camelCase")]
pub struct MfaServerSpec {
    /// Name of the MFA server in the tenant, at most 63 characters: letters, digits, spaces, periods, hyphens and
    /// underscores. The default is the name of this resource. It cannot be changed: another name is another MFA server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = rules::min_length("name", 1), validation = rules::object_name("name"))]
    pub name: Option<String>,

    /// Folder of the tenant that the MFA server is defined in. It cannot be changed.
    #[x_kube(validation = rules::immutable("folder"))]
    pub folder: Folder,

    /// Where the definition stands relative to those of other folders: `pre` (before them) or `post` (after them).
    /// It cannot be changed.
    #[serde(default)]
    #[x_kube(validation = rules::immutable("position"))]
    pub position: Position,

    /// Name of the certificate profile in the tenant that verifies the certificate of the vendor's server.
    #[schemars(length(max = 255))]
    #[x_kube(validation = rules::min_length("mfaCertProfile", 1), validation = rules::object_name("mfaCertProfile"))]
    pub mfa_cert_profile: String,

    /// The vendor of the MFA service and how to reach it: exactly one of the members below. It can be left out, and
    /// another vendor can be chosen later, but once set it cannot be removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mfa_vendor_type: Option<MfaVendorType>,

    /// Secret in the namespace of this resource that holds the credentials of the tenant: either `token`, or
    /// `client_id`, `client_secret` and `tsg_id`. The default is the Secret that the operator's `--credentials-secret`
    /// names, `prisma-access` unless set otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,

    /// What happens in the tenant when this resource is deleted: `Delete` deletes the MFA server there, `Retain` leaves
    /// it. The default is the operator's `--default-deletion-policy`.
    // `with`: for an optional enum the derive would take the enum's own description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DeletionPolicy")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// What happens when the tenant already has an MFA server of this name in this folder: `Never` reports a conflict,
    /// `IfIdentical` takes it over if it already equals this spec, `Always` takes it over and changes it to this spec.
    #[serde(default)]
    pub adoption_policy: AdoptionPolicy,

    /// What happens when somebody changes the MFA server in the tenant: `Correct` changes it back to this spec, `Report`
    /// only tells it in the status.
    #[serde(default)]
    pub drift_policy: DriftPolicy,

    /// When true, nothing is read from or written to the tenant for this resource, until it is false again or the
    /// resource is deleted.
    #[serde(default)]
    pub suspend: bool,
}

impl MfaServer {
    /// The name of the object in the tenant: `spec.name`, or else the resource's own. It never changes.
    #[must_use]
    pub fn effective_name(&self) -> &str {
        self.spec.name.as_deref().or(self.metadata.name.as_deref()).unwrap_or_default()
    }
}

/// A folder of the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Folder {
    /// `Shared`
    Shared,
    /// `Mobile Users`
    #[serde(rename = "Mobile Users")]
    MobileUsers,
    /// `Remote Networks`
    #[serde(rename = "Remote Networks")]
    RemoteNetworks,
    /// `Service Connections`
    #[serde(rename = "Service Connections")]
    ServiceConnections,
    /// `Mobile Users Container`
    #[serde(rename = "Mobile Users Container")]
    MobileUsersContainer,
    /// `Mobile Users Explicit Proxy`
    #[serde(rename = "Mobile Users Explicit Proxy")]
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

    /// The API's name of the folder, which is the spec's.
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
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a definition stands relative to those of other folders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Position {
    /// Before them.
    #[default]
    Pre,
    /// After them.
    Post,
}

impl Position {
    /// The API's name of the position, which is the spec's.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::Post => "post",
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A Secret of the resource's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::min_length("name", 1), validation = rules::secret_name("name"))]
    pub name: String,
}

/// What happens to the object in the tenant when the resource is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It is deleted too.
    Delete,
    /// It stays.
    Retain,
}

/// What happens when an object of that name exists already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AdoptionPolicy {
    /// A conflict is reported.
    #[default]
    Never,
    /// It becomes ours if it equals the spec.
    IfIdentical,
    /// It becomes ours and is made equal to the spec.
    Always,
}

/// What happens when the object is changed in the tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DriftPolicy {
    /// It is changed back.
    #[default]
    Correct,
    /// The status tells it, and nothing is written.
    Report,
}

#[cfg(test)]
mod tests;
