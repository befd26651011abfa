//! The worlds and their bounds, and what each mutation breaks.

use crate::mutants::{self, Mutant};
use crate::state::Budget;
use crate::world::{Bounds, PLAIN, Slot};
use crate::{bites, holds};

const NONE: Budget =
    Budget { faults: 0, makes: 0, changes: 0, removals: 0, edits: 0, deletions: 0, restores: 0, swaps: 0, thefts: 0 };

const TWO: &str = "never two remote objects for one resource";
const FOREIGN: &str = "never a foreign object changed or deleted against adoptionPolicy";
const GUARDED: &str = "never the finalizer gone while our object is there";
const OWNER: &str = "never two resources for one object";
const SETTLES: &str = "a fixed point that is equal or a named refusal is near";

/// One resource is created and deleted; the tenant takes any number of objects of a name.
const CREATE: Bounds = Bounds {
    name: "create",
    slots: &[PLAIN],
    credentials: &[0],
    processes: 1,
    unique: false,
    lag: false,
    inherits: false,
    budget: Budget { faults: 1, deletions: 1, ..NONE },
    premises: &["what a lost POST made is found again", "a POST lands after its answer was given up"],
};

#[test]
fn a_resource_is_created_once_and_deleted_whole() {
    holds(CREATE);
}

#[test]
fn a_post_while_an_attempt_is_open_makes_two_objects() {
    bites(CREATE, mutants::POST_WHILE_OPEN, TWO);
}
