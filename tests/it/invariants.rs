//! What must hold whatever happens, read from the simulator's log and from both sides' objects: no clock is involved.

use std::collections::{BTreeMap, BTreeSet};

use mfa_operator::crd::MfaServer;
use mfa_sandbox::simulator::{Entry, Outcome, Route, StoredObject};
use serde_json::{Map, Value, json};

/// A rule of this name loses answers or garbles them: what came of the request cannot be known from it.
pub(crate) const LOST: &str = "lost";

/// A create was sent while another of the same name might still land: between two of one name there must be a whole list
/// of the folder that began after the first, or a deletion, or an answer that says that nothing was done.
pub(crate) fn creates_beside_an_open_one(entries: &[Entry]) -> Vec<String> {
    let mut last: BTreeMap<(&str, &str, &str), &Entry> = BTreeMap::new();
    // By tenant and folder: the latest request among the whole lists; by name: the latest deletion.
    let mut listed: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut deleted: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut found = Vec::new();
    for entry in entries {
        let tenant = entry.tenant.as_deref().unwrap_or_default();
        let folder = entry.folder.as_deref().unwrap_or_default();
        match (entry.method.as_str(), entry.route) {
            ("GET", Route::MfaServers) if entry.outcome == Outcome::Answered && entry.status == Some(200) => {
                listed.insert((tenant, folder), entry.seq);
            }
            ("DELETE", Route::MfaServer) => {
                deleted.insert((tenant, entry.object.as_deref().unwrap_or_default()), entry.seq);
            }
            ("POST", Route::MfaServers) => {
                let name = entry.name.as_deref().unwrap_or_default();
                if let Some(before) = last.insert((tenant, folder, name), entry) {
                    let since = |seq: Option<&u64>| seq.is_some_and(|seq| *seq > before.seq);
                    let looked = since(listed.get(&(tenant, folder))) || since(deleted.get(&(tenant, name)));
                    if !looked && !is_refused(before) {
                        found.push(format!("{name} in {folder}: requests {} and {}", before.seq, entry.seq));
                    }
                }
            }
            _ => {}
        }
    }
    found
}

/// It was answered, and the answer says that nothing was done.
fn is_refused(entry: &Entry) -> bool {
    let lost = entry.rule.as_ref().is_some_and(|rule| rule.starts_with(LOST));
    let refused = entry.status.is_some_and(|status| status >= 400);
    entry.outcome == Outcome::Answered && refused && entry.applied_us.is_none() && !lost
}

/// Requests that would change an object of somebody else.
pub(crate) fn writes_to(entries: &[Entry], foreign: &BTreeSet<String>) -> Vec<String> {
    let writes = entries.iter().filter(|entry| ["PUT", "DELETE"].contains(&entry.method.as_str()));
    let theirs = writes.filter(|entry| entry.id.as_ref().is_some_and(|id| foreign.contains(id)));
    theirs.map(|entry| format!("{} {} (request {})", entry.method, entry.path, entry.seq)).collect()
}

/// Requests that came while the tenant had asked their credential to be left alone. What was on its way when the refusal
/// was told is no breach: so many may be in flight. Nor is what comes after one of `forgotten`, which are numbers of
/// requests: who came then does not know of the refusal.
pub(crate) fn before_retry_after(entries: &[Entry], in_flight: usize, forgotten: &[u64]) -> Vec<String> {
    let calls: Vec<_> = entries.iter().filter(|entry| entry.route != Route::Token && entry.tenant.is_some()).collect();
    let mut found = Vec::new();
    for (at, refusal) in calls.iter().enumerate() {
        let seconds = refusal.retry_after.as_ref().filter(|_| refusal.status == Some(429));
        let (Some(seconds), Some(told)) = (seconds.and_then(|text| text.parse::<u64>().ok()), refusal.end_us) else {
            continue;
        };
        let until = told + seconds * 1_000_000;
        let forgotten = forgotten.iter().filter(|seq| **seq >= refusal.seq).min().copied().unwrap_or(u64::MAX);
        let early = calls[at + 1..].iter().take_while(|entry| entry.start_us < until && entry.seq <= forgotten);
        let early = early
            .filter(|entry| {
                (&entry.tenant, &entry.client) == (&refusal.tenant, &refusal.client) && entry.start_us > told
            })
            .count();
        if early >= in_flight {
            found.push(format!("{early} requests within {seconds} s of request {}", refusal.seq));
        }
    }
    found
}

