//! What is expected: waited for, with a deadline, and told.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Error, LIMIT, Result, scene::Scene};
use crate::simulator::{Folder, Outcome, StoredObject, TenantHandle};

/// How often the cluster is asked: kubectl takes most of that time anyway.
const ASK: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_millis(10);

/// What was expected, or what was seen instead.
pub(super) type Sight = std::result::Result<(), String>;

impl Scene<'_> {
    /// What is so now, or never.
    pub(super) fn check(&mut self, wanted: &str, sight: Sight) -> Result {
        match sight {
            Ok(()) => self.tell_ok(wanted),
            Err(saw) => Err(Error::Expected { wanted: wanted.to_owned(), saw }),
        }
    }

    /// Waits until the tenant is as wanted.
    pub(super) async fn until_tenant(&mut self, wanted: &str, look: impl Fn(&TenantHandle) -> Sight) -> Result {
        let begin = Instant::now();
        let tenant = self.tenant();
        while let Err(saw) = look(&tenant) {
            self.check_operator()?;
            if begin.elapsed() > LIMIT {
                return Err(late(wanted.to_owned(), &saw));
            }
            tokio::time::sleep(LOOK).await;
        }
        self.tell_ok(wanted)
    }

    /// Waits until an `MfaServer` is as wanted, at its present generation.
    async fn until_resource(&mut self, name: &str, wanted: &str, look: impl Fn(&Value) -> bool) -> Result {
        let begin = Instant::now();
        loop {
            let resource = self.resource(name).await?;
            let current = resource["status"]["observedGeneration"] == resource["metadata"]["generation"];
            if current && look(&resource) {
                return Ok(());
            }
            self.check_operator()?;
            if begin.elapsed() > LIMIT {
                return Err(late(format!("{name} {wanted}"), &summary(&resource)));
            }
            tokio::time::sleep(ASK).await;
        }
    }

    /// Waits until `Ready` is `False` for that reason.
    pub(super) async fn until_refused(&mut self, name: &str, reason: &str) -> Result {
        let refused = |resource: &Value| {
            let ready = condition(resource, "Ready");
            ready["status"] == "False" && ready["reason"] == reason
        };
        self.until_resource(name, &format!("is refused as {reason}"), refused).await?;
        self.tell_ok(&format!("{name} is not Ready, and says {reason}"))
    }

    /// Asks the operator to look at a resource now, and waits until it has.
    pub(super) async fn reconcile_now(&mut self, name: &str) -> Result {
        let now = now();
        let resource = format!("mfaserver/{name}");
        let verb = format!("sse.mfa-operator.io/reconcile-requested-at={now}");
        self.kubectl(&["annotate", "--overwrite", &resource, &verb]).await?;
        let handled = |resource: &Value| resource["status"]["lastHandledReconcileAt"] == *now;
        self.until_resource(name, "is looked at on demand", handled).await
    }

    /// An `MfaServer` as it is now.
    pub(super) async fn resource(&mut self, name: &str) -> Result<Value> {
        let words = ["get", "mfaserver", name, "--output=json"];
        let answer = self.ask(&words, "").await?;
        let failed = |answer| Error::Kubectl { command: format!("kubectl {}", words.join(" ")), answer };
        if !answer.ok {
            return Err(failed(format!("said {}", answer.stderr.trim())));
        }
        serde_json::from_str(&answer.stdout).map_err(|error| failed(format!("did not answer with JSON: {error}")))
    }

    /// How many requests of that method were about objects of that name, or of any; by what they were answered.
    pub(super) fn answers(&self, method: &str, name: Option<&str>) -> Vec<u16> {
        let entries = self.simulator.log().entries().into_iter();
        let about = |entry: &crate::simulator::Entry| {
            let named = [entry.name.as_deref(), entry.object.as_deref()];
            entry.outcome == Outcome::Answered && (name.is_none() || named.contains(&name))
        };
        let found = entries.filter(|entry| entry.method == method && entry.path.contains("/mfa-servers"));
        found.filter(about).filter_map(|entry| entry.status).collect()
    }
}

fn late(wanted: String, saw: &str) -> Error {
    Error::Expected { wanted, saw: format!("after {} s {saw}", LIMIT.as_secs()) }
}

/// Equal, or what was seen instead.
pub(super) fn same<T: PartialEq + std::fmt::Debug>(saw: &T, wanted: &T) -> Sight {
    if saw == wanted { Ok(()) } else { Err(format!("it is {saw:?} instead of {wanted:?}")) }
}

/// So, or what was seen instead.
pub(super) fn holds(holds: bool, saw: impl FnOnce() -> String) -> Sight {
    if holds { Ok(()) } else { Err(saw()) }
}

/// The object of that name, or that there is none.
pub(super) fn object(tenant: &TenantHandle, folder: Folder, name: &str) -> std::result::Result<StoredObject, String> {
    tenant.find(folder, name).ok_or_else(|| format!("the tenant has no {name} in {}", folder.as_str()))
}

/// A condition of a resource, or null.
fn condition<'a>(resource: &'a Value, kind: &str) -> &'a Value {
    let conditions = resource["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}

/// A resource in one line.
fn summary(resource: &Value) -> String {
    let ready = condition(resource, "Ready");
    let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    format!(
        "Ready is {} ({}: {}), observedGeneration {} of {}",
        text(&ready["status"]),
        text(&ready["reason"]),
        text(&ready["message"]),
        resource["status"]["observedGeneration"],
        resource["metadata"]["generation"],
    )
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}
