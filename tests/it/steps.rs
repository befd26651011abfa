//! One step, one request: what the operator's log says that it did is what the tenant was asked, neither more nor less.

use mfa_sandbox::simulator::{Documented, Reply, Route, Rule};
use serde_json::json;

use crate::operator::{Stage, okta};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_a_step_of_its_own() {
    let stage = Stage::new().await;
    let rule = |reply, name: &str| Rule::new(reply).on("POST", Route::MfaServers).object(name);
    let fault = |message: &str| Reply::ServerError { message: message.to_owned() };
    stage.simulator.inject(rule(fault("not today"), "decoded").once());
    stage.simulator.inject(rule(Reply::WriteLock, "locked").times(2));
    stage.simulator.inject(rule(Reply::TooManyRequests { retry_after: Some("1".to_owned()) }, "throttled").once());
    stage.simulator.inject(rule(Reply::Documented(Documented::InvalidObject), "refused").once());
    stage.simulator.inject(rule(Reply::Hang, "hung").once());
    stage.simulator.inject(rule(Reply::Close, "closed").once());
    let put = Rule::new(fault("not today")).on("PUT", Route::MfaServer).object("plain");
    stage.simulator.inject(put.once());
    let delete = Rule::new(Reply::Html { status: 502 }).on("DELETE", Route::MfaServer).object("plain");
    stage.simulator.inject(delete.once());

    let operator = stage.operator().start();
    let names = ["plain", "decoded", "locked", "throttled", "refused", "hung", "closed"];
    for name in names {
        stage.apply(&okta(name)).await;
    }
    for name in names {
        stage.wait_ready(name, "True", "Available").await;
    }
    for name in names {
        stage.patch(name, &json!({ "spec": { "mfaCertProfile": "another-ca" } })).await;
        stage.wait_ready(name, "True", "Available").await;
    }
    for name in names {
        stage.delete(name).await;
    }
    for name in names {
        stage.wait_gone(name).await;
    }
    let text = operator.log().clone();
    assert_eq!(operator.terminate().await.code(), Some(0));
    let steps = |step: &str| {
        let lines = text.lines();
        // One that met a pause which had begun since its turn came waits for another turn, and asks nothing.
        let asks = |line: &&serde_json::Value| line["step"] == step && line["outcome"] != "Queued";
        lines.iter().filter(|line| line["message"] == "step").filter(asks).count() as u64
    };
    let log = stage.simulator.log();
    for (step, method, route) in [
        ("Create", "POST", Route::MfaServers),
        ("Get", "GET", Route::MfaServer),
        ("Replace", "PUT", Route::MfaServer),
        ("Delete", "DELETE", Route::MfaServer),
    ] {
        let asked = log.count(method, route);
        assert!(asked >= names.len() as u64, "{method}: {asked}");
        assert_eq!(steps(step), asked, "{step} and {method}{}", stage.log_ends());
    }
    assert!(stage.tenant.objects().is_empty());
}
