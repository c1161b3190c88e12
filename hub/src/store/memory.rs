//! The store in memory: the embedded store's twin for tests and simulation. It survives a simulated crash when the
//! simulation keeps it and opens it again with [`MemoryStore::over`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::embedded::Embedded;
use super::medium::{Applied, Change, Medium, Record, Records};
use super::{KeyValue, Range, Revision, StoreError};
use crate::ports::Clock;

/// A store without a file.
pub type MemoryStore = Embedded<MemoryMedium>;

/// The records of a [`MemoryStore`].
#[derive(Clone, Debug, Default)]
pub struct MemoryMedium {
    content: Arc<Mutex<Content>>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    revision: Revision,
    records: BTreeMap<Vec<u8>, Record>,
}

impl MemoryStore {
    /// Makes an empty store.
    #[must_use]
    pub fn empty(clock: Arc<dyn Clock>) -> Self {
        Self::over(&MemoryMedium::default(), clock)
    }

    /// Opens the same records again, as a restarted process would: leases and watches are gone.
    #[must_use]
    pub fn over(medium: &MemoryMedium, clock: Arc<dyn Clock>) -> Self {
        let mut content = medium.content.lock().expect("no holder of the records panics");
        let revision = Revision(content.revision.0 + 1);
        let before = content.records.len();
        content.records.retain(|_, record| record.lease.is_none());
        if content.records.len() < before {
            content.revision = revision;
        }
        let revision = content.revision;
        drop(content);
        Self::new(medium.clone(), revision, clock)
    }
}

impl MemoryMedium {
    /// Returns a copy that shares nothing: what a backup would hold.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let content = self.content.lock().expect("no holder of the records panics").clone();
        Self { content: Arc::new(Mutex::new(content)) }
    }
}

impl Medium for MemoryMedium {
    const BLOCKS: bool = false;

    fn get(&mut self, key: &[u8]) -> Result<Option<KeyValue>, StoreError> {
        let content = self.content.lock().expect("no holder of the records panics");
        Ok(content.records.get(key).map(|record| record.clone().into_entry(key)))
    }

    fn range(&mut self, prefix: &[u8]) -> Result<Range, StoreError> {
        let content = self.content.lock().expect("no holder of the records panics");
        let from = content.records.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        let entries = from.map(|(key, record)| record.clone().into_entry(key)).collect();
        Ok(Range { revision: content.revision, entries })
    }

    fn change(&mut self, change: Change<'_>) -> Result<Applied, StoreError> {
        let mut content = self.content.lock().expect("no holder of the records panics");
        let at = Revision(content.revision.0 + 1);
        // A change makes all of its checks before its first write, and nothing here can fail after that.
        match change(&mut content.records, at)? {
            None => Ok(Applied::Conflict),
            Some(events) if events.is_empty() => Ok(Applied::Unchanged(content.revision)),
            Some(events) => {
                content.revision = at;
                Ok(Applied::Changed(at, events))
            }
        }
    }
}

impl Records for BTreeMap<Vec<u8>, Record> {
    fn read(&self, key: &[u8]) -> Result<Option<Record>, StoreError> {
        Ok(self.get(key).cloned())
    }

    fn write(&mut self, key: &[u8], record: &Record) -> Result<(), StoreError> {
        self.insert(key.to_vec(), record.clone());
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), StoreError> {
        BTreeMap::remove(self, key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ports::SystemClock;
    use crate::store::{Store as _, Transaction, Write};

    #[tokio::test]
    async fn records_outlive_a_restart_and_a_snapshot_is_apart() {
        let medium = MemoryMedium::default();
        let open = |medium: &MemoryMedium| MemoryStore::over(medium, Arc::new(SystemClock));
        let store = open(&medium);
        let lease = store.grant(Duration::from_secs(3600)).await.unwrap();
        let leased = Write::Put { key: "leased".into(), value: "v".into(), lease: Some(lease) };
        let writes = vec![Write::put("kept", "v"), leased];
        let _ = store.transact(Transaction { compares: vec![], writes }).await.unwrap();
        let backup = medium.snapshot();
        let writes = vec![Write::put("later", "v")];
        let _ = store.transact(Transaction { compares: vec![], writes }).await.unwrap();

        let restarted = open(&medium).range(b"").await.unwrap();
        assert_eq!(restarted.entries.iter().map(|entry| &entry.key[..]).collect::<Vec<_>>(), [&b"kept"[..], b"later"]);
        let restored = open(&backup).range(b"").await.unwrap();
        assert_eq!(restored.entries.len(), 1);
        assert!(restored.revision < restarted.revision);
    }
}
