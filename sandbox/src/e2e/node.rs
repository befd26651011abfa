//! One node and its control plane, in the namespaces that this process is the first of.
//!
//! Addresses are those for documentation (RFC 5737): the node, its pods and the Services have one network each. No route
//! leads out.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use jiff::Timestamp;

use super::{During as _, Parts, Result, failed, host::group_roots, keys};
use crate::control_plane::process::Process;

pub(super) const ADDRESS: &str = "192.0.2.1";
const PODS: &str = "198.51.100.0/24";
const SERVICES: &str = "203.0.113.0/24";
const FIRST_SERVICE: &str = "203.0.113.1";
/// Where the simulator answers.
pub(super) const SIMULATOR: &str = "203.0.113.20";
pub(super) const NAME: &str = "e2e";
const ETCD: &str = "http://127.0.0.1:2379";
/// Room for the logs of pods: little, so that it can be filled.
pub(super) const LOGS: &str = "/var/log";
const LOGS_SIZE: &str = "64m";
const LIMIT: Duration = Duration::from_mins(5);

/// A running node.
// Fields are dropped in this order: who depends on another ends first.
#[derive(Debug)]
pub(super) struct Node {
    _kubelet: Process,
    _parts: Vec<Process>,
    api_server: Option<Process>,
    _etcd: Process,
    http: reqwest::Client,
    folder: PathBuf,
    parts: Parts,
    /// When the API server was started again, and when it was ready.
    starts: Vec<(Timestamp, Timestamp)>,
}

impl Node {
    pub(super) fn url() -> String {
        format!("https://{ADDRESS}:6443")
    }

    /// Starts everything, and loads the images.
    pub(super) async fn start(parts: &Parts, folder: &Path) -> Result<Self> {
        hide_the_host().during("mounting over what is the host's")?;
        network()?;
        make_group(folder).during("making a control group")?;
        let names = ["localhost", "127.0.0.1", ADDRESS, FIRST_SERVICE, "kubernetes.default.svc"];
        let http = keys::write(folder, &Self::url(), &names).during("issuing certificates")?;
        configure(folder).during("writing the node's configuration")?;

        let mut containerd = start(&parts.node_tools, "containerd", folder, &["--config=containerd.toml"])?;
        let etcd_arguments = [
            "--data-dir=etcd",
            &format!("--listen-client-urls={ETCD}"),
            &format!("--advertise-client-urls={ETCD}"),
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--unsafe-no-fsync=true",
        ];
        let mut etcd = start(&parts.assets, "etcd", folder, &etcd_arguments)?;
        etcd.await_ready(&http, &format!("{ETCD}/health"), LIMIT).await?;
        let mut node_parts = Vec::new();
        let api_server = start_api_server(parts, folder, &http).await?;
        node_parts.push(start(
            &parts.node_tools,
            "kube-controller-manager",
            folder,
            &[
                "--kubeconfig=kube-controller-manager.kubeconfig",
                "--service-account-private-key-file=service-account.key",
                "--root-ca-file=serving-ca.crt",
                "--use-service-account-credentials=true",
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
            ],
        )?);
        let arguments = ["--kubeconfig=kube-scheduler.kubeconfig", "--leader-elect=false", "--bind-address=127.0.0.1"];
        node_parts.push(start(&parts.node_tools, "kube-scheduler", folder, &arguments)?);
        node_parts.push(start(&parts.node_tools, "kube-proxy", folder, &["--config=kube-proxy.yaml"])?);
        load_images(parts, folder, &mut containerd).await?;
        node_parts.push(containerd);
        let kubelet_arguments = [
            "--config=kubelet.yaml".to_owned(),
            "--kubeconfig=kubelet.kubeconfig".to_owned(),
            format!("--root-dir={}", folder.join("kubelet").display()),
            format!("--cert-dir={}", folder.join("kubelet-pki").display()),
            format!("--hostname-override={NAME}"),
            format!("--node-ip={ADDRESS}"),
        ];
        let kubelet_arguments: Vec<&str> = kubelet_arguments.iter().map(String::as_str).collect();
        let kubelet = start(&parts.node_tools, "kubelet", folder, &kubelet_arguments)?;
        Ok(Self {
            _kubelet: kubelet,
            _parts: node_parts,
            api_server: Some(api_server),
            _etcd: etcd,
            http,
            folder: folder.to_owned(),
            parts: parts.clone(),
            starts: Vec::new(),
        })
    }

