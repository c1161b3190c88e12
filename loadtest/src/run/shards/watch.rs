//! What is seen of the fleet while processes of its hub go and come: pure, fed with one look at the hub's counts after another.

use std::time::Duration;

use crate::run::hub::Counts;

/// What the looks showed.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    /// What the whole fleet is: clusters, and the objects that they had before.
    clusters: u64,
    objects: u64,
    /// When every cluster had a live session first.
    pub(super) live: Option<Duration>,
    /// When every object was known first, and every cluster ready.
    pub(super) whole: Option<Duration>,
    /// Since when some cluster has no live session.
    unserved_since: Option<Duration>,
    /// The longest time for which that was so.
    pub(super) unserved: Duration,
    /// The most clusters without a live session at once.
    pub(super) unserved_clusters: u64,
}

impl Watched {
    /// Nothing was seen yet of a fleet that has so many clusters and objects.
    pub(super) fn new(clusters: u64, objects: u64) -> Self {
        let (unserved, unserved_clusters) = (Duration::ZERO, 0);
        Self { clusters, objects, live: None, whole: None, unserved_since: None, unserved, unserved_clusters }
    }

    /// Takes a look at the counts, some time after the watch began. Counts without a process's answer never say that all is well.
    pub(super) fn look(&mut self, at: Duration, counts: &Counts) {
        let missing = self.clusters.saturating_sub(counts.live);
        let is_live = missing == 0 && counts.unanswered == 0;
        let is_whole = is_live && counts.ready >= self.clusters && counts.objects >= self.objects;
        self.live = self.live.or(is_live.then_some(at));
        self.whole = self.whole.or(is_whole.then_some(at));
        self.unserved_clusters = self.unserved_clusters.max(missing);
        // Until the look that shows all of them again: they may have come back since the one before, but need not.
        let since = self.unserved_since.or((missing > 0).then_some(at));
        self.unserved = self.unserved.max(since.map_or(Duration::ZERO, |since| at.saturating_sub(since)));
        self.unserved_since = since.filter(|_| missing > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_time_without_all_counts_and_silence_is_no_answer() {
        let mut watched = Watched::new(10, 100);
        let look = |watched: &mut Watched, second: u64, live: u64, objects: u64, unanswered: usize| {
            let counts = Counts { clusters: 10, live, ready: live, objects, unanswered };
            watched.look(Duration::from_secs(second), &counts);
        };
        look(&mut watched, 1, 10, 100, 1);
        assert_eq!((watched.live, watched.whole), (None, None), "a process did not answer");
        for (second, live, objects) in [(2, 7, 70), (5, 9, 90), (6, 10, 90), (8, 8, 80), (9, 10, 100), (11, 10, 100)] {
            look(&mut watched, second, live, objects, 0);
        }
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!((watched.live, watched.whole), (seconds(6), seconds(9)));
        assert_eq!((watched.unserved, watched.unserved_clusters), (Duration::from_secs(4), 3));
    }
}
