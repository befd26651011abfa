use std::sync::Arc;

use serde_json::{Value, json};

use super::super::desired::desired;
use super::super::facts::Class;
use super::*;
use crate::crd::{ANNOTATION_ATTEMPT, ObservedSecret};
use crate::sse::inventory::{Mark, Write};

fn resource() -> MfaServer {
    let resource = json!({
        "apiVersion": "sse.mfa-operator.io/v1alpha1", "kind": "MfaServer",
        "metadata": {"name": "corp", "namespace": "team", "uid": "uid-1"},
        "spec": {"folder": "Mobile Users", "mfaCertProfile": "corp-ca"},
    });
    serde_json::from_value(resource).unwrap()
}

fn object(id: &str, profile: &str, folder: Option<&str>) -> (Arc<str>, Remote) {
    let Value::Object(fields) = json!({"id": id, "name": "corp", "mfa_cert_profile": profile}) else { unreachable!() };
    let remote = Remote { id: id.to_owned(), name: "corp".to_owned(), folder: folder.map(str::to_owned), fields };
    (id.into(), remote)
}

fn inventory() -> Inventory<Remote> {
    Inventory::new(|remote| &remote.name)
}

/// What the resource finds, and under which id: it holds none, and has an attempt whose answer is not known.
fn found(inventory: &Inventory<Remote>) -> (Found, Option<String>) {
    let desired = desired(&resource()).unwrap();
    let record = Record::new("uid-1", "nonce-1".to_owned(), "tsg-1", &desired, &[]);
    let sought = Sought { id: None, named: None, name: "corp", folder: Folder::MobileUsers, open: Some(&record) };
    let sighting = find(inventory, sought, |_, item| item.clone());
    (sighting.found, sighting.shown.map(|item| item.id))
}

#[test]
fn an_attempt_is_known_again_by_what_it_sent_in_its_own_folder() {
    let mut inventory = inventory();
    let here = Some("Mobile Users");
    assert_eq!(found(&inventory), (Found::Absent, None));
    for (items, expected) in [
        (vec![object("1", "corp-ca", here)], (Found::Attempted, Some("1".to_owned()))),
        (vec![object("1", "corp-ca", None)], (Found::Attempted, Some("1".to_owned()))),
        (vec![object("1", "corp-ca", Some("Shared"))], (Found::Absent, None)),
        (vec![object("1", "their-ca", here)], (Found::Other, Some("1".to_owned()))),
        (vec![object("1", "their-ca", None), object("2", "corp-ca", here)], (Found::Attempted, Some("2".to_owned()))),
    ] {
        inventory.take_list(Mark(1), items, true);
        assert_eq!(found(&inventory), expected);
    }
}

#[test]
fn what_was_known_before_the_list_that_answers_is_not_what_an_attempt_made() {
    let here = Some("Mobile Users");
    let attempted = (Found::Attempted, Some("1".to_owned()));
    let other = (Found::Other, Some("1".to_owned()));
    let mut inventory = inventory();
    inventory.take_list(Mark(1), vec![object("1", "corp-ca", here)], true);
    assert_eq!(found(&inventory), attempted);
    inventory.take_list(Mark(2), Vec::<(Arc<str>, Remote)>::new(), false);
    assert_eq!(found(&inventory), other, "an incomplete list does not show it");
    inventory.take_list(Mark(3), vec![object("1", "corp-ca", here)], false);
    assert_eq!(found(&inventory), attempted, "an incomplete list shows it");
    inventory.take_list(Mark(4), Vec::<(Arc<str>, Remote)>::new(), false);
    let (id, remote) = object("1", "corp-ca", here);
    inventory.take_write(Mark(5), Write::Put(id.to_string(), remote));
    assert_eq!(found(&inventory), attempted, "it was written");
}

/// The resource with these members instead of its own.
fn with(changes: Value) -> MfaServer {
    let mut resource = serde_json::to_value(resource()).unwrap();
    merge(&mut resource, changes);
    serde_json::from_value(resource).unwrap()
}

