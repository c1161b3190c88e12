//! Rates of enrolment: a bound for all callers together, and one for the failures of each address.
//!
//! Whoever guesses tokens runs out of attempts at its own address, and the bound for all protects the steward. Many
//! clusters behind one address that join as they should spend nothing of its failures. A cluster that renews over and over
//! runs out of its own renewals before it takes from everybody's.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use starling_model::{ClusterId, Millis};

/// Addresses whose failures are remembered; of more, the one that may fail most is forgotten.
const MAX_ADDRESSES: usize = 1024;

/// Failures that one address may have at once.
const FAILURES: u32 = 60;

/// Failures a second that one address may have.
const FAILURES_PER_SECOND: u32 = 1;

/// Clusters whose renewals are remembered; of more, those that have all of theirs left are forgotten.
const MAX_CLUSTERS: usize = 20_000;

/// Renewals that one cluster may have at once; after these, one a minute.
const RENEWALS: u32 = 5;

/// A rate limit of one method.
pub(crate) struct RateLimit {
    state: Mutex<State>,
    per_second: u32,
    burst: u32,
}

/// A rate limit for each cluster: whatever one does with its key, the steward is asked for it rarely.
pub(super) struct ClusterLimit {
    clusters: Mutex<BTreeMap<ClusterId, Bucket>>,
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
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let state = State { all: Bucket::full(burst), addresses: BTreeMap::new() };
        Self { state: Mutex::new(state), per_second, burst }
    }

    /// Tells whether an address may fail once more, without taking anything; the error is the rate that it exceeds.
    pub(crate) fn check(&self, host: &str, uptime: Millis) -> Result<(), u32> {
        let mut state = self.lock();
        if let Some(address) = state.addresses.get_mut(host)
            && !address.has_one(uptime, FAILURES_PER_SECOND, FAILURES)
        {
            return Err(FAILURES_PER_SECOND);
        }
        Ok(())
    }

    /// Takes one request of everybody's, for a caller that was checked; the error is the rate that it exceeds.
    pub(super) fn take_of_all(&self, uptime: Millis) -> Result<(), u32> {
        let mut state = self.lock();
        if !state.all.has_one(uptime, self.per_second, self.burst) {
            return Err(self.per_second);
        }
        state.all.spend();
        Ok(())
    }

    /// Notes that a request which was taken failed through its caller's fault.
    pub(crate) fn failed(&self, host: &str, uptime: Millis) {
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

impl ClusterLimit {
    pub(super) fn new() -> Self {
        Self { clusters: Mutex::new(BTreeMap::new()) }
    }

    /// Takes one renewal of a cluster that proved who it is; false beyond its rate.
    pub(super) fn take(&self, cluster: ClusterId, uptime: Millis) -> bool {
        // One a second of this clock is one a minute.
        let minutes = Millis(uptime.0 / 60);
        let mut clusters = self.clusters.lock().expect("no holder of the rates panics");
        if clusters.len() >= MAX_CLUSTERS && !clusters.contains_key(&cluster) {
            clusters.retain(|_, bucket| !bucket.is_full(minutes, 1, RENEWALS));
            if clusters.len() >= MAX_CLUSTERS {
                let most = clusters.iter().max_by_key(|(_, bucket)| bucket.left).map(|(cluster, _)| *cluster);
                most.and_then(|cluster| clusters.remove(&cluster));
            }
        }
        let bucket = clusters.entry(cluster).or_insert(Bucket::full(RENEWALS));
        let has_one = bucket.has_one(minutes, 1, RENEWALS);
        if has_one {
            bucket.spend();
        }
        has_one
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

    /// Adds what has come back, and tells whether nothing is spent.
    fn is_full(&mut self, uptime: Millis, per_second: u32, burst: u32) -> bool {
        self.has_one(uptime, per_second, burst) && self.left == u64::from(burst) * 1000
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
        let taken = (0..100).filter(|_| limit.take_of_all(Millis(1000)).is_ok()).count();
        assert_eq!(taken, 3);
        assert_eq!(limit.take_of_all(Millis(1050)), Err(10));
        assert!(limit.take_of_all(Millis(1100)).is_ok());
    }

    #[test]
    fn failures_of_one_address_do_not_limit_another() {
        let limit = RateLimit::new(1000, 2000);
        let attempt = |uptime| limit.check("bad", Millis(uptime)).map(|()| limit.failed("bad", Millis(uptime)));
        assert_eq!((0..200).filter(|_| attempt(5).is_ok()).count(), 60);
        assert_eq!(attempt(5), Err(FAILURES_PER_SECOND));
        assert!((0..500).all(|_| limit.check("good", Millis(5)).is_ok()));
        assert!(attempt(1005).is_ok(), "it may try again once a second");
        assert!(attempt(1005).is_err());
    }

    #[test]
    fn a_cluster_may_renew_a_few_times_at_once_and_then_once_a_minute() {
        let (limit, one, other) = (ClusterLimit::new(), ClusterId([1; 16]), ClusterId([2; 16]));
        assert_eq!((0..100).filter(|_| limit.take(one, Millis(5000))).count(), 5);
        assert!(limit.take(other, Millis(5000)));
        assert!(!limit.take(one, Millis(60_000)));
        assert!(limit.take(one, Millis(66_000)) && !limit.take(one, Millis(66_000)));
    }

    #[test]
    fn clusters_that_are_remembered_are_bounded() {
        let limit = ClusterLimit::new();
        for number in 0..MAX_CLUSTERS as u128 + 10 {
            limit.take(ClusterId(number.to_be_bytes()), Millis(5));
        }
        assert_eq!(limit.clusters.lock().unwrap().len(), MAX_CLUSTERS);
        let later = Millis(10 * 60_000);
        assert!(limit.take(ClusterId([0xff; 16]), later));
        assert_eq!(limit.clusters.lock().unwrap().len(), 1, "whoever has all renewals left is forgotten");
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
