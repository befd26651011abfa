//! The world's rules: what may happen next, and what comes of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use stateright::{Model, Property};

use crate::lease::{Leading, Lease, NOW};
use crate::mutants::Mutant;
use crate::process::{Hand, content_of, has_finalizer, id_number, id_text, is_deleting, status};
use crate::state::{
    Budget, Call, Flight, Ghost, Held, Item, Listing, Mind, Object, Process, Reply, Shelf, State, Uid, Wrong,
};
use mfa_operator::controller::lease::candidate::Move;
use mfa_operator::crd::MfaServer;
use mfa_operator::reconcile::attempt::Attempt as Record;
use mfa_operator::reconcile::sight;
use mfa_operator::reconcile::step::Step;
use mfa_operator::sse::inventory::Inventory;
use mfa_operator::sse::types::{Folder, Remote};

/// A resource of the world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    /// The name of its object.
    pub(crate) name: u8,
    pub(crate) credential: u8,
    pub(crate) adoption: &'static str,
    pub(crate) drift: &'static str,
    pub(crate) deletion: &'static str,
}

pub(crate) const PLAIN: Slot = Slot { name: 0, credential: 0, adoption: "Never", drift: "Correct", deletion: "Delete" };

/// A world and its bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) name: &'static str,
    pub(crate) slots: &'static [Slot],
    /// The tenant of each credential.
    pub(crate) credentials: &'static [u8],
    pub(crate) processes: usize,
    /// The tenant refuses a second object of a name.
    pub(crate) unique: bool,
    /// The watch's cache lags behind.
    pub(crate) lag: bool,
    /// What a list shows is what was there at some time between its begin and its end; at its begin, where they are not
    /// apart.
    pub(crate) apart: bool,
    /// Lists show the parent folder's objects too, and no item's folder is told.
    pub(crate) inherits: bool,
    pub(crate) budget: Budget,
    /// The situations that have to be reached.
    pub(crate) premises: &'static [&'static str],
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Watch(usize, usize),
    Begin(usize, usize),
    Step(usize, usize),
    StepUnheard(usize, usize),
    Land(usize),
    Refuse(usize),
    Answer(usize),
    Lose(usize),
    Vanish(usize),
    TimeOut(usize, usize),
    ListBegin(usize, usize),
    ListRead(usize, usize),
    ListEnd(usize, usize),
    ListCut(usize, usize),
    Crash(usize),
    Elect(usize),
    End(usize),
    Tick,
    Steal,
    Make(u8, u8, bool),
    Change(usize),
    Remove(usize),
    Edit(usize),
    Swap(usize),
    Delete(usize),
    Restore(usize),
}

/// A world to be checked, with the operator's rules or a mutation of one.
pub(crate) struct World {
    pub(crate) bounds: Bounds,
    pub(crate) mutant: Mutant,
    /// The only property that is asked for, where it is one.
    only: Option<&'static str>,
    contents: Mutex<HashMap<String, Held>>,
    things: Mutex<HashMap<(u8, u8, Option<bool>, u8), Item>>,
    pub(crate) reached: Mutex<BTreeSet<&'static str>>,
    /// States from which a fixed point is near that is as it should be.
    pub(crate) settled: Mutex<HashSet<u64>>,
    /// What a fixed point was wrong about.
    pub(crate) unsettled: Mutex<Option<String>>,
    transitions: std::sync::atomic::AtomicU64,
}

impl std::ops::Deref for World {
    type Target = Bounds;

    fn deref(&self) -> &Bounds {
        &self.bounds
    }
}

pub(crate) const fn bit(uid: Uid) -> u16 {
    1 << uid
}

pub(crate) fn uid_of(server: &MfaServer) -> Uid {
    server.metadata.uid.as_ref().unwrap()[4..].parse().unwrap()
}

fn uid_text(slot: usize, life: u8) -> String {
    format!("uid-{}", slot * 4 + usize::from(life))
}

pub(crate) fn tenant_name(tenant: u8) -> String {
    format!("tenant-{tenant}")
}

pub(crate) fn name_text(name: u8) -> String {
    format!("name-{name}")
}

pub(crate) fn name_of(slot: usize, world: &World) -> String {
    name_text(world.slots[slot].name)
}

