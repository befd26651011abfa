//! The simulator of the SSE configuration API as a process of its own, driven over HTTP under `/_sim`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use mfa_sandbox::simulator::{Options, Simulator, TenantOptions};
use tokio::signal::unix::{SignalKind, signal};

/// Simulates the SSE configuration API and its token endpoint, until SIGINT or SIGTERM.
#[derive(Parser)]
#[command(name = "simulator", version)]
struct Arguments {
    /// Where to listen; port 0 is any free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// A file of options as JSON, such as `{"tenants": {"123": {"bearer_tokens": ["a-token"], "latency_ms": 5}}}`.
    #[arg(long, value_name = "FILE")]
    options: Option<PathBuf>,
    /// A tenant with one bearer token; may be given several times.
    #[arg(long, value_name = "TSG_ID=TOKEN", value_parser = pair)]
    tenant: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(tsg_id, token)| (tsg_id.to_owned(), token.to_owned()))
        .ok_or_else(|| "expected TSG_ID=TOKEN".to_owned())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let mut options: Options = match &arguments.options {
        Some(path) => serde_json::from_slice(&std::fs::read(path)?)?,
        None => Options::default(),
    };
    options.listen = Some(arguments.listen);
    for (tsg_id, token) in &arguments.tenant {
        options = options.tenant(tsg_id, TenantOptions::with_bearer_token(token));
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let simulator = Simulator::start(options).await?;
    writeln!(std::io::stdout(), "{}", simulator.url())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    simulator.stop().await;
    Ok(())
}
