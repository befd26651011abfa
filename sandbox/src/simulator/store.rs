//! A tenant's configuration: the candidate that calls write, indexed by id and by folder and name, and what runs.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::folder::{Folder, Position};

/// An object as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) id: String,
    pub(crate) folder: Folder,
    pub(crate) position: Position,
    /// Everything but id, folder and position, with secrets as they were sent.
    pub(crate) body: Map<String, Value>,
    /// How many other objects refer to it.
    pub(crate) references: u32,
    /// 1 when created, one more with each write.
    pub(crate) version: u64,
    /// Whether another administrator made it.
    pub(crate) by_hand: bool,
    /// Orders the objects of a folder.
    order: u64,
}

impl Object {
    pub(crate) fn name(&self) -> &str {
        self.body.get("name").and_then(Value::as_str).unwrap_or_default()
    }
}

/// An object with everything that the tenant holds of it, secrets included: for checks, never for a log.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredObject {
    /// The tenant.
    pub tenant: String,
    /// The id.
    pub id: String,
    /// The name.
    pub name: String,
    /// The folder.
    pub folder: Folder,
    /// The position.
    pub position: Position,
    /// The body as it was sent, secrets included.
    pub body: Value,
    /// How many other objects refer to it.
    pub references: u32,
    /// 1 when created, one more with each write.
    pub version: u64,
    /// Whether another administrator made it.
    pub by_hand: bool,
}

impl StoredObject {
    pub(crate) fn new(tenant: &str, object: &Object) -> Self {
        Self {
            tenant: tenant.to_owned(),
            id: object.id.clone(),
            name: object.name().to_owned(),
            folder: object.folder,
            position: object.position,
            body: Value::Object(object.body.clone()),
            references: object.references,
            version: object.version,
            by_hand: object.by_hand,
        }
    }

    /// A field of the body by its JSON pointer, such as `/mfa_vendor_type/okta_adaptive_v1/okta_token`.
    #[must_use]
    pub fn field(&self, pointer: &str) -> Option<&Value> {
        self.body.pointer(pointer)
    }
}

impl std::fmt::Debug for StoredObject {
    /// Leaves out the body, which holds secrets.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tenant, id, name, folder, position, references, version, by_hand, body: _ } = self;
        formatter
            .debug_struct("StoredObject")
            .field("tenant", tenant)
            .field("id", id)
            .field("name", name)
            .field("folder", folder)
            .field("position", position)
            .field("references", references)
            .field("version", version)
            .field("by_hand", by_hand)
            .finish_non_exhaustive()
    }
}

/// Why the configuration did not take a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such object.
    #[error("no such object")]
    NotPresent,
    /// The folder holds another object of that name.
    #[error("another object of that name is in the folder")]
    NameTaken,
    /// Other objects refer to it.
    #[error("other objects refer to it")]
    Referenced,
    /// The body is not a valid object.
    #[error("not a valid object")]
    Invalid,
}

/// The candidate configuration of a tenant.
#[derive(Debug, Default)]
pub(crate) struct Candidate {
    objects: HashMap<String, Object>,
    names: HashMap<Folder, HashMap<String, String>>,
    orders: HashMap<Folder, BTreeMap<(Position, u64), String>>,
    last_order: u64,
}

impl Candidate {
    pub(crate) fn get(&self, id: &str) -> Option<&Object> {
        self.objects.get(id)
    }

    pub(crate) fn by_name(&self, folder: Folder, name: &str) -> Option<&Object> {
        self.objects.get(self.names.get(&folder)?.get(name)?)
    }

    /// Whether a name is taken by another object of the folder, or of one that it inherits from.
    fn taken(&self, folder: Folder, name: &str, but: Option<&str>, inherited: bool) -> bool {
        folder
            .lineage()
            .take(if inherited { usize::MAX } else { 1 })
            .any(|folder| self.by_name(folder, name).is_some_and(|object| but != Some(object.id.as_str())))
    }

