use std::fmt::Write as _;

use super::*;
use crate::reconcile::golden;
use crate::sse::{Acted, Failure, Method, Reason};

const THEN: i64 = 1_000;
const NOW: i64 = 2_000;

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn object() -> Object {
    Object {
        id: Some("id-1".to_owned()),
        tenant: Some("tsg-1".to_owned()),
        name: "corp".to_owned(),
        folder: "Shared".to_owned(),
        position: "pre".to_owned(),
        vendor: Some("oktaAdaptiveV1".to_owned()),
    }
}

fn known(previous: &MfaServerStatus, verdict: Verdict) -> Known<'_> {
    Known {
        generation: 2,
        previous,
        verdict,
        cause: cause(verdict),
        repeated: false,
        stale: false,
        differs: false,
        equals: false,
        authenticated: None,
        object: object(),
        attempt: None,
        wrote: false,
        drift: Vec::new(),
        observed_secrets: Vec::new(),
        handled: None,
        now: time(NOW),
    }
}

fn failed(method: Method, reason: Reason, status: Option<u16>) -> Cause {
    let failure = Failure::new(method, reason, status, Acted::No);
    Cause {
        reason: failure.reason.as_str(),
        message: failure.reason.describe().to_owned(),
        error: Some(LastError {
            http_status: status.map(i32::from),
            code: Some("E000".to_owned()),
            reason: Some(reason.as_str().to_owned()),
            request_id: Some("request-4711".to_owned()),
        }),
    }
}

/// What is behind such a verdict, as a pass would name it.
fn cause(verdict: Verdict) -> Cause {
    match verdict {
        Verdict::NameTaken => Cause { error: None, ..failed(Method::Post, Reason::NameNotUnique, None) },
        Verdict::Credential(CredentialProblem::Rejected) | Verdict::Refused(Class::Credential) => {
            failed(Method::Get, Reason::InvalidCredential, Some(401))
        }
        Verdict::Credential(CredentialProblem::TokenRejected) => {
            failed(Method::Post, Reason::TokenRequestRejected, Some(400))
        }
        Verdict::Credential(CredentialProblem::TokenUnavailable) => {
            failed(Method::Post, Reason::TokenEndpointUnavailable, None)
        }
        Verdict::Refused(Class::Forbidden) => failed(Method::Post, Reason::Unauthorized, Some(403)),
        Verdict::Refused(Class::Input) => failed(Method::Post, Reason::InvalidObject, Some(400)),
        Verdict::Refused(Class::Conflict) => failed(Method::Post, Reason::NameNotUnique, Some(409)),
        Verdict::Refused(Class::Referenced) => failed(Method::Delete, Reason::ReferenceNotZero, Some(409)),
        Verdict::Refused(Class::Throttled) => failed(Method::Put, Reason::RateLimited, Some(429)),
        Verdict::Refused(Class::Busy) => failed(Method::Put, Reason::SessionTimeout, Some(504)),
        Verdict::Refused(Class::Server) => failed(Method::Put, Reason::ServerError, Some(500)),
        _ => Cause::default(),
    }
}

