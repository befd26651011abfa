//! The lists of folders: one for a credential and folder, shared by all that asks for it, read in a task of its own.
//!
//! # Guarantees
//! - One list of a credential and folder at a time, refreshed every resync interval (jittered) and on demand; lists on
//!   demand begin at most once a second.
//! - Whoever has looked is woken when a list ends, well or badly, until it is forgotten.
//! - A list that fails is tried again on the schedule of its failure; asking does not hurry it, a new credential does.
//!
//! # Caveats
//! An own write is known to the folder's lists of the credential that it was made with.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument as _;

use super::client::Client;
use super::credentials::{Access, Credentials, Settled, State, Waiter, Wakes};
use super::error::{Class, Failure, Method, Reason};
use super::inventory::{Assembly, Inventory, Listed, Mark, Next, Part, Write};
use super::kept::Kept;
use super::types::{Folder, Remote};
use super::{CredentialKey, Schedule};
use crate::telemetry::{SPANS, chain};

#[cfg(test)]
mod tests;

/// The vendor asks clients to page by this.
const PAGE: u64 = 200;
/// The least time between the begins of two lists on demand.
const BETWEEN_DEMANDS: Duration = Duration::from_secs(1);
/// After so many resyncs without a list, what was true may not be.
pub const MISSED_RESYNCS: u32 = 3;
/// After so many incomplete lists running, own writes wait for the next one: they may be what disturbs it.
const INCOMPLETE_RUNNING: u32 = 2;

/// What is known of a folder.
#[derive(Clone, Debug)]
pub enum Look {
    /// No list that answers the question yet; one is asked for.
    Pending,
    /// The last one could not be read.
    Failed {
        /// Why.
        failure: Failure,
        /// None could be read for three resyncs.
        long: bool,
    },
    /// It was read.
    Listed {
        /// It shows all.
        complete: bool,
    },
}

type Key = (CredentialKey, Folder);

struct Entry {
    inventory: Inventory<Kept>,
    waiters: HashSet<Waiter>,
    /// A list begun before this answers no question.
    wanted: Mark,
    begun: Option<Instant>,
    /// When the next list is due without anybody asking, or may begin after a failure.
    due: Instant,
    failure: Option<Failure>,
    failures: u32,
    /// The server refuses to be asked for pages.
    unpaged: bool,
    /// The last try found no token to try with.
    no_token: bool,
    incomplete: u32,
    /// When a list was last read, or first asked for.
    good: Instant,
    /// A list begun before this was read with another credential.
    renewed: Mark,
    notify: Arc<Notify>,
}

/// The lists of all folders.
pub struct Lists {
    entries: Mutex<HashMap<Key, Entry>>,
    marks: AtomicU64,
    client: Client,
    credentials: Arc<Credentials>,
    schedule: Schedule,
    resync: Duration,
    wakes: Wakes,
}

