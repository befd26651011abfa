//! Rows with their goals, as a Markdown table; and the page that holds it.

use std::fmt::Write as _;
use std::path::Path;

use crate::Result;

const BEGIN: &str = "<!-- bench: begin -->";
const END: &str = "<!-- bench: end -->";

/// Whether a goal is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    Missed,
    NotMeasured,
    /// There is no goal: it says how to read another row.
    Told,
}

/// A line of the table.
pub(crate) struct Row {
    what: String,
    goal: String,
    measured: String,
    verdict: Verdict,
}

/// What a run has found so far.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    pub(crate) after: String,
}

impl Report {
    /// A row with a goal.
    pub(crate) fn goal(&mut self, what: &str, goal: &str, measured: impl Into<String>, met: bool) {
        let verdict = if met { Verdict::Met } else { Verdict::Missed };
        self.push(what, goal, measured.into(), verdict);
    }

    /// A row that says how to read others.
    pub(crate) fn told(&mut self, what: &str, measured: impl Into<String>) {
        self.push(what, "", measured.into(), Verdict::Told);
    }

    /// A row that could not be measured here.
    pub(crate) fn not_measured(&mut self, what: &str, goal: &str, why: impl Into<String>) {
        self.push(what, goal, why.into(), Verdict::NotMeasured);
    }

    fn push(&mut self, what: &str, goal: &str, measured: String, verdict: Verdict) {
        crate::say(&format!("{what}: {measured} ({verdict:?})"));
        self.rows.push(Row { what: what.to_owned(), goal: goal.to_owned(), measured, verdict });
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let mut table = "| what | goal | measured | |\n|---|---|---|---|\n".to_owned();
        for row in &self.rows {
            let verdict = match row.verdict {
                Verdict::Met => "met",
                Verdict::Missed => "**missed**",
                Verdict::NotMeasured => "not measured",
                Verdict::Told => "",
            };
            let _ = writeln!(table, "| {} | {} | {} | {verdict} |", row.what, row.goal, row.measured);
        }
        table
    }
}

/// Puts the text between the page's markers.
pub(crate) fn write_page(page: &Path, text: &str) -> Result<()> {
    let old = std::fs::read_to_string(page)?;
    let (before, rest) = old.split_once(BEGIN).ok_or("the page has lost its first marker")?;
    let (_, after) = rest.split_once(END).ok_or("the page has lost its second marker")?;
    Ok(std::fs::write(page, format!("{before}{BEGIN}\n{text}\n{END}{after}"))?)
}
