//! Leases of a store of one process: in memory, so that a restart ends them all and waits for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use starling_model::Millis;

use super::{LeaseId, StoreError, Transaction, Write};

/// The leases and the keys that are bound to them.
#[derive(Default)]
pub(super) struct Leases {
    last: u64,
    leases: BTreeMap<LeaseId, Lease>,
}

struct Lease {
    time_to_live: Duration,
    expires: Millis,
    keys: BTreeSet<Vec<u8>>,
}

impl Leases {
    pub(super) fn grant(&mut self, time_to_live: Duration, uptime: Millis) -> LeaseId {
        self.last += 1;
        let id = LeaseId(self.last);
        self.leases.insert(id, Lease { time_to_live, expires: uptime.plus(time_to_live), keys: BTreeSet::new() });
        id
    }

    pub(super) fn keep_alive(&mut self, id: LeaseId, uptime: Millis) -> Result<(), StoreError> {
        let lease = self.leases.get_mut(&id).ok_or(StoreError::LeaseEnded(id))?;
        lease.expires = uptime.plus(lease.time_to_live);
        Ok(())
    }

    /// Checks that the leases that a transaction names are alive.
    pub(super) fn check(&self, transaction: &Transaction) -> Result<(), StoreError> {
        for write in &transaction.writes {
            if let Write::Put { lease: Some(id), .. } = write
                && !self.leases.contains_key(id)
            {
                return Err(StoreError::LeaseEnded(*id));
            }
        }
        Ok(())
    }

    /// Binds the keys of a committed transaction.
    pub(super) fn bind(&mut self, transaction: &Transaction) {
        for write in &transaction.writes {
            for lease in self.leases.values_mut() {
                lease.keys.remove(write.key());
            }
            if let Write::Put { key, lease: Some(id), .. } = write
                && let Some(lease) = self.leases.get_mut(id)
            {
                lease.keys.insert(key.clone());
            }
        }
    }

    /// Returns the leases whose time is over.
    pub(super) fn expired(&self, uptime: Millis) -> Vec<LeaseId> {
        self.leases.iter().filter(|(_, lease)| lease.expires <= uptime).map(|(id, _)| *id).collect()
    }

    /// Returns the keys of a lease, which end with it.
    pub(super) fn keys(&self, id: LeaseId) -> Vec<Vec<u8>> {
        self.leases.get(&id).map(|lease| lease.keys.iter().cloned().collect()).unwrap_or_default()
    }

    /// Forgets a lease, once its keys are deleted.
    pub(super) fn forget(&mut self, id: LeaseId) {
        self.leases.remove(&id);
    }

    /// Returns when the next lease expires.
    pub(super) fn next_expiry(&self) -> Option<Millis> {
        self.leases.values().map(|lease| lease.expires).min()
    }
}
