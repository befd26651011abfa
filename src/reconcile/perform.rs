//! IO: one function a step, each with exactly one side effect.
//!
//! A step answers with an [`Outcome`] and leaves what the pure part does not need (ids, bodies, reasons) in the pass.
//! Nothing is decided here, and nothing is tried again.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::controller::Action;
use kube::runtime::events::{Event as Announcement, EventType};
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::Context;
use super::attempt::Attempt as Record;
use super::compare::{self, is_unwritable};
use super::desired::Desired;
use super::facts::{Answer, Attempt, Class, Credential, Definition, Found, List, Outcome, Sameness, Secrets, Sight};
use super::memory::{self, Minted, Unrecorded};
use super::pass::{self, Pass, broken, class, secret_cause};
use super::report::{Event, Known, Object, report};
use super::step::{Step, Verdict};
use crate::backoff;
use crate::conditions::reason;
use crate::crd::{
    ANNOTATION_ATTEMPT, ANNOTATION_RECONCILE_REQUESTED_AT, FINALIZER, MfaServer, MfaVendorType, ObservedSecret,
};
use crate::sse::credentials::{Access, Settled, State};
use crate::sse::inventory::Write;
use crate::sse::types::Remote;
use crate::sse::{Acted, Failure, Method, Reason};
use crate::telemetry::chain;

/// Who the API server knows the operator's fields by.
pub const FIELD_MANAGER: &str = "mfa-operator";
/// How long a step towards the API server may take.
const KUBE_STEP: Duration = Duration::from_secs(15);
/// How often the deletion of an object is tried whose resource is gone.
const STRAY_TRIES: u32 = 20;
/// How long a call's turn is kept for a resource that does not come for it.
const PLACE_KEPT: Duration = Duration::from_secs(5);

impl Context {
    /// The time limit around a step.
    #[must_use]
    pub fn step_limit(&self, step: Step) -> Duration {
        match step {
            Step::Create | Step::Get | Step::Replace | Step::Delete | Step::DeleteStray => {
                self.settings.request_timeout + Duration::from_secs(5)
            }
            Step::ReadLive
            | Step::ReadDefinition
            | Step::ReadSecrets
            | Step::TakePermit
            | Step::Claim
            | Step::AddFinalizer
            | Step::Adopt
            | Step::Record(_)
            | Step::DropFinalizer
            | Step::Done(_) => KUBE_STEP,
        }
    }
}

impl Pass {
    fn api(&self) -> Api<MfaServer> {
        Api::namespaced(self.context.kube.clone(), &self.namespace)
    }

    /// Performs a step.
    pub(super) async fn perform(&mut self, step: Step) -> Outcome {
        match step {
            Step::ReadLive => self.read_live().await,
            Step::ReadSecrets => self.read_secrets().await,
            Step::ReadDefinition => self.read_definition().await,
            Step::TakePermit => self.take_permit(),
            Step::Claim => self.claim_name().await,
            Step::AddFinalizer => self.add_finalizer().await,
            Step::Create => self.create().await,
            Step::Get => self.get().await,
            Step::Replace => self.replace().await,
            Step::Delete | Step::DeleteStray => self.delete().await,
            Step::Adopt => self.adopt(),
            Step::Record(verdict) => self.record(verdict).await,
            Step::DropFinalizer => self.drop_finalizer().await,
            Step::Done(verdict) => Outcome::Recorded(verdict),
        }
    }

    /// What is known where a step has used its time up.
    pub(super) fn out_of_time(&mut self, step: Step) -> Outcome {
        let method = match step {
            Step::Create => Method::Post,
            Step::Replace => Method::Put,
            Step::Delete | Step::DeleteStray => Method::Delete,
            Step::Get => Method::Get,
            _ => return Outcome::KubeFailed,
        };
        self.permit = None;
        self.refused(&Failure::new(method, Reason::Unreachable, None, Acted::Perhaps))
    }

    // ---- the API server -----------------------------------------------------------------------------------------

    async fn read_live(&mut self) -> Outcome {
        match self.api().get_opt(&self.name).await {
            Ok(Some(server)) if server.uid().as_deref() == Some(&self.uid) => {
                self.server = Arc::new(server);
                let unrecorded = self.facts.answer != Answer::None;
                let (generation, desired, id) = (self.generation, self.desired.clone(), self.id.clone());
                let cause = self.cause.clone();
                let (stored, seen) = self.look();
                if unrecorded {
                    // The answer is about what was sent, whatever the spec says by now.
                    (self.generation, self.desired, self.id, self.cause) = (generation, desired, id, cause);
                }
                Outcome::Looked(stored, seen)
            }
            Ok(_) => Outcome::Gone,
            Err(error) => self.kube_failed("reading the resource", &error),
        }
    }