pub(crate) const fn folder_of(parent: bool) -> Folder {
    if parent { Folder::Shared } else { Folder::RemoteNetworks }
}

const PROPERTIES: [(&str, fn(&World, &State) -> bool); 6] = [
    ("never two remote objects for one resource", never_two),
    ("never a foreign object changed or deleted against adoptionPolicy", |_, state| {
        state.ghost.wrong != Some(Wrong::Foreign)
    }),
    ("never the finalizer gone while our object is there", guarded),
    ("never two resources for one object", one_owner),
    ("never two processes that may write", |world, state| {
        let writers = state.processes.iter().filter(|process| world.may_write(process)).count();
        // Whoever deletes the lease lets a second process in before the first one knows.
        writers < 2 || state.left.thefts < world.budget.thefts
    }),
    ("a fixed point that is equal or a named refusal is near", |world, state| world.settles(state)),
];

fn ids(state: &State) -> impl Iterator<Item = (&Held, u8)> {
    state.servers.iter().flatten().filter_map(|held| Some((held, id_number(held.server.status.as_ref()?.id.as_ref()?))))
}

fn never_two(_: &World, state: &State) -> bool {
    let mut of: BTreeMap<Uid, BTreeSet<u8>> = BTreeMap::new();
    for object in &state.objects {
        if let Some(maker) = object.maker {
            of.entry(maker).or_default().insert(object.id);
        }
    }
    for (held, id) in ids(state) {
        if state.objects.iter().any(|object| object.id == id) {
            of.entry(uid_of(&held.server)).or_default().insert(id);
        }
    }
    of.iter().all(|(uid, objects)| {
        let retained = state.ghost.retained & bit(*uid) != 0;
        objects.len() < 2 || retained || state.ghost.twinned & bit(*uid) != 0
    })
}

fn guarded(_: &World, state: &State) -> bool {
    let guards =
        |uid| state.servers.iter().flatten().any(|held| uid_of(&held.server) == uid && has_finalizer(&held.server));
    let excused = |uid| (state.ghost.retained | state.ghost.twinned) & bit(uid) != 0;
    state.ghost.wrong != Some(Wrong::Finalizer)
        && state
            .objects
            .iter()
            .filter(|object| !object.disguised)
            .filter_map(|object| object.maker)
            .all(|maker| guards(maker) || excused(maker))
}

fn one_owner(_: &World, state: &State) -> bool {
    let mut seen = HashSet::new();
    ids(state).all(|(_, id)| seen.insert(id))
}

impl State {
    /// A nonce that nothing here speaks of.
    pub(crate) fn fresh_nonce(&mut self) -> String {
        let mut used: HashSet<String> = HashSet::new();
        for slot in 0..self.servers.len() {
            for held in self.held(slot) {
                used.extend(Record::of(&held.server).map(|record| record.nonce));
                used.extend(held.server.status.as_ref().and_then(|status| status.attempt.clone()));
            }
        }
        for held in self.backups.iter().flatten() {
            used.extend(Record::of(&held.server).map(|record| record.nonce));
        }
        for mind in self.processes.iter().flat_map(|process| &process.minds) {
            used.extend(mind.course.minted.iter().map(|minted| minted.nonce.clone()));
            used.extend(mind.course.open.iter().map(|open| open.nonce.clone()));
            used.extend(mind.pass.iter().filter_map(|pass| Some(pass.answered.as_ref()?.nonce.clone())));
        }
        for flight in &self.flights {
            if let Call::Post { nonce, .. } = &flight.call {
                used.insert(nonce.clone());
            }
        }
        (0..).map(|number| format!("n{number}")).find(|nonce| !used.contains(nonce)).unwrap()
    }
}

impl World {
    pub(crate) fn new(bounds: Bounds, mutant: Mutant, only: Option<&'static str>) -> Self {
        Self {
            bounds,
            mutant,
            only,
            contents: Mutex::default(),
            things: Mutex::default(),
            reached: Mutex::default(),
            settled: Mutex::default(),
            unsettled: Mutex::default(),
            transitions: std::sync::atomic::AtomicU64::new(0),
        }
    }

