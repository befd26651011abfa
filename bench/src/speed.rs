//! How fast new resources become Ready: a few from a cold start, and many against the bare loop.

use std::time::Duration;

use mfa_sandbox::simulator::WriteLock;

use crate::process::Process;
use crate::report::Report;
use crate::stage::{Credentials, Ready, Stage, mobile_users};
use crate::{Result, Scale, median, ms};

const LIMIT: Duration = Duration::from_mins(10);
const FLAGS: [&str; 4] = ["--api-qps", "0", "--resync-interval", "1h"];
/// How often a cold start is measured.
const STARTS: usize = 3;

pub(crate) async fn measure(scale: &Scale, report: &mut Report) -> Result<()> {
    let stage = Stage::start(false, Credentials::Bearer).await?;
    cold(scale, report, &stage).await?;
    for (lock, what) in [(WriteLock::Queue, "writes wait for each other"), (WriteLock::Off, "writes do not wait")] {
        stage.tenant.configure(|options| options.write_lock = lock);
        against_the_bare_loop(scale, report, &stage, what).await?;
    }
    stage.stop().await
}

async fn cold(scale: &Scale, report: &mut Report, stage: &Stage) -> Result<()> {
    let count = scale.small;
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        stage.create(0..count, mobile_users).await?;
        let mut ready = Ready::watch(stage).await?;
        let mut operator = Process::operator(stage, &FLAGS)?;
        starts.push(operator.wait_ready().await?.as_secs_f64());
        let last = ready.wait(count, LIMIT).await?;
        ends.push(last.duration_since(operator.begun).as_secs_f64());
        operator.terminate().await?;
        drop(ready);
        stage.sweep().await?;
    }
    let each = |times: &[f64]| times.iter().map(|time| format!("{time:.2}")).collect::<Vec<_>>().join(", ");
    report.goal(
        &format!("{count} created: all Ready"),
        "within 2 s of the start",
        format!("{:.2} s (of {})", median(&ends), each(&ends)),
        median(&ends) < 2.0,
    );
    report.goal(
        "start",
        "ready within 1 s of the process starting",
        format!("{} (of {} s)", ms(Duration::from_secs_f64(median(&starts))), each(&starts)),
        median(&starts) < 1.0,
    );
    Ok(())
}

async fn against_the_bare_loop(scale: &Scale, report: &mut Report, stage: &Stage, what: &str) -> Result<()> {
    let (count, pairs) = scale.pairs;
    let (mut bare, mut operator) = (Vec::new(), Vec::new());
    let (mut tenant, mut cluster) = (Vec::new(), Vec::new());
    for pair in 0..pairs {
        crate::say(&format!("pair {} of {pairs}, {what}", pair + 1));
        tenant.push(number(&mut Process::own(stage, &["load", "tenant", &count.to_string()])?).await?);
        stage.sweep().await?;
        stage.create(0..count, mobile_users).await?;
        cluster.push(number(&mut Process::own(stage, &["load", "cluster"])?).await?);
        stage.sweep().await?;
        bare.push(rate(stage, count, || Process::own(stage, &["bare-loop"])).await?);
        operator.push(rate(stage, count, || Process::operator(stage, &FLAGS)).await?);
    }
    let ratios: Vec<f64> = operator.iter().zip(&bare).map(|(operator, bare)| operator / bare).collect();
    let limits: Vec<f64> = tenant.iter().zip(&cluster).map(|(tenant, cluster)| tenant.min(*cluster)).collect();
    let bare_ratios: Vec<f64> = bare.iter().zip(&limits).map(|(bare, limit)| bare / limit).collect();
    let each = |values: &[f64], digits: usize| {
        values.iter().map(|value| format!("{value:.digits$}")).collect::<Vec<_>>().join(", ")
    };
    report.goal(
        &format!("{count} created, against the bare loop ({what})"),
        "at least 0.8 of its throughput",
        format!("{:.3}, the median of {}", median(&ratios), each(&ratios, 3)),
        median(&ratios) >= 0.8,
    );
    report.goal(
        &format!("the bare loop against a plain load generator ({what})"),
        "at least 0.8 of the slower of simulator and API server",
        format!("{:.3}, the median of {}", median(&bare_ratios), each(&bare_ratios, 3)),
        median(&bare_ratios) >= 0.8,
    );
    report.told(
        &format!("objects a second ({what})"),
        format!(
            "operator {}; bare loop {}; simulator alone {}; API server alone {}",
            each(&operator, 0),
            each(&bare, 0),
            each(&tenant, 0),
            each(&cluster, 0)
        ),
    );
    Ok(())
}

/// Creates the resources, starts the program, and answers how many a second became Ready from its start on.
#[allow(clippy::cast_precision_loss, reason = "a count of resources")]
async fn rate(stage: &Stage, count: usize, start: impl FnOnce() -> Result<Process>) -> Result<f64> {
    stage.create(0..count, mobile_users).await?;
    let mut ready = Ready::watch(stage).await?;
    let process = start()?;
    let last = ready.wait(count, LIMIT).await?;
    let took = last.duration_since(process.begun);
    // What is in flight: the last Events.
    tokio::time::sleep(Duration::from_millis(500)).await;
    process.kill().await?;
    drop(ready);
    stage.sweep().await?;
    Ok(count as f64 / took.as_secs_f64())
}

/// What the program prints.
async fn number(process: &mut Process) -> Result<f64> {
    Ok(process.ended().await?.trim().parse()?)
}
