//! The dependency rule of docs/architecture.md and of the crate's own page, held against every `use` line and path.

mod scan;

use std::collections::BTreeSet;
use std::path::Path;

use self::scan::{Source, Target, reached, source};

/// Each module and what of the crate it may name besides itself; the longest name that fits a file counts.
const MODULES: &[(&str, &[&str])] = &[
    ("run", &["args", "backoff", "controller", "reconcile", "crd", "sse", "admin", "health", "metrics"]),
    ("args", &["reconcile", "crd", "sse", "admin"]),
    ("controller", &["reconcile", "conditions", "crd", "sse", "health", "metrics"]),
    ("controller::lease::candidate", PURE),
    ("reconcile", &["backoff", "claims", "conditions", "crd", "sse", "health", "metrics", "telemetry::SPANS"]),
    ("crd", &[]),
    ("sse", &["metrics", "telemetry::SPANS"]),
    ("admin", &["health", "metrics"]),
    ("health", &[]),
    ("metrics", &[]),
    ("telemetry", &["args"]),
    ("reconcile::facts", DECIDING),
    ("reconcile::step", DECIDING),
    ("reconcile::desired", PURE),
    ("reconcile::compare", PURE),
    ("reconcile::report", PURE),
    ("reconcile::attempt", PURE),
    ("reconcile::course", PURE),
    ("reconcile::sight", PURE),
    ("sse::inventory", PURE),
    ("sse::kept", PURE),
    ("sse::budget::pace", PURE),
    ("claims", PURE),
    ("backoff", PURE),
    ("conditions", PURE),
];

/// What decides knows nothing but itself.
const DECIDING: &[&str] = &["reconcile::facts", "reconcile::step"];

/// What is pure, and what is pure data.
const PURE: &[&str] = &[
    "reconcile::facts",
    "reconcile::step",
    "reconcile::desired",
    "reconcile::compare",
    "reconcile::report",
    "reconcile::attempt",
    "reconcile::course",
    "reconcile::sight",
    "claims",
    "backoff",
    "conditions",
    "crd",
    "sse::inventory",
    "sse::types",
];

/// Logging an error's chain is open to all.
const FOR_ALL: &str = "telemetry::chain";

/// Other people's code that a pure file may name.
const PURE_CRATES: &[&str] =
    &["std", "core", "base64", "jiff", "secrecy", "serde", "serde_json", "sha1", "sha2", "thiserror"];

/// Names of lints, which attributes hold.
const LINTS: [&str; 2] = ["clippy", "rustdoc"];

/// The types of a condition, which are data: for these files only.
const METAV1: &str = "k8s_openapi::apimachinery::pkg::apis::meta::v1";
const MAY_NAME_METAV1: [&str; 2] = ["reconcile::report", "conditions"];

/// A pure file waits for nothing, reads no clock and rolls no dice.
const IMPURE_WORDS: &[&str] = &["async", "await", "Instant", "SystemTime"];
const IMPURE_PATHS: &[&str] = &["Timestamp::now", "Zoned::now", "std::fs", "std::net", "std::env", "std::thread"];

