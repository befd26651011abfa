//! Every error that the API documents, and those that it does not, from the wire to the conditions on a real API server.
//!
//! The expectations stand here as the documentation gives them; nothing of them is computed by the operator's code.

use std::{fmt::Write as _, time::Duration};

use futures::future::join_all;
use kube::ResourceExt as _;
use mfa_operator::crd::MfaServer;
use mfa_sandbox::simulator::{Apply, Documented, Entry, ErrorForm, Folder, Position, Reply, Route, Rule, TokenShape};
use serde_json::{Value, json};

use crate::operator::{Log, Stage, TENANT, okta, okta_with, says};

/// What a class of errors means for a resource, with `--resync-interval 1h`.
#[derive(Clone, Copy)]
struct Class {
    /// `Stalled` or `Reconciling`.
    kstatus: &'static str,
    /// `Authenticated`, where the API has accepted the credential before.
    authenticated: &'static str,
    /// The first delay and the last, in seconds; it doubles in between, and jitter adds a fifth at most.
    delays: (u64, u64),
}

const CREDENTIAL: Class = Class { kstatus: "Stalled", authenticated: "False", delays: (60, 1800) };
const FORBIDDEN: Class = Class { kstatus: "Stalled", authenticated: "True", delays: (60, 1800) };
const INPUT: Class = Class { kstatus: "Stalled", authenticated: "True", delays: (3600, 3600) };
const CONFLICT: Class = Class { kstatus: "Stalled", authenticated: "True", delays: (600, 3600) };
const REFERENCED: Class = Class { kstatus: "Reconciling", authenticated: "True", delays: (60, 900) };
const BUSY: Class = Class { kstatus: "Reconciling", authenticated: "True", delays: (2, 60) };
const SERVER: Class = Class { kstatus: "Reconciling", authenticated: "True", delays: (5, 600) };
/// As far as `Retry-After` says nothing else.
const THROTTLED: Class = Class { kstatus: "Reconciling", authenticated: "True", delays: (2, 60) };

impl Class {
    const fn after(self, seconds: u64) -> Self {
        Self { delays: (seconds, seconds), ..self }
    }

    /// Where nothing has told yet whether the API takes the credential.
    const fn untold(self) -> Self {
        Self { authenticated: "Unknown", ..self }
    }
}

/// Which call is answered so.
#[derive(Clone, Copy, Debug, PartialEq)]
enum On {
    Post,
    Put,
    Delete,
    List,
    Token,
}

struct Row {
    on: On,
    /// The resource, its credentials Secret and its rule.
    name: &'static str,
    reply: Reply,
    class: Class,
    /// The reason of `Ready`, and of what is true of `Stalled` and `Reconciling`.
    reason: &'static str,
    /// `status.lastError`: HTTP status, code, reason.
    error: (Option<u16>, Option<&'static str>, &'static str),
}

const fn row(
    on: On,
    name: &'static str,
    reply: Reply,
    class: Class,
    reason: &'static str,
    status: u16,
    code: Option<&'static str>,
) -> Row {
    Row { on, name, reply, class, reason, error: (Some(status), code, reason) }
}

/// A create that may have had an effect: whether it had is found out before anything else.
const fn unknown(name: &'static str, reply: Reply, reason: &'static str, status: Option<u16>) -> Row {
    Row { on: On::Post, name, reply, class: SERVER, reason: "OutcomeUnknown", error: (status, None, reason) }
}

const fn documented(error: Documented) -> Reply {
    Reply::Documented(error)
}

fn raw(status: u16, body: &str) -> Reply {
    Reply::Raw {
        status,
        headers: [("content-type".to_owned(), "application/json".to_owned())].into(),
        body: body.to_owned(),
    }
}

fn too_many_requests(retry_after: Option<&str>) -> Reply {
    Reply::TooManyRequests { retry_after: retry_after.map(str::to_owned) }
}

fn server_error() -> Reply {
    Reply::ServerError { message: "Internal Error".to_owned() }
}

