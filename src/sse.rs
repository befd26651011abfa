//! The SSE configuration API: a client that does one request a call, its errors told apart, tokens, and the budget of
//! calls towards a tenant.
//!
//! # The parts
//! - [`client`]: create, get, list, replace, delete. One call is one request: nothing here tries again.
//! - [`token`]: what a Secret's bytes are good for, a token's claims, and the token endpoint.
//! - [`error`]: a [`Failure`] with its [`Reason`], its [`Class`] and whether the tenant may have [`Acted`] on the call.
//! - [`budget`]: how many calls a tenant bears, at a time and a second.
//! - [`types`]: what goes over the wire; [`inventory`]: what a folder holds, from pages and own writes (pure).
//!
//! # Guarantees
//! - Knows nothing of Kubernetes, and a credential only as an opaque [`CredentialKey`].
//! - No body, token or secret is in a log line, in `Debug`, in `Display` or in an error's chain.
//! - Whatever a server sends, a call ends within the request timeout and within a bounded amount of memory.
//!
//! # Assumptions
//! - The process has installed a default TLS provider of rustls before the first [`client::Client`] is built.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

mod answer;
pub mod budget;
pub mod client;
pub mod credentials;
pub mod error;
#[cfg(test)]
mod fuzz;
pub mod inventory;
pub mod lists;
pub mod token;
mod transport;
pub mod types;

pub use budget::{Budget, Limits, Permit};
pub use client::{Client, Settings};
pub use error::{Acted, Class, Failure, Method, Reason};
pub use token::{Claims, Fetched, InvalidSecretValue, Token, TokenEndpoint, secret_text};
pub use transport::InvalidSettings;

/// Which credential is meant, without saying what it is: equal keys are one credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialKey(Arc<str>);

impl CredentialKey {
    /// The key that this text names. The text is for logs and metrics too: it is a name, never a secret.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CredentialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// From a class of failure, how often it came running, and what the server asked for, to the delay before the next try.
type DelayOf = dyn Fn(Class, u32, Option<Duration>) -> Duration + Send + Sync;

/// How long is waited before the next try; jitter included, so that each call may answer a little more.
#[derive(Clone)]
pub struct Schedule(Arc<DelayOf>);

impl Schedule {
    /// The schedule that this function gives.
    pub fn new(delay: impl Fn(Class, u32, Option<Duration>) -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(delay))
    }

    /// The delay after so many failures of this class running.
    #[must_use]
    pub fn delay(&self, class: Class, failures: u32, retry_after: Option<Duration>) -> Duration {
        (self.0)(class, failures, retry_after)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schedule")
    }
}
