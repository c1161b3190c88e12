//! What is known of one cluster.

use std::borrow::Cow;

use starling_model::limits::truncate_text;
use starling_model::session::KindDigest;
use starling_model::{InstallKey, InstallReport, Limits, Millis, ObjectKey, ObjectStatus, health};

use super::assignments::Assignments;
use super::counts::HealthCounts;
use super::installs::Installs;
use super::interner::Interner;
use super::row::{Detail, Row};

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
    /// Sorted by key.
    rows: Vec<Row>,
    /// The rest of each row.
    details: Vec<Detail>,
    installs: Installs,
    counts: HealthCounts,
    refused: u64,
}

/// What the clusters of an index share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) interner: Interner,
    pub(crate) counts: HealthCounts,
    pub(crate) assignments: Assignments,
}

impl Shared {
    pub(crate) fn status(&self, row: &Row, detail: &Detail) -> ObjectStatus {
        let text = |symbol| self.interner.text(symbol).to_owned();
        ObjectStatus {
            key: ObjectKey {
                group: text(row.group),
                kind: text(row.kind),
                namespace: text(row.namespace),
                name: text(row.name),
            },
            health: row.health,
            reason: text(detail.reason),
            message: text(detail.message),
            revision: text(detail.revision),
            generation: detail.generation,
            assignment: self.assignments.uid(row.assignment),
        }
    }
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
            let objects = std::mem::take(&mut self.rows).into_iter().zip(std::mem::take(&mut self.details));
            let (kept, gone): (Vec<_>, Vec<_>) = objects.partition(|(row, _)| row.in_snapshot);
            (self.rows, self.details) = kept.into_iter().unzip();
            for (row, detail) in gone {
                self.forget(row, detail, shared);
            }
        }
        self.rows.shrink_to_fit();
        self.details.shrink_to_fit();
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
            Ok(index) if self.update(index, status, now, shared) => Outcome::Changed,
            Ok(_) => Outcome::Unchanged,
            Err(_) if self.rows.len() >= limits.objects as usize => {
                self.refused += 1;
                Outcome::Refused
            }
            Err(index) => {
                self.counts.add(status.health);
                shared.counts.add(status.health);
                let tag = shared.assignments.add(status.assignment, status.health);
                self.rows.insert(index, Row::new(status, tag, &mut shared.interner));
                self.details.insert(index, Detail::new(status, now, &mut shared.interner));
                Outcome::Changed
            }
        }
    }

    /// Takes over a newer status of an object; `since` moves only when the health does.
    fn update(&mut self, index: usize, status: &ObjectStatus, now: Millis, shared: &mut Shared) -> bool {
        let (row, detail) = (&mut self.rows[index], &mut self.details[index]);
        row.in_snapshot = true;
        let mut changed = detail.update(status, &mut shared.interner);
        let was = (row.health, shared.assignments.uid(row.assignment));
        if was != (status.health, status.assignment) {
            changed = true;
            for counts in [&mut self.counts, &mut shared.counts] {
                counts.subtract(row.health);
                counts.add(status.health);
            }
            // Added first, so that an assignment is not forgotten between the two.
            let tag = shared.assignments.add(status.assignment, status.health);
            shared.assignments.remove(row.assignment, row.health);
            row.assignment = tag;
        }
        if row.health != status.health {
            detail.since = now;
            row.health = status.health;
        }
        changed
    }

    pub(crate) fn remove(&mut self, key: &ObjectKey, shared: &mut Shared) -> Outcome {
        let Ok(index) = self.position(key, &shared.interner) else { return Outcome::Unchanged };
        let (row, detail) = (self.rows.remove(index), self.details.remove(index));
        self.forget(row, detail, shared);
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
        for (row, detail) in std::mem::take(&mut self.rows).into_iter().zip(std::mem::take(&mut self.details)) {
            self.forget(row, detail, shared);
        }
        self.installs.clear(&mut shared.interner);
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(crate) fn details(&self) -> &[Detail] {
        &self.details
    }

    /// Returns the index behind a key, the key itself left out.
    pub(crate) fn after(&self, key: &ObjectKey, interner: &Interner) -> usize {
        self.position(key, interner).map_or_else(|index| index, |index| index + 1)
    }

    pub(crate) fn get(&self, key: &ObjectKey, interner: &Interner) -> Option<(&Row, &Detail)> {
        self.position(key, interner).ok().map(|index| (&self.rows[index], &self.details[index]))
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
        self.rows.chunk_by(Row::is_of_kind).count()
    }

    /// Computes the digests that the agent computes over the same statuses, sorted by group and kind.
    pub(crate) fn kind_digests(&self, shared: &Shared) -> Vec<KindDigest> {
        let mut details = self.details.iter();
        self.rows
            .chunk_by(Row::is_of_kind)
            .map(|rows| {
                let statuses: Vec<_> =
                    rows.iter().zip(&mut details).map(|(row, detail)| shared.status(row, detail)).collect();
                KindDigest {
                    group: shared.interner.text(rows[0].group).to_owned(),
                    kind: shared.interner.text(rows[0].kind).to_owned(),
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

    fn forget(&mut self, row: Row, detail: Detail, shared: &mut Shared) {
        self.counts.subtract(row.health);
        shared.counts.subtract(row.health);
        shared.assignments.remove(row.assignment, row.health);
        row.release(&mut shared.interner);
        detail.release(&mut shared.interner);
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
