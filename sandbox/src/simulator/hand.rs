//! The hand of another administrator: what changes a tenant without a request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::folder::{Folder, Position};
use super::object;
use super::options::{Answers, ServiceAccount, TenantOptions, TokenShape};
use super::shared::Shared;
use super::store::{Refused, StoredObject};
use super::tenant::Tenant;

/// A tenant, as its administrators and tests see it. Nothing done through it is in the request log.
#[derive(Clone, Debug)]
pub struct TenantHandle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tenant: Arc<Tenant>,
}

impl TenantHandle {
    /// The tenant's id.
    #[must_use]
    pub fn tsg_id(&self) -> &str {
        &self.tenant.tsg_id
    }

    /// Its options.
    #[must_use]
    pub fn options(&self) -> TenantOptions {
        (*self.tenant.options()).clone()
    }

    /// Changes its options; requests under way keep the old ones.
    pub fn configure(&self, change: impl FnOnce(&mut TenantOptions)) {
        let mut options = self.options();
        change(&mut options);
        self.shared.configure(self.tsg_id(), options);
    }

    /// Changes how it answers.
    pub fn answer(&self, change: impl FnOnce(&mut Answers)) {
        self.configure(|options| change(&mut options.answers));
    }

    /// Registers a bearer token that is good until it is removed.
    pub fn add_bearer_token(&self, token: &str) {
        self.configure(|options| options.bearer_tokens.push(token.to_owned()));
    }

    /// Forgets a bearer token, as if it never was.
    pub fn remove_bearer_token(&self, token: &str) {
        self.configure(|options| options.bearer_tokens.retain(|other| other != token));
        self.shared.tokens.remove(token);
    }

    /// Adds a service account, or gives it another secret.
    pub fn set_service_account(&self, client_id: &str, client_secret: &str) {
        self.configure(|options| {
            options.service_accounts.retain(|account| account.client_id != client_id);
            let account = ServiceAccount { client_id: client_id.to_owned(), client_secret: client_secret.to_owned() };
            options.service_accounts.push(account);
        });
    }

    /// Removes a service account; its tokens stay good.
    pub fn remove_service_account(&self, client_id: &str) {
        self.configure(|options| options.service_accounts.retain(|account| account.client_id != client_id));
    }

    /// Makes a token as the token endpoint would, without a request.
    #[must_use]
    pub fn issue_token(&self, client_id: Option<&str>, lifetime: Duration, shape: TokenShape) -> String {
        self.shared.tokens.issue(self.tsg_id(), client_id, lifetime, shape, self.shared.seed)
    }

    /// Revokes all fetched tokens, or those of one service account.
    pub fn revoke_tokens(&self, client_id: Option<&str>) {
        self.shared.tokens.revoke(self.tsg_id(), client_id);
    }

    /// All objects of the candidate configuration, folder by folder, secrets included.
    #[must_use]
    pub fn objects(&self) -> Vec<StoredObject> {
        self.tenant.with(|configuration| {
            configuration.candidate.all().map(|object| StoredObject::new(&self.tenant.tsg_id, object)).collect()
        })
    }

    /// The object of that name in that folder.
    #[must_use]
    pub fn find(&self, folder: Folder, name: &str) -> Option<StoredObject> {
        self.tenant.with(|configuration| {
            configuration.candidate.by_name(folder, name).map(|object| StoredObject::new(self.tsg_id(), object))
        })
    }

