//! How fast the hub reads from one session: token buckets over messages and bytes.
//!
//! A session beyond its rate is read later, not cut: what it has to say waits in its own agent, where statuses coalesce.

use std::time::Duration;

use starling_model::{Limits, Millis};

/// Limits are averages over this time, so a full bucket holds this much.
const AVERAGE_OVER_SECONDS: u64 = 10;

/// What one session may still send.
#[derive(Clone, Debug)]
pub struct Rate {
    messages: Bucket,
    bytes: Bucket,
}

/// A bucket that fills at an even rate; it counts thousandths, so that whole milliseconds fill it exactly.
#[derive(Clone, Debug)]
pub struct Bucket {
    per_second: u64,
    thousandths: u64,
    filled: Millis,
}

impl Rate {
    /// Makes full buckets.
    #[must_use]
    pub fn new(limits: &Limits, uptime: Millis) -> Self {
        Self {
            messages: Bucket::new(limits.messages_per_second, uptime),
            bytes: Bucket::new(limits.bytes_per_second, uptime),
        }
    }

    /// Charges one message; returns how long to wait before the next is read, usually zero.
    pub fn charge(&mut self, bytes: usize, uptime: Millis) -> Duration {
        let messages = self.messages.take(1, uptime);
        messages.max(self.bytes.take(bytes as u64, uptime))
    }
}

impl Bucket {
    /// Takes one token if there is one; otherwise tells when there will be.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn try_take(&mut self, uptime: Millis) -> Result<(), Duration> {
        let mut taken = self.clone();
        let wait = taken.take(1, uptime);
        if wait.is_zero() {
            *self = taken;
            return Ok(());
        }
        Err(wait)
    }

    /// Makes a full bucket, which holds what flows in over ten seconds.
    #[must_use]
    pub fn new(per_second: u32, uptime: Millis) -> Self {
        let per_second = u64::from(per_second).max(1);
        Self { per_second, thousandths: per_second * AVERAGE_OVER_SECONDS * 1000, filled: uptime }
    }

    /// Takes tokens; returns how long the bucket, which had too few, is in debt for, usually zero.
    pub fn take(&mut self, tokens: u64, uptime: Millis) -> Duration {
        let full = self.per_second * AVERAGE_OVER_SECONDS * 1000;
        let elapsed = u64::try_from(uptime.since(self.filled).as_millis()).unwrap_or(u64::MAX);
        self.thousandths = self.thousandths.saturating_add(elapsed.saturating_mul(self.per_second)).min(full);
        self.filled = self.filled.max(uptime);
        let wanted = tokens.saturating_mul(1000);
        if wanted <= self.thousandths {
            self.thousandths -= wanted;
            return Duration::ZERO;
        }
        let wait = (wanted - self.thousandths).div_ceil(self.per_second);
        self.thousandths = 0;
        // The tokens of the wait are spent already.
        self.filled = Millis(self.filled.0.saturating_add(wait));
        Duration::from_millis(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(messages_per_second: u32, bytes_per_second: u32) -> Limits {
        Limits { messages_per_second, bytes_per_second, ..Limits::DEFAULT }
    }

    #[test]
    fn a_burst_passes_and_then_the_average_holds() {
        let mut rate = Rate::new(&limits(10, 1_000_000), Millis(0));
        let mut uptime = Millis(0);
        for _ in 0..100 {
            assert_eq!(rate.charge(1, uptime), Duration::ZERO);
        }
        for _ in 0..50 {
            let wait = rate.charge(1, uptime);
            uptime = uptime.plus(wait);
        }
        assert_eq!(uptime, Millis(5_000));
    }

    #[test]
    fn bytes_count_apart_from_messages() {
        let mut rate = Rate::new(&limits(1000, 1000), Millis(0));
        assert_eq!(rate.charge(10_000, Millis(0)), Duration::ZERO);
        assert_eq!(rate.charge(500, Millis(0)), Duration::from_millis(500));
        assert_eq!(rate.charge(1000, Millis(500)), Duration::from_secs(1));
    }

    #[test]
    fn an_idle_session_may_burst_again_but_no_more_than_a_full_bucket() {
        let mut rate = Rate::new(&limits(1, 1), Millis(0));
        rate.charge(10, Millis(0));
        assert_eq!(rate.charge(10, Millis(1_000_000)), Duration::ZERO);
        assert_eq!(rate.charge(1, Millis(1_000_000)), Duration::from_secs(1));
    }
}
