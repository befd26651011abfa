//! The situations, in sections, each with the facts that make it.

use std::fmt::Write as _;

use crate::reconcile::facts::*;
use crate::reconcile::step::*;

pub(super) fn stored() -> Stored {
    Stored {
        deleting: false,
        finalizer: false,
        id: false,
        attempt: Attempt::None,
        was_in_order: false,
        suspended: false,
        force_delete: false,
        retain: false,
        adoption: Adoption::Never,
        report_drift: false,
    }
}

/// A new resource whose name is free in the tenant.
pub(super) fn new() -> Facts {
    Facts { credential: Credential::Ready, list: List::Complete, ..Facts::from_stored(stored()) }
}

/// A resource whose object equals it.
pub(super) fn known() -> Facts {
    Facts {
        tenant: Tenant::Same,
        found: Found::Ours,
        fields: Sameness::Same,
        versions: Sameness::Same,
        ..Facts {
            credential: Credential::Ready,
            list: List::Complete,
            ..Facts::from_stored(Stored { finalizer: true, id: true, was_in_order: true, ..stored() })
        }
    }
}

/// A resource with an attempt whose answer is not known, read live.
pub(super) fn open() -> Facts {
    Facts { finalizer: true, attempt: Attempt::Open, sight: Sight::Live, tenant: Tenant::Same, ..new() }
}

pub(super) fn deleting(facts: Facts) -> Facts {
    Facts { deleting: true, definition: Definition::Stays, ..facts }
}

/// A name that stands in the tenant under an id that is not ours.
pub(super) fn other(adoption: Adoption) -> Facts {
    Facts { found: Found::Other, fields: Sameness::Differs, adoption, ..new() }
}

/// An object that was taken over in this pass, and differs; all that a write needs is known.
fn adopted() -> Facts {
    Facts {
        id: true,
        finalizer: true,
        found: Found::Ours,
        answer: Answer::Adopted,
        read: Read::Present,
        secrets: Secrets::Ready,
        ..other(Adoption::Always)
    }
}

fn every_write() -> Forbidden {
    Forbidden { post: true, put: true, delete: true }
}

pub(super) struct Table(Vec<(&'static str, Vec<(&'static str, Facts)>)>);

impl Table {
    fn section(&mut self, name: &'static str, rows: Vec<(&'static str, Facts)>) {
        self.0.push((name, rows));
    }

    pub(super) fn render(&self, rules: &[Rule]) -> String {
        let mut text = String::new();
        for (section, rows) in &self.0 {
            writeln!(text, "\n## {section}").unwrap();
            for (situation, facts) in rows {
                let (rule, step) = decide(rules, facts);
                writeln!(text, "{situation:<88} → {:<34} by: {rule}", format!("{step:?}")).unwrap();
            }
        }
        text
    }
}

