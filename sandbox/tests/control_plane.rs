//! The control plane, started for real. These tests need what `make tools` builds, and fail without it.

use std::{
    error::Error,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use mfa_sandbox::control_plane::ControlPlane;

type Outcome = Result<(), Box<dyn Error>>;

const LIMIT: Duration = Duration::from_mins(1);

/// What a command prints, or an error with what it said.
async fn output(mut command: tokio::process::Command, arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    let output = command.args(arguments).stdin(Stdio::null()).output().await?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    Err(format!("{arguments:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

fn listens(url: &str) -> Result<bool, Box<dyn Error>> {
    let port = url.rsplit(':').next().unwrap_or_default().parse::<u16>()?;
    Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_applied_survives_an_outage_and_goes_with_the_control_plane() -> Outcome {
    let mut control_plane = ControlPlane::start().await?;
    let (kubeconfig, url) = (control_plane.kubeconfig().to_owned(), control_plane.url().to_owned());
    assert_eq!(kubeconfig.metadata()?.permissions().mode() & 0o777, 0o600);

    let manifest = kubeconfig.with_file_name("namespace.yaml");
    std::fs::write(&manifest, "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: tried\n")?;
    let manifest = manifest.display().to_string();
    assert_eq!(output(control_plane.kubectl(), &["apply", "-f", &manifest]).await?, "namespace/tried created\n");

    // Both sides say the pinned version, so that a chart's kubeVersion check means something.
    let versions: serde_json::Value =
        serde_json::from_str(&output(control_plane.kubectl(), &["version", "--output=json"]).await?)?;
    assert_eq!(versions["serverVersion"]["gitVersion"], "v1.37.0");
    assert_eq!(versions["clientVersion"]["gitVersion"], "v1.37.0");
    assert_eq!(output(control_plane.helm(), &["list", "--short"]).await?, "");

    control_plane.stop_api_server().await?;
    assert!(!listens(&url)?, "an API server that was stopped does not listen");
    assert!(output(control_plane.kubectl(), &["get", "namespace", "tried"]).await.is_err());

    control_plane.start_api_server().await?;
    assert_eq!(control_plane.url(), url);
    let name = output(control_plane.kubectl(), &["get", "namespace", "tried", "--output=name"]).await?;
    assert_eq!(name, "namespace/tried\n");

    control_plane.stop().await?;
    assert!(!listens(&url)?, "nothing listens after the end");
    assert!(!kubeconfig.with_file_name("").exists(), "nothing is left on the disk");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_binaries_are_an_error_that_says_what_to_run() -> Outcome {
    let empty = tempfile::tempdir()?;
    let error = ControlPlane::start_in(empty.path()).await.err().ok_or("started from an empty folder")?;
    let said = error.to_string();
    assert!(said.contains("has no etcd") && said.contains("make tools"), "{said}");
    Ok(())
}

/// Ends the program under test when the test fails half way.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the `control-plane` program up to the line that names its kubeconfig, and reads the address from that.
fn run_program() -> Result<(Program, PathBuf, String), Box<dyn Error>> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_control-plane"));
    let mut program = Program(command.stdout(Stdio::piped()).spawn()?);
    let mut line = String::new();
    BufReader::new(program.0.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let path = line.trim_end().strip_prefix("KUBECONFIG=").ok_or("the program printed no kubeconfig")?;
    let kubeconfig: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let url = kubeconfig["clusters"][0]["cluster"]["server"].as_str().ok_or("a kubeconfig without a server")?;
    assert!(listens(url)?, "it answers when it has printed its kubeconfig");
    Ok((program, PathBuf::from(path), url.to_owned()))
}

/// Waits until neither the address nor the folder is there.
fn await_nothing_left(kubeconfig: &Path, url: &str) -> Outcome {
    let folder = kubeconfig.parent().ok_or("a kubeconfig without a folder")?;
    let begin = Instant::now();
    while listens(url)? || folder.exists() {
        assert!(begin.elapsed() < LIMIT, "{url} or {} is still there", folder.display());
        std::thread::yield_now();
    }
    Ok(())
}

#[test]
fn a_killed_program_leaves_nothing_behind() -> Outcome {
    let (mut program, kubeconfig, url) = run_program()?;
    program.0.kill()?;
    await_nothing_left(&kubeconfig, &url)
}

#[test]
fn a_terminated_program_ends_well_and_leaves_nothing_behind() -> Outcome {
    let (mut program, kubeconfig, url) = run_program()?;
    let sent = Command::new("sh").args(["-c", "kill -TERM \"$1\"", "sh", &program.0.id().to_string()]).status()?;
    assert!(sent.success());
    assert!(program.0.wait()?.success(), "it ends well when it is asked to end");
    assert!(!listens(&url)? && !kubeconfig.exists(), "it has cleaned up before it ends");
    Ok(())
}
