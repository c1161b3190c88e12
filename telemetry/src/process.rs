//! The process's own figures, from `/proc/self`, under the names that Prometheus' client libraries use.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// Reads the process's own figures when it is asked.
#[derive(Debug)]
pub struct ProcessCollector;

/// The process's own figures.
#[derive(Clone, Copy, Debug)]
pub struct ProcessFigures {
    /// User and system time, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory, in bytes.
    pub resident_bytes: i64,
    /// Open files.
    pub open_files: i64,
}

impl ProcessFigures {
    /// Reads them; `None` where there is no `/proc`.
    #[must_use]
    pub fn read() -> Option<Self> {
        let pages: i64 = std::fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(1)?.parse().ok()?;
        let open_files = std::fs::read_dir("/proc/self/fd").ok()?.count();
        Some(Self {
            cpu_seconds: cpu_seconds()?,
            resident_bytes: pages * i64::try_from(page_size()).unwrap_or(4096),
            open_files: i64::try_from(open_files).unwrap_or(i64::MAX),
        })
    }
}

/// Reads the user and system time of the process, in seconds; `None` where there is no `/proc`.
#[must_use]
pub fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold anything; utime and stime are the 12th and 13th fields after it (proc(5)).
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "seconds of CPU are far below 2^52 ticks")]
    let seconds = ticks as f64 / clock_ticks_per_second() as f64;
    Some(seconds)
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(process) = ProcessFigures::read() else { return Ok(()) };
        let cpu = ConstCounter::new(process.cpu_seconds);
        let help = "User and system time of the process";
        cpu.encode(encoder.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), cpu.metric_type())?)?;
        let resident = ConstGauge::new(process.resident_bytes);
        let help = "Resident memory of the process";
        let descriptor =
            encoder.encode_descriptor("process_resident_memory", help, Some(&Unit::Bytes), resident.metric_type())?;
        resident.encode(descriptor)?;
        let open = ConstGauge::new(process.open_files);
        open.encode(encoder.encode_descriptor("process_open_fds", "Open files", None, open.metric_type())?)?;
        let limit =
            getrlimit(Resource::Nofile).current.map_or(i64::MAX, |most| i64::try_from(most).unwrap_or(i64::MAX));
        let limit = ConstGauge::new(limit);
        let help = "Files that the process may open at most";
        limit.encode(encoder.encode_descriptor("process_max_fds", help, None, limit.metric_type())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_plausible() {
        let figures = ProcessFigures::read().unwrap();
        assert!(figures.resident_bytes > 1 << 20 && figures.open_files > 2, "{figures:?}");
    }
}
