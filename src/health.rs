//! Whether the process is alive and ready, as the parts of it tell.
//!
//! # Expected flow
//! A loop that has to go on forever polls [`Health::pulse`] with its other streams: the pulse beats only while the loop
//! does. [`Health::live`] and [`Health::ready`] say what is to be answered to whoever probes.
//!
//! # Guarantees
//! - An outage of the API server or of a tenant makes nobody dead: only a loop that stands still does.
//! - What was synced once stays ready: a watch that is begun anew works from what it knows.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{Stream, stream};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often a loop that goes on says so.
const BEAT: Duration = Duration::from_secs(5);
/// A loop that has said nothing for so long stands still.
const STILL: Duration = Duration::from_secs(45);

/// A loop that has to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Part {
    Runtime,
    Controller,
    Secrets,
}

impl Part {
    const ALL: [Self; 3] = [Self::Runtime, Self::Controller, Self::Secrets];

    const fn name(self) -> &'static str {
        match self {
            Self::Runtime => "the runtime",
            Self::Controller => "the controller's loop",
            Self::Secrets => "the watch of Secrets",
        }
    }
}

/// What has to be known before the operator can work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Watch {
    MfaServers,
    Secrets,
}

impl Watch {
    const ALL: [Self; 2] = [Self::Secrets, Self::MfaServers];

    const fn name(self) -> &'static str {
        match self {
            Self::MfaServers => "MfaServers",
            Self::Secrets => "Secrets",
        }
    }
}

/// What the parts have told; cheap to clone, and clones are the same.
#[derive(Clone, Debug)]
pub struct Health(Arc<State>);

