//! An answer before it is sent.

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::Value;

/// Status, headers and body.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl Answer {
    pub(crate) fn json(status: StatusCode, body: &Value) -> Self {
        Self { status, headers: vec![(header::CONTENT_TYPE, JSON)], body: body.to_string().into() }
    }

    /// With a status that a test chose; an impossible one becomes 500.
    pub(crate) fn json_with(status: u16, body: &Value) -> Self {
        Self::json(status_of(status), body)
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status: status_of(status), headers: Vec::new(), body: Bytes::new() }
    }

    /// A page of the kind that proxies send.
    pub(crate) fn html(status: u16) -> Self {
        let status = status_of(status);
        let reason = status.canonical_reason().unwrap_or("Unknown");
        let body = format!(
            "<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{} {reason}</h1></center>\r\n\
             <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n",
            status.as_u16()
        );
        let html = HeaderValue::from_static("text/html");
        Self { status, headers: vec![(header::CONTENT_TYPE, html)], body: body.into() }
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).and_then(|(_, value)| value.to_str().ok())
    }

    /// The response with a body of its own.
    pub(crate) fn respond_with(&self, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        for (name, value) in &self.headers {
            response.headers_mut().append(name, value.clone());
        }
        response
    }

    pub(crate) fn respond(self) -> Response<Body> {
        let body = Body::from(self.body.clone());
        self.respond_with(body)
    }
}

pub(crate) fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
