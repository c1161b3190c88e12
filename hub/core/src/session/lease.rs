//! How long an agent may act on the newest plan.

use std::time::Duration;

use starling_model::limits::COMMAND_LEASE;

/// A command lease, as lent in Welcome and in answer to heartbeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lent {
    /// Zero is none.
    pub lease: Duration,
    /// Why there is none, for people.
    pub reason: Option<String>,
}

/// Decides the command lease: no longer than what is left of the hub's own lease, and none while the fleet holds.
#[must_use]
pub fn lend(hub_remaining: Duration, hold: Option<&str>) -> Lent {
    let none = |reason: &str| Lent { lease: Duration::ZERO, reason: Some(reason.to_owned()) };
    match hold {
        Some(reason) => none(reason),
        None if hub_remaining.is_zero() => none("the hub process has no lease of its own at present"),
        None => Lent { lease: hub_remaining.min(COMMAND_LEASE), reason: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_never_longer_than_the_hubs() {
        let lent = |seconds| lend(Duration::from_secs(seconds), None).lease;
        assert_eq!((lent(4), lent(15), lent(1000)), (Duration::from_secs(4), COMMAND_LEASE, COMMAND_LEASE));
    }

    #[test]
    fn without_a_lease_there_is_a_reason() {
        for lent in [lend(Duration::ZERO, None), lend(COMMAND_LEASE, Some("the store is empty"))] {
            assert!(lent.lease.is_zero() && lent.reason.is_some());
        }
    }
}
