//! The documented errors on demand, against the documents' table.

use serde_json::json;

use super::super::{Documented, ErrorForm, Reply, Route, Rule};
use super::{SERVERS, okta, start, start_answering};

/// Status, name, code and message, copied from the documents.
const TABLE: [(u16, &str, &str, &str); 23] = [
    (400, "input_format_mismatch", "E003", "Input Format Mismatch: input-format=json"),
    (400, "invalid_object", "E003", "Invalid Object"),
    (400, "invalid_query_parameter", "E003", "Invalid Query Parameter: location=invalid"),
    (400, "missing_body", "E003", "Missing Body"),
    (400, "missing_query_parameter", "E003", "Missing Query Parameter: name"),
    (400, "output_format_mismatch", "E003", "Output Format Mismatch: output-format=json Accept=xml"),
    (401, "auth_not_authenticated", "E016", "Not Authenticated"),
    (401, "invalid_credential", "E016", "Invalid Credential"),
    (401, "key_expired", "E016", "Key Expired"),
    (401, "key_too_long", "E016", "Key Too Long"),
    (401, "need_password_change", "E016", "The password needs to be changed."),
    (403, "auth_unauthorized", "E007", "Unauthorized"),
    (404, "object_not_present", "E005", "Object Not Present"),
    (409, "name_not_unique", "E006", "Name Not Unique"),
    (409, "object_not_unique", "E016", "Object Not Unique"),
    (409, "reference_not_zero", "E009", "Reference Not Zero"),
    (405, "action_not_supported", "E012", "Action Not Supported: move"),
    (400, "bad_xpath", "E013", "Bad XPath"),
    (400, "invalid_command", "E003", "Invalid Command"),
    (400, "malformed_command", "E003", "Malformed Command"),
    (501, "method_not_allowed", "E012", "Method Not Supported"),
    (504, "session_timeout", "4", "Session Timeout"),
    (501, "version_not_supported", "E012", "Version Not Supported"),
];

#[tokio::test]
async fn every_documented_error_comes_as_the_table_says() {
    let (simulator, client) = start().await;
    for (status, name, code, message) in TABLE {
        let error: Documented = serde_json::from_value(json!(name)).unwrap();
        simulator.inject(Rule::documented(error).named(name).once());
        let answered = client.create("Shared", &okta("a")).await;
        assert_eq!(answered.status, status, "{name}");
        let body = answered.json();
        let code = if name == "session_timeout" { json!(4) } else { json!(code) };
        assert_eq!(body["_errors"], json!([{"code": code, "details": {}, "message": message}]), "{name}");
        assert!(body["_request_id"].as_str().is_some_and(|id| !id.is_empty()), "{name}");
        assert_eq!(answered.headers["content-type"], "application/json");
        assert_eq!(simulator.hits(name), 1);
    }
    assert_eq!(TABLE.len(), Documented::ALL.len());
    assert!(simulator.objects().is_empty(), "an error on demand applies nothing");
}

#[tokio::test]
async fn an_error_can_tell_its_type_beside_a_general_code() {
    let (simulator, client) = start().await;
    for (error, code, kind) in [
        (Documented::NameNotUnique, "API_I00013", "Name Not Unique"),
        (Documented::ObjectNotUnique, "API_I00013", "Object Already Exists"),
        (Documented::ObjectNotPresent, "API_I00013", "Object Not Present"),
        (Documented::ReferenceNotZero, "API_I00013", "Reference Not Zero"),
        (Documented::InvalidObject, "API_I00035", "Invalid Object"),
    ] {
        simulator.inject(Rule::new(Reply::DocumentedAs { error, form: ErrorForm::ErrorType }).once());
        let answered = client.create("Shared", &okta("a")).await;
        assert_eq!(answered.status, error.status().as_u16());
        assert_eq!(answered.json()["_errors"][0]["code"], code);
        assert_eq!(answered.json()["_errors"][0]["details"]["errorType"], kind);
    }
}

#[tokio::test]
async fn the_details_of_an_error_can_be_an_array_or_a_string() {
    let (simulator, client) = start().await;
    let error = Documented::InvalidObject;
    simulator.inject(Rule::new(Reply::DocumentedAs { error, form: ErrorForm::DetailsArray }).once());
    simulator.inject(Rule::new(Reply::DocumentedAs { error, form: ErrorForm::DetailsString }).once());
    assert!(client.create("Shared", &okta("a")).await.json()["_errors"][0]["details"].is_array());
    assert!(client.create("Shared", &okta("a")).await.json()["_errors"][0]["details"].is_string());
}

#[tokio::test]
async fn the_form_of_a_tenants_own_errors_can_be_chosen() {
    let (_simulator, client) = start_answering(|answers| answers.errors = ErrorForm::ErrorType).await;
    let answered = client.get(&format!("{SERVERS}/nothing")).await;
    assert_eq!(answered.status, 404);
    assert_eq!(answered.json()["_errors"][0]["details"]["errorType"], "Object Not Present");
}

#[tokio::test]
async fn a_request_id_never_comes_twice() {
    let (_simulator, client) = start().await;
    let one = client.get(&format!("{SERVERS}/nothing")).await.json();
    let other = client.get(&format!("{SERVERS}/nothing")).await.json();
    assert_ne!(one["_request_id"], other["_request_id"]);
}

#[tokio::test]
async fn a_rule_touches_only_what_matches_it() {
    let (simulator, client) = start().await;
    let error = Documented::InvalidObject;
    simulator.inject(Rule::documented(error).named("name").on("POST", Route::MfaServers).object("bad"));
    assert_eq!(client.create("Shared", &okta("good")).await.status, 201);
    assert_eq!(client.create("Shared", &okta("bad")).await.status, 400);
    simulator.clear_rules();
    let id = super::id_of(&client.create("Shared", &okta("bad")).await);
    simulator.inject(Rule::documented(error).object("bad").on("DELETE", Route::MfaServer));
    assert_eq!(client.get(&format!("{SERVERS}/{id}")).await.status, 200, "another method");
    assert_eq!(client.call("DELETE", &format!("{SERVERS}/{id}"), None).await.status, 400, "by the stored name");
    simulator.clear_rules();
    simulator.inject(Rule::documented(error).folder(super::super::Folder::MobileUsers));
    assert_eq!(client.list("Shared", "").await.status, 200);
    assert_eq!(client.list("Mobile Users", "").await.status, 400);
    simulator.clear_rules();
    simulator.inject(Rule::documented(error).tenant("another"));
    simulator.inject(Rule::documented(error).token("another"));
    simulator.inject(Rule::documented(error).id("another"));
    assert_eq!(client.list("Shared", "").await.status, 200);
    simulator.inject(Rule::documented(error).tenant(super::TSG).token(super::TOKEN));
    assert_eq!(client.list("Shared", "").await.status, 400);
}

#[tokio::test]
async fn a_rule_skips_the_first_and_ends_after_its_count() {
    let (simulator, client) = start().await;
    simulator.inject(Rule::documented(Documented::BadXpath).named("few").skip(1).times(2));
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(client.list("Shared", "").await.status);
    }
    assert_eq!(statuses, [200, 400, 400, 200, 200]);
    assert_eq!(simulator.hits("few"), 2);
    assert_eq!(simulator.remove_rule("few"), 1);
    assert!(simulator.rules().is_empty());
}
