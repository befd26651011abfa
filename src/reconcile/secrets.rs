//! Secrets: their versions from a watch or from reads of their metadata, their bytes when they are needed.
//!
//! # Guarantees
//! - The watch sees metadata only. Bytes are read one Secret at a time and live in `secrecy` types from then on.
//! - Where no watch shows a Secret, only a right to get that one is made use of.
//! - A resource that has asked about a Secret is woken when it appears, changes or goes.

mod versions;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::GetParams;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Api, Client, ResourceExt};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout};

pub use self::versions::Versions;
use super::SecretName;
use super::compare::digest_of;
use super::desired::SecretField;
use super::facts::SecretProblem;
use super::scope::Part;
use crate::crd::ObservedSecret;
use crate::sse::credentials::{Credentials, Source, Waiter, Wakes};
use crate::sse::lists::Lists;
use crate::sse::{CredentialKey, Token, secret_text};
use crate::telemetry::chain;

/// How long one read of a Secret may take.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// How long until a read that failed is tried again.
const READ_AGAIN: Duration = Duration::from_secs(5);
/// How many Secrets' versions are read at a time.
const MOST_READS: usize = 8;

/// A Secret that cannot be used, in words that name it, its key and what to do, and hold nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// The kind of problem.
    pub problem: SecretProblem,
    /// The sentence.
    pub message: String,
}

/// The Secret of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSecret {
    /// It is being read.
    Pending,
    /// It cannot be used.
    Unusable(Unusable),
    /// What it holds is known to the API layer.
    Put,
}

/// A Secret's version, and keyed hashes of the digests of its values.
type Prints = (String, HashMap<String, u64>);

/// What is known of Secrets.
pub struct Secrets {
    client: Client,
    credentials: Arc<Credentials>,
    lists: Arc<Lists>,
    wakes: Wakes,
    versions: Mutex<Versions>,
    /// A Secret that no watch shows is to be read.
    wanted: Notify,
    dependents: Mutex<HashMap<SecretName, HashSet<Waiter>>>,
    reading: Mutex<HashSet<CredentialKey>>,
    unusable: Mutex<HashMap<CredentialKey, (String, Unusable)>>,
    prints: Mutex<HashMap<SecretName, Prints>>,
    /// The key of those hashes, made anew by each process.
    print_key: RandomState,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The key that the API layer knows the credential of this Secret by.
#[must_use]
pub fn credential_key(secret: &SecretName) -> CredentialKey {
    CredentialKey::new(format!("{}/{}", secret.namespace, secret.name))
}

impl Secrets {
    /// Nothing known yet.
    #[must_use]
    pub fn new(
        client: Client,
        credentials: Arc<Credentials>,
        lists: Arc<Lists>,
        wakes: Wakes,
        versions: Versions,
    ) -> Arc<Self> {
        Arc::new(Self {
            client,
            credentials,
            lists,
            wakes,
            versions: Mutex::new(versions),
            wanted: Notify::new(),
            dependents: Mutex::default(),
            reading: Mutex::default(),
            unusable: Mutex::default(),
            prints: Mutex::default(),
            print_key: RandomState::new(),
        })
    }

    /// What has to be watched; empty where Secrets are read instead.
    #[must_use]
    pub fn watched(&self) -> Vec<Part> {
        locked(&self.versions).watched()
    }

