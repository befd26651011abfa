//! A documented text, changed as rolls say: where it is JSON, as a value first, and then as text.
//!
//! # Guarantees
//! Every loop is over a number that is rolled below a bound, values are made to a depth and of a number of nodes that are
//! given from the start, and what comes out is at most [`LONGEST`] bytes: it ends, whatever is rolled.

use serde_json::{Map, Value, json};

use crate::{PLANTED, Rolls};

/// The longest text that comes out.
pub const LONGEST: usize = 256 * 1024;

/// How deep a made value is.
const DEEPEST: usize = 6;
/// How many nodes all made values and copies of one text have together.
const MOST_NODES: usize = 4_000;
/// How many changes are made to one text.
const MOST_EDITS: usize = 9;
/// The longest string that is made.
const LONGEST_STRING: usize = 5_000;

const KEYS: [&str; 34] = [
    "id",
    "name",
    "folder",
    "data",
    "total",
    "limit",
    "offset",
    "_errors",
    "_request_id",
    "code",
    "message",
    "details",
    "errorType",
    "mfa_vendor_type",
    "okta_adaptive_v1",
    "okta_token",
    "okta_timeout",
    "duo_security_v2",
    "duo_secret_key",
    "error",
    "error_description",
    "access_token",
    "expires_in",
    "exp",
    "scope",
    "tsg_id",
    "metadata",
    "spec",
    "status",
    "annotations",
    "conditions",
    "uid",
    "nonce",
    "secrets",
];

const STRINGS: [&str; 32] = [
    "",
    "a",
    PLANTED,
    "abcd-1234",
    "..",
    "../x",
    "a/b",
    "0",
    "4",
    "-1",
    "1e309",
    "E003",
    "E016",
    "API_I00013",
    "Shared",
    "Mobile Users",
    "Name Not Unique",
    "Object Not Present: x",
    "Invalid Object",
    "config lock could not be taken",
    "tsg_id:1234567890",
    "tsg_id:1 tsg_id:2",
    "True",
    "pre",
    "Delete",
    "-AQ==AAAAAAAAAAAAAAAAAAAAAAAAAAA=BBBB",
    "********",
    "2026-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "\u{0}\u{7f}",
    "\u{202e}\u{feff}ü\u{1f600}",
    "a\nb\tc",
];

/// The text, changed.
#[must_use]
pub fn text(seed: &[u8], rolls: &mut Rolls<'_>) -> Vec<u8> {
    let mut text = match serde_json::from_slice::<Value>(seed) {
        Ok(mut value) => {
            let mut nodes = MOST_NODES;
            for _ in 0..rolls.below(MOST_EDITS) {
                edit(&mut value, rolls, &mut nodes);
            }
            serde_json::to_vec(&value).unwrap_or_default()
        }
        Err(_) => seed.to_vec(),
    };
    // Mostly it stays what it is: what is no JSON any more comes no further than the parser.
    match rolls.below(16) {
        1 => text.truncate(rolls.below(text.len() + 1)),
        2 => change_bytes(&mut text, rolls),
        3 => insert_bytes(&mut text, rolls),
        4 => nest(&mut text, rolls.below(20_000)),
        5 => drop(text.splice(0..0, *b"\xef\xbb\xbf")),
        6 => text.extend_from_within(..),
        7 => repeat_member(&mut text, rolls),
        _ => {}
    }
    text.truncate(LONGEST);
    text
}

fn change_bytes(text: &mut [u8], rolls: &mut Rolls<'_>) {
    for _ in 0..rolls.below(5) {
        let at = rolls.below(text.len());
        if let Some(byte) = text.get_mut(at) {
            *byte = rolls.byte();
        }
    }
}

fn insert_bytes(text: &mut Vec<u8>, rolls: &mut Rolls<'_>) {
    let at = rolls.below(text.len() + 1);
    let length = rolls.below(64);
    text.splice(at..at, rolls.bytes(length).iter().copied());
}

/// So many arrays around it.
fn nest(text: &mut Vec<u8>, depth: usize) {
    text.splice(0..0, std::iter::repeat_n(b'[', depth));
    text.extend(std::iter::repeat_n(b']', depth));
}

/// The same member twice, which a value cannot have and a text can.
fn repeat_member(text: &mut Vec<u8>, rolls: &mut Rolls<'_>) {
    if text.first() == Some(&b'{') {
        let key = rolls.pick(&KEYS).unwrap_or_default();
        let value = leaf(rolls);
        text.splice(1..1, format!("{}:{value},", json!(key)).into_bytes());
    }
}

