use std::cell::Cell;

use super::*;
use crate::reconcile::desired::Fingerprint;
use crate::reconcile::facts::Class;

type Known = Course<u32, &'static str>;

fn record(nonce: &str) -> Record {
    Record {
        uid: "uid-1".to_owned(),
        nonce: nonce.to_owned(),
        tenant: "tsg-1".to_owned(),
        folder: "Shared".to_owned(),
        position: "pre".to_owned(),
        name: "corp".to_owned(),
        sent: Fingerprint { fields: Vec::new(), hash: String::new() },
        secrets: std::collections::BTreeMap::new(),
    }
}

#[allow(clippy::unnecessary_wraps, reason = "as a course holds it")]
fn open(nonce: &str, since: u32, settled: bool) -> Option<Open<u32>> {
    Some(Open { nonce: nonce.to_owned(), since, settled })
}

#[allow(clippy::unnecessary_wraps, reason = "as a course holds it")]
fn minted(nonce: &str, acted: bool) -> Option<Minted> {
    Some(Minted { nonce: nonce.to_owned(), acted })
}

/// How the attempt `n` stands at this time; `same` is said of it. It settles two later.
fn stands(course: &mut Known, same: bool, now: u32, mark: u64) -> Attempt {
    course.standing(Some(&record("n")), same, now, |since| now >= since + 2, || Mark(mark))
}

#[test]
fn without_an_attempt_whose_answer_is_not_known_nothing_is_open() {
    let mut course = Known { open: open("n", 1, false), question: Mark(1), ..Known::default() };
    assert_eq!(course.standing(None, true, 5, |_| true, || Mark(2)), Attempt::None);
    assert_eq!(course, Known { question: Mark(1), ..Known::default() });
}

#[test]
fn what_was_recorded_and_not_sent_can_be_sent_as_it_is_or_is_void_where_something_else_is_wanted() {
    let before = Known { minted: minted("n", false), question: Mark(1), ..Known::default() };
    for (same, expected) in [(true, Attempt::Recorded), (false, Attempt::None)] {
        let mut course = before.clone();
        assert_eq!(stands(&mut course, same, 5, 2), expected);
        assert_eq!(course, before);
    }
}

#[test]
fn an_attempt_of_which_this_process_does_not_know_that_it_was_not_sent_is_open_from_when_it_was_first_seen() {
    for known in [None, minted("another", false), minted("n", true)] {
        for before in [None, open("another", 1, true)] {
            let mut course = Known { minted: known.clone(), open: before, ..Known::default() };
            assert_eq!(stands(&mut course, true, 5, 2), Attempt::Open);
            assert_eq!((&course.open, course.question), (&open("n", 5, false), Mark(2)));
        }
    }
}

#[test]
fn an_open_attempt_settles_in_time_and_then_asks_anew_and_once() {
    let mut course = Known::default();
    for (now, mark, expected, question) in
        [(5, 1, Attempt::Open, 1), (6, 2, Attempt::Open, 1), (7, 3, Attempt::Settled, 3), (8, 4, Attempt::Settled, 3)]
    {
        assert_eq!(stands(&mut course, true, now, mark), expected);
        assert_eq!((&course.open, course.question), (&open("n", 5, expected == Attempt::Settled), Mark(question)));
    }
}

#[test]
fn the_next_record_goes_by_the_nonce_of_one_that_nobody_has_acted_on() {
    let mut course = Known::default();
    assert_eq!(course.unsent(), None);
    course.records("n".to_owned());
    assert_eq!(course.unsent().as_deref(), Some("n"));
    course.sends("n", 5);
    assert_eq!(course.unsent(), None);
    assert_eq!((&course.minted, &course.open), (&minted("n", true), &open("n", 5, false)));
    course.unacted("n");
    assert_eq!(course.unsent().as_deref(), Some("n"));
    assert_eq!(course.open, None);
}

#[test]
fn an_answer_is_kept_until_a_status_holds_it_and_nothing_is_open_then() {
    let mut course = Known { open: open("n", 1, false), ..Known::default() };
    course.answered("created");
    assert_eq!(course, Known { unrecorded: Some("created"), ..Known::default() });
}

#[test]
fn what_was_not_created_is_sent_again_recorded_or_looked_for() {
    let sent = || {
        let mut course = Known::default();
        course.records("n".to_owned());
        course.sends("n", 5);
        course
    };
    for class in [Class::Throttled, Class::Busy, Class::Server] {
        let mut course = sent();
        course.not_created("n", Outcome::Refused(class), || unreachable!(), || unreachable!());
        assert_eq!(course, Known { minted: minted("n", false), ..Known::default() }, "{class:?}");
    }
    for class in [Class::Credential, Class::Forbidden, Class::Input, Class::Conflict, Class::Referenced] {
        let mut course = sent();
        course.not_created("n", Outcome::Refused(class), || "refused", || Mark(7));
        let expected = Known { minted: minted("n", true), unrecorded: Some("refused"), question: Mark(7), open: None };
        assert_eq!(course, expected, "{class:?}");
    }
    for outcome in [Outcome::Unknown(Class::Server), Outcome::CreatedUnseen] {
        let mut course = sent();
        course.not_created("n", outcome, || unreachable!(), || Mark(7));
        assert_eq!(course, Known { question: Mark(7), ..sent() }, "{outcome:?}");
    }
}

#[test]
fn a_list_that_showed_the_id_is_older_than_its_absence_and_another_list_is_not_asked_for() {
    for (found, asked) in
        [(Found::Ours, true), (Found::Absent, false), (Found::Other, false), (Found::Attempted, false)]
    {
        let mut course = Known::default();
        let marks = Cell::new(0);
        course.absent(found, || {
            marks.set(marks.get() + 1);
            Mark(7)
        });
        assert_eq!((course.question == Mark(7), marks.get() == 1), (asked, asked), "{found:?}");
    }
}
