//! Who publishes Events: a repeat within some minutes raises the count of the Event that is there.
//!
//! # Caveats
//! A recorder keeps what it has published and looks through all of it each time, so it is replaced after [`MOST`]. A repeat
//! that comes after that is an Event of its own.

use std::sync::{Mutex, PoisonError};

use kube::Client;
use kube::runtime::events::{Recorder, Reporter};

/// How many Events one recorder publishes.
const MOST: u32 = 256;

/// Hands out the recorder of the moment.
pub struct Announcer {
    client: Client,
    reporter: Reporter,
    present: Mutex<(Recorder, u32)>,
}

impl Announcer {
    /// One that speaks as this reporter.
    #[must_use]
    pub fn new(client: Client, reporter: Reporter) -> Self {
        let present = Mutex::new((Recorder::new(client.clone(), reporter.clone()), 0));
        Self { client, reporter, present }
    }

    /// The recorder to publish one Event with.
    #[must_use]
    pub fn recorder(&self) -> Recorder {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let (recorder, handed) = &mut *present;
        if *handed >= MOST {
            *recorder = Recorder::new(self.client.clone(), self.reporter.clone());
            *handed = 0;
        }
        *handed += 1;
        recorder.clone()
    }
}
