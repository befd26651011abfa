//! Starts a local control plane, prints where its kubeconfig is, and runs until it is interrupted.

use std::{error::Error, io::Write, path::PathBuf, process::ExitCode};

use clap::Parser;
use mfa_sandbox::control_plane::ControlPlane;
use tokio::signal::unix::{SignalKind, signal};

/// Runs a local etcd and kube-apiserver until ctrl-c or SIGTERM, then removes everything they stored.
#[derive(Parser)]
struct Arguments {
    /// The folder with etcd, kube-apiserver, kubectl and helm: the last line of `make tools`
    #[arg(long, env = "KUBEBUILDER_ASSETS", value_name = "FOLDER")]
    binaries: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            // Nobody is left to tell when this fails.
            let _ = writeln!(std::io::stderr(), "control-plane: {text}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let start = async {
        match &arguments.binaries {
            Some(folder) => ControlPlane::start_in(folder).await,
            None => ControlPlane::start().await,
        }
    };
    let control_plane = tokio::select! {
        started = start => started?,
        _ = tokio::signal::ctrl_c() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };

    writeln!(std::io::stderr(), "The control plane answers at {}; ctrl-c ends it.", control_plane.url())?;
    writeln!(std::io::stdout(), "KUBECONFIG={}", control_plane.kubeconfig().display())?;

    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    control_plane.stop().await?;
    Ok(())
}
