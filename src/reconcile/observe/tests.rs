//! The list of all metrics, as a golden file and as docs/metrics.md, and how they are named.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::*;
use crate::metrics::{CLASSES, Format, LIST_RESULTS, Metrics, TOKEN_RESULTS, WATCHED};
use crate::reconcile::facts::{Definition, SecretProblem, Seen, Stored};
use crate::reconcile::golden;
use crate::sse::client;

const VERDICTS: [Verdict; 21] = [
    Verdict::InOrder,
    Verdict::Suspended,
    Verdict::InvalidSpec,
    Verdict::Secret(SecretProblem::Invalid),
    Verdict::Credential(CredentialProblem::Expired),
    Verdict::TenantMismatch,
    Verdict::DuplicateClaim,
    Verdict::NameTaken,
    Verdict::AdoptionRefused,
    Verdict::DriftReported,
    Verdict::Flapping,
    Verdict::Refused(Class::Busy),
    Verdict::OutcomeUnknown,
    Verdict::Adopted,
    Verdict::List,
    Verdict::Token,
    Verdict::Permit,
    Verdict::Delay,
    Verdict::Kube,
    Verdict::Leader,
    Verdict::Released,
];

const STEPS: [Step; 14] = [
    Step::ReadLive,
    Step::ReadSecrets,
    Step::ReadDefinition,
    Step::TakePermit,
    Step::Claim,
    Step::AddFinalizer,
    Step::Create,
    Step::Get,
    Step::Replace,
    Step::Delete,
    Step::DeleteStray,
    Step::Adopt,
    Step::Record(Verdict::InOrder),
    Step::DropFinalizer,
];

const CLASSES_OF_FACTS: [Class; 8] = [
    Class::Credential,
    Class::Forbidden,
    Class::Input,
    Class::Conflict,
    Class::Referenced,
    Class::Throttled,
    Class::Busy,
    Class::Server,
];

fn outcomes() -> Vec<Outcome> {
    let secrets = |secrets| Outcome::SecretsRead { secrets, echo: Sameness::Unknown, unwritable: false };
    vec![
        Outcome::DefinitionSeen(Definition::Stays),
        secrets(Secrets::Broken(SecretProblem::NotFound)),
        secrets(Secrets::Ready),
        Outcome::KubeFailed,
        Outcome::Conflicted,
        Outcome::Gone,
        Outcome::Queued,
        Outcome::CreatedUnseen,
        Outcome::Unknown(Class::Server),
        Outcome::Refused(Class::Input),
        Outcome::Refreshing,
        Outcome::NotLeading,
        Outcome::Absent,
    ]
}

/// Metrics with every series that can come to be.
fn all() -> Metrics {
    let metrics = Metrics::with_all_of_a_process();
    for verdict in VERDICTS {
        metrics.passed(verdict_name(verdict), Duration::ZERO);
    }
    metrics.passed(ENDLESS, Duration::ZERO);
    for step in STEPS {
        for outcome in outcomes() {
            metrics.stepped(step_name(step), outcome_name(outcome));
        }
        metrics.stepped(step_name(step), "unchanged");
    }
    let reasons = conditions::reason::ALL.iter().copied().chain(sse::Reason::ALL.iter().map(|reason| reason.as_str()));
    for reason in reasons.chain(["Other"]) {
        for condition in conditions::TYPES {
            for status in State::ALL.map(State::as_str) {
                metrics.know(&condition.into(), vec![Condition { condition, status, reason }], None);
            }
        }
    }
    for (method, route) in client::ROUTES.into_iter().chain([("POST", crate::sse::token::ROUTE)]) {
        metrics.requested(method, route, None, Duration::ZERO);
        for status in 0..1000 {
            metrics.requested(method, route, Some(status), Duration::ZERO);
        }
    }
    metrics
}