    pub(crate) fn create(
        &mut self,
        id: String,
        (folder, position): (Folder, Position),
        body: Map<String, Value>,
        by_hand: bool,
        inherited_names_conflict: bool,
    ) -> Result<&Object, Refused> {
        let name = body.get("name").and_then(Value::as_str).ok_or(Refused::Invalid)?;
        if self.taken(folder, name, None, inherited_names_conflict) {
            return Err(Refused::NameTaken);
        }
        self.last_order += 1;
        let order = self.last_order;
        let object = Object { id, folder, position, body, references: 0, version: 1, by_hand, order };
        Ok(self.insert(object))
    }

    fn insert(&mut self, object: Object) -> &Object {
        let id = object.id.clone();
        self.names.entry(object.folder).or_default().insert(object.name().to_owned(), id.clone());
        self.orders.entry(object.folder).or_default().insert((object.position, object.order), id.clone());
        self.objects.entry(id).insert_entry(object).into_mut()
    }

    fn remove(&mut self, id: &str) -> Option<Object> {
        let object = self.objects.remove(id)?;
        if let Some(names) = self.names.get_mut(&object.folder) {
            names.remove(object.name());
        }
        if let Some(order) = self.orders.get_mut(&object.folder) {
            order.remove(&(object.position, object.order));
        }
        Some(object)
    }

    /// Replaces an object's body, keeping id, folder, position and place.
    pub(crate) fn update(
        &mut self,
        id: &str,
        body: Map<String, Value>,
        inherited_names_conflict: bool,
    ) -> Result<&Object, Refused> {
        let folder = self.get(id).ok_or(Refused::NotPresent)?.folder;
        let name = body.get("name").and_then(Value::as_str).ok_or(Refused::Invalid)?;
        if self.taken(folder, name, Some(id), inherited_names_conflict) {
            return Err(Refused::NameTaken);
        }
        let mut object = self.remove(id).ok_or(Refused::NotPresent)?;
        object.body = body;
        object.version += 1;
        Ok(self.insert(object))
    }

    pub(crate) fn delete(&mut self, id: &str) -> Result<Object, Refused> {
        if self.get(id).ok_or(Refused::NotPresent)?.references > 0 {
            return Err(Refused::Referenced);
        }
        self.remove(id).ok_or(Refused::NotPresent)
    }

    /// Puts an object into another folder, keeping its id.
    pub(crate) fn move_to(&mut self, id: &str, folder: Folder) -> Result<(), Refused> {
        let name = self.get(id).ok_or(Refused::NotPresent)?.name().to_owned();
        if self.taken(folder, &name, Some(id), false) {
            return Err(Refused::NameTaken);
        }
        let mut object = self.remove(id).ok_or(Refused::NotPresent)?;
        object.folder = folder;
        object.version += 1;
        self.insert(object);
        Ok(())
    }

    /// Gives an object another id.
    pub(crate) fn swap_id(&mut self, id: &str, new: String) -> Result<(), Refused> {
        let mut object = self.remove(id).ok_or(Refused::NotPresent)?;
        object.id = new;
        object.version += 1;
        self.insert(object);
        Ok(())
    }

    pub(crate) fn refer(&mut self, id: &str, references: u32) -> Result<(), Refused> {
        self.objects.get_mut(id).ok_or(Refused::NotPresent)?.references = references;
        Ok(())
    }

    /// How many objects a folder shows.
    pub(crate) fn count(&self, folder: Folder, inherited: bool) -> usize {
        self.visible(folder, inherited).map(BTreeMap::len).sum()
    }

    /// The objects that a folder shows, its own first, in a stable order.
    pub(crate) fn list(&self, folder: Folder, inherited: bool) -> impl Iterator<Item = &Object> {
        self.visible(folder, inherited).flat_map(BTreeMap::values).filter_map(|id| self.objects.get(id))
    }

    fn visible(&self, folder: Folder, inherited: bool) -> impl Iterator<Item = &BTreeMap<(Position, u64), String>> {
        folder.lineage().take(if inherited { usize::MAX } else { 1 }).filter_map(|folder| self.orders.get(&folder))
    }

    /// All objects, folder by folder.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Object> {
        Folder::ALL.into_iter().flat_map(|folder| self.list(folder, false))
    }
}
