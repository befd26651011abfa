//! The chart's Grafana dashboard: how it is built, and how it gets into the cluster.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{exists, metrics, named};
use crate::chart::{of_kind, read, render};

const FILE: &str = "charts/mfa-operator/files/dashboard.json";

fn dashboard() -> Value {
    serde_json::from_str(&read(FILE)).unwrap()
}

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().unwrap()
}

/// Every query, with the title of its panel.
pub(super) fn queries() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let queries = panels(&dashboard).iter().flat_map(|panel| {
        let title = panel["title"].as_str().unwrap();
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(move |target| (title.to_owned(), target["expr"].as_str().unwrap().to_owned()))
    });
    queries.collect()
}

/// The variables that are asked for: `label_values(metric, label)`, as name, metric and label.
pub(super) fn variables() -> Vec<(String, String, String)> {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let asked = variables.iter().filter(|variable| variable["type"] == "query");
    asked
        .map(|variable| {
            let query = variable["query"]["query"].as_str().unwrap();
            assert_eq!(variable["definition"], query);
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
            let (metric, label) = inner.rsplit_once(", ").unwrap();
            (variable["name"].as_str().unwrap().to_owned(), metric.to_owned(), label.to_owned())
        })
        .collect()
}

#[test]
fn every_panel_has_its_own_id_and_place_and_says_what_it_shows() {
    let dashboard = dashboard();
    let panels = panels(&dashboard);
    assert!(panels.len() > 20);
    let (mut ids, mut titles, mut taken) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another's");
        assert!(titles.insert(title), "{title} is there twice");
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        let (x, y, w, h) = (place("x"), place("y"), place("w"), place("h"));
        assert!(w > 0 && h > 0 && x + w <= 24, "{title} is outside the 24 columns");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} lies over another panel at {cell:?}");
        }
        match panel["type"].as_str().unwrap() {
            "row" => assert_eq!((x, w, h), (0, 24, 1), "{title}"),
            "stat" | "timeseries" => {
                assert!(panel["description"].as_str().unwrap().ends_with('.'), "{title}");
                assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
                assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}");
                let targets = panel["targets"].as_array().unwrap();
                let letters: BTreeSet<_> = targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
                assert!(!targets.is_empty() && letters.len() == targets.len(), "{title}: {letters:?}");
            }
            kind => panic!("{title}: {kind} is not tested"),
        }
    }
    for field in ["uid", "title", "schemaVersion", "time", "refresh"] {
        assert!(!dashboard[field].is_null(), "{field}");
    }
    assert!(dashboard["id"].is_null(), "an id is Grafana's to give");
}

#[test]
fn every_query_is_of_the_chosen_data_source_and_operator() {
    let dashboard = dashboard();
    for target in panels(&dashboard).iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten()) {
        assert_eq!(target["datasource"]["uid"], "${datasource}");
        assert_eq!(target["datasource"]["type"], "prometheus");
        let expr = target["expr"].as_str().unwrap();
        let selected = expr.matches(r#"{namespace="$namespace",job="$job""#).count();
        assert_eq!(selected, named(expr).len(), "{expr}");
        let range = expr.contains("rate(") || expr.contains("increase(");
        assert_eq!(range, expr.contains("[$__rate_interval]") || expr.contains("[24h]"), "{expr}");
    }
    let datasource = &dashboard["templating"]["list"][0];
    assert_eq!((&datasource["name"], &datasource["type"]), (&"datasource".into(), &"datasource".into()));
    assert_eq!(datasource["query"], "prometheus");
    let asked: Vec<_> = variables().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(asked, ["namespace", "job"]);
}

#[test]
fn every_metric_is_shown_and_every_shown_metric_is_there() {
    let queries = queries();
    let shown: BTreeSet<&str> = queries.iter().flat_map(|(_, expr)| named(expr)).collect();
    for name in &shown {
        assert!(exists(name), "there is no metric {name}");
    }
    for (name, kind) in metrics() {
        let wanted = if kind == "histogram" { format!("{name}_bucket") } else { name };
        assert!(shown.contains(&*wanted), "{wanted} is on no panel");
    }
}

#[tokio::test]
async fn the_config_map_holds_the_dashboard_under_the_label_that_the_sidecar_looks_for() {
    let yaml = render("default", "mfa-system", &["--set", "grafanaDashboard.enabled=true"]).await;
    let map = of_kind(&yaml, "ConfigMap");
    assert_eq!(map["metadata"]["name"], "mfa-mfa-operator-dashboard");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let held: Value = serde_json::from_str(map["data"]["mfa-operator.json"].as_str().unwrap()).unwrap();
    assert_eq!(held, dashboard());
    // The bounds of an annotation's and of an object's size, were it applied client-side.
    assert!(map.to_string().len() < 200 * 1024);
    let without = render("default", "mfa-system", &[]).await;
    assert!(!without.contains("kind: ConfigMap"));
}
