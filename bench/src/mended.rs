//! How soon all resources of a refused credential are Ready once it is mended, and what its refusal costs.

use std::time::{Duration, Instant};

use mfa_sandbox::simulator::Log;
use tokio::time::sleep;

use crate::process::Process;
use crate::report::Report;
use crate::stage::{Credentials, Ready, Stage, TOKEN, mobile_users};
use crate::{Result, Scale, seconds};

const LIMIT: Duration = Duration::from_mins(3);
const GOAL: Duration = Duration::from_secs(10);
/// Each is the tenant's only one in its turn.
const TOKENS: [&str; 3] = ["not-a-real-token-1", "not-a-real-token-2", "not-a-real-token-3"];

pub(crate) async fn measure(scale: &Scale, report: &mut Report) -> Result<()> {
    let count = scale.pairs.0;
    let stage = Stage::start(false, Credentials::Bearer).await?;
    stage.create(0..count, mobile_users).await?;
    let mut ready = Ready::watch(&stage).await?;
    // The resync finds out that a token is refused.
    let operator = Process::operator(&stage, &["--api-qps", "0", "--resync-interval", "10s"])?;
    ready.wait(count, LIMIT).await?;
    let mut token = TOKEN;
    let (mut times, mut asked) = (Vec::new(), Vec::new());
    let rounds = if scale.quick { 1 } else { TOKENS.len() };
    for next in &TOKENS[..rounds] {
        crate::say(&format!("mended: {} of {rounds}", times.len() + 1));
        stage.simulator.log().reset();
        stage.tenant.remove_bearer_token(token);
        none_ready(&stage).await?;
        let refused = |log: &Log| log.entries().iter().filter(|entry| entry.status == Some(401)).count();
        asked.push(stage.simulator.log().with(refused));
        let mut ready = Ready::watch(&stage).await?;
        stage.tenant.add_bearer_token(next);
        let mended = Instant::now();
        stage.mend(next).await?;
        times.push(ready.wait(count, LIMIT).await?.duration_since(mended));
        token = next;
    }
    operator.terminate().await?;
    stage.stop().await?;
    let longest = times.iter().max().copied().unwrap_or_default();
    report.goal(
        &format!("a credential of {count} resources is refused: calls until all say so"),
        "1",
        asked.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        asked.iter().all(|asked| *asked == 1),
    );
    report.goal(
        "its Secret is mended: all Ready",
        "within 10 s, each time",
        times.iter().copied().map(seconds).collect::<Vec<_>>().join(", "),
        longest < GOAL,
    );
    Ok(())
}

async fn none_ready(stage: &Stage) -> Result<()> {
    let begun = Instant::now();
    loop {
        let ready = stage.ready().await?;
        if ready == 0 {
            return Ok(());
        }
        if begun.elapsed() > LIMIT {
            return Err(format!("{ready} resources are still Ready with a token that is refused").into());
        }
        sleep(Duration::from_millis(200)).await;
    }
}
