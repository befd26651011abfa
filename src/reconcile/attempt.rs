//! Pure: the record of an attempt to create an object, as the `…/attempt` annotation holds it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::desired::{Desired, Fingerprint};
use crate::crd::{ANNOTATION_ATTEMPT, MfaServer, ObservedSecret, STATUS_TEXT_MAX};

/// The longest name or version of a Secret that the status takes.
const LONGEST_NAME: usize = 253;
/// The most Secrets that an attempt names; one less than the status takes, which may name the credentials too.
const MOST_SECRETS: usize = 15;

/// What is recorded before a create is sent, so that what it made can be told from what stands there otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// The resource's uid: a restored backup has another one, and its attempts are void.
    pub uid: String,
    /// What `status.attempt` names once the answer is in the status.
    pub nonce: String,
    /// The tenant that it is sent to.
    pub tenant: String,
    /// `?folder=`
    pub folder: String,
    /// `?position=`
    pub position: String,
    /// The object's name.
    pub name: String,
    /// What was sent.
    #[serde(flatten)]
    pub sent: Fingerprint,
    /// The versions of the Secrets whose bytes were sent.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
}

impl Attempt {
    /// The record of the attempt to create this.
    #[must_use]
    pub fn new(uid: &str, nonce: String, tenant: &str, desired: &Desired, secrets: &[ObservedSecret]) -> Self {
        Self {
            uid: uid.to_owned(),
            nonce,
            tenant: tenant.to_owned(),
            folder: desired.folder.as_str().to_owned(),
            position: desired.position.as_str().to_owned(),
            name: desired.name.clone(),
            sent: desired.fingerprint(),
            secrets: secrets.iter().map(|secret| (secret.name.clone(), secret.resource_version.clone())).collect(),
        }
    }

    /// The last attempt of this resource. One that cannot be read, or is another resource's, is void.
    #[must_use]
    pub fn of(server: &MfaServer) -> Option<Self> {
        let text = server.metadata.annotations.as_ref()?.get(ANNOTATION_ATTEMPT)?;
        let attempt: Self = serde_json::from_str(text).ok()?;
        (server.metadata.uid.as_deref() == Some(&attempt.uid) && attempt.fits()).then_some(attempt)
    }

    /// Whether the status takes what comes of it; what was recorded here does, and an annotation can be edited.
    fn fits(&self) -> bool {
        let short = |(name, version): (&String, &String)| name.len() <= LONGEST_NAME && version.len() <= LONGEST_NAME;
        self.nonce.len() <= STATUS_TEXT_MAX && self.secrets.len() <= MOST_SECRETS && self.secrets.iter().all(short)
    }

    /// Its answer is in the status.
    #[must_use]
    pub fn is_answered(&self, server: &MfaServer) -> bool {
        server.status.as_ref().and_then(|status| status.attempt.as_deref()) == Some(&self.nonce)
    }

    /// Whether it sent what the spec and the Secrets say now, to this tenant: then it can be sent as it is.
    #[must_use]
    pub fn sends(&self, desired: &Desired, tenant: &str) -> bool {
        self.sent == desired.fingerprint() && self.tenant == tenant && self.name == desired.name
    }

    /// The versions of the Secrets whose bytes were sent.
    #[must_use]
    pub fn observed_secrets(&self) -> Vec<ObservedSecret> {
        let observed = |(name, version): (&String, &String)| ObservedSecret {
            name: name.clone(),
            resource_version: version.clone(),
        };
        self.secrets.iter().map(observed).collect()
    }
}

#[cfg(test)]
mod tests;
