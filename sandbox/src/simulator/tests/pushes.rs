//! Pushes, jobs, and what runs.

use serde_json::{Value, json};

use super::super::{Folder, Position, TenantOptions};
use super::{Client, TSG, okta, start, start_with};

const PUSH: &str = "/sse/config/v1/config-versions/candidate:push";

async fn job(client: &Client, id: &str) -> Value {
    client.get(&format!("/sse/config/v1/jobs/{id}")).await.json()["data"][0].clone()
}

#[tokio::test]
async fn a_push_publishes_the_candidate_of_its_folders() {
    let (simulator, client) = start().await;
    let tenant = simulator.tenant(TSG);
    tenant.create(Folder::Shared, Position::Pre, &okta("shared")).unwrap();
    tenant.create(Folder::MobileUsers, Position::Pre, &okta("mobile")).unwrap();
    assert!(tenant.running().is_empty(), "nothing runs before a push");
    let body = json!({"folders": ["Mobile Users", "Remote Networks"], "description": "why"});
    let pushed = client.call("POST", PUSH, Some(&body)).await;
    assert_eq!((pushed.status, pushed.json()["success"].clone()), (201, json!(true)));
    let id = pushed.json()["job_id"].as_str().unwrap().to_owned();
    assert!(pushed.json()["message"].as_str().unwrap().contains(&id));
    let done = job(&client, &id).await;
    assert_eq!((&done["status_str"], &done["result_str"]), (&json!("FIN"), &json!("OK")));
    assert!(done.as_object().unwrap().values().all(Value::is_string), "every member is a string");
    let details: Value = serde_json::from_str(done["details"].as_str().unwrap()).unwrap();
    assert_eq!(details, json!({"info": [], "errors": [], "warnings": [], "description": "why"}));
    let children: Vec<Value> = tenant.jobs().into_iter().filter(|job| job["parent_id"] == json!(id)).collect();
    assert_eq!(children.len(), 2);
    let running = tenant.running();
    assert_eq!(running.keys().copied().collect::<Vec<_>>(), [Folder::MobileUsers, Folder::RemoteNetworks]);
    let names: Vec<_> = running[&Folder::MobileUsers].1.iter().map(|object| object.name.as_str()).collect();
    assert_eq!(names, ["mobile", "shared"]);
    let versions = client.get("/sse/config/v1/config-versions/running").await.json();
    assert_eq!((&versions["data"][0]["device"], &versions["data"][0]["version"]), (&json!("Mobile Users"), &json!(1)));
    let all = client.get("/sse/config/v1/jobs?limit=1").await.json();
    assert_eq!((all["data"].as_array().unwrap().len(), &all["total"]), (1, &json!(3)));
}

#[tokio::test]
async fn a_push_takes_its_time() {
    let (simulator, client) =
        start_with(TenantOptions { job_duration_ms: 3_600_000, ..TenantOptions::default() }).await;
    let pushed = client.call("POST", PUSH, Some(&json!({"folders": ["Mobile Users"]}))).await.json();
    let under_way = job(&client, pushed["job_id"].as_str().unwrap()).await;
    assert_eq!((&under_way["status_str"], &under_way["result_str"]), (&json!("ACT"), &json!("PEND")));
    assert!(simulator.tenant(TSG).running().is_empty());
}

#[tokio::test]
async fn a_push_publishes_what_there_was_when_it_began() {
    let (simulator, client) = start_with(TenantOptions { job_duration_ms: 50, ..TenantOptions::default() }).await;
    let tenant = simulator.tenant(TSG);
    let id = tenant.create(Folder::MobileUsers, Position::Pre, &okta("a")).unwrap();
    let pushed = client.call("POST", PUSH, Some(&json!({"folders": ["Mobile Users"]}))).await.json();
    tenant.delete(&id).unwrap();
    while job(&client, pushed["job_id"].as_str().unwrap()).await["status_str"] != "FIN" {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(tenant.running()[&Folder::MobileUsers].1[0].name, "a");
}

#[tokio::test]
async fn a_push_can_fail_with_errors() {
    let errors = vec!["certificate profile corp-ca is missing".to_owned()];
    let (simulator, client) = start_with(TenantOptions { push_errors: errors, ..TenantOptions::default() }).await;
    let pushed = client.call("POST", PUSH, Some(&json!({"folders": ["Mobile Users"]}))).await.json();
    let failed = job(&client, pushed["job_id"].as_str().unwrap()).await;
    assert_eq!((&failed["status_str"], &failed["result_str"]), (&json!("FIN"), &json!("FAIL")));
    assert!(failed["details"].as_str().unwrap().contains("corp-ca is missing"));
    assert!(simulator.tenant(TSG).running().is_empty());
}

#[tokio::test]
async fn a_push_takes_known_folders_but_not_shared() {
    let (_simulator, client) = start().await;
    for body in [json!({}), json!({"folders": []}), json!({"folders": ["Shared"]}), json!({"folders": ["All"]})] {
        let answered = client.call("POST", PUSH, Some(&body)).await;
        assert_eq!((answered.status, answered.message().as_str()), (400, "Invalid Object"), "{body}");
    }
    assert_eq!(client.call("POST", PUSH, None).await.message(), "Missing Body");
    assert_eq!(client.get("/sse/config/v1/jobs/77").await.message(), "Object Not Present");
}

#[tokio::test]
async fn a_job_can_come_as_an_array() {
    let (_simulator, client) = super::start_answering(|answers| answers.get_array = true).await;
    client.call("POST", PUSH, Some(&json!({"folders": ["Mobile Users"]}))).await;
    assert_eq!(client.get("/sse/config/v1/jobs/1").await.json()[0]["id"], "1");
}
