//! What the hub says of a resource: the `status` of each kind in Kubernetes.
//!
//! Owns the shapes, for the schemas and for whoever writes them. Does not own what they say
//! ([`crate::status`]). The directory mode has no such place: there `starling get` tells the same.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Kind;

/// The type of the condition that every kind has: whether the hub took the resource as it is.
pub const ACCEPTED: &str = "Accepted";

/// The type of the condition of a ManagedCluster whose agent's session is open.
pub const CONNECTED: &str = "Connected";

/// The type of the condition of a ManagedCluster or AddonAssignment that has all that it should have, and healthy.
pub const READY: &str = "Ready";

/// The type of the condition of an AddonAssignment some of whose installs would go, once somebody approves.
pub const REMOVAL_WAITS: &str = "RemovalWaits";

/// The status of a resource of any kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Status {
    /// A Workspace's.
    Workspace(WorkspaceStatus),
    /// A ManagedCluster's.
    ManagedCluster(ClusterStatus),
    /// An Addon's.
    Addon(AddonStatus),
    /// An AddonAssignment's.
    AddonAssignment(AssignmentStatus),
    /// A Tombstone's.
    Tombstone(TombstoneStatus),
}

/// What is true of a resource now, in Kubernetes' standard form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about, such as `Ready`.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 316))]
    pub kind: String,
    /// Whether it is so.
    pub status: ConditionStatus,
    /// The `metadata.generation` that this was found for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// When the status last changed.
    #[schemars(extend("format" = "date-time"))]
    pub last_transition_time: String,
    /// Why, in one word for machines.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// Why, for people; may be empty.
    #[schemars(length(max = 32_768))]
    pub message: String,
}

/// Whether a condition is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// It cannot be told.
    Unknown,
}

/// What the hub says of a Workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkspaceStatus {
    /// The `metadata.generation` that this was found for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// The UID that a Tombstone names; the hub's own, not `metadata.uid`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// How many clusters are in the workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub clusters: Option<i64>,
    /// What is true of the workspace now: `Accepted`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What the hub says of a ManagedCluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterStatus {
    /// The `metadata.generation` that this was found for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// The UID that a Tombstone names; the hub's own, not `metadata.uid`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The cluster's identity, which its certificate names: that of the spec, or the one derived from fleet, namespace and name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The state of the agent's session: `pending` (never joined), `connecting`, `live`, `paused`, `disconnected`, `quarantined`,
    /// `revoked`, `removing` or
    /// `detaching`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub connection: String,
    /// When the agent was last heard, as of the last change of what is shown here: a connected agent is heard every few seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_seen_time: Option<String>,
    /// The agent's version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub agent_version: String,
    /// What the agent observed about its cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<ClusterFacts>,
    /// How many Flux objects have which health, such as `ready` or `failing`; zeros are left out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub health: BTreeMap<String, i64>,
    /// How many installs the cluster should have.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub installs: Option<i64>,
    /// How many of these are applied, with all of their Flux objects ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub installs_ready: Option<i64>,
    /// What is true of the cluster now: `Accepted`, `Connected`, `Ready`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What an agent observed about its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterFacts {
    /// The API server's version, such as `v1.35.4`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kubernetes_version: String,
    /// The Flux distribution's version, where it can be told.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub flux_version: String,
    /// How many nodes there are.
    #[schemars(range(min = 0))]
    pub nodes: i64,
    /// The cloud or distribution, such as `kind`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub platform: String,
}

