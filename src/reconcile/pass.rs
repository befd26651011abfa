//! What one pass knows: the resource, what this process remembers of it, and the facts made of both.
//!
//! Here are the comparisons and the clocks that the pure part does not know. Nothing here waits and nothing is written;
//! looking at the credential, the lists and the Secrets starts tasks of their own, which wake the resource.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::ResourceExt;
use secrecy::SecretString;
use tokio::time::Instant;

use super::attempt::Attempt as Record;
use super::compare::{all_same, differences, echoed, spec_path};
use super::desired::{Desired, InvalidSpec, desired};
use super::facts::{
    Adoption, Answer, Attempt, Claim, Class, Credential, CredentialProblem, Facts, Forbidden, Found, List, Sameness,
    SecretProblem, Seen, Sight, Stored, Tenant,
};
use super::memory::{self, Memory, Yields};
use super::report::Cause;
use super::secrets::{CredentialSecret, credential_key};
use super::step::Verdict;
use super::{Context, SecretName, peers};
use crate::claims::{self, Claimant};
use crate::conditions::{SYNCED, current, reason};
use crate::crd::{
    ANNOTATION_FORCE_DELETE, ANNOTATION_ID, ANNOTATION_RECONCILE_REQUESTED_AT, AdoptionPolicy, DeletionPolicy,
    DriftPolicy, FINALIZER, LastError, MfaServer, MfaServerStatus, ObservedSecret,
};
use crate::sse::budget::Permit;
use crate::sse::credentials::{self, Access, Waiter};
use crate::sse::inventory::Inventory;
use crate::sse::lists::Look;
use crate::sse::types::{Folder, Remote, VENDOR};
use crate::sse::{self, CredentialKey, Failure};

/// One pass over one resource.
pub struct Pass {
    pub(super) context: Arc<Context>,
    pub(super) memory: Arc<Mutex<Memory>>,
    pub(super) waiter: Waiter,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    /// The resource as it was last seen.
    pub(super) server: Arc<MfaServer>,
    /// The generation that the pass speaks of.
    pub(super) generation: i64,
    pub(super) desired: Result<Desired, InvalidSpec>,
    pub(super) key: CredentialKey,
    pub(super) folder: Folder,
    pub(super) effective_name: String,
    /// The credential's tenant.
    pub(super) tenant: Option<credentials::Tenant>,
    /// The id of the object that is ours.
    pub(super) id: Option<String>,
    /// What the list or a GET showed of the object.
    pub(super) shown: Option<Remote>,
    /// The fields that differ, by the last look.
    pub(super) differing: Vec<String>,
    pub(super) secrets: Vec<SecretString>,
    /// The versions of the Secrets that were read in this pass, or last sent.
    pub(super) observed: Option<Vec<ObservedSecret>>,
    pub(super) permit: Option<(Access, Permit)>,
    /// The nonce of the attempt whose answer is known.
    pub(super) answered: Option<String>,
    /// What is behind the verdict.
    pub(super) cause: Cause,
    pub(super) wrote: bool,
    /// The last record changed the status.
    pub(super) told: bool,
    pub(super) yields: Yields,
    pub(super) facts: Facts,
}

