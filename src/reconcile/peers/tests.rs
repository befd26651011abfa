use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;

fn resource(name: &str, object: &str) -> Value {
    json!({
        "apiVersion": "sse.mfa-operator.io/v1alpha1", "kind": "MfaServer",
        "metadata": {
            "name": name, "namespace": "team", "uid": format!("uid-{name}"), "creationTimestamp": "2026-01-02T03:04:05Z",
        },
        "spec": {"folder": "Shared", "name": object, "mfaCertProfile": "corp-ca"},
    })
}

fn server(name: &str, object: &str, change: impl FnOnce(&mut Value)) -> MfaServer {
    let mut resource = resource(name, object);
    change(&mut resource);
    serde_json::from_value(resource).unwrap()
}

fn plain(name: &str, object: &str) -> MfaServer {
    server(name, object, |_| {})
}

fn bound(name: &str, object: &str, id: &str) -> MfaServer {
    server(name, object, |resource| resource["status"] = json!({"id": id, "tenant": "tsg-1"}))
}

fn peers() -> (Peers, UnboundedReceiver<Waiter>) {
    let (wakes, woken) = Wakes::channel();
    (Peers::new(wakes), woken)
}

/// Who was woken since the last time, sorted.
fn woken(receiver: &mut UnboundedReceiver<Waiter>) -> Vec<String> {
    let mut all: Vec<String> =
        std::iter::from_fn(|| receiver.try_recv().ok()).map(|waiter| waiter.to_string()).collect();
    all.sort();
    all.dedup();
    all
}

fn at(peers: &Peers, name: &str, id: Option<&str>) -> Vec<String> {
    let mut all: Vec<String> = peers.at(Folder::Shared, name, id).iter().map(|peer| peer.waiter.to_string()).collect();
    all.sort();
    all
}

#[test]
fn whoever_means_the_same_name_or_holds_the_same_id_is_found() {
    let (peers, _woken) = peers();
    peers.applied(&plain("a", "okta"));
    peers.applied(&plain("b", "okta"));
    peers.applied(&bound("c", "duo", "id-1"));
    peers.applied(&server("d", "okta", |resource| resource["spec"]["folder"] = json!("Mobile Users")));
    assert_eq!(at(&peers, "okta", None), ["team/a", "team/b"]);
    assert_eq!(at(&peers, "okta", Some("id-1")), ["team/a", "team/b", "team/c"]);
    assert_eq!(at(&peers, "duo", Some("id-1")), ["team/c"], "found twice, named once");
    assert_eq!(at(&peers, "ping", Some("id-2")), [""; 0]);
    assert_eq!(peers.at(Folder::MobileUsers, "okta", None).len(), 1);
}

#[test]
fn a_resource_without_a_name_of_its_own_object_means_its_own() {
    let (peers, _woken) = peers();
    peers.applied(&server("okta", "", |resource| {
        resource["spec"].as_object_mut().unwrap().remove("name");
    }));
    assert_eq!(at(&peers, "okta", None), ["team/okta"]);
}

