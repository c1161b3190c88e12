//! The words of a permission: a verb on a resource of the group `starling.dev`.
//!
//! Some resources are *virtual*: no object of theirs is served by an API server, and only RBAC rules name them.

use std::fmt;

use starling_hub_core::resources::Kind;

/// The API group of every resource.
pub(crate) const GROUP: &str = "starling.dev";

/// What somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Reads one.
    Get,
    /// Reads all.
    List,
    /// Makes one.
    Create,
    /// Changes one.
    Update,
    /// Removes one.
    Delete,
    /// Lets a removal go that waits.
    Approve,
    /// Drops a cluster's identity without its agent's word.
    Forget,
    /// Begins a new era after a loss of the store.
    Recover,
}

/// What it is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Workspaces.
    Workspaces,
    /// Clusters.
    Clusters,
    /// The Flux objects and installs of a cluster; virtual.
    ClusterObjects,
    /// The adoption of a cluster; virtual.
    ClusterJoin,
    /// The labels of a cluster, which decide what reaches it; virtual.
    ClusterLabels,
    /// Addons.
    Addons,
    /// Assignments, and the removals of theirs that wait.
    Assignments,
    /// The Flux objects and installs of an assignment, wherever they are; virtual.
    AssignmentObjects,
    /// Committed evidence of deletions.
    Tombstones,
    /// Join tokens of a workspace; virtual.
    JoinTokens,
    /// The hub itself; virtual, in no namespace.
    Hubs,
}

/// One thing that somebody may or may not do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attributes {
    /// What is done.
    pub verb: Verb,
    /// To what.
    pub resource: Resource,
    /// In which namespace; empty is all of them, or none for what is in none.
    pub namespace: String,
    /// To which; empty is all.
    pub name: String,
}

impl Verb {
    /// Returns the verb as RBAC rules write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Approve => "approve",
            Self::Forget => "forget",
            Self::Recover => "recover",
        }
    }
}

impl Resource {
    /// Returns the resource of a kind of documents.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Workspace => Self::Workspaces,
            Kind::ManagedCluster => Self::Clusters,
            Kind::Addon => Self::Addons,
            Kind::AddonAssignment => Self::Assignments,
            Kind::Tombstone => Self::Tombstones,
        }
    }

    /// Returns the plural as RBAC rules write it, and the subresource, which may be empty.
    #[must_use]
    pub fn plural(self) -> (&'static str, &'static str) {
        match self {
            Self::Workspaces => ("workspaces", ""),
            Self::Clusters => ("managedclusters", ""),
            Self::ClusterObjects => ("managedclusters", "objects"),
            Self::ClusterJoin => ("managedclusters", "join"),
            Self::ClusterLabels => ("managedclusters", "labels"),
            Self::Addons => ("addons", ""),
            Self::Assignments => ("addonassignments", ""),
            Self::AssignmentObjects => ("addonassignments", "objects"),
            Self::Tombstones => ("tombstones", ""),
            Self::JoinTokens => ("jointokens", ""),
            Self::Hubs => ("hubs", ""),
        }
    }

    /// Returns the resource as RBAC rules write it, subresource included.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterObjects => "managedclusters/objects",
            Self::ClusterJoin => "managedclusters/join",
            Self::ClusterLabels => "managedclusters/labels",
            Self::AssignmentObjects => "addonassignments/objects",
            Self::Workspaces
            | Self::Clusters
            | Self::Addons
            | Self::Assignments
            | Self::Tombstones
            | Self::JoinTokens
            | Self::Hubs => self.plural().0,
        }
    }

    /// Tells whether it is in a namespace.
    #[must_use]
    pub fn is_namespaced(self) -> bool {
        !matches!(self, Self::Workspaces | Self::Hubs)
    }
}

impl Attributes {
    /// Makes them.
    #[must_use]
    pub fn new(verb: Verb, resource: Resource, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { verb, resource, namespace: namespace.into(), name: name.into() }
    }

    /// Returns the smallest ClusterRole of the chart that grants it.
    #[must_use]
    pub fn granted_by(&self) -> &'static str {
        match (self.resource, self.verb) {
            (Resource::Hubs, _) | (_, Verb::Recover) => "starling-platform-admin",
            (Resource::Workspaces, Verb::Get | Verb::List) => "starling-viewer",
            (Resource::Workspaces, _) => "starling-platform-admin",
            (Resource::ClusterLabels, _) => "starling-cluster-labeller",
            (Resource::ClusterObjects, Verb::Update) => "starling-oncall",
            (Resource::AssignmentObjects, Verb::Get) => "starling-developer",
            (Resource::JoinTokens | Resource::ClusterJoin, _) => "starling-workspace-admin",
            (_, Verb::Get | Verb::List) => "starling-viewer",
            (_, Verb::Create | Verb::Update | Verb::Delete | Verb::Approve | Verb::Forget) => {
                "starling-workspace-admin"
            }
        }
    }
}

impl fmt::Display for Attributes {
    /// As in `list managedclusters in namespace retail`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb.as_str(), self.resource.as_str())?;
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        match (self.resource.is_namespaced(), self.namespace.as_str()) {
            (false, _) => Ok(()),
            (true, "") => f.write_str(" in all namespaces"),
            (true, namespace) => write!(f, " in namespace {namespace}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_spelled_as_rules_are() {
        for (attributes, text) in [
            (Attributes::new(Verb::List, Resource::Clusters, "retail", ""), "list managedclusters in namespace retail"),
            (Attributes::new(Verb::Get, Resource::Addons, "", ""), "get addons in all namespaces"),
            (
                Attributes::new(Verb::Update, Resource::ClusterObjects, "retail", "edge-1"),
                "update managedclusters/objects edge-1 in namespace retail",
            ),
            (Attributes::new(Verb::Recover, Resource::Hubs, "", "fleet"), "recover hubs fleet"),
        ] {
            assert_eq!(attributes.to_string(), text);
            let (plural, subresource) = attributes.resource.plural();
            let joined = if subresource.is_empty() { plural.to_owned() } else { format!("{plural}/{subresource}") };
            assert_eq!(attributes.resource.as_str(), joined);
        }
    }
}
