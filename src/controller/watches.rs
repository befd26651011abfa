//! The watches: of MfaServers, and of Secrets, in the whole cluster or in each namespace that is looked after.
//!
//! # Guarantees
//! - In the namespaces that are looked after, and in no other, what is there is listed and watched.
//! - A namespace that may not be looked at, as one that does not exist may not be, is named in the log and holds up no
//!   other; it is tried again for as long as it takes.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::Resource as _;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::Store;
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;

use super::LIST_PAGE;
use super::anew::Anew;
use super::kept::{Guarded, Kept};
use super::merge::{Merge, Told};
use super::trouble::advice;
use crate::health::{Part as Loop, Watch};
use crate::reconcile::Context;
use crate::reconcile::scope::{Part, Scope, api};
use crate::telemetry::chain;

/// What happens to the MfaServers that are looked after, as one watch would tell it. `known`: what is known of them by it.
pub(super) fn servers(
    context: &Arc<Context>,
    known: Store<Kept>,
) -> BoxStream<'static, watcher::Result<Event<Guarded>>> {
    context.health.expect(Watch::MfaServers, context.settings.scope.parts());
    let Scope::Namespaces(namespaces) = &context.settings.scope else {
        return servers_of(context, None).boxed();
    };
    let each = namespaces.iter().map(|namespace| {
        let of = namespace.clone();
        servers_of(context, Some(namespace.clone())).map(move |event| (of.clone(), event)).boxed()
    });
    let mut merge = Merge::new(namespaces.clone());
    let events = stream::select_all(each).map(move |(namespace, event)| {
        let told = match event {
            Ok(event) => Told::Event(event),
            Err(error) if is_refusal(&error) => Told::Refused,
            // Told already, and tried again.
            Err(_) => return stream::iter(Vec::new()),
        };
        stream::iter(merge.take(&namespace, told, || kept(&known, &namespace)).into_iter().map(Ok).collect::<Vec<_>>())
    });
    events.flatten().boxed()
}

/// What is known of that namespace.
fn kept(known: &Store<Kept>, namespace: &str) -> Vec<Guarded> {
    let known = known.state().into_iter().filter(|kept| kept.meta().namespace.as_deref() == Some(namespace));
    known.map(|kept| kept.guarded()).collect()
}

fn servers_of(
    context: &Arc<Context>,
    part: Part,
) -> impl futures::Stream<Item = watcher::Result<Event<Guarded>>> + Send + use<> {
    let (metrics, health, of) = (context.metrics.clone(), context.health.clone(), part.clone());
    watcher::watcher(api::<Guarded>(&context.kube, &part), watcher::Config::default().page_size(LIST_PAGE))
        .inspect_ok(move |event| {
            if matches!(event, Event::InitDone) {
                health.synced(Watch::MfaServers, of.as_deref());
            }
        })
        .inspect_err(move |error| {
            metrics.watch_failed("mfaservers");
            let namespace = part.as_deref();
            if is_refusal(error) && namespace.is_some() {
                tracing::warn!(namespace, error = %chain(error), "MfaServers of this namespace may not be watched, or it does not exist; it is tried again");
            } else {
                tracing::warn!(namespace, advice = advice(error), error = %chain(error), "watching MfaServers failed; it is tried again");
            }
        })
        .backoff(Anew::default())
}

/// Follows the Secrets' versions. `settled` once those of each namespace are known, or may not be looked at.
pub(super) async fn follow_secrets(context: Arc<Context>, settled: watch::Sender<bool>) {
    let parts = context.secrets.watched();
    context.health.expect(Watch::Secrets, parts.iter().cloned());
    let mut missing: BTreeSet<Part> = parts.iter().cloned().collect();
    if missing.is_empty() {
        settled.send_replace(true);
    }
    let watches = parts.into_iter().map(|part| {
        let api = api::<PartialObjectMeta<Secret>>(&context.kube, &part);
        let events = watcher::watcher(api, watcher::Config::default().page_size(LIST_PAGE)).backoff(Anew::default());
        events.map(move |event| Some((part.clone(), event))).boxed()
    });
    // The pulse is no event: it shows that this loop goes on.
    let pulse = context.health.pulse(Loop::Secrets).map(|()| None).boxed();
    let mut events = stream::select_all(watches.chain([pulse]));
    let follow = async {
        while let Some(event) = events.next().await {
            let Some((part, event)) = event else { continue };
            if !follow_event(&context, &part, event) {
                continue;
            }
            missing.remove(&part);
            if missing.is_empty() {
                settled.send_replace(true);
            }
        }
    };
    // Those that no watch shows are read.
    tokio::select! {
        () = follow => {}
        () = context.secrets.read_versions() => {}
    }
}

/// Takes in what a watch of Secrets tells. Answers whether this part is waited for no more.
fn follow_event(context: &Context, part: &Part, event: watcher::Result<Event<PartialObjectMeta<Secret>>>) -> bool {
    match event {
        Ok(event) => {
            let done = matches!(event, Event::InitDone);
            context.secrets.observe(part, event);
            if done {
                context.health.synced(Watch::Secrets, part.as_deref());
            }
            done
        }
        Err(error) => {
            context.metrics.watch_failed("secrets");
            let namespace = part.as_deref();
            let refused = is_refusal(&error) && namespace.is_some();
            if refused {
                tracing::warn!(namespace, error = %chain(&error), "Secrets of this namespace may not be watched, or it does not exist; it is tried again");
            } else {
                tracing::warn!(namespace, advice = advice(&error), error = %chain(&error), "watching Secrets failed; it is tried again");
            }
            refused
        }
    }
}

/// Whether the right is missing. What does not exist, nobody has rights in.
fn is_refusal(error: &watcher::Error) -> bool {
    let watcher::Error::InitialListFailed(kube::Error::Api(status)) = error else { return false };
    status.code == 403
}
