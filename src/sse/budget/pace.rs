//! Pure: the pace that a tenant permits, learned from what it served between one refusal and the next.
//!
//! A tenant that answers 429 counts calls in some way of its own and tells only when to come again. From the end of one
//! pause to the end of the next it has served what it permits: that is the pace. A part of what a pause has let come in goes
//! out at once after it; then calls go out evenly, each of them a little faster than the one before, until the next refusal
//! corrects the pace.
//!
//! # Guarantees
//! - Until the first refusal there is no pace, and after a long time without one there is none again.
//! - Only calls that followed each other closely teach anything: who asks for little is not served little.
//! - After a pause, the next call is due at its end, not before.
//!
//! # Assumptions
//! - Times are those of one monotonic clock, as the time since some instant.

use std::time::Duration;

/// What each call adds to the pace, in calls a second: one in a hundred every second.
const GROWTH: f64 = 0.01;
/// The same for a first guess, which may be of a time when little was asked, and once nothing was refused for [`LONG`].
const GROWTH_ROUGH: f64 = 0.05;
/// How long a pace is held before it grows faster.
const LONG: Duration = Duration::from_secs(20);
/// A refusal so long ago says nothing any more.
const FORGOTTEN: Duration = Duration::from_mins(10);
/// Fewer calls than this teach no pace; they are counted on, where the tenant permits fewer at once.
const EVIDENCE: u32 = 5;
/// The part of a pause's permits that goes out at once after it. Without it, what a tenant keeps for bursts lies idle for
/// most of the time; with more, a tenant that keeps less than a pause's permits refuses most of them.
const AT_ONCE: f64 = 0.4;
/// After so long without a call, counting begins anew; or after two calls' time, where the pace is slow.
const IDLE: Duration = Duration::from_secs(1);
/// Nobody permits less than this, in calls a second: one has to go out for anything to be learned.
const LEAST: f64 = 0.1;

/// The pace of the calls to one tenant.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    /// Calls a second, once learned.
    rate: Option<f64>,
    /// How often the tenant has refused what went out at once: half of it goes out each time after.
    too_many: i32,
    /// How many calls may go out at once after the last pause, and how many of them are left.
    at_once: u32,
    left: u32,
    /// When the next call is due.
    next: Duration,
    /// Since when is counted: the first of calls that follow each other closely, or the end of the last pause.
    since: Option<Duration>,
    served: u32,
    /// When the last call began, or was due after a pause.
    last: Duration,
    /// When the last pause ended.
    resumed: Duration,
    /// The pace held the calls back when the tenant refused one: it is more than a first guess.
    tried: bool,
    /// What was counted until the last refusal: since when, and how many.
    before: Option<(Duration, u32)>,
}

impl Pace {
    /// When the next call is due; no pace holds it back where that is now or past.
    pub(super) const fn due(&self) -> Duration {
        if self.rate.is_some() { self.next } else { Duration::ZERO }
    }