    /// Whether the definition is being deleted. Where it cannot be seen (it takes a right of its own), it stays.
    async fn read_definition(&self) -> Outcome {
        let definitions: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(self.context.kube.clone());
        let name = format!("{}.{}", MfaServer::plural(&()), MfaServer::group(&()));
        match definitions.get_metadata_opt(&name).await {
            Ok(Some(definition)) if definition.metadata.deletion_timestamp.is_some() => {
                Outcome::DefinitionSeen(Definition::Dying)
            }
            Ok(_) => Outcome::DefinitionSeen(Definition::Stays),
            Err(kube::Error::Api(status)) if status.code == 403 => Outcome::DefinitionSeen(Definition::Stays),
            Err(error) => self.kube_failed("looking at the definition", &error),
        }
    }

    fn kube_failed(&self, doing: &str, error: &kube::Error) -> Outcome {
        match error {
            kube::Error::Api(status) if status.code == 409 => Outcome::Conflicted,
            kube::Error::Api(status) if status.code == 404 => Outcome::Gone,
            error => {
                tracing::warn!(resource = %self.waiter, doing, error = %chain(error), "the API server failed");
                Outcome::KubeFailed
            }
        }
    }

    async fn patch(&mut self, doing: &str, patch: Value) -> Result<(), Outcome> {
        match self.api().patch(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(server) => {
                self.took(server);
                Ok(())
            }
            Err(error) => Err(self.kube_failed(doing, &error)),
        }
    }

    /// The answer to our own write is newer than the cache.
    fn took(&mut self, server: MfaServer) {
        let server = Arc::new(server);
        self.remember(|memory, known| {
            *known = Arc::clone(&server);
            memory.newest = Some(server);
            memory.kube_failures = 0;
        });
    }

    fn finalizers(&self, ours: bool) -> Vec<String> {
        let mut finalizers = self.server.finalizers().to_vec();
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        if ours {
            finalizers.push(FINALIZER.to_owned());
        }
        finalizers
    }

    async fn add_finalizer(&mut self) -> Outcome {
        let version = self.server.resource_version();
        let patch = json!({"metadata": {"resourceVersion": version, "finalizers": self.finalizers(true)}});
        self.patch("adding the finalizer", patch).await.map_or_else(|outcome| outcome, |()| Outcome::Finalized)
    }

    async fn drop_finalizer(&mut self) -> Outcome {
        let version = self.server.resource_version();
        let patch = json!({"metadata": {"resourceVersion": version, "finalizers": self.finalizers(false)}});
        match self.patch("dropping the finalizer", patch).await {
            Ok(()) | Err(Outcome::Gone) => Outcome::Released,
            Err(outcome) => outcome,
        }
    }

    async fn claim_name(&mut self) -> Outcome {
        let Ok(desired) = &self.desired else { return Outcome::KubeFailed };
        let nonce = format!("{:016x}", rand::random::<u64>());
        let secrets = self.observed.clone().unwrap_or_default();
        let record = Record::new(&self.uid, nonce.clone(), &self.tenant_name(), desired, &secrets);
        let Ok(text) = serde_json::to_string(&record) else { return Outcome::KubeFailed };
        let patch = json!({"metadata": {
            "resourceVersion": self.server.resource_version(),
            "finalizers": self.finalizers(true),
            "annotations": {ANNOTATION_ATTEMPT: text},
        }});
        self.remember(|memory, _| memory.minted = Some(Minted { nonce: nonce.clone(), acted: false }));
        self.patch("recording the attempt", patch).await.map_or_else(|outcome| outcome, |()| Outcome::Claimed)
    }

