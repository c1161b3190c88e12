//! The store: one trait shaped like etcd, under everything that has to survive the process.
//!
//! Owns the words of the trait (keys, values, revisions, transactions, watches, leases), the embedded implementation
//! over one redb file, its twin in memory, the one over [`etcd`], and the one table of keys ([`keys`]). Does not own what is
//! written: that is the steward's, and the records are `starling-hub-core`'s.

pub mod embedded;
pub mod etcd;
mod feed;
pub mod keys;
mod lease;
mod medium;
pub mod memory;
pub mod redb;
pub mod transfer;

#[cfg(test)]
mod contract;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

/// The most bytes of one value.
pub const MAX_VALUE_BYTES: usize = 512 * 1024;

/// The most bytes of one key.
pub const MAX_KEY_BYTES: usize = 1024;

/// The most comparisons of one transaction.
pub const MAX_COMPARES: usize = 100;

/// The store's own commit number: grows with each transaction that changes something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// The name of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Bytes,
    /// The revision that made the key.
    pub created: Revision,
    /// The revision that wrote the value.
    pub modified: Revision,
    /// The lease with which the key ends.
    pub lease: Option<LeaseId>,
}

/// All keys of a prefix, as they were at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The revision; a watch goes on from it.
    pub revision: Revision,
    /// The keys in byte order.
    pub entries: Vec<KeyValue>,
}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key is there.
    Exists(Vec<u8>),
    /// The key is not there.
    Absent(Vec<u8>),
    /// The key is there and was last written at this revision.
    ModifiedAt(Vec<u8>, Revision),
    /// The key is there with this value.
    ValueEquals(Vec<u8>, Bytes),
}

/// A write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Writes a value, and binds the key to the lease or unbinds it.
    Put {
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Bytes,
        /// The lease with which the key ends.
        lease: Option<LeaseId>,
    },
    /// Deletes a key; nothing happens if it is not there.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
}

/// Writes that happen together, and only if every comparison holds. A key is written at most once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// The conditions.
    pub compares: Vec<Compare>,
    /// The writes.
    pub writes: Vec<Write>,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// It is durable. The revision is the newest there was if it changed nothing.
    Committed(Revision),
    /// A comparison did not hold, and nothing was written.
    Conflict,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The key was written.
    Put(KeyValue),
    /// The key was deleted.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// The events under the prefix of one transaction, whole.
    Events {
        /// The transaction's revision.
        revision: Revision,
        /// The events, in the order of the transaction's writes.
        events: Vec<Event>,
    },
    /// Events were lost, because they are too long ago. The watch is over: range again and watch from there.
    Compacted,
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The value is larger than [`MAX_VALUE_BYTES`].
    #[error("the value of {key} has {bytes} bytes, and the limit is {MAX_VALUE_BYTES}")]
    ValueTooLarge {
        /// The key, for people.
        key: String,
        /// The value's size.
        bytes: usize,
    },
    /// The key is empty or longer than [`MAX_KEY_BYTES`].
    #[error("a key has {0} bytes, and 1 to {MAX_KEY_BYTES} are allowed")]
    KeySize(usize),
    /// A transaction writes a key twice.
    #[error("a transaction writes {0} twice")]
    WrittenTwice(String),
    /// A transaction compares more than [`MAX_COMPARES`] times.
    #[error("a transaction has {0} comparisons, and the limit is {MAX_COMPARES}")]
    TooManyCompares(usize),
    /// No such lease, or it has ended.
    #[error("lease {} does not exist or has ended", .0.0)]
    LeaseEnded(LeaseId),
    /// Another process has the file.
    #[error("{} is in use: another starling-hub holds its lock, and one process is the whole hub", .0.display())]
    InUse(PathBuf),
    /// The file is not a store, or one that this build cannot read.
    #[error("{} cannot be used as a store: {problem}", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// What is stored was written by a build that this one does not understand.
    #[error("the store has format {found:?}, and this build understands {understood:?}: run the build that wrote it")]
    Format {
        /// What was found.
        found: String,
        /// What this build understands.
        understood: &'static str,
    },
    /// A key or a value that this build does not understand: another build wrote it.
    #[error("the store holds what this build does not understand: {0}")]
    NotUnderstood(#[from] keys::CodecError),
    /// What lies there is another fleet's.
    #[error(
        "the store is of the fleet {found:?}, and this hub is of {wanted:?}: give each fleet a store or a prefix of its own"
    )]
    OtherFleet {
        /// Whose it is.
        found: String,
        /// Whose was expected.
        wanted: String,
    },
    /// What lies there is not Starling's.
    #[error(
        "the store holds the key {0:?}, which is not Starling's: choose a place (--etcd-prefix) that nothing else uses"
    )]
    Foreign(String),
    /// It fails until somebody changes something: an address, a certificate, a password, a permission.
    #[error("the store cannot be used: {0}")]
    Refused(String),
    /// It failed now and can succeed later. A transaction that ended so was written or was not: a store of one process has not
    /// written it, and over etcd that is not known. This process's next transaction settles it before it begins: it sees what was
    /// written, and what was not never will be.
    #[error("cannot {doing} the store: {problem}")]
    Unavailable {
        /// What was being done, such as `write to`.
        doing: &'static str,
        /// What went wrong.
        problem: String,
    },
    /// What was read back cannot be.
    #[error("the store is damaged: {0}")]
    Damaged(String),
}

