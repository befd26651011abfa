//! The names of what can go wrong: the documented ones, and what stands in for them where the API's document is silent.

use std::fmt;

/// Why a call failed. The documented names are those of the API's examples, so that they can be looked up there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Reason {
    InputFormatMismatch,
    InvalidObject,
    InvalidQueryParameter,
    MissingBody,
    MissingQueryParameter,
    OutputFormatMismatch,
    NotAuthenticated,
    InvalidCredential,
    KeyExpired,
    KeyTooLong,
    NeedPasswordChange,
    Unauthorized,
    ObjectNotPresent,
    NameNotUnique,
    ObjectNotUnique,
    ReferenceNotZero,
    ActionNotSupported,
    BadXPath,
    InvalidCommand,
    MalformedCommand,
    MethodNotSupported,
    SessionTimeout,
    VersionNotSupported,
    /// A 4xx that the document does not name; the others below stand in for their status likewise.
    BadRequest,
    Unauthenticated,
    Forbidden,
    /// A 404 in the API's own form that does not say that the object is absent.
    NotFound,
    Conflict,
    RateLimited,
    /// The tenant's configuration is locked by another write.
    Busy,
    ServerError,
    /// No answer came.
    Unreachable,
    /// An answer came that is not the API's.
    UnexpectedResponse,
    /// The token endpoint answered 400 or 401.
    TokenRequestRejected,
    /// The token endpoint gave no token and did not say that the credential is at fault.
    TokenEndpointUnavailable,
}

/// A documented error as it goes over the wire.
pub(super) struct Documented {
    pub(super) reason: Reason,
    pub(super) status: u16,
    pub(super) code: &'static str,
    /// The message's text before the colon, in lower case, letters alone.
    pub(super) name: &'static str,
}

const fn documented(reason: Reason, status: u16, code: &'static str, name: &'static str) -> Documented {
    Documented { reason, status, code, name }
}

/// The API's document, and below it the spellings met in the field.
pub(super) const DOCUMENTED: &[Documented] = &[
    documented(Reason::InputFormatMismatch, 400, "E003", "inputformatmismatch"),
    documented(Reason::InvalidObject, 400, "E003", "invalidobject"),
    documented(Reason::InvalidQueryParameter, 400, "E003", "invalidqueryparameter"),
    documented(Reason::MissingBody, 400, "E003", "missingbody"),
    documented(Reason::MissingQueryParameter, 400, "E003", "missingqueryparameter"),
    documented(Reason::OutputFormatMismatch, 400, "E003", "outputformatmismatch"),
    documented(Reason::NotAuthenticated, 401, "E016", "notauthenticated"),
    documented(Reason::InvalidCredential, 401, "E016", "invalidcredential"),
    documented(Reason::KeyExpired, 401, "E016", "keyexpired"),
    documented(Reason::KeyTooLong, 401, "E016", "keytoolong"),
    documented(Reason::NeedPasswordChange, 401, "E016", "thepasswordneedstobechanged"),
    documented(Reason::Unauthorized, 403, "E007", "unauthorized"),
    documented(Reason::ObjectNotPresent, 404, "E005", "objectnotpresent"),
    documented(Reason::NameNotUnique, 409, "E006", "namenotunique"),
    documented(Reason::ObjectNotUnique, 409, "E016", "objectnotunique"),
    documented(Reason::ReferenceNotZero, 409, "E009", "referencenotzero"),
    documented(Reason::ActionNotSupported, 405, "E012", "actionnotsupported"),
    documented(Reason::BadXPath, 400, "E013", "badxpath"),
    documented(Reason::InvalidCommand, 400, "E003", "invalidcommand"),
    documented(Reason::MalformedCommand, 400, "E003", "malformedcommand"),
    documented(Reason::MethodNotSupported, 501, "E012", "methodnotsupported"),
    documented(Reason::SessionTimeout, 504, "4", "sessiontimeout"),
    documented(Reason::VersionNotSupported, 501, "E012", "versionnotsupported"),
    documented(Reason::NeedPasswordChange, 401, "E016", "needpasswordchange"),
    documented(Reason::NameNotUnique, 409, "E006", "objectalreadyexists"),
    documented(Reason::NameNotUnique, 400, "", "objectalreadyexists"),
    documented(Reason::InvalidObject, 400, "API_I00035", "invalidobject"),
];

impl Reason {
    /// Every reason: the documented ones in the document's order, then the rest.
    pub const ALL: [Self; 35] = [
        Self::InputFormatMismatch,
        Self::InvalidObject,
        Self::InvalidQueryParameter,
        Self::MissingBody,
        Self::MissingQueryParameter,
        Self::OutputFormatMismatch,
        Self::NotAuthenticated,
        Self::InvalidCredential,
        Self::KeyExpired,
        Self::KeyTooLong,
        Self::NeedPasswordChange,
        Self::Unauthorized,
        Self::ObjectNotPresent,
        Self::NameNotUnique,
        Self::ObjectNotUnique,
        Self::ReferenceNotZero,
        Self::ActionNotSupported,
        Self::BadXPath,
        Self::InvalidCommand,
        Self::MalformedCommand,
        Self::MethodNotSupported,
        Self::SessionTimeout,
        Self::VersionNotSupported,
        Self::BadRequest,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::Conflict,
        Self::RateLimited,
        Self::Busy,
        Self::ServerError,
        Self::Unreachable,
        Self::UnexpectedResponse,
        Self::TokenRequestRejected,
        Self::TokenEndpointUnavailable,
    ];

