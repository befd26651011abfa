//! What the API and its token endpoint send, made rubbish: whatever comes is told without a panic, in bounded text, and
//! without a word of it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use mfa_fuzz::{Answer as Fed, PLANTED, tells_the_secret};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::answer;
use super::error::{Acted, Class, Failure, Method, Reason, classify, decode, kept, request_id, retry_after};
use super::inventory::{Assembly, Inventory, Mark, Next, Part, Write};
use super::token::{Claims, Fetched, Token, fetched};
use super::transport::Answer;
use super::types::{Remote, SECRET_FIELDS, VENDOR};
use crate::telemetry::chain;

/// The most that a failure says of itself in any form.
const LONGEST_FAILURE: usize = 1_000;

fn headers(answer: &Fed) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

fn exchanged(answer: &Fed) -> Answer {
    Answer { status: answer.status, headers: headers(answer), body: answer.body.clone(), cut: None }
}

/// Of a failure, whatever it was made of.
fn assert_is_harmless(failure: &Failure) {
    let said = format!("{failure} {failure:?} {}", chain(failure));
    assert!(said.len() <= LONGEST_FAILURE, "{} bytes", said.len());
    assert!(!tells_the_secret(&said), "{said}");
    assert!(failure.code.as_ref().is_none_or(|code| kept(code, 32, "_-").is_some()));
    assert!(failure.request_id.as_ref().is_none_or(|id| kept(id, 128, "._:-").is_some()));
    assert!(failure.retry_after.is_none_or(|wait| wait <= Duration::from_hours(1)));
}

#[test]
fn an_error_is_one_reason_of_one_class_and_tells_nothing_of_its_body() {
    mfa_fuzz::answers("error", |fed| {
        let headers = headers(fed);
        for method in Method::ALL {
            let failure = decode(method, fed.status, &headers, &fed.body);
            assert_is_harmless(&failure);
            assert_eq!(failure.http_status, Some(fed.status));
            assert_eq!(failure.class, classify(method, failure.reason, failure.http_status));
            assert_eq!(failure.class == Class::Throttled, fed.status == 429, "{failure:?}");
            assert_eq!(failure.is_absence(), failure.reason == Reason::ObjectNotPresent);
            assert!(!failure.is_absence() || fed.status == 404, "{failure:?}");
            assert!(failure.class != Class::Credential || fed.status == 401, "{failure:?}");
            assert!(failure.class != Class::Busy || fed.status >= 500, "{failure:?}");
            // Whoever has not refused, in the documented form or by a status that says so, may have acted.
            let documented = answer::json(&fed.body).is_ok_and(|json| json.get("_errors").is_some());
            let refused = (400..500).contains(&fed.status) && !matches!(fed.status, 404 | 408);
            assert!(failure.acted == Acted::Perhaps || fed.status >= 400 && (documented || refused), "{failure:?}");
            let again = decode(method, fed.status, &headers, &fed.body);
            assert_eq!(format!("{failure:?}"), format!("{again:?}"));
        }
    });
}

/// What is kept of an object, and what is shown of it.
fn assert_is_told_well(remote: &Remote) {
    assert!(answer::usable_id(&remote.id));
    assert!(format!("{remote:?}").len() <= 8 * (remote.id.len() + remote.name.len() + 1_000) + in_folder(remote) * 8);
    let kept = remote.clone().to_be_kept();
    let of_vendor = kept.fields.get(VENDOR).and_then(Value::as_object).into_iter().flatten();
    let members = of_vendor.filter_map(|(_, member)| member.as_object()).flatten();
    for (field, value) in members.filter(|(field, _)| SECRET_FIELDS.contains(&field.as_str())) {
        assert!(value.is_null() || value.as_str().is_some_and(|text| text.len() <= 33), "{field}");
        assert!(!tells_the_secret(&value.to_string()), "{field}");
    }
    assert_eq!(kept.clone().to_be_kept().fields, kept.fields);
}

fn in_folder(remote: &Remote) -> usize {
    remote.folder.as_ref().map_or(0, String::len)
}

fn size(remote: &Remote) -> usize {
    remote.id.len() + remote.name.len() + in_folder(remote) + Value::Object(remote.fields.clone()).to_string().len()
}

