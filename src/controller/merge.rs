//! Pure: the watches of several namespaces, as if they were one.
//!
//! # Guarantees
//! - One list comes first. It is whole when every namespace has been listed, or has been refused: who owns a name cannot be
//!   told before that. A namespace that is refused holds up no other, and joins when it has been listed.
//! - Whatever a namespace's watch begins anew later concerns that namespace alone.

use std::collections::{BTreeSet, HashMap, HashSet};

use kube::runtime::reflector::{Lookup, ObjectRef};
use kube::runtime::watcher::Event;

/// What a namespace's watch has told.
#[derive(Debug)]
pub(super) enum Told<K> {
    /// An event.
    Event(Event<K>),
    /// It may not be looked at, or does not exist.
    Refused,
}

/// What is known of several watches.
pub(super) struct Merge<K: Lookup + Clone + 'static>
where
    K::DynamicType: Default + Eq + std::hash::Hash + Clone,
{
    /// Until the first list is whole: who is waited for, and what there is so far.
    first: Option<First<K>>,
    /// What lists that are under way have shown so far.
    listing: HashMap<String, Vec<K>>,
}

struct First<K: Lookup + Clone + 'static>
where
    K::DynamicType: Default + Eq + std::hash::Hash + Clone,
{
    missing: BTreeSet<String>,
    objects: HashMap<ObjectRef<K>, K>,
}

impl<K: Lookup + Clone + 'static> Merge<K>
where
    K::DynamicType: Default + Eq + std::hash::Hash + Clone,
{
    /// None of these has told anything yet.
    pub(super) fn new(namespaces: BTreeSet<String>) -> Self {
        Self { first: Some(First { missing: namespaces, objects: HashMap::new() }), listing: HashMap::new() }
    }

    /// The events of the one watch that this comes to. `known`: what its events so far have come to in this namespace.
    pub(super) fn take(&mut self, namespace: &str, told: Told<K>, known: impl FnOnce() -> Vec<K>) -> Vec<Event<K>> {
        match told {
            Told::Event(Event::Init) => {
                self.listing.insert(namespace.to_owned(), Vec::new());
            }
            Told::Event(Event::InitApply(object)) => {
                self.listing.entry(namespace.to_owned()).or_default().push(object);
            }
            Told::Event(Event::InitDone) => {
                let listed = self.listing.remove(namespace).unwrap_or_default();
                let Some(first) = &mut self.first else { return anew(listed, known()) };
                first.objects.retain(|reference, _| reference.namespace.as_deref() != Some(namespace));
                first.objects.extend(listed.into_iter().map(|object| (reference(&object), object)));
                return self.settled(namespace);
            }
            Told::Event(Event::Apply(object)) => match &mut self.first {
                Some(first) => {
                    first.objects.insert(reference(&object), object);
                }
                None => return vec![Event::Apply(object)],
            },
            Told::Event(Event::Delete(object)) => match &mut self.first {
                Some(first) => {
                    first.objects.remove(&reference(&object));
                }
                None => return vec![Event::Delete(object)],
            },
            Told::Refused => return self.settled(namespace),
        }
        Vec::new()
    }

    /// This namespace is waited for no more. With the last one, the first list is whole.
    fn settled(&mut self, namespace: &str) -> Vec<Event<K>> {
        if let Some(first) = &mut self.first {
            first.missing.remove(namespace);
        }
        let Some(first) = self.first.take_if(|first| first.missing.is_empty()) else { return Vec::new() };
        let objects = first.objects.into_values().map(Event::InitApply);
        std::iter::once(Event::Init).chain(objects).chain([Event::InitDone]).collect()
    }
}

/// A list of a namespace that begins anew: what it shows, and what it shows no more.
fn anew<K: Lookup + Clone + 'static>(listed: Vec<K>, known: Vec<K>) -> Vec<Event<K>>
where
    K::DynamicType: Default + Eq + std::hash::Hash + Clone,
{
    let present: HashSet<ObjectRef<K>> = listed.iter().map(reference).collect();
    let gone = known.into_iter().filter(|object| !present.contains(&reference(object)));
    let gone: Vec<Event<K>> = gone.map(Event::Delete).collect();
    gone.into_iter().chain(listed.into_iter().map(Event::Apply)).collect()
}

