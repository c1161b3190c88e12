//! What many clusters have to do at random times, in the order in which it is due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;

/// When each of many is due next, counted from the beginning; the same for the same random numbers.
#[derive(Debug)]
pub(super) struct Agenda {
    due: BinaryHeap<Reverse<(Duration, usize)>>,
    random: StdRng,
}

impl Agenda {
    /// Makes one for so many, each of which is due for the first time as drawn.
    pub(super) fn new(count: usize, mut random: StdRng, draw: impl Fn(&mut StdRng, usize) -> Duration) -> Self {
        let due = (0..count).map(|index| Reverse((draw(&mut random, index), index))).collect();
        Self { due, random }
    }

    /// Returns who is due next and when, who is due again as drawn; `None` if there is nobody.
    pub(super) fn next(
        &mut self,
        draw: impl Fn(&mut StdRng, usize) -> Duration,
    ) -> Option<(Duration, usize, &mut StdRng)> {
        let Reverse((at, index)) = self.due.pop()?;
        self.due.push(Reverse((at + draw(&mut self.random, index), index)));
        Some((at, index, &mut self.random))
    }
}

/// Draws the time until the next of events that happen independently of one another, so many a minute.
pub(super) fn gap(random: &mut StdRng, per_minute: u64) -> Duration {
    let share: f64 = random.random();
    Duration::from_secs_f64(-(1.0 - share).ln() * 60.0 / per_minute.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn events_come_in_order_at_their_rate_and_from_the_seed() {
        let rates = [60, 600];
        let draw = |random: &mut StdRng, index: usize| gap(random, rates[index]);
        let first = |seed| {
            let mut agenda = Agenda::new(rates.len(), StdRng::seed_from_u64(seed), draw);
            (0..2200).map(|_| agenda.next(draw).map(|(at, index, _)| (at, index)).unwrap()).collect::<Vec<_>>()
        };
        let events = first(3);
        assert!(events.is_sorted(), "in the order in which they are due");
        assert_eq!(events, first(3));
        assert_ne!(events, first(4));
        let rare = events.iter().filter(|(_, index)| *index == 0).count();
        assert!((150..=250).contains(&rare), "{rare} of 2200, a tenth of the others");
        let whole = events.last().map(|(at, _)| at.as_secs()).unwrap();
        assert!((180..=220).contains(&whole), "11 a second for {whole} s");
    }
}
