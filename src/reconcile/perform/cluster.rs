//! Steps towards the API server: reading the resource, its Secrets and its definition, and writing its metadata.

use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};

use crate::crd::{ANNOTATION_ATTEMPT, FINALIZER, MfaServer};
use crate::reconcile::attempt::Attempt as Record;
use crate::reconcile::facts::{Answer, Definition, Outcome};
use crate::reconcile::pass::Pass;
use crate::telemetry::chain;

impl Pass {
    pub(super) async fn read_live(&mut self) -> Outcome {
        match self.api().get_opt(&self.name).await {
            Ok(Some(server)) if server.uid().as_deref() == Some(&self.uid) => {
                self.server = Arc::new(server);
                let unrecorded = self.facts.answer != Answer::None;
                let (generation, desired, id) = (self.generation, self.desired.clone(), self.id.clone());
                let cause = self.cause.clone();
                let (stored, seen) = self.look();
                if unrecorded {
                    // The answer is about what was sent, whatever the spec says by now.
                    (self.generation, self.desired, self.id, self.cause) = (generation, desired, id, cause);
                }
                Outcome::Looked(stored, seen)
            }
            Ok(_) => Outcome::Gone,
            Err(error) => self.kube_failed("reading the resource", &error),
        }
    }

    /// Whether the definition is being deleted. Where it cannot be seen (it takes a right of its own), it stays.
    pub(super) async fn read_definition(&self) -> Outcome {
        let definitions: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(self.context.kube.clone());
        let name = format!("{}.{}", MfaServer::plural(&()), MfaServer::group(&()));
        match definitions.get_metadata_opt(&name).await {
            Ok(Some(definition)) if definition.metadata.deletion_timestamp.is_some() => {
                Outcome::DefinitionSeen(Definition::Dying)
            }
            Ok(_) => Outcome::DefinitionSeen(Definition::Stays),
            Err(kube::Error::Api(status)) if status.code == 403 => Outcome::DefinitionSeen(Definition::Stays),
            Err(error) => self.kube_failed("looking at the definition", &error),
        }
    }

    pub(super) fn kube_failed(&self, doing: &str, error: &kube::Error) -> Outcome {
        match error {
            kube::Error::Api(status) if status.code == 409 => Outcome::Conflicted,
            kube::Error::Api(status) if status.code == 404 => Outcome::Gone,
            error => {
                tracing::warn!(resource = %self.waiter, doing, error = %chain(error), "the API server failed");
                Outcome::KubeFailed
            }
        }
    }

    pub(super) async fn patch(&mut self, doing: &str, patch: Value) -> Result<(), Outcome> {
        match self.api().patch(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(server) => {
                self.took(server);
                Ok(())
            }
            Err(error) => Err(self.kube_failed(doing, &error)),
        }
    }

    /// The answer to our own write is newer than the cache.
    pub(super) fn took(&mut self, server: MfaServer) {
        self.remember(|memory, known| {
            *known = memory.keep(server);
            memory.kube_failures = 0;
        });
    }

    pub(super) fn finalizers(&self, ours: bool) -> Vec<String> {
        let mut finalizers = self.server.finalizers().to_vec();
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        if ours {
            finalizers.push(FINALIZER.to_owned());
        }
        finalizers
    }

    pub(super) async fn add_finalizer(&mut self) -> Outcome {
        let version = self.server.resource_version();
        let patch = json!({"metadata": {"resourceVersion": version, "finalizers": self.finalizers(true)}});
        self.patch("adding the finalizer", patch).await.map_or_else(|outcome| outcome, |()| Outcome::Finalized)
    }

    pub(super) async fn drop_finalizer(&mut self) -> Outcome {
        let version = self.server.resource_version();
        let patch = json!({"metadata": {"resourceVersion": version, "finalizers": self.finalizers(false)}});
        match self.patch("dropping the finalizer", patch).await {
            Ok(()) | Err(Outcome::Gone) => Outcome::Released,
            Err(outcome) => outcome,
        }
    }

    pub(super) async fn claim_name(&mut self) -> Outcome {
        // The next leader takes whatever attempt it finds for one in flight.
        if !self.context.may_write() {
            return Outcome::NotLeading;
        }
        let unsent = self.remember(|memory, _| memory.course.unsent());
        let Ok(desired) = &self.desired else { return Outcome::KubeFailed };
        let nonce = unsent.unwrap_or_else(|| format!("{:016x}", rand::random::<u64>()));
        let secrets = self.observed.clone().unwrap_or_default();
        let record = Record::new(&self.uid, nonce.clone(), &self.tenant_name(), desired, &secrets);
        let Ok(text) = serde_json::to_string(&record) else { return Outcome::KubeFailed };
        let patch = json!({"metadata": {
            "resourceVersion": self.server.resource_version(),
            "finalizers": self.finalizers(true),
            "annotations": {ANNOTATION_ATTEMPT: text},
        }});
        self.remember(|memory, _| memory.course.records(nonce));
        self.patch("recording the attempt", patch).await.map_or_else(|outcome| outcome, |()| Outcome::Claimed)
    }
}
