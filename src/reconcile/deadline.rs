//! Until when this process may write to the tenant.
//!
//! Who leads moves the deadline on; who writes asks it. It is a time on this process's own monotonic clock, strictly
//! before any other process may take the lease over, so that whoever obeys it never writes beside another.
//!
//! # Guarantees
//! - [`Deadline::within`] starts no call once the deadline has passed, and drops one that is in flight when it passes.
//! - A deadline that was ended stays so.

use std::future::pending;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// The deadline of this process. Clones are one deadline.
#[derive(Clone, Debug)]
pub struct Deadline(Option<watch::Sender<Until>>);

#[derive(Clone, Copy, Debug)]
enum Until {
    /// This process has not led yet.
    NotYet,
    At(Instant),
    Ended,
}

/// The deadline had passed, or passed while the call was in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed;

impl Deadline {
    /// There is none: this process is the only one.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Of a process that does not lead yet.
    #[must_use]
    pub fn not_yet() -> Self {
        Self(Some(watch::Sender::new(Until::NotYet)))
    }

    /// Moves it on.
    pub fn extend(&self, until: Instant) {
        if let Some(deadline) = &self.0 {
            deadline.send_modify(|of| {
                *of = match *of {
                    Until::NotYet => Until::At(until),
                    Until::At(at) => Until::At(at.max(until)),
                    Until::Ended => Until::Ended,
                }
            });
        }
    }

    /// Nothing is written from now on.
    pub fn end(&self) {
        if let Some(deadline) = &self.0 {
            deadline.send_replace(Until::Ended);
        }
    }

    /// Whether a write may start.
    #[must_use]
    pub fn may_write(&self) -> bool {
        self.0.as_ref().is_none_or(|deadline| match *deadline.borrow() {
            Until::At(at) => Instant::now() < at,
            Until::NotYet | Until::Ended => false,
        })
    }

    /// Makes a call, as long as it is allowed.
    ///
    /// # Errors
    /// [`Passed`]: what the call did is not known, unless [`Deadline::may_write`] had denied it before.
    pub async fn within<T>(&self, call: impl Future<Output = T>) -> Result<T, Passed> {
        tokio::select! {
            biased;
            () = self.passed() => Err(Passed),
            answer = call => Ok(answer),
        }
    }

    async fn passed(&self) {
        let Some(deadline) = &self.0 else { return pending().await };
        let mut changes = deadline.subscribe();
        loop {
            let until = *changes.borrow_and_update();
            let Until::At(at) = until else { return };
            if Instant::now() >= at {
                return;
            }
            tokio::select! {
                () = sleep_until(at) => {}
                // The sender is held by this very handle.
                _ = changes.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn without_an_election_every_call_is_made() {
        let deadline = Deadline::none();
        deadline.end();
        assert!(deadline.may_write());
        assert_eq!(deadline.within(async { sleep(3600 * SECOND).await }).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_starts_before_this_process_leads_nor_after_its_deadline() {
        let deadline = Deadline::not_yet();
        assert!(!deadline.may_write());
        assert_eq!(deadline.within(async { unreachable!("not even polled") }).await, Err::<(), _>(Passed));
        deadline.extend(Instant::now() + SECOND);
        assert!(deadline.may_write());
        sleep(SECOND).await;
        assert!(!deadline.may_write());
        assert_eq!(deadline.within(async { unreachable!("not even polled") }).await, Err::<(), _>(Passed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_in_flight_lives_as_long_as_the_deadline_is_moved_on() {
        let deadline = Deadline::not_yet();
        let begun = Instant::now();
        deadline.extend(begun + 10 * SECOND);
        let call = tokio::spawn({
            let deadline = deadline.clone();
            async move { deadline.within(pending::<()>()).await }
        });
        sleep(9 * SECOND).await;
        deadline.extend(begun + 19 * SECOND);
        // An older answer does not shorten it.
        deadline.extend(begun + 12 * SECOND);
        assert_eq!(call.await.unwrap(), Err(Passed));
        assert_eq!(begun.elapsed().as_secs(), 19);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_ended_drops_the_calls_at_once_and_stays_ended() {
        let deadline = Deadline::not_yet();
        let begun = Instant::now();
        deadline.extend(begun + 10 * SECOND);
        let ends = async {
            sleep(SECOND).await;
            deadline.end();
        };
        let (call, ()) = tokio::join!(deadline.within(pending::<()>()), ends);
        assert_eq!((call, begun.elapsed()), (Err(Passed), SECOND));
        deadline.extend(begun + 60 * SECOND);
        assert!(!deadline.may_write());
    }
}
