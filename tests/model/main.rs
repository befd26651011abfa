//! The model check: the operator's own functions, driven through every state of small worlds.
//!
//! # What is checked
//! `Facts::from_stored`, `Facts::learn`, `Facts::resume` and the rules of `reconcile::step`; everything of
//! `reconcile::sight` and `reconcile::course`; the record of an attempt and what matches it; the merge of the
//! inventory; the claims and who is found among the peers; the status that is written; and the election's candidate. None
//! of it is written a second time here. `process` is the driver in their midst: it does the calls to a world that is a
//! value, and hands the answers in.
//!
//! # What is assumed
//! - A request lands before twice its timeout has passed, or never; nobody who may still send it is left by then.
//! - The API server orders writes by `resourceVersion`. The tenant's GET answers at once; its writes take their time.
//! - There are no vendor secrets, no delays, and always a turn: they hold a step back and never bring one about.
//!
//! A world is exhausted: there is neither a limit to the depth nor a sample. `docs/reliability.md` lists the worlds.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]
#![allow(clippy::cast_possible_truncation, clippy::struct_excessive_bools, clippy::too_many_lines, clippy::unused_self)]
#![allow(clippy::assigning_clones, clippy::maybe_infinite_iter, clippy::similar_names, clippy::type_complexity)]

mod lease;
mod mutants;
mod process;
mod settle;
mod state;
mod world;
mod worlds;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use crate::mutants::{Mutant, REAL};
use crate::state::State;
use crate::world::{Action, Bounds, World};

/// What a check came to.
struct Checked {
    states: usize,
    transitions: u64,
    took: Duration,
    reached: Vec<&'static str>,
    /// By the property that fails: what led there.
    refuted: BTreeMap<&'static str, String>,
}

fn trace(world: &World, property: &str, path: Vec<(State, Option<Action>)>) -> String {
    let mut text = String::new();
    let holds = world.properties().into_iter().find(|known| known.name == property).unwrap().condition;
    for (state, action) in path {
        let action = action.filter(|_| holds(world, &state));
        writeln!(text, "    {}", world.show(&state)).unwrap();
        if let Some(action) = action {
            writeln!(text, "  {}", world.tell(&state, action)).unwrap();
        } else {
            break;
        }
    }
    if let Some(story) = world.unsettled.lock().unwrap().as_ref() {
        writeln!(text, "  without a fault from there on: {story}").unwrap();
    }
    text
}

fn check(bounds: Bounds, mutant: Mutant, only: Option<&'static str>) -> Checked {
    let begun = Instant::now();
    let checker =
        World::new(bounds, mutant, only).checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let world = checker.model();
    let refuted = checker
        .discoveries()
        .into_iter()
        .map(|(property, path)| (property, trace(world, property, path.into_vec())))
        .collect();
    Checked {
        states: checker.unique_state_count(),
        transitions: world.transitions(),
        took: begun.elapsed(),
        reached: world.reached.lock().unwrap().iter().copied().collect(),
        refuted,
    }
}

/// Every state of this world keeps every property, and every situation that it is there for is reached.
fn holds(bounds: Bounds) {
    let checked = check(bounds, REAL, None);
    let Checked { states, transitions, took, .. } = checked;
    println!("| {} | {states} | {transitions} | {:.1} s |", bounds.name, took.as_secs_f64());
    for (property, trace) in &checked.refuted {
        println!("{}: {property} does not hold:\n{trace}", bounds.name);
    }
    assert!(checked.refuted.is_empty(), "{}: see the trace above", bounds.name);
    let missed: Vec<_> = bounds.premises.iter().filter(|premise| !checked.reached.contains(premise)).collect();
    assert!(missed.is_empty(), "{}: no state reaches {missed:?}; these are: {:?}", bounds.name, checked.reached);
}

/// The mutation breaks this property in this world.
fn bites(bounds: Bounds, mutant: Mutant, property: &'static str) {
    let checked = check(bounds, mutant, Some(property));
    for (property, trace) in &checked.refuted {
        println!("{}, {:?}: {property} does not hold:\n{trace}", bounds.name, mutant.name);
    }
    let broken: Vec<_> = checked.refuted.keys().collect();
    assert!(
        checked.refuted.contains_key(property),
        "{:?} is not caught by {property:?} in {} states of {:?}; broken is {broken:?}",
        mutant.name,
        checked.states,
        bounds.name
    );
}
