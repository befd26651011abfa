//! A resource as it is kept between passes: packed, with nothing that no pass looks at. Ten thousand of them parsed would be
//! most of the operator's memory.
//!
//! # Guarantees
//! - Unpacked, it is the resource, but for other people's labels, annotations and owners, for who wrote which field, and for
//!   an attempt whose answer is in the status.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::attempt::Attempt;
use crate::crd::{
    ANNOTATION_ATTEMPT, ANNOTATION_FORCE_DELETE, ANNOTATION_ID, ANNOTATION_RECONCILE_REQUESTED_AT, MfaServer,
};

/// More than the packed form can be longer than the text.
const MARGIN: usize = 64;

thread_local! {
    static PACKER: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
    static UNPACKER: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// A packed resource.
#[derive(Clone, Debug)]
pub struct Packed(Form);

#[derive(Clone, Debug)]
enum Form {
    /// The length of the text, and the text packed.
    Small(usize, Box<[u8]>),
    /// The resource, where packing it failed.
    Whole(Box<MfaServer>),
}

impl Packed {
    /// Packs it.
    #[must_use]
    pub fn of(mut server: MfaServer) -> Self {
        let answered = Attempt::of(&server).is_some_and(|attempt| attempt.is_answered(&server));
        let meta = &mut server.metadata;
        meta.managed_fields = None;
        meta.labels = None;
        meta.owner_references = None;
        if let Some(annotations) = &mut meta.annotations {
            let ours = [ANNOTATION_ATTEMPT, ANNOTATION_RECONCILE_REQUESTED_AT, ANNOTATION_FORCE_DELETE, ANNOTATION_ID];
            annotations.retain(|name, _| ours.contains(&name.as_str()) && !(answered && name == ANNOTATION_ATTEMPT));
        }
        let text = serde_json::to_string(&(&server.metadata, &server.spec, &server.status)).ok();
        let small = text.and_then(|text| Some(Form::Small(text.len(), deflated(&text)?)));
        Self(small.unwrap_or_else(|| Form::Whole(Box::new(server))))
    }

    /// The resource.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn unpack(&self) -> Result<MfaServer, String> {
        match &self.0 {
            Form::Whole(server) => Ok((**server).clone()),
            Form::Small(length, packed) => {
                let text = serde_json::from_slice(&inflated(*length, packed));
                let (metadata, spec, status) = text.map_err(|error| error.to_string())?;
                Ok(MfaServer { metadata, spec, status })
            }
        }
    }
}

fn deflated(text: &str) -> Option<Box<[u8]>> {
    let mut packed = Vec::with_capacity(text.len() + MARGIN);
    let done = PACKER.with_borrow_mut(|packer| {
        packer.reset();
        packer.compress_vec(text.as_bytes(), &mut packed, FlushCompress::Finish)
    });
    matches!(done, Ok(Status::StreamEnd)).then(|| packed.into_boxed_slice())
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
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub(crate) fn server() -> Value {
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

    fn packed(server: Value) -> Packed {
        Packed::of(serde_json::from_value(server).unwrap())
    }

    #[test]
    fn what_is_unpacked_is_what_was_packed_but_for_what_others_noted() {
        let mut wanted: MfaServer = serde_json::from_value(server()).unwrap();
        wanted.metadata.labels = None;
        wanted.metadata.annotations.as_mut().unwrap().remove("kubectl.kubernetes.io/last-applied-configuration");
        let packed = packed(server());
        assert!(matches!(packed.0, Form::Small(..)));
        assert_eq!(packed.unpack().unwrap(), wanted);
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
            |server| packed(server).unpack().unwrap().metadata.annotations.unwrap().contains_key(ANNOTATION_ATTEMPT);
        assert!(holds(open));
        assert!(!holds(answered));
    }

    #[test]
    fn a_text_that_cannot_be_made_smaller_is_kept_all_the_same() {
        let text: String = (0..2000u32).map(|n| char::from(33 + u8::try_from(n * 7919 % 90).unwrap())).collect();
        let mut noisy = server();
        noisy["spec"]["mfaCertProfile"] = text.clone().into();
        assert_eq!(packed(noisy).unpack().unwrap().spec.mfa_cert_profile, text);
    }
}