    /// A client that is the administrator.
    pub(super) fn http(&self) -> reqwest::Client {
        self.http.clone()
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the API server wrote down of the operator's requests.
    pub(super) fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    /// Kills the API server.
    pub(super) fn stop_api_server(&mut self) -> Result {
        Ok(self.api_server.take().map_or(Ok(()), Process::stop)?)
    }

    /// Starts it again, and waits until it answers.
    pub(super) async fn start_api_server(&mut self) -> Result {
        let begun = Timestamp::now();
        self.api_server = Some(start_api_server(&self.parts, &self.folder, &self.http).await?);
        self.starts.push((begun, Timestamp::now()));
        Ok(())
    }

    /// Whether the API server was being started then: it may refuse what it does not know the roles for yet.
    pub(super) fn was_starting(&self, at: Timestamp) -> bool {
        self.starts.iter().any(|(begun, ready)| (*begun..=*ready).contains(&at))
    }

    /// The folder of a container's memory control group.
    pub(super) fn memory_group(&self, pod_uid: &str, container: &str) -> Result<PathBuf> {
        let base = Path::new("/sys/fs/cgroup");
        let base = if base.join("memory").exists() { base.join("memory") } else { base.to_owned() };
        let pods = base.join(self.folder.file_name().unwrap_or_default()).join("kubepods");
        let pod = format!("pod{pod_uid}");
        for class in ["", "burstable", "besteffort"] {
            let path = pods.join(class).join(&pod).join(container);
            if path.exists() {
                return Ok(path);
            }
        }
        failed(format!("{} has no control group of container {container} in {pod}", pods.display()))
    }

    /// A pod's volume, as the node sees it.
    pub(super) fn empty_dir(&self, pod_uid: &str, volume: &str) -> PathBuf {
        self.folder.join("kubelet/pods").join(pod_uid).join("volumes/kubernetes.io~empty-dir").join(volume)
    }

    /// The end of each part's log.
    pub(super) fn logs(&self, lines: usize) -> String {
        let names =
            ["kubelet", "containerd", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kube-apiserver"];
        let mut text = String::new();
        for name in names {
            let log = fs::read(self.folder.join(format!("{name}.log"))).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let log: Vec<&str> = log.lines().collect();
            let _ =
                write!(text, "\n---- the end of {name}'s log\n{}\n", log[log.len().saturating_sub(lines)..].join("\n"));
        }
        text
    }
}

fn start(binaries: &Path, name: &'static str, folder: &Path, arguments: &[&str]) -> Result<Process> {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Ok(Process::start(binaries, name, folder, &arguments)?)
}

async fn start_api_server(parts: &Parts, folder: &Path, http: &reqwest::Client) -> Result<Process> {
    let arguments = [
        &format!("--etcd-servers={ETCD}"),
        &format!("--advertise-address={ADDRESS}"),
        "--bind-address=0.0.0.0",
        "--secure-port=6443",
        "--cert-dir=.",
        &format!("--tls-cert-file={}", keys::SERVING_CERTIFICATE),
        &format!("--tls-private-key-file={}", keys::SERVING_KEY),
        &format!("--client-ca-file={}", keys::CLIENT_CA),
        &format!("--kubelet-client-certificate={}", keys::KUBELET_CLIENT_CERTIFICATE),
        &format!("--kubelet-client-key={}", keys::KUBELET_CLIENT_KEY),
        "--kubelet-preferred-address-types=InternalIP",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--service-account-issuer=https://kubernetes.default.svc",
        &format!("--service-account-key-file={}", keys::SERVICE_ACCOUNT_PUBLIC_KEY),
        &format!("--service-account-signing-key-file={}", keys::SERVICE_ACCOUNT_KEY),
        &format!("--service-cluster-ip-range={SERVICES}"),
        "--allow-privileged=true",
        "--audit-policy-file=audit-policy.yaml",
        "--audit-log-path=audit.log",
        "--audit-log-maxsize=1000",
    ];
    let mut api_server = start(&parts.assets, "kube-apiserver", folder, &arguments)?;
    for path in ["/readyz", "/api/v1/namespaces/default"] {
        api_server.await_ready(http, &format!("{}{path}", Node::url()), LIMIT).await?;
    }
    Ok(api_server)
}

async fn load_images(parts: &Parts, folder: &Path, containerd: &mut Process) -> Result {
    let ctr = |words: &[&str]| {
        let mut command = tokio::process::Command::new(parts.node_tools.join("ctr"));
        command.arg("--address").arg(folder.join("containerd.sock")).args(["--namespace", "k8s.io"]).args(words);
        command
    };
    let begin = std::time::Instant::now();
    while !ctr(&["version"]).output().await.during("running ctr")?.status.success() {
        if containerd.ended()?.is_some() || begin.elapsed() > LIMIT {
            let log = fs::read_to_string(folder.join("containerd.log")).unwrap_or_default();
            return failed(format!("containerd does not answer:\n{log}"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for image in [parts.image.join("image.tar"), folder.join("sandbox.tar")] {
        let image = image.display().to_string();
        let done = ctr(&["images", "import", "--no-unpack", &image]).output().await.during("running ctr")?;
        if !done.status.success() {
            return failed(format!("ctr images import {image}: {}", String::from_utf8_lossy(&done.stderr)));
        }
    }
    Ok(())
}

/// Runs a command that has to succeed.
fn command(line: &str) -> io::Result<()> {
    let mut words = line.split(' ');
    let done = Command::new(words.next().unwrap_or_default()).args(words).output()?;
    if done.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{line}: {}", String::from_utf8_lossy(&done.stderr).trim())))
}

/// Empty folders where a node would write beside its own: seen by this mount namespace alone.
fn hide_the_host() -> io::Result<()> {
    command("mount -t tmpfs tmpfs /run")?;
    command(&format!("mount -t tmpfs -o size={LOGS_SIZE} tmpfs {LOGS}"))?;
    for path in ["/var/lib/cni", "/etc/cni"] {
        // A mount needs a place. An empty folder is what Debian's package leaves, too.
        if Path::new(path).exists() {
            command(&format!("mount -t tmpfs tmpfs {path}"))?;
        }
    }
    Ok(())
}

fn network() -> Result {
    for line in [
        "ip link set lo up".to_owned(),
        // A kernel may have no dummy device; a bridge without ports carries an address as well.
        "ip link add node0 type bridge".to_owned(),
        format!("ip address add {ADDRESS}/24 dev node0"),
        "ip link set node0 up".to_owned(),
        // Parts look for a default route to know the node's address.
        "ip route add default dev node0".to_owned(),
    ] {
        command(&line).during("making the node's network")?;
    }
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").during("letting packets through")
}

/// A control group for the node's pods in each hierarchy, named like the folder.
fn make_group(folder: &Path) -> io::Result<()> {
    let name = folder.file_name().unwrap_or_default();
    for root in group_roots() {
        if root.join("cgroup.controllers").exists() {
            for controller in ["cpu", "cpuset", "memory", "pids", "hugetlb"] {
                // What is not there is not needed; what cannot be given is missed by the kubelet, which says so.
                let _ = fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"));
            }
        }
        let path = root.join(name);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if root.join(file).exists() && path.join(file).exists() {
                fs::write(path.join(file), fs::read(root.join(file))?)?;
            }
        }
    }
    Ok(())
}

/// Writes the files that the parts are started with.
fn configure(folder: &Path) -> io::Result<()> {
    let at = folder.display();
    let group = folder.file_name().unwrap_or_default().display();
    fs::create_dir_all(folder.join("cni"))?;
    for (name, content) in [
        (
            "containerd.toml",
            format!(
                r#"version = 3
root = "{at}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri"]
[grpc]
address = "{at}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{at}/opt"
[plugins."io.containerd.cri.v1.images"]
snapshotter = "native"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "localhost/mfa-sandbox:e2e"
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "{at}/cni"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false
"#
            ),
        ),
        (
            "cni/10-e2e.conflist",
            format!(
                r#"{{"cniVersion": "1.0.0", "name": "e2e", "plugins": [{{"type": "ptp", "ipam": {{"type": "host-local",
"dataDir": "/run/cni", "ranges": [[{{"subnet": "{PODS}"}}]], "routes": [{{"dst": "0.0.0.0/0"}}]}}}}]}}
"#
            ),
        ),
        (
            "kubelet.yaml",
            format!(
                r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {{x509: {{clientCAFile: {at}/client-ca.crt}}, anonymous: {{enabled: false}}, webhook: {{enabled: true}}}}
authorization: {{mode: Webhook}}
containerRuntimeEndpoint: unix://{at}/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /{group}
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
resolvConf: ""
volumePluginDir: {at}/volume-plugins
evictionHard: {{memory.available: 1Mi, nodefs.available: 1Mi, imagefs.available: 1Mi, nodefs.inodesFree: "1"}}
imageGCHighThresholdPercent: 100
"#
            ),
        ),
        (
            "kube-proxy.yaml",
            format!(
                r"apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {{kubeconfig: kube-proxy.kubeconfig}}
mode: nftables
hostnameOverride: {NAME}
clusterCIDR: {PODS}
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
oomScoreAdj: 0
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
"
            ),
        ),
        (
            "audit-policy.yaml",
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- level: Metadata\n  \
             userGroups: ['system:serviceaccounts:mfa-system']\n- level: None\n"
                .to_owned(),
        ),
    ] {
        fs::write(folder.join(name), content)?;
    }
    Ok(())
}