impl Pass {
    /// What is known at the start.
    pub(super) fn begin(context: Arc<Context>, memory: Arc<Mutex<Memory>>, cached: Arc<MfaServer>) -> Self {
        let namespace = cached.namespace().unwrap_or_default();
        let name = cached.name_any();
        let mut pass = Self {
            waiter: peers::waiter(&namespace, &name),
            uid: cached.uid().unwrap_or_default(),
            generation: 0,
            desired: Err(InvalidSpec { field: "spec", problem: "not read yet" }),
            key: credential_key(&SecretName { namespace: String::new(), name: String::new() }),
            folder: Folder::Shared,
            effective_name: String::new(),
            tenant: None,
            id: None,
            shown: None,
            differing: Vec::new(),
            secrets: Vec::new(),
            observed: None,
            permit: None,
            answered: None,
            cause: Cause::default(),
            wrote: false,
            told: false,
            yields: Yields::default(),
            facts: Facts::from_stored(Stored::default()),
            context,
            memory,
            namespace,
            name,
            server: cached,
        };
        let mut sight = Sight::Cached;
        let (unrecorded, permit) = pass.remember(|memory, server| {
            match memory.newest.take() {
                // Our own write's answer is newer than the cache: work from it until the cache has it.
                Some(newest) if is_newer(&newest, server) => {
                    *server = Arc::clone(&newest);
                    memory.newest = Some(newest);
                    sight = Sight::Live;
                }
                _ => {}
            }
            (memory.unrecorded.clone(), memory.take_permit())
        });
        pass.permit = permit;
        let (stored, seen) = pass.look();
        pass.facts = Facts { sight, ..Facts::from_stored(stored).seeing(seen) };
        if let Some(unrecorded) = unrecorded {
            pass.resume(unrecorded);
        }
        pass.facts.leading = pass.context.may_write();
        pass
    }

    /// The answer to a create is not in the status yet: that comes before all else.
    fn resume(&mut self, unrecorded: memory::Unrecorded) {
        self.answered = Some(unrecorded.nonce);
        self.speak_of(&unrecorded.server);
        self.facts.attempt = Attempt::None;
        match unrecorded.answer {
            memory::Answer::Created(id) => {
                self.id = Some(id);
                self.facts.id = true;
                self.facts.answer = Answer::Created;
                self.wrote = true;
            }
            memory::Answer::Refused(class, cause) => {
                self.facts.answer = Answer::Refused(class);
                self.facts.refused = Some(class);
                self.cause = cause;
            }
        }
    }

    /// The status is to speak of the resource as it was then, with the Secrets that were sent then.
    fn speak_of(&mut self, server: &MfaServer) {
        self.generation = server.metadata.generation.unwrap_or_default();
        self.desired = desired(server);
        if let Some(record) = Record::of(server) {
            self.observed = Some(record.observed_secrets());
        }
    }

