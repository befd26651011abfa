//! The examples for Flux, Argo CD and External Secrets, against the tools' own definitions.

use serde_json::{Value, json};
use tokio::process::Command;

use super::{file, read, run_with, tools};
use crate::harness::{self, Answer};

const KEY: &str = "resource.customizations.health.sse.mfa-operator.io_MfaServer";

/// kubectl with no namespace of its own: the examples name theirs.
async fn kubectl(arguments: &[&str], input: &str) -> Answer {
    let mut command: Command = harness::cluster().await.control_plane.kubectl();
    command.args(arguments).current_dir(file(""));
    run_with(command, input).await
}

async fn kubectl_ok(arguments: &[&str], input: &str) -> Answer {
    let answer = kubectl(arguments, input).await;
    assert!(answer.ok, "{arguments:?}: {answer:?}");
    answer
}

async fn namespace(name: &str) {
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    kubectl_ok(&["apply", "--server-side", "-f", "-"], &namespace.to_string()).await;
}

#[tokio::test]
async fn the_config_map_holds_the_health_check_and_is_merged_into_the_one_that_is_there() {
    let example: Value = serde_saphyr::from_str(&read("examples/argo-cd/argocd-cm.yaml")).unwrap();
    assert_eq!(example["data"][KEY], read("examples/argo-cd/health.lua"));

    namespace("argocd").await;
    let there = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "argocd-cm", "namespace": "argocd" },
        "data": { "url": "https://argocd.example.com" },
    });
    kubectl_ok(&["apply", "-f", "-"], &there.to_string()).await;
    // As the file and the page say it.
    let command = "kubectl patch configmap argocd-cm --namespace=argocd --patch-file=examples/argo-cd/argocd-cm.yaml";
    for said in ["examples/argo-cd/argocd-cm.yaml", "docs/gitops.md"] {
        assert!(read(said).contains(command), "{said}");
    }
    kubectl_ok(&command.split(' ').skip(1).collect::<Vec<_>>(), "").await;
    let merged = kubectl_ok(&["get", "configmap/argocd-cm", "--namespace=argocd", "-o", "json"], "").await;
    let merged: Value = serde_json::from_str(&merged.stdout).unwrap();
    assert_eq!(merged["data"]["url"], "https://argocd.example.com");
    assert_eq!(merged["data"][KEY], read("examples/argo-cd/health.lua"));
}

#[tokio::test]
async fn the_examples_are_what_argo_cd_flux_and_external_secrets_take() {
    let folder = tools().join("definitions");
    let mut definitions = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let definition = entry.unwrap().path();
        // Too large for the annotation of a client-side apply.
        let applied =
            kubectl_ok(&["apply", "--server-side", "-f", definition.to_str().unwrap(), "-o", "name"], "").await;
        let name = applied.stdout.trim().to_owned();
        kubectl_ok(&["wait", "--for=condition=Established", "--timeout=60s", &name], "").await;
        definitions += 1;
    }
    assert!(definitions >= 5, "{}", folder.display());
    for name in ["argocd", "flux-system", "mfa"] {
        namespace(name).await;
    }
    let check = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
    let mut kinds = Vec::new();
    for example in [
        "examples/argo-cd/applications.yaml",
        "examples/flux/operator.yaml",
        "examples/flux/servers.yaml",
        "examples/external-secrets/secrets.yaml",
    ] {
        let text = read(example);
        let taken = kubectl_ok(&check, &text).await;
        kinds.extend(taken.stdout.lines().filter_map(|line| Some(line.split_once('/')?.0.to_owned())));
        // What is misspelt is not.
        let wrong = text.replacen("spec:\n", "spec:\n  misspelt: true\n", 1);
        let refused = kubectl(&check, &wrong).await;
        assert!(!refused.ok && refused.stderr.contains("misspelt"), "{example}: {refused:?}");
    }
    kinds.sort();
    kinds.dedup();
    assert_eq!(
        kinds,
        [
            "application.argoproj.io",
            "externalsecret.external-secrets.io",
            "gitrepository.source.toolkit.fluxcd.io",
            "helmrelease.helm.toolkit.fluxcd.io",
            "kustomization.kustomize.toolkit.fluxcd.io",
        ]
    );
    // Every manifest of these folders is one of those above.
    for folder in ["examples/argo-cd", "examples/flux", "examples/external-secrets"] {
        for entry in std::fs::read_dir(file(folder)).unwrap() {
            let name = format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap());
            let known = [
                "examples/argo-cd/applications.yaml",
                "examples/argo-cd/argocd-cm.yaml",
                "examples/argo-cd/health.lua",
                "examples/flux/operator.yaml",
                "examples/flux/servers.yaml",
                "examples/external-secrets/secrets.yaml",
            ];
            assert!(known.contains(&&*name), "{name} is checked by nobody");
        }
    }
}
