//! The step that writes the status, and the event that goes with it.

use std::sync::Arc;

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::FIELD_MANAGER;
use crate::crd::{ANNOTATION_RECONCILE_REQUESTED_AT, MfaServer, MfaVendorType, ObservedSecret};
use crate::reconcile::announce::About;
use crate::reconcile::facts::{Class, Credential, CredentialProblem, Found, List, Outcome, Sameness};
use crate::reconcile::pass::{self, CREDENTIALS, Pass, secret_cause};
use crate::reconcile::report::{Event, Known, Object, report};
use crate::reconcile::sight::{Binding, binding};
use crate::reconcile::step::Verdict;
use crate::sse::{Acted, Failure, Method, Reason};

impl Pass {
    pub(super) async fn record(&mut self, verdict: Verdict) -> Outcome {
        let (status, event) = self.report(verdict);
        self.told = self.server.status.as_ref() != Some(&status);
        if !self.told {
            return self.recorded(verdict);
        }
        let patch = json!({
            "apiVersion": MfaServer::api_version(&()),
            "kind": MfaServer::kind(&()),
            "metadata": {"name": self.name, "resourceVersion": self.server.resource_version()},
            "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        match self.api().patch_status(&self.name, &params, &Patch::Apply(patch)).await {
            Ok(server) => {
                self.took(server);
                if let Some(event) = event {
                    self.announce(event);
                }
                self.recorded(verdict)
            }
            Err(error) => self.kube_failed("writing the status", &error),
        }
    }

    pub(super) fn recorded(&mut self, verdict: Verdict) -> Outcome {
        self.remember(|memory, _| {
            memory.course.unrecorded = None;
            if verdict == Verdict::InOrder {
                memory.succeeded();
            }
        });
        self.wrote = false;
        Outcome::Recorded(verdict)
    }

    /// Tells the cluster's users.
    pub(super) fn announce(&self, event: Event) {
        let about = About { waiter: Arc::clone(&self.waiter), uid: self.uid.clone() };
        self.context.announcer.announce(about, event);
    }

    pub(in crate::reconcile) fn report(&mut self, verdict: Verdict) -> (crate::crd::MfaServerStatus, Option<Event>) {
        self.name_cause(verdict);
        let repeated = self.is_repeated(verdict);
        let previous = self.status().clone();
        let tenant = self.tenant.as_ref().map(|tenant| &*tenant.name);
        let Binding { id, tenant, attempt } =
            binding(verdict, &previous, &self.facts, self.id.as_deref(), tenant, self.answered.as_ref());
        let told = matches!(verdict, Verdict::DriftReported | Verdict::Flapping | Verdict::AdoptionRefused);
        let vendor = self.server.spec.mfa_vendor_type.as_ref().and_then(MfaVendorType::member).map(str::to_owned);
        let known = Known {
            generation: self.generation,
            previous: &previous,
            verdict,
            cause: self.cause.clone(),
            repeated,
            stale: matches!(self.facts.list, List::FailedLong(_))
                || self.facts.credential == Credential::Broken(CredentialProblem::TokenUnavailableLong),
            differs: self.facts.id
                && [self.facts.fields, self.facts.echo, self.facts.versions].contains(&Sameness::Differs),
            equals: self.facts.id && self.facts.fields == Sameness::Same,
            authenticated: self.authenticated(verdict),
            object: Object {
                id: id.clone(),
                tenant,
                name: self.effective_name.clone(),
                folder: self.folder.as_str().to_owned(),
                position: self.server.spec.position.as_str().to_owned(),
                vendor,
            },
            attempt,
            wrote: self.wrote,
            drift: if told { self.drift() } else { Vec::new() },
            observed_secrets: if id.is_some() { self.observed_secrets(verdict) } else { Vec::new() },
            handled: self.annotation(ANNOTATION_RECONCILE_REQUESTED_AT),
            now: Timestamp::now(),
        };
        report(&known)
    }

    /// The paths that differ; one word where the object is gone altogether.
    pub(super) fn drift(&self) -> Vec<String> {
        if self.facts.id && self.shown.is_none() {
            return vec!["id".to_owned()];
        }
        let mut paths = self.differing.clone();
        if self.facts.echo == Sameness::Differs {
            paths.extend(self.secret_paths());
        }
        paths
    }

    pub(super) fn observed_secrets(&self, verdict: Verdict) -> Vec<ObservedSecret> {
        let sent = self.observed.clone().filter(|_| verdict == Verdict::InOrder);
        let mut observed = sent.unwrap_or_else(|| self.status().observed_secrets.clone());
        if let Some(tenant) = self.tenant.as_ref().filter(|tenant| !tenant.told && verdict == Verdict::InOrder) {
            // The token tells no tenant, so its own version is what tells whether it may be another one's.
            let name = CREDENTIALS.to_owned();
            if let Some(version) = self.yields.secrets.first().cloned().flatten().filter(|_| tenant.verified) {
                observed.retain(|secret| secret.name != name);
                observed.push(ObservedSecret { name, resource_version: version });
                observed.sort_by(|a, b| a.name.cmp(&b.name));
            }
        }
        observed
    }

    pub(super) fn authenticated(&self, verdict: Verdict) -> Option<bool> {
        match verdict {
            // An endpoint that does not answer says nothing of the credential.
            Verdict::Credential(CredentialProblem::TokenUnavailable | CredentialProblem::TokenUnavailableLong) => None,
            Verdict::Credential(_) | Verdict::Refused(Class::Credential) => Some(false),
            Verdict::InOrder => Some(true),
            _ => self.context.credentials.tenant(&self.key).filter(|tenant| tenant.verified).map(|_| true),
        }
    }

    /// Makes sure that what is behind a verdict is named.
    pub(super) fn name_cause(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::NameTaken => {
                self.cause = pass::cause(&Failure::new(Method::Post, Reason::NameNotUnique, None, Acted::No));
                self.cause.error = None;
            }
            Verdict::InvalidSpec => {
                if let Err(invalid) = &self.desired {
                    self.cause = secret_cause(format!("{invalid}."));
                }
            }
            Verdict::AdoptionRefused => {
                let what = if self.facts.found == Found::NamedElsewhere {
                    "the annotation sse.mfa-operator.io/id names an object that is not in this folder under this name"
                        .to_owned()
                } else if self.facts.unwritable {
                    "it holds a secret that the spec does not give and that cannot be written back".to_owned()
                } else if self.differing.is_empty() {
                    "its secret differs".to_owned()
                } else {
                    format!("these fields differ: {}", self.differing.join(", "))
                };
                self.cause = secret_cause(format!("The object in the tenant may not be adopted: {what}."));
            }
            Verdict::DuplicateClaim => self.cause = secret_cause(self.owner_sentence()),
            Verdict::InOrder
            | Verdict::Suspended
            | Verdict::TenantMismatch
            | Verdict::DriftReported
            | Verdict::Flapping
            | Verdict::Credential(CredentialProblem::Expired)
            | Verdict::Adopted
            | Verdict::OutcomeUnknown => {
                let error = self.cause.error.take().filter(|_| verdict == Verdict::OutcomeUnknown);
                self.cause = crate::reconcile::report::Cause { error, ..crate::reconcile::report::Cause::default() };
            }
            _ => {}
        }
    }

    /// Who owns the name, if that one is in the same namespace.
    pub(super) fn owner_sentence(&self) -> String {
        let id = self.id.as_deref().or(self.shown.as_ref().map(|remote| remote.id.as_str()));
        let peers = self.context.peers.at(self.server.spec.folder, &self.effective_name, id);
        let other = peers.iter().find(|peer| peer.uid != self.uid && peer.namespace() == self.namespace);
        let who = other.map_or_else(
            || "An MfaServer in another namespace".to_owned(),
            |peer| format!("MfaServer {:?}", peer.waiter.split('/').next_back().unwrap_or_default()),
        );
        format!("{who} owns this name in this folder of the tenant; change or delete one of the two.")
    }
}
