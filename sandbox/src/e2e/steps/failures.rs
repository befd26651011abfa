//! What the operator depends on fails: its pod lives on, says what is wrong, and heals by itself.

use std::{fs, io::Write as _, path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::super::{
    During as _, Result,
    cluster::until,
    failed,
    node::{LOGS, SIMULATOR},
    scene::{Pod, SYSTEM, Scene, TEAM, server},
};

/// How the operator runs; how long the API server is away, which is long enough for every watch and lease to notice, and for
/// the kubelet's probes to act on it if they would; and how often the container may be restarted. An elected leader ends
/// once, and once more if a busy machine makes it lose the lease again; one that failed at each start would have come to
/// three.
const OUTAGES: [(&str, &str, Duration, u64); 2] = [
    ("elected", "leaderElection.enabled=true", Duration::from_secs(45), 2),
    ("alone", "leaderElection.enabled=false", Duration::from_mins(1), 0),
];

/// Fails if this is another pod, or if its container was restarted more often than that.
async fn lives(scene: &Scene, before: &Pod, restarts: u64) -> Result {
    let now = scene.pods_ready(1).await?.remove(0);
    if now.uid != before.uid {
        return failed("it is another pod");
    }
    if now.restarts > before.restarts + restarts {
        return failed(format!("it was restarted {} times: {}", now.restarts - before.restarts, now.status));
    }
    Ok(())
}

/// A leader that cannot renew its lease ends itself, by design, and stands by until the API server is back. Without
/// leader election, nothing ends.
pub(super) async fn api_server(scene: &mut Scene) -> Result<String> {
    let mut said = Vec::new();
    for (name, value, outage, restarts) in OUTAGES {
        // Without leader election, the chart has no role for the lease: nobody may be at work while it is taken away.
        scene.upgrade(&["replicas=0"], 0).await?;
        let pod = scene.upgrade(&[value, "replicas=1"], 1).await?.remove(0);
        scene.ready("corp").await?;
        scene.node.stop_api_server()?;
        tokio::time::sleep(outage).await;
        scene.node.start_api_server().await?;
        // What is applied afterwards is worked on, and what changed in the tenant meanwhile as well.
        let after = format!("after-outage-{name}");
        scene.cluster.apply(TEAM, &[server(&after)]).await?;
        scene.ready(&after).await?;
        lives(scene, &pod, restarts).await?;
        let now = scene.pod().await?;
        said.push(format!("{name}: {} restarts", now.restarts - pod.restarts));
    }
    // It stays so for the steps that follow: on a busy machine a leader may lose its lease and end, as it should, but not
    // in the midst of what they look at.
    Ok(said.join(", "))
}

pub(super) async fn logs(scene: &mut Scene) -> Result<String> {
    let pod = scene.upgrade(&["log.level=debug"], 1).await?.remove(0);
    let filler = Path::new(LOGS).join("filler");
    let mut file = fs::File::create(&filler).during("filling the disk of logs")?;
    let block = vec![0; 4096];
    // Until there is no room for one more block.
    while file.write_all(&block).is_ok() {}
    let written = |size: usize| fs::write(Path::new(LOGS).join("probe"), vec![0; size]);
    if written(4096).is_ok() {
        return failed("the disk of logs is not full");
    }
    let many = super::lifecycle::many("disk-full", 50);
    scene.cluster.apply(TEAM, &many).await?;
    scene.all_ready("disk-full", 50).await?;
    lives(scene, &pod, 0).await?;
    drop(file);
    fs::remove_file(&filler).during("emptying the disk of logs")?;
    scene.upgrade(&["log.level="], 1).await?;
    Ok(String::new())
}

/// The clock of the operator's process alone, by libfaketime: it reads a file how far to go.
pub(super) async fn clock(scene: &mut Scene) -> Result<String> {
    let library = fs::read(scene.cluster.folder().join("libfaketime.so")).during("reading libfaketime")?;
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "faketime"},
        "binaryData": {"libfaketime.so": STANDARD.encode(library)},
    });
    scene.cluster.create("/api/v1/namespaces/mfa-system/configmaps", &map).await?;
    let set = [
        r#"extraVolumes=[{"name": "faketime", "configMap": {"name": "faketime"}}, {"name": "clock", "emptyDir": {}}]"#,
        r#"extraVolumeMounts=[{"name": "faketime", "mountPath": "/faketime"}, {"name": "clock", "mountPath": "/clock"}]"#,
        r#"extraEnv=[{"name": "LD_PRELOAD", "value": "/faketime/libfaketime.so"},
            {"name": "FAKETIME_TIMESTAMP_FILE", "value": "/clock/now"}, {"name": "FAKETIME_CACHE_DURATION", "value": "1"},
            {"name": "FAKETIME_DONT_FAKE_MONOTONIC", "value": "1"}]"#,
    ];
    let pod = scene.upgrade(&set, 1).await?.remove(0);
    let file = scene.node.empty_dir(&pod.uid, "clock").join("now");
    let mut said = Vec::new();
    for (name, offset, day) in [("ahead", "+1d", 1), ("back", "-1d", -1)] {
        let before = scene.tenant.now().await?;
        fs::write(&file, format!("{offset}\n")).during("setting the pod's clock")?;
        // It has to believe it: its log has the time. libfaketime reads the file about once a second, and a log has only
        // what happens, so that it may take some resources.
        let wanted = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * day);
        let wanted = wanted.to_string()[..10].to_owned();
        let mut made = 0_usize;
        until(&format!("the log speaks of {wanted}"), async || {
            made += 1;
            let next = format!("clock-{name}-{made}");
            scene.cluster.apply(TEAM, &[server(&next)]).await?;
            scene.ready(&next).await?;
            let log = scene.cluster.kubectl(&["logs", "--namespace", SYSTEM, &pod.name, "--tail=20"]).await?;
            Ok(log.contains(&wanted).then_some(()))
        })
        .await?;
        // Nothing but the new resources is written, and nothing is listed before its time but what they need.
        let calls = scene.tenant.log(before).await?;
        let tokens = calls.iter().filter(|call| call.route == crate::simulator::Route::Token).count();
        let lists = calls.iter().filter(|call| call.method == "GET").count();
        let ours = |call: &&crate::simulator::Entry| call.name.as_ref().is_some_and(|name| name.starts_with("clock-"));
        let created = calls.iter().filter(ours).count();
        let others = calls.len() - tokens - lists - created;
        if others > 0 || created != made || tokens > 2 || lists > made + 2 {
            return failed(format!(
                "{others} early writes, {tokens} tokens, {lists} lists, {created} POST for {made}: {calls:?}"
            ));
        }
        said.push(format!("{name}: {made} created, {lists} lists, {tokens} tokens"));
    }
    lives(scene, &pod, 0).await?;
    scene.upgrade(&["extraVolumes=[]", "extraVolumeMounts=[]", "extraEnv=[]"], 1).await?;
    Ok(said.join(", "))
}