/// Every verdict that a status speaks of. The match makes a new one fail to compile until it stands in the list.
fn recorded() -> Vec<Verdict> {
    let problems = [SecretProblem::NotFound, SecretProblem::KeyMissing, SecretProblem::Invalid];
    let classes = [
        Class::Credential,
        Class::Forbidden,
        Class::Input,
        Class::Conflict,
        Class::Referenced,
        Class::Throttled,
        Class::Busy,
        Class::Server,
    ];
    let credential = [
        CredentialProblem::Expired,
        CredentialProblem::Rejected,
        CredentialProblem::TokenRejected,
        CredentialProblem::TokenUnavailable,
    ];
    let mut all = vec![Verdict::InOrder, Verdict::Suspended, Verdict::InvalidSpec];
    all.extend(problems.map(Verdict::Secret));
    all.extend(problems.map(|problem| Verdict::Credential(CredentialProblem::Secret(problem))));
    all.extend(credential.map(Verdict::Credential));
    all.extend([
        Verdict::TenantMismatch,
        Verdict::DuplicateClaim,
        Verdict::NameTaken,
        Verdict::AdoptionRefused,
        Verdict::DriftReported,
        Verdict::Flapping,
        Verdict::OutcomeUnknown,
        Verdict::Adopted,
    ]);
    all.extend(classes.map(Verdict::Refused));
    for verdict in &all {
        assert!(verdict.is_recorded());
        match verdict {
            Verdict::InOrder
            | Verdict::Suspended
            | Verdict::InvalidSpec
            | Verdict::Secret(_)
            | Verdict::Credential(_)
            | Verdict::TenantMismatch
            | Verdict::DuplicateClaim
            | Verdict::NameTaken
            | Verdict::AdoptionRefused
            | Verdict::DriftReported
            | Verdict::Flapping
            | Verdict::Refused(_)
            | Verdict::OutcomeUnknown
            | Verdict::Adopted => {}
            Verdict::List
            | Verdict::Token
            | Verdict::Permit
            | Verdict::Delay
            | Verdict::Kube
            | Verdict::Leader
            | Verdict::Released => unreachable!("not recorded"),
        }
    }
    all
}

/// A status that was written when the pass ended with this verdict, at this generation.
fn was(verdict: Verdict, generation: i64) -> MfaServerStatus {
    let nothing = MfaServerStatus { observed_generation: Some(-1), ..MfaServerStatus::default() };
    let authenticated = Some(true).filter(|_| verdict == Verdict::InOrder);
    report(&Known { generation, now: time(THEN), authenticated, ..known(&nothing, verdict) }).0
}

fn find<'a>(status: &'a MfaServerStatus, kind: &str) -> Option<&'a Condition> {
    conditions::find(&status.conditions, kind)
}

/// The conditions in one line: `True Available`, with a `=` where the time of transition was kept.
fn line(known: &Known<'_>) -> String {
    let (status, event) = report(known);
    let mut text = String::new();
    for (kind, width) in [(READY, 36), (SYNCED, 36), (AUTHENTICATED, 36), ("", 38)] {
        let condition = match kind {
            "" => find(&status, RECONCILING).or(find(&status, STALLED)),
            kind => find(&status, kind),
        };
        let cell = condition.map_or_else(
            || "-".to_owned(),
            |condition| {
                let kept = if condition.last_transition_time.0 == time(THEN) { "=" } else { "" };
                let state = if kind.is_empty() { &condition.type_ } else { &condition.status };
                format!("{state}{kept} {}", condition.reason)
            },
        );
        write!(text, "{cell:<width$}").unwrap();
    }
    let event = event.map_or("-", |event| if event.warning { "Warning" } else { "Normal" });
    text + event
}

fn head() -> String {
    format!("{:<44}{:<36}{:<36}{:<36}{:<38}Event\n", "", READY, SYNCED, AUTHENTICATED, "kstatus")
}