    async fn record(&mut self, verdict: Verdict) -> Outcome {
        let (status, event) = self.report(verdict);
        self.told = self.server.status.as_ref() != Some(&status);
        if !self.told {
            return self.recorded(verdict);
        }
        let patch = json!({
            "apiVersion": MfaServer::api_version(&()),
            "kind": MfaServer::kind(&()),
            "metadata": {"name": self.name, "resourceVersion": self.server.resource_version()},
            "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        match self.api().patch_status(&self.name, &params, &Patch::Apply(patch)).await {
            Ok(server) => {
                self.took(server);
                if let Some(event) = event {
                    self.announce(event);
                }
                self.recorded(verdict)
            }
            Err(error) => self.kube_failed("writing the status", &error),
        }
    }

    fn recorded(&mut self, verdict: Verdict) -> Outcome {
        self.remember(|memory, _| {
            memory.unrecorded = None;
            if verdict == Verdict::InOrder {
                memory.succeeded();
            }
        });
        self.wrote = false;
        Outcome::Recorded(verdict)
    }

    /// Tells the cluster's users; that it fails does not matter to anything.
    fn announce(&self, event: Event) {
        let recorder = self.context.recorder.clone();
        let reference = self.server.object_ref(&());
        let waiter = Arc::clone(&self.waiter);
        tokio::spawn(async move {
            let announcement = Announcement {
                type_: if event.warning { EventType::Warning } else { EventType::Normal },
                reason: event.reason,
                note: Some(event.note.chars().take(1000).collect()),
                action: "Reconcile".to_owned(),
                secondary: None,
            };
            match timeout(KUBE_STEP, recorder.publish(&announcement, &reference)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(resource = %waiter, error = %chain(&error), "no event"),
                Err(_) => tracing::debug!(resource = %waiter, "no event in time"),
            }
        });
    }

    fn report(&mut self, verdict: Verdict) -> (crate::crd::MfaServerStatus, Option<Event>) {
        self.name_cause(verdict);
        let repeated = self.is_repeated(verdict);
        let previous = self.status().clone();
        // A refused adoption binds nothing.
        let id = if verdict == Verdict::AdoptionRefused { previous.id.clone() } else { self.id.clone() };
        let tenant = match (&id, self.tenant.as_ref()) {
            (None, _) => None,
            (Some(id), _) if previous.id.as_ref() == Some(id) && previous.tenant.is_some() => previous.tenant.clone(),
            (Some(_), tenant) => tenant.map(|tenant| tenant.name.to_string()),
        };
        let in_hand = matches!(self.facts.attempt, Attempt::Open | Attempt::Recorded | Attempt::Settled);
        let attempt =
            if in_hand { previous.attempt.clone() } else { self.answered.clone().or(previous.attempt.clone()) };
        let told = matches!(verdict, Verdict::DriftReported | Verdict::Flapping | Verdict::AdoptionRefused);
        let vendor = self.server.spec.mfa_vendor_type.as_ref().and_then(MfaVendorType::member).map(str::to_owned);
        let known = Known {
            generation: self.generation,
            previous: &previous,
            verdict,
            cause: self.cause.clone(),
            repeated,
            stale: matches!(self.facts.list, List::FailedLong(_)),
            differs: self.facts.id && self.facts.fields == Sameness::Differs,
            authenticated: self.authenticated(verdict),
            object: Object {
                id: id.clone(),
                tenant,
                name: self.effective_name.clone(),
                folder: self.folder.as_str().to_owned(),
                position: self.server.spec.position.as_str().to_owned(),
                vendor,
            },
            attempt,
            wrote: self.wrote,
            drift: if told { self.drift() } else { Vec::new() },
            observed_secrets: if id.is_some() { self.observed_secrets(verdict) } else { Vec::new() },
            handled: self.annotation(ANNOTATION_RECONCILE_REQUESTED_AT),
            now: Timestamp::now(),
        };
        report(&known)
    }

    /// The paths that differ; one word where the object is gone altogether.
    fn drift(&self) -> Vec<String> {
        if self.facts.id && self.shown.is_none() {
            return vec!["id".to_owned()];
        }
        let mut paths = self.differing.clone();
        if self.facts.echo == Sameness::Differs {
            paths.extend(self.secret_paths());
        }
        paths
    }

    fn observed_secrets(&self, verdict: Verdict) -> Vec<ObservedSecret> {
        let sent = self.observed.clone().filter(|_| verdict == Verdict::InOrder);
        let mut observed = sent.unwrap_or_else(|| self.status().observed_secrets.clone());
        if let Some(tenant) = self.tenant.as_ref().filter(|tenant| !tenant.told && verdict == Verdict::InOrder) {
            // The token tells no tenant, so its own version is what tells whether it may be another one's.
            let name = self.key.as_str().to_owned();
            if let Some(version) = self.yields.secrets.first().cloned().flatten().filter(|_| tenant.verified) {
                observed.retain(|secret| secret.name != name);
                observed.push(ObservedSecret { name, resource_version: version });
                observed.sort_by(|a, b| a.name.cmp(&b.name));
            }
        }
        observed
    }

    fn authenticated(&self, verdict: Verdict) -> Option<bool> {
        match verdict {
            Verdict::Credential(_) | Verdict::Refused(Class::Credential) => Some(false),
            Verdict::InOrder => Some(true),
            _ => self.context.credentials.tenant(&self.key).filter(|tenant| tenant.verified).map(|_| true),
        }
    }

    /// Makes sure that what is behind a verdict is named.
    fn name_cause(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::NameTaken => {
                self.cause = pass::cause(&Failure::new(Method::Post, Reason::NameNotUnique, None, Acted::No));
                self.cause.error = None;
            }
            Verdict::InvalidSpec => {
                if let Err(invalid) = &self.desired {
                    self.cause = secret_cause(format!("{invalid}."));
                }
            }
            Verdict::AdoptionRefused => {
                let what = if self.facts.found == Found::NamedElsewhere {
                    "the annotation sse.mfa-operator.io/id names an object that is not in this folder under this name"
                        .to_owned()
                } else if self.facts.unwritable {
                    "it holds a secret that the spec does not give and that cannot be written back".to_owned()
                } else if self.differing.is_empty() {
                    "its secret differs".to_owned()
                } else {
                    format!("these fields differ: {}", self.differing.join(", "))
                };
                self.cause = secret_cause(format!("The object in the tenant may not be adopted: {what}."));
            }
            Verdict::DuplicateClaim => self.cause = secret_cause(self.owner_sentence()),
            Verdict::InOrder
            | Verdict::Suspended
            | Verdict::TenantMismatch
            | Verdict::DriftReported
            | Verdict::Flapping
            | Verdict::OutcomeUnknown => {
                let error = self.cause.error.take().filter(|_| verdict == Verdict::OutcomeUnknown);
                self.cause = super::report::Cause { error, ..super::report::Cause::default() };
            }
            _ => {}
        }
        debug_assert!(verdict != Verdict::NameTaken || self.cause.reason != reason::UNKNOWN);
    }

