//! The operator is killed in every gap between two side effects, and another one finishes what it had begun.
//!
//! Nobody keeps a list of the gaps: each scenario is played once while the operator tells where its passes stand, and
//! then once more for every place that it told, where the process ends by SIGKILL. At the end every kind of step must
//! have had a death right before it and right after it. A kind that no scenario reaches fails the test, and a step without
//! a kind does not compile (`reconcile::gap`).
//!
//! The operator that tells is this very program: [`an_operator_that_tells_where_it_stands`] with a variable set. The real
//! binary has no ear for it.

mod scenario;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::Parser as _;
use futures::{StreamExt as _, stream};
use mfa_operator::args::Arguments;
use mfa_operator::reconcile::gap::{Gap, Gaps, Kind};
use mfa_operator::{run, telemetry};
use tokio::process::Command;

use self::scenario::{CORP, Scenario};
use crate::faults::in_order;
use crate::operator::{Launch, Stage, bare, okta};

/// Tells an operator that it is to tell, and where it is to die.
const DIE: &str = "MFA_TEST_DIE";
/// How many scenarios are played at a time; each has a control plane of its own.
const LANES: usize = 3;

fn name(gap: &Gap<'_>) -> String {
    let name = |kind: Option<Kind>, none| kind.map_or(none, Kind::name);
    format!("{}>{}", name(gap.after, "begin"), name(gap.before, "end"))
}

/// What the gap's two sides are called.
fn sides(gap: &str) -> (&str, &str) {
    gap.split_once('>').expect("the name of a gap")
}

fn stand(gap: &Gap<'_>) {
    static WHERE: LazyLock<String> = LazyLock::new(|| std::env::var(DIE).unwrap_or_default());
    if !gap.resource.ends_with(&format!("/{CORP}")) {
        return;
    }
    let name = name(gap);
    tracing::info!(gap = name, "gap");
    if *WHERE == name {
        // The pass stands still here until the kernel ends it: nothing that it would do next is done.
        let killed = std::process::Command::new("/bin/sh").args(["-c", "kill -KILL $PPID"]).status();
        panic!("this process should be dead: {killed:?}");
    }
}

#[test]
fn an_operator_that_tells_where_it_stands() {
    let names: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(names.len(), Kind::ALL.len());
    if std::env::var_os(DIE).is_none() {
        return;
    }
    let arguments = Arguments::try_parse_from(["mfa-operator"]).expect("flags in the environment");
    let _ = rustls::crypto::ring::default_provider().install_default();
    telemetry::init(arguments.run.log_format);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let result = runtime.block_on(run::run_told(arguments.run, Gaps::told(stand)));
    runtime.shutdown_background();
    result.expect("an operator that ends in order");
}

/// The operator that tells, and dies in that gap if there is one.
fn telling(die: Option<&str>) -> Command {
    let mut command = bare(std::env::current_exe().expect("this program").as_os_str());
    command.args(["--exact", "gaps::an_operator_that_tells_where_it_stands", "--nocapture", "--test-threads=1"]);
    command.env(DIE, die.unwrap_or_default());
    command
}

fn launch<'a>(stage: &'a Stage, timeout: &str) -> Launch<'a> {
    stage.operator().flag("--request-timeout", timeout)
}

/// Plays a scenario, in which the operator dies in that gap, and answers with the gaps that it told. None, if it was not
/// there.
async fn play(scenario: Scenario, die: Option<String>) -> Option<Vec<String>> {
    let stage = scenario.stage().await;
    if scenario.is_prepared() {
        let before = launch(&stage, scenario.timeout()).start();
        scenario.prepare(&stage).await;
        assert_eq!(before.terminate().await.code(), Some(0));
    }
    scenario.act(&stage).await;

    let mut operator = launch(&stage, scenario.timeout()).program(telling(die.as_deref())).start();
    let acted = AtomicBool::new(false);
    let scene = async {
        scenario.meanwhile(&stage).await;
        acted.store(true, Ordering::SeqCst);
        scenario.reached(&stage, false).await;
    };
    tokio::select! {
        () = scene => operator.signal("TERM").await,
        () = operator.died() => {}
    }
    let status = operator.ended().await;
    let gaps: Vec<String> =
        operator.log().lines().iter().filter_map(|line| Some(line["gap"].as_str()?.to_owned())).collect();
    let met = match (&die, status.signal()) {
        (Some(die), Some(9)) => {
            assert_eq!(gaps.last(), Some(die), "it died elsewhere");
            true
        }
        (None, None) if status.success() => true,
        (Some(die), None) if status.success() => !gaps.contains(die),
        _ => panic!("the operator ended with {status}:\n{}", operator.log().end()),
    };
    let died = status.signal().is_some();
    scenario.check_guard(&stage).await;

    let orphan = scenario.may_orphan(died && acted.load(Ordering::SeqCst), die.as_deref());
    let after = launch(&stage, scenario.timeout()).start();
    if scenario.starts_anew() && died || !acted.load(Ordering::SeqCst) {
        scenario.meanwhile(&stage).await;
    }
    scenario.reached(&stage, orphan).await;
    scenario.mend(&stage).await;
    scenario.check(&stage, orphan).await;
    drop(after);
    (met && (die.is_none() || died)).then_some(gaps)
}

