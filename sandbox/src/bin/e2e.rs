//! `make e2e`: the end-to-end test. See [`mfa_sandbox::e2e`].

use std::{io::Read as _, path::PathBuf, process::ExitCode};

use clap::Parser;
use mfa_sandbox::e2e::{Parts, run_inside, run_outside};

/// Runs the operator's image on a real node. `make e2e` builds what it needs.
#[derive(Parser)]
#[command(name = "e2e", version)]
struct Arguments {
    /// The folder with etcd, kube-apiserver, kubectl and helm.
    #[arg(long, env = "KUBEBUILDER_ASSETS", value_name = "FOLDER")]
    assets: PathBuf,
    /// The folder with kubelet, containerd and the rest of a node.
    #[arg(long, env = "MFA_NODE_TOOLS", value_name = "FOLDER")]
    node_tools: PathBuf,
    /// The folder with the operator's image.
    #[arg(long, env = "MFA_IMAGE", value_name = "FOLDER")]
    image: PathBuf,
    /// How many resources there are for the step that looks at the memory.
    #[arg(long, env = "MFA_E2E_RESOURCES", default_value_t = 2000, value_name = "NUMBER")]
    resources: u32,
    /// Not for people: the namespaces are there, with this folder.
    #[arg(long, hide = true, value_name = "FOLDER")]
    inside: Option<PathBuf>,
    /// Only the steps whose name contains this, and those that they build on.
    only: Option<String>,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let binaries = std::env::current_exe()?.parent().map(PathBuf::from).unwrap_or_default();
    let parts = Parts {
        assets: arguments.assets,
        node_tools: arguments.node_tools,
        image: arguments.image,
        binaries,
        checkout: std::env::current_dir()?,
        resources: arguments.resources,
    };
    let passed = match arguments.inside {
        None => run_outside(&parts, arguments.only.as_deref()).await?,
        Some(folder) => {
            // Whoever started us holds the other end: it closes when they want us to end, or have ended.
            std::thread::spawn(|| {
                let _ = std::io::stdin().read_to_end(&mut Vec::new());
                std::process::exit(130);
            });
            run_inside(parts, folder, arguments.only).await?
        }
    };
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
