//! Where a measurement takes place: a control plane, a simulated tenant, and resources in one namespace.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{Event, Namespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ObjectList, Request};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, Config, ResourceExt as _};
use mfa_operator::crd::{self, MfaServer};
use mfa_sandbox::control_plane::ControlPlane;
use mfa_sandbox::simulator::{Options, ServiceAccount, Simulator, TenantHandle, TenantOptions};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Error, Result};

/// The tenant of every stage.
pub(crate) const TENANT: &str = "1000000001";
/// The bearer token that it takes.
pub(crate) const TOKEN: &str = "not-a-real-bearer-token-of-the-bench";
/// The namespace of the resources.
pub(crate) const NAMESPACE: &str = "bench";
/// How many vendor Secrets the resources share.
pub(crate) const VENDOR_SECRETS: usize = 10;
/// How long a call of the tenant's API takes.
pub(crate) const LATENCY: Duration = Duration::from_millis(5);
/// How many requests the bench has open while it prepares.
const PREPARING: usize = 32;

/// Where a measurement takes place.
pub(crate) struct Stage {
    pub(crate) control_plane: ControlPlane,
    pub(crate) client: Client,
    pub(crate) simulator: Simulator,
    pub(crate) tenant: TenantHandle,
}

/// How the tenant's credentials are given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credentials {
    Bearer,
    ServiceAccount,
}

impl Stage {
    /// Starts one; `audited`: the API server writes down each request.
    pub(crate) async fn start(audited: bool, credentials: Credentials) -> Result<Self> {
        let control_plane = if audited { ControlPlane::start_audited().await? } else { ControlPlane::start().await? };
        let kubeconfig = Kubeconfig::read_from(control_plane.kubeconfig())?;
        let client =
            Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)?;
        let definition = crd::crd();
        let definitions = Api::<CustomResourceDefinition>::all(client.clone());
        definitions.create(&PostParams::default(), &definition).await?;
        let defined = definition.name_any();
        let established = await_condition(definitions, &defined, conditions::is_crd_established());
        tokio::time::timeout(Duration::from_mins(2), established).await??;
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(NAMESPACE.to_owned()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;

        let account = ServiceAccount {
            client_id: "bench@example.com".to_owned(),
            client_secret: "not-a-real-client-secret".to_owned(),
        };
        let mut tenant = TenantOptions::with_bearer_token(TOKEN);
        tenant.service_accounts.push(account.clone());
        tenant.latency_ms = u64::try_from(LATENCY.as_millis())?;
        let simulator = Simulator::start(Options::default().tenant(TENANT, tenant)).await?;
        let stage = Self { tenant: simulator.tenant(TENANT), control_plane, client, simulator };
        let credentials = match credentials {
            Credentials::Bearer => json!({ "token": TOKEN }),
            Credentials::ServiceAccount => json!({
                "client_id": account.client_id, "client_secret": account.client_secret, "tsg_id": TENANT,
            }),
        };
        stage.secret("prisma-access", &credentials).await?;
        for number in 0..VENDOR_SECRETS {
            let token = format!("not-a-real-vendor-token-{number}");
            stage.secret(&format!("vendor-{number}"), &json!({ "token": token })).await?;
        }
        Ok(stage)
    }

    /// Ends it.
    pub(crate) async fn stop(self) -> Result<()> {
        self.simulator.stop().await;
        Ok(self.control_plane.stop().await?)
    }

    pub(crate) fn servers(&self) -> Api<MfaServer> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    async fn secret(&self, name: &str, keys: &Value) -> Result<()> {
        let secret: Secret = serde_json::from_value(json!({ "metadata": { "name": name }, "stringData": keys }))?;
        self.secrets().create(&PostParams::default(), &secret).await?;
        Ok(())
    }

    /// Replaces the tenant's bearer token in its Secret.
    pub(crate) async fn mend(&self, token: &str) -> Result<()> {
        let patch = Patch::Merge(json!({ "stringData": { "token": token } }));
        self.secrets().patch("prisma-access", &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// How many resources are Ready.
    pub(crate) async fn ready(&self) -> Result<usize> {
        let request = seen_of().list(&ListParams::default())?;
        let seen: ObjectList<Seen> = self.client.request(request).await?;
        Ok(seen.items.iter().filter(|server| server.is_ready()).count())
    }

    /// Creates the resources of these numbers; `folder` says where each is.
    pub(crate) async fn create(
        &self,
        numbers: std::ops::Range<usize>,
        folder: fn(usize) -> &'static str,
    ) -> Result<()> {
        let api = self.servers();
        stream::iter(numbers.map(|number| Ok::<_, Error>((number, api.clone()))))
            .try_for_each_concurrent(PREPARING, |(number, api)| async move {
                let server: MfaServer = serde_json::from_value(okta(number, folder(number)))?;
                api.create(&PostParams::default(), &server).await?;
                Ok(())
            })
            .await
    }

    /// Removes all resources, events and objects, without the operator's help.
    pub(crate) async fn sweep(&self) -> Result<()> {
        let api = self.servers();
        let names = self.names().await?;
        let freed = json!({ "metadata": { "finalizers": null } });
        stream::iter(names.into_iter().map(|name| Ok::<_, Error>((name, api.clone(), freed.clone()))))
            .try_for_each_concurrent(PREPARING, |(name, api, freed)| async move {
                api.patch(&name, &PatchParams::default(), &Patch::Merge(freed)).await?;
                Ok(())
            })
            .await?;
        api.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        Api::<Event>::namespaced(self.client.clone(), NAMESPACE)
            .delete_collection(&DeleteParams::default(), &ListParams::default())
            .await?;
        for object in self.tenant.objects() {
            self.tenant.delete(&object.id)?;
        }
        self.simulator.log().reset();
        match self.names().await?.len() {
            0 => Ok(()),
            left => Err(format!("{left} resources are left after the sweep").into()),
        }
    }

    async fn names(&self) -> Result<Vec<String>> {
        let servers = self.servers().list_metadata(&ListParams::default()).await?;
        Ok(servers.into_iter().map(|server| server.name_any()).collect())
    }

    /// What the audit log holds from this place on, and the place after it.
    pub(crate) fn audit(&self, from: u64) -> Result<(Vec<Audited>, u64)> {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let mut file = std::fs::File::open(self.control_plane.audit_log())?;
        file.seek(SeekFrom::Start(from))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // The last line may be on its way.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let lines = text[..whole].lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?;
        Ok((lines, from + u64::try_from(whole)?))
    }

    /// The end of the audit log as it is now.
    pub(crate) fn audit_end(&self) -> Result<u64> {
        Ok(std::fs::metadata(self.control_plane.audit_log())?.len())
    }
}

/// A request that the API server has answered.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Audited {
    pub(crate) verb: String,
    object_ref: Option<ObjectRef>,
    #[serde(default)]
    user: User,
}

#[derive(Debug, Default, Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Debug, Deserialize)]
struct ObjectRef {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: String,
}

impl Audited {
    /// A write that is no doing of the API server itself.
    pub(crate) fn is_write(&self) -> bool {
        let own = self.user.username.starts_with("system:apiserver");
        !own && ["create", "update", "patch", "delete", "deletecollection"].contains(&self.verb.as_str())
    }

