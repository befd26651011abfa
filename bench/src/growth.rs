//! How time, calls, memory and CPU grow with the number of resources, and what one resync and one restart cost.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use mfa_sandbox::simulator::{Route, WriteLock};
use tokio::time::sleep;

use crate::counts::{by_kind, told};
use crate::plot::{Line, Plot};
use crate::process::Process;
use crate::report::Report;
use crate::stage::{Credentials, Ready, Stage, mobile_users};
use crate::{Result, Scale, seconds};

const LIMIT: Duration = Duration::from_mins(20);
/// How often the process is looked at.
const SAMPLE: Duration = Duration::from_millis(100);
/// A process that uses less than this in [`STILL_FOR`] has nothing to do.
const STILL_BELOW: f64 = 0.02;
const STILL_FOR: Duration = Duration::from_millis(1500);
/// What a list's page holds.
const PAGE: usize = 200;

/// What one number of resources costs.
struct Point {
    count: usize,
    /// From the operator's sight of the first new one until the last was Ready.
    created: (usize, Duration),
    resync: Cost,
    rss_kib: u64,
    restart: Cost,
    checked: Duration,
    passes: f64,
}

/// What was used in a time.
struct Cost {
    cpu: f64,
    calls: usize,
    lists: usize,
    writes: String,
}

pub(crate) async fn measure(scale: &Scale, report: &mut Report) -> Result<Vec<(&'static str, Plot)>> {
    let stage = Stage::start(true, Credentials::Bearer).await?;
    // Writes that wait for each other would only take longer here.
    stage.tenant.configure(|options| options.write_lock = WriteLock::Off);
    let interval = if scale.quick { "10s" } else { "20s" };
    let flags = ["--api-qps", "0", "--resync-interval", interval];
    let mut points: Vec<Point> = Vec::new();
    let mut operator = Process::operator(&stage, &flags)?;
    operator.wait_ready().await?;
    for count in scale.growth.iter().copied() {
        let before = points.last().map_or(0, |point| point.count);
        crate::say(&format!("growth: {count} resources"));
        let mut ready = Ready::watch(&stage).await?;
        let begun = Instant::now();
        stage.create(before..count, mobile_users).await?;
        let last = ready.wait(count - before, LIMIT).await?;
        drop(ready);
        let created = (count - before, last.duration_since(begun));
        let resync = resync(&stage, &operator, count).await?;
        let (rss_kib, _) = operator.memory()?;

        operator.terminate().await?;
        let from = stage.audit_end()?;
        stage.simulator.log().reset();
        operator = Process::operator(&stage, &flags)?;
        let at = operator.wait_checked(count, LIMIT).await?;
        let checked = at.duration_since(operator.begun);
        still(&operator).await?;
        let restart = cost(&stage, from, operator.cpu()?)?;
        let (passes, _) = operator.checked().await?;
        points.push(Point { count, created, resync, rss_kib, restart, checked, passes });
    }
    // The process that only looked, after a resync like the one that created.
    let last = points.last().ok_or("no numbers to grow to")?;
    let _ = resync(&stage, &operator, last.count).await?;
    let (after_restart, _) = operator.memory()?;
    operator.terminate().await?;
    stage.stop().await?;
    rows(report, &points, after_restart);
    extrapolate(report, &points);
    Ok(plots(&points))
}

/// Waits for the next resync, and answers what it cost.
async fn resync(stage: &Stage, operator: &Process, count: usize) -> Result<Cost> {
    still(operator).await?;
    let from = stage.audit_end()?;
    let log = stage.simulator.log();
    log.reset();
    let pages = count.div_ceil(PAGE);
    let mut cpu = operator.cpu()?;
    let begun = Instant::now();
    while log.count("GET", Route::MfaServers) == 0 {
        // Up to the sample before the first call: what it does in between is next to nothing.
        cpu = operator.cpu()?;
        if begun.elapsed() > LIMIT {
            return Err("no resync".into());
        }
        sleep(SAMPLE / 10).await;
    }
    log.wait_until(LIMIT, |log| log.answered("GET", Route::MfaServers, 200) >= u64::try_from(pages).unwrap_or(0))
        .await?;
    still(operator).await?;
    cost(stage, from, operator.cpu()? - cpu)
}

fn cost(stage: &Stage, from: u64, cpu: f64) -> Result<Cost> {
    let log = stage.simulator.log();
    let (calls, lists) = log.with(|log| (log.entries().len(), log.count("GET", Route::MfaServers)));
    let (audited, _) = stage.audit(from)?;
    let writes = by_kind(&audited);
    let writes = if writes.is_empty() { "0".to_owned() } else { told(&writes) };
    Ok(Cost { cpu, calls, lists: usize::try_from(lists)?, writes })
}

/// Waits until the process has nothing to do.
async fn still(operator: &Process) -> Result<()> {
    let mut since = (Instant::now(), operator.cpu()?);
    while since.0.elapsed() < STILL_FOR {
        sleep(SAMPLE).await;
        let cpu = operator.cpu()?;
        if cpu - since.1 > STILL_BELOW {
            since = (Instant::now(), cpu);
        }
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "counts and KiB")]
fn slope(points: &[Point], of: impl Fn(&Point) -> f64) -> f64 {
    let from = points.iter().find(|point| point.count >= 1000).unwrap_or(&points[0]);
    let to = &points[points.len() - 1];
    (of(to) - of(from)) / (to.count - from.count).max(1) as f64
}

