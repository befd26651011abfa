//! What a tool that compares Git with the cluster sees: nothing that it has not put there itself.

use mfa_sandbox::simulator::Options;
use serde_json::{Value, json};

use super::read;
use crate::{
    harness,
    operator::{OKTA_TOKEN, Stage, TENANT, TOKEN, okta, okta_with},
};

/// The examples, of which each leaves out what the definition sets by default.
const EXAMPLES: [&str; 4] = ["okta-adaptive", "duo-security", "ping-identity", "rsa-securid-access"];
const FLUX: &str = "--field-manager=kustomize-controller";

/// What `kubectl diff` shows; it ends with 0 where there is nothing, and with 1 where there is something.
async fn differs(stage: &Stage, words: &[&str], manifest: &str) -> Option<String> {
    let answer = stage.namespace.kubectl_with(&[&["diff", "-f", "-"], words].concat(), manifest).await;
    if !answer.ok {
        assert!(answer.stdout.contains("diff "), "kubectl diff needs `diff` (Debian: diffutils): {answer:?}");
    }
    (!answer.ok).then_some(answer.stdout)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_differs_from_git_after_an_apply_before_and_after_the_operator_has_worked() {
    let stage = Stage::with(Options::single(TENANT, TOKEN)).await;
    let apply: &[&str] = &["apply", "-f", "-"];
    let ways: [(&str, &[&str]); 2] = [("client", &[]), ("server", &["--server-side", FLUX])];
    // Two resources for each example, one by either way of applying, which are different objects in the tenant.
    let manifests: Vec<(String, &[&str], String)> = EXAMPLES
        .iter()
        .flat_map(|example| ways.map(|(way, words)| (*example, way, words)))
        .map(|(example, way, words)| {
            let name = format!("{example}-{way}");
            let manifest = read(&format!("examples/{example}.yaml"));
            let (named, plain) = (format!("  name: {example}\n"), format!("  name: {name}\n"));
            assert!(manifest.contains(&named), "{example}");
            let manifest = manifest.replace(&named, &plain).replace("RSA SecurID Access #", &format!("RSA {way} #"));
            (name, words, manifest)
        })
        .collect();
    for (name, words, manifest) in &manifests {
        let applied = stage.namespace.kubectl_with(&[apply, *words].concat(), manifest).await;
        // The Secret of an example stands in both manifests, with the same value.
        let conflict = applied.stderr.contains("conflict");
        let applied = if conflict {
            stage.namespace.kubectl_with(&[apply, *words, &["--force-conflicts"]].concat(), manifest).await
        } else {
            applied
        };
        assert!(applied.ok, "{name}: {applied:?}");
    }
    let servers = |manifest: &str| manifest.rsplit("---\n").next().unwrap().to_owned();
    for (name, words, manifest) in &manifests {
        assert_eq!(differs(&stage, words, &servers(manifest)).await, None, "{name}, before");
    }
    let _operator = stage.operator().start();
    for (name, words, manifest) in &manifests {
        let server = stage.wait_ready(name, "True", "Available").await;
        assert!(server.metadata.finalizers.is_some_and(|finalizers| finalizers.len() == 1));
        assert_eq!(differs(&stage, words, &servers(manifest)).await, None, "{name}, after");
    }
    // A difference would be seen.
    let (name, words, manifest) = &manifests[1];
    let changed = servers(manifest).replace("mfaCertProfile: corp-ca", "mfaCertProfile: another-ca");
    let shown = differs(&stage, words, &changed).await.unwrap_or_else(|| panic!("{name}: nothing was seen"));
    assert!(shown.contains("+  mfaCertProfile: another-ca"), "{shown}");
    // And to apply it again is no write: as the tools do at each of their intervals.
    for (name, words, manifest) in &manifests {
        let before = super::shown(&stage.namespace, name).await;
        let again = stage.namespace.kubectl_with(&[apply, *words].concat(), &servers(manifest)).await;
        assert!(again.ok, "{again:?}");
        let after = super::shown(&stage.namespace, name).await;
        let version = |server: &Value| server["metadata"]["generation"].clone();
        assert_eq!(version(&before), version(&after), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_may_come_after_the_resource_in_any_order_and_be_written_anew_without_a_change() {
    let stage = Stage::new().await;
    let operator = stage.operator().start();
    let server = |name: &str| {
        let mut server = okta_with(name, &json!({ "credentialsSecretRef": { "name": format!("{name}-credentials") } }));
        let vendor = format!("{name}-vendor");
        server["spec"]["mfaVendorType"]["oktaAdaptiveV1"]["oktaToken"]["secretKeyRef"]["name"] = json!(vendor);
        server
    };
    for (name, order) in [("one", ["credentials", "vendor"]), ("two", ["vendor", "credentials"])] {
        stage.apply(&server(name)).await;
        stage.wait_ready(name, "False", "SecretNotFound").await;
        for (step, which) in order.into_iter().enumerate() {
            let value = if which == "credentials" { TOKEN } else { OKTA_TOKEN };
            stage.secret(&format!("{name}-{which}"), &[("token", value)]).await;
            if step == 0 {
                let missing = format!("\"{name}-{}\"", order[1]);
                let names = |server: &mfa_operator::crd::MfaServer| {
                    let ready = crate::operator::condition(server, "Ready");
                    ready.is_some_and(|ready| ready.reason == "SecretNotFound" && ready.message.contains(&missing))
                };
                stage.wait(name, "waiting for the other Secret", names).await;
            }
        }
        stage.wait_ready(name, "True", "Available").await;
    }
    // A refresh writes the same value, with an annotation that differs.
    let refreshed = stage.namespace.kubectl(&["annotate", "secret/one-vendor", "refreshed-at=noon"]).await;
    assert!(refreshed.ok, "{refreshed:?}");
    let version = stage.namespace.kubectl(&["get", "secret/one-vendor", "-o", "jsonpath={.metadata.resourceVersion}"]);
    let version = version.await.stdout;
    let observed = |server: &mfa_operator::crd::MfaServer| {
        let secrets = server.status.iter().flat_map(|status| &status.observed_secrets);
        secrets.into_iter().any(|secret| secret.name == "one-vendor" && secret.resource_version == version)
    };
    stage.wait("one", "aware of the refreshed Secret", observed).await;
    let puts = stage.simulator.log().entries().iter().filter(|entry| entry.method == "PUT").count();
    assert_eq!(puts, 0, "the same value was written again");
    assert_eq!(operator.terminate().await.code(), Some(0));
}

#[tokio::test]
async fn two_tools_on_one_field_are_told_and_on_two_fields_they_get_on() {
    let namespace = harness::namespace().await;
    let apply = |words: &[&str], server: Value| {
        let words: Vec<String> =
            ["apply", "--server-side", "-f", "-"].iter().chain(words).map(ToString::to_string).collect();
        let namespace = &namespace;
        async move {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            namespace.kubectl_with(&words, &server.to_string()).await
        }
    };
    let flux = apply(&[FLUX, "--force-conflicts"], okta("corp")).await;
    assert!(flux.ok, "{flux:?}");
    let other = okta_with("corp", &json!({ "mfaCertProfile": "another-ca" }));
    let person = apply(&["--field-manager=a-person"], other.clone()).await;
    let told = ["conflict", "\"kustomize-controller\"", ".spec.mfaCertProfile"];
    assert!(!person.ok && told.iter().all(|word| person.stderr.contains(word)), "{person:?}");
    let mut vendor = okta("corp");
    vendor["spec"]["mfaVendorType"]["oktaAdaptiveV1"]["oktaTimeout"] = json!(60);
    let person = apply(&["--field-manager=a-person"], vendor).await;
    assert!(!person.ok && person.stderr.contains(".spec.mfaVendorType"), "{person:?}");
    // As Argo CD does it.
    let argo = apply(&["--field-manager=argocd-controller", "--force-conflicts"], other).await;
    assert!(argo.ok, "{argo:?}");
    assert_eq!(super::shown(&namespace, "corp").await["spec"]["mfaCertProfile"], "another-ca");

    let patched =
        namespace.kubectl(&["patch", "mfaserver/corp", "--type=merge", "-p", r#"{"spec":{"suspend":true}}"#]).await;
    assert!(patched.ok, "{patched:?}");
    let flux = apply(&[FLUX, "--force-conflicts"], okta("corp")).await;
    assert!(flux.ok, "{flux:?}");
    let spec = super::shown(&namespace, "corp").await["spec"].clone();
    assert_eq!((&spec["suspend"], &spec["mfaCertProfile"]), (&json!(true), &json!("corp-ca")));
}
