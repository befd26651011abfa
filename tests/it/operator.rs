//! The real operator as a process of its own, against a control plane and a simulator that one test has to itself.
//!
//! The operator watches every namespace, so two of them on one control plane would fight over each other's resources. A
//! [`Stage`] is therefore a control plane from a pool, which goes back when the stage is dropped and is swept before the
//! next test gets it; with it a fresh namespace, a simulator, and the two Secrets that most tests need. Control planes
//! that tests share without an operator are in [`harness`](crate::harness).
//!
//! ```ignore
//! let stage = Stage::new().await;
//! let operator = stage.operator().flag("--resync-interval", "1h").start();
//! stage.apply(&okta("corp")).await;
//! let server = stage.wait_ready("corp", "True", "Available").await;
//! assert_eq!(operator.terminate().await.code(), Some(0));
//! ```

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use k8s_openapi::{
    ByteString,
    api::core::v1::{Event, Secret},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    core::ApiResource,
    runtime::{WatchStreamExt as _, watcher::watch_object},
};
use mfa_operator::crd::MfaServer;
use mfa_sandbox::simulator::{self, Options, Simulator, TenantHandle};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    sync::{Semaphore, SemaphorePermit, watch},
    task::JoinHandle,
};

use crate::harness::{Cluster, Namespace, RUNTIME};

/// The tenant of a new stage.
pub(crate) const TENANT: &str = "1000000001";
/// The bearer token in its Secret `prisma-access`.
pub(crate) const TOKEN: &str = "the-bearer-token-of-the-first-tenant";
/// The value of the key `token` of its Secret `vendor`, which [`okta`] refers to.
pub(crate) const OKTA_TOKEN: &str = "okta-token-0123456789";

/// How long a test waits for what the operator does: longer than the first delays of every class.
pub(crate) const LIMIT: Duration = Duration::from_mins(2);

/// How many control planes there are at most: each costs some 280 MB.
static TURNS: Semaphore = Semaphore::const_new(MOST);
const MOST: usize = 3;
static IDLE: Mutex<Vec<&'static Cluster>> = Mutex::new(Vec::new());

/// How many lines of the operator's log a failure shows.
const SHOWN: usize = 40;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A control plane for one test at a time.
struct Turn {
    cluster: &'static Cluster,
    _permit: SemaphorePermit<'static>,
}

impl Turn {
    async fn take() -> Self {
        let permit = TURNS.acquire().await.expect("the semaphore is never closed");
        let idle = locked(&IDLE).pop();
        if let Some(cluster) = idle
            && tokio::time::timeout(LIMIT, sweep(cluster.client())).await.is_ok_and(|swept| swept.is_ok())
        {
            return Self { cluster, _permit: permit };
        }
        match RUNTIME.spawn(Cluster::start()).await.expect("the control plane's task") {
            Ok(cluster) => Self { cluster: Box::leak(Box::new(cluster)), _permit: permit },
            Err(sentence) => panic!("this test needs a local control plane: {sentence}"),
        }
    }
}

/// Keeps room for one more control plane beside those of the stages; for a test that has no [`Stage`].
pub(crate) async fn room() -> SemaphorePermit<'static> {
    TURNS.acquire().await.expect("the semaphore is never closed")
}

impl Drop for Turn {
    fn drop(&mut self) {
        locked(&IDLE).push(self.cluster);
    }
}

/// Removes what an operator would look at.
async fn sweep(client: Client) -> kube::Result<()> {
    let all: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<MfaServer>(&()));
    let secrets: Api<Secret> = Api::all(client.clone());
    let servers = all.list_metadata(&ListParams::default()).await?;
    let secrets = secrets.list_metadata(&ListParams::default()).await?;
    let removed = stream::iter(servers.items.into_iter().map(|server| {
        let api: Api<MfaServer> = Api::namespaced(client.clone(), &server.namespace().unwrap_or_default());
        async move {
            let freed = json!({ "metadata": { "finalizers": null } });
            api.delete(&server.name_any(), &DeleteParams::default()).await.map(drop).or_else(absent)?;
            api.patch(&server.name_any(), &PatchParams::default(), &Patch::Merge(freed)).await.map(drop).or_else(absent)
        }
    }));
    removed.buffer_unordered(16).collect::<Vec<_>>().await.into_iter().collect::<kube::Result<()>>()?;
    for secret in secrets {
        let api: Api<Secret> = Api::namespaced(client.clone(), &secret.namespace().unwrap_or_default());
        api.delete(&secret.name_any(), &DeleteParams::default()).await.map(drop).or_else(absent)?;
    }
    Ok(())
}

