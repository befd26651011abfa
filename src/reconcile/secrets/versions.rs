//! The versions of Secrets: from a watch where there is one, else from reads of one Secret at a time.
//!
//! # Guarantees
//! - What a watch shows is whole: a Secret that it does not show is not there. Before its first list, nothing is known.
//! - A Secret that no watch shows is read when somebody asks about it first, each resync, and when somebody asks anew.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::{is_newer, is_older};
use crate::backoff::{doubling, jittered};
use crate::reconcile::SecretName;
use crate::reconcile::scope::{Part, Scope};

/// The first delay of a read that failed.
const READ_AGAIN: Duration = Duration::from_secs(5);
/// When a Secret that is not there is looked for again, at first.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

type Names = HashMap<String, HashMap<String, String>>;

/// What is known of Secrets' versions.
#[derive(Debug)]
pub struct Versions {
    /// Whose Secrets a watch shows; nobody's where there is none.
    watched: Option<Scope>,
    resync: Duration,
    names: Names,
    /// What the initial list of a watch has shown so far.
    relisted: HashMap<Part, Names>,
    listed: HashSet<Part>,
    reads: HashMap<SecretName, Read>,
}

/// A Secret that no watch shows.
#[derive(Debug)]
struct Read {
    /// When it is to be read next.
    due: Instant,
    /// How often it was asked about, and the count that the last answer is an answer to.
    asked: u64,
    answered: u64,
    under_way: bool,
    /// Failures running, and how often running it was not there.
    failures: u32,
    absences: u32,
}

impl Versions {
    /// Nothing known yet. `watched`: whose Secrets a watch will show.
    #[must_use]
    pub fn new(watched: Option<Scope>, resync: Duration) -> Self {
        Self {
            watched,
            resync,
            names: HashMap::new(),
            relisted: HashMap::new(),
            listed: HashSet::new(),
            reads: HashMap::new(),
        }
    }

    pub(super) fn watched(&self) -> Vec<Part> {
        self.watched.as_ref().map(Scope::parts).unwrap_or_default()
    }

    pub(super) fn get(&self, secret: &SecretName) -> Option<&String> {
        self.names.get(&secret.namespace)?.get(&secret.name)
    }

    /// The watch that shows this Secret.
    fn part(&self, secret: &SecretName) -> Option<Part> {
        let scope = self.watched.as_ref().filter(|scope| scope.holds(&secret.namespace))?;
        Some(scope.part(&secret.namespace))
    }

    /// Whether it is not known yet whether the Secret is there, or somebody has asked anew.
    pub(super) fn is_pending(&self, secret: &SecretName) -> bool {
        match self.part(secret) {
            Some(part) => !self.listed.contains(&part),
            None => self.reads.get(secret).is_none_or(|read| read.answered < read.asked),
        }
    }

    // ---- from a watch ---------------------------------------------------------------------------------------------

    /// A list of this part begins.
    pub(super) fn begin_list(&mut self, part: &Part) {
        self.relisted.insert(part.clone(), Names::new());
    }

    pub(super) fn list(&mut self, part: &Part, secret: SecretName, version: String) {
        let names = self.relisted.entry(part.clone()).or_default();
        names.entry(secret.namespace).or_default().insert(secret.name, version);
    }

    /// The list is whole. Answers what was known before, and whether it is the first list of this part.
    pub(super) fn end_list(&mut self, part: &Part) -> (Names, bool) {
        let mut new = self.relisted.remove(part).unwrap_or_default();
        let old = match part {
            None => std::mem::replace(&mut self.names, new),
            Some(namespace) => {
                let old = match new.remove(namespace) {
                    Some(names) => self.names.insert(namespace.clone(), names),
                    None => self.names.remove(namespace),
                };
                old.map(|names| (namespace.clone(), names)).into_iter().collect()
            }
        };
        (old, self.listed.insert(part.clone()))
    }

    /// Whether that part shows the Secret.
    pub(super) fn shows(part: &Part, secret: &SecretName) -> bool {
        part.as_ref().is_none_or(|namespace| *namespace == secret.namespace)
    }

    /// The Secret is there, at this version. Answers whether that is news; a watch may be behind a read.
    pub(super) fn present(&mut self, secret: &SecretName, version: &str) -> bool {
        let names = self.names.entry(secret.namespace.clone()).or_default();
        if names.get(&secret.name).is_some_and(|known| known == version || is_older(version, known)) {
            return false;
        }
        names.insert(secret.name.clone(), version.to_owned());
        true
    }