    /// Who owns the name, if that one is in the same namespace.
    fn owner_sentence(&self) -> String {
        let id = self.id.as_deref().or(self.shown.as_ref().map(|remote| remote.id.as_str()));
        let peers = self.context.peers.at(self.server.spec.folder, &self.effective_name, id);
        let other = peers.iter().find(|peer| peer.uid != self.uid && peer.namespace == self.namespace);
        let who = other.map_or_else(
            || "An MfaServer in another namespace".to_owned(),
            |peer| format!("MfaServer {:?}", peer.waiter.split('/').next_back().unwrap_or_default()),
        );
        format!("{who} owns this name in this folder of the tenant; change or delete one of the two.")
    }

    // ---- Secrets and permits ------------------------------------------------------------------------------------

    async fn read_secrets(&mut self) -> Outcome {
        let Ok(desired) = &self.desired else { return Outcome::KubeFailed };
        match self.context.secrets.read(&self.namespace, &desired.secrets).await {
            Ok(Ok((values, observed))) => {
                self.secrets = values;
                self.observed = Some(observed);
                let (echo, unwritable) = self.judge_shown();
                Outcome::SecretsRead { secrets: Secrets::Ready, echo, unwritable }
            }
            Ok(Err(unusable)) => {
                self.cause = secret_cause(unusable.message);
                Outcome::SecretsRead { secrets: broken(unusable.problem), echo: Sameness::Unknown, unwritable: false }
            }
            Err(error) => {
                tracing::warn!(resource = %self.waiter, error = %chain(&error), "reading a Secret failed");
                Outcome::KubeFailed
            }
        }
    }

    /// The secrets that the object echoes, and whether it can be written at all.
    fn judge_shown(&self) -> (Sameness, bool) {
        match (&self.shown, &self.desired) {
            (Some(shown), Ok(desired)) => {
                (compare::echo(desired, &self.secrets, &shown.fields), is_unwritable(desired, &shown.fields))
            }
            _ => (Sameness::Unknown, false),
        }
    }

