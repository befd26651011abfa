//! One real control plane for all tests of this process, with the CRD installed.
//!
//! Every test takes a namespace of its own with [`namespace`], so that tests run side by side. Nothing is cleaned up:
//! the control plane goes with the process.

use std::{process::Stdio, sync::LazyLock, time::Duration};

use k8s_openapi::{
    api::core::v1::Namespace as KubeNamespace,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::wait::{await_condition, conditions},
};
use mfa_operator::crd;
use mfa_sandbox::control_plane::ControlPlane;
use tokio::{runtime::Runtime, sync::OnceCell};

/// How long a test waits for something that takes a moment.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// What outlives the test that happened to come first.
pub(crate) static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::new().expect("a runtime for the control plane"));
static CLUSTER: OnceCell<Result<Cluster, String>> = OnceCell::const_new();

/// The control plane that the tests of this process share.
pub(crate) struct Cluster {
    pub(crate) control_plane: ControlPlane,
    config: Config,
}

/// The shared control plane, started by whoever asks first.
///
/// # Panics
/// When it does not start, with a sentence that says what to run if the binaries are missing.
pub(crate) async fn cluster() -> &'static Cluster {
    let start = || async { RUNTIME.spawn(Cluster::start()).await.expect("the control plane's task") };
    match CLUSTER.get_or_init(start).await {
        Ok(cluster) => cluster,
        Err(sentence) => panic!("this test needs a local control plane: {sentence}"),
    }
}

/// A new namespace, and a client for it.
pub(crate) async fn namespace() -> Namespace {
    cluster().await.namespace().await
}

impl Cluster {
    /// A new control plane with the CRD installed.
    pub(crate) async fn start() -> Result<Self, String> {
        // Fails only where somebody else was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let control_plane = ControlPlane::start().await.map_err(|error| chain(&error))?;
        let kubeconfig = Kubeconfig::read_from(control_plane.kubeconfig()).map_err(|error| chain(&error))?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .map_err(|error| chain(&error))?;
        let cluster = Self { control_plane, config };
        cluster.install_crd().await.map_err(|error| format!("the CRD was refused: {}", chain(&*error)))?;
        Ok(cluster)
    }

    /// A new client for the administrator. A client's connections end with the runtime that uses them, and every test
    /// has a runtime of its own: so clients are not shared between tests.
    pub(crate) fn client(&self) -> Client {
        Client::try_from(self.config.clone()).expect("a client for the control plane")
    }

    /// A new namespace, and a client for it.
    pub(crate) async fn namespace(&'static self) -> Namespace {
        let client = self.client();
        let wanted = KubeNamespace {
            metadata: kube::api::ObjectMeta { generate_name: Some("test-".to_owned()), ..Default::default() },
            ..Default::default()
        };
        let created = Api::all(client.clone()).create(&PostParams::default(), &wanted).await.expect("a new namespace");
        Namespace { name: created.name_any(), client, cluster: self }
    }

    async fn install_crd(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let crds = Api::<CustomResourceDefinition>::all(self.client());
        let crd = crd::crd();
        let name = crd.name_any();
        crds.patch(&name, &PatchParams::apply("tests").force(), &Patch::Apply(&crd)).await?;
        tokio::time::timeout(LIMIT, await_condition(crds, &name, conditions::is_crd_established())).await??;
        Ok(())
    }
}

/// A namespace of one test.
pub(crate) struct Namespace {
    pub(crate) name: String,
    pub(crate) client: Client,
    pub(crate) cluster: &'static Cluster,
}

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) ok: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Namespace {
    /// The resources of that kind in this namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Runs the real kubectl in this namespace.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> Answer {
        self.kubectl_with(arguments, "").await
    }

    /// Runs the real kubectl in this namespace, with that text on its standard input.
    pub(crate) async fn kubectl_with(&self, arguments: &[&str], stdin: &str) -> Answer {
        use tokio::io::AsyncWriteExt;
        let mut child = self
            .cluster
            .control_plane
            .kubectl()
            .arg(format!("--namespace={}", self.name))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl");
        let mut input = child.stdin.take().expect("kubectl's standard input");
        // A kubectl that does not read its input has closed it by now, which is no mistake.
        let _ = input.write_all(stdin.as_bytes()).await;
        drop(input);
        let output =
            tokio::time::timeout(LIMIT, child.wait_with_output()).await.expect("kubectl's end").expect("kubectl");
        Answer {
            ok: output.status.success(),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

/// The error and everything that it says is behind it.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
