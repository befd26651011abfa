//! A resource as the cache keeps it: packed.
//!
//! # Guarantees
//! - A resource that cannot be read is kept too, with the reason.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use kube::Resource;
use kube::core::error_boundary::InvalidObject;
use kube::core::{DeserializeGuard, ObjectMeta};
use serde::{Deserialize, Deserializer};

use crate::crd::{ANNOTATION_FORCE_DELETE, ANNOTATION_ID, ANNOTATION_RECONCILE_REQUESTED_AT, MfaServer};
use crate::reconcile::packed::Packed;

/// A resource, or one that cannot be read: it must not stop the watch of the others.
pub(super) type Guarded = DeserializeGuard<MfaServer>;

/// A resource as it is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Name and namespace, which the cache finds it by.
    meta: ObjectMeta,
    /// Another value of this is worth a pass.
    worth: u64,
    content: Result<Packed, Box<str>>,
}

impl Kept {
    /// What is kept of this resource.
    pub(super) fn of(server: Guarded) -> Self {
        let meta = server.meta();
        let kept = ObjectMeta { name: meta.name.clone(), namespace: meta.namespace.clone(), ..ObjectMeta::default() };
        let worth = worth_a_pass(meta);
        let content = match server.0 {
            Ok(server) => Ok(Packed::of(server)),
            Err(invalid) => Err(invalid.error.into()),
        };
        Self { meta: kept, worth, content }
    }

    /// What starts a pass when it is another one.
    pub(super) const fn worth(&self) -> u64 {
        self.worth
    }

    /// The resource.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) fn unpack(&self) -> Result<MfaServer, String> {
        match &self.content {
            Ok(packed) => packed.unpack(),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The resource, or why it cannot be read, as the watch showed it.
    pub(super) fn guarded(&self) -> Guarded {
        let invalid = |error| InvalidObject { error, metadata: self.meta.clone() };
        DeserializeGuard(self.unpack().map_err(invalid))
    }
}

impl Resource for Kept {
    type DynamicType = ();
    type Scope = <MfaServer as Resource>::Scope;

    fn kind((): &()) -> std::borrow::Cow<'_, str> {
        MfaServer::kind(&())
    }

    fn group((): &()) -> std::borrow::Cow<'_, str> {
        MfaServer::group(&())
    }

    fn version((): &()) -> std::borrow::Cow<'_, str> {
        MfaServer::version(&())
    }

    fn plural((): &()) -> std::borrow::Cow<'_, str> {
        MfaServer::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Guarded::deserialize(deserializer).map(Self::of)
    }
}

/// What starts a pass: another resource, another generation (a deletion is one), or a verb.
fn worth_a_pass(meta: &ObjectMeta) -> u64 {
    let annotations = meta.annotations.as_ref();
    let verbs = [ANNOTATION_RECONCILE_REQUESTED_AT, ANNOTATION_FORCE_DELETE, ANNOTATION_ID];
    let mut hash = DefaultHasher::new();
    meta.uid.hash(&mut hash);
    meta.generation.hash(&mut hash);
    meta.deletion_timestamp.is_some().hash(&mut hash);
    for verb in verbs {
        annotations.and_then(|annotations| annotations.get(verb)).hash(&mut hash);
    }
    hash.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::reconcile::packed::tests::server;

    fn kept(server: Value) -> Kept {
        serde_json::from_value(server).unwrap()
    }

    #[test]
    fn a_resource_that_cannot_be_read_says_why() {
        let mut broken = server();
        broken["spec"]["folder"] = 7.into();
        assert!(kept(broken).unpack().is_err());
    }

    #[test]
    fn a_new_generation_a_verb_and_a_new_resource_of_the_name_are_worth_a_pass_and_a_status_is_not() {
        let worth = |change: &dyn Fn(&mut Value)| {
            let mut changed = server();
            change(&mut changed);
            kept(changed).worth()
        };
        let as_it_was = worth(&|_| {});
        assert_eq!(worth(&|server| server["status"]["id"] = "8".into()), as_it_was);
        assert_eq!(worth(&|server| server["metadata"]["resourceVersion"] = "8".into()), as_it_was);
        assert_ne!(worth(&|server| server["metadata"]["generation"] = 3.into()), as_it_was);
        assert_ne!(worth(&|server| server["metadata"]["uid"] = "4-5-6".into()), as_it_was);
        assert_ne!(worth(&|server| server["metadata"]["annotations"][ANNOTATION_ID] = "8".into()), as_it_was);
        let dying = |server: &mut Value| server["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert_ne!(worth(&dying), as_it_was);
    }
}
