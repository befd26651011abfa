//! The operator as a child process, and what ends it when we cannot.

use std::{
    fs::File,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use super::{Error, Result};

/// What of the user's environment would change what the operator does; so would everything that begins with the first.
const FLAGS: &str = "MFA_OPERATOR_";
const MISLEADING: [&str; 5] = ["RUST_LOG", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
/// How long it may take to finish what is in flight.
const STOP: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
/// How much of the log is shown after a failure.
const LOG_LINES: usize = 25;

/// A running operator. Dropping it ends it, and waits for that.
// Fields are dropped in this order: the watchdog goes last, and has nobody to end by then.
#[derive(Debug)]
pub(super) struct Operator {
    process: Ended,
    watchdog: Watchdog,
    log: PathBuf,
}

impl Operator {
    /// Starts it in a process group of its own, so that a ctrl-c in the terminal reaches us and not it.
    pub(super) fn start(binary: &Path, kubeconfig: &Path, log: PathBuf, arguments: &[String]) -> Result<Self> {
        let failed = |source| Error::Operator { what: "start", source };
        let output = File::create(&log).map_err(failed)?;
        let mut command = Command::new(binary);
        for (name, _) in std::env::vars_os() {
            let flag = name.to_str().is_some_and(|name| name.starts_with(FLAGS) || MISLEADING.contains(&name));
            if flag {
                command.env_remove(name);
            }
        }
        let child = command
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(failed)?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let process = Ended(child);
        let watchdog = Watchdog::start(process.0.id()).map_err(failed)?;
        Ok(Self { process, watchdog, log })
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of its log.
    pub(super) fn log_end(&self) -> String {
        match std::fs::read(&self.log) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                let lines: Vec<&str> = text.lines().collect();
                lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
            }
            Err(error) => format!("(the log cannot be read: {error})"),
        }
    }

    /// An error, if it has ended by itself.
    pub(super) fn check(&mut self) -> Result {
        match self.process.0.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Error::OperatorEnded { status }),
            Err(source) => Err(Error::Operator { what: "watch", source }),
        }
    }

    /// Returns when it has ended by itself.
    pub(super) async fn ended(&mut self) -> Error {
        loop {
            if let Err(error) = self.check() {
                return error;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Asks it to end, as a cluster would, and says how it did.
    pub(super) async fn stop(&mut self) -> Result<ExitStatus> {
        let failed = |source| Error::Operator { what: "stop", source };
        self.watchdog.terminate().map_err(failed)?;
        let begin = Instant::now();
        while begin.elapsed() < STOP {
            if let Some(status) = self.process.0.try_wait().map_err(failed)? {
                return Ok(status);
            }
            tokio::time::sleep(POLL).await;
        }
        Err(failed(io::Error::new(io::ErrorKind::TimedOut, "it did not end after SIGTERM")))
    }
}

/// A child that ends when this is dropped, and is waited for.
#[derive(Debug)]
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Nobody is left to tell when this fails; a child that was waited for is left alone.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Sends SIGTERM for each line that it is given, and SIGKILL when this process is gone, however it went: then the
/// kernel closes the pipe that only this process holds.
#[derive(Debug)]
struct Watchdog {
    _shell: Ended,
    input: ChildStdin,
}

impl Watchdog {
    const SCRIPT: &str = r#"while read -r line; do kill -TERM "$1"; done; kill -KILL "$1""#;

    fn start(child: u32) -> io::Result<Self> {
        let shell = Command::new("/bin/sh")
            .args(["-c", Self::SCRIPT, "watchdog"])
            .arg(child.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let mut shell = Ended(shell);
        let input = shell.0.stdin.take().ok_or_else(|| io::Error::other("the shell has no standard input"))?;
        Ok(Self { _shell: shell, input })
    }

    fn terminate(&mut self) -> io::Result<()> {
        writeln!(self.input)
    }
}
