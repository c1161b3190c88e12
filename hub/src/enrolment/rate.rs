//! Rates of enrolment: a bound for all callers together, and one for the failures of each address.
//!
//! Whoever guesses tokens runs out of attempts at its own address, and the bound for all protects the steward. Many
//! clusters behind one address that join as they should spend nothing of its failures.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use starling_model::Millis;

/// Addresses whose failures are remembered; of more, the one that may fail most is forgotten.
const MAX_ADDRESSES: usize = 1024;

/// Failures that one address may have at once.
const FAILURES: u32 = 60;

/// Failures a second that one address may have.
const FAILURES_PER_SECOND: u32 = 1;

/// A rate limit of one method.
pub(super) struct RateLimit {
    state: Mutex<State>,
    per_second: u32,
    burst: u32,
}

struct State {
    all: Bucket,
    /// Those that failed lately.
    addresses: BTreeMap<String, Bucket>,
}

/// Tokens that come back with time.
#[derive(Clone, Copy)]
struct Bucket {
    /// In thousandths, so that a millisecond counts.
    left: u64,
    at: Millis,
}

impl RateLimit {
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let state = State { all: Bucket::full(burst), addresses: BTreeMap::new() };
        Self { state: Mutex::new(state), per_second, burst }
    }

    /// Takes one request; the error is the rate that it exceeds.
    pub(super) fn take(&self, host: &str, uptime: Millis) -> Result<(), u32> {
        let mut state = self.lock();
        // The address first, so that one that exceeds its own rate takes nothing from everybody's.
        if let Some(address) = state.addresses.get_mut(host)
            && !address.has_one(uptime, FAILURES_PER_SECOND, FAILURES)
        {
            return Err(FAILURES_PER_SECOND);
        }
        if !state.all.has_one(uptime, self.per_second, self.burst) {
            return Err(self.per_second);
        }
        state.all.spend();
        Ok(())
    }

    /// Notes that a request which was taken failed through its caller's fault.
    pub(super) fn failed(&self, host: &str, uptime: Millis) {
        let mut state = self.lock();
        if state.addresses.len() >= MAX_ADDRESSES && !state.addresses.contains_key(host) {
            let most = state.addresses.iter().max_by_key(|(_, bucket)| bucket.left).map(|(host, _)| host.clone());
            most.and_then(|host| state.addresses.remove(&host));
        }
        let address = state.addresses.entry(host.to_owned()).or_insert(Bucket::full(FAILURES));
        address.has_one(uptime, FAILURES_PER_SECOND, FAILURES);
        address.spend();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the rates panics")
    }
}

impl Bucket {
    fn full(burst: u32) -> Self {
        Self { left: u64::from(burst) * 1000, at: Millis(0) }
    }

    /// Adds what has come back, and tells whether there is one to spend.
    fn has_one(&mut self, uptime: Millis, per_second: u32, burst: u32) -> bool {
        let passed = uptime.0.saturating_sub(self.at.0);
        let left = self.left.saturating_add(passed.saturating_mul(u64::from(per_second)));
        self.left = left.min(u64::from(burst) * 1000);
        self.at = self.at.max(uptime);
        self.left >= 1000
    }

    fn spend(&mut self) {
        self.left = self.left.saturating_sub(1000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_together_is_limited() {
        let limit = RateLimit::new(10, 3);
        let taken = (0..100).filter(|host| limit.take(&host.to_string(), Millis(1000)).is_ok()).count();
        assert_eq!(taken, 3);
        assert_eq!(limit.take("x", Millis(1050)), Err(10));
        assert!(limit.take("x", Millis(1100)).is_ok());
    }

    #[test]
    fn failures_of_one_address_do_not_limit_another() {
        let limit = RateLimit::new(1000, 2000);
        let attempt = |uptime| limit.take("bad", Millis(uptime)).map(|()| limit.failed("bad", Millis(uptime)));
        assert_eq!((0..200).filter(|_| attempt(5).is_ok()).count(), 60);
        assert_eq!(attempt(5), Err(FAILURES_PER_SECOND));
        assert!((0..500).all(|_| limit.take("good", Millis(5)).is_ok()));
        assert!(attempt(1005).is_ok(), "it may try again once a second");
        assert!(attempt(1005).is_err());
    }

    #[test]
    fn addresses_that_are_remembered_are_bounded() {
        let limit = RateLimit::new(1, 1);
        for host in 0..3000 {
            limit.failed(&host.to_string(), Millis(5));
        }
        assert_eq!(limit.lock().addresses.len(), MAX_ADDRESSES);
    }
}
