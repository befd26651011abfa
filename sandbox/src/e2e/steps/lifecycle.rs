//! Installing, working, upgrading, handing over, uninstalling.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use super::super::{
    During as _, Result,
    cluster::until,
    failed,
    node::SIMULATOR,
    scene::{CHART, RELEASE, SERVERS, SYSTEM, Scene, TEAM, condition, credentials, runs, secret, send, server},
};

pub(super) async fn simulator(scene: &mut Scene) -> Result<String> {
    let labels = json!({"app": "simulator"});
    let container = json!({
        "name": "simulator",
        "image": "localhost/mfa-sandbox:e2e",
        "imagePullPolicy": "Never",
        "command": ["/simulator", "--listen=0.0.0.0:8080"],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    });
    scene.cluster.kubectl(&["create", "namespace", "tenant"]).await?;
    scene
        .cluster
        .apply(
            "tenant",
            &[
                json!({
                    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "simulator"},
                    "spec": {
                        "selector": {"matchLabels": labels},
                        "template": {
                            "metadata": {"labels": labels},
                            "spec": {"containers": [container], "automountServiceAccountToken": false},
                        },
                    },
                }),
                json!({
                    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "simulator"},
                    "spec": {
                        "clusterIP": SIMULATOR, "selector": labels, "ports": [{"port": 80, "targetPort": 8080}],
                    },
                }),
            ],
        )
        .await?;
    until("the simulator answers", async || scene.tenant.set_up().await.map(Some)).await?;
    Ok(String::new())
}

pub(super) async fn install(scene: &mut Scene) -> Result<String> {
    for (name, level) in [(SYSTEM, "restricted"), (TEAM, "privileged")] {
        let labels = json!({
            "pod-security.kubernetes.io/enforce": level,
            "pod-security.kubernetes.io/enforce-version": "latest",
        });
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        scene.cluster.create("/api/v1/namespaces", &namespace).await?;
    }
    let url = format!("api.url=http://{SIMULATOR}");
    let auth_url = format!("api.authUrl=http://{SIMULATOR}/oauth2/access_token");
    let words = [
        "install",
        RELEASE,
        CHART,
        "--namespace",
        SYSTEM,
        "--wait",
        "--timeout",
        "5m",
        "--set",
        &url,
        "--set",
        &auth_url,
        "--set",
        "api.allowHttp=true",
    ];
    scene.cluster.helm(&words).await?;
    let pod = scene.pods_ready(1).await?.remove(0);
    if pod.restarts != 0 {
        return failed(format!("it was restarted {} times", pod.restarts));
    }
    let process = scene.process(&pod)?;
    let status = fs::read_to_string(format!("/proc/{process}/status")).during("reading the process's status")?;
    for (name, wanted) in [
        ("Uid:", "65532\t65532\t65532\t65532"),
        ("Gid:", "65532\t65532\t65532\t65532"),
        ("CapPrm:", "0000000000000000"),
        ("CapBnd:", "0000000000000000"),
        ("NoNewPrivs:", "1"),
        ("Seccomp:", "2"),
    ] {
        let found = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        if found != wanted {
            return failed(format!("the process has {name} {found}, not {wanted}"));
        }
    }
    let size = fs::metadata(scene.parts.image.join("image.tar")).during("reading the image's size")?.len();
    Ok(format!("image of {} KiB compressed", size / 1024))
}

pub(super) async fn ready(scene: &mut Scene) -> Result<String> {
    let okta = secret("okta-api", &json!({"token": "not-a-real-okta-token"}));
    scene.cluster.apply(TEAM, &[credentials(), okta, server("corp")]).await?;
    let words = ["wait", "mfaserver/corp", "--namespace", TEAM, "--for=condition=Ready", "--timeout=5m"];
    scene.cluster.kubectl(&words).await?;
    let status = scene.ready("corp").await?["status"].take();
    let Some(object) = scene.tenant.object("corp").await? else { return failed("the tenant holds no object corp") };
    if status["id"] != object["id"] {
        return failed(format!("the status has id {}, the tenant {}", status["id"], object["id"]));
    }
    let token = &object["body"]["mfa_vendor_type"]["okta_adaptive_v1"]["okta_token"];
    if token != "not-a-real-okta-token" {
        return failed("the tenant did not get the vendor's secret");
    }
    Ok(String::new())
}

pub(super) async fn restricted(scene: &mut Scene) -> Result<String> {
    let words = ["run", "--namespace", SYSTEM, "careless", "--image=localhost/mfa-sandbox:e2e", "--dry-run=server"];
    match scene.cluster.kubectl(&words).await {
        Err(error) if error.to_string().contains("violates PodSecurity \"restricted:latest\"") => Ok(String::new()),
        Err(error) => Err(error),
        Ok(_) => failed("a pod without any security context is admitted"),
    }
}

