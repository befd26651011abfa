//! What the driver tells the metrics: how a pass goes, in words of closed sets.
//!
//! Nothing here is asked by the rules: a pass does the same with and without it.

use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::facts::{Class, CredentialProblem, Facts, List, Outcome, Read, Sameness, Secrets, Tenant};
use super::pass::Pass;
use super::step::{Step, Verdict};
use crate::conditions::{self, READY, State};
use crate::metrics::{Condition, Waiting};
use crate::sse;

#[cfg(test)]
mod tests;

/// A creation's time has no fractions: a younger resource is taken to be as old as this process knows it.
const OLD: Duration = Duration::from_secs(2);

/// What is remembered of a resource to measure it.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// The generation, and since when it is wanted; `None` once it was ready, or was ready before this process came.
    generation: Option<(i64, Option<Instant>)>,
    /// It was in order, is not any more, and has not been written since.
    drifted: bool,
}

impl Pass {
    /// A pass begins.
    pub(super) fn measure_begin(&mut self) {
        let generation = self.generation;
        let ready = conditions::current(&self.status().conditions, READY, generation)
            .is_some_and(|condition| condition.status == State::True.as_str());
        let created = self.server.metadata.creation_timestamp.as_ref().map(|time| time.0);
        self.remember(|memory, _| {
            if memory.measured.generation.is_some_and(|(of, _)| of == generation) {
                return;
            }
            let now = Instant::now();
            let age = created.filter(|_| generation == 1).and_then(|created| age(created, Timestamp::now()));
            let since = age.and_then(|age| now.checked_sub(age)).unwrap_or(now);
            memory.measured.generation = Some((generation, (!ready).then_some(since)));
        });
    }

    /// A step is about to be performed.
    pub(super) fn measure_facts(&mut self) {
        if is_drift(&self.facts) && !self.remember(|memory, _| std::mem::replace(&mut memory.measured.drifted, true)) {
            self.context.metrics.found_drift();
        }
    }

    /// A step was performed.
    pub(super) fn measure_step(&mut self, step: Step, outcome: Outcome) {
        let unchanged = matches!(outcome, Outcome::Recorded(_)) && !self.told;
        let came = if unchanged { "unchanged" } else { outcome_name(outcome) };
        self.context.metrics.stepped(step_name(step), came);
        let wrote = matches!(outcome, Outcome::Replaced | Outcome::Created | Outcome::CreatedUnseen);
        if wrote && self.remember(|memory, _| std::mem::take(&mut memory.measured.drifted)) {
            self.context.metrics.corrected_drift();
        }
        if outcome == Outcome::Recorded(Verdict::InOrder) {
            let generation = self.generation;
            let since = self.remember(|memory, _| {
                memory.measured.drifted = false;
                let measured = memory.measured.generation.as_mut().filter(|(of, _)| *of == generation);
                measured.and_then(|(_, since)| since.take())
            });
            if let Some(since) = since {
                self.context.metrics.became_ready(since.elapsed());
            }
        }
    }

    /// A pass has ended: what is known of the resource by now. A resource that is gone is known no more, and its pass may
    /// end after that was seen.
    pub(super) fn measure_end(&mut self, verdict: Verdict, begun: Instant) {
        let last = self.remember(|memory, _| memory.class());
        let class = self.waited_class(verdict, last);
        let waiting = class.map(|class| Waiting { class: class_name(class), due: self.next_try(class) });
        let conditions = self.status().conditions.iter().filter_map(labels).collect();
        let metrics = &self.context.metrics;
        metrics.passed(verdict_name(verdict), begun.elapsed());
        metrics.know(&self.waiter, conditions, waiting);
        if !self.context.peers.knows(&self.waiter) {
            metrics.forget(&self.waiter);
        }
    }

    /// The class of what keeps the resource from being in order, where that is tried again by itself.
    fn waited_class(&self, verdict: Verdict, last: Option<Class>) -> Option<Class> {
        match verdict {
            Verdict::Refused(class) => Some(class),
            Verdict::Credential(CredentialProblem::Rejected | CredentialProblem::TokenRejected) => {
                Some(Class::Credential)
            }
            Verdict::Credential(CredentialProblem::TokenUnavailable | CredentialProblem::TokenUnavailableLong)
            | Verdict::OutcomeUnknown => Some(Class::Server),
            Verdict::Delay => last,
            Verdict::List => match self.facts.list {
                List::Failed(class) | List::FailedLong(class) => Some(class),
                List::Pending | List::Incomplete | List::Complete => None,
            },
            Verdict::InOrder
            | Verdict::Suspended
            | Verdict::InvalidSpec
            | Verdict::Secret(_)
            | Verdict::Credential(CredentialProblem::Secret(_) | CredentialProblem::Expired)
            | Verdict::TenantMismatch
            | Verdict::DuplicateClaim
            | Verdict::NameTaken
            | Verdict::AdoptionRefused
            | Verdict::DriftReported
            | Verdict::Flapping
            | Verdict::Adopted
            | Verdict::Token
            | Verdict::Permit
            | Verdict::Kube
            | Verdict::Leader
            | Verdict::Released => None,
        }
    }

