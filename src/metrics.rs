//! What is counted and measured, and how it is rendered for Prometheus.
//!
//! # Guarantees
//! - No label holds anything that users name: no resource, tenant, credential or id. Every label's values come from a
//!   closed set, so the number of series does not grow with the number of resources.
//! - Counting never waits for anything and never fails.
//!
//! # Assumptions
//! - Only what does IO counts: the driver and its steps, and the API layer. The pure files know nothing of this one, and
//!   this one knows nothing of Kubernetes nor of the API.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

pub use self::format::Format;
use self::process::Process;
use self::status::status_label;

mod format;
mod process;
mod status;
#[cfg(test)]
mod tests;

/// The classes of failures that are tried again, as labels.
pub const CLASSES: [&str; 8] =
    ["credential", "forbidden", "input", "conflict", "referenced", "throttled", "busy", "server"];
/// What came of fetching a token, as labels.
pub const TOKEN_RESULTS: [&str; 3] = ["fetched", "rejected", "unavailable"];
/// What came of reading a folder's list, as labels.
pub const LIST_RESULTS: [&str; 3] = ["complete", "incomplete", "failed"];
/// What is watched, as labels.
pub const WATCHED: [&str; 2] = ["mfaservers", "secrets"];
const FAST: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];
const CALL: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
const WAIT: [f64; 12] = [0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
const LONG: [f64; 14] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByStep {
    step: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRequest {
    method: &'static str,
    route: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRoute {
    method: &'static str,
    route: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByClass {
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByWatched {
    resource: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Version {
    version: &'static str,
}

/// A condition of a resource, in words of a closed set.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct Condition {
    pub condition: &'static str,
    pub status: &'static str,
    pub reason: &'static str,
}

/// What a resource waits for before it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The class of what went wrong, one of [`CLASSES`].
    pub class: &'static str,
    /// When the next try is due, where that is known.
    pub due: Option<Instant>,
}

type Buckets = fn() -> Histogram;

/// Where everything is counted; cheap to clone, and clones count into the same.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    passes: Family<ByOutcome, Counter>,
    pass_duration: Histogram,
    steps: Family<ByStep, Counter>,
    resources: Family<Condition, Gauge>,
    ready_latency: Histogram,
    requests: Family<ByRequest, Counter>,
    request_duration: Family<ByRoute, Histogram, Buckets>,
    limiter_wait: Histogram,
    tokens: Family<ByResult, Counter>,
    lists: Family<ByResult, Counter>,
    list_duration: Histogram,
    retries: Family<ByClass, Counter>,
    waiting: Family<ByClass, Gauge>,
    next_try: Family<ByClass, Gauge<f64, std::sync::atomic::AtomicU64>>,
    drift_found: Counter,
    drift_corrected: Counter,
    watch_errors: Family<ByWatched, Counter>,
    leader: Gauge,
    known: Mutex<HashMap<Arc<str>, Known>>,
    /// The few sets of conditions that there are: many resources share one.
    sets: Mutex<HashSet<Arc<[Condition]>>>,
}

/// What is known of one resource.
#[derive(Debug)]
struct Known {
    conditions: Arc<[Condition]>,
    waiting: Option<Waiting>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Process::this())
    }

    /// The same on a system that tells everything of a process.
    #[cfg(test)]
    pub(crate) fn with_all_of_a_process() -> Self {
        Self::of(Process::example())
    }

    fn of(process: Process) -> Self {
        let request_duration: Buckets = || Histogram::new(CALL);
        let mut inner = Inner {
            registry: Registry::default(),
            passes: Family::default(),
            pass_duration: Histogram::new(FAST),
            steps: Family::default(),
            resources: Family::default(),
            ready_latency: Histogram::new(LONG),
            requests: Family::default(),
            request_duration: Family::new_with_constructor(request_duration),
            limiter_wait: Histogram::new(WAIT),
            tokens: Family::default(),
            lists: Family::default(),
            list_duration: Histogram::new(CALL),
            retries: Family::default(),
            waiting: Family::default(),
            next_try: Family::default(),
            drift_found: Counter::default(),
            drift_corrected: Counter::default(),
            watch_errors: Family::default(),
            leader: Gauge::default(),
            known: Mutex::default(),
            sets: Mutex::default(),
        };
        let registry = inner.register(process);
        inner.registry = registry;
        inner.begin_at_zero();
        Self(Arc::new(inner))
    }

    /// Everything as it is now.
    #[must_use]
    pub fn render(&self, format: Format) -> String {
        self.0.look_at_waiting();
        let mut rendered = String::with_capacity(32 * 1024);
        // Writing to a text never fails.
        let _ = text::encode(&mut rendered, &self.0.registry);
        match format {
            Format::OpenMetrics => rendered,
            Format::Text => format::text(&rendered),
        }
    }

    /// A pass ended so.
    pub fn passed(&self, outcome: &'static str, duration: Duration) {
        self.0.passes.get_or_create(&ByOutcome { outcome }).inc();
        self.0.pass_duration.observe(duration.as_secs_f64());
    }

    /// A step ended so.
    pub fn stepped(&self, step: &'static str, outcome: &'static str) {
        self.0.steps.get_or_create(&ByStep { step, outcome }).inc();
    }

    /// What is known of a resource by now.
    pub fn know(&self, resource: &Arc<str>, conditions: Vec<Condition>, waiting: Option<Waiting>) {
        let mut known = self.0.known();
        for condition in &conditions {
            self.0.resources.get_or_create(condition).inc();
        }
        let new = Known { conditions: self.0.shared(conditions), waiting };
        if let Some(old) = known.insert(Arc::clone(resource), new) {
            self.0.discount(&old);
        }
    }

    /// A resource is gone.
    pub fn forget(&self, resource: &Arc<str>) {
        let mut known = self.0.known();
        if let Some(old) = known.remove(resource) {
            self.0.discount(&old);
        }
    }

    /// The resources that are not in this set are gone.
    pub fn retain(&self, present: &HashSet<Arc<str>>) {
        self.0.known().retain(|resource, known| {
            let stays = present.contains(resource);
            if !stays {
                self.0.discount(known);
            }
            stays
        });
    }

    /// A resource is ready, so long after this generation of it was applied.
    pub fn became_ready(&self, after: Duration) {
        self.0.ready_latency.observe(after.as_secs_f64());
    }

    /// A request was made; `status` is none where no answer came.
    pub fn requested(&self, method: &'static str, route: &'static str, status: Option<u16>, duration: Duration) {
        let status = status.map_or("none", status_label);
        self.0.requests.get_or_create(&ByRequest { method, route, status }).inc();
        self.0.request_duration.get_or_create(&ByRoute { method, route }).observe(duration.as_secs_f64());
    }

    /// A call waited so long for its turn.
    pub fn waited_for_turn(&self, duration: Duration) {
        self.0.limiter_wait.observe(duration.as_secs_f64());
    }

    /// A token was asked for; `result` is one of [`TOKEN_RESULTS`].
    pub fn fetched_token(&self, result: &'static str) {
        self.0.tokens.get_or_create(&ByResult { result }).inc();
    }

    /// A folder's list was read; `result` is one of [`LIST_RESULTS`].
    pub fn listed(&self, result: &'static str, duration: Duration) {
        self.0.lists.get_or_create(&ByResult { result }).inc();
        self.0.list_duration.observe(duration.as_secs_f64());
    }

    /// Something went wrong and is to be tried again; `class` is one of [`CLASSES`].
    pub fn to_be_retried(&self, class: &'static str) {
        self.0.retries.get_or_create(&ByClass { class }).inc();
    }

    /// An object that was in order is not any more, by somebody else's doing.
    pub fn found_drift(&self) {
        self.0.drift_found.inc();
    }

    /// An object that had drifted was written.
    pub fn corrected_drift(&self) {
        self.0.drift_corrected.inc();
    }

    /// A watch failed and is begun anew; `resource` is one of [`WATCHED`].
    pub fn watch_failed(&self, resource: &'static str) {
        self.0.watch_errors.get_or_create(&ByWatched { resource }).inc();
    }

    /// Whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.0.leader.set(i64::from(leads));
    }
}

