//! Histograms of durations, with the buckets that all of them have.

use prometheus_client::metrics::histogram::Histogram;

/// Upper bounds in seconds: from what memory takes to what a person notices, and up to a minute.
const BUCKETS: [f64; 13] = [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 60.0];

/// Makes a histogram of durations in seconds; usable as the constructor of a family.
#[must_use]
pub fn seconds() -> Histogram {
    Histogram::new(BUCKETS)
}
