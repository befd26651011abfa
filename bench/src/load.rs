//! A plain load generator: the requests of the bare loop towards one of the two servers alone, prepared beforehand, whose
//! answers are read and thrown away. Prints how many objects a second that server takes.

use std::time::Instant;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::{ListParams, ObjectMeta};
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use mfa_operator::crd::{ANNOTATION_ATTEMPT, FINALIZER, MfaServer};
use serde_json::json;

use crate::stage::{NAMESPACE, TOKEN};
use crate::{Error, Result, bare, out};

/// As many at a time as the operator has in flight.
const TOWARDS_TENANT: usize = 8;
const TOWARDS_CLUSTER: usize = 32;

/// Creates so many objects in the tenant.
pub(crate) async fn tenant(count: usize) -> Result<()> {
    let url =
        format!("{}/sse/config/v1/mfa-servers?position=pre&folder=Mobile%20Users", std::env::var("MFA_BENCH_API_URL")?);
    let client = reqwest::Client::new();
    let bodies: Vec<String> = (0..count)
        .map(|number| serde_json::to_string(&bare::object(&format!("load-{number}"), "not-a-real-vendor-token")))
        .collect::<Result<_, _>>()?;
    let begun = Instant::now();
    let tasks = stream::iter(bodies.into_iter().map(|body| {
        let request = client.post(&url).bearer_auth(TOKEN).header("content-type", "application/json").body(body);
        async move {
            request.send().await?.error_for_status()?.bytes().await?;
            Ok::<_, Error>(())
        }
    }));
    tasks.map(Ok::<_, Error>).try_for_each_concurrent(TOWARDS_TENANT, |task| task).await?;
    rate(count, begun)
}

/// Makes the bare loop's requests to the API server, for each resource of the namespace.
pub(crate) async fn cluster() -> Result<()> {
    let client = Client::try_default().await?;
    let servers: Vec<PartialObjectMeta<MfaServer>> =
        Api::<MfaServer>::namespaced(client.clone(), NAMESPACE).list_metadata(&ListParams::default()).await?.items;
    let count = servers.len();
    let prepared = servers.iter().map(|server| requests(&server.metadata)).collect::<Result<Vec<_>>>()?;
    let begun = Instant::now();
    let tasks = stream::iter(prepared.into_iter().map(|requests| {
        let client = client.clone();
        async move {
            for request in requests {
                client.request_text(request).await?;
            }
            Ok::<_, Error>(())
        }
    }));
    tasks.map(Ok::<_, Error>).try_for_each_concurrent(TOWARDS_CLUSTER, |task| task).await?;
    rate(count, begun)
}

fn requests(server: &ObjectMeta) -> Result<Vec<http::Request<Vec<u8>>>> {
    let (name, uid) = (server.name.clone().unwrap_or_default(), server.uid.clone().unwrap_or_default());
    let core = format!("/api/v1/namespaces/{NAMESPACE}");
    let own = format!("/apis/sse.mfa-operator.io/v1alpha1/namespaces/{NAMESPACE}/mfaservers/{name}");
    let request = |method: &str, url: String, kind: &str, body: Vec<u8>| {
        http::Request::builder().method(method).uri(url).header("content-type", kind).body(body)
    };
    let record = bare::attempt(&uid, &name, "vendor-0").to_string();
    let patch = json!({"metadata": {"finalizers": [FINALIZER], "annotations": {ANNOTATION_ATTEMPT: record}}});
    let status = json!({
        "apiVersion": "sse.mfa-operator.io/v1alpha1", "kind": "MfaServer", "metadata": {"name": name},
        "status": bare::status(&name, &uid, server.generation, "vendor-0"),
    });
    Ok(vec![
        request("GET", format!("{core}/secrets/vendor-0?resourceVersion=0"), "application/json", Vec::new())?,
        request("PATCH", own.clone(), "application/merge-patch+json", serde_json::to_vec(&patch)?)?,
        request(
            "PATCH",
            format!("{own}/status?force=true&fieldManager=mfa-operator"),
            "application/apply-patch+yaml",
            serde_json::to_vec(&status)?,
        )?,
        request("POST", format!("{core}/events"), "application/json", serde_json::to_vec(&bare::event(&name, &uid))?)?,
    ])
}

#[allow(clippy::cast_precision_loss, reason = "a count of objects")]
fn rate(count: usize, begun: Instant) -> Result<()> {
    out(&format!("{}\n", count as f64 / begun.elapsed().as_secs_f64()))
}
