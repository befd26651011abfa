//! The documents against the code: what they name exists, what exists is named, and the figures are those in force.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use clap::CommandFactory as _;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use mfa_operator::{
    args::Arguments,
    backoff,
    conditions::{self, READY, RECONCILING, STALLED},
    crd::{self, MfaServer, MfaServerStatus},
    reconcile::{
        facts::Class,
        report::{Cause, Known, Object, report},
        step::Verdict,
    },
    sse::{
        self, Method, Reason,
        error::{Class as SseClass, classify},
    },
};
use serde_json::Value;

use crate::harness;

const CONDITIONS: &str = "docs/conditions.md";
const OPERATIONS: &str = "docs/operations.md";

// ---- reading ----------------------------------------------------------------------------------------------------------

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: impl AsRef<Path>) -> String {
    let file = root().join(file);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The files that git tracks.
fn tracked() -> Vec<PathBuf> {
    let output = Command::new("git").arg("-C").arg(root()).args(["ls-files", "-z"]).output();
    let output = output.expect("this test asks git for the files of the repository: install git");
    assert!(output.status.success(), "this test needs the repository, not a copy of its files: {output:?}");
    let names = String::from_utf8(output.stdout).unwrap();
    // What is deleted and not yet committed is tracked too.
    names
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        .filter(|file| root().join(file).exists())
        .collect()
}

/// The documents that are written by hand, and those that are not.
fn documents() -> Vec<PathBuf> {
    let documents: Vec<_> =
        tracked().into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "md")).collect();
    assert!(documents.len() > 10, "{documents:?}");
    documents
}

/// The cells of the table whose head is this, row by row.
fn table(page: &str, head: &str) -> Vec<Vec<String>> {
    let mut lines = page.lines().skip_while(|line| !line.starts_with(head));
    assert!(lines.next().is_some(), "there is no table that begins with {head:?}");
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The blocks of code in this language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let (mut blocks, mut open) = (Vec::new(), None::<String>);
    for line in page.lines() {
        match (&mut open, line.trim_start()) {
            (None, fence) if fence == format!("```{language}") => open = Some(String::new()),
            (Some(_), "```") => blocks.extend(open.take()),
            (Some(block), _) => {
                block.push_str(line);
                block.push('\n');
            }
            _ => {}
        }
    }
    blocks
}

// ---- conditions.md ------------------------------------------------------------------------------------------------------

#[test]
fn every_reason_of_the_code_is_explained_and_every_explained_reason_is_in_the_code() {
    let page = read(CONDITIONS);
    let rows = |head| -> Vec<String> { table(&page, head).iter().flat_map(|row| quoted(&row[0])).collect() };
    let sorted = |mut reasons: Vec<String>| {
        reasons.sort();
        reasons
    };
    let own = rows("| reason | meaning | what to do | next try |");
    assert_eq!(sorted(own), sorted(conditions::reason::ALL.iter().map(ToString::to_string).collect()));
    let of_the_api = rows("| reason | HTTP | meaning | what to do |");
    assert_eq!(sorted(of_the_api), sorted(Reason::ALL.iter().map(ToString::to_string).collect()));
}

#[test]
fn a_reason_that_the_readme_names_is_in_the_code() {
    let known: BTreeSet<String> = Reason::ALL
        .iter()
        .map(ToString::to_string)
        .chain(conditions::reason::ALL.iter().map(ToString::to_string))
        .collect();
    let rows = table(&read("README.md"), "| reason | what it means | what to do |");
    let named: Vec<String> = rows.iter().flat_map(|row| quoted(&row[0])).collect();
    assert!(named.len() > 10, "{named:?}");
    assert_eq!(named.iter().filter(|reason| !known.contains(*reason)).collect::<Vec<_>>(), Vec::<&String>::new());
}