    /// A read of its bytes may be newer than what is known.
    pub(super) fn seen(&mut self, secret: &SecretName, version: &str) {
        let names = self.names.entry(secret.namespace.clone()).or_default();
        let known = names.entry(secret.name.clone()).or_default();
        if is_newer(version, known) {
            version.clone_into(known);
        }
    }

    /// The Secret is not there. Answers whether that is news.
    pub(super) fn gone(&mut self, secret: &SecretName) -> bool {
        self.names.get_mut(&secret.namespace).is_some_and(|names| names.remove(&secret.name).is_some())
    }

    // ---- from reads -----------------------------------------------------------------------------------------------

    /// Somebody asks about a Secret. Answers whether it has to be read for that: nobody has asked before.
    pub(super) fn ask(&mut self, secret: &SecretName) -> bool {
        if self.part(secret).is_some() || self.reads.contains_key(secret) {
            return false;
        }
        let due = Instant::now();
        let read = Read { due, asked: 1, answered: 0, under_way: false, failures: 0, absences: 0 };
        self.reads.insert(secret.clone(), read);
        true
    }

    /// What is known of it by reads is not good enough. Answers whether it is to be read anew.
    pub(super) fn ask_anew(&mut self, secret: &SecretName) -> bool {
        let Some(read) = self.reads.get_mut(secret) else { return false };
        read.asked += 1;
        read.due = Instant::now();
        true
    }

    /// Nobody asks about it any more.
    pub(super) fn forget(&mut self, secret: &SecretName) {
        if self.reads.remove(secret).is_some() {
            self.gone(secret);
        }
    }

    /// Those that are to be read now, so many at most, each with the question that it is read for; and when the next is.
    pub(super) fn due(&mut self, most: usize) -> (Vec<(SecretName, u64)>, Option<Instant>) {
        let now = Instant::now();
        let (mut due, mut next) = (Vec::new(), None);
        for (secret, read) in self.reads.iter_mut().filter(|(_, read)| !read.under_way) {
            if read.due > now {
                next = next.map_or(Some(read.due), |next: Instant| Some(next.min(read.due)));
            } else if due.len() < most {
                read.under_way = true;
                due.push((secret.clone(), read.asked));
            }
        }
        (due, next)
    }

    /// It was read: the version, if it is there. Answers whether that is news to who has asked.
    pub(super) fn was_read(&mut self, secret: &SecretName, question: u64, version: Option<&str>) -> bool {
        let resync = self.resync;
        let Some(read) = self.reads.get_mut(secret) else { return false };
        let answers = read.answered < question;
        read.under_way = false;
        read.answered = question;
        read.failures = 0;
        read.absences = if version.is_some() { 0 } else { read.absences + 1 };
        if read.asked == question {
            let delay = match read.absences {
                0 => resync,
                absences => doubling(LOOK_AGAIN.min(resync), resync, absences),
            };
            read.due = Instant::now() + jittered(delay, rand::random());
        }
        let changed = match version {
            Some(version) => self.present(secret, version),
            None => self.gone(secret),
        };
        answers || changed
    }

