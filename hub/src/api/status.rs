//! What the hub is and how the fleet is, and the proposals that wait, as far as the caller sees them.

use starling_hub_core::deletion::{Holding, proposed};
use starling_hub_core::fleet::Fleet;
use starling_hub_core::index::Filter;
use starling_hub_core::records::ProposalRecord;
use starling_hub_core::resources::Kind;
use starling_hub_core::steward::Heard;
use starling_model::ResourceName;
use starling_proto::v1;
use tonic::Status;

use super::Admin;
use crate::access::{Caller, Reach, Resource, There, Verb, Wanted};
use crate::gather::{Gathered, heard};

/// Clusters and objects in numbers.
#[derive(Clone, Debug, Default)]
struct Numbers {
    clusters: u64,
    live: u64,
    ready: u64,
    objects: u64,
    /// The processes that did not answer.
    unanswered: Vec<String>,
}

impl Admin {
    pub(super) async fn tell_status(&self, caller: &Caller) -> Result<v1::GetStatusResponse, Status> {
        let fleet = self.fleet();
        let clusters = self.all_clusters_in_sight(caller, &fleet).await?;
        let proposals = self.proposals_in_sight(caller, &fleet).await?;
        let numbers = self.numbers(caller, &fleet, &clusters).await?;
        // How much is decided in the whole fleet is for those who see the whole fleet.
        let (position, era_number) = match clusters.is_everywhere() {
            true => (fleet.position().0, fleet.era().map_or(0, |record| record.era.number)),
            false => (0, 0),
        };
        Ok(v1::GetStatusResponse {
            fleet: fleet.name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_millis: self.started.0,
            position,
            era_number,
            hold_reason: self.parts.hold.reason().map_or_else(String::new, |reason| reason.to_string()),
            clusters: numbers.clusters,
            live: numbers.live,
            ready: numbers.ready,
            objects: numbers.objects,
            problems: self.problems_in_sight(caller, &fleet).await?.len() as u64,
            proposals: fleet.proposals().filter(|proposal| covers(&proposals, proposal)).count() as u64,
            source: self.parts.source.as_str().to_owned(),
            unanswered: numbers.unanswered,
        })
    }

    async fn numbers(&self, caller: &Caller, fleet: &Fleet, clusters: &Reach) -> Result<Numbers, Status> {
        let sight = self.faint_sight(caller, fleet, None, None).await?;
        let visible = sight.visible(fleet, None);
        if clusters.is_everywhere() && visible.is_none() {
            let Gathered { value: overview, unanswered } = self.parts.gather.overview().await;
            let unanswered = unanswered.into_iter().collect();
            let (live, ready, objects) = (overview.live, overview.ready, overview.health.total());
            let clusters = (fleet.cluster_count() + self.parts.gather.unassigned().await.value.len()) as u64;
            return Ok(Numbers { clusters, live, ready, objects, unanswered });
        }
        let mut selected = self.select(fleet, None).await?;
        selected.retain(|known| clusters.covers(&known.name.namespace, &known.name.name));
        let filter = Filter { visible, ..Filter::default() };
        let objects = self.parts.gather.objects(&filter, None, 0).await.value.page.total;
        let ids = selected.iter().map(|known| known.id).collect();
        let mut numbers = Numbers { clusters: selected.len() as u64, objects, ..Numbers::default() };
        let views = self.parts.gather.views(Some(ids)).await;
        numbers.unanswered = views.unanswered.into_iter().collect();
        for view in views.value.into_values() {
            numbers.live += u64::from(view.standing.live);
            numbers.ready += u64::from(view.standing.ready);
        }
        Ok(numbers)
    }

    pub(super) async fn tell_proposals(&self, caller: &Caller) -> Result<v1::ListProposalsResponse, Status> {
        let fleet = self.fleet();
        let reach = self.proposals_in_sight(caller, &fleet).await?;
        let clusters = self.all_clusters_in_sight(caller, &fleet).await?;
        let seen_proposals: Vec<_> = fleet.proposals().filter(|proposal| covers(&reach, proposal)).collect();
        // Counted now: an approval is judged by what would go now.
        let count = |heard: &dyn Heard| -> Vec<Holding> {
            seen_proposals.iter().map(|proposal| proposed(&fleet, heard, proposal)).collect()
        };
        let Gathered { value: holdings, unanswered } = heard::ask(&self.parts.gather, count).await;
        let proposals = seen_proposals.iter().zip(holdings).map(|(proposal, holding)| {
            let seen = |name: &ResourceName| clusters.covers(&name.namespace, &name.name);
            v1::Proposal {
                id: proposal.id.0.to_vec(),
                assignment: proposal.name.to_string(),
                reason: proposal.reason.clone(),
                installs: holding.count(),
                since_millis: proposal.since.0,
                examples: holding
                    .examples(&fleet)
                    .iter()
                    .filter(|name| seen(name))
                    .map(|name| name.to_string())
                    .collect(),
            }
        });
        let unanswered = unanswered.into_iter().collect();
        Ok(v1::ListProposalsResponse { proposals: proposals.collect(), unanswered })
    }

    /// Returns what a caller sees of the assignments that proposals are about.
    async fn proposals_in_sight(&self, caller: &Caller, fleet: &Fleet) -> Result<Reach, Status> {
        let there = || {
            let namespaces = fleet.proposals().map(|proposal| proposal.name.namespace.clone()).collect();
            There { namespaces, objects: Vec::new() }
        };
        let wanted = Wanted { namespace: "", names: &[], there: &there };
        self.reach(caller, Verb::List, Resource::of(Kind::AddonAssignment), wanted).await
    }
}

fn covers(reach: &Reach, proposal: &ProposalRecord) -> bool {
    reach.covers(&proposal.name.namespace, &proposal.name.name)
}
