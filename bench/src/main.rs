//! `make bench`: what the operator costs and how fast it is, each figure with its goal beside it.
//!
//! The operator is a process of its own, from the release build that an image would hold. Its judges are others: the
//! simulator's log counts what the tenant was asked, the API server's audit log what the cluster was, and /proc what the
//! process used. `BENCH_QUICK=1` runs all of it with few resources, so that the tests can tell that it still works.

mod bare;
mod counts;
mod growth;
mod latency;
mod leader;
mod limits;
mod load;
mod mended;
mod plot;
mod process;
mod report;
mod speed;
mod stage;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use report::Report;

/// What goes wrong ends the run.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Writes to standard output.
pub(crate) fn out(text: &str) -> Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// Tells whoever waits how far it is.
pub(crate) fn say(text: &str) {
    // Nobody is left to tell when this fails.
    let _ = writeln!(std::io::stderr(), "bench: {text}");
}

/// Milliseconds, for a table.
pub(crate) fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

/// Seconds, for a table.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

/// The middle one, or the mean of the two.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// How much is measured.
pub(crate) struct Scale {
    pub(crate) quick: bool,
    /// Resources of a small measurement.
    pub(crate) small: usize,
    /// Resources of the comparison with the bare loop, and how many pairs.
    pub(crate) pairs: (usize, usize),
    /// The numbers of resources at which growth is looked at.
    pub(crate) growth: Vec<usize>,
    /// Resources that wait for a throttled tenant.
    pub(crate) storm: usize,
    /// Applies, ten a second.
    pub(crate) applies: usize,
}

impl Scale {
    fn full() -> Self {
        let growth = vec![100, 1000, 3000, 10_000];
        Self { quick: false, small: 200, pairs: (1000, 5), growth, storm: 300, applies: 400 }
    }

    fn quick() -> Self {
        Self { quick: true, small: 20, pairs: (20, 1), growth: vec![20, 40], storm: 20, applies: 20 }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    // Fails only where somebody else was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["bare-loop"] => bare::run().await,
        ["load", "tenant", count] => match count.parse() {
            Ok(count) => load::tenant(count).await,
            Err(error) => Err(Error::from(error)),
        },
        ["load", "cluster"] => load::cluster().await,
        parts => run(parts).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let causes = std::iter::successors(error.source(), |error| error.source());
            say(&causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}")));
            ExitCode::FAILURE
        }
    }
}

/// The measurements, in their order; their names select some of them.
const PARTS: [&str; 7] = ["counts", "growth", "speed", "limits", "latency", "mended", "leader"];

async fn run(parts: &[&str]) -> Result<()> {
    if let Some(unknown) = parts.iter().find(|part| !PARTS.contains(part)) {
        return Err(format!("there is no {unknown:?}: name some of {}, or none for all", PARTS.join(", ")).into());
    }
    let quick = std::env::var_os("BENCH_QUICK").is_some_and(|value| !value.is_empty() && value != "0");
    let mut scale = if quick { Scale::quick() } else { Scale::full() };
    if let Ok(numbers) = std::env::var("BENCH_GROWTH") {
        scale.growth = numbers.split(',').map(str::parse).collect::<Result<_, _>>()?;
    }
    let wanted = |part: &str| parts.is_empty() || parts.contains(&part);
    process::operator_binary()?;
    let (begun, machine) = (Instant::now(), process::machine()?);
    let mut report = Report::default();
    let mut plots = Vec::new();
    if wanted("counts") {
        counts::measure(&scale, &mut report).await?;
    }
    if wanted("growth") {
        plots.extend(growth::measure(&scale, &mut report).await?);
    }
    if wanted("speed") {
        speed::measure(&scale, &mut report).await?;
    }
    if wanted("limits") {
        plots.extend(limits::measure(&scale, &mut report).await?);
    }
    if wanted("latency") {
        latency::measure(&scale, &mut report).await?;
    }
    if wanted("mended") {
        mended::measure(&scale, &mut report).await?;
    }
    if wanted("leader") {
        leader::measure(&scale, &mut report).await?;
    }
    let when = jiff::Timestamp::now().strftime("%Y-%m-%d");
    let text = format!(
        "Measured on {when}, in {:.0} s, on {machine}.\n\n{}{}",
        begun.elapsed().as_secs_f64(),
        report.table(),
        report.after
    );
    out(&text)?;
    // A part of it, or a quick run, is no page.
    if let Some(page) = std::env::var_os("BENCH_PAGE").map(PathBuf::from).filter(|_| parts.is_empty()) {
        let folder = page.with_extension("");
        std::fs::create_dir_all(&folder)?;
        for (name, plot) in &plots {
            std::fs::write(folder.join(format!("{name}.svg")), plot.svg())?;
        }
        report::write_page(&page, text.trim_end())?;
        say(&format!("{} is written", page.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle_one_or_the_mean_of_two() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }
}
