//! Some namespaces alone are looked after, with rights in them alone; and Secrets that may be read and not watched.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kube::{
    Api,
    api::{Patch, PatchParams},
};
use mfa_operator::crd::MfaServer;
use mfa_sandbox::simulator::{Folder, Options, TenantOptions, TokenShape};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::admin::{address, get, scraped};
use crate::harness::{LIMIT, Namespace};
use crate::operator::{Log, Operator, Stage, TENANT, TOKEN, furnish, okta, okta_with};

const OTHER_TENANT: &str = "1000000002";
const OTHER_TOKEN: &str = "the-bearer-token-of-the-second-tenant";

/// How often is looked again at what tells no changes.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What the operator needs in a namespace that it looks after; of Secrets, these verbs.
fn role(secrets: &str) -> String {
    format!(
        "rules:
- {{apiGroups: [sse.mfa-operator.io], resources: [mfaservers], verbs: [get, list, watch, patch]}}
- {{apiGroups: [sse.mfa-operator.io], resources: [mfaservers/status], verbs: [patch]}}
- {{apiGroups: [\"\"], resources: [secrets], verbs: [{secrets}]}}
- {{apiGroups: [events.k8s.io], resources: [events], verbs: [create, patch]}}
"
    )
}

/// Gives the account of the stage rights in this namespace.
async fn allow(stage: &Stage, namespace: &str, rules: &str) {
    let mut manifest = String::new();
    let account = &stage.namespace.name;
    write!(
        manifest,
        "apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: {account}, namespace: {namespace}}}
{rules}---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {account}, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {account}}}
subjects: [{{kind: ServiceAccount, name: limited, namespace: {account}}}]
"
    )
    .unwrap();
    let file = stage.namespace.cluster.control_plane.kubeconfig().with_file_name(format!("{namespace}-role.yaml"));
    std::fs::write(&file, manifest).unwrap();
    let words = ["apply", "-f", file.to_str().unwrap()];
    let answer = crate::chart::answer(stage.namespace.cluster.control_plane.kubectl(), &words).await;
    assert!(answer.ok, "{answer:?}");
}

/// A kubeconfig of an account that has these rights in these namespaces, and no others.
async fn limited(stage: &Stage, rights: &[(&str, &str)]) -> PathBuf {
    let answer = stage.namespace.kubectl(&["create", "serviceaccount", "limited"]).await;
    assert!(answer.ok, "{answer:?}");
    for (namespace, rules) in rights {
        allow(stage, namespace, rules).await;
    }
    stage.kubeconfig_of("limited").await
}

async fn apply(namespace: &Namespace, server: &Value) {
    let api: Api<MfaServer> = namespace.api();
    let name = server["metadata"]["name"].as_str().unwrap();
    api.patch(name, &PatchParams::apply("tests").force(), &Patch::Apply(server)).await.expect("a resource");
}

async fn wait_reason(stage: &Stage, namespace: &Namespace, name: &str, reason: &str) -> MfaServer {
    let path = format!("--for=jsonpath={{.status.conditions[?(@.type==\"Ready\")].reason}}={reason}");
    let waited = namespace.kubectl(&["wait", "mfaserver", name, &path, "--timeout=55s"]).await;
    assert!(waited.ok, "{name} does not become {reason}: {waited:?}{}", stage.log_ends());
    namespace.api::<MfaServer>().get(name).await.expect("the resource")
}

/// Nothing was refused: neither is there a word of it in the log, nor has a watch failed.
async fn nothing_was_refused(operator: &Operator) {
    let text = operator.log().text();
    let refused: Vec<&str> = text.lines().filter(|line| line.to_lowercase().contains("forbidden")).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let metrics = scraped(operator).await;
    let failed = metrics.lines().filter(|line| line.starts_with("mfa_operator_watch_errors_total"));
    let failed: Vec<&str> = failed.filter(|line| !line.ends_with(" 0")).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

/// Waits until `/readyz` says this.
async fn wait_readiness(operator: &Operator, status: u16, part: &str) {
    let address = address(operator).await;
    let begin = Instant::now();
    loop {
        let (found, text) = get(address, "/readyz").await;
        if found == status && text.contains(part) {
            return;
        }
        assert!(begin.elapsed() < LIMIT * 2, "{found} {text}, not {status} {part}:\n{}", operator.log().end());
        sleep(LOOK_AGAIN).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_named_namespaces_are_looked_after_and_rights_in_them_are_enough() {
    let stage = Stage::new().await;
    let (second, unwatched) = (stage.namespace.cluster.namespace().await, stage.namespace.cluster.namespace().await);
    for namespace in [&second, &unwatched] {
        furnish(namespace, TOKEN).await;
    }
    let rules = role("get, list, watch");
    let kubeconfig = limited(&stage, &[(&stage.namespace.name, &rules), (&second.name, &rules)]).await;
    apply(&unwatched, &okta("left-alone")).await;
    let operator = stage
        .operator()
        .kubeconfig(&kubeconfig)
        .flag("--watch-namespace", &format!("{},{}", stage.namespace.name, second.name))
        .start();
    stage.apply(&okta("corp")).await;
    stage.wait_ready("corp", "True", "Available").await;
    apply(&second, &okta("second")).await;
    wait_reason(&stage, &second, "second", "Available").await;
    wait_readiness(&operator, 200, "ok").await;

    // A Secret of the second namespace wakes its resource.
    let patch = r#"{"stringData":{"token":"changed-okta-token"}}"#;
    assert!(second.kubectl(&["patch", "secret", "vendor", "--type=merge", "-p", patch]).await.ok);
    wait_sent(&stage, "second", "changed-okta-token").await;

    // The definition may not be seen: then `deletionPolicy` says what becomes of the object.
    stage.delete("corp").await;
    stage.wait_gone("corp").await;
    let gone = second.kubectl(&["delete", "mfaserver", "--all", "--timeout=55s"]).await;
    assert!(gone.ok, "{gone:?}{}", stage.log_ends());
    assert_eq!(stage.tenant.objects().len(), 0);

    let left = unwatched.api::<MfaServer>().get("left-alone").await.unwrap();
    let never = left.status.as_ref().and_then(|status| status.observed_generation);
    assert_eq!((never, left.metadata.finalizers), (Some(-1), None));
    assert!(!operator.log().text().contains("left-alone"));
    nothing_was_refused(&operator).await;
    assert_eq!(operator.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_may_not_be_looked_at_is_named_and_holds_up_no_other() {
    let stage = Stage::new().await;
    let rules = role("get, list, watch");
    let kubeconfig = limited(&stage, &[(&stage.namespace.name, &rules)]).await;
    let late = stage.namespace.name.replace("test-", "late-");
    let operator = stage
        .operator()
        .kubeconfig(&kubeconfig)
        .flag("--watch-namespace", &format!("{},{late}", stage.namespace.name))
        .start();
    stage.apply(&okta("corp")).await;
    stage.wait_ready("corp", "True", "Available").await;
    wait_readiness(&operator, 503, &late).await;
    for what in ["MfaServers", "Secrets"] {
        let sentence = format!("{what} of this namespace may not be watched, or it does not exist; it is tried again");
        let line = operator.wait_message(&sentence).await;
        assert_eq!(line["namespace"], json!(late), "{line}");
    }
    assert!(!get(address(&operator).await, "/readyz").await.1.contains(&stage.namespace.name));

    // It joins when it is there and the rights are.
    let made = stage.namespace.kubectl(&["create", "namespace", &late]).await;
    assert!(made.ok, "{made:?}");
    let other =
        Namespace { name: late.clone(), client: stage.namespace.client.clone(), cluster: stage.namespace.cluster };
    furnish(&other, TOKEN).await;
    apply(&other, &okta("late")).await;
    allow(&stage, &late, &rules).await;
    wait_readiness(&operator, 200, "ok").await;
    wait_reason(&stage, &other, "late", "Available").await;
    assert_eq!(operator.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resources_of_several_namespaces_dispute_a_name_and_tell_nothing_of_each_other() {
    let stage = Stage::new().await;
    let second = stage.namespace.cluster.namespace().await;
    // Tokens that tell their tenant, so that both are known to mean the same.
    let token = || stage.tenant.issue_token(None, Duration::from_hours(1), TokenShape::Jwt);
    stage.secret("prisma-access", &[("token", &token())]).await;
    furnish(&second, &token()).await;
    let rules = role("get, list, watch");
    let kubeconfig = limited(&stage, &[(&stage.namespace.name, &rules), (&second.name, &rules)]).await;
    let launch = || {
        let both = format!("{},{}", second.name, stage.namespace.name);
        stage.operator().kubeconfig(&kubeconfig).flag("--watch-namespace", &both).start()
    };
    let operator = launch();
    stage.apply(&okta("owner")).await;
    stage.wait_ready("owner", "True", "Available").await;
    apply(&second, &okta_with("rival", &json!({ "name": "owner", "adoptionPolicy": "Always" }))).await;
    let server = wait_reason(&stage, &second, "rival", "DuplicateClaim").await;
    let told = serde_json::to_string(&server).unwrap();
    assert!(!told.contains(&stage.namespace.name), "{told}");
    let object = stage.tenant.find(Folder::MobileUsers, "owner").unwrap();

    // After a restart, nobody acts before both namespaces have been listed.
    assert_eq!(operator.terminate().await.code(), Some(0));
    let operator = launch();
    let touched =
        second.kubectl(&["annotate", "mfaserver", "rival", "sse.mfa-operator.io/reconcile-requested-at=1"]).await;
    assert!(touched.ok, "{touched:?}");
    let path = "--for=jsonpath={.status.lastHandledReconcileAt}=1";
    let handled = second.kubectl(&["wait", "mfaserver", "rival", path, "--timeout=55s"]).await;
    assert!(handled.ok, "{handled:?}{}", stage.log_ends());
    wait_reason(&stage, &second, "rival", "DuplicateClaim").await;
    assert!(stage.tenant.get(&object.id).as_ref() == Some(&object));
    nothing_was_refused(&operator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_side_by_side_keep_to_their_namespaces_and_tenants() {
    let options = Options::single(TENANT, TOKEN).tenant(OTHER_TENANT, TenantOptions::with_bearer_token(OTHER_TOKEN));
    let stage = Stage::with(options).await;
    let second = stage.namespace.cluster.namespace().await;
    furnish(&second, OTHER_TOKEN).await;
    let launch = |namespace: &str| stage.operator().flag("--watch-namespace", namespace).start();
    let (first, other) = (launch(&stage.namespace.name), launch(&second.name));
    stage.apply(&okta("corp")).await;
    apply(&second, &okta("corp")).await;
    stage.wait_ready("corp", "True", "Available").await;
    wait_reason(&stage, &second, "corp", "Available").await;
    for (operator, theirs) in [(&first, &second.name), (&other, &stage.namespace.name)] {
        let text = operator.log().text();
        assert!(!text.contains(theirs.as_str()), "{text}");
    }
    let tenants = [TENANT, OTHER_TENANT].map(|tenant| stage.simulator.tenant(tenant).objects().len());
    assert_eq!(tenants, [1, 1]);
    stage.delete("corp").await;
    stage.wait_gone("corp").await;
    let tenants = [TENANT, OTHER_TENANT].map(|tenant| stage.simulator.tenant(tenant).objects().len());
    assert_eq!(tenants, [0, 1]);
}

async fn wait_sent(stage: &Stage, name: &str, token: &str) {
    let sent = async {
        loop {
            let object = stage.tenant.find(Folder::MobileUsers, name);
            if object.is_some_and(|object| object.body["mfa_vendor_type"]["okta_adaptive_v1"]["okta_token"] == token) {
                return;
            }
            sleep(LOOK_AGAIN).await;
        }
    };
    if tokio::time::timeout(LIMIT * 2, sent).await.is_err() {
        panic!("the tenant was not sent the rotated secret{}", stage.log_ends());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_that_may_not_be_watched_are_read_each_resync() {
    let stage = Stage::new().await;
    let kubeconfig = limited(&stage, &[(&stage.namespace.name, &role("get"))]).await;
    let operator = stage
        .operator()
        .kubeconfig(&kubeconfig)
        .flag("--watch-namespace", &stage.namespace.name)
        .flag("--watch-secrets=false", "")
        .start();
    stage.apply(&okta("corp")).await;
    stage.wait_ready("corp", "True", "Available").await;
    wait_readiness(&operator, 200, "ok").await;
    // A vendor's secret, the credentials, and a Secret that is there only later: each is seen by itself.
    stage.secret("vendor", &[("token", "rotated-okta-token")]).await;
    wait_sent(&stage, "corp", "rotated-okta-token").await;
    stage.wait_ready("corp", "True", "Available").await;
    stage.credentials("prisma-access", "the-rotated-bearer-token").await;
    stage.tenant.remove_bearer_token(TOKEN);
    stage.apply(&okta("second")).await;
    stage.wait_ready("second", "True", "Available").await;
    stage.apply(&okta_with("waiting", &json!({ "credentialsSecretRef": { "name": "later" } }))).await;
    stage.wait_ready("waiting", "False", "SecretNotFound").await;
    stage.credentials("later", "another-bearer-token").await;
    stage.wait_ready("waiting", "True", "Available").await;
    stage.delete_secret("vendor").await;
    stage.delete("corp").await;
    stage.wait_gone("corp").await;

    // A restart sends nothing anew: the versions are those that were sent.
    stage.secret("vendor", &[("token", "rotated-okta-token")]).await;
    for name in ["second", "waiting"] {
        stage.annotate(name, "sse.mfa-operator.io/reconcile-requested-at", "1").await;
        stage.wait(name, "looked at", handled("1")).await;
    }
    nothing_was_refused(&operator).await;
    assert_eq!(operator.terminate().await.code(), Some(0));
    stage.simulator.log().reset();
    let operator = stage
        .operator()
        .kubeconfig(&kubeconfig)
        .flag("--watch-namespace", &stage.namespace.name)
        .flag("--watch-secrets=false", "")
        .start();
    stage.annotate("second", "sse.mfa-operator.io/reconcile-requested-at", "2").await;
    stage.wait("second", "looked at", handled("2")).await;
    let writes = stage.simulator.log().with(|log| log.entries().iter().filter(|entry| entry.method != "GET").count());
    assert_eq!(writes, 0);
    nothing_was_refused(&operator).await;
}

fn handled(value: &'static str) -> impl Fn(&MfaServer) -> bool {
    move |server| {
        let handled = server.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_deref());
        handled == Some(value)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_is_not_watched_is_read_anew_when_the_verb_asks() {
    let stage = Stage::new().await;
    let kubeconfig = limited(&stage, &[(&stage.namespace.name, &role("get"))]).await;
    let operator = stage
        .operator()
        .kubeconfig(&kubeconfig)
        .flag("--watch-namespace", &stage.namespace.name)
        .flag("--watch-secrets=false", "")
        .flag("--resync-interval", "1h")
        .start();
    stage.apply(&okta("corp")).await;
    stage.wait_ready("corp", "True", "Available").await;
    stage.secret("vendor", &[("token", "rotated-okta-token")]).await;
    stage.annotate("corp", "sse.mfa-operator.io/reconcile-requested-at", "1").await;
    wait_sent(&stage, "corp", "rotated-okta-token").await;
    // The credentials likewise: refused at first, good once they are read anew.
    stage.tenant.remove_bearer_token(TOKEN);
    stage.patch("corp", &json!({ "spec": { "mfaCertProfile": "another-ca" } })).await;
    stage.wait_ready("corp", "False", "NotAuthenticated").await;
    stage.credentials("prisma-access", "the-rotated-bearer-token").await;
    stage.annotate("corp", "sse.mfa-operator.io/reconcile-requested-at", "2").await;
    stage.wait_ready("corp", "True", "Available").await;
    nothing_was_refused(&operator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_credentials_outside_of_the_namespaces_take_the_right_to_get_one_secret() {
    let stage = Stage::new().await;
    let apart = stage.namespace.cluster.namespace().await;
    furnish(&apart, TOKEN).await;
    stage.delete_secret("prisma-access").await;
    let one = "rules: [{apiGroups: [\"\"], resources: [secrets], resourceNames: [prisma-access], verbs: [get]}]\n";
    let rules = role("get, list, watch");
    let kubeconfig = limited(&stage, &[(&stage.namespace.name, &rules), (&apart.name, one)]).await;
    let operator = stage
        .operator()
        .kubeconfig(&kubeconfig)
        .flag("--watch-namespace", &stage.namespace.name)
        .flag("--shared-credentials", &format!("{}/prisma-access", apart.name))
        .flag("--shared-credentials-namespaces", &stage.namespace.name)
        .start();
    stage.apply(&okta("corp")).await;
    stage.wait_ready("corp", "True", "Available").await;
    // Rotated, they are seen at the next resync.
    stage.tenant.add_bearer_token("the-rotated-bearer-token");
    let patch = r#"{"stringData":{"token":"the-rotated-bearer-token"}}"#;
    assert!(apart.kubectl(&["patch", "secret", "prisma-access", "--type=merge", "-p", patch]).await.ok);
    let again = |log: &Log| {
        let read = log.lines().iter().filter(|line| line["message"] == "credential read").count();
        (read >= 2).then_some(())
    };
    assert!(operator.log().wait(again).await.is_some(), "not read again:{}", stage.log_ends());
    stage.tenant.remove_bearer_token(TOKEN);
    stage.apply(&okta("second")).await;
    stage.wait_ready("second", "True", "Available").await;
    nothing_was_refused(&operator).await;
}

/// Deletes the definition, and returns when it is gone, and with it every resource.
async fn delete_definition(stage: &Stage) {
    let words = ["delete", "crd", "mfaservers.sse.mfa-operator.io", "--timeout=55s"];
    let gone = stage.namespace.kubectl(&words).await;
    assert!(gone.ok, "{gone:?}{}", stage.log_ends());
}

async fn install_definition(stage: &Stage) {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/crds/mfaservers.yaml");
    for words in [
        &["apply", "--server-side", "-f", file][..],
        &["wait", "--for=condition=established", "--timeout=55s", "-f", file],
    ] {
        let done = stage.namespace.kubectl(words).await;
        assert!(done.ok, "{done:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_definitions_deletion_spares_the_tenant_only_where_it_may_be_seen() {
    let stage = Stage::new().await;
    let rules = role("get, list, watch");
    let kubeconfig = limited(&stage, &[(&stage.namespace.name, &rules)]).await;
    let names = || stage.tenant.objects().iter().map(|object| object.body["name"].clone()).collect::<Vec<_>>();

    let operator = stage.operator().start();
    stage.apply(&okta("spared")).await;
    stage.wait_ready("spared", "True", "Available").await;
    delete_definition(&stage).await;
    assert_eq!(names(), ["spared"], "the definition's deletion means Retain");
    assert_eq!(operator.terminate().await.code(), Some(0));

    install_definition(&stage).await;
    let _operator = stage.operator().kubeconfig(&kubeconfig).flag("--watch-namespace", &stage.namespace.name).start();
    stage.apply(&okta("deleted")).await;
    stage.apply(&okta_with("retained", &json!({ "deletionPolicy": "Retain" }))).await;
    for name in ["deleted", "retained"] {
        stage.wait_ready(name, "True", "Available").await;
    }
    delete_definition(&stage).await;
    let mut left = names();
    left.sort_by_key(ToString::to_string);
    assert_eq!(left, ["retained", "spared"], "without the right, deletionPolicy says what becomes of them");
    // For the next test.
    install_definition(&stage).await;
}