    /// It could not be read.
    pub(super) fn was_not_read(&mut self, secret: &SecretName) {
        let resync = self.resync;
        let Some(read) = self.reads.get_mut(secret) else { return };
        read.under_way = false;
        read.failures += 1;
        read.due = Instant::now() + jittered(doubling(READ_AGAIN.min(resync), resync, read.failures), rand::random());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESYNC: Duration = Duration::from_mins(10);

    fn secret(namespace: &str, name: &str) -> SecretName {
        SecretName { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn due(versions: &mut Versions) -> Vec<(SecretName, u64)> {
        versions.due(usize::MAX).0
    }

    /// How long until the next read.
    fn next(versions: &mut Versions) -> Duration {
        let (due, next) = versions.due(usize::MAX);
        assert_eq!(due, []);
        next.unwrap() - Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_that_no_watch_shows_is_read_when_it_is_asked_about_and_each_resync() {
        let mut versions = Versions::new(None, RESYNC);
        let secret = secret("a", "x");
        assert!(versions.is_pending(&secret));
        assert_eq!(due(&mut versions), [], "nobody has asked");
        assert!(versions.ask(&secret) && !versions.ask(&secret));
        assert_eq!(due(&mut versions), [(secret.clone(), 1)]);
        assert_eq!(due(&mut versions), [], "it is under way");
        assert!(versions.is_pending(&secret));
        assert!(versions.was_read(&secret, 1, Some("7")));
        assert_eq!((versions.is_pending(&secret), versions.get(&secret).unwrap().as_str()), (false, "7"));
        let delay = next(&mut versions);
        assert!(delay >= RESYNC && delay <= RESYNC * 6 / 5, "{delay:?}");
        tokio::time::advance(delay).await;
        assert_eq!(due(&mut versions), [(secret.clone(), 1)]);
        assert!(!versions.is_pending(&secret), "what is known stays good meanwhile");
        assert!(!versions.was_read(&secret, 1, Some("7")), "no news");
        tokio::time::advance(RESYNC * 2).await;
        assert_eq!(due(&mut versions).len(), 1);
        assert!(versions.was_read(&secret, 1, Some("8")), "news");
        versions.forget(&secret);
        tokio::time::advance(RESYNC * 2).await;
        assert_eq!((due(&mut versions), versions.get(&secret)), (vec![], None));
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_anew_waits_for_a_read_that_begins_after_that() {
        let mut versions = Versions::new(None, RESYNC);
        let secret = secret("a", "x");
        versions.ask(&secret);
        due(&mut versions);
        versions.was_read(&secret, 1, Some("7"));
        assert!(versions.ask_anew(&secret));
        assert!(versions.is_pending(&secret));
        assert_eq!(versions.get(&secret).unwrap(), "7", "what was known stands until it is answered");
        assert_eq!(due(&mut versions), [(secret.clone(), 2)]);
        assert!(versions.ask_anew(&secret), "once more while it is read");
        assert!(versions.was_read(&secret, 2, Some("7")));
        assert!(versions.is_pending(&secret));
        assert_eq!(due(&mut versions), [(secret.clone(), 3)]);
        assert!(versions.was_read(&secret, 3, Some("7")), "an answer is news, whatever it says");
        assert!(!versions.is_pending(&secret));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_not_there_is_looked_for_more_often_at_first_and_a_failure_is_no_answer() {
        let mut versions = Versions::new(None, RESYNC);
        let secret = secret("a", "x");
        versions.ask(&secret);
        due(&mut versions);
        versions.was_not_read(&secret);
        assert!(versions.is_pending(&secret));
        let delay = next(&mut versions);
        assert!(delay >= READ_AGAIN && delay <= READ_AGAIN * 6 / 5, "{delay:?}");
        tokio::time::advance(delay).await;
        for least in [LOOK_AGAIN, LOOK_AGAIN * 2, LOOK_AGAIN * 4] {
            assert_eq!(due(&mut versions).len(), 1);
            versions.was_read(&secret, 1, None);
            assert_eq!((versions.is_pending(&secret), versions.get(&secret)), (false, None));
            let delay = next(&mut versions);
            assert!(delay >= least && delay <= least * 6 / 5, "{delay:?} after {least:?}");
            tokio::time::advance(delay).await;
        }
        assert_eq!(due(&mut versions).len(), 1);
        assert!(versions.was_read(&secret, 1, Some("1")));
        assert!(next(&mut versions) >= RESYNC);
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_are_read_at_a_time() {
        let mut versions = Versions::new(None, RESYNC);
        for number in 0..5 {
            versions.ask(&secret("a", &number.to_string()));
        }
        let (first, next) = versions.due(3);
        assert_eq!((first.len(), next), (3, None));
        assert_eq!(versions.due(3).0.len(), 2);
    }

    #[test]
    fn a_watch_of_some_namespaces_shows_their_secrets_and_others_are_read() {
        let mut versions = Versions::new(Some(Scope::of(["a", "b"].map(str::to_owned))), RESYNC);
        let (a, b, c) = (secret("a", "x"), secret("b", "x"), secret("c", "x"));
        let part = |namespace: &str| Some(namespace.to_owned());
        assert_eq!(versions.watched(), [part("a"), part("b")]);
        versions.begin_list(&part("a"));
        versions.list(&part("a"), a.clone(), "1".to_owned());
        let (old, first) = versions.end_list(&part("a"));
        assert!(old.is_empty() && first);
        let pending = |versions: &Versions| [&a, &b, &c].map(|secret| versions.is_pending(secret));
        assert_eq!(pending(&versions), [false, true, true]);
        assert_eq!(versions.get(&a).unwrap(), "1");
        assert!(!versions.ask(&a) && !versions.ask(&b) && versions.ask(&c));
        versions.begin_list(&part("b"));
        let (old, first) = versions.end_list(&part("b"));
        assert!(old.is_empty() && first);
        assert_eq!(pending(&versions), [false, false, true]);
        // A list of one begins anew: the other keeps what it has.
        versions.present(&b, "2");
        versions.begin_list(&part("a"));
        let (old, first) = versions.end_list(&part("a"));
        assert_eq!((old["a"]["x"].as_str(), first), ("1", false));
        assert_eq!((versions.get(&a), versions.get(&b).map(String::as_str)), (None, Some("2")));
    }
}