/// The 23 documented errors on the call that creates.
fn documented_rows() -> Vec<Row> {
    use Documented as D;
    let post = |name, error, class, reason, status, code| {
        row(On::Post, name, documented(error), class, reason, status, Some(code))
    };
    vec![
        post("input-format-mismatch", D::InputFormatMismatch, INPUT, "InputFormatMismatch", 400, "E003"),
        post("invalid-object", D::InvalidObject, INPUT, "InvalidObject", 400, "E003"),
        post("invalid-query-parameter", D::InvalidQueryParameter, INPUT, "InvalidQueryParameter", 400, "E003"),
        post("missing-body", D::MissingBody, INPUT, "MissingBody", 400, "E003"),
        post("missing-query-parameter", D::MissingQueryParameter, INPUT, "MissingQueryParameter", 400, "E003"),
        post("output-format-mismatch", D::OutputFormatMismatch, INPUT, "OutputFormatMismatch", 400, "E003"),
        post("not-authenticated", D::AuthNotAuthenticated, CREDENTIAL, "NotAuthenticated", 401, "E016"),
        post("invalid-credential", D::InvalidCredential, CREDENTIAL, "InvalidCredential", 401, "E016"),
        post("key-expired", D::KeyExpired, CREDENTIAL, "KeyExpired", 401, "E016"),
        post("key-too-long", D::KeyTooLong, CREDENTIAL, "KeyTooLong", 401, "E016"),
        post("need-password-change", D::NeedPasswordChange, CREDENTIAL, "NeedPasswordChange", 401, "E016"),
        post("unauthorized", D::AuthUnauthorized, FORBIDDEN, "Unauthorized", 403, "E007"),
        // What the creation names is missing.
        post("object-not-present", D::ObjectNotPresent, INPUT, "ObjectNotPresent", 404, "E005"),
        post("name-not-unique", D::NameNotUnique, CONFLICT, "NameNotUnique", 409, "E006"),
        post("object-not-unique", D::ObjectNotUnique, CONFLICT, "ObjectNotUnique", 409, "E016"),
        post("reference-not-zero", D::ReferenceNotZero, CONFLICT, "ReferenceNotZero", 409, "E009"),
        post("action-not-supported", D::ActionNotSupported, INPUT, "ActionNotSupported", 405, "E012"),
        post("bad-xpath", D::BadXpath, INPUT, "BadXPath", 400, "E013"),
        post("invalid-command", D::InvalidCommand, INPUT, "InvalidCommand", 400, "E003"),
        post("malformed-command", D::MalformedCommand, INPUT, "MalformedCommand", 400, "E003"),
        post("method-not-allowed", D::MethodNotAllowed, INPUT, "MethodNotSupported", 501, "E012"),
        post("session-timeout", D::SessionTimeout, BUSY, "SessionTimeout", 504, "4"),
        post("version-not-supported", D::VersionNotSupported, INPUT, "VersionNotSupported", 501, "E012"),
    ]
}

