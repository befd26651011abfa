//! A request, taken apart once.

use std::time::Instant;

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use serde_json::Value;

use super::log::{Arrival, Entry, Outcome};
use super::query::{Query, Route, decode};
use super::rules::Facts;
use super::tokens::{Speaker, TokenRequest, Tokens};

/// A request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) at: Instant,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) route: Route,
    /// The id in the path.
    pub(crate) id: Option<String>,
    /// The query; an error is the part that cannot be decoded.
    pub(crate) query: Result<Query, String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The body, if it is JSON.
    pub(crate) json: Option<Value>,
    pub(crate) speaker: Speaker,
    /// What is asked of the token endpoint.
    pub(crate) asks_token: Option<TokenRequest>,
    /// What the answer's `_request_id` says.
    pub(crate) trace: String,
}

/// Longer names are cut in the log.
const LONGEST_NAME: usize = 256;

impl Request {
    pub(crate) fn new(at: Instant, parts: Parts, body: Bytes, tokens: &Tokens, trace: String) -> Self {
        let raw_path = parts.uri.path();
        let (route, id) = Route::of(raw_path);
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let asks_token = (route == Route::Token).then(|| TokenRequest::read(&parts.headers, &body));
        let speaker = match &asks_token {
            Some(asked) => Speaker {
                tenant: asked.tenant().map(ToOwned::to_owned),
                client_id: asked.client_id().map(ToOwned::to_owned),
                ..Speaker::default()
            },
            None => tokens.identify(&parts.headers),
        };
        // A form may hold a secret and is no JSON; nothing of it is kept for the log.
        let json = if route == Route::Token { None } else { serde_json::from_slice(&body).ok() };
        Self {
            at,
            method: parts.method,
            path: decode(raw_path, false).unwrap_or_else(|| raw_path.to_owned()),
            route,
            id,
            query,
            headers: parts.headers,
            body,
            json,
            speaker,
            asks_token,
            trace,
        }
    }

    /// A parameter of the query.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.as_ref().ok()?.get(name)
    }

    /// The name in the body.
    pub(crate) fn body_name(&self) -> Option<&str> {
        self.json.as_ref()?.get("name")?.as_str()
    }

    /// Whether it changes the configuration.
    pub(crate) fn is_write(&self) -> bool {
        matches!(
            (&self.method, self.route),
            (&Method::POST, Route::MfaServers | Route::Push) | (&Method::PUT | &Method::DELETE, Route::MfaServer)
        )
    }

    /// What rules look at; `object` is the name of what the path's id stands for.
    pub(crate) fn facts<'a>(&'a self, object: Option<&'a str>) -> Facts<'a> {
        Facts {
            method: self.method.as_str(),
            route: self.route,
            names: [self.body_name(), self.parameter("name"), object],
            id: self.id.as_deref(),
            folder: self.parameter("folder"),
            tenant: self.speaker.tenant.as_deref(),
            token: self.speaker.token.as_deref(),
            client_id: self.speaker.client_id.as_deref(),
        }
    }

    /// What the log says of it when it comes.
    pub(crate) fn arrival(&self, object: Option<&str>) -> Arrival {
        let short = |text: &str| text.chars().take(LONGEST_NAME).collect::<String>();
        let parameter = |name: &str| self.parameter(name).map(short);
        let entry = Entry {
            seq: 0,
            start_us: 0,
            end_us: None,
            method: self.method.as_str().to_owned(),
            path: short(&self.path),
            route: self.route,
            tenant: self.speaker.tenant.clone(),
            client: self.speaker.client_id.clone().or_else(|| {
                self.speaker.tenant.as_ref().filter(|_| self.asks_token.is_none()).map(|_| "static".to_owned())
            }),
            folder: parameter("folder"),
            position: parameter("position"),
            query_name: parameter("name"),
            offset: parameter("offset"),
            limit: parameter("limit"),
            name: self.body_name().map(short),
            id: self.id.as_deref().map(short),
            object: object.map(short),
            outcome: Outcome::Open,
            status: None,
            retry_after: None,
            rule: None,
            applied_us: None,
            client_left: false,
        };
        Arrival { at: self.at, entry }
    }
}
