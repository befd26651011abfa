//! A resource as it is kept between passes: packed, with nothing that no pass looks at. Ten thousand of them parsed would be
//! most of the operator's memory.
//!
//! # Guarantees
//! - Unpacked, it is the resource, but for other people's labels, annotations and owners, for who wrote which field, and for
//!   an attempt whose answer is in the status.

use std::sync::OnceLock;

use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};

use super::attempt::Attempt;
use crate::conditions::READY;
use crate::crd::{
    ANNOTATION_ATTEMPT, ANNOTATION_FORCE_DELETE, ANNOTATION_ID, ANNOTATION_RECONCILE_REQUESTED_AT, MfaServer,
};

/// Longer than the text of a resource is, so that one which is not like the others is not their measure.
const MOST_IN_COMMON: usize = 8 << 10;

/// What this installation's resources have in common.
static COMMON: Common = Common::unknown();

/// What resources have in common: the text of the first one that was Ready. Names of fields, conditions, addresses of the
/// vendor: most of another one's text is a reference to it, and a fifth of the text is left.
#[derive(Debug)]
struct Common(OnceLock<Box<[u8]>>);

impl Common {
    const fn unknown() -> Self {
        Self(OnceLock::new())
    }

    fn pack(&self, server: &MfaServer, text: &[u8]) -> Form {
        if text.len() <= MOST_IN_COMMON && self.0.get().is_none() && is_ready(server) {
            // Another thread may have been faster: then it is that one's.
            let _ = self.0.set(text.into());
        }
        match self.0.get() {
            Some(common) => Form::Unlike(compress_prepend_size_with_dict(text, common).into()),
            None => Form::Alone(compress_prepend_size_with_dict(text, &[]).into()),
        }
    }
}

fn is_ready(server: &MfaServer) -> bool {
    let mut conditions = server.status.iter().flat_map(|status| &status.conditions);
    conditions.any(|condition| condition.type_ == READY && condition.status == "True")
}

/// A packed resource.
#[derive(Clone, Debug)]
pub struct Packed(Form);

#[derive(Clone, Debug)]
enum Form {
    /// The text, packed, as far as it is unlike what is common.
    Unlike(Box<[u8]>),
    /// The text, packed by itself.
    Alone(Box<[u8]>),
    /// The resource, where it has no text.
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
        Self::by(&COMMON, server)
    }

    fn by(common: &Common, server: MfaServer) -> Self {
        match serde_json::to_vec(&(&server.metadata, &server.spec, &server.status)) {
            Ok(text) => Self(common.pack(&server, &text)),
            Err(_) => Self(Form::Whole(Box::new(server))),
        }
    }

    /// The resource.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn unpack(&self) -> Result<MfaServer, String> {
        self.unpacked(&COMMON)
    }

    fn unpacked(&self, common: &Common) -> Result<MfaServer, String> {
        let (packed, common): (&[u8], &[u8]) = match &self.0 {
            Form::Unlike(packed) => (packed, common.0.get().map_or(&[], |common| common)),
            Form::Alone(packed) => (packed, &[]),
            Form::Whole(server) => return Ok((**server).clone()),
        };
        let text = decompress_size_prepended_with_dict(packed, common).map_err(|error| error.to_string())?;
        let text = String::from_utf8(text).map_err(|error| error.to_string())?;
        let (metadata, spec, status) = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        Ok(MfaServer { metadata, spec, status })
    }
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
    fn what_is_like_the_first_that_was_ready_takes_a_third_of_its_text_or_less() {
        let common = Common::unknown();
        let of = |server: &Value| Packed::by(&common, serde_json::from_value(server.clone()).unwrap());
        let mut fresh = server();
        fresh["status"].take();
        let fresh = of(&fresh);
        assert!(matches!(fresh.0, Form::Alone(_)), "nothing is known of what is common");
        assert!(matches!(of(&server()).0, Form::Unlike(_)));
        let mut another = server();
        another["metadata"]["name"] = "another".into();
        another["metadata"]["uid"] = "4-5-6".into();
        another["metadata"]["resourceVersion"] = "87654".into();
        let packed = of(&another);
        let Form::Unlike(bytes) = &packed.0 else { panic!("{packed:?}") };
        let text = serde_json::to_string(&packed.unpacked(&common).unwrap()).unwrap();
        assert!(bytes.len() * 3 <= text.len(), "{} of {}", bytes.len(), text.len());
        // What was packed before is what it was.
        assert_eq!(fresh.unpacked(&common).unwrap().status, None);
        assert_eq!(packed.unpacked(&common).unwrap().metadata.name.as_deref(), Some("another"));
    }

    #[test]
    fn what_is_longer_than_resources_are_is_no_measure_of_the_others() {
        let common = Common::unknown();
        let mut long = server();
        long["spec"]["mfaCertProfile"] = "x".repeat(MOST_IN_COMMON).into();
        let packed = Packed::by(&common, serde_json::from_value(long).unwrap());
        assert!(matches!(packed.0, Form::Alone(_)));
        assert_eq!(packed.unpacked(&common).unwrap().spec.mfa_cert_profile.len(), MOST_IN_COMMON);
    }

    #[test]
    fn a_text_that_cannot_be_made_smaller_is_kept_all_the_same() {
        let text: String = (0..2000u32).map(|n| char::from(33 + u8::try_from(n * 7919 % 90).unwrap())).collect();
        let mut noisy = server();
        noisy["spec"]["mfaCertProfile"] = text.clone().into();
        assert_eq!(packed(noisy).unpack().unwrap().spec.mfa_cert_profile, text);
    }
}
