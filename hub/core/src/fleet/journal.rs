//! What changed last in a fleet, so that two positions of it are told apart without looking at everything in them.

use std::collections::BTreeSet;
use std::sync::Arc;

use starling_model::{ClusterId, Uid};

use super::Fleet;
use super::shared_map::SharedMap;
use crate::change::Change;
use crate::resources::InputKey;

/// Changes that are remembered: more than come between two passes of whoever compares.
const REMEMBERED: u64 = 8192;

/// Whose plans changes between two fleets may concern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// Every cluster's.
    All,
    /// Those of these clusters, and of all that these assignments select in either fleet; perhaps of none.
    Some {
        /// The clusters.
        clusters: BTreeSet<ClusterId>,
        /// The assignments.
        assignments: BTreeSet<Uid>,
    },
}

/// Whose plan one change may concern.
#[derive(Clone, Copy, Debug)]
pub(super) enum Touch {
    All,
    Cluster(ClusterId),
    Assignment(Uid),
}

/// The newest changes of a fleet. It is no part of what a fleet says: a fleet that was read equals one that was followed.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    /// The same in every fleet that comes from one beginning, so that numbers of the two mean the same.
    lineage: Arc<()>,
    plans: Log<Touch>,
    documents: Log<InputKey>,
}

/// The newest of some things, numbered.
#[derive(Clone, Debug)]
struct Log<T> {
    /// How many there were.
    count: u64,
    newest: SharedMap<u64, T>,
}

impl Journal {
    pub(super) fn note(&mut self, touch: Touch) {
        self.plans.note(touch);
    }

    /// Notes the document that a change concerns, if it does.
    pub(super) fn note_document(&mut self, change: &Change) {
        match change {
            Change::PutInput(record) => self.documents.note(record.resource.key()),
            Change::PutDeleted(record) => self.documents.note(record.key.clone()),
            Change::DeleteInput(key) | Change::DeleteDeleted(key) => self.documents.note(key.clone()),
            Change::PutAssignment(_)
            | Change::DeleteAssignment(_)
            | Change::PutRevision(_)
            | Change::DeleteRevision(_)
            | Change::PutTombstone(_)
            | Change::DeleteTombstone(_)
            | Change::PutProposal(_)
            | Change::DeleteProposal(_)
            | Change::PutSpent(_)
            | Change::DeleteSpent(_)
            | Change::PutCluster(_)
            | Change::DeleteCluster(_)
            | Change::PutToken(_)
            | Change::DeleteToken(_)
            | Change::PutJoinToken(_)
            | Change::DeleteJoinToken(_)
            | Change::PutEra(_)
            | Change::PutRing(_) => {}
        }
    }
}

impl<T> Log<T> {
    fn note(&mut self, one: T) {
        self.newest.insert(self.count, one);
        self.count += 1;
        if let Some(old) = self.count.checked_sub(REMEMBERED + 1) {
            self.newest.remove(&old);
        }
    }

    /// Returns what came after an older state of this log; `None` if that is too long ago.
    fn since(&self, older: &Self) -> Option<impl Iterator<Item = &T>> {
        let is_remembered = older.count <= self.count && self.count - older.count <= REMEMBERED;
        is_remembered.then(|| self.newest.range(older.count..).map(|(_, one)| &**one))
    }
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self { count: 0, newest: SharedMap::default() }
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
        let (mut clusters, mut assignments) = (BTreeSet::new(), BTreeSet::new());
        for touch in self.journal_since(older)?.plans.since(&older.journal.plans)? {
            match *touch {
                Touch::All => return Some(Touched::All),
                Touch::Cluster(id) => drop(clusters.insert(id)),
                Touch::Assignment(uid) => drop(assignments.insert(uid)),
            }
        }
        Some(Touched::Some { clusters, assignments })
    }

    /// Returns the documents that came, changed or went between an older state of this fleet and this one; `None` where that is not
    /// known, as with [`Fleet::touched_since`].
    #[must_use]
    pub fn documents_touched_since(&self, older: &Self) -> Option<BTreeSet<&InputKey>> {
        Some(self.journal_since(older)?.documents.since(&older.journal.documents)?.collect())
    }

    /// Returns the journal if the other fleet's numbers mean the same in it.
    fn journal_since(&self, older: &Self) -> Option<&Journal> {
        Arc::ptr_eq(&self.journal.lineage, &older.journal.lineage).then_some(&self.journal)
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

    fn clusters<const N: usize>(names: [&str; N]) -> Option<Touched> {
        Some(Touched::Some { clusters: names.map(id).into(), assignments: BTreeSet::new() })
    }

    #[test]
    fn what_is_too_far_back_or_of_another_fleet_is_not_known() {
        let mut fleet = Fleet::new("test");
        let empty = fleet.clone();
        fleet.apply(&cluster("one"));
        assert_eq!(fleet.touched_since(&empty), clusters(["one"]));
        assert_eq!(empty.touched_since(&fleet), None, "that one is newer");
        assert_eq!(Fleet::new("test").touched_since(&empty), None, "read anew");
        for _ in 1..REMEMBERED {
            fleet.apply(&cluster("two"));
        }
        assert_eq!(fleet.touched_since(&empty), clusters(["one", "two"]));
        fleet.apply(&cluster("two"));
        assert_eq!(fleet.touched_since(&empty), None);
        assert_eq!(fleet.journal.plans.newest.len() as u64, REMEMBERED);
    }
}