#[test]
fn a_page_is_every_item_once_or_an_error_that_tells_nothing_of_it() {
    mfa_fuzz::answers("page", |fed| {
        let length = fed.body.len();
        let part = match answer::success(&fed.body).and_then(answer::part) {
            Ok(part) => part,
            Err(cause) => return assert_is_harmless(&Failure::unexpected(Method::Get, Some(fed.status), cause)),
        };
        let json = answer::json(&fed.body).unwrap();
        let listed = match json.get("data").unwrap_or(&json) {
            Value::Array(items) => items.len(),
            Value::Null => 0,
            _ => 1,
        };
        assert_eq!(part.items.len() as u64 + part.dropped, listed as u64);
        for (id, remote) in &part.items {
            assert!(*id == remote.id && !remote.name.is_empty());
            assert_is_told_well(remote);
        }
        let kept: usize = part.items.iter().map(|(_, remote)| size(remote)).sum();
        // A number can be longer when it is written out, and an id, a name and a folder are kept twice.
        assert!(kept <= 400 + 24 * length, "{kept} bytes of {length}");
    });
}

#[test]
fn an_object_is_the_one_that_was_asked_for_or_none() {
    mfa_fuzz::answers("object", |fed| {
        let json = match answer::success(&fed.body) {
            Ok(json) => json,
            Err(cause) => return assert_is_harmless(&Failure::unexpected(Method::Put, Some(fed.status), cause)),
        };
        if let Some(remote) = answer::created(json.clone()) {
            assert_is_told_well(&remote);
        }
        for id in ["00000000-0000-0000-0000-000000000001", "4"] {
            let found = answer::identified(json.clone(), id);
            assert!(found.as_ref().is_none_or(|remote| remote.id == id));
            found.iter().for_each(assert_is_told_well);
        }
    });
}

/// The pages of a list, as a body of each.
fn pages(text: &[u8]) -> Vec<Part<Remote>> {
    let Ok(Value::Array(pages)) = answer::json(text) else { return Vec::new() };
    pages.into_iter().filter_map(|page| answer::part(page).ok()).collect()
}

#[test]
fn a_list_that_is_incomplete_proves_no_absence_and_a_complete_one_shows_all() {
    mfa_fuzz::texts("list", |text| {
        let known = || {
            let mut inventory = Inventory::new(|remote: &Remote| &remote.name);
            let known = answer::created(json!({"id": "known", "name": "known"})).unwrap();
            inventory.take_list(Mark(1), vec![("known".to_owned(), known.clone())], true);
            inventory.take_write(Mark(9), Write::Put("own".to_owned(), Remote { id: "own".to_owned(), ..known }));
            inventory
        };
        let pages = pages(text);
        let came: BTreeSet<String> = pages.iter().flat_map(|page| &page.items).map(|(id, _)| id.clone()).collect();
        let mut list = Assembly::new(2);
        let (mut taken, mut dropped) = (BTreeSet::new(), 0);
        let mut next = list.first();
        for page in pages {
            taken.extend(page.items.iter().map(|(id, _)| id.clone()));
            dropped += page.dropped;
            next = list.push(page);
            if !matches!(next, Next::Page { .. }) {
                break;
            }
        }
        let complete = next == Next::Complete;
        assert!(!complete || dropped == 0, "what could not be read may be anything");
        let items = list.into_items();
        let listed: BTreeSet<String> = items.iter().map(|(id, _)| id.clone()).collect();
        assert_eq!(items.len(), listed.len(), "an id stands twice");
        assert!(listed.is_subset(&came));
        assert!(!complete || listed == taken, "what a page showed is missing");

        let mut inventory = known();
        inventory.take_list(Mark(5), items, complete);
        assert_eq!(inventory.by_id("known").is_some(), !complete || listed.contains("known"));
        assert!(inventory.by_id("own").is_some(), "an own write is newer than the list");
        assert!(listed.iter().all(|id| inventory.by_id(id).is_some()));
    });
}

/// A server that keeps to one way of paging while it is asked.
struct Server {
    ids: Vec<String>,
    /// Which of them cannot be decoded.
    unreadable: usize,
    paged: bool,
    tells_total: bool,
    tells_limit: bool,
    most: usize,
}

impl Server {
    fn of(text: &[u8]) -> Self {
        let mut rolls = mfa_fuzz::Rolls::new(text);
        let count = rolls.below(12);
        let flags = rolls.byte();
        let paged = flags & 1 > 0;
        Self {
            ids: (0..count).map(|id| id.to_string()).collect(),
            unreadable: if flags & 8 > 0 { rolls.below(12) } else { usize::MAX },
            paged,
            tells_total: flags & 2 > 0,
            tells_limit: flags & 4 > 0,
            // A server that shortens pages and tells neither total nor limit cannot be told from one that has no more.
            most: if flags & 6 > 0 && paged { 1 + rolls.below(5) } else { usize::MAX },
        }
    }

