//! The operator against a tenant that loses answers, applies late, lies or fails: nothing is ever made twice, taken from
//! somebody else or left behind.
//!
//! The judge is the simulator: its request log and what the tenant holds in the end.

mod cluster;
mod create;
mod delete;
mod killed;
mod lists;
mod update;

use mfa_operator::crd::{ANNOTATION_ATTEMPT, FINALIZER, MfaServer};
use mfa_sandbox::simulator::{Entry, Folder, Log, Outcome, Reply, Route, Rule, StoredObject};
use serde_json::{Value, json};

use crate::operator::Stage;

/// The folder of every resource here.
pub(crate) const FOLDER: Folder = Folder::MobileUsers;

/// The operator's request timeout, unless a test says otherwise; an open attempt settles after twice that.
pub(crate) const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

/// A rule for the next POST of this name.
pub(crate) fn next_post(name: &str, reply: Reply) -> Rule {
    Rule::new(reply).on("POST", Route::MfaServers).object(name).once()
}

/// The creates of this name that reached the tenant.
pub(crate) fn posts(stage: &Stage, name: &str) -> Vec<Entry> {
    let mut entries = stage.simulator.log().entries();
    entries.retain(|entry| entry.method == "POST" && entry.name.as_deref() == Some(name));
    entries
}

/// How many creates of this name reached the tenant.
pub(crate) fn posts_in(log: &Log, name: &str) -> usize {
    log.entries().iter().filter(|entry| entry.method == "POST" && entry.name.as_deref() == Some(name)).count()
}

/// The listings of the folder so far.
pub(crate) fn listings(log: &Log) -> u64 {
    log.count("GET", Route::MfaServers)
}

/// The listings that have been answered.
pub(crate) fn listed(log: &Log) -> u64 {
    log.answered("GET", Route::MfaServers, 200)
}

/// Waits until a create of this name is under way.
pub(crate) async fn wait_post(stage: &Stage, name: &str) {
    stage.wait_requests(&format!("a POST of {name}"), |log| posts_in(log, name) > 0).await;
}

/// Waits until the tenant lists the folder once more.
pub(crate) async fn wait_listing(stage: &Stage) {
    let before = stage.simulator.log().with(listed);
    stage.wait_requests("another listing", |log| listed(log) > before).await;
}

/// The objects of that name in the tenant.
pub(crate) fn objects(stage: &Stage, name: &str) -> Vec<StoredObject> {
    let mut objects = stage.tenant.objects();
    objects.retain(|object| object.name == name);
    objects
}

/// The one object of that name.
pub(crate) fn only_object(stage: &Stage, name: &str) -> StoredObject {
    let mut objects = objects(stage, name);
    assert_eq!(objects.len(), 1, "objects named {name}: {objects:?}{}", stage.log_ends());
    objects.remove(0)
}

/// Waits until the resource is in order, and checks that it holds the tenant's only object of that name, and that
/// everything which a crash would need is stored.
pub(crate) async fn in_order(stage: &Stage, name: &str) -> (MfaServer, StoredObject) {
    let server = stage.wait_ready(name, "True", "Available").await;
    let object = only_object(stage, name);
    let status = server.status.as_ref().expect("a status");
    assert_eq!(status.id.as_ref(), Some(&object.id), "{name}");
    assert!(status.tenant.is_some(), "{name} is bound to no tenant");
    assert_eq!(status.last_error, None, "{name}");
    assert!(server.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER), "{name}");
    if let Some(attempt) = attempt(&server) {
        assert_eq!(status.attempt.as_deref(), attempt["nonce"].as_str(), "{name}: the attempt is still open");
    }
    (server, object)
}

/// The recorded attempt.
pub(crate) fn attempt(server: &MfaServer) -> Option<Value> {
    let text = server.metadata.annotations.as_ref()?.get(ANNOTATION_ATTEMPT)?;
    Some(serde_json::from_str(text).expect("an attempt in JSON"))
}

/// The body of another administrator's object.
pub(crate) fn foreign(name: &str, profile: &str) -> Value {
    json!({
        "name": name,
        "mfa_cert_profile": profile,
        "mfa_vendor_type": { "okta_adaptive_v1": {
            "okta_api_host": "corp.okta.example.com",
            "okta_baseuri": "/api/v1",
            "okta_org": "corp",
            "okta_timeout": "30",
            "okta_token": crate::operator::OKTA_TOKEN,
        } },
    })
}

/// Whether the request ended with a whole answer.
pub(crate) fn is_answered(entry: &Entry) -> bool {
    entry.outcome == Outcome::Answered
}
