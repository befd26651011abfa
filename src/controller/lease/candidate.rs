//! Pure: what a candidate for the lease does next, from what it has seen and when, on its own monotonic clock.
//!
//! Times are durations since the process's own epoch. No clock is read here and nobody else's time is looked at: a lease
//! has expired when *this* candidate has seen it unchanged for its duration.
//!
//! # Guarantees
//! - A lease is taken over only with the version under which it was seen unchanged for its whole duration, so the API
//!   server refuses whoever has looked too early at something that is not true any more.
//! - Whoever leads may write until `renew_deadline` after it *sent* its last renewal that succeeded. Others can have seen
//!   that renewal only later, and wait for the whole duration: while it writes, nobody else does.
//!
//! # Assumptions
//! - Every process's clock counts seconds of the same length.
//! - A write that carries a version is refused unless the lease has that version.

use std::time::Duration;

#[cfg(test)]
mod tests;

/// The times of an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    /// How long others leave a lease alone that does not change.
    pub duration: Duration,
    /// How long after a renewal its holder may write; less than `duration`.
    pub renew_deadline: Duration,
    /// Between two renewals, and two tries.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// A lease as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Its `resourceVersion`: another one is a change.
    pub version: String,
    /// Who holds it; nobody once it was released.
    pub holder: Option<String>,
    /// How long its holder asks others to wait; ours if it does not say.
    pub duration: Option<Duration>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Move {
    /// Read the lease.
    Look,
    /// Write it in our name, under the version that was seen, or create it.
    Acquire,
    /// Write it again.
    Renew,
    /// Nothing before this time, unless the lease is seen to change.
    Wait(Duration),
    /// Stop: leadership is lost.
    Lost(Loss),
}

/// Why leadership is lost.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Loss {
    /// No renewal succeeded in time.
    #[error("the lease could not be renewed in time")]
    RanOut,
    /// Somebody else wrote or deleted it.
    #[error("the lease is not ours any more: its holder is {}", .0.as_deref().unwrap_or("nobody"))]
    Taken(Option<String>),
}

/// One candidate, leading or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    identity: String,
    timing: Timing,
    /// The lease as it was last seen; absent at first.
    seen: Option<Record>,
    /// Nothing was written since by us that may have changed it.
    certain: bool,
    /// When the lease may be taken, as far as was seen.
    free_at: Duration,
    /// When the last renewal that succeeded was sent, while we lead.
    renewed: Option<Duration>,
    look_at: Duration,
    write_at: Duration,
}

impl Candidate {
    /// One that has seen nothing yet. The identity is nobody else's.
    #[must_use]
    pub fn new(identity: String, timing: Timing) -> Self {
        Self {
            identity,
            timing,
            seen: None,
            certain: false,
            free_at: Duration::ZERO,
            renewed: None,
            look_at: Duration::ZERO,
            write_at: Duration::ZERO,
        }
    }

    /// What to do now.
    #[must_use]
    pub fn next(&self, now: Duration) -> Move {
        let deadline = self.may_write_until();
        if deadline.is_some_and(|deadline| now >= deadline) {
            return Move::Lost(Loss::RanOut);
        }
        let (at, step) = match deadline {
            _ if !self.certain => (self.look_at, Move::Look),
            Some(_) if !self.is_ours() => return Move::Lost(Loss::Taken(self.holder().map(str::to_owned))),
            Some(_) => (self.write_at, Move::Renew),
            None => (self.write_at.max(self.free_at), Move::Acquire),
        };
        if now >= at { step } else { Move::Wait(deadline.map_or(at, |deadline| at.min(deadline))) }
    }

    /// Until when we may write, while we lead.
    #[must_use]
    pub fn may_write_until(&self) -> Option<Duration> {
        self.renewed.map(|sent| sent + self.timing.renew_deadline)
    }

    /// Whether the lease is ours, as far as was seen.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.holder() == Some(&self.identity)
    }

    /// Who holds the lease, as far as was seen.
    #[must_use]
    pub fn holder(&self) -> Option<&str> {
        self.seen.as_ref()?.holder.as_deref()
    }

    /// Whether the lease is known as it is, as far as we have to do with it.
    #[must_use]
    pub const fn is_certain(&self) -> bool {
        self.certain
    }

    /// The lease is about to be read.
    pub fn looks(&mut self, now: Duration) {
        self.look_at = now + self.timing.retry;
    }

    /// The lease is about to be written: until there is an answer, it may be ours and may not.
    pub fn writes(&mut self, now: Duration) {
        self.certain = false;
        self.look_at = now + self.timing.retry;
        self.write_at = now + self.timing.retry;
    }

    /// The lease was seen, or seen to be absent.
    pub fn saw(&mut self, seen: Option<Record>, now: Duration) {
        self.certain = true;
        if self.seen == seen {
            return;
        }
        self.free_at = match &seen {
            // Whoever held it may not have noticed yet.
            None => self.free_at,
            Some(Record { holder: Some(holder), duration, .. }) if *holder != self.identity => {
                now.saturating_add(duration.unwrap_or(self.timing.duration))
            }
            Some(_) => now,
        };
        if self.renewed.is_none() {
            self.write_at = now;
        }
        self.seen = seen;
    }

    /// The write that was sent at that time succeeded, and this is the lease now.
    pub fn wrote(&mut self, record: Record, sent: Duration) {
        self.certain = true;
        self.seen = Some(record);
        self.renewed = self.renewed.max(Some(sent));
    }

    /// The write was refused because the lease is not as it was seen.
    pub fn refused(&mut self) {
        self.look_at = Duration::ZERO;
    }

    /// We do not lead any more, by our own wish.
    pub fn resign(&mut self) {
        self.renewed = None;
    }

    /// The same candidate by a clock that is set back by so much after as much time has passed, so that it is `now` again.
    /// What was to happen before that is told from what is still to come, and no more: candidates that go on alike are
    /// equal then, which keeps a model checker's states finite.
    pub fn set_back(&mut self, by: Duration, now: Duration) {
        let earlier = |at: Duration| Some(at.saturating_sub(by)).filter(|at| *at > now).unwrap_or_default();
        self.free_at = earlier(self.free_at);
        self.look_at = earlier(self.look_at);
        self.write_at = earlier(self.write_at);
        let over = now.saturating_sub(self.timing.renew_deadline);
        self.renewed = self.renewed.map(|sent| sent.saturating_sub(by).max(over));
    }

    /// The version under which the lease was last seen.
    pub fn seen_version(&mut self) -> Option<&mut String> {
        self.seen.as_mut().map(|seen| &mut seen.version)
    }
}