/// Twice for one resource, so that the second event about it is a repetition, which is another right.
pub(super) async fn refusal(scene: &mut Scene) -> Result<String> {
    for round in ["first", "second"] {
        if round == "second" {
            // Another administrator puts an object of their own into the place of ours.
            remove_from_tenant(scene, "taken").await?;
        }
        scene.tenant.create("Mobile Users", json!({"name": "taken", "mfa_cert_profile": "old-ca"})).await?;
        if round == "first" {
            scene.cluster.apply(TEAM, &[server("taken")]).await?;
        } else {
            scene.look_again("taken", "refused").await?;
        }
        let refused = scene.reason("taken", "False", "NameNotUnique").await?;
        if condition(&refused, "Stalled")["status"] != "True" {
            return failed("it is not Stalled");
        }
        let shown = scene.cluster.kubectl(&["get", "mfa", "taken", "--namespace", TEAM]).await?;
        if !shown.contains("NameNotUnique") {
            return failed(format!("kubectl get mfa says:\n{shown}"));
        }
        // Somebody removes the object, and the resource takes the name.
        remove_from_tenant(scene, "taken").await?;
        scene.look_again("taken", round).await?;
        scene.ready("taken").await?;
    }
    delete(scene, "taken").await?;
    Ok(String::new())
}

async fn remove_from_tenant(scene: &Scene, name: &str) -> Result {
    match scene.tenant.object(name).await? {
        Some(object) => scene.tenant.remove(object["id"].as_str().unwrap_or_default()).await,
        None => failed(format!("the tenant holds no object {name}")),
    }
}

/// Deletes a resource and waits until it is gone on both sides.
async fn delete(scene: &Scene, name: &str) -> Result {
    scene.cluster.delete(&format!("{SERVERS}/{name}")).await?;
    until(&format!("MfaServer {name} is gone"), async || {
        Ok(scene.cluster.get(&format!("{SERVERS}/{name}")).await?.is_none().then_some(()))
    })
    .await?;
    match scene.tenant.object(name).await? {
        None => Ok(()),
        Some(_) => failed(format!("the tenant still holds {name}")),
    }
}

pub(super) async fn rotation(scene: &mut Scene) -> Result<String> {
    let before = scene.tenant.now().await?;
    scene.cluster.apply(TEAM, &[secret("okta-api", &json!({"token": "another-unreal-okta-token"}))]).await?;
    until("the new secret is in the tenant", async || {
        let object = scene.tenant.object("corp").await?.unwrap_or_default();
        let token = &object["body"]["mfa_vendor_type"]["okta_adaptive_v1"]["okta_token"];
        Ok((token == "another-unreal-okta-token").then_some(()))
    })
    .await?;
    scene.ready("corp").await?;
    let puts = scene.tenant.log(before).await?.iter().filter(|entry| entry.method == "PUT").count();
    if puts == 1 { Ok(String::new()) } else { failed(format!("it took {puts} PUT")) }
}

pub(super) async fn drift(scene: &mut Scene) -> Result<String> {
    let Some(object) = scene.tenant.object("corp").await? else { return failed("the tenant holds no object corp") };
    scene.tenant.edit(object["id"].as_str().unwrap_or_default(), json!({"mfa_cert_profile": "somebody-elses"})).await?;
    scene.look_again("corp", "drift").await?;
    until("the tenant's object is as it was", async || {
        let object = scene.tenant.object("corp").await?.unwrap_or_default();
        Ok((object["body"]["mfa_cert_profile"] == "corp-ca").then_some(()))
    })
    .await?;
    scene.ready("corp").await?;
    Ok(String::new())
}

pub(super) async fn deletion(scene: &mut Scene) -> Result<String> {
    scene.cluster.apply(TEAM, &[server("passing")]).await?;
    scene.ready("passing").await?;
    delete(scene, "passing").await?;
    Ok(String::new())
}

pub(super) async fn upgrade(scene: &mut Scene) -> Result<String> {
    scene.cluster.apply(TEAM, &many("before", 30)).await?;
    // Without a limit of its own, and with more than one call in flight.
    let pod = scene.upgrade(&["api.qps=0", "api.maxInFlight=16", "log.format=json"], 1).await?.remove(0);
    let log = scene.cluster.kubectl(&["logs", "--namespace", SYSTEM, &pod.name]).await?;
    if !log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()) {
        return failed(format!("its log is not JSON, as the value says:\n{log}"));
    }
    scene.all_ready("before", 30).await?;
    scene.ready("corp").await?;
    let creations = scene.tenant.creations().await?;
    if creations.get("corp") != Some(&1) {
        return failed(format!("corp was created {:?} times", creations.get("corp")));
    }
    once(scene).await?;
    Ok(String::new())
}