/// What is answered besides to the call that creates.
fn undocumented_rows() -> Vec<Row> {
    let post = |name, reply, class, reason, status, code| row(On::Post, name, reply, class, reason, status, code);
    let as_type = |error| Reply::DocumentedAs { error, form: ErrorForm::ErrorType };
    let nope = r#"{"_errors":[{"code":"E999","message":"Nope","details":{}}],"_request_id":"abcd-1234"}"#;
    vec![
        post("429", too_many_requests(None), THROTTLED, "RateLimited", 429, Some("E429")),
        post("429-retry-after", too_many_requests(Some("7")), THROTTLED.after(7), "RateLimited", 429, Some("E429")),
        post("write-lock", Reply::WriteLock, BUSY, "Busy", 500, Some("E001")),
        post("500-for-good", server_error(), SERVER, "ServerError", 500, Some("E001")),
        post("409-by-type", as_type(Documented::NameNotUnique), CONFLICT, "NameNotUnique", 409, Some("API_I00013")),
        post("400-by-type", as_type(Documented::InvalidObject), INPUT, "InvalidObject", 400, Some("API_I00035")),
        post("400-empty", Reply::Empty { status: 400 }, INPUT, "BadRequest", 400, None),
        post("401-empty", Reply::Empty { status: 401 }, CREDENTIAL, "Unauthenticated", 401, None),
        post("403-empty", Reply::Empty { status: 403 }, FORBIDDEN, "Forbidden", 403, None),
        post("409-empty", Reply::Empty { status: 409 }, CONFLICT, "Conflict", 409, None),
        post("403-html", Reply::Html { status: 403 }, FORBIDDEN, "Forbidden", 403, None),
        post("422-unnamed", raw(422, nope), INPUT, "BadRequest", 422, Some("E999")),
        post("404-unnamed", raw(404, nope), INPUT, "NotFound", 404, Some("E999")),
        post("400-huge", Reply::Huge { status: 400, bytes: 9 << 20 }, INPUT, "BadRequest", 400, None),
        unknown("500-huge", Reply::Huge { status: 500, bytes: 9 << 20 }, "ServerError", Some(500)),
        unknown("201-huge", Reply::Huge { status: 201, bytes: 9 << 20 }, "UnexpectedResponse", Some(201)),
        unknown("500-empty", Reply::Empty { status: 500 }, "ServerError", Some(500)),
        unknown("502-html", Reply::Html { status: 502 }, "ServerError", Some(502)),
        unknown("503-html", Reply::Html { status: 503 }, "ServerError", Some(503)),
        unknown("404-html", Reply::Html { status: 404 }, "UnexpectedResponse", Some(404)),
        unknown("404-empty", Reply::Empty { status: 404 }, "UnexpectedResponse", Some(404)),
        unknown("200-html", Reply::Html { status: 200 }, "UnexpectedResponse", Some(200)),
        unknown("reset", Reply::Reset, "Unreachable", None),
        unknown("hang", Reply::Hang, "Unreachable", None),
    ]
}

/// The calls that look, write, delete, and fetch a token.
fn other_rows() -> Vec<Row> {
    use Documented as D;
    let list =
        |name, reply, class: Class, reason, status, code| row(On::List, name, reply, class, reason, status, code);
    let put = |name, reply, class, reason, status, code| row(On::Put, name, reply, class, reason, status, code);
    let delete = |name, reply, class, reason, status, code| row(On::Delete, name, reply, class, reason, status, code);
    let token = |name, reply, class, reason, status, code| row(On::Token, name, reply, class, reason, status, code);
    let oauth = |status, error: &str| Reply::OauthError {
        status,
        error: error.to_owned(),
        description: "that is how it is".to_owned(),
    };
    let unreachable = Row {
        on: On::List,
        name: "list-reset",
        reply: Reply::Reset,
        class: SERVER.untold(),
        reason: "Unreachable",
        error: (None, None, "Unreachable"),
    };
    vec![
        list("list-401", documented(D::InvalidCredential), CREDENTIAL, "InvalidCredential", 401, Some("E016")),
        list("list-403", documented(D::AuthUnauthorized), FORBIDDEN.untold(), "Unauthorized", 403, Some("E007")),
        list("list-429", too_many_requests(Some("9")), THROTTLED.after(9).untold(), "RateLimited", 429, Some("E429")),
        list("list-500", server_error(), SERVER.untold(), "ServerError", 500, Some("E001")),
        list("list-504", documented(D::SessionTimeout), BUSY.untold(), "SessionTimeout", 504, Some("4")),
        list("list-502-html", Reply::Html { status: 502 }, SERVER.untold(), "ServerError", 502, None),
        list("list-404-html", Reply::Html { status: 404 }, SERVER.untold(), "UnexpectedResponse", 404, None),
        list("list-200-html", Reply::Html { status: 200 }, SERVER.untold(), "UnexpectedResponse", 200, None),
        list(
            "list-huge",
            Reply::Huge { status: 200, bytes: 9 << 20 },
            SERVER.untold(),
            "UnexpectedResponse",
            200,
            None,
        ),
        unreachable,
        put("put-400", documented(D::InvalidObject), INPUT, "InvalidObject", 400, Some("E003")),
        put("put-403", documented(D::AuthUnauthorized), FORBIDDEN, "Unauthorized", 403, Some("E007")),
        put("put-409-name", documented(D::NameNotUnique), CONFLICT, "NameNotUnique", 409, Some("E006")),
        put("put-409-reference", documented(D::ReferenceNotZero), CONFLICT, "ReferenceNotZero", 409, Some("E009")),
        put("put-500-lock", Reply::WriteLock, BUSY, "Busy", 500, Some("E001")),
        put("put-502-html", Reply::Html { status: 502 }, SERVER, "ServerError", 502, None),
        put("put-404-html", Reply::Html { status: 404 }, SERVER, "UnexpectedResponse", 404, None),
        delete("delete-403", documented(D::AuthUnauthorized), FORBIDDEN, "Unauthorized", 403, Some("E007")),
        delete("delete-409", Reply::Usual, REFERENCED, "ReferenceNotZero", 409, Some("E009")),
        delete("delete-500-lock", Reply::WriteLock, BUSY, "Busy", 500, Some("E001")),
        delete("delete-404-html", Reply::Html { status: 404 }, SERVER, "UnexpectedResponse", 404, None),
        token(
            "token-401",
            oauth(401, "invalid_client"),
            CREDENTIAL,
            "TokenRequestRejected",
            401,
            Some("invalid_client"),
        ),
        token("token-400", oauth(400, "invalid_scope"), CREDENTIAL, "TokenRequestRejected", 400, Some("invalid_scope")),
        token("token-503-html", Reply::Html { status: 503 }, SERVER.untold(), "TokenEndpointUnavailable", 503, None),
        token(
            "token-429",
            Reply::Raw {
                status: 429,
                headers: [("retry-after".to_owned(), "9".to_owned())].into(),
                body: String::new(),
            },
            SERVER.untold().after(9),
            "TokenEndpointUnavailable",
            429,
            None,
        ),
    ]
}

