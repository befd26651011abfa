//! How many calls a tenant bears: a token bucket, a limit on the calls in flight that adapts to the tenant, pauses, and the
//! pace that is learned from them.
//!
//! # Guarantees
//! - First come, first served: nobody overtakes one who waits, [`Budget::try_acquire`] included. Only a call that
//!   finishes what a turn began comes next to the first of the queue ([`Budget::acquire_next`]).
//! - Nothing is taken before everything is free, so a dropped [`Budget::acquire`] loses nothing.
//! - A pause starts no call; it never ends earlier than the latest instant that was asked for.
//!
//! # Caveats
//! A congestion halves the limit once, not once for each of the calls that met it: what was begun before the limit was
//! halved says nothing about the new one.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use self::pace::Pace;

mod pace;
#[cfg(test)]
mod tests;

/// How many successes running raise the limit by one.
const SUCCESSES_TO_GROW: u32 = 20;

/// What a tenant is thought to bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `--api-qps`: calls a second; 0 is unlimited.
    pub qps: u32,
    /// `--api-burst`: calls at once after a rest; at least one.
    pub burst: u32,
    /// `--api-max-in-flight`: calls at a time at most; at least one.
    pub max_in_flight: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { qps: 20, burst: 40, max_in_flight: 8 }
    }
}

/// The runtime's clock, so that a test that pauses time pauses this too.
#[derive(Clone, Copy, Debug, Default)]
struct RuntimeClock;

impl Clock for RuntimeClock {
    type Instant = std::time::Instant;

    fn now(&self) -> Self::Instant {
        Instant::now().into_std()
    }
}

type Rate = RateLimiter<NotKeyed, InMemoryState, RuntimeClock, NoOpMiddleware<std::time::Instant>>;

/// The calls that may be made towards a tenant, or with a credential whose tenant is not known.
#[derive(Debug)]
pub struct Budget {
    rate: Option<Rate>,
    /// Held by the one who waits for room; the others queue for it.
    turn: tokio::sync::Mutex<()>,
    room: Notify,
    state: Mutex<State>,
    most: usize,
    /// What the pace's times count from.
    epoch: Instant,
}

#[derive(Debug)]
struct State {
    in_flight: usize,
    limit: usize,
    successes: u32,
    /// How often the limit was halved.
    halvings: u64,
    paused_until: Option<Instant>,
    pace: Pace,
    /// How often the tenant has refused a call that began after the refusal before.
    refusals: u64,
}

/// What keeps a call from being made.
enum Blocked {
    /// Too many are in flight.
    Full,
    /// It is not time yet.
    Until(Instant),
}

