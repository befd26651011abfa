//! One request from its arrival to its answer: who speaks, limit, rule, effect, delivery, log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderName, Method, Response, StatusCode, header};
use futures::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use super::answer::{Answer, status_of};
use super::connection::Connection;
use super::documented::{ErrorForm, undocumented};
use super::log::Outcome;
use super::options::{TenantOptions, WriteLock};
use super::query::Route;
use super::request::Request;
use super::rules::{Apply, Reply, Rule};
use super::shared::Shared;
use super::tenant::Tenant;
use super::{control, operations};

/// Larger bodies than this are not read.
const LARGEST_BODY: usize = 16 * 1024 * 1024;

/// Answers every request, also those of the control API.
pub(crate) async fn serve(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: axum::extract::Request,
) -> Response<Body> {
    let at = Instant::now();
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, LARGEST_BODY).await else {
        return Answer::html(413).respond();
    };
    if let Some(path) = parts.uri.path().strip_prefix("/_sim") {
        return control::handle(&shared, &connection, &parts, path, &body).await.respond();
    }
    let request = Request::new(at, parts, body, &shared.tokens, shared.uuid());
    // A server goes on with what it has received, whether or not the client stays; so this is a task of its own.
    match tokio::spawn(Exchange::begin(shared, connection, request).run()).await {
        Ok(response) => response,
        Err(_) => Answer::html(500).respond(),
    }
}

/// A request under way.
struct Exchange {
    shared: Arc<Shared>,
    connection: Connection,
    request: Arc<Request>,
    tenant: Option<Arc<Tenant>>,
    options: Arc<TenantOptions>,
    object: Option<String>,
    seq: u64,
}

impl Exchange {
    fn begin(shared: Arc<Shared>, connection: Connection, request: Request) -> Self {
        let tenant = request.speaker.tenant.as_deref().and_then(|tsg_id| shared.tenant(tsg_id));
        let options = tenant.as_ref().map(|tenant| tenant.options()).unwrap_or_default();
        let object = match (&tenant, &request.id, request.route) {
            (Some(tenant), Some(id), Route::MfaServer) => {
                tenant.with(|configuration| configuration.candidate.get(id).map(|object| object.name().to_owned()))
            }
            _ => None,
        };
        let seq = shared.log.begin(request.arrival(object.as_deref()));
        Self { shared, connection, request: Arc::new(request), tenant, options, object, seq }
    }

    async fn run(self) -> Response<Body> {
        if let Some(refusal) = self.rate_limited() {
            return self.deliver(refusal);
        }
        let facts = self.request.facts(self.object.as_deref());
        let rule = self.shared.rules.any().then(|| self.shared.rules.pick(&facts)).flatten();
        match rule {
            None => {
                let answer = self.work(false).perform().await;
                self.deliver(answer)
            }
            Some(rule) => self.under(rule).await,
        }
    }

    fn rate_limited(&self) -> Option<Answer> {
        let tenant = self.tenant.as_ref().filter(|_| self.request.route != Route::Token)?;
        let limit = self.options.rate_limit;
        let seconds = tenant.take_permit(limit).err()?;
        let answer = self.too_many_requests();
        let tells = limit.is_some_and(|limit| limit.retry_after);
        Some(if tells { answer.with_header(header::RETRY_AFTER, &seconds.to_string()) } else { answer })
    }

    fn too_many_requests(&self) -> Answer {
        let status = StatusCode::TOO_MANY_REQUESTS;
        if self.request.route == Route::Token {
            return Answer::json(
                status,
                &json!({"error": "temporarily_unavailable", "error_description": "slow down"}),
            );
        }
        Answer::json(status, &undocumented("E429", "Too Many Requests", &self.request.trace))
    }

    fn work(&self, patient: bool) -> Work {
        Work {
            shared: Arc::clone(&self.shared),
            request: Arc::clone(&self.request),
            tenant: self.tenant.clone(),
            options: Arc::clone(&self.options),
            seq: self.seq,
            patient,
        }
    }