/// Plays each of these, a few at a time, and says what failed.
async fn play_all(cases: Vec<(Scenario, Option<String>)>) -> Vec<(Scenario, Option<String>, Option<Vec<String>>)> {
    let played = stream::iter(cases).map(|(scenario, die)| async move {
        let played = tokio::spawn(play(scenario, die.clone())).await;
        (scenario, die, played)
    });
    let played: Vec<_> = played.buffered(LANES).collect().await;
    let failed: Vec<_> = played.iter().filter(|(.., played)| played.is_err()).map(|(s, die, _)| (s, die)).collect();
    assert!(failed.is_empty(), "these failed, as said above (scenario, and where the operator died): {failed:?}");
    played.into_iter().map(|(scenario, die, played)| (scenario, die, played.expect("checked"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::print_stderr, reason = "the list for whoever runs the test with --nocapture")]
async fn killed_in_every_gap_between_two_side_effects_nothing_is_lost_or_doubled() {
    let begun = Instant::now();
    let told = play_all(Scenario::ALL.iter().map(|scenario| (*scenario, None)).collect()).await;
    let mut cases = Vec::new();
    let mut known = BTreeSet::new();
    for (scenario, _, gaps) in told {
        let mut of_this = BTreeSet::new();
        for gap in gaps.expect("a scenario without a death is told") {
            let new = known.insert(gap.clone());
            if (new || scenario.in_every_gap()) && of_this.insert(gap.clone()) {
                cases.push((scenario, Some(gap)));
            }
        }
    }
    let mut killed: BTreeMap<Scenario, Vec<String>> = BTreeMap::new();
    let mut missed = cases;
    let mut tried = 0;
    // Which permit is free or which list comes first is not the same each time: what was not met is tried again.
    for _ in 0..3 {
        tried += missed.len();
        let played = play_all(std::mem::take(&mut missed)).await;
        for (scenario, die, gaps) in played {
            match gaps {
                Some(_) => killed.entry(scenario).or_default().push(die.expect("a gap to die in")),
                None => missed.push((scenario, die)),
            }
        }
    }
    for (scenario, gaps) in &killed {
        eprintln!("{scenario:?}: killed in {} gaps: {}", gaps.len(), gaps.join(" "));
    }
    let deaths: usize = killed.values().map(Vec::len).sum();
    let kinds = Kind::ALL.len();
    eprintln!("{deaths} deaths in {} scenarios, {} gaps, {kinds} kinds of steps", killed.len(), known.len());
    eprintln!("{tried} plays, not met again: {missed:?}; {} s", begun.elapsed().as_secs());

    let before: BTreeSet<_> = killed.values().flatten().map(|gap| sides(gap).1).collect();
    let after: BTreeSet<_> = killed.values().flatten().map(|gap| sides(gap).0).collect();
    let unmet = |met: &BTreeSet<&str>| {
        Kind::ALL.iter().map(|kind| kind.name()).filter(|name| !met.contains(name)).collect::<Vec<_>>()
    };
    assert_eq!(unmet(&before), Vec::<&str>::new(), "no operator died right before these");
    assert_eq!(unmet(&after), Vec::<&str>::new(), "no operator died right after these");
    assert!(missed.len() * 10 <= deaths, "too many gaps were not met again: {missed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_own_binary_has_no_ear_for_it() {
    let stage = Stage::new().await;
    let mut operator = launch(&stage, "1s").env(DIE, "begin>end").start();
    stage.apply(&okta(CORP)).await;
    in_order(&stage, CORP).await;
    assert!(operator.is_running());
    assert!(!operator.log().lines().iter().any(|line| line["message"] == "gap" || !line["gap"].is_null()));
    // While the one that tells dies of the same.
    let mut telling = launch(&stage, "1s").program(telling(Some("begin>end"))).start();
    assert_eq!(telling.ended().await.signal(), Some(9), "{}", telling.log().end());
}
