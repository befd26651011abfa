//! Pure: from what the cluster stores and the tenant shows to facts.
//!
//! Here are the comparisons that a pass makes. Where they need a client, a clock or a task, the pass has asked already and
//! hands the answer in, so that production and the model checker share every one of them.

use std::borrow::Borrow;

use super::attempt::Attempt as Record;
use super::desired::Desired;
use super::facts::{Adoption, Answer, Attempt, Claim, Facts, Found, List, Sameness, Sight, Stored, Tenant};
use super::step::Verdict;
use crate::claims::{self, Claimant, Hold};
use crate::conditions::{SYNCED, current, reason};
use crate::crd::{
    ANNOTATION_FORCE_DELETE, ANNOTATION_ID, AdoptionPolicy, DeletionPolicy, DriftPolicy, FINALIZER, MfaServer,
    MfaServerStatus,
};
use crate::sse::inventory::{Inventory, Listed};
use crate::sse::types::{Folder, Remote};

/// A verb, or another annotation of the resource.
#[must_use]
pub fn annotation<'a>(server: &'a MfaServer, name: &str) -> Option<&'a str> {
    server.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

/// Whether the finalizer may go without a call.
#[must_use]
pub fn is_forced(server: &MfaServer) -> bool {
    annotation(server, ANNOTATION_FORCE_DELETE) == Some("true")
}

/// The last attempt, unless its answer is in the status.
#[must_use]
pub fn unanswered(server: &MfaServer) -> Option<Record> {
    Record::of(server).filter(|record| !record.is_answered(server))
}

/// The resource to work from: our own write's answer, while it is newer than the cache, and the cache from then on. It may be
/// old all the same: others write too, and a write of ours whose answer was lost may have been taken.
pub fn freshest<S: Clone>(newest: &mut Option<S>, cached: S, is_newer: impl FnOnce(&S, &S) -> bool) -> S {
    match newest.take() {
        Some(written) if is_newer(&written, &cached) => {
            *newest = Some(written.clone());
            written
        }
        _ => cached,
    }
}

/// What the cluster stores. `policy`: what becomes of the object when the resource is deleted.
#[must_use]
pub fn stored(server: &MfaServer, attempt: Attempt, policy: DeletionPolicy) -> Stored {
    let status = server.status.as_ref();
    let has_id = status.is_some_and(|status| status.id.is_some());
    let generation = server.metadata.generation.unwrap_or_default();
    let synced = status.and_then(|status| current(&status.conditions, SYNCED, generation));
    let known = [reason::UP_TO_DATE, reason::DRIFT_REPORTED, reason::FLAPPING];
    let finalizers = server.metadata.finalizers.as_deref().unwrap_or_default();
    Stored {
        deleting: server.metadata.deletion_timestamp.is_some(),
        finalizer: finalizers.iter().any(|finalizer| finalizer == FINALIZER),
        id: has_id,
        attempt,
        was_in_order: has_id && synced.is_some_and(|condition| known.contains(&condition.reason.as_str())),
        suspended: server.spec.suspend,
        force_delete: is_forced(server),
        retain: policy == DeletionPolicy::Retain,
        adoption: match server.spec.adoption_policy {
            _ if annotation(server, ANNOTATION_ID).is_some() => Adoption::Always,
            AdoptionPolicy::Never => Adoption::Never,
            AdoptionPolicy::IfIdentical => Adoption::IfIdentical,
            AdoptionPolicy::Always => Adoption::Always,
        },
        report_drift: server.spec.drift_policy == DriftPolicy::Report,
    }
}

/// What a resource looks for in a folder's list.
#[derive(Clone, Copy, Debug)]
pub struct Sought<'a> {
    /// The id that is ours.
    pub id: Option<&'a str>,
    /// The id that the `…/id` annotation names.
    pub named: Option<&'a str>,
    /// The name.
    pub name: &'a str,
    /// The folder.
    pub folder: Folder,
    /// The attempt whose answer is not known.
    pub open: Option<&'a Record>,
}

/// What a list shows of a resource.
#[derive(Clone, Debug)]
pub struct Sighting<T> {
    /// What it is to the resource.
    pub found: Found,
    /// It.
    pub shown: Option<T>,
    /// It names no folder.
    pub untold: bool,
}

impl<T> Default for Sighting<T> {
    fn default() -> Self {
        Self { found: Found::Absent, shown: None, untold: false }
    }
}