    /// Takes in what the watch of this part shows; wakes whom it concerns.
    pub fn observe(&self, part: &Part, event: Event<PartialObjectMeta<Secret>>) {
        match event {
            Event::Init => locked(&self.versions).begin_list(part),
            Event::InitApply(secret) => {
                if let Some((secret, version)) = identity(&secret) {
                    locked(&self.versions).list(part, secret, version);
                }
            }
            Event::InitDone => {
                let (old, first) = locked(&self.versions).end_list(part);
                let mut concerned: Vec<SecretName> = locked(&self.dependents).keys().cloned().collect();
                concerned.retain(|secret| Versions::shows(part, secret));
                for secret in concerned {
                    let before = old.get(&secret.namespace).and_then(|names| names.get(&secret.name));
                    if first || before != self.version(&secret).as_ref() {
                        self.wake(&secret);
                    }
                }
            }
            Event::Apply(secret) => {
                let Some((secret, version)) = identity(&secret) else { return };
                let news = locked(&self.versions).present(&secret, &version);
                if news {
                    self.wake(&secret);
                }
            }
            Event::Delete(secret) => {
                let Some((secret, _)) = identity(&secret) else { return };
                self.gone(&secret);
                self.wake(&secret);
            }
        }
    }

    fn wake(&self, secret: &SecretName) {
        if let Some(waiters) = locked(&self.dependents).get(secret) {
            self.wakes.wake(waiters.iter().cloned());
        }
    }

    fn gone(&self, secret: &SecretName) {
        locked(&self.versions).gone(secret);
    }

    /// The Secret's version, if it is there as far as is known; `waiter` is woken when that changes.
    pub fn version_for(&self, secret: &SecretName, waiter: &Waiter) -> Option<String> {
        let mut dependents = locked(&self.dependents);
        let waiters = dependents.entry(secret.clone()).or_default();
        if !waiters.contains(waiter) {
            waiters.insert(Arc::clone(waiter));
        }
        drop(dependents);
        let mut versions = locked(&self.versions);
        if versions.ask(secret) {
            self.wanted.notify_one();
        }
        versions.get(secret).cloned()
    }

    /// The Secret's version, if it is there as far as is known.
    #[must_use]
    pub fn version(&self, secret: &SecretName) -> Option<String> {
        locked(&self.versions).get(secret).cloned()
    }

    /// Whether it is not known yet whether the Secret is there, or somebody has asked anew: who has asked about it by
    /// [`Secrets::version_for`] is woken when it is.
    #[must_use]
    pub fn is_pending(&self, secret: &SecretName) -> bool {
        locked(&self.versions).is_pending(secret)
    }

    /// Whether the Secret is known not to be there.
    #[must_use]
    pub fn is_absent(&self, secret: &SecretName) -> bool {
        let versions = locked(&self.versions);
        !versions.is_pending(secret) && versions.get(secret).is_none()
    }

    /// What is known of this Secret by reads is not good enough any more; a watch knows.
    pub fn ask_anew(&self, secret: &SecretName) {
        if locked(&self.versions).ask_anew(secret) {
            self.wanted.notify_one();
        }
    }

    /// Reads the versions of Secrets that no watch shows, as long as it is polled.
    pub async fn read_versions(&self) {
        let mut reads = FuturesUnordered::new();
        loop {
            let (due, next) = locked(&self.versions).due(MOST_READS - reads.len());
            reads.extend(due.into_iter().map(|(secret, question)| self.read_version(secret, question)));
            let next = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(()) = reads.next() => {}
                () = self.wanted.notified() => {}
                () = next => {}
            }
        }
    }

