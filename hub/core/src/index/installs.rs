//! Install reports of one cluster, compact.

use std::cmp::Ordering;

use starling_model::{Digest, InstallKey, InstallReport, InstallState, Position, Uid};

use super::interner::{Interner, Symbol};

/// The install reports of one cluster, sorted by install.
#[derive(Debug, Default)]
pub(crate) struct Installs(Vec<InstallRow>);

#[derive(Debug)]
struct InstallRow {
    namespace: Symbol,
    name: Symbol,
    assignment: Uid,
    assignment_name: Symbol,
    render: Digest,
    revision: Digest,
    recorded: (u64, Position),
    state: InstallState,
    message: Symbol,
    drift_repairs: u64,
    last_drift: Symbol,
    in_snapshot: bool,
}

impl Installs {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn begin_snapshot(&mut self) {
        for row in &mut self.0 {
            row.in_snapshot = false;
        }
    }

    /// Drops what the snapshot did not name; returns how many.
    pub(crate) fn finish_snapshot(&mut self, interner: &mut Interner) -> usize {
        let before = self.0.len();
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.0).into_iter().partition(|row| row.in_snapshot);
        self.0 = kept;
        self.0.shrink_to_fit();
        for row in gone {
            row.release(interner);
        }
        before - self.0.len()
    }

    /// Takes a report over; `None` when there is no room for a further install.
    pub(crate) fn upsert(&mut self, report: &InstallReport, room: bool, interner: &mut Interner) -> Option<bool> {
        match self.position(&report.install, interner) {
            Ok(index) => {
                let row = &mut self.0[index];
                row.in_snapshot = true;
                if row.report(interner) == *report {
                    return Some(false);
                }
                let old = std::mem::replace(row, InstallRow::new(report, interner));
                old.release(interner);
                Some(true)
            }
            Err(_) if !room => None,
            Err(index) => {
                self.0.insert(index, InstallRow::new(report, interner));
                Some(true)
            }
        }
    }

    pub(crate) fn remove(&mut self, install: &InstallKey, interner: &mut Interner) -> bool {
        let Ok(index) = self.position(install, interner) else { return false };
        self.0.remove(index).release(interner);
        true
    }

    pub(crate) fn clear(&mut self, interner: &mut Interner) {
        for row in self.0.drain(..) {
            row.release(interner);
        }
    }

    pub(crate) fn get(&self, install: &InstallKey, interner: &Interner) -> Option<InstallReport> {
        self.position(install, interner).ok().map(|index| self.0[index].report(interner))
    }

    /// Returns how far an install came and with which render, without copying texts.
    pub(crate) fn progress(&self, install: &InstallKey, interner: &Interner) -> Option<(InstallState, Digest, Uid)> {
        let row = &self.0[self.position(install, interner).ok()?];
        Some((row.state, row.render, row.assignment))
    }

    pub(crate) fn iter<'a>(&'a self, interner: &'a Interner) -> impl Iterator<Item = InstallReport> + 'a {
        self.0.iter().map(|row| row.report(interner))
    }

    fn position(&self, install: &InstallKey, interner: &Interner) -> Result<usize, usize> {
        self.0.binary_search_by(|row| row.compare(install, interner))
    }
}

impl InstallRow {
    fn new(report: &InstallReport, interner: &mut Interner) -> Self {
        Self {
            namespace: interner.acquire(&report.install.namespace),
            name: interner.acquire(&report.install.name),
            assignment: report.assignment,
            assignment_name: interner.acquire(&report.assignment_name),
            render: report.render,
            revision: report.revision,
            recorded: report.recorded,
            state: report.state,
            message: interner.acquire(&report.message),
            drift_repairs: report.drift_repairs,
            last_drift: interner.acquire(&report.last_drift),
            in_snapshot: true,
        }
    }

    fn release(self, interner: &mut Interner) {
        for symbol in [self.namespace, self.name, self.assignment_name, self.message, self.last_drift] {
            interner.release(symbol);
        }
    }

    fn compare(&self, install: &InstallKey, interner: &Interner) -> Ordering {
        interner.text(self.namespace).cmp(&install.namespace).then_with(|| interner.text(self.name).cmp(&install.name))
    }

    fn report(&self, interner: &Interner) -> InstallReport {
        let text = |symbol| interner.text(symbol).to_owned();
        InstallReport {
            install: InstallKey { namespace: text(self.namespace), name: text(self.name) },
            assignment: self.assignment,
            assignment_name: text(self.assignment_name),
            render: self.render,
            revision: self.revision,
            recorded: self.recorded,
            state: self.state,
            message: text(self.message),
            drift_repairs: self.drift_repairs,
            last_drift: text(self.last_drift),
        }
    }
}
