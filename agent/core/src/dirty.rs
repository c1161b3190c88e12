//! Which keys changed and were not sent yet.

use std::collections::BTreeSet;
use std::ops::Bound;

/// Keys that changed, taken in turn: a key that changes all the time does not hold up the others.
#[derive(Clone, Debug)]
pub(crate) struct Dirty<K> {
    keys: BTreeSet<K>,
    last: Option<K>,
}

impl<K: Ord + Clone> Dirty<K> {
    pub(crate) fn insert(&mut self, key: K) {
        self.keys.insert(key);
    }

    pub(crate) fn remove(&mut self, key: &K) {
        self.keys.remove(key);
    }

    pub(crate) fn clear(&mut self) {
        self.keys.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn peek(&self) -> Option<&K> {
        let behind = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        self.keys.range((behind, Bound::Unbounded)).next().or_else(|| self.keys.first())
    }

    pub(crate) fn pop(&mut self) {
        if let Some(key) = self.peek().cloned() {
            self.keys.remove(&key);
            self.last = Some(key);
        }
    }
}

impl<K> Default for Dirty<K> {
    fn default() -> Self {
        Self { keys: BTreeSet::new(), last: None }
    }
}
