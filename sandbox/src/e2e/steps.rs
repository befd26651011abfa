//! The steps, in order. Each is a sentence that holds after it.

mod failures;
mod lifecycle;
mod limits;
mod rights;

use futures::future::LocalBoxFuture;

use super::{Result, scene::Scene};

type Step = for<'a> fn(&'a mut Scene) -> LocalBoxFuture<'a, Result<String>>;

macro_rules! step {
    ($function:path) => {
        |scene| Box::pin($function(scene))
    };
}

/// What every other step builds on.
pub(super) const ALWAYS: [&str; 3] = [
    "the simulated tenant runs as a pod and answers at its Service",
    "helm installs the operator with the chart's defaults into a restricted namespace",
    "a resource that kubectl applies becomes Ready and stands in the tenant",
];

/// All steps: those first that others build on and that show most.
pub(super) const ALL: &[(&str, Step)] = &[
    (ALWAYS[0], step!(lifecycle::simulator)),
    (ALWAYS[1], step!(lifecycle::install)),
    (ALWAYS[2], step!(lifecycle::ready)),
    ("a pod that is not restricted is refused there", step!(lifecycle::restricted)),
    ("a refusal is shown, ends when it is mended, and is shown again", step!(lifecycle::refusal)),
    ("a secret that is changed is written to the tenant", step!(lifecycle::rotation)),
    ("a change made in the tenant is corrected", step!(lifecycle::drift)),
    ("a deleted resource is deleted in the tenant", step!(lifecycle::deletion)),
    ("helm upgrades it with another value and nothing is created twice", step!(lifecycle::upgrade)),
    ("a rolling restart under load loses nothing and creates nothing twice", step!(lifecycle::rolling)),
    ("of two replicas another one leads after the leader is killed", step!(lifecycle::killed)),
    ("the API server gone for a minute is survived", step!(failures::api_server)),
    ("SIGTERM records the write in flight before the process ends", step!(limits::stop)),
    ("a full disk of logs stops nothing", step!(failures::logs)),
    ("a clock that jumps a day ahead and back causes no early call", step!(failures::clock)),
    ("a host name that does not resolve is shown as Unreachable", step!(failures::name)),
    ("thousands of resources stay below the chart's memory limit", step!(limits::memory)),
    ("a tenant that is gone is shown, and all is mended when it is back", step!(failures::tenant)),
    ("the operator's rights are used, all of them, and none is missing", step!(rights::minimal)),
    ("helm uninstalls it and leaves the definition and the resources", step!(lifecycle::uninstall)),
];
