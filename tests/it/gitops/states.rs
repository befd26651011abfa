//! The table of docs/gitops.md, row by row, on real resources.

use std::collections::BTreeMap;

use mfa_operator::crd::MfaServer;
use mfa_sandbox::simulator::{Documented, Folder, Reply, Route, Rule};
use serde_json::{Value, json};

use super::{ARGO, Health, KSTATUS, judge, read, shown};
use crate::operator::{Stage, condition, okta, okta_with};

/// The states that were seen, by the words of the table.
#[derive(Default)]
struct Seen(Vec<(&'static str, Value)>);

impl Seen {
    async fn note(&mut self, stage: &Stage, words: &'static str, name: &str) {
        self.0.push((words, shown(&stage.namespace, name).await));
    }
}

/// The table: what the tools make of each state.
fn table() -> BTreeMap<String, (String, String)> {
    let page = read("docs/gitops.md");
    let rows = page.lines().skip_while(|line| !line.starts_with("| the resource | kstatus")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|')).map(|line| {
        let cells: Vec<String> = line.trim_matches('|').split(" | ").map(|cell| cell.trim().replace('`', "")).collect();
        let [state, kstatus, argo] = <[String; 3]>::try_from(cells).unwrap();
        (state, (kstatus, argo))
    });
    rows.collect()
}

fn too_many() -> Rule {
    Rule::new(Reply::TooManyRequests { retry_after: Some("1".to_owned()) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flux_and_argo_cd_read_each_state_as_the_page_says() {
    let stage = Stage::new().await;
    let mut seen = Seen::default();
    stage.apply(&okta("new")).await;
    seen.note(&stage, "has just been applied, and the operator has not looked at it", "new").await;

    let refuse = Rule::documented(Documented::InvalidObject).on("POST", Route::MfaServers).object("refused");
    stage.simulator.inject(refuse);
    stage.secret("others", &[("token", "a-token-that-nobody-knows")]).await;
    stage.secret("its-own", &[("token", "okta-token-of-its-own")]).await;
    let own_secret = |secret: &str| {
        let mut server = okta(secret);
        server["spec"]["mfaVendorType"]["oktaAdaptiveV1"]["oktaToken"]["secretKeyRef"]["name"] = json!(secret);
        server
    };
    for server in [
        okta("changed"),
        okta("referred"),
        okta("paused"),
        okta("refused"),
        okta_with("born-paused", &json!({ "suspend": true })),
        okta_with("stranger", &json!({ "credentialsSecretRef": { "name": "others" } })),
        okta_with("reporting", &json!({ "driftPolicy": "Report" })),
        own_secret("late"),
        own_secret("its-own"),
    ] {
        stage.apply(&server).await;
    }
    let operator = stage.operator().start();
    for name in ["new", "changed", "referred", "paused", "reporting", "its-own"] {
        stage.wait_ready(name, "True", "Available").await;
    }
    seen.note(&stage, "is in order", "new").await;

    stage.wait_ready("refused", "False", "InvalidObject").await;
    seen.note(&stage, "is refused by the tenant (InvalidObject)", "refused").await;
    stage.wait_ready("stranger", "False", "NotAuthenticated").await;
    seen.note(&stage, "has credentials that the API does not take (NotAuthenticated)", "stranger").await;
    stage.wait_ready("born-paused", "False", "Suspended").await;
    seen.note(&stage, "was suspended from the start", "born-paused").await;
    stage.patch("paused", &json!({ "spec": { "suspend": true } })).await;
    stage.wait_ready("paused", "True", "Suspended").await;
    seen.note(&stage, "was in order, and is suspended", "paused").await;

    stage.apply(&okta_with("twin", &json!({ "name": "new" }))).await;
    stage.wait_ready("twin", "False", "DuplicateClaim").await;
    seen.note(&stage, "names what another resource owns (DuplicateClaim)", "twin").await;

    let object = stage.tenant.find(Folder::MobileUsers, "reporting").unwrap();
    stage.tenant.edit(&object.id, &json!({ "mfa_cert_profile": "by-hand" })).unwrap();
    stage.wait_ready("reporting", "False", "DriftReported").await;
    seen.note(&stage, "differs in the tenant, with driftPolicy: Report (DriftReported)", "reporting").await;

    let id = stage.get("referred").await.and_then(|server| server.status?.id).unwrap();
    stage.tenant.set_references(&id, 1).unwrap();
    stage.delete("referred").await;
    stage.wait_condition("referred", "Reconciling", "True", "ReferenceNotZero").await;
    seen.note(&stage, "is being deleted, and something in the tenant refers to it (ReferenceNotZero)", "referred")
        .await;

    // What External Secrets and the like make comes whenever it comes.
    stage.wait_ready("late", "False", "SecretNotFound").await;
    seen.note(&stage, "waits for a Secret (SecretNotFound)", "late").await;
    stage.secret("late", &[("token", "okta-token-that-comes-late")]).await;
    stage.wait_ready("late", "True", "Available").await;

    // Last, for a 429 pauses all of the tenant's calls.
    let created = stage.simulator.inject(too_many().on("POST", Route::MfaServers).object("throttled"));
    stage.apply(&okta("throttled")).await;
    stage.wait_condition("throttled", "Reconciling", "True", "RateLimited").await;
    seen.note(&stage, "is new, and throttled (RateLimited)", "throttled").await;
    stage.simulator.remove_rule(&created);
    stage.wait_ready("throttled", "True", "Available").await;
    stage.simulator.inject(too_many().on("PUT", Route::MfaServer).object("its-own"));
    stage.secret("its-own", &[("token", "another-okta-token-of-its-own")]).await;
    stage.wait_condition("its-own", "Reconciling", "True", "RateLimited").await;
    seen.note(&stage, "was in order, and what it has to write is throttled (RateLimited)", "its-own").await;

    stage.simulator.clear_rules();
    stage.simulator.inject(Rule::documented(Documented::SessionTimeout).on("GET", Route::MfaServers));
    let unknown = |server: &MfaServer| condition(server, "Ready").is_some_and(|ready| ready.status == "Unknown");
    stage.wait("new", "not known to be Ready", unknown).await;
    let words = "was in order, and the tenant could not be read for three resync intervals (Ready is Unknown)";
    seen.note(&stage, words, "new").await;

    assert_eq!(operator.terminate().await.code(), Some(0));
    stage.patch("changed", &json!({ "spec": { "mfaCertProfile": "another-ca" } })).await;
    seen.note(&stage, "has another spec than the operator has looked at", "changed").await;

    let (states, objects): (Vec<_>, Vec<_>) = seen.0.into_iter().unzip();
    let judged = [judge(KSTATUS, &objects).await, judge(ARGO, &objects).await];
    let [kstatus, argo] = &judged;
    let found = states.iter().zip(kstatus.iter().zip(argo));
    let found: BTreeMap<_, _> = found
        .map(|(state, (kstatus, argo))| ((*state).to_owned(), (kstatus.status.clone(), argo.status.clone())))
        .collect();
    assert_eq!(found, table(), "{judged:?}");

    // A person is told why, not only that.
    let said = |health: &[Health], state: &str| {
        let at = states.iter().position(|known| known.starts_with(state)).unwrap();
        health[at].message.clone()
    };
    let refused = said(argo, "is refused");
    assert!(refused.starts_with("InvalidObject: "), "{refused}");
    assert_eq!(format!("InvalidObject: {}", said(kstatus, "is refused")), refused);
    assert!(said(kstatus, "waits for a Secret").contains("\"late\""), "{judged:?}");
    assert!(said(argo, "waits for a Secret").contains("\"late\""), "{judged:?}");
    assert!(said(kstatus, "has just been applied").contains("observed generation is -1"), "{judged:?}");
}
