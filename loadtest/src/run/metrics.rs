//! The counters that hubs and etcd serve, added up over their labels.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is kept of a page.
const KEPT: [&str; 19] = [
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "starling_clusters_connected",
    "starling_clusters_live",
    "starling_clusters_ready",
    "starling_connections",
    "starling_connections_refused_total",
    "starling_handshakes_total",
    "starling_plans_refused_total",
    "starling_plans_computed_total",
    "starling_plans_sent_total",
    "starling_resyncs_total",
    "starling_sessions_ended_total",
    "starling_sessions_opened_total",
    "starling_sessions_throttled_total",
    "starling_status_batches_total",
    "starling_status_changes_total",
    "starling_status_known_total",
    "starling_status_refused_total",
];

/// Write transactions of etcd; its revision counts them.
pub(super) const ETCD_WRITES: &str = "etcd_debugging_mvcc_current_revision";

/// How often etcd waited for the disk before it answered.
pub(super) const ETCD_FSYNCS: &str = "etcd_disk_wal_fsync_duration_seconds_count";

/// How long it waited.
pub(super) const ETCD_FSYNC_SECONDS: &str = "etcd_disk_wal_fsync_duration_seconds_sum";

/// Reads the counters of etcd, by the address that its clients dial.
pub(super) async fn of_etcd(address: &str) -> Result<BTreeMap<String, f64>> {
    Ok(summed(&page(address).await?, &[ETCD_WRITES, ETCD_FSYNCS, ETCD_FSYNC_SECONDS]))
}

/// Reads the counters of one hub process, by the address that it serves HTTP at.
pub(super) async fn read(address: &str) -> Result<BTreeMap<String, f64>> {
    Ok(summed(&page(address).await?, &KEPT))
}

async fn page(address: &str) -> Result<String> {
    let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}/metrics") };
    get(&url).await.with_context(|| format!("metrics of {address}"))
}

/// Asks for a page, which has to be there.
pub(super) async fn get(url: &str) -> Result<String> {
    let url = url.to_owned();
    let asking = tokio::task::spawn_blocking(move || {
        let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build().new_agent();
        agent.get(&url).call()?.body_mut().read_to_string()
    });
    Ok(asking.await.context("ask for a page")??)
}

/// Adds up the lines of each metric.
fn summed(page: &str, kept: &[&str]) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let name = series.split('{').next().unwrap_or_default();
        if let (true, Ok(value)) = (kept.contains(&name), value.parse::<f64>()) {
            *sums.entry(name.to_owned()).or_default() += value;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_a_metric_add_up() {
        let page = "# TYPE starling_plans_sent counter\nstarling_plans_sent_total 3\nstarling_resyncs_total{why=\"a b\"} 1\n\
                    starling_resyncs_total{why=\"c\"} 2\nother 9\n";
        let sums = summed(page, &KEPT);
        assert_eq!((sums.len(), sums["starling_plans_sent_total"], sums["starling_resyncs_total"]), (2, 3.0, 3.0));
    }
}
