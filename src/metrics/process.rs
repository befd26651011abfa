//! What Prometheus clients tell of their own process, under the names that all of them use.
//!
//! # Assumptions
//! - Linux, whose `/proc` is read when somebody scrapes. Where it is not there, only the time of the start is told.

use std::fmt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

#[cfg(test)]
mod tests;

/// How many parts of a second `/proc` counts: the same on all platforms of Linux, whatever the kernel uses inside.
const TICKS: f64 = 100.0;

/// This process.
#[derive(Debug)]
pub(super) struct Process {
    folder: PathBuf,
    started: f64,
}

impl Process {
    /// The running process, which begins about now.
    pub(super) fn this() -> Self {
        Self::at(PathBuf::from("/proc/self"))
    }

    /// What Linux would tell of a process whose name is meant to mislead.
    #[cfg(test)]
    pub(super) fn example() -> Self {
        Self::at(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/metrics/process/proc"))
    }

    fn at(folder: PathBuf) -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Self { folder, started }
    }

    fn read(&self, file: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.join(file)).ok()
    }

    /// Seconds of processor time, the kernel's for this process included.
    fn cpu(&self) -> Option<f64> {
        // The second field is the program's name in parentheses, which may hold anything; the third comes after it.
        let stat = self.read("stat")?;
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<u32>().ok().map(f64::from);
        Some((ticks()? + ticks()?) / TICKS)
    }

    /// Bytes of memory that are not swapped out.
    fn resident(&self) -> Option<u64> {
        let status = self.read("status")?;
        let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?;
        kibibytes.parse::<u64>().ok()?.checked_mul(1024)
    }

    fn open_files(&self) -> Option<u64> {
        u64::try_from(std::fs::read_dir(self.folder.join("fd")).ok()?.count()).ok()
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut tell = |name: &str, help: &str, unit: Option<&Unit>, kind: MetricType, metric: &dyn Tell| {
            metric.tell(encoder.encode_descriptor(name, help, unit, kind)?)
        };
        if let Some(cpu) = self.cpu() {
            let help = "Processor time that this process has used, in user and kernel mode.";
            tell("process_cpu", help, Some(&Unit::Seconds), MetricType::Counter, &ConstCounter::new(cpu))?;
        }
        if let Some(resident) = self.resident() {
            let help = "Memory of this process that is not swapped out.";
            tell("process_resident_memory", help, Some(&Unit::Bytes), MetricType::Gauge, &ConstGauge::new(resident))?;
        }
        if let Some(files) = self.open_files() {
            let help = "Files and connections that this process has open.";
            tell("process_open_fds", help, None, MetricType::Gauge, &ConstGauge::new(files))?;
        }
        let help = "When this process started, since 1970 in UTC.";
        tell("process_start_time", help, Some(&Unit::Seconds), MetricType::Gauge, &ConstGauge::new(self.started))
    }
}

/// A metric of whatever type, as its own encoding takes it.
trait Tell {
    fn tell(&self, encoder: prometheus_client::encoding::MetricEncoder<'_>) -> fmt::Result;
}

impl<M: EncodeMetric> Tell for M {
    fn tell(&self, encoder: prometheus_client::encoding::MetricEncoder<'_>) -> fmt::Result {
        self.encode(encoder)
    }
}