/// One change somewhere in the value.
fn edit(root: &mut Value, rolls: &mut Rolls<'_>, nodes: &mut usize) {
    let place = descend(root, rolls);
    match rolls.below(10) {
        0 => *place = leaf(rolls),
        1 => *place = value(rolls, DEEPEST, nodes),
        2 => *place = Value::String(PLANTED.to_owned()),
        3 => *place = Value::Array(vec![place.take()]),
        4 => {
            let key = rolls.pick(&KEYS).unwrap_or_default().to_owned();
            *place = Value::Object(Map::from_iter([(key, place.take())]));
        }
        5 => retype(place),
        6 => {
            // Another member, or a known one anew.
            let (key, new) = (rolls.pick(&KEYS).unwrap_or_default(), value(rolls, 2, nodes));
            match place {
                Value::Object(members) => drop(members.insert(key.to_owned(), new)),
                Value::Array(items) => items.push(new),
                _ => {}
            }
        }
        7 => remove(place, rolls),
        8 => copy(place, rolls, nodes),
        _ => *place = Value::Null,
    }
}

/// A node somewhere below, at most as deep as the value is.
fn descend<'a>(root: &'a mut Value, rolls: &mut Rolls<'_>) -> &'a mut Value {
    let mut place = root;
    // Deeper than any value here is.
    for _ in 0..64 {
        let count = match &*place {
            Value::Array(items) => items.len(),
            Value::Object(members) => members.len(),
            _ => 0,
        };
        if count == 0 || rolls.once_in(5) {
            break;
        }
        let chosen = rolls.below(count);
        let key = match &*place {
            Value::Object(members) => members.keys().nth(chosen).cloned(),
            _ => None,
        };
        place = match key {
            Some(key) => &mut place[key.as_str()],
            None => &mut place[chosen],
        };
    }
    place
}

/// A number as text, a text as number.
fn retype(place: &mut Value) {
    match place {
        Value::Number(number) => *place = Value::String(number.to_string()),
        Value::String(text) => *place = text.parse::<i64>().map_or(json!(0), |number| json!(number)),
        Value::Bool(flag) => *place = Value::String(flag.to_string()),
        _ => {}
    }
}

fn remove(place: &mut Value, rolls: &mut Rolls<'_>) {
    match place {
        Value::Array(items) if !items.is_empty() => drop(items.swap_remove(rolls.below(items.len()))),
        Value::Object(members) => {
            let key = members.keys().nth(rolls.below(members.len())).cloned();
            key.and_then(|key| members.remove(&key));
        }
        _ => {}
    }
}

/// An item many times, or a member under many names.
fn copy(place: &mut Value, rolls: &mut Rolls<'_>, nodes: &mut usize) {
    let times = rolls.below(400);
    let mut pay = |value: &Value| {
        let left = nodes.checked_sub(count(value));
        left.inspect(|left| *nodes = *left).is_some()
    };
    match place {
        Value::Array(items) => {
            let Some(item) = items.first().cloned() else { return };
            items.extend((0..times).map_while(|_| pay(&item).then(|| item.clone())));
        }
        Value::Object(members) => {
            let Some(member) = members.values().next().cloned() else { return };
            let copies = (0..times).map_while(|at| pay(&member).then(|| (format!("member{at}"), member.clone())));
            members.extend(copies);
        }
        _ => {}
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(count).sum::<usize>(),
        Value::String(text) => 1 + text.len() / 64,
        _ => 1,
    }
}

/// A value of at most this depth, paid for with nodes: a leaf where either is used up.
fn value(rolls: &mut Rolls<'_>, depth: usize, nodes: &mut usize) -> Value {
    let Some(left) = nodes.checked_sub(1).filter(|_| depth > 0) else { return leaf(rolls) };
    *nodes = left;
    let length = match rolls.below(4) {
        0 | 1 => return leaf(rolls),
        _ => rolls.below(6),
    };
    if rolls.once_in(2) {
        (0..length).map(|_| value(rolls, depth - 1, nodes)).collect()
    } else {
        let member = |_| (rolls.pick(&KEYS).unwrap_or_default().to_owned(), value(rolls, depth - 1, nodes));
        Value::Object((0..length).map(member).collect())
    }
}

fn leaf(rolls: &mut Rolls<'_>) -> Value {
    match rolls.below(12) {
        0 => Value::Null,
        1 => json!(rolls.once_in(2)),
        2 => json!(rolls.byte()),
        3 => rolls.pick(&[u64::MAX, 1 << 53, 4_102_444_800, 0]).map_or(Value::Null, Value::from),
        4 => rolls.pick(&[i64::MIN, -1, -377_705_116_801]).map_or(Value::Null, Value::from),
        5 => rolls.pick(&[1e308, -0.0, 0.1, 253_402_300_800.5, 1e19]).map_or(Value::Null, Value::from),
        6 => {
            let length = rolls.below(LONGEST_STRING);
            Value::String(char::from(b'a' + rolls.byte() % 26).to_string().repeat(length))
        }
        7 => {
            let length = rolls.below(24);
            Value::String(String::from_utf8_lossy(rolls.bytes(length)).into_owned())
        }
        8 => Value::String(PLANTED.to_owned()),
        _ => Value::String(rolls.pick(&STRINGS).unwrap_or_default().to_owned()),
    }
}
