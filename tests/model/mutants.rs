//! The operator's rules as the checker calls them, each behind a function that a mutation may replace.

use crate::lease::TIMING;
use mfa_operator::controller::lease::candidate::Timing;
use mfa_operator::crd::{ANNOTATION_ATTEMPT, MfaServer};
use mfa_operator::reconcile::attempt::Attempt as Record;
use mfa_operator::reconcile::facts::{Adoption, Attempt, Claim, Facts, Found, List, Outcome, Read, Tenant};
use mfa_operator::reconcile::sight;
use mfa_operator::reconcile::step::{RULES, Step, decide};
use mfa_operator::sse::inventory::Mark;

/// The rules, or the rules but for one.
#[derive(Clone, Copy)]
pub(crate) struct Mutant {
    pub(crate) name: &'static str,
    pub(crate) decide: fn(&Facts) -> (&'static str, Step),
    pub(crate) learn: fn(&mut Facts, Outcome),
    pub(crate) unanswered: fn(&MfaServer) -> Option<Record>,
    /// Whether an attempt has settled, where its time has passed or not.
    pub(crate) settled: fn(bool) -> bool,
    pub(crate) list: fn(List) -> List,
    pub(crate) claim: fn(Claim) -> Claim,
    /// When an own write ended.
    pub(crate) write_mark: fn(Mark) -> Mark,
    /// Whether a call may be sent, where this process may write or not.
    pub(crate) obeys: fn(bool) -> bool,
    pub(crate) timing: Timing,
}

/// The operator as it is.
pub(crate) const REAL: Mutant = Mutant {
    name: "none",
    decide: |facts| decide(RULES, facts),
    learn: Facts::learn,
    unanswered: sight::unanswered,
    settled: |passed| passed,
    list: |list| list,
    claim: |claim| claim,
    write_mark: |mark| mark,
    obeys: |may_write| may_write,
    timing: TIMING,
};

fn by(facts: Facts) -> (&'static str, Step) {
    decide(RULES, &facts)
}

pub(crate) const POST_WHILE_OPEN: Mutant = Mutant {
    name: "POST while an attempt is open",
    decide: |facts| {
        let attempt = if facts.attempt == Attempt::Open && !facts.deleting { Attempt::None } else { facts.attempt };
        by(Facts { attempt, ..*facts })
    },
    ..REAL
};

pub(crate) const DROP_WHILE_OPEN: Mutant = Mutant {
    name: "drop the finalizer while an attempt is open",
    decide: |facts| {
        let open = facts.deleting && facts.attempt == Attempt::Open && facts.found == Found::Absent && !facts.id;
        if open && facts.finalizer { ("mutated", Step::DropFinalizer) } else { by(*facts) }
    },
    ..REAL
};

pub(crate) const NO_SETTLING: Mutant = Mutant { name: "an attempt settles at once", settled: |_| true, ..REAL };

pub(crate) const NEVER_SETTLED: Mutant = Mutant { name: "an attempt never settles", settled: |_| false, ..REAL };

pub(crate) const INCOMPLETE_IS_ABSENT: Mutant = Mutant {
    name: "an incomplete list proves absence",
    list: |list| if list == List::Incomplete { List::Complete } else { list },
    ..REAL
};

pub(crate) const ANY_UID: Mutant = Mutant {
    name: "an attempt with another uid counts",
    unanswered: |server| {
        let text = server.metadata.annotations.as_ref()?.get(ANNOTATION_ATTEMPT)?;
        let record: Record = serde_json::from_str(text).ok()?;
        (!record.is_answered(server)).then_some(record)
    },
    ..REAL
};

pub(crate) const OLDER_LIST_WINS: Mutant = Mutant {
    name: "an older list wins over an own write, and nobody asks by id",
    decide: |facts| {
        let gone = facts.id && facts.found == Found::Absent && facts.list == List::Complete;
        let read = if gone && facts.read == Read::Unread { Read::Absent } else { facts.read };
        by(Facts { read, ..*facts })
    },
    write_mark: |_| Mark(0),
    ..REAL
};

pub(crate) const ADOPT_NEVER: Mutant = Mutant {
    name: "adopt with adoptionPolicy Never",
    decide: |facts| by(Facts { adoption: Adoption::Always, ..*facts }),
    ..REAL
};

pub(crate) const ADOPT_DIFFERING: Mutant = Mutant {
    name: "adopt what differs with adoptionPolicy IfIdentical",
    decide: |facts| {
        let adoption = if facts.adoption == Adoption::IfIdentical { Adoption::Always } else { facts.adoption };
        by(Facts { adoption, ..*facts })
    },
    ..REAL
};

pub(crate) const DELETE_BY_NAME: Mutant = Mutant {
    name: "on deletion, take whatever has the name",
    decide: |facts| {
        let other = facts.deleting && facts.found == Found::Other && !facts.id;
        by(Facts { found: if other { Found::Attempted } else { facts.found }, ..*facts })
    },
    ..REAL
};

pub(crate) const ALL_OWN: Mutant = Mutant { name: "every claimant is the owner", claim: |_| Claim::Ours, ..REAL };

pub(crate) const ANY_TENANT: Mutant = Mutant {
    name: "a credential for another tenant is as good",
    decide: |facts| {
        let tenant = if facts.tenant == Tenant::Differs { Tenant::Same } else { facts.tenant };
        by(Facts { tenant, ..*facts })
    },
    ..REAL
};

pub(crate) const WRITE_DEPOSED: Mutant = Mutant {
    name: "write after deposition",
    decide: |facts| by(Facts { leading: true, ..*facts }),
    obeys: |_| true,
    ..REAL
};

pub(crate) const LONG_DEADLINE: Mutant = Mutant {
    name: "a deadline that outlasts the lease",
    timing: Timing { renew_deadline: std::time::Duration::from_secs(4), ..TIMING },
    ..REAL
};
