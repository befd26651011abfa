//! Pure: from what a pass found to the resource's status, and to the event that tells of a change.
//!
//! The text is stable: no request id, time or count stands in a condition, so that a repeated refusal changes nothing.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::facts::{Class, CredentialProblem, SecretProblem};
use super::step::Verdict;
use crate::conditions::{self, AUTHENTICATED, READY, RECONCILING, STALLED, SYNCED, State, current, reason};
use crate::crd::{LastError, MfaServerStatus, ObservedSecret, STATUS_TEXT_MAX};

/// The longest note, in bytes, that the API server takes in an event, and a little less.
const EVENT_NOTE_MAX: usize = 1000;

/// What is behind a verdict, where the verdict alone does not say.
#[derive(Clone, Debug, Default)]
pub struct Cause {
    /// The reason of the API layer.
    pub reason: &'static str,
    /// A sentence: what it means and what to do.
    pub message: String,
    /// What the API answered.
    pub error: Option<LastError>,
}

/// Everything that the status is made of.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Known<'a> {
    /// The generation that the pass looked at.
    pub generation: i64,
    /// The status as it is.
    pub previous: &'a MfaServerStatus,
    /// Where the pass ends.
    pub verdict: Verdict,
    /// What is behind it.
    pub cause: Cause,
    /// The same decoded 500 came five times running.
    pub repeated: bool,
    /// The list has not been read for so long that nothing is known any more.
    pub stale: bool,
    /// The object was seen to differ from the spec.
    pub differs: bool,
    /// The object was seen to equal the spec, but for its secrets.
    pub equals: bool,
    /// Whether the API takes the credential, where it is known.
    pub authenticated: Option<bool>,
    /// The object, as it is or is to be.
    pub object: Object,
    /// The nonce of the attempt whose answer this is.
    pub attempt: Option<String>,
    /// A write has reached the tenant in this pass.
    pub wrote: bool,
    /// The paths that differ.
    pub drift: Vec<String>,
    /// The versions of the Secrets whose bytes the tenant holds.
    pub observed_secrets: Vec<ObservedSecret>,
    /// The `reconcile-requested-at` that was acted on.
    pub handled: Option<String>,
    /// The time.
    pub now: Timestamp,
}

/// The object, as it is or is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// Its id, once it is ours.
    pub id: Option<String>,
    /// The tenant, once the object is ours.
    pub tenant: Option<String>,
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: String,
    /// Its position.
    pub position: String,
    /// The vendor's member, in the spec's name.
    pub vendor: Option<String>,
}

/// What is told once, when it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Something went wrong.
    pub warning: bool,
    /// The reason of `Ready`.
    pub reason: String,
    /// The message of `Ready`, or of what delays it.
    pub note: String,
}

/// The answers that the class table gives to a verdict.
struct Judgement {
    ready: Ready,
    kstatus: Kstatus,
    reason: &'static str,
}

