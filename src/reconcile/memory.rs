//! What this process remembers of one resource between passes. A restart loses it, and nothing depends on it for safety:
//! without it the operator only waits, looks or writes once more.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::course::Course;
use super::facts::Class;
use super::observe::Measured;
use super::packed::Packed;
use super::report::Cause;
use crate::crd::MfaServer;
use crate::sse::budget::Permit;
use crate::sse::credentials::Access;
use crate::sse::types::Remote;

/// How many corrections of a field within [`FLAPPING_WITHIN`] are one too many.
const FLAPPING_CORRECTIONS: usize = 3;
/// The time in which they count.
const FLAPPING_WITHIN: Duration = Duration::from_hours(1);

/// What a delay yields to: another value of this is a reason to try at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Yields {
    /// `metadata.generation`.
    pub generation: i64,
    /// The versions of the Secrets that are referred to.
    pub secrets: Vec<Option<String>>,
    /// The annotations that are verbs.
    pub verbs: Vec<String>,
}

/// A refusal that is waited out.
#[derive(Clone, Debug)]
pub struct Delay {
    /// When it is over.
    pub until: Instant,
    yields: Yields,
}

/// How often it came running, and what it was.
#[derive(Clone, Debug)]
struct Run {
    class: Class,
    cause: (&'static str, Option<i32>),
    failures: u32,
    same: u32,
    yields: Yields,
}

/// The answer to a create that no status holds yet.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This id.
    Created(String),
    /// Refused; this class, and why.
    Refused(Class, Cause),
}

/// The answer and what it was the answer to.
#[derive(Clone, Debug)]
pub struct Unrecorded {
    /// The answer.
    pub answer: Answer,
    /// The resource as it was when the attempt was made, with its record.
    pub server: Arc<MfaServer>,
    /// What it was sent with: the credential may be forgotten with its last resource.
    pub access: Access,
}

/// What was seen of the object by a pass that ended waiting for its next call's turn.
#[derive(Clone, Debug)]
pub struct Looked {
    /// The object's id.
    pub id: String,
    /// The generation of the resource.
    pub generation: i64,
    /// The object; `None` where there is none of that id.
    pub shown: Option<Remote>,
}

/// A place in the queue for a call; the permit, once its turn has come.
pub type Place = Arc<Mutex<Option<(Access, Permit)>>>;

/// What is remembered of one resource. What few have is boxed: there may be many resources.
#[derive(Debug, Default)]
pub struct Memory {
    /// The answer to our last write, while the cache may be older. Until the next pass that is so for each resource that was
    /// just created.
    pub newest: Option<Packed>,
    /// The value of `reconcile-requested-at` that the question was asked for.
    pub asked: Option<String>,
    /// The last refusal, while it is waited out.
    pub delay: Option<Box<Delay>>,
    run: Option<Box<Run>>,
    /// What was sent and answered, and what a list has to be newer than.
    pub course: Course<Instant, Box<Unrecorded>>,
    /// What the object was last sent of secrets, as a keyed hash; `None` where it is not known what it holds.
    pub sent: Option<u64>,
    /// The place in the queue for a call.
    pub place: Option<Place>,
    /// What was seen before the turn was waited for: the turn is the next call's, and not for looking once more.
    pub looked: Option<Box<Looked>>,
    /// Failures of the API server running.
    pub kube_failures: u32,
    corrections: Vec<(String, Instant)>,
    /// What is measured of it.
    pub(super) measured: Measured,
}

impl Memory {
    /// Keeps the answer to our own write, which is newer than the cache, and hands it back without who wrote which field:
    /// nobody asks, and it is many times the size of the rest.
    pub fn keep(&mut self, mut answer: MfaServer) -> Arc<MfaServer> {
        answer.metadata.managed_fields = None;
        self.newest = Some(Packed::of(answer.clone()));
        Arc::new(answer)
    }

    /// Counts a refusal; answers how often it came running, and how often with the same words, where it had any that were
    /// `decoded`.
    pub fn count(
        &mut self,
        class: Class,
        cause: (&'static str, Option<i32>),
        decoded: bool,
        yields: &Yields,
    ) -> (u32, u32) {
        let (failures, same) = match &self.run {
            Some(run) if run.class == class && run.yields == *yields => {
                (run.failures + 1, if run.cause == cause { run.same + 1 } else { 1 })
            }
            _ => (1, 1),
        };
        let same = if decoded { same } else { 0 };
        self.run = Some(Box::new(Run { class, cause, failures, same, yields: yields.clone() }));
        (failures, same)
    }

    /// How often the last refusal came with the same words.
    #[must_use]
    pub fn same(&self) -> u32 {
        self.run.as_ref().map_or(0, |run| run.same)
    }

    /// The class of the last refusal.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        self.run.as_ref().map(|run| run.class)
    }

    /// Waits the refusal out.
    pub fn wait(&mut self, delay: Duration, yields: Yields) {
        self.delay = Some(Box::new(Delay { until: Instant::now() + delay, yields }));
    }

    /// All is well: the next refusal is the first.
    pub fn succeeded(&mut self) {
        self.delay = None;
        self.run = None;
    }

    /// Whether nothing is waited out.
    pub fn is_due(&mut self, yields: &Yields) -> bool {
        if self.delay.as_ref().is_some_and(|delay| delay.until <= Instant::now() || delay.yields != *yields) {
            self.delay = None;
        }
        self.delay.is_none()
    }

    /// Remembers that these fields were corrected.
    pub fn corrected(&mut self, fields: &[String]) {
        let now = Instant::now();
        self.corrections.retain(|(_, at)| now.duration_since(*at) < FLAPPING_WITHIN);
        self.corrections.extend(fields.iter().map(|field| (field.clone(), now)));
    }

    /// Whether one of these fields was corrected too often within the hour.
    #[must_use]
    pub fn is_flapping(&self, fields: &[String]) -> bool {
        let recent = |at: &Instant| at.elapsed() < FLAPPING_WITHIN;
        let times = |field: &String| self.corrections.iter().filter(|(of, at)| of == field && recent(at)).count();
        fields.iter().any(|field| times(field) >= FLAPPING_CORRECTIONS)
    }

    /// The permit of the queue, if its turn has come.
    pub fn take_permit(&mut self) -> Option<(Access, Permit)> {
        let place = self.place.as_ref()?;
        let permit = place.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        self.place = None;
        Some(permit)
    }

    /// Whether a call is being waited for. A place that nobody will fill any more is given up.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        self.place.as_ref().is_some_and(|place| Arc::strong_count(place) > 1)
    }
}

#[cfg(test)]
mod tests;