#[derive(Debug)]
struct State {
    start: Instant,
    /// Milliseconds from `start` to the last beat, plus one; 0 before the first.
    beats: [AtomicU64; 3],
    /// What has not been listed yet: of a namespace, or of the whole cluster.
    unlisted: Mutex<BTreeSet<(Watch, Option<String>)>>,
    standby: AtomicBool,
    stopping: AtomicBool,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// Nothing told yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(State {
            start: Instant::now(),
            beats: Default::default(),
            unlisted: Mutex::new(Watch::ALL.map(|watch| (watch, None)).into()),
            standby: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        }))
    }

    /// Beats for as long as it is polled. From the first beat on, the loop that polls it has to go on.
    pub fn pulse(&self, part: Part) -> impl Stream<Item = ()> + Send + use<> {
        let mut interval = interval(BEAT);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        stream::unfold((self.clone(), interval), move |(health, mut interval)| async move {
            interval.tick().await;
            let millis = u64::try_from(health.0.start.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
            health.0.beats[part as usize].store(millis + 1, Ordering::Relaxed);
            Some(((), (health, interval)))
        })
    }

    /// These are to be listed before the operator is ready, namespaces or the whole cluster, and no others.
    pub fn expect(&self, watch: Watch, parts: impl IntoIterator<Item = Option<String>>) {
        let mut unlisted = self.unlisted();
        unlisted.retain(|(of, _)| *of != watch);
        unlisted.extend(parts.into_iter().map(|part| (watch, part)));
    }

    /// All that this watch shows there is known.
    pub fn synced(&self, watch: Watch, part: Option<&str>) {
        self.unlisted().remove(&(watch, part.map(str::to_owned)));
    }

    fn unlisted(&self) -> MutexGuard<'_, BTreeSet<(Watch, Option<String>)>> {
        self.0.unlisted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another process leads and this one is ready to take over.
    pub fn stand_by(&self, standby: bool) {
        self.0.standby.store(standby, Ordering::Relaxed);
    }

    /// The loops end, as they should.
    pub fn stopping(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether all loops go on.
    ///
    /// # Errors
    /// Which one does not.
    pub fn live(&self) -> Result<(), String> {
        if self.0.stopping.load(Ordering::Relaxed) {
            return Ok(());
        }
        let now = self.0.start.elapsed();
        for part in Part::ALL {
            let Some(last) = self.0.beats[part as usize].load(Ordering::Relaxed).checked_sub(1) else { continue };
            let age = now.saturating_sub(Duration::from_millis(last));
            if age > STILL {
                return Err(format!("{} stands still for {} s", part.name(), age.as_secs()));
            }
        }
        Ok(())
    }

    /// Whether the operator works, or stands by; the word says which.
    ///
    /// # Errors
    /// What is waited for.
    pub fn ready(&self) -> Result<&'static str, String> {
        if self.0.stopping.load(Ordering::Relaxed) {
            return Err("stopping".to_owned());
        }
        if self.0.standby.load(Ordering::Relaxed) {
            return Ok("standby");
        }
        let unlisted = self.unlisted();
        let Some(watch) = Watch::ALL.into_iter().find(|watch| unlisted.iter().any(|(of, _)| of == watch)) else {
            return Ok("ok");
        };
        let namespaces = unlisted.iter().filter(|(of, _)| *of == watch).filter_map(|(_, part)| part.as_deref());
        let namespaces: Vec<&str> = namespaces.collect();
        let place = if namespaces.is_empty() { String::new() } else { format!(" in {}", namespaces.join(", ")) };
        Err(format!("not ready: {} have not been listed yet{place} (the log says why, if it takes long)", watch.name()))
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    #[test]
    fn ready_is_who_has_synced_all_or_stands_by_and_does_not_stop() {
        let health = Health::new();
        assert!(health.ready().unwrap_err().contains("Secrets"));
        health.synced(Watch::Secrets, None);
        assert!(health.ready().unwrap_err().contains("MfaServers"));
        health.stand_by(true);
        assert_eq!(health.ready(), Ok("standby"));
        health.stand_by(false);
        assert!(health.ready().is_err());
        health.synced(Watch::MfaServers, None);
        assert_eq!(health.ready(), Ok("ok"));
        health.stopping();
        assert_eq!(health.ready(), Err("stopping".to_owned()));
    }

    #[test]
    fn ready_is_who_has_listed_every_namespace_and_else_they_are_named() {
        let health = Health::new();
        let parts = || ["a", "b"].map(|namespace| Some(namespace.to_owned()));
        health.expect(Watch::MfaServers, parts());
        health.expect(Watch::Secrets, parts());
        health.synced(Watch::Secrets, Some("a"));
        let sentence = "not ready: Secrets have not been listed yet in b (the log says why, if it takes long)";
        assert_eq!(health.ready(), Err(sentence.to_owned()));
        health.synced(Watch::Secrets, Some("b"));
        assert!(health.ready().unwrap_err().starts_with("not ready: MfaServers have not been listed yet in a, b ("));
        health.synced(Watch::MfaServers, Some("a"));
        health.synced(Watch::MfaServers, Some("b"));
        assert_eq!(health.ready(), Ok("ok"));
        // Secrets that nobody watches are not waited for.
        let health = Health::new();
        health.expect(Watch::Secrets, []);
        health.synced(Watch::MfaServers, None);
        assert_eq!(health.ready(), Ok("ok"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_is_not_polled_any_more_is_noticed() {
        let health = Health::new();
        let mut controller = std::pin::pin!(health.pulse(Part::Controller));
        let mut secrets = std::pin::pin!(health.pulse(Part::Secrets));
        tokio::time::advance(STILL * 10).await;
        assert_eq!(health.live(), Ok(()), "what has not begun is not late");
        for _ in 0..20 {
            controller.next().await;
            secrets.next().await;
            assert_eq!(health.live(), Ok(()));
        }
        for _ in 0..20 {
            secrets.next().await;
        }
        let sentence = health.live().unwrap_err();
        assert!(sentence.starts_with("the controller's loop stands still for "), "{sentence}");
        controller.next().await;
        assert_eq!(health.live(), Ok(()), "it goes on");
        tokio::time::advance(STILL * 2).await;
        health.stopping();
        assert_eq!(health.live(), Ok(()), "what ends as it should is not dead");
    }
}
