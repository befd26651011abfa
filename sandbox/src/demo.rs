//! The demo: the real operator against a real kube-apiserver and a simulated tenant, each step checked.
//!
//! What is printed is what kubectl says, under the command as one would type it. Every `ok` was waited for and found to
//! be so; the first thing that is not ends the demo with an error and the end of the operator's log.
//!
//! # Guarantees
//! - No process and no file is left behind, whether it ends, fails, is interrupted or is killed.
//! - Nothing of the user's own configuration is read or changed.
//! - None of [`Secrets`] is printed. They are passed to kubectl on its standard input, never in a command line.

mod checks;
mod operator;
mod scene;
mod script;
mod secrets;
mod table;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

pub use secrets::Secrets;

use crate::{control_plane, simulator};
use scene::Scene;

/// What the demo works with.
#[derive(Debug)]
pub struct Options {
    /// The operator's binary.
    pub operator: PathBuf,
    /// The folder with etcd, kube-apiserver and kubectl; `$KUBEBUILDER_ASSETS` if not given.
    pub binaries: Option<PathBuf>,
    /// The checkout, for the examples.
    pub checkout: PathBuf,
    /// What must not be printed.
    pub secrets: Secrets,
    /// Whether to delete nothing, and to leave all running until interrupted.
    pub keep: bool,
    /// Whether to use colours.
    pub colour: bool,
}

impl Options {
    /// The demo of this operator, with fresh secrets.
    #[must_use]
    pub fn new(operator: PathBuf) -> Self {
        Self {
            operator,
            binaries: None,
            checkout: Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
            secrets: Secrets::random(),
            keep: false,
            colour: false,
        }
    }
}

/// Why the demo did not end as expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody reads what is written.
    #[error("could not write the demo's output")]
    Write(#[from] io::Error),
    /// The control plane did not start or stop.
    #[error("the local control plane failed")]
    ControlPlane(#[from] control_plane::Error),
    /// The simulator did not start.
    #[error("the simulator could not be started")]
    Simulator(#[source] io::Error),
    /// The tenant did not take a change made by hand.
    #[error("the simulated tenant refused a change made by hand")]
    ByHand(#[from] simulator::Refused),
    /// There is no operator where it was said to be.
    #[error("there is no operator at {}: run `make demo`, which builds it", .path.display())]
    FindOperator {
        /// Where.
        path: PathBuf,
    },
    /// The operator's process could not be started, watched or stopped.
    #[error("could not {what} the operator")]
    Operator {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The operator's process ended by itself.
    #[error("the operator ended by itself, with {status}")]
    OperatorEnded {
        /// How.
        status: ExitStatus,
    },
    /// kubectl could not be run.
    #[error("could not run kubectl")]
    RunKubectl(#[source] io::Error),
    /// kubectl answered something else than expected.
    #[error("`{command}` {answer}")]
    Kubectl {
        /// The command.
        command: String,
        /// What came of it.
        answer: String,
    },
    /// Something did not come to be.
    #[error("expected: {wanted}; but {saw}")]
    Expected {
        /// What was expected.
        wanted: String,
        /// What was seen last.
        saw: String,
    },
    /// Somebody asked it to stop.
    #[error("interrupted")]
    Interrupted,
}

type Result<T = ()> = std::result::Result<T, Error>;

/// How long anything is waited for. Most takes less than a second; a busy machine is not a mistake.
const LIMIT: Duration = Duration::from_mins(1);

/// Runs the demo, and returns when nothing of it is left. `interrupted` ends it early.
///
/// # Errors
/// The first thing that was not as expected. What was seen, and the end of the operator's log, are in the output.
pub async fn run(options: &Options, out: &mut dyn Write, interrupted: impl Future<Output = ()>) -> Result {
    let mut interrupted = std::pin::pin!(interrupted);
    let mut scene = tokio::select! {
        scene = Scene::set(options, out) => scene?,
        () = &mut interrupted => return Err(Error::Interrupted),
    };
    let played = tokio::select! {
        played = script::play(&mut scene) => played,
        () = &mut interrupted => Err(Error::Interrupted),
    };
    let played = match played {
        Ok(()) if options.keep => {
            let told = scene.tell_what_runs();
            interrupted.await;
            told
        }
        Err(error) if !matches!(error, Error::Interrupted | Error::Write(_)) => {
            // The first error is the one that counts.
            let _ = scene.tell_what_happened(&error);
            Err(error)
        }
        other => other,
    };
    let cleared = scene.clear().await;
    played.and(cleared)
}

/// An error and everything that is behind it.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
