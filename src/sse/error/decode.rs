//! Pure: from a status, headers and a body to a [`Failure`].
//!
//! The status decides first: a name that the document does not give to that status is not believed. Then comes
//! `details.errorType`, then the message's text before the colon, then the other details, and the code last, where it
//! is unambiguous among the errors of that status. A body may be anything at all.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use serde_json::{Map, Value};

use super::reason::DOCUMENTED;
use super::{Acted, Failure, Method, Reason};

/// The longest body of an error that is looked at.
pub(in crate::sse) const MOST_OF_AN_ERROR: usize = 256 * 1024;

/// The longest wait that a server can ask for.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// How many of the errors in a body, and of the details in an error, are looked at.
const MOST_ITEMS: usize = 16;

/// The failure that an answer tells of whose status is not a success.
#[must_use]
pub fn decode(method: Method, status: u16, headers: &HeaderMap, body: &[u8]) -> Failure {
    let json = if body.len() <= MOST_OF_AN_ERROR { serde_json::from_slice::<Value>(body).ok() } else { None };
    let errors = json.as_ref().map(errors).unwrap_or_default();
    let known = errors.iter().find_map(|error| reason_of(error, status).map(|reason| (reason, *error)));
    let reason = match known {
        Some((reason, _)) => reason,
        None if status >= 500 && errors.iter().any(|error| tells_of_a_lock(error)) => Reason::Busy,
        None => by_status(status, !errors.is_empty()),
    };
    // Any error in the documented form is an answer; without it, what a gateway may have said for the tenant is none.
    let answered = status >= 400 && !errors.is_empty();
    let refused = (400..500).contains(&status) && status != 404 && status != 408;
    let acted = if answered || refused { Acted::No } else { Acted::Perhaps };
    let mut failure = Failure::new(method, reason, Some(status), acted);
    failure.code = known.map(|(_, error)| error).or_else(|| errors.first().copied()).and_then(code_of);
    failure.request_id = request_id(headers, json.as_ref());
    failure.retry_after = retry_after(headers, Timestamp::now());
    failure
}

/// The errors of a body in the documented form: objects that say anything at all.
fn errors(json: &Value) -> Vec<&Map<String, Value>> {
    let list = json.get("_errors").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let says = |error: &&Map<String, Value>| ["code", "message", "details"].iter().any(|key| error.contains_key(*key));
    list.iter().take(MOST_ITEMS).filter_map(Value::as_object).filter(says).collect()
}

fn by_status(status: u16, documented_form: bool) -> Reason {
    match status {
        401 => Reason::Unauthenticated,
        403 => Reason::Forbidden,
        404 if documented_form => Reason::NotFound,
        // Not the API's word about an object: a proxy's route, a gateway's patience, a proxy that asks for a password.
        404 | 407 | 408 => Reason::UnexpectedResponse,
        409 => Reason::Conflict,
        429 => Reason::RateLimited,
        400..500 => Reason::BadRequest,
        500..600 => Reason::ServerError,
        _ => Reason::UnexpectedResponse,
    }
}

/// The documented error that this one is, if it is one of that status.
fn reason_of(error: &Map<String, Value>, status: u16) -> Option<Reason> {
    let details = error.get("details");
    let typed = details.into_iter().flat_map(error_types);
    let message = error.get("message").and_then(Value::as_str);
    let loose = details.into_iter().flat_map(texts);
    let mut any_name = false;
    for text in typed.chain(message).chain(loose) {
        let Some(name) = normal(text) else { continue };
        let mut named = DOCUMENTED.iter().filter(|known| known.name == name).peekable();
        any_name |= named.peek().is_some();
        if let Some(known) = named.find(|known| known.status == status) {
            return Some(known.reason);
        }
    }
    // A name of another status contradicts the answer: its code proves nothing then.
    if any_name {
        return None;
    }
    let code = code_of(error)?;
    let mut coded = DOCUMENTED.iter().filter(|known| known.status == status && known.code.eq_ignore_ascii_case(&code));
    let first = coded.next()?.reason;
    coded.all(|other| other.reason == first).then_some(first)
}

