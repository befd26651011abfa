use super::super::{Class, CredentialProblem};
use super::*;
use crate::reconcile::step::Verdict;

/// Of everything the other value than at the start of a pass.
fn stored() -> Stored {
    Stored {
        deleting: true,
        finalizer: true,
        id: true,
        attempt: Attempt::Settled,
        was_in_order: true,
        suspended: true,
        force_delete: true,
        retain: true,
        adoption: Adoption::Always,
        report_drift: true,
    }
}

fn seen() -> Seen {
    Seen {
        spec_valid: false,
        due: false,
        flapping: true,
        credential: Credential::Broken(CredentialProblem::Expired),
        tenant: Tenant::Differs,
        claim: Claim::Taken,
        versions: Sameness::Differs,
        list: List::Incomplete,
        found: Found::Other,
        fields: Sameness::Differs,
        echo: Sameness::Differs,
        verifiable: true,
        forbidden: Forbidden { post: true, put: true, delete: true },
    }
}

fn start() -> Facts {
    Facts::from_stored(Stored::default())
}

/// The facts after this outcome, and whether nothing but what `expected` changes has changed.
fn assert_learns(before: Facts, outcome: Outcome, expected: impl FnOnce(&mut Facts)) {
    let mut after = before;
    after.learn(outcome);
    let mut wanted = before;
    expected(&mut wanted);
    assert_eq!(after, wanted, "{outcome:?}");
}

/// What is stored, as the facts have it.
fn taken_from_stored(facts: &mut Facts) {
    let Stored {
        deleting,
        finalizer,
        id,
        attempt,
        was_in_order,
        suspended,
        force_delete,
        retain,
        adoption,
        report_drift,
    } = stored();
    *facts = Facts {
        deleting,
        finalizer,
        id,
        attempt,
        was_in_order,
        suspended,
        force_delete,
        retain,
        adoption,
        report_drift,
        ..*facts
    };
}

/// What is seen, as the facts have it. Neither pattern leaves a field out: a new one does not compile before it is here.
fn taken_from_seen(facts: &mut Facts) {
    let Seen {
        spec_valid,
        due,
        flapping,
        credential,
        tenant,
        claim,
        versions,
        list,
        found,
        fields,
        echo,
        verifiable,
        forbidden,
    } = seen();
    *facts = Facts {
        flapping,
        spec_valid,
        due,
        credential,
        tenant,
        claim,
        versions,
        list,
        found,
        fields,
        echo,
        verifiable,
        forbidden,
        ..*facts
    };
}

#[test]
fn a_pass_starts_with_all_that_is_stored_and_all_that_is_seen() {
    let mut wanted = start();
    taken_from_stored(&mut wanted);
    assert_eq!(Facts::from_stored(stored()), wanted);
    taken_from_seen(&mut wanted);
    assert_eq!(Facts::from_stored(stored()).seeing(seen()), wanted);
    assert_ne!(start(), wanted);
}

/// In the midst of a pass that has read, compared and recorded.
fn midst() -> Facts {
    Facts {
        sight: Sight::Stale,
        secrets: Secrets::Ready,
        unwritable: true,
        definition: Definition::Stays,
        read: Read::Present,
        echo: Sameness::Same,
        permit: Permit::Held,
        recorded: Some(Verdict::InOrder),
        ..start()
    }
}

#[test]
fn a_second_look_makes_void_what_was_read_and_compared_for_the_spec_as_it_was() {
    assert_learns(midst(), Outcome::Looked(stored(), seen()), |facts| {
        taken_from_stored(facts);
        facts.sight = Sight::Live;
        facts.secrets = Secrets::Unread;
        facts.unwritable = false;
        facts.definition = Definition::Unread;
        facts.read = Read::Unread;
        facts.recorded = None;
        taken_from_seen(facts);
    });
}

#[test]
fn an_answer_that_no_status_holds_is_newer_than_what_a_second_look_shows_of_the_object() {
    for answer in [Answer::Created, Answer::Adopted, Answer::Refused(Class::Input)] {
        let before = Facts { answer, id: false, attempt: Attempt::None, ..midst() };
        assert_learns(before, Outcome::Looked(stored(), seen()), |facts| {
            let Facts { id, attempt, .. } = *facts;
            taken_from_stored(facts);
            // With which credential the tenant may be touched is told by the spec as it is now.
            let Seen { credential, tenant, .. } = seen();
            *facts = Facts { id, attempt, sight: Sight::Live, recorded: None, credential, tenant, ..*facts };
        });
    }
}