fn reference<K: Lookup>(object: &K) -> ObjectRef<K>
where
    K::DynamicType: Default,
{
    object.to_object_ref(K::DynamicType::default())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;
    use kube::runtime::reflector::store::Writer;

    use super::*;

    /// The merged watches and the store that their events come to.
    struct Merged(Merge<ConfigMap>, Writer<ConfigMap>);

    fn object(namespace: &str, name: &str, version: &str) -> ConfigMap {
        let (namespace, name, version) = (namespace.to_owned(), name.to_owned(), version.to_owned());
        let metadata = ObjectMeta {
            namespace: Some(namespace),
            name: Some(name),
            resource_version: Some(version),
            ..ObjectMeta::default()
        };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    fn word(event: &Event<ConfigMap>) -> String {
        let of = |object: &ConfigMap| {
            let meta = &object.metadata;
            [&meta.namespace, &meta.name, &meta.resource_version].map(|text| text.clone().unwrap()).join("/")
        };
        match event {
            Event::Init => "init".to_owned(),
            Event::InitApply(object) => format!("listed {}", of(object)),
            Event::InitDone => "done".to_owned(),
            Event::Apply(object) => format!("applied {}", of(object)),
            Event::Delete(object) => format!("deleted {}", of(object)),
        }
    }

    impl Merged {
        fn new() -> Self {
            Self(Merge::new(["a", "b"].map(str::to_owned).into()), Writer::default())
        }

        fn tell(&mut self, namespace: &str, told: Told<ConfigMap>) -> Vec<String> {
            let known = self.1.as_reader().state();
            let known = known.iter().filter(|object| object.metadata.namespace.as_deref() == Some(namespace));
            let events = self.0.take(namespace, told, || known.map(|object| (**object).clone()).collect());
            for event in &events {
                self.1.apply_watcher_event(event);
            }
            let mut words: Vec<String> = events.iter().map(word).collect();
            if let [_, between @ .., _] = words.as_mut_slice() {
                between.sort();
            }
            words
        }

        fn event(&mut self, namespace: &str, event: Event<ConfigMap>) -> Vec<String> {
            self.tell(namespace, Told::Event(event))
        }

        fn list(&mut self, namespace: &str, objects: &[(&str, &str)]) -> Vec<String> {
            assert_eq!(self.event(namespace, Event::Init), [""; 0]);
            for (name, version) in objects {
                assert_eq!(self.event(namespace, Event::InitApply(object(namespace, name, version))), [""; 0]);
            }
            self.event(namespace, Event::InitDone)
        }

        fn stored(&self) -> Vec<String> {
            let mut stored: Vec<_> =
                self.1.as_reader().state().iter().map(|o| word(&Event::Apply((**o).clone()))).collect();
            stored.sort();
            stored
        }
    }

    #[test]
    fn the_first_list_is_whole_when_every_namespace_has_been_listed() {
        let mut merged = Merged::new();
        assert_eq!(merged.list("a", &[("x", "1"), ("y", "1"), ("z", "1")]), [""; 0]);
        // What happens meanwhile in one that has been listed is in the list as well.
        assert_eq!(merged.event("a", Event::Apply(object("a", "x", "2"))), [""; 0]);
        assert_eq!(merged.event("a", Event::Delete(object("a", "y", "2"))), [""; 0]);
        let whole = merged.list("b", &[("x", "3")]);
        assert_eq!(whole, ["init", "listed a/x/2", "listed a/z/1", "listed b/x/3", "done"]);
        assert_eq!(merged.event("a", Event::Apply(object("a", "w", "4"))), ["applied a/w/4"]);
        assert_eq!(merged.event("b", Event::Delete(object("b", "x", "5"))), ["deleted b/x/5"]);
        assert_eq!(merged.stored(), ["applied a/w/4", "applied a/x/2", "applied a/z/1"]);
    }

    #[test]
    fn one_that_is_refused_holds_up_no_other_and_joins_when_it_is_listed() {
        let mut merged = Merged::new();
        assert_eq!(merged.tell("b", Told::Refused), [""; 0]);
        assert_eq!(merged.list("a", &[("x", "1")]), ["init", "listed a/x/1", "done"]);
        assert_eq!(merged.tell("b", Told::Refused), [""; 0], "again, and nothing begins anew");
        assert_eq!(merged.list("b", &[("x", "2")]), ["applied b/x/2"]);
        assert_eq!(merged.stored(), ["applied a/x/1", "applied b/x/2"]);
    }

    #[test]
    fn a_list_that_breaks_off_leaves_nothing_and_one_that_begins_anew_concerns_its_namespace_alone() {
        let mut merged = Merged::new();
        merged.list("b", &[("x", "1")]);
        merged.event("a", Event::Init);
        merged.event("a", Event::InitApply(object("a", "ghost", "1")));
        assert_eq!(merged.list("a", &[("x", "1"), ("y", "1")]).len(), 5);
        merged.event("a", Event::Init);
        merged.event("a", Event::InitApply(object("a", "ghost", "2")));
        assert_eq!(merged.list("a", &[("y", "2")]), ["deleted a/x/1", "applied a/y/2"]);
        assert_eq!(merged.stored(), ["applied a/y/2", "applied b/x/1"]);
    }

    #[test]
    fn one_that_was_listed_twice_before_the_others_counts_as_it_is_now() {
        let mut merged = Merged::new();
        merged.list("a", &[("x", "1")]);
        merged.list("a", &[("y", "2")]);
        assert_eq!(merged.list("b", &[]), ["init", "listed a/y/2", "done"]);
    }
}
