//! Where it happens: a control plane of its own, a simulator, the operators, and those who work on the resources.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Event, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use mfa_operator::crd::{ANNOTATION_RECONCILE_REQUESTED_AT, MfaServer};
use mfa_sandbox::simulator::{
    Folder, Options, Position, RateLimit, Simulator, StoredObject, TenantHandle, TenantOptions, TokenShape, WriteLock,
};
use serde_json::{Value, json};
use tokio::sync::{SemaphorePermit, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::plan::{
    Action, Drift, FOREIGN, Plan, REPLICAS, Spec, TENANTS, VENDORS, manifest, name, remote_name, tenant, tsg_id,
};
use crate::faults::foreign;
use crate::harness::Cluster;
use crate::operator::{Log, Operator, operator, room};

/// How long everything may take to come to rest.
pub(super) const LIMIT: Duration = Duration::from_mins(5);
const AGAIN: Duration = Duration::from_millis(200);
/// The operators' request timeout: an open attempt settles after twice that.
const REQUEST_TIMEOUT: &str = "2s";
pub(super) const IN_FLIGHT: usize = 8;

/// What a worker does to one resource, in this order.
enum Task {
    Apply(Value),
    Recreate(Value),
    Delete,
    Ask(u64),
    Secret(BTreeMap<String, String>),
    /// A credential that is not good any more once everything before is done.
    Retire(TenantHandle, String),
}

/// One who does one thing after the other, and each until it is done.
struct Worker {
    tasks: mpsc::UnboundedSender<Task>,
    running: JoinHandle<()>,
}

/// One of the operators.
struct Replica {
    running: Option<Operator>,
    /// Whether it is meant to run.
    wanted: bool,
}

/// All of it.
pub(super) struct World {
    pub(super) cluster: Cluster,
    pub(super) simulator: Simulator,
    pub(super) tenants: Vec<TenantHandle>,
    pub(super) foreign: Vec<StoredObject>,
    pub(super) logs: Vec<Log>,
    /// Every secret that there was.
    pub(super) secrets: Arc<Mutex<Vec<String>>>,
    /// Requests after which nobody knows of the refusals before.
    pub(super) forgotten: Vec<u64>,
    pub(super) exits: usize,
    pub(super) scrapes: Vec<String>,
    client: Client,
    replicas: Vec<Replica>,
    workers: BTreeMap<String, Worker>,
    /// The version of each tenant's credentials.
    versions: BTreeMap<usize, u32>,
    /// The simulator is away.
    outage: bool,
    _room: SemaphorePermit<'static>,
}

pub(super) fn namespace(tenant: usize) -> String {
    format!("soak-{tenant}")
}

/// The value of a vendor's Secret.
pub(super) fn vendor_secret(tenant: usize, vendor: usize, version: u32) -> String {
    format!("vendor-{tenant}-{vendor}-{version}-secret-0123456789")
}

/// Another client with each version of the credentials, so that the simulator's log tells them apart.
fn client_id(tenant: usize, version: u32) -> String {
    format!("soak-{version}@{}.iam.example.com", tsg_id(tenant))
}

fn client_secret(version: u32) -> String {
    format!("client-{version}-secret-0123456789")
}

/// A bearer token outlives every soak.
const FOREVER: Duration = Duration::from_hours(1000);

impl World {
    pub(super) async fn new(plan: &Plan) -> Self {
        let room = room().await;
        let cluster = Cluster::start().await.unwrap_or_else(|sentence| panic!("a local control plane: {sentence}"));
        let client = cluster.client();
        let options = (0..TENANTS)
            .fold(Options::default(), |options, tenant| options.tenant(&tsg_id(tenant), TenantOptions::default()));
        let options = Options { seed: Some(plan.size.seed), ..options };
        let simulator = Simulator::start(options).await.expect("a simulator");
        let tenants: Vec<_> = (0..TENANTS).map(|tenant| simulator.tenant(&tsg_id(tenant))).collect();
        let mut world = Self {
            cluster,
            tenants,
            foreign: Vec::new(),
            logs: Vec::new(),
            secrets: Arc::default(),
            forgotten: Vec::new(),
            exits: 0,
            scrapes: Vec::new(),
            client,
            replicas: (0..REPLICAS).map(|_| Replica { running: None, wanted: false }).collect(),
            workers: BTreeMap::new(),
            versions: BTreeMap::new(),
            outage: false,
            simulator,
            _room: room,
        };
        world.prepare(plan).await;
        world
    }

    async fn prepare(&mut self, plan: &Plan) {
        use k8s_openapi::api::core::v1::Namespace;
        for tenant in 0..TENANTS {
            let metadata = ObjectMeta { name: Some(namespace(tenant)), ..ObjectMeta::default() };
            let wanted = Namespace { metadata, ..Namespace::default() };
            Api::all(self.client.clone()).create(&PostParams::default(), &wanted).await.expect("a namespace");
            for number in 0..FOREIGN {
                let folder = Folder::ALL[number % Folder::ALL.len()];
                let body = foreign(&format!("theirs-{number}"), "their-ca");
                self.tenants[tenant].create(folder, Position::Pre, &body).expect("an object of others");
            }
            for vendor in 0..VENDORS {
                self.rotate_vendor(tenant, vendor, 0);
            }
        }
        for (resource, (folder, _)) in &plan.squatted {
            let body = foreign(&remote_name(*resource), "their-ca");
            self.tenants[tenant(*resource)].create(*folder, Position::Pre, &body).expect("an object of others");
        }
        self.foreign = self.simulator.objects();
        for tenant in 0..TENANTS {
            self.rotate_credentials(tenant, 0, true);
        }
        for replica in 0..REPLICAS {
            self.start(replica);
        }
    }

    // ---- operators ----------------------------------------------------------------------------------------------

    fn start(&mut self, replica: usize) {
        let mut command = operator();
        let (url, auth_url) = (self.simulator.url(), self.simulator.auth_url());
        let namespace = namespace(0);
        command.args(["--api-url", &url, "--auth-url", &auth_url, "--log-format", "json", "--leader-elect"]);
        command.args([
            "--request-timeout",
            REQUEST_TIMEOUT,
            "--resync-interval",
            "10s",
            "--lease-namespace",
            &namespace,
        ]);
        command.args(["--api-qps", "200", "--api-burst", "200", "--api-max-in-flight", &IN_FLIGHT.to_string()]);
        command.env("RUST_LOG", "info,mfa_operator=debug").env("KUBECONFIG", self.cluster.control_plane.kubeconfig());
        let operator = Operator::spawn(command);
        self.logs.push(operator.log().clone());
        self.replicas[replica] = Replica { running: Some(operator), wanted: true };
    }

    async fn stop(&mut self, replica: usize, kill: bool) {
        self.replicas[replica].wanted = false;
        // It may have ended by itself just now.
        self.watch_over(replica).await;
        let Some(operator) = self.replicas[replica].running.take() else { return };
        self.forget();
        if kill {
            operator.kill().await;
        } else {
            let text = operator.log().clone();
            let status = operator.terminate().await;
            let lost = text.text().contains("giving up");
            assert!(status.success() || lost, "SIGTERM ended an operator with {status}:\n{}", text.end());
        }
        self.forget();
    }

    /// Starts an operator again that has ended by itself, as a kubelet would. It may do so only when it lost the lease.
    async fn watch_over(&mut self, replica: usize) {
        let Some(running) = &mut self.replicas[replica].running else { return };
        if running.is_running() {
            return;
        }
        let status = running.ended().await;
        let end = running.log().end();
        assert!(
            end.contains("giving up") && end.contains("lease"),
            "an operator ended with {status} by itself:\n{end}"
        );
        self.exits += 1;
        self.forget();
        self.replicas[replica].running = None;
        if self.replicas[replica].wanted {
            self.start(replica);
        }
    }

    pub(super) async fn watch_over_all(&mut self) {
        for replica in 0..REPLICAS {
            self.watch_over(replica).await;
        }
    }

    fn forget(&mut self) {
        self.forgotten.push(self.simulator.log().summary().requests);
    }

    /// What the operators tell whoever scrapes them.
    pub(super) async fn scrape(&mut self) {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().expect("a client");
        for replica in &self.replicas {
            let lines = replica.running.as_ref().map(|operator| operator.log().lines()).unwrap_or_default();
            let listening = lines.into_iter().find(|line| line["message"] == "listening for probes and scrapes");
            let Some(address) = listening.and_then(|line| line["address"].as_str().map(ToOwned::to_owned)) else {
                continue;
            };
            if let Ok(answer) = http.get(format!("http://{address}/metrics")).send().await
                && let Ok(text) = answer.text().await
            {
                self.scrapes.push(text);
            }
        }
    }

    // ---- what happens -------------------------------------------------------------------------------------------

    pub(super) async fn act(&mut self, action: &Action) {
        match action {
            Action::Apply { resource, spec } => self.tell(*resource, Task::Apply(manifest(*resource, spec))),
            Action::Recreate { resource, spec } => self.tell(*resource, Task::Recreate(manifest(*resource, spec))),
            Action::Delete { resource } => self.tell(*resource, Task::Delete),
            Action::Ask { resource, value } => self.tell(*resource, Task::Ask(*value)),
            Action::Drift { resource, folder, drift } => self.drift(*resource, *folder, *drift).await,
            Action::Free { resource } => self.free(*resource),
            Action::RotateVendor { tenant, vendor, version } => self.rotate_vendor(*tenant, *vendor, *version),
            Action::RotateCredentials { tenant, version, overlap } => {
                self.rotate_credentials(*tenant, *version, *overlap);
            }
            Action::RevokeTokens { tenant } if *tenant == 1 => self.tenants[*tenant].revoke_tokens(None),
            Action::Fault(rule) => drop(self.simulator.inject((**rule).clone())),
            Action::RateLimit { tenant, rate } => self.tenants[*tenant].configure(|options| {
                let limit = |rate: u32| RateLimit { rate: f64::from(rate), burst: rate, retry_after: true };
                options.rate_limit = rate.map(limit);
            }),
            Action::WriteLock { tenant, fails } => self.tenants[*tenant].configure(|options| {
                options.write_lock = if *fails { WriteLock::Fail } else { WriteLock::Queue };
            }),
            Action::ResetConnections => self.simulator.reset_connections(),
            Action::Kill { replica } => self.stop(*replica, true).await,
            Action::Terminate { replica } => self.stop(*replica, false).await,
            Action::Start { replica } => self.start(*replica),
            Action::StopApiServer => self.cluster.control_plane.stop_api_server().await.expect("an API server's end"),
            Action::StartApiServer => {
                self.cluster.control_plane.start_api_server().await.expect("an API server that starts again");
            }
            Action::StopSimulator => {
                self.simulator.stop().await;
                self.outage = true;
            }
            Action::StartSimulator => {
                if std::mem::take(&mut self.outage) {
                    self.simulator.resume().await.expect("a simulator that listens again");
                }
            }
            // A bearer token is nothing that was fetched; a check is the judge's.
            Action::RevokeTokens { .. } | Action::Check => {}
        }
    }

    /// Everything runs, and nobody disturbs.
    ///
    /// # Errors
    /// What was to be done to a resource and is not done after [`LIMIT`].
    pub(super) async fn calm(&mut self, resources: impl Iterator<Item = usize>, version: u32) -> Result<(), String> {
        self.simulator.clear_rules();
        for tenant in 0..TENANTS {
            self.tenants[tenant].configure(|options| {
                options.rate_limit = None;
                options.write_lock = WriteLock::Queue;
            });
            // Whoever is kept waiting for better credentials, or by a delay, is to look again.
            self.rotate_credentials(tenant, version, true);
        }
        for resource in resources {
            self.tell(resource, Task::Ask(u64::MAX));
        }
        for (what, worker) in std::mem::take(&mut self.workers) {
            drop(worker.tasks);
            let waiting = async {
                let mut running = worker.running;
                loop {
                    tokio::select! {
                        ended = &mut running => return ended.expect("a worker that did what it was told"),
                        () = sleep(AGAIN) => self.watch_over_all().await,
                    }
                }
            };
            if timeout(LIMIT, waiting).await.is_err() {
                return Err(format!("what was to be done to {what} is not done after {LIMIT:?}"));
            }
        }
        Ok(())
    }

    fn worker(&mut self, what: &str, work: impl FnOnce(mpsc::UnboundedReceiver<Task>) -> JoinHandle<()>, task: Task) {
        let worker = self.workers.entry(what.to_owned()).or_insert_with(|| {
            let (tasks, told) = mpsc::unbounded_channel();
            Worker { tasks, running: work(told) }
        });
        assert!(worker.tasks.send(task).is_ok(), "the worker on {what} has given up");
    }

    fn tell(&mut self, resource: usize, task: Task) {
        let servers: Api<MfaServer> = Api::namespaced(self.client.clone(), &namespace(tenant(resource)));
        self.worker(&name(resource), |told| tokio::spawn(work(servers, name(resource), told)), task);
    }

    fn tell_secret(&mut self, tenant: usize, secret: &str, task: Task) {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &namespace(tenant));
        let what = format!("{tenant}/{secret}");
        self.worker(&what, |told| tokio::spawn(keep(secrets, secret.to_owned(), told)), task);
    }

    fn rotate_vendor(&mut self, tenant: usize, vendor: usize, version: u32) {
        let value = vendor_secret(tenant, vendor, version);
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).push(value.clone());
        let keys = BTreeMap::from([("token".to_owned(), value)]);
        self.tell_secret(tenant, &format!("vendor-{vendor}"), Task::Secret(keys));
    }

    /// The first tenant's are a bearer token that tells nothing, the second's a service account.
    fn rotate_credentials(&mut self, tenant: usize, version: u32, overlap: bool) {
        let hand = self.tenants[tenant].clone();
        let before = self.versions.insert(tenant, version).map(|version| client_id(tenant, version));
        let client = client_id(tenant, version);
        let keys = if tenant == 0 {
            let token = hand.issue_token(Some(&client), FOREVER, TokenShape::Opaque);
            BTreeMap::from([("token".to_owned(), token)])
        } else {
            hand.set_service_account(&client, &client_secret(version));
            let keys = [("client_id", client), ("client_secret", client_secret(version)), ("tsg_id", tsg_id(tenant))];
            keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
        };
        let secret = keys.get("token").or(keys.get("client_secret")).cloned();
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).extend(secret);
        let Some(before) = before else { return self.tell_secret(tenant, "prisma-access", Task::Secret(keys)) };
        let retire = Task::Retire(hand.clone(), before.clone());
        if overlap {
            self.tell_secret(tenant, "prisma-access", Task::Secret(keys));
            self.tell_secret(tenant, "prisma-access", retire);
        } else {
            retire_client(&hand, &before);
            self.tell_secret(tenant, "prisma-access", Task::Secret(keys));
        }
    }

    /// Only what the cluster knows to be the resource's: where the answer to a create was lost and somebody edits the object
    /// before it is found again, nothing tells it from another's, and the operator rightly leaves it alone.
    async fn drift(&self, resource: usize, folder: Folder, drift: Drift) {
        let hand = &self.tenants[tenant(resource)];
        let Some(object) = hand.find(folder, &remote_name(resource)).filter(|object| !object.by_hand) else { return };
        let servers: Api<MfaServer> = Api::namespaced(self.client.clone(), &namespace(tenant(resource)));
        let name = name(resource);
        let Ok(Ok(Some(server))) = timeout(Duration::from_secs(5), servers.get_opt(&name)).await else { return };
        if server.status.and_then(|status| status.id).as_ref() != Some(&object.id) {
            return;
        }
        // It may go at this very moment.
        let _ = match drift {
            Drift::Profile => hand.edit(&object.id, &json!({ "mfa_cert_profile": "edited" })),
            Drift::Secret => {
                let (vendor, field) = match object.field("/mfa_vendor_type/duo_security_v2") {
                    Some(_) => ("duo_security_v2", "duo_secret_key"),
                    None => ("okta_adaptive_v1", "okta_token"),
                };
                hand.edit(&object.id, &json!({ "mfa_vendor_type": { vendor: { field: "edited-by-hand-0123456789" } } }))
            }
            Drift::Gone => hand.delete(&object.id),
        };
    }

    fn free(&mut self, resource: usize) {
        let theirs = |object: &StoredObject| {
            object.name == remote_name(resource) && object.tenant == tsg_id(tenant(resource)) && object.by_hand
        };
        let at = self.foreign.iter().position(theirs).expect("an object that takes the name");
        let object = self.foreign.remove(at);
        self.tenants[tenant(resource)].delete(&object.id).expect("an object that takes the name");
    }

    // ---- what there is ------------------------------------------------------------------------------------------

    /// All resources of a tenant's namespace.
    pub(super) async fn servers(&self, tenant: usize) -> kube::Result<Vec<MfaServer>> {
        let servers: Api<MfaServer> = Api::namespaced(self.client.clone(), &namespace(tenant));
        Ok(servers.list(&ListParams::default()).await?.items)
    }

    /// Everything that the operators wrote into the cluster, as text.
    pub(super) async fn written(&self) -> kube::Result<String> {
        let mut text = String::new();
        for tenant in 0..TENANTS {
            for server in self.servers(tenant).await? {
                text.push_str(&serde_json::to_string(&server).expect("a resource as JSON"));
            }
            let events: Api<Event> = Api::namespaced(self.client.clone(), &namespace(tenant));
            for event in events.list(&ListParams::default()).await? {
                text.push_str(&serde_json::to_string(&event).expect("an event as JSON"));
            }
        }
        Ok(text)
    }

    /// Ends the operators, in order.
    pub(super) async fn end(&mut self) {
        for replica in 0..REPLICAS {
            self.stop(replica, false).await;
        }
    }
}

