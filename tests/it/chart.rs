//! The Helm chart: what it renders, what it refuses, and whether a real API server and the real operator get on with it.

mod generated;
mod install;
mod rights;
mod trust;
mod values;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::LazyLock,
};

use clap::Parser as _;
use mfa_operator::args::Arguments;
use serde_json::Value;
use tokio::process::Command;

use crate::{
    harness::{self, Answer, LIMIT, Namespace},
    operator,
};

/// Sets of values in charts/mfa-operator/ci.
const CASES: [&str; 12] = [
    "default",
    "closed-network",
    "closed-network-secrets",
    "extras",
    "high-availability",
    "least",
    "monitoring",
    "namespaced",
    "namespaced-shared",
    "no-secret-watch",
    "shared-created",
    "shared-existing",
];

/// The definitions of the Prometheus Operator, as far as the chart uses them.
const MONITORING: &str = include_str!("chart/monitoring.yaml");

fn file(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).to_str().unwrap().to_owned()
}

pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All templates, one after another.
fn templates() -> String {
    let folder = std::fs::read_dir(file("charts/mfa-operator/templates")).unwrap();
    folder.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
}

/// Without what some editors do not like.
fn text(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

/// The real helm, without a cluster, in the repository's folder.
async fn helm(arguments: &[&str]) -> Answer {
    static HOME: LazyLock<PathBuf> = LazyLock::new(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("helm"));
    let binaries = std::env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty());
    let binaries = binaries.expect(
        "this test needs helm: run `make test`, or set KUBEBUILDER_ASSETS to the folder that `make tools` prints",
    );
    let mut command = Command::new(Path::new(&binaries).join("helm"));
    command
        .env("HOME", &*HOME)
        .env("HELM_CACHE_HOME", HOME.join("cache"))
        .env("HELM_CONFIG_HOME", HOME.join("config"))
        .env("HELM_DATA_HOME", HOME.join("data"))
        .env("KUBECONFIG", HOME.join("no-such-kubeconfig"));
    answer(command, arguments).await
}

