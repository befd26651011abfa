//! The secrets of one run.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

/// Values that are obviously made up, others in each run, so that a check can look for them where they must not be.
pub struct Secrets {
    /// The service account's secret.
    pub client_secret: String,
    /// A token that the API refuses.
    pub bad_token: String,
    /// What a vendor's Secret is changed to.
    pub rotated: String,
    /// The Secret that comes late.
    pub late: String,
    /// What another administrator gave to an object of the tenant.
    pub by_hand: String,
}

impl Secrets {
    /// New ones.
    #[must_use]
    pub fn random() -> Self {
        let value = |what: &str| {
            let half = || RandomState::new().hash_one(what);
            format!("fake-{what}-{:016x}{:016x}", half(), half())
        };
        Self {
            client_secret: value("client-secret"),
            bad_token: value("bad-token"),
            rotated: value("rotated"),
            late: value("late"),
            by_hand: value("by-hand"),
        }
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> [&str; 5] {
        let Self { client_secret, bad_token, rotated, late, by_hand } = self;
        [client_secret, bad_token, rotated, late, by_hand]
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secrets(…)")
    }
}