fn facts_class(class: SseClass) -> Class {
    match class {
        SseClass::Credential => Class::Credential,
        SseClass::Forbidden => Class::Forbidden,
        SseClass::Input => Class::Input,
        SseClass::Conflict => Class::Conflict,
        SseClass::Referenced => Class::Referenced,
        SseClass::Throttled => Class::Throttled,
        SseClass::Busy => Class::Busy,
        SseClass::Server => Class::Server,
    }
}

/// A row of the table of classes.
struct Row {
    class: Class,
    repeated: bool,
    reasons: BTreeSet<String>,
    ready: String,
    kstatus: String,
    first: String,
    last: String,
}

fn classes() -> Vec<Row> {
    let page = read(CONDITIONS);
    let rows = table(&page, "| class | reasons | Ready | kstatus | first | last |");
    let row = |cells: Vec<String>| {
        let [name, reasons, ready, kstatus, first, last] = <[String; 6]>::try_from(cells).unwrap();
        let (name, repeated) = name.split_once(',').map_or((&*name, false), |(name, _)| (name, true));
        let class = [
            Class::Credential,
            Class::Forbidden,
            Class::Input,
            Class::Conflict,
            Class::Referenced,
            Class::Throttled,
            Class::Busy,
            Class::Server,
        ];
        let class = class.into_iter().find(|class| format!("{class:?}") == name);
        let class = class.unwrap_or_else(|| panic!("there is no class {name:?}"));
        Row { class, repeated, reasons: quoted(&reasons).into_iter().collect(), ready, kstatus, first, last }
    };
    rows.into_iter().map(row).collect()
}

#[test]
fn the_table_of_classes_holds_every_reason_in_its_class() {
    let rows = classes();
    for class in [
        SseClass::Credential,
        SseClass::Forbidden,
        SseClass::Input,
        SseClass::Conflict,
        SseClass::Referenced,
        SseClass::Throttled,
        SseClass::Busy,
        SseClass::Server,
    ] {
        let mut wanted = BTreeSet::new();
        for reason in Reason::ALL {
            let ways = Method::ALL.into_iter().flat_map(|method| [None, Some(501)].map(|status| (method, status)));
            if ways.into_iter().any(|(method, status)| classify(method, reason, status) == class) {
                wanted.insert(reason.to_string());
            }
        }
        let row = rows.iter().find(|row| row.class == facts_class(class) && !row.repeated);
        assert_eq!(row.unwrap_or_else(|| panic!("no row for {class:?}")).reasons, wanted, "{class:?}");
    }
}

/// `10 min, at most resync`: the least of what is named.
fn duration(cell: &str, resync: Duration) -> Duration {
    let part = |part: &str| match part.trim().split_once(' ') {
        None if part.trim() == "resync" => resync,
        Some((number, "s")) => Duration::from_secs(number.parse().unwrap()),
        Some((number, "min")) => Duration::from_mins(number.parse().unwrap()),
        _ => panic!("{cell:?} is no delay"),
    };
    cell.split(", at most ").map(part).min().unwrap()
}

#[test]
fn the_delays_of_the_table_are_those_in_force() {
    let rows = classes();
    assert_eq!(rows.len(), 9);
    for resync in [Duration::from_mins(1), Duration::from_mins(10), Duration::from_hours(6)] {
        for row in &rows {
            let same = if row.repeated { backoff::SAME_SERVER_ERROR_LIMIT } else { 1 };
            let delay = |failures| backoff::delay(row.class, failures, same, resync, None);
            let stated = (duration(&row.first, resync), duration(&row.last, resync));
            assert_eq!((delay(1), delay(1000)), stated, "{:?} with a resync of {resync:?}", row.class);
        }
    }
}

#[test]
fn a_refusal_makes_of_ready_and_kstatus_what_the_table_says() {
    for row in classes() {
        let (ready, kind) = reported(&row);
        assert_eq!((ready, kind), (&*row.ready, row.kstatus.clone()), "{:?}", row.class);
    }
}

