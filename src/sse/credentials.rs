//! What is known of each credential: its token, its tenant, whether the API takes it, and how many calls it may make.
//!
//! # Expected flow
//! Whoever reads a Secret [`Credentials::put`]s what it holds. A call asks for [`Credentials::access`], takes a permit
//! from the budget in it, and hands what came of it to [`Credentials::settle`], the one place where a 401, a 429 and a
//! success have consequences for the other users of the credential.
//!
//! # Guarantees
//! - One token a version of a service account, fetched once however many wait for it, and once more after a 401.
//! - A credential that the API refuses is probed by one call at a time, on a schedule, for all its users.
//! - The token's word about its tenant counts for nothing until the API has taken the token: until then a credential has
//!   a budget and pauses of its own.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::budget::{Budget, Limits, Permit};
use super::error::{Class, Failure, Method};
use super::token::{Claims, Fetched, Token, TokenEndpoint};
use super::types::Folder;
use super::{CredentialKey, Schedule};
use crate::telemetry::chain;

#[cfg(test)]
mod tests;

/// One that waits for something of this layer; its name means nothing here.
pub type Waiter = Arc<str>;

/// Where the woken are named.
#[derive(Clone, Debug)]
pub struct Wakes(mpsc::UnboundedSender<Waiter>);

impl Wakes {
    /// A pair: what wakes, and who is woken.
    #[must_use]
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Waiter>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Wakes these.
    pub fn wake(&self, waiters: impl IntoIterator<Item = Waiter>) {
        for waiter in waiters {
            // Nobody listens any more once the process shuts down.
            let _ = self.0.send(waiter);
        }
    }
}

/// What a Secret holds.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Source {
    /// A bearer token.
    Static(Token),
    /// A service account.
    ServiceAccount { client_id: SecretString, client_secret: SecretString, tsg_id: String },
}

impl Source {
    fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Static(token), Self::Static(other)) => token.equals(other),
            (
                Self::ServiceAccount { client_id, client_secret, tsg_id },
                Self::ServiceAccount { client_id: other_id, client_secret: other_secret, tsg_id: other_tsg },
            ) => {
                client_id.expose_secret() == other_id.expose_secret()
                    && client_secret.expose_secret() == other_secret.expose_secret()
                    && tsg_id == other_tsg
            }
            _ => false,
        }
    }
}

/// What a call needs.
#[derive(Clone, Debug)]
pub struct Access {
    /// The bearer token.
    pub token: Token,
    /// The budget that the call takes a permit from.
    pub budget: Arc<Budget>,
    /// Which token of the credential it is.
    serial: u64,
    /// Which [`Credentials::put`] it is of.
    epoch: u64,
    key: CredentialKey,
}

/// What is known of a credential's tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its name: the TSG id, or that of the credential where no token tells it.
    pub name: Arc<str>,
    /// Whether the token tells it.
    pub told: bool,
    /// The API has taken the credential at its present version.
    pub verified: bool,
}

/// Whether a credential can be used.
#[derive(Clone, Debug)]
pub enum State {
    /// Nothing was put under this key at this version.
    Missing,
    /// Its token is being fetched.
    Pending,
    /// The token says that its time is over.
    Expired,
    /// The API answered 401; one call tries again when its time has come.
    Rejected(Failure),
    /// The token endpoint refused.
    TokenRejected(Failure),
    /// The token endpoint has given no usable answer for this long.
    TokenUnavailable(Failure, Duration),
    /// A token is at hand.
    Ready(Access),
}

/// What came of handing a result to [`Credentials::settle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The result stands.
    Stands,
    /// The token was refused, and another one is being fetched: the call is worth another try.
    Refreshing,
}

/// How long before its end a token is fetched anew.
const REFRESH_BEFORE: Duration = Duration::from_mins(1);
/// How long a token is used at least, whatever the endpoint says of it: one that is said to be over already would be
/// fetched again and again without a pause.
const LEAST_USE: Duration = Duration::from_secs(5);
/// How long a token is taken to be good where the endpoint does not say.
const USUAL_VALIDITY: Duration = Duration::from_secs(899);

