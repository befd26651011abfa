//! What each call does: checks in the order of a real server, then the configuration.

use std::time::Duration;

use axum::http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::documented::Documented;
use super::folder::{Folder, Position};
use super::object;
use super::options::{Answers, ByName, ListShape, TenantOptions};
use super::query::Route;
use super::request::Request;
use super::store::{Object, Refused};
use super::tenant::Tenant;

/// An error that the documents name, with the message's subject.
struct Refusal(Documented, Option<String>);

impl From<Documented> for Refusal {
    fn from(error: Documented) -> Self {
        Self(error, None)
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self::from(match refused {
            Refused::NotPresent => Documented::ObjectNotPresent,
            Refused::NameTaken => Documented::NameNotUnique,
            Refused::Referenced => Documented::ReferenceNotZero,
            Refused::Invalid => Documented::InvalidObject,
        })
    }
}

fn missing(parameter: &str) -> Refusal {
    Refusal(Documented::MissingQueryParameter, Some(parameter.to_owned()))
}

fn invalid(parameter: &str, value: &str) -> Refusal {
    Refusal(Documented::InvalidQueryParameter, Some(format!("{parameter}={value}")))
}

/// The answer to a request, and whether it changed anything.
pub(crate) fn perform(request: &Request, tenant: &Tenant, options: &TenantOptions, new_id: String) -> (Answer, bool) {
    let call = Call { request, tenant, options, answers: &options.answers };
    match call.perform(new_id) {
        Ok(answer) => (answer, request.is_write()),
        Err(refusal) => (refused(request, refusal.0, refusal.1.as_deref(), options), false),
    }
}

/// A documented error as this tenant words it.
pub(crate) fn refused(request: &Request, error: Documented, subject: Option<&str>, options: &TenantOptions) -> Answer {
    Answer::json(error.status(), &error.body(subject, options.answers.errors, &request.trace))
}

struct Call<'a> {
    request: &'a Request,
    tenant: &'a Tenant,
    options: &'a TenantOptions,
    answers: &'a Answers,
}