pub(super) async fn name(scene: &mut Scene) -> Result<String> {
    let pod = scene.upgrade(&["api.url=http://tenant.invalid"], 1).await?.remove(0);
    scene.cluster.apply(TEAM, &[server("nameless")]).await?;
    scene.reason("nameless", "False", "Unreachable").await?;
    lives(scene, &pod, 0).await?;
    scene.upgrade(&[&format!("api.url=http://{SIMULATOR}")], 1).await?;
    scene.ready("nameless").await?;
    Ok(String::new())
}

/// The simulator forgets everything when it ends: what comes back is an empty tenant, which is to be filled again.
pub(super) async fn tenant(scene: &mut Scene) -> Result<String> {
    let pod = scene.pod().await?;
    let scale = |count: &'static str| {
        let cluster = scene.cluster.clone();
        async move {
            let words = ["scale", "deployment/simulator", "--namespace", "tenant", count];
            cluster.kubectl(&words).await
        }
    };
    scale("--replicas=0").await?;
    until("the simulator is gone", async || Ok(scene.tenant.objects().await.is_err().then_some(()))).await?;
    scene.cluster.apply(TEAM, &[server("orphan")]).await?;
    let shown = until("the new resource says what is wrong", async || {
        let server = scene.server("orphan").await?;
        let ready = super::super::scene::condition(&server, "Ready");
        let reason = ready["reason"].as_str().unwrap_or_default().to_owned();
        let known = ["Unreachable", "TokenEndpointUnavailable", "OutcomeUnknown"];
        Ok((ready["status"] == "False" && known.contains(&reason.as_str())).then_some(reason))
    })
    .await?;
    let waiting = until("the metrics say it as well", async || {
        let waiting = scene.metric(&pod, "mfa_operator_retries_waiting{class=\"server\"").await?;
        Ok((waiting >= 1.0).then_some(waiting))
    })
    .await?;
    scale("--replicas=1").await?;
    until("the simulator answers", async || scene.tenant.set_up().await.map(Some)).await?;
    scene.ready("orphan").await?;
    lives(scene, &pod, 0).await?;
    Ok(format!("says {shown}, {waiting:.0} wait for another try"))
}