#[test]
fn an_answer_of_an_earlier_pass_is_known_as_if_it_had_just_come() {
    let before = Facts { claim: Claim::Taken, ..start() };
    let mut created = before;
    created.resume(Outcome::Created);
    let just = Facts { attempt: Attempt::Recorded, ..before };
    let mut learned = just;
    learned.learn(Outcome::Created);
    assert_eq!(created, Facts { attempt: Attempt::None, claim: Claim::Ours, ..learned });
    let mut refused = before;
    refused.resume(Outcome::Refused(Class::Conflict));
    assert_eq!((refused.answer, refused.attempt), (Answer::Refused(Class::Conflict), Attempt::None));
    assert_eq!(refused.claim, Claim::Taken, "what was refused is nobody's");
}

#[test]
fn what_the_cluster_answers_is_learned_and_nothing_else() {
    assert_learns(start(), Outcome::KubeFailed, |facts| facts.kube_failed = true);
    assert_learns(start(), Outcome::Conflicted, |facts| facts.sight = Sight::Stale);
    assert_learns(start(), Outcome::Gone, |facts| facts.sight = Sight::Gone);
    let secrets = Outcome::SecretsRead { secrets: Secrets::Ready, echo: Sameness::Differs, unwritable: true };
    assert_learns(start(), secrets, |facts| {
        facts.secrets = Secrets::Ready;
        facts.echo = Sameness::Differs;
        facts.unwritable = true;
    });
    assert_learns(start(), Outcome::DefinitionSeen(Definition::Dying), |facts| facts.definition = Definition::Dying);
    assert_learns(start(), Outcome::Claimed, |facts| {
        facts.sight = Sight::Live;
        facts.finalizer = true;
        facts.attempt = Attempt::Recorded;
    });
    assert_learns(start(), Outcome::Finalized, |facts| {
        facts.sight = Sight::Live;
        facts.finalizer = true;
    });
    let created = Facts { answer: Answer::Created, ..start() };
    assert_learns(created, Outcome::Recorded(Verdict::InOrder), |facts| {
        facts.answer = Answer::None;
        facts.recorded = Some(Verdict::InOrder);
    });
    assert_learns(Facts { finalizer: true, ..start() }, Outcome::Released, |facts| facts.finalizer = false);
}

fn held(attempt: Attempt) -> Facts {
    Facts { permit: Permit::Held, attempt, list: List::Complete, credential: Credential::Ready, ..start() }
}

fn equal(facts: &mut Facts) {
    facts.found = Found::Ours;
    facts.fields = Sameness::Same;
    facts.echo = Sameness::Same;
    facts.versions = Sameness::Same;
}

#[test]
fn what_the_tenant_answers_uses_the_permit_up_and_is_learned() {
    assert_learns(start(), Outcome::Granted, |facts| facts.permit = Permit::Held);
    assert_learns(start(), Outcome::Queued, |facts| facts.permit = Permit::Queued);
    let before = Facts { read: Read::Absent, ..held(Attempt::Recorded) };
    assert_learns(before, Outcome::Created, |facts| {
        facts.permit = Permit::None;
        facts.id = true;
        facts.read = Read::Unread;
        facts.attempt = Attempt::None;
        facts.answer = Answer::Created;
        equal(facts);
    });
    assert_learns(held(Attempt::Recorded), Outcome::CreatedUnseen, |facts| {
        facts.permit = Permit::None;
        facts.attempt = Attempt::Open;
        facts.list = List::Pending;
    });
    assert_learns(held(Attempt::Recorded), Outcome::Refreshing, |facts| {
        facts.permit = Permit::None;
        facts.credential = Credential::Pending;
    });
    assert_learns(held(Attempt::Recorded), Outcome::NotLeading, |facts| facts.leading = false);
    let present = Outcome::Present { fields: Sameness::Differs, echo: Sameness::Same, unwritable: true };
    assert_learns(held(Attempt::None), present, |facts| {
        facts.permit = Permit::None;
        facts.read = Read::Present;
        facts.found = Found::Ours;
        facts.fields = Sameness::Differs;
        facts.echo = Sameness::Same;
        facts.unwritable = true;
    });
    assert_learns(held(Attempt::None), Outcome::Replaced, |facts| {
        facts.permit = Permit::None;
        equal(facts);
    });
    let adopted = Facts { answer: Answer::Adopted, ..held(Attempt::None) };
    assert_learns(adopted, Outcome::Deleted, |facts| {
        facts.permit = Permit::None;
        facts.read = Read::Absent;
        facts.tenant = Tenant::Same;
        facts.answer = Answer::None;
    });
}

