//! What one pass knows: the resource, what this process remembers of it, and the facts made of both.
//!
//! Here are the comparisons and the clocks that the pure part does not know. Nothing here waits and nothing is written;
//! looking at the credential, the lists and the Secrets starts tasks of their own, which wake the resource.

mod credential;
mod object;

use std::sync::{Arc, Mutex, PoisonError};

use kube::ResourceExt;
use secrecy::SecretString;

use super::attempt::Attempt as Record;
use super::desired::{Desired, InvalidSpec, desired};
use super::facts::{Class, Credential, Facts, Outcome, Sameness, SecretProblem, Seen, Stored};
use super::memory::{self, Memory, Yields};
use super::report::Cause;
use super::secrets::credential_key;
use super::sight::{annotation, freshest, is_forced, stored, unanswered};
use super::step::Verdict;
use super::{Context, SecretName, peers};
use crate::crd::{
    ANNOTATION_FORCE_DELETE, ANNOTATION_ID, ANNOTATION_RECONCILE_REQUESTED_AT, LastError, MfaServer, MfaServerStatus,
    ObservedSecret,
};
use crate::sse::budget::Permit;
use crate::sse::credentials::{self, Access, Waiter};
use crate::sse::types::{Folder, Remote};
use crate::sse::{self, CredentialKey, Failure};

/// What `observedSecrets` names the credentials by, for a token that tells no tenant. It cannot be a Secret's name.
pub(super) const CREDENTIALS: &str = "(credentials)";

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
    /// What the last GET of this pass showed, until a write makes it old.
    pub(super) looked: Option<memory::Looked>,
    /// The attempt whose answer is known.
    pub(super) answered: Option<Record>,
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
            looked: None,
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
        let (unrecorded, permit) = pass.remember(|memory, server| {
            let mut newest = memory.newest.as_ref().and_then(|written| written.unpack().ok()).map(Arc::new);
            *server = freshest(&mut newest, Arc::clone(server), |written, cached| is_newer(written, cached));
            if newest.is_none() {
                memory.newest = None;
            }
            (memory.course.unrecorded.clone(), memory.take_permit())
        });
        pass.permit = permit;
        let (stored, seen) = pass.look();
        pass.facts = Facts::from_stored(stored).seeing(seen);
        if let Some(unrecorded) = unrecorded {
            pass.resume(*unrecorded);
        }
        pass.facts.leading = pass.context.may_write();
        pass
    }

    /// The answer to a create is not in the status yet: that comes before all else.
    fn resume(&mut self, unrecorded: memory::Unrecorded) {
        self.answered = Record::of(&unrecorded.server);
        self.speak_of(&unrecorded.server);
        match unrecorded.answer {
            memory::Answer::Created(id) => {
                self.id = Some(id);
                self.facts.resume(Outcome::Created);
                self.wrote = true;
            }
            memory::Answer::Refused(class, cause) => {
                self.facts.resume(Outcome::Refused(class));
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
        let secrets = self.secret_names(&secret);
        self.heed_verb(&secrets);
        self.yields = self.yields(&secrets);

        // Nothing is asked for a resource that is not to reach the tenant.
        let deleting = server.metadata.deletion_timestamp.is_some();
        let idle = if deleting { is_forced(&server) } else { server.spec.suspend };
        let (credential, cause) = if idle {
            self.context.credentials.forget(&self.waiter);
            (Credential::Pending, None)
        } else if self.is_any_pending(&secrets, deleting) {
            // Woken when all are known. Whoever is deleted needs the credentials alone.
            (Credential::Pending, None)
        } else {
            self.credential(&secret)
        };
        if let Some(cause) = cause {
            self.cause = cause;
        }
        self.tenant = self.context.credentials.tenant(&self.key);
        let record = unanswered(&server);
        let attempt = self.attempt(record.as_ref());
        let (list, found) = self.list(credential, idle, record.as_ref(), attempt);
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
        (stored(&server, attempt, self.context.deletion_policy(&server)), seen)
    }

    pub(super) fn status(&self) -> &MfaServerStatus {
        static NONE: std::sync::LazyLock<MfaServerStatus> = std::sync::LazyLock::new(MfaServerStatus::default);
        self.server.status.as_ref().unwrap_or(&NONE)
    }

    pub(super) fn annotation(&self, name: &str) -> Option<String> {
        annotation(&self.server, name).map(str::to_owned)
    }

    /// The Secrets that are referred to: the credentials, those of the spec, and one that would come before the
    /// credentials.
    fn secret_names(&self, credentials: &SecretName) -> Vec<SecretName> {
        let own = |name: &str| SecretName { namespace: self.namespace.clone(), name: name.to_owned() };
        let mut names = vec![credentials.clone()];
        if let Ok(desired) = &self.desired {
            names.extend(desired.secrets.iter().map(|secret| own(&secret.secret)));
        }
        if credentials.namespace != self.namespace {
            // One of its own would come before the shared one.
            names.push(own(&self.context.settings.credentials_secret));
        }
        names
    }

    fn is_any_pending(&self, names: &[SecretName], deleting: bool) -> bool {
        let needed = if deleting { 1 } else { names.len() };
        names.iter().take(needed).any(|name| self.context.secrets.is_pending(name))
    }

    /// A verb asks anew, once for each of its values: for a list that begins after it, and for the Secrets as they are.
    fn heed_verb(&mut self, names: &[SecretName]) {
        let asked = self.annotation(ANNOTATION_RECONCILE_REQUESTED_AT);
        if asked.is_none() || asked == self.status().last_handled_reconcile_at {
            return;
        }
        let context = Arc::clone(&self.context);
        self.remember(|memory, _| {
            if memory.asked != asked {
                memory.asked = asked;
                memory.course.question = context.lists.mark();
                for name in names {
                    context.secrets.ask_anew(name);
                }
            }
        });
    }

    fn yields(&self, names: &[SecretName]) -> Yields {
        let version = |name: &SecretName| self.context.secrets.version_for(name, &self.waiter);
        let verbs = [ANNOTATION_RECONCILE_REQUESTED_AT, ANNOTATION_FORCE_DELETE, ANNOTATION_ID];
        Yields {
            generation: self.generation,
            secrets: names.iter().map(version).collect(),
            verbs: verbs.into_iter().map(|verb| self.annotation(verb).unwrap_or_default()).collect(),
        }
    }

    /// The class's delay has to be waited out before the next call for this resource.
    pub(super) fn wait_out(&mut self, failure: &Failure) {
        let class = class(failure.class);
        let named = (failure.reason.as_str(), failure.http_status.map(i32::from));
        let yields = self.yields.clone();
        let context = Arc::clone(&self.context);
        self.cause = cause(failure);
        self.context.metrics.to_be_retried(failure.class.as_str());
        // What a credential may not do concerns all that use it: they wait for one of them, whose success wakes them.
        if matches!(class, Class::Credential | Class::Forbidden) {
            return;
        }
        self.remember(|memory, _| {
            let decoded = failure.http_status == Some(500) && failure.acted == sse::Acted::No;
            let (failures, same) = memory.count(class, named, decoded, &yields);
            let delay = context.delay(class, failures, same, failure.retry_after);
            memory.wait(delay, yields.clone());
        });
    }

    /// Whether the same decoded 500 has come so often that somebody has to act.
    pub(super) fn is_repeated(&mut self, verdict: Verdict) -> bool {
        verdict == Verdict::Refused(Class::Server)
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
