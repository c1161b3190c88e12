//! What the hub and the drivers use, read twice a second for the whole run, and what the hub counts, now and then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use super::hub::HubUnderTest;
use super::metrics;
use super::process::Usage;
use crate::report::results::Sample;

/// How often.
const EVERY: Duration = Duration::from_millis(500);

/// One reading in this many asks the hub for its counters, too, which costs it the whole fleet each time.
const COUNTED: usize = 4;

/// What was read so far.
#[derive(Clone, Default)]
pub(super) struct Samples(Arc<Mutex<Vec<Sample>>>);

impl Samples {
    /// Reads until dropped. What cannot be read just now is missing from the sample: the hub may be down on purpose.
    pub(super) async fn take(self, hub: Arc<HubUnderTest>, drivers: Vec<u32>, began: Instant) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 0_usize.. {
            ticks.tick().await;
            let sample = read(&hub, &drivers, began, number % COUNTED == 0).await;
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

async fn read(hub: &HubUnderTest, drivers: &[u32], began: Instant, counted: bool) -> Sample {
    let own = match hub.process().await {
        Some(process) => Usage::of(process).ok(),
        None => None,
    };
    let at_seconds = began.elapsed().as_secs_f64();
    let mut counters = BTreeMap::new();
    if counted {
        counters = metrics::read_all(hub.metrics()).await.unwrap_or_default();
    }
    let counted = |name: &str| counters.get(name).copied();
    let driver_usages: Vec<Usage> = drivers.iter().filter_map(|process| Usage::of(*process).ok()).collect();
    Sample {
        at_seconds,
        hub_cpu_seconds: own.map(|own| own.cpu.as_secs_f64()).or(counted("process_cpu_seconds_total")),
        hub_resident_bytes: own.map(|own| own.resident as f64).or(counted("process_resident_memory_bytes")),
        driver_cpu_seconds: driver_usages.iter().map(|usage| usage.cpu.as_secs_f64()).sum(),
        driver_resident_bytes: driver_usages.iter().map(|usage| usage.resident as f64).sum(),
        counters,
    }
}
