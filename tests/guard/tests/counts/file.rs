//! The committed counts, and what another count says against them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use starling_guard::{PATHS, Ratio};

/// What differs by less is the same: a change elsewhere in the program moves where code is inlined.
const TOLERANCE_PERCENT: u64 = 5;

/// How to accept what was counted.
const ACCEPT: &str = "STARLING_UPDATE=1 cargo test -p starling-guard --test counts";

const HEAD: &str = "\
# Instructions of the hub's hot paths, as valgrind's callgrind counts them: one pass through each path of tests/guard/src/paths,
# built with the profile `guard`. A count that is more than 5 % above what is written here fails the tests. To accept what was
# counted, and say why in the commit:
#
#   STARLING_UPDATE=1 cargo test -p starling-guard --test counts

";

/// Counts of every path, with what they depend on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counts {
    /// The processor's architecture.
    arch: String,
    /// The compiler's version.
    toolchain: String,
    /// Instructions, by path.
    instructions: BTreeMap<String, u64>,
}

/// What a comparison has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The test fails.
    Wrong(String),
    /// Worth doing something about.
    Info(String),
}

impl Counts {
    /// Makes the counts of this machine.
    pub(crate) fn measured(toolchain: &str, instructions: &BTreeMap<&'static str, u64>) -> Self {
        let instructions = instructions.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Self { arch: std::env::consts::ARCH.to_owned(), toolchain: toolchain.to_owned(), instructions }
    }

    /// Reads the file.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).with_context(|| format!("read counts.toml; to write it anew: {ACCEPT}"))
    }

    /// Writes the file: in the order of the paths, each with what it is.
    pub(crate) fn to_text(&self) -> Result<String> {
        let mut text = format!("{HEAD}arch = {:?}\ntoolchain = {:?}\n\n[instructions]\n", self.arch, self.toolchain);
        for path in PATHS {
            let count = self.instructions.get(path.name).with_context(|| format!("{} was not counted", path.name))?;
            write!(text, "# {}\n{} = {}\n", path.what, path.name, grouped(*count))?;
        }
        Ok(text)
    }

    /// Compares what is committed with what was counted.
    pub(crate) fn compare(&self, measured: &Self) -> Vec<Finding> {
        if (&self.arch, &self.toolchain) != (&measured.arch, &measured.toolchain) {
            return vec![Finding::Wrong(format!(
                "counts.toml is of {} with Rust {}, and this is {} with Rust {}: count the unchanged code anew ({ACCEPT})",
                self.arch, self.toolchain, measured.arch, measured.toolchain
            ))];
        }
        let mut findings = Vec::new();
        for (name, count) in &measured.instructions {
            match self.instructions.get(name) {
                None => findings.push(Finding::Wrong(format!("path {name} is not in counts.toml: {ACCEPT}"))),
                Some(committed) => findings.extend(judge(name, *committed, *count)),
            }
        }
        let unknown = self.instructions.keys().filter(|name| !measured.instructions.contains_key(*name));
        let unknown = unknown.map(|name| Finding::Wrong(format!("path {name} of counts.toml is gone: {ACCEPT}")));
        findings.extend(unknown);
        findings
    }

    /// Checks what must hold between paths.
    pub(crate) fn ratios(&self, ratios: &[Ratio]) -> Vec<Finding> {
        let count = |name: &str| self.instructions.get(name).map_or(f64::NAN, |count| *count as f64);
        let check = |Ratio { of, to, at_most, shows }: &Ratio| {
            let ratio = count(of) / count(to);
            // A path that was not counted has no ratio, which is no pass.
            let is_well = ratio <= *at_most;
            let text = format!("{of} is {ratio:.2} times {to}, and may be {at_most} times at most: {shows}");
            if is_well { Finding::Info(text) } else { Finding::Wrong(text) }
        };
        ratios.iter().map(check).collect()
    }
}

fn judge(name: &str, committed: u64, count: u64) -> Option<Finding> {
    let percent = (count as f64 / committed as f64 - 1.0) * 100.0;
    let figures = format!("{} instructions instead of {} ({percent:+.1} %)", grouped(count), grouped(committed));
    let above = |one: u64, other: u64| one.saturating_mul(100) > other.saturating_mul(100 + TOLERANCE_PERCENT);
    if above(count, committed) {
        Some(Finding::Wrong(format!(
            "path {name} became dearer: {figures}. Find out why, with `callgrind_annotate` on what callgrind writes; if it is meant: {ACCEPT}"
        )))
    } else if above(committed, count) {
        Some(Finding::Info(format!("path {name} became cheaper: {figures}. Keep it so: {ACCEPT}")))
    } else {
        None
    }
}

/// Writes a number with its thousands apart, as TOML reads it.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

fn counts(toolchain: &str, pairs: &[(&'static str, u64)]) -> Counts {
    Counts::measured(toolchain, &pairs.iter().copied().collect())
}

#[test]
fn what_is_dearer_fails_and_what_is_cheaper_is_told() {
    let committed = counts("1", &[("a", 1000), ("b", 1000), ("c", 1000), ("d", 1000)]);
    let measured = counts("1", &[("a", 1050), ("b", 1051), ("c", 953), ("d", 900)]);
    let findings = committed.compare(&measured);
    let [Finding::Wrong(dearer), Finding::Info(cheaper)] = findings.as_slice() else {
        panic!("one is wrong and one is told: {findings:?}")
    };
    assert!(dearer.starts_with("path b became dearer: 1_051 instructions instead of 1_000 (+5.1 %)"), "{dearer}");
    assert!(dearer.contains("STARLING_UPDATE=1 cargo test"), "{dearer}");
    assert!(cheaper.starts_with("path d became cheaper: 900"), "{cheaper}");
}

#[test]
fn what_cannot_be_compared_fails() {
    let committed = counts("1", &[("a", 1), ("gone", 1)]);
    let wrong = |measured: &Counts| {
        committed.compare(measured).into_iter().filter(|finding| matches!(finding, Finding::Wrong(_))).count()
    };
    assert_eq!(wrong(&counts("2", &[("a", 1), ("gone", 1)])), 1, "another compiler");
    assert_eq!(wrong(&counts("1", &[("a", 1), ("new", 1)])), 2, "one path is new and one is gone");
}

#[test]
fn a_ratio_fails_beyond_its_bound_and_without_its_paths() {
    let measured = counts("1", &[("small", 100), ("large", 160)]);
    let ratio = |of, at_most| Ratio { of, to: "small", at_most, shows: "it" };
    let findings = measured.ratios(&[ratio("large", 1.6), ratio("large", 1.5), ratio("missing", 9.0)]);
    let wrong: Vec<bool> = findings.iter().map(|finding| matches!(finding, Finding::Wrong(_))).collect();
    assert_eq!(wrong, [false, true, true]);
}

#[test]
fn the_file_is_read_as_it_is_written() {
    let measured = counts("1.95.0", &PATHS.iter().map(|path| (path.name, 1_234_567)).collect::<Vec<_>>());
    let text = measured.to_text().expect("every path was counted");
    assert!(text.contains("heartbeat = 1_234_567\n"), "{text}");
    assert_eq!(Counts::parse(&text).expect("it is read"), measured);
}
