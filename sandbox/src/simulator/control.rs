//! The simulator's own API, under `/_sim`: what tests do in-process, for other processes.

use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answer::Answer;
use super::connection::Connection;
use super::folder::{Folder, Position};
use super::hand::{TenantHandle, merge};
use super::options::{TenantOptions, TokenShape};
use super::query::{Query, Route, decode};
use super::rules::Rule;
use super::shared::Shared;
use super::store::Refused;

/// Why a control request failed.
struct Failed(StatusCode, String);

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        let status = match refused {
            Refused::NotPresent => StatusCode::NOT_FOUND,
            Refused::NameTaken | Refused::Referenced => StatusCode::CONFLICT,
            Refused::Invalid => StatusCode::BAD_REQUEST,
        };
        Self(status, refused.to_string())
    }
}

impl From<serde_json::Error> for Failed {
    fn from(error: serde_json::Error) -> Self {
        Self(StatusCode::BAD_REQUEST, error.to_string())
    }
}

type Result<T> = std::result::Result<T, Failed>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewObject {
    folder: Folder,
    #[serde(default)]
    position: Option<Position>,
    body: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    folder: Folder,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rename {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct References {
    count: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    #[serde(default)]
    client_id: Option<String>,
    #[serde(default = "token_lifetime")]
    lifetime_seconds: u64,
    #[serde(default)]
    shape: TokenShape,
}

fn token_lifetime() -> u64 {
    TenantOptions::default().token_lifetime_seconds
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    #[serde(default)]
    client_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Outage {
    ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wait {
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    route: Option<Route>,
    #[serde(default)]
    tenant: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    status: Option<u16>,
    #[serde(default)]
    rule: Option<String>,
    /// Whether those still under way count too.
    #[serde(default)]
    open: bool,
    #[serde(default = "one")]
    count: usize,
    timeout_ms: u64,
}

fn one() -> usize {
    1
}

/// Answers a request of the control API; `path` is what follows `/_sim`.
pub(crate) async fn handle(
    shared: &Arc<Shared>,
    connection: &Connection,
    parts: &Parts,
    path: &str,
    body: &[u8],
) -> Answer {
    let segments: Vec<String> =
        path.split('/').filter(|segment| !segment.is_empty()).filter_map(|segment| decode(segment, false)).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let done = match segments.as_slice() {
        ["log", "wait"] if parts.method == Method::POST => wait(shared, body).await,
        _ => route(shared, connection, parts, &segments, body),
    };
    match done {
        Ok(Value::Null) => Answer::empty(204),
        Ok(body) => Answer::json(StatusCode::OK, &body),
        Err(Failed(status, message)) => Answer::json(status, &json!({"error": message})),
    }
}

fn route(
    shared: &Arc<Shared>,
    connection: &Connection,
    parts: &Parts,
    segments: &[&str],
    body: &[u8],
) -> Result<Value> {
    match (&parts.method, segments) {
        (&Method::GET, []) => {
            let tenants: Vec<String> = shared.tenants().iter().map(|tenant| tenant.tsg_id.clone()).collect();
            Ok(json!({
                "url": shared.url(),
                "auth_url": shared.auth_url(),
                "tenants": tenants,
                "connections": shared.connections.count(),
            }))
        }
        (&Method::GET, ["objects"]) => {
            let tenants = shared.tenants().into_iter();
            let objects: Vec<_> = tenants.flat_map(|tenant| handle_of(shared, tenant).objects()).collect();
            Ok(serde_json::to_value(objects)?)
        }
        (&Method::PUT, ["tenants", tsg_id]) => {
            shared.configure(tsg_id, parse(body)?);
            Ok(Value::Null)
        }
        (_, ["tenants", tsg_id, rest @ ..]) => {
            let tenant = shared.tenant(tsg_id).ok_or_else(|| not_found("no such tenant"))?;
            tenant_route(&handle_of(shared, tenant), &parts.method, rest, body)
        }
        (&Method::GET, ["rules"]) => Ok(serde_json::to_value(shared.rules.states())?),
        (&Method::POST, ["rules"]) => {
            let rule: Rule = parse(body)?;
            Ok(json!({"name": shared.rules.add(rule)}))
        }
        (&Method::DELETE, ["rules"]) => Ok(json!({"removed": shared.rules.remove(None)})),
        (&Method::DELETE, ["rules", name]) => Ok(json!({"removed": shared.rules.remove(Some(name))})),
        (&Method::GET, ["log"]) => {
            let query = Query::parse(parts.uri.query().unwrap_or_default()).unwrap_or_default();
            let after: u64 = query.get("after").and_then(|after| after.parse().ok()).unwrap_or(0);
            shared.log.with(|log| {
                let entries: Vec<_> = log.entries().iter().filter(|entry| entry.seq > after).collect();
                Ok(serde_json::to_value(entries)?)
            })
        }
        (&Method::GET, ["log", "summary"]) => Ok(serde_json::to_value(shared.log.summary())?),
        (&Method::DELETE, ["log"]) => {
            shared.log.reset();
            Ok(Value::Null)
        }
        (&Method::POST, ["outage"]) => {
            let Outage { ms } = parse(body)?;
            let shared = Arc::clone(shared);
            tokio::spawn(async move {
                // Long enough for the answer to this request to be on its way.
                tokio::time::sleep(Duration::from_millis(20)).await;
                shared.stop().await;
                tokio::time::sleep(Duration::from_millis(ms)).await;
                if let Err(error) = shared.listen(None).await {
                    tracing::error!(%error, "cannot listen again after an outage");
                }
            });
            Ok(Value::Null)
        }
        (&Method::POST, ["connections", "reset"]) => {
            // But not the one that this request came on: it is to be answered.
            shared.connections.reset_but(Some(connection));
            Ok(Value::Null)
        }
        _ => Err(not_found("no such control")),
    }
}

fn tenant_route(tenant: &TenantHandle, method: &Method, segments: &[&str], body: &[u8]) -> Result<Value> {
    match (method, segments) {
        (&Method::GET, []) => Ok(serde_json::to_value(tenant.options())?),
        (&Method::PATCH, []) => {
            let mut options = serde_json::to_value(tenant.options())?;
            merge(&mut options, &parse(body)?);
            let options: TenantOptions = serde_json::from_value(options)?;
            tenant.configure(|now| *now = options);
            Ok(Value::Null)
        }
        (&Method::GET, ["objects"]) => Ok(serde_json::to_value(tenant.objects())?),
        (&Method::POST, ["objects"]) => {
            let new: NewObject = parse(body)?;
            let id = tenant.create(new.folder, new.position.unwrap_or(Position::Pre), &new.body)?;
            Ok(json!({"id": id}))
        }
        (&Method::GET, ["objects", id]) => {
            let object = tenant.get(id).ok_or(Refused::NotPresent)?;
            Ok(serde_json::to_value(object)?)
        }
        (&Method::PUT, ["objects", id]) => done(tenant.replace(id, &parse(body)?)),
        (&Method::PATCH, ["objects", id]) => done(tenant.edit(id, &parse(body)?)),
        (&Method::DELETE, ["objects", id]) => done(tenant.delete(id)),
        (&Method::POST, ["objects", id, "rename"]) => done(tenant.rename(id, &parse::<Rename>(body)?.name)),
        (&Method::POST, ["objects", id, "move"]) => done(tenant.move_to(id, parse::<Move>(body)?.folder)),
        (&Method::POST, ["objects", id, "swap-id"]) => Ok(json!({"id": tenant.swap_id(id)?})),
        (&Method::POST, ["objects", id, "references"]) => {
            done(tenant.set_references(id, parse::<References>(body)?.count))
        }
        (&Method::GET, ["running"]) => {
            let by_folder = tenant.running().into_iter();
            let by_folder = by_folder.map(|(folder, (version, objects))| {
                Ok((folder.as_str().to_owned(), json!({"version": version, "objects": serde_json::to_value(objects)?})))
            });
            Ok(Value::Object(by_folder.collect::<Result<_>>()?))
        }
        (&Method::GET, ["jobs"]) => Ok(Value::Array(tenant.jobs())),
        (&Method::POST, ["tokens"]) => {
            let new: NewToken = parse(body)?;
            let lifetime = Duration::from_secs(new.lifetime_seconds);
            Ok(json!({"token": tenant.issue_token(new.client_id.as_deref(), lifetime, new.shape)}))
        }
        (&Method::POST, ["tokens", "revoke"]) => {
            tenant.revoke_tokens(parse::<Revoke>(body)?.client_id.as_deref());
            Ok(Value::Null)
        }
        _ => Err(not_found("no such control")),
    }
}

async fn wait(shared: &Arc<Shared>, body: &[u8]) -> Result<Value> {
    let wait: Wait = parse(body)?;
    let wanted = |entry: &super::Entry| {
        (wait.open || entry.end_us.is_some())
            && wait.method.as_ref().is_none_or(|method| *method == entry.method)
            && wait.route.is_none_or(|route| route == entry.route)
            && wait.tenant.is_none_or_eq(entry.tenant.as_ref())
            && (wait.name.is_none_or_eq(entry.name.as_ref()) || wait.name.is_none_or_eq(entry.object.as_ref()))
            && wait.rule.is_none_or_eq(entry.rule.as_ref())
            && wait.status.is_none_or_eq(entry.status.as_ref())
    };
    let deadline = Duration::from_millis(wait.timeout_ms);
    let reached = shared
        .log
        .wait_until(deadline, |log| {
            log.entries().iter().filter(|entry| wanted(entry)).take(wait.count).count() >= wait.count
        })
        .await;
    match reached {
        Ok(()) => Ok(serde_json::to_value(shared.log.summary())?),
        Err(timed_out) => Err(Failed(StatusCode::REQUEST_TIMEOUT, timed_out.to_string())),
    }
}

/// Absent, or equal to what was found.
trait NoneOrEq<T> {
    fn is_none_or_eq(&self, found: Option<&T>) -> bool;
}

impl<T: PartialEq> NoneOrEq<T> for Option<T> {
    fn is_none_or_eq(&self, found: Option<&T>) -> bool {
        self.as_ref().is_none_or(|wanted| found == Some(wanted))
    }
}

fn handle_of(shared: &Arc<Shared>, tenant: Arc<super::tenant::Tenant>) -> TenantHandle {
    TenantHandle { shared: Arc::clone(shared), tenant }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    // No body stands for no wishes.
    Ok(serde_json::from_slice(if body.is_empty() { b"{}" } else { body })?)
}

fn done(result: std::result::Result<(), Refused>) -> Result<Value> {
    result?;
    Ok(Value::Null)
}

fn not_found(what: &str) -> Failed {
    Failed(StatusCode::NOT_FOUND, what.to_owned())
}
