//! The woken, handed on a few at a time: a list wakes all its resources at once, and ten thousand entries in the
//! controller's queue would cost more memory than the resources.
//!
//! # Guarantees
//! - Who was woken is handed on; one whose pass has not begun since it was handed on, once.
//! - Nobody waits for a pass that never begins: after [`PATIENCE`], the next ones go on.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{Stream, stream};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use crate::sse::credentials::Waiter;

/// How many are handed on whose passes have not begun.
const MOST: usize = 256;
/// How long is waited for one of those passes to begin.
const PATIENCE: Duration = Duration::from_millis(250);

/// Those that were handed on and whose passes have not begun; cheap to clone, and clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Woken(Arc<State>);

#[derive(Debug, Default)]
struct State {
    handed: Mutex<HashSet<Waiter>>,
    begun: Notify,
}

impl Woken {
    fn handed(&self) -> MutexGuard<'_, HashSet<Waiter>> {
        self.0.handed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pass over this one begins.
    pub(super) fn begins(&self, waiter: &Waiter) {
        let mut handed = self.handed();
        if handed.remove(waiter) && handed.len() == MOST / 2 {
            self.0.begun.notify_one();
        }
    }

    /// Those that come in, as soon as they may.
    pub(super) fn hand_on(&self, from: mpsc::UnboundedReceiver<Waiter>) -> impl Stream<Item = Waiter> + use<> {
        stream::unfold((self.clone(), from), |(woken, mut from)| async move {
            loop {
                if woken.handed().len() >= MOST && timeout(PATIENCE, woken.0.begun.notified()).await.is_err() {
                    // Some of them are gone, or run already.
                    woken.handed().clear();
                }
                let waiter = from.recv().await?;
                if woken.handed().insert(Arc::clone(&waiter)) {
                    return Some((waiter, (woken, from)));
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::{FutureExt as _, StreamExt as _};
    use tokio::time::Instant;

    use super::*;

    fn waiter(number: usize) -> Waiter {
        Waiter::from(format!("default/{number}"))
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_are_handed_on_and_then_as_passes_begin() {
        let (sender, receiver) = mpsc::unbounded_channel();
        for number in 0..2 * MOST {
            sender.send(waiter(number)).unwrap();
        }
        let woken = Woken::default();
        let mut stream = pin!(woken.hand_on(receiver));
        for number in 0..MOST {
            assert_eq!(stream.next().await, Some(waiter(number)));
        }
        let mut next = pin!(stream.next());
        assert!(next.as_mut().now_or_never().is_none());
        for number in 0..MOST / 2 {
            woken.begins(&waiter(number));
        }
        let begun = Instant::now();
        assert_eq!(next.await, Some(waiter(MOST)));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn one_whose_pass_has_not_begun_is_handed_on_once_and_again_after_that() {
        let (sender, receiver) = mpsc::unbounded_channel();
        let woken = Woken::default();
        let mut stream = pin!(woken.hand_on(receiver));
        for number in [1, 1, 2] {
            sender.send(waiter(number)).unwrap();
        }
        assert_eq!(stream.next().await, Some(waiter(1)));
        assert_eq!(stream.next().await, Some(waiter(2)));
        woken.begins(&waiter(1));
        sender.send(waiter(1)).unwrap();
        assert_eq!(stream.next().await, Some(waiter(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn those_whose_passes_never_begin_hold_nobody_for_long() {
        let (sender, receiver) = mpsc::unbounded_channel();
        for number in 0..=MOST {
            sender.send(waiter(number)).unwrap();
        }
        let begun = Instant::now();
        let woken = Woken::default();
        let all: Vec<_> = woken.hand_on(receiver).take(MOST + 1).collect().await;
        assert_eq!(all.len(), MOST + 1);
        assert!(begun.elapsed() <= 2 * PATIENCE, "{:?}", begun.elapsed());
    }
}