#[allow(clippy::cast_precision_loss, reason = "counts and KiB")]
fn rows(report: &mut Report, points: &[Point], after_restart: u64) {
    let last = &points[points.len() - 1];
    let pages = last.count.div_ceil(PAGE);
    let what = format!("one resync of {} (1 credential, 10 vendor Secrets)", last.count);
    let resync = &last.resync;
    report.goal(
        &format!("{what}: calls"),
        &format!("{pages}, the listing's"),
        format!("{}, of which {} of the listing", resync.calls, resync.lists),
        (resync.calls, resync.lists) == (pages, pages),
    );
    report.goal(&format!("{what}: Kubernetes writes"), "0", resync.writes.clone(), resync.writes == "0");
    report.goal(&format!("{what}: CPU"), "under 1 s", format!("{:.2} s", resync.cpu), resync.cpu < 1.0);
    let what = format!("restart with {} synced", last.count);
    let restart = &last.restart;
    report.goal(
        &format!("{what}: calls"),
        &format!("{pages}, the listing's"),
        format!("{}, of which {} of the listing", restart.calls, restart.lists),
        (restart.calls, restart.lists) == (pages, pages),
    );
    report.goal(&format!("{what}: Kubernetes writes"), "0", restart.writes.clone(), restart.writes == "0");
    report.goal(
        &format!("{what}: everything checked"),
        "within 10 s of the API server answering",
        format!(
            "{} after the process started, {:.2} s of CPU, {} passes in order",
            seconds(last.checked),
            restart.cpu,
            last.passes
        ),
        last.checked < Duration::from_secs(10),
    );
    let mib = |kib: u64| kib as f64 / 1024.0;
    report.goal(
        &format!("resident memory at {} after a resync", last.count),
        "at most 64 MiB",
        format!("{:.1} MiB; {:.1} MiB in a process that created none of them", mib(last.rss_kib), mib(after_restart)),
        last.rss_kib <= 64 * 1024,
    );
    let slope = slope(points, |point| point.rss_kib as f64);
    report.goal("memory a resource, from 1,000 on", "at most 4 KiB", format!("{slope:.2} KiB"), slope <= 4.0);
}

#[allow(clippy::cast_precision_loss, reason = "counts and KiB")]
fn extrapolate(report: &mut Report, points: &[Point]) {
    const FAR: f64 = 100_000.0;
    let text = &mut report.after;
    text.push_str(
        "\n### Growth\n\nOne operator process, `--api-qps 0`, writes that do not wait for each other; the rate is that of \
         the resources that were added.\n\n\
         | resources | Ready a second | CPU of a resync | calls of a resync | restart: all checked | its CPU | resident memory |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for point in points {
        let rate = point.created.0 as f64 / point.created.1.as_secs_f64();
        let _ = writeln!(
            text,
            "| {} | {rate:.0} | {:.2} s | {} | {} | {:.2} s | {:.1} MiB |",
            point.count,
            point.resync.cpu,
            point.resync.calls,
            seconds(point.checked),
            point.restart.cpu,
            point.rss_kib as f64 / 1024.0
        );
    }
    let last = &points[points.len() - 1];
    let far = |of: &dyn Fn(&Point) -> f64| of(last) + slope(points, of) * (FAR - last.count as f64);
    let memory = far(&|point| point.rss_kib as f64 / 1024.0);
    let cpu = far(&|point| point.resync.cpu);
    let restart = far(&|point| point.checked.as_secs_f64());
    let rate = last.created.0 as f64 / last.created.1.as_secs_f64();
    let shards = (memory / 64.0).max(cpu).max(restart / 10.0).ceil();
    let _ = writeln!(
        text,
        "\n**100,000 resources**, calculated from the slopes above: {memory:.0} MiB, {cpu:.1} s of CPU and {:.0} calls a \
         resync, {restart:.0} s until a restarted process has checked everything, {:.0} s to create them all. To stay \
         within the goals for 10,000 (64 MiB, 1 s, 10 s), that is {shards:.0} operators, each with namespaces of its own.",
        FAR / PAGE as f64,
        FAR / rate
    );
    text.push_str(
        "\n![time](performance/time.svg)\n\n![memory](performance/memory.svg)\n\n![calls](performance/calls.svg)\n",
    );
}

#[allow(clippy::cast_precision_loss, reason = "counts and KiB")]
fn plots(points: &[Point]) -> Vec<(&'static str, Plot)> {
    let line = |name, of: &dyn Fn(&Point) -> f64| Line {
        name,
        points: points.iter().map(|point| (point.count as f64, of(point))).collect(),
    };
    let plot = |title, lines| Plot { title, across: "resources", logarithmic: true, lines };
    let time = vec![
        line("CPU of a resync", &|point| point.resync.cpu),
        line("CPU of a restart", &|point| point.restart.cpu),
        line("restart: all checked", &|point| point.checked.as_secs_f64()),
    ];
    let memory = vec![line("resident, after a resync", &|point| point.rss_kib as f64 / 1024.0)];
    let calls = vec![line("calls of a resync", &|point| point.resync.calls as f64)];
    vec![
        ("time", plot("Seconds", time)),
        ("memory", plot("MiB", memory)),
        ("calls", plot("Calls towards the tenant", calls)),
    ]
}