    fn take_permit(&mut self) -> Outcome {
        if self.permit.is_some() {
            return Outcome::Granted;
        }
        let State::Ready(access) = self.context.credentials.access(&self.key, &self.waiter) else {
            // It was ready when the pass began; its users are woken when it is again.
            return Outcome::Queued;
        };
        let queued = self.remember(|memory, _| memory.is_queued());
        if !queued {
            if let Some(permit) = access.budget.try_acquire() {
                self.permit = Some((access, permit));
                return Outcome::Granted;
            }
            self.queue(access);
        }
        Outcome::Queued
    }

    /// Waits for the call's turn in a task of its own, which wakes the resource.
    fn queue(&mut self, access: Access) {
        let place: memory::Place = Arc::default();
        self.remember(|memory, _| memory.place = Some(Arc::clone(&place)));
        let (waiter, wakes) = (Arc::clone(&self.waiter), self.context.wakes.clone());
        tokio::spawn(async move {
            let permit = Arc::clone(&access.budget).acquire().await;
            let put = |value| std::mem::replace(&mut *place.lock().unwrap_or_else(PoisonError::into_inner), value);
            put(Some((access, permit)));
            wakes.wake([Arc::clone(&waiter)]);
            sleep(PLACE_KEPT).await;
            // Not come for: the turn is another's, and the resource asks anew when it wants to.
            if put(None).is_some() {
                wakes.wake([waiter]);
            }
        });
    }

    // ---- the tenant ---------------------------------------------------------------------------------------------

    /// The permit is used up by one call, if the credential may make it.
    fn use_permit(&mut self, method: Method) -> Result<(Access, crate::sse::Permit), Outcome> {
        let Some((access, permit)) = self.permit.take() else {
            tracing::error!(resource = %self.waiter, "a call without a permit: please report this");
            return Err(Outcome::KubeFailed);
        };
        match self.context.credentials.try_forbidden(&access, self.folder, method) {
            Ok(()) => Ok((access, permit)),
            Err(failure) => Err(self.refused(&failure)),
        }
    }

    async fn create(&mut self) -> Outcome {
        let Ok(desired) = self.desired.clone() else { return Outcome::KubeFailed };
        let (access, permit) = match self.use_permit(Method::Post) {
            Ok(call) => call,
            Err(outcome) => return outcome,
        };
        let Some(record) = Record::of(&self.server) else { return Outcome::KubeFailed };
        let nonce = record.nonce;
        self.remember(|memory, _| {
            memory.minted = Some(Minted { nonce: nonce.clone(), acted: true });
            memory.open = Some((nonce.clone(), Instant::now(), false));
        });
        let body = desired.body(&self.secrets);
        let client = self.context.client.clone();
        let result = client.create(&access.token, desired.folder, desired.position, &body).await;
        if self.context.credentials.settle(&access, self.folder, Method::Post, permit, &result) == Settled::Refreshing {
            self.unacted(&nonce);
            return Outcome::Refreshing;
        }
        match result {
            Ok(Some(remote)) => {
                self.answered = Some(nonce.clone());
                self.wrote = true;
                self.id = Some(remote.id.clone());
                self.remember(|memory, server| {
                    let server = Arc::clone(server);
                    let answer = memory::Answer::Created(remote.id.clone());
                    memory.unrecorded = Some(Unrecorded { nonce, answer, server });
                    memory.open = None;
                });
                self.holds(&desired, remote.id);
                Outcome::Created
            }
            Ok(None) => {
                self.ask_anew();
                Outcome::CreatedUnseen
            }
            Err(failure) => {
                let outcome = self.refused(&failure);
                match outcome {
                    Outcome::Refused(class) if class.is_passing() => self.unacted(&nonce),
                    Outcome::Refused(class) => {
                        self.answered = Some(nonce.clone());
                        let cause = self.cause.clone();
                        self.remember(|memory, server| {
                            let server = Arc::clone(server);
                            let answer = memory::Answer::Refused(class, cause);
                            memory.unrecorded = Some(Unrecorded { nonce, answer, server });
                            memory.open = None;
                        });
                        // Whatever stands in the way is to be seen in a newer list.
                        self.ask_anew();
                    }
                    _ => self.ask_anew(),
                }
                outcome
            }
        }
    }

    /// The attempt was refused without an effect: it can be sent as it is.
    fn unacted(&mut self, nonce: &str) {
        self.remember(|memory, _| {
            memory.minted = Some(Minted { nonce: nonce.to_owned(), acted: false });
            memory.open = None;
        });
    }

