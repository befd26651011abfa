//! The calls on MFA servers. One call is one request; nothing is tried again here, so that whoever calls knows what
//! the tenant was asked.
//!
//! # Errors
//! Every call answers a [`Failure`] that says why, of which class, and whether the tenant may have acted. A 404 is an
//! absence only in the documented form: [`Client::get`] answers `None` to it and [`Client::delete`] takes it for done.

use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{RequestBuilder, Url};
use serde_json::Value;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::answer;
use super::error::{Cause, Failure, Method, Reason, decode, request_id};
use super::inventory::Part;
use super::token::Token;
use super::transport::{Answer, InvalidSettings, Target, exchange};
use super::types::{Body, Folder, Position, Remote};
use crate::metrics::Metrics;
use crate::telemetry::SPANS;

#[cfg(test)]
mod tests;

/// The API's address.
pub const DEFAULT_API_URL: &str = "https://api.sase.paloaltonetworks.com";

/// The collection's path under the API's address.
const COLLECTION: [&str; 4] = ["sse", "config", "v1", "mfa-servers"];
const COLLECTION_ROUTE: &str = "/sse/config/v1/mfa-servers";
const OBJECT_ROUTE: &str = "/sse/config/v1/mfa-servers/{id}";
/// What is asked for, as logs and metrics name it.
pub const ROUTES: [(&str, &str); 5] = [
    ("GET", COLLECTION_ROUTE),
    ("POST", COLLECTION_ROUTE),
    ("GET", OBJECT_ROUTE),
    ("PUT", OBJECT_ROUTE),
    ("DELETE", OBJECT_ROUTE),
];

/// How to reach the API.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `--api-url`; a path in it is a prefix of every route.
    pub api_url: String,
    /// `--request-timeout`: one limit around a whole request, its answer's body included.
    pub request_timeout: Duration,
    /// `--allow-http`: also to hosts that are not loopback.
    pub allow_http: bool,
    /// Certificates in PEM to trust besides the system's.
    pub extra_ca: Option<Vec<u8>>,
    /// What the client calls itself.
    pub user_agent: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            api_url: DEFAULT_API_URL.to_owned(),
            request_timeout: Duration::from_secs(30),
            allow_http: false,
            extra_ca: None,
            user_agent: concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// The API, for any number of tenants: the token says which. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    target: Target,
    metrics: Metrics,
}

/// What a log line says of a call.
#[derive(Clone, Copy)]
struct Call {
    method: Method,
    route: &'static str,
    folder: Option<Folder>,
}

impl Client {
    /// A client of these settings.
    ///
    /// # Errors
    /// Where a setting cannot be used; says which and what to do.
    pub fn new(settings: &Settings) -> Result<Self, InvalidSettings> {
        Ok(Self { target: Target::new(settings, "--api-url", &settings.api_url)?, metrics: Metrics::new() })
    }

