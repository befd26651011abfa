//! How Flux, Argo CD and helm get on with MfaServers: docs/gitops.md, claim by claim.
//!
//! What the tools would make of a resource is said by `tools/gitops`, with their own libraries.

mod drift;
mod examples;
mod helm;
mod kubectl;
mod states;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, Command},
};

use crate::{
    harness::{Answer, LIMIT, Namespace},
    operator,
};

/// What a tool makes of a resource.
#[derive(Debug, Deserialize)]
struct Health {
    status: String,
    message: String,
}

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The folder that `tools/gitops-tools` prints.
fn tools() -> PathBuf {
    let folder = std::env::var_os("MFA_GITOPS").filter(|value| !value.is_empty());
    PathBuf::from(folder.expect(
        "this test needs the libraries of Flux and Argo CD: run `make test`, or export the last line of tools/gitops-tools",
    ))
}

/// What a tool makes of these objects: kstatus, or Argo CD with the health check.
async fn judge(tool: &[&str], objects: &[Value]) -> Vec<Health> {
    let input: String = objects.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let mut command = Command::new(tools().join("gitops"));
    command.args(tool).current_dir(file(""));
    let answer = run_with(command, &input).await;
    assert!(answer.ok, "{answer:?}");
    let health: Vec<Health> = answer.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(health.len(), objects.len());
    health
}

const KSTATUS: &[&str] = &["kstatus"];
const ARGO: &[&str] = &["argo", "examples/argo-cd/health.lua"];

/// The resource as the API server shows it, with nothing that our types would drop.
async fn shown(namespace: &Namespace, name: &str) -> Value {
    let answer = namespace.kubectl(&["get", "mfaserver", name, "-o", "json"]).await;
    assert!(answer.ok, "{answer:?}");
    serde_json::from_str(&answer.stdout).unwrap()
}

/// Starts a command that takes a while.
fn start(mut command: Command, arguments: &[&str]) -> Child {
    let command = command.args(arguments).current_dir(file("")).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().expect("the command")
}

/// Waits for its end.
async fn end(child: Child) -> Answer {
    let output = tokio::time::timeout(operator::LIMIT, child.wait_with_output()).await;
    let output = output.expect("the command's end within the limit").expect("the command");
    Answer {
        ok: output.status.success(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a command to its end, with that on its standard input.
async fn run_with(mut command: Command, input: &str) -> Answer {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child =
        command.spawn().unwrap_or_else(|error| panic!("{}: {error}", command.as_std().get_program().display()));
    let mut stdin = child.stdin.take().unwrap();
    let written = tokio::time::timeout(LIMIT, stdin.write_all(input.as_bytes())).await;
    // A command that has read enough has closed it by now.
    let _ = written.expect("a command that reads");
    drop(stdin);
    end(child).await
}

#[tokio::test]
async fn the_judge_refuses_what_no_tool_would_take() {
    let script = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("no-health.lua");
    std::fs::write(&script, "return { status = 'Fine', message = string.upper('x') }").unwrap();
    let object = serde_json::json!({ "apiVersion": "v1", "kind": "Thing", "metadata": { "name": "x" } });
    let mut command = Command::new(tools().join("gitops"));
    command.arg("argo").arg(&script);
    let answer = run_with(command, &object.to_string()).await;
    // Argo CD gives scripts no string library.
    assert!(!answer.ok && answer.stderr.contains("attempt to index a non-table object(nil)"), "{answer:?}");
    std::fs::write(&script, "return { status = 'Fine' }").unwrap();
    let mut command = Command::new(tools().join("gitops"));
    command.arg("argo").arg(&script);
    let answer = run_with(command, &object.to_string()).await;
    assert!(!answer.ok && answer.stderr.contains("no health"), "{answer:?}");
    std::fs::remove_file(script).unwrap();
}
