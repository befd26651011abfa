//! What a call can end with instead of an answer: why, of which class, and whether the tenant may have acted on it.
//!
//! Every failure is classified once, here. The chain of sources names the transport's trouble; nothing of a body is in
//! it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

mod decode;
mod reason;

#[cfg(test)]
mod tests;

pub use decode::decode;
pub(super) use decode::{MOST_OF_AN_ERROR, code_text, kept, request_id, retry_after};
pub use reason::Reason;

/// The method of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Post,
    Put,
    Delete,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 4] = [Self::Get, Self::Post, Self::Put, Self::Delete];

    /// The name as it is sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// The classes of failures, each with its own way of trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// The credential is at fault.
    Credential,
    /// The credential is good and may not do this.
    Forbidden,
    /// What was asked for is at fault.
    Input,
    /// Something else stands in the way.
    Conflict,
    /// The object is in use and cannot be deleted yet.
    Referenced,
    /// Too many requests.
    Throttled,
    /// The tenant is occupied for a moment.
    Busy,
    /// The server, the network or something in between is at fault.
    Server,
}

impl Class {
    /// The name, as metrics show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Forbidden => "forbidden",
            Self::Input => "input",
            Self::Conflict => "conflict",
            Self::Referenced => "referenced",
            Self::Throttled => "throttled",
            Self::Busy => "busy",
            Self::Server => "server",
        }
    }
}

/// Whether the tenant may have done what the failed call asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Acted {
    /// Certainly not: the request was refused, or never sent.
    No,
    /// It cannot be told.
    Perhaps,
}

/// The class of a reason. Exhaustive: a new reason does not compile before it has a class here.
#[must_use]
pub const fn classify(method: Method, reason: Reason, status: Option<u16>) -> Class {
    match reason {
        Reason::NotAuthenticated
        | Reason::InvalidCredential
        | Reason::KeyExpired
        | Reason::KeyTooLong
        | Reason::NeedPasswordChange
        | Reason::Unauthenticated
        | Reason::TokenRequestRejected => Class::Credential,
        Reason::Unauthorized | Reason::Forbidden => Class::Forbidden,
        Reason::InputFormatMismatch
        | Reason::InvalidObject
        | Reason::InvalidQueryParameter
        | Reason::MissingBody
        | Reason::MissingQueryParameter
        | Reason::OutputFormatMismatch
        | Reason::BadXPath
        | Reason::InvalidCommand
        | Reason::MalformedCommand
        | Reason::ActionNotSupported
        | Reason::MethodNotSupported
        | Reason::VersionNotSupported
        | Reason::BadRequest => Class::Input,
        // What a creation names is missing; an object that is gone while it is written calls for another look.
        Reason::ObjectNotPresent | Reason::NotFound => match method {
            Method::Post => Class::Input,
            Method::Get | Method::Put | Method::Delete => Class::Server,
        },
        Reason::NameNotUnique | Reason::ObjectNotUnique | Reason::Conflict => Class::Conflict,
        Reason::ReferenceNotZero => match method {
            Method::Delete => Class::Referenced,
            Method::Get | Method::Post | Method::Put => Class::Conflict,
        },
        Reason::RateLimited => Class::Throttled,
        Reason::SessionTimeout | Reason::Busy => Class::Busy,
        // Not implemented is not going to change by waiting.
        Reason::ServerError if matches!(status, Some(501)) => Class::Input,
        Reason::ServerError | Reason::Unreachable | Reason::UnexpectedResponse | Reason::TokenEndpointUnavailable => {
            Class::Server
        }
    }
}

/// A call that did not bring what it was made for.
///
/// # Guarantees
/// Neither `Display` nor `Debug` nor the chain of sources holds text of a body; `code` and `request_id` are taken from
/// one and hold a few harmless characters only.
#[derive(Clone, thiserror::Error)]
#[error("{reason}{}", Status(*http_status))]
pub struct Failure {
    /// Why.
    pub reason: Reason,
    /// How it is tried again.
    pub class: Class,
    /// The answer's status, where there was one.
    pub http_status: Option<u16>,
    /// The API's code, at most 32 of `[A-Za-z0-9_-]`.
    pub code: Option<String>,
    /// The API's id of the request, at most 128 of `[A-Za-z0-9._:-]`.
    pub request_id: Option<String>,
    /// How long the server asked to wait.
    pub retry_after: Option<Duration>,
    /// Whether the tenant may have done what was asked.
    pub acted: Acted,
    #[source]
    source: Option<Arc<Cause>>,
}

/// What is behind a failure that is not the API's word.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cause {
    /// The transport's own error, its URL taken out.
    #[error("the exchange with the server broke off")]
    Transport(#[source] reqwest::Error),
    /// Not JSON; where it stopped being so, and nothing of it.
    #[error("the answer is not JSON at line {line}, column {column}")]
    NotJson { line: usize, column: usize },
    /// JSON of another shape.
    #[error("the answer is JSON, and is not {0}")]
    Shape(&'static str),
    /// More than is read.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// No request was made.
    #[error("the id cannot be part of a path: only letters, digits and `._:-` are, at most 128")]
    UnusableId,
}

struct Status(Option<u16>);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |status| write!(f, " (HTTP {status})"))
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("reason", &self.reason)
            .field("class", &self.class)
            .field("http_status", &self.http_status)
            .field("code", &self.code)
            .field("request_id", &self.request_id)
            .field("retry_after", &self.retry_after)
            .field("acted", &self.acted)
            .field("source", &self.source)
            .finish()
    }
}

impl Failure {
    /// A failure of this reason, classified; what a status and a body tell is added where they are read.
    #[must_use]
    pub fn new(method: Method, reason: Reason, http_status: Option<u16>, acted: Acted) -> Self {
        Self {
            reason,
            class: classify(method, reason, http_status),
            http_status,
            code: None,
            request_id: None,
            retry_after: None,
            acted,
            source: None,
        }
    }

    /// No answer: nothing was sent if no connection came about.
    pub(super) fn unreachable(method: Method, error: reqwest::Error) -> Self {
        let acted = if error.is_connect() || error.is_builder() { Acted::No } else { Acted::Perhaps };
        Self::new(method, Reason::Unreachable, None, acted).because(Cause::Transport(error.without_url()))
    }

    /// An answer that is not the API's.
    pub(super) fn unexpected(method: Method, http_status: Option<u16>, cause: Cause) -> Self {
        Self::new(method, Reason::UnexpectedResponse, http_status, Acted::Perhaps).because(cause)
    }

    /// A call that was not made: the id would have reached another route.
    pub(super) fn unusable_id(method: Method) -> Self {
        Self::new(method, Reason::UnexpectedResponse, None, Acted::No).because(Cause::UnusableId)
    }

    pub(super) fn because(mut self, cause: Cause) -> Self {
        self.source = Some(Arc::new(cause));
        self
    }

    pub(super) fn with_request_id(mut self, id: Option<String>) -> Self {
        if self.request_id.is_none() {
            self.request_id = id;
        }
        self
    }

    /// The API said in its documented form that there is no such object.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        self.reason == Reason::ObjectNotPresent
    }
}
