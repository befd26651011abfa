//! The end of a pass: what it waits for, and until when at the latest.

use std::time::Duration;

use kube::runtime::controller::Action;
use tokio::time::Instant;

use crate::backoff;
use crate::reconcile::facts::{Class, Credential};
use crate::reconcile::pass::Pass;
use crate::reconcile::step::Verdict;

impl Pass {
    /// Ends the pass: what it waits for, and until when at the latest.
    pub(in crate::reconcile) fn end(&mut self, verdict: Verdict) -> Action {
        // An unused permit goes back.
        self.permit = None;
        let looked = self.looked.take().map(Box::new);
        self.remember(|memory, _| match verdict {
            // A pass in between has not looked, and has not made anything old either.
            Verdict::Permit => memory.looked = looked.or(memory.looked.take()),
            _ => memory.looked = None,
        });
        match verdict {
            Verdict::Released => {
                if self.is_stray() {
                    self.delete_stray_later(1);
                }
                Action::await_change()
            }
            // No pass will come for it.
            Verdict::Permit if self.is_stray() => {
                self.delete_stray_later(0);
                Action::await_change()
            }
            Verdict::Suspended => {
                self.context.lists.forget(&self.waiter);
                self.requeue()
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
                    let (count, _) = if due {
                        memory.count(Class::Server, ("OutcomeUnknown", None), false, &yields)
                    } else {
                        (0, 0)
                    };
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
            Verdict::Secret(crate::reconcile::facts::SecretProblem::Invalid) | Verdict::InvalidSpec => {
                Action::requeue(self.context.settings.resync)
            }
            _ => self.requeue(),
        }
    }

    /// How long until the next try, in seconds, while a refusal is waited out.
    pub(in crate::reconcile) fn retry_in(&mut self) -> Option<u64> {
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