fn absent(error: kube::Error) -> kube::Result<()> {
    match error {
        kube::Error::Api(status) if status.code == 404 => Ok(()),
        error => Err(error),
    }
}

/// Where one test's operator acts: a control plane, a namespace, a simulator and a tenant of its own.
pub(crate) struct Stage {
    pub(crate) namespace: Namespace,
    pub(crate) simulator: Simulator,
    /// The tenant [`TENANT`].
    pub(crate) tenant: TenantHandle,
    logs: Mutex<Vec<Log>>,
    // Last: the operators of a test are gone before the next test gets the control plane.
    _turn: Turn,
}

impl Stage {
    /// A stage with one tenant, the Secret `prisma-access` with its bearer token, and the Secret `vendor` with the key
    /// `token` that [`okta`] refers to.
    pub(crate) async fn new() -> Self {
        Self::with(Options::single(TENANT, TOKEN)).await
    }

    /// The same with other tenants, or with rules that hold from the start.
    pub(crate) async fn with(options: Options) -> Self {
        let turn = Turn::take().await;
        let namespace = turn.cluster.namespace().await;
        let simulator = Simulator::start(options).await.expect("a simulator");
        let tenant = simulator.tenant(TENANT);
        let stage = Self { namespace, simulator, tenant, logs: Mutex::default(), _turn: turn };
        stage.secret("prisma-access", &[("token", TOKEN)]).await;
        stage.secret("vendor", &[("token", OKTA_TOKEN)]).await;
        stage
    }