    pub(crate) fn reach(&self, situation: &'static str) {
        self.reached.lock().unwrap().insert(situation);
    }

    pub(crate) fn may_write(&self, process: &Process) -> bool {
        process.leading.as_ref().is_none_or(Leading::may_write)
    }

    fn works(&self, process: &Process) -> bool {
        process.leading.as_ref().is_none_or(Leading::works)
    }

    /// The resource with this content, at this version.
    fn held(&self, mut server: MfaServer, version: u8) -> Held {
        server.metadata.resource_version = None;
        let text = serde_json::to_string(&server).unwrap();
        let mut contents = self.contents.lock().unwrap();
        let next = u32::try_from(contents.len()).unwrap();
        let held = contents.entry(text).or_insert_with(|| Held { content: next, version: 0, server: Arc::new(server) });
        Held { version, ..held.clone() }
    }

    /// An item of a list.
    pub(crate) fn thing(&self, id: u8, name: u8, folder: Option<Folder>, content: u8) -> Item {
        let key = (id, name, folder.map(|folder| folder == Folder::Shared), content);
        let make = || {
            let fields =
                json!({"id": id_text(id), "name": name_text(name), "mfa_cert_profile": format!("ca{content}")});
            let serde_json::Value::Object(fields) = fields else { unreachable!() };
            let folder = folder.map(|folder| folder.as_str().to_owned());
            let remote = Remote { id: id_text(id), name: name_text(name), folder, fields };
            Item { key, remote: Arc::new(remote) }
        };
        self.things.lock().unwrap().entry(key).or_insert_with(make).clone()
    }

    pub(crate) fn item(&self, object: &Object) -> Item {
        let folder = (!self.inherits).then_some(folder_of(object.parent));
        self.thing(object.id, object.name, folder, object.content)
    }

    /// The API server takes a write of this resource.
    pub(crate) fn store(&self, state: &mut State, slot: usize, server: MfaServer) -> Held {
        let version = state.held(slot).iter().map(|held| held.version).max().unwrap_or_default() + 1;
        let gone = is_deleting(&server) && !has_finalizer(&server);
        let held = self.held(server, version);
        state.servers[slot] = (!gone).then(|| held.clone());
        if gone {
            state.backups[slot] = Some(Held { version: 0, ..held.clone() });
        }
        if !self.lag {
            for process in 0..state.processes.len() {
                self.watch(state, process, slot);
            }
        }
        held
    }

    fn watch(&self, state: &mut State, process: usize, slot: usize) {
        let live = state.servers[slot].clone();
        let process = &mut state.processes[process];
        // Nobody watches before he leads.
        if !self.works(process) {
            return;
        }
        let mind = &mut process.minds[slot];
        if live.is_none() && mind.pass.is_none() {
            *mind = Mind::default();
        }
        process.cache[slot] = live;
    }

