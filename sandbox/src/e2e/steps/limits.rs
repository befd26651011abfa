//! Start, stop, memory.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::json;

use super::super::{
    During as _, Result,
    cluster::{until, until_within},
    failed,
    scene::{Pod, SERVERS, Scene, TEAM, runs, send, server},
};

/// Far more than the figures that are promised (start to ready in 1 s, SIGTERM to exit in 2 s): those are for a machine
/// that does nothing else.
const GENEROUS: Duration = Duration::from_mins(1);

pub(super) async fn stop(scene: &mut Scene) -> Result<String> {
    let pod = scene.pod().await?;
    let process = scene.process(&pod)?;
    let container_group = scene.node.memory_group(&pod.uid, &pod.container)?;
    let pod_group = container_group.parent().unwrap_or(&container_group);
    scene.tenant.configure(json!({"latency_ms": 800})).await?;
    scene.cluster.apply(TEAM, &[server("in-flight")]).await?;
    until("its POST is under way", async || scene.tenant.wait_for("POST", "in-flight").await.map(Some)).await?;

    let begin = Instant::now();
    send("TERM", process)?;
    while runs(process) {
        if begin.elapsed() > GENEROUS {
            return failed(format!("it runs {} s after SIGTERM", GENEROUS.as_secs()));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let stopped = begin.elapsed();
    // Nobody else works now: what the status says was recorded by the process that has ended.
    let status = scene.server("in-flight").await?["status"].take();
    if !status["id"].is_string() {
        return failed(format!("the write in flight was not recorded: {status}"));
    }
    scene.tenant.configure(json!({"latency_ms": 0})).await?;

    let (again, started) = restarted(scene, &pod, pod_group).await?;
    let ended = &again.status["lastState"]["terminated"];
    if ended["exitCode"] != 0 {
        return failed(format!("it ended with {ended}"));
    }
    scene.ready("in-flight").await?;
    let creations = scene.tenant.creations().await?;
    if creations.get("in-flight") != Some(&1) {
        return failed("it was created twice");
    }
    if started > GENEROUS {
        return failed(format!("it took {:.1} s to become ready", started.as_secs_f64()));
    }
    let (stopped, started) = (stopped.as_secs_f64(), started.as_secs_f64());
    Ok(format!("SIGTERM to exit {stopped:.2} s with a POST of 0.8 s in flight, start to ready {started:.2} s"))
}

/// Waits for the next process of a pod's container, and says how long it took from its start until it was ready.
async fn restarted(scene: &Scene, pod: &Pod, pod_group: &Path) -> Result<(Pod, Duration)> {
    let http =
        reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(1)).build().during("building a client")?;
    let url = format!("http://{}:8080/readyz", pod.address);
    // Nothing but the readiness itself is asked, and as often as it costs nothing: the time is to be exact.
    let begin = Instant::now();
    let started = loop {
        if http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            break age_of_newest(pod_group)?;
        }
        if begin.elapsed() > super::super::cluster::LIMIT {
            return failed("it was not ready again");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let again = until("the pod says that it was restarted", async || {
        let now = scene.pod().await?;
        Ok((now.restarts > pod.restarts && now.status["ready"] == true).then_some(now))
    })
    .await?;
    Ok((again, started))
}

/// How long ago the operator's process in this pod was started, to a hundredth of a second.
fn age_of_newest(pod_group: &Path) -> Result<Duration> {
    let mut starts = Vec::new();
    for container in fs::read_dir(pod_group).during("reading the pod's control group")?.flatten() {
        let processes = fs::read_to_string(container.path().join("cgroup.procs")).unwrap_or_default();
        for process in processes.lines() {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            // After the name in parentheses, the twentieth field is the start in hundredths of a second since boot.
            if let Some((name, rest)) = stat.rsplit_once(") ")
                && name.contains("(mfa-operator")
                && let Some(Ok(start)) = rest.split(' ').nth(19).map(str::parse::<f64>)
            {
                starts.push(start / 100.0);
            }
        }
    }
    let uptime = fs::read_to_string("/proc/uptime").during("reading the uptime")?;
    let uptime = uptime.split(' ').next().and_then(|seconds| seconds.parse::<f64>().ok());
    match (uptime, starts.into_iter().reduce(f64::max)) {
        (Some(uptime), Some(start)) => Ok(Duration::from_secs_f64((uptime - start).max(0.0))),
        _ => failed("the operator's process is not in its pod's control group"),
    }
}

pub(super) async fn memory(scene: &mut Scene) -> Result<String> {
    let pod = scene.pod().await?;
    let group = scene.node.memory_group(&pod.uid, &pod.container)?;
    let limit = number(&group, &["memory.limit_in_bytes", "memory.max"])?;
    if limit != 128 * 1024 * 1024 {
        return failed(format!("the node limits it to {limit} bytes, which is not the chart's default"));
    }
    let many = scene.parts.resources;
    let begin = Instant::now();
    let creating = futures::stream::iter(0..many).map(|number| {
        let cluster = scene.cluster.clone();
        async move { cluster.create(SERVERS, &server(&format!("load-{number}"))).await }
    });
    creating.buffer_unordered(16).try_collect::<Vec<()>>().await?;
    let created = begin.elapsed().as_secs_f64();
    let wanted = format!("the operator says that {many} resources are ready");
    until_within(Duration::from_mins(20), &wanted, async || {
        let ready = scene.metric(&pod, "mfa_operator_resources{condition=\"Ready\",status=\"True\"").await?;
        if ready >= f64::from(many) { Ok(Some(())) } else { failed(format!("{ready} are")) }
    })
    .await?;
    let ready = begin.elapsed().as_secs_f64();
    // A look at everything once more.
    let lists = scene.metric(&pod, "mfa_operator_lists_total{result=\"complete\"").await?;
    scene.look_again("corp", "all").await?;
    until("the folder is listed again", async || {
        let now = scene.metric(&pod, "mfa_operator_lists_total{result=\"complete\"").await?;
        Ok((now > lists).then_some(()))
    })
    .await?;
    scene.all_ready("load-", many as usize).await?;

    let process = scene.process(&pod)?;
    let status = fs::read_to_string(format!("/proc/{process}/status")).during("reading the process's status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let peak = peak.trim().trim_end_matches(" kB").parse::<u64>().during("reading the process's peak")? / 1024;
    let kills = fs::read_to_string(group.join("memory.oom_control"))
        .or_else(|_| fs::read_to_string(group.join("memory.events")))
        .during("reading the control group's events")?;
    if !kills.lines().any(|line| line == "oom_kill 0") {
        return failed(format!("the kernel killed in its control group:\n{kills}"));
    }
    let now = scene.pod().await?;
    if (now.uid, now.restarts) != (pod.uid, pod.restarts) {
        return failed("it was restarted");
    }
    if peak * 1024 * 1024 >= limit {
        return failed(format!("it took {peak} MiB"));
    }
    scene.tenant.nothing_twice_but(&["taken"]).await?;
    Ok(format!(
        "{many} resources, {peak} MiB resident at most, limit 128; created in {created:.0} s, all ready after {ready:.0} s"
    ))
}

/// The number in the first of these files that is there.
fn number(group: &Path, names: &[&str]) -> Result<u64> {
    let text = names.iter().find_map(|name| fs::read_to_string(group.join(name)).ok()).unwrap_or_default();
    text.trim().parse().during("reading the limit of the control group")
}