    /// The object of that id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<StoredObject> {
        self.tenant.with(|configuration| {
            configuration.candidate.get(id).map(|object| StoredObject::new(self.tsg_id(), object))
        })
    }

    /// The object of that id as the API shows it now.
    #[must_use]
    pub fn echo(&self, id: &str) -> Option<Value> {
        let options = self.tenant.options();
        self.tenant
            .with(|configuration| configuration.candidate.get(id).map(|found| object::echo(found, &options.answers)))
    }

    /// Creates an object and returns its id.
    ///
    /// # Errors
    /// When the body is invalid or the name is taken.
    pub fn create(&self, folder: Folder, position: Position, body: &Value) -> Result<String, Refused> {
        let options = self.tenant.options();
        let body = object::accept(body, &options.answers).ok_or(Refused::Invalid)?;
        self.tenant.with(|configuration| {
            let place = (folder, position);
            configuration.candidate.create(self.shared.uuid(), place, body, true, false).map(|object| object.id.clone())
        })
    }

    /// Replaces an object's body.
    ///
    /// # Errors
    /// When there is no such object, the body is invalid or the name is taken.
    pub fn replace(&self, id: &str, body: &Value) -> Result<(), Refused> {
        let options = self.tenant.options();
        let body = object::accept(body, &options.answers).ok_or(Refused::Invalid)?;
        self.tenant.with(|configuration| configuration.candidate.update(id, body, false).map(|_| ()))
    }

    /// Edits an object by a JSON merge patch (RFC 7386): any field, secrets too, `null` takes one away.
    /// What results need not be valid, but for its name.
    ///
    /// # Errors
    /// When there is no such object, or its name goes or is taken.
    pub fn edit(&self, id: &str, patch: &Value) -> Result<(), Refused> {
        self.tenant.with(|configuration| {
            let found = configuration.candidate.get(id).ok_or(Refused::NotPresent)?;
            let mut body = Value::Object(found.body.clone());
            merge(&mut body, patch);
            let Value::Object(body) = body else { return Err(Refused::Invalid) };
            configuration.candidate.update(id, body, false).map(|_| ())
        })
    }

    /// Gives an object another name.
    ///
    /// # Errors
    /// When there is no such object, or the name is taken.
    pub fn rename(&self, id: &str, name: &str) -> Result<(), Refused> {
        self.edit(id, &serde_json::json!({"name": name}))
    }

    /// Puts an object into another folder; its id stays.
    ///
    /// # Errors
    /// When there is no such object, or the name is taken there.
    pub fn move_to(&self, id: &str, folder: Folder) -> Result<(), Refused> {
        self.tenant.with(|configuration| configuration.candidate.move_to(id, folder))
    }

    /// Gives an object another id, as a delete and a create would, and returns it.
    ///
    /// # Errors
    /// When there is no such object.
    pub fn swap_id(&self, id: &str) -> Result<String, Refused> {
        let new = self.shared.uuid();
        self.tenant.with(|configuration| configuration.candidate.swap_id(id, new.clone()))?;
        Ok(new)
    }

    /// Deletes an object, referenced or not.
    ///
    /// # Errors
    /// When there is no such object.
    pub fn delete(&self, id: &str) -> Result<(), Refused> {
        self.tenant.with(|configuration| {
            configuration.candidate.refer(id, 0)?;
            configuration.candidate.delete(id).map(|_| ())
        })
    }

    /// Says how many other objects refer to this one; while any does, a DELETE is answered `ReferenceNotZero`.
    ///
    /// # Errors
    /// When there is no such object.
    pub fn set_references(&self, id: &str, references: u32) -> Result<(), Refused> {
        self.tenant.with(|configuration| configuration.candidate.refer(id, references))
    }

    /// What runs, by folder: the version and the objects that the folder shows.
    #[must_use]
    pub fn running(&self) -> BTreeMap<Folder, (u64, Vec<StoredObject>)> {
        self.tenant.with(|configuration| {
            let by_folder = configuration.jobs.running().iter();
            by_folder
                .map(|(folder, running)| {
                    let objects =
                        running.objects.iter().map(|object| StoredObject::new(&self.tenant.tsg_id, object)).collect();
                    (*folder, (running.version, objects))
                })
                .collect()
        })
    }

    /// The jobs as the API shows them, the youngest first.
    #[must_use]
    pub fn jobs(&self) -> Vec<Value> {
        self.tenant.with(|configuration| configuration.jobs.all())
    }
}

/// RFC 7386.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(target) = target {
        for (member, value) in patch {
            if value.is_null() {
                target.remove(member);
            } else {
                merge(target.entry(member.clone()).or_insert(Value::Null), value);
            }
        }
    }
}