fn merge(into: &mut Value, changes: Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (name, change) in changes {
                merge(into.entry(name).or_insert(Value::Null), change);
            }
        }
        (into, changes) => *into = changes,
    }
}

fn annotated(name: &str, value: &str) -> MfaServer {
    with(json!({"metadata": {"annotations": {name: value}}}))
}

fn record() -> Record {
    let secrets = [ObservedSecret { name: "okta-api".to_owned(), resource_version: "7".to_owned() }];
    Record::new("uid-1", "nonce-1".to_owned(), "tsg-1", &desired(&resource()).unwrap(), &secrets)
}

fn status(status: Value) -> MfaServerStatus {
    serde_json::from_value(status).unwrap()
}

fn facts() -> Facts {
    Facts::from_stored(Stored::default())
}

#[test]
fn the_finalizer_may_go_by_force_when_the_annotation_says_true_and_by_no_other_word() {
    assert!(is_forced(&annotated(ANNOTATION_FORCE_DELETE, "true")));
    for server in [resource(), annotated(ANNOTATION_FORCE_DELETE, "false"), annotated(ANNOTATION_ID, "true")] {
        assert!(!is_forced(&server));
    }
}

#[test]
fn an_attempt_is_unanswered_until_the_status_names_it() {
    let text = serde_json::to_string(&record()).unwrap();
    let server = annotated(ANNOTATION_ATTEMPT, &text);
    assert_eq!(unanswered(&server), Some(record()));
    let named = |nonce: &str| MfaServer { status: Some(status(json!({"attempt": nonce}))), ..server.clone() };
    assert_eq!(unanswered(&named("another")), Some(record()));
    assert_eq!(unanswered(&named("nonce-1")), None);
    assert_eq!(unanswered(&resource()), None);
}

#[test]
fn an_own_writes_answer_counts_while_it_is_newer_than_the_cache() {
    let newer = |written: &u32, cached: &u32| written > cached;
    let mut newest = Some(5);
    assert_eq!((freshest(&mut newest, 4, newer), newest), (5, Some(5)));
    assert_eq!((freshest(&mut newest, 5, newer), newest), (5, None));
    assert_eq!((freshest(&mut newest, 6, newer), newest), (6, None));
}

#[test]
fn each_thing_that_the_cluster_stores_is_one_fact() {
    let plain = stored(&resource(), Attempt::None, DeletionPolicy::Delete);
    assert_eq!(plain, Stored { adoption: Adoption::Never, ..Stored::default() });
    let synced = |reason: &str, generation: i64, id: Option<&str>| {
        json!({"metadata": {"generation": 3}, "status": {"id": id, "conditions": [{
            "type": "Synced", "status": "True", "reason": reason, "message": "", "observedGeneration": generation,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]}})
    };
    let policy = |name: &str, policy: &str| json!({"spec": {name: policy}});
    let verb = |name: &str, value: &str| json!({"metadata": {"annotations": {name: value}}});
    for (changes, expected) in [
        (json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}), Stored { deleting: true, ..plain }),
        (json!({"metadata": {"finalizers": ["another/one", FINALIZER]}}), Stored { finalizer: true, ..plain }),
        (json!({"metadata": {"finalizers": ["another/one"]}}), plain),
        (json!({"status": {"id": "1"}}), Stored { id: true, ..plain }),
        (json!({"status": {"attempt": "nonce-1"}}), plain),
        (synced("UpToDate", 3, Some("1")), Stored { id: true, was_in_order: true, ..plain }),
        (synced("DriftReported", 3, Some("1")), Stored { id: true, was_in_order: true, ..plain }),
        (synced("Flapping", 3, Some("1")), Stored { id: true, was_in_order: true, ..plain }),
        (synced("Adopted", 3, Some("1")), Stored { id: true, ..plain }),
        (synced("UpToDate", 2, Some("1")), Stored { id: true, ..plain }),
        (synced("UpToDate", 3, None), plain),
        (json!({"spec": {"suspend": true}}), Stored { suspended: true, ..plain }),
        (verb(ANNOTATION_FORCE_DELETE, "true"), Stored { force_delete: true, ..plain }),
        (policy("adoptionPolicy", "IfIdentical"), Stored { adoption: Adoption::IfIdentical, ..plain }),
        (policy("adoptionPolicy", "Always"), Stored { adoption: Adoption::Always, ..plain }),
        (verb(ANNOTATION_ID, "1"), Stored { adoption: Adoption::Always, ..plain }),
        (policy("driftPolicy", "Report"), Stored { report_drift: true, ..plain }),
    ] {
        assert_eq!(stored(&with(changes.clone()), Attempt::None, DeletionPolicy::Delete), expected, "{changes}");
    }
    let retained = stored(&resource(), Attempt::Settled, DeletionPolicy::Retain);
    assert_eq!(retained, Stored { attempt: Attempt::Settled, retain: true, ..plain });
}

