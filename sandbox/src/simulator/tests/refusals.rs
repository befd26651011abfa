//! What the simulator refuses by itself.

use serde_json::{Value, json};

use super::super::UnknownFields;
use super::{Client, SERVERS, create_path, okta, start, start_answering};

#[tokio::test]
async fn a_create_needs_position_and_folder() {
    let (simulator, client) = start().await;
    for (query, status, message) in [
        ("", 400, "Missing Query Parameter: position"),
        ("?folder=Shared", 400, "Missing Query Parameter: position"),
        ("?position=pre", 400, "Missing Query Parameter: folder"),
        ("?position=middle&folder=Shared", 400, "Invalid Query Parameter: position=middle"),
        ("?position=pre&folder=Nowhere", 400, "Invalid Query Parameter: folder=Nowhere"),
        ("?position=pre&folder=mobile%20users", 400, "Invalid Query Parameter: folder=mobile users"),
        ("?position=pre&folder=Shared&colour=red", 400, "Invalid Query Parameter: colour=red"),
        ("?position=pre&folder=Shared&folder=Shared", 400, "Invalid Query Parameter: folder=Shared"),
    ] {
        let answered = client.call("POST", &format!("{SERVERS}{query}"), Some(&okta("a"))).await;
        assert_eq!((answered.status, answered.message().as_str()), (status, message), "{query}");
        assert_eq!(answered.json()["_errors"][0]["code"], "E003");
    }
    assert!(simulator.objects().is_empty());
}

#[tokio::test]
async fn a_list_needs_a_folder_that_exists_and_numbers_that_are_numbers() {
    let (_simulator, client) = start().await;
    for (query, message) in [
        ("", "Missing Query Parameter: folder"),
        ("?folder=All", "Invalid Query Parameter: folder=All"),
        ("?folder=Shared&limit=many", "Invalid Query Parameter: limit=many"),
        ("?folder=Shared&offset=-1", "Invalid Query Parameter: offset=-1"),
    ] {
        let answered = client.get(&format!("{SERVERS}{query}")).await;
        assert_eq!((answered.status, answered.message().as_str()), (400, message), "{query}");
    }
}

#[tokio::test]
async fn percent_encoding_and_plus_are_undone_in_the_query() {
    let (simulator, client) = start().await;
    let path = format!("{SERVERS}?position=post&folder=Mobile+Users%20Explicit%20Proxy");
    assert_eq!(client.call("POST", &path, Some(&okta("ü & co"))).await.status, 201);
    let stored = &simulator.objects()[0];
    assert_eq!(stored.folder.as_str(), "Mobile Users Explicit Proxy");
    assert_eq!(stored.position.as_str(), "post");
    let found = client.list("Mobile Users Explicit Proxy", "&name=%C3%BC%20%26%20co").await;
    assert_eq!(found.names(), ["ü & co"]);
    // A broken sequence cannot be sent by a careful client; the query is taken as it is here.
    let broken = client.get(&format!("{SERVERS}?folder=%zz")).await;
    assert_eq!(broken.message(), "Invalid Query Parameter: folder=%zz");
}

#[tokio::test]
async fn a_body_must_be_there_and_be_json() {
    let (_simulator, client) = start().await;
    let missing = client.call("POST", &create_path("Shared"), None).await;
    assert_eq!((missing.status, missing.message().as_str()), (400, "Missing Body"));
    let json = "application/json";
    for (kind, body) in [(json, "{"), (json, "name=a"), ("text/xml", "{}")] {
        let request = client.request("POST", &create_path("Shared")).header("content-type", kind).body(body);
        let answered = Client::send(request).await.unwrap();
        assert_eq!(answered.message(), "Input Format Mismatch: input-format=json", "{kind} {body}");
    }
    let request = client.request("GET", &format!("{SERVERS}?folder=Shared")).header("accept", "application/xml");
    let answered = Client::send(request).await.unwrap();
    assert_eq!(answered.message(), "Output Format Mismatch: output-format=json Accept=application/xml");
}

