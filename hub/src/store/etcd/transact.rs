//! Transactions that happen exactly once, whatever becomes of the connection.
//!
//! Each writing transaction also compares the process's own key with what this process last wrote there, and puts a random number
//! into it. Whoever does not hear the answer asks again: if that number is there, the first attempt had been carried out, and at the
//! key's revision; if the key changed otherwise, the first attempt cannot be carried out any more. Transactions of one process wait
//! for each other, because they all write this key.

use etcd_client::{Compare as EtcdCompare, Txn, TxnOp};
use tokio::time::Instant;

use super::Inner;
use super::chunk;
use super::endpoints::CALL;
use super::failure::Refusal;
use super::read::Pending;
use super::redo::Parts;
use super::wire::{self, Seen};
use crate::ports::EntropyExt as _;
use crate::store::{Outcome, StoreError, Transaction, Write};

/// How often a transaction is tried at least.
const ROUNDS: usize = 4;

/// What is known of the process's own key.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// The revision that wrote it; `None` before it was first read.
    modified: Option<i64>,
    /// The number of a transaction that may or may not have been carried out.
    unsettled: Option<Nonce>,
}

type Nonce = [u8; 16];

/// What a transaction would do, before it is tried.
enum Effect {
    /// Nothing is left to do.
    Done(Outcome),
    /// It writes something, for certain.
    Certain,
    /// It writes something as long as this key, which it deletes, is there.
    AsLongAs(Vec<u8>),
}

/// What became of one attempt.
pub(super) enum Step {
    Committed(i64),
    Conflict,
    Again,
}

impl Inner {
    /// Carries out a transaction that passed its checks.
    pub(super) async fn transact(&self, transaction: &Transaction) -> Result<Outcome, StoreError> {
        let mut writer = self.writer.lock().await;
        let earlier = self.settle(&mut writer).await?;
        if earlier.is_some() {
            tracing::info!("a transaction that was in doubt had been carried out");
        }
        let nonce = self.entropy.bytes::<16>();
        let (deadline, mut rounds) = (Instant::now() + CALL, 0);
        // Staging and helping take their time without anybody being in the way.
        while rounds < ROUNDS || Instant::now() < deadline {
            rounds += 1;
            let witness = match self.effect(transaction).await? {
                Effect::Done(Outcome::Conflict) if writer.unsettled.is_some() => {
                    return self.conclude(&mut writer).await;
                }
                Effect::Done(outcome) => return Ok(outcome),
                Effect::Certain => None,
                Effect::AsLongAs(key) => Some(key),
            };
            let is_large = !chunk::fits(&transaction.writes);
            let parts = if is_large { Some(self.stage(transaction).await?) } else { None };
            let step = self.attempt(&mut writer, transaction, nonce, witness, parts.as_ref()).await;
            if let Some(parts) = parts {
                self.unstage(parts).await;
            }
            match step? {
                Step::Committed(at) => {
                    if is_large {
                        self.carry_out_or_leave().await;
                    }
                    return Ok(Outcome::Committed(wire::revision(at)));
                }
                Step::Conflict => return self.conclude(&mut writer).await,
                Step::Again => {}
            }
        }
        let problem = "other processes write so much that this transaction found no moment in time".to_owned();
        Err(StoreError::Unavailable { doing: "write to", problem })
    }

    /// Finds out whether the transaction in doubt was carried out, and at which revision; afterwards it never will be.
    pub(super) async fn settle(&self, writer: &mut Writer) -> Result<Option<i64>, StoreError> {
        let Some(known) = writer.modified else {
            let response = self.txn("read", Txn::new().and_then([wire::look(&self.names.writer)])).await?.value;
            writer.modified = Some(first(wire::seen(response)).modified);
            return Ok(None);
        };
        let Some(nonce) = writer.unsettled else { return Ok(None) };
        let fence = TxnOp::put(self.names.writer.clone(), self.entropy.bytes::<16>().to_vec(), None);
        let txn = Txn::new()
            .when([wire::modified_at(self.names.writer.clone(), known)])
            .and_then([fence])
            .or_else([wire::look(&self.names.writer)]);
        let response = self.txn("write to", txn).await?.value;
        let at = wire::at(response.header.as_ref());
        let seen =
            if response.succeeded { Seen { modified: at, value: Vec::new() } } else { first(wire::seen(response)) };
        writer.unsettled = None;
        writer.modified = Some(seen.modified);
        Ok((seen.value == nonce).then_some(seen.modified))
    }

    /// Returns a conflict, unless an earlier attempt of the same transaction had been carried out after all.
    async fn conclude(&self, writer: &mut Writer) -> Result<Outcome, StoreError> {
        let committed = self.settle(writer).await?;
        Ok(committed.map_or(Outcome::Conflict, |at| Outcome::Committed(wire::revision(at))))
    }

    /// Looks at what a transaction would do, where that is not plain: a deletion of what is not there changes nothing, and a large
    /// transaction that has a conflict need not be staged.
    async fn effect(&self, transaction: &Transaction) -> Result<Effect, StoreError> {
        let puts = transaction.writes.iter().any(|write| matches!(write, Write::Put { .. }));
        if puts && chunk::fits(&transaction.writes) {
            return Ok(Effect::Certain);
        }
        let marker = &self.names.marker;
        let at = loop {
            let txn = Txn::new().when(self.compares(transaction, vec![wire::absent(marker.clone())]));
            let response =
                self.txn("read", txn.and_then([wire::look(marker)]).or_else([wire::look(marker)])).await?.value;
            let at = wire::at(response.header.as_ref());
            if response.succeeded {
                break at;
            }
            match Pending::of(&first(wire::seen(response)))? {
                Some(pending) => self.carry_out(&pending).await?,
                None => return Ok(Effect::Done(Outcome::Conflict)),
            }
        };
        if puts {
            return Ok(Effect::Certain);
        }
        match self.first_that_exists(transaction, at).await? {
            Some(key) => Ok(Effect::AsLongAs(key)),
            None => Ok(Effect::Done(Outcome::Committed(wire::revision(at)))),
        }
    }

