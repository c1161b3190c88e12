//! etcd's requests and answers in the words of the store: comparisons, operations, entries, what a key was seen to be.

use etcd_client::proto::{PbKeyValue, PbTxnOpResponse, PbTxnResponse};
use etcd_client::{Compare as EtcdCompare, CompareOp, GetOptions, PutOptions, TxnOp};

use super::names::Names;
use crate::store::{Compare, KeyValue, LeaseId, Revision, Write};

/// A key as it was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The revision that wrote it; zero if it is not there.
    pub(super) modified: i64,
    /// The value.
    pub(super) value: Vec<u8>,
}

impl Seen {
    pub(super) fn exists(&self) -> bool {
        self.modified != 0
    }
}

pub(super) fn compare(names: &Names, compare: &Compare) -> EtcdCompare {
    match compare {
        Compare::Exists(key) => exists(names.outer(key)),
        Compare::Absent(key) => absent(names.outer(key)),
        // To etcd, a key that is not there was written at revision 0; to callers it never compares.
        Compare::ModifiedAt(key, Revision(0)) => EtcdCompare::mod_revision(names.outer(key), CompareOp::Less, 0),
        Compare::ModifiedAt(key, revision) => modified_at(names.outer(key), signed(*revision)),
        Compare::ValueEquals(key, value) => EtcdCompare::value(names.outer(key), CompareOp::Equal, value.to_vec()),
    }
}

pub(super) fn exists(outer: impl Into<Vec<u8>>) -> EtcdCompare {
    EtcdCompare::create_revision(outer, CompareOp::Greater, 0)
}

pub(super) fn absent(outer: impl Into<Vec<u8>>) -> EtcdCompare {
    EtcdCompare::create_revision(outer, CompareOp::Equal, 0)
}

pub(super) fn modified_at(outer: impl Into<Vec<u8>>, revision: i64) -> EtcdCompare {
    EtcdCompare::mod_revision(outer, CompareOp::Equal, revision)
}

pub(super) fn operation(names: &Names, write: &Write) -> TxnOp {
    match write {
        Write::Put { key, value, lease } => {
            let options = lease.map(|lease| PutOptions::new().with_lease(lease.signed()));
            TxnOp::put(names.outer(key), value.to_vec(), options)
        }
        Write::Delete { key } => TxnOp::delete(names.outer(key), None),
    }
}

/// Reads a key in a transaction.
pub(super) fn look(outer: &[u8]) -> TxnOp {
    TxnOp::get(outer.to_vec(), None)
}

/// Reads in a transaction whether a key is there, without its value.
pub(super) fn look_whether(outer: &[u8]) -> TxnOp {
    TxnOp::get(outer.to_vec(), Some(GetOptions::new().with_keys_only()))
}

/// As [`look_whether`], at a revision.
pub(super) fn look_whether_at(outer: &[u8], at: i64) -> TxnOp {
    TxnOp::get(outer.to_vec(), Some(GetOptions::new().with_keys_only().with_revision(at)))
}

/// Returns what the reads of a transaction saw, in their order.
pub(super) fn seen(response: PbTxnResponse) -> Vec<Seen> {
    entries(response).into_iter().map(|entry| entry.map(Seen::from).unwrap_or_default()).collect()
}

/// Returns the entries that the reads of single keys found, in their order.
pub(super) fn entries(response: PbTxnResponse) -> Vec<Option<PbKeyValue>> {
    let ranges = response.responses.into_iter().filter_map(|operation| match operation.response {
        Some(PbTxnOpResponse::ResponseRange(range)) => Some(range.kvs.into_iter().next()),
        Some(
            PbTxnOpResponse::ResponsePut(_) | PbTxnOpResponse::ResponseDeleteRange(_) | PbTxnOpResponse::ResponseTxn(_),
        )
        | None => None,
    });
    ranges.collect()
}

/// Returns an entry as callers know it; `None` for what is not theirs.
pub(super) fn entry(names: &Names, entry: PbKeyValue) -> Option<KeyValue> {
    let key = names.inner(&entry.key)?.to_vec();
    Some(KeyValue {
        key,
        value: entry.value.into(),
        created: revision(entry.create_revision),
        modified: revision(entry.mod_revision),
        lease: (entry.lease != 0).then_some(LeaseId(entry.lease.cast_unsigned())),
    })
}

/// Returns the revision that an answer carries.
pub(super) fn at(header: Option<&etcd_client::proto::PbResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

pub(super) fn revision(revision: i64) -> Revision {
    Revision(revision.try_into().unwrap_or(0))
}

pub(super) fn signed(revision: Revision) -> i64 {
    revision.0.try_into().unwrap_or(i64::MAX)
}

impl LeaseId {
    pub(super) fn signed(self) -> i64 {
        self.0.cast_signed()
    }
}

impl From<PbKeyValue> for Seen {
    fn from(entry: PbKeyValue) -> Self {
        Self { modified: entry.mod_revision, value: entry.value }
    }
}