    fn page(&self, offset: u64, limit: u64) -> Part<()> {
        let (offset, limit) = (usize::try_from(offset).unwrap(), usize::try_from(limit).unwrap().min(self.most));
        let (offset, limit) = if self.paged { (offset, limit) } else { (0, usize::MAX) };
        let shown: Vec<usize> = (0..self.ids.len()).skip(offset).take(limit).collect();
        let readable = shown.iter().filter(|at| **at != self.unreadable);
        let items: Vec<_> = readable.map(|at| (self.ids[*at].clone(), ())).collect();
        Part {
            dropped: (shown.len() - items.len()) as u64,
            items,
            total: self.tells_total.then_some(self.ids.len() as u64),
            limit: (self.tells_limit && self.paged).then_some(limit as u64),
            bare: !self.tells_total && !self.tells_limit,
        }
    }
}

#[test]
fn of_a_server_that_keeps_to_its_way_a_complete_list_is_all_that_it_holds() {
    thread_local! {
        static COMPLETE: Cell<u32> = const { Cell::new(0) };
    }
    mfa_fuzz::texts("list", |text| {
        let server = Server::of(text);
        for asked in 1..6 {
            let mut list = Assembly::new(asked);
            let mut next = list.first();
            let mut pages = 0;
            while let Next::Page { offset, limit } = next {
                pages += 1;
                assert!(pages < 40, "a list that does not end");
                next = list.push(server.page(offset, limit));
            }
            let listed: BTreeSet<String> = list.into_items().into_iter().map(|(id, ())| id).collect();
            let all: BTreeSet<String> = server.ids.iter().cloned().collect();
            assert!(listed.is_subset(&all));
            if next == Next::Complete {
                COMPLETE.set(COMPLETE.get() + 1);
                assert_eq!(listed, all);
            } else {
                assert!(!server.paged || server.unreadable < all.len(), "an honest server's list is complete");
            }
        }
    });
    assert!(COMPLETE.get() > 0, "no list was complete");
}

#[test]
fn an_answer_of_the_token_endpoint_is_a_usable_token_or_a_failure_that_tells_nothing_of_it() {
    mfa_fuzz::answers("token", |fed| match fetched(exchanged(fed)) {
        Ok(Fetched { token, expires_in }) => {
            assert!((200..300).contains(&fed.status));
            assert!(expires_in.is_none_or(|validity| validity <= Duration::from_hours(366 * 24)));
            assert!(!format!("{token:?}").contains("e30"));
            assert!(token.bearer().is_sensitive() && token.bearer().as_bytes().len() <= 16 * 1024 + 7);
            assert_are_plain(&Claims::read(&token));
        }
        Err(failure) => {
            assert_is_harmless(&failure);
            let rejected = matches!(fed.status, 400 | 401);
            assert_eq!(failure.reason == Reason::TokenRequestRejected, rejected);
            assert_eq!(failure.class, if rejected { Class::Credential } else { Class::Server });
        }
    });
}

fn assert_are_plain(claims: &Claims) {
    assert!(claims.tenant.as_ref().is_none_or(|tenant| kept(tenant, 64, "_-").is_some()), "{claims:?}");
    assert!(!tells_the_secret(&format!("{claims:?}")));
}

#[test]
fn what_a_token_says_of_itself_is_a_time_and_a_short_plain_name_or_nothing() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    mfa_fuzz::texts("jwt", |text| {
        let parts = [&b"e30."[..], URL_SAFE_NO_PAD.encode(text).as_bytes(), b".c2ln"].concat();
        for bytes in [&parts[..], text] {
            let Ok(token) = Token::parse(bytes) else { continue };
            let claims = Claims::read(&token);
            assert_are_plain(&claims);
            assert_eq!(claims, Claims::read(&token));
            assert!(!format!("{token:?}").contains(PLANTED));
        }
    });
}

#[test]
fn what_a_header_asks_for_is_an_hour_at_most_and_an_id_is_plain() {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    mfa_fuzz::answers("error", |fed| {
        let headers = headers(fed);
        assert!(retry_after(&headers, now).is_none_or(|wait| wait <= Duration::from_hours(1)));
        let json = answer::json(&fed.body).ok();
        let id = request_id(&headers, json.as_ref());
        assert!(id.is_none_or(|id| kept(&id, 128, "._:-").is_some() && !tells_the_secret(&id)));
    });
}