    async fn read_version(&self, secret: SecretName, question: u64) {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &secret.namespace);
        let read = timeout(READ_WITHIN, api.get_metadata_opt(&secret.name)).await;
        let read = read.map_err(|_| ReadSecret::TooSlow).and_then(|read| read.map_err(ReadSecret::Refused));
        match read {
            Ok(found) => {
                let version = found.map(|found| found.resource_version().unwrap_or_default());
                let news = locked(&self.versions).was_read(&secret, question, version.as_deref());
                if news {
                    self.wake(&secret);
                }
            }
            Err(error) => {
                let SecretName { namespace, name } = &secret;
                tracing::warn!(namespace, name, error = %chain(&error), "reading a Secret's version failed; it is tried again");
                locked(&self.versions).was_not_read(&secret);
            }
        }
    }

    /// Forgets one that does not wait any more.
    pub fn forget(&self, waiter: &Waiter) {
        locked(&self.dependents).retain(|secret, waiters| {
            waiters.remove(waiter);
            if waiters.is_empty() {
                let key = credential_key(secret);
                self.credentials.remove(&key);
                locked(&self.unusable).remove(&key);
                locked(&self.prints).remove(secret);
                locked(&self.versions).forget(secret);
            }
            !waiters.is_empty()
        });
    }

    /// Whether the credential of this Secret can be used; reads it where it is not known at its present version.
    /// `keep`: what was known of it before it went is good enough, as it is for a deletion.
    pub fn credential(self: &Arc<Self>, secret: &SecretName, keep: bool, waiter: &Waiter) -> CredentialSecret {
        let key = credential_key(secret);
        let known = self.credentials.version(&key);
        let Some(version) = self.version_for(secret, waiter) else {
            if keep && known.is_some() {
                return CredentialSecret::Put;
            }
            let SecretName { namespace, name } = secret;
            let message =
                format!("Secret {name:?} with the credentials does not exist in namespace {namespace:?}; create it.");
            return CredentialSecret::Unusable(Unusable { problem: SecretProblem::NotFound, message });
        };
        if known.as_ref() == Some(&version) {
            return CredentialSecret::Put;
        }
        if let Some((of, unusable)) = locked(&self.unusable).get(&key)
            && *of == version
        {
            return CredentialSecret::Unusable(unusable.clone());
        }
        if locked(&self.reading).insert(key.clone()) {
            tokio::spawn(Arc::clone(self).read_credential(key, secret.clone()));
        }
        CredentialSecret::Pending
    }

    async fn read_credential(self: Arc<Self>, key: CredentialKey, name: SecretName) {
        match self.get(&name).await {
            Ok(Some(secret)) => {
                let version = secret.resource_version().unwrap_or_default();
                self.seen(&name, &version);
                match source(&name.name, secret.data.unwrap_or_default()) {
                    Ok(source) => {
                        locked(&self.unusable).remove(&key);
                        if self.credentials.put(&key, &version, source) {
                            tracing::info!(credential = %key, version, "credential read");
                            self.lists.renew(&key);
                        }
                    }
                    Err(unusable) => {
                        tracing::warn!(credential = %key, version, problem = unusable.message, "credential cannot be used");
                        locked(&self.unusable).insert(key.clone(), (version, unusable));
                    }
                }
            }
            // The watch will say so too.
            Ok(None) => self.gone(&name),
            Err(error) => {
                tracing::warn!(credential = %key, error = %chain(&error), "reading the Secret failed");
                tokio::time::sleep(READ_AGAIN).await;
            }
        }
        locked(&self.reading).remove(&key);
        self.wake(&name);
    }

    /// The vendor's secrets, and the versions of the Secrets that hold them.
    ///
    /// # Errors
    /// The API server's.
    pub async fn read(
        &self,
        namespace: &str,
        fields: &[SecretField],
    ) -> Result<Result<(Vec<SecretString>, Vec<ObservedSecret>), Unusable>, ReadSecret> {
        let mut read: HashMap<&str, HashMap<&str, SecretBytes>> = HashMap::new();
        let mut observed: Vec<ObservedSecret> = Vec::new();
        let mut values = Vec::with_capacity(fields.len());
        for field in fields {
            let name = field.secret.as_str();
            let of = SecretName { namespace: namespace.to_owned(), name: name.to_owned() };
            if !read.contains_key(name) {
                let Some(secret) = self.get(&of).await? else {
                    let field = field.spec_name();
                    let message =
                        format!("Secret {name:?} of {field} does not exist in namespace {namespace:?}; create it.");
                    return Ok(Err(Unusable { problem: SecretProblem::NotFound, message }));
                };
                let version = secret.resource_version().unwrap_or_default();
                self.seen(&of, &version);
                observed.push(ObservedSecret { name: name.to_owned(), resource_version: version });
                read.insert(name, wanted(fields, name, secret.data.unwrap_or_default()));
            }
            let value = read.get(name).and_then(|keys| keys.get(field.key.as_str()));
            match vendor_secret(field, value) {
                Ok(value) => {
                    let observed = observed.iter().find(|observed| observed.name == name);
                    self.print(of, field, observed, &value);
                    values.push(value);
                }
                Err(unusable) => return Ok(Err(unusable)),
            }
        }
        observed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Ok((values, observed)))
    }

    /// Remembers a secret as far as is needed to know its echo again: a keyed hash of its digest.
    fn print(&self, secret: SecretName, field: &SecretField, observed: Option<&ObservedSecret>, value: &SecretString) {
        let Some(version) = observed.map(|observed| &observed.resource_version) else { return };
        let print = self.print_key.hash_one(digest_of(value).expose_secret());
        let mut prints = locked(&self.prints);
        let (of, keys) = prints.entry(secret).or_default();
        if of != version {
            version.clone_into(of);
            keys.clear();
        }
        keys.insert(field.key.clone(), print);
    }

    /// A keyed hash of what an object of this id was sent: known again where no echo tells it.
    #[must_use]
    pub fn print_of(&self, id: &str, secrets: &[SecretString]) -> u64 {
        let secrets: Vec<&str> = secrets.iter().map(SecretString::expose_secret).collect();
        self.print_key.hash_one((id, secrets))
    }

    /// Whether an echoed digest is that of this field's secret at this version; `None` where the secret has not been read.
    #[must_use]
    pub fn is_print(&self, namespace: &str, field: &SecretField, version: &str, digest: &str) -> Option<bool> {
        let prints = locked(&self.prints);
        let secret = SecretName { namespace: namespace.to_owned(), name: field.secret.clone() };
        let (of, keys) = prints.get(&secret)?;
        let print = keys.get(&field.key).filter(|_| of == version)?;
        Some(*print == self.print_key.hash_one(digest))
    }

    /// A read may be newer than what is known.
    fn seen(&self, secret: &SecretName, version: &str) {
        locked(&self.versions).seen(secret, version);
    }

    /// The Secret as it was last seen, or newer: that the API server can tell from its own memory, and need not ask the
    /// store behind it.
    async fn get(&self, secret: &SecretName) -> Result<Option<Secret>, ReadSecret> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &secret.namespace);
        let read = async {
            if let Some(version) = self.version(secret) {
                match api.get_with(&secret.name, &GetParams::at(&version)).await {
                    Ok(secret) => return Ok(Some(secret)),
                    Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(None),
                    // A cluster that was set back to a backup knows no such version (504), another implementation may
                    // have dropped it (410) or know no such question (400). What there is now it can tell all the same.
                    Err(kube::Error::Api(status)) if matches!(status.code, 400 | 410 | 504) => {}
                    Err(error) => return Err(error),
                }
            }
            api.get_opt(&secret.name).await
        };
        timeout(READ_WITHIN, read).await.map_err(|_| ReadSecret::TooSlow)?.map_err(ReadSecret::Refused)
    }
}

