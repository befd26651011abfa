//! Which namespaces the operator looks after: all of them, or those that it was told.

use std::collections::BTreeSet;

use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource};

/// What one watch shows: a namespace, or the whole cluster.
pub type Part = Option<String>;

/// The namespaces that are looked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them, those included that are yet to come.
    Cluster,
    /// These, with rights in them alone.
    Namespaces(BTreeSet<String>),
}

impl Scope {
    /// These namespaces; all, where none is named.
    #[must_use]
    pub fn of(namespaces: impl IntoIterator<Item = String>) -> Self {
        let namespaces: BTreeSet<String> = namespaces.into_iter().collect();
        if namespaces.is_empty() { Self::Cluster } else { Self::Namespaces(namespaces) }
    }

    /// Whether this namespace is one of them.
    #[must_use]
    pub fn holds(&self, namespace: &str) -> bool {
        match self {
            Self::Cluster => true,
            Self::Namespaces(namespaces) => namespaces.contains(namespace),
        }
    }

    /// The watch that shows this namespace.
    #[must_use]
    pub fn part(&self, namespace: &str) -> Part {
        match self {
            Self::Cluster => None,
            Self::Namespaces(_) => Some(namespace.to_owned()),
        }
    }

    /// The namespaces in words, separated by commas, where only some are looked after.
    #[must_use]
    pub fn named(&self) -> Option<String> {
        match self {
            Self::Cluster => None,
            Self::Namespaces(namespaces) => Some(namespaces.iter().map(String::as_str).collect::<Vec<_>>().join(",")),
        }
    }

    /// What has to be watched.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        match self {
            Self::Cluster => vec![None],
            Self::Namespaces(namespaces) => namespaces.iter().cloned().map(Some).collect(),
        }
    }
}

/// The API for what stands in this part of the cluster.
#[must_use]
pub fn api<K>(client: &Client, part: &Part) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match part {
        None => Api::all(client.clone()),
        Some(namespace) => Api::namespaced(client.clone(), namespace),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_means_the_whole_cluster_and_a_name_means_that_namespace_and_no_other() {
        let all = Scope::of([]);
        assert_eq!((all.holds("anywhere"), all.parts()), (true, vec![None]));
        let two = Scope::of(["b", "a", "b"].map(str::to_owned));
        assert_eq!(two.parts(), [Some("a".to_owned()), Some("b".to_owned())]);
        assert_eq!(["a", "b", "c", ""].map(|namespace| two.holds(namespace)), [true, true, false, false]);
    }
}
