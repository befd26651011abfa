//! What people see in a terminal, as golden files: `--help`, `kubectl explain`, `kubectl get`.

use std::fmt::Write as _;

use mfa_sandbox::simulator::{Documented, Route, Rule};
use serde_json::json;

use super::same_as_generated;
use crate::{
    harness,
    operator::{Stage, okta, okta_with},
};

#[test]
fn the_help_is_what_people_read() {
    let mut page = String::new();
    for words in [&["--help"][..], &["crd", "--help"], &["completions", "--help"]] {
        // Nothing here is a terminal, so that the lines are as long everywhere.
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mfa-operator"));
        let answer = command.args(words).env_clear().stdin(std::process::Stdio::null()).output().unwrap();
        assert!(answer.status.success(), "{answer:?}");
        let text = String::from_utf8(answer.stdout).unwrap();
        let text: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
        write!(page, "$ mfa-operator {}\n{}\n\n", words.join(" "), text.join("\n")).unwrap();
    }
    same_as_generated("tests/golden/help.txt", &page);
}

/// Every page of `kubectl explain` that has a text, from the whole to the parts.
const EXPLAINED: [&str; 5] = [
    "mfaserver",
    "mfaserver.spec",
    "mfaserver.spec.mfaVendorType.oktaAdaptiveV1",
    "mfaserver.spec.mfaVendorType.oktaAdaptiveV1.oktaToken.secretKeyRef",
    "mfaserver.status",
];

#[tokio::test]
async fn kubectl_explains_each_field() {
    let namespace = harness::namespace().await;
    let mut page = String::new();
    let mut explain = async |words: &[&str]| {
        let answer = namespace.kubectl(&[&["explain"], words].concat()).await;
        assert!(answer.ok, "{answer:?}");
        let text: Vec<&str> = answer.stdout.trim_end().lines().map(str::trim_end).collect();
        write!(page, "$ kubectl explain {}\n{}\n\n", words.join(" "), text.join("\n")).unwrap();
    };
    // The API server publishes a kind's texts a moment after the kind.
    let published = async { while !namespace.kubectl(&["explain", "mfaserver"]).await.ok {} };
    tokio::time::timeout(harness::LIMIT, published).await.expect("the texts in time");
    for path in EXPLAINED {
        explain(&[path]).await;
    }
    for path in ["mfaserver.spec", "mfaserver.status"] {
        explain(&[path, "--recursive"]).await;
    }
    same_as_generated("tests/golden/explain.txt", &page);
    assert!(!page.contains("<no description>"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_lists_what_one_needs() {
    const ID: &str = "00000000-0000-4000-8000-000000000000";
    let stage = Stage::new().await;
    let refuse = Rule::documented(Documented::InvalidObject).on("POST", Route::MfaServers).object("refused");
    stage.simulator.inject(refuse);
    stage.apply(&okta("ahead")).await;
    let before = stage.namespace.kubectl(&["get", "mfa"]).await;
    let operator = stage.operator().start();
    stage.apply(&okta_with("okta-adaptive", &json!({ "name": "Okta Adaptive" }))).await;
    stage.apply(&okta("refused")).await;
    stage.apply(&okta_with("waiting", &json!({ "credentialsSecretRef": { "name": "not-there" } }))).await;
    for (name, status, reason) in [
        ("ahead", "True", "Available"),
        ("okta-adaptive", "True", "Available"),
        ("refused", "False", "InvalidObject"),
        ("waiting", "False", "SecretNotFound"),
    ] {
        stage.wait_ready(name, status, reason).await;
    }
    let ids: Vec<String> = stage.tenant.objects().into_iter().map(|object| object.id).collect();
    assert!(ids.len() == 2 && ids.iter().all(|id| id.len() == ID.len()), "{ids:?}");
    let mut page = String::new();
    let mut show = |command: &str, text: &str| {
        let mut text = ids.iter().fold(text.to_owned(), |text, id| text.replace(id, ID));
        text = text.replace(&stage.namespace.name, "test-abcde");
        let aged = text.lines().map(|line| match line.rsplit_once("   ") {
            Some((rest, age)) if age.ends_with(|letter: char| "sm".contains(letter)) => format!("{rest}   1s"),
            _ => line.to_owned(),
        });
        writeln!(page, "$ {command}\n{}\n", aged.collect::<Vec<_>>().join("\n")).unwrap();
    };
    show("kubectl get mfa", &before.stdout);
    for command in ["get mfa", "get mfa -o wide", "get mfaservers -o name", "get sse"] {
        let answer = stage.namespace.kubectl(&command.split(' ').collect::<Vec<_>>()).await;
        assert!(answer.ok, "{answer:?}");
        show(&format!("kubectl {command}"), &answer.stdout);
    }
    assert_eq!(operator.terminate().await.code(), Some(0));
    same_as_generated("tests/golden/get.txt", &page);
}