/// What of a resource's spec its object does not hold, as paths and never as values. Written from the API's documents, not
/// from the operator's code.
pub(crate) fn differences(
    server: &MfaServer,
    object: &StoredObject,
    secret: impl Fn(&str, &str) -> String,
) -> Vec<String> {
    let spec = serde_json::to_value(&server.spec).expect("a spec");
    let mut wanted = Map::new();
    wanted.insert("name".to_owned(), json!(server.effective_name()));
    wanted.insert("mfa_cert_profile".to_owned(), spec["mfaCertProfile"].clone());
    for (vendor, fields) in spec["mfaVendorType"].as_object().into_iter().flatten() {
        let fields = fields.as_object().expect("a vendor's fields").iter().map(|(field, value)| {
            let reference = value.get("secretKeyRef");
            let value = match reference {
                Some(key) => json!(secret(text(&key["name"]), text(&key["key"]))),
                None => value.as_u64().map_or_else(|| value.clone(), |number| json!(number.to_string())),
            };
            (snake(field), value)
        });
        let fields: Map<String, Value> = fields.collect();
        wanted.insert("mfa_vendor_type".to_owned(), json!({ snake(vendor): fields }));
    }
    let mut found = Vec::new();
    compare("", &Value::Object(wanted), &object.body, &mut found);
    if spec["folder"] != json!(object.folder.as_str()) {
        found.push("folder".to_owned());
    }
    let status = server.status.as_ref();
    if status.and_then(|status| status.id.as_ref()) != Some(&object.id) {
        found.push("id".to_owned());
    }
    found
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn compare(path: &str, wanted: &Value, held: &Value, found: &mut Vec<String>) {
    match wanted {
        Value::Object(members) => {
            for (member, wanted) in members {
                compare(&format!("{path}/{member}"), wanted, &held[member], found);
            }
            // One vendor replaces another.
            let others = held.as_object().into_iter().flatten().filter(|_| path == "/mfa_vendor_type");
            found.extend(
                others.filter(|(member, _)| !members.contains_key(*member)).map(|(m, _)| format!("{path}/{m}")),
            );
        }
        wanted if wanted == held => {}
        _ => found.push(path.to_owned()),
    }
}

/// `oktaAdaptiveV1` → `okta_adaptive_v1`.
fn snake(camel: &str) -> String {
    camel.chars().fold(String::new(), |mut text, letter| {
        if letter.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64, method: &str, route: Route) -> Entry {
        Entry {
            seq,
            start_us: seq * 1_000,
            end_us: Some(seq * 1_000 + 500),
            method: method.to_owned(),
            path: String::new(),
            route,
            tenant: Some("1".to_owned()),
            client: None,
            folder: Some("Shared".to_owned()),
            position: None,
            query_name: None,
            offset: None,
            limit: None,
            name: (method == "POST").then(|| "corp".to_owned()),
            id: None,
            object: (method == "DELETE").then(|| "corp".to_owned()),
            outcome: Outcome::Answered,
            status: Some(200),
            retry_after: None,
            rule: None,
            applied_us: None,
            client_left: false,
        }
    }

    fn post(seq: u64) -> Entry {
        entry(seq, "POST", Route::MfaServers)
    }

    #[test]
    fn a_second_create_takes_a_list_a_deletion_or_a_refusal_in_between() {
        let refused = |rule: Option<&str>| {
            let first = Entry { status: Some(503), rule: rule.map(ToOwned::to_owned), ..post(1) };
            creates_beside_an_open_one(&[first, post(2)])
        };
        assert_eq!(creates_beside_an_open_one(&[post(1), post(2)]).len(), 1);
        assert_eq!(refused(None), Vec::<String>::new());
        assert_eq!(refused(Some("lost-3")).len(), 1);
        let list = entry(2, "GET", Route::MfaServers);
        assert_eq!(creates_beside_an_open_one(&[post(1), list.clone(), post(3)]), Vec::<String>::new());
        let cut = Entry { outcome: Outcome::Truncated, ..list.clone() };
        assert_eq!(creates_beside_an_open_one(&[post(1), cut, post(3)]).len(), 1);
        let elsewhere = Entry { folder: Some("Mobile Users".to_owned()), ..list };
        assert_eq!(creates_beside_an_open_one(&[post(1), elsewhere, post(3)]).len(), 1);
        let deleted = entry(2, "DELETE", Route::MfaServer);
        assert_eq!(creates_beside_an_open_one(&[post(1), deleted, post(3)]), Vec::<String>::new());
    }

    #[test]
    fn a_write_to_anothers_object_is_seen() {
        let theirs = BTreeSet::from(["theirs".to_owned()]);
        let to = |method: &str, id: &str| Entry { id: Some(id.to_owned()), ..entry(1, method, Route::MfaServer) };
        assert_eq!(writes_to(&[to("GET", "theirs"), to("PUT", "ours")], &theirs), Vec::<String>::new());
        assert_eq!(writes_to(&[to("DELETE", "theirs"), to("PUT", "theirs")], &theirs).len(), 2);
    }

    #[test]
    fn a_request_before_its_retry_after_is_seen() {
        let refusal = Entry { status: Some(429), retry_after: Some("1".to_owned()), ..post(1) };
        let calls: Vec<_> = std::iter::once(refusal).chain((2..10).map(post)).collect();
        assert_eq!(before_retry_after(&calls, 8, &[]).len(), 1);
        assert_eq!(before_retry_after(&calls[..8], 8, &[]), Vec::<String>::new());
        assert_eq!(before_retry_after(&calls, 8, &[4]), Vec::<String>::new());
        let later: Vec<_> =
            calls.iter().cloned().map(|call| Entry { start_us: call.start_us * 1_000, ..call }).collect();
        assert_eq!(before_retry_after(&later, 1, &[]), Vec::<String>::new());
    }
}
