//! One look at the fleet and its clusters, from which all statuses are judged.

use std::collections::BTreeMap;
use std::sync::Arc;

use starling_hub_core::fleet::{Fleet, Problem};
use starling_hub_core::records::ClusterStage;
use starling_hub_core::resources::InputKey;
use starling_hub_core::resources::status::Status;
use starling_hub_core::status::{Book, Counts, HeardCluster, Judge, Tally};
use starling_model::{ClusterId, Millis, Position, Uid};

use crate::shard::ClusterView;

/// What was seen at the last look.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The fleet's numbers, and the position that they are of.
    counts: Option<(Position, Counts)>,
    heard: BTreeMap<ClusterId, HeardCluster>,
    tallies: BTreeMap<Uid, Tally>,
}

impl Survey {
    /// Looks at the clusters, and at the fleet if it changed. Where some process did not answer, what was seen of its clusters
    /// before stands.
    pub(super) fn look(
        &mut self,
        fleet: &Arc<Fleet>,
        views: BTreeMap<ClusterId, ClusterView>,
        tallies: BTreeMap<Uid, Tally>,
        is_whole: bool,
    ) {
        let position = fleet.position();
        if self.counts.as_ref().is_none_or(|(counted, _)| *counted != position) {
            self.counts = Some((position, Counts::of(fleet)));
        }
        if is_whole {
            self.heard.clear();
            self.tallies = tallies;
        }
        self.heard.extend(views.into_values().map(|view| (view.id, heard(view))));
    }

    /// Returns the status that each object should have.
    pub(super) fn judge(
        &self,
        fleet: &Fleet,
        untaken: &BTreeMap<InputKey, Problem>,
        hold: Option<&str>,
        settled: bool,
        now: Millis,
        book: &Book,
    ) -> Vec<(InputKey, Status)> {
        let Some((_, counts)) = &self.counts else { return Vec::new() };
        let judge = Judge { fleet, counts, untaken, hold, heard: &self.heard, tallies: &self.tallies, settled, now };
        let judged = book.sightings().map(|(key, seen)| (key, seen, judge.status(key, seen)));
        // Nearly all of them say what is there already.
        let changed = judged.filter(|(key, seen, status)| book.is_wanted(key) || !seen.status.says_the_same_as(status));
        changed.map(|(key, _, status)| (key.clone(), status)).collect()
    }
}

/// Tells whether every cluster that may come back after a start of the process is there.
pub(super) fn is_settled(fleet: &Fleet, views: &BTreeMap<ClusterId, ClusterView>) -> bool {
    let attached = fleet.identities().filter(|record| record.stage == ClusterStage::Attached);
    let mut managed = attached.filter(|record| fleet.cluster(record.id).is_some());
    managed.all(|record| views.get(&record.id).is_some_and(|view| view.standing.live))
}

fn heard(view: ClusterView) -> HeardCluster {
    let beyond = view.untracked + view.refused;
    let of_limits = || (beyond > 0).then(|| format!("{beyond} objects beyond the limit are not shown"));
    HeardCluster {
        connected: view.connected,
        last_seen: view.last_seen,
        agent_version: view.agent_version,
        facts: view.facts,
        quarantined: view.quarantine.is_some(),
        problem: view.problem.or_else(of_limits),
        standing: view.standing,
        health: view.health,
    }
}