#[test]
fn the_golden_table_says_what_a_status_tells() {
    let mut text = String::from(
        "What the status tells: where the pass ends, and what the status was before.\n\
         Written by `make generate` from src/reconcile/report.rs. A `=` marks a time of transition that was kept.\n",
    );
    let new = MfaServerStatus { observed_generation: Some(-1), ..MfaServerStatus::default() };
    let befores = [
        ("a new resource", new.clone()),
        ("Ready at this generation", was(Verdict::InOrder, 2)),
        ("Ready at an older generation", was(Verdict::InOrder, 1)),
    ];
    for (before, previous) in &befores {
        write!(text, "\n# {before}\n\n{}", head()).unwrap();
        for verdict in recorded() {
            // A call that was answered tells about the credential, as the driver knows it.
            let authenticated = match verdict {
                Verdict::InOrder => Some(true),
                Verdict::Credential(CredentialProblem::TokenUnavailable) => None,
                Verdict::Credential(_) | Verdict::Refused(Class::Credential) => Some(false),
                _ => None,
            };
            let known = Known { authenticated, ..known(previous, verdict) };
            writeln!(text, "{:<44}{}", format!("{verdict:?}"), line(&known)).unwrap();
        }
    }
    let ready = was(Verdict::InOrder, 2);
    let drifted = was(Verdict::DriftReported, 2);
    let server = |previous| known(previous, Verdict::Refused(Class::Server));
    let unknown = report(&Known { stale: true, now: time(THEN), ..server(&ready) }).0;
    let rows = [
        ("the same 500 five times, new", Known { repeated: true, ..server(&new) }),
        ("the same 500 five times, Ready", Known { repeated: true, ..server(&ready) }),
        ("no list for three resyncs, new", Known { stale: true, ..server(&new) }),
        ("no list for three resyncs, Ready", Known { stale: true, ..server(&ready) }),
        ("... and again", Known { stale: true, ..server(&unknown) }),
        ("... and read again", known(&unknown, Verdict::InOrder)),
        ("a correction was refused", Known { differs: true, ..known(&ready, Verdict::Refused(Class::Input)) }),
        ("a correction was throttled", Known { differs: true, ..known(&ready, Verdict::Refused(Class::Throttled)) }),
        ("drift reported, then an outage", server(&drifted)),
        ("drift reported, then repaired", known(&drifted, Verdict::InOrder)),
        ("drift reported, again", known(&drifted, Verdict::DriftReported)),
        ("in order, again", Known { authenticated: Some(true), ..known(&ready, Verdict::InOrder) }),
    ];
    write!(text, "\n# More\n\n{}", head()).unwrap();
    for (name, known) in rows {
        writeln!(text, "{name:<44}{}", line(&known)).unwrap();
    }
    golden::check("tests/golden/status.txt", &text);
}

/// What the table of classes promises: `Ready` of a new resource, whether a Ready one stays so, and the kstatus pair.
const fn promised(verdict: Verdict) -> (&'static str, bool, Option<&'static str>) {
    match verdict {
        Verdict::InOrder => ("True", true, None),
        Verdict::Suspended => ("False", true, None),
        Verdict::InvalidSpec
        | Verdict::Secret(SecretProblem::Invalid)
        | Verdict::Credential(
            CredentialProblem::Secret(SecretProblem::Invalid)
            | CredentialProblem::Expired
            | CredentialProblem::Rejected
            | CredentialProblem::TokenRejected,
        )
        | Verdict::TenantMismatch
        | Verdict::DuplicateClaim
        | Verdict::NameTaken
        | Verdict::AdoptionRefused
        | Verdict::DriftReported
        | Verdict::Flapping
        | Verdict::Refused(Class::Credential | Class::Forbidden | Class::Input | Class::Conflict) => {
            ("False", false, Some(STALLED))
        }
        Verdict::Secret(_)
        | Verdict::Credential(CredentialProblem::Secret(_))
        | Verdict::Refused(Class::Referenced)
        | Verdict::Adopted => ("False", false, Some(RECONCILING)),
        _ => ("False", true, Some(RECONCILING)),
    }
}

#[test]
fn every_class_tells_what_its_row_promises() {
    let new = MfaServerStatus::default();
    let (ready, older) = (was(Verdict::InOrder, 2), was(Verdict::InOrder, 1));
    for verdict in recorded() {
        let (first, stays, kstatus) = promised(verdict);
        for (previous, expected) in [(&new, first), (&older, first), (&ready, if stays { "True" } else { "False" })] {
            let (status, _) = report(&known(previous, verdict));
            assert_eq!(find(&status, READY).unwrap().status, expected, "{verdict:?}");
            let pair: Vec<&str> =
                [RECONCILING, STALLED].into_iter().filter(|kind| find(&status, kind).is_some()).collect();
            assert_eq!(pair, kstatus.into_iter().collect::<Vec<_>>(), "{verdict:?}");
        }
    }
}