impl Call<'_> {
    fn perform(&self, new_id: String) -> Result<Answer, Refusal> {
        if !self.accepts_json() {
            let accept = self.request.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
            let subject = format!("output-format=json Accept={}", accept.unwrap_or_default());
            return Err(Refusal(Documented::OutputFormatMismatch, Some(subject)));
        }
        let id = self.request.id.as_deref().unwrap_or_default();
        match (&self.request.method, self.request.route) {
            (&Method::POST, Route::MfaServers) => self.create(new_id),
            (&Method::GET, Route::MfaServers) => self.list(),
            (&Method::GET, Route::MfaServer) => self.get(id),
            (&Method::PUT, Route::MfaServer) => self.update(id),
            (&Method::DELETE, Route::MfaServer) => self.delete(id),
            (&Method::POST, Route::Push) => self.push(),
            (&Method::GET, Route::Running) => self.running(),
            (&Method::GET, Route::Jobs) => self.jobs(),
            (&Method::GET, Route::Job) => self.job(id),
            (_, Route::OtherVersion) => Err(Documented::VersionNotSupported.into()),
            (_, Route::Other | Route::Token) => Ok(Answer::html(404)),
            (&Method::POST, Route::MfaServer) => match id.rsplit_once(':') {
                Some((_, action)) => Err(Refusal(Documented::ActionNotSupported, Some(action.to_owned()))),
                None => Err(Documented::MethodNotAllowed.into()),
            },
            _ => Err(Documented::MethodNotAllowed.into()),
        }
    }

    fn accepts_json(&self) -> bool {
        let accept = self.request.headers.get(header::ACCEPT).map(HeaderValue::to_str);
        match accept {
            None => true,
            Some(Err(_)) => false,
            Some(Ok(accept)) => accept
                .split(',')
                .filter_map(|range| range.split(';').next())
                .any(|range| matches!(range.trim(), "*/*" | "application/*" | "application/json" | "")),
        }
    }

    fn check_query(&self, known: &[&str]) -> Result<(), Refusal> {
        match &self.request.query {
            Err(part) => Err(Refusal(Documented::InvalidQueryParameter, Some(part.clone()))),
            Ok(query) if self.answers.strict_query => {
                query.unexpected(known).map_or(Ok(()), |(name, value)| Err(invalid(name, value)))
            }
            Ok(_) => Ok(()),
        }
    }

    fn folder(&self) -> Result<Folder, Refusal> {
        let name = self.request.parameter("folder").ok_or_else(|| missing("folder"))?;
        Folder::parse(name).ok_or_else(|| invalid("folder", name))
    }

    /// The body as JSON.
    fn json(&self) -> Result<&Value, Refusal> {
        if self.request.body.is_empty() {
            return Err(Documented::MissingBody.into());
        }
        let kind = self.request.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_json = kind
            .and_then(|kind| kind.split(';').next())
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
        self.request.json.as_ref().filter(|_| is_json).ok_or_else(|| Documented::InputFormatMismatch.into())
    }

    /// The body as an object to store.
    fn object(&self) -> Result<Map<String, Value>, Refusal> {
        object::accept(self.json()?, self.answers).ok_or_else(|| Documented::InvalidObject.into())
    }

    fn create(&self, new_id: String) -> Result<Answer, Refusal> {
        self.check_query(&["position", "folder"])?;
        let position = self.request.parameter("position").ok_or_else(|| missing("position"))?;
        let position = Position::parse(position).ok_or_else(|| invalid("position", position))?;
        let place = (self.folder()?, position);
        let body = self.object()?;
        let inherited = self.answers.inherited_names_conflict;
        let echo = self.tenant.with(|configuration| {
            let created = configuration.candidate.create(new_id, place, body, false, inherited)?;
            Ok::<_, Refused>(self.answers.create_body.then(|| self.echo(created)))
        })?;
        Ok(with_or_without(self.answers.create_status, echo.as_ref()))
    }

    fn echo(&self, object: &Object) -> Value {
        object::echo(object, self.answers)
    }

    fn list(&self) -> Result<Answer, Refusal> {
        self.check_query(&["folder", "name", "limit", "offset"])?;
        let folder = self.folder()?;
        let page = self.page()?;
        let name = self.request.parameter("name").filter(|_| self.answers.by_name != ByName::Ignored);
        if let Some(name) = name {
            return self.list_by_name(folder, name, page);
        }
        let inherited = self.answers.inherited;
        let (items, total) = self.tenant.with(|configuration| {
            let candidate = &configuration.candidate;
            let items: Vec<Value> = candidate
                .list(folder, inherited)
                .skip(page.offset)
                .take(page.take)
                .map(|object| self.echo(object))
                .collect();
            (items, candidate.count(folder, inherited))
        });
        Ok(self.wrap(items, total, page))
    }

    fn list_by_name(&self, folder: Folder, name: &str, page: Page) -> Result<Answer, Refusal> {
        let lineage = folder.lineage().take(if self.answers.inherited { usize::MAX } else { 1 });
        let items: Vec<Value> = self.tenant.with(|configuration| {
            lineage
                .filter_map(|folder| configuration.candidate.by_name(folder, name))
                .map(|object| self.echo(object))
                .collect()
        });
        match (self.answers.by_name, items.first()) {
            (ByName::ListOrNotFound | ByName::Object, None) => Err(Documented::ObjectNotPresent.into()),
            (ByName::Object, Some(first)) => Ok(Answer::json(StatusCode::OK, first)),
            _ => {
                let total = items.len();
                Ok(self.wrap(items.into_iter().skip(page.offset).take(page.take).collect(), total, page))
            }
        }
    }

    fn page(&self) -> Result<Page, Refusal> {
        let number = |name: &str| match self.request.parameter(name) {
            None => Ok(None),
            Some(text) => text.parse::<usize>().map(Some).map_err(|_| invalid(name, text)),
        };
        let (limit, offset) = (number("limit")?, number("offset")?);
        if !self.answers.paging {
            return Ok(Page { offset: 0, limit: self.answers.default_limit, take: usize::MAX });
        }
        let limit = limit.unwrap_or(self.answers.default_limit).min(self.answers.max_limit);
        Ok(Page { offset: offset.unwrap_or(0), limit, take: limit })
    }

    fn wrap(&self, items: Vec<Value>, total: usize, page: Page) -> Answer {
        let body = match self.answers.list {
            ListShape::Array => Value::Array(items),
            ListShape::Page => json!({"data": items, "offset": page.offset, "total": total, "limit": page.limit}),
            ListShape::PageWithoutTotal => json!({"data": items, "offset": page.offset, "limit": page.limit}),
        };
        Answer::json(StatusCode::OK, &body)
    }

    fn get(&self, id: &str) -> Result<Answer, Refusal> {
        self.check_query(&[])?;
        let echo = self.tenant.with(|configuration| configuration.candidate.get(id).map(|object| self.echo(object)));
        let echo = echo.ok_or(Documented::ObjectNotPresent)?;
        let body = if self.answers.get_array { Value::Array(vec![echo]) } else { echo };
        Ok(Answer::json(StatusCode::OK, &body))
    }

    fn update(&self, id: &str) -> Result<Answer, Refusal> {
        self.check_query(&[])?;
        let body = self.object()?;
        let inherited = self.answers.inherited_names_conflict;
        let echo = self.tenant.with(|configuration| {
            let updated = configuration.candidate.update(id, body, inherited)?;
            Ok::<_, Refused>(self.answers.update_body.then(|| self.echo(updated)))
        })?;
        Ok(with_or_without(self.answers.update_status, echo.as_ref()))
    }

    fn delete(&self, id: &str) -> Result<Answer, Refusal> {
        self.check_query(&[])?;
        let deleted = self.tenant.with(|configuration| configuration.candidate.delete(id))?;
        let echo = self.answers.delete_body.then(|| self.echo(&deleted));
        Ok(with_or_without(self.answers.delete_status, echo.as_ref()))
    }

    fn push(&self) -> Result<Answer, Refusal> {
        self.check_query(&[])?;
        let body = self.json()?;
        let folders = body.get("folders").and_then(Value::as_array).filter(|folders| !folders.is_empty());
        let folders: Option<Vec<Folder>> = folders.ok_or(Documented::InvalidObject)?.iter().map(pushable).collect();
        let folders = folders.ok_or(Documented::InvalidObject)?;
        let description = match body.get("description") {
            None => "",
            Some(description) => description.as_str().ok_or(Documented::InvalidObject)?,
        };
        let takes = Duration::from_millis(self.options.job_duration_ms);
        let job = self.tenant.with(|configuration| {
            let errors = &self.options.push_errors;
            configuration.jobs.push(&configuration.candidate, &folders, description, takes, errors)
        });
        let message = format!("CommitAndPush job enqueued with jobid {job}");
        Ok(Answer::json(StatusCode::CREATED, &json!({"success": true, "job_id": job.to_string(), "message": message})))
    }

    fn running(&self) -> Result<Answer, Refusal> {
        self.check_query(&[])?;
        let versions = self.tenant.with(|configuration| configuration.jobs.running_versions());
        let total = versions.len();
        Ok(self.wrap(versions, total, Page { offset: 0, limit: self.answers.default_limit, take: usize::MAX }))
    }

    fn jobs(&self) -> Result<Answer, Refusal> {
        self.check_query(&["limit", "offset"])?;
        let page = self.page()?;
        let jobs = self.tenant.with(|configuration| configuration.jobs.all());
        let total = jobs.len();
        Ok(self.wrap(jobs.into_iter().skip(page.offset).take(page.take).collect(), total, page))
    }

    fn job(&self, id: &str) -> Result<Answer, Refusal> {
        self.check_query(&[])?;
        let job = self.tenant.with(|configuration| configuration.jobs.job(id)).ok_or(Documented::ObjectNotPresent)?;
        let body = if self.answers.get_array { json!([job]) } else { json!({"data": [job]}) };
        Ok(Answer::json(StatusCode::OK, &body))
    }
}

#[derive(Clone, Copy)]
struct Page {
    offset: usize,
    /// The limit as the page tells it.
    limit: usize,
    /// How many items it holds at most.
    take: usize,
}

/// A folder that a push takes: all but `Shared`.
fn pushable(name: &Value) -> Option<Folder> {
    Folder::parse(name.as_str()?).filter(|folder| *folder != Folder::Shared)
}

fn with_or_without(status: u16, body: Option<&Value>) -> Answer {
    body.map_or_else(|| Answer::empty(status), |body| Answer::json_with(status, body))
}
