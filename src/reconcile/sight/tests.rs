use std::sync::Arc;

use serde_json::{Value, json};

use super::super::desired::desired;
use super::*;
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
