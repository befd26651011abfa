//! Pure: what a tenant's folder holds, assembled from pages and from our own writes.
//!
//! # Guarantees
//! - A list is *complete* when its ids are distinct and `total`, where it is given, held; without it, when it ended at a
//!   page shorter than the limit. One that is not proves presence, never absence.
//! - An own write wins over any list that began before the write had ended.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, Hash, Hasher, RandomState};
use std::sync::Arc;

/// A point in the order of this process's calls; a later one is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(pub u64);

/// What the assembly needs of a page, whatever its items are.
#[derive(Clone, Debug)]
pub struct Part<T> {
    /// The items, each with its id.
    pub items: Vec<(String, T)>,
    /// How many more there were that could not be decoded: a list that has such proves no absence.
    pub dropped: u64,
    /// `total`, where the page gives it.
    pub total: Option<u64>,
    /// `limit`, where the page gives it: the server may know a smaller one than it was asked for.
    pub limit: Option<u64>,
    /// The answer was a bare array: the documented form, which knows no pages.
    pub bare: bool,
}

impl<T> Part<T> {
    /// The same of another form of the items.
    pub fn map<U>(self, form: impl Fn(&str, T) -> U) -> Part<U> {
        let Self { items, dropped, total, limit, bare } = self;
        let items = items.into_iter().map(|(id, item)| {
            let item = form(&id, item);
            (id, item)
        });
        Part { items: items.collect(), dropped, total, limit, bare }
    }
}

/// What to ask for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Next {
    Page { offset: u64, limit: u64 },
    Complete,
    Incomplete,
}

/// The most pages of one list: past it, a list is taken for one that never ends.
const MOST_PAGES: u32 = 1_000;

/// A list on its way, page by page.
#[derive(Debug)]
pub struct Assembly<T> {
    items: Vec<(Arc<str>, T)>,
    ids: HashSet<Arc<str>>,
    limit: u64,
    total: Option<u64>,
    pages: u32,
    /// How many items could not be decoded.
    dropped: u64,
    /// Whether the server was asked with a smaller limit, to learn if it knows of limits at all.
    probed: bool,
}

impl<T> Assembly<T> {
    /// A list to be read in pages of `limit`.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { items: Vec::new(), ids: HashSet::new(), limit, total: None, pages: 0, dropped: 0, probed: false }
    }

    /// The first request.
    #[must_use]
    pub const fn first(&self) -> Next {
        Next::Page { offset: 0, limit: self.limit }
    }

    /// Takes a page in, and tells what to ask for next.
    pub fn push(&mut self, part: Part<T>) -> Next {
        match self.take(part) {
            // All of it was read, and what could not be decoded may be anything.
            Next::Complete if self.dropped > 0 => Next::Incomplete,
            next => next,
        }
    }

    fn take(&mut self, part: Part<T>) -> Next {
        self.pages += 1;
        let count = part.items.len() as u64 + part.dropped;
        // What cannot be decoded is no item that was seen before, unless there was as much of it.
        let known = part.dropped == self.dropped && part.items.iter().all(|(id, _)| self.ids.contains(id.as_str()));
        if self.probed {
            // Asked for one less, the server sent as many as before: it knows no limit, and what it sent is all.
            let unpaged = known && part.items.len() == self.items.len();
            return if unpaged { Next::Complete } else { Next::Incomplete };
        }
        let total_moved = self.pages > 1 && part.total != self.total;
        if known && part.bare && self.pages == 2 && count == self.limit {
            self.probed = true;
            return Next::Page { offset: 0, limit: self.limit - 1 };
        }
        // A page of nothing but what cannot be decoded may be the same again and again.
        let unreadable = self.pages > 1 && part.items.is_empty() && part.dropped > 0;
        let mut distinct = true;
        for (id, item) in part.items {
            let id: Arc<str> = id.into();
            if self.ids.insert(Arc::clone(&id)) {
                self.items.push((id, item));
            } else {
                distinct = false;
            }
        }
        self.dropped += part.dropped;
        self.total = part.total;
        if total_moved || !distinct || unreadable {
            return Next::Incomplete;
        }
        let have = self.items.len() as u64 + self.dropped;
        if let Some(total) = part.total {
            return match have.cmp(&total) {
                std::cmp::Ordering::Equal => Next::Complete,
                std::cmp::Ordering::Greater => Next::Incomplete,
                std::cmp::Ordering::Less if count == 0 => Next::Incomplete,
                std::cmp::Ordering::Less => self.page_at(have),
            };
        }
        let limit = part.limit.filter(|limit| *limit > 0).map_or(self.limit, |limit| limit.min(self.limit));
        // More than was asked for: the server knows no limit.
        if count < limit || (part.bare && count > self.limit) { Next::Complete } else { self.page_at(have) }
    }

    fn page_at(&self, offset: u64) -> Next {
        if self.pages >= MOST_PAGES { Next::Incomplete } else { Next::Page { offset, limit: self.limit } }
    }

    /// Takes in a list that was asked for without pages: what came is all, unless it says itself that there is more.
    pub fn push_whole(&mut self, part: Part<T>) -> Next {
        let count = part.items.len() as u64;
        let total = part.total;
        self.dropped += part.dropped;
        for (id, item) in part.items {
            let id: Arc<str> = id.into();
            if self.ids.insert(Arc::clone(&id)) {
                self.items.push((id, item));
            }
        }
        let distinct = self.items.len() as u64 == count;
        let whole = distinct && self.dropped == 0 && total.is_none_or(|total| total == count);
        if whole { Next::Complete } else { Next::Incomplete }
    }

    /// What was listed.
    #[must_use]
    pub fn into_items(self) -> Vec<(Arc<str>, T)> {
        self.items
    }
}