#[tokio::test]
async fn an_object_must_be_as_the_schema_says() {
    let (simulator, client) = start().await;
    let with = |pointer: &str, value: Value| {
        let mut body = okta("a");
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    let vendor = "/mfa_vendor_type/okta_adaptive_v1";
    for body in [
        json!([]),
        json!({}),
        json!({"name": "a"}),
        json!({"mfa_cert_profile": "corp-ca"}),
        with("/name", json!(1)),
        with("/name", json!("")),
        with("/mfa_cert_profile", Value::Null),
        with("/mfa_vendor_type", Value::Null),
        with("/mfa_vendor_type", json!({"okta_adaptive_v2": {}})),
        with("/mfa_vendor_type", json!({"okta_adaptive_v1": {}, "duo_security_v2": {}})),
        with(vendor, Value::Null),
        with(&format!("{vendor}/okta_timeout"), json!(30)),
        with(&format!("{vendor}/okta_token"), Value::Null),
    ] {
        let answered = client.create("Shared", &body).await;
        assert_eq!((answered.status, answered.message().as_str()), (400, "Invalid Object"), "{body}");
    }
    assert!(simulator.objects().is_empty());
    assert_eq!(client.create("Shared", &json!({"name": "bare", "mfa_cert_profile": "c"})).await.status, 201);
}

#[tokio::test]
async fn integer_timeouts_are_accepted_where_the_tenant_says_so() {
    let (_simulator, client) = start_answering(|answers| answers.integer_timeouts = true).await;
    let mut body = okta("a");
    body["mfa_vendor_type"]["okta_adaptive_v1"]["okta_timeout"] = json!(30);
    assert_eq!(client.create("Shared", &body).await.status, 201);
    body["mfa_vendor_type"]["okta_adaptive_v1"]["okta_org"] = json!(30);
    assert_eq!(client.create("Mobile Users", &body).await.status, 400);
}

#[tokio::test]
async fn unknown_members_are_kept_dropped_or_refused() {
    let (simulator, client) = start().await;
    let mut body = okta("a");
    body["new_member"] = json!({"any": 1});
    body["folder"] = json!("Nowhere");
    body["mfa_vendor_type"]["okta_adaptive_v1"]["okta_new"] = json!("x");
    let kept = client.create("Shared", &body).await.json();
    assert_eq!(kept["new_member"], json!({"any": 1}));
    assert_eq!(kept["folder"], "Shared", "the server's own folder counts");
    assert_eq!(kept["mfa_vendor_type"]["okta_adaptive_v1"]["okta_new"], "x");
    simulator.tenant(super::TSG).answer(|answers| answers.unknown_fields = UnknownFields::Drop);
    body["name"] = json!("b");
    assert!(client.create("Shared", &body).await.json().get("new_member").is_none());
    simulator.tenant(super::TSG).answer(|answers| answers.unknown_fields = UnknownFields::Reject);
    body["name"] = json!("c");
    assert_eq!(client.create("Shared", &body).await.message(), "Invalid Object");
    let mut named = okta("d");
    named["id"] = json!("read-only");
    assert_eq!(client.create("Shared", &named).await.status, 201, "an id is documented, and ignored");
}

#[tokio::test]
async fn other_methods_actions_versions_and_paths_are_refused() {
    let (_simulator, client) = start().await;
    for (method, path, status, message) in [
        ("PATCH", format!("{SERVERS}/x"), 501, "Method Not Supported"),
        ("PUT", SERVERS.to_owned(), 501, "Method Not Supported"),
        ("POST", format!("{SERVERS}/x:move"), 405, "Action Not Supported: move"),
        ("GET", "/sse/config/v9/mfa-servers?folder=Shared".to_owned(), 501, "Version Not Supported"),
    ] {
        let answered = client.call(method, &path, None).await;
        assert_eq!((answered.status, answered.message().as_str()), (status, message), "{method} {path}");
        assert_eq!(answered.json()["_errors"][0]["code"], "E012");
    }
    let unknown = client.get("/sse/config/v1/nothing").await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.text.contains("<html>"), "only the API's own 404 has a documented body");
}

#[tokio::test]
async fn nothing_is_answered_without_a_known_token() {
    let (simulator, mut client) = start().await;
    for token in [None, Some("unknown".to_owned())] {
        client.token = token;
        let answered = client.list("Shared", "").await;
        assert_eq!((answered.status, answered.message().as_str()), (401, "Not Authenticated"));
        assert_eq!(client.create("Shared", &okta("a")).await.status, 401);
    }
    client.token = Some("x".repeat(17 * 1024));
    assert_eq!(client.list("Shared", "").await.message(), "Key Too Long");
    assert!(simulator.objects().is_empty());
    let basic = client.request("GET", SERVERS).header("authorization", "Basic abc");
    assert_eq!(Client::send(basic).await.unwrap().status, 401);
}