/// A metric as it is rendered.
#[derive(Debug, Default)]
struct Family {
    name: String,
    kind: String,
    unit: Option<String>,
    help: String,
    /// The samples' names.
    samples: BTreeSet<String>,
    /// The values of each label.
    labels: BTreeMap<String, BTreeSet<String>>,
}

impl Family {
    /// The name that a query uses; a histogram's stands for its `_bucket`, `_sum` and `_count`.
    fn queried(&self) -> &str {
        match self.kind.as_str() {
            "histogram" => &self.name,
            _ => self.samples.first().unwrap(),
        }
    }
}

/// Reads what was rendered, strictly: HELP, TYPE, UNIT, then samples.
fn families(text: &str) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    let mut lines = text.lines();
    for line in lines.by_ref() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            families.push(Family { name: name.to_owned(), help: help.to_owned(), ..Family::default() });
            continue;
        }
        if line == "# EOF" {
            break;
        }
        let family = families.last_mut().unwrap();
        if let Some(line) = line.strip_prefix("# ") {
            let (what, line) = line.split_once(' ').unwrap();
            let value = line.strip_prefix(&family.name).unwrap().trim().to_owned();
            match what {
                "TYPE" => family.kind = value,
                "UNIT" => family.unit = Some(value),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        family.samples.insert(name.to_owned());
        // No value of ours holds a comma or a quote.
        for label in labels.strip_suffix('}').unwrap().split(',').filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once('=').unwrap();
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap();
            if label != "le" {
                family.labels.entry(label.to_owned()).or_default().insert(value.to_owned());
            }
        }
    }
    assert_eq!(lines.next(), None, "nothing after the end");
    families
}

#[test]
fn the_list_of_metrics_is_the_golden_one() {
    let mut text = String::new();
    for family in families(&all().render(Format::OpenMetrics)) {
        let labels: Vec<&str> = family.labels.keys().map(String::as_str).collect();
        let unit = family.unit.as_ref().map(|unit| format!(", in {unit}")).unwrap_or_default();
        writeln!(text, "{} ({}{unit}) {{{}}}", family.queried(), family.kind, labels.join(", ")).unwrap();
        writeln!(text, "    {}", family.help).unwrap();
    }
    golden::check("tests/golden/metrics.txt", &text);
}

#[test]
fn the_page_of_metrics_is_what_is_rendered() {
    let families = families(&all().render(Format::OpenMetrics));
    let mut page = String::from(INTRODUCTION);
    for family in &families {
        let labels: Vec<String> = family.labels.keys().map(|label| format!("`{label}`")).collect();
        let (name, kind, labels) = (family.queried(), &family.kind, labels.join(", "));
        writeln!(page, "| `{name}` | {kind} | {labels} | {} |", family.help).unwrap();
    }
    page.push_str(VALUES);
    for family in families.iter().filter(|family| family.kind != "info") {
        for (label, values) in &family.labels {
            let values = if label == "reason" {
                "a reason of the status's conditions, or `Other`".to_owned()
            } else {
                values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" ")
            };
            writeln!(page, "| `{}` | `{label}` | {values} |", family.queried()).unwrap();
        }
    }
    page.push_str(QUERIES);
    golden::check("docs/metrics.md", &page);
}

const INTRODUCTION: &str = "<!-- Generated by `make generate`; do not edit. -->
# Metrics
`/metrics` on `--http-addr` answers in the text format of OpenMetrics to whoever accepts it, as Prometheus does, and in the
older one of Prometheus to everybody else; the series are the same. A histogram's name stands for its `_bucket`, `_sum` and
`_count`. No label holds the name of a resource, a Secret, a tenant or an id: the number of series is bounded by the
tables below, whatever the number of resources. To find the resources behind a number, ask the cluster: `kubectl get mfa -A`.

| name | type | labels | meaning |
|---|---|---|---|
";

const VALUES: &str = "
## Values of labels
| name | label | values |
|---|---|---|
";

