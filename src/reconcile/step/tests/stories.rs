//! Whole passes: the steps one after another, given what comes of each.

use std::fmt::Write as _;

use super::situations::*;
use crate::reconcile::facts::*;
use crate::reconcile::step::*;

/// What a pass does, given what comes of its steps.
fn story(mut facts: Facts, mut outcomes: Vec<Outcome>) -> String {
    let mut steps = Vec::new();
    outcomes.reverse();
    loop {
        let step = next_step(&facts);
        steps.push(format!("{step:?}"));
        if matches!(step, Step::Done(_)) {
            assert!(outcomes.is_empty(), "{steps:?} leave {outcomes:?}");
            return steps.join(" · ");
        }
        let outcome = match step {
            Step::TakePermit => Outcome::Granted,
            // A record succeeds, unless the story tells otherwise.
            Step::Record(_) if outcomes.last() == Some(&Outcome::Conflicted) => Outcome::Conflicted,
            Step::Record(verdict) => Outcome::Recorded(verdict),
            _ => outcomes.pop().unwrap_or_else(|| panic!("{steps:?} wants an outcome")),
        };
        if matches!(step, Step::Record(_)) && outcome == Outcome::Conflicted {
            outcomes.pop();
        }
        facts.learn(outcome);
    }
}

const READ: Outcome = Outcome::SecretsRead { secrets: Secrets::Ready, echo: Sameness::Unknown, unwritable: false };

#[allow(clippy::too_many_lines, reason = "a list")]
pub(super) fn stories() -> String {
    let present = Outcome::Present { fields: Sameness::Differs, echo: Sameness::Unknown, unwritable: false };
    let seen = Seen {
        spec_valid: true,
        due: true,
        flapping: false,
        credential: Credential::Ready,
        tenant: Tenant::Unbound,
        claim: Claim::Ours,
        versions: Sameness::Unknown,
        list: List::Complete,
        found: Found::Absent,
        fields: Sameness::Unknown,
        echo: Sameness::Unknown,
        verifiable: false,
        forbidden: Forbidden::default(),
    };
    let live = |stored| Outcome::Looked(stored, seen);
    let rows = [
        ("created", story(new(), vec![READ, Outcome::Claimed, Outcome::Created])),
        ("name taken since the list", story(new(), vec![READ, Outcome::Claimed, Outcome::Refused(Class::Conflict)])),
        ("throttled", story(new(), vec![READ, Outcome::Claimed, Outcome::Refused(Class::Throttled)])),
        ("answer lost", story(new(), vec![READ, Outcome::Claimed, Outcome::Unknown(Class::Server)])),
        ("created, no body", story(new(), vec![READ, Outcome::Claimed, Outcome::CreatedUnseen])),
        ("the token is fetched anew", story(new(), vec![READ, Outcome::Claimed, Outcome::Refreshing])),
        ("the lease ran out", story(new(), vec![READ, Outcome::Claimed, Outcome::NotLeading])),
        (
            "the resource changed under the claim",
            story(new(), vec![READ, Outcome::Conflicted, live(stored()), READ, Outcome::Claimed, Outcome::Created]),
        ),
        ("gone before the claim", story(new(), vec![READ, Outcome::Gone])),
        (
            "created, then another credential named",
            story(
                new(),
                vec![
                    READ,
                    Outcome::Claimed,
                    Outcome::Created,
                    Outcome::Conflicted,
                    Outcome::Looked(stored(), Seen { tenant: Tenant::Differs, ..seen }),
                ],
            ),
        ),
        (
            "an answer lost before: found",
            story(
                Facts { found: Found::Attempted, fields: Sameness::Same, versions: Sameness::Same, ..open() },
                vec![Outcome::Adopted],
            ),
        ),
        (
            "an answer lost before, the spec edited since",
            story(
                Facts { found: Found::Attempted, fields: Sameness::Differs, versions: Sameness::Same, ..open() },
                vec![Outcome::Adopted, READ, present, Outcome::Replaced],
            ),
        ),
        (
            "an answer lost before: it never landed",
            story(Facts { attempt: Attempt::Settled, ..open() }, vec![READ, Outcome::Claimed, Outcome::Created]),
        ),
        (
            "updated",
            story(
                Facts { was_in_order: false, fields: Sameness::Differs, ..known() },
                vec![READ, present, Outcome::Replaced],
            ),
        ),
        (
            "a Secret rotated",
            story(
                Facts { versions: Sameness::Differs, ..known() },
                vec![
                    READ,
                    Outcome::Present { fields: Sameness::Same, echo: Sameness::Unknown, unwritable: false },
                    Outcome::Replaced,
                ],
            ),
        ),
        (
            "gone from the tenant: created anew",
            story(
                Facts { found: Found::Absent, ..known() },
                vec![Outcome::Absent, READ, Outcome::Claimed, Outcome::Created],
            ),
        ),
        (
            "adopted",
            story(
                other(Adoption::Always),
                vec![Outcome::Adopted, Outcome::Finalized, READ, present, Outcome::Replaced],
            ),
        ),
        ("deleted", story(deleting(known()), vec![Outcome::Deleted, Outcome::Released])),
        ("deleted, was gone already", story(deleting(known()), vec![Outcome::Absent, Outcome::Released])),
        ("deleted, the object is in use", story(deleting(known()), vec![Outcome::Refused(Class::Referenced)])),
        ("deleted, no answer came", story(deleting(known()), vec![Outcome::Unknown(Class::Server)])),
        (
            "deleted after an answer was lost",
            story(
                deleting(Facts { found: Found::Attempted, ..open() }),
                vec![Outcome::Adopted, Outcome::Deleted, Outcome::Released],
            ),
        ),
    ];
    let mut text = String::new();
    for (name, steps) in rows {
        writeln!(text, "{name:<40} {steps}").unwrap();
    }
    text
}
