//! A local etcd and kube-apiserver, started from the folder that `make tools` builds.
//!
//! # Guarantees
//! - Every control plane has a temporary folder, ports and certificates of its own: any number run side by side.
//! - Nothing outlives the process that started it, whether it drops the [`ControlPlane`], exits without dropping it (a
//!   `static`) or is killed: a watchdog then ends both children and removes the folder.
//! - [`ControlPlane::stop_api_server`] and [`ControlPlane::start_api_server`] keep the address, the certificates and
//!   what is stored.
//!
//! # Caveats
//! No controllers run: nothing collects what an owner leaves behind, a deleted namespace stays `Terminating`, and there
//! are no `ServiceAccount` tokens. The API server is killed, not asked: what a client sees is an outage.

pub(crate) mod certificates;
pub(crate) mod process;

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use certificates::Certificates;
use process::{Process, Watchdog};
use tempfile::TempDir;
use tokio::process::Command;

const ETCD: &str = "etcd";
const API_SERVER: &str = "kube-apiserver";
const KUBECTL: &str = "kubectl";
const HELM: &str = "helm";

const AUDIT_LOG: &str = "audit.log";
const AUDIT_POLICY: &str = "audit-policy.yaml";
/// Who asked for what, and no contents.
const POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";

/// How often a start is tried again with other ports, when somebody else took one of ours first.
const ATTEMPTS: u32 = 4;
const ETCD_DEADLINE: Duration = Duration::from_mins(1);
/// It answers within three seconds on a machine that is idle.
const API_SERVER_DEADLINE: Duration = Duration::from_mins(3);

