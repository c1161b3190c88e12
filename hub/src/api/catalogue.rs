//! Lists of addons and of assignments.

use std::collections::BTreeMap;

use starling_hub_core::fleet::{AssignmentInput, Fleet};
use starling_hub_core::resources::{Kind, Resource as Document, SourceKind};
use starling_hub_core::status::Tally;
use starling_model::ResourceName;
use starling_proto::v1;
use tonic::Status;

use super::Admin;
use crate::access::{Caller, Reach, Resource, Verb};
use crate::gather::Gathered;

impl Admin {
    pub(super) async fn tell_addons(
        &self,
        caller: &Caller,
        asked: &v1::ListAddonsRequest,
    ) -> Result<v1::ListAddonsResponse, Status> {
        let fleet = self.fleet();
        let reach = self.kind_in_sight(caller, &fleet, Kind::Addon, &asked.namespace).await?;
        if reach.is_nothing() {
            return Err(self.denied(caller, Verb::List, Resource::Addons, &asked.namespace, &[]));
        }
        let of_assignments = self.kind_in_sight(caller, &fleet, Kind::AddonAssignment, "").await?;
        let mut assignments: BTreeMap<ResourceName, u64> = BTreeMap::new();
        for assignment in fleet.assignments() {
            let name = &assignment.record.name;
            if !of_assignments.covers(&name.namespace, &name.name) {
                continue;
            }
            *assignments.entry(assignment.record.addon.clone()).or_default() += 1;
        }
        let addons = fleet.inputs_of(Kind::Addon).filter_map(|record| {
            let Document::Addon(addon) = &record.resource else { return None };
            let metadata = &addon.metadata;
            let name = ResourceName::new(metadata.namespace.as_str(), metadata.name.as_str());
            let newest = addon.spec.versions.last();
            let is_wanted = asked.namespace.is_empty() || asked.namespace == metadata.namespace;
            let is_seen = reach.covers(&metadata.namespace, &metadata.name);
            (is_wanted && is_seen).then(|| v1::Addon {
                namespace: metadata.namespace.clone(),
                name: metadata.name.clone(),
                title: addon.spec.title.clone(),
                description: addon.spec.description.clone(),
                versions: addon.spec.versions.iter().map(|version| version.version.clone()).collect(),
                assignments: assignments.get(&name).copied().unwrap_or_default(),
                source_missing: record.missing.is_some(),
                source: newest.and_then(|version| version.source.kind()).map(describe).unwrap_or_default(),
            })
        });
        Ok(v1::ListAddonsResponse { addons: addons.collect() })
    }

    pub(super) async fn tell_assignments(
        &self,
        caller: &Caller,
        asked: &v1::ListAssignmentsRequest,
    ) -> Result<v1::ListAssignmentsResponse, Status> {
        let fleet = self.fleet();
        let reach = self.kind_in_sight(caller, &fleet, Kind::AddonAssignment, &asked.namespace).await?;
        // Whoever sees what runs for an assignment sees the assignment.
        let of_objects = match reach.is_everywhere() {
            true => Reach::default(),
            false => self.assignment_objects_in_sight(caller, &fleet, &asked.namespace).await?,
        };
        if reach.is_nothing() && of_objects.is_nothing() {
            return Err(self.denied(caller, Verb::List, Resource::Assignments, &asked.namespace, &[]));
        }
        let is_seen = |name: &ResourceName| {
            reach.covers(&name.namespace, &name.name) || of_objects.covers(&name.namespace, &name.name)
        };
        let Gathered { value: tallies, unanswered } = self.parts.gather.tallies().await;
        let assignments = fleet
            .assignments()
            .filter(|assignment| asked.namespace.is_empty() || asked.namespace == assignment.record.name.namespace)
            .filter(|assignment| is_seen(&assignment.record.name))
            .map(|assignment| {
                let tally = tallies.get(&assignment.record.uid).copied().unwrap_or_default();
                tell_assignment(&fleet, &assignment, tally, self.selected.count(&fleet, &assignment))
            });
        let unanswered = unanswered.into_iter().collect();
        Ok(v1::ListAssignmentsResponse { assignments: assignments.collect(), unanswered })
    }
}

fn tell_assignment(fleet: &Fleet, assignment: &AssignmentInput, tally: Tally, selected: u64) -> v1::Assignment {
    let record = &assignment.record;
    let document = assignment.document();
    let key = assignment.input.resource.key();
    v1::Assignment {
        namespace: record.name.namespace.clone(),
        name: record.name.name.clone(),
        uid: record.uid.0.to_vec(),
        addon: record.addon.to_string(),
        version: document.spec.version.clone(),
        revision: record.revision.map(|digest| digest.short()).unwrap_or_default(),
        selected,
        applied: tally.applied,
        ready: tally.ready,
        failing: tally.failing,
        blocked: tally.blocked,
        source_missing: assignment.input.missing.is_some(),
        problem: fleet.problems_of(&key).into_iter().next().map(|problem| problem.message).unwrap_or_default(),
        instance: record.install.to_string(),
        selector: document.spec.cluster_selector.to_string(),
        created_millis: record.created.0,
    }
}

fn describe(source: SourceKind<'_>) -> String {
    match source {
        SourceKind::HelmRepository(source) => format!("{} chart {}", source.url, source.chart),
        SourceKind::OciChart(source) => source.url.clone(),
        SourceKind::Git(source) => format!("{} path {}", source.url, source.path),
        SourceKind::OciKustomization(source) => source.url.clone(),
    }
}
