//! The real helm with `--wait`, on a chart that holds an MfaServer and its Secrets.

use mfa_sandbox::simulator::{Documented, Folder, Route, Rule};

use super::{end, start};
use crate::{
    harness::Answer,
    operator::{OKTA_TOKEN, Stage, TOKEN, says},
};

const CHART: &str = "tests/it/gitops/chart";
/// Longer than anything here may take: what fails before a test's own limit did not run into it.
const TIMEOUT: &str = "--timeout=30m";

fn helm(stage: &Stage, arguments: &[&str]) -> tokio::process::Child {
    let namespace = format!("--namespace={}", stage.namespace.name);
    start(stage.namespace.cluster.control_plane.helm(), &[arguments, &[&namespace]].concat())
}

/// The values with which both Secrets are in the chart.
fn secrets() -> [String; 2] {
    [format!("--set=credentials={TOKEN}"), format!("--set=vendor={OKTA_TOKEN}")]
}

fn succeeded(answer: &Answer) {
    assert!(answer.ok, "{answer:?}");
}

/// Fails unless the resource is there and stays as it is for a while, and helm is still at it then.
async fn helm_still_waits(stage: &Stage, helm: &mut tokio::process::Child, name: &str) {
    stage.wait(name, "there", |_| true).await;
    let server = format!("mfaserver/{name}");
    let waited = stage.namespace.kubectl(&["wait", &server, "--for=condition=Ready", "--timeout=5s"]).await;
    assert!(!waited.ok && waited.stderr.contains("timed out"), "{waited:?}");
    if helm.try_wait().unwrap().is_some() {
        panic!("helm did not wait for {name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn helm_returns_once_the_operator_has_looked_and_all_is_in_order() {
    let stage = Stage::new().await;
    let [credentials, vendor] = secrets();
    let install = ["install", "corp", CHART, &credentials, &vendor, "--wait", TIMEOUT];
    let mut installing = helm(&stage, &install);
    helm_still_waits(&stage, &mut installing, "corp").await;
    let operator = stage.operator().start();
    succeeded(&end(installing).await);
    let server = stage.get("corp").await.unwrap();
    assert_eq!(says(&server, "Ready").as_deref(), Some("True/Available"));
    assert!(stage.tenant.find(Folder::MobileUsers, "corp").is_some());

    // The same for a change: helm looks at the generation that was looked at.
    assert_eq!(operator.terminate().await.code(), Some(0));
    let changed = "--set=certProfile=another-ca";
    let upgrade = ["upgrade", "corp", CHART, &credentials, &vendor, changed, "--wait=watcher", TIMEOUT];
    let mut upgrading = helm(&stage, &upgrade);
    stage.wait("corp", "changed", |server| server.spec.mfa_cert_profile == "another-ca").await;
    let profile = |stage: &Stage| {
        let object = stage.tenant.find(Folder::MobileUsers, "corp").unwrap();
        object.field("/mfa_cert_profile").cloned().unwrap()
    };
    helm_still_waits(&stage, &mut upgrading, "corp").await;
    assert_eq!(profile(&stage), "corp-ca");
    let _operator = stage.operator().start();
    succeeded(&end(upgrading).await);
    assert_eq!(profile(&stage), "another-ca");

    succeeded(&end(helm(&stage, &["uninstall", "corp", "--wait", TIMEOUT])).await);
    assert!(stage.get("corp").await.is_none());
    assert!(stage.tenant.find(Folder::MobileUsers, "corp").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn helm_fails_at_once_on_a_refusal_says_why_and_succeeds_when_that_is_mended() {
    let stage = Stage::new().await;
    let refuse = Rule::documented(Documented::InvalidObject).on("POST", Route::MfaServers).object("corp");
    let rule = stage.simulator.inject(refuse);
    let _operator = stage.operator().start();
    let [credentials, vendor] = secrets();
    let refused = end(helm(&stage, &["install", "corp", CHART, &credentials, &vendor, "--wait", TIMEOUT])).await;
    let server = stage.wait_ready("corp", "False", "InvalidObject").await;
    let message = &crate::operator::condition(&server, "Stalled").unwrap().message;
    assert!(!refused.ok && refused.stderr.contains("Failed") && refused.stderr.contains(message), "{refused:?}");

    stage.simulator.remove_rule(&rule);
    let changed = "--set=certProfile=another-ca";
    let upgrade = ["upgrade", "--install", "corp", CHART, &credentials, &vendor, changed, "--wait", TIMEOUT];
    succeeded(&end(helm(&stage, &upgrade)).await);
    stage.wait_ready("corp", "True", "Available").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn helm_waits_for_a_secret_that_comes_later_and_no_longer_than_it_is_told() {
    let stage = Stage::new().await;
    let _operator = stage.operator().start();
    let [credentials, _] = secrets();
    let late = end(helm(&stage, &["install", "late", CHART, &credentials, "--wait", "--timeout=5s"])).await;
    assert!(!late.ok && late.stderr.contains("InProgress"), "{late:?}");

    let mut installing = helm(&stage, &["install", "corp", CHART, &credentials, "--wait", TIMEOUT]);
    stage.wait_ready("corp", "False", "SecretNotFound").await;
    helm_still_waits(&stage, &mut installing, "corp").await;
    stage.secret("corp-vendor", &[("token", OKTA_TOKEN)]).await;
    succeeded(&end(installing).await);
}

#[tokio::test]
async fn without_the_flag_and_in_the_legacy_way_helm_does_not_wait() {
    let stage = Stage::new().await;
    for (name, way) in [("without", "--wait=hookOnly"), ("legacy", "--wait=legacy")] {
        succeeded(&end(helm(&stage, &["install", name, CHART, way, TIMEOUT])).await);
        let status = stage.get(name).await.unwrap().status.unwrap();
        assert_eq!(status.observed_generation, Some(-1), "nobody has looked at it");
    }
}
