//! The rights that the chart gives: enough for the real operator, and no more.

use serde_json::json;

use super::{answer, arguments, of_kind, read, templates};
use crate::{
    harness::{self, Namespace},
    operator::{Stage, okta},
};

/// Installs the chart into this namespace, under a name of its own, and returns its manifests.
async fn install(namespace: &Namespace, values: &[String]) -> String {
    let mut words = vec![
        "install",
        &namespace.name,
        "charts/mfa-operator",
        "--namespace",
        &namespace.name,
        "--set=crds.install=false",
        "--set=fullnameOverride=mfa",
    ];
    words.extend(values.iter().map(String::as_str));
    let installed = answer(namespace.cluster.control_plane.helm(), &words).await;
    assert!(installed.ok, "{installed:?}");
    let words = ["get", "manifest", &namespace.name, "--namespace", &namespace.name];
    answer(namespace.cluster.control_plane.helm(), &words).await.stdout
}

/// Whether this user may do that, in this namespace or the one that `--namespace` names.
async fn may(namespace: &Namespace, user: &str, what: &[&str]) -> bool {
    let words = [&["auth", "can-i", "--quiet", "--as", user], what].concat();
    namespace.kubectl(&words).await.ok
}

#[tokio::test]
async fn the_operator_may_do_what_it_does_and_nothing_else() {
    let namespace = harness::namespace().await;
    install(&namespace, &[]).await;
    let account = format!("system:serviceaccount:{}:mfa", namespace.name);
    let definition = "customresourcedefinitions.apiextensions.k8s.io/mfaservers.sse.mfa-operator.io";
    let allowed: &[&[&str]] = &[
        &["get", "mfaservers"],
        &["list", "mfaservers", "--all-namespaces"],
        &["watch", "mfaservers", "--all-namespaces"],
        &["patch", "mfaservers", "--namespace=default"],
        &["patch", "mfaservers", "--subresource=status", "--namespace=default"],
        &["get", "secrets", "--namespace=default"],
        &["list", "secrets", "--all-namespaces"],
        &["watch", "secrets", "--all-namespaces"],
        &["create", "events.events.k8s.io", "--namespace=default"],
        &["patch", "events.events.k8s.io", "--namespace=default"],
        &["get", definition],
        &["create", "leases.coordination.k8s.io"],
        &["get", "leases.coordination.k8s.io/mfa"],
        &["list", "leases.coordination.k8s.io/mfa"],
        &["watch", "leases.coordination.k8s.io/mfa"],
        &["update", "leases.coordination.k8s.io/mfa"],
    ];
    for what in allowed {
        assert!(may(&namespace, &account, what).await, "{what:?} is not allowed");
    }
    let forbidden: &[&[&str]] = &[
        &["create", "mfaservers"],
        &["update", "mfaservers"],
        &["delete", "mfaservers"],
        &["update", "mfaservers", "--subresource=status"],
        &["create", "secrets"],
        &["patch", "secrets"],
        &["update", "secrets"],
        &["delete", "secrets"],
        &["get", "configmaps"],
        &["get", "pods"],
        &["delete", "events.events.k8s.io"],
        &["get", "customresourcedefinitions.apiextensions.k8s.io/other"],
        &["list", "customresourcedefinitions.apiextensions.k8s.io"],
        &["patch", definition],
        &["delete", definition],
        &["get", "leases.coordination.k8s.io/other"],
        &["update", "leases.coordination.k8s.io/other"],
        &["delete", "leases.coordination.k8s.io/mfa"],
        &["create", "leases.coordination.k8s.io", "--namespace=default"],
        &["update", "leases.coordination.k8s.io/mfa", "--namespace=default"],
        &["impersonate", "users"],
    ];
    for what in forbidden {
        assert!(!may(&namespace, &account, what).await, "{what:?} is allowed");
    }
}

