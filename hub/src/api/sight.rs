//! What a caller sees of clusters, assignments and what runs for them.

use std::collections::BTreeSet;

use starling_hub_core::fleet::{ClusterInput, Fleet};
use starling_hub_core::index::Visible;
use starling_hub_core::resources::{InputKey, Kind, PLATFORM_NAMESPACE};
use starling_model::{ClusterId, ErrorCode, NameError, ResourceName};
use starling_proto::v1;
use tonic::Status;

use super::Admin;
use super::error::status;
use super::select::Known;
use crate::access::{Caller, Reach, Resource, There, Verb, Wanted};

/// What a caller sees of Flux objects and installs: all on some clusters, and those of some assignments wherever they run.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    clusters: Reach,
    assignments: Reach,
    /// The clusters whose labels the caller sees, where a question selects by labels.
    labels: Reach,
}

impl Sight {
    /// Tells whether the caller sees everything on a cluster.
    pub(super) fn covers(&self, cluster: &ResourceName) -> bool {
        self.clusters.covers(&cluster.namespace, &cluster.name)
    }

    /// Tells whether labels may select a cluster for this caller.
    pub(super) fn selects(&self, known: &Known) -> bool {
        self.labels.covers(&known.name.namespace, &known.name.name)
    }

    /// Returns what the caller sees for questions about clusters, of which only those selected matter, if any are; `None` is
    /// everything.
    pub(super) fn visible(&self, fleet: &Fleet, selected: Option<&BTreeSet<ClusterId>>) -> Option<Visible> {
        if self.clusters.is_everywhere() {
            return None;
        }
        let clusters: Vec<ClusterInput> = match selected {
            Some(ids) => ids.iter().filter_map(|id| fleet.cluster(*id)).collect(),
            None => fleet.managed_clusters().collect(),
        };
        let clusters = clusters.into_iter().filter(|cluster| self.covers(&cluster.name()));
        let assignments = fleet.assignments().filter(|assignment| {
            let name = &assignment.record.name;
            self.assignments.covers(&name.namespace, &name.name)
        });
        Some(Visible {
            clusters: clusters.map(|cluster| cluster.id).collect(),
            assignments: assignments.map(|assignment| assignment.record.uid).collect(),
        })
    }
}

impl Admin {
    /// Returns what a caller sees of the clusters of a selector; that it is nothing is refused.
    pub(super) async fn clusters_in_sight(
        &self,
        caller: &Caller,
        fleet: &Fleet,
        selector: Option<&v1::ClusterSelector>,
    ) -> Result<Reach, Status> {
        let there = || clusters_there(fleet, selector);
        self.some_reach(caller, Verb::List, Resource::Clusters, wanted_clusters(selector, &there)).await
    }

    /// Returns what a caller sees of all clusters; it may be nothing.
    pub(super) async fn all_clusters_in_sight(&self, caller: &Caller, fleet: &Fleet) -> Result<Reach, Status> {
        let there = || clusters_there(fleet, None);
        self.reach(caller, Verb::List, Resource::Clusters, wanted_clusters(None, &there)).await
    }

    /// Returns what a caller sees of the resources of a kind in a namespace; empty is any.
    pub(super) async fn kind_in_sight(
        &self,
        caller: &Caller,
        fleet: &Fleet,
        kind: Kind,
        namespace: &str,
    ) -> Result<Reach, Status> {
        let there = || There { namespaces: fleet.namespaces_of(kind), objects: Vec::new() };
        let wanted = Wanted { namespace, names: &[], there: &there };
        self.reach(caller, Verb::List, Resource::of(kind), wanted).await
    }

    /// Returns what a caller sees of what runs for assignments in a namespace; empty is any.
    pub(super) async fn assignment_objects_in_sight(
        &self,
        caller: &Caller,
        fleet: &Fleet,
        namespace: &str,
    ) -> Result<Reach, Status> {
        let there = || There { namespaces: fleet.namespaces_of(Kind::AddonAssignment), objects: Vec::new() };
        let wanted = Wanted { namespace, names: &[], there: &there };
        self.reach(caller, Verb::Get, Resource::AssignmentObjects, wanted).await
    }

