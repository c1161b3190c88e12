//! A sorted map whose clones share what is the same in them.

use std::ops::RangeBounds;
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

/// A sorted map of shared records. A clone costs one reference count, and a change of one record what its path in the tree
/// costs, however many clones there are: every position of a large fleet is one that somebody may still be reading.
#[derive(Debug)]
pub(crate) struct SharedMap<K: Ord, V>(RedBlackTreeMapSync<K, Arc<V>>);

impl<K: Ord + Clone, V> SharedMap<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&Arc<V>> {
        self.0.get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.insert_shared(key, Arc::new(value));
    }

    pub(crate) fn insert_shared(&mut self, key: K, value: Arc<V>) {
        self.0.insert_mut(key, value);
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<Arc<V>> {
        let removed = self.0.get(key).cloned()?;
        self.0.remove_mut(key);
        Some(removed)
    }

    /// Changes the value of a key, which is made first where there is none.
    pub(crate) fn update(&mut self, key: K, change: impl FnOnce(&mut V))
    where
        V: Clone + Default,
    {
        if let Some(value) = self.0.get_mut(&key) {
            return change(Arc::make_mut(value));
        }
        let mut value = V::default();
        change(&mut value);
        self.insert(key, value);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &Arc<V>)> {
        self.0.iter()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Arc<V>> {
        self.0.values()
    }

    pub(crate) fn range(&self, range: impl RangeBounds<K>) -> impl Iterator<Item = (&K, &Arc<V>)> {
        self.0.range(range)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.size()
    }
}

impl<K: Ord, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Ord, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self(RedBlackTreeMapSync::new_sync())
    }
}

impl<K: Ord, V: PartialEq> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0) || self.0 == other.0
    }
}
