//! What the operator answers in `status`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The longest text, in characters, that the status takes where the text is somebody else's: an id, a code, a name. A
/// longer one has to be cut, or the API server refuses the whole status.
pub const STATUS_TEXT_MAX: usize = 1024;

/// The observed state of one MFA server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MfaServerStatus {
    /// The `metadata.generation` that this status is about. It is -1 until the operator has looked at the resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Id of the MFA server in the tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub id: Option<String>,

    /// Name of the MFA server in the tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub name: Option<String>,

    /// Folder of the tenant that the MFA server is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub folder: Option<String>,

    /// Position of the MFA server: `pre` or `post`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub position: Option<String>,

    /// The vendor: the member of `spec.mfaVendorType` that is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub vendor: Option<String>,

    /// The tenant that this resource is bound to, as the credentials tell it. Credentials of another tenant are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub tenant: Option<String>,

    /// What is known: `Ready` sums up, `Synced` says whether the candidate configuration equals the spec, `Authenticated`
    /// whether the API accepts the credentials. `Reconciling` and `Stalled` are present only while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The last error that the API answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,

    /// The attempt to create the MFA server whose answer this status holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub attempt: Option<String>,

    /// When something was last written to the tenant for this resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_sync_time: Option<Time>,

    /// The fields in which the tenant differs from the spec, never their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 1024)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub drift: Vec<String>,

    /// The versions of the vendor's Secrets whose values were last sent to the tenant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub observed_secrets: Vec<ObservedSecret>,

    /// The last value of the annotation `sse.mfa-operator.io/reconcile-requested-at` that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub last_handled_reconcile_at: Option<String>,
}

/// An error that the API answered with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastError {
    /// HTTP status of the answer. It is absent if there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<i32>,

    /// The API's error code, for example `E006`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub code: Option<String>,

    /// The error's documented name, for example `NameNotUnique`: the reason in the conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,

    /// The id of the request, for the vendor's support.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub request_id: Option<String>,
}

/// A version of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObservedSecret {
    /// Name of the Secret.
    #[schemars(length(max = 253))]
    pub name: String,

    /// Its `metadata.resourceVersion`.
    #[schemars(length(max = 253))]
    pub resource_version: String,
}
