//! The world's state: the cluster, the tenants, what is under way between them, and the processes' memories.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use mfa_operator::crd::MfaServer;
use mfa_operator::reconcile::attempt::Attempt as Record;
use mfa_operator::reconcile::course::Course;
use mfa_operator::reconcile::facts::{Class, Facts};
use mfa_operator::sse::inventory::{Inventory, Mark};
use mfa_operator::sse::types::Remote;

use crate::lease::Leading;

/// A resource's uid, as a number below 16.
pub(crate) type Uid = u8;

/// What may still happen that nobody has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// Crashes, lost answers, refusals for a moment, incomplete lists, writes to the cluster whose answer is lost.
    pub(crate) faults: u8,
    /// Somebody else creates an object in the tenant.
    pub(crate) makes: u8,
    /// Somebody else changes an object.
    pub(crate) changes: u8,
    /// Somebody else removes an object.
    pub(crate) removals: u8,
    /// A user changes a spec.
    pub(crate) edits: u8,
    /// A user deletes a resource.
    pub(crate) deletions: u8,
    /// A backup of a deleted resource is restored: the same annotations, another uid.
    pub(crate) restores: u8,
    /// A user names another credential in the spec.
    pub(crate) swaps: u8,
    /// Time passes; any number of times where it is [`Budget::EVER`].
    pub(crate) ticks: u8,
    /// A process begins to lead.
    pub(crate) leads: u8,
    /// Somebody else deletes the lease.
    pub(crate) thefts: u8,
}

impl Budget {
    /// There is no end to it.
    pub(crate) const EVER: u8 = u8::MAX;
}

/// A resource as it was at one `resourceVersion`. Equal ones share one allocation and one number.
#[derive(Clone)]
pub(crate) struct Held {
    /// The number of the content.
    pub(crate) content: u32,
    /// The version: only its order counts.
    pub(crate) version: u8,
    pub(crate) server: Arc<MfaServer>,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        (self.content, self.version) == (other.content, other.version)
    }
}

impl Eq for Held {}

impl Hash for Held {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.content, self.version).hash(state);
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}@{}", self.content, self.version)
    }
}

/// What the tenant holds, and what only the checker knows of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Object {
    pub(crate) id: u8,
    pub(crate) tenant: u8,
    pub(crate) parent: bool,
    pub(crate) name: u8,
    pub(crate) content: u8,
    /// Whose POST made it; nobody's of ours, for a foreign one.
    pub(crate) maker: Option<Uid>,
    /// Who may change it although somebody else made it.
    pub(crate) consent: u16,
    /// Made, or made so, by somebody else while these had an open attempt of just this.
    pub(crate) twin: u16,
    /// Somebody else changed it before its maker knew of it: nothing tells that it was made here.
    pub(crate) disguised: bool,
}

/// An object as a list shows it.
#[derive(Clone)]
pub(crate) struct Item {
    /// What it is told apart by.
    pub(crate) key: (u8, u8, Option<bool>, u8),
    pub(crate) remote: Arc<Remote>,
}

impl Borrow<Remote> for Item {
    fn borrow(&self) -> &Remote {
        &self.remote
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Item {}

impl Hash for Item {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "o{}", self.key.0)
    }
}

/// A write on its way to the tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Flight {
    pub(crate) call: Call,
    pub(crate) slot: u8,
    pub(crate) uid: Uid,
    pub(crate) tenant: u8,
    /// The process that waits for the answer; none any more once it was lost.
    pub(crate) waiting: Option<u8>,
    /// The tenant's answer, once it has acted.
    pub(crate) reply: Option<Reply>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Post { nonce: String, name: u8, content: u8 },
    Put { id: u8, content: u8 },
    Delete { id: u8 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reply {
    Created(u8),
    /// The name is taken.
    Conflict,
    Done,
    /// The documented 404.
    Missing,
    /// A decoded refusal for a moment.
    Busy,
    /// No answer.
    Lost,
}

/// The answer to a create that no status holds yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Unrecorded {
    pub(crate) answer: Result<u8, Class>,
    pub(crate) server: Held,
}

/// One pass between two of its steps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pass {
    pub(crate) facts: Facts,
    pub(crate) server: Held,
    /// The resource as it was when what is spoken of was asked for.
    pub(crate) spoken: Held,
    pub(crate) id: Option<u8>,
    pub(crate) shown: Option<Item>,
    pub(crate) answered: Option<Record>,
    pub(crate) wrote: bool,
    /// A call is on its way.
    pub(crate) waiting: bool,
}