    /// The operator, to be told more and started. Unless told otherwise: against this stage's control plane and
    /// simulator, `--request-timeout 10s`, `--resync-interval 10s`, JSON logs at level info.
    pub(crate) fn operator(&self) -> Launch<'_> {
        let flags = [
            ("--api-url", self.simulator.url()),
            ("--auth-url", self.simulator.auth_url()),
            ("--log-format", "json".to_owned()),
            ("--request-timeout", "10s".to_owned()),
            ("--resync-interval", "10s".to_owned()),
        ];
        Launch {
            stage: self,
            flags: flags.into_iter().map(|(flag, value)| (flag.to_owned(), value)).collect(),
            environment: BTreeMap::from([("RUST_LOG".to_owned(), "info".to_owned())]),
            kubeconfig: self.namespace.cluster.control_plane.kubeconfig().to_owned(),
            program: operator(),
        }
    }

    /// A kubeconfig with a token of a `ServiceAccount` of the namespace: what a pod has. (kube does not act on a
    /// kubeconfig's `as`.)
    pub(crate) async fn kubeconfig_of(&self, account: &str) -> PathBuf {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let namespace = &self.namespace;
        let answer = namespace.kubectl(&["create", "token", account, "--duration=10m"]).await;
        assert!(answer.ok, "{answer:?}");
        let administrator = namespace.cluster.control_plane.kubeconfig();
        let text = std::fs::read_to_string(administrator).expect("the administrator's kubeconfig");
        let mut config: Value = serde_saphyr::from_str(&text).expect("a kubeconfig");
        config["users"][0]["user"] = json!({ "token": answer.stdout.trim() });
        config["contexts"][0]["context"]["namespace"] = json!(namespace.name);
        // It goes with the control plane.
        let path = administrator.with_file_name(format!("{}-{account}.kubeconfig", namespace.name));
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(config.to_string().as_bytes())).expect("a kubeconfig");
        path
    }

    /// The MfaServers of the namespace.
    pub(crate) fn servers(&self) -> Api<MfaServer> {
        self.namespace.api()
    }

    /// Creates or replaces a Secret's keys.
    pub(crate) async fn secret(&self, name: &str, keys: &[(&str, &str)]) -> Secret {
        let keys: Vec<_> = keys.iter().map(|(key, value)| (*key, value.as_bytes())).collect();
        self.secret_of_bytes(name, &keys).await
    }

    /// The same for what is not text.
    pub(crate) async fn secret_of_bytes(&self, name: &str, keys: &[(&str, &[u8])]) -> Secret {
        let data: BTreeMap<_, _> = keys.iter().map(|(key, value)| (*key, ByteString(value.to_vec()))).collect();
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "data": data });
        let api: Api<Secret> = self.namespace.api();
        api.patch(name, &PatchParams::apply("tests").force(), &Patch::Apply(secret)).await.expect("a Secret")
    }

    /// Deletes a Secret.
    pub(crate) async fn delete_secret(&self, name: &str) {
        self.namespace.api::<Secret>().delete(name, &DeleteParams::default()).await.expect("a Secret to delete");
    }

    /// A bearer token for the stage's tenant, in a Secret of its own.
    pub(crate) async fn credentials(&self, name: &str, token: &str) -> Secret {
        self.tenant.add_bearer_token(token);
        self.secret(name, &[("token", token)]).await
    }

    /// Applies a resource as a user would, server-side.
    pub(crate) async fn apply(&self, server: &Value) -> MfaServer {
        let name = server["metadata"]["name"].as_str().expect("a name");
        let params = PatchParams::apply("tests").force();
        match self.servers().patch(name, &params, &Patch::Apply(server)).await {
            Ok(server) => server,
            Err(error) => panic!("{name} was refused: {error}"),
        }
    }

    /// Applies a merge patch.
    pub(crate) async fn patch(&self, name: &str, patch: &Value) -> MfaServer {
        let patched = self.servers().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.unwrap_or_else(|error| panic!("{name} was not patched: {error}"))
    }

    /// Sets one annotation.
    pub(crate) async fn annotate(&self, name: &str, annotation: &str, value: &str) -> MfaServer {
        self.patch(name, &json!({ "metadata": { "annotations": { annotation: value } } })).await
    }

    /// Asks for a deletion; [`Stage::wait_gone`] waits for it.
    pub(crate) async fn delete(&self, name: &str) {
        self.servers().delete(name, &DeleteParams::default()).await.expect("a resource to delete");
    }

    /// The resource as it is.
    pub(crate) async fn get(&self, name: &str) -> Option<MfaServer> {
        self.servers().get_opt(name).await.expect("the API server's answer")
    }

    /// Waits until the resource is as `wanted`; `what` says what that is.
    pub(crate) async fn wait(&self, name: &str, what: &str, wanted: impl Fn(&MfaServer) -> bool) -> MfaServer {
        let wanted = |server: Option<&MfaServer>| server.is_some_and(&wanted);
        self.wait_opt(name, what, wanted).await.expect("a resource, as it was wanted")
    }

    /// Waits until the condition `Ready` has this status and reason, for the present generation.
    pub(crate) async fn wait_ready(&self, name: &str, status: &str, reason: &str) -> MfaServer {
        self.wait_condition(name, "Ready", status, reason).await
    }

    /// Waits until a condition has this status and reason, for the present generation.
    pub(crate) async fn wait_condition(&self, name: &str, kind: &str, status: &str, reason: &str) -> MfaServer {
        let what = format!("{kind}={status}/{reason}");
        let wanted = |server: &MfaServer| {
            let found = condition(server, kind).filter(|found| found.observed_generation == server.metadata.generation);
            found.is_some_and(|found| found.status == status && found.reason == reason)
        };
        self.wait(name, &what, wanted).await
    }

    /// Waits until the resource is gone.
    pub(crate) async fn wait_gone(&self, name: &str) {
        self.wait_opt(name, "gone", |server| server.is_none()).await;
    }

    async fn wait_opt(&self, name: &str, what: &str, wanted: impl Fn(Option<&MfaServer>) -> bool) -> Option<MfaServer> {
        let mut last = None;
        let seen = async {
            let mut watched = std::pin::pin!(watch_object(self.servers(), name).default_backoff());
            while let Some(event) = watched.next().await {
                if let Ok(server) = event {
                    let done = wanted(server.as_ref());
                    last = server;
                    if done {
                        break;
                    }
                }
            }
        };
        if tokio::time::timeout(LIMIT, seen).await.is_err() {
            panic!("{name} is not {what} within {LIMIT:?}, but {}{}", told(last.as_ref()), self.log_ends());
        }
        last
    }

    /// Waits until what `tell` says of the resource is `wanted`; answers what it says in the end, so that a table can
    /// name all its failing rows.
    pub(crate) async fn settle(&self, name: &str, wanted: &str, tell: impl Fn(&MfaServer) -> String) -> String {
        let mut last = "absent".to_owned();
        let seen = async {
            let mut watched = std::pin::pin!(watch_object(self.servers(), name).default_backoff());
            while let Some(event) = watched.next().await {
                if let Ok(server) = event {
                    last = server.as_ref().map_or_else(|| "absent".to_owned(), &tell);
                    if last == wanted {
                        break;
                    }
                }
            }
        };
        let _ = tokio::time::timeout(LIMIT, seen).await;
        last
    }

    /// All Events of the namespace.
    pub(crate) async fn events(&self) -> Vec<Event> {
        self.namespace.api::<Event>().list(&ListParams::default()).await.expect("the events").items
    }

    /// Waits until the simulator's log is as wanted.
    pub(crate) async fn wait_requests(&self, what: &str, wanted: impl FnMut(&simulator::Log) -> bool) {
        if let Err(late) = self.simulator.log().wait_until(LIMIT, wanted).await {
            panic!("the simulator did not see {what}: {late}{}", self.log_ends());
        }
    }

    /// The ends of the operators' logs, for a message.
    pub(crate) fn log_ends(&self) -> String {
        let logs = locked(&self.logs);
        logs.iter().enumerate().fold(String::new(), |mut text, (index, log)| {
            let _ = write!(text, "\n--- the end of the log of operator {}:\n{}", index + 1, log.end());
            text
        })
    }
}