impl Lists {
    /// None yet.
    #[must_use]
    pub fn new(
        client: Client,
        credentials: Arc<Credentials>,
        schedule: Schedule,
        resync: Duration,
        wakes: Wakes,
    ) -> Arc<Self> {
        let marks = AtomicU64::new(1);
        Arc::new(Self { entries: Mutex::default(), marks, client, credentials, schedule, resync, wakes })
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The present point in the order of calls. A list that begins later has a mark that is greater.
    pub fn mark(&self) -> Mark {
        Mark(self.marks.fetch_add(1, Ordering::Relaxed))
    }

    /// What is known of the folder from a list begun after `question`; asks for one where there is none, and wakes
    /// `waiter` after each list from now on. `ready`: the credential can be used at present, whatever was before.
    pub fn look(
        self: &Arc<Self>,
        key: &CredentialKey,
        folder: Folder,
        question: Mark,
        ready: bool,
        waiter: &Waiter,
    ) -> Look {
        let mut entries = self.entries();
        let entry = entries.entry((key.clone(), folder)).or_insert_with(|| self.start(key.clone(), folder));
        if !entry.waiters.contains(waiter) {
            entry.waiters.insert(Arc::clone(waiter));
        }
        let refused = entry.failure.as_ref().is_some_and(|failure| failure.class == Class::Credential);
        if ready && (entry.no_token || refused) {
            entry.no_token = false;
            entry.failure = None;
            entry.due = Instant::now();
            entry.notify.notify_one();
        }
        if !ready && let Some(probe) = self.credentials.next_probe(key).filter(|probe| *probe < entry.due) {
            // The list is the call that finds out whether a refused credential is good again.
            entry.due = probe;
            entry.notify.notify_one();
        }
        let answers = entry.inventory.answer(question);
        if answers.is_none() && entry.wanted < question {
            entry.wanted = question;
            entry.notify.notify_one();
        }
        match (&entry.failure, answers) {
            (Some(failure), _) => {
                let long = entry.good.elapsed() >= self.resync * MISSED_RESYNCS;
                Look::Failed { failure: failure.clone(), long }
            }
            (None, None) => Look::Pending,
            (None, Some(Listed { complete, .. })) => {
                if entry.incomplete == INCOMPLETE_RUNNING {
                    Look::Pending
                } else {
                    Look::Listed { complete }
                }
            }
        }
    }

    fn start(self: &Arc<Self>, key: CredentialKey, folder: Folder) -> Entry {
        let notify = Arc::new(Notify::new());
        tokio::spawn(Arc::clone(self).keep(key, folder, Arc::clone(&notify)));
        Entry {
            inventory: nothing(),
            waiters: HashSet::new(),
            wanted: Mark(0),
            begun: None,
            due: Instant::now(),
            failure: None,
            failures: 0,
            unpaged: false,
            no_token: false,
            incomplete: 0,
            good: Instant::now(),
            renewed: Mark(0),
            notify,
        }
    }

    /// What the folder holds, as far as it is known.
    pub fn with<R>(&self, key: &CredentialKey, folder: Folder, see: impl FnOnce(&Inventory<Kept>) -> R) -> Option<R> {
        self.entries().get(&(key.clone(), folder)).map(|entry| see(&entry.inventory))
    }

    /// Takes in an own write that the tenant has just answered.
    pub fn wrote(&self, key: &CredentialKey, folder: Folder, write: Write<Remote>) {
        let mark = self.mark();
        if let Some(entry) = self.entries().get_mut(&(key.clone(), folder)) {
            entry.inventory.take_write(mark, write.map(Kept::of));
        }
    }

    /// The credential is another one from now on: what failed with the old one is tried at once, and what was listed with
    /// it may be another tenant's.
    pub fn renew(&self, key: &CredentialKey) {
        for ((of, _), entry) in self.entries().iter_mut() {
            if of == key {
                entry.inventory = nothing();
                entry.renewed = self.mark();
                entry.incomplete = 0;
                entry.failure = None;
                entry.failures = 0;
                entry.no_token = false;
                entry.due = Instant::now();
                entry.good = Instant::now();
                entry.notify.notify_one();
            }
        }
    }

    /// Forgets one that does not wait any more. A folder that nobody waits for is not listed again.
    pub fn forget(&self, waiter: &Waiter) {
        for entry in self.entries().values_mut() {
            if entry.waiters.remove(waiter) && entry.waiters.is_empty() {
                entry.notify.notify_one();
            }
        }
    }

    /// When the folder's next list begins.
    #[must_use]
    pub fn next_try(&self, key: &CredentialKey, folder: Folder) -> Option<Instant> {
        self.entries().get(&(key.clone(), folder)).map(begin_at)
    }

    /// Reads the folder's lists for as long as somebody waits for them.
    async fn keep(self: Arc<Self>, key: CredentialKey, folder: Folder, notify: Arc<Notify>) {
        loop {
            let begin = {
                let mut entries = self.entries();
                let Some(entry) = entries.get(&(key.clone(), folder)) else { return };
                if entry.waiters.is_empty() && entry.begun.is_some() {
                    entries.remove(&(key.clone(), folder));
                    return;
                }
                begin_at(entry)
            };
            tokio::select! {
                () = sleep_until(begin) => {}
                () = notify.notified() => continue,
            }
            self.list(&key, folder).await;
        }
    }

    async fn list(self: &Arc<Self>, key: &CredentialKey, folder: Folder) {
        let access = match self.credentials.probe(key) {
            State::Ready(access) => access,
            State::Missing
            | State::Pending
            | State::Expired
            | State::Rejected(_)
            | State::TokenRejected(_)
            | State::TokenUnavailable(..) => return self.postpone(key, folder),
        };
        let begun = self.mark();
        let started = Instant::now();
        if let Some(entry) = self.entries().get_mut(&(key.clone(), folder)) {
            entry.begun = Some(started);
            entry.no_token = false;
        }
        let span = tracing::info_span!(target: SPANS, "list", folder = folder.as_str());
        let result = self.read(key, access, folder).instrument(span).await;
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(&(key.clone(), folder)) else { return };
        if begun < entry.renewed {
            return;
        }
        let now = Instant::now();
        match result {
            Ok(Some((items, complete))) => {
                let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                let count = items.len();
                let result = if complete { "complete" } else { "incomplete" };
                self.client.metrics().listed(result, started.elapsed());
                tracing::info!(credential = %key, folder = folder.as_str(), items = count, complete, duration_ms = millis, "listed");
                entry.inventory.take_list(begun, items, complete);
                entry.incomplete = if complete { 0 } else { entry.incomplete + 1 };
                entry.failure = None;
                entry.failures = 0;
                entry.good = now;
                entry.due = now
                    + if complete {
                        self.resync.mul_f64(rand::random_range(0.9..1.0))
                    } else {
                        self.schedule.delay(Class::Server, entry.incomplete, None)
                    };
            }
            Ok(None) => {
                // The token was refused and is being fetched anew.
                drop(entries);
                return self.postpone(key, folder);
            }
            Err(failure) => {
                entry.failures += 1;
                self.client.metrics().listed("failed", started.elapsed());
                self.client.metrics().to_be_retried(failure.class.as_str());
                let delay = self.schedule.delay(failure.class, entry.failures, failure.retry_after);
                entry.due = self.credentials.next_probe(key).unwrap_or(now + delay).max(now + BETWEEN_DEMANDS);
                let seconds = (entry.due - now).as_secs();
                tracing::warn!(credential = %key, folder = folder.as_str(), retry_in_seconds = seconds, request_id = failure.request_id, error = %chain(&failure), "list failed");
                entry.failure = Some(failure);
            }
        }
        self.wakes.wake(entry.waiters.iter().cloned());
    }

    /// No list can be read with the credential as it is; tried again when it can be probed, or is woken.
    fn postpone(&self, key: &CredentialKey, folder: Folder) {
        let probe = self.credentials.next_probe(key);
        if let Some(entry) = self.entries().get_mut(&(key.clone(), folder)) {
            let now = Instant::now();
            // Whoever waits for the list learns from the credential what is wrong, once.
            if !entry.no_token {
                self.wakes.wake(entry.waiters.iter().cloned());
            }
            entry.no_token = true;
            entry.begun.get_or_insert(now);
            entry.due = probe.map_or(now + self.resync, |probe| probe.max(now + BETWEEN_DEMANDS));
        }
    }

    /// A page in the form in which it is kept, sharing what is known already.
    fn keep_part(&self, key: &CredentialKey, folder: Folder, part: Part<Remote>) -> Part<Kept> {
        let entries = self.entries();
        let known = entries.get(&(key.clone(), folder)).map(|entry| &entry.inventory);
        part.map(|id, remote| Kept::of(remote).or_known(known.and_then(|known| known.by_id(id))))
    }

    /// A whole list, page by page; `None` where the token has to be fetched anew first.
    async fn read(
        &self,
        key: &CredentialKey,
        mut access: Access,
        folder: Folder,
    ) -> Result<Option<(Vec<(Arc<str>, Kept)>, bool)>, Failure> {
        let entry_unpaged = self.entries().get(&(key.clone(), folder)).map(|entry| entry.unpaged);
        let mut unpaged = entry_unpaged.unwrap_or_default();
        let mut assembly = Assembly::new(PAGE);
        let mut next = assembly.first();
        loop {
            let Next::Page { offset, limit } = next else {
                return Ok(Some((assembly.into_items(), next == Next::Complete)));
            };
            let queued = Instant::now();
            let permit = Arc::clone(&access.budget).acquire().await;
            self.client.metrics().waited_for_turn(queued.elapsed());
            let result = if unpaged {
                self.client.list_unpaged(&access.token, folder).await
            } else {
                self.client.list(&access.token, folder, offset, limit).await
            };
            if self.credentials.settle(&access, folder, Method::Get, permit, &result) == Settled::Refreshing {
                return Ok(None);
            }
            let refused = result.as_ref().err().map(|failure| failure.reason);
            if refused == Some(Reason::InvalidQueryParameter) && !unpaged && offset == 0 {
                // The document knows no pages; a server that holds to it is asked without.
                unpaged = true;
                continue;
            }
            let part = self.keep_part(key, folder, result?);
            next = if unpaged { assembly.push_whole(part) } else { assembly.push(part) };
            if unpaged && let Some(entry) = self.entries().get_mut(&(key.clone(), folder)) {
                entry.unpaged = true;
            }
            // The token may have been refreshed between two pages.
            if let State::Ready(fresh) = self.credentials.probe(key) {
                access = fresh;
            }
        }
    }
}

fn nothing() -> Inventory<Kept> {
    Inventory::new(Kept::name)
}

/// When the next list begins: when it is due, or as soon as may be where somebody asks and nothing has failed.
fn begin_at(entry: &Entry) -> Instant {
    // Without a token, asking does not hurry it: the credential wakes whoever waits, and looking then does.
    if entry.no_token {
        return entry.due;
    }
    let asked = entry.inventory.listed().is_none_or(|listed| listed.begun <= entry.wanted);
    if entry.failure.is_none() && asked {
        let may = entry.begun.map_or(entry.due, |begun| begun + BETWEEN_DEMANDS);
        return if entry.inventory.listed().is_none() { may.max(entry.due) } else { may };
    }
    entry.due
}