#[test]
fn what_was_ready_stays_so_until_something_shows_otherwise() {
    let (new, ready) = (MfaServerStatus::default(), was(Verdict::InOrder, 2));
    let state = |known: &Known<'_>| find(&report(known).0, READY).unwrap().status.clone();
    let server = |previous| known(previous, Verdict::Refused(Class::Server));
    assert_eq!(state(&server(&ready)), "True");
    assert_eq!(state(&Known { differs: true, ..server(&ready) }), "False", "a difference was seen");
    assert_eq!(state(&Known { stale: true, ..server(&ready) }), "Unknown", "nothing was seen for long");
    assert_eq!(state(&Known { stale: true, differs: true, ..server(&ready) }), "False");
    assert_eq!(state(&Known { stale: true, ..server(&new) }), "False", "it never was");
    let refused = was(Verdict::InvalidSpec, 2);
    assert_eq!(state(&Known { stale: true, ..server(&refused) }), "False", "it was not");
    let unknown = report(&Known { stale: true, ..server(&ready) }).0;
    assert_eq!(state(&Known { stale: true, ..server(&unknown) }), "Unknown", "still nothing was seen");
}

#[test]
fn every_condition_is_complete_and_of_the_generation_that_was_looked_at() {
    for previous in [MfaServerStatus::default(), was(Verdict::InOrder, 2), was(Verdict::Flapping, 1)] {
        for verdict in recorded() {
            let (status, _) = report(&known(&previous, verdict));
            assert_eq!(status.observed_generation, Some(2));
            let kinds: Vec<&str> = status.conditions.iter().map(|condition| condition.type_.as_str()).collect();
            assert_eq!(kinds[..3], [READY, SYNCED, AUTHENTICATED], "{verdict:?}");
            assert!(kinds.len() <= 4, "{verdict:?}: {kinds:?}");
            for condition in &status.conditions {
                assert_eq!(condition.observed_generation, Some(2), "{verdict:?}");
                assert!(!condition.message.is_empty(), "{verdict:?}: {condition:?}");
                let camel = condition.reason.chars().all(|c| c.is_ascii_alphanumeric());
                assert!(camel && condition.reason.starts_with(|c: char| c.is_ascii_uppercase()), "{condition:?}");
            }
        }
    }
}

#[test]
fn told_again_nothing_changes_and_no_event_is_sent() {
    for before in [MfaServerStatus::default(), was(Verdict::InOrder, 2), was(Verdict::InOrder, 1)] {
        for verdict in recorded() {
            let (first, event) = report(&Known { now: time(THEN), ..known(&before, verdict) });
            let (second, repeated) = report(&known(&first, verdict));
            assert_eq!(first, second, "{verdict:?}");
            assert_eq!(repeated, None, "{verdict:?}");
            assert!(event.is_some() || verdict == Verdict::InOrder, "{verdict:?}");
        }
    }
}

#[test]
fn an_event_is_sent_on_a_transition_and_holds_the_request() {
    let ready = was(Verdict::InOrder, 2);
    let (throttled, event) = report(&known(&ready, Verdict::Refused(Class::Throttled)));
    let event = event.unwrap();
    assert_eq!((event.warning, event.reason.as_str()), (true, "RateLimited"));
    assert_eq!(event.note, format!("{} (request request-4711)", Reason::RateLimited.describe()));
    let (_, event) = report(&known(&throttled, Verdict::InOrder));
    assert_eq!(event.map(|event| (event.warning, event.reason)), Some((false, "Available".to_owned())));
    let (_, event) = report(&known(&throttled, Verdict::Refused(Class::Busy)));
    assert_eq!(event.map(|event| event.reason), Some("SessionTimeout".to_owned()));
    // A later generation that is in order like the one before is no news.
    let (_, event) = report(&known(&was(Verdict::InOrder, 1), Verdict::InOrder));
    assert_eq!(event, None);
}