    /// The same client, which counts its requests there.
    #[must_use]
    pub fn measured(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// Where its requests are counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Creates an object. `None`: created, and the answer told no object with a usable id. The object's name is empty
    /// where the answer tells none.
    ///
    /// # Errors
    /// [`Failure`]; with [`super::Acted::Perhaps`] in it the object may come to be all the same.
    pub async fn create(
        &self,
        token: &Token,
        folder: Folder,
        position: Position,
        body: &Body,
    ) -> Result<Option<Remote>, Failure> {
        let call = Call { method: Method::Post, route: COLLECTION_ROUTE, folder: Some(folder) };
        let query = [("position", position.as_str()), ("folder", folder.as_str())];
        let request = with_body(self.target.http.post(self.url(None)).query(&query), body);
        let answer = self.perform(call, token, request).await?;
        let Some(json) = optional(call, &answer)? else { return Ok(None) };
        Ok(answer::created(json))
    }

    /// The object of this id; `None` only where the API says in the documented form that there is none.
    ///
    /// # Errors
    /// [`Failure`], also where the answer shows no such object and does not say that there is none.
    pub async fn get(&self, token: &Token, id: &str) -> Result<Option<Remote>, Failure> {
        let call = Call { method: Method::Get, route: OBJECT_ROUTE, folder: None };
        let url = self.object(call, id)?;
        let answer = match self.perform(call, token, self.target.http.get(url)).await {
            Ok(answer) => answer,
            Err(failure) if failure.is_absence() => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let json = answer::success(&answer.body).map_err(|cause| unexpected(call, &answer, cause))?;
        let found = answer::identified(json, id);
        found.map(Some).ok_or_else(|| unexpected(call, &answer, Cause::Shape("the object that was asked for")))
    }

    /// One page of a folder's objects, inherited ones included.
    ///
    /// # Errors
    /// [`Failure`]; a 404 of whatever form is one, and so is an answer without a body.
    pub async fn list(&self, token: &Token, folder: Folder, offset: u64, limit: u64) -> Result<Part<Remote>, Failure> {
        let (offset, limit) = (offset.to_string(), limit.to_string());
        self.list_with(token, folder, &[("folder", folder.as_str()), ("offset", &offset), ("limit", &limit)]).await
    }

    /// A folder's objects, asked for as the document has it: it knows no pages, and a server may refuse to be asked for
    /// one.
    ///
    /// # Errors
    /// As [`Client::list`].
    pub async fn list_unpaged(&self, token: &Token, folder: Folder) -> Result<Part<Remote>, Failure> {
        self.list_with(token, folder, &[("folder", folder.as_str())]).await
    }

    async fn list_with(&self, token: &Token, folder: Folder, query: &[(&str, &str)]) -> Result<Part<Remote>, Failure> {
        let call = Call { method: Method::Get, route: COLLECTION_ROUTE, folder: Some(folder) };
        let answer = self.perform(call, token, self.target.http.get(self.url(None)).query(query)).await?;
        answer::success(&answer.body).and_then(answer::part).map_err(|cause| unexpected(call, &answer, cause))
    }

    /// Replaces the object of this id. `None`: replaced, and the answer did not show the object.
    ///
    /// # Errors
    /// [`Failure`], `ObjectNotPresent` included.
    pub async fn replace(&self, token: &Token, id: &str, body: &Body) -> Result<Option<Remote>, Failure> {
        let call = Call { method: Method::Put, route: OBJECT_ROUTE, folder: None };
        let url = self.object(call, id)?;
        let answer = self.perform(call, token, with_body(self.target.http.put(url), body)).await?;
        let Some(json) = optional(call, &answer)? else { return Ok(None) };
        Ok(answer::identified(json, id))
    }

    /// Deletes the object of this id; that there is none is as good.
    ///
    /// # Errors
    /// [`Failure`]; also where a success carries something that the API cannot have sent, such as a page of a proxy.
    pub async fn delete(&self, token: &Token, id: &str) -> Result<bool, Failure> {
        let call = Call { method: Method::Delete, route: OBJECT_ROUTE, folder: None };
        let url = self.object(call, id)?;
        match self.perform(call, token, self.target.http.delete(url)).await {
            Ok(answer) => optional(call, &answer).map(|_| true),
            Err(failure) if failure.is_absence() => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// The URL of an object, if its id can reach no other route.
    fn object(&self, call: Call, id: &str) -> Result<Url, Failure> {
        if answer::usable_id(id) { Ok(self.url(Some(id))) } else { Err(Failure::unusable_id(call.method)) }
    }

    fn url(&self, id: Option<&str>) -> Url {
        let mut url = (*self.target.url).clone();
        // Always there: the URL was checked to have a host.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(COLLECTION).extend(id);
        }
        url
    }

    /// Makes the one request, logs its line, and tells a success from a failure.
    async fn perform(&self, call: Call, token: &Token, request: RequestBuilder) -> Result<Answer, Failure> {
        let request = request.header(AUTHORIZATION, token.bearer()).header(ACCEPT, "application/json");
        let begun = Instant::now();
        let span = span(call.method, call.route, call.folder);
        let result = match exchange(request).instrument(span.clone()).await {
            Ok(mut answer) if answer.is_success() => match answer.cut.take() {
                Some(cause) => Err(unexpected(call, &answer, cause)),
                None => Ok(answer),
            },
            Ok(answer) => {
                let failure = decode(call.method, answer.status, &answer.headers, &answer.body);
                Err(match answer.cut {
                    Some(cause) => failure.because(cause),
                    None => failure,
                })
            }
            Err(error) => Err(Failure::unreachable(call.method, error)),
        };
        let (status, id) = match &result {
            Ok(answer) => (Some(answer.status), request_id(&answer.headers, None)),
            Err(failure) => (failure.http_status, failure.request_id.clone()),
        };
        tell(&span, status, result.as_ref().err().map(|failure| failure.reason));
        self.metrics.requested(call.method.as_str(), call.route, status, begun.elapsed());
        tracing::debug!(
            method = call.method.as_str(),
            route = call.route,
            folder = call.folder.map(Folder::as_str),
            status,
            duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            request_id = id,
            reason = result.as_ref().err().map(|failure| failure.reason.as_str()),
            "SSE call"
        );
        result
    }
}

/// The span of a call, in the words of OpenTelemetry. What is sent and what is answered is not in it.
pub(super) fn span(method: Method, route: &'static str, folder: Option<Folder>) -> Span {
    tracing::info_span!(
        target: SPANS,
        "call",
        otel.name = %format_args!("{} {route}", method.as_str()),
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = method.as_str(),
        http.route = route,
        http.response.status_code = Empty,
        folder = folder.map(Folder::as_str),
        reason = Empty,
    )
}

/// What came of the call.
pub(super) fn tell(span: &Span, status: Option<u16>, refused: Option<Reason>) {
    if let Some(status) = status {
        span.record("http.response.status_code", status);
    }
    if let Some(reason) = refused {
        span.record("otel.status_code", "ERROR");
        span.record("reason", reason.as_str());
    }
}

fn with_body(request: RequestBuilder, body: &Body) -> RequestBuilder {
    request.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(body.expose().to_owned())
}

/// The JSON of a success that may have no body.
fn optional(call: Call, answer: &Answer) -> Result<Option<Value>, Failure> {
    if answer.is_empty() {
        return Ok(None);
    }
    answer::success(&answer.body).map(Some).map_err(|cause| unexpected(call, answer, cause))
}

fn unexpected(call: Call, answer: &Answer, cause: Cause) -> Failure {
    Failure::unexpected(call.method, Some(answer.status), cause).with_request_id(request_id(&answer.headers, None))
}