#[derive(Debug)]
struct Entry {
    version: String,
    epoch: u64,
    source: Source,
    tenant: Tenant,
    budget: Arc<Budget>,
    token: Option<Held>,
    fetch: Fetch,
    rejected: Option<Rejection>,
    /// What was answered with 403, by folder and method.
    forbidden: HashMap<(Folder, Method), Rejection>,
    /// Refusals of the token running; only a call that wrote, or a new version, ends the run.
    rejections: u32,
    /// Throttled answers running.
    throttled: u32,
    serial: u64,
    /// An id that was known before was seen under this version.
    sighted: bool,
    waiters: HashSet<Waiter>,
}

#[derive(Debug)]
struct Held {
    token: Token,
    serial: u64,
    /// The wall clock's time of a static token's end.
    expires: Option<Timestamp>,
    /// When a fetched token is due to be fetched anew.
    refresh: Option<Instant>,
    /// It was fetched because the one before was refused: a refusal of this one stands.
    after_refusal: bool,
}

#[derive(Debug, Default)]
struct Fetch {
    running: bool,
    after_refusal: bool,
    failures: u32,
    failed: Option<(Failure, Instant)>,
    /// Since when no token could be fetched.
    since: Option<Instant>,
}

#[derive(Debug)]
struct Rejection {
    failure: Failure,
    until: Instant,
    probing: bool,
    /// How often it came running.
    times: u32,
}

/// Every credential that is in use.
#[derive(Debug)]
pub struct Credentials {
    entries: Mutex<HashMap<CredentialKey, Entry>>,
    tenants: Mutex<HashMap<Arc<str>, Weak<Budget>>>,
    epochs: AtomicU64,
    endpoint: TokenEndpoint,
    limits: Limits,
    schedule: Schedule,
    wakes: Wakes,
}

