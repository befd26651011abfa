//! The operator: arguments, logs, dispatch.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use mfa_operator::args::{Arguments, Command};
use mfa_operator::{args, crd, run, telemetry};

/// What is parsed in a burst goes back to the system after it: a fifth less memory than with the system's allocator, and less
/// of the processor. Its settings are in `.cargo/config.toml`. A build for development compiles it without optimisation, and
/// would be the slower for it.
#[cfg(not(debug_assertions))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // One TLS provider for all clients; it can be installed once, and here is the first time.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match arguments.command {
        Some(Command::Crd) => return print(crd::crd_yaml().as_bytes()),
        Some(Command::Completions { shell }) => return print(&args::completions(shell)),
        Some(Command::Run) | None => {}
    }
    let traces = match telemetry::init(arguments.run.log_format, arguments.run.otlp_endpoint.as_deref()) {
        Ok(traces) => traces,
        Err(error) => {
            tracing::error!(error = %telemetry::chain(&error), "cannot start");
            return ExitCode::FAILURE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime cannot be started");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run::run(arguments.run));
    // What still runs is not waited for: a name that is being looked up, say.
    runtime.shutdown_background();
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %telemetry::chain(&error), "giving up");
            ExitCode::FAILURE
        }
    };
    if let Some(traces) = traces {
        traces.stop();
    }
    code
}

fn print(text: &[u8]) -> ExitCode {
    if std::io::stdout().write_all(text).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
