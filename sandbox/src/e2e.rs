//! The end-to-end test: the operator's image on one real node, installed by helm, against the simulated API.
//!
//! # Flow
//! [`run`] is called twice. Outside, it prepares a folder and starts this program again in namespaces of its own (network,
//! processes, mounts), where it is the first process: when it ends, however it does, the kernel ends everything that it
//! started and unmounts what they mounted. Inside, it starts a control plane and a node, and goes through the
//! steps; each says in one line what holds. The first that fails ends the test, with what the parts have to say. Back
//! outside, what outlives a namespace is removed: control groups, kernel settings, the folder.
//!
//! # Assumptions
//! Linux, root, the packages of `tools/debian-packages`, and what `make e2e` builds.

mod cluster;
mod host;
mod keys;
mod node;
mod scene;
mod steps;
mod tenant;

use std::{io::Write as _, path::PathBuf, time::Instant};

pub use host::run as run_outside;
use scene::Scene;

/// Why the end-to-end test failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// What a step says.
pub type Result<T = ()> = std::result::Result<T, Error>;

impl From<crate::control_plane::Error> for Error {
    fn from(error: crate::control_plane::Error) -> Self {
        Self(chain(&error))
    }
}

/// An error of these words.
fn failed<T>(words: impl Into<String>) -> Result<T> {
    Err(Error(words.into()))
}

/// Says what was being done when something failed.
trait During<T> {
    fn during(self, what: &str) -> Result<T>;
}

impl<T, E: std::error::Error> During<T> for std::result::Result<T, E> {
    fn during(self, what: &str) -> Result<T> {
        self.map_err(|error| Error(format!("{what}: {}", chain(&error))))
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Where everything is that was built before.
#[derive(Clone, Debug)]
pub struct Parts {
    /// etcd, kube-apiserver, kubectl, helm.
    pub assets: PathBuf,
    /// kubelet, containerd and the rest of a node.
    pub node_tools: PathBuf,
    /// The operator's image as `tools/image` leaves it.
    pub image: PathBuf,
    /// The folder that this program is in, and the simulator beside it.
    pub binaries: PathBuf,
    /// The checkout.
    pub checkout: PathBuf,
    /// How many resources there are for the step that looks at the memory.
    pub resources: u32,
}

/// Goes through all steps, inside the namespaces; says whether all of them passed.
///
/// # Errors
/// The output cannot be written to.
pub async fn run_inside(parts: Parts, folder: PathBuf, only: Option<String>) -> Result<bool> {
    let begin = Instant::now();
    let mut out = std::io::stdout();
    let mut say = |line: &str| writeln!(out, "{line}").and_then(|()| out.flush()).during("writing to standard output");
    let mut passed = 0;
    let started = Instant::now();
    let mut scene = match Scene::start(parts, folder).await {
        Ok(scene) => scene,
        Err(error) => {
            say(&format!("FAILED  a node is ready\n{error}\n\n0 passed, 1 failed"))?;
            return Ok(false);
        }
    };
    passed += 1;
    say(&format!("ok  {:>5.1} s  a node is ready", started.elapsed().as_secs_f64()))?;
    for (name, step) in steps::ALL {
        if only.as_ref().is_some_and(|only| !steps::ALWAYS.contains(name) && !name.contains(only.as_str())) {
            continue;
        }
        let started = Instant::now();
        match step(&mut scene).await {
            Ok(measured) => {
                passed += 1;
                let measured = if measured.is_empty() { measured } else { format!(": {measured}") };
                say(&format!("ok  {:>5.1} s  {name}{measured}", started.elapsed().as_secs_f64()))?;
            }
            Err(error) => {
                let story = scene.what_happened().await;
                say(&format!("{story}\nFAILED  {name}\n{error}\n\n{passed} passed, 1 failed"))?;
                return Ok(false);
            }
        }
    }
    say(&format!("all of it in {:.0} s\n\n{passed} passed, 0 failed", begin.elapsed().as_secs_f64()))?;
    Ok(true)
}