#[test]
fn the_id_that_is_ours_comes_first_then_the_one_that_is_named_and_then_the_name() {
    let here = Some("Mobile Users");
    let mut inventory = inventory();
    let named = |id: &str, name: &str| {
        let (id, mut remote) = object(id, "corp-ca", here);
        name.clone_into(&mut remote.name);
        (id, remote)
    };
    let items = vec![named("1", "corp"), named("2", "other"), object("3", "corp-ca", Some("Shared"))];
    inventory.take_list(Mark(1), items, true);
    let sees = |id, named| {
        let sought = Sought { id, named, name: "corp", folder: Folder::MobileUsers, open: None };
        let sighting = find(&inventory, sought, |_, item| item.clone());
        (sighting.found, sighting.shown.map(|item| item.id))
    };
    let of = |id: &str| Some(id.to_owned());
    for (id, named, expected) in [
        (None, None, (Found::Other, of("1"))),
        (Some("2"), None, (Found::Ours, of("2"))),
        (Some("2"), Some("1"), (Found::Ours, of("2"))),
        (Some("9"), Some("1"), (Found::Other, of("1"))),
        (None, Some("1"), (Found::Named, of("1"))),
        (None, Some("2"), (Found::NamedElsewhere, None)),
        (None, Some("3"), (Found::NamedElsewhere, None)),
        (None, Some("9"), (Found::NamedElsewhere, None)),
    ] {
        assert_eq!(sees(id, named), expected, "id {id:?}, named {named:?}");
    }
}

#[test]
fn an_item_that_names_no_folder_is_said_to() {
    for (folder, untold) in [(None, true), (Some("Mobile Users"), false)] {
        let mut inventory = inventory();
        inventory.take_list(Mark(1), vec![object("1", "corp-ca", folder)], true);
        let sought = Sought { id: None, named: None, name: "corp", folder: Folder::MobileUsers, open: None };
        assert_eq!(find(&inventory, sought, |_, item| item.clone()).untold, untold);
    }
}

#[test]
fn an_item_that_names_no_folder_is_this_folders_where_no_parents_list_shows_it() {
    for (shows, list, parent) in [
        (Some(true), List::Pending, Parent::Shows),
        (Some(true), List::Complete, Parent::Shows),
        (Some(false), List::Pending, Parent::Pending),
        (None, List::Pending, Parent::Pending),
        (Some(false), List::Complete, Parent::Lacks),
        (None, List::Complete, Parent::Lacks),
        (Some(false), List::Incomplete, Parent::Unclear),
        (None, List::Failed(Class::Busy), Parent::Unclear),
        (None, List::FailedLong(Class::Busy), Parent::Unclear),
    ] {
        assert_eq!(Parent::of(shows, list), parent, "{shows:?} {list:?}");
    }
    let is = |parents: &[Parent]| {
        let sighting = Sighting { found: Found::Other, shown: Some(1), untold: true };
        untold(List::Complete, sighting, parents.iter().copied())
    };
    let whole = (List::Complete, Found::Other, Some(1));
    assert_eq!(is(&[]), whole);
    assert_eq!(is(&[Parent::Lacks, Parent::Lacks]), whole);
    assert_eq!(is(&[Parent::Lacks, Parent::Shows]), (List::Complete, Found::Absent, None));
    assert_eq!(is(&[Parent::Pending, Parent::Shows]), (List::Pending, Found::Other, Some(1)));
    assert_eq!(is(&[Parent::Lacks, Parent::Unclear]), (List::Complete, Found::Untold, Some(1)));
}

