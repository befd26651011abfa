//! From an apply to Ready, at ten applies a second.

use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams};
use mfa_sandbox::simulator::Route;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use crate::process::Process;
use crate::report::Report;
use crate::stage::{Credentials, Ready, Stage, name, okta};
use crate::{Result, Scale, ms};

const LIMIT: Duration = Duration::from_mins(2);
const BETWEEN: Duration = Duration::from_millis(100);

pub(crate) async fn measure(scale: &Scale, report: &mut Report) -> Result<()> {
    let stage = Stage::start(false, Credentials::Bearer).await?;
    let mut operator = Process::operator(&stage, &["--resync-interval", "1h"])?;
    operator.wait_ready().await?;
    // The first one waits for the folder's list, and the connections come about.
    let warm = 5;
    let mut ready = Ready::watch(&stage).await?;
    let mut applied = Vec::new();
    let mut ticks = interval(BETWEEN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..warm + scale.applies {
        ticks.tick().await;
        let mut server = okta(number, "Mobile Users");
        server["apiVersion"] = json!("sse.mfa-operator.io/v1alpha1");
        server["kind"] = json!("MfaServer");
        let servers = stage.servers();
        let at = Instant::now();
        applied.push((name(number), at, tokio::spawn(async move { apply(&servers, number, &server).await })));
    }
    ready.wait(warm + scale.applies, LIMIT).await?;
    let times = ready.times();
    let mut took = Vec::new();
    let mut answered = Vec::new();
    for (name, at, task) in applied.into_iter().skip(warm) {
        answered.push(task.await??.duration_since(at));
        let ready = times.get(&name).ok_or("a resource that was never Ready")?;
        took.push(ready.saturating_duration_since(at));
    }
    let entries = stage.simulator.log().entries();
    let posts = entries.iter().filter(|entry| entry.method == "POST" && entry.route == Route::MfaServers);
    let mut calls: Vec<Duration> =
        posts.filter_map(|entry| Some(Duration::from_micros(entry.end_us?.saturating_sub(entry.start_us)))).collect();
    operator.terminate().await?;
    stage.stop().await?;

    let (p50, p99) = (at(&mut took, 50), at(&mut took, 99));
    let call = at(&mut calls, 50);
    for (what, measured, more) in [("p50", p50, 30), ("p99", p99, 100)] {
        report.goal(
            &format!("apply → Ready at 10 applies a second, {what} of {}", took.len()),
            &format!("API latency + {more} ms"),
            format!("{}, the API's latency being {}", ms(measured), ms(call)),
            measured <= call + Duration::from_millis(more),
        );
    }
    let answer = at(&mut answered, 50);
    report.told("of which the apply itself, p50", ms(answer));
    Ok(())
}

async fn apply(servers: &kube::Api<mfa_operator::crd::MfaServer>, number: usize, server: &Value) -> Result<Instant> {
    let params = PatchParams::apply("bench").force();
    servers.patch(&name(number), &params, &Patch::Apply(server)).await?;
    Ok(Instant::now())
}

/// The value below which so many of a hundred are.
fn at(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    let index = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(index).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_values_themselves() {
        let mut times: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(at(&mut times, 50), Duration::from_millis(100));
        assert_eq!(at(&mut times, 99), Duration::from_millis(198));
        assert_eq!(at(&mut [Duration::from_millis(7)], 99), Duration::from_millis(7));
    }
}