/// Why the control plane did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing says where the binaries are.
    #[error(
        "KUBEBUILDER_ASSETS is not set: run `make test` or `make demo`, which set it, or `make tools` and export its last line"
    )]
    FindAssets,
    /// A binary is not where it should be.
    #[error("{} has no {name}: run `make tools` and set KUBEBUILDER_ASSETS to what its last line says", .folder.display())]
    FindBinary {
        /// The folder that was given.
        folder: PathBuf,
        /// The binary that it lacks.
        name: &'static str,
    },
    /// The temporary folder or a file in it.
    #[error("could not prepare {what} of the local control plane")]
    Prepare {
        /// What was being prepared.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The certificates.
    #[error("could not issue the certificates of the local control plane")]
    IssueCertificates(#[source] rcgen::Error),
    /// The client that asks whether the processes are ready.
    #[error("could not build a client for the local control plane")]
    BuildClient(#[source] reqwest::Error),
    /// A process could not be started.
    #[error("could not start {name}")]
    Spawn {
        /// The process.
        name: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A process ended before it was ready.
    #[error("{name} ended with {status} before it was ready; the end of its log:\n{log}")]
    AwaitRunning {
        /// The process.
        name: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// A process was not ready in time.
    #[error("{name} was not ready after {seconds} s; {url} last said: {answer}; the end of its log:\n{log}")]
    AwaitReady {
        /// The process.
        name: &'static str,
        /// How long it was given.
        seconds: u64,
        /// What was asked.
        url: String,
        /// The last answer, or why there was none.
        answer: String,
        /// The last lines of its log.
        log: String,
    },
    /// A process could not be ended.
    #[error("could not stop {name}")]
    Stop {
        /// The process.
        name: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl Error {
    fn is_lost_port(&self) -> bool {
        matches!(self, Self::AwaitRunning { log, .. } if log.contains("address already in use"))
    }
}

/// A running etcd and kube-apiserver.
// Fields are dropped in this order: the API server before etcd, and what they write to last.
#[derive(Debug)]
pub struct ControlPlane {
    api_server: Option<Process>,
    etcd: Process,
    watchdog: Watchdog,
    http: reqwest::Client,
    binaries: PathBuf,
    kubeconfig: PathBuf,
    url: String,
    ports: Ports,
    audited: bool,
    folder: TempDir,
}

impl ControlPlane {
    /// Starts a control plane from the binaries in `$KUBEBUILDER_ASSETS`, and returns when it answers.
    ///
    /// # Errors
    /// A sentence that says what to run when the binaries are missing; otherwise what failed, with the end of the log.
    pub async fn start() -> Result<Self, Error> {
        let binaries = std::env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty());
        Self::start_in(Path::new(&binaries.ok_or(Error::FindAssets)?)).await
    }

    /// The same, with an API server that writes down each request: see [`ControlPlane::audit_log`].
    ///
    /// # Errors
    /// As [`ControlPlane::start`].
    pub async fn start_audited() -> Result<Self, Error> {
        let binaries = std::env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty());
        Self::start_as(Path::new(&binaries.ok_or(Error::FindAssets)?), true).await
    }

    /// Starts a control plane from the binaries in a folder, and returns when it answers.
    ///
    /// # Errors
    /// As [`ControlPlane::start`].
    pub async fn start_in(binaries: &Path) -> Result<Self, Error> {
        Self::start_as(binaries, false).await
    }

    async fn start_as(binaries: &Path, audited: bool) -> Result<Self, Error> {
        for name in [ETCD, API_SERVER, KUBECTL, HELM] {
            if !binaries.join(name).is_file() {
                return Err(Error::FindBinary { folder: binaries.to_owned(), name });
            }
        }
        let mut attempt = 1;
        loop {
            match Self::start_once(binaries, audited).await {
                Err(error) if error.is_lost_port() && attempt < ATTEMPTS => {
                    tracing::info!(attempt, "a port was taken by somebody else, trying others");
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn start_once(binaries: &Path, audited: bool) -> Result<Self, Error> {
        let prepare = |what| move |source| Error::Prepare { what, source };
        let folder =
            tempfile::Builder::new().prefix("mfa-control-plane-").tempdir().map_err(prepare("the temporary folder"))?;
        let ports = Ports::choose().map_err(prepare("the ports"))?;
        let url = format!("https://127.0.0.1:{}", ports.api_server);

        let certificates = Certificates::issue().map_err(Error::IssueCertificates)?;
        certificates.write(folder.path()).map_err(prepare("the certificates"))?;
        let kubeconfig = folder.path().join("kubeconfig");
        certificates.write_kubeconfig(&kubeconfig, &url).map_err(prepare("the kubeconfig"))?;
        if audited {
            std::fs::write(folder.path().join(AUDIT_POLICY), POLICY).map_err(prepare("the audit policy"))?;
        }
        let http = certificates.client().map_err(Error::BuildClient)?;

        let mut watchdog = Watchdog::start(folder.path()).map_err(prepare("the watchdog"))?;
        let mut etcd = Process::start(binaries, ETCD, folder.path(), &ports.etcd_arguments(folder.path()))?;
        watchdog.guard(&[etcd.id()]).map_err(prepare("the watchdog"))?;
        etcd.await_ready(&http, &format!("http://127.0.0.1:{}/health", ports.etcd), ETCD_DEADLINE).await?;

        let mut control_plane = Self {
            api_server: None,
            etcd,
            watchdog,
            http,
            binaries: binaries.to_owned(),
            kubeconfig,
            url,
            ports,
            audited,
            folder,
        };
        control_plane.start_api_server().await?;
        Ok(control_plane)
    }

    /// A kubeconfig for the administrator, who may do everything. Only its owner can read the file, and it goes with
    /// the control plane.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// What the API server was asked, as a line of JSON (`audit.k8s.io/v1`, `Event`) for each request that has been
    /// answered; empty unless the control plane was started as audited.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.folder.path().join(AUDIT_LOG)
    }

    /// The API server's address, `https://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The real kubectl, as the administrator. It reads and writes nothing of the user's own configuration.
    #[must_use]
    pub fn kubectl(&self) -> Command {
        self.command(KUBECTL)
    }

    /// The real helm, as the administrator. It reads and writes nothing of the user's own configuration.
    #[must_use]
    pub fn helm(&self) -> Command {
        self.command(HELM)
    }

    fn command(&self, name: &str) -> Command {
        let home = self.folder.path().join("home");
        let mut command = Command::new(self.binaries.join(name));
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &home)
            .env("KUBECACHEDIR", home.join("kube-cache"))
            .env("HELM_CACHE_HOME", home.join("helm-cache"))
            .env("HELM_CONFIG_HOME", home.join("helm-config"))
            .env("HELM_DATA_HOME", home.join("helm-data"))
            .kill_on_drop(true);
        for name in ["KUBERC", "HELM_NAMESPACE", "HELM_KUBECONTEXT", "HELM_KUBEAPISERVER", "HELM_DRIVER"] {
            command.env_remove(name);
        }
        command
    }

    /// Starts the API server again, at the same address and with what was stored, and returns when it answers. Does
    /// nothing when it runs.
    ///
    /// # Errors
    /// What failed, with the end of the API server's log.
    pub async fn start_api_server(&mut self) -> Result<(), Error> {
        if let Some(running) = &mut self.api_server
            && running.ended()?.is_none()
        {
            return Ok(());
        }
        let folder = self.folder.path();
        let mut arguments = self.ports.api_server_arguments(folder);
        if self.audited {
            arguments.push(format!("--audit-policy-file={}", folder.join(AUDIT_POLICY).display()));
            arguments.push(format!("--audit-log-path={}", folder.join(AUDIT_LOG).display()));
        }
        let mut api_server = Process::start(&self.binaries, API_SERVER, folder, &arguments)?;
        self.watchdog
            .guard(&[api_server.id(), self.etcd.id()])
            .map_err(|source| Error::Prepare { what: "the watchdog", source })?;
        for path in ["/readyz", "/api/v1/namespaces/default"] {
            api_server.await_ready(&self.http, &format!("{}{path}", self.url), API_SERVER_DEADLINE).await?;
        }
        self.api_server = Some(api_server);
        Ok(())
    }

    /// Ends the API server at once, as an outage would: connections break, then nothing listens. Does nothing when it
    /// does not run.
    ///
    /// # Errors
    /// The process could not be ended.
    #[expect(clippy::unused_async, reason = "the counterpart of start_api_server, which has to wait")]
    pub async fn stop_api_server(&mut self) -> Result<(), Error> {
        self.api_server.take().map_or(Ok(()), Process::stop)
    }

    /// Ends the API server, then etcd, and removes everything they stored.
    ///
    /// # Errors
    /// A process could not be ended or the folder not be removed. What is left is tried again on drop.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.stop_api_server().await?;
        self.etcd.stop()?;
        drop(self.watchdog);
        self.folder.close().map_err(|source| Error::Stop { name: "the temporary folder's use", source })
    }
}

/// The ports of one control plane, all on the loopback address.
#[derive(Debug, Clone, Copy)]
struct Ports {
    etcd: u16,
    etcd_peer: u16,
    api_server: u16,
}

impl Ports {
    /// Three ports that were free a moment ago. They are held together, hence distinct.
    fn choose() -> io::Result<Self> {
        let held = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let port = |held: &io::Result<TcpListener>| match held {
            Ok(listener) => listener.local_addr().map(|address| address.port()),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        let [etcd, etcd_peer, api_server] = &held;
        Ok(Self { etcd: port(etcd)?, etcd_peer: port(etcd_peer)?, api_server: port(api_server)? })
    }

    fn etcd_arguments(self, folder: &Path) -> Vec<String> {
        let clients = format!("http://127.0.0.1:{}", self.etcd);
        vec![
            format!("--data-dir={}", folder.join("etcd").display()),
            format!("--listen-client-urls={clients}"),
            format!("--advertise-client-urls={clients}"),
            format!("--listen-peer-urls=http://127.0.0.1:{}", self.etcd_peer),
            "--unsafe-no-fsync=true".to_owned(),
        ]
    }

    fn api_server_arguments(self, folder: &Path) -> Vec<String> {
        let file = |name: &str| folder.join(name).display().to_string();
        vec![
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd),
            "--bind-address=127.0.0.1".to_owned(),
            // Otherwise it looks for a default route, which a machine without a network lacks; nobody asks for the
            // endpoints that it would publish.
            "--advertise-address=127.0.0.1".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--secure-port={}", self.api_server),
            format!("--cert-dir={}", folder.display()),
            format!("--tls-cert-file={}", file(certificates::SERVING_CERTIFICATE)),
            format!("--tls-private-key-file={}", file(certificates::SERVING_KEY)),
            format!("--client-ca-file={}", file(certificates::CLIENT_CA)),
            "--authorization-mode=RBAC".to_owned(),
            // Its controller does not run, so that it would refuse every pod.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            format!("--service-account-issuer=https://127.0.0.1:{}/", self.api_server),
            format!("--service-account-key-file={}", file(certificates::SERVICE_ACCOUNT_PUBLIC_KEY)),
            format!("--service-account-signing-key-file={}", file(certificates::SERVICE_ACCOUNT_KEY)),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            "--allow-privileged=true".to_owned(),
        ]
    }
}
