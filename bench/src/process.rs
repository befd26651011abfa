//! The programs that are measured, as processes of their own, and what /proc and their probes tell of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::stage::Stage;
use crate::{Error, Result};

/// How often a file or a probe is looked at.
const POLL: Duration = Duration::from_millis(3);
/// How long a process may take for what takes a moment.
const LIMIT: Duration = Duration::from_mins(2);
/// The size of a clock tick in /proc, which Linux tells programs on every platform that this runs on.
const TICKS_A_SECOND: f64 = 100.0;
/// How much of a log an error shows.
const LOG_LINES: usize = 20;

/// The operator's binary: beside this program unless `MFA_BENCH_OPERATOR` names it.
pub(crate) fn operator_binary() -> Result<PathBuf> {
    let binary = match std::env::var_os("MFA_BENCH_OPERATOR") {
        Some(path) => PathBuf::from(path),
        None => std::env::current_exe()?.with_file_name("mfa-operator"),
    };
    if binary.is_file() {
        return Ok(binary);
    }
    Err(format!("{} is not there: run `make bench`, which builds it", binary.display()).into())
}

/// A running process; it is killed when this is dropped, or when the bench is gone however it went.
pub(crate) struct Process {
    // First: it must not kill whoever has the number next.
    guard: Child,
    child: Child,
    pid: u32,
    pub(crate) begun: Instant,
    log: PathBuf,
    address: Option<String>,
    http: reqwest::Client,
    folder: tempfile::TempDir,
}

impl Process {
    /// The operator on this stage, with these flags besides the addresses.
    pub(crate) fn operator(stage: &Stage, flags: &[&str]) -> Result<Self> {
        let mut command = Command::new(operator_binary()?);
        command
            .env_clear()
            .args(["--api-url", &stage.simulator.url(), "--auth-url", &stage.simulator.auth_url()])
            .args(["--http-addr", "127.0.0.1:0"])
            .args(flags)
            .env("KUBECONFIG", stage.control_plane.kubeconfig());
        Self::spawn(command)
    }

