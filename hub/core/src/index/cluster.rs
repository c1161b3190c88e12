//! What is known of one cluster.

use std::borrow::Cow;
use std::collections::BTreeMap;

use starling_model::limits::truncate_text;
use starling_model::session::KindDigest;
use starling_model::{Health, InstallKey, InstallReport, Limits, Millis, ObjectKey, ObjectStatus, Uid, health};

use super::counts::HealthCounts;
use super::installs::Installs;
use super::interner::Interner;
use super::row::Row;

/// The longest part of a name that an API server accepts; also keeps page tokens short.
const NAME_BYTES: usize = 253;

/// What became of a reported object or install.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The index shows something else than before.
    Changed,
    /// It was known already.
    Unchanged,
    /// Beyond a limit, or not a name; counted for the cluster.
    Refused,
}

/// The objects and installs of one cluster.
#[derive(Debug, Default)]
pub(crate) struct ClusterStatus {
    rows: Vec<Row>,
    installs: Installs,
    counts: HealthCounts,
    refused: u64,
}

/// What the clusters of an index share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) interner: Interner,
    pub(crate) counts: HealthCounts,
    pub(crate) by_assignment: BTreeMap<Uid, HealthCounts>,
}

impl ClusterStatus {
    pub(crate) fn begin_snapshot(&mut self) {
        for row in &mut self.rows {
            row.in_snapshot = false;
        }
        self.installs.begin_snapshot();
        self.refused = 0;
    }

