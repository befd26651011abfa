//! What a Secret's bytes are good for, what a token says of itself, and the endpoint that gives tokens.

use std::fmt;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use reqwest::header::{ACCEPT, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::answer;
use super::client::Settings;
use super::error::{Acted, Cause, Class, Failure, Method, Reason, code_text, kept, request_id, retry_after};
use super::transport::{Answer, InvalidSettings, Target, exchange};
use crate::metrics::Metrics;

#[cfg(test)]
mod tests;

/// The vendor's token endpoint.
pub const DEFAULT_AUTH_URL: &str = "https://auth.apps.paloaltonetworks.com/oauth2/access_token";

/// The endpoint, as logs and metrics name it.
pub const ROUTE: &str = "token";

/// The longest value that is taken from a Secret or from the token endpoint: no header holds more.
const LONGEST_VALUE: usize = 16 * 1024;

/// The longest validity that is believed of a token.
const LONGEST_VALIDITY: Duration = Duration::from_hours(366 * 24);

/// What keeps a Secret's value from being used; says what is wrong and nothing of the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[allow(missing_docs)]
pub enum InvalidSecretValue {
    #[error("it is empty")]
    Empty,
    #[error("it is not UTF-8 text")]
    NotUtf8,
    #[error("it holds a line break besides the one at its end")]
    LineBreak,
    #[error("it begins or ends with white space")]
    SurroundedByWhitespace,
    #[error("it holds white space: give the token alone, without `Bearer`")]
    HoldsWhitespace,
    #[error("it holds a character that cannot be printed or sent")]
    Unprintable,
    #[error("it is longer than 16 KiB")]
    TooLong,
}

/// The text of a Secret's value. One newline at the end, as editors leave it, is not part of it; spaces within are.
///
/// # Errors
/// [`InvalidSecretValue`].
pub fn secret_text(bytes: &[u8]) -> Result<SecretString, InvalidSecretValue> {
    checked(bytes).map(SecretString::from)
}

fn checked(bytes: &[u8]) -> Result<&str, InvalidSecretValue> {
    let bytes = bytes.strip_suffix(b"\n").map_or(bytes, |line| line.strip_suffix(b"\r").unwrap_or(line));
    if bytes.is_empty() {
        return Err(InvalidSecretValue::Empty);
    }
    if bytes.len() > LONGEST_VALUE {
        return Err(InvalidSecretValue::TooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| InvalidSecretValue::NotUtf8)?;
    if text.contains(['\n', '\r']) {
        return Err(InvalidSecretValue::LineBreak);
    }
    if text.chars().any(is_unprintable) {
        return Err(InvalidSecretValue::Unprintable);
    }
    if text.starts_with(' ') || text.ends_with(' ') {
        return Err(InvalidSecretValue::SurroundedByWhitespace);
    }
    Ok(text)
}

/// Control characters, white space other than a space, and marks that no screen shows (a byte order mark, say).
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A bearer token.
#[derive(Clone)]
pub struct Token(SecretString);

impl Token {
    /// The token that a Secret's value or a token endpoint gives.
    ///
    /// # Errors
    /// [`InvalidSecretValue`], where it cannot be sent in a header.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidSecretValue> {
        let text = checked(bytes)?;
        if text.contains(' ') {
            return Err(InvalidSecretValue::HoldsWhitespace);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidSecretValue::Unprintable);
        }
        Ok(Self(SecretString::from(text)))
    }

    /// Whether it is the same token.
    pub(super) fn equals(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }

    /// The header's value, marked as one that is not to be shown.
    pub(super) fn bearer(&self) -> HeaderValue {
        let text = format!("Bearer {}", self.0.expose_secret());
        // A parsed token is of printable ASCII alone, so this never falls back.
        let mut value = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(REDACTED)")
    }
}

/// What a token says of itself. Nobody has verified it: it saves calls, and proves nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// When its time is over.
    pub expires: Option<Timestamp>,
    /// The tenant service group that it is for; at most 64 of `[A-Za-z0-9_-]`.
    pub tenant: Option<String>,
}

impl Claims {
    /// Reads a JWT's claims; what is malformed, or is no JWT, tells nothing.
    #[must_use]
    pub fn read(token: &Token) -> Self {
        payload(token.0.expose_secret()).map_or_else(Self::default, |claims| Self {
            expires: claims.get("exp").and_then(timestamp),
            tenant: tenant(&claims),
        })
    }
}

fn payload(token: &str) -> Option<Map<String, Value>> {
    let mut parts = token.split('.');
    let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let json = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&json).ok()
}

fn timestamp(value: &Value) -> Option<Timestamp> {
    if let Some(seconds) = value.as_i64() {
        return Timestamp::from_second(seconds).ok();
    }
    let seconds = value.as_f64()?;
    let whole = jiff::SignedDuration::try_from_secs_f64(seconds).ok()?;
    Timestamp::from_duration(whole).ok()
}