#[test]
fn a_list_that_was_taken_in_answers_by_whether_it_is_complete() {
    let listed = |complete| Some(Listed { begun: Mark(1), complete });
    assert_eq!(
        [answer(None), answer(listed(true)), answer(listed(false))],
        [List::Pending, List::Complete, List::Incomplete]
    );
}

#[test]
fn a_resource_is_bound_to_the_tenant_of_its_id_or_else_of_its_attempt() {
    let (of_id, none) = (json!({"id": "1", "tenant": "tsg-1"}), json!({}));
    let record = record();
    let is = |status: &Value, record: Option<&Record>, name: &'static str, told: bool, trusted: bool| {
        let tenancy = Tenancy { name, told, verified: true };
        tenant(&self::status(status.clone()), record, Some(tenancy), || trusted)
    };
    assert_eq!(is(&none, None, "tsg-1", true, true), Tenant::Unbound);
    assert_eq!(is(&json!({"tenant": "tsg-1"}), None, "tsg-2", true, true), Tenant::Unbound, "a tenant without an id");
    assert_eq!(is(&of_id, None, "tsg-1", true, false), Tenant::Same);
    assert_eq!(is(&of_id, None, "tsg-2", true, true), Tenant::Differs);
    assert_eq!(is(&of_id, None, "tsg-1", false, true), Tenant::Same);
    assert_eq!(is(&of_id, None, "tsg-1", false, false), Tenant::Unsure);
    assert_eq!(is(&none, Some(&record), "tsg-1", false, false), Tenant::Same, "an attempt is not doubted");
    assert_eq!(is(&none, Some(&record), "tsg-2", true, true), Tenant::Differs);
    let moved = json!({"id": "1", "tenant": "tsg-2"});
    assert_eq!(is(&moved, Some(&record), "tsg-2", true, true), Tenant::Same, "the id comes before an attempt");
    assert_eq!(tenant(&self::status(of_id), None, None, || true), Tenant::Unbound, "no credential yet");
}

fn contender(uid: &str, created: i64) -> Contender<'_> {
    let created = jiff::Timestamp::from_second(created).unwrap();
    let credential = Some(Tenancy { name: "tsg-1", told: true, verified: true });
    Contender { uid, created, id: None, bound: None, attempting: None, credential }
}

