//! Logs: as text or JSON, on standard error, with an error's whole chain. And traces, in a build with the feature `otlp`.
//!
//! # Guarantees
//! - A log line is the same with and without traces: spans are for traces alone.

use std::error::Error;
use std::fmt;
use std::io::IsTerminal as _;

use tracing_subscriber::filter::{FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::args::LogFormat;

#[cfg(feature = "otlp")]
mod otlp;
#[cfg(feature = "otlp")]
pub use self::otlp::Traces;

/// What is logged unless `RUST_LOG` says otherwise. `kube_runtime` warns of what the operator tells itself, with advice.
const DEFAULT_FILTER: &str = "info,kube_runtime=error,kube_client=warn";

/// The target of every span.
pub const SPANS: &str = "mfa_operator::trace";

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum Untraced {
    /// The feature is not part of this build.
    #[error(
        "--otlp-endpoint needs an operator that was built with traces: cargo build --release --features otlp (docs/operations.md says how)"
    )]
    NotBuilt,
    /// What sends them cannot be made.
    #[error("nothing can be sent to --otlp-endpoint")]
    Exporter(#[source] Box<dyn Error + Send + Sync>),
}

/// Where spans go in a build without traces: nowhere.
#[cfg(not(feature = "otlp"))]
#[derive(Debug)]
pub struct Traces(());

#[cfg(not(feature = "otlp"))]
impl Traces {
    /// There is nothing to stop.
    pub fn stop(self) {}
}

type Spans = Box<dyn Layer<Registry> + Send + Sync>;

/// An error with its sources, for a log line: `creating failed: no answer: connection reset`.
#[derive(Clone, Copy)]
pub struct Chain<'a>(&'a (dyn Error + 'static));

/// The chain of this error.
#[must_use]
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> Chain<'a> {
    Chain(error)
}

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// Starts logging to standard error, and sending traces to a collector where one is named. `RUST_LOG` sets the levels of
/// log lines; without it, the operator's own are at `info`.
///
/// # Errors
/// [`Untraced`]; log lines are written all the same.
pub fn init(format: LogFormat, collector: Option<&str>) -> Result<Option<Traces>, Untraced> {
    let (spans, traces) = match collector.map(start).transpose() {
        Ok(None) => (None, Ok(None)),
        Ok(Some((spans, traces))) => (Some(spans), Ok(Some(traces))),
        Err(error) => (None, Err(error)),
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let not_spans = filter_fn(|metadata| metadata.target() != SPANS).with_max_level_hint(LevelFilter::TRACE);
    let lines = lines.with_filter(filter.and(not_spans));
    // A second call, as in tests, changes nothing.
    let _ = tracing_subscriber::registry().with(spans).with(lines).try_init();
    traces
}

#[cfg(feature = "otlp")]
fn start(collector: &str) -> Result<(Spans, Traces), Untraced> {
    otlp::start(collector)
}

#[cfg(not(feature = "otlp"))]
fn start(_: &str) -> Result<(Spans, Traces), Untraced> {
    Err(Untraced::NotBuilt)
}
