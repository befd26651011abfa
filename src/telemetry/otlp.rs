//! Traces to an OpenTelemetry collector, by OTLP over HTTP.
//!
//! # Guarantees
//! - Nothing of the operator waits for the collector, its end excepted, and that for [`STOP_WITHIN`] at most. What does
//!   not fit into the queue meanwhile is dropped.
//! - Spans hold what log lines hold, which is no secret and no body.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Runtime;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Layer as _;

use super::{Spans, Untraced, chain};

/// How long the collector has to take one batch.
const EXPORT_WITHIN: Duration = Duration::from_secs(10);
/// How long the end of the process waits for the last batch.
const STOP_WITHIN: Duration = Duration::from_secs(1);

/// What sends the spans.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    runtime: Runtime,
}

impl Traces {
    /// Sends what has not been sent yet, if the collector takes it in time.
    pub fn stop(self) {
        if self.provider.shutdown_with_timeout(STOP_WITHIN).is_err() {
            tracing::warn!("the collector did not take the last traces in time");
        }
        self.runtime.shutdown_background();
    }
}

/// Begins to send what is in spans, and the operator's own events within them, at `info`.
pub(super) fn start(collector: &str) -> Result<(Spans, Traces), Untraced> {
    let fail = |error: Box<dyn Error + Send + Sync>| Untraced::Exporter(error);
    // The processor of batches has a thread of its own and knows no runtime, which the client needs.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).thread_name("traces").enable_all().build();
    let runtime = runtime.map_err(|error| fail(error.into()))?;
    let http = reqwest::Client::builder().timeout(EXPORT_WITHIN).redirect(reqwest::redirect::Policy::none()).build();
    let sender = Sender {
        http: http.map_err(|error| fail(error.into()))?,
        runtime: runtime.handle().clone(),
        fails: Arc::default(),
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(sender)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", collector.trim_end_matches('/')))
        .with_timeout(EXPORT_WITHIN)
        .build()
        .map_err(|error| fail(error.into()))?;
    let resource = Resource::builder()
        .with_service_name("mfa-operator")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("mfa-operator"))
        .with_location(false)
        .with_threads(false)
        .with_filter(Targets::new().with_target("mfa_operator", Level::INFO))
        .boxed();
    Ok((spans, Traces { provider, runtime }))
}

/// Sends batches on a runtime, and says once that it cannot.
#[derive(Clone, Debug)]
struct Sender {
    http: reqwest::Client,
    runtime: tokio::runtime::Handle,
    fails: Arc<AtomicBool>,
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        let sent = self.runtime.spawn(async move { http.send_bytes(request).await });
        let answer = sent.await.map_err(HttpError::from).and_then(|answer| answer);
        let status = answer.as_ref().ok().map(Response::status);
        let fails = !status.is_some_and(|status| status.is_success());
        if fails != self.fails.swap(fails, Ordering::Relaxed) {
            let error = answer.as_ref().err().map(|error| chain(&**error).to_string());
            if fails {
                let status = status.map(|status| status.as_u16());
                tracing::warn!(status, error, "the collector takes no traces; they are dropped until it does");
            } else {
                tracing::info!("the collector takes traces again");
            }
        }
        answer
    }
}