impl Inner {
    fn known(&self) -> MutexGuard<'_, HashMap<Arc<str>, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same conditions, shared by all who have them.
    fn shared(&self, conditions: Vec<Condition>) -> Arc<[Condition]> {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = sets.get(conditions.as_slice()) {
            return Arc::clone(set);
        }
        let set: Arc<[Condition]> = conditions.into();
        sets.insert(Arc::clone(&set));
        set
    }

    fn discount(&self, known: &Known) {
        for condition in &*known.conditions {
            self.resources.get_or_create(condition).dec();
        }
    }

    /// The registry's copy of everything, each with its sentence; the full stop comes by itself.
    fn register(&self, process: Process) -> Registry {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(process));
        let r = registry.sub_registry_with_prefix("mfa_operator");
        let version = Info::new(Version { version: env!("CARGO_PKG_VERSION") });
        r.register("build", "Which version this is", version);
        r.register("reconciles", "Passes over a resource, by what they ended with", self.passes.clone());
        seconds(r, "reconcile_duration", "How long passes took", self.pass_duration.clone());
        r.register("steps", "Steps of passes, by what came of them", self.steps.clone());
        let help = "Resources whose condition has this status and reason, as of their last pass";
        r.register("resources", help, self.resources.clone());
        let help =
            "Time from the sight of a resource's generation, or the creation of the resource, until it was Ready";
        seconds(r, "ready_latency", help, self.ready_latency.clone());
        let help = "Requests to the tenants' API and to the token endpoint, by the answer's status";
        r.register("api_requests", help, self.requests.clone());
        let help = "How long those requests took, their answers included";
        seconds(r, "api_request_duration", help, self.request_duration.clone());
        let help = "How long calls waited for their turn: for the rate, the calls in flight and the tenant's pauses";
        seconds(r, "api_limiter_wait", help, self.limiter_wait.clone());
        r.register("token_fetches", "Tokens asked for, by what came of it", self.tokens.clone());
        r.register("lists", "Lists of folders read, by whether they show all", self.lists.clone());
        seconds(r, "list_duration", "How long reading a folder's list took, all its pages", self.list_duration.clone());
        let help = "Refusals and failures that are waited out before the next try, by class";
        r.register("retries", help, self.retries.clone());
        let help = "Resources that wait for another try after a refusal or failure of this class";
        r.register("retries_waiting", help, self.waiting.clone());
        let help = "Time until the next of those tries is due; 0 if none is, or if it waits for something else";
        seconds(r, "retry_due", help, self.next_try.clone());
        r.register("drift_found", "Objects found changed or gone in the tenant", self.drift_found.clone());
        r.register("drift_corrected", "Objects written because of that", self.drift_corrected.clone());
        let help = "Watches of the API server that failed and were begun anew";
        r.register("watch_errors", help, self.watch_errors.clone());
        r.register("leader", "Whether this process leads: 1, or 0 where it stands by", self.leader.clone());
        registry
    }

    /// What will happen some day is 0 until then: a rate needs a value to begin from.
    fn begin_at_zero(&self) {
        for class in CLASSES {
            drop(self.retries.get_or_create(&ByClass { class }));
            drop(self.waiting.get_or_create(&ByClass { class }));
            drop(self.next_try.get_or_create(&ByClass { class }));
        }
        for result in TOKEN_RESULTS {
            drop(self.tokens.get_or_create(&ByResult { result }));
        }
        for result in LIST_RESULTS {
            drop(self.lists.get_or_create(&ByResult { result }));
        }
        for resource in WATCHED {
            drop(self.watch_errors.get_or_create(&ByWatched { resource }));
        }
    }

    /// Who waits changes with the time alone, so it is looked at when it is asked for.
    fn look_at_waiting(&self) {
        let now = Instant::now();
        let mut waiting: HashMap<&'static str, (i64, Option<Instant>)> = HashMap::new();
        for one in self.known().values().filter_map(|known| known.waiting) {
            let (count, due) = waiting.entry(one.class).or_default();
            *count += 1;
            *due = due.iter().copied().chain(one.due).min();
        }
        for class in CLASSES {
            let (count, due) = waiting.get(class).copied().unwrap_or_default();
            let left = due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now));
            self.waiting.get_or_create(&ByClass { class }).set(count);
            self.next_try.get_or_create(&ByClass { class }).set(left.as_secs_f64());
        }
    }
}

fn seconds(registry: &mut Registry, name: &str, help: &str, metric: impl prometheus_client::registry::Metric) {
    registry.register_with_unit(name, help, Unit::Seconds, metric);
}
