//! A resource as the cache keeps it: packed, with nothing that no pass looks at. Ten thousand of them parsed would be most
//! of the operator's memory.
//!
//! # Guarantees
//! - Unpacked, it is the resource as the watch showed it, but for other people's labels, annotations and owners, and for an
//!   attempt whose answer is in the status.
//! - A resource that cannot be read is kept too, with the reason.

use std::cell::RefCell;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use kube::Resource;
use kube::core::error_boundary::InvalidObject;
use kube::core::{DeserializeGuard, ObjectMeta};
use serde::{Deserialize, Deserializer};

use crate::crd::{
    ANNOTATION_ATTEMPT, ANNOTATION_FORCE_DELETE, ANNOTATION_ID, ANNOTATION_RECONCILE_REQUESTED_AT, MfaServer,
};
use crate::reconcile::attempt::Attempt;

/// A resource, or one that cannot be read: it must not stop the watch of the others.
pub(super) type Guarded = DeserializeGuard<MfaServer>;

/// More than the packed form can be longer than the text.
const MARGIN: usize = 64;

thread_local! {
    static PACKER: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
    static UNPACKER: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// A resource as it is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Name and namespace, which the cache finds it by.
    meta: ObjectMeta,
    /// Another value of this is worth a pass.
    worth: u64,
    content: Result<Packed, Box<str>>,
}

#[derive(Clone, Debug)]
enum Packed {
    /// The length of the text, and the text packed.
    Small(usize, Box<[u8]>),
    /// The text, where packing it failed.
    Plain(Box<str>),
}

impl Kept {
    /// What is kept of this resource.
    pub(super) fn of(server: Guarded) -> Self {
        let meta = server.meta();
        let kept = ObjectMeta { name: meta.name.clone(), namespace: meta.namespace.clone(), ..ObjectMeta::default() };
        let worth = worth_a_pass(meta);
        let content = match server.0 {
            Ok(server) => pack(server),
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
        let text = match &self.content {
            Ok(Packed::Plain(text)) => serde_json::from_str(text),
            Ok(Packed::Small(length, packed)) => serde_json::from_slice(&inflated(*length, packed)),
            Err(error) => return Err(error.to_string()),
        };
        let (metadata, spec, status) = text.map_err(|error| error.to_string())?;
        Ok(MfaServer { metadata, spec, status })
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

fn pack(mut server: MfaServer) -> Result<Packed, Box<str>> {
    let answered = Attempt::of(&server).is_some_and(|attempt| attempt.is_answered(&server));
    let meta = &mut server.metadata;
    meta.managed_fields = None;
    meta.labels = None;
    meta.owner_references = None;
    if let Some(annotations) = &mut meta.annotations {
        let ours = [ANNOTATION_ATTEMPT, ANNOTATION_RECONCILE_REQUESTED_AT, ANNOTATION_FORCE_DELETE, ANNOTATION_ID];
        annotations.retain(|name, _| ours.contains(&name.as_str()) && !(answered && name == ANNOTATION_ATTEMPT));
    }
    let text = serde_json::to_string(&(&server.metadata, &server.spec, &server.status));
    text.map(packed).map_err(|error| error.to_string().into())
}

fn packed(text: String) -> Packed {
    let mut packed = Vec::with_capacity(text.len() + MARGIN);
    let done = PACKER.with_borrow_mut(|packer| {
        packer.reset();
        packer.compress_vec(text.as_bytes(), &mut packed, FlushCompress::Finish)
    });
    match done {
        Ok(Status::StreamEnd) => Packed::Small(text.len(), packed.into_boxed_slice()),
        Ok(Status::Ok | Status::BufError) | Err(_) => Packed::Plain(text.into_boxed_str()),
    }
}

/// The text, or less of it, which cannot be parsed then.
fn inflated(length: usize, packed: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(length);
    // What comes of it shows in the parsing.
    let _ = UNPACKER.with_borrow_mut(|unpacker| {
        unpacker.reset(false);
        unpacker.decompress_vec(packed, &mut text, FlushDecompress::Finish)
    });
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn server() -> Value {
        json!({
            "apiVersion": "sse.mfa-operator.io/v1alpha1", "kind": "MfaServer",
            "metadata": {
                "name": "corp", "namespace": "default", "uid": "1-2-3", "resourceVersion": "7", "generation": 2,
                "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"a": "b"}, "finalizers": ["x", "y"],
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", ANNOTATION_ID: "7"},
            },
            "spec": {"folder": "Shared", "mfaCertProfile": "größe"},
            "status": {"observedGeneration": 2, "id": "7", "conditions": [{
                "type": "Ready", "status": "True", "reason": "Available", "message": "", "observedGeneration": 2,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]},
        })
    }

    fn kept(server: Value) -> Kept {
        serde_json::from_value(server).unwrap()
    }

    #[test]
    fn what_is_unpacked_is_what_was_packed_but_for_what_others_noted() {
        let mut wanted: MfaServer = serde_json::from_value(server()).unwrap();
        wanted.metadata.labels = None;
        wanted.metadata.annotations.as_mut().unwrap().remove("kubectl.kubernetes.io/last-applied-configuration");
        let kept = kept(server());
        assert!(matches!(kept.content, Ok(Packed::Small(..))));
        assert_eq!(kept.unpack().unwrap(), wanted);
    }

    #[test]
    fn an_attempt_is_kept_until_its_answer_is_in_the_status() {
        let attempt = json!({
            "uid": "1-2-3", "nonce": "n", "tenant": "1", "folder": "Shared", "position": "pre", "name": "corp",
            "fields": [], "hash": "",
        });
        let mut open = server();
        open["metadata"]["annotations"][ANNOTATION_ATTEMPT] = attempt.to_string().into();
        let mut answered = open.clone();
        answered["status"]["attempt"] = "n".into();
        let holds =
            |server| kept(server).unpack().unwrap().metadata.annotations.unwrap().contains_key(ANNOTATION_ATTEMPT);
        assert!(holds(open));
        assert!(!holds(answered));
    }

    #[test]
    fn a_resource_that_cannot_be_read_says_why() {
        let mut broken = server();
        broken["spec"]["folder"] = 7.into();
        assert!(kept(broken).unpack().is_err());
    }

    #[test]
    fn a_text_that_cannot_be_made_smaller_is_kept_all_the_same() {
        let text: String = (0..2000u32).map(|n| char::from(33 + u8::try_from(n * 7919 % 90).unwrap())).collect();
        let mut noisy = server();
        noisy["spec"]["mfaCertProfile"] = text.clone().into();
        assert_eq!(kept(noisy).unpack().unwrap().spec.mfa_cert_profile, text);
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