/// What the hub says of an Addon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AddonStatus {
    /// The `metadata.generation` that this was found for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// The UID that a Tombstone names; the hub's own, not `metadata.uid`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// How many assignments are of this addon.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub assignments: Option<i64>,
    /// What is true of the addon now: `Accepted`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What the hub says of an AddonAssignment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AssignmentStatus {
    /// The `metadata.generation` that this was found for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// The UID that a Tombstone names; the hub's own, not `metadata.uid`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The addon's version that the present revision installs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The present revision: the digest of all that shapes what is installed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// How many clusters the selector matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub selected: Option<i64>,
    /// On how many clusters the present revision is applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub applied: Option<i64>,
    /// On how many clusters it is applied, with all of its Flux objects ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub ready: Option<i64>,
    /// On how many clusters it was refused, or Flux reports trouble.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub failing: Option<i64>,
    /// On how many clusters something keeps it out, such as the Kubernetes version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub blocked: Option<i64>,
    /// What is true of the assignment now: `Accepted`, `Ready`, `RemovalWaits`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What the hub says of a Tombstone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TombstoneStatus {
    /// The `metadata.generation` that this was found for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// What is true of the tombstone now: `Accepted`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl Status {
    /// Reads the status of a kind as an API server tells it; fields that this build does not know are left out.
    ///
    /// # Errors
    /// It has another form, as after somebody's hand has been at it.
    pub fn read(kind: Kind, json: serde_json::Value) -> Result<Self, serde_json::Error> {
        Ok(match kind {
            Kind::Workspace => Self::Workspace(serde_json::from_value(json)?),
            Kind::ManagedCluster => Self::ManagedCluster(serde_json::from_value(json)?),
            Kind::Addon => Self::Addon(serde_json::from_value(json)?),
            Kind::AddonAssignment => Self::AddonAssignment(serde_json::from_value(json)?),
            Kind::Tombstone => Self::Tombstone(serde_json::from_value(json)?),
        })
    }

    /// Returns the status that a kind has before the hub said anything.
    #[must_use]
    pub fn empty(kind: Kind) -> Self {
        match kind {
            Kind::Workspace => Self::Workspace(WorkspaceStatus::default()),
            Kind::ManagedCluster => Self::ManagedCluster(ClusterStatus::default()),
            Kind::Addon => Self::Addon(AddonStatus::default()),
            Kind::AddonAssignment => Self::AddonAssignment(AssignmentStatus::default()),
            Kind::Tombstone => Self::Tombstone(TombstoneStatus::default()),
        }
    }

    /// Returns the kind that it is of.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Workspace(_) => Kind::Workspace,
            Self::ManagedCluster(_) => Kind::ManagedCluster,
            Self::Addon(_) => Kind::Addon,
            Self::AddonAssignment(_) => Kind::AddonAssignment,
            Self::Tombstone(_) => Kind::Tombstone,
        }
    }

    /// Returns the conditions.
    #[must_use]
    pub fn conditions(&self) -> &[Condition] {
        match self {
            Self::Workspace(status) => &status.conditions,
            Self::ManagedCluster(status) => &status.conditions,
            Self::Addon(status) => &status.conditions,
            Self::AddonAssignment(status) => &status.conditions,
            Self::Tombstone(status) => &status.conditions,
        }
    }

    /// Tells whether two statuses say the same, whenever it was found.
    #[must_use]
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        self == other || self.without_times() == other.without_times()
    }

    /// Tells whether more changes than counts, texts and what an agent observes.
    #[must_use]
    pub fn is_transition_to(&self, other: &Self) -> bool {
        let conditions = |status: &Self| -> Vec<_> {
            let marks = status.conditions().iter().map(|condition| {
                (condition.kind.clone(), condition.status, condition.reason.clone(), condition.observed_generation)
            });
            marks.collect()
        };
        let is_elsewhere = match (self, other) {
            (Self::ManagedCluster(from), Self::ManagedCluster(to)) => {
                (&from.connection, &from.id, &from.uid) != (&to.connection, &to.id, &to.uid)
            }
            (Self::AddonAssignment(from), Self::AddonAssignment(to)) => {
                (&from.revision, &from.version, &from.uid) != (&to.revision, &to.version, &to.uid)
            }
            (
                Self::Workspace(_)
                | Self::ManagedCluster(_)
                | Self::Addon(_)
                | Self::AddonAssignment(_)
                | Self::Tombstone(_),
                _,
            ) => false,
        };
        is_elsewhere || conditions(self) != conditions(other)
    }

    /// Tells whether a cluster's session is open and its picture not complete, which seldom lasts.
    #[must_use]
    pub fn is_connecting(&self) -> bool {
        matches!(self, Self::ManagedCluster(status) if status.connection == "connecting")
    }

    fn without_times(&self) -> Self {
        let mut timeless = self.clone();
        let conditions = match &mut timeless {
            Self::Workspace(status) => &mut status.conditions,
            Self::ManagedCluster(status) => {
                status.last_seen_time = None;
                &mut status.conditions
            }
            Self::Addon(status) => &mut status.conditions,
            Self::AddonAssignment(status) => &mut status.conditions,
            Self::Tombstone(status) => &mut status.conditions,
        };
        conditions.iter_mut().for_each(|condition| condition.last_transition_time.clear());
        timeless
    }

    /// Returns a condition by its type.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions().iter().find(|condition| condition.kind == kind)
    }
}
