//! What the hub's processes, etcd and the drivers use, read twice a second for the whole run, and what they count, now and then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::try_join_all;
use tokio::time::{MissedTickBehavior, interval};

use super::hub::{Counted, HubUnderTest};
use super::metrics;
use super::process::Usage;
use super::totals::Totals;
use crate::report::results::{EtcdSample, ProcessSample, Sample};

/// How often.
const EVERY: Duration = Duration::from_millis(500);

/// One reading in this many asks the hub for its counters, too, which costs it the whole fleet each time.
const COUNTED: usize = 10;

/// What CPU time is called among the totals: pages are read less often.
const USED: &str = "used";

/// The counter of CPU time, as the pages call it.
const CPU: &str = "process_cpu_seconds_total";

/// The gauge of memory, as the pages call it.
const RESIDENT: &str = "process_resident_memory_bytes";

/// What was read so far.
#[derive(Clone, Default)]
pub(super) struct Samples(Arc<Mutex<Vec<Sample>>>);

impl Samples {
    /// Reads until dropped. What cannot be read just now is missing from the sample: a process may be down on purpose.
    pub(super) async fn take(self, hub: Arc<HubUnderTest>, drivers: Vec<u32>, began: Instant) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut totals = Totals::default();
        for number in 0_usize.. {
            ticks.tick().await;
            let sample = read(&hub, &drivers, began, number % COUNTED == 0, &mut totals).await;
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
        }
    }

    /// Returns all of them.
    pub(super) fn all(&self) -> Vec<Sample> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the newest reading of the hub's memory, in bytes.
    pub(super) fn newest_resident(&self) -> Option<f64> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().rev().find_map(|sample| sample.hub_resident_bytes)
    }

    /// Returns the newest reading of the counters.
    pub(super) fn newest_counters(&self) -> BTreeMap<String, f64> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples
            .iter()
            .rev()
            .find(|sample| !sample.counters.is_empty())
            .map(|sample| sample.counters.clone())
            .unwrap_or_default()
    }
}

async fn read(hub: &HubUnderTest, drivers: &[u32], began: Instant, counted: bool, totals: &mut Totals) -> Sample {
    let running = hub.counted();
    // A sum without a process that runs and does not answer would look like a counter that fell.
    let pages = if counted { pages(&running).await.unwrap_or_default() } else { Pages::new() };
    let etcd = etcd(hub, counted).await;
    let at_seconds = began.elapsed().as_secs_f64();
    let mut processes = BTreeMap::new();
    for process in &running {
        let page = pages.iter().find(|(counted, _)| counted.name == process.name).map(|(_, page)| page);
        let Some((cpu, resident_bytes)) = used(process, page) else { continue };
        totals.take(USED, &process.name, start(process), cpu);
        let cpu_seconds = totals.of(USED, &process.name).unwrap_or_default();
        processes.insert(process.name.clone(), ProcessSample { cpu_seconds, resident_bytes });
    }
    let usages: Vec<Usage> = drivers.iter().filter_map(|process| Usage::of(*process).ok()).collect();
    Sample {
        at_seconds,
        // What processes used that are down now counts; where none can be read, nothing is known.
        hub_cpu_seconds: totals.sum(USED).filter(|_| hub.is_own() || !processes.is_empty()),
        hub_resident_bytes: processes.values().map(|process| process.resident_bytes).reduce(|one, other| one + other),
        driver_cpu_seconds: usages.iter().map(|usage| usage.cpu.as_secs_f64()).sum(),
        driver_resident_bytes: usages.iter().map(|usage| usage.resident as f64).sum(),
        counters: summed(&pages, totals),
        processes,
        etcd,
    }
}

/// The counters of each process, in the order of the processes.
type Pages<'a> = Vec<(&'a Counted, BTreeMap<String, f64>)>;

async fn pages(processes: &[Counted]) -> Result<Pages<'_>> {
    let reading = processes.iter().map(async |process| Ok((process, metrics::read(&process.metrics).await?)));
    try_join_all(reading).await
}

/// Adds the counters of all processes up: gauges as they are now, what only grows with what a process counted before it ended.
fn summed(pages: &Pages<'_>, totals: &mut Totals) -> BTreeMap<String, f64> {
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for (process, page) in pages {
        for (name, value) in page {
            if name.ends_with("_total") {
                totals.take(name, &process.name, start(process), *value);
            }
            *sums.entry(name.clone()).or_default() += value;
        }
    }
    for (name, sum) in &mut sums {
        *sum = totals.sum(name).unwrap_or(*sum);
    }
    sums
}

/// Reads the counters of all processes now and adds them up.
pub(super) async fn counters(hub: &HubUnderTest) -> Result<BTreeMap<String, f64>> {
    counted(hub, &mut Totals::default()).await
}

/// The same, with what processes counted that have ended since they were in the totals.
pub(super) async fn counted(hub: &HubUnderTest, totals: &mut Totals) -> Result<BTreeMap<String, f64>> {
    let running = hub.counted();
    Ok(summed(&pages(&running).await?, totals))
}

/// Returns the CPU time, in seconds, and the memory, in bytes, of a process: as the system tells it of the run's own, and as its page
/// tells it of others.
fn used(process: &Counted, page: Option<&BTreeMap<String, f64>>) -> Option<(f64, f64)> {
    let Some(id) = process.id else {
        return Some((*page?.get(CPU)?, *page?.get(RESIDENT)?));
    };
    let usage = Usage::of(id).ok()?;
    Some((usage.cpu.as_secs_f64(), usage.resident as f64))
}

/// Tells the starts of a process apart.
fn start(process: &Counted) -> u32 {
    process.id.unwrap_or_default()
}

async fn etcd(hub: &HubUnderTest, counted: bool) -> Option<EtcdSample> {
    let (process, address) = hub.etcd()?;
    let usage = Usage::of(process).ok()?;
    let page = if counted { metrics::of_etcd(&address).await.unwrap_or_default() } else { BTreeMap::new() };
    let counter = |name: &str| page.get(name).copied();
    Some(EtcdSample {
        cpu_seconds: usage.cpu.as_secs_f64(),
        resident_bytes: usage.resident as f64,
        writes: counter(metrics::ETCD_WRITES),
        fsyncs: counter(metrics::ETCD_FSYNCS),
        fsync_seconds: counter(metrics::ETCD_FSYNC_SECONDS),
    })
}
