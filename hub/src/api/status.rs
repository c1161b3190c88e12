//! What the hub is and how the fleet is, and the proposals that wait.

use starling_hub_core::deletion::proposed;
use starling_model::ResourceName;
use starling_proto::v1;

use super::Admin;

impl Admin {
    pub(super) fn tell_status(&self) -> v1::GetStatusResponse {
        let fleet = self.fleet();
        let overview = self.parts.shard.overview();
        let clusters = self.select(&fleet, None).map_or(0, |known| known.len());
        v1::GetStatusResponse {
            fleet: fleet.name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_millis: self.started.0,
            position: fleet.position().0,
            era_number: fleet.era().map_or(0, |record| record.era.number),
            hold_reason: self.parts.hold.reason().map_or_else(String::new, |reason| reason.to_string()),
            clusters: clusters as u64,
            live: overview.live,
            ready: overview.ready,
            objects: overview.health.total(),
            problems: self.parts.problems.list(&fleet).len() as u64,
            proposals: fleet.proposals().count() as u64,
            source: self.parts.source.as_str().to_owned(),
        }
    }

    pub(super) fn tell_proposals(&self) -> v1::ListProposalsResponse {
        let fleet = self.fleet();
        let proposals = fleet.proposals().map(|proposal| {
            // Counted now: an approval is judged by what would go now.
            let holding = proposed(&fleet, self.parts.shard.as_ref(), proposal);
            v1::Proposal {
                id: proposal.id.0.to_vec(),
                assignment: proposal.name.to_string(),
                reason: proposal.reason.clone(),
                installs: holding.count(),
                since_millis: proposal.since.0,
                examples: holding.examples(&fleet).iter().map(ResourceName::to_string).collect(),
            }
        });
        v1::ListProposalsResponse { proposals: proposals.collect() }
    }
}