/// What a process remembers of one resource. Time is whether it has passed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Mind {
    pub(crate) uid: Option<Uid>,
    pub(crate) newest: Option<Held>,
    pub(crate) course: Course<bool, Unrecorded>,
    pub(crate) pass: Option<Pass>,
}

/// A list on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Listing {
    pub(crate) begun: Mark,
    /// What the tenant showed, once it has.
    pub(crate) read: Option<Vec<Item>>,
}

/// What a process knows of a folder with one credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shelf {
    pub(crate) credential: u8,
    pub(crate) parent: bool,
    pub(crate) inventory: Inventory<Item>,
    pub(crate) listing: Option<Listing>,
}

/// A process of the operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) cache: Vec<Option<Held>>,
    pub(crate) minds: Vec<Mind>,
    pub(crate) shelves: Vec<Shelf>,
    /// The credentials that the API has taken.
    pub(crate) verified: u8,
    /// The next point in the order of its calls.
    pub(crate) mark: u64,
    /// Its part in the election; none where there is no other.
    pub(crate) leading: Option<Leading>,
}

impl Process {
    /// The next point in the order of calls.
    pub(crate) fn mark(&mut self) -> Mark {
        self.mark += 1;
        Mark(self.mark - 1)
    }

    /// What a pass of this resource under this credential lists.
    pub(crate) fn shelf(&self, credential: u8, parent: bool) -> Option<usize> {
        self.shelves.iter().position(|shelf| (shelf.credential, shelf.parent) == (credential, parent))
    }

    /// Numbers the points in the order of calls anew: only their order counts, and that 0 is before all of them.
    pub(crate) fn renumber(&mut self) {
        let mut marks: Vec<&mut Mark> = self.minds.iter_mut().map(|mind| &mut mind.course.question).collect();
        for shelf in &mut self.shelves {
            marks.extend(shelf.listing.as_mut().map(|listing| &mut listing.begun));
            marks.extend(shelf.inventory.marks());
        }
        let mut order: Vec<Mark> = marks.iter().map(|mark| **mark).collect();
        order.push(Mark(0));
        order.sort_unstable();
        order.dedup();
        for mark in marks {
            *mark = Mark(order.binary_search(mark).unwrap() as u64);
        }
        self.mark = order.len() as u64;
    }
}

/// The whole world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) left: Budget,
    /// The cluster: one place for each resource.
    pub(crate) servers: Vec<Option<Held>>,
    /// How many resources have stood at each place.
    pub(crate) lives: Vec<u8>,
    /// The resource as a backup has it.
    pub(crate) backups: Vec<Option<Held>>,
    pub(crate) objects: Vec<Object>,
    pub(crate) next_id: u8,
    pub(crate) flights: Vec<Flight>,
    pub(crate) processes: Vec<Process>,
    pub(crate) lease: crate::lease::Lease,
    pub(crate) ghost: Ghost,
}

/// What only the checker knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ghost {
    /// The answer to a POST of these was lost, to the network or a crash.
    pub(crate) lost: u16,
    /// These took a twin for theirs, which they cannot tell apart.
    pub(crate) twinned: u16,
    /// These were let go with `Retain`.
    pub(crate) retained: u16,
    /// A write that must not have been.
    pub(crate) wrong: Option<Wrong>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wrong {
    /// Of an object that somebody else made.
    Foreign,
    /// The finalizer went before our object.
    Finalizer,
}

impl State {
    /// Every place where a resource is remembered at a version.
    pub(crate) fn held(&mut self, slot: usize) -> Vec<&mut Held> {
        let mut held: Vec<&mut Held> = self.servers[slot].iter_mut().collect();
        for process in &mut self.processes {
            held.extend(process.cache[slot].as_mut());
            let mind = &mut process.minds[slot];
            held.extend(mind.newest.as_mut());
            held.extend(mind.course.unrecorded.as_mut().map(|unrecorded| &mut unrecorded.server));
            if let Some(pass) = &mut mind.pass {
                held.extend([&mut pass.server, &mut pass.spoken]);
            }
        }
        held
    }

    /// Two states that differ only in numbers whose order alone counts become one.
    pub(crate) fn normalise(&mut self) {
        for slot in 0..self.servers.len() {
            let mut held = self.held(slot);
            let mut versions: Vec<u8> = held.iter().map(|held| held.version).collect();
            versions.sort_unstable();
            versions.dedup();
            for held in &mut held {
                held.version = u8::try_from(versions.binary_search(&held.version).unwrap()).unwrap() + 1;
            }
        }
        for process in &mut self.processes {
            process.renumber();
        }
        self.flights.sort_by_key(|flight| (flight.slot, flight.uid, flight.waiting, format!("{:?}", flight.call)));
    }
}
