//! The status index: every Flux object and every install report of every cluster that one hub process owns.
//!
//! Owns the compact in-memory form, the counts that are kept as things change, and the questions that it answers.
//! Does not own who is connected (a cluster that is not heard is *old* as a whole; its session knows), nor the sequence
//! of batches (see [`crate::session`]). Memory: 56 bytes an object and each text once.

mod assignments;
mod cluster;
mod counts;
mod installs;
mod interner;
mod query;
mod row;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use starling_model::session::KindDigest;
use starling_model::{
    ClusterId, Digest, InstallKey, InstallReport, InstallState, Limits, Millis, ObjectKey, ObjectStatus, Uid, install,
};

use assignments::Tag;
use cluster::{ClusterStatus, Shared};
use interner::Interner;
use row::{Detail, Row};

pub use cluster::Outcome;
pub use counts::{HealthCounts, HealthSet};
pub use query::{Cursor, CursorError, Filter, Found, Page, Visible};

/// The picture that one hub process has of its clusters.
#[derive(Debug, Default)]
pub struct StatusIndex {
    shared: Shared,
    clusters: BTreeMap<ClusterId, ClusterStatus>,
}

impl StatusIndex {
    /// Begins a snapshot of a cluster: what is not reported before [`Self::finish_snapshot`] is dropped by it.
    ///
    /// A snapshot that never ends drops nothing; beginning again starts over.
    pub fn begin_snapshot(&mut self, id: ClusterId) {
        self.clusters.entry(id).or_default().begin_snapshot();
    }

    /// Ends a snapshot; returns how many objects and installs were dropped.
    pub fn finish_snapshot(&mut self, id: ClusterId) -> usize {
        self.clusters.entry(id).or_default().finish_snapshot(&mut self.shared)
    }

    /// Takes over the status of one object, received at wall time `now`.
    pub fn upsert(&mut self, id: ClusterId, status: &ObjectStatus, limits: &Limits, now: Millis) -> Outcome {
        self.clusters.entry(id).or_default().upsert(status, limits, now, &mut self.shared)
    }

    /// Forgets one object.
    pub fn remove(&mut self, id: ClusterId, key: &ObjectKey) -> Outcome {
        let Some(cluster) = self.clusters.get_mut(&id) else { return Outcome::Unchanged };
        cluster.remove(key, &mut self.shared)
    }

    /// Takes over the report of one install.
    pub fn report_install(&mut self, id: ClusterId, report: &InstallReport, limits: &Limits) -> Outcome {
        self.clusters.entry(id).or_default().report_install(report, limits, &mut self.shared)
    }

    /// Forgets one install.
    pub fn remove_install(&mut self, id: ClusterId, install: &InstallKey) -> Outcome {
        let Some(cluster) = self.clusters.get_mut(&id) else { return Outcome::Unchanged };
        cluster.remove_install(install, &mut self.shared)
    }

    /// Forgets a cluster with everything in it; returns whether it was known.
    pub fn drop_cluster(&mut self, id: &ClusterId) -> bool {
        let Some(mut cluster) = self.clusters.remove(id) else { return false };
        cluster.clear(&mut self.shared);
        true
    }

    /// Returns the counts over all clusters.
    #[must_use]
    pub fn counts(&self) -> HealthCounts {
        self.shared.counts
    }

    /// Returns the counts of one cluster.
    #[must_use]
    pub fn cluster_counts(&self, id: &ClusterId) -> HealthCounts {
        self.clusters.get(id).map(|cluster| *cluster.counts()).unwrap_or_default()
    }

    /// Returns the counts over all objects that came from one assignment.
    #[must_use]
    pub fn assignment_counts(&self, assignment: &Uid) -> HealthCounts {
        self.shared.assignments.counts(assignment)
    }

    /// Returns the counts over the objects of every assignment in one cluster.
    #[must_use]
    pub fn counts_by_assignment(&self, id: &ClusterId) -> BTreeMap<Uid, HealthCounts> {
        let mut counts: BTreeMap<Uid, HealthCounts> = BTreeMap::new();
        for row in self.clusters.get(id).map(ClusterStatus::rows).unwrap_or_default() {
            if let Some(uid) = self.shared.assignments.uid(row.assignment) {
                counts.entry(uid).or_default().add(row.health);
            }
        }
        counts
    }

