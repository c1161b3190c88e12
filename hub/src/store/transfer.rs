//! Moving a store: what is carried from one to another, and the file in between.
//!
//! Owns which records move (all of the fleet's, era and position with them; not what belongs to a process that runs) and when a
//! target may be written: empty, or holding the same already. Does not own which stores these are: that is [`crate::moving`].

mod file;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use bytes::Bytes;
use starling_hub_core::change::Change;
use starling_model::{Era, Position};

use super::keys::{self, CodecError, Owner, Record};
use super::{Compare, KeyValue, Outcome, Store, StoreError, Transaction, Write};

pub use self::file::FileError;

/// What begins keys of processes that run, or of how a store works inside.
const LEFT_OUT: [&str; 5] = ["member/", "steward", "hold", "writer/", "redo"];

/// How often a target is looked at again that changes meanwhile.
const LOOKS: usize = 3;

/// All records of a fleet, as they were at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    fleet: String,
    records: BTreeMap<Vec<u8>, Bytes>,
    summary: Summary,
}

/// What a store holds, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The fleet.
    pub fleet: String,
    /// The era; none before the first start was complete.
    pub era: Option<Era>,
    /// The steward's commit number.
    pub position: Position,
    /// How many records.
    pub records: usize,
}

/// What became of writing into a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Everything was written, in one transaction.
    Now,
    /// The same was there already.
    Before,
}

/// Why a store is not moved; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is nothing to move.
    #[error("the store is empty: there is nothing to move")]
    Empty,
    /// Hub processes write while it would be moved.
    #[error(
        "{0} runs on this store: stop every hub first (on Kubernetes: scale it to 0), and wait 30 s if one was killed"
    )]
    InUse(String),
    /// The target holds something else.
    #[error(
        "the target is not empty ({found}), and differs from what would be written ({wanted}): nothing was changed"
    )]
    NotEmpty {
        /// What it holds.
        found: Box<Summary>,
        /// What would be written.
        wanted: Box<Summary>,
    },
    /// Somebody writes into the target.
    #[error("somebody else writes into the target: stop every hub on it first")]
    Busy,
}

impl Content {
    /// Reads all records of a fleet's store, at one moment. A running hub is no obstacle where `live`: then this is a backup, which
    /// the fleet is ahead of as soon as it goes on.
    ///
    /// # Errors
    /// See [`TransferError`].
    pub async fn of(store: &dyn Store, fleet: &str, live: bool) -> Result<Self, TransferError> {
        if !is_ours(store, fleet).await? {
            return Err(TransferError::Empty);
        }
        let entries = store.range(b"").await?.entries;
        if !live && let Some(process) = entries.iter().find_map(running) {
            return Err(TransferError::InUse(process));
        }
        let records = entries.into_iter().filter(moves).map(|entry| (entry.key, entry.value)).collect();
        Ok(Self::new(fleet, records).map_err(StoreError::from)?)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// See [`FileError`]; a record that this build does not understand.
    pub fn from_file(path: &Path) -> Result<Self, TransferError> {
        let (fleet, records) = file::read(path)?;
        Ok(Self::new(&fleet, records).map_err(StoreError::from)?)
    }

    /// Writes a file, which takes the place of an earlier one of the same fleet at once.
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn into_file(&self, path: &Path) -> Result<(), TransferError> {
        Ok(file::write(path, &self.fleet, &self.records)?)
    }

    /// Writes everything into an empty store, in one transaction; a store that holds the same already is left as it is.
    ///
    /// # Errors
    /// See [`TransferError`].
    pub async fn write_into(&self, store: &dyn Store) -> Result<Written, TransferError> {
        for _ in 0..LOOKS {
            if is_ours(store, &self.fleet).await? {
                let found = Self::of(store, &self.fleet, true).await?;
                if found.records == self.records {
                    return Ok(Written::Before);
                }
                return Err(TransferError::NotEmpty {
                    found: Box::new(found.summary),
                    wanted: Box::new(self.summary.clone()),
                });
            }
            let absent = |key: &str| Compare::Absent(key.into());
            let compares = vec![absent(keys::FORMAT_KEY), absent(keys::FLEET), absent(keys::POSITION)];
            let writes = self.records.iter().map(|(key, value)| Write::put(key.clone(), value.clone())).collect();
            if matches!(store.transact(Transaction { compares, writes }).await?, Outcome::Committed(_)) {
                return Ok(Written::Now);
            }
        }
        Err(TransferError::Busy)
    }

    /// Returns what it is, for people.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    fn new(fleet: &str, mut records: BTreeMap<Vec<u8>, Bytes>) -> Result<Self, CodecError> {
        // A store from before fleets had a name in it.
        records.insert(keys::FLEET.into(), Bytes::copy_from_slice(fleet.as_bytes()));
        let mut summary = Summary { fleet: fleet.to_owned(), era: None, position: Position(0), records: records.len() };
        for (key, value) in &records {
            match keys::decode_record(key, value)? {
                Record::Change(change) => {
                    if let Change::PutEra(record) = *change {
                        summary.era = Some(record.era);
                    }
                }
                Record::Position(position) => summary.position = position,
                Record::Member(..) | Record::Steward(_) | Record::Hold(_) | Record::Summaries(..) | Record::Other => {}
            }
        }
        Ok(Self { fleet: fleet.to_owned(), records, summary })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fleet, era, position, records } = self;
        write!(f, "fleet {fleet}, ")?;
        match era {
            Some(era) => write!(f, "era {}, ", era.number)?,
            None => write!(f, "before its first era, ")?,
        }
        write!(f, "position {}, {records} records", position.0)
    }
}

/// Tells whether a store holds this fleet, or nothing.
async fn is_ours(store: &dyn Store, fleet: &str) -> Result<bool, StoreError> {
    match keys::owner(store).await? {
        Owner::Nobody => Ok(false),
        Owner::Unnamed => Ok(true),
        Owner::Fleet(owner) if owner == fleet => Ok(true),
        Owner::Fleet(found) => Err(StoreError::OtherFleet { found, wanted: fleet.to_owned() }),
    }
}

fn rest(key: &[u8]) -> &[u8] {
    key.strip_prefix(keys::PREFIX).unwrap_or(key)
}

/// Tells whether a record moves: what is under a lease ends with the process that holds it.
fn moves(entry: &KeyValue) -> bool {
    entry.lease.is_none() && !LEFT_OUT.iter().any(|left_out| rest(&entry.key).starts_with(left_out.as_bytes()))
}

/// Returns the process that a record shows to be running.
fn running(entry: &KeyValue) -> Option<String> {
    entry.lease?;
    if entry.key == keys::STEWARD.as_bytes() {
        return Some(String::from_utf8_lossy(&entry.value).into_owned());
    }
    rest(&entry.key).strip_prefix(b"member/").map(|name| String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests;
