//! The worlds and their bounds, and what each mutation breaks.

use crate::mutants;
use crate::state::Budget;
use crate::world::{Bounds, PLAIN, Slot};
use crate::{bites, holds};

const NONE: Budget = Budget {
    faults: 0,
    makes: 0,
    changes: 0,
    removals: 0,
    edits: 0,
    deletions: 0,
    restores: 0,
    swaps: 0,
    ticks: Budget::EVER,
    leads: 0,
    thefts: 0,
};

const TWO: &str = "never two remote objects for one resource";
const FOREIGN: &str = "never a foreign object changed or deleted against adoptionPolicy";
const GUARDED: &str = "never the finalizer gone while our object is there";
const OWNER: &str = "never two resources for one object";
const WRITER: &str = "never two processes that may write";
const SETTLES: &str = "a fixed point that is equal or a named refusal is near";

const IDENTICAL: Slot = Slot { adoption: "IfIdentical", ..PLAIN };
const ALWAYS: Slot = Slot { adoption: "Always", ..PLAIN };
const REPORT: Slot = Slot { drift: "Report", ..PLAIN };
const RETAIN: Slot = Slot { deletion: "Retain", ..PLAIN };
const OTHER_CREDENTIAL: Slot = Slot { credential: 1, ..PLAIN };

const FOUND_AGAIN: &str = "what a lost POST made is found again";
const LATE: &str = "a POST lands after its answer was given up";
const TAKEN: &str = "a POST is answered that the name is taken";
const TWIN: &str = "a twin is taken for what was sent";
const ADOPTED: &str = "an object of somebody else is adopted";
const INCOMPLETE: &str = "a list is incomplete";
const RESUMED: &str = "an answer that no status holds is taken up by a later pass";
const CONFLICTED: &str = "a write to the cluster is refused, for the resource has changed";
const DEPOSED: &str = "one process works while another has begun to lead";
const ENDED: &str = "a process loses the lease and ends";

/// One resource is created, edited and deleted; the tenant takes any number of objects of a name.
const CREATE: Bounds = Bounds {
    name: "create",
    slots: &[PLAIN],
    credentials: &[0],
    processes: 1,
    unique: false,
    lag: false,
    apart: false,
    inherits: false,
    budget: Budget { faults: 1, deletions: 1, ..NONE },
    premises: &[FOUND_AGAIN, LATE, INCOMPLETE, CONFLICTED, RESUMED],
};
/// The same behind a cache that lags.
const LAG: Bounds =
    Bounds { name: "lag", lag: true, budget: Budget { faults: 1, ..NONE }, premises: &[FOUND_AGAIN, LATE], ..CREATE };
/// Somebody else makes an object of the name, changes one and removes one; the name is unique.
const NEVER: Bounds = Bounds {
    name: "foreign, Never",
    unique: true,
    budget: Budget { faults: 1, makes: 1, deletions: 1, ..NONE },
    premises: &[FOUND_AGAIN, TAKEN, TWIN],
    ..CREATE
};
const IF_IDENTICAL: Bounds = Bounds {
    name: "foreign, IfIdentical",
    slots: &[IDENTICAL],
    budget: Budget { makes: 1, changes: 1, deletions: 1, ..NONE },
    premises: &[ADOPTED, TAKEN],
    ..NEVER
};
const ADOPTS: Bounds = Bounds { name: "foreign, Always", slots: &[ALWAYS], ..IF_IDENTICAL };
/// Somebody else changes and removes what is ours.
const DRIFT: Bounds =
    Bounds { name: "drift, Correct", budget: Budget { changes: 1, removals: 1, ..NONE }, premises: &[], ..CREATE };
const REPORTED: Bounds =
    Bounds { name: "drift, Report", slots: &[REPORT], budget: Budget { changes: 1, deletions: 1, ..NONE }, ..DRIFT };
const RETAINED: Bounds = Bounds {
    name: "Retain",
    slots: &[RETAIN],
    budget: Budget { faults: 1, deletions: 1, ..NONE },
    premises: &[FOUND_AGAIN],
    ..CREATE
};
/// Two resources of one name.
const CLAIMS: Bounds = Bounds {
    name: "claims",
    slots: &[PLAIN, PLAIN],
    unique: true,
    budget: Budget { deletions: 1, ..NONE },
    premises: &[],
    ..CREATE
};
/// The same with two credentials of one tenant.
const CREDENTIALS: Bounds =
    Bounds { name: "two credentials", slots: &[PLAIN, OTHER_CREDENTIAL], credentials: &[0, 0], budget: NONE, ..CLAIMS };
/// A resource's credential becomes one of another tenant.
const TENANTS: Bounds = Bounds {
    name: "two tenants",
    credentials: &[0, 1],
    budget: Budget { swaps: 1, deletions: 1, ..NONE },
    premises: &[],
    ..CREATE
};
/// Lists show what is inherited from the parent folder, and tell no folder.
const INHERITED: Bounds =
    Bounds { name: "inherited", inherits: true, budget: Budget { makes: 1, ..NONE }, premises: &[], ..NEVER };
