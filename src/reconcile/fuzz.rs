//! What the API server has stored and what the tenant shows, made rubbish: whatever it is, a pass begins, and the status that
//! it comes to is one that the API server takes and that tells nothing of a secret.

use std::panic::AssertUnwindSafe;
use std::sync::LazyLock;

use kube::runtime::events::Reporter;
use mfa_fuzz::tells_the_secret;
use reqwest::header::HeaderMap;
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::attempt::Attempt;
use super::compare::{differences, echo, echoed, is_unwritable};
use super::desired::{Desired, desired};
use super::facts::{Class as FactsClass, CredentialProblem, Facts, Sameness, SecretProblem, Stored};
use super::scope::Scope;
use super::secrets::Versions;
use super::step::next_step;
use super::*;
use crate::crd::{ANNOTATION_ATTEMPT, MfaServerStatus, crd};
use crate::reconcile::facts::Found;
use crate::sse::types::{Remote, SECRET_FIELDS, VENDOR};
use crate::sse::{Limits, Method, Schedule, TokenEndpoint};

const VERDICTS: [Verdict; 17] = [
    Verdict::InOrder,
    Verdict::Suspended,
    Verdict::InvalidSpec,
    Verdict::Secret(SecretProblem::Invalid),
    Verdict::Credential(CredentialProblem::Expired),
    Verdict::Credential(CredentialProblem::Rejected),
    Verdict::TenantMismatch,
    Verdict::DuplicateClaim,
    Verdict::NameTaken,
    Verdict::AdoptionRefused,
    Verdict::DriftReported,
    Verdict::Flapping,
    Verdict::Refused(FactsClass::Input),
    Verdict::Refused(FactsClass::Conflict),
    Verdict::Refused(FactsClass::Server),
    Verdict::OutcomeUnknown,
    Verdict::Adopted,
];

/// The schema of the status, as the API server holds everyone to it.
static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let crd = serde_json::to_value(crd()).unwrap();
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/status").unwrap().clone()
});

/// Whether the API server would take the value: lengths and counts alone, which is where text of others can do harm.
fn assert_fits(schema: &Value, value: &Value, path: &str) {
    let at_most = |key: &str| schema.get(key).and_then(Value::as_u64).unwrap_or(u64::MAX);
    match value {
        Value::String(text) => {
            let length = text.chars().count() as u64;
            assert!(length <= at_most("maxLength"), "{path}: {length} characters");
        }
        Value::Array(items) => {
            assert!(items.len() as u64 <= at_most("maxItems"), "{path}: {} items", items.len());
            for item in items {
                assert_fits(&schema["items"], item, path);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                assert_fits(&schema["properties"][key], member, &format!("{path}.{key}"));
            }
        }
        _ => {}
    }
}

fn assert_is_taken(status: &MfaServerStatus) {
    assert!(SCHEMA["properties"]["conditions"].is_object());
    assert_fits(&SCHEMA, &json!(status), "status");
}

/// A process that is connected to nothing.
struct Nowhere {
    runtime: tokio::runtime::Runtime,
    kube: kube::Client,
    client: sse::Client,
    endpoint: TokenEndpoint,
}

