//! The bench itself, with few resources: it must not rot between two releases. The counts have to be exact; the times are
//! those of a machine that does other things too, so nothing is asked of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::process::Command;

/// The rows that count, by what they begin with: they hold on any machine.
const EXACT: [&str; 10] = [
    "| SSE calls for 20 new resources in 2 folders |",
    "| Kubernetes writes for 20 new resources |",
    "| the same, where a POST answers without a body |",
    "| one resync of 40 (1 credential, 10 vendor Secrets): calls |",
    "| one resync of 40 (1 credential, 10 vendor Secrets): Kubernetes writes |",
    "| restart with 40 synced: calls |",
    "| restart with 40 synced: Kubernetes writes |",
    "| calls before their Retry-After (--api-qps 0) |",
    "| calls before their Retry-After (--api-qps 20, the default) |",
    "| a credential of 20 resources is refused: calls until all say so |",
];
/// All rows, these included.
const ROWS: usize = 33;

#[test]
fn a_quick_run_completes_and_its_counts_are_exact() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("performance.md");
    std::fs::write(&page, "before\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nafter\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_mfa-bench"))
        .env("BENCH_QUICK", "1")
        .env("BENCH_PAGE", &page)
        .output()
        .expect("the bench's process");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success(),
        "the bench needs `make tools` and the operator's binary beside its own:\n{stderr}"
    );
    let rows: Vec<&str> =
        stdout.lines().filter(|line| line.ends_with(" |") && line.split(" | ").count() >= 4).collect();
    for exact in EXACT {
        let row = rows.iter().find(|row| row.starts_with(exact));
        let row = row.unwrap_or_else(|| panic!("no row {exact}\n{stdout}"));
        assert!(row.ends_with("| met |"), "{row}\n{stderr}");
    }
    let judged =
        |row: &&&str| ["| met |", "| **missed** |", "| not measured |", "|  |"].iter().any(|end| row.ends_with(end));
    assert_eq!(rows.iter().filter(judged).count(), ROWS, "{stdout}");

    let written = std::fs::read_to_string(&page).unwrap();
    assert!(
        written.starts_with("before\n<!-- bench: begin -->\n") && written.ends_with("<!-- bench: end -->\nafter\n")
    );
    assert!(written.contains(EXACT[0]) && !written.contains("\nold\n"), "{written}");
    for plot in ["time", "memory", "calls", "storm"] {
        let svg = std::fs::read_to_string(folder.path().join("performance").join(format!("{plot}.svg"))).unwrap();
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{plot}: {svg}");
    }
}
