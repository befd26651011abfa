//! The simulated tenant: a pod, told what to do over its own API.

use std::{collections::BTreeMap, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};

use super::{During as _, Result, failed, node::SIMULATOR};
use crate::simulator::{Entry, Route};

pub(super) const TSG_ID: &str = "1234567890";
pub(super) const CLIENT_ID: &str = "mfa-operator@1234567890.iam.example.com";
pub(super) const CLIENT_SECRET: &str = "not-a-real-client-secret";

/// The tenant, in front of which nothing stands but the Service.
#[derive(Clone, Debug)]
pub(super) struct Tenant {
    http: reqwest::Client,
}

impl Tenant {
    pub(super) fn new() -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build();
        Ok(Self { http: http.during("building a client")? })
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let what = format!("the simulator's {method} {path}");
        let mut request = self.http.request(method, format!("http://{SIMULATOR}/_sim{path}"));
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await.during(&what)?;
        let status = response.status();
        let body = response.bytes().await.during(&what)?;
        if !status.is_success() {
            return failed(format!("{what}: {status}: {}", String::from_utf8_lossy(&body)));
        }
        Ok(serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Makes the tenant.
    pub(super) async fn set_up(&self) -> Result {
        let account = json!({"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET});
        let options = json!({"service_accounts": [account]});
        self.ask(Method::PUT, &format!("/tenants/{TSG_ID}"), Some(options)).await.map(|_| ())
    }

    /// Changes how it answers.
    pub(super) async fn configure(&self, options: Value) -> Result {
        self.ask(Method::PATCH, &format!("/tenants/{TSG_ID}"), Some(options)).await.map(|_| ())
    }

    /// What it holds.
    pub(super) async fn objects(&self) -> Result<Vec<Value>> {
        match self.ask(Method::GET, &format!("/tenants/{TSG_ID}/objects"), None).await? {
            Value::Array(objects) => Ok(objects),
            other => failed(format!("the simulator's objects are no list: {other}")),
        }
    }

    /// The object of this name, if it holds exactly one.
    pub(super) async fn object(&self, name: &str) -> Result<Option<Value>> {
        let objects = self.objects().await?;
        let mut found: Vec<Value> = objects.into_iter().filter(|object| object["name"] == name).collect();
        match found.len() {
            0 | 1 => Ok(found.pop()),
            count => failed(format!("the tenant holds {count} objects named {name}")),
        }
    }

    /// Another administrator creates an object.
    pub(super) async fn create(&self, folder: &str, body: Value) -> Result {
        let new = json!({"folder": folder, "body": body});
        self.ask(Method::POST, &format!("/tenants/{TSG_ID}/objects"), Some(new)).await.map(|_| ())
    }

    /// Another administrator changes an object.
    pub(super) async fn edit(&self, id: &str, change: Value) -> Result {
        self.ask(Method::PATCH, &format!("/tenants/{TSG_ID}/objects/{id}"), Some(change)).await.map(|_| ())
    }

    /// Another administrator deletes an object.
    pub(super) async fn remove(&self, id: &str) -> Result {
        self.ask(Method::DELETE, &format!("/tenants/{TSG_ID}/objects/{id}"), None).await.map(|_| ())
    }

    /// What came since that request.
    pub(super) async fn log(&self, after: u64) -> Result<Vec<Entry>> {
        let log = self.ask(Method::GET, &format!("/log?after={after}"), None).await?;
        serde_json::from_value(log).during("reading the simulator's log")
    }

    /// The number of the last request.
    pub(super) async fn now(&self) -> Result<u64> {
        Ok(self.log(0).await?.last().map_or(0, |entry| entry.seq))
    }

    /// Waits until such a request is there, answered or not.
    pub(super) async fn wait_for(&self, method: &str, name: &str) -> Result {
        let wanted = json!({"method": method, "name": name, "open": true, "timeout_ms": 20_000});
        self.ask(Method::POST, "/log/wait", Some(wanted)).await.map(|_| ())
    }

    /// How often each name was created, whatever became of the answer.
    pub(super) async fn creations(&self) -> Result<BTreeMap<String, usize>> {
        let mut count = BTreeMap::new();
        for entry in self.log(0).await? {
            if entry.method == "POST" && entry.route == Route::MfaServers && entry.applied_us.is_some() {
                *count.entry(entry.name.unwrap_or_default()).or_default() += 1;
            }
        }
        Ok(count)
    }

    /// Fails if any other object than these was created twice, or stands there twice.
    pub(super) async fn nothing_twice_but(&self, names: &[&str]) -> Result {
        for (name, count) in self.creations().await? {
            if count > 1 && !names.contains(&name.as_str()) {
                return failed(format!("{name} was created {count} times"));
            }
        }
        let mut standing = BTreeMap::<String, usize>::new();
        for object in self.objects().await? {
            *standing.entry(object["name"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        match standing.iter().find(|(_, count)| **count > 1) {
            Some((name, count)) => failed(format!("{name} stands there {count} times")),
            None => Ok(()),
        }
    }
}
