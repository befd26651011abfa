//! An inventory as part of a model checker's state: compared, hashed, and its marks numbered anew.

use std::hash::{Hash, Hasher};

use super::{Inventory, Mark, Write};

impl<T: PartialEq> PartialEq for Inventory<T> {
    fn eq(&self, other: &Self) -> bool {
        self.items == other.items
            && self.names == other.names
            && self.writes == other.writes
            && self.listed == other.listed
    }
}

impl<T: Eq> Eq for Inventory<T> {}

impl<T: Hash> Hash for Inventory<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut items: Vec<_> = self.items.iter().collect();
        items.sort_unstable_by_key(|(id, _)| *id);
        items.hash(state);
        self.names.hash(state);
        self.writes.hash(state);
        self.listed.hash(state);
    }
}

impl<T> Inventory<T> {
    /// The marks that anything here depends on.
    pub(crate) fn marks(&self, into: &mut Vec<Mark>) {
        into.extend(self.writes.iter().map(|(ended, _)| *ended));
        into.extend(self.listed.map(|listed| listed.begun));
    }

    /// Gives every mark another number.
    pub(crate) fn renumber(&mut self, rank: impl Fn(Mark) -> Mark) {
        for (ended, _) in &mut self.writes {
            *ended = rank(*ended);
        }
        if let Some(listed) = &mut self.listed {
            listed.begun = rank(listed.begun);
        }
    }

    /// The ids that are named here.
    pub(crate) fn writes(&self) -> impl Iterator<Item = &Write<T>> {
        self.writes.iter().map(|(_, write)| write)
    }
}
