//! Hundreds of resources under everything at once: changes, deletions, rotations, drift, faults, restarts of all parts.
//!
//! The seed alone decides what happens ([`plan`]), the rest is [`world`]; [`judge`] looks during the run at what must
//! hold at any time, and at the end, when nobody disturbs any more, at every object. `make soak` runs it as long as is
//! wanted; the tests run a short one.

mod judge;
mod plan;
mod world;

use std::time::{Duration, Instant};

use tokio::time::{Instant as Moment, sleep, sleep_until};

use self::plan::{Action, Plan, Size};
use self::world::{LIMIT, World};

/// How often is looked whether all has come to rest.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How many sentences of a kind a failure shows.
const SHOWN: usize = 30;

#[allow(clippy::print_stderr, reason = "what a run of minutes tells whoever waits for it")]
fn say(text: &str) {
    eprintln!("soak: {text}");
}

/// A number of the environment.
fn number<T: std::str::FromStr>(variable: &str) -> Option<T> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    let Ok(number) = text.parse() else { panic!("{variable}={text} is not a number") };
    Some(number)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_soak_of_a_fixed_seed_ends_with_tenants_and_cluster_equal() {
    // The first seed that makes everything happen: it would show nothing of what did not happen at all.
    let kinds = [
        "Apply",
        "Recreate",
        "Delete",
        "Ask",
        "Drift",
        "Free",
        "RotateVendor",
        "RotateCredentials",
        "RevokeTokens",
        "Fault",
        "RateLimit",
        "WriteLock",
        "ResetConnections",
        "Kill",
        "Terminate",
        "StopApiServer",
        "StopSimulator",
    ];
    let sizes = (1..1_000).map(|seed| Size { seed, resources: 60, millis: 25_000 });
    let mut whole = sizes.filter(|size| {
        let counts = Plan::new(*size).counts();
        kinds.iter().all(|kind| counts.contains_key(*kind))
    });
    let size = whole.next().expect("a seed that makes everything happen");
    soak(size).await;
}

/// What `make soak` runs, with `SOAK_SEED`, `SOAK_MINUTES` and `SOAK_RESOURCES`. Without them, the shortest run that there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soak_as_long_as_is_wanted() {
    let minutes: Option<f64> = number("SOAK_MINUTES");
    let Some(minutes) = minutes else {
        // It is not asked for, and the short one above runs anyway: what is left to show is that it could.
        let plan = Plan::new(Size { seed: 1, resources: 500, millis: 3_600_000 });
        assert!(plan.actions.len() > 10_000 && plan.alive.len() > 250);
        return;
    };
    let seed = number("SOAK_SEED").unwrap_or_else(rand::random);
    let millis = Duration::from_secs_f64(minutes * 60.0).as_millis();
    let resources = number("SOAK_RESOURCES").unwrap_or(500);
    soak(Size { seed, resources, millis: u64::try_from(millis).expect("not that long") }).await;
}

/// Says how to see a failure again, unless all went well.
struct Replay(Size, bool);

impl Drop for Replay {
    fn drop(&mut self) {
        let Self(Size { seed, resources, millis }, well) = *self;
        if !well {
            #[allow(clippy::cast_precision_loss)]
            let minutes = millis as f64 / 60_000.0;
            say(&format!("FAILED. The same again: make soak SEED={seed} MINUTES={minutes} RESOURCES={resources}"));
        }
    }
}

