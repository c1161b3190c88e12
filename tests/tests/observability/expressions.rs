//! The names of metrics in PromQL.

use std::collections::BTreeSet;

/// Prefixes of the metrics that hub and agent show; other words of an expression are functions, labels or `up`.
const PREFIXES: [&str; 2] = ["starling_", "process_"];

/// Returns the metrics that an expression reads, histograms by the name of their family.
pub(crate) fn metrics_of(expression: &str) -> BTreeSet<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    expression
        .split(|c| !is_word(c))
        .filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix)))
        .map(family)
        .collect()
}

/// Returns the family that a series of a histogram belongs to.
fn family(series: &str) -> String {
    let parts = ["_bucket", "_count", "_sum"];
    let of_seconds = parts.iter().find_map(|part| series.strip_suffix(part)).filter(|name| name.ends_with("_seconds"));
    of_seconds.unwrap_or(series).to_owned()
}

#[test]
fn names_are_found() {
    let expression = "sum by (le) (rate(starling_x_seconds_bucket{job=\"a\"}[5m])) > process_max_fds and up == 0";
    let expected = ["process_max_fds", "starling_x_seconds"].map(str::to_owned);
    assert_eq!(metrics_of(expression), BTreeSet::from(expected));
}