#[test]
fn who_owns_a_name_is_told_by_ids_attempts_and_age_among_those_of_one_tenant() {
    let me = contender("me", 2);
    let asking = Asking { uid: "me", id: None, holds: false, tenant: Some("tsg-1") };
    let unverified = Some(Tenancy { name: "tsg-1", told: true, verified: false });
    let elsewhere = Some(Tenancy { name: "tsg-2", told: true, verified: true });
    let (older, younger) = (contender("they", 1), contender("they", 3));
    let is = |asking: Asking<'static>, me: Contender<'static>, they: Contender<'static>| claim(asking, [me, they]);
    for (they, expected, why) in [
        (older, Claim::Taken, "the older one"),
        (younger, Claim::Ours, "the younger one"),
        (Contender { credential: unverified, ..older }, Claim::Ours, "a credential that nobody has taken"),
        (Contender { credential: elsewhere, ..older }, Claim::Ours, "another tenant's"),
        (Contender { credential: None, ..older }, Claim::Ours, "no credential"),
        (Contender { bound: Some("tsg-1"), id: Some("1"), ..younger }, Claim::Taken, "an id"),
        (Contender { bound: Some("tsg-1"), credential: None, ..younger }, Claim::Taken, "an id without a credential"),
        (Contender { bound: Some("tsg-2"), ..older }, Claim::Ours, "an id in another tenant"),
        (Contender { attempting: Some("tsg-1"), ..younger }, Claim::Taken, "an attempt"),
        (Contender { attempting: Some("tsg-2"), ..older }, Claim::Ours, "an attempt in another tenant"),
        (
            Contender { attempting: Some("tsg-1"), credential: unverified, ..younger },
            Claim::Ours,
            "an attempt with a credential that nobody has taken",
        ),
        (
            Contender { attempting: Some("tsg-1"), credential: elsewhere, ..younger },
            Claim::Ours,
            "an attempt with a credential of another tenant",
        ),
    ] {
        assert_eq!(is(asking, me, they), expected, "{why}");
    }
    // Nobody is verified: nobody acts on the name before a call has been answered.
    let (mine, theirs) = (Contender { credential: unverified, ..me }, Contender { credential: unverified, ..older });
    assert_eq!(is(asking, mine, theirs), Claim::Ours);
    assert_eq!(is(Asking { tenant: None, ..asking }, me, older), Claim::Ours, "no tenant is known");
    // An id that is not stored yet holds all the same, for the one that has it.
    let holds = Asking { holds: true, ..asking };
    assert_eq!(is(holds, me, older), Claim::Ours);
    assert_eq!(is(holds, me, Contender { bound: Some("tsg-1"), ..older }), Claim::Taken, "the older of two ids");
}

#[test]
fn whose_id_is_known_disputes_the_id_alone() {
    let me = Contender { id: Some("1"), bound: Some("tsg-1"), ..contender("me", 2) };
    let asking = Asking { uid: "me", id: Some("1"), holds: true, tenant: Some("tsg-1") };
    let they = Contender { bound: Some("tsg-1"), ..contender("they", 1) };
    assert_eq!(claim(asking, [me, Contender { id: Some("1"), ..they }]), Claim::Taken);
    assert_eq!(claim(asking, [me, Contender { id: Some("2"), ..they }]), Claim::Ours);
    assert_eq!(claim(asking, [me, Contender { id: None, ..they }]), Claim::Ours);
    // A younger one of the same id takes nothing, as the asking one is among those that are compared.
    let younger = Contender { id: Some("1"), bound: Some("tsg-1"), ..contender("they", 3) };
    let adopted = Contender { id: None, bound: None, ..me };
    assert_eq!(claim(asking, [adopted, younger]), Claim::Ours);
}

#[test]
fn the_secrets_versions_are_compared_with_those_that_were_sent_last() {
    let server = with(json!({"spec": {"mfaVendorType": {"oktaAdaptiveV1": {
        "oktaApiHost": "corp.okta.example.com", "oktaOrg": "corp",
        "oktaToken": {"secretKeyRef": {"name": "okta-api", "key": "token"}},
    }}}}));
    let desired = desired(&server).unwrap();
    let (seven, eight) = ([Some("7".to_owned())], [Some("8".to_owned())]);
    let sent = |version: &str| {
        status(json!({"id": "1", "observedSecrets": [{"name": "okta-api", "resourceVersion": version}]}))
    };
    let none = MfaServerStatus::default();
    let record = record();
    let is = |status: &MfaServerStatus, record: Option<&Record>, found, now: &[Option<String>]| {
        versions(Some(&desired), status, record, found, now)
    };
    assert_eq!(is(&sent("7"), None, Found::Ours, &seven), Sameness::Same);
    assert_eq!(is(&sent("7"), None, Found::Ours, &eight), Sameness::Differs);
    assert_eq!(is(&sent("7"), None, Found::Ours, &[None]), Sameness::Differs);
    assert_eq!(is(&status(json!({"id": "1"})), None, Found::Ours, &seven), Sameness::Differs, "none was sent");
    assert_eq!(is(&none, None, Found::Absent, &seven), Sameness::Unknown);
    assert_eq!(is(&none, Some(&record), Found::Absent, &seven), Sameness::Unknown, "the attempt is not found");
    assert_eq!(is(&none, Some(&record), Found::Attempted, &seven), Sameness::Same);
    assert_eq!(is(&sent("7"), Some(&record), Found::Attempted, &eight), Sameness::Differs);
    assert_eq!(is(&sent("8"), Some(&record), Found::Attempted, &seven), Sameness::Same, "what was attempted counts");
    assert_eq!(versions(None, &sent("7"), None, Found::Ours, &seven), Sameness::Unknown, "no spec that can be sent");
}

