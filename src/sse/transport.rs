//! One exchange over HTTP: no redirects, no second try, one time limit around all of it, and a body that is counted
//! after it is unpacked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Certificate, RequestBuilder, Url, redirect, retry};

use super::client::Settings;
use super::error::{Cause, MOST_OF_AN_ERROR};

#[cfg(test)]
pub(super) mod fake;
#[cfg(test)]
mod tests;

/// The longest answer that is read.
pub(super) const MOST_OF_AN_ANSWER: usize = 8 * 1024 * 1024;

/// How long a connection may take to come about; at most half of what the whole request may, so that a host that does
/// not answer is told from one that may have acted.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Unused connections go before the usual minute of a load balancer, so that none is written to as it closes.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a client cannot be made of its settings. Says which flag is at fault and what to do, and shows no value.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum InvalidSettings {
    #[error("{flag} is not a URL: write it like https://host.example.com")]
    NotAUrl {
        flag: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("{flag} is neither https nor http, or names no host: write it like https://host.example.com")]
    NotHttp { flag: &'static str },
    #[error(
        "{flag} is plain http to another host, which would send credentials in the clear: use https, or add --allow-http"
    )]
    PlainHttp { flag: &'static str },
    #[error("{flag} holds a user name or a password: remove them, credentials belong in a Secret")]
    HoldsCredentials { flag: &'static str },
    #[error("{flag} holds a query or a fragment: remove everything from the ? or # on")]
    HoldsQuery { flag: &'static str },
    #[error("the extra CA bundle holds no certificate in PEM: give a file of BEGIN CERTIFICATE blocks")]
    CaBundle {
        #[source]
        source: Option<reqwest::Error>,
    },
    #[error("the HTTP client cannot be built: check proxy variables, user agent and the system's CA certificates")]
    BuildClient {
        #[source]
        source: reqwest::Error,
    },
}

/// The URL of that flag, if tokens may be sent there.
pub(super) fn endpoint(flag: &'static str, text: &str, allow_http: bool) -> Result<Url, InvalidSettings> {
    let url = Url::parse(text.trim()).map_err(|error| InvalidSettings::NotAUrl { flag, source: Box::new(error) })?;
    if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none_or(str::is_empty) {
        return Err(InvalidSettings::NotHttp { flag });
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(InvalidSettings::HoldsCredentials { flag });
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(InvalidSettings::HoldsQuery { flag });
    }
    if url.scheme() == "http" && !allow_http && !is_loopback(&url) {
        return Err(InvalidSettings::PlainHttp { flag });
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    address.map_or_else(|_| host == "localhost", |address| address.is_loopback())
}

/// The HTTP client that these settings ask for. The proxy variables of the environment are honoured.
pub(super) fn http(settings: &Settings) -> Result<reqwest::Client, InvalidSettings> {
    let mut builder = reqwest::Client::builder()
        .user_agent(settings.user_agent.as_str())
        .redirect(redirect::Policy::none())
        .referer(false)
        .retry(retry::never())
        .timeout(settings.request_timeout)
        .connect_timeout(CONNECT_TIMEOUT.min(settings.request_timeout / 2))
        .pool_idle_timeout(POOL_IDLE_TIMEOUT);
    if let Some(pem) = &settings.extra_ca {
        let certificates =
            Certificate::from_pem_bundle(pem).map_err(|error| InvalidSettings::CaBundle { source: Some(error) })?;
        if certificates.is_empty() {
            return Err(InvalidSettings::CaBundle { source: None });
        }
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|source| InvalidSettings::BuildClient { source })
}

/// What a server answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// The body, or as much of it as came; it can hold secrets.
    pub(super) body: Vec<u8>,
    /// Why the body is not whole.
    pub(super) cut: Option<Cause>,
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// There is nothing to be read in it.
    pub(super) fn is_empty(&self) -> bool {
        self.body.iter().all(u8::is_ascii_whitespace)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).field("length", &self.body.len()).finish_non_exhaustive()
    }
}

/// Sends the request and reads the answer, as far as it is wanted.
pub(super) async fn exchange(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    let mut response = request.send().await?;
    let status = response.status();
    let most = if status.is_success() { MOST_OF_AN_ANSWER } else { MOST_OF_AN_ERROR };
    let headers = std::mem::take(response.headers_mut());
    let mut body = Vec::new();
    let cut = loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > most => {
                // A beginning may read as a whole that was never sent.
                body = Vec::new();
                break Some(Cause::TooLong(most));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break None,
            Err(error) => break Some(Cause::Transport(error.without_url())),
        }
    };
    Ok(Answer { status: status.as_u16(), headers, body, cut })
}

/// The client and where it sends to; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) http: reqwest::Client,
    pub(super) url: Arc<Url>,
}

impl Target {
    pub(super) fn new(settings: &Settings, flag: &'static str, url: &str) -> Result<Self, InvalidSettings> {
        let url = Arc::new(endpoint(flag, url, settings.allow_http)?);
        Ok(Self { http: http(settings)?, url })
    }
}
