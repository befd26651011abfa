//! What the steps share: node, cluster, tenant, and how to look at the operator's pods and the resources.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    During as _, Error, Parts, Result,
    cluster::{Cluster, until},
    failed,
    node::{self, Node},
    tenant::{CLIENT_ID, CLIENT_SECRET, TSG_ID, Tenant},
};

/// Where the chart is installed.
pub(super) const SYSTEM: &str = "mfa-system";
/// Where the resources are.
pub(super) const TEAM: &str = "team";
/// The release, and the name of everything in it.
pub(super) const RELEASE: &str = "mfa-operator";
pub(super) const CHART: &str = "charts/mfa-operator";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/mfa-system/leases/mfa-operator";
const PODS: &str = "/api/v1/namespaces/mfa-system/pods?labelSelector=app.kubernetes.io%2Fname%3Dmfa-operator";
pub(super) const SERVERS: &str = "/apis/sse.mfa-operator.io/v1alpha1/namespaces/team/mfaservers";

/// Everything that runs.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) node: Node,
    pub(super) cluster: Cluster,
    pub(super) tenant: Tenant,
    pub(super) parts: Parts,
}

/// A pod of the operator.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) address: String,
    pub(super) container: String,
    pub(super) restarts: u64,
    pub(super) status: Value,
}

impl Scene {
    /// Starts the node, and waits until pods can run on it.
    pub(super) async fn start(parts: Parts, folder: PathBuf) -> Result<Self> {
        let node = Node::start(&parts, &folder).await?;
        let cluster = Cluster::new(&parts, &node);
        let scene = Self { node, cluster, tenant: Tenant::new()?, parts };
        let ready = until("the node is Ready", async || {
            let node = scene.cluster.get(&format!("/api/v1/nodes/{}", node::NAME)).await?;
            Ok(node.filter(|node| condition(node, "Ready")["status"] == "True"))
        });
        match ready.await {
            Ok(_) => Ok(scene),
            Err(error) => failed(format!("{}\n{error}", scene.node.logs(30))),
        }
    }

    // ---- the operator's pods --------------------------------------------------------------------------------------

    /// Its pods that run, but for those that are going.
    pub(super) async fn pods(&self) -> Result<Vec<Pod>> {
        let pods = self.cluster.list(PODS).await?;
        let alive = pods.into_iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(alive
            .map(|pod| {
                let status = pod["status"]["containerStatuses"][0].clone();
                Pod {
                    name: text(&pod["metadata"]["name"]),
                    uid: text(&pod["metadata"]["uid"]),
                    address: text(&pod["status"]["podIP"]),
                    container: text(&status["containerID"]).trim_start_matches("containerd://").to_owned(),
                    restarts: status["restartCount"].as_u64().unwrap_or_default(),
                    status,
                }
            })
            .collect())
    }

    /// Its one pod.
    pub(super) async fn pod(&self) -> Result<Pod> {
        let mut pods = self.pods().await?;
        match (pods.pop(), pods.is_empty()) {
            (Some(pod), true) => Ok(pod),
            _ => failed("the operator has not exactly one pod"),
        }
    }

    /// Waits until this many pods are ready, and no others there.
    pub(super) async fn pods_ready(&self, count: usize) -> Result<Vec<Pod>> {
        until(&format!("{count} pods of the operator are ready"), async || {
            let all = self.cluster.list(PODS).await?;
            let pods = self.pods().await?;
            let ready = pods.iter().filter(|pod| pod.status["ready"] == true).count();
            Ok((all.len() == count && ready == count).then_some(pods))
        })
        .await
    }

    /// The process of a pod's container, by its number here.
    pub(super) fn process(&self, pod: &Pod) -> Result<u32> {
        let path = self.node.memory_group(&pod.uid, &pod.container)?.join("cgroup.procs");
        let text = fs::read_to_string(&path).during("reading a control group's processes")?;
        match text.lines().next().map(str::parse) {
            Some(Ok(process)) => Ok(process),
            _ => failed(format!("{} lists no process", path.display())),
        }
    }

    /// The holder of the lease: a pod's name comes first in it.
    pub(super) async fn holder(&self) -> Result<String> {
        let lease = self.cluster.get(LEASE).await?.unwrap_or_default();
        Ok(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until one of these pods leads, and names it.
    pub(super) async fn leader<'a>(&self, pods: &'a [Pod]) -> Result<&'a Pod> {
        until("a pod leads", async || {
            let holder = self.holder().await?;
            Ok(pods.iter().find(|pod| holder.starts_with(&pod.name)))
        })
        .await
    }

