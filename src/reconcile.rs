//! From a resource to one step after another.
//!
//! # The flow
//! A pass gathers what is known ([`pass`]), asks [`step::next_step`] for one step, performs it ([`perform`]), lets the
//! facts learn what came of it, and asks again, until the answer is to wait. A pass never waits for the tenant's turn, a
//! list or a token: those run in tasks of their own and wake the resource.

pub mod announce;
pub mod attempt;
pub mod compare;
pub mod course;
pub mod deadline;
pub mod desired;
pub mod facts;
#[cfg(test)]
mod fuzz;
pub mod gap;
#[cfg(test)]
pub(crate) mod golden;
pub mod memory;
mod observe;
pub mod packed;
pub mod pass;
pub mod peers;
pub mod perform;
pub mod report;
pub mod scope;
pub mod secrets;
pub mod sight;
pub mod step;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::controller::Action;
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

use self::announce::Announcer;
use self::deadline::Deadline;
use self::facts::{Class, Outcome};
use self::gap::Gaps;
use self::memory::{Answer, Memory, Unrecorded};
use self::pass::Pass;
use self::peers::Peers;
use self::perform::delete_stray;
use self::scope::Scope;
use self::secrets::Secrets;
use self::step::{RULES, Step, Verdict, decide};
use crate::backoff;
use crate::crd::{DeletionPolicy, MfaServer};
use crate::health::Health;
use crate::metrics::Metrics;
use crate::sse;
use crate::sse::credentials::{Credentials, Wakes};
use crate::sse::lists::Lists;
use crate::telemetry::SPANS;

/// More steps than any pass takes: one that goes on is a mistake in the rules, and must not become a tight loop.
const MOST_STEPS: u32 = 40;
/// How long until a pass that went wrong is tried again.
const AFTER_A_MISTAKE: Duration = Duration::from_mins(1);

/// Which Secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct SecretName {
    pub namespace: String,
    pub name: String,
}

/// Credentials that serve several namespaces: whoever may create a resource there acts with them.
#[derive(Clone, Debug)]
pub struct Shared {
    /// `--shared-credentials`
    pub secret: SecretName,
    /// `--shared-credentials-namespaces`
    pub namespaces: Vec<String>,
}

/// What the operator was told to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `--watch-namespace`
    pub scope: Scope,
    /// `--credentials-secret`: the Secret in a resource's namespace, where its spec names none.
    pub credentials_secret: String,
    /// `--shared-credentials`
    pub shared_credentials: Option<Shared>,
    /// `--default-deletion-policy`
    pub default_deletion_policy: DeletionPolicy,
    /// `--resync-interval`
    pub resync: Duration,
    /// `--request-timeout`
    pub request_timeout: Duration,
}

impl Settings {
    /// After this time, a request that was sent cannot reach the tenant any more.
    #[must_use]
    pub fn settles_after(&self) -> Duration {
        self.request_timeout * 2
    }
}

/// What all passes share.
pub struct Context {
    /// The API server.
    pub kube: kube::Client,
    /// The tenant's API.
    pub client: sse::Client,
    /// What is known of credentials.
    pub credentials: Arc<Credentials>,
    /// The folders' lists.
    pub lists: Arc<Lists>,
    /// What is known of Secrets.
    pub secrets: Arc<Secrets>,
    /// What resources claim.
    pub peers: Arc<Peers>,
    /// Who is woken.
    pub wakes: Wakes,
    /// Where events go.
    pub announcer: Announcer,
    /// Where is counted.
    pub metrics: Metrics,
    /// Where is told that all goes on.
    pub health: Health,
    /// What the operator was told.
    pub settings: Settings,
    /// Until when this process may write to the tenant.
    pub deadline: Deadline,
    /// What is remembered, by uid.
    pub memories: Mutex<HashMap<String, Arc<Mutex<Memory>>>>,
    /// Who is told where a pass stands.
    pub gaps: Gaps,
}

impl Context {
    /// Whether a write to the tenant may start.
    #[must_use]
    pub fn may_write(&self) -> bool {
        self.deadline.may_write()
    }

    /// The Secret with the credentials of a resource in this namespace, whose spec names this one or none. The shared one
    /// serves the namespaces that it is meant for, where they have none of their own.
    #[must_use]
    pub fn credentials_secret(&self, namespace: &str, named: Option<&str>) -> SecretName {
        let own = SecretName {
            namespace: namespace.to_owned(),
            name: named.unwrap_or(&self.settings.credentials_secret).to_owned(),
        };
        let Some(shared) = self.settings.shared_credentials.as_ref().filter(|_| named.is_none()) else { return own };
        let serves = shared.namespaces.iter().any(|served| served == namespace);
        if serves && self.secrets.is_absent(&own) { shared.secret.clone() } else { own }
    }