/// What the folder's list shows of this resource.
#[must_use]
pub fn find<T: Clone, R: Borrow<Remote>>(
    inventory: &Inventory<T>,
    sought: Sought<'_>,
    view: impl Fn(&str, &T) -> R,
) -> Sighting<R> {
    let of_id = |id: &str| inventory.by_id(id).map(|item| view(id, item));
    let told = |found, item: R| Sighting { found, shown: Some(item), untold: false };
    if let Some(item) = sought.id.and_then(of_id) {
        return told(Found::Ours, item);
    }
    let here = |item: &R| item.borrow().folder.as_deref().is_none_or(|folder| folder == sought.folder.as_str());
    if sought.id.is_none()
        && let Some(id) = sought.named
    {
        let named = of_id(id).filter(|item| item.borrow().name == sought.name && here(item));
        return match named {
            Some(item) => told(Found::Named, item),
            None => Sighting { found: Found::NamedElsewhere, ..Sighting::default() },
        };
    }
    let of_name = inventory.by_name(sought.name).map(|(id, item)| view(id, item));
    let mut candidates: Vec<R> = of_name.filter(here).collect();
    // What is known from before the list that answers the question was there before the attempt, perhaps.
    let made = |record: &Record, item: &Remote| inventory.is_shown(&item.id) && record.sent.matches(&item.fields);
    let attempted = sought.open.and_then(|record| candidates.iter().position(|item| made(record, item.borrow())));
    let found = match attempted {
        Some(_) => Found::Attempted,
        None if candidates.is_empty() => return Sighting::default(),
        None => Found::Other,
    };
    let item = candidates.swap_remove(attempted.unwrap_or(0));
    let untold = item.borrow().folder.is_none();
    Sighting { found, shown: Some(item), untold }
}

/// What the list of a parent folder says of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parent {
    /// No list yet.
    Pending,
    /// It shows the item.
    Shows,
    /// It shows all, and not the item.
    Lacks,
    /// It does not show the item, nor all.
    Unclear,
}

impl Parent {
    /// What a list of a parent folder says, which shows the item or not; `None` where nothing is known of it.
    #[must_use]
    pub fn of(shows: Option<bool>, list: List) -> Self {
        match list {
            _ if shows == Some(true) => Self::Shows,
            List::Pending => Self::Pending,
            List::Complete => Self::Lacks,
            List::Incomplete | List::Failed(_) | List::FailedLong(_) => Self::Unclear,
        }
    }
}

/// An item that names no folder is this folder's only if the lists of the parent folders lack it.
pub fn untold<T>(
    list: List,
    sighting: Sighting<T>,
    parents: impl IntoIterator<Item = Parent>,
) -> (List, Found, Option<T>) {
    for parent in parents {
        match parent {
            Parent::Shows => return (list, Found::Absent, None),
            Parent::Pending => return (List::Pending, sighting.found, sighting.shown),
            Parent::Lacks => {}
            Parent::Unclear => return (list, Found::Untold, sighting.shown),
        }
    }
    (list, sighting.found, sighting.shown)
}

/// What a folder's list answers to a question, where nothing has failed.
#[must_use]
pub const fn answer(listed: Option<Listed>) -> List {
    match listed {
        None => List::Pending,
        Some(Listed { complete: true, .. }) => List::Complete,
        Some(Listed { complete: false, .. }) => List::Incomplete,
    }
}

/// The tenant of a credential, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenancy<'a> {
    /// Its name.
    pub name: &'a str,
    /// The token tells it.
    pub told: bool,
    /// The API has taken the credential at its present version.
    pub verified: bool,
}

/// The tenant of the credential against the one that the resource is bound to. `trusted` tells, where the token tells no
/// tenant, whether it is the same one for all that.
#[must_use]
pub fn tenant(
    status: &MfaServerStatus,
    record: Option<&Record>,
    tenant: Option<Tenancy<'_>>,
    trusted: impl FnOnce() -> bool,
) -> Tenant {
    let bound = status.tenant.as_ref().filter(|_| status.id.is_some());
    let bound = bound.or(record.map(|record| &record.tenant));
    let (Some(bound), Some(tenant)) = (bound, tenant) else { return Tenant::Unbound };
    if bound != tenant.name {
        return Tenant::Differs;
    }
    if tenant.told || status.id.is_none() || trusted() { Tenant::Same } else { Tenant::Unsure }
}

/// Who means the same object, the asking resource included.
#[derive(Clone, Copy, Debug)]
pub struct Contender<'a> {
    /// Its uid.
    pub uid: &'a str,
    /// When it was created.
    pub created: jiff::Timestamp,
    /// The id that it holds.
    pub id: Option<&'a str>,
    /// The tenant that it is bound to by an id.
    pub bound: Option<&'a str>,
    /// The tenant of its open attempt.
    pub attempting: Option<&'a str>,
    /// The tenant of its credential.
    pub credential: Option<Tenancy<'a>>,
}