impl Nowhere {
    fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = runtime();
        let entered = runtime.enter();
        let kube = kube::Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
        let settings = sse::Settings { api_url: "http://127.0.0.1:1".to_owned(), ..sse::Settings::default() };
        let client = sse::Client::new(&settings).unwrap();
        let endpoint = TokenEndpoint::new(&settings, "http://127.0.0.1:1").unwrap();
        drop(entered);
        Self { runtime, kube, client, endpoint }
    }

    fn context(&self) -> Arc<Context> {
        let (wakes, _) = Wakes::channel();
        let schedule = Schedule::new(|_, _, _| Duration::from_mins(1));
        let resync = Duration::from_mins(10);
        let credentials = Credentials::new(self.endpoint.clone(), Limits::default(), schedule.clone(), wakes.clone());
        let lists = Lists::new(self.client.clone(), Arc::clone(&credentials), schedule, resync, wakes.clone());
        let versions = Versions::new(Some(Scope::Cluster), resync);
        let secrets =
            Secrets::new(self.kube.clone(), Arc::clone(&credentials), Arc::clone(&lists), wakes.clone(), versions);
        let reporter = Reporter { controller: "tests".to_owned(), instance: None };
        Arc::new(Context {
            announcer: Announcer::channel(self.kube.clone(), reporter).0,
            kube: self.kube.clone(),
            client: self.client.clone(),
            credentials,
            lists,
            secrets,
            peers: Arc::new(Peers::new(wakes.clone())),
            wakes,
            metrics: Metrics::new(),
            health: Health::new(),
            settings: Settings {
                scope: Scope::Cluster,
                credentials_secret: "prisma-access".to_owned(),
                shared_credentials: None,
                default_deletion_policy: DeletionPolicy::Delete,
                resync,
                request_timeout: Duration::from_secs(30),
            },
            deadline: Deadline::none(),
            gaps: gap::Gaps::untold(),
            memories: Mutex::default(),
        })
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn whatever_is_stored_a_pass_begins_and_its_status_is_taken() {
    let nowhere = AssertUnwindSafe(Nowhere::new());
    assert!(nowhere.runtime.metrics().num_workers() == 1);
    mfa_fuzz::texts("stored", |text| {
        let nowhere = &nowhere;
        let Ok(server) = serde_json::from_slice::<MfaServer>(text) else { return };
        // Tasks that a pass starts go with their runtime.
        let runtime = runtime();
        let _guard = runtime.enter();
        let server = Arc::new(server);
        let mut pass = Pass::begin(nowhere.context(), Arc::default(), Arc::clone(&server));
        let again = Pass::begin(nowhere.context(), Arc::default(), Arc::clone(&server));
        assert_eq!(pass.facts, again.facts);
        let _ = next_step(&pass.facts);
        assert!(server.status.as_ref().is_none_or(|status| status.id.is_some() == pass.facts.id));
        // What the API server has stored fits already; what is made of the rest is to.
        let fits = server
            .status
            .as_ref()
            .is_none_or(|status| std::panic::catch_unwind(AssertUnwindSafe(|| assert_is_taken(status))).is_ok());
        if !fits || server.effective_name().chars().count() > 253 {
            return;
        }
        for found in [Found::Absent, Found::Other, Found::NamedElsewhere] {
            for verdict in VERDICTS {
                pass.facts.found = found;
                let (status, event) = pass.report(verdict);
                assert_is_taken(&status);
                assert!(event.is_none_or(|event| event.note.len() < 4_000));
                let text = serde_json::to_string(&status).unwrap();
                // Stored, times have no fractions.
                let stored: MfaServerStatus = serde_json::from_str(&text).unwrap();
                assert_eq!(serde_json::to_string(&stored).unwrap(), text);
            }
        }
    });
}

#[test]
fn an_attempt_is_read_as_it_was_written_or_is_void() {
    let server: MfaServer = serde_json::from_str(include_str!("../../fuzz/__fuzz__/stored/corpus/in_order")).unwrap();
    mfa_fuzz::texts("attempt", move |text| {
        let mut server = server.clone();
        let text = String::from_utf8_lossy(text).into_owned();
        server.metadata.annotations = Some([(ANNOTATION_ATTEMPT.to_owned(), text)].into());
        let Some(attempt) = Attempt::of(&server) else { return };
        assert_eq!(server.metadata.uid.as_deref(), Some(attempt.uid.as_str()));
        let status = MfaServerStatus {
            attempt: Some(attempt.nonce.clone()),
            observed_secrets: attempt.observed_secrets(),
            ..MfaServerStatus::default()
        };
        assert_is_taken(&status);
        let desired = desired(&server).unwrap();
        assert!(!attempt.sends(&desired, "1234567890") || attempt.sent == desired.fingerprint());
        server.metadata.annotations =
            Some([(ANNOTATION_ATTEMPT.to_owned(), serde_json::to_string(&attempt).unwrap())].into());
        assert_eq!(Attempt::of(&server), Some(attempt));
    });
}

/// One resource of each kind.
fn wanted() -> Vec<Desired> {
    let texts = [
        include_str!("../../fuzz/__fuzz__/stored/corpus/in_order"),
        include_str!("../../fuzz/__fuzz__/stored/corpus/refused"),
        include_str!("../../fuzz/__fuzz__/stored/corpus/deleting"),
    ];
    texts.iter().map(|text| desired(&serde_json::from_str(text).unwrap()).unwrap()).collect()
}

/// The object of an answer, as it would be compared.
fn shown(body: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(body).ok()? {
        Value::Object(fields) => Some(fields),
        Value::Array(items) => items.into_iter().find_map(|item| item.as_object().cloned()),
        _ => None,
    }
}

#[test]
fn once_an_object_is_written_nothing_differs_and_no_echo_is_written_back() {
    let wanted = wanted();
    mfa_fuzz::answers("object", move |fed| {
        let Some(shown) = shown(&fed.body) else { return };
        for desired in &wanted {
            let secrets: Vec<SecretString> =
                desired.secrets.iter().map(|_| SecretString::from("not-a-real-secret")).collect();
            let differing = differences(desired, &shown);
            assert_eq!(differing, differences(desired, &shown));
            // Only names are told, and of those no more than were sent.
            let told: usize = differing.iter().map(String::len).sum();
            assert!(told <= 1_000 + 2 * (fed.body.len() + differing.len() * 100), "{told} bytes");
            assert_eq!(echoed(desired, &shown).len(), desired.secrets.len());
            let _ = echo(desired, &secrets, &shown);
            if is_unwritable(desired, &shown) {
                continue;
            }
            let body = desired.overlay(&shown, &secrets);
            let written: Map<String, Value> = serde_json::from_str(body.expose()).unwrap();
            assert_eq!(differences(desired, &written), Vec::<String>::new(), "{}", body.expose());
            assert!(!written.contains_key("id") && !written.contains_key("folder"));
            if !desired.secrets.is_empty() {
                assert_eq!(echo(desired, &secrets, &written), Sameness::Same);
            }
            let members = written.get(VENDOR).and_then(Value::as_object).into_iter().flatten();
            for (member, fields) in members.filter(|_| desired.vendor.is_some()) {
                assert_eq!(Some(member), desired.vendor.as_ref());
                let of = fields.as_object().into_iter().flatten();
                for (field, value) in of.filter(|(field, _)| SECRET_FIELDS.contains(&field.as_str())) {
                    assert!(value.is_null() || value == "not-a-real-secret", "{field} is written back as {value}");
                }
            }
        }
    });
}

/// The verdict that a refusal of this class comes to.
fn verdict(class: sse::Class) -> Verdict {
    Verdict::Refused(pass::class(class))
}

#[test]
fn the_status_that_an_error_comes_to_is_taken_and_tells_nothing_of_its_body() {
    let nowhere = AssertUnwindSafe(Nowhere::new());
    let server: MfaServer = serde_json::from_str(include_str!("../../fuzz/__fuzz__/stored/corpus/new")).unwrap();
    let server = Arc::new(server);
    let guard = nowhere.runtime.enter();
    let context = nowhere.context();
    let pass = Mutex::new(Pass::begin(context, Arc::default(), server));
    drop(guard);
    let pass = AssertUnwindSafe(pass);
    mfa_fuzz::answers("error", move |fed| {
        let pass = &pass;
        let mut pass = pass.lock().unwrap_or_else(PoisonError::into_inner);
        for method in Method::ALL {
            let failure = sse::error::decode(method, fed.status, &HeaderMap::new(), &fed.body);
            pass.cause = pass::cause(&failure);
            let (status, event) = pass.report(verdict(failure.class));
            assert_is_taken(&status);
            let said = format!("{} {event:?}", serde_json::to_string(&status).unwrap());
            assert!(said.len() <= 4_000 && !tells_the_secret(&said), "{said}");
            assert!(said.contains(failure.reason.as_str()));
        }
    });
}

#[test]
fn an_object_of_another_that_is_not_adopted_is_told_of_in_a_status_that_is_taken() {
    let nowhere = AssertUnwindSafe(Nowhere::new());
    let server: MfaServer = serde_json::from_str(include_str!("../../fuzz/__fuzz__/stored/corpus/new")).unwrap();
    let server = Arc::new(server);
    mfa_fuzz::answers("object", move |fed| {
        let nowhere = &nowhere;
        let Some(fields) = shown(&fed.body) else { return };
        let runtime = runtime();
        let _guard = runtime.enter();
        let mut pass = Pass::begin(nowhere.context(), Arc::default(), Arc::clone(&server));
        pass.shown = Some(Remote { id: "1".to_owned(), name: "okta".to_owned(), folder: None, fields });
        pass.facts = Facts { found: Found::Other, ..Facts::from_stored(Stored::default()) };
        pass.facts.fields = pass.compare();
        for verdict in [Verdict::AdoptionRefused, Verdict::DriftReported, Verdict::Flapping] {
            let (status, event) = pass.report(verdict);
            assert_is_taken(&status);
            // A message of that length is still read by people.
            assert!(status.conditions.iter().all(|condition| condition.message.chars().count() <= 2_000));
            assert!(event.is_none_or(|event| event.note.chars().count() <= 2_000));
        }
    });
}
