//! Condition types and reasons, and how a condition is set.
//!
//! The API's own reasons are documented names and come from the API layer; here are those of the operator. Conditions
//! follow the Kubernetes API conventions (metav1.Condition) and kstatus: `Reconciling` and `Stalled` are present only
//! while they are true.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Sums up: the tenant's candidate configuration holds what the spec says, as far as is known.
pub const READY: &str = "Ready";
/// Whether the candidate configuration equals the spec, by the last look that told.
pub const SYNCED: &str = "Synced";
/// Whether the API takes the credential.
pub const AUTHENTICATED: &str = "Authenticated";
/// kstatus: the operator is at it, and nobody has to act.
pub const RECONCILING: &str = "Reconciling";
/// kstatus: somebody has to act.
pub const STALLED: &str = "Stalled";

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*
        /// Every reason of the operator's own.
        pub const ALL: &[&str] = &[$($name),*];
    };
}

/// Every type.
pub const TYPES: [&str; 5] = [READY, SYNCED, AUTHENTICATED, RECONCILING, STALLED];

/// The operator's own reasons.
pub mod reason {
    reasons! {
        /// The object is there and equals the spec.
        AVAILABLE = "Available";
        /// `Synced`: equal.
        UP_TO_DATE = "UpToDate";
        /// `Synced`, `Authenticated`: not looked at yet.
        UNKNOWN = "Unknown";
        /// `Authenticated`: the API took the credential.
        ACCEPTED = "Accepted";
        /// `spec.suspend` is true.
        SUSPENDED = "Suspended";
        /// The spec cannot be sent.
        INVALID_SPEC = "InvalidSpec";
        /// A Secret is not there.
        SECRET_NOT_FOUND = "SecretNotFound";
        /// A Secret lacks a key.
        SECRET_KEY_MISSING = "SecretKeyMissing";
        /// A Secret's value cannot be used.
        SECRET_INVALID = "SecretInvalid";
        /// The token says that its time is over.
        TOKEN_EXPIRED = "TokenExpired";
        /// The credential is for another tenant.
        TENANT_MISMATCH = "TenantMismatch";
        /// Another resource owns the name or the id.
        DUPLICATE_CLAIM = "DuplicateClaim";
        /// The object that stands there may not be adopted.
        ADOPTION_REFUSED = "AdoptionRefused";
        /// The object differs and is left so.
        DRIFT_REPORTED = "DriftReported";
        /// The same field was corrected again and again.
        FLAPPING = "Flapping";
        /// A create may still land.
        OUTCOME_UNKNOWN = "OutcomeUnknown";
        /// The object was found and taken as ours; what differs is written next.
        ADOPTED = "Adopted";
    }
}

/// A condition's value: `True`, `False` or `Unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum State {
    True,
    False,
    Unknown,
}

impl State {
    /// Every value.
    pub const ALL: [Self; 3] = [Self::True, Self::False, Self::Unknown];

    /// As it stands in the condition.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition of this type; its `lastTransitionTime` is that of `previous` while the state is the same.
#[must_use]
pub fn condition(
    previous: &[Condition],
    kind: &str,
    state: State,
    reason: &str,
    message: &str,
    generation: i64,
    now: &Time,
) -> Condition {
    let same = find(previous, kind).filter(|condition| condition.status == state.as_str());
    Condition {
        type_: kind.to_owned(),
        status: state.as_str().to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: Some(generation),
        last_transition_time: same.map_or_else(|| now.clone(), |condition| condition.last_transition_time.clone()),
    }
}

/// The condition of this type.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// The condition of this type, if it is about this generation.
#[must_use]
pub fn current<'a>(conditions: &'a [Condition], kind: &str, generation: i64) -> Option<&'a Condition> {
    find(conditions, kind).filter(|condition| condition.observed_generation == Some(generation))
}

#[cfg(test)]
mod tests;
