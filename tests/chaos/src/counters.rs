//! What hubs count, read from their `/metrics` before and after a fault.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use starling_harness::Hub;
use starling_realparts::http_get;

use crate::bed::Bed;

const HANDSHAKES: &str = "starling_handshakes_total";
const SESSIONS: &str = "starling_sessions_opened_total";

/// Counters of every hub, and how many writes etcd has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    /// By hub and metric.
    hubs: BTreeMap<(String, &'static str), u64>,
    etcd_writes: u64,
}

/// What happened between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Happened {
    /// TLS handshakes, those of the command line and between hubs included.
    pub(crate) handshakes: u64,
    /// Sessions that agents opened.
    pub(crate) sessions: u64,
    /// Writes to etcd.
    pub(crate) etcd_writes: u64,
}

impl Counters {
    /// Reads them; every hub must answer.
    pub(crate) fn read(bed: &Bed) -> Result<Self> {
        let mut counters = Self { hubs: BTreeMap::new(), etcd_writes: bed.etcd.revision()? };
        for hub in bed.hubs.all() {
            let page = page(hub)?;
            for metric in [HANDSHAKES, SESSIONS] {
                counters.hubs.insert((hub.name().to_owned(), metric), value(&page, metric));
            }
        }
        Ok(counters)
    }

    /// Tells what happened since; a hub that was started again counts from nothing, and what it counted last is lost.
    pub(crate) fn since(&self, before: &Self) -> Happened {
        let grown = |metric: &str| {
            let of_hub = |(key, now): (&(String, &'static str), &u64)| match before.hubs.get(key) {
                Some(before) if before <= now => now - before,
                Some(_) | None => *now,
            };
            self.hubs.iter().filter(|(key, _)| key.1 == metric).map(of_hub).sum()
        };
        Happened {
            handshakes: grown(HANDSHAKES),
            sessions: grown(SESSIONS),
            etcd_writes: self.etcd_writes.saturating_sub(before.etcd_writes),
        }
    }
}

fn page(hub: &Hub) -> Result<String> {
    http_get(hub.http_address(), "/metrics").map_err(|error| anyhow!("{}: {error}", hub.name()))
}

/// Sums a counter over its labels.
fn value(page: &str, metric: &str) -> u64 {
    let of_line = |line: &str| {
        let rest = line.strip_prefix(metric).filter(|rest| rest.starts_with([' ', '{']))?;
        rest.rsplit_once(' ')?.1.parse::<f64>().ok()
    };
    page.lines().filter_map(of_line).sum::<f64>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_labels_and_survive_a_restart() {
        let text = "# TYPE a_total counter\na_total{x=\"1\"} 3\na_total{x=\"2\"} 4\na_total_more 9\n";
        assert_eq!(value(text, "a_total"), 7);
        let reading = |one: u64, two: u64, etcd_writes| Counters {
            hubs: [(("hub-1".to_owned(), SESSIONS), one), (("hub-2".to_owned(), SESSIONS), two)].into(),
            etcd_writes,
        };
        let happened = reading(15, 4, 12).since(&reading(10, 50, 10));
        assert_eq!(happened, Happened { handshakes: 0, sessions: 5 + 4, etcd_writes: 2 });
    }
}
