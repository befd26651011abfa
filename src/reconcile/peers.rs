//! What each resource in the cluster claims, indexed so that the others of the same name or id are found at once.
//!
//! Fed by the resources' watch before a pass sees an event; so it is never older than the cache that a pass works from.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use kube::ResourceExt;

use super::sight::{Contender, Tenancy, unanswered};
use crate::crd::{Folder, MfaServer};
use crate::sse::credentials::{Waiter, Wakes};

/// What a resource claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The resource, as waiters are named.
    pub waiter: Waiter,
    /// Its uid.
    pub uid: String,
    /// When it was created.
    pub created: Timestamp,
    /// The credentials Secret that it names, if it names one.
    pub secret: Option<String>,
    /// The tenant that it is bound to by an id: the operator's own word, in the status.
    pub bound: Option<String>,
    /// The tenant of its open attempt: an annotation, which users can write too.
    pub attempting: Option<String>,
    /// The id that it holds.
    pub id: Option<Arc<str>>,
    place: Arc<(Folder, String)>,
}

impl Peer {
    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.waiter.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// It, as one of those that mean the same object; `credential` is the tenant of its credential.
    #[must_use]
    pub fn contender<'a>(&'a self, credential: Option<Tenancy<'a>>) -> Contender<'a> {
        Contender {
            uid: &self.uid,
            created: self.created,
            id: self.id.as_deref(),
            bound: self.bound.as_deref(),
            attempting: self.attempting.as_deref(),
            credential,
        }
    }
}

/// Who stands at each folder and name, and who holds each id.
#[derive(Debug)]
pub struct Peers {
    state: Mutex<State>,
    wakes: Wakes,
}

#[derive(Debug, Default)]
struct State {
    peers: HashMap<Waiter, Arc<Peer>>,
    // The keys are those of a peer there: many resources have a place and an id each.
    places: HashMap<Arc<(Folder, String)>, Vec<Waiter>>,
    ids: HashMap<Arc<str>, Vec<Waiter>>,
}

impl State {
    fn unindex(&mut self, peer: &Peer) {
        if let Some(waiters) = self.places.get_mut(&peer.place) {
            waiters.retain(|waiter| *waiter != peer.waiter);
            if waiters.is_empty() {
                self.places.remove(&peer.place);
            }
        }
        if let Some(id) = &peer.id
            && let Some(waiters) = self.ids.get_mut(id)
        {
            waiters.retain(|waiter| *waiter != peer.waiter);
            if waiters.is_empty() {
                self.ids.remove(id);
            }
        }
    }

    fn index(&mut self, peer: Arc<Peer>) {
        // One resource for each, as a rule.
        let one = || Vec::with_capacity(1);
        self.places.entry(Arc::clone(&peer.place)).or_insert_with(one).push(Arc::clone(&peer.waiter));
        if let Some(id) = &peer.id {
            self.ids.entry(Arc::clone(id)).or_insert_with(one).push(Arc::clone(&peer.waiter));
        }
        self.peers.insert(Arc::clone(&peer.waiter), peer);
    }

    fn others(&self, peer: &Peer) -> Vec<Waiter> {
        let at_place = self.places.get(&peer.place).into_iter().flatten();
        let of_id = peer.id.as_ref().and_then(|id| self.ids.get(id)).into_iter().flatten();
        at_place.chain(of_id).filter(|waiter| **waiter != peer.waiter).cloned().collect()
    }
}

impl Peers {
    /// None yet.
    #[must_use]
    pub fn new(wakes: Wakes) -> Self {
        Self { state: Mutex::default(), wakes }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a resource as it is now; wakes those whose claims may stand otherwise by that.
    pub fn applied(&self, server: &MfaServer) {
        let Some(peer) = peer(server).map(Arc::new) else { return };
        let mut state = self.state();
        let old = state.peers.get(&peer.waiter).cloned();
        if old.as_ref() == Some(&peer) {
            return;
        }
        let mut concerned = Vec::new();
        if let Some(old) = old {
            concerned = state.others(&old);
            state.unindex(&old);
        }
        state.index(peer);
        self.wakes.wake(concerned);
    }

    /// Takes in that a resource is gone.
    pub fn gone(&self, waiter: &Waiter) {
        let mut state = self.state();
        if let Some(old) = state.peers.remove(waiter) {
            state.unindex(&old);
            self.wakes.wake(state.others(&old));
        }
    }

    /// Those that are not in this set are gone, as a new list of all resources shows.
    pub fn retain(&self, present: &HashSet<Waiter>) {
        let gone: Vec<Waiter> =
            self.state().peers.keys().filter(|waiter| !present.contains(*waiter)).cloned().collect();
        for waiter in gone {
            self.gone(&waiter);
        }
    }

    /// Whether this resource is there, by the watch's last word.
    #[must_use]
    pub fn knows(&self, waiter: &Waiter) -> bool {
        self.state().peers.contains_key(waiter)
    }

    /// Whoever means this folder and name, or holds this id; the asking one included.
    #[must_use]
    pub fn at(&self, folder: Folder, name: &str, id: Option<&str>) -> Vec<Arc<Peer>> {
        let state = self.state();
        let at_place = state.places.get(&(folder, name.to_owned())).into_iter().flatten();
        let of_id = id.and_then(|id| state.ids.get(id)).into_iter().flatten();
        let waiters: HashSet<&Waiter> = at_place.chain(of_id).collect();
        waiters.into_iter().filter_map(|waiter| state.peers.get(waiter).cloned()).collect()
    }
}

/// How a resource is named among waiters.
#[must_use]
pub fn waiter(namespace: &str, name: &str) -> Waiter {
    Waiter::from(format!("{namespace}/{name}"))
}

fn peer(server: &MfaServer) -> Option<Peer> {
    let (namespace, name) = (server.namespace()?, server.metadata.name.as_deref()?);
    let status = server.status.as_ref();
    let id: Option<Arc<str>> = status.and_then(|status| status.id.as_deref()).map(Arc::from);
    let tenant = status.and_then(|status| status.tenant.clone()).filter(|_| id.is_some());
    let open = unanswered(server);
    Some(Peer {
        waiter: waiter(&namespace, name),
        uid: server.uid()?,
        created: server.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        secret: server.spec.credentials_secret_ref.as_ref().map(|secret| secret.name.clone()),
        bound: tenant,
        attempting: open.map(|attempt| attempt.tenant),
        id,
        place: Arc::new((server.spec.folder, server.effective_name().to_owned())),
    })
}

#[cfg(test)]
mod tests;
