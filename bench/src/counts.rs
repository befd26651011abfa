//! What new resources cost, counted by the tenant and by the API server.

use std::collections::BTreeMap;
use std::time::Duration;

use mfa_sandbox::simulator::{Entry, Route};

use crate::process::Process;
use crate::report::Report;
use crate::stage::{Audited, Credentials, Ready, Stage};
use crate::{Result, Scale};

const LIMIT: Duration = Duration::from_mins(5);

pub(crate) async fn measure(scale: &Scale, report: &mut Report) -> Result<()> {
    let count = scale.small;
    let stage = Stage::start(true, Credentials::ServiceAccount).await?;
    stage.create(0..count, two_folders).await?;
    let from = stage.audit_end()?;
    let (entries, _) = create_all(&stage, count).await?;
    let (audited, _) = stage.audit(from)?;

    let posts = count_of(&entries, "POST", Route::MfaServers);
    let tokens = count_of(&entries, "POST", Route::Token);
    let lists = count_of(&entries, "GET", Route::MfaServers);
    report.goal(
        &format!("SSE calls for {count} new resources in 2 folders"),
        &format!("{count} POST, 1 token, 2 listings, nothing else"),
        format!("{posts} POST, {tokens} token, {lists} listings, {} in all", entries.len()),
        (posts, tokens, lists, entries.len()) == (count, 1, 2, count + 3),
    );
    let writes = by_kind(&audited);
    let on_resources: usize = writes.iter().filter(|(what, _)| what.contains(" mfaservers")).map(|(_, n)| n).sum();
    let events: usize = writes.iter().filter(|(what, _)| what.contains(" events")).map(|(_, n)| n).sum();
    let others = writes.values().sum::<usize>() - on_resources - events;
    report.goal(
        &format!("Kubernetes writes for {count} new resources"),
        "2 each, and at most one Event",
        format!("{on_resources}, and {events} Events; {others} others ({})", told(&writes)),
        on_resources == 2 * count && events <= count && others == 0,
    );

    stage.sweep().await?;
    stage.tenant.answer(|answers| answers.create_body = false);
    stage.create(0..count, two_folders).await?;
    stage.simulator.log().reset();
    let (entries, creating) = create_all(&stage, count).await?;
    let posts = count_of(&entries, "POST", Route::MfaServers);
    let lists = count_of(&entries, "GET", Route::MfaServers);
    // The seconds that were begun, and the list that shows what came last.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few seconds")]
    let most = 2 * (creating.as_secs_f64().ceil() as usize + 2);
    report.goal(
        "the same, where a POST answers without a body",
        "one listing more a folder and second of creating",
        format!("{posts} POST, {lists} listings in {:.2} s of creating", creating.as_secs_f64()),
        posts == count && lists <= most && entries.len() == posts + lists + 1,
    );
    stage.stop().await
}

/// Runs an operator until all is Ready and it has nothing to do any more; what the tenant was asked, and the time from the
/// first POST to the last.
async fn create_all(stage: &Stage, count: usize) -> Result<(Vec<Entry>, Duration)> {
    let mut ready = Ready::watch(stage).await?;
    let operator = Process::operator(stage, &["--api-qps", "0", "--resync-interval", "1h"])?;
    ready.wait(count, LIMIT).await?;
    // It finishes what is in flight, the Events too.
    tokio::time::sleep(Duration::from_secs(1)).await;
    operator.terminate().await?;
    let entries = stage.simulator.log().entries();
    let posts = || entries.iter().filter(|entry| entry.method == "POST" && entry.route == Route::MfaServers);
    let first = posts().map(|entry| entry.start_us).min().unwrap_or_default();
    let last = posts().filter_map(|entry| entry.end_us).max().unwrap_or_default();
    let creating = Duration::from_micros(last.saturating_sub(first));
    Ok((entries, creating))
}

fn two_folders(number: usize) -> &'static str {
    if number.is_multiple_of(2) { "Mobile Users" } else { "Remote Networks" }
}

fn count_of(entries: &[Entry], method: &str, route: Route) -> usize {
    entries.iter().filter(|entry| entry.method == method && entry.route == route).count()
}

/// The writes among the requests, by verb and resource.
pub(crate) fn by_kind(audited: &[Audited]) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for request in audited.iter().filter(|request| request.is_write()) {
        *kinds.entry(request.what()).or_default() += 1;
    }
    kinds
}

pub(crate) fn told(writes: &BTreeMap<String, usize>) -> String {
    writes.iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}
