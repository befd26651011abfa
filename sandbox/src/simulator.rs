//! A simulator of the SSE configuration API and of the token endpoint in front of it.
//!
//! It answers as the API's documents say, checks what it is sent as a real server would, and can be told at run time to
//! answer otherwise: where documents and practice differ ([`Answers`]), with a documented error, or with a fault
//! ([`Rule`]). What it was asked is in its log ([`LogHandle`]); what another administrator does goes through
//! [`TenantHandle`]. The same can be done over HTTP, under `/_sim`.
//!
//! A request is identified, counted against the tenant's rate limit, matched against the rules, checked, carried out
//! under the write lock, and answered; it is carried out even if the client leaves meanwhile.

mod answer;
mod connection;
mod control;
mod documented;
mod folder;
mod hand;
mod jobs;
mod log;
mod object;
mod operations;
mod options;
mod query;
mod request;
mod rules;
mod serve;
mod shared;
mod store;
mod tenant;
#[cfg(test)]
mod tests;
mod tokens;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use documented::{Documented, ErrorForm};
pub use folder::{Folder, Position};
pub use hand::TenantHandle;
pub use log::{Entry, Log, LogHandle, Outcome, Summary, TimedOut};
pub use options::{
    Answers, ByName, ListShape, Options, RateLimit, SecretEcho, ServiceAccount, TenantOptions, TimeoutEcho, TokenShape,
    UnknownFields, WriteLock,
};
pub use query::Route;
pub use rules::{Apply, Reply, Rule, RuleState, When};
pub use store::{Refused, StoredObject};

use shared::Shared;

/// A running simulator. It stops when this is dropped.
#[derive(Debug)]
pub struct Simulator {
    shared: Arc<Shared>,
}

impl Simulator {
    /// Starts a simulator on the current runtime.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(options: Options) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(&options));
        shared.listen(options.listen).await?;
        Ok(Self { shared })
    }

    /// The API's base URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.shared.url()
    }

    /// The whole URL of the token endpoint.
    #[must_use]
    pub fn auth_url(&self) -> String {
        self.shared.auth_url()
    }

    /// A tenant; it is made if there is none.
    #[must_use]
    pub fn tenant(&self, tsg_id: &str) -> TenantHandle {
        let tenant = match self.shared.tenant(tsg_id) {
            Some(tenant) => tenant,
            None => self.shared.configure(tsg_id, TenantOptions::default()),
        };
        TenantHandle { shared: Arc::clone(&self.shared), tenant }
    }

    /// All objects of all tenants, secrets included.
    #[must_use]
    pub fn objects(&self) -> Vec<StoredObject> {
        let tenants = self.shared.tenants().into_iter();
        tenants.flat_map(|tenant| TenantHandle { shared: Arc::clone(&self.shared), tenant }.objects()).collect()
    }

    /// Adds a rule and returns its name.
    #[allow(clippy::must_use_candidate, reason = "most callers name their rule")]
    pub fn inject(&self, rule: Rule) -> String {
        self.shared.rules.add(rule)
    }

    /// The rules and what they have done.
    #[must_use]
    pub fn rules(&self) -> Vec<RuleState> {
        self.shared.rules.states()
    }

    /// How many requests the rules of that name have touched.
    #[must_use]
    pub fn hits(&self, rule: &str) -> u64 {
        self.rules().iter().filter(|state| state.rule.name == rule).map(|state| state.hits).sum()
    }

    /// Removes the rules of that name, and says how many there were.
    #[allow(clippy::must_use_candidate, reason = "the rule is gone either way")]
    pub fn remove_rule(&self, name: &str) -> usize {
        self.shared.rules.remove(Some(name))
    }

    /// Removes all rules.
    pub fn clear_rules(&self) {
        self.shared.rules.remove(None);
    }

    /// The request log.
    #[must_use]
    pub fn log(&self) -> LogHandle {
        self.shared.log.clone()
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.count()
    }

    /// Resets every open connection; new ones are welcome.
    pub fn reset_connections(&self) {
        self.shared.connections.reset_all();
    }

    /// Begins an outage: connections are reset and new ones refused. The state stays.
    pub async fn stop(&self) {
        self.shared.stop().await;
    }

    /// Ends an outage, on the same port.
    ///
    /// # Errors
    /// When another process has taken the port.
    pub async fn resume(&self) -> io::Result<()> {
        self.shared.listen(None).await
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shared.abort();
    }
}

// A panic under a lock fails its test anyway; what it left is as good as any other state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
