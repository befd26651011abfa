//! Events tell of transitions: what goes on being so is told once, however many passes find it so.

use k8s_openapi::api::core::v1::Event;
use mfa_sandbox::simulator::{Documented, Route, Rule};

use crate::operator::{LIMIT, Stage, okta};

const RECONCILE: &str = "sse.mfa-operator.io/reconcile-requested-at";

/// Those of one reason; an event that is told again is counted there, too.
async fn told(stage: &Stage, reason: &str) -> usize {
    let times = |event: &Event| {
        let series = event.series.as_ref().and_then(|series| series.count);
        usize::try_from(series.or(event.count).unwrap_or(1).max(1)).unwrap()
    };
    let events = stage.events().await;
    events.iter().filter(|event| event.reason.as_deref() == Some(reason)).map(times).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_told_once_however_often_it_comes_and_by_whichever_process() {
    let stage = Stage::new().await;
    stage.simulator.inject(Rule::documented(Documented::InvalidObject).on("POST", Route::MfaServers).named("refused"));
    let refused_again = async |round: u64| {
        stage.annotate("corp", RECONCILE, &round.to_string()).await;
        stage
            .wait("corp", "handled", |server| {
                let status = server.status.as_ref();
                status.and_then(|status| status.last_handled_reconcile_at.as_deref()) == Some(&*round.to_string())
            })
            .await;
        assert!(stage.simulator.hits("refused") > round);
    };
    let first = stage.operator().start();
    stage.apply(&okta("corp")).await;
    stage.wait_ready("corp", "False", "InvalidObject").await;
    for round in 1..=3 {
        refused_again(round).await;
    }
    assert_eq!(first.terminate().await.code(), Some(0));
    let second = stage.operator().start();
    refused_again(4).await;

    // The next transition's event comes after whatever was told of the refusals.
    stage.simulator.clear_rules();
    stage.annotate("corp", RECONCILE, "5").await;
    stage.wait_ready("corp", "True", "Available").await;
    let arrived = async { while told(&stage, "Available").await == 0 {} };
    tokio::time::timeout(LIMIT, arrived).await.expect("the event of the transition");
    assert_eq!((told(&stage, "InvalidObject").await, told(&stage, "Available").await), (1, 1));
    assert_eq!(second.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_again_within_some_minutes_raises_the_count_of_the_event_that_is_there() {
    let stage = Stage::new().await;
    let refuse = |method: &str, route: Route| {
        stage.simulator.inject(Rule::documented(Documented::InvalidObject).on(method, route));
    };
    refuse("POST", Route::MfaServers);
    let operator = stage.operator().start();
    let mut corp = okta("corp");
    stage.apply(&corp).await;
    stage.wait_ready("corp", "False", "InvalidObject").await;
    stage.simulator.clear_rules();
    stage.annotate("corp", RECONCILE, "1").await;
    stage.wait_ready("corp", "True", "Available").await;
    refuse("PUT", Route::MfaServer);
    corp["spec"]["mfaCertProfile"] = "another-ca".into();
    stage.apply(&corp).await;
    stage.wait_ready("corp", "False", "InvalidObject").await;
    assert_eq!(operator.terminate().await.code(), Some(0));
    let events = stage.events().await;
    let of_reason = events.iter().filter(|event| event.reason.as_deref() == Some("InvalidObject"));
    assert_eq!((of_reason.count(), told(&stage, "InvalidObject").await), (1, 2), "{events:?}");
}