    /// The request under a rule.
    async fn under(self, rule: Rule) -> Response<Body> {
        self.shared.log.note(self.seq, |entry| entry.rule = Some(rule.name.clone()));
        if rule.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(rule.delay_ms)).await;
        }
        let usual = match rule.effect() {
            Apply::Yes => Some(self.work(false).perform().await),
            Apply::No => {
                self.work(false).latency().await;
                None
            }
            Apply::LateMs(delay) => {
                let work = self.work(true);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(delay)).await;
                    work.perform().await;
                });
                None
            }
        };
        self.reply(rule.reply, usual).await
    }

    async fn reply(self, reply: Reply, usual: Option<Answer>) -> Response<Body> {
        let request_id = self.request.trace.clone();
        let form = self.options.answers.errors;
        let usual = usual.unwrap_or_else(|| {
            Answer::json(StatusCode::INTERNAL_SERVER_ERROR, &undocumented("E001", "Internal Error", &request_id))
        });
        let documented = |error: super::Documented, form: ErrorForm| {
            Answer::json(error.status(), &error.body(None, form, &request_id))
        };
        let server_error = |message: &str| Answer::json_with(500, &undocumented("E001", message, &request_id));
        match reply {
            Reply::Usual => self.deliver(usual),
            Reply::Documented(error) => self.deliver(documented(error, form)),
            Reply::DocumentedAs { error, form } => self.deliver(documented(error, form)),
            Reply::TooManyRequests { retry_after } => {
                let answer = self.too_many_requests();
                let answer = match retry_after {
                    Some(when) => answer.with_header(header::RETRY_AFTER, &when),
                    None => answer,
                };
                self.deliver(answer)
            }
            Reply::WriteLock => self.deliver(server_error(WRITE_LOCK)),
            Reply::ServerError { message } => self.deliver(server_error(&message)),
            Reply::Html { status } => self.deliver(Answer::html(status)),
            Reply::Empty { status } => self.deliver(Answer::empty(status)),
            Reply::TruncatedJson => {
                let half = usual.body.slice(..usual.body.len() / 2);
                self.deliver(Answer { body: half, ..usual })
            }
            Reply::TruncatedBody => self.deliver_truncated(&usual),
            Reply::Huge { status, bytes } => self.deliver_huge(status, bytes),
            Reply::Slow { chunk_bytes, pause_ms } => self.deliver_slowly(&usual, chunk_bytes, pause_ms),
            Reply::EchoRequest { status } => {
                let text = String::from_utf8_lossy(&self.request.body);
                let error = json!({"code": "E003", "message": format!("Invalid Object: {text}"), "details": text});
                self.deliver(Answer::json_with(status, &json!({"_errors": [error], "_request_id": request_id})))
            }
            Reply::OauthError { status, error, description } => {
                self.deliver(Answer::json_with(status, &json!({"error": error, "error_description": description})))
            }
            Reply::Raw { status, headers, body } => {
                let answer = Answer { status: status_of(status), headers: Vec::new(), body: body.into() };
                self.deliver(headers.iter().fold(answer, |answer, (name, value)| {
                    match HeaderName::from_bytes(name.as_bytes()) {
                        Ok(name) => answer.with_header(name, value),
                        Err(_) => answer,
                    }
                }))
            }
            Reply::Hang => {
                self.connection.ended().await;
                self.end(Outcome::Hung, None);
                Response::default()
            }
            Reply::Close => {
                self.end(Outcome::Closed, None);
                self.connection.close();
                Response::default()
            }
            Reply::Reset => {
                self.end(Outcome::Reset, None);
                self.connection.reset();
                Response::default()
            }
        }
    }

    fn deliver(self, answer: Answer) -> Response<Body> {
        self.end(Outcome::Answered, Some(&answer));
        answer.respond()
    }

    fn deliver_truncated(self, answer: &Answer) -> Response<Body> {
        self.end(Outcome::Truncated, Some(answer));
        let half = answer.body.slice(..answer.body.len() / 2);
        let connection = self.connection;
        let end = async move {
            // The first half must be on its way before the connection ends.
            tokio::time::sleep(Duration::from_millis(10)).await;
            connection.close();
            Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
        };
        let body = stream::once(async move { Ok::<_, std::io::Error>(half) }).chain(stream::once(end));
        let answer = answer.clone().with_header(header::CONTENT_LENGTH, &answer.body.len().to_string());
        answer.respond_with(Body::from_stream(body))
    }

    fn deliver_slowly(self, answer: &Answer, chunk_bytes: usize, pause_ms: u64) -> Response<Body> {
        self.end(Outcome::Answered, Some(answer));
        let chunk = chunk_bytes.max(1);
        let body = stream::unfold(answer.body.clone(), move |mut rest| async move {
            if rest.is_empty() {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            let piece = rest.split_to(chunk.min(rest.len()));
            Some((Ok::<_, std::io::Error>(piece), rest))
        });
        answer.respond_with(Body::from_stream(body))
    }

    fn deliver_huge(self, status: u16, bytes: usize) -> Response<Body> {
        const CHUNK: usize = 64 * 1024;
        let (head, tail) = if status < 400 {
            (r#"{"data":[{"name":""#, r#""}],"offset":0,"total":1,"limit":200}"#)
        } else {
            (r#"{"_errors":[{"code":"E001","details":{},"message":""#, r#""}]}"#)
        };
        let answer = Answer { body: Bytes::new(), ..Answer::json_with(status, &Value::Null) };
        self.end(Outcome::Answered, Some(&answer));
        let filler = Bytes::from(vec![b'a'; CHUNK]);
        let body = stream::iter(
            std::iter::once(Bytes::from_static(head.as_bytes()))
                .chain(std::iter::repeat_n(filler, bytes.div_ceil(CHUNK)))
                .chain(std::iter::once(Bytes::from_static(tail.as_bytes())))
                .map(Ok::<_, std::io::Error>),
        );
        answer.respond_with(Body::from_stream(body))
    }

    fn end(&self, outcome: Outcome, answer: Option<&Answer>) {
        let client_left = self.connection.has_ended();
        self.shared.log.end(self.seq, self.request.speaker.tenant.as_deref(), |entry| {
            entry.outcome = outcome;
            entry.status = answer.map(|answer| answer.status.as_u16());
            entry.retry_after = answer.and_then(|answer| answer.header(&header::RETRY_AFTER)).map(ToOwned::to_owned);
            entry.client_left = client_left;
        });
    }
}

/// The message of a write that met another.
const WRITE_LOCK: &str = "Failed to acquire the configuration write lock: another operation is in progress";

/// What a request asks for, free of the connection that it came on.
struct Work {
    shared: Arc<Shared>,
    request: Arc<Request>,
    tenant: Option<Arc<Tenant>>,
    options: Arc<TenantOptions>,
    seq: u64,
    /// Whether it waits for the write lock even where others fail.
    patient: bool,
}

impl Work {
    async fn latency(&self) {
        let token = self.request.route == Route::Token;
        let latency = if token { self.options.token_latency_ms } else { self.options.latency_ms };
        if latency > 0 {
            tokio::time::sleep(Duration::from_millis(latency)).await;
        }
    }

    async fn perform(&self) -> Answer {
        if self.request.asks_token.is_some() {
            return self.token().await;
        }
        let (Some(tenant), None) = (&self.tenant, self.request.speaker.refusal) else {
            self.latency().await;
            let refusal = self.request.speaker.refusal.unwrap_or(super::Documented::AuthNotAuthenticated);
            return operations::refused(&self.request, refusal, None, &self.options);
        };
        let guard = match (self.request.is_write(), self.options.write_lock, self.patient) {
            (false, ..) | (true, WriteLock::Off, _) => None,
            (true, WriteLock::Fail, false) => match tenant.write_lock.try_lock() {
                Ok(guard) => Some(guard),
                Err(_) => {
                    return Answer::json_with(500, &undocumented("E001", WRITE_LOCK, &self.request.trace));
                }
            },
            (true, ..) => Some(tenant.write_lock.lock().await),
        };
        self.latency().await;
        let creates = self.request.method == Method::POST && self.request.route == Route::MfaServers;
        let id = if creates { self.shared.uuid() } else { String::new() };
        let (answer, applied) = operations::perform(&self.request, tenant, &self.options, id);
        if applied {
            self.shared.log.applied(self.seq);
        }
        drop(guard);
        answer
    }

    /// The token endpoint.
    async fn token(&self) -> Answer {
        let Some(asked) = &self.request.asks_token else { return Answer::html(404) };
        if self.request.method != Method::POST {
            return Answer::json_with(405, &json!({"error": "invalid_request", "error_description": "use POST"}));
        }
        let most = self.options.max_open_token_requests;
        let open = self.tenant.as_ref().map(|tenant| tenant.open_token_request(most));
        if let Some(None) = open {
            let body = json!({"error": "temporarily_unavailable", "error_description": "too many open requests"});
            return Answer::json_with(429, &body);
        }
        self.latency().await;
        // Read again: an account may have been given or taken away meanwhile.
        let options = self.tenant.as_ref().map(|tenant| tenant.options());
        let known = |id: &str, secret: &str| self.shared.has_account(id, secret);
        if let Err((status, body)) = asked.check(known, options.as_deref()) {
            return Answer::json_with(status, &body);
        }
        let (Some(tenant), Some(options)) = (&self.tenant, options) else { return Answer::html(500) };
        let lifetime = Duration::from_secs(options.token_lifetime_seconds);
        let shape = options.token_shape;
        let token = self.shared.tokens.issue(&tenant.tsg_id, asked.client_id(), lifetime, shape, self.shared.seed);
        let body = json!({
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": options.token_lifetime_seconds,
            "scope": format!("tsg_id:{} profile email", tenant.tsg_id),
        });
        Answer::json(StatusCode::OK, &body).with_header(header::CACHE_CONTROL, "no-store")
    }
}
