//! The status of one resource, from the fleet, what its clusters told, and what was seen of it.

use std::collections::BTreeMap;

use starling_model::{ClusterId, Millis, ResourceName, Uid};

use super::conditions::Draft;
use super::counts::{Counts, Tally};
use super::{HeardCluster, Sighting, assignment, cluster};
use crate::fleet::{Fleet, Problem};
use crate::records::InputRecord;
use crate::resources::status::{
    ACCEPTED, AddonStatus, AssignmentStatus, ClusterStatus, Condition, Status, TombstoneStatus, WorkspaceStatus,
};
use crate::resources::{InputKey, Resource};

/// What the steward did not take of a reading of the source, by resource.
pub type Untaken = BTreeMap<InputKey, Problem>;

/// Everything that statuses are made of, at one moment.
pub struct Judge<'a> {
    /// The fleet.
    pub fleet: &'a Fleet,
    /// Its numbers.
    pub counts: &'a Counts,
    /// What the steward did not take.
    pub untaken: &'a Untaken,
    /// Why the fleet holds, if it does.
    pub hold: Option<&'a str>,
    /// The clusters that opened a session since the process started.
    pub heard: &'a BTreeMap<ClusterId, HeardCluster>,
    /// How far the installs of each assignment came, over these.
    pub tallies: &'a BTreeMap<Uid, Tally>,
    /// Every cluster that may come back after a start of the process has, or had the time to: what is not heard is not there.
    pub settled: bool,
    /// Wall time.
    pub now: Millis,
}

/// What is known of a resource when its status is made.
pub(super) struct Subject<'a> {
    /// What the fleet has of it.
    pub(super) record: &'a InputRecord,
    /// The generation that the fleet has; `None` when it has another than was seen, and is not known to have had one.
    pub(super) generation: Option<i64>,
}

/// Whether the hub took a resource as it is.
enum Acceptance {
    Known(Draft),
    /// The hub has not come to it yet.
    Open,
}

impl Judge<'_> {
    /// Returns the status that a resource should have; the present one where nothing can be said yet.
    #[must_use]
    pub fn status(&self, key: &InputKey, seen: &Sighting) -> Status {
        let record = self.fleet.input(key);
        let is_taken = record.is_some_and(|record| seen.document == Ok(record.digest));
        let present = seen.status.conditions();
        let mut status = seen.status.clone();
        let accepted = match self.acceptance(key, seen, is_taken) {
            Acceptance::Known(draft) => draft.settle(present, Some(seen.generation), self.now),
            Acceptance::Open => return status,
        };
        let observed = observed_generation(&status);
        let Some(record) = record else {
            put(&mut status, Some(seen.generation), vec![accepted]);
            return status;
        };
        let subject = Subject { record, generation: if is_taken { Some(seen.generation) } else { observed } };
        let further = self.fill(key, &subject, &mut status, present);
        let conditions = std::iter::once(accepted).chain(further).collect();
        put(&mut status, Some(seen.generation), conditions);
        status
    }

    fn acceptance(&self, key: &InputKey, seen: &Sighting, is_taken: bool) -> Acceptance {
        let refused = |problem: &Problem| {
            Draft::is_not(ACCEPTED, problem.reason, format!("{}; {}", problem.message, problem.next))
        };
        let digest = match &seen.document {
            Ok(digest) => digest,
            Err(message) => return Acceptance::Known(Draft::is_not(ACCEPTED, "Invalid", message)),
        };
        if let Some(problem) = self.untaken.get(key) {
            return Acceptance::Known(refused(problem));
        }
        if is_taken {
            let problems = self.fleet.problems_of(key);
            // That its document is missing is contradicted by its having been seen.
            let problem = problems.iter().find(|problem| problem.reason != Problem::MISSING);
            return Acceptance::Known(problem.map_or_else(|| self.taken(key), refused));
        }
        let is_deleted = self.fleet.deleted(key).is_some_and(|record| record.digest == *digest);
        if let Some(problem) = self.fleet.problems_of(key).first().filter(|_| is_deleted) {
            return Acceptance::Known(refused(problem));
        }
        match self.hold {
            Some(reason) => Acceptance::Known(Draft::unknown(ACCEPTED, "FleetHolds", reason)),
            None => Acceptance::Open,
        }
    }

    fn taken(&self, key: &InputKey) -> Draft {
        let is_judged = self.fleet.input(key).is_some_and(|record| record.judged);
        if is_judged {
            return Draft::is(ACCEPTED, "Judged", "what it names was removed, or its removal waits for approval");
        }
        Draft::is(ACCEPTED, "Accepted", "the hub works with this generation")
    }

    /// Fills in what the kind has beside conditions, and returns its conditions beside `Accepted`.
    fn fill(
        &self,
        key: &InputKey,
        subject: &Subject<'_>,
        status: &mut Status,
        present: &[Condition],
    ) -> Vec<Condition> {
        let uid = subject.record.uid.to_string();
        match (status, &subject.record.resource) {
            (Status::Workspace(status), Resource::Workspace(_)) => {
                let clusters = self.counts.clusters.get(&key.name).copied().unwrap_or_default();
                (status.uid, status.clusters) = (uid, Some(count(clusters)));
                Vec::new()
            }
            (Status::Addon(status), Resource::Addon(_)) => {
                let name = ResourceName::new(key.namespace.clone(), key.name.clone());
                let assignments = self.counts.assignments.get(&name).copied().unwrap_or_default();
                (status.uid, status.assignments) = (uid, Some(count(assignments)));
                Vec::new()
            }
            (Status::ManagedCluster(status), Resource::ManagedCluster(document)) => {
                status.uid = uid;
                cluster::fill(self, key, subject, document, status, present)
            }
            (Status::AddonAssignment(status), Resource::AddonAssignment(document)) => {
                status.uid = uid;
                assignment::fill(self, subject, document, status, present)
            }
            // A tombstone has no identity of its own that anybody would name, and a status of another kind cannot be.
            (
                Status::Workspace(_)
                | Status::ManagedCluster(_)
                | Status::Addon(_)
                | Status::AddonAssignment(_)
                | Status::Tombstone(_),
                _,
            ) => Vec::new(),
        }
    }
}

/// Turns a count into the whole number that Kubernetes knows.
pub(super) fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn observed_generation(status: &Status) -> Option<i64> {
    match status {
        Status::Workspace(WorkspaceStatus { observed_generation, .. })
        | Status::ManagedCluster(ClusterStatus { observed_generation, .. })
        | Status::Addon(AddonStatus { observed_generation, .. })
        | Status::AddonAssignment(AssignmentStatus { observed_generation, .. })
        | Status::Tombstone(TombstoneStatus { observed_generation, .. }) => *observed_generation,
    }
}

fn put(status: &mut Status, generation: Option<i64>, found: Vec<Condition>) {
    match status {
        Status::Workspace(WorkspaceStatus { observed_generation, conditions, .. })
        | Status::ManagedCluster(ClusterStatus { observed_generation, conditions, .. })
        | Status::Addon(AddonStatus { observed_generation, conditions, .. })
        | Status::AddonAssignment(AssignmentStatus { observed_generation, conditions, .. })
        | Status::Tombstone(TombstoneStatus { observed_generation, conditions, .. }) => {
            *observed_generation = generation;
            *conditions = found;
        }
    }
}
