//! What a store of one process keeps its records in, and the rules of a transaction over it.
//!
//! Everything that the contract says about comparisons, revisions and events is here once, so that the file and its
//! twin in memory cannot differ in it.

use bytes::Bytes;

use super::{Compare, Event, KeyValue, LeaseId, Range, Revision, StoreError, Transaction, Write};

/// A stored value with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) created: Revision,
    pub(super) modified: Revision,
    pub(super) lease: Option<LeaseId>,
    pub(super) value: Bytes,
}

/// The records inside a transaction.
pub(super) trait Records {
    fn read(&self, key: &[u8]) -> Result<Option<Record>, StoreError>;
    fn write(&mut self, key: &[u8], record: &Record) -> Result<(), StoreError>;
    fn remove(&mut self, key: &[u8]) -> Result<(), StoreError>;
}

/// What a transaction came to.
#[derive(Debug)]
pub(super) enum Applied {
    Conflict,
    Unchanged(Revision),
    Changed(Revision, Vec<Event>),
}

/// Applies a change at a revision and returns its events; `None` is a conflict.
pub(super) type Change<'a> = &'a mut dyn FnMut(&mut dyn Records, Revision) -> Result<Option<Vec<Event>>, StoreError>;

/// A place for records. Calls block where [`Medium::BLOCKS`] says so, and are made one at a time.
pub(super) trait Medium: Send + 'static {
    /// Whether calls wait for a disk.
    const BLOCKS: bool;

    /// Returns one key.
    fn get(&mut self, key: &[u8]) -> Result<Option<KeyValue>, StoreError>;

    /// Returns the keys with a prefix and the present revision.
    fn range(&mut self, prefix: &[u8]) -> Result<Range, StoreError>;

    /// Runs a change at the next revision, and keeps it durably if it has events.
    fn change(&mut self, change: Change<'_>) -> Result<Applied, StoreError>;
}

/// Applies a transaction that passed [`Transaction::check`].
pub(super) fn apply(
    transaction: &Transaction,
    records: &mut dyn Records,
    at: Revision,
) -> Result<Option<Vec<Event>>, StoreError> {
    for compare in &transaction.compares {
        if !holds(compare, records)? {
            return Ok(None);
        }
    }
    let mut events = Vec::with_capacity(transaction.writes.len());
    for write in &transaction.writes {
        match write {
            Write::Put { key, value, lease } => {
                let created = records.read(key)?.map_or(at, |record| record.created);
                let record = Record { created, modified: at, lease: *lease, value: value.clone() };
                records.write(key, &record)?;
                events.push(Event::Put(record.into_entry(key)));
            }
            Write::Delete { key } => delete(key, records, &mut events)?,
        }
    }
    Ok(Some(events))
}

/// Deletes those of the keys that are still bound to an ended lease.
pub(super) fn end_lease(
    lease: LeaseId,
    keys: &[Vec<u8>],
    records: &mut dyn Records,
) -> Result<Option<Vec<Event>>, StoreError> {
    let mut events = Vec::new();
    for key in keys {
        if records.read(key)?.is_some_and(|record| record.lease == Some(lease)) {
            delete(key, records, &mut events)?;
        }
    }
    Ok(Some(events))
}

impl Record {
    pub(super) fn into_entry(self, key: &[u8]) -> KeyValue {
        let Self { created, modified, lease, value } = self;
        KeyValue { key: key.to_vec(), value, created, modified, lease }
    }
}

fn holds(compare: &Compare, records: &dyn Records) -> Result<bool, StoreError> {
    Ok(match compare {
        Compare::Exists(key) => records.read(key)?.is_some(),
        Compare::Absent(key) => records.read(key)?.is_none(),
        Compare::ModifiedAt(key, revision) => records.read(key)?.is_some_and(|record| record.modified == *revision),
        Compare::ValueEquals(key, value) => records.read(key)?.is_some_and(|record| record.value == *value),
    })
}

fn delete(key: &[u8], records: &mut dyn Records, events: &mut Vec<Event>) -> Result<(), StoreError> {
    if records.read(key)?.is_some() {
        records.remove(key)?;
        events.push(Event::Delete { key: key.to_vec() });
    }
    Ok(())
}
