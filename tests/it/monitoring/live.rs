//! A real Prometheus that scrapes a real operator at work: each query of the dashboard and each alert is asked of it.

use std::{
    net::SocketAddr,
    process::Stdio,
    time::{Duration, Instant},
};

use mfa_sandbox::simulator::{Documented, Folder, Route, Rule};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::sleep,
};

use super::{dashboard, folder, program, promtool};
use crate::{
    admin,
    chart::{of_kind, render},
    operator::{LIMIT, Stage, TENANT, guard, okta, okta_with},
};

/// Between two looks at what tells no changes.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A Prometheus of its own; it is killed when this is dropped.
struct Prometheus {
    // First: it must not kill whoever has the number next.
    _guard: Child,
    _process: Child,
    address: String,
    client: reqwest::Client,
    folder: std::path::PathBuf,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Prometheus {
    /// Scrapes this operator every second, as OpenMetrics and, as another job, as the older text.
    async fn start(operator: SocketAddr, namespace: &str) -> Self {
        let folder = folder("prometheus");
        let job = |name: &str, protocol: &str| {
            json!({
                "job_name": name,
                "scrape_protocols": [protocol],
                "static_configs": [{ "targets": [operator.to_string()], "labels": { "namespace": namespace } }],
            })
        };
        let config = json!({
            "global": { "scrape_interval": "1s", "scrape_timeout": "1s" },
            "scrape_configs": [job("mfa-operator", "OpenMetricsText1.0.0"), job("text", "PrometheusText0.0.4")],
        });
        let file = folder.join("prometheus.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let mut process = Command::new(program("prometheus"))
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--log.format=json"])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("prometheus");
        let guard = guard(process.id().expect("a running process"));
        let mut lines = BufReader::new(process.stderr.take().expect("its log")).lines();
        let found = async {
            let mut said = Vec::new();
            while let Some(line) = lines.next_line().await.expect("a line") {
                let json: Value = serde_json::from_str(&line).unwrap_or_default();
                if json["msg"] == "Listening on" {
                    let address = json["address"].as_str().expect("an address").to_owned();
                    // What it says from now on is read, so that it never waits for a reader.
                    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                    return address;
                }
                said.push(line);
            }
            panic!("prometheus has ended:\n{}", said.join("\n"))
        };
        let address = tokio::time::timeout(LIMIT, found).await.expect("where prometheus listens");
        let client = reqwest::Client::builder().no_proxy().timeout(LIMIT).build().expect("a client");
        Self { _guard: guard, _process: process, address, client, folder }
    }

    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, String> {
        let url = format!("http://{}/api/v1/{path}", self.address);
        let answer = self.client.get(url).query(query).send().await.map_err(|error| error.to_string())?;
        let text = answer.text().await.map_err(|error| error.to_string())?;
        let json: Value = serde_json::from_str(&text).map_err(|_| text.clone())?;
        if json["status"] == "success" { Ok(json["data"].clone()) } else { Err(text) }
    }

    /// The series that a query has by now.
    async fn query(&self, query: &str) -> Result<Vec<Value>, String> {
        let data = self.ask("query", &[("query", query)]).await?;
        data["result"].as_array().cloned().ok_or_else(|| data.to_string())
    }

    /// Waits until a query has a series.
    async fn wait_series(&self, what: &str, query: &str) {
        let begin = Instant::now();
        loop {
            match self.query(query).await {
                Ok(series) if !series.is_empty() => return,
                // It is not ready yet, right after its start.
                answer => assert!(begin.elapsed() < LIMIT, "{what}: no series of {query}: {answer:?}"),
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}

/// Two that are in order, one refused, one that waits for its Secret, and one that somebody else has edited.
async fn at_work(stage: &Stage) {
    let secret = "the-client-secret";
    stage.secret("account", &[("client_id", "the-client"), ("client_secret", secret), ("tsg_id", TENANT)]).await;
    stage.tenant.set_service_account("the-client", secret);
    stage.simulator.inject(Rule::documented(Documented::InvalidObject).on("POST", Route::MfaServers).object("invalid"));
    stage.apply(&okta("corp")).await;
    stage.apply(&okta_with("account", &json!({ "credentialsSecretRef": { "name": "account" } }))).await;
    stage.apply(&okta("invalid")).await;
    stage.apply(&okta_with("homeless", &json!({ "credentialsSecretRef": { "name": "absent" } }))).await;
    stage.apply(&okta_with("watched", &json!({ "driftPolicy": "Report" }))).await;
    for name in ["corp", "account", "watched"] {
        stage.wait_ready(name, "True", "Available").await;
    }
    stage.wait_ready("invalid", "False", "InvalidObject").await;
    stage.wait_ready("homeless", "False", "SecretNotFound").await;
    for name in ["corp", "watched"] {
        let object = stage.tenant.find(Folder::MobileUsers, name).expect("an object");
        stage.tenant.edit(&object.id, &json!({ "mfa_cert_profile": "edited" })).expect("an object to edit");
        stage.annotate(name, "sse.mfa-operator.io/reconcile-requested-at", "1").await;
    }
    stage.wait_ready("watched", "False", "DriftReported").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_of_the_dashboard_and_every_alert_can_be_asked_of_what_a_real_operator_tells() {
    let stage = Stage::new().await;
    let namespace = stage.namespace.name.clone();
    // No try is due by the time that is looked at.
    let operator = stage.operator().flag("--resync-interval", "1h").start();
    let address = admin::address(&operator).await;
    let prometheus = Prometheus::start(address, &namespace).await;
    prometheus.wait_series("a scrape before anything happens", r#"up{job="mfa-operator"} == 1"#).await;
    at_work(&stage).await;

    // Both formats are read, and say the same.
    for job in ["mfa-operator", "text"] {
        prometheus.wait_series("a scrape", &format!(r#"up{{job="{job}"}} == 1"#)).await;
        let told = format!(
            r#"mfa_operator_resources{{job="{job}",condition="Ready",status="False",reason="DriftReported"}} == 1"#
        );
        prometheus.wait_series("what was found", &told).await;
    }

    let values = [("$namespace", namespace.as_str()), ("$job", "mfa-operator"), ("$__rate_interval", "5m")];
    let filled = |text: &str| values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    for (name, metric, label) in dashboard::variables() {
        let path = format!("label/{label}/values");
        let found = prometheus.ask(&path, &[("match[]", &filled(&metric))]).await.expect("the values of a label");
        let wanted = values.iter().find(|(variable, _)| variable[1..] == name).expect("a value").1;
        assert!(found.as_array().expect("values").iter().any(|value| value == wanted), "{name}: {found}");
    }
    // Every panel has something to show, all of them.
    let queries = dashboard::queries();
    assert!(queries.len() > 30, "{queries:?}");
    for (title, query) in queries {
        let query = filled(&query);
        assert!(!query.contains('$'), "{title}: a variable that no Grafana of this dashboard knows: {query}");
        prometheus.wait_series(&title, &query).await;
    }

    let rules = ["--set", "prometheusRule.enabled=true,fullnameOverride=mfa-operator"];
    let rule = of_kind(&render("default", &namespace, &rules).await, "PrometheusRule");
    for rule in rule["spec"]["groups"][0]["rules"].as_array().expect("rules") {
        let answer = prometheus.query(rule["expr"].as_str().expect("a query")).await;
        let series = answer.unwrap_or_else(|error| panic!("{}: {error}", rule["alert"]));
        // For these there is a reason; the time that it has to last is in the cases.
        let wanted =
            ["MfaServersStalled", "MfaServersWaiting", "MfaServersDrifted"].contains(&rule["alert"].as_str().unwrap());
        assert_eq!(!series.is_empty(), wanted, "{}: {series:?}", rule["alert"]);
    }

    // And promtool has nothing to say against any of it.
    let (_, text) = admin::get(address, "/metrics").await;
    let answer = promtool(&["check", "metrics"], &text).await;
    assert!(answer.ok && answer.stderr.is_empty(), "{answer:?}\n{text}");
    assert_eq!(operator.terminate().await.code(), Some(0));
}

#[tokio::test]
async fn promtool_complains_of_a_metric_that_is_badly_named() {
    let answer = promtool(&["check", "metrics"], "# TYPE mfa_operator_calls counter\nmfa_operator_calls 1\n").await;
    assert!(!answer.ok && answer.stderr.contains("_total"), "{answer:?}");
}
