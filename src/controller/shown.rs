//! What the watch shows, as the passes want it: a resource once the cache has it, and not before.
//!
//! A list is told resource by resource, and the cache takes it as a whole when it is at its end. A pass that began at once
//! would find the resource missing, or as it was before, and nobody would begin another one: what is applied while the API
//! server is away would wait for its next change.

use futures::future::Either;
use futures::{Stream, StreamExt, stream};
use kube::runtime::reflector::{Lookup, Store};
use kube::runtime::watcher::{self, Event};

/// The resources that may have changed, from events that the cache has taken in already.
pub(super) fn shown<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    cache: Store<K>,
) -> impl Stream<Item = watcher::Result<K>>
where
    K: Lookup + Clone + 'static,
    K::DynamicType: Eq + std::hash::Hash + Clone,
{
    events.flat_map(move |event| {
        let one = match event {
            Ok(Event::Apply(object)) => Some(Ok(object)),
            Err(error) => Some(Err(error)),
            Ok(Event::InitDone) => {
                let listed = cache.state().into_iter().map(|object| Ok((*object).clone()));
                return Either::Left(stream::iter(listed));
            }
            Ok(Event::Init | Event::InitApply(_) | Event::Delete(_)) => None,
        };
        Either::Right(stream::iter(one))
    })
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::WatchStreamExt;
    use kube::runtime::reflector::{self, ObjectRef};

    use super::*;

    fn object(name: &str, version: &str) -> ConfigMap {
        serde_json::from_value(serde_json::json!({ "metadata": { "name": name, "resourceVersion": version } })).unwrap()
    }

    #[tokio::test]
    async fn what_a_list_shows_is_told_once_the_cache_has_it() {
        let (cache, writer) = reflector::store();
        let (send, events) = mpsc::unbounded();
        let mut told = Box::pin(shown(events.map(Ok).reflect(writer), cache.clone()));
        let lists = [[("a", "1"), ("b", "1"), ("d", "1")], [("a", "2"), ("b", "1"), ("c", "2")]];
        for list in lists {
            send.unbounded_send(Event::Init).unwrap();
            for (name, version) in &list {
                send.unbounded_send(Event::InitApply(object(name, version))).unwrap();
            }
            assert!(futures::poll!(told.next()).is_pending(), "the list is not at its end");
            send.unbounded_send(Event::InitDone).unwrap();
            let mut seen = Vec::new();
            for _ in &list {
                let told = told.next().await.unwrap().unwrap();
                let cached = cache.get(&ObjectRef::from_obj(&told)).expect("what is told is in the cache");
                assert_eq!(*cached, told);
                seen.push((told.metadata.name.unwrap(), told.metadata.resource_version.unwrap()));
            }
            seen.sort();
            assert_eq!(seen, list.map(|(name, version)| (name.to_owned(), version.to_owned())));
        }
        send.unbounded_send(Event::Apply(object("b", "3"))).unwrap();
        send.unbounded_send(Event::Delete(object("a", "4"))).unwrap();
        drop(send);
        let told: Vec<ConfigMap> = told.map(Result::unwrap).collect().await;
        assert_eq!(told, [object("b", "3")]);
    }
}
