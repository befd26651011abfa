//! Stopping an operator that has not begun yet.

use k8s_openapi::{
    api::coordination::v1::Lease, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt as _,
    api::DeleteParams,
    runtime::wait::{await_condition, conditions},
};
use mfa_operator::crd;

use crate::{
    harness::{Cluster, LIMIT},
    operator::Stage,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_waits_for_the_definition_can_be_stopped_and_releases_its_lease() {
    let stage = Stage::new().await;
    let cluster = Cluster::start().await.unwrap_or_else(|sentence| panic!("a control plane: {sentence}"));
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client());
    let name = crd::crd().name_any();
    let uid = definitions.get(&name).await.expect("the definition").uid().expect("its uid");
    definitions.delete(&name, &DeleteParams::default()).await.expect("the end of the definition");
    let gone = await_condition(definitions, &name, conditions::is_deleted(&uid));
    tokio::time::timeout(LIMIT, gone).await.expect("the definition gone in time").expect("the definition gone");

    let operator = stage.operator().kubeconfig(cluster.control_plane.kubeconfig()).flag("--leader-elect", "").start();
    operator.wait_message("Secrets are known; starting").await;
    operator.wait_line("that it cannot watch", |line| line["level"] == "WARN").await;
    assert_eq!(operator.terminate().await.code(), Some(0));
    let leases: Api<Lease> = Api::namespaced(cluster.client(), "default");
    let spec = leases.get("mfa-operator").await.expect("the lease").spec.expect("its spec");
    assert_eq!(spec.holder_identity, None);
}
