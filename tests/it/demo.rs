//! The demo, as `make demo` runs it: the real operator, a control plane of its own, the simulated tenant.

use std::{
    future::pending,
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mfa_sandbox::demo::{self, Error, Options, Secrets};
use sha1::{Digest as _, Sha1};
use tokio::sync::Notify;

/// One demo at a time: each starts a control plane of its own.
static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What the examples and the demo's manifests give as secrets.
const WRITTEN: [&str; 5] = [
    "not-a-real-okta-token",
    "not-a-real-duo-secret-key",
    "not-a-real-ping-token",
    "bm90LWEtcmVhbC1rZXk=",
    "not-a-real-rsa-access-key",
];

fn options() -> Options {
    Options::new(PathBuf::from(env!("CARGO_BIN_EXE_mfa-operator")))
}

/// Without what is another each time: times, ages, ids.
fn settled(line: &str) -> String {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let words: Vec<&str> = line.trim_end().split(' ').collect();
    let settle = |(at, word): (usize, &&str)| {
        let seconds = words.get(at + 1).is_some_and(|next| ["s.", "s]"].contains(next));
        if seconds && digits(word.trim_start_matches('[')) || word.strip_suffix('s').is_some_and(digits) {
            "<time>".to_owned()
        } else if word.len() == 36 && word.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()) {
            "<id>".to_owned()
        } else {
            (*word).to_owned()
        }
    };
    words.iter().enumerate().map(settle).collect::<Vec<_>>().join(" ")
}

/// Fails unless the README shows this output, line by line, where it does not leave out any (`…`).
fn readme_shows(output: &str) {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, block) = readme.split_once("```console\n$ make demo\n").expect("the demo's output in the README");
    let (block, _) = block.split_once("\n```").unwrap();
    let mut rest: Vec<String> = output.lines().map(settled).collect();
    let parts = block.split("…\n").map(|part| part.trim_end_matches('\n')).filter(|part| !part.is_empty());
    let parts: Vec<Vec<String>> = parts.map(|part| part.lines().map(settled).collect()).collect();
    assert!(parts.len() > 3, "{parts:?}");
    for part in parts {
        let at = rest.windows(part.len()).position(|window| window == part);
        let at =
            at.unwrap_or_else(|| panic!("the README shows, and the demo does not:\n{}\n{output}", part.join("\n")));
        rest.drain(..at + part.len());
    }
}

/// The forms in which a secret could come to light.
fn forms(secret: &str) -> [String; 4] {
    let digest = Sha1::digest(secret);
    [secret.to_owned(), STANDARD.encode(secret), format!("{digest:x}"), STANDARD.encode(digest)]
}

#[tokio::test]
async fn the_demo_ends_as_expected_and_shows_no_secret() {
    let _one = ONE.lock().await;
    let options = options();
    let mut output = Vec::new();
    let ended = demo::run(&options, &mut output, pending()).await;
    let output = String::from_utf8(output).unwrap();
    assert!(ended.is_ok(), "{ended:?}\n{output}");

    assert!(output.contains("\nEverything as expected, in "), "{output}");
    readme_shows(&output);
    for reason in [
        "Available",
        "NameNotUnique",
        "InvalidCredential",
        "InvalidObject",
        "SecretNotFound",
        "DriftReported",
        "DuplicateClaim",
    ] {
        assert!(output.contains(reason), "the demo does not show {reason}:\n{output}");
    }
    assert!(!output.contains('\x1b'), "colours where nobody asked for them");
    for secret in options.secrets.all().iter().chain(&WRITTEN) {
        for form in forms(secret) {
            assert!(!output.contains(&form), "{form} is in the output:\n{output}");
        }
    }
    // A JWT, such as the token that the operator has fetched.
    assert!(!output.contains("eyJ"), "a token is in the output:\n{output}");
}

#[tokio::test]
async fn an_operator_that_does_not_do_its_work_fails_the_demo() {
    let _one = ONE.lock().await;
    let mut output = Vec::new();
    let options = Options::new(PathBuf::from("/bin/false"));
    let ended = demo::run(&options, &mut output, pending()).await;
    let output = String::from_utf8(output).unwrap();
    assert!(matches!(ended, Err(Error::OperatorEnded { .. })), "{ended:?}\n{output}");
    assert!(output.contains("\nNot as expected: the operator ended by itself"), "{output}");
    assert!(output.contains("\nThe end of the operator's log:\n"), "{output}");
    assert!(!output.contains("as expected, in"), "{output}");
}

#[tokio::test]
async fn without_an_operator_the_demo_says_what_to_run() {
    let options = Options::new(PathBuf::from("/no/such/operator"));
    let error = demo::run(&options, &mut io::sink(), pending()).await.unwrap_err();
    assert!(error.to_string().contains("there is no operator at /no/such/operator: run `make demo`"), "{error}");
}

#[test]
fn secrets_are_others_each_time_and_not_shown_by_debug() {
    let (one, other) = (Secrets::random(), Secrets::random());
    assert!(one.all().iter().all(|secret| secret.starts_with("fake-") && !other.all().contains(secret)));
    assert_eq!(format!("{one:?}"), "Secrets(…)");
}

/// The demo's output; says when it holds a text.
#[derive(Clone, Default)]
struct Watched {
    text: Arc<Mutex<String>>,
    seen: Arc<Notify>,
}

/// By then the operator is at work.
const AT_WORK: &str = "examples/okta-adaptive.yaml";

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = self.text.lock().unwrap();
        text.push_str(&String::from_utf8_lossy(bytes));
        if text.contains(AT_WORK) {
            self.seen.notify_one();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The process with that in its command line, and the folder of its kubeconfig.
#[cfg(target_os = "linux")]
fn process(argument: &str) -> Option<(PathBuf, PathBuf)> {
    let of = |process: &std::path::Path, file| {
        let bytes = std::fs::read(process.join(file)).unwrap_or_default();
        bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>()
    };
    let processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let found = processes.into_iter().find(|process| of(process, "cmdline").iter().any(|word| word == argument))?;
    let kubeconfig = of(&found, "environ").iter().find_map(|word| word.strip_prefix("KUBECONFIG=").map(PathBuf::from));
    Some((found, kubeconfig?.parent()?.to_owned()))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_interrupted_demo_leaves_no_process_and_no_file() {
    let _one = ONE.lock().await;
    let mut output = Watched::default();
    let Watched { text, seen } = output.clone();
    let mut found = None;
    let interrupted = async {
        seen.notified().await;
        let text = text.lock().unwrap();
        let argument = text.split_whitespace().find(|word| word.starts_with("--api-url=")).unwrap().to_owned();
        found = process(&argument).map(|(process, folder)| (argument, process, folder));
    };
    let options = options();
    let ended = demo::run(&options, &mut output, interrupted).await;
    assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}\n{}", output.text.lock().unwrap());

    let (argument, process_was, folder) = found.expect("the operator ran when the demo was interrupted");
    assert_eq!(process(&argument), None, "{} still runs", process_was.display());
    assert!(!folder.exists(), "{} is still there", folder.display());
}
