//! Lists of clusters.

use std::collections::{BTreeMap, BTreeSet};

use starling_hub_core::fleet::{ClusterInput, Fleet};
use starling_hub_core::records::ClusterStage;
use starling_model::ClusterId;
use starling_proto::v1;
use tonic::Status;

use super::Admin;
use super::detach::removal_problem;
use super::select::{Known, cut};
use crate::access::Caller;
use crate::gather::InstallQuery;
use crate::shard::{ClusterView, InstallRow};

impl Admin {
    pub(super) async fn tell_clusters(
        &self,
        caller: &Caller,
        asked: &v1::ListClustersRequest,
    ) -> Result<v1::ListClustersResponse, Status> {
        let fleet = self.fleet();
        let reach = self.clusters_in_sight(caller, &fleet, asked.selector.as_ref()).await?;
        let mut selected = self.select(&fleet, asked.selector.as_ref()).await?;
        selected.retain(|known| reach.covers(&known.name.namespace, &known.name.name));
        let total = selected.len() as u64;
        let (page, next_page_token) = cut(selected, asked.page.as_ref(), token);
        let ids: BTreeSet<ClusterId> = page.iter().map(|known| known.id).collect();
        let views = self.parts.gather.views(Some(ids.clone())).await;
        let leaving = ids.into_iter().filter(|id| matches!(fleet.stage(*id), ClusterStage::Removing { .. })).collect();
        let held = self.held_by_leaving(leaving).await;
        let told = page.into_iter().map(|known| {
            let view = views.value.get(&known.id).cloned();
            tell_cluster(&fleet, &known, view, held.get(&known.id).map_or(&[], Vec::as_slice))
        });
        let unanswered = views.unanswered.into_iter().collect();
        Ok(v1::ListClustersResponse { clusters: told.collect(), next_page_token, total, unanswered })
    }

    /// Returns what the clusters that are being emptied still hold.
    async fn held_by_leaving(&self, ids: BTreeSet<ClusterId>) -> BTreeMap<ClusterId, Vec<InstallRow>> {
        let mut held: BTreeMap<ClusterId, Vec<InstallRow>> = BTreeMap::new();
        if ids.is_empty() {
            return held;
        }
        let query = InstallQuery {
            clusters: Some(ids),
            visible: None,
            assignment: String::new(),
            after: String::new(),
            size: usize::MAX,
        };
        for row in self.parts.gather.installs(query).await.value.rows.into_iter().filter(|row| row.report.is_some()) {
            held.entry(row.cluster).or_default().push(row);
        }
        held
    }
}

fn tell_cluster(fleet: &Fleet, known: &Known, view: Option<ClusterView>, held: &[InstallRow]) -> v1::Cluster {
    let input = fleet.cluster(known.id);
    let connection = connection(fleet, input.as_ref(), view.as_ref());
    let mut cluster = v1::Cluster {
        id: known.id.to_string(),
        workspace: known.name.namespace.clone(),
        name: known.name.name.clone(),
        connection: connection.to_owned(),
        source_missing: input.as_ref().is_some_and(|input| input.record.missing.is_some()),
        labels: input.as_ref().map(|input| input.document().metadata.labels.clone()).unwrap_or_default(),
        problem: cluster_problem(fleet, input.as_ref(), view.as_ref(), held),
        ..v1::Cluster::default()
    };
    if let Some(view) = view {
        cluster.last_seen_millis = view.last_seen.0;
        cluster.facts = Some(view.facts.as_ref().clone().into());
        cluster.installs = u64::from(view.standing.installs);
        cluster.installs_ready = u64::from(view.standing.installs_ready);
        cluster.blocked = u64::from(view.standing.blocked);
        cluster.agent_version = view.agent_version;
        cluster.health = view
            .health
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(health, count)| v1::HealthCount { health: v1::Health::from(health).into(), count: u64::from(count) })
            .collect();
    }
    cluster
}

fn cluster_problem(
    fleet: &Fleet,
    input: Option<&ClusterInput>,
    view: Option<&ClusterView>,
    held: &[InstallRow],
) -> String {
    let of_session = view.and_then(|view| view.problem.clone());
    let of_limits = view.filter(|view| view.untracked + view.refused > 0).map(|view| {
        let beyond = view.untracked + view.refused;
        format!("{beyond} objects beyond the limit are not shown")
    });
    let of_resource = || {
        let problems = fleet.problems_of(&input?.record.resource.key());
        problems.into_iter().next().map(|problem| problem.message)
    };
    let connected = view.is_some_and(|view| view.connected);
    let of_removal = || removal_problem(fleet, input?, connected, held);
    let of_silence = || {
        let is_inherited = view.is_some_and(|view| view.inherited);
        is_inherited.then(|| "this is what was last known: no hub process has heard its agent since".to_owned())
    };
    of_session.or_else(of_removal).or_else(of_resource).or(of_limits).or_else(of_silence).unwrap_or_default()
}

/// The place of a cluster in the answer's order: NUL sorts before whatever a name may hold.
fn token(known: &Known) -> String {
    format!("{}\0{}", known.name.namespace, known.name.name)
}

/// Names the state of a cluster's connection, the most telling first.
pub(crate) fn connection(fleet: &Fleet, input: Option<&ClusterInput>, view: Option<&ClusterView>) -> &'static str {
    let Some(input) = input else { return "unassigned" };
    let identity = fleet.identity(input.id);
    let stage = identity.map(|record| record.stage);
    let connected = view.is_some_and(|view| view.connected);
    if input.document().spec.revoked {
        return "revoked";
    }
    if view.is_some_and(|view| view.quarantine.is_some()) {
        return "quarantined";
    }
    match stage {
        Some(ClusterStage::Removing { .. }) => return "removing",
        Some(ClusterStage::Detaching { .. }) => return "detaching",
        Some(ClusterStage::Detached { .. }) => return "pending",
        None if !connected => return "pending",
        Some(ClusterStage::Attached) | None => {}
    }
    if !connected {
        return "disconnected";
    }
    if input.document().spec.paused {
        return "paused";
    }
    if view.is_some_and(|view| view.standing.live) { "live" } else { "connecting" }
}

#[cfg(test)]
mod tests {
    use starling_model::{ClusterId, ResourceName};

    use super::*;

    #[test]
    fn tokens_are_in_the_order_of_names() {
        let known = |namespace: &str| Known { id: ClusterId([0; 16]), name: ResourceName::new(namespace, "c") };
        let names = [known("team"), known("team-b"), known("team0")];
        assert!(names.is_sorted_by_key(|known| known.name.clone()));
        assert!(names.is_sorted_by_key(token));
    }
}