/// A deleted resource is restored from a backup.
const RESTORED: Bounds = Bounds {
    name: "restored",
    unique: true,
    budget: Budget { faults: 1, makes: 1, deletions: 1, restores: 1, ..NONE },
    premises: &[],
    ..CREATE
};
/// Two processes and a lease, and nothing else.
const ELECTION: Bounds = Bounds {
    name: "election",
    slots: &[],
    processes: 2,
    budget: Budget { leads: 3, thefts: 1, ..NONE },
    premises: &[DEPOSED, ENDED],
    ..CREATE
};
/// One of them creates a resource's object, and loses the lease to the other one at any time.
const LEADERS: Bounds = Bounds {
    name: "two leaders",
    processes: 2,
    budget: Budget { ticks: 4, leads: 2, ..NONE },
    premises: &[DEPOSED, ENDED, FOUND_AGAIN, LATE],
    ..CREATE
};

/// The same world with other bounds.
const fn with(world: Bounds, name: &'static str, budget: Budget) -> Bounds {
    Bounds { name, budget, ..world }
}

/// What was restored is deleted too.
const RESTORED_AND_DELETED: Bounds =
    with(RESTORED, "restored, deleted", Budget { faults: 1, makes: 1, deletions: 2, restores: 1, ..NONE });

macro_rules! worlds {
    ($($name:ident: $world:expr;)*) => {
        $(#[test]
        fn $name() {
            holds($world);
        })*
    };
}

// Together less than a minute of one core, in a build for development.
worlds! {
    a_resource_is_created_once_and_deleted_whole: CREATE;
    a_cache_that_lags_misleads_nobody: LAG;
    what_somebody_else_made_is_left_alone: NEVER;
    what_is_identical_is_adopted_where_it_may_be: IF_IDENTICAL;
    whatever_has_the_name_is_adopted_where_it_may_be: ADOPTS;
    drift_is_corrected: DRIFT;
    drift_is_reported: REPORTED;
    what_is_to_be_retained_stays: RETAINED;
    of_two_resources_of_a_name_one_owns_it: CLAIMS;
    a_credential_of_another_tenant_moves_nothing: TENANTS;
    what_is_inherited_is_not_ours: INHERITED;
    a_restored_backup_takes_nothing_over: RESTORED;
    of_two_processes_one_may_write: ELECTION;
}

macro_rules! larger_worlds {
    ($($name:ident: $world:expr;)*) => {
        $(#[test]
        #[ignore = "minutes, with `make verify`"]
        fn $name() {
            holds($world);
        })*
    };
}

larger_worlds! {
    what_one_leader_begins_the_next_one_ends: LEADERS;
    two_credentials_of_a_tenant_are_one_tenant: CREDENTIALS;
    an_inherited_object_and_a_deletion: with(INHERITED, "inherited, deletion", Budget { makes: 1, deletions: 1, ..NONE });
    a_backup_restored_and_deleted:
        RESTORED_AND_DELETED;
    a_resource_that_is_edited:
        with(CREATE, "create, edited", Budget { faults: 1, edits: 1, deletions: 1, ..NONE });
    two_faults_behind_a_cache_that_lags: Bounds {
        apart: true,
        ..with(LAG, "create, two faults", Budget { faults: 2, edits: 1, deletions: 1, ..NONE })
    };
    two_faults_and_a_foreign_object: Bounds {
        lag: true,
        ..with(NEVER, "Never, two faults", Budget { faults: 2, makes: 1, changes: 1, deletions: 1, ..NONE })
    };
    two_resources_and_two_faults: with(CLAIMS, "claims, two faults", Budget { faults: 2, deletions: 1, ..NONE });
    two_resources_behind_a_cache_that_lags:
        Bounds { lag: true, ..with(CLAIMS, "claims, lag", Budget { faults: 1, deletions: 1, ..NONE }) };
}

macro_rules! mutations {
    ($($name:ident: $mutant:ident in $world:expr => $property:ident;)*) => {
        $(#[test]
        fn $name() {
            bites($world, mutants::$mutant, $property);
        })*
    };
}

mutations! {
    a_post_while_an_attempt_is_open_makes_two_objects: POST_WHILE_OPEN in CREATE => TWO;
    a_finalizer_dropped_while_an_attempt_is_open_leaves_an_object: DROP_WHILE_OPEN in CREATE => GUARDED;
    an_attempt_that_settles_at_once_makes_two_objects: NO_SETTLING in CREATE => TWO;
    an_attempt_that_never_settles_comes_to_no_end: NEVER_SETTLED in CREATE => SETTLES;
    an_incomplete_list_that_proves_absence_makes_two_objects: INCOMPLETE_IS_ABSENT in Bounds { budget: Budget { faults: 2, ..NONE }, ..CREATE } => TWO;
    an_attempt_of_another_uid_takes_a_foreign_object: ANY_UID in RESTORED_AND_DELETED => FOREIGN;
    an_older_list_that_wins_makes_two_objects: OLDER_LIST_WINS in CREATE => TWO;
    adopting_with_never_changes_a_foreign_object: ADOPT_NEVER in NEVER => FOREIGN;
    adopting_what_differs_changes_a_foreign_object: ADOPT_DIFFERING in IF_IDENTICAL => FOREIGN;
    deleting_by_name_deletes_a_foreign_object: DELETE_BY_NAME in NEVER => FOREIGN;
    two_owners_hold_one_object: ALL_OWN in Bounds { budget: Budget { faults: 1, ..NONE }, ..CLAIMS } => OWNER;
    a_credential_of_another_tenant_makes_two_objects: ANY_TENANT in TENANTS => TWO;
    a_deadline_that_outlasts_the_lease_lets_two_write: LONG_DEADLINE in ELECTION => WRITER;
}

#[test]
#[ignore = "minutes, with `make verify`"]
fn a_write_after_deposition_makes_two_objects() {
    bites(LEADERS, mutants::WRITE_DEPOSED, TWO);
}