async fn soak(size: Size) {
    let plan = Plan::new(size);
    let Size { seed, resources, millis } = size;
    let (actions, digest) = (plan.actions.len(), plan.digest());
    say(&format!("seed {seed}: {actions} actions on {resources} resources in {} s, digest {digest}", millis / 1000));
    say(&format!("{:?}", plan.counts()));
    let mut replay = Replay(size, false);
    let mut world = World::new(&plan).await;
    let begun = Moment::now();
    let mut told = Instant::now();
    for (at, action) in &plan.actions {
        sleep_until(begun + Duration::from_millis(*at)).await;
        world.watch_over_all().await;
        world.act(action).await;
        if matches!(action, Action::Check) {
            check(&mut world, &plan, false).await;
        }
        if told.elapsed() > Duration::from_mins(1) {
            told = Instant::now();
            say(&format!("{} s of {} s", at / 1000, millis / 1000));
        }
    }
    // Those that a plan left stopped are started; a part that is there already is left alone.
    for action in [Action::StartApiServer, Action::StartSimulator] {
        world.act(&action).await;
    }
    say(&format!("all was done after {} s; nobody disturbs any more", begun.elapsed().as_secs()));
    if let Err(late) = world.calm(plan.alive.keys().copied(), u32::MAX).await {
        let mut sentences = vec![late];
        sentences.extend(judge::unequal(&world, &plan).await.unwrap_or_default());
        fail(&world, &plan, &sentences);
    }

    let calm = Instant::now();
    loop {
        world.watch_over_all().await;
        let unequal = match judge::unequal(&world, &plan).await {
            Ok(unequal) if unequal.is_empty() => break,
            Ok(unequal) => unequal,
            Err(error) => vec![format!("the API server: {error}")],
        };
        if calm.elapsed() > LIMIT {
            fail(&world, &plan, &unequal);
        }
        if told.elapsed() > Duration::from_mins(1) {
            told = Instant::now();
            say(&format!("not equal yet: {}", unequal.iter().take(3).cloned().collect::<Vec<_>>().join("; ")));
        }
        sleep(LOOK_AGAIN).await;
    }
    let settled = calm.elapsed();
    check(&mut world, &plan, true).await;
    world.end().await;
    check(&mut world, &plan, false).await;
    replay.1 = true;

    let summary = world.simulator.log().summary();
    say(&format!(
        "equal {} s later, object by object: {} resources, {} objects, {} requests, {} operators, {} of which ended by \
         themselves",
        settled.as_secs(),
        plan.alive.len(),
        world.simulator.objects().len(),
        summary.requests,
        world.logs.len(),
        world.exits,
    ));
    say(&format!("{:?}", summary.by_answer));
    if std::env::var_os("SOAK_KEEP").is_some() {
        say(&format!("logs: {}", keep(&world, &plan, &[])));
    }
    say(&format!("seed {seed} passed, digest {digest}"));
}

/// The invariants, and where secrets must not be.
async fn check(world: &mut World, plan: &Plan, scrape: bool) {
    let breaches = judge::breaches(world, plan);
    if !breaches.is_empty() {
        fail(world, plan, &breaches);
    }
    if scrape {
        world.scrape().await;
    }
    let mut texts = vec![("the metrics".to_owned(), world.scrapes.join("\n"))];
    texts.extend(
        world.logs.iter().enumerate().map(|(index, log)| (format!("the log of operator {}", index + 1), log.text())),
    );
    // The API server may be away.
    if let Ok(Ok(written)) = tokio::time::timeout(Duration::from_secs(20), world.written()).await {
        texts.push(("a resource or an Event".to_owned(), written));
    }
    let leaks = judge::leaks(world, &texts);
    if !leaks.is_empty() {
        fail(world, plan, &leaks);
    }
}

/// Ends the run; what is needed to find out why is written into a folder.
fn fail(world: &World, plan: &Plan, sentences: &[String]) -> ! {
    let kept = keep(world, plan, sentences);
    let shown = sentences.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("\n  ");
    panic!("{} things are wrong:\n  {shown}\nlogs: {kept}", sentences.len());
}

/// Writes down everything that happened, and says where.
fn keep(world: &World, plan: &Plan, sentences: &[String]) -> String {
    let folder = std::env::temp_dir().join(format!("mfa-soak-{}", plan.size.seed));
    let written = || -> std::io::Result<()> {
        std::fs::create_dir_all(&folder)?;
        for (index, log) in world.logs.iter().enumerate() {
            std::fs::write(folder.join(format!("operator-{}.log", index + 1)), log.text())?;
        }
        let entries = world.simulator.log().entries();
        let lines: Vec<_> = entries.iter().filter_map(|entry| serde_json::to_string(entry).ok()).collect();
        std::fs::write(folder.join("requests.log"), lines.join("\n"))?;
        let actions: Vec<_> = plan.actions.iter().map(|(at, action)| format!("{at} {action:?}")).collect();
        std::fs::write(folder.join("actions.log"), actions.join("\n"))?;
        std::fs::write(folder.join("failure.log"), sentences.join("\n"))
    };
    written().map_or_else(|error| error.to_string(), |()| format!("in {}", folder.display()))
}