const QUERIES: &str = r#"
`waits_for_…` passes end without a write and without a call: what they wait for wakes the resource. A step's outcome is
`done` where it did what its name says; `unchanged` is a status that says so already and costs no write.

## Queries
| question | query |
|---|---|
| how many resources are not Ready, and why | `sum by (reason) (mfa_operator_resources{condition="Ready", status!="True"})` |
| how many need somebody to act | `sum(mfa_operator_resources{condition="Stalled", status="True"})` |
| is the tenant's API failing | `sum by (route, status) (rate(mfa_operator_api_requests_total{status!~"2.."}[5m]))` |
| how fast is an apply in the tenant, for 99 of 100 | `histogram_quantile(0.99, sum by (le) (rate(mfa_operator_ready_latency_seconds_bucket[1h])))` |
| does the limit of calls slow us down | `rate(mfa_operator_api_limiter_wait_seconds_sum[5m])` |
| does somebody else edit the tenant | `increase(mfa_operator_drift_found_total[1d])` |
| does anybody lead | `max(mfa_operator_leader)` |

The chart has a Grafana dashboard of these (`grafanaDashboard.enabled`) and [alerts](operations.md#alerts)
(`prometheusRule.enabled`).
"#;

/// What the instrumentation guidelines ask for beyond what `promtool check metrics` sees, which tests/it/monitoring runs.
#[test]
fn the_metrics_are_named_as_is_usual() {
    let families = families(&all().render(Format::OpenMetrics));
    let mut names = BTreeSet::new();
    for family in &families {
        let Family { name, kind, unit, help, .. } = family;
        let snake = |text: &str| {
            text.split('_').all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
        };
        assert!(names.insert(name.clone()), "{name} is there twice");
        let is_ours = name.starts_with("mfa_operator_");
        assert!(is_ours || name.starts_with("process_"), "{name} has another prefix");
        assert!(snake(name), "{name} is not in snake case: no colons, no digits");
        let words: Vec<&str> = name.split('_').collect();
        for word in ["counter", "gauge", "histogram", "summary", "metric", "total", "count", "sum", "bucket", "info"] {
            assert!(!words.contains(&word), "{name} holds {word:?}: a type, or a suffix that types have");
        }
        for unit in ["ms", "us", "ns", "milliseconds", "microseconds", "minutes", "hours", "kilobytes", "percent"] {
            assert!(!words.contains(&unit), "{name} is not in a base unit");
        }
        assert!(help.ends_with('.') && !help.ends_with(".."), "{name}: {help:?} is no sentence");
        assert!(help.starts_with(|c: char| c.is_ascii_uppercase()) && help.len() > 20, "{name}: {help:?}");
        match unit {
            Some(unit) => {
                let base = unit == "seconds" || (unit == "bytes" && !is_ours);
                assert!(base && name.ends_with(&format!("_{unit}")), "{name} is in {unit}");
            }
            None => assert!(!name.ends_with("_seconds") && !name.ends_with("_bytes"), "{name} tells no unit"),
        }
        let samples: Vec<String> = family.samples.iter().map(|sample| sample.replace(name, "")).collect();
        match kind.as_str() {
            "counter" => assert_eq!(samples, ["_total"], "{name}"),
            "gauge" => assert_eq!(samples, [""], "{name}"),
            "info" => assert_eq!(samples, ["_info"], "{name}"),
            "histogram" => {
                assert_eq!(samples, ["_bucket", "_count", "_sum"], "{name}");
                assert!(unit.is_some(), "{name} tells no unit");
            }
            kind => panic!("{name} is of type {kind:?}"),
        }
        for (label, values) in &family.labels {
            assert!(
                snake(label) && !["le", "quantile", "job", "instance"].contains(&label.as_str()),
                "{name}: {label}"
            );
            for value in values {
                assert!(!value.is_empty() && value.len() <= 40, "{name}: {label}={value:?}");
            }
        }
    }
    assert_eq!(families.len(), 23, "a metric is missing here, or its series are in `all`");
}

/// The most there can ever be, with every step ending in every way.
#[test]
fn the_number_of_series_is_bounded() {
    let series = all().render(Format::OpenMetrics).lines().filter(|line| !line.starts_with('#')).count();
    assert!(series < 2000, "{series}");
}

#[test]
fn every_name_is_of_its_set_and_stands_for_one_thing() {
    let names: BTreeSet<&str> = VERDICTS.into_iter().map(verdict_name).chain([ENDLESS]).collect();
    assert_eq!(names.len(), VERDICTS.len() + 1);
    let names: BTreeSet<&str> = STEPS.into_iter().map(step_name).collect();
    assert_eq!(names.len(), STEPS.len());
    assert_eq!(CLASSES_OF_FACTS.map(class_name), CLASSES);
    assert_eq!((TOKEN_RESULTS.len(), LIST_RESULTS.len(), WATCHED.len()), (3, 3, 2));
}

#[test]
fn a_reason_that_is_not_ours_is_no_label() {
    let condition = |kind: &str, reason: &str| {
        let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH);
        conditions::condition(&[], kind, State::True, reason, "", 1, &now)
    };
    let reason = |reason| labels(&condition(READY, reason)).map(|labels| labels.reason);
    assert_eq!(reason("Available"), Some("Available"));
    assert_eq!(reason("NameNotUnique"), Some("NameNotUnique"));
    assert_eq!(reason("n0-such-reason"), Some("Other"));
    assert_eq!(labels(&condition("Ready2", "Available")), None);
}