#[allow(clippy::too_many_lines)]
pub(super) fn situations() -> Table {
    let mut table = Table(Vec::new());
    table.section(
        "A new resource",
        vec![
            ("this process does not lead", Facts { leading: false, ..new() }),
            ("the API server failed a step of this pass", Facts { kube_failed: true, ..new() }),
            ("the credential is being read, or its token fetched", Facts { credential: Credential::Pending, ..new() }),
            ("the folder's list is on its way", Facts { list: List::Pending, ..new() }),
            ("the name is free, the vendor's secrets are not read", new()),
            ("the name is free, the secrets are read", Facts { secrets: Secrets::Ready, ..new() }),
            ("... and a call may be made", Facts { secrets: Secrets::Ready, permit: Permit::Held, ..new() }),
            (
                "... and the call's turn has not come",
                Facts { secrets: Secrets::Ready, permit: Permit::Queued, ..new() },
            ),
            (
                "... and the attempt is recorded",
                Facts {
                    secrets: Secrets::Ready,
                    permit: Permit::Held,
                    finalizer: true,
                    sight: Sight::Live,
                    attempt: Attempt::Recorded,
                    ..new()
                },
            ),
            ("the list does not show all", Facts { list: List::Incomplete, ..new() }),
            (
                "the credential may not create here",
                Facts { secrets: Secrets::Ready, forbidden: Forbidden { post: true, ..Forbidden::default() }, ..new() },
            ),
            ("the spec cannot be sent", Facts { spec_valid: false, ..new() }),
            ("... and the status says so", Facts { spec_valid: false, recorded: Some(Verdict::InvalidSpec), ..new() }),
            ("a vendor's Secret is not there", Facts { secrets: Secrets::Broken(SecretProblem::NotFound), ..new() }),
            ("a vendor's Secret lacks the key", Facts { secrets: Secrets::Broken(SecretProblem::KeyMissing), ..new() }),
            ("suspended", Facts { suspended: true, ..new() }),
            ("a delay has not run out", Facts { due: false, ..new() }),
            ("our finalizer, no id, as the cache shows it", Facts { finalizer: true, ..new() }),
            ("a write was refused: the resource changed", Facts { sight: Sight::Stale, ..new() }),
            ("it is gone by now", Facts { sight: Sight::Gone, ..new() }),
        ],
    );
    table.section(
        "The credential",
        vec![
            (
                "its Secret is not there",
                Facts { credential: Credential::Broken(CredentialProblem::Secret(SecretProblem::NotFound)), ..new() },
            ),
            (
                "the token says that its time is over",
                Facts { credential: Credential::Broken(CredentialProblem::Expired), ..new() },
            ),
            ("the API answered 401", Facts { credential: Credential::Broken(CredentialProblem::Rejected), ..known() }),
            (
                "the token endpoint refused",
                Facts { credential: Credential::Broken(CredentialProblem::TokenRejected), ..known() },
            ),
            (
                "the token endpoint does not answer",
                Facts { credential: Credential::Broken(CredentialProblem::TokenUnavailable), ..known() },
            ),
            (
                "... for so long that what was true may not be",
                Facts { credential: Credential::Broken(CredentialProblem::TokenUnavailableLong), ..known() },
            ),
            (
                "the token endpoint does not answer, and nothing was in order",
                Facts { credential: Credential::Broken(CredentialProblem::TokenUnavailable), ..new() },
            ),
            ("it is for another tenant", Facts { tenant: Tenant::Differs, ..known() }),
            ("it is for another tenant, deleted", deleting(Facts { tenant: Tenant::Differs, ..known() })),
            (
                "it may be for another tenant, and the id is not there",
                Facts { tenant: Tenant::Unsure, found: Found::Absent, read: Read::Absent, ..known() },
            ),
            (
                "... deleted",
                deleting(Facts { tenant: Tenant::Unsure, found: Found::Absent, read: Read::Absent, ..known() }),
            ),
        ],
    );
    table.section(
        "The name stands in the tenant",
        vec![
            ("adoptionPolicy Never", other(Adoption::Never)),
            ("IfIdentical, and it differs", other(Adoption::IfIdentical)),
            (
                "IfIdentical, same fields, secrets unread",
                Facts { fields: Sameness::Same, ..other(Adoption::IfIdentical) },
            ),
            (
                "IfIdentical, same fields, its secret differs",
                Facts {
                    fields: Sameness::Same,
                    secrets: Secrets::Ready,
                    echo: Sameness::Differs,
                    ..other(Adoption::IfIdentical)
                },
            ),
            (
                "IfIdentical, same fields, its secret cannot be compared",
                Facts { fields: Sameness::Same, secrets: Secrets::Ready, ..other(Adoption::IfIdentical) },
            ),
            (
                "IfIdentical, identical",
                Facts {
                    fields: Sameness::Same,
                    secrets: Secrets::Ready,
                    echo: Sameness::Same,
                    ..other(Adoption::IfIdentical)
                },
            ),
            ("Always", other(Adoption::Always)),
            (
                "it tells no folder and may be inherited, Always",
                Facts { found: Found::Untold, ..other(Adoption::Always) },
            ),
            ("the id annotation names it", Facts { found: Found::Named, ..other(Adoption::Always) }),
            (
                "the id annotation names another name, or nothing",
                Facts { found: Found::NamedElsewhere, ..other(Adoption::Always) },
            ),
            ("another resource owns it", Facts { claim: Claim::Taken, ..other(Adoption::Always) }),
            (
                "adopted, and it differs, secrets unread",
                Facts {
                    id: true,
                    found: Found::Ours,
                    answer: Answer::Adopted,
                    finalizer: true,
                    ..other(Adoption::Always)
                },
            ),
            (
                "adopted, and the finalizer is not there",
                Facts { id: true, found: Found::Ours, answer: Answer::Adopted, ..other(Adoption::Always) },
            ),
            ("adopted, and differs", adopted()),
            (
                "... and the status tells its id",
                Facts { answer: Answer::None, recorded: Some(Verdict::Adopted), permit: Permit::Held, ..adopted() },
            ),
            (
                "adopted, differs, and holds a secret that the spec does not give",
                Facts { unwritable: true, ..adopted() },
            ),
        ],
    );
    table.section(
        "A create and its answer",
        vec![
            (
                "created, not recorded",
                Facts {
                    id: true,
                    finalizer: true,
                    answer: Answer::Created,
                    found: Found::Ours,
                    sight: Sight::Live,
                    ..new()
                },
            ),
            (
                "created, and the resource is gone",
                Facts { id: true, finalizer: true, answer: Answer::Created, sight: Sight::Gone, ..new() },
            ),
            (
                "created, the resource is gone, and it said Retain",
                Facts { id: true, finalizer: true, answer: Answer::Created, sight: Sight::Gone, retain: true, ..new() },
            ),
            (
                "refused for good, not recorded",
                Facts {
                    finalizer: true,
                    sight: Sight::Live,
                    answer: Answer::Refused(Class::Conflict),
                    refused: Some(Class::Conflict),
                    ..new()
                },
            ),
            (
                "refused for a while, the attempt stays",
                Facts {
                    finalizer: true,
                    sight: Sight::Live,
                    attempt: Attempt::Recorded,
                    refused: Some(Class::Throttled),
                    ..new()
                },
            ),
            ("... and then, as the cache shows it", Facts { finalizer: true, attempt: Attempt::Recorded, ..new() }),
            (
                "the same of an object that was gone from the tenant",
                Facts {
                    found: Found::Absent,
                    read: Read::Absent,
                    attempt: Attempt::Recorded,
                    secrets: Secrets::Ready,
                    permit: Permit::Held,
                    ..known()
                },
            ),
            ("no answer came", Facts { refused: Some(Class::Server), list: List::Pending, ..open() }),
            ("open, the list is on its way", Facts { list: List::Pending, ..open() }),
            ("open, and what it sent stands there", Facts { found: Found::Attempted, ..open() }),
            ("open, and another object has the name", Facts { found: Found::Other, ..open() }),
            ("open, and the list lacks the name", open()),
            ("open, and the list cannot be read", Facts { list: List::Failed(Class::Server), ..open() }),
            (
                "settled, and what it sent stands there",
                Facts { attempt: Attempt::Settled, found: Found::Attempted, ..open() },
            ),
            ("settled, and the list lacks the name", Facts { attempt: Attempt::Settled, ..open() }),
            ("open, and another resource owns the name", Facts { claim: Claim::Taken, ..open() }),
            (
                "settled, and the list does not show all",
                Facts { attempt: Attempt::Settled, list: List::Incomplete, ..open() },
            ),
            (
                "settled, and another object has the name",
                Facts { attempt: Attempt::Settled, found: Found::Other, ..open() },
            ),
        ],
    );
    table.section(
        "A known object",
        vec![
            ("equal", known()),
            ("equal, and the status says so", Facts { recorded: Some(Verdict::InOrder), ..known() }),
            ("equal, but the finalizer is not there", Facts { finalizer: false, ..known() }),
            ("the list cannot be read", Facts { list: List::Failed(Class::Server), ..known() }),
            ("the list is throttled", Facts { list: List::Failed(Class::Throttled), ..known() }),
            ("the list has not been read for long", Facts { list: List::FailedLong(Class::Server), ..known() }),
            ("the list is forbidden", Facts { list: List::Failed(Class::Forbidden), ..known() }),
            ("the spec changed", Facts { was_in_order: false, fields: Sameness::Differs, ..known() }),
            (
                "... the secrets are read",
                Facts { was_in_order: false, fields: Sameness::Differs, secrets: Secrets::Ready, ..known() },
            ),
            (
                "... and a call may be made",
                Facts {
                    was_in_order: false,
                    fields: Sameness::Differs,
                    secrets: Secrets::Ready,
                    permit: Permit::Held,
                    ..known()
                },
            ),
            (
                "... and GET showed it",
                Facts {
                    was_in_order: false,
                    fields: Sameness::Differs,
                    secrets: Secrets::Ready,
                    permit: Permit::Held,
                    read: Read::Present,
                    ..known()
                },
            ),
            (
                "... refused",
                Facts { was_in_order: false, fields: Sameness::Differs, refused: Some(Class::Input), ..known() },
            ),
            (
                "... and the credential may not write here",
                Facts {
                    was_in_order: false,
                    fields: Sameness::Differs,
                    secrets: Secrets::Ready,
                    read: Read::Present,
                    forbidden: every_write(),
                    ..known()
                },
            ),
            (
                "it holds a secret that the spec does not give",
                Facts {
                    fields: Sameness::Differs,
                    secrets: Secrets::Ready,
                    read: Read::Present,
                    unwritable: true,
                    ..known()
                },
            ),
            ("edited in the tenant", Facts { fields: Sameness::Differs, ..known() }),
            (
                "edited in the tenant, drift is reported",
                Facts { fields: Sameness::Differs, report_drift: true, ..known() },
            ),
            ("edited in the tenant, again and again", Facts { fields: Sameness::Differs, flapping: true, ..known() }),
            (
                "... and the spec has changed since",
                Facts { fields: Sameness::Differs, flapping: true, was_in_order: false, ..known() },
            ),
            ("its secret was edited in the tenant", Facts { echo: Sameness::Differs, ..known() }),
            ("it echoes a secret that has not been read", Facts { verifiable: true, ..known() }),
            (
                "... read, and the same",
                Facts { verifiable: true, secrets: Secrets::Ready, echo: Sameness::Same, ..known() },
            ),
            (
                "... read, and another",
                Facts { verifiable: true, secrets: Secrets::Ready, echo: Sameness::Differs, ..known() },
            ),
            (
                "its secret was edited in the tenant, drift is reported",
                Facts { echo: Sameness::Differs, report_drift: true, ..known() },
            ),
            ("a Secret's version changed", Facts { versions: Sameness::Differs, ..known() }),
            (
                "... its bytes are those that the object echoes",
                Facts { versions: Sameness::Differs, secrets: Secrets::Ready, echo: Sameness::Same, ..known() },
            ),
            (
                "... and they cannot be compared",
                Facts { versions: Sameness::Differs, secrets: Secrets::Ready, ..known() },
            ),
            (
                "a Secret is gone",
                Facts { versions: Sameness::Differs, secrets: Secrets::Broken(SecretProblem::NotFound), ..known() },
            ),
            ("not in the list", Facts { found: Found::Absent, ..known() }),
            ("not in the list, GET may be made", Facts { found: Found::Absent, permit: Permit::Held, ..known() }),
            ("gone", Facts { found: Found::Absent, read: Read::Absent, ..known() }),
            (
                "gone, and the list does not show all",
                Facts { found: Found::Absent, read: Read::Absent, list: List::Incomplete, ..known() },
            ),
            (
                "gone, drift is reported",
                Facts { found: Found::Absent, read: Read::Absent, report_drift: true, ..known() },
            ),
            (
                "gone, and the name stands under another id",
                Facts { found: Found::Other, read: Read::Absent, fields: Sameness::Differs, ..known() },
            ),
            ("another resource owns it", Facts { claim: Claim::Taken, ..known() }),
        ],
    );
    table.section(
        "Deletion",
        vec![
            ("deleted", deleting(known())),
            ("deleted, and a call may be made", deleting(Facts { permit: Permit::Held, ..known() })),
            ("the object is gone by now", deleting(Facts { read: Read::Absent, ..known() })),
            ("the finalizer is dropped", deleting(Facts { read: Read::Absent, finalizer: false, ..known() })),
            ("the object is in use", deleting(Facts { refused: Some(Class::Referenced), ..known() })),
            ("suspended", deleting(Facts { suspended: true, ..known() })),
            ("the spec cannot be sent", deleting(Facts { spec_valid: false, ..known() })),
            ("a delay has not run out", deleting(Facts { due: false, ..known() })),
            ("is the definition being deleted too?", Facts { definition: Definition::Unread, ..deleting(known()) }),
            (
                "never created: the definition does not matter",
                Facts {
                    definition: Definition::Unread,
                    ..deleting(Facts { finalizer: true, sight: Sight::Live, ..new() })
                },
            ),
            (
                "an attempt is open: is the definition being deleted too?",
                Facts { definition: Definition::Unread, ..deleting(open()) },
            ),
            ("the credential may not delete here", deleting(Facts { forbidden: every_write(), ..known() })),
            ("the definition is being deleted too", Facts { definition: Definition::Dying, ..deleting(known()) }),
            ("Retain", deleting(Facts { retain: true, ..known() })),
            ("force-delete", deleting(Facts { force_delete: true, credential: Credential::Pending, ..known() })),
            (
                "the credential's Secret is not there",
                deleting(Facts {
                    credential: Credential::Broken(CredentialProblem::Secret(SecretProblem::NotFound)),
                    ..known()
                }),
            ),
            ("another resource owns it", deleting(Facts { claim: Claim::Taken, ..known() })),
            (
                "never created, and the credential cannot be used",
                deleting(Facts {
                    finalizer: true,
                    sight: Sight::Live,
                    credential: Credential::Broken(CredentialProblem::Rejected),
                    ..new()
                }),
            ),
            (
                "an attempt was recorded and not sent",
                deleting(Facts { finalizer: true, sight: Sight::Live, attempt: Attempt::Recorded, ..new() }),
            ),
            ("an attempt is open, the list lacks it", deleting(open())),
            (
                "an attempt is open, and what it sent stands there",
                deleting(Facts { found: Found::Attempted, ..open() }),
            ),
            (
                "an attempt is open, and another resource owns the name",
                deleting(Facts { claim: Claim::Taken, ..open() }),
            ),
            (
                "the attempt is settled, another object has the name",
                deleting(Facts { attempt: Attempt::Settled, found: Found::Other, ..open() }),
            ),
            ("the attempt is settled, the list lacks it", deleting(Facts { attempt: Attempt::Settled, ..open() })),
            (
                "the attempt is settled, another object has the name, the list does not show all",
                deleting(Facts { attempt: Attempt::Settled, found: Found::Other, list: List::Incomplete, ..open() }),
            ),
            (
                "the attempt is settled, the list does not show all",
                deleting(Facts { attempt: Attempt::Settled, list: List::Incomplete, ..open() }),
            ),
        ],
    );
    table
}
