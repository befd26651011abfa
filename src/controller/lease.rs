//! Leader election by a Lease of `coordination.k8s.io/v1`: one of several processes works, the others stand by.
//!
//! # The flow
//! What to do next is decided by [`Candidate`], which knows no client and no clock; here it is done, one request at a
//! time. A standby watches the Lease, so that it sees at once when it is released. Whoever leads renews it in a task of
//! its own, whatever the passes do, and moves the [`Deadline`] on that every write obeys.
//!
//! # Guarantees
//! - Every write of the Lease carries the `resourceVersion` under which it was seen: of two candidates one succeeds.
//! - The deadline counts from before a renewal was sent, and only once its success is known.
//! - The Lease is released after the work has ended, and nothing is written from then on.
//!
//! # Caveats
//! - Whoever deletes the Lease, or writes himself into it, while a process leads makes that one stop when it next renews;
//!   until then a newly started process may lead beside it.

use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watch_object};
use kube::{Api, Client};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use self::candidate::{Candidate, Loss, Move, Record, Timing};
use crate::reconcile::deadline::Deadline;
use crate::reconcile::perform::FIELD_MANAGER;
use crate::telemetry::chain;

pub mod candidate;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

/// How long releasing the lease may take; whoever waits for it takes it then when it has expired.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);