/// What the status of a Ready resource says after such a refusal.
fn reported(row: &Row) -> (&'static str, String) {
    let now = Timestamp::UNIX_EPOCH;
    let was = Condition {
        type_: READY.to_owned(),
        status: "True".to_owned(),
        reason: conditions::reason::AVAILABLE.to_owned(),
        message: String::new(),
        observed_generation: Some(1),
        last_transition_time: Time(now),
    };
    let previous = MfaServerStatus { conditions: vec![was], ..MfaServerStatus::default() };
    let known = Known {
        generation: 1,
        previous: &previous,
        verdict: Verdict::Refused(row.class),
        cause: Cause { reason: "Reason", message: "Sentence.".to_owned(), error: None },
        repeated: row.repeated,
        stale: false,
        differs: false,
        equals: false,
        authenticated: None,
        object: Object::default(),
        attempt: None,
        wrote: false,
        drift: Vec::new(),
        observed_secrets: Vec::new(),
        handled: None,
        now,
    };
    let status = report(&known).0;
    let ready = match &*conditions::find(&status.conditions, READY).unwrap().status {
        "True" => "as it was",
        "False" => "False",
        other => panic!("{other}"),
    };
    let kstatus: Vec<&str> = [RECONCILING, STALLED]
        .into_iter()
        .filter(|kind| conditions::find(&status.conditions, kind).is_some_and(|condition| condition.status == "True"))
        .collect();
    (ready, kstatus.join(" "))
}

#[test]
fn the_count_of_equal_errors_is_the_one_in_the_table() {
    assert_eq!(backoff::SAME_SERVER_ERROR_LIMIT, 5, "{CONDITIONS} says five");
}

#[test]
fn every_field_of_the_status_is_explained() {
    let schema = serde_json::to_value(crd::crd()).unwrap();
    let status = &schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"];
    let page = read(CONDITIONS);
    let explained: BTreeSet<String> =
        table(&page, "| field | meaning |").iter().flat_map(|row| quoted(&row[0])).collect();
    for field in status.as_object().unwrap().keys() {
        let elsewhere = ["conditions", "observedGeneration"].contains(&&**field);
        assert_eq!(explained.contains(field), !elsewhere, "{field}");
    }
}

// ---- operations.md ------------------------------------------------------------------------------------------------------

#[test]
fn every_flag_is_listed_with_its_variable_and_its_default_and_every_listed_flag_exists() {
    let mut command = Arguments::command();
    command.build();
    let run = command.find_subcommand("run").unwrap();
    let flags: Vec<Vec<String>> = run
        .get_arguments()
        .filter(|flag| !["help", "version"].contains(&flag.get_id().as_str()))
        .map(|flag| {
            let shown = |text: &str| format!("`{text}`");
            let name = shown(&format!("--{}", flag.get_long().unwrap()));
            let variable = shown(flag.get_env().unwrap().to_str().unwrap());
            let default = match flag.get_default_values() {
                [value] if flag.get_action().takes_values() => shown(value.to_str().unwrap()),
                _ => "off".to_owned(),
            };
            vec![name, variable, default]
        })
        .collect();
    let mut listed = table(&read(OPERATIONS), "| flag | variable | default | meaning |");
    let texts: Vec<String> = listed.iter_mut().map(|row| row.split_off(3).join(" ")).collect();
    let sorted = |mut rows: Vec<Vec<String>>| {
        rows.sort();
        rows
    };
    assert!(flags.len() > 5);
    assert_eq!(sorted(listed), sorted(flags));
    assert!(texts.iter().all(|text| !text.is_empty()));
}

