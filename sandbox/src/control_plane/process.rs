//! One child of the control plane, with its log; and what ends the children when we cannot.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use super::Error;

const POLL: Duration = Duration::from_millis(100);
/// How much of a log goes into an error.
const LOG_LINES: usize = 25;
const LOG_BYTES: u64 = 32 * 1024;

/// A running child. Dropping it ends it, and waits for that.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a binary in a process group of its own, so that a ctrl-c in the terminal reaches us and not it. Its log
    /// is appended to.
    pub(crate) fn start(
        binaries: &Path,
        name: &'static str,
        folder: &Path,
        arguments: &[String],
    ) -> Result<Self, Error> {
        let log = folder.join(format!("{name}.log"));
        let spawn = || {
            let output = OpenOptions::new().create(true).append(true).open(&log)?;
            Command::new(binaries.join(name))
                .args(arguments)
                .current_dir(folder)
                .stdin(Stdio::null())
                .stdout(output.try_clone()?)
                .stderr(output)
                .process_group(0)
                .spawn()
        };
        let child = spawn().map_err(|source| Error::Spawn { name, source })?;
        Ok(Self { name, child, log })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        let name = self.name;
        self.child.try_wait().map_err(|source| Error::Stop { name, source })
    }

    /// Returns when `url` answers 200; fails when the process ends, or at the deadline.
    pub(crate) async fn await_ready(
        &mut self,
        http: &reqwest::Client,
        url: &str,
        deadline: Duration,
    ) -> Result<(), Error> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Err(Error::AwaitRunning { name: self.name, status, log: self.log_end() });
            }
            let answer = match http.get(url).send().await {
                Ok(response) if response.status().is_success() => return Ok(()),
                Ok(response) => response.status().to_string(),
                Err(error) => chain(&error),
            };
            if begin.elapsed() > deadline {
                return Err(Error::AwaitReady {
                    name: self.name,
                    seconds: deadline.as_secs(),
                    url: url.to_owned(),
                    answer,
                    log: self.log_end(),
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Ends it at once and returns when it has ended.
    pub(crate) fn stop(mut self) -> Result<(), Error> {
        let name = self.name;
        end(&mut self.child).map_err(|source| Error::Stop { name, source })
    }

    fn log_end(&self) -> String {
        let read = || {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            io::Result::Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        match read() {
            Ok(text) => last_lines(&text, LOG_LINES).to_owned(),
            Err(error) => format!("(the log cannot be read: {error})"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = end(&mut self.child) {
            tracing::warn!(name = self.name, %error, "could not end a child");
        }
    }
}

/// Idempotent: a child that was waited for is left alone.
fn end(child: &mut Child) -> io::Result<()> {
    child.kill()?;
    child.wait().map(|_| ())
}

fn last_lines(text: &str, count: usize) -> &str {
    let text = text.trim_end();
    text.rmatch_indices('\n').nth(count.saturating_sub(1)).map_or(text, |(at, _)| &text[at + 1..])
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Ends the children and removes the folder when this process is gone, however it went.
///
/// It is a shell that reads from a pipe whose other end only this process holds: the kernel closes that end for us, and
/// the shell acts on the end of its input. The last line it was given counts.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
    input: ChildStdin,
}

impl Watchdog {
    const SCRIPT: &str = r#"
        pids=
        while read -r line; do pids=$line; done
        [ -z "$pids" ] || kill -9 $pids
        rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }
    "#;

    pub(crate) fn start(folder: &Path) -> io::Result<Self> {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", Self::SCRIPT, "watchdog"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let input = shell.stdin.take().ok_or_else(|| io::Error::other("the shell has no standard input"))?;
        Ok(Self { shell, input })
    }

    /// From now on these are the children to end, and no others.
    pub(crate) fn guard(&mut self, children: &[u32]) -> io::Result<()> {
        let line = children.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
        writeln!(self.input, "{line}")
    }
}

impl Drop for Watchdog {
    /// It must not act any more: whoever drops it ends the children first.
    fn drop(&mut self) {
        if let Err(error) = end(&mut self.shell) {
            tracing::warn!(%error, "could not end the watchdog");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::last_lines;

    #[test]
    fn the_end_of_a_log_is_its_last_lines() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a\nb\n", 2), "a\nb");
        assert_eq!(last_lines("a\n", 2), "a");
        assert_eq!(last_lines("", 2), "");
    }
}