    /// Only a list that begins from now on answers the resource's question.
    fn ask_anew(&mut self) {
        let mark = self.context.lists.mark();
        self.remember(|memory, _| memory.question = mark);
    }

    /// The tenant holds what was sent, as its last answer says.
    fn holds(&mut self, desired: &Desired, id: String) {
        let remote = Remote {
            id: id.clone(),
            name: desired.name.clone(),
            folder: Some(desired.folder.as_str().to_owned()),
            fields: desired.fields.clone(),
        };
        self.shown = Some(remote.clone());
        self.differing.clear();
        self.context.lists.wrote(&self.key, self.folder, Write::Put(id, remote));
    }

    /// What a failed call comes to; the class's delay is waited out.
    fn refused(&mut self, failure: &Failure) -> Outcome {
        tracing::debug!(resource = %self.waiter, error = %chain(failure), "call failed");
        self.wait_out(failure);
        match failure.acted {
            Acted::No => Outcome::Refused(class(failure.class)),
            Acted::Perhaps => Outcome::Unknown(class(failure.class)),
        }
    }

    async fn get(&mut self) -> Outcome {
        let Some(id) = self.id.clone() else { return Outcome::KubeFailed };
        let (access, permit) = match self.use_permit(Method::Get) {
            Ok(call) => call,
            Err(outcome) => return outcome,
        };
        let client = self.context.client.clone();
        let result = client.get(&access.token, &id).await;
        if self.context.credentials.settle(&access, self.folder, Method::Get, permit, &result) == Settled::Refreshing {
            return Outcome::Refreshing;
        }
        match result {
            Ok(Some(remote)) => {
                self.context.credentials.sighted(&self.key);
                self.shown = Some(remote);
                let fields = self.compare();
                let (echo, unwritable) = self.judge_shown();
                Outcome::Present { fields, echo, unwritable }
            }
            Ok(None) => self.absent(&id),
            Err(failure) => self.refused(&failure),
        }
    }

    fn absent(&mut self, id: &str) -> Outcome {
        self.context.lists.wrote(&self.key, self.folder, Write::Deleted(id.to_owned()));
        if self.facts.found == Found::Ours {
            self.shown = None;
            self.ask_anew();
        }
        Outcome::Absent
    }

    async fn replace(&mut self) -> Outcome {
        let (Some(id), Some(shown), Ok(desired)) = (self.id.clone(), self.shown.clone(), self.desired.clone()) else {
            return Outcome::KubeFailed;
        };
        let (access, permit) = match self.use_permit(Method::Put) {
            Ok(call) => call,
            Err(outcome) => return outcome,
        };
        let body = desired.overlay(&shown.fields, &self.secrets);
        let client = self.context.client.clone();
        let result = client.replace(&access.token, &id, &body).await;
        if self.context.credentials.settle(&access, self.folder, Method::Put, permit, &result) == Settled::Refreshing {
            return Outcome::Refreshing;
        }
        match result {
            Ok(_) => {
                self.wrote = true;
                if self.facts.was_in_order {
                    let fields = self.drift();
                    self.remember(|memory, _| memory.corrected(&fields));
                }
                self.holds(&desired, id);
                Outcome::Replaced
            }
            Err(failure) if failure.is_absence() => self.absent(&id),
            Err(failure) => self.refused(&failure),
        }
    }

    async fn delete(&mut self) -> Outcome {
        let Some(id) = self.id.clone() else { return Outcome::KubeFailed };
        let (access, permit) = match self.use_permit(Method::Delete) {
            Ok(call) => call,
            Err(outcome) => return outcome,
        };
        let client = self.context.client.clone();
        let result = client.delete(&access.token, &id).await;
        if self.context.credentials.settle(&access, self.folder, Method::Delete, permit, &result) == Settled::Refreshing
        {
            return Outcome::Refreshing;
        }
        match result {
            Ok(was_there) => {
                self.wrote = true;
                self.context.lists.wrote(&self.key, self.folder, Write::Deleted(id));
                self.shown = None;
                self.remember(|memory, _| memory.unrecorded = None);
                if was_there { Outcome::Deleted } else { Outcome::Absent }
            }
            Err(failure) => self.refused(&failure),
        }
    }

