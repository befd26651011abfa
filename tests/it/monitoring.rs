//! Metrics, alerts and dashboard, with the real Prometheus and promtool that `tools/monitoring-tools` builds.

mod alerts;
mod dashboard;
mod live;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::harness::{Answer, LIMIT};

/// One of the two programs.
fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os("MFA_MONITORING").filter(|value| !value.is_empty());
    let folder = folder.expect(
        "this test needs prometheus and promtool: run `make test`, or set MFA_MONITORING to the folder that tools/monitoring-tools prints",
    );
    let program = Path::new(&folder).join(name);
    assert!(
        program.exists(),
        "{} is not there: unset MFA_MONITORING, or run tools/monitoring-tools",
        program.display()
    );
    program
}

/// A new folder for the files of a test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The real promtool, with that text on its standard input.
async fn promtool(arguments: &[&str], input: &str) -> Answer {
    let mut command = Command::new(program("promtool"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("promtool");
    let mut stdin = child.stdin.take().expect("promtool's standard input");
    let written = async move {
        // A promtool that does not read its input has closed it by now.
        let _ = stdin.write_all(input.as_bytes()).await;
    };
    let ended = async { tokio::join!(written, child.wait_with_output()).1 };
    let output = tokio::time::timeout(LIMIT, ended).await.expect("promtool's end").expect("promtool");
    Answer {
        ok: output.status.success(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The names of the metrics, as a query uses them, each with its type: a histogram's stands for three.
fn metrics() -> Vec<(String, String)> {
    let golden = crate::chart::read("tests/golden/metrics.txt");
    let lines = golden.lines().filter(|line| !line.starts_with(' '));
    let metric = |line: &str| {
        let (name, rest) = line.split_once(" (").unwrap();
        let kind = rest.split([',', ')']).next().unwrap();
        (name.to_owned(), kind.to_owned())
    };
    let metrics: Vec<_> = lines.map(metric).collect();
    assert!(metrics.len() > 20, "{metrics:?}");
    metrics
}

/// The names of metrics in a query.
fn named(query: &str) -> Vec<&str> {
    let words = query.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("mfa_operator_") || word.starts_with("process_")).collect()
}

/// Whether there is such a metric.
fn exists(name: &str) -> bool {
    metrics().iter().any(|(metric, kind)| match kind.as_str() {
        "histogram" => ["_bucket", "_sum", "_count"].iter().any(|suffix| name.strip_suffix(suffix) == Some(metric)),
        _ => name == metric,
    })
}
