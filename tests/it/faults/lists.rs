//! Lists that loop, shrink, lie or cannot be read prove no absence: what is there is not made again.

use std::collections::BTreeMap;

use mfa_operator::crd::{ANNOTATION_RECONCILE_REQUESTED_AT, MfaServer};
use mfa_sandbox::simulator::{Folder, Log, Position, Reply, Route, Rule};
use serde_json::{Value, json};

use super::{foreign, in_order, posts};
use crate::operator::{self, Operator, Stage, condition, okta_with, says};

/// Each folder has a fault of its own.
type Cases = [(Folder, &'static str, Vec<Rule>); 6];

fn raw(body: &Value) -> Reply {
    Reply::Raw { status: 200, headers: BTreeMap::new(), body: body.to_string() }
}

fn foreign_item(number: usize) -> Value {
    json!({ "id": format!("0000000{number}-0000-4000-8000-000000000000"), "name": format!("item-{number}"),
        "mfa_cert_profile": "their-ca" })
}

fn page(items: &[Value], total: Option<u64>) -> Reply {
    let mut page = json!({ "data": items, "offset": 0, "limit": 2 });
    if let Some(total) = total {
        page["total"] = json!(total);
    }
    raw(&page)
}

/// Lists that are read, and show that they do not show all.
fn incomplete() -> Cases {
    let two = [foreign_item(1), foreign_item(2)];
    let always = |reply| vec![Rule::new(reply)];
    [
        (Folder::Shared, "loops", always(page(&two, Some(5)))),
        (Folder::MobileUsers, "loops without a total", always(page(&two, None))),
        (
            Folder::RemoteNetworks,
            "shrinks",
            vec![Rule::new(page(&two, Some(5))).once(), Rule::new(page(&[foreign_item(3)], Some(4)))],
        ),
        (Folder::ServiceConnections, "ends before its total", always(page(&[], Some(3)))),
        (
            Folder::MobileUsersContainer,
            "shows an item that is none",
            always(page(&[json!({ "name": "no id" })], Some(1))),
        ),
        (
            Folder::MobileUsersExplicitProxy,
            "shows an item twice",
            always(page(&[foreign_item(1), foreign_item(1)], Some(2))),
        ),
    ]
}

/// Lists that cannot be read.
fn unreadable() -> Cases {
    let always = |reply| vec![Rule::new(reply)];
    [
        (Folder::Shared, "a page of a proxy", always(Reply::Html { status: 200 })),
        (Folder::MobileUsers, "half of its JSON", always(Reply::TruncatedJson)),
        (Folder::RemoteNetworks, "half of its body", always(Reply::TruncatedBody)),
        (
            Folder::ServiceConnections,
            "an error that says 200",
            always(raw(&json!({ "_errors": [{ "code": "E001" }] }))),
        ),
        (Folder::MobileUsersContainer, "data that is null", always(raw(&json!({ "data": null })))),
        (Folder::MobileUsersExplicitProxy, "an HTML 404", always(Reply::Html { status: 404 })),
    ]
}

fn name(folder: Folder) -> String {
    folder.as_str().to_lowercase().replace(' ', "-")
}

fn inject(stage: &Stage, cases: &Cases) {
    for (folder, what, rules) in cases {
        for rule in rules {
            stage.simulator.inject(rule.clone().on("GET", Route::MfaServers).folder(*folder).named(what));
        }
    }
}

/// A stage with a resource in each folder beside others, listed in pages of two.
async fn stage_of_six(cases: &Cases) -> (Stage, Operator) {
    let stage = Stage::new().await;
    stage.tenant.answer(|answers| answers.max_limit = 2);
    let operator = stage.operator().flag("--api-qps", "0").flag("--resync-interval", "1h").start();
    for (folder, ..) in cases {
        for number in 0..3 {
            let body = foreign(&format!("{}-{number}", name(*folder)), "their-ca");
            stage.tenant.create(*folder, Position::Pre, &body).unwrap();
        }
        stage.apply(&okta_with(&name(*folder), &json!({ "folder": folder.as_str() }))).await;
    }
    for (folder, ..) in cases {
        in_order(&stage, &name(*folder)).await;
    }
    (stage, operator)
}

/// How many lists of the folder the operator has said to be faulty: one of what was just being created may be, without a
/// fault of the tenant's.
fn faulty(log: &operator::Log, folder: Folder) -> usize {
    let ended = |line: &Value| {
        let failed = line["message"] == "list failed" || (line["message"] == "listed" && line["complete"] == false);
        failed && line["folder"] == folder.as_str()
    };
    log.lines().into_iter().filter(ended).count()
}

/// Waits until the operator has made what it could of the folder's faulty list: of one more than it had `before`, and that
/// had the fault.
async fn wait_faulty(stage: &Stage, operator: &Operator, before: &BTreeMap<Folder, usize>, folder: Folder, what: &str) {
    let met = |log: &Log| log.entries().iter().any(|entry| entry.rule.as_deref() == Some(what));
    stage.wait_requests(what, met).await;
    let before = before.get(&folder).copied().unwrap_or_default();
    let more = |log: &operator::Log| (faulty(log, folder) > before).then_some(());
    assert!(operator.log().wait(more).await.is_some(), "{what}: no faulty list{}", stage.log_ends());
}

async fn ask(stage: &Stage, cases: &Cases, value: &str) {
    for (folder, ..) in cases {
        stage.annotate(&name(*folder), ANNOTATION_RECONCILE_REQUESTED_AT, value).await;
    }
}

fn is_handled(server: &MfaServer, value: &str) -> bool {
    server.status.as_ref().is_some_and(|status| status.last_handled_reconcile_at.as_deref() == Some(value))
}

/// Nothing but lists was asked for.
fn only_lists(log: &Log) {
    let other = log.entries().iter().find(|entry| entry.route != Route::MfaServers || entry.method != "GET");
    assert!(other.is_none(), "{other:?}");
}

/// Faults come over resources that are in order, and go.
async fn nothing_becomes_absent(cases: Cases) {
    let (stage, operator) = stage_of_six(&cases).await;
    let objects = stage.tenant.objects();
    let mut since = BTreeMap::new();
    for (folder, ..) in &cases {
        let server = stage.get(&name(*folder)).await.unwrap();
        since.insert(*folder, condition(&server, "Ready").unwrap().last_transition_time.clone());
    }
    let log = stage.simulator.log();
    log.reset();
    let before = cases.iter().map(|(folder, ..)| (*folder, faulty(operator.log(), *folder))).collect();
    inject(&stage, &cases);
    ask(&stage, &cases, "1").await;
    for (folder, what, _) in &cases {
        wait_faulty(&stage, &operator, &before, *folder, what).await;
    }
    stage.simulator.clear_rules();
    ask(&stage, &cases, "2").await;
    for (folder, what, _) in &cases {
        let server = stage.wait(&name(*folder), "looked at again", |server| is_handled(server, "2")).await;
        assert_eq!(says(&server, "Ready").as_deref(), Some("True/Available"), "{what}");
        assert_eq!(
            condition(&server, "Ready").unwrap().last_transition_time,
            since[folder],
            "{what}: it was not Ready"
        );
    }
    log.with(only_lists);
    assert!(stage.tenant.objects() == objects, "the tenant was changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_incomplete_makes_nothing_absent() {
    nothing_becomes_absent(incomplete()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_cannot_be_read_makes_nothing_absent() {
    nothing_becomes_absent(unreadable()).await;
}

/// A new operator starts with faulty lists and knows nothing else: neither what is there nor what is new is created.
async fn nothing_is_created_twice(cases: Cases) {
    let (stage, operator) = stage_of_six(&cases).await;
    assert_eq!(operator.terminate().await.code(), Some(0));
    let objects = stage.tenant.objects();
    let log = stage.simulator.log();
    log.reset();
    inject(&stage, &cases);
    let new = |folder| format!("{}-new", name(folder));
    for (folder, ..) in &cases {
        stage.apply(&okta_with(&new(*folder), &json!({ "folder": folder.as_str() }))).await;
    }
    let operator = stage.operator().flag("--api-qps", "0").flag("--resync-interval", "1h").start();
    for (folder, what, _) in &cases {
        wait_faulty(&stage, &operator, &BTreeMap::new(), *folder, what).await;
    }
    log.with(|log| {
        let write = log.entries().iter().find(|entry| entry.method != "GET");
        assert!(write.is_none(), "{write:?}{}", stage.log_ends());
    });
    assert!(stage.tenant.objects() == objects, "the tenant was changed");
    stage.simulator.clear_rules();
    for (folder, what, _) in &cases {
        in_order(&stage, &new(*folder)).await;
        in_order(&stage, &name(*folder)).await;
        assert_eq!(posts(&stage, &new(*folder)).len(), 1, "{what}");
        assert_eq!(posts(&stage, &name(*folder)).len(), 0, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_starts_with_an_incomplete_list_creates_nothing() {
    nothing_is_created_twice(incomplete()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_starts_with_a_list_it_cannot_read_creates_nothing() {
    nothing_is_created_twice(unreadable()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_says_it_is_whole_and_lacks_an_object_is_checked_by_id() {
    let stage = Stage::new().await;
    let operator = stage.operator().flag("--resync-interval", "1h").start();
    stage.apply(&okta_with("corp", &json!({}))).await;
    let (_, object) = in_order(&stage, "corp").await;
    let log = stage.simulator.log();
    log.reset();
    let lie = raw(&json!({ "data": [], "offset": 0, "total": 0, "limit": 200 }));
    stage.simulator.inject(Rule::new(lie).on("GET", Route::MfaServers));
    for value in ["1", "2"] {
        stage.annotate("corp", ANNOTATION_RECONCILE_REQUESTED_AT, value).await;
        let server = stage.wait("corp", "looked at again", |server| is_handled(server, value)).await;
        assert_eq!(says(&server, "Ready").as_deref(), Some("True/Available"));
    }
    assert_eq!(operator.terminate().await.code(), Some(0));
    // Another operator does not know it from before.
    let _operator = stage.operator().flag("--resync-interval", "1h").start();
    stage.annotate("corp", ANNOTATION_RECONCILE_REQUESTED_AT, "3").await;
    stage.wait("corp", "looked at again", |server| is_handled(server, "3")).await;
    assert!(stage.tenant.get(&object.id).as_ref() == Some(&object));
    log.with(|log| {
        let other = log.entries().iter().find(|entry| entry.method != "GET");
        assert!(other.is_none(), "{other:?}");
        assert!(log.count("GET", Route::MfaServer) >= 3, "{:?}", log.summary());
    });
}
