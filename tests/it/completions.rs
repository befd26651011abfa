//! The completions, in the shells themselves as far as they are here.

use std::process::{Command, Stdio};

use clap::CommandFactory as _;
use mfa_operator::args::Arguments;

/// A shell, and how it checks a script without running it.
type Shell = (&'static str, Option<(&'static str, &'static [&'static str])>);

/// The shells that there are completions for. elvish checks nothing: the module that completions are put into is
/// there in its editor alone.
const SHELLS: [Shell; 5] = [
    ("bash", Some(("bash", &["-n"]))),
    ("zsh", Some(("zsh", &["-n"]))),
    ("fish", Some(("fish", &["--no-execute"]))),
    ("elvish", None),
    (
        "powershell",
        Some((
            "pwsh",
            &["-NoProfile", "-NonInteractive", "-Command", "[void][scriptblock]::Create((gc -Raw $args[0]))"],
        )),
    ),
];

fn script(shell: &str) -> String {
    let answer = Command::new(env!("CARGO_BIN_EXE_mfa-operator")).args(["completions", shell]).output().unwrap();
    assert!(answer.status.success() && answer.stderr.is_empty(), "{shell}: {answer:?}");
    String::from_utf8(answer.stdout).unwrap()
}

/// Saved where the shell can read it, for one test.
fn saved(shell: &str, test: &str) -> std::path::PathBuf {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("completions-{test}.{shell}"));
    std::fs::write(&file, script(shell)).unwrap();
    file
}

#[test]
fn every_shell_gets_every_command_and_every_flag() {
    let mut command = Arguments::command();
    command.build();
    let run = command.find_subcommand("run").unwrap();
    let flags: Vec<&str> = run.get_arguments().filter_map(clap::Arg::get_long).collect();
    assert!(flags.len() > 15);
    for (shell, check) in SHELLS {
        let script = script(shell);
        let commands = command.get_subcommands().map(clap::Command::get_name);
        for word in flags.iter().copied().chain(commands) {
            assert!(script.contains(word), "{shell}: {word}");
        }
        let Some((program, check)) = check else { continue };
        // Where the shell is there, it reads the script.
        match Command::new(program).args(check).arg(saved(shell, "read")).stdin(Stdio::null()).output() {
            Ok(read) => assert!(read.status.success(), "{shell}: {read:?}"),
            Err(error) => {
                assert!(program != "bash" && error.kind() == std::io::ErrorKind::NotFound, "{shell}: {error}");
            }
        }
    }
}

/// What bash offers for the last of these words.
fn offered(words: &[&str]) -> Vec<String> {
    let complete = r#"
        source "$1"; shift
        function=$(complete -p mfa-operator | sed 's/.* -F \([^ ]*\) .*/\1/')
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE} COMPREPLY=()
        "$function" mfa-operator "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let file = saved("bash", "offered");
    let answer = Command::new("bash")
        .args(["--norc", "--noprofile", "-c", complete, "bash"])
        .arg(file)
        .arg("mfa-operator")
        .args(words)
        .output()
        .expect("bash");
    assert!(answer.status.success() && answer.stderr.is_empty(), "{words:?}: {answer:?}");
    let mut offered: Vec<String> = String::from_utf8(answer.stdout).unwrap().lines().map(str::to_owned).collect();
    offered.sort();
    offered
}

#[test]
fn bash_completes_commands_flags_and_values() {
    assert_eq!(offered(&["c"]), ["completions", "crd"]);
    assert_eq!(offered(&["--api-u"]), ["--api-url"]);
    assert_eq!(offered(&["run", "--lease-n"]), ["--lease-name", "--lease-namespace"]);
    assert_eq!(offered(&["run", "--log-format", ""]), ["json", "text"]);
    assert_eq!(offered(&["--default-deletion-policy", "R"]), ["Retain"]);
    assert_eq!(offered(&["completions", "z"]), ["zsh"]);
    assert_eq!(offered(&["run", "--no-such"]), [""]);
}

#[test]
fn a_shell_that_nobody_knows_is_refused_with_those_that_there_are() {
    let answer = Command::new(env!("CARGO_BIN_EXE_mfa-operator")).args(["completions", "cmd"]).output().unwrap();
    let told = String::from_utf8(answer.stderr).unwrap();
    assert_eq!(answer.status.code(), Some(2));
    assert!(SHELLS.iter().all(|(shell, ..)| told.contains(shell)), "{told}");
}
