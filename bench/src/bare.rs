//! The bare loop: the same calls for each object as the operator makes, with the same clients and as many at a time, and no
//! logic. What it reaches is what the operator could reach at most.
//!
//! Its calls for an object: the vendor's Secret, the patch with finalizer and attempt, POST, the status, an Event.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::api::{GetParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use mfa_operator::crd::{ANNOTATION_ATTEMPT, FINALIZER, MfaServer};
use mfa_operator::sse::types::{Body, Folder, Position};
use mfa_operator::sse::{self, Token};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::stage::{NAMESPACE, TOKEN};
use crate::{Error, Result};

/// The operator's `--concurrency` and `--api-max-in-flight`.
const CONCURRENCY: usize = 32;
const IN_FLIGHT: usize = 8;

struct Loop {
    kube: Client,
    sse: sse::Client,
    token: Token,
    in_flight: Semaphore,
}

/// Creates an object for each resource of the namespace.
pub(crate) async fn run() -> Result<()> {
    let kube = Client::try_default().await?;
    let settings = sse::Settings { api_url: std::env::var("MFA_BENCH_API_URL")?, ..sse::Settings::default() };
    let token = Token::parse(TOKEN.as_bytes())?;
    let bare = Arc::new(Loop { kube, sse: sse::Client::new(&settings)?, token, in_flight: Semaphore::new(IN_FLIGHT) });
    bare.sse.list(&bare.token, Folder::MobileUsers, 0, 200).await?;
    let servers = Api::<MfaServer>::namespaced(bare.kube.clone(), NAMESPACE).list(&ListParams::default()).await?;
    let tasks = stream::iter(servers.into_iter().map(|server| {
        let task = tokio::spawn(Arc::clone(&bare).object(server));
        async move { task.await? }
    }));
    // No more than so many are begun: a task that is spawned runs at once.
    tasks.map(Ok::<_, Error>).try_for_each_concurrent(CONCURRENCY, |task| task).await
}

impl Loop {
    async fn object(self: Arc<Self>, server: MfaServer) -> Result<()> {
        let (name, uid) = (server.name_any(), server.metadata.uid.clone().unwrap_or_default());
        let servers = Api::<MfaServer>::namespaced(self.kube.clone(), NAMESPACE);
        let secrets = Api::<Secret>::namespaced(self.kube.clone(), NAMESPACE);
        let vendor = server.spec.mfa_vendor_type.as_ref().and_then(|vendors| vendors.secrets().into_iter().next());
        let reference = vendor.ok_or("a resource without a vendor")?.reference.name.clone();
        // From the API server's own memory, as the operator.
        let secret = secrets.get_with(&reference, &GetParams::any()).await?;
        let value = secret.data.and_then(|mut data| data.remove("token")).ok_or("a Secret without its key")?;

        let record = attempt(&uid, &name, &reference).to_string();
        let patch = json!({"metadata": {
            "resourceVersion": server.metadata.resource_version,
            "finalizers": [FINALIZER],
            "annotations": {ANNOTATION_ATTEMPT: record},
        }});
        let patched = servers.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;

        let body = Body::of(&object(&name, &String::from_utf8(value.0)?));
        let turn = self.in_flight.acquire().await?;
        let created = self.sse.create(&self.token, Folder::MobileUsers, Position::Pre, &body).await?;
        drop(turn);
        let id = created.ok_or("a creation that told no id")?.id;

        let status = json!({
            "apiVersion": "sse.mfa-operator.io/v1alpha1", "kind": "MfaServer",
            "metadata": {"name": name, "resourceVersion": patched.metadata.resource_version},
            "status": status(&name, &id, patched.metadata.generation, &reference),
        });
        let params = PatchParams::apply("mfa-operator").force();
        servers.patch_status(&name, &params, &Patch::Apply(status)).await?;
        let event: Event = serde_json::from_value(event(&name, &uid))?;
        Api::namespaced(self.kube.clone(), NAMESPACE).create(&PostParams::default(), &event).await?;
        Ok(())
    }
}

/// What the operator sends.
pub(crate) fn object(name: &str, token: &str) -> serde_json::Map<String, Value> {
    let okta = json!({
        "okta_api_host": "corp.okta.example.com", "okta_baseuri": "/api/v1", "okta_org": "corp",
        "okta_timeout": "30", "okta_token": token,
    });
    let fields = [
        ("name".to_owned(), json!(name)),
        ("mfa_cert_profile".to_owned(), json!("corp-ca")),
        ("mfa_vendor_type".to_owned(), json!({ "okta_adaptive_v1": okta })),
    ];
    fields.into_iter().collect()
}

/// As long as the operator's own.
pub(crate) fn attempt(uid: &str, name: &str, secret: &str) -> Value {
    let member = "mfa_vendor_type.okta_adaptive_v1.okta";
    let mut fields = vec!["mfa_cert_profile".to_owned(), "name".to_owned()];
    fields.extend(["api_host", "baseuri", "org", "timeout"].map(|field| format!("{member}_{field}")));
    json!({
        "uid": uid, "nonce": "0123456789abcdef", "tenant": "1000000001", "folder": "Mobile Users", "position": "pre",
        "name": name, "fields": fields, "hash": "0".repeat(64), "secrets": {secret: "100"},
    })
}

/// As long as the operator's own.
pub(crate) fn status(name: &str, id: &str, generation: Option<i64>, secret: &str) -> Value {
    let condition = |kind: &str, reason: &str| {
        json!({
            "type": kind, "status": "True", "reason": reason, "observedGeneration": generation,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "message": "The candidate configuration of the tenant equals the spec.",
        })
    };
    json!({
        "observedGeneration": generation, "id": id, "name": name, "folder": "Mobile Users", "position": "pre",
        "vendor": "oktaAdaptiveV1", "tenant": "1000000001", "attempt": "0123456789abcdef",
        "lastSyncTime": "2026-01-01T00:00:00Z", "observedSecrets": [{"name": secret, "resourceVersion": "100"}],
        "conditions": [
            condition("Ready", "Available"), condition("Synced", "UpToDate"), condition("Authenticated", "Accepted"),
        ],
    })
}

/// As long as the operator's own.
pub(crate) fn event(name: &str, uid: &str) -> Value {
    json!({
        "metadata": {"generateName": format!("{name}-"), "namespace": NAMESPACE},
        "involvedObject": {
            "apiVersion": "sse.mfa-operator.io/v1alpha1", "kind": "MfaServer", "name": name, "namespace": NAMESPACE,
            "uid": uid,
        },
        "type": "Normal", "reason": "Available", "action": "Reconcile", "reportingComponent": "mfa-operator",
        "reportingInstance": "bench", "eventTime": "2026-01-01T00:00:00.000000Z",
        "message": "The candidate configuration of the tenant equals the spec.",
    })
}
