//! What the hub says of each resource in Kubernetes, and when it says it.
//!
//! Owns the judgement of each status from the fleet and what its clusters told, and the pace of writing: on transitions only,
//! never a write for a heartbeat. Does not own the shapes ([`crate::resources::status`]) nor the writing itself. The
//! directory mode has no statuses to write.

mod assignment;
mod book;
mod cluster;
mod conditions;
mod counts;
mod judge;
mod time;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use starling_model::{Digest, Facts, Millis};

use crate::index::HealthCounts;
use crate::resources::status::Status;
use crate::session::standing::ClusterStanding;

pub use book::{Book, Pace, Write, WriteFailure};
pub use counts::{Counts, Tally};
pub use judge::{Judge, Untaken};

/// What the API server was last seen to hold of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// `metadata.uid`: which object it is, of several that had the name.
    pub object: String,
    /// `metadata.resourceVersion`, which grows with each write; zero when it is not a number.
    pub version: u64,
    /// `metadata.generation`, which grows with each change of the specification.
    pub generation: i64,
    /// The digest of the resource that it was read into, or why it could not be.
    pub document: Result<Digest, String>,
    /// Its status; [`Status::empty`] when it has none.
    pub status: Status,
}

/// What a hub process knows of a cluster that opened a session since the process started.
#[derive(Clone, Debug, Default)]
pub struct HeardCluster {
    /// A session is open.
    pub connected: bool,
    /// Wall time when the agent was last heard; zero when it was only refused so far.
    pub last_seen: Millis,
    /// The agent's version; empty when it was only refused so far.
    pub agent_version: String,
    /// What the agent observed about its cluster.
    pub facts: Arc<Facts>,
    /// Two agents claim the cluster.
    pub quarantined: bool,
    /// What is wrong with the session, for people.
    pub problem: Option<String>,
    /// Whether it is live and ready, and how far its installs are.
    pub standing: ClusterStanding,
    /// Its objects by health.
    pub health: HealthCounts,
}
