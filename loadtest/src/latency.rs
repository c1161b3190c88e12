//! Latencies that keep what quantiles need: a histogram with three digits, from a microsecond to an hour.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer as Reader, Serializer as _, V2Serializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest latency that is told from longer ones, in microseconds.
const LONGEST: u64 = 3_600_000_000;

/// How many digits of a latency are kept.
const DIGITS: u8 = 3;

/// Quantiles that are shown, with their names.
const QUANTILES: [(f64, &str); 4] = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p999")];

/// Latencies of one kind; every sample counts, and parts from several processes add up.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency(Histogram<u64>);

impl Latency {
    /// Makes one without samples.
    #[must_use]
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("the bounds are constants that it takes"))
    }

    /// Adds a sample. Whoever measures at a pace measures from when the sample was due, so that a slow answer does not hide those
    /// that waited behind it.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LONGEST).clamp(1, LONGEST));
    }

    /// Adds a sample so many times.
    pub fn record_n(&mut self, latency: Duration, times: u64) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(LONGEST).clamp(1, LONGEST);
        self.0.saturating_record_n(micros, times);
    }

    /// Adds all samples of another.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// Returns how many samples there are.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.0.len()
    }

    /// Returns how many samples are not longer.
    #[must_use]
    pub fn samples_until(&self, longest: Duration) -> u64 {
        self.0.count_between(0, u64::try_from(longest.as_micros()).unwrap_or(LONGEST).min(LONGEST))
    }

    /// Returns a quantile in milliseconds; `None` without samples.
    #[must_use]
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        (self.samples() > 0).then(|| self.0.value_at_quantile(quantile) as f64 / 1000.0)
    }

    /// Returns the quantiles that the samples are enough for, with their names, in milliseconds: of fewer than a hundred, the 99th
    /// percentile would be the longest by another name.
    pub(crate) fn quantiles(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let is_enough = |quantile: f64| self.samples() as f64 * (1.0 - quantile) >= 0.999;
        QUANTILES
            .into_iter()
            .filter(move |(quantile, _)| is_enough(*quantile))
            .filter_map(|(quantile, label)| Some((label, self.quantile_ms(quantile)?)))
    }

    /// Returns the longest in milliseconds; `None` without samples.
    #[must_use]
    pub fn max_ms(&self) -> Option<f64> {
        self.quantile_ms(1.0)
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

/// Written in the interchange format of HdrHistogram (V2), in base64.
impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&self.0, &mut bytes).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64_STANDARD.decode(text).map_err(serde::de::Error::custom)?;
        let read = Reader::new().deserialize(&mut bytes.as_slice()).map_err(serde::de::Error::custom)?;
        let mut latency = Self::new();
        latency.0.add(&read).map_err(serde::de::Error::custom)?;
        Ok(latency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_several_processes_add_up() {
        let of = |millis: std::ops::Range<u64>| {
            let mut latency = Latency::new();
            millis.for_each(|millis| latency.record(Duration::from_millis(millis)));
            latency
        };
        let text = serde_json::to_string(&of(101..201)).expect("it is written");
        let mut whole = of(1..101);
        whole.add(&serde_json::from_str(&text).expect("it is read"));
        assert_eq!(whole.samples(), 200);
        let named: Vec<&str> = whole.quantiles().map(|(name, _)| name).collect();
        assert_eq!(named, ["p50", "p90", "p99"], "200 samples have no 99.9th percentile");
        let median = whole.quantile_ms(0.5).expect("there are samples");
        assert!((median - 100.0).abs() < 0.2, "{median}");
        assert_eq!(Latency::new().max_ms(), None);
    }
}