fn tenant(claims: &Map<String, Value>) -> Option<String> {
    let fit = |text: &str| kept(text, 64, "_-");
    match claims.get("tsg_id") {
        Some(Value::String(text)) => return fit(text),
        Some(Value::Number(number)) if number.is_u64() => return Some(number.to_string()),
        _ => {}
    }
    let mut found = ["scope", "scp"].into_iter().filter_map(|key| claims.get(key)).flat_map(scopes);
    let scope = found.next()?;
    // A token for two tenants does not tell which one a call would reach.
    if found.any(|other| other != scope) { None } else { fit(scope) }
}

/// The tenants that a scope names: words of a text, or items of a list.
fn scopes(value: &Value) -> Vec<&str> {
    let texts = match value {
        Value::String(text) => vec![text.as_str()],
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    texts.into_iter().flat_map(str::split_whitespace).filter_map(|word| word.strip_prefix("tsg_id:")).collect()
}

/// A token, fresh from the endpoint.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The token.
    pub token: Token,
    /// How long it is good for from now on, where the endpoint says so.
    pub expires_in: Option<Duration>,
}

/// The endpoint that gives a service account its tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TokenEndpoint {
    target: Target,
    metrics: Metrics,
}

impl TokenEndpoint {
    /// The endpoint at `auth_url`, which is the whole URL of `--auth-url`; the settings' `api_url` is not looked at.
    ///
    /// # Errors
    /// Where a setting cannot be used; says which and what to do.
    pub fn new(settings: &Settings, auth_url: &str) -> Result<Self, InvalidSettings> {
        Ok(Self { target: Target::new(settings, "--auth-url", auth_url)?, metrics: Metrics::new() })
    }

    /// The same endpoint, whose requests are counted there.
    #[must_use]
    pub fn measured(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// Where its requests are counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Asks for a token, in one request.
    ///
    /// # Errors
    /// `TokenRequestRejected` of class `Credential` where the endpoint answers 400 or 401; for all else
    /// `TokenEndpointUnavailable` of class `Server`, with what the endpoint asked to wait.
    pub async fn fetch_service_account_token(
        &self,
        client_id: &SecretString,
        client_secret: &SecretString,
        tsg_id: &str,
    ) -> Result<Fetched, Failure> {
        let scope = format!("tsg_id:{tsg_id}");
        let request = self
            .target
            .http
            .post((*self.target.url).clone())
            .basic_auth(client_id.expose_secret(), Some(client_secret.expose_secret()))
            .header(ACCEPT, "application/json")
            .form(&[("grant_type", "client_credentials"), ("scope", &scope)]);
        let begun = Instant::now();
        let answer = exchange(request).await;
        let status = answer.as_ref().ok().map(|answer| answer.status);
        self.metrics.requested(Method::Post.as_str(), ROUTE, status, begun.elapsed());
        tracing::debug!(
            method = "POST",
            route = ROUTE,
            status,
            duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "token call"
        );
        fetched(answer.map_err(|error| unavailable(None).because(Cause::Transport(error.without_url())))?)
    }
}

fn unavailable(status: Option<u16>) -> Failure {
    Failure::new(Method::Post, Reason::TokenEndpointUnavailable, status, Acted::Perhaps)
}

pub(super) fn fetched(mut answer: Answer) -> Result<Fetched, Failure> {
    let id = request_id(&answer.headers, None);
    let json = match answer.cut.take() {
        Some(cause) => Err(cause),
        None => answer::json(&answer.body),
    };
    if !answer.is_success() {
        let mut failure = unavailable(Some(answer.status));
        if matches!(answer.status, 400 | 401) {
            failure.reason = Reason::TokenRequestRejected;
            failure.class = Class::Credential;
            failure.acted = Acted::No;
        }
        failure.code = json.ok().and_then(|json| json.get("error").and_then(code_text));
        failure.retry_after = retry_after(&answer.headers, Timestamp::now());
        return Err(failure.with_request_id(id));
    }
    let unusable = |cause| unavailable(Some(answer.status)).because(cause).with_request_id(id.clone());
    let json = json.map_err(&unusable)?;
    let token = json.get("access_token").and_then(Value::as_str).and_then(|text| Token::parse(text.as_bytes()).ok());
    let token = token.ok_or_else(|| unusable(Cause::Shape("one that holds a usable access_token")))?;
    Ok(Fetched { token, expires_in: json.get("expires_in").and_then(seconds) })
}

/// A validity in seconds: a number, also one that came as text.
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
    Duration::try_from_secs_f64(seconds).ok().map(|validity| validity.min(LONGEST_VALIDITY))
}