    /// What a pod's operator counts: the sum of the samples that begin so.
    pub(super) async fn metric(&self, pod: &Pod, begin: &str) -> Result<f64> {
        let url = format!("http://{}:8080/metrics", pod.address);
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build();
        let text = client.during("building a client")?.get(url).send().await.during("reading metrics")?;
        let text = text.text().await.during("reading metrics")?;
        let samples = text.lines().filter(|line| line.starts_with(begin));
        Ok(samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    // ---- the release ----------------------------------------------------------------------------------------------

    /// Upgrades the release with further values, and waits until its pods are those.
    pub(super) async fn upgrade(&self, values: &[&str], pods: usize) -> Result<Vec<Pod>> {
        let mut words =
            vec!["upgrade", RELEASE, CHART, "--namespace", SYSTEM, "--wait", "--timeout", "5m", "--reuse-values"];
        for value in values {
            let is_json = value.contains("=[");
            words.extend([if is_json { "--set-json" } else { "--set" }, value]);
        }
        self.cluster.helm(&words).await?;
        self.pods_ready(pods).await
    }

    // ---- the resources --------------------------------------------------------------------------------------------

    pub(super) async fn server(&self, name: &str) -> Result<Value> {
        let server = self.cluster.get(&format!("{SERVERS}/{name}")).await?;
        server.ok_or_else(|| Error(format!("there is no MfaServer {name}")))
    }

    /// Waits until a resource is ready.
    pub(super) async fn ready(&self, name: &str) -> Result<Value> {
        self.reason(name, "True", "Available").await
    }

    /// Waits until a resource's Ready has this status and reason, at its present generation.
    pub(super) async fn reason(&self, name: &str, status: &str, reason: &str) -> Result<Value> {
        until(&format!("MfaServer {name} says Ready={status}, {reason}"), async || {
            let server = self.server(name).await?;
            let ready = condition(&server, "Ready");
            let current = server["status"]["observedGeneration"] == server["metadata"]["generation"];
            if current && ready["status"] == status && ready["reason"] == reason {
                return Ok(Some(server));
            }
            failed(format!("its status is {}", server["status"]))
        })
        .await
    }

    /// Waits until all resources whose name begins so are ready.
    pub(super) async fn all_ready(&self, begin: &str, count: usize) -> Result {
        until(&format!("{count} resources {begin}… are ready"), async || {
            let servers = self.cluster.list(SERVERS).await?;
            let named =
                |server: &&Value| server["metadata"]["name"].as_str().is_some_and(|name| name.starts_with(begin));
            let is_ready = |server: &&Value| condition(server, "Ready")["status"] == "True";
            let ready = servers.iter().filter(named).filter(is_ready).count();
            if ready == count { Ok(Some(())) } else { failed(format!("{ready} are")) }
        })
        .await
    }

    /// Asks the operator to look at a resource now.
    pub(super) async fn look_again(&self, name: &str, request: &str) -> Result {
        let annotations = json!({"sse.mfa-operator.io/reconcile-requested-at": request});
        self.cluster.patch(&format!("{SERVERS}/{name}"), &json!({"metadata": {"annotations": annotations}})).await
    }

    /// What the parts have to say after a failure.
    pub(super) async fn what_happened(&self) -> String {
        let mut text = self.node.logs(15);
        for words in [
            &["get", "pods", "--all-namespaces", "--output", "wide"][..],
            &["get", "events", "--namespace", SYSTEM],
            &["describe", "pods", "--namespace", SYSTEM],
            &["get", "mfa", "--namespace", TEAM, "--output", "wide"],
            &["logs", "--namespace", "tenant", "deployment/simulator", "--tail", "20"],
            &[
                "logs",
                "--namespace",
                SYSTEM,
                "--selector",
                "app.kubernetes.io/name=mfa-operator",
                "--previous",
                "--tail",
                "30",
            ],
            &["logs", "--namespace", SYSTEM, "--selector", "app.kubernetes.io/name=mfa-operator", "--tail", "80"],
        ] {
            let said = self.cluster.kubectl(words).await.unwrap_or_else(|error| error.to_string());
            let lines: Vec<&str> = said.lines().collect();
            let said = lines[lines.len().saturating_sub(120)..].join("\n");
            let _ = write!(text, "\n---- kubectl {}\n{said}\n", words.join(" "));
        }
        text
    }
}

/// A condition of an object.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array();
    conditions.and_then(|all| all.iter().find(|one| one["type"] == kind)).unwrap_or(&Value::Null)
}

/// An `MfaServer` for the tests.
pub(super) fn server(name: &str) -> Value {
    let token = json!({"secretKeyRef": {"name": "okta-api", "key": "token"}});
    let okta = json!({"oktaApiHost": "corp.okta.example.com", "oktaOrg": "corp", "oktaToken": token});
    json!({
        "apiVersion": "sse.mfa-operator.io/v1alpha1",
        "kind": "MfaServer",
        "metadata": {"name": name, "namespace": TEAM},
        "spec": {"folder": "Mobile Users", "mfaCertProfile": "corp-ca", "mfaVendorType": {"oktaAdaptiveV1": okta}},
    })
}

/// A Secret of the resources' namespace.
pub(super) fn secret(name: &str, data: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": TEAM}, "stringData": data,
    })
}

/// The Secret with the tenant's credentials.
pub(super) fn credentials() -> Value {
    secret("prisma-access", &json!({"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "tsg_id": TSG_ID}))
}

/// Sends a signal to a process.
pub(super) fn send(name: &str, process: u32) -> Result {
    let done = Command::new("kill").args(["-s", name, &process.to_string()]).output().during("running kill")?;
    if done.status.success() {
        return Ok(());
    }
    failed(format!("kill -s {name} {process}: {}", String::from_utf8_lossy(&done.stderr)))
}

/// Whether a process is there and has not ended.
pub(super) fn runs(process: u32) -> bool {
    let status = fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status"));
    status.is_ok_and(|status| !status.lines().any(|line| line.starts_with("State:\tZ")))
}