#[test]
fn every_flag_and_variable_that_a_document_names_exists() {
    let mut command = Arguments::command();
    command.build();
    let run = command.find_subcommand("run").unwrap();
    let flags: BTreeSet<&str> = run.get_arguments().filter_map(clap::Arg::get_long).collect();
    let variables: BTreeSet<&str> = run.get_arguments().filter_map(|flag| flag.get_env()?.to_str()).collect();
    for document in documents() {
        for code in quoted(&read(&document).replace("```", "")) {
            let Some(word) = code.split([' ', '=']).next() else { continue };
            // kubectl's and helm's.
            let theirs = ["wait", "field-selector", "set", "reuse-values", "reset-then-reuse-values"];
            let ours = |name: &str| flags.contains(name) || theirs.contains(&name);
            if let Some(flag) = word.strip_prefix("--").filter(|_| !code.contains('\n')) {
                assert!(ours(flag), "{}: there is no flag {word}", document.display());
            }
            if word.starts_with("MFA_OPERATOR_") && !word.ends_with(['_', '*']) {
                assert!(variables.contains(word), "{}: there is no variable {word}", document.display());
            }
        }
    }
}

#[test]
fn every_annotation_that_a_document_names_is_one_of_the_operators() {
    let known = [
        crd::ANNOTATION_ATTEMPT,
        crd::ANNOTATION_RECONCILE_REQUESTED_AT,
        crd::ANNOTATION_FORCE_DELETE,
        crd::ANNOTATION_ID,
        crd::FINALIZER,
        // The API version.
        concat!("sse.mfa-operator.io", "/v1alpha1"),
    ];
    let mut named = BTreeSet::new();
    for document in documents() {
        let page = read(&document);
        for (at, prefix) in page.match_indices("sse.mfa-operator.io/") {
            let rest = &page[at + prefix.len()..];
            let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-').unwrap_or(rest.len());
            let annotation = format!("{prefix}{}", &rest[..end]);
            assert!(known.contains(&&*annotation), "{}: {annotation}", document.display());
            named.insert(annotation);
        }
    }
    let verbs = [crd::ANNOTATION_RECONCILE_REQUESTED_AT, crd::ANNOTATION_FORCE_DELETE, crd::ANNOTATION_ID];
    let commands = blocks(&read(OPERATIONS), "console").concat();
    for verb in verbs {
        assert!(named.contains(verb), "{verb}");
        assert!(commands.contains(&format!(" {verb}=")), "no command shows how to set {verb}");
    }
}

// ---- README, CHANGELOG, all documents -----------------------------------------------------------------------------------

#[test]
fn the_manifests_of_the_readme_are_read_without_a_loss() {
    let manifests: Vec<Value> = blocks(&read("README.md"), "yaml")
        .iter()
        .flat_map(|block| block.split("---\n"))
        .map(|text| serde_saphyr::from_str(text).unwrap())
        .collect();
    let servers: Vec<&Value> = manifests.iter().filter(|manifest| manifest["kind"] == "MfaServer").collect();
    assert!(!servers.is_empty());
    for server in servers {
        let parsed: MfaServer = serde_json::from_value(server.clone()).unwrap();
        assert_holds(&serde_json::to_value(parsed).unwrap(), server, "");
    }
}

/// Fails unless all of `wanted` is in `found`: a field that nobody knows is dropped in silence.
fn assert_holds(found: &Value, wanted: &Value, path: &str) {
    match wanted {
        Value::Object(fields) => {
            for (name, value) in fields {
                assert_holds(&found[name], value, &format!("{path}.{name}"));
            }
        }
        _ => assert_eq!(found, wanted, "{path}"),
    }
}

#[tokio::test]
async fn the_manifests_of_the_documents_are_accepted() {
    let namespace = harness::namespace().await;
    for document in documents() {
        for manifest in blocks(&read(&document), "yaml") {
            let answer =
                namespace.kubectl_with(&["apply", "--validate=strict", "--dry-run=server", "-f", "-"], &manifest);
            let answer = answer.await;
            assert!(answer.ok, "{}: {answer:?}\n{manifest}", document.display());
        }
    }
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'))
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

#[test]
fn every_link_into_the_repository_leads_somewhere() {
    let mut links = 0;
    for document in documents() {
        let page = read(&document);
        let folder = document.parent().unwrap();
        for target in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, place) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { root().join(&document) } else { root().join(folder).join(file) };
            assert!(path.exists(), "{}: {target} is not there", document.display());
            if !place.is_empty() {
                let headings = std::fs::read_to_string(&path).unwrap();
                let mut headings = headings.lines().filter(|line| line.starts_with('#'));
                assert!(
                    headings.any(|heading| anchor(heading) == place),
                    "{}: {target}: no heading",
                    document.display()
                );
            }
            links += 1;
        }
    }
    assert!(links > 20, "{links} links");
}