/// What is stored, for everybody above.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Returns one key.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Damaged`].
    async fn get(&self, key: &[u8]) -> Result<Option<KeyValue>, StoreError>;

    /// Returns all keys with a prefix, at one revision.
    ///
    /// # Errors
    /// As [`Store::get`].
    async fn range(&self, prefix: &[u8]) -> Result<Range, StoreError>;

    /// Returns one key with a prefix, whichever, if there is any.
    ///
    /// # Errors
    /// As [`Store::get`].
    async fn any(&self, prefix: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.range(prefix).await?.entries.into_iter().next().map(|entry| entry.key))
    }

    /// Commits a transaction, durably, before it returns. A caller that stops waiting does not stop the transaction.
    ///
    /// # Errors
    /// Limits or an ended lease; then nothing was written. As [`Store::get`]; then see [`StoreError::Unavailable`].
    async fn transact(&self, transaction: Transaction) -> Result<Outcome, StoreError>;

    /// Watches the keys with a prefix, from the first revision after `after`.
    ///
    /// # Errors
    /// As [`Store::get`].
    async fn watch(&self, prefix: &[u8], after: Revision) -> Result<Box<dyn Watch>, StoreError>;

    /// Makes a lease that ends `time_to_live` after it was made or last kept alive.
    ///
    /// # Errors
    /// As [`Store::get`].
    async fn grant(&self, time_to_live: Duration) -> Result<LeaseId, StoreError>;

    /// Renews a lease.
    ///
    /// # Errors
    /// [`StoreError::LeaseEnded`], or as [`Store::get`].
    async fn keep_alive(&self, lease: LeaseId) -> Result<(), StoreError>;

    /// Ends a lease at once, and its keys with it.
    ///
    /// # Errors
    /// As [`Store::get`].
    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError>;
}

/// A watch; dropping it ends it.
#[async_trait]
pub trait Watch: Send {
    /// Waits for the next transaction that touches the prefix; may be cancelled without losing anything.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the store is gone: ask again, or watch again.
    async fn next(&mut self) -> Result<Watched, StoreError>;
}

impl Event {
    /// Returns the key that changed.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Delete { key } => key,
        }
    }
}

impl Compare {
    /// Returns the key that is compared.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Exists(key) | Self::Absent(key) | Self::ModifiedAt(key, _) | Self::ValueEquals(key, _) => key,
        }
    }
}

impl Write {
    /// Returns a put without a lease.
    #[must_use]
    pub fn put(key: impl Into<Vec<u8>>, value: impl Into<Bytes>) -> Self {
        Self::Put { key: key.into(), value: value.into(), lease: None }
    }

    /// Returns a deletion.
    #[must_use]
    pub fn delete(key: impl Into<Vec<u8>>) -> Self {
        Self::Delete { key: key.into() }
    }

    /// Returns the key that is written.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

impl Transaction {
    /// Checks what does not depend on the store's content.
    ///
    /// # Errors
    /// A limit, or a key that is written twice.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.compares.len() > MAX_COMPARES {
            return Err(StoreError::TooManyCompares(self.compares.len()));
        }
        let mut written = std::collections::BTreeSet::new();
        for write in &self.writes {
            let key = write.key();
            if key.is_empty() || key.len() > MAX_KEY_BYTES {
                return Err(StoreError::KeySize(key.len()));
            }
            if !written.insert(key) {
                return Err(StoreError::WrittenTwice(printable(key)));
            }
            if let Write::Put { value, .. } = write
                && value.len() > MAX_VALUE_BYTES
            {
                return Err(StoreError::ValueTooLarge { key: printable(key), bytes: value.len() });
            }
        }
        Ok(())
    }
}

impl StoreError {
    /// Tells whether the same call can succeed later without anybody changing it.
    #[must_use]
    pub fn retry_helps(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

fn printable(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}