#[test]
fn an_answer_that_did_not_come_leaves_a_create_open_and_no_other_call() {
    assert_learns(held(Attempt::Recorded), Outcome::Unknown(Class::Server), |facts| {
        facts.permit = Permit::None;
        facts.refused = Some(Class::Server);
        facts.attempt = Attempt::Open;
        facts.list = List::Pending;
    });
    for attempt in [Attempt::None, Attempt::Settled] {
        assert_learns(held(attempt), Outcome::Unknown(Class::Server), |facts| {
            facts.permit = Permit::None;
            facts.refused = Some(Class::Server);
        });
    }
}

#[test]
fn a_refusal_that_passes_leaves_the_attempt_and_one_that_lasts_is_the_answer_to_it() {
    for (class, passes) in [
        (Class::Throttled, true),
        (Class::Busy, true),
        (Class::Server, true),
        (Class::Credential, false),
        (Class::Forbidden, false),
        (Class::Input, false),
        (Class::Conflict, false),
        (Class::Referenced, false),
    ] {
        assert_eq!(class.is_passing(), passes, "{class:?}");
        assert_learns(held(Attempt::Recorded), Outcome::Refused(class), |facts| {
            facts.permit = Permit::None;
            facts.refused = Some(class);
            if !passes {
                facts.attempt = Attempt::None;
                facts.answer = Answer::Refused(class);
            }
        });
        assert_learns(held(Attempt::None), Outcome::Refused(class), |facts| {
            facts.permit = Permit::None;
            facts.refused = Some(class);
        });
    }
}

#[test]
fn an_object_that_the_list_showed_and_a_get_did_not_makes_the_list_void() {
    assert_learns(Facts { found: Found::Ours, ..held(Attempt::None) }, Outcome::Absent, |facts| {
        facts.permit = Permit::None;
        facts.read = Read::Absent;
        facts.found = Found::Absent;
        facts.list = List::Pending;
    });
    assert_learns(Facts { found: Found::Other, ..held(Attempt::None) }, Outcome::Absent, |facts| {
        facts.permit = Permit::None;
        facts.read = Read::Absent;
    });
}

#[test]
fn only_with_consent_to_what_is_identical_the_secrets_count_as_those_that_are_there() {
    for (found, adoption, same) in [
        (Found::Other, Adoption::IfIdentical, true),
        (Found::Other, Adoption::Always, false),
        (Found::Attempted, Adoption::IfIdentical, false),
        (Found::Named, Adoption::Always, false),
    ] {
        let before = Facts {
            found,
            adoption,
            read: Read::Absent,
            attempt: Attempt::Open,
            versions: Sameness::Differs,
            ..start()
        };
        assert_learns(before, Outcome::Adopted, |facts| {
            facts.id = true;
            facts.read = Read::Unread;
            facts.attempt = Attempt::None;
            facts.answer = Answer::Adopted;
            facts.found = Found::Ours;
            if same {
                facts.versions = Sameness::Same;
            }
        });
    }
}

#[test]
fn an_object_is_bound_while_its_id_is_known_and_nothing_showed_that_it_is_gone() {
    for (id, read, bound) in [
        (true, Read::Unread, true),
        (true, Read::Present, true),
        (true, Read::Absent, false),
        (false, Read::Unread, false),
        (false, Read::Absent, false),
    ] {
        assert_eq!(Facts { id, read, ..start() }.bound(), bound, "{id} {read:?}");
    }
}