/// The tests of a file of Rust: functions with an attribute that makes one of them, and those within `proptest!`.
fn tests_of(code: &str) -> BTreeSet<String> {
    let (mut found, mut marked) = (BTreeSet::new(), false);
    for line in code.lines().map(str::trim_start) {
        if line.starts_with("#[") {
            marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        } else if let Some(rest) = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "))
            && std::mem::take(&mut marked)
        {
            found.insert(rest.split('(').next().unwrap_or_default().to_owned());
        }
    }
    found
}

#[test]
fn every_claim_of_the_page_on_security_is_held_by_a_test_that_exists() {
    let page = read("docs/security.md");
    let (mut claims, mut tests) = (0, 0);
    for row in page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| claim ")) {
        let (claim, held_by) = row.trim_matches('|').rsplit_once(" | ").unwrap_or_else(|| panic!("{row}"));
        assert!(claim.trim().ends_with('.'), "{claim}: a claim is a sentence");
        let named = quoted(held_by);
        assert!(!named.is_empty(), "{claim}: no test holds it");
        for test in named {
            let (file, name) = test.split_once("::").unwrap_or_else(|| panic!("{claim}: {test} is no file::test"));
            assert!(tests_of(&read(file)).contains(name), "{claim}: {file} has no test {name}");
            tests += 1;
        }
        claims += 1;
    }
    assert!(claims >= 30 && tests >= 40, "{claims} claims, {tests} tests");
    // And every table is one of claims, so that none stands there without a test.
    let heads = page.lines().filter(|line| line.starts_with("|---")).count();
    assert_eq!(heads, page.lines().filter(|line| *line == "| claim | held by |").count());
}

#[test]
fn the_changelog_has_a_place_for_what_is_not_released() {
    let page = read("CHANGELOG.md");
    let sections: Vec<&str> = page.lines().filter(|line| line.starts_with("## ")).collect();
    assert_eq!(sections.first(), Some(&"## [Unreleased]"));
}

#[test]
fn every_target_that_a_document_names_is_in_the_makefile() {
    let makefile = read("Makefile");
    for document in documents() {
        for code in quoted(&read(&document).replace("```", "")) {
            let Some(target) = code.trim_start_matches("KEEP=1 ").strip_prefix("make ") else { continue };
            let target = target.split_whitespace().next().unwrap();
            assert!(makefile.contains(&format!("\n{target}:")), "{}: make {target}", document.display());
        }
    }
}

#[test]
fn no_file_names_a_folder_of_the_machine_that_it_was_written_on() {
    // In pieces, for this file is read too.
    let folders = ["work", "root"].map(|name| format!("/{name}/"));
    for file in tracked() {
        // What is no text names nothing.
        let Ok(text) = std::fs::read_to_string(root().join(&file)) else { continue };
        for (number, line) in text.lines().enumerate() {
            let named = folders.iter().find(|folder| line.contains(&***folder));
            assert_eq!(named, None, "{}:{}: {line}", file.display(), number + 1);
        }
    }
}

/// The default address of the API is told in two places.
#[test]
fn the_commands_that_push_go_to_the_address_of_the_api() {
    let page = read(OPERATIONS);
    let commands = blocks(&page, "console").concat();
    assert!(
        commands.contains(&format!("{}/sse/config/v1/config-versions/candidate:push", sse::client::DEFAULT_API_URL))
    );
}