    /// Nothing in the cluster tells of this object any more, so its deletion is tried again from here, for as long as this
    /// process lives.
    fn delete_stray_later(&self) {
        let Some(id) = self.id.clone() else { return };
        let State::Ready(access) = self.context.credentials.access(&self.key, &self.waiter) else {
            tracing::error!(resource = %self.waiter, id, "the object of a resource that is gone cannot be deleted: delete it by hand");
            return;
        };
        let (context, waiter) = (Arc::clone(&self.context), Arc::clone(&self.waiter));
        tokio::spawn(async move {
            for failures in 1..=STRAY_TRIES {
                sleep(context.delay(Class::Server, failures, 0, None)).await;
                let _permit = Arc::clone(&access.budget).acquire().await;
                match context.client.delete(&access.token, &id).await {
                    Ok(_) => {
                        return tracing::info!(resource = %waiter, id, "the object of a resource that is gone is deleted");
                    }
                    Err(failure) => {
                        tracing::warn!(resource = %waiter, id, error = %chain(&failure), "the object of a resource that is gone stays for now");
                    }
                }
            }
            tracing::error!(resource = %waiter, id, "the object of a resource that is gone could not be deleted: delete it by hand");
        });
    }

    fn adopt(&mut self) -> Outcome {
        if let Some(shown) = &self.shown {
            self.id = Some(shown.id.clone());
        }
        if let Some(record) = Record::of(&self.server).filter(|record| !record.is_answered(&self.server)) {
            if self.facts.found == Found::Attempted {
                self.observed = Some(record.observed_secrets());
                self.wrote = true;
            }
            self.answered = Some(record.nonce);
            self.remember(|memory, _| memory.open = None);
        }
        Outcome::Adopted
    }

    // ---- the end ------------------------------------------------------------------------------------------------

    /// Ends the pass: what it waits for, and until when at the latest.
    pub(super) fn end(mut self, verdict: Verdict) -> Action {
        // An unused permit goes back.
        self.permit = None;
        match verdict {
            Verdict::Released => {
                if self.facts.sight == Sight::Gone && self.facts.answer == Answer::Created && !self.facts.retain {
                    self.delete_stray_later();
                }
                Action::await_change()
            }
            Verdict::Kube => {
                let failures = self.remember(|memory, _| {
                    memory.kube_failures += 1;
                    memory.kube_failures
                });
                let delay = backoff::doubling(Duration::from_secs(1), Duration::from_mins(1), failures);
                Action::requeue(backoff::jittered(delay, rand::random()))
            }
            Verdict::List => {
                // The question may have changed in this pass: whoever waits for a list has asked for it.
                let _ = self.look_at_list(self.facts.credential == Credential::Ready);
                self.requeue()
            }
            Verdict::Token => {
                // A refused token is fetched anew when somebody asks for it.
                let _ = self.context.credentials.access(&self.key, &self.waiter);
                self.requeue()
            }
            Verdict::OutcomeUnknown => {
                // The list is looked at again and again until the attempt settles, ever more rarely.
                let settles = self.settles_in();
                let yields = self.yields.clone();
                let (due, count) = self.remember(|memory, _| {
                    let due = memory.is_due(&yields);
                    let (count, _) =
                        if due { memory.count(Class::Server, ("OutcomeUnknown", None), &yields) } else { (0, 0) };
                    (due, count)
                });
                if due {
                    let delay = self.context.delay(Class::Server, count, 0, None);
                    let delay = settles.map_or(delay, |settles| delay.min(settles + Duration::from_millis(1)));
                    self.ask_anew();
                    self.remember(|memory, _| memory.wait(delay, yields));
                }
                self.requeue()
            }
            Verdict::Secret(super::facts::SecretProblem::Invalid) | Verdict::InvalidSpec => {
                Action::requeue(self.context.settings.resync)
            }
            _ => self.requeue(),
        }
    }

    /// How long until the next try, in seconds, while a refusal is waited out.
    pub(super) fn retry_in(&mut self) -> Option<u64> {
        let own = self.remember(|memory, _| memory.delay.as_ref().map(|delay| delay.until));
        let until = own.or_else(|| self.context.credentials.next_try(&self.key, self.folder))?;
        Some(until.saturating_duration_since(Instant::now()).as_secs())
    }

    /// At the end of the delay, if there is one; else something wakes the resource.
    fn requeue(&mut self) -> Action {
        let until = self.remember(|memory, _| memory.delay.as_ref().map(|delay| delay.until));
        until.map_or_else(Action::await_change, |until| {
            Action::requeue(until.saturating_duration_since(Instant::now()) + Duration::from_millis(1))
        })
    }
}
