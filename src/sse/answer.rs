//! Pure: from the body of a success to objects. Nothing of a body is in an error.

use serde_json::{Map, Value};

use super::error::Cause;
use super::inventory::Part;
use super::types::Remote;

#[cfg(test)]
mod tests;

/// The longest id that is believed.
const LONGEST_ID: usize = 128;

/// Whether the id can be one segment of a path without becoming another route.
pub(super) fn usable_id(id: &str) -> bool {
    (1..=LONGEST_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':'))
        && id.bytes().any(|byte| byte != b'.')
}

/// The JSON of a body.
pub(super) fn json(body: &[u8]) -> Result<Value, Cause> {
    // The error's own text can quote the body: only its place is kept.
    serde_json::from_slice(body).map_err(|error| Cause::NotJson { line: error.line(), column: error.column() })
}

/// The JSON of a success: one that carries errors is none.
pub(super) fn success(body: &[u8]) -> Result<Value, Cause> {
    let json = json(body)?;
    let says_errors =
        json.get("_errors").is_some_and(|errors| !errors.is_null() && errors.as_array() != Some(&Vec::new()));
    if says_errors { Err(Cause::Shape("a success, as its status says")) } else { Ok(json) }
}

/// The objects of an answer: a bare one, an array, or a page.
fn objects(json: Value) -> Vec<Value> {
    match json {
        Value::Array(items) => items,
        Value::Object(mut fields) if !fields.contains_key("id") => match fields.remove("data") {
            Some(Value::Array(items)) => items,
            Some(object @ Value::Object(_)) => vec![object],
            _ => vec![Value::Object(fields)],
        },
        other => vec![other],
    }
}

/// The object with its id; an empty name where it tells none.
fn remote(json: Value) -> Option<Remote> {
    let Value::Object(fields) = json else { return None };
    let id = text(&fields, "id").filter(|id| usable_id(id))?;
    let name = text(&fields, "name").unwrap_or_default();
    let folder = text(&fields, "folder");
    Some(Remote { id, name, folder, fields })
}

fn text(fields: &Map<String, Value>, key: &str) -> Option<String> {
    fields.get(key).and_then(Value::as_str).map(str::to_owned)
}

/// The object that a creation answered with: the only one that has a usable id.
pub(super) fn created(json: Value) -> Option<Remote> {
    let mut found = objects(json).into_iter().filter_map(remote);
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// The object of this id. An answer of one object that has a name and no id was asked for by id, so it is that one.
pub(super) fn identified(json: Value, id: &str) -> Option<Remote> {
    let mut objects = objects(json);
    if let [Value::Object(only)] = objects.as_mut_slice()
        && only.get("id").is_none_or(Value::is_null)
        && only.get("name").is_some_and(Value::is_string)
    {
        only.insert("id".to_owned(), Value::from(id));
    }
    objects.into_iter().filter_map(remote).find(|remote| remote.id == id)
}

/// A page of a list: a bare array, a page that says so, or a bare object.
pub(super) fn part(json: Value) -> Result<Part<Remote>, Cause> {
    let (items, total, limit, bare) = match json {
        Value::Array(items) => (items, None, None, true),
        Value::Object(mut page) if page.contains_key("data") => {
            let (total, limit) = (number(&page, "total"), number(&page, "limit"));
            match page.remove("data") {
                Some(Value::Array(items)) => (items, total, limit, false),
                // An empty list of some languages; without a total it would be too little to prove absence.
                Some(Value::Null) if total == Some(0) => (Vec::new(), total, limit, false),
                _ => return Err(Cause::Shape("a page whose data is a list")),
            }
        }
        Value::Object(object) if object.contains_key("id") => (vec![Value::Object(object)], None, None, true),
        _ => return Err(Cause::Shape("a list of objects")),
    };
    let listed = items.len();
    let items: Vec<_> = items
        .into_iter()
        .filter_map(remote)
        .filter(|remote| !remote.name.is_empty())
        .map(|remote| (remote.id.clone(), remote))
        .collect();
    let dropped = (listed - items.len()) as u64;
    Ok(Part { items, dropped, total, limit, bare })
}

/// A whole number, also one that came as text.
fn number(fields: &Map<String, Value>, key: &str) -> Option<u64> {
    let value = fields.get(key)?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}