/// Every `errorType` of the details.
fn error_types(details: &Value) -> Vec<&str> {
    match details {
        Value::Object(fields) => fields.get("errorType").and_then(Value::as_str).into_iter().collect(),
        Value::Array(items) => {
            items.iter().take(MOST_ITEMS).filter_map(|item| item.get("errorType").and_then(Value::as_str)).collect()
        }
        _ => Vec::new(),
    }
}

/// The details that are plain text.
fn texts(details: &Value) -> Vec<&str> {
    match details {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().take(MOST_ITEMS).filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The text before the colon, letters and digits alone and in lower case; `None` where it cannot be a documented name.
fn normal(text: &str) -> Option<String> {
    let head = text.split(':').next().unwrap_or_default();
    if head.len() > 64 {
        return None;
    }
    let mut name = String::with_capacity(head.len());
    for c in head.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => name.push(c.to_ascii_lowercase()),
            c if c.is_whitespace() || matches!(c, '_' | '-' | '.') => {}
            _ => return None,
        }
    }
    Some(name)
}

/// Whether the error speaks of a lock on the configuration.
fn tells_of_a_lock(error: &Map<String, Value>) -> bool {
    let details = error.get("details");
    let within = details.and_then(|details| details.get("message")).into_iter().flat_map(texts);
    let message = error.get("message").and_then(Value::as_str);
    message.into_iter().chain(details.into_iter().flat_map(texts)).chain(within).any(is_about_a_lock)
}

fn is_about_a_lock(text: &str) -> bool {
    let (mut lock, mut subject) = (false, false);
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()).take(200) {
        let word = word.to_ascii_lowercase();
        lock |= matches!(word.as_str(), "lock" | "locks" | "locked" | "writelock" | "configlock");
        subject |= ["config", "write", "candidate", "commit"].iter().any(|start| word.starts_with(start));
    }
    lock && subject
}

fn code_of(error: &Map<String, Value>) -> Option<String> {
    error.get("code").and_then(code_text)
}

/// A code fit to be shown: a short word or an integer.
pub(in crate::sse) fn code_text(code: &Value) -> Option<String> {
    match code {
        Value::String(text) => kept(text, 32, "_-"),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

/// The request's id, from the body or else from the headers.
pub(in crate::sse) fn request_id(headers: &HeaderMap, json: Option<&Value>) -> Option<String> {
    let body = json.and_then(|json| json.get("_request_id")).and_then(Value::as_str);
    let header = headers.get("x-request-id").and_then(|value| value.to_str().ok());
    [body, header].into_iter().flatten().find_map(|id| kept(id, 128, "._:-"))
}

/// The text, if it is short and of letters, digits and these alone.
pub(in crate::sse) fn kept(text: &str, most: usize, besides: &str) -> Option<String> {
    let fit =
        (1..=most).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || besides.contains(c));
    fit.then(|| text.to_owned())
}

/// What `Retry-After` asks for, in seconds or as a date, an hour at most. A date counts from the server's own `Date`.
pub(in crate::sse) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().map_or(LONGEST_WAIT, Duration::from_secs).min(LONGEST_WAIT));
    }
    let until = http_date(text)?;
    let date = headers.get(DATE).and_then(|date| http_date(date.to_str().ok()?));
    let now = date.unwrap_or_else(|| Offset::UTC.to_datetime(now));
    Some(Duration::try_from(until.duration_since(now)).unwrap_or_default().min(LONGEST_WAIT))
}

/// A date in one of the three forms of HTTP, all of them in UTC.
fn http_date(text: &str) -> Option<DateTime> {
    let text = text.trim();
    if text.len() > 64 {
        return None;
    }
    ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]
        .iter()
        .find_map(|format| DateTime::strptime(format, text).ok())
}