    /// Works with the memory of this resource; never across an await.
    pub(super) fn remember<R>(&mut self, work: impl FnOnce(&mut Memory, &mut Arc<MfaServer>) -> R) -> R {
        let memory = Arc::clone(&self.memory);
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut memory, &mut self.server)
    }

    /// The resource as it is now, seen anew.
    pub(super) fn look(&mut self) -> (Stored, Seen) {
        let server = Arc::clone(&self.server);
        self.generation = server.metadata.generation.unwrap_or_default();
        self.desired = desired(&server);
        server.effective_name().clone_into(&mut self.effective_name);
        self.folder = Folder::parse(server.spec.folder.as_str()).unwrap_or(Folder::Shared);
        self.id = self.status().id.clone();
        let named = server.spec.credentials_secret_ref.as_ref().map(|secret| secret.name.as_str());
        let secret = self.context.credentials_secret(&self.namespace, named);
        self.key = credential_key(&secret);
        self.yields = self.yields(&secret);

        let (credential, cause) = self.credential(&secret);
        if let Some(cause) = cause {
            self.cause = cause;
        }
        self.tenant = self.context.credentials.tenant(&self.key);
        let record = Record::of(&server).filter(|record| !record.is_answered(&server));
        let attempt = self.attempt(record.as_ref());
        let (list, found) = self.list(credential, record.as_ref(), attempt);
        let fields = self.compare();
        let versions = self.versions(record.as_ref(), found);
        let (echo, verifiable) = self.echo(versions);
        let forbidden = self.forbidden(credential);
        let yields = self.yields.clone();
        let mut differing = self.differing.clone();
        if echo == Sameness::Differs {
            differing.extend(self.secret_paths());
        }
        let (due, flapping) = self.remember(|memory, _| (memory.is_due(&yields), memory.is_flapping(&differing)));
        let seen = Seen {
            spec_valid: self.desired.is_ok(),
            due,
            flapping,
            credential,
            tenant: self.tenant_fact(record.as_ref()),
            claim: self.claim(),
            versions,
            list,
            found,
            fields,
            echo,
            verifiable,
            forbidden,
        };
        (self.stored(attempt), seen)
    }

    /// What the cluster stores.
    fn stored(&self, attempt: Attempt) -> Stored {
        let (server, status) = (&self.server, self.status());
        let verb = |name: &str| server.annotations().get(name);
        let policy = server.spec.deletion_policy.unwrap_or(self.context.settings.default_deletion_policy);
        let synced = current(&status.conditions, SYNCED, self.generation);
        let known = [reason::UP_TO_DATE, reason::DRIFT_REPORTED, reason::FLAPPING];
        Stored {
            deleting: server.metadata.deletion_timestamp.is_some(),
            finalizer: server.finalizers().iter().any(|finalizer| finalizer == FINALIZER),
            id: status.id.is_some(),
            attempt,
            was_in_order: status.id.is_some()
                && synced.is_some_and(|condition| known.contains(&condition.reason.as_str())),
            suspended: server.spec.suspend,
            force_delete: verb(ANNOTATION_FORCE_DELETE).is_some_and(|value| value == "true"),
            retain: policy == DeletionPolicy::Retain,
            adoption: match server.spec.adoption_policy {
                _ if verb(ANNOTATION_ID).is_some() => Adoption::Always,
                AdoptionPolicy::Never => Adoption::Never,
                AdoptionPolicy::IfIdentical => Adoption::IfIdentical,
                AdoptionPolicy::Always => Adoption::Always,
            },
            report_drift: server.spec.drift_policy == DriftPolicy::Report,
        }
    }

    pub(super) fn status(&self) -> &MfaServerStatus {
        static NONE: std::sync::LazyLock<MfaServerStatus> = std::sync::LazyLock::new(MfaServerStatus::default);
        self.server.status.as_ref().unwrap_or(&NONE)
    }

    pub(super) fn annotation(&self, name: &str) -> Option<String> {
        self.server.annotations().get(name).cloned()
    }

    fn yields(&self, credentials: &SecretName) -> Yields {
        let own = |name: &str| SecretName { namespace: self.namespace.clone(), name: name.to_owned() };
        let mut names = vec![credentials.clone()];
        if let Ok(desired) = &self.desired {
            names.extend(desired.secrets.iter().map(|secret| own(&secret.secret)));
        }
        if credentials.namespace != self.namespace {
            // One of its own would come before the shared one.
            names.push(own(&self.context.settings.credentials_secret));
        }
        let version = |name: &SecretName| self.context.secrets.version_for(name, &self.waiter);
        let verbs = [ANNOTATION_RECONCILE_REQUESTED_AT, ANNOTATION_FORCE_DELETE, ANNOTATION_ID];
        Yields {
            generation: self.generation,
            secrets: names.iter().map(version).collect(),
            verbs: verbs.into_iter().map(|verb| self.annotation(verb).unwrap_or_default()).collect(),
        }
    }

    fn credential(&self, secret: &SecretName) -> (Credential, Option<Cause>) {
        let deleting = self.server.metadata.deletion_timestamp.is_some();
        match self.context.secrets.credential(secret, deleting, &self.waiter) {
            CredentialSecret::Pending => (Credential::Pending, None),
            CredentialSecret::Unusable(unusable) => {
                let cause = Cause { message: unusable.message, ..Cause::default() };
                (Credential::Broken(CredentialProblem::Secret(unusable.problem)), Some(cause))
            }
            CredentialSecret::Put => match self.context.credentials.access(&self.key, &self.waiter) {
                credentials::State::Missing | credentials::State::Pending => (Credential::Pending, None),
                credentials::State::Expired => (Credential::Broken(CredentialProblem::Expired), None),
                credentials::State::Rejected(failure) => {
                    (Credential::Broken(CredentialProblem::Rejected), Some(cause(&failure)))
                }
                credentials::State::TokenRejected(failure) => {
                    (Credential::Broken(CredentialProblem::TokenRejected), Some(cause(&failure)))
                }
                credentials::State::TokenUnavailable(failure) => {
                    (Credential::Broken(CredentialProblem::TokenUnavailable), Some(cause(&failure)))
                }
                credentials::State::Ready(_) => (Credential::Ready, None),
            },
        }
    }

    /// The tenant's name as this resource would be bound to it.
    pub(super) fn tenant_name(&self) -> String {
        self.tenant.as_ref().map(|tenant| tenant.name.to_string()).unwrap_or_default()
    }

    fn tenant_fact(&self, record: Option<&Record>) -> Tenant {
        let status = self.status();
        let bound = status.tenant.as_ref().filter(|_| status.id.is_some());
        let bound = bound.or(record.map(|record| &record.tenant));
        let (Some(bound), Some(tenant)) = (bound, &self.tenant) else { return Tenant::Unbound };
        if **bound != *tenant.name {
            return Tenant::Differs;
        }
        if tenant.told || status.id.is_none() || self.context.credentials.is_sighted(&self.key) {
            return Tenant::Same;
        }
        // The credential's own version is among those observed, for a token that tells no tenant.
        let version = self.yields.secrets.first().cloned().flatten();
        let observed = status.observed_secrets.iter().find(|observed| observed.name == self.key.as_str());
        let same = observed.is_some_and(|observed| Some(&observed.resource_version) == version.as_ref());
        let verb = self.annotation(ANNOTATION_RECONCILE_REQUESTED_AT) != status.last_handled_reconcile_at;
        if same || verb { Tenant::Same } else { Tenant::Unsure }
    }

    /// The last attempt. It settles once it cannot land any more: twice the request timeout after this process has first
    /// seen it, and for its question only a list counts that begins after that.
    fn attempt(&mut self, record: Option<&Record>) -> Attempt {
        let Some(record) = record else {
            self.remember(|memory, _| memory.open = None);
            return Attempt::None;
        };
        let same = self.desired.as_ref().is_ok_and(|desired| record.sends(desired, &self.tenant_name()));
        let settles_after = self.context.settings.settles_after();
        let lists = Arc::clone(&self.context.lists);
        self.remember(|memory, _| {
            if memory.minted.as_ref().is_some_and(|minted| minted.nonce == record.nonce && !minted.acted) {
                return if same { Attempt::Recorded } else { Attempt::None };
            }
            if memory.open.as_ref().is_none_or(|(nonce, ..)| *nonce != record.nonce) {
                memory.open = Some((record.nonce.clone(), Instant::now(), false));
                memory.question = lists.mark();
            }
            let Some((_, since, settled)) = &mut memory.open else { return Attempt::Open };
            if since.elapsed() < settles_after {
                return Attempt::Open;
            }
            if !*settled {
                *settled = true;
                memory.question = lists.mark();
            }
            Attempt::Settled
        })
    }

    /// How long until an open attempt settles.
    pub(super) fn settles_in(&mut self) -> Option<Duration> {
        let after = self.context.settings.settles_after();
        self.remember(|memory, _| {
            let (_, since, settled) = memory.open.as_ref()?;
            (!settled).then(|| after.saturating_sub(since.elapsed()))
        })
    }

    fn list(&mut self, credential: Credential, record: Option<&Record>, attempt: Attempt) -> (List, Found) {
        if matches!(credential, Credential::Pending | Credential::Broken(CredentialProblem::Secret(_))) {
            return (List::Pending, Found::Absent);
        }
        let context = Arc::clone(&self.context);
        let asked = self.annotation(ANNOTATION_RECONCILE_REQUESTED_AT);
        let handled = self.status().last_handled_reconcile_at.clone();
        self.remember(|memory, _| {
            // A verb asks anew, once for each of its values.
            if asked.is_some() && asked != handled && memory.asked != asked {
                memory.asked.clone_from(&asked);
                memory.question = context.lists.mark();
            }
        });
        let ready = credential == Credential::Ready;
        let list = match self.look_at_list(ready) {
            Look::Pending => List::Pending,
            Look::Listed { complete: true } => List::Complete,
            Look::Listed { complete: false } => List::Incomplete,
            Look::Failed { failure, long } => {
                self.cause = cause(&failure);
                let class = class(failure.class);
                if long { List::FailedLong(class) } else { List::Failed(class) }
            }
        };
        let open = record.filter(|_| matches!(attempt, Attempt::Open | Attempt::Settled));
        let sight = context.lists.with(&self.key, self.folder, |inventory| self.find(inventory, open));
        let (found, shown, untold) = sight.unwrap_or_default();
        self.shown = shown;
        if found == Found::Ours {
            context.credentials.sighted(&self.key);
        }
        if untold && matches!(list, List::Complete | List::Incomplete) {
            return self.ask_parents(list, found, ready);
        }
        (list, found)
    }

    /// What is known of the folder's list; asks for one where there is none that answers.
    pub(super) fn look_at_list(&mut self, ready: bool) -> Look {
        let question = self.remember(|memory, _| memory.question);
        self.context.lists.look(&self.key, self.folder, question, ready, &self.waiter)
    }

    /// What the folder's list shows of this resource; and whether it shows it without naming a folder.
    fn find(&self, inventory: &Inventory<Remote>, open: Option<&Record>) -> (Found, Option<Remote>, bool) {
        if let Some(remote) = self.id.as_ref().and_then(|id| inventory.by_id(id)) {
            return (Found::Ours, Some(remote.clone()), false);
        }
        let here = |remote: &Remote| remote.folder.as_deref().is_none_or(|folder| folder == self.folder.as_str());
        if self.id.is_none()
            && let Some(id) = self.annotation(ANNOTATION_ID)
        {
            let named = inventory.by_id(&id).filter(|remote| remote.name == self.effective_name && here(remote));
            return match named {
                Some(remote) => (Found::Named, Some(remote.clone()), false),
                None => (Found::NamedElsewhere, None, false),
            };
        }
        let candidates: Vec<&Remote> =
            inventory.by_name(&self.effective_name).map(|(_, remote)| remote).filter(|remote| here(remote)).collect();
        let attempted = open.and_then(|record| candidates.iter().find(|remote| record.sent.matches(&remote.fields)));
        let (found, remote) = match (attempted, candidates.first()) {
            (Some(remote), _) => (Found::Attempted, *remote),
            (None, Some(remote)) => (Found::Other, *remote),
            (None, None) => return (Found::Absent, None, false),
        };
        (found, Some(remote.clone()), remote.folder.is_none())
    }

    /// An item that names no folder is this folder's only if the lists of the parent folders lack it.
    fn ask_parents(&mut self, list: List, found: Found, ready: bool) -> (List, Found) {
        let Some(id) = self.shown.as_ref().map(|remote| remote.id.clone()) else { return (list, found) };
        let lists = Arc::clone(&self.context.lists);
        for parent in self.folder.parents() {
            let look = lists.look(&self.key, *parent, sse::inventory::Mark::default(), ready, &self.waiter);
            let inherited = lists.with(&self.key, *parent, |inventory| inventory.by_id(&id).is_some());
            if inherited == Some(true) {
                self.shown = None;
                return (list, Found::Absent);
            }
            match look {
                Look::Pending => return (List::Pending, found),
                Look::Listed { complete: true } => {}
                Look::Failed { .. } | Look::Listed { complete: false } => return (list, Found::Untold),
            }
        }
        (list, found)
    }

    /// The object's readable fields against the spec's.
    pub(super) fn compare(&mut self) -> Sameness {
        let (Some(shown), Ok(desired)) = (&self.shown, &self.desired) else {
            self.differing.clear();
            return Sameness::Unknown;
        };
        self.differing = differences(desired, &shown.fields);
        if self.differing.is_empty() { Sameness::Same } else { Sameness::Differs }
    }

    /// The Secrets' versions against those whose bytes were last sent.
    fn versions(&self, record: Option<&Record>, found: Found) -> Sameness {
        let Ok(desired) = &self.desired else { return Sameness::Unknown };
        let sent = match record {
            Some(record) if found == Found::Attempted => record.observed_secrets(),
            _ if self.status().id.is_some() => self.status().observed_secrets.clone(),
            _ => return Sameness::Unknown,
        };
        let same = desired.secrets.iter().zip(self.yields.secrets.iter().skip(1)).all(|(field, now)| {
            let sent = sent.iter().find(|observed| observed.name == field.secret);
            sent.is_some_and(|sent| Some(&sent.resource_version) == now.as_ref())
        });
        if same { Sameness::Same } else { Sameness::Differs }
    }

    /// What the list's echo tells of the secrets without reading them: known ones by their prints. And whether reading
    /// them would tell more.
    fn echo(&self, versions: Sameness) -> (Sameness, bool) {
        let (Some(shown), Ok(desired), Sameness::Same) = (&self.shown, &self.desired, versions) else {
            return (Sameness::Unknown, false);
        };
        let mut verifiable = false;
        let digests = echoed(desired, &shown.fields);
        let each = desired.secrets.iter().zip(digests).zip(self.yields.secrets.iter().skip(1));
        let each: Vec<Sameness> = each
            .map(|((field, digest), version)| {
                let (Some(digest), Some(version)) = (digest, version) else { return Sameness::Unknown };
                match self.context.secrets.is_print(&self.namespace, field, version, digest) {
                    Some(true) => Sameness::Same,
                    Some(false) => Sameness::Differs,
                    None => {
                        verifiable = true;
                        Sameness::Unknown
                    }
                }
            })
            .collect();
        (all_same(each), verifiable)
    }

    /// The paths of the secrets, in the spec's names.
    pub(super) fn secret_paths(&self) -> Vec<String> {
        let Ok(Desired { vendor: Some(vendor), secrets, .. }) = &self.desired else { return Vec::new() };
        secrets.iter().map(|secret| spec_path(&format!("{VENDOR}.{vendor}.{}", secret.field))).collect()
    }

    /// What the API has forbidden this credential in this folder.
    fn forbidden(&mut self, credential: Credential) -> Forbidden {
        if credential != Credential::Ready {
            return Forbidden::default();
        }
        let mut forbidden = Forbidden::default();
        for method in sse::Method::ALL {
            let Some(failure) = self.context.credentials.forbidden(&self.key, self.folder, method) else { continue };
            match method {
                // A list that is forbidden says so itself.
                sse::Method::Get => continue,
                sse::Method::Post => forbidden.post = true,
                sse::Method::Put => forbidden.put = true,
                sse::Method::Delete => forbidden.delete = true,
            }
            if self.cause.reason.is_empty() {
                self.cause = cause(&failure);
            }
        }
        forbidden
    }

    /// Whether another resource owns the name, or the id that was found.
    fn claim(&self) -> Claim {
        let Some(tenant) = &self.tenant else { return Claim::Ours };
        let id = self.id.as_deref().or(self.shown.as_ref().map(|remote| remote.id.as_str()));
        let peers = self.context.peers.at(self.server.spec.folder, &self.effective_name, id);
        if peers.iter().all(|peer| peer.uid == self.uid) {
            return Claim::Ours;
        }
        let claimants: Vec<Claimant<&str, jiff::Timestamp>> = peers
            .iter()
            .filter_map(|peer| {
                let secret = self.context.credentials_secret(&peer.namespace, peer.secret.as_deref());
                let credential = self.context.credentials.tenant(&credential_key(&secret));
                let of = peer.bound.clone().or(credential.as_ref().map(|tenant| tenant.name.to_string()))?;
                let verified = credential.is_some_and(|credential| credential.verified && *credential.name == *of);
                let proven = peer.bound.is_some() || (peer.uid == self.uid && self.status().id.is_some());
                (of == *tenant.name).then_some(Claimant {
                    uid: peer.uid.as_str(),
                    created: peer.created,
                    proven,
                    verified,
                })
            })
            .collect();
        // Where nobody is verified yet, nobody acts on the name before a call has been answered; the list is that call.
        if claims::owner(&claimants).is_none_or(|owner| *owner == self.uid) { Claim::Ours } else { Claim::Taken }
    }

    /// The class's delay has to be waited out before the next call for this resource.
    pub(super) fn wait_out(&mut self, failure: &Failure) {
        let class = class(failure.class);
        let named = (failure.reason.as_str(), failure.http_status.map(i32::from));
        let yields = self.yields.clone();
        let context = Arc::clone(&self.context);
        self.cause = cause(failure);
        // What a credential may not do concerns all that use it: they wait for one of them, whose success wakes them.
        if matches!(class, Class::Credential | Class::Forbidden) {
            return;
        }
        self.remember(|memory, _| {
            let (failures, same) = memory.count(class, named, &yields);
            let decoded_500 = failure.http_status == Some(500) && failure.acted == sse::Acted::No;
            let same = if decoded_500 { same } else { 0 };
            let delay = context.delay(class, failures, same, failure.retry_after);
            memory.wait(delay, yields.clone());
        });
    }

    /// Whether the same decoded 500 has come so often that somebody has to act.
    pub(super) fn is_repeated(&mut self, verdict: Verdict) -> bool {
        let error = self.cause.error.as_ref();
        let is_500 =
            error.is_some_and(|error| error.http_status == Some(500) && error.reason.as_deref() == Some("ServerError"));
        verdict == Verdict::Refused(Class::Server)
            && is_500
            && self.remember(|memory, _| memory.same()) >= crate::backoff::SAME_SERVER_ERROR_LIMIT
    }
}

