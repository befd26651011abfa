//! What was asked and how it was answered, without any token or secret.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::lock;
use super::query::Route;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not yet.
    Open,
    /// With a whole answer.
    Answered,
    /// With part of an answer.
    Truncated,
    /// The client left before an answer that never came.
    Hung,
    /// The connection ended in order, without an answer.
    Closed,
    /// The connection was reset, without an answer.
    Reset,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1, never used again.
    pub seq: u64,
    /// When it came, in microseconds since the simulator started.
    pub start_us: u64,
    /// When it ended.
    pub end_us: Option<u64>,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// What the path stands for.
    pub route: Route,
    /// The tenant that the token is for, or the token request's scope.
    pub tenant: Option<String>,
    /// The service account's client id, or `static` for a bearer token without one.
    pub client: Option<String>,
    /// `folder` of the query.
    pub folder: Option<String>,
    /// `position` of the query.
    pub position: Option<String>,
    /// `name` of the query.
    pub query_name: Option<String>,
    /// `offset` of the query.
    pub offset: Option<String>,
    /// `limit` of the query.
    pub limit: Option<String>,
    /// `name` of the body.
    pub name: Option<String>,
    /// The id in the path.
    pub id: Option<String>,
    /// The name of the object that the id stood for when the request came.
    pub object: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// The answer's status.
    pub status: Option<u16>,
    /// The answer's `Retry-After`.
    pub retry_after: Option<String>,
    /// The rule that touched it.
    pub rule: Option<String>,
    /// When its write took effect, if it did.
    pub applied_us: Option<u64>,
    /// Whether the client had left before the answer was ready.
    pub client_left: bool,
}

/// What of an entry is known when a request comes.
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    pub(crate) entry: Entry,
}

/// Totals since the last reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Requests.
    pub requests: u64,
    /// Requests by method and route, such as `POST mfa-servers`.
    pub by_route: BTreeMap<String, u64>,
    /// Requests by method, route and status (or outcome), such as `POST mfa-servers 201`.
    pub by_answer: BTreeMap<String, u64>,
    /// Requests under way.
    pub in_flight: usize,
    /// The most that were under way at a time.
    pub max_in_flight: usize,
    /// The same by tenant.
    pub max_in_flight_by_tenant: BTreeMap<String, usize>,
    /// How many came in each second since the simulator started.
    pub per_second: Vec<u32>,
}

/// The log as it stands.
#[derive(Debug, Default)]
pub struct Log {
    first: u64,
    entries: Vec<Entry>,
    summary: Summary,
    by_route: BTreeMap<(String, Route), u64>,
    by_answer: BTreeMap<(String, Route, Answered), u64>,
    in_flight_by_tenant: BTreeMap<String, usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Answered {
    Status(u16),
    Otherwise(&'static str),
}

impl Log {
    /// The requests since the last reset, in the order in which they came.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many requests of that method and route came.
    #[must_use]
    pub fn count(&self, method: &str, route: Route) -> u64 {
        self.by_route.iter().filter(|((m, r), _)| m == method && *r == route).map(|(_, count)| count).sum()
    }

    /// How many requests of that method and route were answered with that status.
    #[must_use]
    pub fn answered(&self, method: &str, route: Route, status: u16) -> u64 {
        self.by_answer
            .iter()
            .filter(|((m, r, answered), _)| m == method && *r == route && *answered == Answered::Status(status))
            .map(|(_, count)| count)
            .sum()
    }

    /// Requests under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.summary.in_flight
    }

    /// The most that were under way at a time.
    #[must_use]
    pub fn max_in_flight(&self) -> usize {
        self.summary.max_in_flight
    }

    /// The totals.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut summary = self.summary.clone();
        summary.by_route =
            self.by_route.iter().map(|((method, route), n)| (format!("{method} {}", route.as_str()), *n)).collect();
        summary.by_answer = self
            .by_answer
            .iter()
            .map(|((method, route, answered), n)| {
                let answered = match answered {
                    Answered::Status(status) => status.to_string(),
                    Answered::Otherwise(word) => (*word).to_owned(),
                };
                (format!("{method} {} {answered}", route.as_str()), *n)
            })
            .collect();
        summary
    }

    fn entry_mut(&mut self, seq: u64) -> Option<&mut Entry> {
        let index = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        self.entries.get_mut(index)
    }
}

/// A wait that came to its deadline.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the request log did not come to what was waited for within {waited:?}; it holds {summary:?}")]
pub struct TimedOut {
    /// How long was waited.
    pub waited: Duration,
    /// What the log held then.
    pub summary: Box<Summary>,
}

/// How the simulator writes the log and others read it.
#[derive(Clone, Debug)]
pub struct LogHandle {
    epoch: Instant,
    log: Arc<Mutex<Log>>,
    changes: Arc<watch::Sender<u64>>,
}

impl LogHandle {
    pub(crate) fn new(epoch: Instant) -> Self {
        let log = Log { first: 1, ..Log::default() };
        Self { epoch, log: Arc::new(Mutex::new(log)), changes: Arc::new(watch::Sender::new(0)) }
    }

