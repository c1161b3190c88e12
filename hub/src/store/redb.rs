//! The store in one redb file, which this process has to itself.
//!
//! The lock on the file is taken once and held until the process ends, across every reopening of the database inside
//! it: redb refuses all writes after one that failed (a full disk), until it is opened again.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend, Table, TableDefinition,
    TableError,
};
use bytes::Bytes;

use super::embedded::Embedded;
use super::medium::{Applied, Change, Medium, Record, Records};
use super::{KeyValue, LeaseId, Range, Revision, StoreError};
use crate::ports::Clock;

/// The store of one process, in a file.
pub type RedbStore = Embedded<RedbMedium>;

/// The layout of the tables below, in the table `meta`.
const LAYOUT: u64 = 1;

/// What redb may keep in memory of the file; the hub reads it at start and then lives on what it has parsed.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// Key to record: created, modified and lease (0 is none) as 64-bit little-endian numbers, then the value.
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// The records of a [`RedbStore`].
pub struct RedbMedium {
    path: PathBuf,
    open: Box<dyn Fn() -> Result<Database, DatabaseError> + Send>,
    /// `None` after a failure, until the database could be opened again.
    database: Option<Database>,
}

/// A file that stays locked while this is alive, whatever redb does with it.
#[derive(Clone, Debug)]
pub(super) struct LockedFile(Arc<File>);

/// Why a change failed.
enum Failure {
    /// The change's own error; the database is well.
    Change(StoreError),
    /// The database has to be opened again. Holds what was being committed: whether it was is known after that.
    Database(String, Option<(Revision, Vec<super::Event>)>),
}

struct OpenTable<'a>(Table<'a, &'static [u8], &'static [u8]>);

impl RedbStore {
    /// Opens the file, making it where there is none; blocks.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has it, [`StoreError::Unusable`], [`StoreError::Unavailable`].
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let file = LockedFile::open(path)?;
        Self::open_with(path, move || file.clone(), clock)
    }

    /// Opens the database over a backend, a new one for each opening.
    pub(super) fn open_with<B: StorageBackend>(
        path: &Path,
        backend: impl Fn() -> B + Send + 'static,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let open = move || Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend());
        let mut medium = RedbMedium { path: path.to_owned(), open: Box::new(open), database: None };
        let revision = medium.prepare()?;
        Ok(Self::new(medium, revision, clock))
    }
}

impl RedbMedium {
    /// Checks the layout, or writes it into a new file, and ends the leases of the process before.
    fn prepare(&mut self) -> Result<Revision, StoreError> {
        let path = self.path.clone();
        let unusable = |problem: String| StoreError::Unusable { path: path.clone(), problem };
        let database = self.database().map_err(|error| match error {
            StoreError::Unavailable { problem, .. } => unusable(problem),
            error => error,
        })?;
        let layout = layout(database).map_err(|error| unusable(error.to_string()))?;
        match layout {
            None => initialise(database).map_err(|error| unusable(error.to_string()))?,
            Some(LAYOUT) => {}
            Some(other) => {
                return Err(unusable(format!("it has layout {other}, and this build understands {LAYOUT}")));
            }
        }
        let leased = self.range(b"")?.entries.into_iter().filter(|entry| entry.lease.is_some());
        let leased: Vec<Vec<u8>> = leased.map(|entry| entry.key).collect();
        let applied = self.change(&mut |records, _| {
            leased.iter().try_for_each(|key| records.remove(key))?;
            Ok(Some(leased.iter().map(|key| super::Event::Delete { key: key.clone() }).collect()))
        })?;
        match applied {
            Applied::Unchanged(revision) | Applied::Changed(revision, _) => Ok(revision),
            Applied::Conflict => Err(StoreError::Damaged("a change without conditions had a conflict".to_owned())),
        }
    }

    fn database(&mut self) -> Result<&Database, StoreError> {
        if self.database.is_none() {
            let opened = (self.open)();
            self.database = Some(opened.map_err(|error| unavailable("open", error))?);
        }
        Ok(self.database.as_ref().expect("it was opened above"))
    }

    fn read<T>(&mut self, read: impl FnOnce(&Database) -> Result<T, ::redb::Error>) -> Result<T, StoreError> {
        let done = read(self.database()?);
        done.map_err(|error| {
            self.database = None;
            unavailable("read", error)
        })
    }
}

impl Medium for RedbMedium {
    const BLOCKS: bool = true;

    fn get(&mut self, key: &[u8]) -> Result<Option<KeyValue>, StoreError> {
        let bytes = self.read(|database| {
            let table = database.begin_read()?.open_table(RECORDS)?;
            Ok(table.get(key)?.map(|guard| Bytes::copy_from_slice(guard.value())))
        })?;
        bytes.map(|bytes| Ok(decode(&bytes)?.into_entry(key))).transpose()
    }

    fn range(&mut self, prefix: &[u8]) -> Result<Range, StoreError> {
        let (revision, pairs) = self.read(|database| {
            let transaction = database.begin_read()?;
            let mut pairs = Vec::new();
            for pair in transaction.open_table(RECORDS)?.range(prefix..)? {
                let (key, bytes) = pair?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                pairs.push((key.value().to_vec(), Bytes::copy_from_slice(bytes.value())));
            }
            Ok((revision(&transaction.open_table(META)?)?, pairs))
        })?;
        let entries = pairs.into_iter().map(|(key, bytes)| Ok(decode(&bytes)?.into_entry(&key)));
        Ok(Range { revision, entries: entries.collect::<Result<_, StoreError>>()? })
    }