    /// `patch mfaservers/status`
    pub(crate) fn what(&self) -> String {
        let Some(of) = &self.object_ref else { return self.verb.clone() };
        let slash = if of.subresource.is_empty() { "" } else { "/" };
        format!("{} {}{slash}{}", self.verb, of.resource, of.subresource)
    }
}

/// The resource of that number.
pub(crate) fn okta(number: usize, folder: &str) -> Value {
    json!({
        "metadata": { "name": name(number) },
        "spec": {
            "folder": folder,
            "mfaCertProfile": "corp-ca",
            "mfaVendorType": { "oktaAdaptiveV1": {
                "oktaApiHost": "corp.okta.example.com",
                "oktaOrg": "corp",
                "oktaToken": { "secretKeyRef": { "name": format!("vendor-{}", number % VENDOR_SECRETS), "key": "token" } },
            }},
        },
    })
}

/// The name of the resource of that number.
pub(crate) fn name(number: usize) -> String {
    format!("mfa-{number:06}")
}

/// The one folder of most measurements.
pub(crate) fn mobile_users(_: usize) -> &'static str {
    "Mobile Users"
}

/// What of a resource has to be known to see that it is Ready.
#[derive(Clone, Debug, Deserialize)]
struct Seen {
    metadata: SeenMeta,
    status: Option<SeenStatus>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SeenMeta {
    name: String,
    resource_version: String,
    generation: Option<i64>,
}

#[derive(Clone, Debug, Deserialize)]
struct SeenStatus {
    #[serde(default)]
    conditions: Vec<SeenCondition>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SeenCondition {
    r#type: String,
    status: String,
    observed_generation: Option<i64>,
}

impl Seen {
    fn is_ready(&self) -> bool {
        let conditions = self.status.iter().flat_map(|status| &status.conditions);
        conditions.into_iter().any(|condition| {
            condition.r#type == "Ready"
                && condition.status == "True"
                && condition.observed_generation == self.metadata.generation
        })
    }
}

/// A request for the resources that is answered with [`Seen`].
fn seen_of() -> Request {
    Request::new(format!("/apis/{}/v1alpha1/namespaces/{NAMESPACE}/mfaservers", crd::GROUP))
}

type Times = Arc<Mutex<HashMap<String, Instant>>>;

/// When each resource became Ready, as the API server's watch tells it.
pub(crate) struct Ready {
    times: Times,
    count: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Ready {
    /// Looks from now on.
    pub(crate) async fn watch(stage: &Stage) -> Result<Self> {
        let newest = stage.servers().list_metadata(&ListParams::default().limit(1)).await?;
        let mut version = newest.metadata.resource_version.unwrap_or_default();
        let client = stage.client.clone();
        let times = Times::default();
        let (sender, count) = watch::channel(0);
        let seen = Arc::clone(&times);
        let task = tokio::spawn(async move {
            loop {
                let Ok(request) = seen_of().watch(&WatchParams::default(), &version) else { return };
                let Ok(events) = client.request_events::<Seen>(request).await else { return };
                let mut events = std::pin::pin!(events);
                while let Some(Ok(event)) = events.next().await {
                    let (WatchEvent::Added(server) | WatchEvent::Modified(server)) = event else { continue };
                    version.clone_from(&server.metadata.resource_version);
                    if server.is_ready() {
                        let mut times = seen.lock().unwrap_or_else(PoisonError::into_inner);
                        times.entry(server.metadata.name).or_insert_with(Instant::now);
                        sender.send_replace(times.len());
                    }
                }
            }
        });
        Ok(Self { times, count, task })
    }

    /// Waits until so many are Ready, and answers when the last of them was.
    pub(crate) async fn wait(&mut self, count: usize, limit: Duration) -> Result<Instant> {
        let reached = tokio::time::timeout(limit, self.count.wait_for(|ready| *ready >= count)).await.is_ok();
        let times = self.times();
        if !reached {
            return Err(format!("{} of {count} resources are Ready after {limit:?}", times.len()).into());
        }
        times.values().max().copied().ok_or_else(|| "no resource".into())
    }

    /// When each became Ready.
    pub(crate) fn times(&self) -> HashMap<String, Instant> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        self.task.abort();
    }
}
