//! How soon another process leads, after the leader was killed and after it was stopped in order; and the image's size.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use tokio::time::sleep;

use crate::process::{Process, image_size};
use crate::report::Report;
use crate::stage::{Credentials, NAMESPACE, Stage};
use crate::{Result, Scale, seconds};

const LIMIT: Duration = Duration::from_mins(1);
const LEADING: &str = "leading";
const STANDING_BY: &str = "another process leads";

pub(crate) async fn measure(_: &Scale, report: &mut Report) -> Result<()> {
    let stage = Stage::start(false, Credentials::Bearer).await?;
    let flags = ["--leader-elect", "--lease-namespace", NAMESPACE];
    let start = || Process::operator(&stage, &flags);
    let mut first = start()?;
    first.wait_log(LEADING).await?;
    let mut second = start()?;
    second.wait_log(STANDING_BY).await?;
    let lease = Api::<Lease>::namespaced(stage.client.clone(), NAMESPACE);
    let (holder, duration) = held(&lease).await?;
    let at = first.kill().await?;
    let (took, holder) = other_than(&lease, &holder, at).await?;
    report.goal(
        "leader killed: the standby leads",
        &format!("within the lease's {duration} s + 2 s"),
        seconds(took),
        took <= Duration::from_secs(duration + 2),
    );

    let mut third = start()?;
    third.wait_log(STANDING_BY).await?;
    let at = Instant::now();
    let stopped = tokio::spawn(second.terminate());
    let (took, _) = other_than(&lease, &holder, at).await?;
    stopped.await??;
    report.goal(
        "leader stopped in order: the standby leads",
        "within 2 s",
        seconds(took),
        took <= Duration::from_secs(2),
    );
    third.terminate().await?;
    stage.stop().await?;

    let (what, goal) = ("image, compressed", "at most 40 MiB");
    match image_size().await {
        #[allow(clippy::cast_precision_loss, reason = "a size")]
        Ok(size) => report.goal(what, goal, format!("{:.1} MiB", size as f64 / 1_048_576.0), size <= 40 << 20),
        Err(error) => report.not_measured(what, goal, error.to_string()),
    }
    Ok(())
}

async fn held(lease: &Api<Lease>) -> Result<(String, u64)> {
    let spec = lease.get("mfa-operator").await?.spec.ok_or("a lease without a spec")?;
    let duration = u64::try_from(spec.lease_duration_seconds.unwrap_or_default())?;
    Ok((spec.holder_identity.unwrap_or_default(), duration))
}

/// Waits until somebody else holds the lease.
async fn other_than(lease: &Api<Lease>, holder: &str, since: Instant) -> Result<(Duration, String)> {
    loop {
        let (now, _) = held(lease).await?;
        if !now.is_empty() && now != holder {
            return Ok((since.elapsed(), now));
        }
        if since.elapsed() > LIMIT {
            return Err("nobody else leads".into());
        }
        sleep(Duration::from_millis(10)).await;
    }
}
