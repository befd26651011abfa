//! The controller: what is watched, what starts a pass, and how it stops.
//!
//! # Guarantees
//! - An object that cannot be read is skipped and logged; the others go on.
//! - The Secrets' versions are known before the first pass, so that no Secret seems missing that is there.
//! - The operator's own writes start no pass: what it wrote is known to the pass that wrote it.

mod anew;
mod kept;
pub mod lease;
mod merge;
mod shown;
mod trouble;
mod watches;
mod woken;

use std::collections::HashSet;
use std::sync::Arc;

use futures::{Future, FutureExt, StreamExt, TryStreamExt, future, stream};
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher::Event;
use kube::runtime::{PredicateConfig, WatchStreamExt};
use kube::{Resource, ResourceExt};
use tokio::sync::{mpsc, watch};

use self::anew::Anew;
use self::kept::{Guarded, Kept};
use self::woken::Woken;
use crate::health::{Part, Role};
use crate::reconcile::{self, Context, peers};
use crate::sse::credentials::Waiter;
use crate::telemetry::chain;

/// How many resources a page of the first list holds. A page is parsed as a whole: it is what a small operator needs most
/// memory for.
const LIST_PAGE: u32 = 100;

/// Leads from now on, until `stop` resolves; passes that are under way end first.
pub async fn run(
    context: Arc<Context>,
    concurrency: u16,
    woken: mpsc::UnboundedReceiver<Waiter>,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    context.health.is(Role::Works);
    context.metrics.leads(true);
    let (settled, mut are_settled) = watch::channel(false);
    let secrets = tokio::spawn(watches::follow_secrets(Arc::clone(&context), settled));
    let (reader, writer) = reflector::store();
    let listed = reader.clone();
    let health = context.health.clone();
    let mut listing = Listing { context: Arc::clone(&context), present: HashSet::new() };
    let events = watches::servers(&context, reader.clone())
        .inspect_ok(move |event| listing.observe(event))
        .map_ok(keep)
        .reflect(writer);
    let events = shown::shown(events, reader.clone())
        .predicate_filter(|server: &Kept| Some(server.worth()), PredicateConfig::default());
    let handed = Woken::default();
    let woken = handed.hand_on(woken).filter_map(|waiter| async move { reference(&waiter) });
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
        _ = are_settled.wait_for(|settled| *settled) => {}
        _ = early.wait_for(|stopped| *stopped) => return secrets.abort(),
    }
    tracing::info!("Secrets are known; starting");
    let work = Controller::for_stream(events, reader)
        // No debounce: it would be a part of every apply's way, and the operator's own writes start no pass anyway.
        .with_config(Config::default().concurrency(concurrency))
        // The controller waits as well when the watch that it is given has failed.
        .trigger_backoff(Anew::default())
        .reconcile_on(woken)
        .graceful_shutdown_on(async move {
            let _ = stopped.wait_for(|stopped| *stopped).await;
        })
        .run(
            move |server, context| {
                handed.begins(&waiter_of(&*server));
                pass(server, context)
            },
            |_, _: &Never, _| Action::await_change(),
            context,
        )
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

async fn pass(server: Arc<Kept>, context: Arc<Context>) -> Result<Action, Never> {
    match server.unpack() {
        Ok(server) => Ok(reconcile::reconcile(Arc::new(server), context).await),
        Err(error) => {
            let resource = ObjectRef::from_obj(&*server);
            tracing::error!(%resource, error, "this resource cannot be read; it is left alone until it changes");
            Ok(Action::await_change())
        }
    }
}

/// The event with the resource as it is kept.
fn keep(event: Event<Guarded>) -> Event<Kept> {
    match event {
        Event::Apply(server) => Event::Apply(Kept::of(server)),
        Event::Delete(server) => Event::Delete(Kept::of(server)),
        Event::Init => Event::Init,
        Event::InitApply(server) => Event::InitApply(Kept::of(server)),
        Event::InitDone => Event::InitDone,
    }
}

fn reference(waiter: &Waiter) -> Option<ObjectRef<Kept>> {
    let (namespace, name) = waiter.split_once('/')?;
    Some(ObjectRef::new(name).within(namespace))
}

fn waiter_of(server: &impl ResourceExt) -> Waiter {
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