/// Why a Secret could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadSecret {
    /// No answer in time.
    #[error("the API server did not answer in time")]
    TooSlow,
    /// The API server's error.
    #[error("the API server did not give the Secret")]
    Refused(#[source] kube::Error),
}

/// Whether a resourceVersion is newer: they are numbers that grow.
#[must_use]
pub fn is_newer(version: &str, than: &str) -> bool {
    match (version.parse::<u128>(), than.parse::<u128>()) {
        (Ok(version), Ok(than)) => version > than,
        _ => version != than,
    }
}

/// The watch is behind a read of ours. What are no numbers are not compared.
fn is_older(version: &str, than: &str) -> bool {
    matches!((version.parse::<u128>(), than.parse::<u128>()), (Ok(version), Ok(than)) if version < than)
}

type SecretBytes = secrecy::SecretSlice<u8>;

/// The keys that these fields want; the rest is dropped.
fn wanted<'a>(
    fields: &'a [SecretField],
    name: &str,
    mut data: std::collections::BTreeMap<String, ByteString>,
) -> HashMap<&'a str, SecretBytes> {
    let of = fields.iter().filter(|field| field.secret == name);
    of.filter_map(|field| Some((field.key.as_str(), SecretBytes::from(data.remove(&field.key)?.0)))).collect()
}