impl Row {
    fn rule(&self) -> Rule {
        let rule = Rule::new(self.reply.clone()).named(self.name);
        match self.on {
            On::Post => rule.on("POST", Route::MfaServers).object(self.name),
            On::Put => rule.on("PUT", Route::MfaServer).object(self.name),
            On::Delete => rule.on("DELETE", Route::MfaServer).object(self.name),
            On::List => rule.on("GET", Route::MfaServers).token(&self.token()),
            On::Token => rule.on("POST", Route::Token).client_id(self.name),
        }
    }

    fn token(&self) -> String {
        format!("the-token-of-{}", self.name)
    }

    /// Every row has a credential of its own: what is known of one concerns all that use it.
    async fn credentials(&self, stage: &Stage) {
        if self.on == On::Token {
            stage.tenant.set_service_account(self.name, "the-secret-of-the-account");
            let keys = [("client_id", self.name), ("client_secret", "the-secret-of-the-account"), ("tsg_id", TENANT)];
            stage.secret(self.name, &keys).await;
        } else {
            stage.credentials(self.name, &self.token()).await;
        }
    }

    fn resource(&self) -> Value {
        with_credentials(self.name, self.name)
    }

    fn expected(&self) -> String {
        let Class { kstatus, authenticated, .. } = self.class;
        let reason = self.reason;
        let (status, code, error) = self.error;
        let authenticated = match authenticated {
            "True" => "True/Accepted".to_owned(),
            "False" => format!("False/{reason}"),
            _ => "Unknown/Unknown".to_owned(),
        };
        let status = status.map_or("-".to_owned(), |status| status.to_string());
        let code = code.unwrap_or("-");
        format!(
            "Ready=False/{reason} {kstatus}=True/{reason} Authenticated={authenticated} lastError={status}/{code}/{error}"
        )
    }

