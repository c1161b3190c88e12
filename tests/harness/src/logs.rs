//! Logs of Starling's programs: an ERROR means that a person must look, so that a test fails on one it did not announce.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Returns the lines of a log that tell of an error or a panic, without those that hold one of the allowed texts.
///
/// # Errors
/// The log cannot be read.
pub fn unexpected_errors(log: &Path, allowed: &[&str]) -> Result<Vec<String>> {
    let text = fs::read(log).with_context(|| format!("read {}", log.display()))?;
    let text = without_colours(&String::from_utf8_lossy(&text));
    let is_unexpected = |line: &&str| {
        let level = line.split_whitespace().nth(1).unwrap_or_default();
        let is_bad = level == "ERROR" || line.contains("panicked at") || line.starts_with("error: ");
        is_bad && !allowed.iter().any(|text| line.contains(text))
    };
    Ok(text.lines().filter(is_unexpected).map(str::to_owned).collect())
}

/// Takes the escape sequences of colours out (`ESC [ ... m`).
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut pieces = text.split('\u{1b}');
    plain.extend(pieces.next());
    for piece in pieces {
        plain.push_str(piece.split_once('m').map_or(piece, |(_, rest)| rest));
    }
    plain
}

#[test]
fn errors_are_found_through_colours_and_the_allowed_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("hub.log");
    let lines = "\u{1b}[2m2026-11-21T00:00:00Z\u{1b}[0m \u{1b}[31mERROR\u{1b}[0m hub: one\n\
                 2026-11-21T00:00:00Z ERROR hub: two\n2026-11-21T00:00:00Z  INFO hub: no ERROR\n";
    fs::write(&log, lines).unwrap();
    let found = unexpected_errors(&log, &["two"]).unwrap();
    assert_eq!(found, ["2026-11-21T00:00:00Z ERROR hub: one"]);
}
