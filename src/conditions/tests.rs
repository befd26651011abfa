use super::*;

fn at(seconds: i64) -> Time {
    Time(jiff::Timestamp::from_second(seconds).unwrap())
}

fn ready(previous: &[Condition], state: State, reason: &str, now: i64) -> Condition {
    condition(previous, READY, state, reason, "It is so.", 7, &at(now))
}

#[test]
fn a_new_condition_is_of_now() {
    let found = ready(&[], State::True, reason::AVAILABLE, 1);
    assert_eq!((found.type_.as_str(), found.status.as_str(), found.reason.as_str()), ("Ready", "True", "Available"));
    assert_eq!((found.message.as_str(), found.observed_generation), ("It is so.", Some(7)));
    assert_eq!(found.last_transition_time, at(1));
}

#[test]
fn the_time_of_transition_moves_with_the_state_alone() {
    let first = [ready(&[], State::False, reason::SUSPENDED, 1)];
    let kept = ready(&first, State::False, reason::INVALID_SPEC, 2);
    assert_eq!((kept.last_transition_time, kept.reason.as_str()), (at(1), "InvalidSpec"));
    assert_eq!(ready(&first, State::True, reason::AVAILABLE, 2).last_transition_time, at(2));
    assert_eq!(ready(&first, State::Unknown, reason::UNKNOWN, 2).last_transition_time, at(2));
    let other = condition(&first, SYNCED, State::False, reason::SUSPENDED, "", 7, &at(2));
    assert_eq!(other.last_transition_time, at(2), "another type's condition is another one");
}

#[test]
fn a_condition_is_found_by_its_type_and_is_current_at_its_generation_only() {
    let list = [ready(&[], State::True, reason::AVAILABLE, 1)];
    assert!(find(&list, READY).is_some() && find(&list, STALLED).is_none());
    assert!(current(&list, READY, 7).is_some());
    assert!(current(&list, READY, 6).is_none() && current(&list, READY, 8).is_none());
    let untold = [Condition { observed_generation: None, ..list[0].clone() }];
    assert!(current(&untold, READY, 7).is_none());
}

#[test]
fn reasons_are_as_kubernetes_wants_them_and_none_stands_twice() {
    let mut all: Vec<&str> = reason::ALL.to_vec();
    all.extend(crate::sse::Reason::ALL.iter().map(|reason| reason.as_str()));
    for reason in &all {
        let word = reason.chars().all(|c| c.is_ascii_alphanumeric());
        assert!(word && reason.starts_with(|c: char| c.is_ascii_uppercase()), "{reason}");
    }
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count, "the operator's own reasons are none of the API's");
}
