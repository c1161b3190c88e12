//! How many clusters each assignment selects, counted once for each state of the fleet: counting looks at every cluster.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use starling_hub_core::fleet::{AssignmentInput, Fleet};
use starling_model::Uid;

/// The counts of the newest fleet that was asked for any; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Selected(Arc<Mutex<Counted>>);

#[derive(Debug, Default)]
struct Counted {
    fleet: Weak<Fleet>,
    counts: BTreeMap<Uid, u64>,
}

impl Selected {
    /// Returns how many clusters an assignment of a fleet selects.
    pub(super) fn count(&self, fleet: &Arc<Fleet>, assignment: &AssignmentInput) -> u64 {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A fleet that is gone keeps its place in memory as long as this refers to it, so that no other is taken for it.
        if !Weak::ptr_eq(&counted.fleet, &Arc::downgrade(fleet)) {
            *counted = Counted { fleet: Arc::downgrade(fleet), counts: BTreeMap::new() };
        }
        let count = counted.counts.entry(assignment.record.uid);
        *count.or_insert_with(|| fleet.selected_count(assignment.document()))
    }
}