    /// Returns one of the deleted keys that was there at a revision, at which nothing was being carried out.
    async fn first_that_exists(&self, transaction: &Transaction, at: i64) -> Result<Option<Vec<u8>>, StoreError> {
        for some in transaction.writes.chunks(chunk::MAX_WRITES) {
            let outer: Vec<Vec<u8>> = some.iter().map(|write| self.names.outer(write.key())).collect();
            let looks: Vec<TxnOp> = outer.iter().map(|key| wire::look_whether_at(key, at)).collect();
            let response = self.txn("read", Txn::new().and_then(looks)).await?.value;
            let seen = wire::seen(response);
            if let Some(place) = seen.iter().position(Seen::exists) {
                return Ok(outer.into_iter().nth(place));
            }
        }
        Ok(None)
    }

    pub(super) async fn attempt(
        &self,
        writer: &mut Writer,
        transaction: &Transaction,
        nonce: Nonce,
        witness: Option<Vec<u8>>,
        parts: Option<&Parts>,
    ) -> Result<Step, StoreError> {
        let known = writer.modified.expect("it was read before the first attempt");
        let names = &self.names;
        // What has to be there besides what the caller compares: without it, the transaction is prepared anew.
        let needed: Vec<Vec<u8>> = witness.into_iter().chain(parts.map(|parts| parts.head.clone())).collect();
        let mut own = vec![wire::modified_at(names.writer.clone(), known), wire::absent(names.marker.clone())];
        own.extend(needed.iter().map(|key| wire::exists(key.clone())));
        let mut operations = match parts {
            Some(parts) => parts.operations.clone(),
            None => transaction.writes.iter().map(|write| wire::operation(names, write)).collect(),
        };
        operations.push(TxnOp::put(names.writer.clone(), nonce.to_vec(), None));
        let mut otherwise = vec![wire::look(&names.writer), wire::look(&names.marker)];
        otherwise.extend(needed.iter().map(|key| wire::look_whether(key)));
        let txn = Txn::new().when(self.compares(transaction, own)).and_then(operations).or_else(otherwise);

        let answer = match self.txn("write to", txn).await {
            Ok(answer) => answer,
            Err(failure) if failure.in_doubt => {
                writer.unsettled = Some(nonce);
                return match failure.refusal {
                    // It is not known whether it was done, and etcd cannot be asked.
                    Refusal::Error(error) if error.retry_helps() => Err(error),
                    refusal => match self.settle(writer).await? {
                        Some(at) => Ok(Step::Committed(at)),
                        None => Err(self.explain(refusal, transaction).await),
                    },
                };
            }
            Err(failure) => return Err(self.explain(failure.refusal, transaction).await),
        };
        if answer.in_doubt {
            writer.unsettled = Some(nonce);
        }
        let at = wire::at(answer.value.header.as_ref());
        if answer.value.succeeded {
            (writer.modified, writer.unsettled) = (Some(at), None);
            return Ok(Step::Committed(at));
        }
        let mut seen = wire::seen(answer.value).into_iter();
        let (own, marker) = (seen.next().unwrap_or_default(), seen.next().unwrap_or_default());
        if own.modified != known {
            // Whatever was on its way under the old revision is too late now.
            (writer.modified, writer.unsettled) = (Some(own.modified), None);
            return Ok(if own.value == nonce { Step::Committed(own.modified) } else { Step::Again });
        }
        if let Some(pending) = Pending::of(&marker)? {
            self.carry_out(&pending).await?;
            return Ok(Step::Again);
        }
        Ok(if seen.all(|needed| needed.exists()) { Step::Conflict } else { Step::Again })
    }

    /// Carries out the large transaction that was just committed; if that fails, whoever writes next does it.
    async fn carry_out_or_leave(&self) {
        let carried_out = async {
            let response = self.txn("read", Txn::new().and_then([wire::look(&self.names.marker)])).await?.value;
            match Pending::of(&first(wire::seen(response)))? {
                Some(pending) => self.carry_out(&pending).await,
                None => Ok(()),
            }
        };
        if let Err(error) = carried_out.await {
            tracing::warn!(%error, "a committed transaction is not carried out yet");
        }
    }

    fn compares(&self, transaction: &Transaction, own: Vec<EtcdCompare>) -> Vec<EtcdCompare> {
        let mut compares = own;
        compares.extend(transaction.compares.iter().map(|compare| wire::compare(&self.names, compare)));
        compares
    }

    /// Says why etcd refused a transaction: of a lease, which one.
    async fn explain(&self, refusal: Refusal, transaction: &Transaction) -> StoreError {
        let Refusal::LeaseNotFound = refusal else { return refusal.into() };
        let leases = transaction.writes.iter().filter_map(|write| match write {
            Write::Put { lease, .. } => *lease,
            Write::Delete { .. } => None,
        });
        let mut last = None;
        for lease in leases {
            last = Some(lease);
            match self.is_alive(lease).await {
                Ok(false) => break,
                Ok(true) => {}
                Err(error) => return error,
            }
        }
        last.map_or_else(|| refusal.into(), StoreError::LeaseEnded)
    }
}

fn first(seen: Vec<Seen>) -> Seen {
    seen.into_iter().next().unwrap_or_default()
}