fn vendor_secret(field: &SecretField, value: Option<&SecretBytes>) -> Result<SecretString, Unusable> {
    let (name, key, of) = (&field.secret, &field.key, field.spec_name());
    let Some(value) = value else {
        let message = format!("Secret {name:?} has no key {key:?}, which {of} refers to; add it.");
        return Err(Unusable { problem: SecretProblem::KeyMissing, message });
    };
    let invalid = |what: String| Unusable {
        problem: SecretProblem::Invalid,
        message: format!("Key {key:?} of Secret {name:?}, which {of} refers to, cannot be used: {what}."),
    };
    let text = secret_text(value.expose_secret()).map_err(|error| invalid(error.to_string()))?;
    if text.expose_secret().chars().count() < field.min_length {
        return Err(invalid(format!(
            "it is shorter than the {} characters that the API takes at least",
            field.min_length
        )));
    }
    Ok(text)
}

/// What a credentials Secret holds: a token, or a service account.
fn source(name: &str, mut data: std::collections::BTreeMap<String, ByteString>) -> Result<Source, Unusable> {
    let mut take = |key: &str| data.remove(key).map(|bytes| SecretBytes::from(bytes.0));
    let invalid = |key: &str, error: &dyn std::fmt::Display| Unusable {
        problem: SecretProblem::Invalid,
        message: format!("Key {key:?} of Secret {name:?} with the credentials cannot be used: {error}."),
    };
    let token = take("token");
    let account = ["client_id", "client_secret", "tsg_id"].map(|key| (key, take(key)));
    if let Some(token) = token {
        if account.iter().any(|(_, value)| value.is_some()) {
            let message = format!(
                "Secret {name:?} with the credentials holds both token and a service account; \
                 keep either token, or client_id, client_secret and tsg_id."
            );
            return Err(Unusable { problem: SecretProblem::Invalid, message });
        }
        return Token::parse(token.expose_secret()).map(Source::Static).map_err(|error| invalid("token", &error));
    }
    if account.iter().all(|(_, value)| value.is_none()) {
        let message = format!(
            "Secret {name:?} with the credentials has neither the key \"token\" nor the keys \"client_id\", \
             \"client_secret\" and \"tsg_id\"; add one or the other."
        );
        return Err(Unusable { problem: SecretProblem::KeyMissing, message });
    }
    let mut texts = Vec::with_capacity(3);
    for (key, value) in account {
        let Some(value) = value else {
            let message = format!(
                "Secret {name:?} with the credentials has no key {key:?}; a service account needs client_id, client_secret and tsg_id."
            );
            return Err(Unusable { problem: SecretProblem::KeyMissing, message });
        };
        texts.push(secret_text(value.expose_secret()).map_err(|error| invalid(key, &error))?);
    }
    let mut texts = texts.into_iter();
    let (Some(client_id), Some(client_secret), Some(tsg_id)) = (texts.next(), texts.next(), texts.next()) else {
        return Err(invalid("client_id", &"it cannot be read"));
    };
    let tsg_id = tsg_id.expose_secret();
    if tsg_id.len() > 64 || !tsg_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
        return Err(invalid(
            "tsg_id",
            &"it is not the id of a tenant service group: letters, digits, _ and -, at most 64",
        ));
    }
    Ok(Source::ServiceAccount { client_id, client_secret, tsg_id: tsg_id.to_owned() })
}

fn identity(secret: &PartialObjectMeta<Secret>) -> Option<(SecretName, String)> {
    let name = SecretName { namespace: secret.namespace()?, name: secret.metadata.name.clone()? };
    Some((name, secret.resource_version()?))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
