//! A tenant: its options, limits and configuration.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Instant;

use super::jobs::Jobs;
use super::options::{RateLimit, TenantOptions};
use super::store::Candidate;
use super::{lock, read, write};

/// A tenant.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) tsg_id: String,
    options: RwLock<Arc<TenantOptions>>,
    bucket: Mutex<Bucket>,
    /// Held by a write for as long as it takes.
    pub(crate) write_lock: tokio::sync::Mutex<()>,
    configuration: Mutex<Configuration>,
    open_token_requests: AtomicUsize,
}

/// The candidate configuration, and the jobs with the running one.
#[derive(Debug, Default)]
pub(crate) struct Configuration {
    pub(crate) candidate: Candidate,
    pub(crate) jobs: Jobs,
}

/// A token bucket; full when new.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
    limit: Option<RateLimit>,
}

impl Tenant {
    pub(crate) fn new(tsg_id: &str, options: TenantOptions) -> Self {
        Self {
            tsg_id: tsg_id.to_owned(),
            options: RwLock::new(Arc::new(options)),
            bucket: Mutex::new(Bucket { tokens: 0.0, filled: Instant::now(), limit: None }),
            write_lock: tokio::sync::Mutex::new(()),
            configuration: Mutex::new(Configuration::default()),
            open_token_requests: AtomicUsize::new(0),
        }
    }

    pub(crate) fn options(&self) -> Arc<TenantOptions> {
        Arc::clone(&read(&self.options))
    }

    pub(crate) fn set_options(&self, options: TenantOptions) {
        *write(&self.options) = Arc::new(options);
    }

    /// Looks at or changes the configuration.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Configuration) -> T) -> T {
        change(&mut lock(&self.configuration))
    }

    /// Takes a permit of the rate limit; an error is the number of whole seconds until there is one.
    pub(crate) fn take_permit(&self, limit: Option<RateLimit>) -> Result<(), u64> {
        let Some(now_limit) = limit else { return Ok(()) };
        let now = Instant::now();
        let mut bucket = lock(&self.bucket);
        if bucket.limit == limit {
            let elapsed = now.saturating_duration_since(bucket.filled).as_secs_f64();
            bucket.tokens = (bucket.tokens + elapsed * now_limit.rate).min(f64::from(now_limit.burst));
        } else {
            bucket.tokens = f64::from(now_limit.burst);
            bucket.limit = limit;
        }
        bucket.filled = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let wait = (1.0 - bucket.tokens) / now_limit.rate;
        Err(std::time::Duration::try_from_secs_f64(wait.ceil().max(1.0)).map_or(u64::MAX, |wait| wait.as_secs()))
    }

    /// Opens a token request, if not too many are open.
    pub(crate) fn open_token_request(self: &Arc<Self>, most: usize) -> Option<OpenTokenRequest> {
        let opened = OpenTokenRequest(Arc::clone(self));
        let before = self.open_token_requests.fetch_add(1, Ordering::SeqCst);
        (before < most).then_some(opened)
    }
}

/// A token request under way; dropping it ends it.
pub(crate) struct OpenTokenRequest(Arc<Tenant>);

impl Drop for OpenTokenRequest {
    fn drop(&mut self) {
        self.0.open_token_requests.fetch_sub(1, Ordering::SeqCst);
    }
}
