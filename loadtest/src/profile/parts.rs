//! To which part of the hub a stack belongs, by a table of patterns.
//!
//! Owns the table and its rule, and adding up. Knows nothing of where stacks come from: CPU samples and bytes of memory alike are
//! folded stacks, one a line, the outermost frame first, frames apart by `;`, with the amount at the end.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// The table.
const TABLE: &str = include_str!("parts.toml");

/// What belongs to no part.
pub(crate) const OTHER: &str = "other";

/// The parts, in the order in which a frame is looked up.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parts {
    part: Vec<Part>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    name: String,
    tier: u8,
    /// What it is, for people.
    what: String,
    frames: Vec<String>,
}

impl Parts {
    /// Reads the table.
    pub(crate) fn table() -> Result<Self> {
        Self::parse(TABLE)
    }

    fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).context("read the table of parts (loadtest/src/profile/parts.toml)")
    }

    /// Returns what a part is, for people.
    pub(crate) fn what(&self, name: &str) -> &str {
        self.part.iter().find(|part| part.name == name).map_or("what belongs to no part", |part| &part.what)
    }

    /// Returns the part of a stack, whose outermost frame comes first.
    pub(crate) fn of<'a>(&self, frames: impl DoubleEndedIterator<Item = &'a str>) -> &str {
        let mut best: Option<&Part> = None;
        for frame in frames.rev() {
            let found = self.part.iter().find(|part| part.frames.iter().any(|pattern| is_in(pattern, frame)));
            if found.is_some_and(|found| best.is_none_or(|best| found.tier < best.tier)) {
                best = found;
            }
            if best.is_some_and(|best| best.tier == 1) {
                break;
            }
        }
        best.map_or(OTHER, |part| &part.name)
    }

    /// Adds the amounts of folded stacks up by part.
    ///
    /// # Errors
    /// A line has no amount.
    pub(crate) fn add_up(&self, folded: &str) -> Result<BTreeMap<String, f64>> {
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        for line in folded.lines().filter(|line| !line.trim().is_empty()) {
            let (stack, amount) = line.rsplit_once(' ').context("a folded stack has an amount")?;
            let amount: f64 = amount.parse().with_context(|| format!("read the amount of {line:?}"))?;
            *sums.entry(self.of(stack.split(';')).to_owned()).or_default() += amount;
        }
        Ok(sums)
    }
}

/// Tells whether a pattern is in a name; `*` in it stands for anything.
fn is_in(pattern: &str, name: &str) -> bool {
    let mut rest = name;
    pattern.split('*').all(|piece| {
        let found = rest.find(piece).map(|at| &rest[at + piece.len()..]);
        rest = found.unwrap_or_default();
        found.is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stacks as they were recorded of a hub, shortened where nothing is decided, each with the part that it belongs to.
    const RECORDED: &str = include_str!("recorded.txt");

    #[test]
    fn recorded_stacks_belong_where_they_are_said_to() {
        let parts = Parts::table().expect("the table is read");
        let mut seen = 0;
        for line in RECORDED.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let (expected, stack) = line.split_once(": ").expect("a part and a stack");
            assert_eq!(parts.of(stack.split(';')), expected, "{stack}");
            seen += 1;
        }
        assert!(seen > 15);
    }

    #[test]
    fn the_innermost_frame_of_the_lowest_tier_decides() {
        let table = "[[part]]\nname = \"a\"\ntier = 1\nwhat = \"\"\nframes = [\"one::a\"]\n\
                     [[part]]\nname = \"b\"\ntier = 1\nwhat = \"\"\nframes = [\"one\", \"x*y\"]\n\
                     [[part]]\nname = \"c\"\ntier = 2\nwhat = \"\"\nframes = [\"two\"]";
        let parts = Parts::parse(table).expect("a table");
        let cases = [
            ("one::a;one::b;malloc", "b"),
            ("one::b;one::a;two", "a"),
            ("two;malloc", "c"),
            ("two;one::b;two", "b"),
            ("main;a y then x", OTHER),
            ("main;an x, then y", "b"),
            ("", OTHER),
        ];
        for (stack, expected) in cases {
            assert_eq!(parts.of(stack.split(';')), expected, "{stack}");
        }
    }

    #[test]
    fn amounts_are_added_up_and_a_line_without_one_is_refused() {
        let parts = Parts::table().expect("the table is read");
        let folded =
            "hub;starling_hub_core::planner::plan;malloc 3\nhub;starling_hub_core::planner::plan 2\nhub;x y 1\n";
        let sums = parts.add_up(folded).expect("amounts");
        assert_eq!(sums, BTreeMap::from([("plan".to_owned(), 5.0), (OTHER.to_owned(), 1.0)]));
        assert!(parts.add_up("hub;main\n").is_err());
    }
}