impl Budget {
    /// A budget of these limits, which starts at its largest.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        let most = limits.max_in_flight.max(1);
        let burst = NonZeroU32::new(limits.burst).unwrap_or(NonZeroU32::MIN);
        let rate = NonZeroU32::new(limits.qps)
            .map(|qps| Rate::direct_with_clock(Quota::per_second(qps).allow_burst(burst), RuntimeClock));
        let state = State {
            in_flight: 0,
            limit: most,
            successes: 0,
            halvings: 0,
            paused_until: None,
            pace: Pace::default(),
            refusals: 0,
        };
        Arc::new(Self {
            rate,
            turn: tokio::sync::Mutex::default(),
            room: Notify::new(),
            state: Mutex::new(state),
            most,
            epoch: Instant::now(),
        })
    }

    /// The right to one call, if it may be made now and nobody waits for one.
    #[must_use]
    pub fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let _turn = self.turn.try_lock().ok()?;
        self.take().ok()
    }

    /// The right to one call, when its turn has come. Dropping the future gives its place up and loses nothing.
    pub async fn acquire(self: Arc<Self>) -> Permit {
        let turn = self.turn.lock().await;
        let permit = Arc::clone(&self).acquire_next().await;
        drop(turn);
        permit
    }

    /// The same beside the queue: for whoever has had a turn, and has to make one more call for the first to be of use.
    pub async fn acquire_next(self: Arc<Self>) -> Permit {
        loop {
            // Listening begins before looking, so that a place that becomes free in between is not missed.
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            match self.take() {
                Ok(permit) => return permit,
                Err(Blocked::Full) => room.await,
                Err(Blocked::Until(instant)) => sleep_until(instant).await,
            }
        }
    }

    /// Starts no call before this instant.
    pub fn pause_until(&self, instant: Instant) {
        let mut state = self.state();
        state.paused_until = state.paused_until.max(Some(instant));
    }

    /// The tenant has refused the call that `permit` was for as one too many, and nothing is to begin before `until`: a
    /// pause, from which the tenant's pace is learned. Only then is the call's place free: whoever waits for it finds the
    /// pause. The permit may be of another budget, from before the credential's tenant was known.
    pub fn throttled(&self, permit: Permit, until: Instant) {
        let mut state = self.state();
        state.paused_until = state.paused_until.max(Some(until));
        let until = state.paused_until.unwrap_or(until);
        // A call that began before the last refusal was known belongs to that one.
        let anew = permit.refusals == state.refusals;
        state.refusals += u64::from(anew);
        let since = |instant: Instant| instant.saturating_duration_since(self.epoch);
        state.pace.refused(anew, since(Instant::now()), since(until));
        drop(state);
        permit.congested();
    }

    /// When the pause ends, while there is one.
    #[must_use]
    pub fn paused_until(&self) -> Option<Instant> {
        self.state().paused_until.filter(|until| *until > Instant::now())
    }

    /// How many calls may be in flight at present.
    #[must_use]
    pub fn in_flight_limit(&self) -> usize {
        self.state().limit
    }

    /// Takes the right to a call, or says what keeps it; the rate comes last, since it cannot be given back.
    fn take(self: &Arc<Self>) -> Result<Permit, Blocked> {
        let mut state = self.state();
        if state.in_flight >= state.limit {
            return Err(Blocked::Full);
        }
        if let Some(until) = state.paused_until {
            if until > Instant::now() {
                return Err(Blocked::Until(until));
            }
            state.paused_until = None;
        }
        let due = self.epoch + state.pace.due();
        let now = Instant::now();
        if due > now {
            return Err(Blocked::Until(due));
        }
        if let Some(rate) = &self.rate {
            rate.check().map_err(|not| Blocked::Until(Instant::from_std(not.earliest_possible())))?;
        }
        state.pace.begins(now.saturating_duration_since(self.epoch));
        state.in_flight += 1;
        Ok(Permit { budget: Arc::clone(self), halvings: state.halvings, refusals: state.refusals })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to one call. Dropped without a word, it says nothing about the tenant.
#[derive(Debug)]
#[must_use = "a permit that is dropped gives its place back"]
pub struct Permit {
    budget: Arc<Budget>,
    /// How often the limit had been halved when the call began.
    halvings: u64,
    /// How often the tenant had refused a call then.
    refusals: u64,
}

impl Permit {
    /// The tenant answered as it should.
    pub fn success(self) {
        let mut state = self.budget.state();
        state.pace.served();
        state.successes += 1;
        if state.successes >= SUCCESSES_TO_GROW {
            state.successes = 0;
            state.limit = (state.limit + 1).min(self.budget.most);
        }
    }

    /// The tenant was too busy: a write lock or a 504. A 429 is for [`Budget::throttled`].
    pub fn congested(self) {
        let mut state = self.budget.state();
        if state.halvings == self.halvings {
            state.halvings += 1;
            state.limit = (state.limit / 2).max(1);
        }
        state.successes = 0;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.state().in_flight -= 1;
        // Also wakes for a limit that has just grown: one who waits looks again, and wakes the next when it is done.
        self.budget.room.notify_one();
    }
}
