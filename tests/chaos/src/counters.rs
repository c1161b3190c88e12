//! What hubs count, read from their `/metrics` before and after a fault.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use starling_harness::Hub;
use starling_realparts::http_get;

use crate::bed::Bed;

const HANDSHAKES: &str = "starling_handshakes_total";
const SESSIONS: &str = "starling_sessions_opened_total";
const REDIRECTED: &str = "starling_sessions_redirected_total";
const FORWARDED: &str = "starling_sessions_forwarded_total";
const ENDED: &str = "starling_sessions_ended_total";

/// Counters of every hub, and how many writes etcd has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    hubs: BTreeMap<Counted, u64>,
    etcd_writes: u64,
}

/// What a number belongs to. One that was started again is another process, which counts from nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Counted {
    process: u32,
    metric: &'static str,
    /// Why sessions ended; nothing for the other metrics.
    reason: String,
}

/// What happened between two readings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Happened {
    /// TLS handshakes, those of the command line and between hubs included.
    pub(crate) handshakes: u64,
    /// Sessions that agents opened.
    pub(crate) sessions: u64,
    /// Agents that were sent to another hub.
    pub(crate) redirected: u64,
    /// Agents whose stream was passed on.
    pub(crate) forwarded: u64,
    /// Sessions that ended or were refused, by reason.
    pub(crate) ended: BTreeMap<String, u64>,
    /// Writes to etcd.
    pub(crate) etcd_writes: u64,
}

impl Counters {
    /// Reads them; every hub must answer.
    pub(crate) fn read(bed: &Bed) -> Result<Self> {
        let mut counters = Self { hubs: BTreeMap::new(), etcd_writes: bed.etcd.revision()? };
        for hub in bed.hubs.all() {
            let page = http_get(hub.http_address(), "/metrics").map_err(|error| anyhow!("{}: {error}", hub.name()))?;
            counters.take(process(hub)?, &page);
        }
        Ok(counters)
    }

    fn take(&mut self, process: u32, page: &str) {
        for metric in [HANDSHAKES, SESSIONS, REDIRECTED, FORWARDED, ENDED] {
            for (labels, value) in series(page, metric) {
                let reason = if metric == ENDED { reason(labels) } else { String::new() };
                *self.hubs.entry(Counted { process, metric, reason }).or_default() += value;
            }
        }
    }

    /// Tells what happened since; what a hub counted between the earlier reading and its end is lost.
    pub(crate) fn since(&self, before: &Self) -> Happened {
        let mut happened =
            Happened { etcd_writes: self.etcd_writes.saturating_sub(before.etcd_writes), ..Happened::default() };
        for (counted, now) in &self.hubs {
            let grown = now.saturating_sub(before.hubs.get(counted).copied().unwrap_or_default());
            match counted.metric {
                HANDSHAKES => happened.handshakes += grown,
                SESSIONS => happened.sessions += grown,
                REDIRECTED => happened.redirected += grown,
                FORWARDED => happened.forwarded += grown,
                _ if grown > 0 => *happened.ended.entry(counted.reason.clone()).or_default() += grown,
                _ => {}
            }
        }
        happened
    }
}

fn process(hub: &Hub) -> Result<u32> {
    hub.process().id().ok_or_else(|| anyhow!("{} does not run", hub.name()))
}

/// Returns the labels and the value of each series of a metric.
fn series<'page>(page: &'page str, metric: &str) -> impl Iterator<Item = (&'page str, u64)> {
    page.lines().filter_map(move |line| {
        let rest = line.strip_prefix(metric).filter(|rest| rest.starts_with([' ', '{']))?;
        let (labels, value) = rest.rsplit_once(' ')?;
        Some((labels, value.parse::<f64>().ok()? as u64))
    })
}

/// Returns the value of the label `reason`.
fn reason(labels: &str) -> String {
    let value = labels.split_once("reason=\"").and_then(|(_, rest)| rest.split_once('"'));
    value.map_or_else(String::new, |(value, _)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_labels_and_a_new_process_counts_from_nothing() {
        let reading = |pages: &[(u32, &str)], etcd_writes| {
            let mut counters = Counters { hubs: BTreeMap::new(), etcd_writes };
            pages.iter().for_each(|(process, page)| counters.take(*process, page));
            counters
        };
        let page = |sessions: u64, idle: u64| {
            format!(
                "# TYPE a counter\n{SESSIONS} {sessions}\n{HANDSHAKES}{{x=\"1\"}} 3\n{HANDSHAKES}{{x=\"2\"}} 4\n\
                 {HANDSHAKES}_more 9\n{ENDED}{{reason=\"idle\"}} {idle}\n{ENDED}{{reason=\"other\"}} 1\n"
            )
        };
        let before = reading(&[(7, &page(10, 2)), (8, &page(13, 0))], 10);
        let after = reading(&[(7, &page(15, 5)), (9, &page(13, 0))], 12);
        let ended = [("idle".to_owned(), 3), ("other".to_owned(), 1)].into();
        let expected = Happened { handshakes: 7, sessions: 5 + 13, ended, etcd_writes: 2, ..Happened::default() };
        assert_eq!(after.since(&before), expected);
    }
}