fn is_newer(server: &MfaServer, than: &MfaServer) -> bool {
    let version = |server: &MfaServer| server.resource_version().unwrap_or_default();
    server.uid() == than.uid() && super::secrets::is_newer(&version(server), &version(than))
}

/// The class, in the words of the pure part.
pub(super) const fn class(class: sse::Class) -> Class {
    match class {
        sse::Class::Credential => Class::Credential,
        sse::Class::Forbidden => Class::Forbidden,
        sse::Class::Input => Class::Input,
        sse::Class::Conflict => Class::Conflict,
        sse::Class::Referenced => Class::Referenced,
        sse::Class::Throttled => Class::Throttled,
        sse::Class::Busy => Class::Busy,
        sse::Class::Server => Class::Server,
    }
}

/// What a failure says to the status.
pub(super) fn cause(failure: &Failure) -> Cause {
    Cause {
        reason: failure.reason.as_str(),
        message: failure.reason.describe().to_owned(),
        error: Some(LastError {
            http_status: failure.http_status.map(i32::from),
            code: failure.code.clone(),
            reason: Some(failure.reason.as_str().to_owned()),
            request_id: failure.request_id.clone(),
        }),
    }
}

/// What a Secret's problem says to the status.
pub(super) fn secret_cause(message: String) -> Cause {
    Cause { message, ..Cause::default() }
}

/// The facts that a problem of the vendor's secrets makes.
pub(super) const fn broken(problem: SecretProblem) -> super::facts::Secrets {
    super::facts::Secrets::Broken(problem)
}
