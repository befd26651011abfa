use proptest::prelude::*;
use serde_json::json;

use super::*;

fn page(json: Value) -> (Vec<String>, u64, Option<u64>, Option<u64>, bool) {
    let part = part(json).unwrap();
    (part.items.into_iter().map(|(id, _)| id).collect(), part.dropped, part.total, part.limit, part.bare)
}

fn ids(list: &[&str]) -> Vec<String> {
    list.iter().map(|id| (*id).to_owned()).collect()
}

#[test]
fn a_list_is_read_in_every_form() {
    let a = json!({"id": "1", "name": "a"});
    let b = json!({"id": "2", "name": "b", "folder": "Shared"});
    assert_eq!(page(json!([a, b])), (ids(&["1", "2"]), 0, None, None, true));
    assert_eq!(page(json!([])), (ids(&[]), 0, None, None, true));
    assert_eq!(page(a.clone()), (ids(&["1"]), 0, None, None, true));
    let paged = json!({"data": [a, b], "offset": 0, "total": 7, "limit": 2});
    assert_eq!(page(paged), (ids(&["1", "2"]), 0, Some(7), Some(2), false));
    assert_eq!(page(json!({"data": [], "total": "0", "limit": -1})), (ids(&[]), 0, Some(0), None, false));
    assert_eq!(page(json!({"data": null, "total": 0})), (ids(&[]), 0, Some(0), None, false));
}

#[test]
fn an_item_that_cannot_be_told_from_others_is_counted() {
    let items = json!([
        {"id": "1", "name": "a"}, {"name": "no id"}, {"id": "", "name": "b"}, {"id": "../x", "name": "c"}, {"id": 5, "name": "d"},
        {"id": "6"}, {"id": "7", "name": ""}, {"id": "8", "name": 8}, "text", null, [],
    ]);
    assert_eq!(page(items), (ids(&["1"]), 10, None, None, true));
}

#[test]
fn what_is_no_list_proves_nothing() {
    for json in
        [json!({}), json!({"data": {}}), json!({"data": null}), json!({"total": 0}), json!("x"), json!(null), json!(1)]
    {
        assert!(part(json.clone()).is_err(), "{json}");
    }
    assert!(success(br#"{"_errors":[{"code":"E003"}],"data":[]}"#).is_err());
    assert!(success(br#"{"_errors":[],"data":[]}"#).is_ok());
    assert!(success(b"").is_err());
}

#[test]
fn a_created_object_needs_an_id_and_nothing_else() {
    let id = |json| created(json).map(|remote| (remote.id, remote.name));
    let known = Some(("1".to_owned(), "a".to_owned()));
    assert_eq!(id(json!({"id": "1", "name": "a"})), known);
    assert_eq!(id(json!([{"id": "1", "name": "a"}])), known);
    assert_eq!(id(json!({"data": [{"id": "1", "name": "a"}]})), known);
    assert_eq!(id(json!({"data": {"id": "1", "name": "a"}})), known);
    assert_eq!(id(json!({"id": "1"})), Some(("1".to_owned(), String::new())));
    for none in [
        json!({}),
        json!([]),
        json!(null),
        json!({"name": "a"}),
        json!({"id": ".."}),
        json!([{"id": "1"}, {"id": "2"}]),
    ] {
        assert_eq!(id(none.clone()), None, "{none}");
    }
}

#[test]
fn every_field_of_an_object_is_kept() {
    let object =
        json!({"id": "1", "name": "a", "folder": "Shared", "mfa_vendor_type": {"x": [1, null]}, "later": true});
    let remote = created(object.clone()).unwrap();
    assert_eq!(remote.folder.as_deref(), Some("Shared"));
    assert_eq!(Value::Object(remote.fields), object);
}

#[test]
fn an_object_with_an_id_is_no_wrapper_whatever_its_fields_are_called() {
    let object = created(json!({"id": "i-1", "name": "corp", "data": {"id": "i-2", "name": "other"}})).unwrap();
    assert_eq!((object.id.as_str(), object.name.as_str()), ("i-1", "corp"));
    assert_eq!(object.fields["data"]["id"], "i-2");
}

#[test]
fn an_object_is_the_one_that_was_asked_for_by_id() {
    let found = |json| identified(json, "1").map(|remote| remote.name);
    let a = Some("a".to_owned());
    assert_eq!(found(json!({"id": "1", "name": "a"})), a);
    assert_eq!(found(json!([{"id": "2", "name": "b"}, {"id": "1", "name": "a"}])), a);
    assert_eq!(found(json!({"name": "a"})), a);
    assert_eq!(found(json!({"id": null, "name": "a"})), a);
    for none in [
        json!({"id": "2", "name": "b"}),
        json!([]),
        json!({}),
        json!([{"name": "a"}, {"name": "b"}]),
        json!({"id": 1, "name": "a"}),
    ] {
        assert_eq!(found(none.clone()), None, "{none}");
    }
}

#[test]
fn an_id_can_reach_no_other_route() {
    for id in ["abcd-1234", "0", "a.b:c_d", "..a"] {
        assert!(usable_id(id), "{id}");
    }
    let long = "x".repeat(129);
    for id in ["", ".", "..", "...", "../x", "a/b", "a%2fb", "a?b", "a#b", "a b", "a\n", "ü", "a\\b", "a;b", &long] {
        assert!(!usable_id(id), "{id}");
    }
}

#[test]
fn an_error_of_decoding_quotes_nothing() {
    for body in [&b"SECRET"[..], b"{\"a\": SECRET}", b"{\"SECRET\": \"SECRET"] {
        let error = json(body).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("SECRET"));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_list_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = success(&body).and_then(part);
    }

    #[test]
    fn every_item_of_a_list_is_listed_or_counted(
        items in prop::collection::vec(
            prop_oneof![
                Just(Value::Null),
                "[a-z/.]{0,3}".prop_map(|id| json!({"id": id, "name": "n"})),
                "[a-z]{0,3}".prop_map(|name| json!({"id": "i", "name": name})),
                any::<f64>().prop_map(|number| json!({"id": number})),
            ],
            0..20,
        ),
        total in prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), ".{0,5}".prop_map(Value::from)],
    ) {
        let count = items.len() as u64;
        let part = part(json!({"data": items, "total": total, "limit": total})).unwrap();
        prop_assert_eq!(part.items.len() as u64 + part.dropped, count);
        prop_assert!(part.items.iter().all(|(id, remote)| usable_id(id) && !remote.name.is_empty()));
    }
}