/// Who asks whether it may act.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// Its uid.
    pub uid: &'a str,
    /// The id that is its own, stored or not.
    pub id: Option<&'a str>,
    /// Its status holds an id.
    pub holds: bool,
    /// The tenant of its credential, where it is known.
    pub tenant: Option<&'a str>,
}

/// Whether another resource owns the object: the known id, or else the name and the object that stands there.
#[must_use]
pub fn claim<'a>(asking: Asking<'a>, contenders: impl IntoIterator<Item = Contender<'a>>) -> Claim {
    let Some(tenant) = asking.tenant else { return Claim::Ours };
    // Whose id is known disputes the id alone: the name may be another's, and its object is its own all the same.
    let disputes = |peer: &Contender<'a>| asking.id.is_none() || peer.id == asking.id || peer.uid == asking.uid;
    let claimants: Vec<Claimant<&str, jiff::Timestamp>> = contenders
        .into_iter()
        .filter(disputes)
        .filter_map(|peer| {
            let of = peer.bound.or(peer.attempting).or(peer.credential.map(|credential| credential.name))?;
            let verified = peer.credential.is_some_and(|credential| credential.verified && credential.name == of);
            let holds = peer.bound.is_some() || (peer.uid == asking.uid && asking.holds);
            let hold = match (holds, peer.attempting.is_some() && verified) {
                (true, _) => Hold::Id,
                (false, true) => Hold::Attempt,
                (false, false) => Hold::None,
            };
            (of == tenant).then_some(Claimant { uid: peer.uid, created: peer.created, hold, verified })
        })
        .collect();
    // Where nobody is verified yet, nobody acts on the name before a call has been answered; the list is that call.
    if claims::owner(&claimants).is_none_or(|owner| *owner == asking.uid) { Claim::Ours } else { Claim::Taken }
}

/// The Secrets' versions against those whose bytes were last sent. `now`: the versions of the Secrets of `desired`.
#[must_use]
pub fn versions(
    desired: Option<&Desired>,
    status: &MfaServerStatus,
    record: Option<&Record>,
    found: Found,
    now: &[Option<String>],
) -> Sameness {
    let Some(desired) = desired else { return Sameness::Unknown };
    let sent = match record {
        Some(record) if found == Found::Attempted => record.observed_secrets(),
        _ if status.id.is_some() => status.observed_secrets.clone(),
        _ => return Sameness::Unknown,
    };
    let same = desired.secrets.iter().zip(now).all(|(field, now)| {
        let sent = sent.iter().find(|observed| observed.name == field.secret);
        sent.is_some_and(|sent| Some(&sent.resource_version) == now.as_ref())
    });
    if same { Sameness::Same } else { Sameness::Differs }
}

/// What the status is to hold of the object and of the attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The id.
    pub id: Option<String>,
    /// The tenant, with an id.
    pub tenant: Option<String>,
    /// The attempt whose answer this is.
    pub attempt: Option<String>,
}

/// What a verdict makes of the id, the tenant and the attempt that the status holds. `answered`: the attempt that this
/// pass knows the answer of. What it made is in the tenant that it was sent to, whatever credential the spec names by now.
#[must_use]
pub fn binding(
    verdict: Verdict,
    previous: &MfaServerStatus,
    facts: &Facts,
    id: Option<&str>,
    tenant: Option<&str>,
    answered: Option<&Record>,
) -> Binding {
    // A refused adoption binds nothing.
    let id = if verdict == Verdict::AdoptionRefused { previous.id.as_deref() } else { id };
    let tenant = match id {
        None => None,
        Some(_) if previous.id.as_deref() == id && previous.tenant.is_some() => previous.tenant.clone(),
        Some(_) => answered.map(|record| record.tenant.as_str()).or(tenant).map(str::to_owned),
    };
    let in_hand = matches!(facts.attempt, Attempt::Open | Attempt::Recorded | Attempt::Settled);
    let answered = answered.filter(|_| !in_hand).map(|record| record.nonce.clone());
    Binding { id: id.map(str::to_owned), tenant, attempt: answered.or(previous.attempt.clone()) }
}

/// What was created for a resource that is gone, and nothing in the cluster tells of it.
#[must_use]
pub fn is_stray(facts: &Facts) -> bool {
    facts.sight == Sight::Gone && facts.answer == Answer::Created && !facts.retain
}

#[cfg(test)]
mod tests;