#[test]
fn the_last_error_is_rewritten_only_when_status_code_or_reason_change() {
    let request = |status: &MfaServerStatus| status.last_error.as_ref().and_then(|error| error.request_id.clone());
    let with = |previous: &MfaServerStatus, change: &dyn Fn(&mut LastError)| {
        let mut known = known(previous, Verdict::Refused(Class::Server));
        change(known.cause.error.as_mut().unwrap());
        report(&known).0
    };
    let first = with(&MfaServerStatus::default(), &|_| {});
    assert_eq!(request(&first).as_deref(), Some("request-4711"));
    let again = with(&first, &|error| error.request_id = Some("another".to_owned()));
    assert_eq!(again.last_error, first.last_error);
    for change in [
        (&|error: &mut LastError| error.http_status = Some(502)) as &dyn Fn(&mut LastError),
        &|error| error.code = None,
        &|error| error.reason = Some("Unreachable".to_owned()),
    ] {
        let changed = with(&first, &|error| {
            error.request_id = Some("another".to_owned());
            change(error);
        });
        assert_eq!(request(&changed).as_deref(), Some("another"));
    }
    // What is not the API's word leaves it, and success clears it.
    assert_eq!(report(&known(&first, Verdict::Suspended)).0.last_error, first.last_error);
    assert_eq!(report(&known(&first, Verdict::InOrder)).0.last_error, None);
}

#[test]
fn no_text_holds_what_changes_from_one_try_to_the_next() {
    for verdict in recorded() {
        let (status, _) = report(&known(&MfaServerStatus::default(), verdict));
        for condition in &status.conditions {
            let text = &condition.message;
            assert!(!text.contains("request-4711") && !text.contains("E000"), "{text}");
        }
        let text = sentence(verdict);
        assert!(!text.contains(|c: char| c.is_ascii_digit()), "{text}");
    }
    for reason in Reason::ALL {
        assert!(!reason.describe().contains(|c: char| c.is_ascii_digit()), "{}", reason.describe());
    }
}

#[test]
fn a_time_is_kept_while_the_state_is_and_set_when_it_changes() {
    let ready = was(Verdict::InOrder, 2);
    let at = |status: &MfaServerStatus, kind| find(status, kind).unwrap().last_transition_time.0;
    let (kept, _) = report(&known(&ready, Verdict::Refused(Class::Busy)));
    assert_eq!((at(&kept, READY), at(&kept, RECONCILING)), (time(THEN), time(NOW)));
    let (changed, _) = report(&known(&ready, Verdict::InvalidSpec));
    assert_eq!((at(&changed, READY), at(&changed, STALLED)), (time(NOW), time(NOW)));
    // Another reason for the same state is no transition.
    let (again, _) = report(&Known { now: time(3_000), ..known(&changed, Verdict::TenantMismatch) });
    assert_eq!((at(&again, READY), at(&again, STALLED)), (time(NOW), time(NOW)));
}

#[test]
fn the_time_of_a_sync_is_that_of_the_last_write() {
    let new = MfaServerStatus::default();
    let (wrote, _) = report(&Known { wrote: true, now: time(THEN), ..known(&new, Verdict::InOrder) });
    assert_eq!(wrote.last_sync_time, Some(Time(time(THEN))));
    assert_eq!(report(&known(&wrote, Verdict::InOrder)).0.last_sync_time, Some(Time(time(THEN))));
    assert_eq!(report(&known(&new, Verdict::InOrder)).0.last_sync_time, None);
}

