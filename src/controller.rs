//! The controller: what is watched, what starts a pass, and how it stops.
//!
//! # Guarantees
//! - An object that cannot be read is skipped and logged; the others go on.
//! - The Secrets' versions are known before the first pass, so that no Secret seems missing that is there.
//! - The operator's own writes start no pass: what it wrote is known to the pass that wrote it.

mod anew;
pub mod lease;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures::{Future, FutureExt, StreamExt, TryStreamExt, future, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{PredicateConfig, WatchStreamExt};
use kube::{Api, Resource, ResourceExt};
use tokio::sync::{mpsc, watch};

use self::anew::Anew;
use crate::crd::{ANNOTATION_FORCE_DELETE, ANNOTATION_ID, ANNOTATION_RECONCILE_REQUESTED_AT, MfaServer};
use crate::health::{Part, Watch};
use crate::reconcile::{self, Context, peers};
use crate::sse::credentials::Waiter;
use crate::telemetry::chain;

/// A resource, or one that cannot be read: it must not stop the watch of the others.
type Guarded = DeserializeGuard<MfaServer>;

/// Events of one resource within this time start one pass.
const DEBOUNCE: Duration = Duration::from_millis(10);

/// Leads from now on, until `stop` resolves; passes that are under way end first.
pub async fn run(
    context: Arc<Context>,
    concurrency: u16,
    woken: mpsc::UnboundedReceiver<Waiter>,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    context.health.stand_by(false);
    context.metrics.leads(true);
    let (synced, mut is_synced) = watch::channel(false);
    let secrets = tokio::spawn(watch_secrets(Arc::clone(&context), synced));
    let (reader, writer) = reflector::store();
    let listed = reader.clone();
    let servers: Api<Guarded> = Api::all(context.kube.clone());
    let metrics = context.metrics.clone();
    let health = context.health.clone();
    let mut listing = Listing { context: Arc::clone(&context), present: HashSet::new() };
    let events = watcher::watcher(servers, watcher::Config::default())
        .modify(|server| server.meta_mut().managed_fields = None)
        .inspect_ok(move |event| listing.observe(event))
        .inspect_err(move |error| {
            metrics.watch_failed("mfaservers");
            tracing::warn!(error = %chain(error), "watching MfaServers failed; it is tried again (is the CRD installed, is the API server reachable?)");
        })
        .backoff(Anew::default())
        .reflect(writer)
        .applied_objects()
        .predicate_filter(|server: &Guarded| Some(worth_a_pass(server)), PredicateConfig::default());
    let woken = stream::unfold(woken, |mut woken| async move { Some((woken.recv().await?, woken)) })
        .filter_map(|waiter| async move { reference(&waiter) });
    let pulse = health.pulse(Part::Controller).filter_map(|()| async { None });
    let woken = stream::select(woken, pulse);
    let stop = Box::pin(stop);
    let (stopping, mut stopped) = watch::channel(false);
    tokio::spawn(async move {
        stop.await;
        health.stopping();
        stopping.send_replace(true);
    });
    let (mut early, mut unlisted) = (stopped.clone(), stopped.clone());
    tokio::select! {
        _ = is_synced.wait_for(|synced| *synced) => {}
        _ = early.wait_for(|stopped| *stopped) => return secrets.abort(),
    }
    tracing::info!("Secrets are known; starting");
    let work = Controller::for_stream(events, reader)
        .with_config(Config::default().concurrency(concurrency).debounce(DEBOUNCE))
        // The controller waits as well when the watch that it is given has failed.
        .trigger_backoff(Anew::default())
        .reconcile_on(woken)
        .graceful_shutdown_on(async move {
            let _ = stopped.wait_for(|stopped| *stopped).await;
        })
        .run(pass, |_, _: &Never, _| Action::await_change(), context)
        .for_each(|result| async move {
            if let Err(error) = result {
                // An object that went between its event and its pass is no trouble.
                tracing::debug!(error = %chain(&error), "no pass");
            }
        });
    // The controller begins no pass before the first list is there, and waits for that list even when it is to stop.
    let unlisted = async {
        let _ = unlisted.wait_for(|stopped| *stopped).await;
        if listed.wait_until_ready().now_or_never().is_some() {
            future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = work => {}
        () = unlisted => {}
    }
    secrets.abort();
}

/// A pass says itself when it is to come again; it never fails.
#[derive(Debug, thiserror::Error)]
pub enum Never {}

async fn pass(server: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Never> {
    match &server.0 {
        Ok(server) => Ok(reconcile::reconcile(Arc::new(server.clone()), context).await),
        Err(invalid) => {
            let resource = ObjectRef::from_obj(&*server);
            tracing::error!(%resource, error = invalid.error, "this resource cannot be read; it is left alone until it changes");
            Ok(Action::await_change())
        }
    }
}

/// What starts a pass: another generation (a deletion is one), or a verb.
fn worth_a_pass(server: &Guarded) -> u64 {
    let meta = server.meta();
    let annotations = meta.annotations.as_ref();
    let verbs = [ANNOTATION_RECONCILE_REQUESTED_AT, ANNOTATION_FORCE_DELETE, ANNOTATION_ID];
    let mut hash = DefaultHasher::new();
    meta.generation.hash(&mut hash);
    meta.deletion_timestamp.is_some().hash(&mut hash);
    for verb in verbs {
        annotations.and_then(|annotations| annotations.get(verb)).hash(&mut hash);
    }
    hash.finish()
}

fn reference(waiter: &Waiter) -> Option<ObjectRef<Guarded>> {
    let (namespace, name) = waiter.split_once('/')?;
    Some(ObjectRef::new(name).within(namespace))
}

fn waiter_of(server: &Guarded) -> Waiter {
    peers::waiter(&server.namespace().unwrap_or_default(), &server.name_any())
}

/// Follows the resources' watch for what they claim, and forgets those that are gone.
struct Listing {
    context: Arc<Context>,
    present: HashSet<Waiter>,
}

impl Listing {
    fn observe(&mut self, event: &Event<Guarded>) {
        let peers = &self.context.peers;
        match event {
            Event::Init => self.present.clear(),
            Event::InitApply(server) => {
                self.present.insert(waiter_of(server));
                self.applied(server);
            }
            Event::InitDone => {
                peers.retain(&self.present);
                self.context.metrics.retain(&self.present);
                self.context.health.synced(Watch::MfaServers);
                self.present = HashSet::new();
            }
            Event::Apply(server) => self.applied(server),
            Event::Delete(server) => {
                let waiter = waiter_of(server);
                peers.gone(&waiter);
                self.context.forget(&waiter, &server.meta().uid.clone().unwrap_or_default());
            }
        }
    }

    fn applied(&self, server: &Guarded) {
        if let Ok(server) = &server.0 {
            self.context.peers.applied(server);
        }
    }
}

async fn watch_secrets(context: Arc<Context>, synced: watch::Sender<bool>) {
    let api: Api<PartialObjectMeta<Secret>> = Api::all(context.kube.clone());
    let events = watcher::watcher(api, watcher::Config::default()).backoff(Anew::default());
    // The pulse is no event: it shows that this loop goes on.
    let events = stream::select(events.map(Some), context.health.pulse(Part::Secrets).map(|()| None));
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let Some(event) = event else { continue };
        match event {
            Ok(event) => {
                let done = matches!(event, Event::InitDone);
                context.secrets.observe(event);
                if done {
                    context.health.synced(Watch::Secrets);
                    synced.send_replace(true);
                }
            }
            Err(error) => {
                context.metrics.watch_failed("secrets");
                tracing::warn!(error = %chain(&error), "watching Secrets failed; it is tried again");
            }
        }
    }
}
