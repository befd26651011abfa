//! The real helm against a real API server: install, upgrade, uninstall, and what stays.

use k8s_openapi::{
    api::{apps::v1::Deployment, rbac::v1::ClusterRole},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use mfa_operator::crd::MfaServer;
use mfa_sandbox::control_plane::ControlPlane;

use super::answer;
use crate::{harness::Answer, operator::okta};

const NAMESPACE: &str = "mfa-system";

/// A control plane on which nobody has installed the definition.
struct Cluster {
    control_plane: ControlPlane,
    client: Client,
}

impl Cluster {
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let control_plane =
            ControlPlane::start().await.unwrap_or_else(|error| panic!("a local control plane: {error}"));
        let kubeconfig = Kubeconfig::read_from(control_plane.kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Self { client: Client::try_from(config).unwrap(), control_plane }
    }

    async fn helm(&self, arguments: &[&str]) -> Answer {
        answer(self.control_plane.helm(), &[arguments, &["--namespace", NAMESPACE]].concat()).await
    }

    async fn helm_ok(&self, arguments: &[&str]) -> Answer {
        let answer = self.helm(arguments).await;
        assert!(answer.ok, "helm {arguments:?}: {answer:?}");
        answer
    }

    async fn kubectl_ok(&self, arguments: &[&str]) {
        let answer = answer(self.control_plane.kubectl(), arguments).await;
        assert!(answer.ok, "kubectl {arguments:?}: {answer:?}");
    }

    async fn definition(&self) -> Option<CustomResourceDefinition> {
        Api::all(self.client.clone()).get_opt("mfaservers.sse.mfa-operator.io").await.unwrap()
    }

    async fn deployment(&self) -> Option<Deployment> {
        Api::namespaced(self.client.clone(), NAMESPACE).get_opt("mfa-operator").await.unwrap()
    }

    async fn server(&self) -> Option<MfaServer> {
        Api::namespaced(self.client.clone(), "default").get_opt("corp").await.unwrap()
    }

    /// The cluster roles that the chart left.
    async fn roles(&self) -> Vec<String> {
        let ours = ListParams::default().labels("app.kubernetes.io/name=mfa-operator");
        let found = Api::<ClusterRole>::all(self.client.clone()).list(&ours).await.unwrap();
        found.iter().map(kube::ResourceExt::name_any).collect()
    }

    async fn established(&self) {
        self.kubectl_ok(&[
            "wait",
            "--for=condition=established",
            "--timeout=60s",
            "crd/mfaservers.sse.mfa-operator.io",
        ])
        .await;
    }
}

const CHART: &str = "charts/mfa-operator";
/// The chart as it was before; tests/previous-charts/README.md says how it came there.
const PREVIOUS: &str = "tests/previous-charts/mfa-operator-0.1.0.tgz";

#[tokio::test]
async fn helm_installs_upgrades_and_uninstalls_and_the_definition_stays() {
    let cluster = Cluster::start().await;
    let installed = cluster.helm_ok(&["install", "mfa-operator", CHART, "--create-namespace"]).await;
    let (_, notes) = installed.stdout.split_once("\nNOTES:\n").unwrap();
    assert!(notes.starts_with("THE OPERATOR DOES NOT PUSH."), "{notes}");
    cluster.established().await;
    let deployment = cluster.deployment().await.unwrap();
    assert_eq!(deployment.spec.replicas, Some(1));
    assert_eq!(cluster.roles().await.len(), 4);

    let servers = Api::<MfaServer>::namespaced(cluster.client.clone(), "default");
    servers.create(&kube::api::PostParams::default(), &serde_json::from_value(okta("corp")).unwrap()).await.unwrap();
    let server = cluster.server().await.unwrap();

    // The same again changes nothing.
    cluster.helm_ok(&["upgrade", "mfa-operator", CHART]).await;
    let again = cluster.deployment().await.unwrap();
    assert_eq!(again.metadata.generation, deployment.metadata.generation);

    cluster.helm_ok(&["upgrade", "mfa-operator", CHART, "--set", "replicas=2,log.format=json"]).await;
    let upgraded = cluster.deployment().await.unwrap().spec;
    assert_eq!(upgraded.replicas, Some(2));
    assert!(
        upgraded.template.spec.unwrap().containers[0].args.as_ref().unwrap().contains(&"--log-format=json".to_owned())
    );

    cluster.helm_ok(&["rollback", "mfa-operator", "1"]).await;
    assert_eq!(cluster.deployment().await.unwrap().spec.replicas, Some(1));

    let refused = cluster.helm(&["upgrade", "mfa-operator", CHART, "--set", "replica=2"]).await;
    assert!(!refused.ok && refused.stderr.contains("additional properties 'replica' not allowed"), "{refused:?}");

    let uninstalled = cluster.helm_ok(&["uninstall", "mfa-operator"]).await;
    assert!(format!("{uninstalled:?}").contains("kept due to the resource policy"), "{uninstalled:?}");
    assert!(cluster.deployment().await.is_none());
    assert_eq!(cluster.roles().await, [""; 0]);
    let kept = cluster.definition().await.unwrap();
    assert!(kept.metadata.deletion_timestamp.is_none());
    assert_eq!(cluster.server().await.unwrap().uid(), server.uid());

    // Whoever installs again has all back.
    cluster.helm_ok(&["install", "mfa-operator", CHART]).await;
    assert_eq!(cluster.definition().await.unwrap().uid(), kept.uid());
    cluster.helm_ok(&["uninstall", "mfa-operator"]).await;

    // Under another name, one of the two ways that the README tells is needed.
    let refused = cluster.helm(&["install", "other", CHART]).await;
    assert!(!refused.ok && refused.stderr.contains("invalid ownership metadata"), "{refused:?}");
    cluster.helm_ok(&["install", "another", CHART, "--set", "crds.install=false"]).await;
    cluster.helm_ok(&["uninstall", "another"]).await;
    cluster.helm_ok(&["install", "third", CHART, "--take-ownership"]).await;
    assert_eq!(cluster.server().await.unwrap().uid(), server.uid());

    // Leaving it out keeps it, as uninstalling does; and without `keep` it goes.
    cluster.helm_ok(&["upgrade", "third", CHART, "--set", "crds.install=false"]).await;
    assert!(cluster.definition().await.unwrap().metadata.deletion_timestamp.is_none());
    cluster.helm_ok(&["uninstall", "third"]).await;
    cluster.helm_ok(&["install", "third", CHART, "--set", "crds.keep=false", "--take-ownership"]).await;
    cluster.helm_ok(&["uninstall", "third"]).await;
    assert!(cluster.definition().await.is_none_or(|definition| definition.metadata.deletion_timestamp.is_some()));
    cluster.control_plane.stop().await.unwrap();
}

async fn version_of(cluster: &Cluster, chart: &str) -> String {
    let shown = cluster.helm_ok(&["show", "chart", chart]).await;
    let chart: serde_json::Value = serde_saphyr::from_str(&shown.stdout).unwrap();
    chart["version"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_release_of_the_previous_chart_is_upgraded_and_loses_nothing() {
    let cluster = Cluster::start().await;
    assert!(version_of(&cluster, PREVIOUS).await < version_of(&cluster, CHART).await, "it is another version");
    let values = "log.format=json,credentialsSecret=tenant,resyncInterval=30m,commonLabels.team=network";
    cluster.helm_ok(&["install", "mfa-operator", PREVIOUS, "--create-namespace", "--set", values]).await;
    cluster.established().await;
    let definition = cluster.definition().await.unwrap();
    let roles = cluster.roles().await;

    // A resource that an operator of that time has worked on.
    let servers = Api::<MfaServer>::namespaced(cluster.client.clone(), "default");
    let mut server = okta("corp");
    server["metadata"]["finalizers"] = serde_json::json!([mfa_operator::crd::FINALIZER]);
    servers.create(&kube::api::PostParams::default(), &serde_json::from_value(server).unwrap()).await.unwrap();
    let id = "1b2c3d4e-0000-4000-8000-000000000000";
    let status = serde_json::json!({ "status": { "observedGeneration": 1, "id": id, "tenant": "1000000001", "conditions": [] } });
    let params = kube::api::PatchParams::default();
    servers.patch_status("corp", &params, &kube::api::Patch::Merge(status)).await.unwrap();
    let before = cluster.server().await.unwrap();

    // Without flags, with the release's values kept, and with them laid over ours: each way that helm knows.
    for flags in [&[][..], &["--reuse-values"], &["--reset-then-reuse-values"]] {
        cluster.helm_ok(&[&["upgrade", "mfa-operator", CHART], flags].concat()).await;
        let deployment = cluster.deployment().await.unwrap();
        let chart = deployment.labels()["helm.sh/chart"].clone();
        assert_eq!(chart, format!("mfa-operator-{}", version_of(&cluster, CHART).await), "{flags:?}");
        assert_eq!(deployment.labels()["team"], "network", "{flags:?}");
        let arguments = deployment.spec.template.spec.unwrap().containers[0].args.clone().unwrap();
        for kept in ["--log-format=json", "--credentials-secret=tenant", "--resync-interval=30m"] {
            assert!(arguments.iter().any(|argument| argument == kept), "{flags:?}: {kept} of {arguments:?}");
        }
        let narrowed = arguments.iter().find(|argument| argument.starts_with("--watch-"));
        assert_eq!(narrowed, None, "{flags:?}: a release that watched everything goes on to");
        assert_eq!(cluster.roles().await, roles, "{flags:?}");
        let now = cluster.definition().await.unwrap();
        assert_eq!(now.uid(), definition.uid(), "{flags:?}");
        assert!(now.metadata.deletion_timestamp.is_none());
        let after = cluster.server().await.unwrap();
        assert_eq!(
            (after.uid(), &after.spec, &after.status),
            (before.uid(), &before.spec, &before.status),
            "{flags:?}"
        );
    }

    // From the whole cluster to some namespaces: what is not given any more is taken back.
    cluster.kubectl_ok(&["create", "namespace", "network"]).await;
    cluster
        .helm_ok(&["upgrade", "mfa-operator", CHART, "--reset-then-reuse-values", "--set", "watchNamespaces={network}"])
        .await;
    let mut left = cluster.roles().await;
    left.retain(|role| role == "mfa-system:mfa-operator");
    assert_eq!(left, [""; 0], "the ClusterRole goes");
    cluster.kubectl_ok(&["get", "role,rolebinding", "mfa-system:mfa-operator", "--namespace", "network"]).await;

    cluster.helm_ok(&["rollback", "mfa-operator", "1"]).await;
    assert_eq!(cluster.roles().await, roles, "and back to the previous chart");
    cluster.helm_ok(&["uninstall", "mfa-operator"]).await;
    assert!(cluster.deployment().await.is_none());
    assert_eq!(cluster.definition().await.unwrap().uid(), definition.uid());
    let after = cluster.server().await.unwrap();
    assert_eq!((after.uid(), after.spec, after.status), (before.uid(), before.spec, before.status));
    cluster.control_plane.stop().await.unwrap();
}