/// Runs a command in the repository's folder.
pub(crate) async fn answer(mut command: Command, arguments: &[&str]) -> Answer {
    let command =
        command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output()).await.expect("the command's end").expect("the command");
    Answer {
        ok: output.status.success(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The manifests of a case, and of more arguments.
pub(crate) async fn render(case: &str, namespace: &str, more: &[&str]) -> String {
    let values = format!("charts/mfa-operator/ci/{case}-values.yaml");
    let namespace = format!("--namespace={namespace}");
    let arguments = ["template", "mfa", "charts/mfa-operator", &namespace, "--values", &values];
    let answer = helm(&[&arguments, more].concat()).await;
    assert!(answer.ok, "{case}: {answer:?}");
    answer.stdout
}

/// The documents of a stream of YAML.
fn documents(yaml: &str) -> Vec<String> {
    let parts = format!("\n{yaml}");
    parts
        .split("\n---\n")
        .map(text)
        .filter(|part| part.lines().any(|line| !line.starts_with('#') && !line.is_empty()))
        .collect()
}

fn objects(yaml: &str) -> Vec<Value> {
    documents(yaml).iter().map(|document| serde_saphyr::from_str(document).unwrap()).collect()
}

pub(crate) fn of_kind(yaml: &str, kind: &str) -> Value {
    objects(yaml).into_iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind} in:\n{yaml}"))
}

/// The operator's arguments in these manifests.
fn arguments(deployment: &Value) -> Vec<String> {
    let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    arguments.as_array().unwrap().iter().map(|argument| argument.as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_version_of_the_app_is_the_operators() {
    let chart: Value = serde_saphyr::from_str(&read("charts/mfa-operator/Chart.yaml")).unwrap();
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"), "appVersion in Chart.yaml");
}

#[test]
fn every_case_is_tested() {
    let folder = std::fs::read_dir(file("charts/mfa-operator/ci")).unwrap();
    let mut found: Vec<_> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let mut wanted = CASES.map(|case| format!("{case}-values.yaml"));
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn helm_finds_nothing_to_complain_of() {
    for case in CASES {
        let values = format!("charts/mfa-operator/ci/{case}-values.yaml");
        let answer = helm(&["lint", "--strict", "charts/mfa-operator", "--values", &values]).await;
        assert!(answer.ok, "{case}: {answer:?}");
        assert!(!answer.stdout.contains("[WARNING]"), "{case}: {answer:?}");
    }
}

#[tokio::test]
async fn values_that_cannot_be_meant_are_refused_with_a_sentence() {
    let refused = [
        // The schema: names that do not exist, and values of another kind.
        ("replica=2", "additional properties 'replica' not allowed"),
        ("api.urls=https://a", "additional properties 'urls' not allowed"),
        ("leaderElection.enable=true", "additional properties 'enable' not allowed"),
        ("image.repo=a", "additional properties 'repo' not allowed"),
        ("livenessProbe.path=/", "additional properties 'path' not allowed"),
        ("api.qps=many", "at '/api/qps': got string, want integer"),
        ("api.maxInFlight=0", "at '/api/maxInFlight': minimum: got 0, want 1"),
        ("concurrency=1025", "at '/concurrency': maximum: got 1,025, want 1,024"),
        ("crds.install=no-thanks", "at '/crds/install': got string, want boolean"),
        ("defaultDeletionPolicy=Keep", "at '/defaultDeletionPolicy': value must be one of 'Delete', 'Retain'"),
        ("log.format=xml", "at '/log/format': value must be one of 'text', 'json'"),
        ("resyncInterval=10", "at '/resyncInterval': got number, want string"),
        ("resyncInterval=soon", "at '/resyncInterval': 'soon' does not match pattern"),
        ("api.url=api.example.com", "at '/api/url': 'api.example.com' does not match pattern"),
        ("image.repository=a:1", "at '/image/repository': 'a:1' does not match pattern"),
        ("image.digest=latest", "at '/image/digest': 'latest' does not match pattern"),
        ("credentialsSecret=No_Secret", "at '/credentialsSecret': 'No_Secret' does not match pattern"),
        ("sharedCredentials.tsgId=1234567890", "at '/sharedCredentials/tsgId': got number, want string"),
        ("commonLabels.cost=7", "at '/commonLabels/cost': got number, want string"),
        ("prometheusRule.disabled={Down}", "at '/prometheusRule/disabled/0': value must be one of 'MfaOperatorDown', "),
        ("prometheusRule.runbookUrl=a#b", "at '/prometheusRule/runbookUrl': 'a#b' does not match pattern"),
        ("grafanaDashboard.enable=true", "additional properties 'enable' not allowed"),
        ("http.port=80", "at '/http/port': minimum: got 80, want 1,024"),
        // The templates: what does not go together.
        ("replicas=2,leaderElection.enabled=false", "two operators would write to the same tenants"),
        ("sharedCredentials.secretName=a", "name the namespaces that the shared credentials serve"),
        ("sharedCredentials.namespaces={a}", "sharedCredentials.namespaces is set, but no Secret"),
        ("sharedCredentials.namespaces={a},sharedCredentials.create=true", "needs either token, or clientId"),
        (
            "sharedCredentials.namespaces={a},sharedCredentials.create=true,sharedCredentials.token=t,sharedCredentials.clientId=c",
            "needs either token, or clientId",
        ),
        ("sharedCredentials.token=t", "sharedCredentials.create is false, so they would not be used"),
        ("caBundle.configMap=a,caBundle.secret=b", "caBundle.configMap and caBundle.secret are both set"),
        ("caBundle.exclusive=true", "nothing would be trusted"),
        ("proxy.existingSecret=a,proxy.noProxy=b", "proxy.existingSecret is set together with"),
        ("watchNamespaces=a", "at '/watchNamespaces': got string, want array"),
        ("watchNamespaces={a.b}", "at '/watchNamespaces/0': 'a.b' does not match pattern"),
        ("secrets.watch=perhaps", "at '/secrets/watch': got string, want boolean"),
        (
            "watchNamespaces={a},sharedCredentials.namespaces={b},sharedCredentials.secretName=c",
            "sharedCredentials.namespaces names b, which watchNamespaces leaves out",
        ),
        ("serviceMonitor.enabled=true,service.enabled=false", "serviceMonitor.enabled needs service.enabled"),
        ("podDisruptionBudget.minAvailable=0,podDisruptionBudget.maxUnavailable=0", "are both set: choose one"),
    ];
    for (values, sentence) in refused {
        let answer = helm(&["template", "mfa", "charts/mfa-operator", "--set", values]).await;
        assert!(!answer.ok && answer.stderr.contains(sentence), "--set {values}: {answer:?}");
    }
}

/// They are fenced as `yml`; what is fenced as `yaml` in a document is a manifest.
#[tokio::test]
async fn the_recipes_of_the_readme_are_values() {
    let page = read("charts/mfa-operator/README.md");
    let recipes: Vec<_> = page.split("```yml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(recipes.len() >= 3);
    for (number, recipe) in recipes.into_iter().enumerate() {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("recipe-{number}.yaml"));
        std::fs::write(&path, recipe).unwrap();
        let answer = helm(&["template", "mfa", "charts/mfa-operator", "--values", path.to_str().unwrap()]).await;
        assert!(answer.ok, "{answer:?}\n{recipe}");
    }
}

#[tokio::test]
async fn an_umbrella_chart_may_include_it() {
    let answer = helm(&["template", "mfa", "charts/mfa-operator", "--set", "enabled=true,global.team=network"]).await;
    assert!(answer.ok, "{answer:?}");
}

#[tokio::test]
async fn the_operator_takes_the_arguments_and_has_the_same_defaults() {
    let output = operator::operator().args(["run", "--help"]).output().await.unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let words: Vec<_> = help.split_whitespace().collect();
    for case in CASES {
        let given = arguments(&of_kind(&render(case, "mfa-system", &[]).await, "Deployment"));
        assert_eq!(given[0], "run");
        for argument in &given[1..] {
            let flag = argument.split('=').next().unwrap();
            let optional = format!("{flag}[=");
            assert!(words.iter().any(|word| *word == flag || word.starts_with(&optional)), "{case}: {flag}");
        }
        let known = given.iter().map(String::as_str);
        if let Err(error) = Arguments::try_parse_from(std::iter::once("mfa-operator").chain(known)) {
            panic!("{case}: {error}");
        }
    }

    let yaml = render("default", "mfa-system", &["--set", "leaderElection.enabled=false"]).await;
    let given = arguments(&of_kind(&yaml, "Deployment"));
    let known = given.iter().map(String::as_str);
    let parsed = Arguments::parse_from(std::iter::once("mfa-operator").chain(known));
    let usual = Arguments::parse_from(["mfa-operator", "run"]);
    assert_eq!(format!("{:?}", parsed.run), format!("{:?}", usual.run), "values.yaml and the flags' own defaults");
}

/// The namespace of a test, on a control plane that knows the kinds of the Prometheus Operator.
async fn monitored() -> Namespace {
    let namespace = harness::namespace().await;
    let answer = namespace.kubectl_with(&["apply", "--server-side", "--force-conflicts", "-f", "-"], MONITORING).await;
    assert!(answer.ok, "{answer:?}");
    let answer =
        namespace.kubectl_with(&["wait", "--for=condition=established", "--timeout=60s", "-f", "-"], MONITORING).await;
    assert!(answer.ok, "{answer:?}");
    namespace
}

#[tokio::test]
async fn an_api_server_accepts_every_manifest() {
    let namespace = monitored().await;
    for case in CASES {
        let yaml = render(case, &namespace.name, &[]).await;
        // Whoever wants Roles elsewhere has the namespaces.
        for other in objects(&yaml).iter().filter_map(|object| object["metadata"]["namespace"].as_str()) {
            let exists = namespace.kubectl(&["get", "namespace", other]).await.ok;
            let made = exists || namespace.kubectl(&["create", "namespace", other]).await.ok;
            assert!(made || namespace.kubectl(&["get", "namespace", other]).await.ok, "{other}");
        }
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{case}.yaml", namespace.name));
        std::fs::write(&file, &yaml).unwrap();
        let file = file.to_str().unwrap();
        let arguments = ["apply", "--dry-run=server", "--validate=strict", "-o", "name", "-f", file];
        // Kinds of a definition that is established are served a moment later.
        let begin = std::time::Instant::now();
        let answer = loop {
            // Not told a namespace, for some have several.
            let answer = answer(namespace.cluster.control_plane.kubectl(), &arguments).await;
            if answer.ok || !answer.stderr.contains("no matches for kind") || begin.elapsed() > LIMIT {
                break answer;
            }
        };
        assert!(answer.ok, "{case}: {answer:?}");
        assert_eq!(answer.stdout.lines().count(), objects(&yaml).len(), "{case}: {answer:?}");
        // A warning is about a field that does not exist, is given twice, or is on its way out.
        let warnings: Vec<_> =
            answer.stderr.lines().filter(|line| !line.contains("last-applied-configuration")).collect();
        assert!(warnings.is_empty(), "{case}: {warnings:?}");
    }
}

#[tokio::test]
async fn pods_pass_the_restricted_standard() {
    let namespace = harness::namespace().await;
    let level = "pod-security.kubernetes.io/enforce=restricted";
    let answer = namespace.kubectl(&["label", "namespace", &namespace.name, level]).await;
    assert!(answer.ok, "{answer:?}");
    let admitted = async |yaml: &str| {
        let template = of_kind(yaml, "Deployment")["spec"]["template"].clone();
        let mut pod = template;
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        pod["metadata"]["name"] = "pod".into();
        // No scheduling class of the case is there to be found.
        pod["spec"].as_object_mut().unwrap().remove("priorityClassName");
        namespace.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &pod.to_string()).await
    };
    for case in CASES {
        let answer = admitted(&render(case, &namespace.name, &[]).await).await;
        assert!(answer.ok, "{case}: {answer:?}");
    }
    // And the standard is in force.
    let lax = render("default", &namespace.name, &["--set", "securityContext.allowPrivilegeEscalation=true"]).await;
    let answer = admitted(&lax).await;
    assert!(!answer.ok && answer.stderr.contains("allowPrivilegeEscalation"), "{answer:?}");
}
