//! The control API under `/_sim`.

use serde_json::{Value, json};

use super::super::{Documented, Options, Simulator};
use super::{Answered, Client, SERVERS, TOKEN, TSG, id_of, okta, start};

async fn control(client: &Client, method: &str, path: &str, body: Option<Value>) -> Answered {
    let mut client = client.clone();
    client.token = None;
    client.call(method, &format!("/_sim{path}"), body.as_ref()).await
}

#[tokio::test]
async fn a_bare_simulator_is_furnished_over_http() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let client = Client::new(&simulator);
    let options = json!({"bearer_tokens": [TOKEN], "answers": {"create_status": 200}});
    assert_eq!(control(&client, "PUT", "/tenants/77", Some(options)).await.status, 204);
    assert_eq!(client.create("Shared", &okta("a")).await.status, 200);
    let patch = json!({"latency_ms": 1, "answers": {"create_body": false}});
    assert_eq!(control(&client, "PATCH", "/tenants/77", Some(patch)).await.status, 204);
    let options = control(&client, "GET", "/tenants/77", None).await.json();
    assert_eq!((&options["latency_ms"], &options["answers"]["create_status"]), (&json!(1), &json!(200)));
    assert_eq!(client.create("Shared", &okta("b")).await.text, "");
    let info = control(&client, "GET", "", None).await.json();
    assert_eq!((info["url"].as_str(), &info["tenants"]), (Some(simulator.url().as_str()), &json!(["77"])));
    let wrong = control(&client, "PUT", "/tenants/77", Some(json!({"latency": 1}))).await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.json()["error"].as_str().unwrap().contains("latency"));
    assert_eq!(control(&client, "GET", "/tenants/none/objects", None).await.status, 404);
    assert_eq!(control(&client, "GET", "/nothing", None).await.status, 404);
}

#[tokio::test]
async fn rules_come_and_go_over_http() {
    let (simulator, client) = start().await;
    let rule = json!({
        "name": "conflict",
        "when": {"method": "POST", "route": "mfa-servers", "name": "a", "folder": "Mobile Users", "tenant": TSG},
        "times": 1,
        "reply": {"documented": "name_not_unique"},
    });
    assert_eq!(control(&client, "POST", "/rules", Some(rule)).await.json(), json!({"name": "conflict"}));
    assert_eq!(client.create("Mobile Users", &okta("a")).await.status, 409);
    assert_eq!(client.create("Mobile Users", &okta("a")).await.status, 201);
    let states = control(&client, "GET", "/rules", None).await.json();
    assert_eq!((&states[0]["hits"], &states[0]["seen"]), (&json!(1), &json!(1)));
    for reply in [
        json!("hang"),
        json!("reset"),
        json!("close"),
        json!("usual"),
        json!("truncated_body"),
        json!("write_lock"),
        json!({"too_many_requests": {"retry_after": "3"}}),
        json!({"html": {"status": 502}}),
        json!({"documented_as": {"error": "invalid_object", "form": "error_type"}}),
        json!({"slow": {"chunk_bytes": 1, "pause_ms": 1}}),
    ] {
        let rule = json!({"when": {"tenant": "none"}, "apply": {"late_ms": 5}, "reply": reply});
        assert_eq!(control(&client, "POST", "/rules", Some(rule)).await.status, 200, "{reply}");
    }
    assert_eq!(control(&client, "DELETE", "/rules/conflict", None).await.json()["removed"], 1);
    assert_eq!(control(&client, "DELETE", "/rules", None).await.json()["removed"], 10);
    assert!(simulator.rules().is_empty());
    let unknown = json!({"reply": "explode"});
    assert_eq!(control(&client, "POST", "/rules", Some(unknown)).await.status, 400);
}

