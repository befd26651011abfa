//! A request taken apart: route, id and query, with percent-encoding undone here and not by a library.

use serde::{Deserialize, Serialize};

/// What a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Route {
    /// `/sse/config/v1/mfa-servers`.
    #[serde(rename = "mfa-servers")]
    MfaServers,
    /// `/sse/config/v1/mfa-servers/{id}`.
    #[serde(rename = "mfa-servers/{id}")]
    MfaServer,
    /// `/sse/config/v1/config-versions/candidate:push`.
    #[serde(rename = "config-versions/candidate:push")]
    Push,
    /// `/sse/config/v1/config-versions/running`.
    #[serde(rename = "config-versions/running")]
    Running,
    /// `/sse/config/v1/jobs`.
    #[serde(rename = "jobs")]
    Jobs,
    /// `/sse/config/v1/jobs/{id}`.
    #[serde(rename = "jobs/{id}")]
    Job,
    /// `/oauth2/access_token`, also under `/auth/v1`.
    #[serde(rename = "oauth2/access_token")]
    Token,
    /// `/sse/config/{version}/…` of a version that there is not.
    #[serde(rename = "version")]
    OtherVersion,
    /// Everything else.
    #[serde(rename = "other")]
    Other,
}

impl Route {
    /// The name in rules, counters and the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MfaServers => "mfa-servers",
            Self::MfaServer => "mfa-servers/{id}",
            Self::Push => "config-versions/candidate:push",
            Self::Running => "config-versions/running",
            Self::Jobs => "jobs",
            Self::Job => "jobs/{id}",
            Self::Token => "oauth2/access_token",
            Self::OtherVersion => "version",
            Self::Other => "other",
        }
    }

    /// The route of a path, with the id in it.
    pub(crate) fn of(path: &str) -> (Self, Option<String>) {
        if matches!(path, "/oauth2/access_token" | "/auth/v1/oauth2/access_token") {
            return (Self::Token, None);
        }
        let Some(rest) = path.strip_prefix("/sse/config/") else { return (Self::Other, None) };
        let Some(rest) = rest.strip_prefix("v1/") else { return (Self::OtherVersion, None) };
        let segments: Option<Vec<String>> = rest.split('/').map(|segment| decode(segment, false)).collect();
        let Some(segments) = segments else { return (Self::Other, None) };
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["mfa-servers"] => (Self::MfaServers, None),
            ["mfa-servers", id] if !id.is_empty() => (Self::MfaServer, Some((*id).to_owned())),
            ["config-versions", "candidate:push"] => (Self::Push, None),
            ["config-versions", "running"] => (Self::Running, None),
            ["jobs"] => (Self::Jobs, None),
            ["jobs", id] if !id.is_empty() => (Self::Job, Some((*id).to_owned())),
            _ => (Self::Other, None),
        }
    }
}

/// A query string's parameters, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Takes a query string (or a form) apart; an error names the part that cannot be decoded.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        text.split('&')
            .filter(|part| !part.is_empty())
            .map(|part| {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                decode(name, true).zip(decode(value, true)).ok_or_else(|| part.to_owned())
            })
            .collect::<Result<Vec<_>, _>>()
            .map(Self)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first parameter that is not among `known`, or comes twice.
    pub(crate) fn unexpected(&self, known: &[&str]) -> Option<(&str, &str)> {
        self.0
            .iter()
            .enumerate()
            .find(|(index, (key, _))| {
                !known.contains(&key.as_str()) || self.0[..*index].iter().any(|(earlier, _)| earlier == key)
            })
            .map(|(_, (key, value))| (key.as_str(), value.as_str()))
    }
}

/// Undoes percent-encoding; `None` if it is broken or the bytes are no UTF-8.
pub(crate) fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}