/// Its tokens are good no more, and it gets none.
fn retire_client(hand: &TenantHandle, client: &str) {
    hand.remove_service_account(client);
    hand.revoke_tokens(Some(client));
}

/// Tries until the API server takes it. What it refuses for good is a mistake of the plan.
async fn insist<T, F: Future<Output = kube::Result<T>>>(what: &str, attempt: impl Fn() -> F) -> T {
    let begin = Instant::now();
    loop {
        match timeout(Duration::from_secs(20), attempt()).await {
            Ok(Ok(done)) => return done,
            Ok(Err(kube::Error::Api(status))) if [400, 403, 422].contains(&status.code) => panic!("{what}: {status}"),
            _ => {}
        }
        assert!(begin.elapsed() < LIMIT, "{what}: not taken within {LIMIT:?}");
        sleep(AGAIN).await;
    }
}

async fn work(servers: Api<MfaServer>, name: String, mut told: mpsc::UnboundedReceiver<Task>) {
    let apply = PatchParams::apply("soak").force();
    while let Some(task) = told.recv().await {
        match task {
            Task::Apply(manifest) => {
                insist(&name, || async { servers.patch(&name, &apply, &Patch::Apply(&manifest)).await }).await;
            }
            Task::Recreate(manifest) => {
                // How long at most is decided by whoever waits for the worker.
                while insist(&name, || servers.get_metadata_opt(&name)).await.is_some() {
                    sleep(AGAIN).await;
                }
                insist(&name, || async { servers.patch(&name, &apply, &Patch::Apply(&manifest)).await }).await;
            }
            Task::Delete => {
                let delete = || async {
                    match servers.delete(&name, &DeleteParams::default()).await {
                        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                        deleted => deleted.map(drop),
                    }
                };
                insist(&name, delete).await;
            }
            Task::Ask(value) => {
                let verb =
                    json!({ "metadata": { "annotations": { ANNOTATION_RECONCILE_REQUESTED_AT: value.to_string() } } });
                insist(&name, || async { servers.patch(&name, &PatchParams::default(), &Patch::Merge(&verb)).await })
                    .await;
            }
            Task::Secret(_) | Task::Retire(..) => unreachable!("not for a resource"),
        }
    }
}

async fn keep(secrets: Api<Secret>, name: String, mut told: mpsc::UnboundedReceiver<Task>) {
    let apply = PatchParams::apply("soak").force();
    while let Some(task) = told.recv().await {
        match task {
            Task::Secret(keys) => {
                let secret = json!({
                    "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": keys,
                });
                insist(&name, || async { secrets.patch(&name, &apply, &Patch::Apply(&secret)).await }).await;
            }
            Task::Retire(hand, client) => retire_client(&hand, &client),
            _ => unreachable!("not for a Secret"),
        }
    }
}

/// The spec that a resource has by the plan, and the value of the Secret that it refers to.
pub(super) fn secret_of(plan: &Plan, resource: usize, spec: &Spec) -> String {
    let tenant = tenant(resource);
    vendor_secret(tenant, spec.vendor, plan.vendors[&(tenant, spec.vendor)])
}
