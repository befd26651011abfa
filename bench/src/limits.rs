//! A tenant that permits few calls: how much of that is used, whether its word is kept, and whether all are served in turn.

use std::collections::BTreeMap;
use std::time::Duration;

use mfa_sandbox::simulator::{Entry, RateLimit, Route};

use crate::plot::{Line, Plot};
use crate::process::Process;
use crate::report::Report;
use crate::stage::{Credentials, Ready, Stage, mobile_users};
use crate::{Result, Scale};

const LIMIT: Duration = Duration::from_mins(10);
const RATE: f64 = 10.0;
const BURST: u32 = 10;
/// What was sent before the answer had come is no disobedience: it comes within so many microseconds.
const ON_ITS_WAY: u64 = 20_000;
/// The same beside other tests, on a machine that is busy.
const ON_ITS_WAY_WHEN_BUSY: u64 = 400_000;

pub(crate) async fn measure(scale: &Scale, report: &mut Report) -> Result<Vec<(&'static str, Plot)>> {
    let stage = Stage::start(false, Credentials::Bearer).await?;
    let mut lines = Vec::new();
    for (name, flags) in [("--api-qps 0", &["--api-qps", "0"][..]), ("--api-qps 20, the default", &[])] {
        // Another limit and back: the bucket is full again.
        stage.tenant.configure(|options| options.rate_limit = None);
        let limit = RateLimit { rate: RATE, burst: BURST, retry_after: true };
        stage.create(0..scale.storm, mobile_users).await?;
        stage.simulator.log().reset();
        stage.tenant.configure(|options| options.rate_limit = Some(limit));
        let mut ready = Ready::watch(&stage).await?;
        let flags = [&["--resync-interval", "1h"], flags].concat();
        let operator = Process::operator(&stage, &flags)?;
        ready.wait(scale.storm, LIMIT).await?;
        operator.terminate().await?;
        drop(ready);
        let entries = stage.simulator.log().entries();
        rows(report, scale, name, &entries);
        lines.push(Line { name, points: served_each_second(&entries) });
        stage.tenant.configure(|options| options.rate_limit = None);
        stage.sweep().await?;
        // The next round begins with a bucket of another kind, hence full.
        stage
            .tenant
            .configure(|options| options.rate_limit = Some(RateLimit { rate: 1e6, burst: 1, retry_after: true }));
        touch(&stage).await?;
    }
    stage.stop().await?;
    let plot = Plot {
        title: "Calls served a second by a tenant that permits 10",
        across: "seconds",
        logarithmic: false,
        lines,
    };
    report.after.push_str("\n### A tenant that permits 10 calls a second\n\n![storm](performance/storm.svg)\n");
    Ok(vec![("storm", plot)])
}

/// One call, so that the tenant's bucket is one of the limit in force.
async fn touch(stage: &Stage) -> Result<()> {
    let url = format!("{}/sse/config/v1/mfa-servers?folder=Shared", stage.simulator.url());
    reqwest::Client::new().get(url).bearer_auth(crate::stage::TOKEN).send().await?;
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "counts and times")]
fn rows(report: &mut Report, scale: &Scale, name: &str, entries: &[Entry]) {
    let count = scale.storm;
    let refused: Vec<&Entry> = entries.iter().filter(|entry| entry.status == Some(429)).collect();
    let served: Vec<&Entry> = entries.iter().filter(|entry| entry.status.is_some_and(|status| status < 300)).collect();
    let first = entries.iter().map(|entry| entry.start_us).min().unwrap_or_default();
    let last = served.iter().map(|entry| entry.start_us).max().unwrap_or_default();
    let took = last.saturating_sub(first) as f64 / 1e6;
    let permitted = f64::from(BURST) + RATE * took;
    let used = served.len() as f64 / permitted;
    report.goal(
        &format!("429 storm, {count} new resources, {RATE} calls a second and a burst of {BURST} permitted ({name})"),
        "at least 0.95 of the permitted rate used",
        format!(
            "{used:.3}: {} calls served of {permitted:.0} permitted in {took:.1} s, {} answered with 429",
            served.len(),
            refused.len()
        ),
        used >= 0.95,
    );
    let early = early(entries, &refused, if scale.quick { ON_ITS_WAY_WHEN_BUSY } else { ON_ITS_WAY });
    report.goal(
        &format!("calls before their Retry-After ({name})"),
        "0",
        format!("{early} of {}", entries.len()),
        early == 0,
    );
    let waits = waits(entries, first);
    let mean = waits.values().sum::<f64>() / waits.len().max(1) as f64;
    let longest = waits.values().copied().fold(0.0, f64::max);
    // Served one after the other, the last waits twice the mean.
    report.goal(
        &format!("served in turn ({name})"),
        "none starved: the longest wait at most 2.5 times the mean",
        format!("longest {longest:.1} s, mean {mean:.1} s: {:.2} times", longest / mean),
        waits.len() == count && longest / mean <= 2.5,
    );
}