    /// Returns what a caller sees of the Flux objects and installs that a question is about; that it is nothing is refused.
    pub(super) async fn sight(
        &self,
        caller: &Caller,
        fleet: &Fleet,
        selector: Option<&v1::ClusterSelector>,
        assignment: &str,
    ) -> Result<Sight, Status> {
        let assignment = if assignment.is_empty() { None } else { Some(parse_name(assignment)?) };
        let sight = self.faint_sight(caller, fleet, selector, assignment.as_ref()).await?;
        let (workspace, names) =
            selector.map_or(("", [].as_slice()), |it| (it.workspace.as_str(), it.names.as_slice()));
        if sight.clusters.is_nothing() && sight.assignments.is_nothing() {
            return Err(match assignment {
                Some(ResourceName { namespace, name }) => {
                    self.denied(caller, Verb::Get, Resource::AssignmentObjects, &namespace, &[name])
                }
                None => self.denied(caller, Verb::Get, Resource::ClusterObjects, workspace, names),
            });
        }
        if sight.labels.is_nothing() {
            return Err(self.denied(caller, Verb::List, Resource::Clusters, workspace, names));
        }
        Ok(sight)
    }

    /// The same, and it may be nothing.
    pub(super) async fn faint_sight(
        &self,
        caller: &Caller,
        fleet: &Fleet,
        selector: Option<&v1::ClusterSelector>,
        assignment: Option<&ResourceName>,
    ) -> Result<Sight, Status> {
        let there = || clusters_there(fleet, selector);
        let wanted = wanted_clusters(selector, &there);
        let clusters = self.reach(caller, Verb::Get, Resource::ClusterObjects, wanted).await?;
        let is_all = clusters.is_everywhere() || clusters.covers_namespace(wanted.namespace);
        let assignments = match assignment {
            _ if is_all => Reach::default(),
            None => {
                let there = || assignments_there(fleet, wanted.namespace);
                let wanted = Wanted { namespace: "", names: &[], there: &there };
                self.reach(caller, Verb::Get, Resource::AssignmentObjects, wanted).await?
            }
            Some(ResourceName { namespace, name }) => {
                let nothing = There::default;
                let names = [name.clone()];
                let wanted = Wanted { namespace, names: &names, there: &nothing };
                self.reach(caller, Verb::Get, Resource::AssignmentObjects, wanted).await?
            }
        };
        let labels = match selector {
            // Else whoever sees an assignment's objects could find out the labels of clusters.
            Some(selector) if !selector.labels.is_empty() => {
                self.reach(caller, Verb::List, Resource::Clusters, wanted).await?
            }
            Some(_) | None => Reach::everywhere(),
        };
        Ok(Sight { clusters, assignments, labels })
    }
}

/// Reads `namespace/name` of an assignment.
pub(super) fn parse_name(text: &str) -> Result<ResourceName, Status> {
    text.parse().map_err(|error: NameError| status(ErrorCode::InvalidRequest, format!("assignment: {error}")))
}

fn wanted_clusters<'a>(selector: Option<&'a v1::ClusterSelector>, there: &'a (dyn Fn() -> There + Sync)) -> Wanted<'a> {
    match selector {
        Some(selector) => Wanted { namespace: &selector.workspace, names: &selector.names, there },
        None => Wanted { namespace: "", names: &[], there },
    }
}

fn clusters_there(fleet: &Fleet, selector: Option<&v1::ClusterSelector>) -> There {
    let namespaces = fleet.namespaces_of(Kind::ManagedCluster);
    let names = selector.map_or([].as_slice(), |selector| selector.names.as_slice());
    let named = namespaces.iter().flat_map(|namespace| names.iter().map(move |name| (namespace, name)));
    let is_there = |(namespace, name): &(&String, &String)| {
        fleet.input(&InputKey::new(Kind::ManagedCluster, namespace.as_str(), name.as_str())).is_some()
    };
    let objects = named.filter(is_there).map(|(namespace, name)| ResourceName::new(namespace.as_str(), name.as_str()));
    There { objects: objects.collect(), namespaces }
}

/// Returns the namespaces whose assignments may reach the clusters of a workspace; of an empty one, any.
fn assignments_there(fleet: &Fleet, workspace: &str) -> There {
    let mut namespaces = fleet.namespaces_of(Kind::AddonAssignment);
    if !workspace.is_empty() {
        namespaces.retain(|namespace| namespace == workspace || namespace == PLATFORM_NAMESPACE);
    }
    There { namespaces, objects: Vec::new() }
}
