//! The documented errors, with the status, code and message of the documents' examples.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// An error of the API's documents, by the name of its example there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is the example of that name in the API's documents")]
pub enum Documented {
    InputFormatMismatch,
    InvalidObject,
    InvalidQueryParameter,
    MissingBody,
    MissingQueryParameter,
    OutputFormatMismatch,
    AuthNotAuthenticated,
    InvalidCredential,
    KeyExpired,
    KeyTooLong,
    NeedPasswordChange,
    AuthUnauthorized,
    ObjectNotPresent,
    NameNotUnique,
    ObjectNotUnique,
    ReferenceNotZero,
    ActionNotSupported,
    BadXpath,
    InvalidCommand,
    MalformedCommand,
    MethodNotAllowed,
    SessionTimeout,
    VersionNotSupported,
}

/// How an error's body looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorForm {
    /// As in the documents: the table's code and message, and empty details.
    #[default]
    Documented,
    /// Code `API_I00013` (`API_I00035` for an invalid object), a general message, and `details.errorType`.
    ErrorType,
    /// As `Documented`, with an array of sentences as details.
    DetailsArray,
    /// As `Documented`, with one sentence as details.
    DetailsString,
}

impl Documented {
    /// All of them, in the order of the documents.
    pub const ALL: [Self; 23] = [
        Self::InputFormatMismatch,
        Self::InvalidObject,
        Self::InvalidQueryParameter,
        Self::MissingBody,
        Self::MissingQueryParameter,
        Self::OutputFormatMismatch,
        Self::AuthNotAuthenticated,
        Self::InvalidCredential,
        Self::KeyExpired,
        Self::KeyTooLong,
        Self::NeedPasswordChange,
        Self::AuthUnauthorized,
        Self::ObjectNotPresent,
        Self::NameNotUnique,
        Self::ObjectNotUnique,
        Self::ReferenceNotZero,
        Self::ActionNotSupported,
        Self::BadXpath,
        Self::InvalidCommand,
        Self::MalformedCommand,
        Self::MethodNotAllowed,
        Self::SessionTimeout,
        Self::VersionNotSupported,
    ];

    /// Status, code and message of the documents' example.
    fn example(self) -> (StatusCode, &'static str, &'static str) {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        const UNAUTHENTICATED: StatusCode = StatusCode::UNAUTHORIZED;
        match self {
            Self::InputFormatMismatch => (BAD, "E003", "Input Format Mismatch: input-format=json"),
            Self::InvalidObject => (BAD, "E003", "Invalid Object"),
            Self::InvalidQueryParameter => (BAD, "E003", "Invalid Query Parameter: location=invalid"),
            Self::MissingBody => (BAD, "E003", "Missing Body"),
            Self::MissingQueryParameter => (BAD, "E003", "Missing Query Parameter: name"),
            Self::OutputFormatMismatch => (BAD, "E003", "Output Format Mismatch: output-format=json Accept=xml"),
            Self::AuthNotAuthenticated => (UNAUTHENTICATED, "E016", "Not Authenticated"),
            Self::InvalidCredential => (UNAUTHENTICATED, "E016", "Invalid Credential"),
            Self::KeyExpired => (UNAUTHENTICATED, "E016", "Key Expired"),
            Self::KeyTooLong => (UNAUTHENTICATED, "E016", "Key Too Long"),
            Self::NeedPasswordChange => (UNAUTHENTICATED, "E016", "The password needs to be changed."),
            Self::AuthUnauthorized => (StatusCode::FORBIDDEN, "E007", "Unauthorized"),
            Self::ObjectNotPresent => (StatusCode::NOT_FOUND, "E005", "Object Not Present"),
            Self::NameNotUnique => (StatusCode::CONFLICT, "E006", "Name Not Unique"),
            Self::ObjectNotUnique => (StatusCode::CONFLICT, "E016", "Object Not Unique"),
            Self::ReferenceNotZero => (StatusCode::CONFLICT, "E009", "Reference Not Zero"),
            Self::ActionNotSupported => (StatusCode::METHOD_NOT_ALLOWED, "E012", "Action Not Supported: move"),
            Self::BadXpath => (BAD, "E013", "Bad XPath"),
            Self::InvalidCommand => (BAD, "E003", "Invalid Command"),
            Self::MalformedCommand => (BAD, "E003", "Malformed Command"),
            Self::MethodNotAllowed => (StatusCode::NOT_IMPLEMENTED, "E012", "Method Not Supported"),
            Self::SessionTimeout => (StatusCode::GATEWAY_TIMEOUT, "4", "Session Timeout"),
            Self::VersionNotSupported => (StatusCode::NOT_IMPLEMENTED, "E012", "Version Not Supported"),
        }
    }

    /// The status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.example().0
    }

    /// The code; a string, but for the session timeout's integer.
    #[must_use]
    pub fn code(self) -> Value {
        match self {
            Self::SessionTimeout => json!(4),
            other => json!(other.example().1),
        }
    }

    /// The message of the documents' example.
    #[must_use]
    pub fn message(self) -> &'static str {
        self.example().2
    }

    /// What `details.errorType` says of it.
    #[must_use]
    pub fn error_type(self) -> &'static str {
        match self {
            Self::ObjectNotUnique => "Object Already Exists",
            other => other.message().split(": ").next().unwrap_or_default(),
        }
    }

    /// The body, with the message's subject (the part after the colon) in place of the example's where one is given.
    #[must_use]
    pub fn body(self, subject: Option<&str>, form: ErrorForm, request_id: &str) -> Value {
        let kind = self.message().split(": ").next().unwrap_or_default();
        let message = subject.map_or_else(|| self.message().to_owned(), |subject| format!("{kind}: {subject}"));
        let error = match form {
            ErrorForm::Documented => json!({"code": self.code(), "details": {}, "message": message}),
            ErrorForm::ErrorType => json!({
                "code": if self == Self::InvalidObject { "API_I00035" } else { "API_I00013" },
                "details": {"errorType": self.error_type(), "message": [message]},
                "help": "",
                "message": "Your configuration is not valid. Please review the error message for more details.",
            }),
            ErrorForm::DetailsArray => json!({"code": self.code(), "details": [message], "message": message}),
            ErrorForm::DetailsString => json!({"code": self.code(), "details": message, "message": message}),
        };
        json!({"_errors": [error], "_request_id": request_id})
    }
}

/// The body of an error that the documents do not name.
pub(crate) fn undocumented(code: &str, message: &str, request_id: &str) -> Value {
    json!({"_errors": [{"code": code, "details": {}, "message": message}], "_request_id": request_id})
}
