//! Reading: one key, or all keys of a prefix page by page at one revision, with a committed large transaction laid over what is not
//! carried out of it yet.

use std::collections::BTreeMap;

use etcd_client::proto::{PbKeyValue, PbRangeResponse, PbTxnResponse};
use etcd_client::{GetOptions, Txn};

use super::Inner;
use super::chunk::{self, Marker, Staged};
use super::endpoints::{Answer, Failure};
use super::failure::Refusal;
use super::names::end_of;
use super::wire::{self, Seen};
use crate::store::{Event, KeyValue, Range, StoreError, Write};

/// The most bytes of one answer.
pub(super) const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// How many bytes a page should have.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// The first page's keys, and the most of any.
const PAGE_KEYS: (usize, usize) = (200, 2000);

/// How often a range begins again because what it read was compacted meanwhile.
const RESTARTS: usize = 5;

/// A committed large transaction that is not carried out yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) marker: Marker,
    /// The transaction's revision.
    pub(super) at: i64,
}

impl Pending {
    /// Reads the marker.
    pub(super) fn of(seen: &Seen) -> Result<Option<Self>, StoreError> {
        if !seen.exists() {
            return Ok(None);
        }
        let marker = serde_json::from_slice(&seen.value)
            .map_err(|error| StoreError::Damaged(format!("the mark of a large transaction: {error}")))?;
        Ok(Some(Self { marker, at: seen.modified }))
    }
}

impl Inner {
    pub(super) async fn get(&self, key: &[u8]) -> Result<Option<KeyValue>, StoreError> {
        let (outer, marker) = (self.names.outer(key), &self.names.marker);
        for _ in 0..RESTARTS {
            let txn = Txn::new().and_then([wire::look(marker), wire::look(&outer)]);
            let response = self.txn("read", txn).await?.value;
            let at = wire::at(response.header.as_ref());
            let mut entries = wire::entries(response).into_iter();
            let pending = Pending::of(&entries.next().flatten().map(Seen::from).unwrap_or_default())?;
            let found = entries.next().flatten().and_then(|entry| wire::entry(&self.names, entry));
            let Some(pending) = pending else { return Ok(found) };
            let Some(staged) = not_compacted(self.staged(&pending, at).await)? else { continue };
            let mut entries: BTreeMap<_, _> = found.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
            lay_over(&mut entries, &pending, staged.into_iter().filter(|staged| staged.write.key() == key));
            return Ok(entries.remove(key));
        }
        Err(compacted_too_often())
    }

    pub(super) async fn range(&self, prefix: &[u8]) -> Result<Range, StoreError> {
        for _ in 0..RESTARTS {
            let response = self.get_outer(&self.names.marker, GetOptions::new()).await?;
            let at = wire::at(response.header.as_ref());
            let pending = Pending::of(&response.kvs.into_iter().next().map(Seen::from).unwrap_or_default())?;
            let Some(entries) = not_compacted(self.pages(prefix, at, false).await)? else { continue };
            let mut entries: BTreeMap<_, _> = entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
            if let Some(pending) = pending {
                let Some(staged) = not_compacted(self.staged(&pending, at).await)? else { continue };
                let under = staged.into_iter().filter(|staged| staged.write.key().starts_with(prefix));
                lay_over(&mut entries, &pending, under);
            }
            return Ok(Range { revision: wire::revision(at), entries: entries.into_values().collect() });
        }
        Err(compacted_too_often())
    }

    /// Returns one key of a prefix, if there is any; it may belong to a transaction that is being carried out.
    pub(super) async fn any(&self, prefix: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let prefix = self.names.outer(prefix);
        let mut from = prefix.clone();
        loop {
            let options = GetOptions::new().with_range(end_of(&prefix)).with_limit(100).with_keys_only();
            let page = self.get_outer(&from, options).await?;
            if let Some(key) = page.kvs.iter().find_map(|entry| self.names.inner(&entry.key)) {
                return Ok(Some(key.to_vec()));
            }
            match page.kvs.last() {
                Some(last) if page.more => from = after(&last.key),
                Some(_) | None => return Ok(None),
            }
        }
    }

    /// Returns the events of a large transaction under a prefix, as it changed what was there before.
    pub(super) async fn events(&self, pending: &Pending, prefix: &[u8]) -> Result<Vec<Event>, Failure> {
        let mut staged = self.staged(pending, pending.at).await?;
        staged.retain(|staged| staged.write.key().starts_with(prefix));
        if staged.is_empty() {
            return Ok(Vec::new());
        }
        let before = self.pages(prefix, pending.at - 1, true).await?;
        let before: BTreeMap<_, _> = before.into_iter().map(|entry| (entry.key, entry.created)).collect();
        let at = wire::revision(pending.at);
        let events = staged.into_iter().filter_map(|Staged { write, .. }| match write {
            Write::Put { key, value, lease } => {
                let created = before.get(&key).copied().unwrap_or(at);
                Some(Event::Put(KeyValue { key, value, created, modified: at, lease }))
            }
            Write::Delete { key } => before.contains_key(&key).then_some(Event::Delete { key }),
        });
        Ok(events.collect())
    }