    /// The seconds until the next try, as the operator logged them after the first refusal.
    fn logged_delays(&self, log: &Log, namespace: &str) -> Vec<u64> {
        let resource = format!("{namespace}/{}", self.name);
        let step = match self.on {
            On::Post => "Create",
            On::Put => "Replace",
            On::Delete => "Delete",
            On::List => "list failed",
            On::Token => "no token",
        };
        let told = |line: &Value| match self.on {
            On::List | On::Token => line["message"] == step && line["credential"] == *resource,
            _ => line["message"] == "step" && line["step"] == step && line["resource"] == *resource,
        };
        log.lines().iter().filter(|line| told(line)).filter_map(|line| line["retry_in_seconds"].as_u64()).collect()
    }

    /// What the operator logged of its resource.
    fn logged(&self, log: &Log, namespace: &str) -> String {
        let resource = json!(format!("{namespace}/{}", self.name));
        let lines = log.lines();
        let lines: Vec<_> = lines.iter().filter(|line| line["resource"] == resource).map(Value::to_string).collect();
        lines.join("\n")
    }

    /// Whether the n-th delay is one of the class's: not shorter, at most a fifth longer. The log cuts fractions off.
    fn is_delay(&self, n: u32, seconds: u64) -> bool {
        let nominal = self.delay(n);
        (nominal - 1..=nominal + nominal / 5).contains(&seconds)
    }

    fn delay(&self, n: u32) -> u64 {
        let (first, last) = self.class.delays;
        (first << n.min(16)).min(last)
    }

    /// Two requests of this row that came closer than the class allows.
    fn hurry(&self, entries: &[Entry]) -> Option<String> {
        let times: Vec<u64> = entries
            .iter()
            .filter(|entry| entry.rule.as_deref() == Some(self.name))
            .map(|entry| entry.start_us)
            .collect();
        if times.is_empty() && self.reply != Reply::Usual {
            return Some("was not asked at all".to_owned());
        }
        times.windows(2).zip(0..).find_map(|(pair, n)| {
            let gap = Duration::from_micros(pair[1] - pair[0]);
            let nominal = Duration::from_secs(self.delay(n));
            (gap < nominal).then(|| format!("request {} came {gap:?} after the one before, not {nominal:?}", n + 2))
        })
    }
}

fn with_credentials(name: &str, secret: &str) -> Value {
    okta_with(name, &json!({ "credentialsSecretRef": { "name": secret } }))
}