    /// Returns the message of the worst object of every assignment in one cluster; of equals, of the first by key.
    #[must_use]
    pub fn worst_messages(&self, id: &ClusterId) -> BTreeMap<Uid, &str> {
        let Some(cluster) = self.clusters.get(id) else { return BTreeMap::new() };
        let mut worst: BTreeMap<Uid, (&Row, &Detail)> = BTreeMap::new();
        for (row, detail) in cluster.rows().iter().zip(cluster.details()) {
            let Some(uid) = self.shared.assignments.uid(row.assignment) else { continue };
            let present = worst.entry(uid).or_insert((row, detail));
            if row.health < present.0.health {
                *present = (row, detail);
            }
        }
        worst.into_iter().map(|(uid, (_, detail))| (uid, self.shared.interner.text(detail.message))).collect()
    }

    /// Returns one object with its transition of health.
    #[must_use]
    pub fn object(&self, id: &ClusterId, key: &ObjectKey) -> Option<Found> {
        let (row, detail) = self.clusters.get(id)?.get(key, &self.shared.interner)?;
        Some(self.found(*id, row, detail))
    }

    /// Returns how many kinds of objects a cluster has.
    #[must_use]
    pub fn kind_count(&self, id: &ClusterId) -> usize {
        self.clusters.get(id).map_or(0, ClusterStatus::kind_count)
    }

    /// Returns the digests of a cluster's statuses, one a kind, sorted, as its agent computes them.
    #[must_use]
    pub fn kind_digests(&self, id: &ClusterId) -> Vec<KindDigest> {
        self.clusters.get(id).map(|cluster| cluster.kind_digests(&self.shared)).unwrap_or_default()
    }

    /// Returns the digest of a cluster's install reports, as its agent computes it.
    #[must_use]
    pub fn installs_digest(&self, id: &ClusterId) -> Digest {
        let reports: Vec<_> = self.installs(id).collect();
        install::installs_digest(reports.iter())
    }

    /// Lists a cluster's install reports, sorted by install.
    pub fn installs(&self, id: &ClusterId) -> impl Iterator<Item = InstallReport> + '_ {
        self.clusters.get(id).into_iter().flat_map(|cluster| cluster.installs().iter(&self.shared.interner))
    }

    /// Returns the report of one install.
    #[must_use]
    pub fn install(&self, id: &ClusterId, install: &InstallKey) -> Option<InstallReport> {
        self.clusters.get(id)?.installs().get(install, &self.shared.interner)
    }

    /// Returns how far an install came, with which render and for which assignment.
    #[must_use]
    pub fn install_progress(&self, id: &ClusterId, install: &InstallKey) -> Option<(InstallState, Digest, Uid)> {
        self.clusters.get(id)?.installs().progress(install, &self.shared.interner)
    }

    /// Returns how many reports of a cluster were refused since its last snapshot began.
    #[must_use]
    pub fn refused(&self, id: &ClusterId) -> u64 {
        self.clusters.get(id).map_or(0, ClusterStatus::refused)
    }

    /// Returns how many clusters are known, heard or old.
    #[must_use]
    pub fn cluster_count(&self) -> usize {
        self.clusters.len()
    }

    /// Returns how many different texts are kept, and their bytes.
    #[must_use]
    pub fn texts(&self) -> (usize, usize) {
        (self.shared.interner.len(), self.shared.interner.bytes())
    }

    pub(crate) fn clusters(&self) -> impl Iterator<Item = (&ClusterId, &ClusterStatus)> {
        self.clusters.iter()
    }

    pub(crate) fn cluster(&self, id: &ClusterId) -> Option<&ClusterStatus> {
        self.clusters.get(id)
    }

    fn tag(&self, assignment: &Uid) -> Option<Tag> {
        self.shared.assignments.find(assignment)
    }

    fn found(&self, cluster: ClusterId, row: &Row, detail: &Detail) -> Found {
        Found { cluster, status: self.shared.status(row, detail), since: detail.since }
    }

    pub(crate) fn interner(&self) -> &Interner {
        &self.shared.interner
    }
}