/// What a stage's namespace has, for another one: the Secrets `prisma-access` and `vendor`.
pub(crate) async fn furnish(namespace: &Namespace, token: &str) {
    for (name, value) in [("prisma-access", token), ("vendor", OKTA_TOKEN)] {
        let made =
            namespace.kubectl(&["create", "secret", "generic", name, &format!("--from-literal=token={value}")]).await;
        assert!(made.ok, "{made:?}");
    }
}

/// An MfaServer of that name in `Mobile Users`, with Okta and the Secret `vendor`.
pub(crate) fn okta(name: &str) -> Value {
    json!({
        "apiVersion": MfaServer::api_version(&()),
        "kind": MfaServer::kind(&()),
        "metadata": { "name": name },
        "spec": {
            "folder": "Mobile Users",
            "mfaCertProfile": "corp-ca",
            "mfaVendorType": { "oktaAdaptiveV1": {
                "oktaApiHost": "corp.okta.example.com",
                "oktaOrg": "corp",
                "oktaToken": { "secretKeyRef": { "name": "vendor", "key": "token" } },
            }},
        },
    })
}

/// The same with other fields of the spec.
pub(crate) fn okta_with(name: &str, spec: &Value) -> Value {
    let mut server = okta(name);
    for (field, value) in spec.as_object().expect("fields of a spec") {
        server["spec"][field] = value.clone();
    }
    server
}

/// A condition of a resource.
pub(crate) fn condition<'a>(server: &'a MfaServer, kind: &str) -> Option<&'a Condition> {
    server.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == kind)
}

