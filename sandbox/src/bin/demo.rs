//! Runs the operator against a local control plane and the simulated API, and shows what it does.

use std::{
    error::Error,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, builder::FalseyValueParser};
use mfa_sandbox::demo::{self, Options};
use tokio::signal::unix::{SignalKind, signal};

/// What a shell says of a program that ctrl-c has ended.
const INTERRUPTED: u8 = 130;

/// Shows the operator at work, checks every step, and cleans up. `make demo` builds what it needs and runs it.
#[derive(Parser)]
#[command(name = "demo", version)]
struct Arguments {
    /// The operator's binary; mfa-operator beside this program unless given
    #[arg(long, env = "MFA_DEMO_OPERATOR", value_name = "FILE")]
    operator: Option<PathBuf>,
    /// The folder with etcd, kube-apiserver, kubectl and helm: the last line of `make tools`
    #[arg(long, env = "KUBEBUILDER_ASSETS", value_name = "FOLDER")]
    binaries: Option<PathBuf>,
    /// Delete nothing at the end, and leave all running until ctrl-c
    #[arg(long, env = "KEEP", value_parser = FalseyValueParser::new())]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when this fails.
            let _ = writeln!(io::stderr(), "demo: {}", demo::chain(&*error));
            let interrupted = matches!(error.downcast_ref(), Some(demo::Error::Interrupted));
            if interrupted { ExitCode::from(INTERRUPTED) } else { ExitCode::FAILURE }
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let (mut interrupt, mut terminate, mut hangup) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let interrupted = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    };
    let operator = match arguments.operator {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name("mfa-operator"),
    };
    let mut out = io::stdout();
    let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let options = Options { binaries: arguments.binaries, keep: arguments.keep, colour, ..Options::new(operator) };
    demo::run(&options, &mut out, interrupted).await?;
    Ok(())
}
