//! What all requests and handles share, and the listener's coming and going.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::{Duration, Instant};

use axum::Router;
use sha1::{Digest as _, Sha1};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::connection::{Acceptor, Connection, Connections};
use super::log::LogHandle;
use super::options::{Options, TenantOptions};
use super::rules::Rules;
use super::serve::serve;
use super::tenant::Tenant;
use super::tokens::Tokens;
use super::{lock, read, write};

/// The state that survives an outage.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) seed: u64,
    serial: AtomicU64,
    tenants: RwLock<BTreeMap<String, Arc<Tenant>>>,
    pub(crate) tokens: Tokens,
    pub(crate) rules: Rules,
    pub(crate) log: LogHandle,
    pub(crate) connections: Arc<Connections>,
    address: OnceLock<SocketAddr>,
    listening: Mutex<Option<JoinHandle<()>>>,
}

impl Shared {
    pub(crate) fn new(options: &Options) -> Self {
        let shared = Self {
            seed: options.seed.unwrap_or_else(random),
            serial: AtomicU64::new(0),
            tenants: RwLock::default(),
            tokens: Tokens::default(),
            rules: Rules::default(),
            log: LogHandle::new(Instant::now()),
            connections: Arc::default(),
            address: OnceLock::new(),
            listening: Mutex::default(),
        };
        for (tsg_id, options) in &options.tenants {
            shared.configure(tsg_id, options.clone());
        }
        for rule in &options.rules {
            shared.rules.add(rule.clone());
        }
        shared
    }

    /// An id that looks random and never comes twice.
    pub(crate) fn uuid(&self) -> String {
        let serial = self.serial.fetch_add(1, Ordering::SeqCst);
        let mut hash = Sha1::new();
        hash.update(self.seed.to_be_bytes());
        hash.update(serial.to_be_bytes());
        let hash = hash.finalize();
        let part =
            |from: usize, to: usize| hash[from..to].iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            part(0, 4),
            part(4, 6),
            part(6, 8) & 0xfff,
            part(8, 10) & 0x3fff | 0x8000,
            part(10, 16)
        )
    }

    pub(crate) fn tenant(&self, tsg_id: &str) -> Option<Arc<Tenant>> {
        read(&self.tenants).get(tsg_id).cloned()
    }

    pub(crate) fn tenants(&self) -> Vec<Arc<Tenant>> {
        read(&self.tenants).values().cloned().collect()
    }

    /// Makes a tenant, or changes what there is.
    pub(crate) fn configure(&self, tsg_id: &str, options: TenantOptions) -> Arc<Tenant> {
        let mut tenants = write(&self.tenants);
        let before = tenants.get(tsg_id).map(|tenant| tenant.options());
        for gone in before.iter().flat_map(|before| &before.bearer_tokens) {
            if !options.bearer_tokens.contains(gone) {
                self.tokens.remove(gone);
            }
        }
        for token in &options.bearer_tokens {
            self.tokens.add_static(tsg_id, token);
        }
        if let Some(tenant) = tenants.get(tsg_id) {
            tenant.set_options(options);
            return Arc::clone(tenant);
        }
        let tenant = Arc::new(Tenant::new(tsg_id, options));
        tenants.insert(tsg_id.to_owned(), Arc::clone(&tenant));
        tenant
    }

    /// Whether any tenant has that service account.
    pub(crate) fn has_account(&self, client_id: &str, client_secret: &str) -> bool {
        self.tenants().iter().any(|tenant| {
            let options = tenant.options();
            options
                .service_accounts
                .iter()
                .any(|account| account.client_id == client_id && account.client_secret == client_secret)
        })
    }

    /// Where it listens or listened.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.get().copied().unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    pub(crate) fn auth_url(&self) -> String {
        format!("{}/oauth2/access_token", self.url())
    }

    /// Listens, at the same address as before if there was one.
    pub(crate) async fn listen(self: &Arc<Self>, wanted: Option<SocketAddr>) -> io::Result<()> {
        let before = self.address.get().copied();
        let at = before.or(wanted).unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let listener = bind(at, if before.is_some() { 40 } else { 0 }).await?;
        let address = listener.local_addr()?;
        self.address.get_or_init(|| address);
        let acceptor = Acceptor { listener, connections: Arc::clone(&self.connections) };
        let service = Router::new()
            .fallback(serve)
            .with_state(Arc::clone(self))
            .into_make_service_with_connect_info::<Connection>();
        let task = tokio::spawn(async move {
            // It ends only by being aborted.
            let _ = axum::serve(acceptor, service).await;
        });
        if let Some(other) = lock(&self.listening).replace(task) {
            other.abort();
        }
        Ok(())
    }

    /// Stops listening and resets every connection.
    pub(crate) async fn stop(&self) {
        let task = lock(&self.listening).take();
        if let Some(task) = task {
            task.abort();
            // An error says that it was aborted, as it should be.
            let _ = task.await;
        }
        for _ in 0..200 {
            self.connections.reset_all();
            if self.connections.count() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The same without waiting.
    pub(crate) fn abort(&self) {
        if let Some(task) = lock(&self.listening).take() {
            task.abort();
        }
        self.connections.reset_all();
    }
}

/// Binds; another socket may hold the port for a moment, so it tries again a few times.
async fn bind(address: SocketAddr, tries: u32) -> io::Result<TcpListener> {
    for _ in 0..tries {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(error),
        }
    }
    TcpListener::bind(address).await
}

fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}
