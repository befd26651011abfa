//! What a simulator, and each of its tenants, can be told to be.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::documented::ErrorForm;
use super::rules::Rule;

/// How to start a simulator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Where to listen; a free port of the loopback interface if not given.
    pub listen: Option<SocketAddr>,
    /// Tenants by their id (TSG id).
    pub tenants: BTreeMap<String, TenantOptions>,
    /// Rules that hold from the start.
    pub rules: Vec<Rule>,
    /// From what the ids of objects are made; random if not given, so that a fresh simulator never reuses an id.
    pub seed: Option<u64>,
}

impl Options {
    /// One tenant with one bearer token.
    #[must_use]
    pub fn single(tsg_id: &str, bearer_token: &str) -> Self {
        Self::default().tenant(tsg_id, TenantOptions::with_bearer_token(bearer_token))
    }

    /// With another tenant.
    #[must_use]
    pub fn tenant(mut self, tsg_id: &str, options: TenantOptions) -> Self {
        self.tenants.insert(tsg_id.to_owned(), options);
        self
    }
}

/// A service account: who may fetch tokens for a tenant. The same account may be in several tenants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceAccount {
    /// The user of HTTP basic authentication.
    pub client_id: String,
    /// The password of HTTP basic authentication.
    pub client_secret: String,
}

/// What a token tells to whoever decodes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenShape {
    /// A JWT with `exp`, `tsg_id` and `scope`.
    #[default]
    Jwt,
    /// A JWT that tells no tenant.
    JwtWithoutTenant,
    /// Not a JWT.
    Opaque,
}

/// What a write does that meets another write to the same tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteLock {
    /// Both go on.
    Off,
    /// It waits for its turn.
    #[default]
    Queue,
    /// It is answered 500, with a message about the configuration write lock.
    Fail,
}

/// A token bucket in front of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Requests a second.
    pub rate: f64,
    /// How many may come at once.
    pub burst: u32,
    /// Whether a 429 says when to come again, in whole seconds.
    #[serde(default)]
    pub retry_after: bool,
}

/// One tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantOptions {
    /// Bearer tokens that are good until they are taken away.
    pub bearer_tokens: Vec<String>,
    /// Who may fetch tokens.
    pub service_accounts: Vec<ServiceAccount>,
    /// How long a fetched token is good.
    pub token_lifetime_seconds: u64,
    /// What a fetched token looks like.
    pub token_shape: TokenShape,
    /// How many token requests may be open at a time.
    pub max_open_token_requests: usize,
    /// How long the token endpoint takes.
    pub token_latency_ms: u64,
    /// How long a call of the API takes; a write holds the write lock for that time.
    pub latency_ms: u64,
    /// The limit of the API's calls.
    pub rate_limit: Option<RateLimit>,
    /// What writes do that meet.
    pub write_lock: WriteLock,
    /// How long a job runs.
    pub job_duration_ms: u64,
    /// If not empty, pushes fail with these errors.
    pub push_errors: Vec<String>,
    /// How the API answers where its documents and practice differ.
    pub answers: Answers,
}

impl Default for TenantOptions {
    fn default() -> Self {
        Self {
            bearer_tokens: Vec::new(),
            service_accounts: Vec::new(),
            token_lifetime_seconds: 899,
            token_shape: TokenShape::Jwt,
            max_open_token_requests: 10,
            token_latency_ms: 0,
            latency_ms: 0,
            rate_limit: None,
            write_lock: WriteLock::Queue,
            job_duration_ms: 0,
            push_errors: Vec::new(),
            answers: Answers::default(),
        }
    }
}

impl TenantOptions {
    /// A tenant with one bearer token.
    #[must_use]
    pub fn with_bearer_token(token: &str) -> Self {
        Self { bearer_tokens: vec![token.to_owned()], ..Self::default() }
    }

    /// A tenant with one service account.
    #[must_use]
    pub fn with_service_account(client_id: &str, client_secret: &str) -> Self {
        let account = ServiceAccount { client_id: client_id.to_owned(), client_secret: client_secret.to_owned() };
        Self { service_accounts: vec![account], ..Self::default() }
    }
}

