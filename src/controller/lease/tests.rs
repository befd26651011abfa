use serde_json::{Value, json};

use super::*;

fn lease(value: &Value) -> Lease {
    serde_json::from_value(value.clone()).unwrap()
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn the_times_in_a_lease_are_another_clocks_and_decide_nothing() {
    let at = |time: &str| {
        record(&lease(&json!({
            "metadata": {"resourceVersion": "7"},
            "spec": {"holderIdentity": "a", "leaseDurationSeconds": 20, "renewTime": time, "acquireTime": time},
        })))
    };
    let seen = at("1970-01-01T00:00:00.000000Z");
    assert_eq!(seen, at("2199-01-01T00:00:00.000000Z"));
    let duration = Some(Duration::from_secs(20));
    assert_eq!(seen, Record { version: "7".to_owned(), holder: Some("a".to_owned()), duration });
}

#[test]
fn a_lease_without_a_holder_or_a_duration_is_read_as_such() {
    for spec in [json!({}), json!({"holderIdentity": "", "leaseDurationSeconds": 0}), Value::Null] {
        let seen = record(&lease(&json!({"metadata": {"resourceVersion": "7"}, "spec": spec})));
        assert_eq!((seen.holder, seen.duration), (None, None));
    }
}

#[test]
fn the_fields_are_those_of_any_other_election() {
    let claim = |seen: Option<&Lease>, identity, now| claimed(seen, "mfa", identity, Timing::default(), time(now));
    let first = claim(None, "a", "2026-01-01T00:00:00Z");
    assert_eq!(
        serde_json::to_value(&first).unwrap(),
        json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "mfa"},
            "spec": {
                "holderIdentity": "a",
                "leaseDurationSeconds": 15,
                "acquireTime": "2026-01-01T00:00:00.000000Z",
                "renewTime": "2026-01-01T00:00:00.000000Z",
                "leaseTransitions": 0,
            },
        })
    );
    let mut stored = first;
    stored.metadata.resource_version = Some("3".to_owned());
    stored.metadata.labels = Some([("team".to_owned(), "identity".to_owned())].into());

    let renewed = claim(Some(&stored), "a", "2026-01-01T00:00:02Z");
    assert_eq!(renewed.metadata, stored.metadata);
    let spec = renewed.spec.clone().unwrap();
    assert_eq!(spec.acquire_time, Some(MicroTime(time("2026-01-01T00:00:00Z"))));
    assert_eq!(spec.renew_time, Some(MicroTime(time("2026-01-01T00:00:02Z"))));
    assert_eq!(spec.lease_transitions, Some(0));

    let released = released(&renewed, time("2026-01-01T00:00:03Z"));
    assert_eq!(released.metadata, stored.metadata);
    assert_eq!(record(&released).holder, None);

    let next = claim(Some(&released), "b", "2026-01-01T00:00:04Z");
    assert_eq!(next.metadata, stored.metadata);
    let spec = next.spec.unwrap();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("b"), Some(1)));
    assert_eq!((spec.acquire_time, spec.lease_duration_seconds), (spec.renew_time, Some(15)));
}

#[test]
fn no_two_processes_have_one_identity() {
    let (one, other) = (identity(), identity());
    assert_ne!(one, other);
    let host = |identity: &str| identity.rsplit_once('_').unwrap().0.to_owned();
    assert_eq!(host(&one), host(&other));
    assert!(!host(&one).is_empty());
}
