//! The shard's metrics, read when they are asked for.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Shard;
use crate::metrics::Metrics;

/// Reads one shard's figures.
struct ShardCollector(Arc<Shard>);

impl Shard {
    /// Registers the shard's metrics.
    pub fn register_metrics(self: &Arc<Self>, metrics: &Metrics) {
        metrics.register(|registry| registry.register_collector(Box::new(ShardCollector(Arc::clone(self)))));
    }
}

impl Collector for ShardCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let shard = &self.0;
        for (name, help, number) in shard.counters().all() {
            let counter = ConstCounter::new(number);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let mut ended = encoder.encode_descriptor(
            "sessions_ended",
            "Sessions that ended or were refused",
            None,
            MetricType::Counter,
        )?;
        for (reason, number) in shard.counters().ended() {
            ConstCounter::new(number).encode(ended.encode_family(&[("reason", reason)])?)?;
        }
        let overview = shard.overview();
        let mut objects = encoder.encode_descriptor("objects", "Flux objects by health", None, MetricType::Gauge)?;
        for (health, number) in overview.health.iter() {
            ConstGauge::new(i64::from(number)).encode(objects.encode_family(&[("health", health.as_str())])?)?;
        }
        let (texts, bytes) = shard.texts();
        for (name, help, number) in [
            ("clusters_connected", "Clusters with an open session", overview.connected),
            (
                "clusters_live",
                "Clusters whose agent confirmed the newest plan and whose statuses are known",
                overview.live,
            ),
            ("clusters_ready", "Live clusters whose installs are all ready", overview.ready),
            ("index_texts", "Different texts that the status index keeps", texts as u64),
            ("index_text_bytes", "Bytes of the texts that the status index keeps", bytes as u64),
        ] {
            let gauge = ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for ShardCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShardCollector")
    }
}