#[tokio::test]
async fn another_administrator_works_over_http_and_is_not_logged() {
    let (simulator, client) = start().await;
    let objects = format!("/tenants/{TSG}/objects");
    let new = json!({"folder": "Mobile Users", "body": okta("a")});
    let id = control(&client, "POST", &objects, Some(new.clone())).await.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(control(&client, "POST", &objects, Some(new)).await.status, 409);
    let one = format!("{objects}/{id}");
    assert_eq!(control(&client, "PATCH", &one, Some(json!({"mfa_cert_profile": "x"}))).await.status, 204);
    assert_eq!(control(&client, "POST", &format!("{one}/rename"), Some(json!({"name": "b"}))).await.status, 204);
    assert_eq!(control(&client, "POST", &format!("{one}/move"), Some(json!({"folder": "Shared"}))).await.status, 204);
    assert_eq!(control(&client, "POST", &format!("{one}/references"), Some(json!({"count": 1}))).await.status, 204);
    let stored = control(&client, "GET", &one, None).await.json();
    assert_eq!((&stored["name"], &stored["folder"], &stored["references"]), (&json!("b"), &json!("Shared"), &json!(1)));
    assert_eq!(stored["body"]["mfa_cert_profile"], "x");
    assert_eq!(control(&client, "PUT", &one, Some(okta("c"))).await.status, 204);
    let new = control(&client, "POST", &format!("{one}/swap-id"), None).await.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(control(&client, "GET", &one, None).await.status, 404);
    assert_eq!(control(&client, "GET", "/objects", None).await.json().as_array().unwrap().len(), 1);
    assert_eq!(control(&client, "DELETE", &format!("{objects}/{new}"), None).await.status, 204);
    assert!(simulator.objects().is_empty());
    assert!(simulator.log().entries().is_empty());
    assert_eq!(control(&client, "GET", &format!("/tenants/{TSG}/running"), None).await.json(), json!({}));
    assert_eq!(control(&client, "GET", &format!("/tenants/{TSG}/jobs"), None).await.json(), json!([]));
}

#[tokio::test]
async fn tokens_are_made_and_revoked_over_http() {
    let (_simulator, mut client) = start().await;
    let made = control(&client, "POST", &format!("/tenants/{TSG}/tokens"), Some(json!({"client_id": "me"}))).await;
    client.token = Some(made.json()["token"].as_str().unwrap().to_owned());
    assert_eq!(client.list("Shared", "").await.status, 200);
    assert_eq!(control(&client, "POST", &format!("/tenants/{TSG}/tokens/revoke"), None).await.status, 204);
    assert_eq!(client.list("Shared", "").await.status, 401);
}

#[tokio::test]
async fn the_log_is_read_waited_on_and_reset_over_http() {
    let (simulator, client) = start().await;
    simulator.inject(super::super::Rule::documented(Documented::BadXpath).object("bad"));
    let waiting = tokio::spawn({
        let client = client.clone();
        let wanted =
            json!({"method": "POST", "route": "mfa-servers", "name": "bad", "status": 400, "timeout_ms": 20000});
        async move { control(&client, "POST", "/log/wait", Some(wanted)).await.status }
    });
    id_of(&client.create("Shared", &okta("good")).await);
    client.create("Shared", &okta("bad")).await;
    assert_eq!(waiting.await.unwrap(), 200);
    let entries = control(&client, "GET", "/log", None).await.json();
    assert_eq!((entries.as_array().unwrap().len(), &entries[1]["status"]), (2, &json!(400)));
    assert_eq!(control(&client, "GET", "/log?after=1", None).await.json()[0]["seq"], 2);
    assert_eq!(control(&client, "GET", "/log/summary", None).await.json()["by_route"]["POST mfa-servers"], 2);
    assert_eq!(control(&client, "DELETE", "/log", None).await.status, 204);
    assert_eq!(control(&client, "GET", "/log", None).await.json(), json!([]));
    let late = control(&client, "POST", "/log/wait", Some(json!({"timeout_ms": 10}))).await;
    assert_eq!(late.status, 408);
}

#[tokio::test]
async fn an_outage_over_http_ends_by_itself() {
    let (simulator, client) = start().await;
    client.create("Shared", &okta("a")).await;
    assert_eq!(control(&client, "POST", "/outage", Some(json!({"ms": 500}))).await.status, 204);
    let path = format!("{SERVERS}?folder=Shared");
    while client.try_call("GET", &path, None).await.is_ok() {}
    loop {
        if let Ok(answered) = client.try_call("GET", &path, None).await {
            assert_eq!(answered.names(), ["a"]);
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(control(&client, "POST", "/connections/reset", None).await.status, 204);
    drop(simulator);
}
