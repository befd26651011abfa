//! The token endpoint, and who a bearer token speaks for.

use std::collections::HashMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use super::documented::Documented;
use super::options::{TenantOptions, TokenShape};
use super::query::Query;
use super::{read, write};

/// Longer bearer tokens than this are too long.
const LONGEST: usize = 16 * 1024;

#[derive(Clone, Debug)]
struct Issued {
    tenant: String,
    client_id: Option<String>,
    ends: Option<Instant>,
    revoked: bool,
}

/// Who a request speaks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Speaker {
    pub(crate) tenant: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) token: Option<String>,
    /// Why the request may not go on.
    pub(crate) refusal: Option<Documented>,
}

/// All bearer tokens of all tenants.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    issued: RwLock<HashMap<String, Issued>>,
    serial: AtomicU64,
}

impl Tokens {
    /// Registers a token that is good until it is taken away.
    pub(crate) fn add_static(&self, tenant: &str, token: &str) {
        let issued = Issued { tenant: tenant.to_owned(), client_id: None, ends: None, revoked: false };
        write(&self.issued).insert(token.to_owned(), issued);
    }

    /// Forgets a token, as if it never was.
    pub(crate) fn remove(&self, token: &str) -> bool {
        write(&self.issued).remove(token).is_some()
    }

    /// Revokes the fetched tokens of a tenant, or of one of its accounts.
    pub(crate) fn revoke(&self, tenant: &str, client_id: Option<&str>) {
        for issued in write(&self.issued).values_mut() {
            let mine = issued.tenant == tenant && issued.ends.is_some();
            issued.revoked |= mine && (client_id.is_none() || issued.client_id.as_deref() == client_id);
        }
    }

    /// Makes and registers a token.
    pub(crate) fn issue(
        &self,
        tenant: &str,
        client_id: Option<&str>,
        lifetime: Duration,
        shape: TokenShape,
        seed: u64,
    ) -> String {
        let serial = self.serial.fetch_add(1, Ordering::SeqCst);
        let now = jiff::Timestamp::now().as_second();
        let ends = now.saturating_add(i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX));
        let mut claims = json!({
            "iss": "https://auth.apps.paloaltonetworks.com/oauth2",
            "sub": client_id.unwrap_or("simulator"),
            "jti": format!("{seed:016x}-{serial}"),
            "iat": now,
            "exp": ends,
        });
        if shape == TokenShape::Jwt {
            claims["tsg_id"] = json!(tenant);
            claims["scope"] = json!(format!("tsg_id:{tenant} profile email"));
        }
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": "simulator"});
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = Sha1::digest(format!("{seed}/{signed}"));
        let token = match shape {
            TokenShape::Opaque => format!("opaque-{}", URL_SAFE_NO_PAD.encode(signature)),
            TokenShape::Jwt | TokenShape::JwtWithoutTenant => {
                format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
            }
        };
        let issued = Issued {
            tenant: tenant.to_owned(),
            client_id: client_id.map(ToOwned::to_owned),
            ends: Instant::now().checked_add(lifetime),
            revoked: false,
        };
        write(&self.issued).insert(token.clone(), issued);
        token
    }

    /// Who a request speaks for, by its `Authorization`.
    pub(crate) fn identify(&self, headers: &HeaderMap) -> Speaker {
        let refused = |refusal| Speaker { refusal: Some(refusal), ..Speaker::default() };
        let Some((scheme, token)) = authorization(headers) else {
            return refused(Documented::AuthNotAuthenticated);
        };
        if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
            return refused(Documented::AuthNotAuthenticated);
        }
        if token.len() > LONGEST {
            return refused(Documented::KeyTooLong);
        }
        let issued = read(&self.issued).get(token).cloned();
        let Some(issued) = issued else {
            return Speaker { token: Some(token.to_owned()), ..refused(Documented::AuthNotAuthenticated) };
        };
        let refusal = if issued.revoked {
            Some(Documented::InvalidCredential)
        } else if issued.ends.is_some_and(|ends| ends <= Instant::now()) {
            Some(Documented::KeyExpired)
        } else {
            None
        };
        Speaker { tenant: Some(issued.tenant), client_id: issued.client_id, token: Some(token.to_owned()), refusal }
    }
}

fn authorization(headers: &HeaderMap) -> Option<(&str, &str)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value.split_once(' ').map(|(scheme, rest)| (scheme, rest.trim()))
}

/// A request to the token endpoint, as far as it could be read.
#[derive(Debug)]
pub(crate) struct TokenRequest {
    client: Option<(String, String)>,
    form: Option<Query>,
}

impl TokenRequest {
    pub(crate) fn read(headers: &HeaderMap, body: &[u8]) -> Self {
        let is_form = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"));
        let form = std::str::from_utf8(body).ok().filter(|_| is_form).and_then(|text| Query::parse(text).ok());
        Self { client: basic(headers), form }
    }

    /// The service account that asks, proven or not.
    pub(crate) fn client_id(&self) -> Option<&str> {
        self.client.as_ref().map(|(id, _)| id.as_str())
    }

    /// The tenant that it asks for.
    pub(crate) fn tenant(&self) -> Option<&str> {
        let scope = self.form.as_ref()?.get("scope")?;
        scope.split(' ').find_map(|word| word.strip_prefix("tsg_id:")).filter(|tenant| !tenant.is_empty())
    }

    /// Checks the request: `known` says whether any tenant has that account, `options` are the asked tenant's.
    pub(crate) fn check(
        &self,
        known: impl Fn(&str, &str) -> bool,
        options: Option<&TenantOptions>,
    ) -> Result<(), (u16, Value)> {
        let refuse = |status: u16, error: &str, description: &str| {
            Err((status, json!({"error": error, "error_description": description})))
        };
        let Some(form) = &self.form else {
            return refuse(400, "invalid_request", "the body is not a form");
        };
        match form.get("grant_type") {
            None => return refuse(400, "invalid_request", "missing parameter: grant_type"),
            Some("client_credentials") => {}
            Some(_) => return refuse(400, "unsupported_grant_type", "grant_type must be client_credentials"),
        }
        let Some((id, secret)) = &self.client else {
            return refuse(401, "invalid_client", "client authentication is missing");
        };
        if !known(id, secret) {
            return refuse(401, "invalid_client", "client authentication failed");
        }
        let has_access = |options: &TenantOptions| {
            options.service_accounts.iter().any(|account| account.client_id == *id && account.client_secret == *secret)
        };
        match options {
            _ if self.tenant().is_none() => refuse(400, "invalid_scope", "scope must be tsg_id:<TSG_ID>"),
            Some(options) if has_access(options) => Ok(()),
            _ => refuse(400, "invalid_scope", "the service account has no access to the tenant service group"),
        }
    }
}

/// User and password of HTTP basic authentication.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, encoded) = authorization(headers)?;
    let decoded = STANDARD.decode(encoded).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':').map(|(id, secret)| (id.to_owned(), secret.to_owned()))
}
