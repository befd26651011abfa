//! Who publishes Events: one at a time, after what they tell of has been written.
//!
//! An Event is a write like any other to the API server, and nothing waits for it but people. Where a thousand resources
//! change at once, one Event at a time leaves the API server to their statuses; the Events follow.
//!
//! # Guarantees
//! - Events are published in the order of what they tell of; that one fails does not matter to anything.
//! - A repeat within some minutes raises the count of the Event that is there.
//! - [`Announcer::flush`] waits for those that were told before it.
//!
//! # Caveats
//! - A recorder keeps what it has published and looks through all of it each time, so it is replaced after [`MOST`]. A
//!   repeat that comes after that is an Event of its own.
//! - What has waited for longer than [`PATIENCE`], or comes when [`WAITING`] others wait, is not told.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event as Announcement, EventType, Recorder, Reporter};
use kube::{Client, Resource as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::perform::KUBE_STEP;
use super::report::Event;
use crate::crd::MfaServer;
use crate::sse::credentials::Waiter;
use crate::telemetry::chain;

/// How many Events one recorder publishes.
const MOST: u32 = 256;
/// How many may wait: more than a large installation has resources.
const WAITING: usize = 16_384;
/// How old an Event may become: by then, what it tells is no news.
const PATIENCE: Duration = Duration::from_mins(10);

/// Which resource an Event is about.
#[derive(Debug)]
pub(super) struct About {
    pub(super) waiter: Waiter,
    pub(super) uid: String,
}

impl About {
    fn reference(&self) -> ObjectReference {
        let (namespace, name) = self.waiter.split_once('/').unwrap_or_default();
        ObjectReference {
            api_version: Some(MfaServer::api_version(&()).into_owned()),
            kind: Some(MfaServer::kind(&()).into_owned()),
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            uid: Some(self.uid.clone()),
            // No version: a repeat would be an Event of its own.
            ..ObjectReference::default()
        }
    }
}

#[derive(Debug)]
enum Told {
    Event(About, Event, Instant),
    /// All that was told before this is published.
    Flush(oneshot::Sender<()>),
}

/// Takes Events to be published; cheap to clone, and clones are one.
#[derive(Clone, Debug)]
pub struct Announcer(mpsc::Sender<Told>);

impl Announcer {
    /// One that speaks as this reporter, and what does the speaking: it ends when the last of the clones is gone.
    pub fn channel(client: Client, reporter: Reporter) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, told) = mpsc::channel(WAITING);
        (Self(sender), publish(client, reporter, told))
    }

    /// This is to be told, some time soon.
    pub(super) fn announce(&self, about: About, event: Event) {
        if let Err(mpsc::error::TrySendError::Full(Told::Event(about, ..))) =
            self.0.try_send(Told::Event(about, event, Instant::now()))
        {
            tracing::debug!(resource = %about.waiter, "no event: too many wait already");
        }
    }

    /// Waits until what was told so far is published, and not longer than this.
    pub async fn flush(&self, limit: Duration) {
        let (sender, published) = oneshot::channel();
        let flush = async {
            if self.0.send(Told::Flush(sender)).await.is_ok() {
                let _ = published.await;
            }
        };
        let _ = timeout(limit, flush).await;
    }
}

async fn publish(client: Client, reporter: Reporter, mut told: mpsc::Receiver<Told>) {
    let anew = || Recorder::new(client.clone(), reporter.clone());
    let (mut recorder, mut published) = (anew(), 0);
    while let Some(told) = told.recv().await {
        let (about, event) = match told {
            Told::Event(about, event, since) if since.elapsed() <= PATIENCE => (about, event),
            Told::Event(about, ..) => {
                tracing::debug!(resource = %about.waiter, "no event: it has waited for too long");
                continue;
            }
            Told::Flush(flushed) => {
                let _ = flushed.send(());
                continue;
            }
        };
        if published == MOST {
            (recorder, published) = (anew(), 0);
        }
        published += 1;
        let announcement = Announcement {
            type_: if event.warning { EventType::Warning } else { EventType::Normal },
            reason: event.reason,
            note: Some(event.note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        match timeout(KUBE_STEP, recorder.publish(&announcement, &about.reference())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(resource = %about.waiter, error = %chain(&error), "no event"),
            Err(_) => tracing::debug!(resource = %about.waiter, "no event in time"),
        }
    }
}