#[test]
fn texts_of_others_are_cut_to_what_the_status_takes() {
    let long = "ü".repeat(STATUS_TEXT_MAX + 7);
    let new = MfaServerStatus::default();
    let object = Object { id: Some(long.clone()), tenant: Some(long.clone()), name: long.clone(), ..object() };
    let drift = vec![long.clone(); 100];
    let known = Known { object, drift, handled: Some(long), ..known(&new, Verdict::DriftReported) };
    let (status, _) = report(&known);
    for text in [status.id, status.tenant, status.name, status.last_handled_reconcile_at].into_iter().flatten() {
        assert_eq!(text.chars().count(), STATUS_TEXT_MAX);
    }
    assert_eq!(status.drift.len(), 64);
    assert!(status.drift.iter().all(|path| path.chars().count() == STATUS_TEXT_MAX));
}

#[test]
fn a_sentence_that_names_what_others_have_named_is_cut_to_what_status_and_event_take() {
    let new = MfaServerStatus::default();
    let message = format!("These fields differ: {}", "ü".repeat(100_000));
    let cause = Cause { message, ..Cause::default() };
    let (status, event) = report(&Known { cause, ..known(&new, Verdict::AdoptionRefused) });
    for kind in [READY, STALLED] {
        let message = &find(&status, kind).unwrap().message;
        assert_eq!(message.chars().count(), STATUS_TEXT_MAX, "{kind}");
        assert!(message.starts_with("These fields differ: ü"), "{kind}");
    }
    let note = event.unwrap().note;
    assert!((990..=1000).contains(&note.len()), "{} bytes", note.len());
}

#[test]
fn a_closer_sentence_stands_in_for_the_usual_one() {
    let new = MfaServerStatus::default();
    let message = "Secret \"a\" has no key \"b\".".to_owned();
    let verdict = Verdict::Secret(SecretProblem::KeyMissing);
    let (status, event) =
        report(&Known { cause: Cause { message: message.clone(), ..Cause::default() }, ..known(&new, verdict) });
    assert_eq!(find(&status, READY).unwrap().message, message);
    assert_eq!(event.unwrap().note, message);
}

#[test]
fn only_to_suspend_carries_over_what_was_said_of_another_generation() {
    let older = was(Verdict::InOrder, 1);
    let state = |verdict| {
        let (status, _) = report(&Known { equals: true, ..known(&older, verdict) });
        find(&status, READY).unwrap().status.clone()
    };
    assert_eq!(state(Verdict::Suspended), "True");
    assert_eq!(state(Verdict::OutcomeUnknown), "False");
}

#[test]
fn a_verdict_without_a_cause_says_what_it_means() {
    let new = MfaServerStatus::default();
    for (verdict, part) in [
        (Verdict::InOrder, "equals the spec"),
        (Verdict::Suspended, "spec.suspend is true"),
        (Verdict::InvalidSpec, "spec cannot be sent"),
        (Verdict::Secret(SecretProblem::NotFound), "Secret cannot be used"),
        (Verdict::Credential(CredentialProblem::Secret(SecretProblem::NotFound)), "Secret cannot be used"),
        (Verdict::Credential(CredentialProblem::Expired), "has expired"),
        (Verdict::Credential(CredentialProblem::Rejected), "credentials cannot be used"),
        (Verdict::TenantMismatch, "another tenant"),
        (Verdict::DuplicateClaim, "Another MfaServer owns this name"),
        (Verdict::NameTaken, "has an object of this name already"),
        (Verdict::AdoptionRefused, "may not be adopted"),
        (Verdict::DriftReported, "driftPolicy is Report"),
        (Verdict::Flapping, "three times within an hour"),
        (Verdict::OutcomeUnknown, "answer to the creation was lost"),
        (Verdict::Adopted, "is this resource's now"),
    ] {
        let (status, _) = report(&Known { cause: Cause::default(), ..known(&new, verdict) });
        let message = &find(&status, READY).unwrap().message;
        assert!(message.contains(part) && message.ends_with('.'), "{verdict:?}: {message}");
    }
}
