//! What statuses count over the whole fleet, computed once for all of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use starling_model::{ResourceName, Uid};

use crate::fleet::Fleet;
use crate::records::ProposalRecord;
use crate::resources::Kind;
use crate::session::standing::InstallStanding;

/// How many clusters have an assignment at which standing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Applied in the planned render, healthy or not.
    pub applied: u64,
    /// Of these, all Flux objects are ready.
    pub ready: u64,
    /// Refused by the API server, or in trouble.
    pub failing: u64,
    /// The plan cannot render it there.
    pub blocked: u64,
}

/// What the fleet at one position says of its resources' numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub(super) clusters: BTreeMap<String, u64>,
    pub(super) assignments: BTreeMap<ResourceName, u64>,
    pub(super) selected: BTreeMap<Uid, u64>,
    pub(super) removals: BTreeMap<Uid, Removal>,
}

/// The removals of an assignment's installs that wait for approval.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Removal {
    pub(super) clusters: u64,
    pub(super) reason: String,
}

impl Tally {
    /// Counts one cluster's install.
    pub fn add(&mut self, standing: InstallStanding) {
        self.applied += u64::from(standing.is_applied());
        match standing {
            InstallStanding::Ready => self.ready += 1,
            InstallStanding::Failing | InstallStanding::Rejected => self.failing += 1,
            InstallStanding::Blocked => self.blocked += 1,
            InstallStanding::Waiting | InstallStanding::Applying | InstallStanding::Applied | InstallStanding::Kept => {
            }
        }
    }

    /// Adds what another process counted.
    pub fn add_all(&mut self, other: &Self) {
        self.applied += other.applied;
        self.ready += other.ready;
        self.failing += other.failing;
        self.blocked += other.blocked;
    }
}

impl Counts {
    /// Counts a fleet.
    #[must_use]
    pub fn of(fleet: &Fleet) -> Self {
        let mut counts = Self::default();
        for record in fleet.inputs_of(Kind::ManagedCluster) {
            *counts.clusters.entry(record.resource.namespace().to_owned()).or_default() += 1;
        }
        for assignment in fleet.assignments() {
            *counts.assignments.entry(assignment.record.addon.clone()).or_default() += 1;
            let selected = fleet.selected_count(assignment.document());
            counts.selected.insert(assignment.record.uid, selected);
        }
        for proposal in fleet.proposals() {
            counts.removals.entry(proposal.assignment).or_default().add(proposal);
        }
        counts
    }
}

impl Removal {
    fn add(&mut self, proposal: &ProposalRecord) {
        self.clusters += proposal.clusters.0.len() as u64;
        if self.reason.is_empty() {
            self.reason.clone_from(&proposal.reason);
        }
    }
}
