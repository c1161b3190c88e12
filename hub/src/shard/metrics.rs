//! The shard's figures, read when they are asked for.

use std::fmt;
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Unit;
use starling_hub_core::deletion::budget;
use starling_hub_core::enrolment::CredentialRefusal;
use starling_model::{Health, Millis};

use super::Shard;
use super::figures::FleetFigures;
use crate::metrics::Metrics;
use crate::session::END_NAMES;

/// Reads a shard's figures as long as there is one.
struct ShardCollector {
    shard: Weak<Shard>,
    started: Millis,
}

type Label = [(&'static str, &'static str); 1];

/// Registers the figures of a shard that starts now.
pub fn register(metrics: &Metrics, shard: &Arc<Shard>) {
    let collector = ShardCollector { shard: Arc::downgrade(shard), started: shard.parts.clock.now() };
    metrics.register(|registry| registry.register_collector(Box::new(collector)));
}

impl fmt::Debug for ShardCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShardCollector")
    }
}

impl Collector for ShardCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(shard) = self.shard.upgrade() else { return Ok(()) };
        encode_process(&shard, &mut encoder)?;
        encode_fleet(&shard.fleet_figures(self.started), &mut encoder)
    }
}

fn encode_process(shard: &Shard, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let overview = shard.overview();
    let (texts, text_bytes) = shard.texts();
    let fleet = shard.fleet();
    let ring_members = fleet.ring().map_or(0, |ring| ring.members.len());
    let gauges = [
        ("fleet_holds", "1 while the fleet holds", u64::from(shard.hold_reason().is_some())),
        ("position", "The steward's position that this process has reached", fleet.position().0),
        ("era", "The number of the store's era", fleet.era().map_or(0, |record| record.era.number)),
        ("clusters_connected", "Clusters with an open session", overview.connected),
        ("clusters_live", "Connected clusters whose plan is confirmed and whose snapshot is indexed", overview.live),
        ("clusters_ready", "Live clusters whose installs are all applied and ready", overview.ready),
        ("clusters_moving", "Connected clusters that belong to another hub process", shard.moving()),
        ("ring_epoch", "The epoch of the ring that this process has reached; 0 without one", shard.epoch()),
        ("ring_members", "Hub processes in the ring; 0 without one", ring_members as u64),
        ("proposals", "Removals that wait for approval", fleet.proposals().count() as u64),
        ("join_tokens", "Join tokens that are open", fleet.tokens().count() as u64),
        ("removal_budget_limit", "Installs that may be removed in a day without an approval", budget::FLEET),
        ("index_texts", "Different texts that the status index keeps", texts as u64),
    ];
    for (name, help, value) in gauges {
        gauge(encoder, name, help, None, value)?;
    }
    gauge(
        encoder,
        "index_text",
        "Bytes of the texts that the status index keeps",
        Some(&Unit::Bytes),
        text_bytes as u64,
    )?;
    for (name, help, value) in shard.counters().all() {
        let counter = ConstCounter::new(value);
        counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
    }
    let objects = overview.health.iter().map(|(health, count)| ([("health", health.as_str())], u64::from(count)));
    let healths = Health::ALL.map(|health| ([("health", health.as_str())], 0));
    family(encoder, "objects", "Flux objects by health", healths.into_iter().chain(objects))?;
    let ended: Family<Label, Counter> = Family::default();
    let refusals = CredentialRefusal::ALL.map(CredentialRefusal::as_str);
    for reason in END_NAMES.into_iter().chain(refusals) {
        ended.get_or_create_owned(&[("reason", reason)]);
    }
    for (reason, count) in shard.counters().ended() {
        ended.get_or_create_owned(&[("reason", reason)]).inc_by(count);
    }
    let help = "Sessions that ended or were refused, by reason";
    ended.encode(encoder.encode_descriptor("sessions_ended", help, None, ended.metric_type())?)
}

fn encode_fleet(figures: &FleetFigures, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let connections = figures.connections.iter().map(|(word, count)| ([("connection", *word)], *count));
    family(encoder, "clusters", "Clusters by the state of their connection", connections)?;
    let installs = figures.installs.iter().map(|(word, count)| ([("standing", *word)], *count));
    family(encoder, "installs", "Installs of the plans of clusters that were heard, by how far they came", installs)?;
    let inputs = figures.inputs.iter().map(|(kind, (all, _))| ([("kind", *kind)], *all));
    family(encoder, "inputs", "Resources that the hub knows, by kind", inputs)?;
    let missing = figures.inputs.iter().map(|(kind, (_, missing))| ([("kind", *kind)], *missing));
    family(encoder, "inputs_missing", "Resources that are no longer in the source and not deleted", missing)?;
    let help = "The longest time for which a cluster that joined has not been heard";
    gauge(encoder, "cluster_unheard_oldest", help, Some(&Unit::Seconds), figures.unheard_seconds)?;
    let help = "Installs that were removed without an approval in the last day";
    gauge(encoder, "removal_budget_used", help, None, figures.budget_used)?;
    let help = "How long the oldest removal waits for approval";
    gauge(encoder, "proposal_oldest", help, Some(&Unit::Seconds), figures.proposal_seconds)?;
    let workspaces = figures.workspaces.iter().map(|(name, count)| ([("workspace", name.as_str())], *count));
    let help = "Clusters that joined and are not ready; only the workspaces with most are named";
    family(encoder, "workspace_clusters_not_ready", help, workspaces)?;
    let assignments = figures
        .assignments
        .iter()
        .map(|(name, count)| ([("workspace", name.namespace.as_str()), ("assignment", name.name.as_str())], *count));
    let help = "Installs that are failing, rejected or blocked; only the assignments with most are named";
    family(encoder, "assignment_installs_troubled", help, assignments)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, unit: Option<&Unit>, value: u64) -> fmt::Result {
    let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
}

/// Writes a gauge for each label set, the last value of each; without any, the family's name and meaning alone.
fn family<L>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl Iterator<Item = (L, u64)>,
) -> fmt::Result
where
    L: EncodeLabelSet + Clone + Eq + std::hash::Hash,
{
    let family: Family<L, Gauge> = Family::default();
    for (labels, value) in series {
        family.get_or_create_owned(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
    }
    family.encode(encoder.encode_descriptor(name, help, None, family.metric_type())?)
}