    /// What ends the wait: the resource's own delay, the credential's, or else the folder's next list.
    fn next_try(&mut self, class: Class) -> Option<Instant> {
        let own = self.remember(|memory, _| memory.delay.as_ref().map(|delay| delay.until));
        let shared = match class {
            Class::Credential | Class::Forbidden => self.context.credentials.next_try(&self.key, self.folder),
            _ => self.context.credentials.next_probe(&self.key),
        };
        let list = self.context.lists.next_try(&self.key, self.folder);
        // A delay that is over is not what is waited for, unless there is nothing else.
        let now = Instant::now();
        let known = [own, shared, list];
        known.into_iter().flatten().find(|until| *until > now).or_else(|| known.into_iter().flatten().next())
    }
}

/// How old a resource of that creation time is, where that can be told.
fn age(created: Timestamp, now: Timestamp) -> Option<Duration> {
    Duration::try_from(now.duration_since(created)).ok().filter(|age| *age >= OLD)
}

/// What was in order is not any more, and neither the spec nor the Secrets have changed.
fn is_drift(facts: &Facts) -> bool {
    let changed =
        facts.fields == Sameness::Differs || (facts.echo == Sameness::Differs && facts.versions == Sameness::Same);
    let gone = facts.read == Read::Absent && facts.tenant != Tenant::Unsure;
    let looked = facts.bound() && facts.found == super::facts::Found::Ours;
    facts.id && facts.was_in_order && !facts.deleting && !facts.suspended && ((looked && changed) || gone)
}

/// The condition as labels. A status can be written by others too: what is in none of our sets is `Other`.
fn labels(condition: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition) -> Option<Condition> {
    static REASONS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        let ours = conditions::reason::ALL.iter().copied();
        ours.chain(sse::Reason::ALL.iter().map(|reason| reason.as_str())).collect()
    });
    let find = |set: &[&'static str], text: &str| set.iter().copied().find(|known| *known == text);
    Some(Condition {
        condition: find(&conditions::TYPES, &condition.type_)?,
        status: find(&State::ALL.map(State::as_str), &condition.status)?,
        reason: find(&REASONS, &condition.reason).unwrap_or("Other"),
    })
}

/// The class as a label.
pub(super) const fn class_name(class: Class) -> &'static str {
    match class {
        Class::Credential => sse::Class::Credential,
        Class::Forbidden => sse::Class::Forbidden,
        Class::Input => sse::Class::Input,
        Class::Conflict => sse::Class::Conflict,
        Class::Referenced => sse::Class::Referenced,
        Class::Throttled => sse::Class::Throttled,
        Class::Busy => sse::Class::Busy,
        Class::Server => sse::Class::Server,
    }
    .as_str()
}

/// What a pass ended with, as a label.
pub(super) const fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::InOrder => "in_order",
        Verdict::Suspended => "suspended",
        Verdict::InvalidSpec => "invalid_spec",
        Verdict::Secret(_) => "secret",
        Verdict::Credential(_) => "credential",
        Verdict::TenantMismatch => "tenant_mismatch",
        Verdict::DuplicateClaim => "duplicate_claim",
        Verdict::NameTaken => "name_taken",
        Verdict::AdoptionRefused => "adoption_refused",
        Verdict::DriftReported => "drift_reported",
        Verdict::Flapping => "flapping",
        Verdict::Refused(_) => "refused",
        Verdict::OutcomeUnknown => "outcome_unknown",
        Verdict::Adopted => "adopted",
        Verdict::List => "waits_for_list",
        Verdict::Token => "waits_for_token",
        Verdict::Permit => "waits_for_turn",
        Verdict::Delay => "waits_for_delay",
        Verdict::Kube => "kube_failed",
        Verdict::Leader => "not_leading",
        Verdict::Released => "released",
    }
}

/// A pass that did not end by itself, as a label beside those of [`verdict_name`].
pub(super) const ENDLESS: &str = "endless";

/// A step, as a label.
pub(super) const fn step_name(step: Step) -> &'static str {
    match step {
        Step::ReadLive => "read_live",
        Step::ReadSecrets => "read_secrets",
        Step::ReadDefinition => "read_definition",
        Step::TakePermit => "take_permit",
        Step::Claim => "claim",
        Step::AddFinalizer => "add_finalizer",
        Step::Create => "create",
        Step::Get => "get",
        Step::Replace => "replace",
        Step::Delete => "delete",
        Step::DeleteStray => "delete_stray",
        Step::Adopt => "adopt",
        Step::Record(_) => "record",
        Step::DropFinalizer => "drop_finalizer",
        Step::Done(_) => "done",
    }
}

/// What came of a step, as a label. The step says what was done, so most of it is `done`.
pub(super) const fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Looked(..)
        | Outcome::DefinitionSeen(_)
        | Outcome::Granted
        | Outcome::Claimed
        | Outcome::Finalized
        | Outcome::Created
        | Outcome::Present { .. }
        | Outcome::Replaced
        | Outcome::Adopted
        | Outcome::Deleted
        | Outcome::Recorded(_)
        | Outcome::Released
        | Outcome::SecretsRead { secrets: Secrets::Ready | Secrets::Unread, .. } => "done",
        Outcome::SecretsRead { secrets: Secrets::Broken(_), .. } => "unusable",
        Outcome::KubeFailed => "kube_failed",
        Outcome::Conflicted => "conflicted",
        Outcome::Gone => "gone",
        Outcome::Queued => "queued",
        Outcome::CreatedUnseen => "unseen",
        Outcome::Unknown(_) => "unknown",
        Outcome::Refused(_) => "refused",
        Outcome::Refreshing => "refreshing",
        Outcome::NotLeading => "not_leading",
        Outcome::Absent => "absent",
    }
}
