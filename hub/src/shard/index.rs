//! The status index of the process, cut into parts by cluster so that a long question blocks few writers.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use starling_hub_core::index::{Cursor, Filter, HealthCounts, Page, StatusIndex};
use starling_model::{ClusterId, Uid};

/// How many parts; each takes the clusters whose id begins with one hexadecimal digit.
const PARTS: usize = 16;

/// The parts in the order of the ids that they hold, so that answers are in one order over all.
#[derive(Debug, Default)]
pub(crate) struct IndexParts([RwLock<StatusIndex>; PARTS]);

impl IndexParts {
    /// Returns the part of a cluster for reading; never held across an await.
    pub(crate) fn read(&self, id: &ClusterId) -> RwLockReadGuard<'_, StatusIndex> {
        read(&self.0[part_of(id)])
    }

    /// Returns the part of a cluster for writing; never held across an await.
    pub(crate) fn write(&self, id: &ClusterId) -> RwLockWriteGuard<'_, StatusIndex> {
        self.0[part_of(id)].write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a filter over all parts with at most `size` objects behind `after`.
    pub(crate) fn query(&self, filter: &Filter, after: Option<&Cursor>, size: usize) -> Page {
        let mut page = Page::default();
        for (number, part) in self.0.iter().enumerate() {
            let is_before_page = after.is_some_and(|cursor| number < part_of(&cursor.cluster));
            let wanted = if is_before_page { 0 } else { size - page.objects.len() };
            let found = read(part).query(filter, after, wanted);
            page.total += found.total;
            page.more |= found.more;
            page.objects.extend(found.objects);
        }
        page
    }

    /// Returns the counts over all clusters.
    pub(crate) fn counts(&self) -> HealthCounts {
        self.sum(StatusIndex::counts)
    }

    /// Returns the counts over all objects of one assignment.
    pub(crate) fn assignment_counts(&self, assignment: &Uid) -> HealthCounts {
        self.sum(|part| part.assignment_counts(assignment))
    }

    /// Returns how many different texts are kept, and their bytes.
    pub(crate) fn texts(&self) -> (usize, usize) {
        self.0.iter().map(|part| read(part).texts()).fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
    }

    fn sum(&self, counts: impl Fn(&StatusIndex) -> HealthCounts) -> HealthCounts {
        let mut sum = HealthCounts::default();
        for part in &self.0 {
            sum.add_all(&counts(&read(part)));
        }
        sum
    }
}

fn part_of(id: &ClusterId) -> usize {
    usize::from(id.0[0] >> 4)
}

fn read(part: &RwLock<StatusIndex>) -> RwLockReadGuard<'_, StatusIndex> {
    part.read().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use starling_model::{Health, Limits, Millis, ObjectKey, ObjectStatus};

    use super::*;

    #[test]
    fn pages_run_over_all_parts_in_order() {
        let parts = IndexParts::default();
        for byte in [0x10, 0x11, 0xa0, 0xff, 0x00] {
            let id = ClusterId([byte; 16]);
            for name in ["a", "b", "c"] {
                let key = ObjectKey::new("helm.toolkit.fluxcd.io", "HelmRelease", "apps", name);
                let (reason, message, revision) = Default::default();
                let status = ObjectStatus {
                    key,
                    health: Health::Ready,
                    reason,
                    message,
                    revision,
                    generation: 1,
                    assignment: None,
                };
                parts.write(&id).upsert(id, &status, &Limits::DEFAULT, Millis(1));
            }
        }
        for size in 1..16 {
            let (mut all, mut after) = (Vec::new(), None);
            loop {
                let page = parts.query(&Filter::default(), after.as_ref(), size);
                assert_eq!(page.total, 15);
                after = page.next();
                all.extend(page.objects.into_iter().map(|found| (found.cluster, found.status.key)));
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(all.len(), 15);
            assert!(all.is_sorted());
        }
        assert_eq!(parts.counts().total(), 15);
    }
}
