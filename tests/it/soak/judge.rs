//! What must hold, during and at the end.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt as _;
use mfa_operator::crd::MfaServer;
use mfa_sandbox::simulator::{Entry, Folder, StoredObject};
use serde_json::Value;

use super::plan::{Plan, Role, TENANTS, manifest, name, remote_name, role, tenant, tsg_id};
use super::world::{IN_FLIGHT, World, secret_of};
use crate::invariants;
use crate::operator::says;

/// What must hold at any time, whatever the clocks say.
pub(super) fn breaches(world: &World, plan: &Plan) -> Vec<String> {
    let entries = world.simulator.log().entries();
    let foreign: BTreeSet<String> = world.foreign.iter().map(|object| object.id.clone()).collect();
    // Where two resources claim one name, both may have asked before they knew of each other; the tenant took one.
    let shared: BTreeSet<String> =
        (0..plan.size.resources).filter(|of| matches!(role(*of), Role::Twin(_))).map(remote_name).collect();
    let alone =
        |entry: &&Entry| entry.method != "POST" || entry.name.as_ref().is_none_or(|name| !shared.contains(name));
    let mut found = invariants::creates_beside_an_open_one(&entries.iter().filter(alone).cloned().collect::<Vec<_>>());
    found.extend(invariants::writes_to(&entries, &foreign));
    found.extend(invariants::before_retry_after(&entries, IN_FLIGHT, &world.forgotten));
    for before in &world.foreign {
        let hand = world.tenants.iter().find(|hand| hand.tsg_id() == before.tenant).expect("a tenant");
        match hand.get(&before.id) {
            Some(now) if now == *before => {}
            now => found.push(format!("an object of others, {before:?}, is now {now:?}")),
        }
    }
    for (index, log) in world.logs.iter().enumerate() {
        let text = log.text();
        for bad in ["panicked at", "please report this"] {
            if let Some(line) = text.lines().find(|line| line.contains(bad)) {
                found.push(format!("operator {}: {line}", index + 1));
            }
        }
    }
    found
}

/// Where a secret is that should be in nothing of this: the text's name, never the secret.
pub(super) fn leaks(world: &World, texts: &[(String, String)]) -> Vec<String> {
    let secrets = world.secrets.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let leaking = |text: &str| {
        // All that are planted or issued show one of these signs, so that a clean text is seen at once. A token that was
        // fetched is a JWT, and nobody keeps a list of them.
        let signs = ["-secret-0123456789", "opaque-", "eyJ"];
        signs.iter().any(|sign| text.contains(sign))
            && (text.contains("eyJ") || secrets.iter().any(|secret| text.contains(secret.as_str())))
    };
    texts.iter().filter(|(_, text)| leaking(text)).map(|(name, _)| format!("a secret is in {name}")).collect()
}

type Place = (usize, Folder, String);

/// What is not yet as it must be at the end, one sentence each.
pub(super) async fn unequal(world: &World, plan: &Plan) -> Result<Vec<String>, kube::Error> {
    let mut found = Vec::new();
    let mut servers: BTreeMap<String, MfaServer> = BTreeMap::new();
    for tenant in 0..TENANTS {
        servers.extend(world.servers(tenant).await?.into_iter().map(|server| (server.name_any(), server)));
    }
    let mut objects: BTreeMap<Place, StoredObject> = BTreeMap::new();
    for (tenant, hand) in world.tenants.iter().enumerate() {
        for object in hand.objects() {
            objects.insert((tenant, object.folder, object.name.clone()), object);
        }
    }
    let mut places: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
    for (resource, spec) in &plan.alive {
        places.entry((tenant(*resource), spec.folder, remote_name(*resource))).or_default().push(*resource);
    }
    for (place, claimants) in &places {
        let object = objects.remove(place);
        let mut owners = 0;
        for resource in claimants {
            let Some(server) = servers.remove(&name(*resource)) else {
                found.push(format!("{} is not there", name(*resource)));
                continue;
            };
            let spec = &plan.alive[resource];
            let wanted = &manifest(*resource, spec)["spec"];
            if !holds(wanted, &serde_json::to_value(&server.spec).expect("a spec")) {
                found.push(format!("{} has another spec", name(*resource)));
            }
            let ready = (server.status.as_ref().and_then(|status| status.observed_generation)
                == server.metadata.generation)
                .then(|| says(&server, "Ready"))
                .flatten()
                .unwrap_or_else(|| "not looked at".to_owned());
            let squatted = plan.squatted.get(resource).is_some_and(|(_, there)| *there);
            match (ready.as_str(), &object) {
                ("True/Available", Some(object)) if !squatted => {
                    owners += 1;
                    let secret = secret_of(plan, *resource, spec);
                    let differing = invariants::differences(&server, object, |_, _| secret.clone());
                    if !differing.is_empty() {
                        found.push(format!("{} differs: {}", name(*resource), differing.join(", ")));
                    }
                }
                ("False/NameNotUnique", Some(object)) if squatted && object.by_hand => owners += 1,
                ("False/DuplicateClaim", _) if claimants.len() > 1 => {}
                _ => found.push(format!("{} says {ready}", name(*resource))),
            }
        }
        if owners != 1 {
            found.push(format!("{owners} owners of {} in {}", place.2, place.1.as_str()));
        }
    }
    found.extend(servers.keys().map(|name| format!("{name} is there")));
    // What is left in the tenants: others' objects, and what a resource was told to leave.
    let retained: BTreeSet<&Place> = plan.retained.iter().collect();
    for (place, object) in &objects {
        let theirs = world.foreign.iter().any(|other| other.id == object.id);
        if !theirs && !retained.contains(place) {
            found.push(format!("{} in {} of {} is nobody's", object.name, place.1.as_str(), tsg_id(place.0)));
        }
    }
    for resource in plan.alive.keys().filter(|resource| role(**resource) == Role::Squatted) {
        let (folder, there) = plan.squatted[resource];
        let held = world.tenants[tenant(*resource)].find(folder, &remote_name(*resource));
        if held.is_some_and(|object| object.by_hand) != there {
            found.push(format!("the object in the place of {} should be {there}", name(*resource)));
        }
    }
    Ok(found)
}

/// Whether everything that is wanted is held, whatever else is.
fn holds(wanted: &Value, held: &Value) -> bool {
    match (wanted, held) {
        (Value::Object(wanted), Value::Object(held)) => {
            wanted.iter().all(|(member, wanted)| held.get(member).is_some_and(|held| holds(wanted, held)))
        }
        (wanted, held) => wanted == held,
    }
}
