use tokio::time::advance;

use super::*;
use crate::sse::budget::Limits;
use crate::sse::credentials::{Credentials, Source, State, Wakes};
use crate::sse::{CredentialKey, Schedule, Settings, Token, TokenEndpoint};

const MINUTE: Duration = Duration::from_mins(1);

fn yields() -> Yields {
    Yields { generation: 1, secrets: vec![Some("1".to_owned()), None], verbs: vec![String::new(); 3] }
}

fn fields(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_delay_ends_in_its_time() {
    let mut memory = Memory::default();
    assert!(memory.is_due(&yields()), "nothing is waited out");
    memory.wait(MINUTE, yields());
    advance(Duration::from_millis(59_999)).await;
    assert!(!memory.is_due(&yields()));
    advance(Duration::from_millis(1)).await;
    assert!(memory.is_due(&yields()));
    assert!(memory.delay.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_delay_yields_to_a_new_generation_a_secret_and_a_verb() {
    let changes: [fn(&mut Yields); 5] = [
        |yields| yields.generation = 2,
        |yields| yields.secrets[0] = Some("2".to_owned()),
        |yields| yields.secrets[0] = None,
        |yields| yields.secrets[1] = Some("1".to_owned()),
        |yields| "now".clone_into(&mut yields.verbs[0]),
    ];
    for change in changes {
        let mut memory = Memory::default();
        memory.wait(MINUTE, yields());
        let mut now = yields();
        change(&mut now);
        assert!(!memory.is_due(&yields()), "nothing changed");
        assert!(memory.is_due(&now), "{now:?}");
        assert!(memory.is_due(&yields()), "a delay that has yielded is over");
    }
}

#[tokio::test(start_paused = true)]
async fn success_ends_a_delay_and_the_run() {
    let mut memory = Memory::default();
    memory.count(Class::Busy, ("Busy", Some(500)), true, &yields());
    memory.count(Class::Busy, ("Busy", Some(500)), true, &yields());
    memory.wait(MINUTE, yields());
    memory.succeeded();
    assert!(memory.is_due(&yields()));
    assert_eq!(memory.same(), 0);
    assert_eq!(memory.count(Class::Busy, ("Busy", Some(500)), true, &yields()), (1, 1));
}

#[test]
fn refusals_of_a_class_are_counted_running_and_those_with_the_same_words_among_them() {
    let mut memory = Memory::default();
    let mut count = |class, reason, status| memory.count(class, (reason, status), true, &yields());
    assert_eq!(count(Class::Server, "ServerError", Some(500)), (1, 1));
    assert_eq!(count(Class::Server, "ServerError", Some(500)), (2, 2));
    assert_eq!(count(Class::Server, "ServerError", Some(502)), (3, 1));
    assert_eq!(count(Class::Server, "Unreachable", None), (4, 1));
    assert_eq!(count(Class::Server, "Unreachable", None), (5, 2));
    assert_eq!(count(Class::Busy, "Busy", Some(500)), (1, 1), "another class begins anew");
    assert_eq!(count(Class::Server, "Unreachable", None), (1, 1));
    assert_eq!(memory.same(), 1);
}

#[test]
fn another_spec_secret_or_verb_begins_the_count_anew() {
    let mut memory = Memory::default();
    let refused = ("InvalidObject", Some(400));
    memory.count(Class::Input, refused, true, &yields());
    assert_eq!(memory.count(Class::Input, refused, true, &yields()), (2, 2));
    let other = Yields { generation: 2, ..yields() };
    assert_eq!(memory.count(Class::Input, refused, true, &other), (1, 1));
    assert_eq!(memory.count(Class::Input, refused, true, &other), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn the_same_field_corrected_three_times_within_an_hour_is_flapping() {
    let mut memory = Memory::default();
    let org = fields(&["org"]);
    for times in 0..3 {
        assert!(!memory.is_flapping(&org), "{times}");
        memory.corrected(&fields(&["org", "host"]));
        advance(10 * MINUTE).await;
    }
    assert!(memory.is_flapping(&org));
    assert!(memory.is_flapping(&fields(&["timeout", "host"])), "one of them is enough");
    assert!(!memory.is_flapping(&fields(&["timeout"])), "another field is corrected");
    assert!(!memory.is_flapping(&[]));
    // The first one was an hour ago.
    advance(Duration::from_millis(30 * 60_000 - 1)).await;
    assert!(memory.is_flapping(&org));
    advance(Duration::from_millis(1)).await;
    assert!(!memory.is_flapping(&org));
}

#[tokio::test(start_paused = true)]
async fn corrections_in_different_hours_do_not_add_up_and_are_not_kept() {
    let mut memory = Memory::default();
    for _ in 0..100 {
        memory.corrected(&fields(&["org"]));
        advance(31 * MINUTE).await;
        assert!(!memory.is_flapping(&fields(&["org"])));
        assert!(memory.corrections.len() <= 2);
    }
}

#[tokio::test(start_paused = true)]
async fn success_does_not_forget_corrections() {
    let mut memory = Memory::default();
    for _ in 0..3 {
        memory.corrected(&fields(&["org"]));
        memory.succeeded();
    }
    assert!(memory.is_flapping(&fields(&["org"])));
}

/// What a call needs, of a credential of its own.
fn access() -> Access {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let endpoint = TokenEndpoint::new(&Settings::default(), "https://127.0.0.1:1/token").unwrap();
    let schedule = Schedule::new(|_, _, _| MINUTE);
    let credentials = Credentials::new(endpoint, Limits::default(), schedule, Wakes::channel().0);
    let key = CredentialKey::new("team/prisma-access");
    credentials.put(&key, "1", Source::Static(Token::parse(b"TOKEN").unwrap()));
    let State::Ready(access) = credentials.access(&key, &"team/corp".into()) else { panic!("not ready") };
    access
}

#[tokio::test]
async fn a_permit_is_taken_once_its_turn_has_come() {
    let mut memory = Memory::default();
    assert!(memory.take_permit().is_none());
    let place = Place::default();
    memory.place = Some(Arc::clone(&place));
    assert!(memory.take_permit().is_none() && memory.is_queued(), "its turn has not come");
    let access = access();
    let permit = access.budget.try_acquire().unwrap();
    *place.lock().unwrap() = Some((access, permit));
    assert!(memory.take_permit().is_some());
    assert!(memory.take_permit().is_none() && !memory.is_queued());
}

#[tokio::test]
async fn a_place_that_nobody_will_fill_is_none() {
    let mut memory = Memory::default();
    assert!(!memory.is_queued());
    let place = Place::default();
    memory.place = Some(Arc::clone(&place));
    assert!(memory.is_queued());
    drop(place);
    assert!(!memory.is_queued());
}

/// With thousands of resources, what the API server tells of the writers of fields would be most of the process's memory.
#[test]
fn of_the_answer_to_a_write_the_writers_of_its_fields_are_not_kept() {
    let answer: MfaServer = serde_json::from_value(serde_json::json!({
        "apiVersion": "sse.mfa-operator.io/v1alpha1",
        "kind": "MfaServer",
        "metadata": {
            "name": "corp",
            "resourceVersion": "7",
            "managedFields": [{"manager": "somebody", "operation": "Apply", "fieldsV1": {"f:spec": {"f:folder": {}}}}],
        },
        "spec": {"folder": "Shared", "mfaCertProfile": "corp-ca"},
    }))
    .unwrap();
    assert!(answer.metadata.managed_fields.is_some());
    let mut memory = Memory::default();
    let kept = memory.keep(answer);
    assert_eq!(kept.metadata.managed_fields, None);
    assert_eq!(kept.metadata.resource_version.as_deref(), Some("7"));
    assert_eq!(memory.newest.unwrap().unpack().unwrap(), *kept);
}