enum Ready {
    True,
    False,
    AsItWas,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kstatus {
    None,
    Reconciling,
    Stalled,
}

fn secret_problem(problem: SecretProblem) -> (&'static str, Kstatus) {
    match problem {
        SecretProblem::NotFound => (reason::SECRET_NOT_FOUND, Kstatus::Reconciling),
        SecretProblem::KeyMissing => (reason::SECRET_KEY_MISSING, Kstatus::Reconciling),
        SecretProblem::Invalid => (reason::SECRET_INVALID, Kstatus::Stalled),
    }
}

/// The table of classes: what a verdict makes of `Ready` and of the kstatus pair.
fn judge(known: &Known<'_>) -> Judgement {
    use Kstatus::{Reconciling, Stalled};
    let of = |ready, kstatus, reason| Judgement { ready, kstatus, reason };
    let cause = known.cause.reason;
    match known.verdict {
        Verdict::InOrder => of(Ready::True, Kstatus::None, reason::AVAILABLE),
        Verdict::Suspended => of(Ready::AsItWas, Kstatus::None, reason::SUSPENDED),
        Verdict::InvalidSpec => of(Ready::False, Stalled, reason::INVALID_SPEC),
        Verdict::Secret(problem) | Verdict::Credential(CredentialProblem::Secret(problem)) => {
            let (reason, kstatus) = secret_problem(problem);
            of(Ready::False, kstatus, reason)
        }
        Verdict::Credential(CredentialProblem::Expired) => of(Ready::False, Stalled, reason::TOKEN_EXPIRED),
        Verdict::Credential(CredentialProblem::Rejected | CredentialProblem::TokenRejected) => {
            of(Ready::False, Stalled, cause)
        }
        Verdict::Credential(CredentialProblem::TokenUnavailable | CredentialProblem::TokenUnavailableLong) => {
            of(Ready::AsItWas, Reconciling, cause)
        }
        Verdict::TenantMismatch => of(Ready::False, Stalled, reason::TENANT_MISMATCH),
        Verdict::DuplicateClaim => of(Ready::False, Stalled, reason::DUPLICATE_CLAIM),
        Verdict::NameTaken => of(Ready::False, Stalled, cause),
        Verdict::AdoptionRefused => of(Ready::False, Stalled, reason::ADOPTION_REFUSED),
        Verdict::DriftReported => of(Ready::False, Stalled, reason::DRIFT_REPORTED),
        Verdict::Flapping => of(Ready::False, Stalled, reason::FLAPPING),
        Verdict::OutcomeUnknown => of(Ready::AsItWas, Reconciling, reason::OUTCOME_UNKNOWN),
        Verdict::Adopted => of(Ready::False, Reconciling, reason::ADOPTED),
        Verdict::Refused(class) => match class {
            Class::Credential | Class::Forbidden | Class::Input | Class::Conflict => of(Ready::False, Stalled, cause),
            Class::Referenced => of(Ready::False, Reconciling, cause),
            Class::Server if known.repeated => of(Ready::AsItWas, Stalled, cause),
            Class::Throttled | Class::Busy | Class::Server => of(Ready::AsItWas, Reconciling, cause),
        },
        // Not recorded.
        Verdict::List
        | Verdict::Token
        | Verdict::Permit
        | Verdict::Delay
        | Verdict::Kube
        | Verdict::Leader
        | Verdict::Released => of(Ready::AsItWas, Kstatus::None, reason::UNKNOWN),
    }
}

/// The status that says what is known, and the event that goes with a change of it.
#[must_use]
pub fn report(known: &Known<'_>) -> (MfaServerStatus, Option<Event>) {
    let judgement = judge(known);
    let was_ready = standing(known, READY);
    let now = Time(known.now);
    let message = if known.cause.message.is_empty() { sentence(known.verdict) } else { &known.cause.message };
    // It may name what others have named, at whatever length.
    let message = &short(message);
    let set = |kind: &str, state, reason: &str, message: &str| {
        conditions::condition(&known.previous.conditions, kind, state, reason, message, known.generation, &now)
    };

    // A difference that was seen shows otherwise; an outage only casts doubt, and only on what was so.
    let holds = was_ready.filter(|condition| condition.status != State::False.as_str() && !known.differs);
    let stays = holds.filter(|condition| condition.status == State::True.as_str() && !known.stale);
    let ready = match (&judgement.ready, stays) {
        (Ready::True, _) => set(READY, State::True, judgement.reason, message),
        (Ready::AsItWas, Some(_)) if known.verdict == Verdict::Suspended => {
            set(READY, State::True, judgement.reason, message)
        }
        (Ready::AsItWas, Some(was)) => set(READY, State::True, &was.reason, &was.message),
        (Ready::AsItWas, None) if known.stale && holds.is_some() => {
            set(READY, State::Unknown, judgement.reason, message)
        }
        (Ready::False | Ready::AsItWas, _) => set(READY, State::False, judgement.reason, message),
    };
    let mut list =
        vec![ready, synced(known, &judgement, message, &set), authenticated(known, &judgement, message, &set)];
    match judgement.kstatus {
        Kstatus::None => {}
        Kstatus::Reconciling => list.push(set(RECONCILING, State::True, judgement.reason, message)),
        Kstatus::Stalled => list.push(set(STALLED, State::True, judgement.reason, message)),
    }
    let event = event(known, &list, &judgement, message);

    let object = &known.object;
    let status = MfaServerStatus {
        observed_generation: Some(known.generation),
        id: object.id.as_ref().map(|text| short(text)),
        name: Some(short(&object.name)),
        folder: Some(object.folder.clone()),
        position: Some(object.position.clone()),
        vendor: object.vendor.clone(),
        tenant: object.tenant.as_ref().map(|text| short(text)),
        conditions: list,
        last_error: last_error(known),
        attempt: known.attempt.clone(),
        last_sync_time: if known.wrote { Some(now) } else { known.previous.last_sync_time.clone() },
        drift: known.drift.iter().take(64).map(|text| short(text)).collect(),
        observed_secrets: known.observed_secrets.clone(),
        last_handled_reconcile_at: known.handled.as_ref().map(|text| short(text)),
    };
    (status, event)
}

/// The condition that still holds. To suspend is a change of the spec too: what was said before holds where the object
/// equals the spec as it is now.
fn standing<'a>(known: &Known<'a>, kind: &str) -> Option<&'a Condition> {
    let conditions = &known.previous.conditions;
    let only_suspended = known.verdict == Verdict::Suspended && known.equals;
    current(conditions, kind, known.generation)
        .or_else(|| conditions::find(conditions, kind).filter(|_| only_suspended))
}

type Set<'a> = dyn Fn(&str, State, &str, &str) -> Condition + 'a;

