//! Building what the operator is made of, running it, and shutting it down.

use std::error::Error;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use kube::config::{InferConfigError, KubeconfigError};
use kube::runtime::events::Reporter;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::admin::{self, Admin, HttpAddr};
use crate::args::Run;
use crate::backoff;
use crate::controller;
use crate::controller::lease::{Election, Lost};
use crate::health::{Health, Part, Role};
use crate::metrics::Metrics;
use crate::reconcile::announce::Announcer;
use crate::reconcile::deadline::Deadline;
use crate::reconcile::facts;
use crate::reconcile::gap::Gaps;
use crate::reconcile::peers::Peers;
use crate::reconcile::scope::Scope;
use crate::reconcile::secrets::{Secrets, Versions};
use crate::reconcile::{Context, Settings, Shared};
use crate::sse::credentials::{Credentials, Wakes};
use crate::sse::lists::Lists;
use crate::sse::{self, Class, InvalidSettings, Limits, Schedule, TokenEndpoint};

/// How long Events that are told already may take when the process stops.
const LAST_EVENTS: Duration = Duration::from_secs(2);

/// Why the operator could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Start {
    /// A flag cannot be used.
    #[error("cannot start")]
    Settings(#[from] InvalidSettings),
    /// No way to the API server is configured.
    #[error("there is neither a kubeconfig nor a pod's service account: set KUBECONFIG, or run in a cluster")]
    FindCluster(#[source] Unusable),
    /// The kubeconfig is there and says nothing that could be used.
    #[error(
        "the kubeconfig cannot be used: mend it, or set KUBECONFIG to another; `kubectl config view` shows what is in it"
    )]
    ReadKubeconfig(#[source] Unusable),
    /// In a pod without a token.
    #[error(
        "the service account of this pod cannot be used: see that its token is mounted (automountServiceAccountToken)"
    )]
    ReadServiceAccount(#[source] Unusable),
    /// The client of the API server cannot be built.
    #[error("what the kubeconfig says about certificates or a proxy cannot be used: mend it")]
    BuildClient(#[source] Unusable),
    /// The kubeconfig's command or provider gave no credentials.
    #[error(
        "the login that the kubeconfig asks for failed: see that its command is installed, and that it works by itself"
    )]
    LogIn(#[source] Unusable),
    /// Probes and scrapes cannot be answered.
    #[error("cannot start")]
    Admin(#[from] admin::Start),
    /// The process cannot listen to signals.
    #[error("signals cannot be listened to")]
    Signals(#[from] std::io::Error),
    /// Another process may be working by now.
    #[error("cannot go on")]
    Lost(#[from] Lost),
}

/// What kube says of a kubeconfig or service account; its errors repeat their sources, so the sources end here.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

/// Runs the operator until SIGTERM or SIGINT.
///
/// # Errors
/// [`Start`], before anything was done; or [`Start::Lost`], at once.
pub async fn run(args: Run) -> Result<(), Start> {
    run_told(args, Gaps::untold()).await
}

/// The same, telling where each pass stands: for a test that kills the process there.
///
/// # Errors
/// As [`run`].
pub async fn run_told(args: Run, gaps: Gaps) -> Result<(), Start> {
    let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (metrics, health) = (Metrics::new(), Health::new());
    let admin = match args.http_addr {
        HttpAddr::Off => None,
        HttpAddr::Listen(address) => Some(Admin::start(address, health.clone(), metrics.clone())?),
    };
    let pulse = tokio::spawn(health.pulse(Part::Runtime).for_each(|()| async {}));
    let api = sse::Settings {
        api_url: args.api_url,
        request_timeout: args.request_timeout,
        allow_http: args.allow_http,
        ..sse::Settings::default()
    };
    let client = sse::Client::new(&api)?.measured(metrics.clone());
    let endpoint = TokenEndpoint::new(&api, &args.auth_url)?.measured(metrics.clone());
    let cluster = as_is_meant(kube::Config::infer().await.map_err(|error| unusable(&error))?);
    let api_server = cluster.cluster_url.to_string();
    let kube = kube::Client::try_from(cluster).map_err(|error| no_client(&error))?;

    let limits = Limits {
        qps: args.api_qps,
        burst: args.api_burst,
        max_in_flight: usize::try_from(args.api_max_in_flight).unwrap_or(usize::MAX),
    };
    let (wakes, woken) = Wakes::channel();
    let schedule = schedule(args.resync_interval);
    let credentials = Credentials::new(endpoint, limits, schedule.clone(), wakes.clone());
    let lists = Lists::new(client.clone(), Arc::clone(&credentials), schedule, args.resync_interval, wakes.clone());
    let scope = Scope::of(args.watch_namespace);
    let watched = args.watch_secrets.then(|| scope.clone());
    let versions = Versions::new(watched, args.resync_interval);
    let secrets = Secrets::new(kube.clone(), Arc::clone(&credentials), Arc::clone(&lists), wakes.clone(), versions);
    let reporter = Reporter { controller: "mfa-operator".to_owned(), instance: None };
    let (announcer, publishing) = Announcer::channel(kube.clone(), reporter);
    tokio::spawn(publishing);
    let deadline = if args.leader_elect { Deadline::not_yet() } else { Deadline::none() };
    let election = args.leader_elect.then(|| {
        let namespace = args.lease_namespace.as_deref().unwrap_or_else(|| kube.default_namespace());
        Election::new(kube.clone(), namespace, &args.lease_name, deadline.clone())
    });
    let context = Arc::new(Context {
        announcer: announcer.clone(),
        kube,
        client,
        credentials,
        lists,
        secrets,
        peers: Arc::new(Peers::new(wakes.clone())),
        wakes,
        metrics,
        health: health.clone(),
        settings: Settings {
            scope,
            credentials_secret: args.credentials_secret,
            shared_credentials: args
                .shared_credentials
                .map(|secret| Shared { secret, namespaces: args.shared_credentials_namespaces }),
            default_deletion_policy: args.default_deletion_policy.into(),
            resync: args.resync_interval,
            request_timeout: args.request_timeout,
        },
        deadline,
        memories: Mutex::default(),
        gaps,
    });
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        api_server,
        api_url = api.api_url,
        resync_seconds = args.resync_interval.as_secs(),
        namespaces = context.settings.scope.named(),
        "starting"
    );
    let stopped = told_to_stop(terminate, interrupt);
    let stop = |mut stopped: watch::Receiver<bool>| async move {
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let work = || controller::run(context, args.concurrency, woken, stop(stopped.clone()));
    match election {
        Some(election) => {
            health.is(Role::Elects);
            election.lead(stop(stopped.clone()), || health.is(Role::StandsBy), work).await?;
        }
        None => work().await,
    }
    announcer.flush(LAST_EVENTS).await;
    pulse.abort();
    if let Some(admin) = admin {
        admin.stop().await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Turns true with the first of the two signals.
fn told_to_stop(mut terminate: Signal, mut interrupt: Signal) -> watch::Receiver<bool> {
    let (stopping, stopped) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: what is in flight is finished first");
        stopping.send_replace(true);
    });
    stopped
}

/// Which of the two ways to an API server was meant, for that one is to be mended.
fn unusable(error: &InferConfigError) -> Start {
    let kubeconfig = error.source().and_then(<dyn Error>::downcast_ref);
    let absent = match kubeconfig {
        Some(KubeconfigError::ReadConfig(source, _)) => source.kind() == ErrorKind::NotFound,
        Some(KubeconfigError::FindPath) => true,
        _ => false,
    };
    let both = || Unusable(error.to_string());
    let kubeconfig = || kubeconfig.map_or_else(both, |kubeconfig| Unusable(kubeconfig.to_string()));
    match (absent, std::env::var_os("KUBERNETES_SERVICE_HOST")) {
        (true, Some(_)) => Start::ReadServiceAccount(both()),
        (true, None) => Start::FindCluster(kubeconfig()),
        (false, _) => Start::ReadKubeconfig(kubeconfig()),
    }
}

/// Whether it is the login or the rest of what makes a client.
fn no_client(error: &kube::Error) -> Start {
    let told = Unusable(error.to_string());
    if matches!(error, kube::Error::Auth(_)) { Start::LogIn(told) } else { Start::BuildClient(told) }
}

/// The proxy of the environment is for the tenant alone: calls to the API server go there directly.
///
/// And the client does not try again by itself what a busy API server refused: up to a quarter of an hour between two of
/// its tries would hide from the reconciler, the lease and the health what they have rules for.
fn as_is_meant(mut config: kube::Config) -> kube::Config {
    config.default_retry = false;
    let told = ["HTTPS_PROXY", "https_proxy"].into_iter().filter_map(|name| std::env::var(name).ok());
    let told: Vec<String> = told.collect();
    config.proxy_url = config.proxy_url.filter(|proxy| !told.iter().any(|told| *proxy == told.as_str()));
    config
}

/// The delays of the classes, for what many resources share.
fn schedule(resync: Duration) -> Schedule {
    Schedule::new(move |class, failures, asked| {
        let class = match class {
            Class::Credential => facts::Class::Credential,
            Class::Forbidden => facts::Class::Forbidden,
            Class::Input => facts::Class::Input,
            Class::Conflict => facts::Class::Conflict,
            Class::Referenced => facts::Class::Referenced,
            Class::Throttled => facts::Class::Throttled,
            Class::Busy => facts::Class::Busy,
            Class::Server => facts::Class::Server,
        };
        let random: f64 = rand::random();
        // A tenant's permits that come in while nobody asks are lost: what it asks for is prolonged by little.
        let random = if class == facts::Class::Throttled && asked.is_some() { random / 10.0 } else { random };
        backoff::jittered(backoff::delay(class, failures, 0, resync, asked), random)
    })
}