    /// This program in one of its other roles.
    pub(crate) fn own(stage: &Stage, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .env_clear()
            .args(arguments)
            .env("KUBECONFIG", stage.control_plane.kubeconfig())
            .env("MFA_BENCH_API_URL", stage.simulator.url());
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("mfa-bench-").tempdir()?;
        let log = folder.path().join("log");
        let output = std::fs::File::create(&log)?;
        let begun = Instant::now();
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().ok_or("the process has ended at once")?;
        let guard = Command::new("sh")
            .args(["-c", "read -r _; kill -9 \"$1\"", "sh", &pid.to_string()])
            .process_group(0)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { guard, child, pid, begun, log, address: None, http: reqwest::Client::new(), folder })
    }

    /// What it has written.
    pub(crate) fn output(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.log)?)
    }

    fn log_end(&self) -> String {
        let text = self.output().unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// Waits until its log has this text.
    pub(crate) async fn wait_log(&mut self, text: &str) -> Result<Instant> {
        let begun = Instant::now();
        while !self.output()?.contains(text) {
            self.check(&format!("{text:?} in its log"), begun)?;
            sleep(POLL).await;
        }
        Ok(Instant::now())
    }

    fn check(&mut self, what: &str, begun: Instant) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            return Err(format!("the process ended ({status}) before {what}:\n{}", self.log_end()).into());
        }
        if begun.elapsed() > LIMIT {
            return Err(format!("no {what} within {LIMIT:?}:\n{}", self.log_end()).into());
        }
        Ok(())
    }

    async fn address(&mut self) -> Result<String> {
        const BEFORE: &str = "address=";
        if let Some(address) = &self.address {
            return Ok(address.clone());
        }
        self.wait_log(BEFORE).await?;
        // The line may be on its way.
        loop {
            let log = self.output()?;
            let line = log.split_once(BEFORE).and_then(|(_, rest)| rest.split_once(char::is_whitespace));
            if let Some((address, _)) = line {
                self.address = Some(address.to_owned());
                return Ok(address.to_owned());
            }
            sleep(POLL).await;
        }
    }

    /// Waits until `/readyz` says yes.
    pub(crate) async fn wait_ready(&mut self) -> Result<Duration> {
        let url = format!("http://{}/readyz", self.address().await?);
        let begun = Instant::now();
        loop {
            if let Ok(answer) = self.http.get(&url).send().await
                && answer.status().is_success()
            {
                return Ok(self.begun.elapsed());
            }
            self.check("readiness", begun)?;
            sleep(POLL).await;
        }
    }

    /// The metrics, by name and labels as they are rendered.
    pub(crate) async fn metrics(&mut self) -> Result<BTreeMap<String, f64>> {
        let url = format!("http://{}/metrics", self.address().await?);
        let text = self.http.get(url).send().await?.error_for_status()?.text().await?;
        let metric = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(text.lines().filter(|line| !line.starts_with('#')).filter_map(metric).collect())
    }

    /// How many passes have ended in order, and how many resources are Ready as of their last pass.
    pub(crate) async fn checked(&mut self) -> Result<(f64, f64)> {
        let metrics = self.metrics().await?;
        let passes = metrics.get("mfa_operator_reconciles_total{outcome=\"in_order\"}").copied().unwrap_or_default();
        let ready = metrics
            .iter()
            .filter(|(name, _)| name.contains("condition=\"Ready\"") && name.contains("status=\"True\""))
            .map(|(_, value)| value)
            .sum();
        Ok((passes, ready))
    }

    /// Waits until at least so many passes have ended in order and so many resources are Ready.
    pub(crate) async fn wait_checked(&mut self, count: usize, limit: Duration) -> Result<Instant> {
        #[allow(clippy::cast_precision_loss, reason = "a count of resources")]
        let wanted = count as f64;
        let begun = Instant::now();
        loop {
            let (passes, ready) = self.checked().await?;
            if passes >= wanted && ready >= wanted {
                return Ok(Instant::now());
            }
            if begun.elapsed() > limit {
                return Err(format!("{passes} passes and {ready} Ready of {count} after {limit:?}").into());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Seconds of CPU that it has used.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The name in brackets may hold anything; utime and stime are the 12th and 13th field after it.
        let (_, fields) = stat.rsplit_once(')').ok_or("/proc/…/stat cannot be read")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
        Ok(ticks.sum::<std::result::Result<f64, _>>()? / TICKS_A_SECOND)
    }

    /// Memory that it holds, in KiB: at present, and at most so far.
    pub(crate) fn memory(&self) -> Result<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let field = |name: &str| -> Result<u64> {
            let line =
                status.lines().find_map(|line| line.strip_prefix(name)).ok_or("/proc/…/status cannot be read")?;
            Ok(line.trim().trim_end_matches(" kB").parse()?)
        };
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }

    /// Kills it.
    pub(crate) async fn kill(mut self) -> Result<Instant> {
        let at = Instant::now();
        self.child.kill().await?;
        Ok(at)
    }

    /// Asks it to end, and waits for that; answers when it was asked.
    pub(crate) async fn terminate(mut self) -> Result<Instant> {
        let at = Instant::now();
        let sent = Command::new("kill").args(["-TERM", &self.pid.to_string()]).status().await?;
        if !sent.success() {
            return Err("SIGTERM was not sent".into());
        }
        self.ended().await?;
        Ok(at)
    }

    /// Waits for its end, and answers what it has written.
    pub(crate) async fn ended(&mut self) -> Result<String> {
        let status = tokio::time::timeout(LIMIT * 5, self.child.wait()).await??;
        if !status.success() {
            return Err(format!("the process ended with {status}:\n{}", self.log_end()).into());
        }
        self.output()
    }

    /// Where it may leave files.
    #[allow(dead_code, reason = "keeps the folder alive as long as the process")]
    fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.guard.start_kill();
        let _ = self.child.start_kill();
    }
}

/// The machine, in one line.
pub(crate) fn machine() -> Result<String> {
    let read = |path: &str| std::fs::read_to_string(path);
    let info = read("/proc/cpuinfo")?;
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, model)| model);
    let cores = std::thread::available_parallelism()?;
    let memory = read("/proc/meminfo")?;
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    let kib: u64 = total.trim().trim_end_matches(" kB").parse()?;
    let release = read("/proc/sys/kernel/osrelease")?;
    let load = read("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    Ok(format!(
        "{cores} × {}, {} MiB of memory, Linux {}, load {load} when the run began",
        model.unwrap_or("an unnamed processor"),
        kib / 1024,
        release.trim()
    ))
}

/// The size of the image, compressed: of the archive in the folder that `MFA_IMAGE` names, as `make image BASE=debian` prints
/// it, or of what `make image` has built with a tool that can tell.
pub(crate) async fn image_size() -> Result<u64> {
    if let Some(folder) = std::env::var_os("MFA_IMAGE") {
        return Ok(std::fs::metadata(Path::new(&folder).join("image.tar"))?.len());
    }
    let image = format!("localhost/mfa-operator:{}", env!("CARGO_PKG_VERSION"));
    for tool in ["buildah", "podman"] {
        let folder = tempfile::tempdir()?;
        let to = format!("oci:{}:bench", folder.path().display());
        let pushed =
            Command::new(tool).args(["push", &image, &to]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if pushed.await.is_ok_and(|status| status.success()) {
            let mut size = 0;
            for file in std::fs::read_dir(folder.path().join("blobs/sha256"))? {
                size += file?.metadata()?.len();
            }
            return Ok(size);
        }
    }
    Err(Error::from("no image: `make image` with buildah or podman builds it, or name a folder with MFA_IMAGE"))
}
