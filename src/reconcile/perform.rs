//! IO: one function a step, each with exactly one side effect.
//!
//! A step answers with an [`Outcome`] and leaves what the pure part does not need (ids, bodies, reasons) in the pass.
//! Nothing is decided here, and nothing is tried again.

use std::time::Duration;

use kube::Api;

use super::Context;
use super::facts::Outcome;
use super::pass::Pass;
use super::step::Step;
use crate::crd::MfaServer;
use crate::sse::{Acted, Failure, Method, Reason};

mod cluster;
mod end;
mod record;
mod tenant;

pub(super) use tenant::delete_stray;

/// Who the API server knows the operator's fields by.
pub const FIELD_MANAGER: &str = "mfa-operator";
/// How long a step towards the API server may take.
pub(super) const KUBE_STEP: Duration = Duration::from_secs(15);
/// How often the deletion of an object is tried whose resource is gone.
const STRAY_TRIES: u32 = 20;
/// How long a call's turn is kept for a resource that does not come for it.
const PLACE_KEPT: Duration = Duration::from_secs(5);

impl Context {
    /// Makes a call that writes to the tenant, while it may be made. What is in flight when it may not any more is dropped,
    /// and what came of it is not known.
    async fn write<T>(&self, method: Method, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let unknown = |_| Err(Failure::new(method, Reason::Unreachable, None, Acted::Perhaps));
        self.deadline.within(call).await.unwrap_or_else(unknown)
    }

    /// The time limit around a step.
    #[must_use]
    pub fn step_limit(&self, step: Step) -> Duration {
        match step {
            Step::Create | Step::Get | Step::Replace | Step::Delete | Step::DeleteStray => {
                self.settings.request_timeout + Duration::from_secs(5)
            }
            Step::ReadLive
            | Step::ReadDefinition
            | Step::ReadSecrets
            | Step::TakePermit
            | Step::Claim
            | Step::AddFinalizer
            | Step::Adopt
            | Step::Record(_)
            | Step::DropFinalizer
            | Step::Done(_) => KUBE_STEP,
        }
    }
}

impl Pass {
    fn api(&self) -> Api<MfaServer> {
        Api::namespaced(self.context.kube.clone(), &self.namespace)
    }

    /// Performs a step.
    pub(super) async fn perform(&mut self, step: Step) -> Outcome {
        match step {
            Step::ReadLive => self.read_live().await,
            Step::ReadSecrets => self.read_secrets().await,
            Step::ReadDefinition => self.read_definition().await,
            Step::TakePermit => self.take_permit(),
            Step::Claim => self.claim_name().await,
            Step::AddFinalizer => self.add_finalizer().await,
            Step::Create => self.create().await,
            Step::Get => self.get().await,
            Step::Replace => self.replace().await,
            Step::Delete | Step::DeleteStray => self.delete().await,
            Step::Adopt => self.adopt(),
            Step::Record(verdict) => self.record(verdict).await,
            Step::DropFinalizer => self.drop_finalizer().await,
            Step::Done(verdict) => Outcome::Recorded(verdict),
        }
    }

    /// What is known where a step has used its time up.
    pub(super) fn out_of_time(&mut self, step: Step) -> Outcome {
        let method = match step {
            Step::Create => Method::Post,
            Step::Replace => Method::Put,
            Step::Delete | Step::DeleteStray => Method::Delete,
            Step::Get => Method::Get,
            _ => return Outcome::KubeFailed,
        };
        self.permit = None;
        self.refused(&Failure::new(method, Reason::Unreachable, None, Acted::Perhaps))
    }
}