    /// Looks at the log without copying it.
    pub fn with<T>(&self, look: impl FnOnce(&Log) -> T) -> T {
        look(&lock(&self.log))
    }

    /// A copy of the requests since the last reset.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.with(|log| log.entries.clone())
    }

    /// How many requests of that method and route came.
    #[must_use]
    pub fn count(&self, method: &str, route: Route) -> u64 {
        self.with(|log| log.count(method, route))
    }

    /// The totals.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.with(Log::summary)
    }

    /// Forgets what came so far; numbers go on, and what is under way still counts as such.
    pub fn reset(&self) {
        let mut log = lock(&self.log);
        let next = log.first + log.entries.len() as u64;
        let in_flight = log.summary.in_flight;
        let by_tenant = log.in_flight_by_tenant.clone();
        *log = Log {
            first: next,
            summary: Summary {
                in_flight,
                max_in_flight: in_flight,
                max_in_flight_by_tenant: by_tenant.clone(),
                ..Summary::default()
            },
            in_flight_by_tenant: by_tenant,
            ..Log::default()
        };
    }

    /// Waits until the log is as `wanted`.
    ///
    /// # Errors
    /// When it is not by the deadline.
    pub async fn wait_until(&self, deadline: Duration, mut wanted: impl FnMut(&Log) -> bool) -> Result<(), TimedOut> {
        let mut changes = self.changes.subscribe();
        let waiting = async {
            loop {
                changes.borrow_and_update();
                if self.with(&mut wanted) {
                    return;
                }
                if changes.changed().await.is_err() {
                    return;
                }
                // Under load the log changes thousands of times a second; nobody needs to look as often.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(deadline, waiting)
            .await
            .map_err(|_| TimedOut { waited: deadline, summary: Box::new(self.summary()) })
    }

    /// Writes down that a request came, and returns its number.
    pub(crate) fn begin(&self, arrival: Arrival) -> u64 {
        let start = arrival.at.saturating_duration_since(self.epoch);
        let mut entry = arrival.entry;
        let mut log = lock(&self.log);
        entry.seq = log.first + log.entries.len() as u64;
        entry.start_us = micros(start);
        let seq = entry.seq;
        log.summary.requests += 1;
        log.summary.in_flight += 1;
        log.summary.max_in_flight = log.summary.max_in_flight.max(log.summary.in_flight);
        if let Some(tenant) = &entry.tenant {
            let now = if let Some(count) = log.in_flight_by_tenant.get_mut(tenant) {
                *count += 1;
                *count
            } else {
                log.in_flight_by_tenant.insert(tenant.clone(), 1);
                1
            };
            match log.summary.max_in_flight_by_tenant.get_mut(tenant) {
                Some(most) => *most = (*most).max(now),
                None => {
                    log.summary.max_in_flight_by_tenant.insert(tenant.clone(), now);
                }
            }
        }
        let second = usize::try_from(start.as_secs()).unwrap_or(usize::MAX);
        if log.summary.per_second.len() <= second {
            log.summary.per_second.resize(second + 1, 0);
        }
        log.summary.per_second[second] += 1;
        *log.by_route.entry((entry.method.clone(), entry.route)).or_default() += 1;
        log.entries.push(entry);
        drop(log);
        self.changed();
        seq
    }

    /// Changes a request's entry, if it was not forgotten.
    pub(crate) fn note(&self, seq: u64, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = lock(&self.log).entry_mut(seq) {
            change(entry);
        }
        self.changed();
    }

    /// Writes down that a request's write took effect.
    pub(crate) fn applied(&self, seq: u64) {
        let at = micros(self.epoch.elapsed());
        self.note(seq, |entry| entry.applied_us = Some(at));
    }

    /// Writes down that a request ended.
    pub(crate) fn end(&self, seq: u64, tenant: Option<&str>, change: impl FnOnce(&mut Entry)) {
        let at = micros(self.epoch.elapsed());
        let mut log = lock(&self.log);
        log.summary.in_flight = log.summary.in_flight.saturating_sub(1);
        if let Some(count) = tenant.and_then(|tenant| log.in_flight_by_tenant.get_mut(tenant)) {
            *count = count.saturating_sub(1);
        }
        if let Some(entry) = log.entry_mut(seq) {
            entry.end_us = Some(at);
            change(entry);
            let answered = match (entry.outcome, entry.status) {
                (Outcome::Answered, Some(status)) => Answered::Status(status),
                (Outcome::Hung, _) => Answered::Otherwise("hung"),
                (Outcome::Reset, _) => Answered::Otherwise("reset"),
                (Outcome::Truncated, _) => Answered::Otherwise("truncated"),
                _ => Answered::Otherwise("closed"),
            };
            let key = (entry.method.clone(), entry.route, answered);
            *log.by_answer.entry(key).or_default() += 1;
        }
        drop(log);
        self.changed();
    }

    fn changed(&self) {
        if self.changes.receiver_count() > 0 {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
