//! `kubectl wait`, as docs/gitops.md writes it.

use mfa_sandbox::simulator::{Documented, Route, Rule};
use serde_json::json;

use super::{end, read, start};
use crate::operator::{Stage, okta};

/// A command of the page, about this resource.
fn wait(stage: &Stage, words: &[&str]) -> tokio::process::Child {
    let namespace = format!("--namespace={}", stage.namespace.name);
    start(stage.namespace.cluster.control_plane.kubectl(), &[&["wait", &namespace], words].concat())
}

const READY: &str = "--for=condition=Ready";
const STALLED: &str = "--for=condition=Stalled";
const AVAILABLE: &str = r#"--for=jsonpath={.status.conditions[?(@.type=="Ready")].reason}=Available"#;
const DELETED: &str = "--for=delete";
/// Longer than the test waits.
const LONG: &str = "--timeout=30m";

#[test]
fn the_page_shows_the_commands_that_are_tried_here() {
    let page = read("docs/gitops.md").replace('\'', "");
    for words in [READY, STALLED, AVAILABLE, DELETED] {
        assert!(page.contains(&format!("kubectl wait mfaserver/okta-adaptive {words}")), "{words}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_waits_for_ready_for_a_reason_for_a_refusal_and_for_the_end() {
    let stage = Stage::new().await;
    let refuse = Rule::documented(Documented::InvalidObject).on("POST", Route::MfaServers).object("refused");
    stage.simulator.inject(refuse);
    stage.apply(&okta("corp")).await;
    stage.apply(&okta("refused")).await;
    let mut waiting = vec![
        wait(&stage, &["mfaserver/corp", READY, LONG]),
        wait(&stage, &["mfaserver/corp", AVAILABLE, LONG]),
        wait(&stage, &["mfaserver/refused", STALLED, LONG]),
    ];
    let early = end(wait(&stage, &["mfaserver/corp", READY, "--timeout=3s"])).await;
    assert!(!early.ok && early.stderr.contains("timed out"), "{early:?}");
    for child in &mut waiting {
        assert!(child.try_wait().unwrap().is_none(), "kubectl did not wait");
    }
    let operator = stage.operator().start();
    for child in waiting {
        let waited = end(child).await;
        assert!(waited.ok && waited.stdout.contains("condition met"), "{waited:?}");
    }
    stage.wait_ready("corp", "True", "Available").await;

    // Another spec, and nobody who has looked at it: what was true is not true of this one.
    assert_eq!(operator.terminate().await.code(), Some(0));
    stage.patch("corp", &json!({ "spec": { "mfaCertProfile": "another-ca" } })).await;
    let outdated = end(wait(&stage, &["mfaserver/corp", READY, "--timeout=3s"])).await;
    assert!(!outdated.ok && outdated.stderr.contains("timed out"), "{outdated:?}");
    let _operator = stage.operator().start();
    let looked = end(wait(&stage, &["mfaserver/corp", READY, LONG])).await;
    assert!(looked.ok, "{looked:?}");

    let gone = wait(&stage, &["mfaserver/corp", DELETED, LONG]);
    stage.delete("corp").await;
    let gone = end(gone).await;
    assert!(gone.ok, "{gone:?}");
}