    fn change(&mut self, change: Change<'_>) -> Result<Applied, StoreError> {
        let (problem, pending) = match attempt(self.database()?, change) {
            Ok(applied) => return Ok(applied),
            Err(Failure::Change(error)) => return Err(error),
            Err(Failure::Database(problem, pending)) => (problem, pending),
        };
        self.database = None;
        tracing::warn!(file = %self.path.display(), %problem, "writing to the store failed, opening it again");
        // A commit that failed can have become durable all the same: the file knows.
        if let Some((at, events)) = pending
            && self.range_revision()? == at
        {
            return Ok(Applied::Changed(at, events));
        }
        Err(StoreError::Unavailable { doing: "write to", problem })
    }
}

impl RedbMedium {
    fn range_revision(&mut self) -> Result<Revision, StoreError> {
        self.read(|database| revision(&database.begin_read()?.open_table(META)?))
    }
}

impl Records for OpenTable<'_> {
    fn read(&self, key: &[u8]) -> Result<Option<Record>, StoreError> {
        let guard = self.0.get(key).map_err(|error| unavailable("read", error))?;
        guard.map(|guard| decode(&Bytes::copy_from_slice(guard.value()))).transpose()
    }

    fn write(&mut self, key: &[u8], record: &Record) -> Result<(), StoreError> {
        self.0.insert(key, encode(record).as_slice()).map_err(|error| unavailable("write to", error))?;
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.0.remove(key).map_err(|error| unavailable("write to", error))?;
        Ok(())
    }
}

impl LockedFile {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let unusable = |error: io::Error| StoreError::Unusable { path: path.to_owned(), problem: error.to_string() };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        // The name has to be as durable as what will be committed under it.
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(unusable)?;
        Ok(Self(Arc::new(file)))
    }

    /// What is written to a file without a name is gone with the process: that is no commit.
    fn check_name(&self) -> io::Result<()> {
        if self.0.metadata()?.nlink() > 0 {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::NotFound, "the file was deleted while in use: restart the hub"))
    }
}

impl StorageBackend for LockedFile {
    fn len(&self) -> Result<u64, io::Error> {
        // redb asks for the length when it opens, so that a deleted file is not opened again either.
        self.check_name()?;
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.0.sync_data()?;
        self.check_name()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.write_all_at(data, offset)
    }
}

fn attempt(database: &Database, change: Change<'_>) -> Result<Applied, Failure> {
    let broken = |error: ::redb::Error| Failure::Database(error.to_string(), None);
    let transaction = database.begin_write().map_err(|error| broken(error.into()))?;
    let mut meta = transaction.open_table(META).map_err(|error| broken(error.into()))?;
    let present = revision(&meta).map_err(broken)?;
    let at = Revision(present.0 + 1);
    let mut records = OpenTable(transaction.open_table(RECORDS).map_err(|error| broken(error.into()))?);
    let changed = change(&mut records, at);
    drop(records);
    let events = match changed {
        Ok(Some(events)) if !events.is_empty() => events,
        Ok(Some(_)) => return Ok(Applied::Unchanged(present)),
        Ok(None) => return Ok(Applied::Conflict),
        Err(StoreError::Unavailable { problem, .. }) => return Err(Failure::Database(problem, None)),
        Err(error) => return Err(Failure::Change(error)),
    };
    meta.insert("revision", at.0).map_err(|error| broken(error.into()))?;
    drop(meta);
    // Durability::Immediate is the default: the commit returns after the file is synced.
    match transaction.commit() {
        Ok(()) => Ok(Applied::Changed(at, events)),
        Err(error) => Err(Failure::Database(error.to_string(), Some((at, events)))),
    }
}

fn layout(database: &Database) -> Result<Option<u64>, ::redb::Error> {
    match database.begin_read()?.open_table(META) {
        Ok(meta) => Ok(Some(meta.get("layout")?.map_or(0, |guard| guard.value()))),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn initialise(database: &Database) -> Result<(), ::redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert("layout", LAYOUT)?;
    transaction.open_table(RECORDS)?;
    transaction.commit()?;
    Ok(())
}

fn revision(meta: &impl ReadableTable<&'static str, u64>) -> Result<Revision, ::redb::Error> {
    Ok(Revision(meta.get("revision")?.map_or(0, |guard| guard.value())))
}

fn encode(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(24 + record.value.len());
    let lease = record.lease.map_or(0, |lease| lease.0);
    for number in [record.created.0, record.modified.0, lease] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&record.value);
    bytes
}

fn decode(bytes: &Bytes) -> Result<Record, StoreError> {
    let number = |index: usize| {
        let part = bytes.get(index * 8..index * 8 + 8).and_then(|part| part.try_into().ok());
        part.map(u64::from_le_bytes).ok_or_else(|| StoreError::Damaged("a record is too short".to_owned()))
    };
    let lease = number(2)?;
    Ok(Record {
        created: Revision(number(0)?),
        modified: Revision(number(1)?),
        lease: (lease != 0).then_some(LeaseId(lease)),
        value: bytes.slice(24..),
    })
}

fn unavailable(doing: &'static str, problem: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable { doing, problem: problem.to_string() }
}

#[cfg(test)]
mod tests;