/// A condition in short: `False/InvalidObject`, or nothing where it is absent.
pub(crate) fn says(server: &MfaServer, kind: &str) -> Option<String> {
    condition(server, kind).map(|condition| format!("{}/{}", condition.status, condition.reason))
}

fn told(server: Option<&MfaServer>) -> String {
    server.map_or_else(
        || "absent".to_owned(),
        |server| serde_json::to_string_pretty(server).expect("a resource that can be shown"),
    )
}

/// An operator that is about to be started.
pub(crate) struct Launch<'a> {
    stage: &'a Stage,
    flags: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    kubeconfig: PathBuf,
    program: Command,
}

impl Launch<'_> {
    /// With a flag, in place of what it was. An empty value is for flags that take none.
    pub(crate) fn flag(mut self, flag: &str, value: &str) -> Self {
        self.flags.insert(flag.to_owned(), value.to_owned());
        self
    }

    /// With `--request-timeout 2s`, for tests in which answers fail to come: the rest count or time the requests, and a
    /// busy machine takes seconds for an answer now and then.
    pub(crate) fn impatient(self) -> Self {
        self.flag("--request-timeout", "2s")
    }

    /// With a variable of the environment, which holds nothing else but `KUBECONFIG` and `RUST_LOG`.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With another kubeconfig.
    pub(crate) fn kubeconfig(mut self, path: impl Into<PathBuf>) -> Self {
        self.kubeconfig = path.into();
        self
    }

    /// Another program that takes its flags from the environment alone.
    pub(crate) fn program(mut self, program: Command) -> Self {
        for (flag, value) in std::mem::take(&mut self.flags) {
            let variable = format!("MFA_OPERATOR_{}", flag.trim_start_matches('-').replace('-', "_").to_uppercase());
            let value = if value.is_empty() { "true".to_owned() } else { value };
            self.environment.insert(variable, value);
        }
        self.program = program;
        self
    }

    /// Starts it.
    pub(crate) fn start(mut self) -> Operator {
        for (flag, value) in &self.flags {
            self.program.arg(flag);
            if !value.is_empty() {
                self.program.arg(value);
            }
        }
        self.program.envs(&self.environment).env("KUBECONFIG", &self.kubeconfig);
        let operator = Operator::spawn(self.program);
        locked(&self.stage.logs).push(operator.log.clone());
        operator
    }
}

/// The operator's binary with nothing in its environment but a free port for probes and scrapes, so that many run at once.
pub(crate) fn operator() -> Command {
    bare(env!("CARGO_BIN_EXE_mfa-operator").as_ref())
}

/// The same for any program that runs the operator.
pub(crate) fn bare(program: &std::ffi::OsStr) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("MFA_OPERATOR_HTTP_ADDR", "127.0.0.1:0")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Ends the operator when this process is gone, however it went: the kernel closes the pipe that the shell reads.
pub(crate) fn guard(pid: u32) -> Child {
    Command::new("sh")
        .args(["-c", "read -r _; kill -9 \"$1\"", "sh", &pid.to_string()])
        .process_group(0)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("a shell")
}

/// A running operator; it is killed when this is dropped.
pub(crate) struct Operator {
    // First: it must not kill whoever has the number next.
    guard: Child,
    child: Child,
    log: Log,
    readers: Option<[JoinHandle<()>; 2]>,
}

