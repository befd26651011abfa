use std::time::Duration;

use futures::FutureExt as _;
use proptest::prelude::*;
use tokio::time::{advance, timeout};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn budget(qps: u32, burst: u32, max_in_flight: usize) -> Arc<Budget> {
    Budget::new(Limits { qps, burst, max_in_flight })
}

fn acquire(budget: &Arc<Budget>) -> impl Future<Output = Permit> + use<> {
    Arc::clone(budget).acquire()
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_let_through_at_once_and_then_the_rate_holds() {
    let budget = budget(10, 5, 100);
    let begun = Instant::now();
    let mut at = Vec::new();
    for _ in 0..25 {
        drop(acquire(&budget).await);
        at.push(begun.elapsed());
    }
    assert!(at[4] < Duration::from_millis(5), "{at:?}");
    assert!(at[5] >= Duration::from_millis(100), "{at:?}");
    assert!(((2 * SECOND)..Duration::from_millis(2100)).contains(&at[24]), "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rate_of_zero_is_unlimited() {
    let budget = budget(0, 0, 1);
    let begun = Instant::now();
    for _ in 0..10_000 {
        drop(acquire(&budget).await);
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_are_in_flight_than_the_limit() {
    let budget = budget(0, 0, 2);
    let first = acquire(&budget).await;
    let _second = acquire(&budget).await;
    assert!(budget.try_acquire().is_none());
    assert!(timeout(SECOND, acquire(&budget)).await.is_err());
    drop(first);
    assert!(budget.try_acquire().is_some());
}

#[tokio::test(start_paused = true)]
async fn who_finishes_what_a_turn_began_does_not_wait_for_the_whole_queue_nor_hold_it_up() {
    for budget in [budget(0, 0, 1), budget(10, 1, 8)] {
        let held = acquire(&budget).await;
        let (sender, mut served) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..20 {
            let (budget, sender) = (Arc::clone(&budget), sender.clone());
            tokio::spawn(async move {
                let permit = budget.acquire().await;
                sender.send(number).unwrap();
                drop(permit);
            });
        }
        tokio::task::yield_now().await;
        for number in 100..102 {
            let (budget, sender) = (Arc::clone(&budget), sender.clone());
            tokio::spawn(async move {
                let permit = budget.acquire_next().await;
                sender.send(number).unwrap();
                drop(permit);
            });
        }
        tokio::task::yield_now().await;
        drop((held, sender));
        let mut order = Vec::new();
        while let Some(number) = timeout(60 * SECOND, served.recv()).await.expect("nobody waits for ever") {
            order.push(number);
        }
        assert_eq!(order.len(), 22);
        let (next, queue): (Vec<_>, Vec<_>) = order.iter().enumerate().partition(|(_, number)| **number >= 100);
        assert!(next.iter().all(|(place, _)| *place < 8), "{order:?}");
        assert!(queue.is_sorted_by_key(|(_, number)| **number), "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_came_first_is_served_first_and_nobody_overtakes() {
    let budget = budget(0, 0, 1);
    let held = acquire(&budget).await;
    let (sender, mut served) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..20 {
        let (budget, sender) = (Arc::clone(&budget), sender.clone());
        tokio::spawn(async move {
            let permit = budget.acquire().await;
            sender.send(number).unwrap();
            tokio::task::yield_now().await;
            drop(permit);
        });
        tokio::task::yield_now().await;
    }
    drop(held);
    assert!(budget.try_acquire().is_none(), "others wait");
    for number in 0..20 {
        assert_eq!(served.recv().await, Some(number));
    }
    tokio::task::yield_now().await;
    assert!(budget.try_acquire().is_some());
}

#[tokio::test(start_paused = true)]
async fn congestion_halves_the_limit_down_to_one_and_twenty_successes_raise_it_by_one() {
    let budget = budget(0, 0, 8);
    for limit in [4, 2, 1, 1] {
        acquire(&budget).await.congested();
        assert_eq!(budget.in_flight_limit(), limit);
    }
    for limit in [2, 3, 4, 5, 6, 7, 8, 8] {
        let before = budget.in_flight_limit();
        for _ in 0..19 {
            acquire(&budget).await.success();
        }
        assert_eq!(budget.in_flight_limit(), before);
        acquire(&budget).await.success();
        assert_eq!(budget.in_flight_limit(), limit);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_meet_one_congestion_together_halve_the_limit_once() {
    let budget = budget(0, 0, 8);
    let together: Vec<_> = (0..8).filter_map(|_| budget.try_acquire()).collect();
    for permit in together {
        permit.congested();
    }
    assert_eq!(budget.in_flight_limit(), 4);
    acquire(&budget).await.congested();
    assert_eq!(budget.in_flight_limit(), 2);
}

#[tokio::test(start_paused = true)]
async fn congestion_starts_the_count_of_successes_anew_and_a_dropped_permit_says_nothing() {
    let budget = budget(0, 0, 4);
    acquire(&budget).await.congested();
    for _ in 0..19 {
        acquire(&budget).await.success();
    }
    drop(acquire(&budget).await);
    assert_eq!(budget.in_flight_limit(), 2);
    acquire(&budget).await.congested();
    for _ in 0..19 {
        acquire(&budget).await.success();
    }
    assert_eq!(budget.in_flight_limit(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_grows_wakes_who_waits() {
    let budget = budget(0, 0, 2);
    acquire(&budget).await.congested();
    for _ in 0..19 {
        acquire(&budget).await.success();
    }
    let last = acquire(&budget).await;
    let first = tokio::spawn(acquire(&budget));
    let second = tokio::spawn(acquire(&budget));
    tokio::task::yield_now().await;
    last.success();
    let (first, second) = timeout(SECOND, async { (first.await.unwrap(), second.await.unwrap()) }).await.unwrap();
    assert!(budget.try_acquire().is_none());
    drop((first, second));
}

#[tokio::test(start_paused = true)]
async fn a_pause_starts_no_call_and_the_latest_instant_counts() {
    let budget = budget(0, 0, 8);
    let begun = Instant::now();
    assert_eq!(budget.paused_until(), None);
    budget.pause_until(begun + 3 * SECOND);
    budget.pause_until(begun + SECOND);
    assert_eq!(budget.paused_until(), Some(begun + 3 * SECOND));
    assert!(budget.try_acquire().is_none());
    let waiting = tokio::spawn(acquire(&budget));
    advance(2 * SECOND).await;
    budget.pause_until(begun + 5 * SECOND);
    let permit = waiting.await.unwrap();
    assert!(begun.elapsed() >= 5 * SECOND && begun.elapsed() < 5 * SECOND + Duration::from_millis(10));
    drop(permit);
    assert_eq!(budget.paused_until(), None);
    assert!(budget.try_acquire().is_some());
}

/// What a waiter finds at the moment that it is woken.
struct Finds {
    budget: Arc<Budget>,
    pauses: Mutex<Vec<bool>>,
}

impl std::task::Wake for Finds {
    fn wake(self: Arc<Self>) {
        let paused = self.budget.paused_until().is_some();
        self.pauses.lock().unwrap().push(paused);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_the_place_of_a_call_that_was_refused_as_one_too_many_finds_the_pause() {
    let budget = budget(0, 0, 1);
    let permit = acquire(&budget).await;
    let finds = Arc::new(Finds { budget: Arc::clone(&budget), pauses: Mutex::default() });
    let waker = Arc::clone(&finds).into();
    let mut waiting = Box::pin(acquire(&budget));
    assert!(waiting.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    budget.throttled(permit, Instant::now() + SECOND);
    assert_eq!(*finds.pauses.lock().unwrap(), [true]);
    let begun = Instant::now();
    let permit = waiting.await;
    assert!(begun.elapsed() >= SECOND);
    assert_eq!(budget.in_flight_limit(), 1);
    drop(permit);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_acquire_loses_neither_a_permit_nor_a_turn() {
    let budget = budget(0, 0, 1);
    let held = acquire(&budget).await;
    let mut front = Box::pin(acquire(&budget));
    let mut queued = Box::pin(acquire(&budget));
    let mut last = Box::pin(acquire(&budget));
    assert!((&mut front).now_or_never().is_none());
    assert!((&mut queued).now_or_never().is_none());
    assert!((&mut last).now_or_never().is_none());
    drop(held);
    // The front has been woken and the turn is handed on, and neither is polled again.
    drop(front);
    drop(queued);
    let permit = timeout(SECOND, last).await.unwrap();
    drop(permit);
    assert!(budget.try_acquire().is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens to permits and waiters, the limit holds, no permit is lost, and the rate is never exceeded.
    #[test]
    fn the_limits_hold_and_nothing_is_lost(
        qps in 1u32..50, burst in 1u32..20, most in 1usize..6,
        steps in prop::collection::vec((0u8..7, 1u64..400), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let budget = budget(qps, burst, most);
            let begun = Instant::now();
            let mut held = Vec::new();
            let mut granted = 0u32;
            for (step, millis) in steps {
                match step {
                    0 | 1 => {
                        let patience = Duration::from_millis(millis);
                        if let Ok(permit) = timeout(patience, acquire(&budget)).await {
                            granted += 1;
                            held.push(permit);
                        }
                    }
                    2 => if let Some(permit) = budget.try_acquire() {
                        granted += 1;
                        held.push(permit);
                    },
                    3 => if let Some(permit) = held.pop() { permit.success() },
                    4 => if let Some(permit) = held.pop() { permit.congested() },
                    5 => drop(held.pop()),
                    _ => budget.pause_until(Instant::now() + Duration::from_millis(millis)),
                }
                prop_assert!(held.len() <= most);
                let allowed = f64::from(burst) + begun.elapsed().as_secs_f64() * f64::from(qps);
                prop_assert!(f64::from(granted) <= allowed + 1e-6, "{granted} of {allowed}");
            }
            held.clear();
            // What was dropped or given back is all there again.
            for _ in 0..budget.in_flight_limit() {
                held.push(timeout(60 * SECOND, acquire(&budget)).await.expect("a permit was lost"));
            }
            prop_assert!(budget.try_acquire().is_none());
            Ok(())
        })?;
    }
}
