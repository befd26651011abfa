//! The operator's rights against what it did, as the API server's audit log has it.

use std::{collections::BTreeSet, fs};

use jiff::Timestamp;
use serde_json::Value;

use super::super::{
    During as _, Result, failed,
    scene::{RELEASE, SYSTEM, Scene},
};

/// A verb on a resource of a group, with the subresource if there is one: `patch mfaservers/status.sse…`.
type Right = String;

fn right(verb: &str, resource: &str, group: &str) -> Right {
    if group.is_empty() { format!("{verb} {resource}") } else { format!("{verb} {resource} ({group})") }
}

pub(super) async fn minimal(scene: &mut Scene) -> Result<String> {
    // All roles of the chart's defaults are there again.
    scene.upgrade(&["leaderElection.enabled=true"], 1).await?;
    scene.ready("corp").await?;
    let user = format!("system:serviceaccount:{SYSTEM}:{RELEASE}");
    let allowed = allowed(scene, &user).await?;
    let text = fs::read_to_string(scene.node.audit_log()).during("reading the audit log")?;
    let mut done = BTreeSet::new();
    let mut refused = BTreeSet::new();
    let (mut requests, mut early) = (0_u64, 0_u64);
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).during("reading a line of the audit log")?;
        if event["user"]["username"] != user.as_str() {
            continue;
        }
        requests += 1;
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let verb = word(&event["verb"]);
        let object = &event["objectRef"];
        let what = if object.is_object() {
            let mut resource = word(&object["resource"]);
            if let Some(part) = object["subresource"].as_str() {
                resource = format!("{resource}/{part}");
            }
            right(&verb, &resource, &word(&object["apiGroup"]))
        } else {
            format!("{verb} {}", word(&event["requestURI"]))
        };
        if event["responseStatus"]["code"] == 403 || event["annotations"]["authorization.k8s.io/decision"] == "forbid" {
            let at: Timestamp = word(&event["requestReceivedTimestamp"]).parse().during("a time of the audit log")?;
            if scene.node.was_starting(at) {
                early += 1;
            } else {
                refused.insert(what);
            }
        } else if object.is_object() {
            done.insert(what);
        }
    }
    if !refused.is_empty() {
        return failed(format!("it was refused: {refused:?}"));
    }
    let unused: Vec<_> = allowed.difference(&done).collect();
    if !unused.is_empty() {
        return failed(format!("it may do, and never did: {unused:?}; it did {done:?}"));
    }
    // It was not refused, so somebody else than its own roles allows it: every account of the cluster, say.
    let beyond: Vec<_> = done.difference(&allowed).collect();
    if !beyond.is_empty() {
        return failed(format!("it did what its roles do not give: {beyond:?}"));
    }
    Ok(format!(
        "{} rights, {requests} requests, {early} refused by an API server that was not ready yet",
        allowed.len()
    ))
}

/// What the roles allow that are bound to the account by name.
async fn allowed(scene: &Scene, user: &str) -> Result<BTreeSet<Right>> {
    let base = "/apis/rbac.authorization.k8s.io/v1";
    let mut rules = Vec::new();
    for kind in ["clusterrolebindings", "rolebindings"] {
        for binding in scene.cluster.list(&format!("{base}/{kind}")).await? {
            let subjects = binding["subjects"].as_array().cloned().unwrap_or_default();
            let ours = |subject: &Value| {
                let name = |member: &str| subject[member].as_str().unwrap_or_default().to_owned();
                subject["kind"] == "ServiceAccount"
                    && format!("system:serviceaccount:{}:{}", name("namespace"), name("name")) == user
            };
            if !subjects.iter().any(ours) {
                continue;
            }
            let role = binding["roleRef"]["name"].as_str().unwrap_or_default();
            let path = if binding["roleRef"]["kind"] == "ClusterRole" {
                format!("{base}/clusterroles/{role}")
            } else {
                let namespace = binding["metadata"]["namespace"].as_str().unwrap_or_default();
                format!("{base}/namespaces/{namespace}/roles/{role}")
            };
            let Some(role) = scene.cluster.get(&path).await? else { return failed(format!("there is no {path}")) };
            rules.extend(role["rules"].as_array().cloned().unwrap_or_default());
        }
    }
    let words = |value: &Value| -> Vec<String> {
        let all = value.as_array().into_iter().flatten();
        all.filter_map(|word| word.as_str().map(ToOwned::to_owned)).collect()
    };
    let mut allowed = BTreeSet::new();
    for rule in &rules {
        for group in words(&rule["apiGroups"]) {
            for resource in words(&rule["resources"]) {
                for verb in words(&rule["verbs"]) {
                    if [&group, &resource, &verb].iter().any(|word| word.as_str() == "*") {
                        return failed(format!("a role allows everything of a kind: {rule}"));
                    }
                    allowed.insert(right(&verb, &resource, &group));
                }
            }
        }
    }
    if allowed.is_empty() {
        return failed("no role is bound to the operator's account");
    }
    Ok(allowed)
}