/// An own write that the tenant answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Write<T> {
    Put(String, T),
    Deleted(String),
}

impl<T> Write<T> {
    /// Of which object.
    #[must_use]
    pub fn id(&self) -> &str {
        let (Self::Put(id, _) | Self::Deleted(id)) = self;
        id
    }

    /// The same of another form of the item.
    pub fn map<U>(self, form: impl FnOnce(T) -> U) -> Write<U> {
        match self {
            Self::Put(id, item) => Write::Put(id, form(item)),
            Self::Deleted(id) => Write::Deleted(id),
        }
    }
}

/// What a folder holds, as far as it is known.
#[derive(Clone, Debug)]
pub struct Inventory<T> {
    items: HashMap<Arc<str>, T>,
    /// The ids by the hash of a name: whether an item bears the name, it says itself.
    names: HashMap<u64, Vec<Arc<str>>>,
    hasher: RandomState,
    name_of: fn(&T) -> &str,
    writes: Vec<(Mark, Write<T>)>,
    listed: Option<Listed>,
    /// What is known from before the last list, which was incomplete and did not show it.
    unshown: HashSet<Arc<str>>,
}

/// The last list that was taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listed {
    /// When its first request was sent.
    pub begun: Mark,
    /// Whether it proves absence.
    pub complete: bool,
}

impl<T: Clone> Inventory<T> {
    /// Nothing known; `name_of` tells an item's name.
    #[must_use]
    pub fn new(name_of: fn(&T) -> &str) -> Self {
        let hasher = RandomState::new();
        let (items, names, unshown) = (HashMap::new(), HashMap::new(), HashSet::new());
        Self { items, names, hasher, name_of, writes: Vec::new(), listed: None, unshown }
    }

    /// Takes in a list that began at `begun`. One that is incomplete leaves what it does not show.
    pub fn take_list<I: Into<Arc<str>>>(&mut self, begun: Mark, items: Vec<(I, T)>, complete: bool) {
        if complete {
            self.items.clear();
        }
        self.unshown = self.items.keys().cloned().collect();
        for (id, item) in items {
            let id = id.into();
            self.unshown.remove(&id);
            self.items.insert(id, item);
        }
        self.writes.retain(|(ended, _)| *ended > begun);
        for (_, write) in &self.writes {
            apply(&mut self.items, write);
            self.unshown.remove(write.id());
        }
        self.listed = Some(Listed { begun, complete });
        self.index();
    }