    pub(crate) fn finish_snapshot(&mut self, shared: &mut Shared) -> usize {
        let before = self.rows.len();
        if self.rows.iter().any(|row| !row.in_snapshot) {
            let rows = std::mem::take(&mut self.rows);
            let (kept, gone): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.in_snapshot);
            self.rows = kept;
            for row in gone {
                self.forget(row, shared);
            }
        }
        self.rows.shrink_to_fit();
        before - self.rows.len() + self.installs.finish_snapshot(&mut shared.interner)
    }

    pub(crate) fn upsert(
        &mut self,
        status: &ObjectStatus,
        limits: &Limits,
        now: Millis,
        shared: &mut Shared,
    ) -> Outcome {
        if !is_name(&status.key) {
            self.refused += 1;
            return Outcome::Refused;
        }
        let status = &*bounded_status(status, limits.text_bytes as usize);
        match self.position(&status.key, &shared.interner) {
            Ok(index) => {
                let row = &mut self.rows[index];
                let before = (row.health, row.assignment);
                let changed = row.update(status, now, &mut shared.interner);
                if before != (status.health, status.assignment) {
                    self.count_less(before.0, before.1, shared);
                    self.count_more(status.health, status.assignment, shared);
                }
                if changed { Outcome::Changed } else { Outcome::Unchanged }
            }
            Err(_) if self.rows.len() >= limits.objects as usize => {
                self.refused += 1;
                Outcome::Refused
            }
            Err(index) => {
                self.rows.insert(index, Row::new(status, now, &mut shared.interner));
                self.count_more(status.health, status.assignment, shared);
                Outcome::Changed
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &ObjectKey, shared: &mut Shared) -> Outcome {
        let Ok(index) = self.position(key, &shared.interner) else { return Outcome::Unchanged };
        let row = self.rows.remove(index);
        self.forget(row, shared);
        Outcome::Changed
    }

    pub(crate) fn report_install(&mut self, report: &InstallReport, limits: &Limits, shared: &mut Shared) -> Outcome {
        let room = self.installs.len() < limits.objects as usize;
        let is_name = |name: &str| !name.is_empty() && name.len() <= NAME_BYTES && !name.contains('/');
        let named = is_name(&report.install.namespace) && is_name(&report.install.name);
        let report = &*bounded_report(report, limits.text_bytes as usize);
        match named.then(|| self.installs.upsert(report, room, &mut shared.interner)).flatten() {
            Some(true) => Outcome::Changed,
            Some(false) => Outcome::Unchanged,
            None => {
                self.refused += 1;
                Outcome::Refused
            }
        }
    }

    pub(crate) fn remove_install(&mut self, install: &InstallKey, shared: &mut Shared) -> Outcome {
        if self.installs.remove(install, &mut shared.interner) { Outcome::Changed } else { Outcome::Unchanged }
    }

    pub(crate) fn clear(&mut self, shared: &mut Shared) {
        for row in std::mem::take(&mut self.rows) {
            self.forget(row, shared);
        }
        self.installs.clear(&mut shared.interner);
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Returns the rows behind a key, the key itself left out.
    pub(crate) fn rows_after(&self, key: &ObjectKey, interner: &Interner) -> &[Row] {
        let start = self.position(key, interner).map_or_else(|index| index, |index| index + 1);
        &self.rows[start..]
    }

    pub(crate) fn get(&self, key: &ObjectKey, interner: &Interner) -> Option<&Row> {
        self.position(key, interner).ok().map(|index| &self.rows[index])
    }

    pub(crate) fn installs(&self) -> &Installs {
        &self.installs
    }

    pub(crate) fn counts(&self) -> &HealthCounts {
        &self.counts
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    pub(crate) fn kind_count(&self) -> usize {
        self.rows.chunk_by(|one, other| (one.group, one.kind) == (other.group, other.kind)).count()
    }

    /// Computes the digests that the agent computes over the same statuses, sorted by group and kind.
    pub(crate) fn kind_digests(&self, interner: &Interner) -> Vec<KindDigest> {
        self.rows
            .chunk_by(|one, other| (one.group, one.kind) == (other.group, other.kind))
            .map(|rows| {
                let statuses: Vec<_> = rows.iter().map(|row| row.status(interner)).collect();
                KindDigest {
                    group: interner.text(rows[0].group).to_owned(),
                    kind: interner.text(rows[0].kind).to_owned(),
                    digest: health::kind_digest(statuses.iter()),
                }
            })
            .collect()
    }

    fn position(&self, key: &ObjectKey, interner: &Interner) -> Result<usize, usize> {
        // Snapshots come sorted: most objects of a first one belong behind the last.
        if self.rows.last().is_none_or(|row| row.compare(key, interner).is_lt()) {
            return Err(self.rows.len());
        }
        self.rows.binary_search_by(|row| row.compare(key, interner))
    }

    fn forget(&mut self, row: Row, shared: &mut Shared) {
        self.count_less(row.health, row.assignment, shared);
        row.release(&mut shared.interner);
    }

    fn count_more(&mut self, health: Health, assignment: Option<Uid>, shared: &mut Shared) {
        self.counts.add(health);
        shared.counts.add(health);
        if let Some(uid) = assignment {
            shared.by_assignment.entry(uid).or_default().add(health);
        }
    }

    fn count_less(&mut self, health: Health, assignment: Option<Uid>, shared: &mut Shared) {
        self.counts.subtract(health);
        shared.counts.subtract(health);
        let Some(uid) = assignment else { return };
        let counts = shared.by_assignment.get_mut(&uid).expect("every counted object added to its assignment");
        counts.subtract(health);
        if counts.is_empty() {
            shared.by_assignment.remove(&uid);
        }
    }
}

/// Tells whether a key could be one of an API server; page tokens rely on it.
fn is_name(key: &ObjectKey) -> bool {
    let part = |text: &str| text.len() <= NAME_BYTES && !text.contains('/');
    let parts = [&key.group, &key.kind, &key.namespace, &key.name];
    parts.into_iter().all(|text| part(text)) && !key.kind.is_empty() && !key.kind.contains('.') && !key.name.is_empty()
}

/// Cuts the texts of a status to their limit; an agent that keeps to what Welcome announced is never cut.
fn bounded_status(status: &ObjectStatus, limit: usize) -> Cow<'_, ObjectStatus> {
    if [&status.reason, &status.message, &status.revision].iter().all(|text| text.len() <= limit) {
        return Cow::Borrowed(status);
    }
    Cow::Owned(ObjectStatus {
        reason: truncate_text(&status.reason, limit),
        message: truncate_text(&status.message, limit),
        revision: truncate_text(&status.revision, limit),
        ..status.clone()
    })
}

fn bounded_report(report: &InstallReport, limit: usize) -> Cow<'_, InstallReport> {
    if [&report.assignment_name, &report.message, &report.last_drift].iter().all(|text| text.len() <= limit) {
        return Cow::Borrowed(report);
    }
    Cow::Owned(InstallReport {
        assignment_name: truncate_text(&report.assignment_name, limit),
        message: truncate_text(&report.message, limit),
        last_drift: truncate_text(&report.last_drift, limit),
        ..report.clone()
    })
}
