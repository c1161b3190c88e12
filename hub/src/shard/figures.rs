//! The fleet in numbers, for metrics: how its clusters, installs and documents are, and where the trouble is.

use std::collections::BTreeMap;

use starling_hub_core::deletion::budget;
use starling_hub_core::fleet::Fleet;
use starling_hub_core::resources::Kind;
use starling_hub_core::session::standing::InstallStanding;
use starling_model::{ClusterId, Millis, ResourceName};

use super::{ClusterView, Shard};
use crate::api::connection;

/// What is named at most, the worst first: names are many, and metrics must not be.
const NAMED: usize = 20;

/// Every word for a cluster's connection.
const CONNECTIONS: [&str; 10] = [
    "live",
    "connecting",
    "paused",
    "disconnected",
    "pending",
    "quarantined",
    "removing",
    "detaching",
    "revoked",
    "unassigned",
];

/// Every word for how far an install came.
const STANDINGS: [&str; 8] = ["blocked", "rejected", "failing", "waiting", "applying", "applied", "kept", "ready"];

/// The fleet in numbers.
#[derive(Debug, Default)]
pub(super) struct FleetFigures {
    /// Clusters by the word for their connection.
    pub(super) connections: BTreeMap<&'static str, u64>,
    /// Installs of the plans of clusters that were heard, by how far they came.
    pub(super) installs: BTreeMap<&'static str, u64>,
    /// The longest time for which a cluster that joined has not been heard, in seconds.
    pub(super) unheard_seconds: u64,
    /// Documents by kind, and those of them that are missing from the source.
    pub(super) inputs: BTreeMap<&'static str, (u64, u64)>,
    /// Installs that were removed without an approval in the budget's window.
    pub(super) budget_used: u64,
    /// The age of the oldest proposal, in seconds.
    pub(super) proposal_seconds: u64,
    /// Workspaces with most clusters that are not ready, and how many these are.
    pub(super) workspaces: Vec<(String, u64)>,
    /// Assignments with most installs in trouble, and how many these are.
    pub(super) assignments: Vec<(ResourceName, u64)>,
}

impl Shard {
    /// Counts the fleet; clusters that were not heard since `started` count as unheard since then.
    pub(super) fn fleet_figures(&self, started: Millis) -> FleetFigures {
        let (fleet, now) = (self.fleet(), self.parts.clock.now());
        let views: BTreeMap<ClusterId, ClusterView> = self.views().into_iter().map(|view| (view.id, view)).collect();
        let mut figures = FleetFigures {
            connections: CONNECTIONS.map(|word| (word, 0)).into(),
            installs: STANDINGS.map(|word| (word, 0)).into(),
            ..FleetFigures::of_documents(&fleet, now)
        };
        let mut workspaces: BTreeMap<String, u64> = BTreeMap::new();
        for input in fleet.managed_clusters().filter(|input| self.owns(&fleet, &input.id)) {
            let view = views.get(&input.id);
            let word = connection(&fleet, Some(&input), view);
            *figures.connections.entry(word).or_default() += 1;
            if word == "disconnected" {
                let heard = view.map_or(started, |view| view.last_seen.max(started));
                figures.unheard_seconds = figures.unheard_seconds.max(now.since(heard).as_secs());
            }
            if word != "pending" && !view.is_some_and(|view| view.standing.ready) {
                *workspaces.entry(input.name().namespace).or_default() += 1;
            }
        }
        let unassigned = views.keys().filter(|id| fleet.cluster(**id).is_none()).count();
        figures.connections.insert("unassigned", unassigned as u64);
        let assignments = figures.count_installs(self, views.values());
        let name = |(uid, count)| Some((fleet.assignment(uid)?.name.clone(), count));
        figures.assignments = worst(assignments.into_iter().filter_map(name));
        figures.workspaces = worst(workspaces.into_iter());
        figures
    }
}

impl FleetFigures {
    fn of_documents(fleet: &Fleet, now: Millis) -> Self {
        let mut inputs: BTreeMap<&'static str, (u64, u64)> = Kind::ALL.map(|kind| (kind.as_str(), (0, 0))).into();
        for record in fleet.inputs() {
            let counts = inputs.entry(record.resource.key().kind.as_str()).or_default();
            *counts = (counts.0 + 1, counts.1 + u64::from(record.missing.is_some()));
        }
        let spent = fleet.spent().filter(|entry| budget::counts(entry, now));
        let oldest = fleet.proposals().map(|proposal| proposal.since).min();
        Self {
            inputs,
            budget_used: spent.map(|entry| entry.installs).sum(),
            proposal_seconds: oldest.map_or(0, |since| now.since(since).as_secs()),
            ..Self::default()
        }
    }

    /// Counts installs, and returns those in trouble by assignment.
    fn count_installs<'a>(
        &mut self,
        shard: &Shard,
        views: impl Iterator<Item = &'a ClusterView>,
    ) -> BTreeMap<starling_model::Uid, u64> {
        let mut troubled = BTreeMap::new();
        for view in views {
            let sum = &view.standing;
            for (standing, count) in [
                ("blocked", sum.blocked),
                ("rejected", sum.rejected),
                ("failing", sum.failing),
                ("waiting", sum.waiting),
                ("applying", sum.applying),
                ("applied", sum.applied),
                ("kept", sum.kept),
                ("ready", sum.installs_ready),
            ] {
                *self.installs.entry(standing).or_default() += u64::from(count);
            }
            if sum.blocked + sum.rejected + sum.failing == 0 {
                continue;
            }
            let Some(cluster) = shard.cluster(&view.id) else { continue };
            shard.install_standings(&cluster, |assignment, standing| match standing {
                InstallStanding::Blocked | InstallStanding::Rejected | InstallStanding::Failing => {
                    *troubled.entry(assignment).or_default() += 1;
                }
                InstallStanding::Waiting
                | InstallStanding::Applying
                | InstallStanding::Applied
                | InstallStanding::Kept
                | InstallStanding::Ready => {}
            });
        }
        troubled
    }
}

/// Returns the entries with the greatest counts, at most [`NAMED`].
fn worst<T: Ord>(counts: impl Iterator<Item = (T, u64)>) -> Vec<(T, u64)> {
    let mut counts: Vec<(T, u64)> = counts.collect();
    counts.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    counts.truncate(NAMED);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_worst_are_named() {
        let named = worst((0..100_u64).map(|number| (number, number % 50)));
        assert_eq!(named.len(), NAMED);
        assert_eq!(named[..3], [(49, 49), (99, 49), (48, 48)]);
    }
}
