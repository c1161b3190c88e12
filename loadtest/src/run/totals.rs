//! Counters of processes that come and go, added up so that a sum never falls: what a process counted before it ended stays counted.

use std::collections::BTreeMap;

/// Counters by name and process.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals(BTreeMap<(String, String), Counter>);

/// What one process counted, over all its starts.
#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    /// What its earlier starts counted.
    earlier: f64,
    newest: f64,
    /// Which start the newest reading is of.
    start: u32,
}

impl Totals {
    /// Takes a reading of a process. `start` tells its starts apart; where that is not known, a counter that fell tells it.
    pub(super) fn take(&mut self, name: &str, process: &str, start: u32, value: f64) {
        let counter = self.0.entry((name.to_owned(), process.to_owned())).or_default();
        if start != counter.start || value < counter.newest {
            counter.earlier += counter.newest;
        }
        (counter.newest, counter.start) = (value, start);
    }

    /// Returns what one process counted; `None` before its first reading.
    pub(super) fn of(&self, name: &str, process: &str) -> Option<f64> {
        let counter = self.0.get(&(name.to_owned(), process.to_owned()))?;
        Some(counter.earlier + counter.newest)
    }

    /// Returns what all of them counted; `None` before the first reading.
    pub(super) fn sum(&self, name: &str) -> Option<f64> {
        let counted = self.0.iter().filter(|((counter, _), _)| counter == name);
        counted.map(|(_, counter)| counter.earlier + counter.newest).reduce(|one, other| one + other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_counted_before_its_end_stays_counted() {
        let mut totals = Totals::default();
        assert_eq!(totals.sum("seconds"), None);
        for (process, start, value) in [("a", 7, 10.0), ("b", 8, 1.0), ("a", 7, 12.0), ("a", 9, 30.0), ("b", 8, 2.0)] {
            totals.take("seconds", process, start, value);
        }
        assert_eq!((totals.of("seconds", "a"), totals.of("seconds", "b")), (Some(42.0), Some(2.0)));
        assert_eq!((totals.sum("seconds"), totals.sum("others")), (Some(44.0), None));
        totals.take("seconds", "a", 9, 5.0);
        assert_eq!(totals.of("seconds", "a"), Some(47.0), "it fell");
    }
}