/// Fails if anything was created twice; but `taken` was, after somebody had removed it.
async fn once(scene: &Scene) -> Result {
    scene.tenant.nothing_twice_but(&["taken"]).await
}

pub(super) fn many(begin: &str, count: usize) -> Vec<Value> {
    (0..count).map(|number| server(&format!("{begin}-{number}"))).collect()
}

pub(super) async fn rolling(scene: &mut Scene) -> Result<String> {
    let cluster = scene.cluster.clone();
    scene.tenant.configure(json!({"latency_ms": 20})).await?;
    let load = async {
        for batch in 0..6 {
            cluster.apply(TEAM, &many(&format!("rolling-{batch}"), 20)).await?;
        }
        Result::Ok(())
    };
    let restarts = async {
        for _ in 0..2 {
            let deployment = format!("deployment/{RELEASE}");
            cluster.kubectl(&["rollout", "restart", &deployment, "--namespace", SYSTEM]).await?;
            cluster.kubectl(&["rollout", "status", &deployment, "--namespace", SYSTEM, "--timeout=5m"]).await?;
        }
        Result::Ok(())
    };
    let (loaded, restarted) = tokio::join!(load, restarts);
    loaded.and(restarted)?;
    scene.all_ready("rolling", 120).await?;
    scene.pods_ready(1).await?;
    scene.tenant.configure(json!({"latency_ms": 0})).await?;
    once(scene).await?;
    Ok("2 restarts, 120 resources".to_owned())
}

pub(super) async fn killed(scene: &mut Scene) -> Result<String> {
    let pods = scene.upgrade(&["replicas=2"], 2).await?;
    let leader = scene.leader(&pods).await?.clone();
    let process = scene.process(&leader)?;
    // Slow, so that writes are in flight.
    scene.tenant.configure(json!({"latency_ms": 200, "write_lock": "off"})).await?;
    let before = scene.tenant.now().await?;
    scene.cluster.apply(TEAM, &many("killed", 40)).await?;
    until("the leader creates", async || {
        Ok(scene.tenant.log(before).await?.iter().any(|entry| entry.method == "POST").then_some(()))
    })
    .await?;
    let identity = scene.holder().await?;
    // It may have lost its lease and ended by itself at this moment.
    send("KILL", process).or_else(|error| if runs(process) { Err(error) } else { Ok(()) })?;
    until("the killed process is gone", async || Ok((!runs(process)).then_some(()))).await?;
    let begin = std::time::Instant::now();
    let next = until("another process leads", async || {
        let holder = scene.holder().await?;
        Ok((!holder.is_empty() && holder != identity).then_some(holder))
    })
    .await?;
    let took = begin.elapsed().as_secs_f64();
    scene.all_ready("killed", 40).await?;
    scene.tenant.configure(json!({"latency_ms": 0, "write_lock": "queue"})).await?;
    once(scene).await?;
    scene.pods_ready(2).await?;
    scene.upgrade(&["replicas=1"], 1).await?;
    // Nearly always: a busy machine may let the killed container come back and be the first to see the lease end.
    let who = if next.starts_with(&leader.name) { "the restarted" } else { "the other" };
    Ok(format!("{who} one leads after {took:.1} s"))
}

/// A tenant that gets no new object for so long gets none any more.
const STILL: Duration = Duration::from_secs(5);

pub(super) async fn uninstall(scene: &mut Scene) -> Result<String> {
    // The tenant came back empty in an earlier step: until all is there again, the number grows by itself.
    let objects = until("each resource that is Ready has its object", async || {
        let servers = scene.cluster.list(SERVERS).await?;
        let ready = servers.iter().filter(|server| condition(server, "Ready")["status"] == "True").count();
        let objects = scene.tenant.objects().await?.len();
        tokio::time::sleep(STILL).await;
        let later = scene.tenant.objects().await?.len();
        Ok((objects == later && objects >= ready).then_some(objects))
    })
    .await?;
    let before = scene.cluster.list(SERVERS).await?.len();
    scene.cluster.helm(&["uninstall", RELEASE, "--namespace", SYSTEM, "--wait", "--timeout", "5m"]).await?;
    until("no pod of the operator is left", async || Ok(scene.pods().await?.is_empty().then_some(()))).await?;
    let definition = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/mfaservers.sse.mfa-operator.io";
    let Some(definition) = scene.cluster.get(definition).await? else { return failed("the definition is gone") };
    if !definition["metadata"]["deletionTimestamp"].is_null() {
        return failed("the definition is being deleted");
    }
    let after = scene.cluster.list(SERVERS).await?.len();
    let left = scene.tenant.objects().await?.len();
    if (before, objects) != (after, left) || before == 0 {
        return failed(format!("{before} resources and {objects} objects became {after} and {left}"));
    }
    Ok(format!("{after} resources"))
}