#[test]
fn what_a_peer_claims_is_read_from_status_and_attempt() {
    let attempt = |uid: &str| {
        json!({
            "uid": uid, "nonce": "nonce-1", "tenant": "tsg-2", "folder": "Shared", "position": "pre", "name": "okta",
            "fields": [], "hash": "",
        })
        .to_string()
    };
    let annotate = |resource: &mut Value, uid: &str| {
        resource["metadata"]["annotations"] = json!({"sse.mfa-operator.io/attempt": attempt(uid)});
    };
    let told = |server: &MfaServer| {
        let peer = peer(server).unwrap();
        (peer.bound, peer.attempting, peer.id.as_deref().map(str::to_owned))
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(told(&plain("a", "okta")), (None, None, None));
    assert_eq!(told(&bound("a", "okta", "id-1")), (text("tsg-1"), None, text("id-1")));
    let unbound = server("a", "okta", |resource| resource["status"] = json!({"tenant": "tsg-1"}));
    assert_eq!(told(&unbound), (None, None, None), "a tenant without an id binds nothing");
    let open = server("a", "okta", |resource| annotate(resource, "uid-a"));
    assert_eq!(told(&open), (None, text("tsg-2"), None));
    let void = server("a", "okta", |resource| annotate(resource, "uid-other"));
    assert_eq!(told(&void), (None, None, None), "another resource's attempt");
    let answered = server("a", "okta", |resource| {
        annotate(resource, "uid-a");
        resource["status"] = json!({"attempt": "nonce-1"});
    });
    assert_eq!(told(&answered), (None, None, None));
    let peer = peer(&server("a", "okta", |resource| {
        resource["spec"]["credentialsSecretRef"] = json!({"name": "other"});
    }))
    .unwrap();
    assert_eq!((peer.secret.as_deref(), peer.namespace(), peer.uid.as_str()), (Some("other"), "team", "uid-a"));
    assert_eq!(peer.created.to_string(), "2026-01-02T03:04:05Z");
}

#[test]
fn the_first_of_a_name_wakes_nobody_and_a_change_wakes_the_others() {
    let (peers, mut receiver) = peers();
    peers.applied(&plain("a", "okta"));
    peers.applied(&plain("b", "okta"));
    peers.applied(&plain("c", "duo"));
    assert_eq!(woken(&mut receiver), [""; 0], "who comes later changes nothing for the owner");
    peers.applied(&plain("a", "okta"));
    assert_eq!(woken(&mut receiver), [""; 0], "nothing changed");
    peers.applied(&bound("a", "okta", "id-1"));
    assert_eq!(woken(&mut receiver), ["team/b"]);
    peers.applied(&plain("a", "okta"));
    assert_eq!(woken(&mut receiver), ["team/b"], "what was bound is free");
}

#[test]
fn a_resource_that_goes_wakes_those_of_its_name_and_id() {
    let (peers, mut receiver) = peers();
    peers.applied(&bound("a", "okta", "id-1"));
    peers.applied(&plain("b", "okta"));
    peers.applied(&bound("c", "duo", "id-1"));
    peers.applied(&plain("d", "ping"));
    woken(&mut receiver);
    peers.gone(&waiter("team", "a"));
    assert_eq!(woken(&mut receiver), ["team/b", "team/c"]);
    assert_eq!(at(&peers, "okta", Some("id-1")), ["team/b", "team/c"]);
    peers.gone(&waiter("team", "a"));
    assert_eq!(woken(&mut receiver), [""; 0], "it was gone already");
}

#[test]
fn a_resource_that_is_made_again_under_its_name_is_another_one() {
    let (peers, mut receiver) = peers();
    peers.applied(&bound("a", "okta", "id-1"));
    peers.applied(&plain("b", "okta"));
    peers.applied(&server("a", "duo", |resource| resource["metadata"]["uid"] = json!("uid-new")));
    assert_eq!(woken(&mut receiver), ["team/b"]);
    assert_eq!(at(&peers, "okta", Some("id-1")), ["team/b"]);
    assert_eq!(peers.at(Folder::Shared, "duo", None)[0].uid, "uid-new");
}

#[test]
fn what_a_new_list_lacks_is_gone() {
    let (peers, mut receiver) = peers();
    for name in ["a", "b", "c"] {
        peers.applied(&plain(name, "okta"));
    }
    peers.retain(&[waiter("team", "b"), waiter("team", "new")].into());
    assert_eq!(at(&peers, "okta", None), ["team/b"]);
    assert!(woken(&mut receiver).contains(&"team/b".to_owned()));
}

#[test]
fn nothing_is_left_of_those_that_are_gone() {
    let (peers, _woken) = peers();
    for name in ["a", "b"] {
        peers.applied(&bound(name, "okta", "id-1"));
        peers.applied(&bound(name, "okta", "id-2"));
        peers.gone(&waiter("team", name));
    }
    let state = peers.state();
    assert!(state.peers.is_empty() && state.places.is_empty() && state.ids.is_empty(), "{state:?}");
}
