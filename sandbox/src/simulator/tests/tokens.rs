//! The token endpoint.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::super::{Reply, Route, Rule, Simulator, TenantOptions, TokenShape};
use super::{Answered, Client, LONG, TSG, start_with};

const ID: &str = "operator@1234567890.iam.panserviceaccount.com";
const KEY: &str = "client-secret-that-never-shows";

async fn tenant() -> (Simulator, Client) {
    start_with(TenantOptions::with_service_account(ID, KEY)).await
}

async fn ask(simulator: &Simulator, client: &Client, basic: Option<(&str, &str)>, form: &[(&str, &str)]) -> Answered {
    let path = simulator.auth_url().replace(&simulator.url(), "");
    let mut client = client.clone();
    client.token = None;
    let request = client.request("POST", &path).form(form);
    Client::send(match basic {
        Some((id, key)) => request.basic_auth(id, Some(key)),
        None => request,
    })
    .await
    .unwrap()
}

fn form(scope: &str) -> [(&str, &str); 2] {
    [("grant_type", "client_credentials"), ("scope", scope)]
}

fn claims(token: &str) -> Value {
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3);
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap()
}

#[tokio::test]
async fn a_service_account_gets_a_token_that_tells_its_tenant_and_end() {
    let (simulator, mut client) = tenant().await;
    let answered = ask(&simulator, &client, Some((ID, KEY)), &form("tsg_id:1234567890")).await;
    assert_eq!(answered.status, 200);
    let body = answered.json();
    assert_eq!((body["token_type"].as_str(), body["expires_in"].as_i64()), (Some("Bearer"), Some(899)));
    assert!(body["scope"].as_str().unwrap().split(' ').any(|word| word == "tsg_id:1234567890"));
    let token = body["access_token"].as_str().unwrap();
    let claims = claims(token);
    assert_eq!(claims["tsg_id"], TSG);
    assert!(claims["scope"].as_str().unwrap().contains("tsg_id:1234567890"));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 899);
    client.token = Some(token.to_owned());
    assert_eq!(client.list("Shared", "").await.status, 200);
    let second = ask(&simulator, &client, Some((ID, KEY)), &form("tsg_id:1234567890")).await.json();
    assert_ne!(second["access_token"], token, "no token comes twice");
}

#[tokio::test]
async fn a_wrong_token_request_is_refused_as_oauth_says() {
    let (simulator, client) = tenant().await;
    let scope = "tsg_id:1234567890";
    let good = Some((ID, KEY));
    for (basic, form, status, error) in [
        (None, &form(scope)[..], 401, "invalid_client"),
        (Some((ID, "wrong")), &form(scope), 401, "invalid_client"),
        (Some(("nobody", KEY)), &form(scope), 401, "invalid_client"),
        (good, &form("tsg_id:999"), 400, "invalid_scope"),
        (good, &form("1234567890"), 400, "invalid_scope"),
        (good, &[("grant_type", "client_credentials")], 400, "invalid_scope"),
        (good, &[("scope", scope)], 400, "invalid_request"),
        (good, &[("grant_type", "password"), ("scope", scope)], 400, "unsupported_grant_type"),
    ] {
        let answered = ask(&simulator, &client, basic, form).await;
        assert_eq!((answered.status, answered.json()["error"].as_str()), (status, Some(error)), "{form:?}");
        assert!(answered.json()["error_description"].is_string());
    }
    let request = client.request("POST", "/oauth2/access_token").basic_auth(ID, Some(KEY)).body("x");
    assert_eq!(Client::send(request).await.unwrap().status, 400, "not a form");
    assert_eq!(client.get("/oauth2/access_token").await.status, 405);
}

#[tokio::test]
async fn an_expired_or_revoked_token_is_refused() {
    let (simulator, mut client) = tenant().await;
    let tenant = simulator.tenant(TSG);
    client.token = Some(tenant.issue_token(Some(ID), Duration::ZERO, TokenShape::Jwt));
    let expired = client.list("Shared", "").await;
    assert_eq!((expired.status, expired.message().as_str()), (401, "Key Expired"));
    client.token = Some(tenant.issue_token(Some(ID), LONG, TokenShape::Jwt));
    let other = tenant.issue_token(Some("other"), LONG, TokenShape::Opaque);
    assert_eq!(client.list("Shared", "").await.status, 200);
    tenant.revoke_tokens(Some(ID));
    assert_eq!(client.list("Shared", "").await.message(), "Invalid Credential");
    client.token = Some(other);
    assert_eq!(client.list("Shared", "").await.status, 200, "another account's");
    tenant.revoke_tokens(None);
    assert_eq!(client.list("Shared", "").await.status, 401);
    client.token = Some(super::TOKEN.to_owned());
    assert_eq!(client.list("Shared", "").await.status, 200, "a static token is not a fetched one");
}

#[tokio::test]
async fn a_token_may_tell_no_tenant_or_nothing_at_all() {
    let (simulator, _client) = tenant().await;
    let tenant = simulator.tenant(TSG);
    let silent = claims(&tenant.issue_token(None, LONG, TokenShape::JwtWithoutTenant));
    assert!(silent.get("tsg_id").is_none() && silent.get("scope").is_none() && silent["exp"].is_i64());
    assert!(!tenant.issue_token(None, LONG, TokenShape::Opaque).contains('.'));
}

#[tokio::test]
async fn a_rotated_client_secret_counts_at_once() {
    let (simulator, client) = tenant().await;
    simulator.tenant(TSG).set_service_account(ID, "new");
    assert_eq!(ask(&simulator, &client, Some((ID, KEY)), &form("tsg_id:1234567890")).await.status, 401);
    assert_eq!(ask(&simulator, &client, Some((ID, "new")), &form("tsg_id:1234567890")).await.status, 200);
    simulator.tenant(TSG).remove_service_account(ID);
    assert_eq!(ask(&simulator, &client, Some((ID, "new")), &form("tsg_id:1234567890")).await.status, 401);
}

#[tokio::test]
async fn at_most_ten_token_requests_are_open_for_a_tenant() {
    let (simulator, client) = tenant().await;
    simulator.tenant(TSG).configure(|options| options.token_latency_ms = 1000);
    let asks =
        (0..14).map(|_| async { ask(&simulator, &client, Some((ID, KEY)), &form("tsg_id:1234567890")).await.status });
    let statuses = futures::future::join_all(asks).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 10, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 4, "{statuses:?}");
    simulator.tenant(TSG).configure(|options| options.token_latency_ms = 0);
    assert_eq!(ask(&simulator, &client, Some((ID, KEY)), &form("tsg_id:1234567890")).await.status, 200);
}

#[tokio::test]
async fn rules_hold_for_the_token_endpoint_too() {
    let (simulator, client) = tenant().await;
    let reply =
        Reply::OauthError { status: 401, error: "invalid_client".to_owned(), description: "disabled".to_owned() };
    simulator.inject(Rule::new(reply).named("out").on("POST", Route::Token).client_id(ID).tenant(TSG).once());
    let answered = ask(&simulator, &client, Some((ID, KEY)), &form("tsg_id:1234567890")).await;
    assert_eq!((answered.status, answered.json()["error_description"].as_str()), (401, Some("disabled")));
    assert_eq!(ask(&simulator, &client, Some((ID, KEY)), &form("tsg_id:1234567890")).await.status, 200);
    let text = serde_json::to_string(&simulator.log().entries()).unwrap();
    assert!(text.contains(ID) && !text.contains(KEY), "{text}");
}
