//! The shard's figures, read when they are asked for.

use std::fmt;
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};

use super::Shard;
use crate::metrics::Metrics;

/// Reads a shard's figures as long as there is one.
struct ShardCollector(Weak<Shard>);

/// Registers the figures of a shard.
pub fn register(metrics: &Metrics, shard: &Arc<Shard>) {
    let collector = ShardCollector(Arc::downgrade(shard));
    metrics.register(|registry| registry.register_collector(Box::new(collector)));
}

impl fmt::Debug for ShardCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShardCollector")
    }
}

impl Collector for ShardCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(shard) = self.0.upgrade() else { return Ok(()) };
        let overview = shard.overview();
        let (texts, text_bytes) = shard.texts();
        let fleet = shard.fleet();
        let gauges = [
            ("fleet_holds", "1 while the fleet holds", u64::from(shard.hold_reason().is_some())),
            ("position", "The steward's position that this process has reached", fleet.position().0),
            ("era", "The number of the store's era", fleet.era().map_or(0, |record| record.era.number)),
            ("clusters_connected", "Clusters with an open session", overview.connected),
            (
                "clusters_live",
                "Connected clusters whose plan is confirmed and whose snapshot is indexed",
                overview.live,
            ),
            ("clusters_ready", "Live clusters whose installs are all applied and ready", overview.ready),
            ("proposals", "Removals that wait for approval", fleet.proposals().count() as u64),
            ("index_texts", "Different texts that the status index keeps", texts as u64),
            ("index_text_bytes", "Bytes of these texts", text_bytes as u64),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        for (name, help, value) in shard.counters().all() {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let objects: Family<[(&'static str, &'static str); 1], Gauge> = Family::default();
        for (health, count) in overview.health.iter() {
            objects.get_or_create(&[("health", health.as_str())]).set(i64::from(count));
        }
        objects.encode(encoder.encode_descriptor(
            "objects",
            "Flux objects by health",
            None,
            objects.metric_type(),
        )?)?;
        let ended: Family<[(&'static str, &'static str); 1], Counter> = Family::default();
        for (reason, count) in shard.counters().ended() {
            ended.get_or_create(&[("reason", reason)]).inc_by(count);
        }
        let help = "Sessions that ended or were refused, by reason";
        ended.encode(encoder.encode_descriptor("sessions_ended", help, None, ended.metric_type())?)
    }
}