/// What a resource says of an error, in one line.
fn told(server: &MfaServer) -> String {
    let status = server.status.clone().unwrap_or_default();
    let mut line = String::new();
    for kind in ["Ready", "Stalled", "Reconciling", "Authenticated"] {
        if let Some(says) = says(server, kind) {
            let _ = write!(line, "{kind}={says} ");
        }
    }
    let _ = match &status.last_error {
        None => write!(line, "lastError=-"),
        Some(error) => write!(
            line,
            "lastError={}/{}/{}",
            error.http_status.map_or("-".to_owned(), |status| status.to_string()),
            error.code.as_deref().unwrap_or("-"),
            error.reason.as_deref().unwrap_or("-")
        ),
    };
    let outdated =
        status.conditions.iter().any(|condition| condition.observed_generation != server.metadata.generation);
    if outdated || status.observed_generation != server.metadata.generation {
        line.push_str(" (of another generation)");
    }
    line
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "one operator serves the whole table, phase by phase")]
async fn every_error_is_told_by_its_name_and_tried_again_when_its_class_says() {
    let stage = Stage::new().await;
    let namespace = stage.namespace.name.clone();
    let operator = stage.operator().flag("--resync-interval", "1h").start();
    let mut rows = documented_rows();
    assert_eq!(rows.len(), 23, "one for each documented error");
    rows.extend(undocumented_rows());
    rows.extend(other_rows());
    let of = |on: &[On]| rows.iter().filter(|row| on.contains(&row.on)).collect::<Vec<_>>();

    // What is to be replaced or deleted is there first.
    join_all(rows.iter().map(|row| row.credentials(&stage))).await;
    let there = of(&[On::Put, On::Delete]);
    join_all(there.iter().map(|row| async { stage.apply(&row.resource()).await })).await;
    join_all(there.iter().map(|row| stage.wait_ready(row.name, "True", "Available"))).await;
    let referenced = stage.get("delete-409").await.and_then(|server| server.status?.id).unwrap();
    stage.tenant.set_references(&referenced, 1).unwrap();

    for row in &rows {
        stage.simulator.inject(row.rule());
    }
    let begun = tokio::time::Instant::now();
    join_all(rows.iter().map(|row| async {
        match row.on {
            On::Post | On::List | On::Token => drop(stage.apply(&row.resource()).await),
            On::Put => drop(stage.patch(row.name, &json!({ "spec": { "mfaCertProfile": "another-ca" } })).await),
            On::Delete => stage.delete(row.name).await,
        }
    }))
    .await;
    let mut wrong = String::new();
    let seen = join_all(rows.iter().map(|row| async { stage.settle(row.name, &row.expected(), told).await })).await;
    for (row, seen) in rows.iter().zip(seen) {
        if seen != row.expected() {
            let _ = writeln!(wrong, "{}:\n  wanted {}\n  but    {seen}", row.name, row.expected());
        }
        let delays = row.logged_delays(operator.log(), &namespace);
        if !delays.first().is_some_and(|first| row.is_delay(0, *first)) {
            let _ = writeln!(wrong, "{}: logs {delays:?} s to the next try, not {} s", row.name, row.delay(0));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");

    // What was referenced goes by itself once the reference is gone; that takes a minute.
    stage.tenant.set_references(&referenced, 0).unwrap();

    // Every refusal is explained, and can be looked up by its request.
    for row in &rows {
        let server = stage.get(row.name).await.unwrap();
        let status = server.status.clone().unwrap();
        let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
        assert!(ready.message.len() > 20 && ready.message.ends_with('.'), "{}: {:?}", row.name, ready.message);
        let error = status.last_error.unwrap();
        assert_eq!(error.request_id.is_some(), error.code.is_some() && row.on != On::Token, "{}: {error:?}", row.name);
    }

    // The same decoded 500 five times running is taken for a refusal.
    let for_good = rows.iter().find(|row| row.name == "500-for-good").unwrap();
    stage.wait_condition("500-for-good", "Stalled", "True", "ServerError").await;
    let server = stage.get("500-for-good").await.unwrap();
    assert_eq!(says(&server, "Ready").as_deref(), Some("False/ServerError"));
    assert_eq!(says(&server, "Reconciling"), None);
    let delays = for_good.logged_delays(operator.log(), &namespace);
    assert_eq!(delays.len(), 5, "{delays:?}");
    assert!((0..4).all(|n| for_good.is_delay(n, delays[n as usize])), "{delays:?}");
    assert!((1799..=2160).contains(&delays[4]), "{delays:?}");
    assert!(begun.elapsed() >= Duration::from_secs(5 + 10 + 20 + 40));

    stage.wait_gone("delete-409").await;
    assert!(stage.tenant.get(&referenced).is_none());

    // By then every class had the time to hurry.
    let entries = stage.simulator.log().entries();
    for row in &rows {
        if let Some(hurry) = row.hurry(&entries) {
            let _ = writeln!(wrong, "{}: {hurry}\n{}", row.name, row.logged(operator.log(), &namespace));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let created = stage.tenant.objects();
    assert_eq!(created.len(), there.len() - 1, "an object of a refused resource is there: {created:?}");
    assert_eq!(operator.terminate().await.code(), Some(0));
}

#[tokio::test]
async fn what_a_credential_is_refused_costs_one_call_for_all_its_resources() {
    let stage = Stage::new().await;
    let operator = stage.operator().flag("--resync-interval", "1h").start();
    for name in ["expired", "forbidden"] {
        stage.credentials(name, &format!("the-token-of-{name}")).await;
    }
    let rule = Rule::documented(Documented::KeyExpired).named("expired").token("the-token-of-expired");
    stage.simulator.inject(rule);
    let rule = Rule::documented(Documented::AuthUnauthorized).named("forbidden").token("the-token-of-forbidden");
    stage.simulator.inject(rule.on("POST", Route::MfaServers));
    // This one says itself that its time is over.
    let token = stage.tenant.issue_token(None, Duration::ZERO, TokenShape::Jwt);
    stage.secret("outlived", &[("token", &token)]).await;
    stage.apply(&with_credentials("outlived", "outlived")).await;
    // A service account's token is fetched anew once; a refusal of the second one stands.
    stage.tenant.set_service_account("account", "the-secret-of-the-account");
    let keys = [("client_id", "account"), ("client_secret", "the-secret-of-the-account"), ("tsg_id", TENANT)];
    stage.secret("account", &keys).await;
    let rule = Rule::documented(Documented::InvalidCredential).named("account").client_id("account");
    stage.simulator.inject(rule.on("POST", Route::MfaServers));
    stage.apply(&with_credentials("account", "account")).await;

    let expired = ["expired-1", "expired-2", "expired-3"];
    join_all(expired.iter().map(|name| async { stage.apply(&with_credentials(name, "expired")).await })).await;
    stage.apply(&with_credentials("forbidden-1", "forbidden")).await;
    stage.wait_ready("forbidden-1", "False", "Unauthorized").await;
    for name in ["forbidden-2", "forbidden-3"] {
        stage.apply(&with_credentials(name, "forbidden")).await;
    }

    for name in expired {
        let server = stage.wait_condition(name, "Stalled", "True", "KeyExpired").await;
        assert_eq!(says(&server, "Authenticated").as_deref(), Some("False/KeyExpired"), "{name}");
    }
    assert_eq!(stage.simulator.hits("expired"), 1);
    for name in ["forbidden-2", "forbidden-3"] {
        let server = stage.wait_condition(name, "Stalled", "True", "Unauthorized").await;
        assert_eq!(says(&server, "Authenticated").as_deref(), Some("True/Accepted"), "{name}");
    }
    assert_eq!(stage.simulator.hits("forbidden"), 1);
    let server = stage.wait_condition("outlived", "Stalled", "True", "TokenExpired").await;
    assert_eq!(
        told(&server),
        "Ready=False/TokenExpired Stalled=True/TokenExpired Authenticated=False/TokenExpired lastError=-"
    );
    stage.wait_condition("account", "Stalled", "True", "InvalidCredential").await;
    assert_eq!(stage.simulator.hits("account"), 2);
    let fetched = |entry: &&Entry| entry.route == Route::Token;
    assert_eq!(stage.simulator.log().entries().iter().filter(fetched).count(), 2);

    // Another token in the Secret, and all of them go on at once.
    stage.credentials("expired", "another-token").await;
    join_all(expired.iter().map(|name| stage.wait_ready(name, "True", "Available"))).await;
    let asked = stage.simulator.hits("expired");
    assert_eq!(asked, 1, "the refused token was used again");
    drop(operator);
}

#[tokio::test]
async fn a_taken_name_is_one_refusal_however_it_shows_and_is_taken_up_when_it_is_free() {
    let stage = Stage::new().await;
    stage.tenant.answer(|answers| answers.inherited_names_conflict = true);
    let foreign = |name: &str, folder| {
        let body = json!({ "name": name, "mfa_cert_profile": "theirs" });
        stage.tenant.create(folder, Position::Pre, &body).unwrap()
    };
    let listed = foreign("listed", Folder::MobileUsers);
    let inherited = foreign("inherited", Folder::MobileUsersContainer);
    let operator = stage.operator().start();
    stage.apply(&okta("listed")).await;
    stage.apply(&okta("inherited")).await;
    stage.apply(&okta("refused")).await;
    stage.simulator.inject(
        Rule::documented(Documented::InvalidObject).named("refused").on("POST", Route::MfaServers).object("refused"),
    );

    // The list shows the first, and only the API's 409 tells of the second.
    for name in ["listed", "inherited"] {
        let server = stage.wait_ready(name, "False", "NameNotUnique").await;
        assert_eq!(says(&server, "Stalled").as_deref(), Some("True/NameNotUnique"), "{name}");
        assert_eq!(server.status.as_ref().and_then(|status| status.id.clone()), None, "{name}");
        let error = server.status.unwrap().last_error;
        assert_eq!(error.is_some(), name == "inherited", "{name}: {error:?}");
    }
    let posts = |name: &'static str| {
        move |entries: &[Entry]| {
            let of = |entry: &&Entry| entry.method == "POST" && entry.name.as_deref() == Some(name);
            entries.iter().filter(of).map(|entry| entry.start_us).collect::<Vec<u64>>()
        }
    };
    assert_eq!(posts("listed")(&stage.simulator.log().entries()), Vec::<u64>::new());

    // A refused spec is sent once a resync, and a conflict not more often.
    stage.wait_requests("a third creation", |log| posts("refused")(log.entries()).len() >= 3).await;
    let entries = stage.simulator.log().entries();
    for (name, least) in [("refused", 3), ("inherited", 2)] {
        let times = posts(name)(&entries);
        let gaps: Vec<_> = times.windows(2).map(|pair| Duration::from_micros(pair[1] - pair[0])).collect();
        assert!(times.len() >= least, "{name}: {gaps:?}");
        assert!(gaps.iter().all(|gap| (10.0..13.5).contains(&gap.as_secs_f64())), "{name}: {gaps:?}");
    }
    assert_eq!(posts("listed")(&entries), Vec::<u64>::new());

    // Free names are taken up.
    stage.tenant.delete(&listed).unwrap();
    stage.tenant.delete(&inherited).unwrap();
    for name in ["listed", "inherited"] {
        let server = stage.wait_ready(name, "True", "Available").await;
        assert_eq!((says(&server, "Stalled"), says(&server, "Reconciling")), (None, None), "{name}");
        assert_eq!(server.status.unwrap().last_error, None, "{name}");
    }
    drop(operator);
}

#[tokio::test]
async fn an_object_that_is_not_there_is_no_error_to_whoever_looks_or_deletes() {
    let stage = Stage::new().await;
    let operator = stage.operator().start();
    for name in ["deleted", "kept", "told"] {
        stage.apply(&okta(name)).await;
    }
    let mut ids = Vec::new();
    for name in ["deleted", "kept", "told"] {
        let server = stage.wait_ready(name, "True", "Available").await;
        ids.push(server.status.unwrap().id.unwrap());
    }
    // An object that the list lacks, and that is there for who asks by its id.
    let lists = Rule::new(Reply::Raw {
        status: 200,
        headers: [("content-type".to_owned(), "application/json".to_owned())].into(),
        body: r#"{"data":[],"offset":0,"total":0,"limit":200}"#.to_owned(),
    });
    stage.tenant.delete(&ids[0]).unwrap();
    stage.tenant.delete(&ids[1]).unwrap();
    stage.simulator.inject(lists.on("GET", Route::MfaServers).once().named("empty").apply(Apply::No));
    stage.delete("deleted").await;
    stage.wait_gone("deleted").await;

    stage.annotate("kept", "sse.mfa-operator.io/reconcile-requested-at", "now").await;
    let server = stage
        .wait("kept", "created anew", |server| {
            let id = server.status.as_ref().and_then(|status| status.id.as_ref());
            id.is_some_and(|id| *id != ids[1]) && says(server, "Ready").as_deref() == Some("True/Available")
        })
        .await;
    assert_eq!(server.annotations().get("sse.mfa-operator.io/reconcile-requested-at").map(String::as_str), Some("now"));
    let told = stage.get("told").await.unwrap();
    assert_eq!(told.status.unwrap().id.as_ref(), Some(&ids[2]));
    assert_eq!(stage.tenant.objects().len(), 2);
    assert_eq!(stage.simulator.hits("empty"), 1);
    let warnings = stage.events().await.into_iter().filter(|event| event.type_.as_deref() == Some("Warning"));
    assert_eq!(warnings.map(|event| event.message).collect::<Vec<_>>(), Vec::new());
    drop(operator);
}
