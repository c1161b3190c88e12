//! How fast an agent may send: a bucket of messages and one of bytes, so that the hub never has to slow it down.

use std::time::Duration;

use starling_model::{Limits, Millis};

/// The span over which the hub averages a session's rate.
const SPAN: Duration = Duration::from_secs(10);

/// The share of the announced limits that an agent uses, so that clocks that run apart do not matter.
const SHARE_PERCENT: u64 = 80;

/// A pair of token buckets over the limits that the hub announced.
#[derive(Clone, Debug)]
pub struct Pace {
    messages: Bucket,
    bytes: Bucket,
}

/// Tokens in thousandths, so that a millisecond of a low rate is not lost.
#[derive(Clone, Debug)]
struct Bucket {
    rate: u64,
    tokens: u64,
    filled: Millis,
}

impl Pace {
    /// Makes full buckets for the limits.
    #[must_use]
    pub fn new(limits: &Limits, uptime: Millis) -> Self {
        Self {
            messages: Bucket::new(limits.messages_per_second, uptime),
            bytes: Bucket::new(limits.bytes_per_second, uptime),
        }
    }

    /// Takes one message of this many bytes; `Err` is how long to wait before asking again, with nothing taken.
    ///
    /// # Errors
    /// The time to wait.
    pub fn admit(&mut self, bytes: usize, uptime: Millis) -> Result<(), Duration> {
        self.messages.fill(uptime);
        self.bytes.fill(uptime);
        // A message larger than the bucket passes when the bucket is full, so that it passes at all.
        let bytes = (bytes as u64).saturating_mul(1000).min(self.bytes.capacity());
        let wait = self.messages.wait_for(1000).max(self.bytes.wait_for(bytes));
        if !wait.is_zero() {
            return Err(wait);
        }
        self.messages.tokens -= 1000;
        self.bytes.tokens -= bytes;
        Ok(())
    }
}

impl Bucket {
    fn new(per_second: u32, uptime: Millis) -> Self {
        let rate = (u64::from(per_second) * SHARE_PERCENT / 100).max(1);
        let mut bucket = Self { rate, tokens: 0, filled: uptime };
        bucket.tokens = bucket.capacity();
        bucket
    }

    fn capacity(&self) -> u64 {
        self.rate.saturating_mul(1000).saturating_mul(SPAN.as_secs())
    }

    fn fill(&mut self, uptime: Millis) {
        let passed = u64::try_from(uptime.since(self.filled).as_millis()).unwrap_or(u64::MAX);
        self.tokens = self.tokens.saturating_add(passed.saturating_mul(self.rate)).min(self.capacity());
        self.filled = self.filled.max(uptime);
    }

    fn wait_for(&self, tokens: u64) -> Duration {
        Duration::from_millis(tokens.saturating_sub(self.tokens).div_ceil(self.rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let limits = Limits { messages_per_second: 10, bytes_per_second: 1_000_000, ..Limits::DEFAULT };
        let mut pace = Pace::new(&limits, Millis(0));
        let burst = (0..200).take_while(|_| pace.admit(100, Millis(0)).is_ok()).count();
        assert_eq!(burst, 80);
        assert_eq!(pace.admit(100, Millis(0)), Err(Duration::from_millis(125)));
        assert_eq!(pace.admit(100, Millis(125)), Ok(()));
    }

    #[test]
    fn a_message_above_the_bucket_passes_when_it_is_full() {
        let limits = Limits { messages_per_second: 10, bytes_per_second: 100, ..Limits::DEFAULT };
        let mut pace = Pace::new(&limits, Millis(0));
        assert_eq!(pace.admit(1_000_000, Millis(0)), Ok(()));
        assert_eq!(pace.admit(1_000_000, Millis(0)), Err(SPAN));
    }
}