impl Operator {
    /// Starts what [`bare`] has prepared.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the operator's process");
        let guard = guard(child.id().expect("a running process"));
        let log = Log::default();
        let readers = [
            log.read(child.stdout.take().expect("the operator's standard output")),
            log.read(child.stderr.take().expect("the operator's standard error")),
        ];
        Self { guard, child, log, readers: Some(readers) }
    }

    /// What it has written so far.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Waits for a line of its log with this message.
    pub(crate) async fn wait_message(&self, message: &str) -> Value {
        self.wait_line(message, |line| line["message"] == message).await
    }

    /// Waits for a line of its log.
    pub(crate) async fn wait_line(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        match self.log.wait(|log| log.lines().into_iter().find(|line| wanted(line))).await {
            Some(line) => line,
            None => panic!("the operator did not say {what} within {LIMIT:?}:\n{}", self.log.end()),
        }
    }

    /// Kills it: SIGKILL, and returns when it is gone and all that it wrote has been read.
    pub(crate) async fn kill(mut self) -> Log {
        self.child.start_kill().expect("a process to kill");
        self.ended().await;
        self.log.clone()
    }

    /// Asks it to stop, by SIGTERM, and waits for its end.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        self.signal("TERM").await;
        self.ended().await
    }

    /// Sends a signal by its name.
    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("a running process");
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().await.expect("a shell");
        assert!(sent.success(), "SIG{name} was not sent");
    }

    /// Waits for its end; whoever wants its log afterwards has a clone of it.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let Ok(status) = tokio::time::timeout(LIMIT, self.child.wait()).await else {
            panic!("the operator did not end within {LIMIT:?}:\n{}", self.log.end());
        };
        let _ = self.guard.start_kill();
        for reader in self.readers.take().into_iter().flatten() {
            reader.await.expect("the reader of the operator's output");
        }
        status.expect("how the operator ended")
    }

    /// Waits for its end, however long that takes.
    pub(crate) async fn died(&mut self) {
        let _ = self.child.wait().await;
    }

    /// Whether it runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("how the operator is").is_none()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.guard.start_kill();
        let _ = self.child.start_kill();
        let begin = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begin.elapsed() < LIMIT {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// What an operator has written, line by line: standard output and standard error.
#[derive(Clone, Default)]
pub(crate) struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    changes: Arc<watch::Sender<()>>,
}

impl Log {
    fn read(&self, from: impl AsyncRead + Send + Unpin + 'static) -> JoinHandle<()> {
        let log = self.clone();
        tokio::spawn(async move {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while from.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
                locked(&log.lines).push(String::from_utf8_lossy(&line).trim_end().to_owned());
                log.changes.send_replace(());
                line.clear();
            }
        })
    }

    /// Everything, as it was written.
    pub(crate) fn text(&self) -> String {
        locked(&self.lines).join("\n")
    }

    /// The lines that are JSON.
    pub(crate) fn lines(&self) -> Vec<Value> {
        locked(&self.lines).iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The lines that tell of a step for this resource (`namespace/name`).
    pub(crate) fn steps(&self, resource: &str) -> Vec<Value> {
        let mut lines = self.lines();
        lines.retain(|line| line["message"] == "step" && line["resource"] == resource);
        lines
    }

    /// Waits until the log has what is looked for; `None` after the limit.
    pub(crate) async fn wait<T>(&self, look: impl Fn(&Self) -> Option<T>) -> Option<T> {
        let mut changes = self.changes.subscribe();
        let found = async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = look(self) {
                    return found;
                }
                changes.changed().await.expect("the log holds its sender");
            }
        };
        tokio::time::timeout(LIMIT, found).await.ok()
    }

    /// The last lines, for a message.
    pub(crate) fn end(&self) -> String {
        let lines = locked(&self.lines);
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }
}

#[tokio::test]
async fn an_operator_is_started_killed_started_again_and_ends_in_order() {
    let stage = Stage::new().await;
    let first = stage.operator().start();
    stage.apply(&okta("corp")).await;
    let server = stage.wait_ready("corp", "True", "Available").await;
    assert_eq!(says(&server, "Synced").as_deref(), Some("True/UpToDate"));
    assert_eq!(stage.tenant.objects().len(), 1);
    first.wait_line("that it recorded", |line| line["step"] == "Record(InOrder)").await;
    let log = first.kill().await;
    assert_eq!(log.steps(&format!("{}/corp", stage.namespace.name)).len(), 3, "{}", log.text());

    stage.delete("corp").await;
    let mut second = stage.operator().start();
    stage.wait_gone("corp").await;
    assert!(stage.tenant.objects().is_empty());
    second.wait_message("Secrets are known; starting").await;
    assert!(second.is_running());
    assert_eq!(second.terminate().await.code(), Some(0));
}