    /// What becomes of the object when the resource is deleted.
    #[must_use]
    pub fn deletion_policy(&self, server: &MfaServer) -> DeletionPolicy {
        server.spec.deletion_policy.unwrap_or(self.settings.default_deletion_policy)
    }

    /// The delay after a refusal, with its jitter.
    #[must_use]
    pub fn delay(&self, class: Class, failures: u32, same: u32, asked: Option<Duration>) -> Duration {
        backoff::jittered(backoff::delay(class, failures, same, self.settings.resync, asked), rand::random())
    }

    fn memory(&self, uid: &str) -> Arc<Mutex<Memory>> {
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(memories.entry(uid.to_owned()).or_default())
    }

    /// Forgets a resource that is gone. What was created for it and no status holds goes with it, unless a pass is under
    /// way, which will see to that.
    pub fn forget(self: &Arc<Self>, waiter: &sse::credentials::Waiter, uid: &str) {
        let memory = self.memories.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
        let unrecorded = memory
            .and_then(Arc::into_inner)
            .and_then(|memory| memory.lock().unwrap_or_else(PoisonError::into_inner).course.unrecorded.take());
        if let Some(Unrecorded { answer: Answer::Created(id), server, access, .. }) =
            unrecorded.map(|unrecorded| *unrecorded)
            && self.deletion_policy(&server) == DeletionPolicy::Delete
        {
            delete_stray(self, waiter, access, id, 0);
        }
        self.lists.forget(waiter);
        self.credentials.forget(waiter);
        self.secrets.forget(waiter);
        self.metrics.forget(waiter);
    }
}

/// One pass.
pub async fn reconcile(server: Arc<MfaServer>, context: Arc<Context>) -> Action {
    let span = tracing::info_span!(
        target: SPANS,
        "pass",
        resource = %peers::waiter(&server.namespace().unwrap_or_default(), &server.name_any()),
        generation = server.metadata.generation,
        outcome = tracing::field::Empty,
    );
    drive(server, context).instrument(span).await
}

/// The driver. It performs what the rules say and decides nothing.
async fn drive(server: Arc<MfaServer>, context: Arc<Context>) -> Action {
    let begun = Instant::now();
    let uid = server.uid().unwrap_or_default();
    let memory = context.memory(&uid);
    let mut pass = Pass::begin(Arc::clone(&context), memory, server);
    pass.measure_begin();
    let mut last = None;
    for _ in 0..MOST_STEPS {
        pass.measure_facts();
        let (rule, step) = decide(RULES, &pass.facts);
        context.gaps.stand(&pass.waiter, last, Some(step));
        if let Step::Done(verdict) = step {
            tracing::debug!(resource = %pass.waiter, rule, verdict = ?verdict, "pass ends");
            let waiter = Arc::clone(&pass.waiter);
            let action = pass.end(verdict);
            pass.measure_end(verdict, begun);
            tracing::Span::current().record("outcome", observe::verdict_name(verdict));
            if verdict == Verdict::Released {
                context.forget(&waiter, &uid);
            }
            return action;
        }
        let outcome = timeout(context.step_limit(step), pass.perform(step)).await;
        let outcome = outcome.unwrap_or_else(|_| pass.out_of_time(step));
        pass.measure_step(step, outcome);
        log(&mut pass, rule, step, outcome);
        pass.facts.learn(outcome);
        last = Some(step);
    }
    context.metrics.passed(observe::ENDLESS, begun.elapsed());
    tracing::error!(resource = %pass.waiter, facts = ?pass.facts, "a pass that does not end: please report this");
    Action::requeue(AFTER_A_MISTAKE)
}

/// One line a decision: what was done, by which rule, and what came of it.
fn log(pass: &mut Pass, rule: &str, step: Step, outcome: Outcome) {
    let retry_in = pass.retry_in();
    let resource = &pass.waiter;
    match step {
        Step::TakePermit | Step::ReadSecrets | Step::ReadLive => {
            tracing::debug!(%resource, rule, ?step, ?outcome, "step");
        }
        Step::Record(_) if !pass.told => {
            tracing::debug!(%resource, rule, ?step, ?outcome, "step");
        }
        _ => {
            let reason = Some(pass.cause.reason).filter(|reason| !reason.is_empty());
            let request_id = pass.cause.error.as_ref().and_then(|error| error.request_id.as_deref());
            let retry_in_seconds = retry_in.filter(|_| matches!(outcome, Outcome::Refused(_) | Outcome::Unknown(_)));
            tracing::info!(%resource, rule, ?step, ?outcome, id = pass.id, reason, request_id, retry_in_seconds, "step");
        }
    }
}
