//! What changed last in a fleet, so that two positions of it are told apart without looking at everything in them.

use std::collections::BTreeSet;
use std::sync::Arc;

use starling_model::ClusterId;

use super::Fleet;
use super::shared_map::SharedMap;

/// Changes that are remembered: more than come between two passes of whoever compares.
const REMEMBERED: u64 = 8192;

/// Whose plans changes between two fleets may concern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// Every cluster's.
    All,
    /// Those of these clusters, perhaps of none.
    Clusters(BTreeSet<ClusterId>),
}

/// Whose plan one change may concern.
#[derive(Clone, Copy, Debug)]
pub(super) enum Touch {
    All,
    Cluster(ClusterId),
}

/// The newest changes of a fleet. It is no part of what a fleet says: a fleet that was read equals one that was followed.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    /// The same in every fleet that comes from one beginning, so that numbers of the two mean the same.
    lineage: Arc<()>,
    /// How many changes there were.
    count: u64,
    newest: SharedMap<u64, Touch>,
}

impl Journal {
    pub(super) fn note(&mut self, touch: Touch) {
        self.newest.insert(self.count, touch);
        self.count += 1;
        if let Some(old) = self.count.checked_sub(REMEMBERED + 1) {
            self.newest.remove(&old);
        }
    }
}

impl PartialEq for Journal {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Fleet {
    /// Tells whose plans can differ between an older state of this fleet and this one; costs what changed. `None` where that is
    /// not known: the other is no older state of this very fleet, or too much has changed since.
    ///
    /// A fleet has one future: of two that were changed each in its own way, neither may be compared with what became of the other.
    #[must_use]
    pub fn touched_since(&self, older: &Self) -> Option<Touched> {
        let (now, then) = (&self.journal, &older.journal);
        let is_remembered = then.count <= now.count && now.count - then.count <= REMEMBERED;
        if !Arc::ptr_eq(&now.lineage, &then.lineage) || !is_remembered {
            return None;
        }
        let mut clusters = BTreeSet::new();
        for (_, touch) in now.newest.range(then.count..) {
            match **touch {
                Touch::All => return Some(Touched::All),
                Touch::Cluster(id) => drop(clusters.insert(id)),
            }
        }
        Some(Touched::Clusters(clusters))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Change;
    use crate::records::{ClusterRecord, ClusterStage};
    use starling_model::Millis;

    fn cluster(name: &str) -> Change {
        Change::PutCluster(ClusterRecord {
            id: id(name),
            name: None,
            keys: Vec::new(),
            revoked_keys: BTreeSet::new(),
            fingerprint: String::new(),
            joined: Millis(1),
            era: 1,
            joined_with: None,
            stage: ClusterStage::Attached,
        })
    }

    fn id(name: &str) -> ClusterId {
        ClusterId::derive("test", "dev", name)
    }

    #[test]
    fn what_is_too_far_back_or_of_another_fleet_is_not_known() {
        let mut fleet = Fleet::new("test");
        let empty = fleet.clone();
        fleet.apply(&cluster("one"));
        assert_eq!(fleet.touched_since(&empty), Some(Touched::Clusters([id("one")].into())));
        assert_eq!(empty.touched_since(&fleet), None, "that one is newer");
        assert_eq!(Fleet::new("test").touched_since(&empty), None, "read anew");
        for _ in 1..REMEMBERED {
            fleet.apply(&cluster("two"));
        }
        assert_eq!(fleet.touched_since(&empty), Some(Touched::Clusters([id("one"), id("two")].into())));
        fleet.apply(&cluster("two"));
        assert_eq!(fleet.touched_since(&empty), None);
        assert_eq!(fleet.journal.newest.len() as u64, REMEMBERED);
    }
}
