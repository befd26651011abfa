//! The cluster as its administrator sees it: kubectl and helm, the API itself, and waiting.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use super::{During as _, Error, Parts, Result, failed, node::Node};

/// The limit of everything that is waited for: a machine may be busy with something else.
pub(super) const LIMIT: Duration = Duration::from_mins(5);
const POLL: Duration = Duration::from_millis(200);

/// Asks again and again until there is an answer. An error counts as none yet; the last one is told at the limit.
pub(super) async fn until<T>(what: &str, look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    until_within(LIMIT, what, look).await
}

/// As [`until`], with another limit.
pub(super) async fn until_within<T>(
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let begin = Instant::now();
    loop {
        let last = match look().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => "not yet".to_owned(),
            Err(error) => error.to_string(),
        };
        if begin.elapsed() > limit {
            return failed(format!("waited {} s for this: {what}; at the end: {last}", limit.as_secs()));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// An administrator.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    http: reqwest::Client,
    assets: PathBuf,
    checkout: PathBuf,
    folder: PathBuf,
}

impl Cluster {
    pub(super) fn new(parts: &Parts, node: &Node) -> Self {
        Self {
            http: node.http(),
            assets: parts.assets.clone(),
            checkout: parts.checkout.clone(),
            folder: node.folder().to_owned(),
        }
    }

    /// Runs kubectl, which has to succeed.
    pub(super) async fn kubectl(&self, words: &[&str]) -> Result<String> {
        self.run("kubectl", words, "").await
    }

    /// Applies manifests with kubectl.
    pub(super) async fn apply(&self, namespace: &str, manifests: &[Value]) -> Result<String> {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": manifests});
        self.run("kubectl", &["--namespace", namespace, "apply", "--filename", "-"], &list.to_string()).await
    }

    /// Runs helm, which has to succeed.
    pub(super) async fn helm(&self, words: &[&str]) -> Result<String> {
        self.run("helm", words, "").await
    }

    async fn run(&self, name: &str, words: &[&str], input: &str) -> Result<String> {
        let home = self.folder.join("home");
        let run = async {
            let mut child = tokio::process::Command::new(self.assets.join(name))
                .args(words)
                .current_dir(&self.checkout)
                .env("KUBECONFIG", self.folder.join("admin.kubeconfig"))
                .env("HOME", &home)
                .env("KUBECACHEDIR", home.join("kube-cache"))
                .env("HELM_CACHE_HOME", home.join("helm-cache"))
                .env("HELM_CONFIG_HOME", home.join("helm-config"))
                .env("HELM_DATA_HOME", home.join("helm-data"))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn()?;
            if let Some(mut pipe) = child.stdin.take() {
                // A program that does not read its input has closed it by now, which is no mistake.
                let _ = pipe.write_all(input.as_bytes()).await;
            }
            child.wait_with_output().await
        };
        let line = format!("{name} {}", words.join(" "));
        let output = tokio::time::timeout(LIMIT * 2, run).await.during(&line)?.during(&line)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        failed(format!("{line}: {text}{}", String::from_utf8_lossy(&output.stderr)))
    }

    async fn ask(&self, method: Method, path: &str, body: Option<(&str, &Value)>) -> Result<(StatusCode, Value)> {
        let what = format!("{method} {path}");
        let mut request = self.http.request(method, format!("{}{path}", Node::url()));
        if let Some((kind, body)) = body {
            request = request.header("Content-Type", kind).body(body.to_string());
        }
        let response = request.send().await.during(&what)?;
        let status = response.status();
        let body = response.bytes().await.during(&what)?;
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if status.is_success() || status == StatusCode::NOT_FOUND {
            return Ok((status, body));
        }
        failed(format!("{what}: {status}: {body}"))
    }

    /// An object or a list, if it is there.
    pub(super) async fn get(&self, path: &str) -> Result<Option<Value>> {
        let (status, body) = self.ask(Method::GET, path, None).await?;
        Ok((status != StatusCode::NOT_FOUND).then_some(body))
    }

    /// The items of a list.
    pub(super) async fn list(&self, path: &str) -> Result<Vec<Value>> {
        let mut body = self.get(path).await?.ok_or_else(|| Error(format!("GET {path}: not found")))?;
        Ok(match body["items"].take() {
            Value::Array(items) => items,
            _ => Vec::new(),
        })
    }

    pub(super) async fn create(&self, path: &str, body: &Value) -> Result {
        match self.ask(Method::POST, path, Some(("application/json", body))).await? {
            (StatusCode::NOT_FOUND, body) => failed(format!("POST {path}: {body}")),
            _ => Ok(()),
        }
    }

    /// A merge patch.
    pub(super) async fn patch(&self, path: &str, body: &Value) -> Result {
        match self.ask(Method::PATCH, path, Some(("application/merge-patch+json", body))).await? {
            (StatusCode::NOT_FOUND, body) => failed(format!("PATCH {path}: {body}")),
            _ => Ok(()),
        }
    }

    /// Deletes what may be gone already.
    pub(super) async fn delete(&self, path: &str) -> Result {
        self.ask(Method::DELETE, path, None).await.map(|_| ())
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}