    /// Takes in an own write that ended at `ended`.
    pub fn take_write(&mut self, ended: Mark, write: Write<T>) {
        match &write {
            Write::Put(id, item) => {
                let ids = self.names.entry(self.hasher.hash_one((self.name_of)(item))).or_default();
                if !ids.iter().any(|other| **other == **id) {
                    ids.push(id.as_str().into());
                }
            }
            Write::Deleted(id) => {
                let name = self.items.get(id.as_str()).map(|item| self.hasher.hash_one((self.name_of)(item)));
                if let Some(ids) = name.and_then(|name| self.names.get_mut(&name)) {
                    ids.retain(|other| **other != **id);
                }
            }
        }
        apply(&mut self.items, &write);
        self.unshown.remove(write.id());
        // An earlier write of the same object is of no more use: whatever list this one does not win over, that one does not.
        self.writes.retain(|(_, earlier)| earlier.id() != write.id());
        self.writes.push((ended, write));
    }

    fn index(&mut self) {
        self.names.clear();
        for (id, item) in &self.items {
            let ids =
                self.names.entry(self.hasher.hash_one((self.name_of)(item))).or_insert_with(|| Vec::with_capacity(1));
            ids.push(Arc::clone(id));
        }
        for ids in self.names.values_mut() {
            ids.sort_unstable();
        }
    }

    /// The last list that was taken in.
    #[must_use]
    pub const fn listed(&self) -> Option<Listed> {
        self.listed
    }

    /// The last list, if it began after the question was asked.
    #[must_use]
    pub fn answer(&self, question: Mark) -> Option<Listed> {
        self.listed.filter(|listed| listed.begun > question)
    }

    /// The item of that id.
    #[must_use]
    pub fn by_id(&self, id: &str) -> Option<&T> {
        self.items.get(id)
    }

    /// Whether the item is known from the last list, or from a write after it. What an incomplete list does not show is
    /// known from before, and may be changed or gone.
    #[must_use]
    pub fn is_shown(&self, id: &str) -> bool {
        self.items.contains_key(id) && !self.unshown.contains(id)
    }

    /// The items of that name, with their ids: an inherited one may stand beside the folder's own.
    pub fn by_name<'a>(&'a self, name: &str) -> impl Iterator<Item = (&'a str, &'a T)> {
        self.names
            .get(&self.hasher.hash_one(name))
            .into_iter()
            .flatten()
            .filter_map(|id| self.items.get(id).filter(|item| (self.name_of)(item) == name).map(|item| (&**id, item)))
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// How many items are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// Equal inventories answer every question alike.
impl<T: PartialEq> PartialEq for Inventory<T> {
    fn eq(&self, other: &Self) -> bool {
        let alike = |item: &T| self.bearers((self.name_of)(item)) == other.bearers((self.name_of)(item));
        self.items == other.items
            && self.items.values().all(alike)
            && self.writes == other.writes
            && self.listed == other.listed
            && self.unshown == other.unshown
    }
}

impl<T: Eq> Eq for Inventory<T> {}

/// Of all that makes two of them unequal: a model checker takes states of one hash for one state.
impl<T: Hash> Hash for Inventory<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut items: Vec<_> = self.items.iter().collect();
        items.sort_unstable_by_key(|(id, _)| *id);
        for (id, item) in items {
            (id, item, self.bearers((self.name_of)(item)), self.unshown.contains(id)).hash(state);
        }
        self.writes.hash(state);
        self.listed.hash(state);
    }
}

impl<T> Inventory<T> {
    /// The ids of the items of that name, in the order in which they are shown.
    fn bearers(&self, name: &str) -> Vec<&str> {
        let ids = self.names.get(&self.hasher.hash_one(name)).into_iter().flatten();
        let bears = |id: &&Arc<str>| self.items.get(*id).is_some_and(|item| (self.name_of)(item) == name);
        ids.filter(bears).map(|id| &**id).collect()
    }

    /// Every mark on which anything here depends. Only their order counts, so they may be numbered anew, which keeps a
    /// model checker's states finite.
    pub fn marks(&mut self) -> impl Iterator<Item = &mut Mark> {
        self.writes.iter_mut().map(|(ended, _)| ended).chain(self.listed.as_mut().map(|listed| &mut listed.begun))
    }
}

fn apply<T: Clone>(items: &mut HashMap<Arc<str>, T>, write: &Write<T>) {
    match write {
        Write::Put(id, item) => {
            items.insert(id.as_str().into(), item.clone());
        }
        Write::Deleted(id) => {
            items.remove(id.as_str());
        }
    }
}

#[cfg(test)]
mod tests;
