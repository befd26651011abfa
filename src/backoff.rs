//! Pure: from a class of refusal to the next delay.
//!
//! Nothing is ever given up and nothing is retried in a tight loop: every class has a first delay that doubles up to a
//! last one. The figures are those of `docs/conditions.md`.

use std::time::Duration;

use crate::reconcile::facts::Class;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// How many times running the same decoded 500 must come before it is taken for a refusal of this object.
pub const SAME_SERVER_ERROR_LIMIT: u32 = 5;

/// The delay before the next try, without jitter.
///
/// `failures` counts the refusals of this class running, this one included, and `same` how many of them were the same
/// decoded answer. `resync` is `--resync-interval`; `retry_after` is what the API asked for, and is honoured in full.
#[must_use]
pub fn delay(class: Class, failures: u32, same: u32, resync: Duration, retry_after: Option<Duration>) -> Duration {
    let nominal = match class {
        Class::Credential | Class::Forbidden => doubling(MINUTE, 30 * MINUTE, failures),
        Class::Input => resync,
        Class::Conflict => doubling((10 * MINUTE).min(resync), resync, failures),
        Class::Referenced => doubling(MINUTE, 15 * MINUTE, failures),
        Class::Throttled | Class::Busy => doubling(2 * SECOND, MINUTE, failures),
        Class::Server if same >= SAME_SERVER_ERROR_LIMIT => 30 * MINUTE,
        Class::Server => doubling(5 * SECOND, 10 * MINUTE, failures),
    };
    // Asked to wait for less than a second, or until a time that has passed: that is no way to wait.
    let asked = retry_after.filter(|asked| *asked >= SECOND);
    asked.map_or(nominal, |asked| if class == Class::Throttled { asked } else { asked.max(nominal) })
}

/// `first`, doubled with every failure after the first, up to `last`.
#[must_use]
pub fn doubling(first: Duration, last: Duration, failures: u32) -> Duration {
    first.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1).min(16))).min(last)
}

/// The delay with its jitter: between the delay and a fifth more, never less, for `random` in `0.0..1.0`.
#[must_use]
pub fn jittered(delay: Duration, random: f64) -> Duration {
    delay + delay.mul_f64(random.clamp(0.0, 1.0) / 5.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESYNC: Duration = Duration::from_mins(10);

    fn seconds(class: Class, failures: u32) -> u64 {
        delay(class, failures, 1, RESYNC, None).as_secs()
    }

    #[test]
    fn every_class_starts_and_ends_where_the_table_says() {
        for (class, first, last) in [
            (Class::Credential, 60, 1800),
            (Class::Forbidden, 60, 1800),
            (Class::Input, 600, 600),
            (Class::Conflict, 600, 600),
            (Class::Referenced, 60, 900),
            (Class::Throttled, 2, 60),
            (Class::Busy, 2, 60),
            (Class::Server, 5, 600),
        ] {
            assert_eq!(seconds(class, 1), first, "{class:?}");
            assert_eq!(seconds(class, 100), last, "{class:?}");
        }
        assert_eq!(seconds(Class::Server, 3), 20);
    }

    #[test]
    fn the_same_decoded_500_five_times_running_is_taken_for_a_refusal() {
        assert_eq!(delay(Class::Server, 5, 4, RESYNC, None).as_secs(), 80);
        assert_eq!(delay(Class::Server, 5, 5, RESYNC, None).as_secs(), 1800);
    }

    #[test]
    fn a_conflict_is_tried_after_ten_minutes_and_then_every_resync() {
        let hour = Duration::from_hours(1);
        let minutes = |failures| delay(Class::Conflict, failures, 1, hour, None).as_secs() / 60;
        assert_eq!([minutes(1), minutes(2), minutes(3), minutes(4)], [10, 20, 40, 60]);
    }

    #[test]
    fn what_the_api_asks_for_is_honoured_in_full() {
        let asked = Some(Duration::from_secs(90));
        assert_eq!(delay(Class::Throttled, 9, 1, RESYNC, asked).as_secs(), 90);
        assert_eq!(delay(Class::Throttled, 2, 1, RESYNC, Some(Duration::ZERO)).as_secs(), 4);
        assert_eq!(delay(Class::Server, 1, 1, RESYNC, asked).as_secs(), 90);
        assert_eq!(delay(Class::Server, 9, 1, RESYNC, asked).as_secs(), 600);
    }

    #[test]
    fn jitter_never_shortens_a_delay() {
        assert_eq!(jittered(RESYNC, 0.0), RESYNC);
        assert_eq!(jittered(RESYNC, 1.0).as_secs(), 720);
    }
}