/// The most lines of a file, tests apart.
const LONGEST: usize = 700;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The place of a file in the table: its name there, and what it may name.
fn place(module: &[String]) -> Option<(&'static str, &'static [&'static str])> {
    let module = module.join("::");
    let fits = |name: &str| is_under(&module, name);
    MODULES.iter().filter(|(name, _)| fits(name)).max_by_key(|(name, _)| name.len()).copied()
}

fn is_under(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// What this file breaks, each with its line.
fn violations(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let mut say = |line: usize, what: String| found.push(format!("{}:{line}: {what}", source.file));
    let binary = source.file == "src/main.rs";
    let place = place(&source.module);
    if place.is_none() && !source.module.is_empty() {
        say(1, "has no place in the dependency rule: give it one in tests/it/dependency_rule.rs".to_owned());
    }
    let pure = place.is_some_and(|(_, allowed)| allowed == PURE || allowed == DECIDING);
    let bound = source.bound();
    for named in source.names() {
        match named.path {
            Target::Ours(path) => {
                let path = path.join("::");
                let name = place.map_or("", |(name, _)| name);
                let own = name.is_empty() || is_under(&path, name);
                let allowed =
                    place.into_iter().flat_map(|(_, allowed)| allowed).any(|allowed| is_under(&path, allowed));
                if is_under(&path, "main") || !(binary || own || allowed || is_under(&path, FOR_ALL)) {
                    say(named.line, format!("{name} may not name crate::{path}"));
                }
            }
            Target::Other(path) => {
                let root = path[0].as_str();
                let path = path.join("::");
                let kubernetes = matches!(root, "kube" | "k8s_openapi");
                if kubernetes && source.module.first().is_some_and(|first| first == "sse") {
                    say(named.line, format!("sse may not name {path}"));
                }
                if !pure {
                    continue;
                }
                let (name, allowed) = place.unwrap_or_default();
                let data = MAY_NAME_METAV1.contains(&name) && is_under(&path, METAV1);
                let foreign =
                    root.starts_with(|c: char| c.is_ascii_lowercase()) && !is_primitive(root) && !LINTS.contains(&root);
                let known = if allowed == DECIDING { &PURE_CRATES[..2] } else { PURE_CRATES };
                // A name that a `use` line binds was judged there.
                let local = bound.contains(root) && !kubernetes && !["tokio", "reqwest", "rand"].contains(&root);
                if foreign && !data && !known.contains(&root) && !local {
                    say(named.line, format!("{name} is pure and may not name {path}"));
                }
                if let Some(impure) = IMPURE_PATHS.iter().find(|impure| path.contains(*impure)) {
                    say(named.line, format!("{name} is pure and may not use {impure}"));
                }
            }
        }
    }
    if pure {
        for (line, word) in source.words(IMPURE_WORDS) {
            say(line, format!("{} is pure and may not use {word}", place.map_or("", |(name, _)| name)));
        }
    }
    found
}

fn is_primitive(word: &str) -> bool {
    let number = word.strip_prefix(['u', 'i', 'f']).is_some_and(|width| width == "size" || width.parse::<u8>().is_ok());
    number || matches!(word, "str" | "char" | "bool")
}

#[test]
fn every_file_names_only_what_stands_below_it() {
    let mut sources = reached(repository(), "src/lib.rs");
    sources.extend(reached(repository(), "src/main.rs"));
    let broken: Vec<String> = sources.iter().filter(|source| !source.for_tests).flat_map(violations).collect();
    assert!(broken.is_empty(), "the dependency rule is broken:\n{}", broken.join("\n"));
}

#[test]
fn the_sandbox_imports_nothing_of_the_operator() {
    let mut broken = Vec::new();
    for file in files("sandbox") {
        let text = std::fs::read_to_string(repository().join(&file)).unwrap();
        for (line, _) in source(&file, &[], false, &text).0.words(&["mfa_operator"]) {
            broken.push(format!("{file}:{line}: the sandbox may not name mfa_operator"));
        }
    }
    let manifest = std::fs::read_to_string(repository().join("sandbox/Cargo.toml")).unwrap();
    for (number, line) in manifest.lines().enumerate() {
        if line.split(['=', '.']).next().is_some_and(|name| name.trim() == "mfa-operator") {
            broken.push(format!("sandbox/Cargo.toml:{}: the sandbox may not depend on mfa-operator", number + 1));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_file_is_reached_by_a_mod_line() {
    let roots = [
        ("tests/it", &["tests/it/main.rs"][..]),
        ("tests/model", &["tests/model/main.rs"]),
        ("src", &["src/lib.rs", "src/main.rs"]),
    ];
    for (folder, roots) in roots {
        let reached: BTreeSet<String> =
            roots.iter().flat_map(|root| reached(repository(), root)).map(|source| source.file).collect();
        let lost: Vec<String> = files(folder).into_iter().filter(|file| !reached.contains(file)).collect();
        assert!(lost.is_empty(), "no `mod` line reaches these, so nothing compiles them: {lost:#?}");
    }
}

#[test]
fn no_file_is_longer_than_a_reader_bears() {
    let sources = reached(repository(), "src/lib.rs");
    let long: Vec<String> = sources
        .iter()
        .filter(|source| !source.for_tests && source.lines > LONGEST)
        .map(|source| format!("{}: {} lines, tests apart; at most {LONGEST}", source.file, source.lines))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// Every Rust file below this folder, sorted, as a path from the repository's root.
fn files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(repository().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&path));
        } else if Path::new(&path).extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What a file of this module and text breaks.
fn planted(module: &str, text: &str) -> Vec<String> {
    let module: Vec<String> = module.split("::").map(str::to_owned).collect();
    violations(&source("planted.rs", &module, false, text).0)
}

#[test]
fn a_planted_violation_is_found_with_its_line() {
    for (module, text, expected) in [
        (
            "reconcile::facts",
            "use super::desired::Desired;",
            "1: reconcile::facts may not name crate::reconcile::desired::Desired",
        ),
        ("reconcile::step", "//! x\n\nuse crate::crd;", "3: reconcile::step may not name crate::crd"),
        ("reconcile::step", "use serde::Serialize;", "1: reconcile::step is pure and may not name serde::Serialize"),
        ("reconcile::report", "\nasync fn f() {}", "2: reconcile::report is pure and may not use async"),
        (
            "reconcile::report",
            "use k8s_openapi::api::core::v1::Secret;",
            "1: reconcile::report is pure and may not name k8s_openapi::api::core::v1::Secret",
        ),
        (
            "reconcile::desired",
            "use kube::{Client, api::Patch};",
            "1: reconcile::desired is pure and may not name kube::Client",
        ),
        (
            "reconcile::desired",
            "fn f() { let c = kube::Client::x(); }",
            "1: reconcile::desired is pure and may not name kube::Client::x",
        ),
        (
            "reconcile::compare",
            "use crate::{\n    crd,\n    sse::{\n        types::Remote,\n        budget::Permit,\n    },\n};",
            "5: reconcile::compare may not name crate::sse::budget::Permit",
        ),
        ("reconcile::compare", "use super::pass;", "1: reconcile::compare may not name crate::reconcile::pass"),
        (
            "reconcile::attempt",
            "fn f() { rand::random::<u64>(); }",
            "1: reconcile::attempt is pure and may not name rand::random",
        ),
        ("backoff", "use tokio::time::Duration;", "1: backoff is pure and may not name tokio::time::Duration"),
        ("backoff", "fn f() { std::time::Instant::now(); }", "1: backoff is pure and may not use Instant"),
        (
            "claims",
            "use jiff::Timestamp;\nfn f() { Timestamp::now(); }",
            "2: claims is pure and may not use Timestamp::now",
        ),
        ("claims", "use reqwest::Url;", "1: claims is pure and may not name reqwest::Url"),
        ("sse::lists", "use kube::Client;", "1: sse may not name kube::Client"),
        ("sse::error::decode", "fn f() -> crate::crd::Folder { g() }", "1: sse may not name crate::crd::Folder"),
        ("sse::lists", "use super::super::reconcile::pass;", "1: sse may not name crate::reconcile::pass"),
        ("crd::vendor", "use crate::sse::types::Folder;", "1: crd may not name crate::sse::types::Folder"),
        ("reconcile::pass", "use crate::controller;", "1: reconcile may not name crate::controller"),
        ("controller", "use crate::run::Start;", "1: controller may not name crate::run::Start"),
        ("run", "use crate::main;", "1: run may not name crate::main"),
        ("novelty", "", "1: has no place in the dependency rule: give it one in tests/it/dependency_rule.rs"),
    ] {
        let found = planted(module, text);
        assert!(found.contains(&format!("planted.rs:{expected}")), "{module}: {text:?} gives {found:#?}");
    }
}

#[test]
fn what_is_allowed_and_what_only_looks_like_a_violation_passes() {
    for (module, text) in [
        (
            "reconcile::facts",
            "use super::step::Verdict;\nuse std::fmt;\nfn f() { u32::from(1u8); fmt::Error; Step::Done }",
        ),
        ("reconcile::report", "use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};"),
        ("reconcile::report", "use crate::conditions::{self, current};\nfn f() { conditions::find() }"),
        ("reconcile::desired", "// use kube::Client;\n/* tokio::spawn */ const A: &str = \"kube::Client async\";"),
        (
            "reconcile::desired",
            "const A: &str = r#\"tokio::x \" kube::y\"#; const B: char = '\"'; fn f<'a>(x: &'a str) {}",
        ),
        ("sse::lists", "use crate::telemetry::chain;\nuse super::client::Client;"),
        ("sse::lists", "#[cfg(test)]\nmod tests {\n    use kube::Client;\n}\nfn f() {}"),
        ("backoff", "use crate::reconcile::facts::Class;\nuse std::time::Duration;"),
    ] {
        assert_eq!(planted(module, text), [""; 0], "{module}: {text}");
    }
}

#[test]
fn lines_of_tests_do_not_count() {
    let text = "fn f() {}\n\n#[cfg(test)]\nmod tests {\n    fn g() {}\n}\nfn h() {}\n";
    assert_eq!(source("planted.rs", &[], false, text).0.lines, 3);
}