    /// A call begins.
    pub(super) fn begins(&mut self, now: Duration) {
        if self.rate.is_some() && now.saturating_sub(self.resumed) > FORGOTTEN {
            *self = Self::default();
        }
        let interval = self.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate));
        if self.since.is_none() || now.saturating_sub(self.last) > IDLE.max(2 * interval) {
            self.since = Some(now);
            self.served = 0;
        }
        self.last = now;
        let Some(rate) = self.rate else { return };
        if self.left > 0 {
            self.left -= 1;
        } else {
            // Whoever comes late makes good for one interval, and not for more: that would be a burst.
            self.next = self.next.max(now.saturating_sub(interval)) + interval;
        }
        let held = now.saturating_sub(self.resumed);
        let rough = !self.tried || held > LONG;
        self.rate = Some(rate + if rough { GROWTH_ROUGH } else { GROWTH });
    }

    /// The tenant has served a call.
    pub(super) const fn served(&mut self) {
        self.served = self.served.saturating_add(1);
    }

    /// The tenant has refused a call, and nothing is to begin before `until`. `anew`: the call began after the last pause;
    /// else it belongs to what led to that pause.
    pub(super) fn refused(&mut self, anew: bool, now: Duration, until: Duration) {
        if anew || self.before.is_none() {
            self.before = Some((self.since.unwrap_or(now), std::mem::take(&mut self.served)));
        }
        let Some((since, served)) = self.before else { return };
        if anew && self.at_once > 0 && served <= self.at_once {
            // Those that went out at once were too many. That says nothing about the pace, nor does what belongs to it.
            self.too_many = self.too_many.saturating_add(1);
            self.before = Some((since, 0));
        } else if served >= EVIDENCE {
            // The pause counts: the tenant's permits have come in meanwhile.
            let took = until.saturating_sub(since).as_secs_f64().max(0.001);
            self.tried |= anew && self.rate.is_some();
            self.rate = Some((f64::from(served) / took).max(LEAST));
        } else if anew {
            self.tried |= self.rate.is_some();
            self.rate = self.rate.map(|rate| (rate / 2.0).max(LEAST));
        }
        if self.rate.is_some() {
            self.since = Some(until);
        } else if anew {
            (self.since, self.served) = (Some(since), served);
        }
        let came_in = self.rate.map_or(0.0, |rate| rate * until.saturating_sub(now).as_secs_f64());
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few calls; a cast saturates")]
        let at_once = (AT_ONCE * 0.5_f64.powi(self.too_many) * came_in) as u32;
        self.at_once = at_once;
        self.left = at_once;
        self.last = until;
        self.resumed = until;
        self.next = until;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A token bucket that answers in whole seconds when to come again.
    struct Tenant {
        rate: f64,
        burst: f64,
        permits: f64,
        at: f64,
    }

    impl Tenant {
        fn new(rate: f64, burst: f64) -> Self {
            Self { rate, burst, permits: burst, at: 0.0 }
        }

        fn call(&mut self, now: f64) -> Result<(), f64> {
            self.permits = (self.permits + (now - self.at) * self.rate).min(self.burst);
            self.at = now;
            if self.permits >= 1.0 {
                self.permits -= 1.0;
                return Ok(());
            }
            Err(((1.0 - self.permits) / self.rate).ceil().max(1.0))
        }
    }

    /// What came of calls that begin as soon as they may.
    struct Run {
        /// The part of the permitted calls that was used.
        used: f64,
        refused: u32,
        early: u32,
    }

    fn run(mut tenant: Tenant, seconds: f64, jitter: f64) -> Run {
        let mut pace = Pace::default();
        let (mut now, mut served, mut refused, mut early, mut told) = (0.0_f64, 0.0, 0, 0, 0.0);
        let mut last = 0.0;
        while now < seconds {
            let due = pace.due().as_secs_f64();
            early += u32::from(pace.rate.is_some() && due.max(now) < told);
            // Without a pace, it is the budget that waits for a pause to end.
            now = due.max(now + 0.002).max(told);
            let at = Duration::from_secs_f64(now);
            pace.begins(at);
            match tenant.call(now) {
                Ok(()) => {
                    served += 1.0;
                    last = now;
                    pace.served();
                }
                Err(wait) => {
                    refused += 1;
                    told = now + wait;
                    pace.refused(true, at, Duration::from_secs_f64(now + wait * (1.0 + jitter)));
                }
            }
        }
        Run { used: served / (tenant.burst + tenant.rate * last), refused, early }
    }

    #[test]
    fn ten_a_second_with_a_burst_of_ten_are_used_to_95_in_100_with_few_refusals() {
        for jitter in [0.0, 0.01, 0.02] {
            for seconds in [25, 30, 35, 60, 120] {
                let run = run(Tenant::new(10.0, 10.0), f64::from(seconds), jitter);
                assert!(run.used >= 0.955, "{} of what is permitted in {seconds} s", run.used);
                assert!(run.refused <= 3 + seconds / 10, "{} refusals in {seconds} s", run.refused);
            }
        }
    }

    #[test]
    fn a_part_of_what_a_pause_let_come_in_goes_out_at_once_and_then_calls_go_out_evenly() {
        let mut pace = Pace::default();
        let second = Duration::from_secs(1);
        for _ in 0..10 {
            pace.begins(Duration::ZERO);
            pace.served();
        }
        pace.refused(true, Duration::ZERO, second);
        let mut due = Vec::new();
        for _ in 0..7 {
            due.push(pace.due());
            pace.begins(pace.due());
            pace.served();
        }
        assert_eq!(due[..5], [second; 5], "four of ten, and the one that is due");
        let evenly = |pair: &[Duration]| pair[1].saturating_sub(pair[0]) > Duration::from_millis(90);
        assert!(due[4..].windows(2).all(evenly), "{due:?}");
    }

    #[test]
    fn a_tenant_that_refuses_what_goes_out_at_once_gets_half_of_it_next_and_keeps_its_pace() {
        let mut pace = Pace::default();
        let mut at = Duration::ZERO;
        for _ in 0..10 {
            pace.begins(at);
            pace.served();
        }
        pace.refused(true, at, Duration::from_secs(1));
        for left in [4, 2, 1, 0, 0] {
            assert_eq!(pace.left, left);
            at = pace.due();
            let rate = pace.rate;
            pace.begins(at);
            pace.refused(true, at, at + Duration::from_secs(1));
            if left > 0 {
                assert!(pace.rate >= rate, "{rate:?} became {:?}", pace.rate);
            }
        }
        assert!(pace.rate < Some(6.0), "{:?}", pace.rate);
    }

    #[test]
    fn what_was_refused_together_with_what_went_out_at_once_says_nothing_about_the_pace_either() {
        let second = Duration::from_secs(1);
        let mut pace = Pace { rate: Some(30.0), at_once: 12, left: 12, since: Some(second), ..Pace::default() };
        for _ in 0..8 {
            pace.begins(second);
        }
        (0..6).for_each(|_| pace.served());
        let rate = pace.rate;
        pace.refused(true, second, 2 * second);
        pace.refused(false, second, 2 * second);
        assert_eq!((pace.rate, pace.too_many), (rate, 1));
    }

    #[test]
    fn a_tenant_that_permits_a_few_at_once_is_learned_over_more_than_one_pause() {
        for burst in [1.0, 2.0, 3.0, 4.0] {
            let run = run(Tenant::new(10.0, burst), 60.0, 0.01);
            assert!(run.used >= 0.3, "{} used with a burst of {burst}", run.used);
            assert!(run.refused <= 20, "{} refused with a burst of {burst}", run.refused);
        }
    }

    #[test]
    fn a_refusal_after_few_calls_halves_the_pace_and_a_longer_pause_lets_more_out_at_once() {
        let second = Duration::from_secs(1);
        let mut pace = Pace { rate: Some(12.0), since: Some(second), served: 3, ..Pace::default() };
        pace.refused(true, second, 3 * second);
        assert_eq!((pace.rate, pace.tried), (Some(6.0), true));
        assert_eq!(pace.left, 4, "two fifths of the twelve of two seconds");
    }

    #[test]
    fn there_is_no_pace_before_the_first_refusal() {
        let mut pace = Pace::default();
        for _ in 0..100 {
            pace.begins(Duration::from_secs(1));
            pace.served();
            assert_eq!(pace.due(), Duration::ZERO);
        }
    }

    #[test]
    fn a_refusal_of_what_led_to_the_pause_prolongs_it_and_counts_nothing_anew() {
        let second = Duration::from_secs(1);
        let mut pace = Pace::default();
        pace.begins(Duration::ZERO);
        for _ in 0..10 {
            pace.served();
        }
        pace.refused(true, Duration::ZERO, second);
        assert_eq!((pace.due(), pace.rate), (second, Some(10.0)));
        pace.refused(false, second / 2, 2 * second);
        assert_eq!((pace.due(), pace.rate), (2 * second, Some(5.0)));
    }

    #[test]
    fn who_comes_late_makes_good_for_one_call_and_not_for_more() {
        let mut pace = Pace { rate: Some(10.0), ..Pace::default() };
        let now = Duration::from_mins(1);
        pace.begins(now);
        assert!(pace.due() <= now);
        pace.begins(now);
        assert!(pace.due() > now);
    }

    #[test]
    fn a_tenant_that_permits_more_is_found_out_and_a_refusal_is_forgotten_in_time() {
        let mut pace = Pace::default();
        for _ in 0..10 {
            pace.begins(Duration::ZERO);
            pace.served();
        }
        pace.refused(true, Duration::ZERO, Duration::from_secs(1));
        assert_eq!(pace.rate, Some(10.0));
        let mut calls = 0;
        while pace.due() < Duration::from_secs(40) {
            pace.begins(pace.due());
            calls += 1;
        }
        assert!(pace.rate > Some(20.0), "{:?} after {calls} calls", pace.rate);
        // The pause ended a second after the beginning.
        let ten_minutes = Duration::from_mins(10) + Duration::from_secs(1);
        pace.begins(ten_minutes);
        assert_ne!(pace.due(), Duration::ZERO);
        pace.begins(ten_minutes + Duration::from_nanos(1));
        assert_eq!(pace.due(), Duration::ZERO);
    }

    #[test]
    fn a_pace_that_was_held_for_long_grows_faster() {
        let mut pace = Pace { rate: Some(10.0), tried: true, ..Pace::default() };
        pace.begins(LONG);
        assert_eq!(pace.rate, Some(10.0 + GROWTH));
        pace.begins(LONG + Duration::from_nanos(1));
        assert_eq!(pace.rate, Some(10.0 + GROWTH + GROWTH_ROUGH));
    }

    #[test]
    fn calls_a_second_apart_follow_each_other_closely() {
        let mut pace = Pace::default();
        for second in 0..6 {
            pace.begins(Duration::from_secs(second));
            pace.served();
        }
        pace.refused(true, Duration::from_secs(5), Duration::from_secs(6));
        assert_eq!(pace.rate, Some(1.0));
    }

    #[test]
    fn who_asked_for_little_has_learned_nothing_by_a_refusal() {
        let mut pace = Pace::default();
        let mut now = Duration::ZERO;
        for _ in 0..20 {
            now += Duration::from_secs(30);
            pace.begins(now);
            pace.served();
        }
        pace.refused(true, now, now + Duration::from_secs(1));
        assert_eq!(pace.rate, None);
    }

    proptest! {
        /// Whatever the tenant permits: nothing begins before its time, and most of what is permitted is used.
        #[test]
        fn the_pace_of_any_tenant_is_found(rate in 5.0f64..60.0, more in 1.0f64..4.0, jitter in 0.0f64..0.02) {
            let run = run(Tenant::new(rate, (rate * more).ceil()), 120.0, jitter);
            prop_assert_eq!(run.early, 0);
            prop_assert!(run.used >= 0.93, "{} used, {} refused", run.used, run.refused);
            prop_assert!(run.refused <= 15, "{} refusals in two minutes", run.refused);
        }

        /// A tenant whose burst is smaller than what a pause lets through loses more in a pause; it is not left idle.
        #[test]
        fn a_tenant_with_a_small_burst_is_not_left_idle(rate in 10.0f64..20.0, part in 0.5f64..1.0) {
            let run = run(Tenant::new(rate, (rate * part).max(1.0)), 300.0, 0.02);
            prop_assert_eq!(run.early, 0);
            prop_assert!(run.used >= 0.75, "{} used, {} refused", run.used, run.refused);
        }
    }
}
