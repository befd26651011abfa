//! The outside: namespaces for the test, and nothing of it left on the machine.

use std::{
    fs, io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use tokio::signal::unix::{SignalKind, signal};

use super::{During as _, Parts, Result, failed};

/// The kernel's settings that a kubelet changes for the whole machine.
const SETTINGS: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];
/// Where control groups are.
const GROUPS: &str = "/sys/fs/cgroup";
/// How long the inside may take to end once it is told to.
const STOP: Duration = Duration::from_secs(10);

/// Runs the whole test, and says whether it passed.
///
/// # Errors
/// What this machine lacks, or what failed outside of the steps.
pub async fn run(parts: &Parts, only: Option<&str>) -> Result<bool> {
    let mut interrupt = signal(SignalKind::interrupt()).during("listening for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).during("listening for SIGTERM")?;

    let folder = tempfile::Builder::new().prefix("mfa-e2e-").tempdir().during("making a folder")?;
    let group = folder.path().file_name().unwrap_or_default().to_owned();
    let _left_over = LeftOver { group: PathBuf::from(group), settings: settings() };

    let images = Command::new(parts.checkout.join("tools/node/images"))
        .arg(folder.path())
        .args([parts.binaries.join("simulator"), parts.binaries.join("pause")])
        .stdin(Stdio::null())
        .status()
        .during("running tools/node/images")?;
    if !images.success() {
        return failed("tools/node/images failed; the lines above say why");
    }

    let own = std::env::current_exe().during("finding this program")?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = tokio::process::Command::new("unshare");
    command
        .args(["--mount", "--propagation=private", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .arg(own)
        .arg("--inside")
        .arg(folder.path())
        .args(only)
        // containerd finds its shim there, kube-proxy and runc what Debian has.
        .env("PATH", format!("{}:{path}:/usr/sbin:/sbin", parts.node_tools.display()))
        .env("KUBEBUILDER_ASSETS", &parts.assets)
        .env("MFA_NODE_TOOLS", &parts.node_tools)
        .env("MFA_IMAGE", &parts.image)
        .env("MFA_E2E_RESOURCES", parts.resources.to_string())
        // It ends when this is closed: so it does when this process is killed.
        .stdin(Stdio::piped())
        .kill_on_drop(true);
    // A ctrl-c in the terminal is for us alone.
    command.as_std_mut().process_group(0);
    let mut child = command.spawn().during("running unshare")?;
    // Waiting for a child would close what it holds.
    let told = child.stdin.take();
    let status = tokio::select! {
        status = child.wait() => Some(status.during("waiting for the inside")?),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    let Some(status) = status else {
        drop(told);
        if tokio::time::timeout(STOP, child.wait()).await.is_err() {
            child.kill().await.during("ending the inside")?;
        }
        return failed("interrupted");
    };
    Ok(status.success())
}

/// What outlives the namespaces.
struct LeftOver {
    group: PathBuf,
    settings: Vec<(PathBuf, String)>,
}

impl Drop for LeftOver {
    fn drop(&mut self) {
        for (path, value) in &self.settings {
            if fs::read_to_string(path).is_ok_and(|now| now != *value)
                && let Err(error) = fs::write(path, value)
            {
                tracing::warn!(path = %path.display(), %error, "a kernel setting stays changed");
            }
        }
        for root in group_roots() {
            // The last processes in it may be ending at this moment.
            for _ in 0..50 {
                match remove_group(&root.join(&self.group)) {
                    Ok(()) => break,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                    Err(_) => std::thread::sleep(Duration::from_millis(100)),
                }
            }
        }
    }
}

fn settings() -> Vec<(PathBuf, String)> {
    let paths = SETTINGS.iter().map(|name| Path::new("/proc/sys").join(name));
    paths.filter_map(|path| fs::read_to_string(&path).ok().map(|value| (path, value))).collect()
}

/// The hierarchies: one with version 2 of control groups, one for each controller with version 1.
pub(super) fn group_roots() -> Vec<PathBuf> {
    let root = PathBuf::from(GROUPS);
    if root.join("cgroup.controllers").exists() {
        return vec![root];
    }
    let folders = fs::read_dir(&root).into_iter().flatten().flatten().map(|entry| entry.path());
    // Some are two names of one folder: removing it by one of them is enough.
    folders.filter(|path| path.join("cgroup.procs").exists()).collect()
}

/// Removes a control group and those in it, the innermost first.
fn remove_group(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove_group(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}
