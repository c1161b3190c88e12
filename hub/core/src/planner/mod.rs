//! The planner: what one cluster should have now, as a pure function of the fleet and the cluster's facts.
//!
//! Owns rendering, revisions and plans. Does not own when an assignment moves to another revision, nor what is removed:
//! the steward decides these, with the budget, and the planner reads its records. No reason of one install holds up
//! another.

mod kubernetes;

use starling_model::{ClusterId, Facts, Plan};

use crate::fleet::Fleet;

pub use kubernetes::{KubernetesRange, RangeError};

/// The version of the renderer, part of every revision: it changes when the same documents render to other objects.
pub const RENDERER_VERSION: u32 = 1;

/// Computes the plan of a cluster.
///
/// A cluster without a ManagedCluster, and a revoked one, has an empty plan, which removes nothing.
#[must_use]
pub fn plan(fleet: &Fleet, cluster: ClusterId, facts: &Facts) -> Plan {
    let _ = cluster;
    Plan {
        position: fleet.position(),
        facts: facts.digest(),
        entries: Vec::new(),
        tombstones: Vec::new(),
        detach: None,
    }
}
