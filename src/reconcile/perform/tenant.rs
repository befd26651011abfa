//! Steps towards the tenant: permits, and one request each.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{PLACE_KEPT, STRAY_TRIES};
use crate::reconcile::Context;
use crate::reconcile::attempt::Attempt as Record;
use crate::reconcile::compare::{self, is_unwritable};
use crate::reconcile::desired::Desired;
use crate::reconcile::facts::{Class, Found, Outcome, Sameness, Secrets};
use crate::reconcile::memory::{self, Looked, Unrecorded};
use crate::reconcile::pass::{Pass, broken, class, secret_cause};
use crate::reconcile::sight;
use crate::reconcile::step::Step;
use crate::sse::credentials::{Access, Settled, State, Waiter};
use crate::sse::inventory::Write;
use crate::sse::types::Remote;
use crate::sse::{Acted, Failure, Method};
use crate::telemetry::chain;

impl Pass {
    pub(super) async fn read_secrets(&mut self) -> Outcome {
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
    pub(super) fn judge_shown(&mut self) -> (Sameness, bool) {
        let (Some(shown), Ok(desired)) = (&self.shown, &self.desired) else { return (Sameness::Unknown, false) };
        let unwritable = is_unwritable(desired, &shown.fields);
        let echo = compare::echo(desired, &self.secrets, &shown.fields);
        let print = self.context.secrets.print_of(&shown.id, &self.secrets);
        // Where the echo tells nothing, it is what was sent last that counts.
        let sent = echo == Sameness::Unknown && self.remember(|memory, _| memory.sent == Some(print));
        (if sent { Sameness::Same } else { echo }, unwritable)
    }

    pub(super) fn take_permit(&mut self) -> Outcome {
        if self.permit.is_some() {
            return Outcome::Granted;
        }
        let access = match self.context.credentials.access(&self.key, &self.waiter) {
            State::Ready(access) => access,
            // It was ready when the pass began; its users are woken when it is again.
            _ => match self.stray_access() {
                Some(access) => access,
                None => return Outcome::Queued,
            },
        };
        let queued = self.remember(|memory, _| memory.is_queued());
        if !queued {
            if let Some(permit) = access.budget.try_acquire() {
                self.context.metrics.waited_for_turn(Duration::ZERO);
                self.permit = Some((access, permit));
                return Outcome::Granted;
            }
            self.queue(access);
        }
        Outcome::Queued
    }

    /// Waits for the call's turn in a task of its own, which wakes the resource.
    pub(super) fn queue(&mut self, access: Access) {
        let place: memory::Place = Arc::default();
        self.remember(|memory, _| memory.place = Some(Arc::clone(&place)));
        let (waiter, wakes) = (Arc::clone(&self.waiter), self.context.wakes.clone());
        let (metrics, begun) = (self.context.metrics.clone(), Instant::now());
        let halfway = self.looked.is_some();
        tokio::spawn(async move {
            let budget = Arc::clone(&access.budget);
            let permit = if halfway { budget.acquire_next().await } else { budget.acquire().await };
            metrics.waited_for_turn(begun.elapsed());
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

    /// The permit is used up by one call, if this process and the credential may make it.
    pub(super) fn use_permit(&mut self, method: Method) -> Result<(Access, crate::sse::Permit), Outcome> {
        let Some((access, permit)) = self.permit.take() else {
            tracing::error!(resource = %self.waiter, "a call without a permit: please report this");
            return Err(Outcome::KubeFailed);
        };
        if method != Method::Get && !self.context.may_write() {
            return Err(Outcome::NotLeading);
        }
        // A permit may be older than the pause that the tenant has asked for since: the call waits for another turn.
        if access.budget.paused_until().is_some() {
            drop(permit);
            self.queue(access);
            return Err(Outcome::Queued);
        }
        match self.context.credentials.try_forbidden(&access, self.folder, method) {
            Ok(()) => Ok((access, permit)),
            Err(failure) => Err(self.refused(&failure)),
        }
    }

    pub(super) async fn create(&mut self) -> Outcome {
        let Ok(desired) = self.desired.clone() else { return Outcome::KubeFailed };
        let (access, permit) = match self.use_permit(Method::Post) {
            Ok(call) => call,
            Err(outcome) => return outcome,
        };
        let Some(record) = Record::of(&self.server) else { return Outcome::KubeFailed };
        let nonce = record.nonce.clone();
        self.looked = None;
        self.remember(|memory, _| memory.course.sends(&nonce, Instant::now()));
        let body = desired.body(&self.secrets);
        let client = self.context.client.clone();
        let call = client.create(&access.token, desired.folder, desired.position, &body);
        let result = self.context.write(Method::Post, call).await;
        if self.context.credentials.settle(&access, self.folder, Method::Post, permit, &result) == Settled::Refreshing {
            self.unacted(&nonce);
            return Outcome::Refreshing;
        }
        match result {
            Ok(Some(remote)) => {
                self.answered = Some(record.clone());
                self.wrote = true;
                self.id = Some(remote.id.clone());
                self.remember(|memory, server| {
                    let server = Arc::clone(server);
                    let answer = memory::Answer::Created(remote.id.clone());
                    memory.course.answered(Box::new(Unrecorded { answer, server, access }));
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
                let class = class(failure.class);
                if outcome == Outcome::Refused(class) && !class.is_passing() {
                    self.answered = Some(record.clone());
                }
                let (cause, lists) = (self.cause.clone(), Arc::clone(&self.context.lists));
                self.remember(|memory, server| {
                    let answer = || {
                        let answer = memory::Answer::Refused(class, cause);
                        Box::new(Unrecorded { answer, server: Arc::clone(server), access })
                    };
                    memory.course.not_created(&nonce, outcome, answer, || lists.mark());
                });
                outcome
            }
        }
    }

    /// The attempt was refused without an effect: it can be sent as it is.
    pub(super) fn unacted(&mut self, nonce: &str) {
        self.remember(|memory, _| memory.course.unacted(nonce));
    }

    /// Only a list that begins from now on answers the resource's question.
    pub(super) fn ask_anew(&mut self) {
        let mark = self.context.lists.mark();
        self.remember(|memory, _| memory.course.question = mark);
    }

    /// The tenant holds what was sent, as its last answer says.
    pub(super) fn holds(&mut self, desired: &Desired, id: String) {
        let remote = Remote {
            id: id.clone(),
            name: desired.name.clone(),
            folder: Some(desired.folder.as_str().to_owned()),
            fields: desired.fields.clone(),
        };
        self.shown = Some(remote.clone());
        self.differing.clear();
        let sent = self.context.secrets.print_of(&id, &self.secrets);
        self.remember(|memory, _| memory.sent = Some(sent));
        self.context.lists.wrote(&self.key, self.folder, Write::Put(id, remote));
    }

    /// What a failed call comes to; the class's delay is waited out.
    pub(super) fn refused(&mut self, failure: &Failure) -> Outcome {
        tracing::debug!(resource = %self.waiter, error = %chain(failure), "call failed");
        self.wait_out(failure);
        match failure.acted {
            Acted::No => Outcome::Refused(class(failure.class)),
            Acted::Perhaps => Outcome::Unknown(class(failure.class)),
        }
    }

    /// What an earlier pass saw, before it had to wait for the turn that this one has: looking once more would use the turn
    /// up, and where many wait, the write after it would never come.
    fn seen_before(&mut self, id: &str) -> Option<Looked> {
        let (generation, listed) = (self.generation, self.facts.found == Found::Ours);
        let looked = self.remember(|memory, _| memory.looked.take())?;
        let holds = looked.id == id && looked.generation == generation && (looked.shown.is_some() || !listed);
        holds.then_some(*looked)
    }

    /// What a GET showed.
    fn saw(&mut self, looked: Looked) -> Outcome {
        self.looked = Some(looked.clone());
        let Some(remote) = looked.shown else { return Outcome::Absent };
        self.shown = Some(remote);
        let fields = self.compare();
        let (echo, unwritable) = self.judge_shown();
        Outcome::Present { fields, echo, unwritable }
    }

    pub(super) async fn get(&mut self) -> Outcome {
        let Some(id) = self.id.clone() else { return Outcome::KubeFailed };
        if let Some(looked) = self.seen_before(&id) {
            return self.saw(looked);
        }
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
                self.saw(Looked { id, generation: self.generation, shown: Some(remote) })
            }
            Ok(None) => {
                let outcome = self.absent(&id);
                self.looked = Some(Looked { id, generation: self.generation, shown: None });
                outcome
            }
            Err(failure) => self.refused(&failure),
        }
    }

    pub(super) fn absent(&mut self, id: &str) -> Outcome {
        self.context.lists.wrote(&self.key, self.folder, Write::Deleted(id.to_owned()));
        let found = self.facts.found;
        if found == Found::Ours {
            self.shown = None;
        }
        let lists = Arc::clone(&self.context.lists);
        self.remember(|memory, _| memory.course.absent(found, || lists.mark()));
        Outcome::Absent
    }

    pub(super) async fn replace(&mut self) -> Outcome {
        let (Some(id), Some(shown), Ok(desired)) = (self.id.clone(), self.shown.clone(), self.desired.clone()) else {
            return Outcome::KubeFailed;
        };
        let (access, permit) = match self.use_permit(Method::Put) {
            Ok(call) => call,
            Err(outcome) => return outcome,
        };
        let body = desired.overlay(&shown.fields, &self.secrets);
        self.looked = None;
        self.remember(|memory, _| memory.sent = None);
        let client = self.context.client.clone();
        let result = self.context.write(Method::Put, client.replace(&access.token, &id, &body)).await;
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

    pub(super) async fn delete(&mut self) -> Outcome {
        let Some(id) = self.id.clone() else { return Outcome::KubeFailed };
        let (access, permit) = match self.use_permit(Method::Delete) {
            Ok(call) => call,
            Err(outcome) => return outcome,
        };
        let client = self.context.client.clone();
        let result = self.context.write(Method::Delete, client.delete(&access.token, &id)).await;
        if self.context.credentials.settle(&access, self.folder, Method::Delete, permit, &result) == Settled::Refreshing
        {
            return Outcome::Refreshing;
        }
        match result {
            Ok(was_there) => {
                self.wrote = true;
                self.context.lists.wrote(&self.key, self.folder, Write::Deleted(id));
                self.shown = None;
                self.remember(|memory, _| memory.course.unrecorded = None);
                if was_there { Outcome::Deleted } else { Outcome::Absent }
            }
            Err(failure) => self.refused(&failure),
        }
    }

    /// What was created for a resource that is gone, and nothing in the cluster tells of it.
    pub(super) fn is_stray(&self) -> bool {
        sight::is_stray(&self.facts)
    }

    fn stray_access(&mut self) -> Option<Access> {
        let stray = self.is_stray();
        self.remember(|memory, _| {
            memory.course.unrecorded.as_ref().filter(|_| stray).map(|unrecorded| unrecorded.access.clone())
        })
    }

    /// The resource's passes are over, so its object's deletion goes on without them. `failures`: how often it failed.
    pub(super) fn delete_stray_later(&mut self, failures: u32) {
        if let (Some(id), Some(access)) = (self.id.clone(), self.stray_access()) {
            delete_stray(&self.context, &self.waiter, access, id, failures);
        }
    }

    pub(super) fn adopt(&mut self) -> Outcome {
        if let Some(shown) = &self.shown {
            self.id = Some(shown.id.clone());
        }
        if let Some(record) = Record::of(&self.server).filter(|record| !record.is_answered(&self.server)) {
            if self.facts.found == Found::Attempted {
                self.observed = Some(record.observed_secrets());
                self.wrote = true;
            }
            self.answered = Some(record);
            self.remember(|memory, _| memory.course.open = None);
        }
        Outcome::Adopted
    }
}

/// Deletes an object that nothing in the cluster tells of any more, for as long as this process lives.
pub(in crate::reconcile) fn delete_stray(
    context: &Arc<Context>,
    waiter: &Waiter,
    access: Access,
    id: String,
    failures: u32,
) {
    let (context, waiter) = (Arc::clone(context), Arc::clone(waiter));
    tokio::spawn(async move {
        for failures in failures..=STRAY_TRIES {
            if failures > 0 {
                sleep(context.delay(Class::Server, failures, 0, None)).await;
            }
            let _permit = Arc::clone(&access.budget).acquire().await;
            context.gaps.stand(&waiter, None, Some(Step::DeleteStray));
            match context.write(Method::Delete, context.client.delete(&access.token, &id)).await {
                Ok(_) => {
                    context.gaps.stand(&waiter, Some(Step::DeleteStray), None);
                    tracing::info!(resource = %waiter, id, "the object of a resource that is gone is deleted");
                    return;
                }
                Err(failure) => {
                    tracing::warn!(resource = %waiter, id, error = %chain(&failure), "the object of a resource that is gone stays for now");
                }
            }
        }
        tracing::error!(resource = %waiter, id, "the object of a resource that is gone could not be deleted: delete it by hand");
    });
}