#[tokio::test]
async fn the_roles_for_people_tell_who_may_look_and_who_may_change() {
    let namespace = harness::namespace().await;
    install(&namespace, &[]).await;
    for (user, roles) in [("looker", &["view"][..]), ("editor", &["view", "edit"])] {
        for role in roles {
            let clusterrole = format!("--clusterrole={}:mfa:{role}", namespace.name);
            let (name, user) = (format!("{user}-{role}"), format!("--user={user}"));
            let answer = namespace.kubectl(&["create", "rolebinding", &name, &clusterrole, &user]).await;
            assert!(answer.ok, "{answer:?}");
        }
    }
    // The controller manager, which does not run here, adds them by their labels.
    for (role, to) in [("view", &["view", "edit", "admin"][..]), ("edit", &["edit", "admin"])] {
        let name = format!("{}:mfa:{role}", namespace.name);
        let found = namespace.kubectl(&["get", "clusterrole", &name, "-o", "jsonpath={.metadata.labels}"]).await;
        let labels: serde_json::Value = serde_json::from_str(&found.stdout).unwrap();
        for of in ["view", "edit", "admin"] {
            let label = &labels[format!("rbac.authorization.k8s.io/aggregate-to-{of}")];
            assert_eq!(label == "true", to.contains(&of), "{role} to {of}: {label}");
        }
    }
    for verb in ["get", "list", "watch"] {
        assert!(may(&namespace, "looker", &[verb, "mfaservers"]).await, "{verb}");
    }
    for verb in ["create", "update", "patch", "delete", "deletecollection"] {
        assert!(may(&namespace, "editor", &[verb, "mfaservers"]).await, "{verb}");
        assert!(!may(&namespace, "looker", &[verb, "mfaservers"]).await, "{verb}");
    }
    for user in ["looker", "editor"] {
        assert!(may(&namespace, user, &["get", "mfaservers", "--subresource=status"]).await, "{user}");
        assert!(!may(&namespace, user, &["patch", "mfaservers", "--subresource=status"]).await, "{user}");
        assert!(!may(&namespace, user, &["get", "secrets"]).await, "{user}");
    }
}

/// The real operator under the chart's rights and arguments, through the life of a resource, and not one call refused.
async fn lives(values: &[&str]) {
    let stage = Stage::new().await;
    let namespace = &stage.namespace.name;
    let mut all = vec![
        format!("--set=api.url={}", stage.simulator.url()),
        format!("--set=api.authUrl={}", stage.simulator.auth_url()),
        "--set=log.format=json,api.requestTimeout=2s,resyncInterval=10s".to_owned(),
    ];
    all.extend(values.iter().map(|value| value.replace("NAMESPACE", namespace)));
    let manifest = install(&stage.namespace, &all).await;
    let kubeconfig = stage.kubeconfig_of("mfa").await;
    let mut launch = stage.operator().kubeconfig(&kubeconfig);
    // The port of the pod may be taken here.
    let given = arguments(&of_kind(&manifest, "Deployment"));
    let given = given.iter().skip(1).filter(|argument| !argument.starts_with("--http-addr="));
    for argument in given {
        let (flag, value) = argument.split_once('=').unwrap_or((argument, ""));
        // A yes or no takes its value with it.
        launch = if flag == "--watch-secrets" { launch.flag(argument, "") } else { launch.flag(flag, value) };
    }
    let operator = launch.start();
    stage.apply(&okta("corp")).await;
    stage.wait_ready("corp", "True", "Available").await;
    assert_eq!(stage.tenant.objects().len(), 1);
    let holder = stage.namespace.kubectl(&["get", "lease", "mfa", "-o", "jsonpath={.spec.holderIdentity}"]).await;
    assert!(holder.ok && !holder.stdout.is_empty(), "{holder:?}");

    stage.patch("corp", &json!({ "spec": { "mfaVendorType": { "oktaAdaptiveV1": { "oktaTimeout": 60 } } } })).await;
    stage.wait_ready("corp", "True", "Available").await;
    stage.delete_secret("vendor").await;
    stage.annotate("corp", "sse.mfa-operator.io/reconcile-requested-at", "now").await;
    stage
        .wait("corp", "looked at", |server| {
            server.status.as_ref().is_some_and(|status| status.last_handled_reconcile_at.as_deref() == Some("now"))
        })
        .await;
    stage.delete("corp").await;
    stage.wait_gone("corp").await;
    assert!(stage.tenant.objects().is_empty());
    assert!(!stage.events().await.is_empty(), "no event was allowed");

    let log = operator.log().clone();
    assert_eq!(operator.terminate().await.code(), Some(0));
    let holder = stage.namespace.kubectl(&["get", "lease", "mfa", "-o", "jsonpath={.spec.holderIdentity}"]).await;
    assert_eq!((holder.ok, holder.stdout.as_str()), (true, ""), "the lease was not released");
    let refusals: Vec<_> =
        log.text().lines().filter(|line| line.to_lowercase().contains("forbidden")).map(str::to_owned).collect();
    assert!(refusals.is_empty(), "{refusals:#?}");
}