/// The last look that told: kept while nothing newer is known, for it tells whether a difference is drift.
fn synced(known: &Known<'_>, judgement: &Judgement, message: &str, set: &Set<'_>) -> Condition {
    let kept = standing(known, SYNCED);
    match known.verdict {
        Verdict::InOrder => {
            set(SYNCED, State::True, reason::UP_TO_DATE, "The candidate configuration equals the spec.")
        }
        Verdict::DriftReported | Verdict::Flapping => set(SYNCED, State::False, judgement.reason, message),
        _ => match kept.filter(|condition| condition.status != State::Unknown.as_str()) {
            Some(was) if was.status == State::True.as_str() && !known.differs => {
                set(SYNCED, State::True, &was.reason, &was.message)
            }
            Some(was) if matches!(was.reason.as_str(), reason::DRIFT_REPORTED | reason::FLAPPING) => {
                set(SYNCED, State::False, &was.reason, &was.message)
            }
            _ if known.differs || matches!(judgement.kstatus, Kstatus::Stalled) => {
                set(SYNCED, State::False, judgement.reason, message)
            }
            _ => set(SYNCED, State::Unknown, judgement.reason, message),
        },
    }
}

fn authenticated(known: &Known<'_>, judgement: &Judgement, message: &str, set: &Set<'_>) -> Condition {
    match known.authenticated {
        Some(true) => set(AUTHENTICATED, State::True, reason::ACCEPTED, "The API accepts the credentials."),
        Some(false) => set(AUTHENTICATED, State::False, judgement.reason, message),
        None => match conditions::find(&known.previous.conditions, AUTHENTICATED) {
            Some(was) => {
                let state = [State::True, State::False].into_iter().find(|state| state.as_str() == was.status);
                set(AUTHENTICATED, state.unwrap_or(State::Unknown), &was.reason, &was.message)
            }
            None => set(AUTHENTICATED, State::Unknown, reason::UNKNOWN, "The API has not been asked yet."),
        },
    }
}

/// What was told last is told again only when status, code or reason change: a retry alone changes nothing.
fn last_error(known: &Known<'_>) -> Option<LastError> {
    if known.verdict == Verdict::InOrder {
        return None;
    }
    let Some(new) = &known.cause.error else { return known.previous.last_error.clone() };
    let old = known.previous.last_error.as_ref();
    let same = old.filter(|old| (old.http_status, &old.code, &old.reason) == (new.http_status, &new.code, &new.reason));
    Some(same.unwrap_or(new).clone())
}

/// An event when the reason of `Ready`, or of what delays it, is another than before.
fn event(known: &Known<'_>, list: &[Condition], judgement: &Judgement, message: &str) -> Option<Event> {
    let told = |conditions: &[Condition]| {
        let find = |kind| conditions::find(conditions, kind).map(|condition| condition.reason.clone());
        (find(READY), find(RECONCILING), find(STALLED))
    };
    if told(list) == told(&known.previous.conditions) {
        return None;
    }
    let request = known.cause.error.as_ref().and_then(|error| error.request_id.as_deref());
    let mut note = request.map_or_else(|| message.to_owned(), |id| format!("{message} (request {id})"));
    note.truncate(note.floor_char_boundary(EVENT_NOTE_MAX));
    let warning = !matches!(known.verdict, Verdict::InOrder | Verdict::Suspended | Verdict::Adopted);
    Some(Event { warning, reason: judgement.reason.to_owned(), note })
}

/// What a verdict means and what to do, where nothing closer is known.
fn sentence(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::InOrder => "The MFA server exists in the tenant's candidate configuration and equals the spec.",
        Verdict::Suspended => "spec.suspend is true: nothing is read from or written to the tenant.",
        Verdict::InvalidSpec => "The spec cannot be sent to the API.",
        Verdict::Secret(_) | Verdict::Credential(CredentialProblem::Secret(_)) => "A Secret cannot be used.",
        Verdict::Credential(CredentialProblem::Expired) => {
            "The token in the credentials Secret has expired; put a new one into the Secret."
        }
        Verdict::Credential(_) => "The credentials cannot be used.",
        Verdict::TenantMismatch => {
            "The credentials are for another tenant than the one that this resource is bound to (status.tenant); \
             use credentials of that tenant, or delete this resource with them and create it anew."
        }
        Verdict::DuplicateClaim => {
            "Another MfaServer owns this name in this folder of the tenant; change or delete one of the two."
        }
        Verdict::NameTaken => {
            "The tenant has an object of this name already; choose another name, remove that object, or adopt it."
        }
        Verdict::AdoptionRefused => "The object in the tenant may not be adopted.",
        Verdict::DriftReported => "The object in the tenant differs from the spec and driftPolicy is Report.",
        Verdict::Flapping => {
            "The same field was changed in the tenant and corrected three times within an hour; \
             find out who else writes it. It is left as it is until the hour is over."
        }
        Verdict::OutcomeUnknown => {
            "The answer to the creation was lost; whether the object came to be is being found out before anything is sent again."
        }
        Verdict::Adopted => {
            "The object was found in the tenant and is this resource's now; what differs from the spec is written next."
        }
        _ => "",
    }
}

/// No longer than the status takes.
fn short(text: &str) -> String {
    text.chars().take(STATUS_TEXT_MAX).collect()
}

#[cfg(test)]
mod tests;