impl Credentials {
    /// None yet.
    #[must_use]
    pub fn new(endpoint: TokenEndpoint, limits: Limits, schedule: Schedule, wakes: Wakes) -> Arc<Self> {
        Arc::new(Self {
            entries: Mutex::default(),
            tenants: Mutex::default(),
            epochs: AtomicU64::new(0),
            endpoint,
            limits,
            schedule,
            wakes,
        })
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<CredentialKey, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what the Secret holds at this version, and answers whether it is another credential than before: then all
    /// that was known is forgotten.
    pub fn put(&self, key: &CredentialKey, version: &str, source: Source) -> bool {
        let mut entries = self.entries();
        if let Some(entry) = entries.get_mut(key).filter(|entry| entry.source.equals(&source)) {
            // Another version with the same bytes, as an annotation on the Secret makes one.
            version.clone_into(&mut entry.version);
            return false;
        }
        let epoch = self.epochs.fetch_add(1, Ordering::Relaxed);
        let (token, claims) = match &source {
            Source::Static(token) => {
                let claims = Claims::read(token);
                let held = Held {
                    token: token.clone(),
                    serial: 0,
                    expires: claims.expires,
                    refresh: None,
                    after_refusal: true,
                };
                (Some(held), claims)
            }
            Source::ServiceAccount { tsg_id, .. } => (None, Claims { expires: None, tenant: Some(tsg_id.clone()) }),
        };
        let told = claims.tenant.is_some();
        let name = claims.tenant.map_or_else(|| Arc::from(format!("secret/{key}")), Arc::from);
        let waiters = entries.remove(key).map(|old| old.waiters).unwrap_or_default();
        let entry = Entry {
            version: version.to_owned(),
            epoch,
            source,
            tenant: Tenant { name, told, verified: false },
            budget: Budget::new(self.limits),
            token,
            fetch: Fetch::default(),
            rejected: None,
            forbidden: HashMap::new(),
            rejections: 0,
            throttled: 0,
            serial: 0,
            sighted: false,
            waiters,
        };
        entries.insert(key.clone(), entry);
        true
    }

    /// Forgets a credential that nothing uses any more.
    pub fn remove(&self, key: &CredentialKey) {
        self.entries().remove(key);
    }

    /// The version that was put last.
    #[must_use]
    pub fn version(&self, key: &CredentialKey) -> Option<String> {
        self.entries().get(key).map(|entry| entry.version.clone())
    }

    /// What is known of the credential's tenant.
    #[must_use]
    pub fn tenant(&self, key: &CredentialKey) -> Option<Tenant> {
        self.entries().get(key).map(|entry| entry.tenant.clone())
    }

    /// An id that was known before was seen with this credential at its present version: it is the same tenant's.
    pub fn sighted(&self, key: &CredentialKey) {
        if let Some(entry) = self.entries().get_mut(key) {
            entry.sighted = true;
        }
    }

    /// Whether a known id was seen with this credential at its present version.
    #[must_use]
    pub fn is_sighted(&self, key: &CredentialKey) -> bool {
        self.entries().get(key).is_some_and(|entry| entry.sighted)
    }

    /// Whether the credential can be used. Whoever asks is woken when that changes.
    #[must_use]
    pub fn access(self: &Arc<Self>, key: &CredentialKey, waiter: &Waiter) -> State {
        self.state(key, Some(waiter), false)
    }

    /// The same for a call that may find out whether a refused credential is good again: one at a time gets through.
    #[must_use]
    pub fn probe(self: &Arc<Self>, key: &CredentialKey) -> State {
        self.state(key, None, true)
    }

    /// When a refused or unavailable credential is due to be tried again.
    #[must_use]
    pub fn next_probe(&self, key: &CredentialKey) -> Option<Instant> {
        let entries = self.entries();
        let entry = entries.get(key)?;
        let rejected = entry.rejected.as_ref().map(|rejection| rejection.until);
        rejected.or(entry.fetch.failed.as_ref().map(|(_, until)| *until))
    }

    fn state(self: &Arc<Self>, key: &CredentialKey, waiter: Option<&Waiter>, probe: bool) -> State {
        let now = Instant::now();
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(key) else { return State::Missing };
        if let Some(waiter) = waiter
            && !entry.waiters.contains(waiter)
        {
            entry.waiters.insert(Arc::clone(waiter));
        }
        if let Some(rejection) = &entry.rejected
            && (!probe || rejection.probing || rejection.until > now)
        {
            return State::Rejected(rejection.failure.clone());
        }
        if let Some(held) = &entry.token {
            if held.expires.is_some_and(|expires| expires <= Timestamp::now()) {
                return State::Expired;
            }
            let due = held.refresh.is_some_and(|refresh| refresh <= now);
            if !due {
                // A token that has to be fetched first makes no probe yet.
                if let Some(rejection) = &mut entry.rejected {
                    rejection.probing = true;
                }
                return State::Ready(Access {
                    token: held.token.clone(),
                    budget: Arc::clone(&entry.budget),
                    serial: held.serial,
                    epoch: entry.epoch,
                    key: key.clone(),
                });
            }
        }
        if let Some((failure, until)) = &entry.fetch.failed
            && *until > now
        {
            return if failure.class == Class::Credential {
                State::TokenRejected(failure.clone())
            } else {
                let long = entry.fetch.since.map_or(Duration::ZERO, |since| since.elapsed());
                State::TokenUnavailable(failure.clone(), long)
            };
        }
        if !entry.fetch.running {
            entry.fetch.running = true;
            tokio::spawn(Arc::clone(self).fetch(key.clone(), entry.epoch, entry.source.clone()));
        }
        State::Pending
    }

    async fn fetch(self: Arc<Self>, key: CredentialKey, epoch: u64, source: Source) {
        let Source::ServiceAccount { client_id, client_secret, tsg_id } = source else { return };
        let result = self.endpoint.fetch_service_account_token(&client_id, &client_secret, &tsg_id).await;
        self.count_fetch(&result);
        let now = Instant::now();
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(&key).filter(|entry| entry.epoch == epoch) else { return };
        entry.fetch.running = false;
        match result {
            Ok(Fetched { token, expires_in }) => {
                let validity = expires_in.unwrap_or(USUAL_VALIDITY);
                // A token that lives less than twice the margin is used for half its life.
                let refresh = now + validity.saturating_sub(REFRESH_BEFORE).max(validity / 2).max(LEAST_USE);
                entry.serial += 1;
                entry.token = Some(Held {
                    token,
                    serial: entry.serial,
                    expires: None,
                    refresh: Some(refresh),
                    after_refusal: entry.fetch.after_refusal,
                });
                entry.fetch = Fetch::default();
                tracing::info!(credential = %key, valid_seconds = validity.as_secs(), "token fetched");
            }
            Err(failure) => {
                entry.fetch.failures += 1;
                entry.fetch.since.get_or_insert(now);
                let delay = self.schedule.delay(failure.class, entry.fetch.failures, failure.retry_after);
                tracing::warn!(credential = %key, retry_in_seconds = delay.as_secs(), error = %chain(&failure), "no token");
                entry.fetch.failed = Some((failure, now + delay));
                let again = Arc::clone(&self);
                let key = key.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    again.wake_all(&key, epoch);
                });
            }
        }
        self.wakes.wake(entry.waiters.iter().cloned());
    }

    fn count_fetch(&self, result: &Result<Fetched, Failure>) {
        let metrics = self.endpoint.metrics();
        match result {
            Ok(_) => metrics.fetched_token("fetched"),
            Err(failure) => {
                let rejected = failure.class == Class::Credential;
                metrics.fetched_token(if rejected { "rejected" } else { "unavailable" });
                metrics.to_be_retried(failure.class.as_str());
            }
        }
    }

    fn wake_all(&self, key: &CredentialKey, epoch: u64) {
        if let Some(entry) = self.entries().get(key).filter(|entry| entry.epoch == epoch) {
            self.wakes.wake(entry.waiters.iter().cloned());
        }
    }

    /// Forgets one that does not wait any more.
    pub fn forget(&self, waiter: &Waiter) {
        for entry in self.entries().values_mut() {
            entry.waiters.remove(waiter);
        }
    }

    /// When what the API has refused this credential, in this folder or altogether, is due to be asked for again.
    #[must_use]
    pub fn next_try(&self, key: &CredentialKey, folder: Folder) -> Option<Instant> {
        let entries = self.entries();
        let entry = entries.get(key)?;
        let forbidden =
            entry.forbidden.iter().filter(|((of, _), _)| *of == folder).map(|(_, rejection)| rejection.until);
        entry.rejected.as_ref().map(|rejection| rejection.until).into_iter().chain(forbidden).max()
    }

    /// What this credential may not do in this folder, by the API's last word, while it is not time to ask again.
    #[must_use]
    pub fn forbidden(&self, key: &CredentialKey, folder: Folder, method: Method) -> Option<Failure> {
        let entries = self.entries();
        let rejection = entries.get(key)?.forbidden.get(&(folder, method))?;
        (rejection.probing || rejection.until > Instant::now()).then(|| rejection.failure.clone())
    }

    /// Takes the one call that may find out whether what was forbidden is allowed by now. `Err`: another one has it, or it
    /// is not time yet.
    ///
    /// # Errors
    /// The API's last word.
    pub fn try_forbidden(&self, access: &Access, folder: Folder, method: Method) -> Result<(), Failure> {
        let mut entries = self.entries();
        let entry = entries.get_mut(&access.key).filter(|entry| entry.epoch == access.epoch);
        let Some(rejection) = entry.and_then(|entry| entry.forbidden.get_mut(&(folder, method))) else { return Ok(()) };
        if rejection.probing || rejection.until > Instant::now() {
            return Err(rejection.failure.clone());
        }
        rejection.probing = true;
        Ok(())
    }

    /// Draws the consequences of a call for all users of its credential.
    pub fn settle<T>(
        self: &Arc<Self>,
        access: &Access,
        folder: Folder,
        method: Method,
        permit: Permit,
        result: &Result<T, Failure>,
    ) -> Settled {
        let now = Instant::now();
        let mut entries = self.entries();
        // An older version's call says nothing of the present one.
        let mut entry = entries.get_mut(&access.key).filter(|entry| entry.epoch == access.epoch);
        match (result, &mut entry) {
            (Ok(_), _) => permit.success(),
            (Err(failure), Some(entry)) if failure.class == Class::Throttled => {
                entry.throttled += 1;
                let pause = self.schedule.delay(Class::Throttled, entry.throttled, failure.retry_after);
                entry.budget.throttled(permit, now + pause);
            }
            (Err(failure), _) if matches!(failure.class, Class::Busy | Class::Throttled) => permit.congested(),
            (Err(_), _) => drop(permit),
        }
        let Some(entry) = entry else { return Settled::Stands };
        match result {
            Ok(_) => {
                entry.throttled = 0;
                if method != Method::Get {
                    entry.rejections = 0;
                }
                let was_forbidden = entry.forbidden.remove(&(folder, method)).is_some();
                let was_rejected = entry.rejected.take().is_some() || was_forbidden;
                if !entry.tenant.verified {
                    entry.tenant.verified = true;
                    entry.budget = self.shared_budget(&entry.tenant.name, &entry.budget);
                }
                if was_rejected {
                    self.wakes.wake(entry.waiters.iter().cloned());
                }
                Settled::Stands
            }
            Err(failure) => {
                if failure.class == Class::Forbidden {
                    self.forbid(entry, access, (folder, method), failure);
                } else if let Some(rejection) = entry.forbidden.get_mut(&(folder, method)) {
                    rejection.probing = false;
                }
                if failure.class == Class::Credential {
                    return self.reject(entry, access, failure, now);
                }
                // The API answered otherwise than with 401: the probe is over, and the credential not proven bad.
                if failure.http_status.is_some() && entry.rejected.take().is_some() {
                    self.wakes.wake(entry.waiters.iter().cloned());
                } else if let Some(rejection) = &mut entry.rejected {
                    rejection.probing = false;
                    rejection.until = now + self.schedule.delay(failure.class, 1, failure.retry_after);
                }
                Settled::Stands
            }
        }
    }

    /// A 403 concerns one folder and method: nobody asks again before its time, and then one does.
    fn forbid(self: &Arc<Self>, entry: &mut Entry, access: &Access, what: (Folder, Method), failure: &Failure) {
        let known = entry.forbidden.get(&what);
        if known.is_some_and(|known| !known.probing) {
            return;
        }
        let times = known.map_or(1, |known| known.times + 1);
        let delay = self.schedule.delay(Class::Forbidden, times, failure.retry_after);
        let until = Instant::now() + delay;
        entry.forbidden.insert(what, Rejection { failure: failure.clone(), until, probing: false, times });
        self.wakes.wake(entry.waiters.iter().cloned());
        let (again, key, epoch) = (Arc::clone(self), access.key.clone(), access.epoch);
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            again.wake_all(&key, epoch);
        });
    }

    fn reject(&self, entry: &mut Entry, access: &Access, failure: &Failure, now: Instant) -> Settled {
        let stands = entry.token.as_ref().is_some_and(|held| held.serial == access.serial && held.after_refusal);
        if !stands {
            // Another call may have met this before; then its token is gone already.
            if entry.token.as_ref().is_some_and(|held| held.serial == access.serial) {
                entry.token = None;
                entry.fetch.after_refusal = true;
            }
            if let Some(rejection) = &mut entry.rejected {
                rejection.probing = false;
            }
            return Settled::Refreshing;
        }
        let probing = entry.rejected.as_ref().is_some_and(|rejection| rejection.probing);
        if entry.rejected.is_none() || probing {
            entry.rejections += 1;
            let delay = self.schedule.delay(Class::Credential, entry.rejections, None);
            let times = entry.rejections;
            entry.rejected = Some(Rejection { failure: failure.clone(), until: now + delay, probing: false, times });
            self.wakes.wake(entry.waiters.iter().cloned());
        }
        Settled::Stands
    }

    /// The tenant's budget, which this credential's becomes if the tenant has none. What the tenant asked this credential
    /// to wait for holds for all from now on.
    fn shared_budget(&self, tenant: &Arc<str>, own: &Arc<Budget>) -> Arc<Budget> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = tenants.get(tenant).and_then(Weak::upgrade) {
            if let Some(until) = own.paused_until() {
                budget.pause_until(until);
            }
            return budget;
        }
        tenants.retain(|_, budget| budget.strong_count() > 0);
        tenants.insert(Arc::clone(tenant), Arc::downgrade(own));
        Arc::clone(own)
    }
}
