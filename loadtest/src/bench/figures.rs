//! What was measured, as numbers that keep their spread.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// Times of one kind, of which every sample was kept; milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Times {
    /// How many samples.
    pub(crate) samples: usize,
    /// The shortest.
    pub(crate) min_ms: f64,
    /// The median.
    pub(crate) p50_ms: f64,
    /// The 99th percentile.
    pub(crate) p99_ms: f64,
    /// The longest.
    pub(crate) max_ms: f64,
}

/// A figure that was measured in several rounds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Rounds {
    /// How many rounds.
    pub(crate) rounds: usize,
    /// The median round.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
}

impl Times {
    /// Summarises samples; `None` without any.
    #[must_use]
    pub(crate) fn of(samples: &[Duration]) -> Option<Self> {
        let mut sorted: Vec<f64> = samples.iter().map(|sample| sample.as_secs_f64() * 1000.0).collect();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            samples: sorted.len(),
            min_ms: quantile(&sorted, 0.0)?,
            p50_ms: quantile(&sorted, 0.5)?,
            p99_ms: quantile(&sorted, 0.99)?,
            max_ms: quantile(&sorted, 1.0)?,
        })
    }
}

impl Rounds {
    /// Summarises rounds; `None` without any.
    #[must_use]
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            rounds: sorted.len(),
            median: quantile(&sorted, 0.5)?,
            min: quantile(&sorted, 0.0)?,
            max: quantile(&sorted, 1.0)?,
        })
    }
}

/// Returns the sample of the nearest rank: the smallest that at least the given share of all does not exceed.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().map(rounded)
}

/// Keeps microseconds of milliseconds: more digits would be noise.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, min_ms, p50_ms, p99_ms, max_ms } = self;
        write!(f, "p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms ({min_ms:.2} to {max_ms:.2}, {samples} samples)")
    }
}

impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, median, min, max } = self;
        write!(f, "{median:.3} ({min:.3} to {max:.3}, {rounds} rounds)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let samples: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        let times = Times::of(&samples).unwrap();
        assert_eq!((times.samples, times.min_ms, times.max_ms), (200, 1.0, 200.0));
        assert_eq!((times.p50_ms, times.p99_ms), (100.0, 198.0));
        assert_eq!(Times::of(&[]), None);
    }

    #[test]
    fn one_round_is_its_own_spread() {
        let one = Rounds::of(&[2.5]).unwrap();
        assert_eq!((one.median, one.min, one.max), (2.5, 2.5, 2.5));
    }
}