    fn resource(&self, slot: usize, life: u8) -> MfaServer {
        let Slot { name, credential, adoption, drift, deletion } = self.slots[slot];
        let folder = folder_of(false).as_str();
        serde_json::from_value(json!({
            "apiVersion": "sse.mfa-operator.io/v1alpha1", "kind": "MfaServer",
            "metadata": {
                "name": format!("server-{slot}"), "namespace": "team", "uid": uid_text(slot, life), "generation": 1,
                // All within one second, as a batch is: the uid decides.
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {
                "name": name_text(name), "folder": folder, "mfaCertProfile": "ca0",
                "credentialsSecretRef": {"name": format!("c{credential}")},
                "adoptionPolicy": adoption, "driftPolicy": drift, "deletionPolicy": deletion,
            },
        }))
        .unwrap()
    }

    fn process(&self, state: &State, leading: Option<Leading>) -> Process {
        let mut shelves = Vec::new();
        for credential in 0..self.credentials.len() {
            for parent in [false, true] {
                if parent && !self.inherits {
                    continue;
                }
                let inventory = Inventory::new(|item: &Item| &item.remote.name);
                let credential = u8::try_from(credential).unwrap();
                shelves.push(Shelf { credential, parent, inventory, listing: None });
            }
        }
        let mut process = Process {
            cache: vec![None; self.slots.len()],
            minds: vec![Mind::default(); self.slots.len()],
            shelves,
            verified: 0,
            mark: 1,
            leading,
        };
        if self.works(&process) {
            process.cache = state.servers.clone();
        }
        process
    }

    /// This process is gone, with all that it remembered; another one starts.
    fn restart(&self, state: &mut State, index: usize) {
        for held in state.servers.iter().flatten() {
            if sight::unanswered(&held.server).is_some() {
                state.ghost.lost |= bit(uid_of(&held.server));
            }
        }
        let own = u8::try_from(index).unwrap();
        state.flights.retain(|flight| flight.waiting != Some(own) || flight.reply.is_none());
        for flight in &mut state.flights {
            if flight.waiting == Some(own) {
                flight.waiting = None;
            }
        }
        let used: Vec<u8> = state
            .processes
            .iter()
            .filter_map(|process| process.leading.as_ref().map(|leading| leading.identity))
            .chain(state.lease.holder)
            .collect();
        let identity = (0..).find(|identity| !used.contains(identity)).unwrap();
        let leading = state.processes[index].leading.as_ref().map(|_| Leading::new(identity, self.mutant.timing));
        state.processes[index] = self.process(state, leading);
    }

    /// What the tenant does when a write reaches it.
    fn land(&self, state: &mut State, index: usize) {
        let flight = state.flights[index].clone();
        let place = |object: &Object| object.tenant == flight.tenant && !object.parent;
        let reply = match flight.call {
            Call::Post { name, content, .. } => {
                let taken = state.objects.iter().any(|object| place(object) && object.name == name);
                if flight.waiting.is_none() {
                    self.reach("a POST lands after its answer was given up");
                }
                if taken && self.unique {
                    self.reach("a POST is answered that the name is taken");
                    Reply::Conflict
                } else {
                    let id = state.next_id;
                    state.next_id += 1;
                    state.objects.push(Object {
                        id,
                        tenant: flight.tenant,
                        parent: false,
                        name,
                        content,
                        maker: Some(flight.uid),
                        consent: 0,
                        twin: 0,
                        disguised: false,
                    });
                    Reply::Created(id)
                }
            }
            Call::Put { id, .. } | Call::Delete { id } => {
                let found = state.objects.iter().position(|object| object.id == id && object.tenant == flight.tenant);
                match found {
                    None => Reply::Missing,
                    Some(at) => {
                        let object = &mut state.objects[at];
                        if object.maker != Some(flight.uid) && object.consent & bit(flight.uid) == 0 {
                            state.ghost.wrong = Some(Wrong::Foreign);
                        }
                        if let Call::Put { content, .. } = flight.call {
                            object.content = content;
                        } else {
                            state.objects.remove(at);
                        }
                        Reply::Done
                    }
                }
            }
        };
        if flight.waiting.is_some() {
            state.flights[index].reply = Some(reply);
        } else {
            state.flights.remove(index);
        }
    }

    fn answer(&self, state: &mut State, index: usize, lost: bool) {
        let flight = state.flights[index].clone();
        let (process, slot) = (usize::from(flight.waiting.unwrap()), usize::from(flight.slot));
        let reply = match flight.reply {
            Some(reply) if !lost => {
                state.flights.remove(index);
                reply
            }
            Some(_) => {
                state.flights.remove(index);
                Reply::Lost
            }
            None => {
                state.flights[index].waiting = None;
                Reply::Lost
            }
        };
        Hand { world: self, state, process, slot }.answer(&flight.call, reply);
    }

    /// Whether an attempt that this process knows of can be taken for settled: nothing of it is on its way any more, and
    /// nobody who may still send it is left. That is what twice the request's timeout stands for.
    fn can_time_out(&self, state: &State, process: usize, slot: usize) -> bool {
        let Some(open) = &state.processes[process].minds[slot].course.open else { return false };
        let sent = |flight: &Flight| matches!(&flight.call, Call::Post { nonce, .. } if *nonce == open.nonce);
        let others = state.processes.iter().enumerate().filter(|(other, _)| *other != process);
        let mut sending = others.filter(|(_, other)| self.may_write(other)).filter(|(_, other)| {
            other.minds[slot]
                .pass
                .as_ref()
                .is_some_and(|pass| Record::of(&pass.server.server).is_some_and(|record| record.nonce == open.nonce))
        });
        !open.since && !state.flights.iter().any(sent) && sending.next().is_none()
    }

    fn list(&self, state: &State, shelf: &Shelf) -> Vec<Item> {
        let tenant = self.credentials[usize::from(shelf.credential)];
        let shown = |object: &&Object| {
            object.tenant == tenant && if shelf.parent { object.parent } else { self.inherits || !object.parent }
        };
        let mut items: Vec<Item> =
            state.objects.iter().filter(|object| shown(object)).map(|object| self.item(object)).collect();
        items.sort_by_key(|item| item.key);
        items
    }

    /// Whose open attempt sent just this.
    fn twins(&self, state: &State, object: &Object) -> u16 {
        let fields = &self.item(object).remote.fields;
        let mut twins = 0;
        for held in state.servers.iter().flatten() {
            if sight::unanswered(&held.server).is_some_and(|record| record.sent.matches(fields)) {
                twins |= bit(uid_of(&held.server));
            }
        }
        twins
    }

    fn foreign(&self, state: &mut State, change: impl FnOnce(&mut State) -> usize) {
        let at = change(state);
        let twins = self.twins(state, &state.objects[at]);
        state.objects[at].twin |= twins;
    }

    fn edit(&self, state: &mut State, slot: usize, change: impl FnOnce(&mut MfaServer)) {
        let mut server = (*state.servers[slot].clone().unwrap().server).clone();
        change(&mut server);
        server.metadata.generation = server.metadata.generation.map(|generation| generation + 1);
        self.store(state, slot, server);
    }

    /// What happens when this does.
    pub(crate) fn act(&self, state: &mut State, action: Action) {
        self.transitions.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match action {
            Action::Watch(process, slot) => self.watch(state, process, slot),
            Action::Begin(process, slot) => Hand { world: self, state, process, slot }.begin(),
            Action::Step(process, slot) => Hand { world: self, state, process, slot }.step(false),
            Action::StepUnheard(process, slot) => {
                state.left.faults -= 1;
                Hand { world: self, state, process, slot }.step(true);
            }
            Action::Land(flight) => self.land(state, flight),
            Action::Refuse(flight) => {
                state.left.faults -= 1;
                state.flights[flight].reply = Some(Reply::Busy);
            }
            Action::Answer(flight) => self.answer(state, flight, false),
            Action::Lose(flight) => {
                // What is dropped because leadership has ended is no fault.
                let process = usize::from(state.flights[flight].waiting.unwrap());
                if self.may_write(&state.processes[process]) {
                    state.left.faults -= 1;
                }
                self.answer(state, flight, true);
            }
            Action::Vanish(flight) => drop(state.flights.remove(flight)),
            Action::TimeOut(process, slot) => {
                if let Some(open) = &mut state.processes[process].minds[slot].course.open {
                    open.since = true;
                }
            }
            Action::ListBegin(process, shelf) => {
                let begun = state.processes[process].mark();
                let items = self.list(state, &state.processes[process].shelves[shelf]);
                let read = (!self.apart).then_some(items);
                state.processes[process].shelves[shelf].listing = Some(Listing { begun, read });
            }
            Action::ListRead(process, shelf) => {
                let items = self.list(state, &state.processes[process].shelves[shelf]);
                state.processes[process].shelves[shelf].listing.as_mut().unwrap().read = Some(items);
            }
            Action::ListEnd(process, shelf) => self.list_end(state, process, shelf, true),
            Action::ListCut(process, shelf) => {
                state.left.faults -= 1;
                self.reach("a list is incomplete");
                self.list_end(state, process, shelf, false);
            }
            Action::Crash(process) => {
                state.left.faults -= 1;
                self.restart(state, process);
            }
            Action::End(process) => {
                self.reach("a process loses the lease and ends");
                self.restart(state, process);
            }
            Action::Elect(process) => {
                let mut lease = state.lease.clone();
                let leading = state.processes[process].leading.as_mut().unwrap();
                let began = lease.elect(leading);
                state.lease = lease;
                if began {
                    state.left.leads = state.left.leads.saturating_sub(1);
                    state.processes[process].cache = state.servers.clone();
                }
                if state.processes.iter().filter(|process| self.works(process)).count() == 2 {
                    self.reach("one process works while another has begun to lead");
                }
            }
            Action::Tick => {
                if state.left.ticks != Budget::EVER {
                    state.left.ticks = state.left.ticks.saturating_sub(1);
                }
                for process in &mut state.processes {
                    process.leading.as_mut().unwrap().candidate.set_back(Duration::from_secs(1), NOW);
                }
            }
            Action::Steal => {
                state.left.thefts -= 1;
                state.lease = Lease::default();
            }
            Action::Make(name, content, parent) => {
                state.left.makes -= 1;
                self.foreign(state, |state| {
                    let id = state.next_id;
                    state.next_id += 1;
                    state.objects.push(Object {
                        id,
                        tenant: 0,
                        parent,
                        name,
                        content,
                        maker: None,
                        consent: 0,
                        twin: 0,
                        disguised: false,
                    });
                    state.objects.len() - 1
                });
            }
            Action::Change(object) => {
                state.left.changes -= 1;
                self.foreign(state, |state| {
                    let known = ids(state).any(|(_, id)| id == state.objects[object].id);
                    state.objects[object].content ^= 1;
                    state.objects[object].disguised = !known;
                    object
                });
            }
            Action::Remove(object) => {
                state.left.removals -= 1;
                state.objects.remove(object);
            }
            Action::Edit(slot) => {
                state.left.edits -= 1;
                self.edit(state, slot, |server| {
                    server.spec.mfa_cert_profile = format!("ca{}", content_of(server) ^ 1);
                });
            }
            Action::Swap(slot) => {
                state.left.swaps -= 1;
                self.edit(state, slot, |server| {
                    if let Some(secret) = &mut server.spec.credentials_secret_ref {
                        secret.name = if secret.name == "c0" { "c1" } else { "c0" }.to_owned();
                    }
                });
            }
            Action::Delete(slot) => {
                state.left.deletions -= 1;
                self.edit(state, slot, |server| {
                    server.metadata.deletion_timestamp = server.metadata.creation_timestamp.clone();
                });
            }
            Action::Restore(slot) => {
                state.left.restores -= 1;
                state.lives[slot] += 1;
                let mut server = self.resource(slot, state.lives[slot]);
                let backup = state.backups[slot].take().unwrap();
                server.metadata.annotations.clone_from(&backup.server.metadata.annotations);
                self.store(state, slot, server);
            }
        }
    }

    fn list_end(&self, state: &mut State, process: usize, shelf: usize, complete: bool) {
        let process = &mut state.processes[process];
        let shelf = &mut process.shelves[shelf];
        let listing = shelf.listing.take().unwrap();
        process.verified |= 1 << shelf.credential;
        let mut items: Vec<(String, Item)> =
            listing.read.unwrap().into_iter().map(|item| (item.remote.id.clone(), item)).collect();
        if !complete {
            items.clear();
        }
        shelf.inventory.take_list(listing.begun, items, complete);
    }

    /// What may happen to the processes and what they have under way, without anybody's fault.
    fn due(&self, state: &State, actions: &mut Vec<Action>) {
        for (index, flight) in state.flights.iter().enumerate() {
            match (&flight.reply, flight.waiting) {
                (None, Some(_)) => actions.push(Action::Land(index)),
                (None, None) => actions.extend([Action::Land(index), Action::Vanish(index)]),
                (Some(_), _) => actions.push(Action::Answer(index)),
            }
        }
        for (index, process) in state.processes.iter().enumerate() {
            if !self.works(process) {
                continue;
            }
            for slot in 0..self.slots.len() {
                if process.cache[slot] != state.servers[slot] {
                    actions.push(Action::Watch(index, slot));
                }
            }
            for (number, shelf) in process.shelves.iter().enumerate() {
                match &shelf.listing {
                    Some(Listing { read: None, .. }) => actions.push(Action::ListRead(index, number)),
                    Some(_) => actions.push(Action::ListEnd(index, number)),
                    None => {}
                }
            }
            for (slot, mind) in process.minds.iter().enumerate() {
                if mind.pass.as_ref().is_some_and(|pass| !pass.waiting) {
                    actions.push(Action::Step(index, slot));
                }
            }
        }
    }

    fn anew(&self, state: &State, actions: &mut Vec<Action>) {
        for (index, process) in state.processes.iter().enumerate() {
            if !self.works(process) {
                continue;
            }
            for (number, shelf) in process.shelves.iter().enumerate() {
                if shelf.listing.is_none() {
                    actions.push(Action::ListBegin(index, number));
                }
            }
            for slot in 0..self.slots.len() {
                if process.minds[slot].pass.is_none() && process.cache[slot].is_some() {
                    actions.push(Action::Begin(index, slot));
                }
                if self.can_time_out(state, index, slot) {
                    actions.push(Action::TimeOut(index, slot));
                }
            }
        }
    }

    fn elections(&self, state: &State, any: bool, actions: &mut Vec<Action>) {
        let mut waiting = false;
        for (index, process) in state.processes.iter().enumerate() {
            let Some(leading) = &process.leading else { continue };
            waiting = true;
            match leading.next() {
                Move::Wait(_) => {}
                Move::Lost(_) => actions.push(Action::End(index)),
                Move::Acquire if state.left.leads == 0 && !any && !leading.works() => {}
                Move::Look | Move::Acquire | Move::Renew => actions.push(Action::Elect(index)),
            }
        }
        if waiting && (any || state.left.ticks > 0) {
            actions.push(Action::Tick);
        }
    }

    fn faults(&self, state: &State, actions: &mut Vec<Action>) {
        for (index, flight) in state.flights.iter().enumerate() {
            let Some(process) = flight.waiting else { continue };
            let dropped = !self.may_write(&state.processes[usize::from(process)]);
            if dropped || state.left.faults > 0 {
                actions.push(Action::Lose(index));
            }
            if flight.reply.is_none() && state.left.faults > 0 {
                actions.push(Action::Refuse(index));
            }
        }
        if state.left.faults == 0 {
            return;
        }
        for (index, process) in state.processes.iter().enumerate() {
            actions.push(Action::Crash(index));
            for (number, shelf) in process.shelves.iter().enumerate() {
                if shelf.listing.as_ref().is_some_and(|listing| listing.read.is_some()) {
                    actions.push(Action::ListCut(index, number));
                }
            }
            for (slot, mind) in process.minds.iter().enumerate() {
                if mind.pass.as_ref().is_some_and(|pass| !pass.waiting) {
                    let (_, step) = (self.mutant.decide)(&mind.pass.as_ref().unwrap().facts);
                    if matches!(step, Step::Claim | Step::AddFinalizer | Step::DropFinalizer | Step::Record(_)) {
                        actions.push(Action::StepUnheard(index, slot));
                    }
                }
            }
        }
    }

    fn others(&self, state: &State, actions: &mut Vec<Action>) {
        let left = state.left;
        if left.makes > 0 {
            let free = |parent| {
                let here = |object: &Object| object.tenant == 0 && object.name == 0 && object.parent == parent;
                !self.unique || !state.objects.iter().any(here)
            };
            for parent in if self.inherits { vec![false, true] } else { vec![false] } {
                if free(parent) {
                    actions.extend([Action::Make(0, 0, parent), Action::Make(0, 1, parent)]);
                }
            }
        }
        for index in 0..state.objects.len() {
            if left.changes > 0 {
                actions.push(Action::Change(index));
            }
            if left.removals > 0 {
                actions.push(Action::Remove(index));
            }
        }
        if left.thefts > 0 && state.lease != Lease::default() {
            actions.push(Action::Steal);
        }
        for (slot, server) in state.servers.iter().enumerate() {
            let Some(server) = server else {
                if left.restores > 0 && state.backups[slot].is_some() {
                    actions.push(Action::Restore(slot));
                }
                continue;
            };
            if is_deleting(&server.server) {
                continue;
            }
            if left.edits > 0 {
                actions.push(Action::Edit(slot));
            }
            if left.swaps > 0 {
                actions.push(Action::Swap(slot));
            }
            if left.deletions > 0 {
                actions.push(Action::Delete(slot));
            }
        }
    }

    /// What a run without faults does next, until nothing is under way: one thing after the other.
    pub(crate) fn fair(&self, state: &State) -> Option<Action> {
        let mut actions = Vec::new();
        self.due(state, &mut actions);
        actions.first().copied()
    }

    /// What is begun anew when nothing is under way, in a run without faults.
    pub(crate) fn round(&self, state: &State) -> Vec<Action> {
        let mut actions = Vec::new();
        self.anew(state, &mut actions);
        actions
    }

    pub(crate) fn elect(&self, state: &State) -> Vec<Action> {
        let mut actions = Vec::new();
        self.elections(state, true, &mut actions);
        actions
    }

    /// What is said of an action in a trace.
    pub(crate) fn tell(&self, before: &State, action: Action) -> String {
        match action {
            Action::Step(process, slot) | Action::StepUnheard(process, slot) => {
                let mut state = before.clone();
                let (rule, step) = Hand { world: self, state: &mut state, process, slot }.next();
                format!("{action:?}: {step:?} by {rule:?}")
            }
            Action::Land(flight)
            | Action::Refuse(flight)
            | Action::Answer(flight)
            | Action::Lose(flight)
            | Action::Vanish(flight) => {
                let flight = &before.flights[flight];
                format!("{action:?}: {:?} of uid {} → {:?}", flight.call, flight.uid, flight.reply)
            }
            action => format!("{action:?}"),
        }
    }

    /// What the cluster and the tenant hold, in a line.
    pub(crate) fn show(&self, state: &State) -> String {
        let server = |held: &Held| {
            let status = status(&held.server);
            let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
            format!(
                "uid {}@{}{}{} ca{} attempt={} answered={} id={} {}",
                uid_of(&held.server),
                held.version,
                if is_deleting(&held.server) { " deleting" } else { "" },
                if has_finalizer(&held.server) { " finalizer" } else { "" },
                content_of(&held.server),
                Record::of(&held.server).map_or_else(|| "-".to_owned(), |record| record.nonce),
                status.attempt.as_deref().unwrap_or("-"),
                status.id.as_deref().unwrap_or("-"),
                ready.map_or("-", |ready| &ready.reason),
            )
        };
        let servers: Vec<String> =
            state.servers.iter().map(|held| held.as_ref().map_or_else(|| "gone".to_owned(), server)).collect();
        let object = |object: &Object| {
            let maker = object.maker.map_or_else(|| "foreign".to_owned(), |maker| format!("by uid {maker}"));
            format!("o{} t{} name-{} ca{} {maker}", object.id, object.tenant, object.name, object.content)
        };
        let objects: Vec<String> = state.objects.iter().map(object).collect();
        format!("[{}] tenant [{}]", servers.join("; "), objects.join("; "))
    }

    pub(crate) fn transitions(&self) -> u64 {
        self.transitions.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub(crate) fn normalise(&self, state: &mut State) {
        state.lease.normalise(state.processes.iter_mut().filter_map(|process| process.leading.as_mut()));
        state.normalise();
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let count = self.slots.len();
        let mut state = State {
            left: self.budget,
            servers: Vec::new(),
            lives: vec![0; count],
            backups: vec![None; count],
            objects: Vec::new(),
            next_id: 0,
            flights: Vec::new(),
            processes: Vec::new(),
            lease: Lease::default(),
            ghost: Ghost::default(),
        };
        state.servers = (0..count).map(|slot| Some(self.held(self.resource(slot, 0), 1))).collect();
        let leading = |process| Leading::new(process, self.mutant.timing);
        let elected = self.processes > 1;
        let processes = u8::try_from(self.processes).unwrap();
        state.processes =
            (0..processes).map(|process| self.process(&state, elected.then(|| leading(process)))).collect();
        self.normalise(&mut state);
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.due(state, actions);
        self.anew(state, actions);
        self.elections(state, false, actions);
        self.faults(state, actions);
        self.others(state, actions);
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        self.act(&mut state, action);
        self.normalise(&mut state);
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let asked = |name: &str| self.only.is_none_or(|only| only == name);
        let properties = PROPERTIES.into_iter().filter(|(name, _)| asked(name));
        properties.map(|(name, holds)| Property::always(name, holds)).collect()
    }
}
