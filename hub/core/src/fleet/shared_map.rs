//! A sorted map that is cheap to clone and copies itself only when a clone of it changes.

use std::collections::{BTreeMap, btree_map};
use std::ops::RangeBounds;
use std::sync::Arc;

/// A sorted map of shared records; a clone costs one reference count.
#[derive(Debug)]
pub(crate) struct SharedMap<K, V>(Arc<BTreeMap<K, Arc<V>>>);

impl<K: Ord + Clone, V> SharedMap<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&Arc<V>> {
        self.0.get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<Arc<V>> {
        Arc::make_mut(&mut self.0).insert(key, Arc::new(value))
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<Arc<V>> {
        // Looking first keeps a removal of nothing from copying the map.
        self.0.contains_key(key).then(|| Arc::make_mut(&mut self.0).remove(key)).flatten()
    }

    /// Changes the value of a key, which is made first where there is none.
    pub(crate) fn update(&mut self, key: K, change: impl FnOnce(&mut V))
    where
        V: Clone + Default,
    {
        change(Arc::make_mut(Arc::make_mut(&mut self.0).entry(key).or_default()));
    }

    pub(crate) fn values(&self) -> btree_map::Values<'_, K, Arc<V>> {
        self.0.values()
    }

    pub(crate) fn range(&self, range: impl RangeBounds<K>) -> btree_map::Range<'_, K, Arc<V>> {
        self.0.range(range)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
