//! The chart's alerts: as promtool sees them, against their cases, and against their runbook.

use std::collections::BTreeSet;

use mfa_operator::sse::{Class, Method, Reason, error::classify};
use serde_json::Value;

use super::{exists, folder, named, promtool};
use crate::chart::{of_kind, read, render};

const OPERATIONS: &str = "docs/operations.md";
const CASES: &str = "tests/monitoring/alerts.yaml";

/// The rules that helm makes with these values more.
async fn rules(more: &[&str]) -> Vec<Value> {
    let values = ["--set", "prometheusRule.enabled=true,fullnameOverride=mfa-operator"];
    let rule = of_kind(&render("default", "mfa-system", &[&values, more].concat()).await, "PrometheusRule");
    let [group] = rule["spec"]["groups"].as_array().unwrap().as_slice() else { panic!("one group: {rule}") };
    group["rules"].as_array().unwrap().clone()
}

fn names(rules: &[Value]) -> Vec<&str> {
    rules.iter().map(|rule| rule["alert"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_alert_fires_when_it_should_and_else_not() {
    let folder = folder("alerts");
    let groups = serde_json::json!({ "groups": [{ "name": "mfa-operator", "rules": rules(&[]).await }] });
    let file = folder.join("rules.json");
    std::fs::write(&file, groups.to_string()).unwrap();
    let cases = folder.join("alerts.yaml");
    std::fs::write(&cases, read(CASES)).unwrap();
    for arguments in [
        ["check", "rules", "--lint=all", "--lint-fatal", file.to_str().unwrap()].as_slice(),
        ["test", "rules", cases.to_str().unwrap()].as_slice(),
    ] {
        let answer = promtool(arguments, "").await;
        assert!(
            answer.ok && answer.stdout.contains("SUCCESS"),
            "promtool {arguments:?}:\n{}{}",
            answer.stdout,
            answer.stderr
        );
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() {
    let cases: Value = serde_saphyr::from_str(&read(CASES)).unwrap();
    let (mut fires, mut rests) = (BTreeSet::new(), BTreeSet::new());
    for test in cases["tests"].as_array().unwrap() {
        for case in test["alert_rule_test"].as_array().unwrap() {
            let expected = case["exp_alerts"].as_array().unwrap();
            let set = if expected.is_empty() { &mut rests } else { &mut fires };
            set.insert(case["alertname"].as_str().unwrap());
        }
        // A series that no alert asks for would prove nothing.
        for series in test["input_series"].as_array().unwrap() {
            let name = series["series"].as_str().unwrap().split('{').next().unwrap();
            assert!(name == "up" || exists(name), "{name}: {test}");
        }
    }
    let rules = rules(&[]).await;
    let all: BTreeSet<&str> = names(&rules).into_iter().collect();
    assert_eq!(fires, all, "those with a case in which they fire");
    assert_eq!(rests, all, "those with a case in which they do not");
}

#[tokio::test]
async fn every_alert_says_what_is_wrong_how_bad_it_is_and_where_its_runbook_is() {
    let page = "https://runbooks.example.com/mfa";
    let rules = rules(&["--set", &format!("prometheusRule.runbookUrl={page}")]).await;
    assert_eq!(names(&rules).iter().collect::<BTreeSet<_>>().len(), rules.len(), "names that are there twice");
    for rule in &rules {
        let name = rule["alert"].as_str().unwrap();
        assert_eq!(rule["annotations"]["runbook_url"], format!("{page}#{}", name.to_lowercase()));
        for annotation in ["summary", "description"] {
            let text = rule["annotations"][annotation].as_str().unwrap();
            assert!(text.ends_with('.') && text.len() > 20, "{name}: {annotation}: {text}");
        }
        assert!(["critical", "warning", "info"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{rule}");
        assert!(rule["for"].is_string(), "{name} would fire at once");
        let expr = rule["expr"].as_str().unwrap();
        let named = named(expr);
        assert!(name == "MfaOperatorDown" || !named.is_empty(), "{expr}");
        for metric in named {
            assert!(exists(metric), "{name}: there is no metric {metric}");
        }
        // Each selector is of this release's operator.
        let selectors = expr.matches('{').count();
        assert_eq!(expr.matches(r#"{job="mfa-operator",namespace="mfa-system""#).count(), selectors, "{name}: {expr}");
        assert!(!rule.to_string().contains("<target>") && !rule.to_string().contains("<resync>"), "{rule}");
    }
}

#[tokio::test]
async fn every_alert_has_its_section_in_the_runbook_and_every_section_its_alert() {
    let page = read(OPERATIONS);
    let (_, rest) = page.split_once("\n## Alerts\n").expect("a chapter of alerts");
    let chapter = rest.split("\n## ").next().unwrap();
    let sections: Vec<(&str, &str)> =
        chapter.split("\n### ").skip(1).map(|section| section.split_once('\n').unwrap()).collect();
    let rules = rules(&[]).await;
    assert_eq!(sections.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names(&rules));
    for (name, text) in sections {
        for part in ["**Means**", "**Look**", "**Do**"] {
            assert!(text.contains(part), "{name}: {part}");
        }
        for metric in named(text) {
            assert!(exists(metric), "{name}: there is no metric {metric}");
        }
    }
}

#[tokio::test]
async fn an_alert_is_left_out_by_its_name_and_the_schema_knows_all_names() {
    let all = rules(&[]).await;
    let left = rules(&["--set", "prometheusRule.disabled={MfaOperatorDown,MfaServersStalled}"]).await;
    let mut wanted = names(&all);
    wanted.retain(|name| !["MfaOperatorDown", "MfaServersStalled"].contains(name));
    assert_eq!(wanted.len() + 2, all.len());
    assert_eq!(names(&left), wanted);
    let schema: Value = serde_json::from_str(&read("charts/mfa-operator/values.schema.json")).unwrap();
    let known = &schema["properties"]["prometheusRule"]["properties"]["disabled"]["items"]["enum"];
    assert_eq!(known.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect::<Vec<_>>(), names(&all));

    let every = names(&all).join(",");
    let none = rules(&["--set", &format!("prometheusRule.disabled={{{every}}}")]).await;
    assert!(none.is_empty(), "{none:?}");
}

/// The alert of credentials, and those that leave its reasons to it, hold every reason of its classes.
#[tokio::test]
async fn the_reasons_in_the_alerts_are_those_of_their_classes() {
    let mut credentials: BTreeSet<String> = Reason::ALL
        .into_iter()
        .filter(|reason| {
            Method::ALL
                .into_iter()
                .any(|method| matches!(classify(method, *reason, None), Class::Credential | Class::Forbidden))
        })
        .map(|reason| reason.to_string())
        .collect();
    credentials.insert(mfa_operator::conditions::reason::TOKEN_EXPIRED.to_owned());
    let rules = rules(&[]).await;
    let listed = |alert: &str, operator: &str| -> BTreeSet<String> {
        let rule = rules.iter().find(|rule| rule["alert"] == alert).unwrap();
        let (_, list) = rule["expr"].as_str().unwrap().split_once(&format!("reason{operator}\"")).unwrap();
        list.split('"').next().unwrap().split('|').map(str::to_owned).collect()
    };
    assert_eq!(listed("MfaOperatorCredentialsRefused", "=~"), credentials);
    credentials.extend(["DriftReported", "Flapping"].map(str::to_owned));
    assert_eq!(listed("MfaServersStalled", "!~"), credentials);
}