/// Leadership is lost, so the process has to end.
#[derive(Debug, thiserror::Error)]
#[error("leadership is lost")]
pub struct Lost(#[source] Loss);

/// One process in the election.
pub struct Election {
    api: Api<Lease>,
    namespace: String,
    name: String,
    identity: String,
    timing: Timing,
    candidate: Candidate,
    /// The Lease as it was last seen.
    lease: Option<Lease>,
    deadline: Deadline,
    epoch: Instant,
}

impl Election {
    /// The election by the Lease of this name. The deadline is moved on while this process leads.
    #[must_use]
    pub fn new(kube: Client, namespace: &str, name: &str, deadline: Deadline) -> Self {
        let (identity, timing) = (identity(), Timing::default());
        Self {
            api: Api::namespaced(kube, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            candidate: Candidate::new(identity.clone(), timing),
            identity,
            timing,
            lease: None,
            deadline,
            epoch: Instant::now(),
        }
    }

    /// Waits for the lease, works while this process holds it, and releases it when the work has ended. `stopped` ends
    /// the waiting; the work has to see to its own end.
    ///
    /// # Errors
    /// [`Lost`], at once: the work is dropped where it stands.
    pub async fn lead<W: Future<Output = ()>>(
        mut self,
        stopped: impl Future<Output = ()>,
        work: impl FnOnce() -> W,
    ) -> Result<(), Lost> {
        tokio::select! {
            () = self.acquire() => {}
            () = stopped => {
                self.release().await;
                return Ok(());
            }
        }
        let (ended, end) = oneshot::channel::<()>();
        // In a task of its own: passes share one, and a busy pass must not keep the lease from being renewed.
        let mut keeper = tokio::spawn(async move {
            tokio::select! {
                lost = self.keep() => Err(lost),
                _ = end => {
                    self.release().await;
                    Ok(())
                }
            }
        });
        tokio::select! {
            biased;
            kept = &mut keeper => kept.unwrap_or(Err(Lost(Loss::RanOut))),
            () = work() => {
                let _ = ended.send(());
                keeper.await.unwrap_or(Err(Lost(Loss::RanOut)))
            }
        }
    }

    /// Returns when the lease is ours.
    async fn acquire(&mut self) {
        tracing::info!(lease = %self, identity = self.identity, "standing by");
        let mut watched = pin!(watch_object(self.api.clone(), &self.name).default_backoff());
        let mut told = None;
        loop {
            match self.candidate.next(self.now()) {
                Move::Look => self.look().await,
                Move::Acquire | Move::Renew => self.write().await,
                Move::Wait(until) => self.wait(until, &mut told, &mut watched).await,
                // Who does not lead loses nothing.
                Move::Lost(_) => self.candidate.resign(),
            }
            if self.candidate.may_write_until().is_some() {
                tracing::info!(lease = %self, identity = self.identity, "leading");
                return;
            }
        }
    }

    /// Waits until then, or until the lease is seen to change.
    async fn wait(
        &mut self,
        until: Duration,
        told: &mut Option<String>,
        mut watched: impl Stream<Item = watcher::Result<Option<Lease>>> + Unpin,
    ) {
        if let Some(holder) = self.candidate.holder()
            && told.as_deref() != Some(holder)
        {
            tracing::info!(lease = %self, holder, "another process leads");
            *told = Some(holder.to_owned());
        }
        tokio::select! {
            () = sleep_until(self.at(until)) => {}
            event = watched.next() => match event {
                Some(Ok(lease)) => self.saw(lease),
                Some(Err(error)) => {
                    tracing::warn!(lease = %self, error = %chain(&error), "watching the lease failed; it is tried again");
                }
                None => sleep_until(self.at(until)).await,
            }
        }
    }

    /// Renews the lease until it is lost.
    async fn keep(&mut self) -> Lost {
        loop {
            match self.candidate.next(self.now()) {
                Move::Look => self.look().await,
                Move::Acquire | Move::Renew => self.write().await,
                Move::Wait(until) => sleep_until(self.at(until)).await,
                Move::Lost(loss) => {
                    self.deadline.end();
                    tracing::error!(lease = %self, identity = self.identity, reason = %loss, "leadership is lost; this process ends at once");
                    return Lost(loss);
                }
            }
        }
    }

    /// Gives the lease up, if it is ours; the next one takes it at once.
    async fn release(&mut self) {
        self.deadline.end();
        self.candidate.resign();
        match timeout(RELEASE_LIMIT, self.empty()).await {
            Ok(Ok(true)) => tracing::info!(lease = %self, "the lease is released"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                tracing::warn!(lease = %self, error = %chain(&error), "the lease is not released; it expires");
            }
            Err(_) => tracing::warn!(lease = %self, "the lease is not released in time; it expires"),
        }
    }

    /// Empties the lease if it is ours; whether it was.
    async fn empty(&mut self) -> kube::Result<bool> {
        loop {
            if !self.candidate.is_certain() {
                // A write whose answer we did not wait for may have landed.
                let lease = self.api.get_opt(&self.name).await?;
                self.saw(lease);
            }
            let Some(lease) = self.lease.as_ref().filter(|_| self.candidate.is_ours()) else { return Ok(false) };
            let released = released(lease, Timestamp::now());
            self.candidate.writes(self.now());
            match self.api.replace(&self.name, &parameters(), &released).await {
                Ok(_) => return Ok(true),
                Err(error) if is_refusal(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn look(&mut self) {
        let begun = self.now();
        self.candidate.looks(begun);
        match timeout_at(self.limit(begun), self.api.get_opt(&self.name)).await {
            Ok(Ok(lease)) => self.saw(lease),
            Ok(Err(error)) => self.failed("reading", Some(&error)),
            Err(_) => self.failed("reading", None),
        }
    }

    async fn write(&mut self) {
        let sent = self.now();
        let claimed = claimed(self.lease.as_ref(), &self.name, &self.identity, self.timing, Timestamp::now());
        self.candidate.writes(sent);
        let parameters = parameters();
        let request = async {
            if self.lease.is_some() {
                self.api.replace(&self.name, &parameters, &claimed).await
            } else {
                self.api.create(&parameters, &claimed).await
            }
        };
        match timeout_at(self.limit(sent), request).await {
            Ok(Ok(lease)) => {
                self.candidate.wrote(record(&lease), sent);
                self.lease = Some(lease);
                if let Some(until) = self.candidate.may_write_until() {
                    self.deadline.extend(self.at(until));
                }
            }
            Ok(Err(error)) if is_refusal(&error) => {
                tracing::debug!(lease = %self, error = %chain(&error), "the lease has changed");
                self.candidate.refused();
            }
            Ok(Err(error)) => self.failed("writing", Some(&error)),
            Err(_) => self.failed("writing", None),
        }
    }

    fn saw(&mut self, lease: Option<Lease>) {
        self.candidate.saw(lease.as_ref().map(record), self.now());
        self.lease = lease;
    }

    fn failed(&self, doing: &str, error: Option<&kube::Error>) {
        let error = error.map_or_else(|| "no answer in time".to_owned(), |error| chain(error).to_string());
        tracing::warn!(lease = %self, doing, error, "the lease cannot be used; it is tried again");
    }

    /// Until when a request that is sent now is waited for: there is time for a second one before leadership is lost.
    fn limit(&self, sent: Duration) -> Instant {
        let limit = sent + self.timing.renew_deadline / 2;
        self.at(self.candidate.may_write_until().map_or(limit, |deadline| limit.min(deadline)))
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    fn at(&self, since_epoch: Duration) -> Instant {
        self.epoch + since_epoch
    }
}

impl std::fmt::Display for Election {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

fn parameters() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

/// The lease is not as it was seen: changed, deleted, or made by somebody else.
fn is_refusal(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 404 | 409))
}

/// What of a Lease is decided on. Its times are another clock's, and nothing is decided on them.
fn record(lease: &Lease) -> Record {
    let spec = lease.spec.as_ref();
    let holder = spec.and_then(|spec| spec.holder_identity.clone()).filter(|holder| !holder.is_empty());
    let seconds = spec.and_then(|spec| u64::try_from(spec.lease_duration_seconds?).ok()).filter(|seconds| *seconds > 0);
    Record {
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        holder,
        duration: seconds.map(Duration::from_secs),
    }
}

/// The Lease in our name. What else stands in it stays, its version above all.
fn claimed(seen: Option<&Lease>, name: &str, identity: &str, timing: Timing, now: Timestamp) -> Lease {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let mut lease = seen.cloned().unwrap_or(Lease { metadata, spec: None });
    let before = lease.spec.take();
    let is_ours = before.as_ref().is_some_and(|spec| spec.holder_identity.as_deref() == Some(identity));
    let mut spec = before.unwrap_or_default();
    if !is_ours {
        spec.lease_transitions = Some(seen.map_or(0, |_| spec.lease_transitions.unwrap_or(0).saturating_add(1)));
        spec.acquire_time = Some(MicroTime(now));
    }
    spec.holder_identity = Some(identity.to_owned());
    spec.lease_duration_seconds = i32::try_from(timing.duration.as_secs()).ok();
    spec.renew_time = Some(MicroTime(now));
    lease.spec = Some(spec);
    lease
}

/// The Lease in nobody's name.
fn released(lease: &Lease, now: Timestamp) -> Lease {
    let spec = LeaseSpec {
        holder_identity: None,
        lease_duration_seconds: Some(1),
        renew_time: Some(MicroTime(now)),
        ..lease.spec.clone().unwrap_or_default()
    };
    Lease { metadata: lease.metadata.clone(), spec: Some(spec) }
}

/// A name for this process that no other has, and that says where it runs.
fn identity() -> String {
    let file = |path| std::fs::read_to_string(path).ok();
    let host = std::env::var("HOSTNAME").ok().or_else(|| file("/proc/sys/kernel/hostname"));
    let host = host.map(|host| host.trim().to_owned()).filter(|host| !host.is_empty());
    format!("{}_{:016x}", host.as_deref().unwrap_or("mfa-operator"), rand::random::<u64>())
}
