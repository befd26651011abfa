//! What a pass knows of its credential: whether it can be used, its tenant, what it may not do, and who else claims the name.

use super::Pass;
use super::{CREDENTIALS, cause};
use crate::crd::ANNOTATION_RECONCILE_REQUESTED_AT;
use crate::reconcile::SecretName;
use crate::reconcile::attempt::Attempt as Record;
use crate::reconcile::facts::{Claim, Credential, CredentialProblem, Forbidden, Tenant};
use crate::reconcile::peers::Peer;
use crate::reconcile::report::Cause;
use crate::reconcile::secrets::{CredentialSecret, credential_key};
use crate::reconcile::sight::{self, Asking, Tenancy};
use crate::sse::credentials::{self};
use crate::sse::lists::MISSED_RESYNCS;
use crate::sse::{self};

impl Pass {
    pub(super) fn credential(&self, secret: &SecretName) -> (Credential, Option<Cause>) {
        let deleting = self.server.metadata.deletion_timestamp.is_some();
        match self.context.secrets.credential(secret, deleting, &self.waiter) {
            CredentialSecret::Pending => (Credential::Pending, None),
            CredentialSecret::Unusable(unusable) => {
                let cause = Cause { message: unusable.message, ..Cause::default() };
                (Credential::Broken(CredentialProblem::Secret(unusable.problem)), Some(cause))
            }
            CredentialSecret::Put => match self.context.credentials.access(&self.key, &self.waiter) {
                credentials::State::Missing | credentials::State::Pending => (Credential::Pending, None),
                credentials::State::Expired => (Credential::Broken(CredentialProblem::Expired), None),
                credentials::State::Rejected(failure) => {
                    (Credential::Broken(CredentialProblem::Rejected), Some(cause(&failure)))
                }
                credentials::State::TokenRejected(failure) => {
                    (Credential::Broken(CredentialProblem::TokenRejected), Some(cause(&failure)))
                }
                credentials::State::TokenUnavailable(failure, since) => {
                    let long = since >= self.context.settings.resync * MISSED_RESYNCS;
                    let problem = if long {
                        CredentialProblem::TokenUnavailableLong
                    } else {
                        CredentialProblem::TokenUnavailable
                    };
                    (Credential::Broken(problem), Some(cause(&failure)))
                }
                credentials::State::Ready(_) => (Credential::Ready, None),
            },
        }
    }

    /// The tenant's name as this resource would be bound to it.
    pub(in crate::reconcile) fn tenant_name(&self) -> String {
        self.tenant.as_ref().map(|tenant| tenant.name.to_string()).unwrap_or_default()
    }

    pub(super) fn tenant_fact(&self, record: Option<&Record>) -> Tenant {
        let status = self.status();
        sight::tenant(status, record, self.tenant.as_ref().map(tenancy), || {
            if self.context.credentials.is_sighted(&self.key) {
                return true;
            }
            // The credential's own version is among those observed, for a token that tells no tenant.
            let version = self.yields.secrets.first().cloned().flatten();
            let observed = status.observed_secrets.iter().find(|observed| observed.name == CREDENTIALS);
            let same = observed.is_some_and(|observed| Some(&observed.resource_version) == version.as_ref());
            same || self.annotation(ANNOTATION_RECONCILE_REQUESTED_AT) != status.last_handled_reconcile_at
        })
    }

    /// What the API has forbidden this credential in this folder.
    pub(super) fn forbidden(&mut self, credential: Credential) -> Forbidden {
        if credential != Credential::Ready {
            return Forbidden::default();
        }
        let mut forbidden = Forbidden::default();
        for method in sse::Method::ALL {
            let Some(failure) = self.context.credentials.forbidden(&self.key, self.folder, method) else { continue };
            match method {
                // A list that is forbidden says so itself.
                sse::Method::Get => continue,
                sse::Method::Post => forbidden.post = true,
                sse::Method::Put => forbidden.put = true,
                sse::Method::Delete => forbidden.delete = true,
            }
            if self.cause.reason.is_empty() {
                self.cause = cause(&failure);
            }
        }
        forbidden
    }

    /// Whether another resource owns the object.
    pub(super) fn claim(&self) -> Claim {
        let own = self.id.as_deref();
        let id = own.or(self.shown.as_ref().map(|remote| remote.id.as_str()));
        let peers: Vec<_> = self.context.peers.at(self.server.spec.folder, &self.effective_name, id);
        let credential = |peer: &Peer| {
            let secret = self.context.credentials_secret(peer.namespace(), peer.secret.as_deref());
            self.context.credentials.tenant(&credential_key(&secret))
        };
        let peers: Vec<_> = peers.iter().map(|peer| (peer, credential(peer))).collect();
        let asking = Asking {
            uid: &self.uid,
            id: own,
            holds: self.status().id.is_some(),
            tenant: self.tenant.as_ref().map(|tenant| &*tenant.name),
        };
        sight::claim(asking, peers.iter().map(|(peer, tenant)| peer.contender(tenant.as_ref().map(tenancy))))
    }
}

fn tenancy(tenant: &credentials::Tenant) -> Tenancy<'_> {
    Tenancy { name: &tenant.name, told: tenant.told, verified: tenant.verified }
}