/// What a LIST is wrapped in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListShape {
    /// A bare array, as documented.
    Array,
    /// `{data, offset, total, limit}`, as seen in practice.
    #[default]
    Page,
    /// `{data, offset, limit}`.
    PageWithoutTotal,
}

/// What a LIST with `name` answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ByName {
    /// A list of one or none.
    #[default]
    List,
    /// A list of one, or 404.
    ListOrNotFound,
    /// The bare object, or 404.
    Object,
    /// The whole list: the parameter is ignored.
    Ignored,
}

/// What becomes of a body's members that the documents do not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownFields {
    /// Kept and echoed, but for `folder` and `position`, which are ignored.
    #[default]
    Keep,
    /// Ignored.
    Drop,
    /// The object is invalid, also for `folder` and `position`.
    Reject,
}

/// How a timeout is echoed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeoutEcho {
    /// As it was sent.
    #[default]
    AsSent,
    /// As a string.
    String,
    /// As an integer.
    Integer,
}

/// How a secret is echoed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretEcho {
    /// `-AQ==`, the plaintext's SHA-1, and a ciphertext that every write changes.
    #[default]
    Digest,
    /// `********`.
    Mask,
    /// As it was sent.
    Plaintext,
    /// Not at all.
    Absent,
}

/// The answers where documents and practice differ. The default is what is likely in practice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "independent yes-or-no questions")]
pub struct Answers {
    /// Status of a POST that created.
    pub create_status: u16,
    /// Whether a POST answers with the object.
    pub create_body: bool,
    /// Status of a PUT.
    pub update_status: u16,
    /// Whether a PUT answers with the object.
    pub update_body: bool,
    /// Status of a DELETE.
    pub delete_status: u16,
    /// Whether a DELETE answers with the object.
    pub delete_body: bool,
    /// What a LIST is wrapped in.
    pub list: ListShape,
    /// Whether `limit` and `offset` have an effect; if not, a list is always whole.
    pub paging: bool,
    /// The limit if none is asked for.
    pub default_limit: usize,
    /// The most that a page holds, whatever is asked for.
    pub max_limit: usize,
    /// What `name` does.
    pub by_name: ByName,
    /// Whether an object tells its folder.
    pub item_folder: bool,
    /// Whether a LIST shows what the folder inherits.
    pub inherited: bool,
    /// Whether a name must be unique among inherited objects too.
    pub inherited_names_conflict: bool,
    /// Whether GET by id (of an object or a job) answers with an array.
    pub get_array: bool,
    /// Whether an unknown query parameter is an error.
    pub strict_query: bool,
    /// Whether an integer is good for a timeout.
    pub integer_timeouts: bool,
    /// Members that the documents do not name.
    pub unknown_fields: UnknownFields,
    /// How a timeout is echoed.
    pub timeouts: TimeoutEcho,
    /// How a secret is echoed.
    pub secrets: SecretEcho,
    /// How the server's own errors look.
    pub errors: ErrorForm,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            create_status: 201,
            create_body: true,
            update_status: 200,
            update_body: true,
            delete_status: 200,
            delete_body: true,
            list: ListShape::Page,
            paging: true,
            default_limit: 200,
            max_limit: 200,
            by_name: ByName::List,
            item_folder: true,
            inherited: true,
            inherited_names_conflict: false,
            get_array: false,
            strict_query: true,
            integer_timeouts: false,
            unknown_fields: UnknownFields::Keep,
            timeouts: TimeoutEcho::AsSent,
            secrets: SecretEcho::Digest,
            errors: ErrorForm::Documented,
        }
    }
}

impl Answers {
    /// What the documents say to the letter: arrays, 200, no paging, no bodies after writes.
    #[must_use]
    pub fn documented() -> Self {
        Self {
            create_status: 200,
            create_body: false,
            update_body: false,
            delete_body: false,
            list: ListShape::Array,
            paging: false,
            item_folder: false,
            inherited: false,
            get_array: true,
            ..Self::default()
        }
    }
}