/// How many calls began while the tenant had told to wait.
fn early(entries: &[Entry], refused: &[&Entry], on_its_way: u64) -> usize {
    let told: Vec<(u64, u64)> = refused
        .iter()
        .filter_map(|entry| {
            let seconds: u64 = entry.retry_after.as_deref()?.parse().ok()?;
            let end = entry.end_us?;
            Some((end + on_its_way, end + seconds * 1_000_000))
        })
        .collect();
    entries.iter().filter(|entry| told.iter().any(|(from, to)| (*from..*to).contains(&entry.start_us))).count()
}

/// How long each resource waited for its creation to be served, in seconds from the first call.
#[allow(clippy::cast_precision_loss, reason = "microseconds")]
fn waits(entries: &[Entry], first: u64) -> BTreeMap<String, f64> {
    let created = entries.iter().filter(|entry| entry.method == "POST" && entry.route == Route::MfaServers);
    created
        .filter(|entry| entry.status == Some(201))
        .filter_map(|entry| Some((entry.name.clone()?, entry.end_us?.saturating_sub(first) as f64 / 1e6)))
        .collect()
}

#[allow(clippy::cast_precision_loss, reason = "counts and seconds")]
fn served_each_second(entries: &[Entry]) -> Vec<(f64, f64)> {
    let first = entries.iter().map(|entry| entry.start_us).min().unwrap_or_default();
    let mut seconds: BTreeMap<u64, u32> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.status.is_some_and(|status| status < 300)) {
        *seconds.entry(entry.start_us.saturating_sub(first) / 1_000_000).or_default() += 1;
    }
    let last = seconds.keys().max().copied().unwrap_or_default();
    (0..=last).map(|second| (second as f64, f64::from(seconds.get(&second).copied().unwrap_or_default()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(start_us: u64, status: u16, retry_after: Option<&str>) -> Entry {
        let entry = serde_json::json!({
            "seq": 1, "start_us": start_us, "end_us": start_us + 1000, "method": "POST", "path": "/",
            "route": "mfa-servers", "tenant": null, "client": null, "folder": null, "position": null,
            "query_name": null, "offset": null, "limit": null, "name": null, "id": null, "object": null,
            "outcome": "answered", "status": status, "retry_after": retry_after, "rule": null, "applied_us": null,
            "client_left": false,
        });
        serde_json::from_value(entry).unwrap()
    }

    #[test]
    fn a_call_before_its_time_is_counted_and_one_that_was_on_its_way_is_not() {
        let entries = [
            entry(0, 429, Some("1")),
            entry(ON_ITS_WAY, 201, None),
            entry(500_000, 201, None),
            entry(1_001_000, 201, None),
        ];
        let refused: Vec<&Entry> = entries.iter().filter(|entry| entry.status == Some(429)).collect();
        assert_eq!(early(&entries, &refused, ON_ITS_WAY), 1);
    }
}
