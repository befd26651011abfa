//! The operator is killed at the worst moments of a create: never two objects, and everything in order in the end.

use mfa_sandbox::simulator::{Apply, Position, Reply, Route};

use super::{FOLDER, TIMEOUT, foreign, in_order, is_answered, next_post, objects, posts, posts_in, wait_post};
use crate::operator::{Stage, okta};

/// Kills the operator while the create of each case hangs, and starts another one.
async fn killed_while_hanging(cases: &[(&str, Apply, usize)]) {
    let stage = Stage::new().await;
    for (name, apply, _) in cases {
        stage.simulator.inject(next_post(name, Reply::Hang).apply(*apply));
    }
    let first = stage.operator().impatient().flag("--resync-interval", "1h").start();
    for (name, ..) in cases {
        stage.apply(&okta(name)).await;
    }
    for (name, ..) in cases {
        wait_post(&stage, name).await;
    }
    first.kill().await;
    let _second = stage.operator().impatient().flag("--resync-interval", "1h").start();
    for (name, _, wanted) in cases {
        in_order(&stage, name).await;
        let posts = posts(&stage, name);
        assert_eq!(posts.len(), *wanted, "{name}: {posts:?}");
    }
    assert_eq!(stage.simulator.log().count("PUT", Route::MfaServer), 0);
}

#[tokio::test]
async fn killed_while_a_create_hangs() {
    killed_while_hanging(&[("applied", Apply::Yes, 1), ("never", Apply::No, 2)]).await;
}

#[tokio::test]
async fn killed_while_a_create_hangs_that_lands_after_the_restart() {
    // The new operator looks at once, and the create settles 4 s after that.
    killed_while_hanging(&[("late", Apply::LateMs(3_000), 1)]).await;
}

#[tokio::test]
async fn killed_between_the_answer_and_the_status() {
    let stage = Stage::new().await;
    stage.simulator.inject(next_post("corp", Reply::Usual).delay(TIMEOUT / 4));
    let first = stage.operator().impatient().flag("--resync-interval", "1h").start();
    stage.apply(&okta("corp")).await;
    wait_post(&stage, "corp").await;
    // It does not get to read the answer.
    first.signal("STOP").await;
    let answered = |log: &mfa_sandbox::simulator::Log| log.answered("POST", Route::MfaServers, 201) == 1;
    stage.wait_requests("the create's answer", answered).await;
    first.kill().await;
    let status = stage.get("corp").await.and_then(|server| server.status).expect("a status");
    assert_eq!(status.id, None, "the answer was recorded after all");

    let _second = stage.operator().impatient().flag("--resync-interval", "1h").start();
    in_order(&stage, "corp").await;
    assert_eq!(posts(&stage, "corp").len(), 1);
}

#[tokio::test]
async fn killed_as_soon_as_each_of_many_creates_is_answered() {
    let stage = Stage::new().await;
    let names: Vec<String> = (0..8).map(|number| format!("corp-{number}")).collect();
    let mut operator = stage.operator().impatient().flag("--resync-interval", "1h").start();
    for name in &names {
        stage.apply(&okta(name)).await;
        stage
            .wait_requests("a create's answer", |log| {
                log.entries().iter().any(|entry| entry.name.as_ref() == Some(name) && is_answered(entry))
            })
            .await;
        operator.kill().await;
        operator = stage.operator().impatient().flag("--resync-interval", "1h").start();
    }
    for name in &names {
        in_order(&stage, name).await;
        assert_eq!(posts(&stage, name).len(), 1, "{name}");
    }
    drop(operator);
}

#[tokio::test]
async fn killed_while_a_create_hangs_and_the_name_taken_by_another_meanwhile() {
    let stage = Stage::new().await;
    stage.simulator.inject(next_post("corp", Reply::Hang));
    let first = stage.operator().impatient().flag("--resync-interval", "1h").start();
    stage.apply(&okta("corp")).await;
    wait_post(&stage, "corp").await;
    first.kill().await;
    let id = stage.tenant.create(FOLDER, Position::Pre, &foreign("corp", "another-profile")).unwrap();
    let before = stage.tenant.get(&id);

    let _second = stage.operator().impatient().flag("--resync-interval", "1h").start();
    let server = stage.wait_ready("corp", "False", "NameNotUnique").await;
    assert_eq!(server.status.unwrap().id, None);
    assert_eq!((objects(&stage, "corp").len(), posts(&stage, "corp").len()), (1, 1));
    stage.delete("corp").await;
    stage.wait_gone("corp").await;
    assert_eq!(stage.tenant.get(&id), before, "a foreign object was changed");
}

#[tokio::test]
async fn killed_while_a_create_hangs_and_deleted_while_nobody_looks() {
    let stage = Stage::new().await;
    for (name, apply) in [("applied", Apply::Yes), ("never", Apply::No), ("late", Apply::LateMs(3_000))] {
        stage.simulator.inject(next_post(name, Reply::Hang).apply(apply));
    }
    let first = stage.operator().impatient().flag("--resync-interval", "1h").start();
    for name in ["applied", "never", "late"] {
        stage.apply(&okta(name)).await;
    }
    for name in ["applied", "never", "late"] {
        wait_post(&stage, name).await;
    }
    first.kill().await;
    for name in ["applied", "never", "late"] {
        stage.delete(name).await;
    }
    let _second = stage.operator().impatient().flag("--resync-interval", "1h").start();
    for name in ["applied", "never", "late"] {
        stage.wait_gone(name).await;
        assert!(objects(&stage, name).is_empty(), "{name} is left in the tenant");
        stage.simulator.log().with(|log| assert_eq!(posts_in(log, name), 1, "{name}"));
    }
    let late = posts(&stage, "late");
    assert!(late[0].applied_us.is_some(), "the finalizer went before the create had landed");
}

#[tokio::test]
async fn killed_again_and_again_while_the_outcome_is_unknown() {
    let stage = Stage::new().await;
    stage.simulator.inject(next_post("corp", Reply::Hang));
    stage.simulator.inject(next_post("corp", Reply::Hang).apply(Apply::Yes));
    let mut operator = stage.operator().impatient().flag("--resync-interval", "1h").start();
    stage.apply(&okta("corp")).await;
    for tries in 1..=2 {
        stage.wait_requests("a POST", |log| posts_in(log, "corp") == tries).await;
        operator.kill().await;
        operator = stage.operator().impatient().flag("--resync-interval", "1h").start();
    }
    in_order(&stage, "corp").await;
    assert_eq!(posts(&stage, "corp").len(), 2);
    drop(operator);
}