#[test]
fn drift_is_what_somebody_else_has_changed() {
    let seen = Seen {
        spec_valid: true,
        due: true,
        flapping: false,
        credential: crate::reconcile::facts::Credential::Ready,
        tenant: Tenant::Same,
        claim: crate::reconcile::facts::Claim::Ours,
        versions: Sameness::Same,
        list: List::Complete,
        found: crate::reconcile::facts::Found::Ours,
        fields: Sameness::Same,
        echo: Sameness::Same,
        verifiable: false,
        forbidden: crate::reconcile::facts::Forbidden::default(),
    };
    let stored = Stored { id: true, finalizer: true, was_in_order: true, ..Stored::default() };
    let facts = |stored, seen| Facts::from_stored(stored).seeing(seen);
    let edited = Seen { fields: Sameness::Differs, ..seen };
    let echoed = Seen { echo: Sameness::Differs, ..seen };
    assert!(!is_drift(&facts(stored, seen)));
    assert!(is_drift(&facts(stored, edited)));
    assert!(is_drift(&facts(stored, echoed)));
    assert!(!is_drift(&facts(stored, Seen { versions: Sameness::Differs, ..echoed })), "the Secret has changed");
    assert!(!is_drift(&facts(Stored { was_in_order: false, ..stored }, edited)), "the spec has changed");
    assert!(!is_drift(&facts(Stored { deleting: true, ..stored }, edited)), "it is to go anyway");
    let mut gone = facts(stored, seen);
    gone.learn(Outcome::Absent);
    assert!(is_drift(&gone));
    gone.tenant = Tenant::Unsure;
    assert!(!is_drift(&gone), "another tenant's absence proves nothing");
    let mut corrected = facts(stored, edited);
    corrected.learn(Outcome::Replaced);
    assert!(!is_drift(&corrected));
}

#[test]
fn a_resource_is_as_old_as_its_creation_says_where_that_is_told_finely_enough() {
    let at = |seconds| Timestamp::from_second(seconds).unwrap();
    assert_eq!(age(at(100), at(160)), Some(Duration::from_mins(1)));
    assert_eq!(age(at(100), at(101)), None, "within the second that creation times are cut to");
    assert_eq!(age(at(160), at(100)), None, "a clock that goes wrong");
}