    /// The name, as it stands in a condition, an event and a metric.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InputFormatMismatch => "InputFormatMismatch",
            Self::InvalidObject => "InvalidObject",
            Self::InvalidQueryParameter => "InvalidQueryParameter",
            Self::MissingBody => "MissingBody",
            Self::MissingQueryParameter => "MissingQueryParameter",
            Self::OutputFormatMismatch => "OutputFormatMismatch",
            Self::NotAuthenticated => "NotAuthenticated",
            Self::InvalidCredential => "InvalidCredential",
            Self::KeyExpired => "KeyExpired",
            Self::KeyTooLong => "KeyTooLong",
            Self::NeedPasswordChange => "NeedPasswordChange",
            Self::Unauthorized => "Unauthorized",
            Self::ObjectNotPresent => "ObjectNotPresent",
            Self::NameNotUnique => "NameNotUnique",
            Self::ObjectNotUnique => "ObjectNotUnique",
            Self::ReferenceNotZero => "ReferenceNotZero",
            Self::ActionNotSupported => "ActionNotSupported",
            Self::BadXPath => "BadXPath",
            Self::InvalidCommand => "InvalidCommand",
            Self::MalformedCommand => "MalformedCommand",
            Self::MethodNotSupported => "MethodNotSupported",
            Self::SessionTimeout => "SessionTimeout",
            Self::VersionNotSupported => "VersionNotSupported",
            Self::BadRequest => "BadRequest",
            Self::Unauthenticated => "Unauthenticated",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "NotFound",
            Self::Conflict => "Conflict",
            Self::RateLimited => "RateLimited",
            Self::Busy => "Busy",
            Self::ServerError => "ServerError",
            Self::Unreachable => "Unreachable",
            Self::UnexpectedResponse => "UnexpectedResponse",
            Self::TokenRequestRejected => "TokenRequestRejected",
            Self::TokenEndpointUnavailable => "TokenEndpointUnavailable",
        }
    }

    /// What it means and what to do, in one sentence that never changes: no id, name or value of a request is in it.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::InputFormatMismatch => {
                "The API did not take the request's body for JSON; check whether a proxy changes requests on their way."
            }
            Self::InvalidObject => {
                "The API refuses a field of the spec; compare the vendor's fields and the certificate profile with what the tenant has."
            }
            Self::InvalidQueryParameter => {
                "The API refuses the folder or the position; check that the tenant has this folder."
            }
            Self::MissingBody => {
                "The API received the request without its body; check whether a proxy changes requests on their way."
            }
            Self::MissingQueryParameter => {
                "The API received the request without its folder or position; check whether a proxy changes requests on their way."
            }
            Self::OutputFormatMismatch => {
                "The API will not answer in JSON; check whether a proxy changes requests on their way."
            }
            Self::NotAuthenticated => {
                "The API does not recognise the credential; check the Secret and the API's address."
            }
            Self::InvalidCredential => {
                "The API says that the credential is not valid; put a current one into the Secret."
            }
            Self::KeyExpired => "The credential has expired; put a new one into the Secret.",
            Self::KeyTooLong => "The API says that the token is too long; check that the Secret holds the token alone.",
            Self::NeedPasswordChange => {
                "The account behind the credential must change its password first; do so in the vendor's console."
            }
            Self::Unauthorized => {
                "The credential may not do this in the tenant; give its account a role that allows it for this folder."
            }
            Self::ObjectNotPresent => {
                "The tenant has no such object; if this was a creation, the folder or something that the spec names is missing."
            }
            Self::NameNotUnique => {
                "The tenant has an object of this name already; choose another name, remove that object, or adopt it."
            }
            Self::ObjectNotUnique => {
                "The tenant has an equal object already; remove that object or change what the spec asks for."
            }
            Self::ReferenceNotZero => {
                "Other configuration in the tenant refers to the object; remove those references first."
            }
            Self::ActionNotSupported => {
                "The API does not support this action on MFA servers; check the API's address and version."
            }
            Self::BadXPath => {
                "The API could not find its way to the object; check the folder and the characters of the name."
            }
            Self::InvalidCommand => "The API refuses the request as invalid; compare the spec with the API's document.",
            Self::MalformedCommand => {
                "The API refuses the request as malformed; compare the spec with the API's document."
            }
            Self::MethodNotSupported => {
                "The API does not support this method; check the API's address and whether a proxy changes requests."
            }
            Self::SessionTimeout => "The tenant took too long to answer the API; it is tried again by itself.",
            Self::VersionNotSupported => "The API does not support this version; check the API's address.",
            Self::BadRequest => {
                "The API refuses the request without a documented reason; compare the spec with what the tenant allows."
            }
            Self::Unauthenticated => {
                "The API refuses the credential without a documented reason; check the Secret and the API's address."
            }
            Self::Forbidden => {
                "The API or a proxy before it forbids the request; check the account's role and the proxy's rules."
            }
            Self::NotFound => "The API does not find what the request names; check the folder and the API's address.",
            Self::Conflict => {
                "The API sees a conflict that it does not name; look for an object of this name in the tenant."
            }
            Self::RateLimited => "The API asks for fewer requests; it is tried again when the API allows it.",
            Self::Busy => "Another change holds the lock on the tenant's configuration; it is tried again by itself.",
            Self::ServerError => {
                "The API failed; it is tried again by itself, and the vendor can look the request id up if it stays so."
            }
            Self::Unreachable => {
                "The API could not be reached or gave no answer in time; check network, proxy, DNS and certificates."
            }
            Self::UnexpectedResponse => {
                "The answer is not one that the API documents; check the API's address and what stands in between."
            }
            Self::TokenRequestRejected => {
                "The token endpoint refuses the service account; check client id, client secret and tenant service group in the Secret."
            }
            Self::TokenEndpointUnavailable => {
                "The token endpoint gave no token; check network, proxy and the token endpoint's address."
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