#[tokio::test]
async fn the_operator_lives_on_the_charts_rights_and_arguments() {
    lives(&[]).await;
}

#[tokio::test]
async fn the_operator_lives_on_roles_alone() {
    lives(&["--set=watchNamespaces={NAMESPACE},rbac.readDefinition=false"]).await;
}

#[tokio::test]
async fn the_operator_lives_on_getting_secrets_alone() {
    lives(&["--set=watchNamespaces={NAMESPACE},secrets.watch=false"]).await;
}

#[tokio::test]
async fn in_some_namespaces_it_may_do_what_it_does_and_elsewhere_nothing() {
    let namespace = harness::namespace().await;
    let (watched, apart) = (namespace.cluster.namespace().await, namespace.cluster.namespace().await);
    let values = [
        format!("--set=watchNamespaces={{{}}},secrets.watch=false", watched.name),
        format!("--set=sharedCredentials.namespaces={{{}}},sharedCredentials.secretName=tenant", watched.name),
        format!("--set=sharedCredentials.secretNamespace={}", apart.name),
    ];
    install(&namespace, &values).await;
    let account = format!("system:serviceaccount:{}:mfa", namespace.name);
    let watched = format!("--namespace={}", watched.name);
    let apart = format!("--namespace={}", apart.name);
    let definition = "customresourcedefinitions.apiextensions.k8s.io/mfaservers.sse.mfa-operator.io";
    let allowed: &[&[&str]] = &[
        &["list", "mfaservers", &watched],
        &["watch", "mfaservers", &watched],
        &["patch", "mfaservers", &watched],
        &["patch", "mfaservers", "--subresource=status", &watched],
        &["get", "secrets", &watched],
        &["create", "events.events.k8s.io", &watched],
        &["get", "secrets/tenant", &apart],
        &["get", definition],
        &["update", "leases.coordination.k8s.io/mfa"],
    ];
    for what in allowed {
        assert!(may(&namespace, &account, what).await, "{what:?} is not allowed");
    }
    let forbidden: &[&[&str]] = &[
        &["list", "secrets", &watched],
        &["watch", "secrets", &watched],
        &["list", "secrets", "--all-namespaces"],
        &["list", "mfaservers", "--all-namespaces"],
        &["watch", "mfaservers", "--all-namespaces"],
        &["get", "secrets/other", &apart],
        &["list", "secrets", &apart],
        &["list", "mfaservers", &apart],
        &["get", "mfaservers", &apart],
        &["list", "mfaservers"],
        &["get", "secrets"],
        &["get", "secrets", "--namespace=default"],
        &["create", "events.events.k8s.io", "--namespace=default"],
        &["create", "leases.coordination.k8s.io", &watched],
    ];
    for what in forbidden {
        assert!(!may(&namespace, &account, what).await, "{what:?} is allowed");
    }
}

#[test]
fn the_documents_tell_the_same_rights() {
    // Each rule of the chart stands in docs/operations.md, which is for those who install without the chart.
    let (operations, chart) = (read("docs/operations.md"), templates());
    for rule in
        ["verbs: [get, list, watch, patch]", "resources: [mfaservers/status]", "verbs: [get, list, watch, update]"]
    {
        assert!(operations.contains(rule) && chart.contains(rule), "{rule}");
    }
}
