//! How long a watch that failed waits before it is begun anew.
//!
//! An outage of the API server costs two such waits after its end: one until the server is called again, and one because it
//! no longer knows the version that the watch had come to. With kube's own delays, of half a minute doubled by chance, that
//! may be two minutes in which nobody looks.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;

/// The longest wait. An operator has three watches: that they come every five seconds burdens nobody.
const LONGEST: Duration = Duration::from_secs(5);

/// kube's delays, up to the longest of ours.
#[derive(Default)]
pub(super) struct Anew(DefaultBackoff);

impl Iterator for Anew {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.0.next()?.min(LONGEST))
    }
}

impl Backoff for Anew {
    fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_that_fails_is_begun_anew_for_ever_and_never_later_than_after_five_seconds() {
        let delays: Vec<_> = Anew::default().take(100).collect();
        assert_eq!(delays.len(), 100);
        assert!(delays.iter().all(|delay| *delay <= Duration::from_secs(5)), "{delays:?}");
        assert!(delays[0] < Duration::from_secs(2), "the first wait is short: {delays:?}");
        assert_eq!(delays[99], Duration::from_secs(5));
    }
}
