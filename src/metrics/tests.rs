use super::status::STATUSES;
use super::*;

fn condition(reason: &'static str) -> Condition {
    Condition { condition: "Ready", status: "False", reason }
}

/// The lines of one metric's samples, in order.
fn samples(metrics: &Metrics, name: &str) -> Vec<String> {
    let text = metrics.render(Format::OpenMetrics);
    let mut lines: Vec<String> = text.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect();
    lines.sort();
    lines
}

fn series(metrics: &Metrics) -> usize {
    metrics.render(Format::OpenMetrics).lines().filter(|line| !line.starts_with('#')).count()
}

#[test]
fn resources_are_counted_by_their_last_conditions_until_they_are_gone() {
    let metrics = Metrics::new();
    let [a, b, c] = ["n/a", "n/b", "n/c"].map(Arc::<str>::from);
    for resource in [&a, &b, &c] {
        metrics.know(resource, vec![condition("Unreachable")], None);
    }
    metrics.know(&b, vec![condition("InvalidObject")], None);
    metrics.clone().know(&b, vec![condition("InvalidObject")], None);
    let said = |reason: &str, count| {
        format!(r#"mfa_operator_resources{{condition="Ready",status="False",reason="{reason}"}} {count}"#)
    };
    assert_eq!(samples(&metrics, "mfa_operator_resources{"), [said("InvalidObject", 1), said("Unreachable", 2)]);
    metrics.forget(&b);
    metrics.forget(&b);
    metrics.retain(&HashSet::from([a]));
    assert_eq!(samples(&metrics, "mfa_operator_resources{"), [said("InvalidObject", 0), said("Unreachable", 1)]);
}

#[test]
fn no_number_of_resources_makes_another_series() {
    let metrics = Metrics::new();
    let know = |range: std::ops::Range<u32>| {
        for number in range {
            let waiting = Waiting { class: "busy", due: None };
            metrics.know(&Arc::from(format!("n/{number}")), vec![condition("Busy")], Some(waiting));
        }
        series(&metrics)
    };
    assert_eq!(know(0..2), know(2..2000));
}

#[tokio::test(start_paused = true)]
async fn the_time_until_the_next_try_goes_by() {
    let metrics = Metrics::new();
    let now = Instant::now();
    let wait = |class, seconds| Some(Waiting { class, due: Some(now + Duration::from_secs(seconds)) });
    metrics.know(&Arc::from("n/a"), Vec::new(), wait("server", 60));
    metrics.know(&Arc::from("n/b"), Vec::new(), wait("server", 20));
    metrics.know(&Arc::from("n/c"), Vec::new(), Some(Waiting { class: "server", due: None }));
    metrics.know(&Arc::from("n/d"), Vec::new(), wait("busy", 5));
    let due = |class: &str| samples(&metrics, &format!(r#"mfa_operator_retry_due_seconds{{class="{class}"}}"#));
    let waiting = |class: &str| samples(&metrics, &format!(r#"mfa_operator_retries_waiting{{class="{class}"}}"#));
    assert_eq!(waiting("server"), [r#"mfa_operator_retries_waiting{class="server"} 3"#]);
    assert_eq!(waiting("input"), [r#"mfa_operator_retries_waiting{class="input"} 0"#]);
    tokio::time::advance(Duration::from_secs(8)).await;
    assert_eq!(due("server"), [r#"mfa_operator_retry_due_seconds{class="server"} 12.0"#]);
    assert_eq!(due("busy"), [r#"mfa_operator_retry_due_seconds{class="busy"} 0.0"#], "overdue is due now");
    metrics.know(&Arc::from("n/b"), Vec::new(), None);
    assert_eq!(due("server"), [r#"mfa_operator_retry_due_seconds{class="server"} 52.0"#]);
    assert_eq!(waiting("server"), [r#"mfa_operator_retries_waiting{class="server"} 2"#]);
}

#[test]
fn whatever_status_a_server_answers_the_labels_are_few() {
    let metrics = Metrics::new();
    for status in 0..=u16::MAX {
        metrics.requested("GET", "token", Some(status), Duration::ZERO);
    }
    metrics.requested("GET", "token", None, Duration::ZERO);
    let lines = samples(&metrics, "mfa_operator_api_requests_total{");
    assert_eq!(lines.len(), STATUSES.len() + "1xx 2xx 3xx 4xx 5xx other none".split(' ').count(), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains(r#"status="429"} 1"#) || line.ends_with(r#"status="429"} 1"#)));
}