    /// Returns the writes of a large transaction that are still staged at a revision, in their order.
    async fn staged(&self, pending: &Pending, at: i64) -> Result<Vec<Staged>, Failure> {
        let folder = self.names.chunks(&pending.marker.id);
        let mut staged = Vec::new();
        for entry in self.raw_pages(&folder, at, false).await? {
            staged.extend(chunk::decode(entry.value.into()).map_err(damaged)?);
        }
        Ok(staged)
    }

    /// Returns callers' keys with a prefix at a revision.
    async fn pages(&self, prefix: &[u8], at: i64, keys_only: bool) -> Result<Vec<KeyValue>, Failure> {
        let entries = self.raw_pages(&self.names.outer(prefix), at, keys_only).await?;
        Ok(entries.into_iter().filter_map(|entry| wire::entry(&self.names, entry)).collect())
    }

    /// Returns etcd's keys with a prefix at a revision.
    pub(super) async fn raw_pages(&self, prefix: &[u8], at: i64, keys_only: bool) -> Result<Vec<PbKeyValue>, Failure> {
        let (mut entries, mut from, mut limit) = (Vec::new(), prefix.to_vec(), PAGE_KEYS.0);
        loop {
            let count = i64::try_from(limit).unwrap_or(i64::MAX);
            let options = GetOptions::new().with_range(end_of(prefix)).with_revision(at).with_limit(count);
            let options = if keys_only { options.with_keys_only() } else { options };
            let page = match self.get_outer(&from, options).await {
                Ok(page) => page,
                Err(Failure { refusal: Refusal::AnswerTooLarge, .. }) if limit > 1 => {
                    limit = (limit / 8).max(1);
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            let bytes: usize = page.kvs.iter().map(|entry| entry.key.len() + entry.value.len() + 64).sum();
            let average = bytes / page.kvs.len().max(1) + 1;
            limit = (PAGE_BYTES / average).clamp(1, PAGE_KEYS.1);
            let more = page.more;
            entries.extend(page.kvs);
            match entries.last() {
                Some(last) if more => from = after(&last.key),
                Some(_) | None => return Ok(entries),
            }
        }
    }

    /// Reads etcd's keys once.
    pub(super) async fn get_outer(&self, from: &[u8], options: GetOptions) -> Result<PbRangeResponse, Failure> {
        let ask = |client: etcd_client::Client| {
            let (from, options) = (from.to_vec(), options.clone());
            async move { client.kv_client().max_decoding_message_size(MAX_ANSWER).get(from, Some(options)).await }
        };
        Ok(self.endpoints.call("read", ask).await?.value.0)
    }

    /// Asks for a transaction.
    pub(super) async fn txn(&self, doing: &'static str, txn: Txn) -> Result<Answer<PbTxnResponse>, Failure> {
        let ask = |client: etcd_client::Client| {
            let txn = txn.clone();
            async move { client.kv_client().max_decoding_message_size(MAX_ANSWER).txn(txn).await }
        };
        let Answer { value, in_doubt } = self.endpoints.call(doing, ask).await?;
        Ok(Answer { value: value.0, in_doubt })
    }
}

/// Lays what is staged over what was read.
fn lay_over(entries: &mut BTreeMap<Vec<u8>, KeyValue>, pending: &Pending, staged: impl Iterator<Item = Staged>) {
    let at = wire::revision(pending.at);
    for Staged { write, direct } in staged {
        match write {
            // The commit did it, and its lease may have ended since.
            Write::Put { .. } | Write::Delete { .. } if direct => {}
            Write::Put { key, value, lease } => {
                let created = entries.get(&key).map_or(at, |entry| entry.created.min(at));
                entries.insert(key.clone(), KeyValue { key, value, created, modified: at, lease });
            }
            Write::Delete { key } => {
                entries.remove(&key);
            }
        }
    }
}

/// Sorts out what was compacted while it was read, so that the reader begins again.
fn not_compacted<T>(read: Result<T, Failure>) -> Result<Option<T>, StoreError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(Failure { refusal: Refusal::Compacted, .. }) => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

fn compacted_too_often() -> StoreError {
    let problem = "etcd compacts faster than it can be read: compact less often (--auto-compaction-retention)";
    StoreError::Unavailable { doing: "read", problem: problem.to_owned() }
}

fn damaged(error: StoreError) -> Failure {
    Failure { refusal: Refusal::Error(error), in_doubt: false }
}

fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}
