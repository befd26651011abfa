//! The simulator against the API's documents, over real connections.

mod control;
mod errors;
mod faults;
mod lists;
mod objects;
mod pushes;
mod refusals;
mod tokens;
mod traffic;

use std::time::Duration;

use serde_json::{Value, json};

use super::{Answers, Options, Simulator, TenantOptions};

pub(super) const TSG: &str = "1234567890";
pub(super) const TOKEN: &str = "token-that-never-shows";
pub(super) const SECRET: &str = "a-very-secret-password-123!";
pub(super) const SERVERS: &str = "/sse/config/v1/mfa-servers";
pub(super) const LONG: Duration = Duration::from_secs(20);

/// A client with one token that knows nothing of the simulator's types.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    pub(super) token: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) text: String,
}

impl Answered {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub(super) fn message(&self) -> String {
        self.json()["_errors"][0]["message"].as_str().unwrap().to_owned()
    }

    pub(super) fn names(&self) -> Vec<String> {
        let body = self.json();
        let items = body.get("data").unwrap_or(&body).as_array().unwrap().clone();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    }
}

impl Client {
    pub(super) fn new(simulator: &Simulator) -> Self {
        // A second installation is refused, and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().build().unwrap();
        Self { http, base: simulator.url(), token: Some(TOKEN.to_owned()) }
    }

    pub(super) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(super) async fn send(request: reqwest::RequestBuilder) -> Result<Answered, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answered { status, headers, text: response.text().await? })
    }

    pub(super) async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answered {
        self.try_call(method, path, body).await.unwrap()
    }

    pub(super) async fn try_call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answered, reqwest::Error> {
        let request = self.request(method, path);
        Self::send(match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
    }

    pub(super) async fn get(&self, path: &str) -> Answered {
        self.call("GET", path, None).await
    }

    pub(super) async fn create(&self, folder: &str, body: &Value) -> Answered {
        self.call("POST", &create_path(folder), Some(body)).await
    }

    pub(super) async fn list(&self, folder: &str, rest: &str) -> Answered {
        self.get(&format!("{SERVERS}?folder={}{rest}", folder.replace(' ', "%20"))).await
    }
}

pub(super) fn create_path(folder: &str) -> String {
    format!("{SERVERS}?position=pre&folder={}", folder.replace(' ', "%20"))
}

pub(super) fn okta(name: &str) -> Value {
    json!({
        "name": name,
        "mfa_cert_profile": "corp-ca",
        "mfa_vendor_type": {"okta_adaptive_v1": {
            "okta_api_host": "corp.okta.example.com",
            "okta_baseuri": "/api/v1",
            "okta_org": "corp",
            "okta_timeout": "30",
            "okta_token": SECRET,
        }},
    })
}

pub(super) async fn start_with(options: TenantOptions) -> (Simulator, Client) {
    let mut options = options;
    options.bearer_tokens.push(TOKEN.to_owned());
    let simulator = Simulator::start(Options::default().tenant(TSG, options)).await.unwrap();
    let client = Client::new(&simulator);
    (simulator, client)
}

pub(super) async fn start() -> (Simulator, Client) {
    start_with(TenantOptions::default()).await
}

pub(super) async fn start_answering(change: impl FnOnce(&mut Answers)) -> (Simulator, Client) {
    let mut options = TenantOptions::default();
    change(&mut options.answers);
    start_with(options).await
}

pub(super) fn id_of(created: &Answered) -> String {
    created.json()["id"].as_str().unwrap().to_owned()
}