#[test]
fn a_status_holds_the_id_with_the_tenant_that_it_was_made_in() {
    let record = record();
    let previous = status(json!({"id": "1", "tenant": "tsg-0", "attempt": "nonce-0"}));
    let none = MfaServerStatus::default();
    let of = |binding: Binding| (binding.id, binding.tenant);
    let pair = |id: &str, tenant: &str| (Some(id.to_owned()), Some(tenant.to_owned()));
    let is = |previous, id, tenant, answered| of(binding(Verdict::InOrder, previous, &facts(), id, tenant, answered));
    assert_eq!(is(&none, None, Some("tsg-2"), None), (None, None));
    assert_eq!(is(&none, Some("1"), Some("tsg-2"), None), pair("1", "tsg-2"));
    assert_eq!(is(&none, Some("1"), Some("tsg-2"), Some(&record)), pair("1", "tsg-1"), "where it was sent to");
    assert_eq!(is(&previous, Some("1"), Some("tsg-2"), Some(&record)), pair("1", "tsg-0"), "it is bound already");
    assert_eq!(is(&previous, Some("2"), Some("tsg-2"), None), pair("2", "tsg-2"), "another id");
    let unbound = status(json!({"id": "1"}));
    assert_eq!(is(&unbound, Some("1"), Some("tsg-2"), None), pair("1", "tsg-2"));
    let refused = |previous| of(binding(Verdict::AdoptionRefused, previous, &facts(), Some("9"), Some("tsg-2"), None));
    assert_eq!(refused(&none), (None, None), "a refused adoption binds nothing");
    assert_eq!(refused(&previous), pair("1", "tsg-0"));
}

#[test]
fn a_status_names_the_attempt_whose_answer_it_holds_and_none_that_is_in_hand() {
    let record = record();
    let previous = status(json!({"attempt": "nonce-0"}));
    let is = |attempt, answered| {
        let facts = Facts { attempt, ..facts() };
        binding(Verdict::InOrder, &previous, &facts, None, None, answered).attempt.unwrap()
    };
    assert_eq!(is(Attempt::None, Some(&record)), "nonce-1");
    assert_eq!(is(Attempt::None, None), "nonce-0");
    for in_hand in [Attempt::Open, Attempt::Recorded, Attempt::Settled] {
        assert_eq!(is(in_hand, Some(&record)), "nonce-0", "{in_hand:?}");
    }
}

#[test]
fn what_was_created_for_a_resource_that_is_gone_is_a_stray_unless_it_is_to_be_kept() {
    let stray = Facts { sight: Sight::Gone, answer: Answer::Created, ..facts() };
    assert!(is_stray(&stray));
    for facts in [
        Facts { sight: Sight::Live, ..stray },
        Facts { answer: Answer::Adopted, ..stray },
        Facts { answer: Answer::None, ..stray },
        Facts { retain: true, ..stray },
    ] {
        assert!(!is_stray(&facts), "{facts:?}");
    }
}
