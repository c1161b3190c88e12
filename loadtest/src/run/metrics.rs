//! The counters that hubs serve, added up over their labels.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is kept of a page.
const KEPT: [&str; 16] = [
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "starling_clusters_connected",
    "starling_clusters_live",
    "starling_clusters_ready",
    "starling_connections",
    "starling_handshakes_total",
    "starling_plans_computed_total",
    "starling_plans_sent_total",
    "starling_resyncs_total",
    "starling_sessions_opened_total",
    "starling_sessions_throttled_total",
    "starling_status_batches_total",
    "starling_status_changes_total",
    "starling_status_known_total",
    "starling_status_refused_total",
];

/// Reads the page of one process, by the address that it serves HTTP at.
async fn read(address: &str) -> Result<BTreeMap<String, f64>> {
    let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}/metrics") };
    let asking = tokio::task::spawn_blocking(move || {
        let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build().new_agent();
        agent.get(&url).call()?.body_mut().read_to_string()
    });
    let page = asking.await.context("ask for metrics")?.with_context(|| format!("metrics of {address}"))?;
    Ok(summed(&page))
}

/// Reads the pages of all processes and adds them up. One that cannot be read fails them all: a sum without it would look like a
/// counter that fell.
pub(super) async fn read_all(addresses: &[String]) -> Result<BTreeMap<String, f64>> {
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for address in addresses {
        for (name, value) in read(address).await? {
            *sums.entry(name).or_default() += value;
        }
    }
    Ok(sums)
}

/// Adds up the lines of each metric.
fn summed(page: &str) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let name = series.split('{').next().unwrap_or_default();
        if let (true, Ok(value)) = (KEPT.contains(&name), value.parse::<f64>()) {
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
        let sums = summed(page);
        assert_eq!((sums.len(), sums["starling_plans_sent_total"], sums["starling_resyncs_total"]), (2, 3.0, 3.0));
    }
}
