//! The process's own lease: until when it may let agents act.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use starling_model::{Guard, Millis};

use super::LEASE;
use crate::shard::HubLease;

/// The lease of a process that is one of several, counted from when its refresh was sent.
#[derive(Debug, Default)]
pub struct ProcessLease {
    until: AtomicU64,
}

impl ProcessLease {
    /// Notes that the lease lasts until then, uptime.
    pub(super) fn extend(&self, until: Millis) {
        self.until.fetch_max(until.0, Ordering::AcqRel);
    }

    /// Notes that there is no lease any more.
    pub(super) fn end(&self) {
        self.until.store(0, Ordering::Release);
    }
}

impl HubLease for ProcessLease {
    fn remaining(&self, uptime: Millis) -> Duration {
        if Guard::ProcessLease.is_broken() {
            return LEASE;
        }
        Millis(self.until.load(Ordering::Acquire)).since(uptime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_only_grows_until_it_ends() {
        let lease = ProcessLease::default();
        assert!(lease.remaining(Millis(5)).is_zero());
        lease.extend(Millis(15_000));
        lease.extend(Millis(9_000));
        assert_eq!(lease.remaining(Millis(5_000)), Duration::from_secs(10));
        assert!(lease.remaining(Millis(20_000)).is_zero());
        lease.end();
        assert!(lease.remaining(Millis(5_000)).is_zero());
    }
}
