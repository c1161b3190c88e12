//! Transactions that are larger than one of etcd's: staged in parts, committed at once by a marker, then carried out in steps.
//!
//! Parts lie under the process's own name until one transaction of etcd checks every comparison and writes the marker: that is the
//! commit. While the marker is there, nobody writes anything else; whoever wants to, helps to carry out what is left first. A step
//! carries out one part and removes it, so that none is done twice. A crash before the commit leaves parts that nobody refers to, and
//! they are swept away as soon as the lease of their head has ended.

use std::collections::{BTreeMap, BTreeSet};

use etcd_client::{GetOptions, PutOptions, Txn, TxnOp};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::Inner;
use super::chunk::{self, Marker, Staged};
use super::endpoints::Failure;
use super::names::end_of;
use super::read::Pending;
use super::wire::{self, Seen};
use crate::ports::EntropyExt as _;
use crate::store::{Compare, StoreError, Transaction, Write};

/// How long staging may take, in seconds: the life of a head's lease.
const STAGING: i64 = 120;

/// How many parts are on their way at once.
const AT_ONCE: usize = 4;

/// What the commit of a large transaction needs.
pub(super) struct Parts {
    pub(super) head: Vec<u8>,
    /// What the commit does besides.
    pub(super) operations: Vec<TxnOp>,
    pub(super) lease: i64,
    id: String,
}

impl Inner {
    /// Stages a large transaction.
    pub(super) async fn stage(&self, transaction: &Transaction) -> Result<Parts, StoreError> {
        let compared: BTreeSet<&[u8]> = transaction.compares.iter().map(Compare::key).collect();
        // What others compare has to have the very revision of the commit, and a lease may end before a part is carried out.
        let is_direct =
            |write: &Write| compared.contains(write.key()) || matches!(write, Write::Put { lease: Some(_), .. });
        if !chunk::fits(transaction.writes.iter().filter(|write| is_direct(write))) {
            return Err(StoreError::Refused(format!(
                "a transaction writes more than {} keys that are compared or under a lease",
                chunk::MAX_WRITES
            )));
        }
        let staged = transaction.writes.iter().map(|write| Staged { direct: is_direct(write), write: write.clone() });
        let parts = chunk::cut(staged.collect());

        let id = hex::encode(self.entropy.bytes::<8>());
        let (head, lease) = (self.names.head(&id), self.grant_seconds(STAGING).await?);
        let put = TxnOp::put(head.clone(), self.names.writer.clone(), Some(PutOptions::new().with_lease(lease)));
        self.txn("write to", Txn::new().and_then([put])).await?;
        let marker = Marker { id: id.clone(), chunks: parts.len() };
        let puts = parts.into_iter().enumerate().map(|(number, part)| {
            let put = TxnOp::put(self.names.chunk(&id, number), chunk::encode(&part), None);
            let txn = Txn::new().when([wire::exists(head.clone())]).and_then([put]);
            async {
                let response = self.txn("write to", txn).await?.value;
                if response.succeeded { Ok(()) } else { Err(took_too_long()) }
            }
        });
        stream::iter(puts).buffer_unordered(AT_ONCE).try_collect::<()>().await?;

        let direct = transaction.writes.iter().filter(|write| is_direct(write));
        let mut operations: Vec<TxnOp> = direct.map(|write| wire::operation(&self.names, write)).collect();
        let marker = serde_json::to_vec(&marker).expect("a marker is plain data");
        operations.push(TxnOp::put(self.names.marker.clone(), marker, None));
        operations.push(TxnOp::delete(head.clone(), None));
        Ok(Parts { head, operations, id, lease })
    }

    /// Removes what was staged in vain, or the lease of what is committed; what cannot be removed now is swept away later.
    pub(super) async fn unstage(&self, parts: Parts) {
        let removed = async {
            self.revoke_lease(parts.lease).await?;
            self.sweep_one(&parts.id).await?;
            Ok::<_, StoreError>(())
        };
        if let Err(error) = removed.await {
            tracing::warn!(%error, id = parts.id, "cannot remove the parts of a transaction yet");
        }
    }

    /// Carries out what is left of a committed transaction, together with whoever else does.
    pub(super) async fn carry_out(&self, pending: &Pending) -> Result<(), StoreError> {
        let folder = self.names.chunks(&pending.marker.id);
        let present = || wire::modified_at(self.names.marker.clone(), pending.at);
        loop {
            let options = GetOptions::new().with_range(end_of(&folder)).with_limit(4);
            let parts = self.get_outer(&folder, options).await?.kvs;
            if parts.is_empty() {
                break;
            }
            let steps = parts.into_iter().map(|part| {
                let (key, present) = (part.key, present());
                async {
                    let mut operations = vec![TxnOp::delete(key.clone(), None)];
                    operations.push(TxnOp::put(self.names.applied.clone(), key.clone(), None));
                    let staged = chunk::decode(part.value.into())?;
                    let left = staged.iter().filter(|staged| !staged.direct);
                    operations.extend(left.map(|staged| wire::operation(&self.names, &staged.write)));
                    let txn = Txn::new().when([present, wire::exists(key)]).and_then(operations);
                    // If it did not hold, somebody else has done this step.
                    self.txn("write to", txn).await?;
                    Ok::<_, StoreError>(())
                }
            });
            stream::iter(steps).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        }
        let done = Txn::new().when([present()]).and_then([TxnOp::delete(self.names.marker.clone(), None)]);
        self.txn("write to", done).await?;
        Ok(())
    }

    /// Removes the parts of transactions that were never committed.
    pub(super) async fn sweep(&self) -> Result<(), StoreError> {
        let folder = self.names.all_chunks();
        let marker = self.get_outer(&self.names.marker, GetOptions::new()).await?;
        let at = wire::at(marker.header.as_ref());
        let committed = Pending::of(&marker.kvs.into_iter().next().map(Seen::from).unwrap_or_default())?;
        let mut found: BTreeMap<String, bool> = BTreeMap::new();
        for entry in self.raw_pages(&folder, at, true).await? {
            let name = String::from_utf8_lossy(entry.key.strip_prefix(&folder[..]).unwrap_or_default()).into_owned();
            if let Some((id, part)) = name.split_once('/') {
                *found.entry(id.to_owned()).or_default() |= part == "head";
            }
        }
        for (id, has_head) in found {
            if !has_head && committed.as_ref().is_none_or(|pending| pending.marker.id != id) {
                tracing::info!(id, "removing the parts of a transaction that was never committed");
                self.sweep_one(&id).await?;
            }
        }
        Ok(())
    }

    /// Removes parts, unless they are being staged or a transaction is committed.
    async fn sweep_one(&self, id: &str) -> Result<(), Failure> {
        let folder = self.names.chunks(id);
        let is_garbage = [wire::absent(self.names.head(id)), wire::absent(self.names.marker.clone())];
        let all = etcd_client::DeleteOptions::new().with_range(end_of(&folder));
        let txn = Txn::new().when(is_garbage).and_then([TxnOp::delete(folder, Some(all))]);
        self.txn("write to", txn).await?;
        Ok(())
    }
}

fn took_too_long() -> StoreError {
    let problem = format!("a large transaction could not be staged within {STAGING} s: etcd is too slow");
    StoreError::Unavailable { doing: "write to", problem }
}
