//! The newest events, kept for watchers up to a bound.
//!
//! A watcher that is further behind than the bound is told so and relists; nothing is dropped in silence and
//! nothing grows.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

use super::{Event, Revision, Watched};

/// The most events that are kept.
const MAX_EVENTS: usize = 8 * 1024;

/// The most bytes of keys and values that are kept.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// The events of the newest transactions.
pub(super) struct Feed {
    ring: Mutex<Ring>,
    newest: watch::Sender<Revision>,
    max_events: usize,
    max_bytes: usize,
}

struct Ring {
    batches: VecDeque<Batch>,
    /// Events up to this revision are forgotten.
    forgotten: Revision,
    events: usize,
    bytes: usize,
}

struct Batch {
    revision: Revision,
    events: Arc<[Event]>,
}

/// One reader of a [`Feed`].
pub(super) struct Reader {
    feed: Arc<Feed>,
    newest: watch::Receiver<Revision>,
    prefix: Vec<u8>,
    after: Revision,
}

impl Feed {
    /// Starts with nothing kept before and at `revision`.
    pub(super) fn new(revision: Revision) -> Arc<Self> {
        Self::with_bounds(revision, MAX_EVENTS, MAX_BYTES)
    }

    pub(super) fn with_bounds(revision: Revision, max_events: usize, max_bytes: usize) -> Arc<Self> {
        let ring = Ring { batches: VecDeque::new(), forgotten: revision, events: 0, bytes: 0 };
        Arc::new(Self { ring: Mutex::new(ring), newest: watch::Sender::new(revision), max_events, max_bytes })
    }

    /// Adds the events of one transaction and wakes the readers.
    pub(super) fn publish(&self, revision: Revision, events: Vec<Event>) {
        let mut ring = self.lock();
        ring.events += events.len();
        ring.bytes += size(&events);
        ring.batches.push_back(Batch { revision, events: events.into() });
        while ring.events > self.max_events || ring.bytes > self.max_bytes {
            let Some(oldest) = ring.batches.pop_front() else { break };
            ring.events -= oldest.events.len();
            ring.bytes -= size(&oldest.events);
            ring.forgotten = oldest.revision;
        }
        drop(ring);
        self.newest.send_replace(revision);
    }

    /// Reads the events of a prefix after a revision.
    pub(super) fn reader(self: &Arc<Self>, prefix: &[u8], after: Revision) -> Reader {
        Reader { feed: Arc::clone(self), newest: self.newest.subscribe(), prefix: prefix.to_vec(), after }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().expect("no holder of the ring panics")
    }
}

impl Reader {
    /// Returns what is there already.
    pub(super) fn poll(&mut self) -> Option<Watched> {
        // Marked before the ring is looked at, so that what is published in between wakes again.
        self.newest.mark_unchanged();
        let ring = self.feed.lock();
        if self.after < ring.forgotten {
            return Some(Watched::Compacted);
        }
        let start = ring.batches.partition_point(|batch| batch.revision <= self.after);
        for batch in ring.batches.range(start..) {
            self.after = batch.revision;
            let events = batch.events.iter().filter(|event| event.key().starts_with(&self.prefix));
            let events: Vec<Event> = events.cloned().collect();
            if !events.is_empty() {
                return Some(Watched::Events { revision: batch.revision, events });
            }
        }
        None
    }

    /// Waits until something was published after the last [`Reader::poll`]. The reader keeps the feed alive, so that it
    /// cannot end.
    pub(super) async fn changed(&mut self) {
        if self.newest.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn size(events: &[Event]) -> usize {
    let one = |event: &Event| match event {
        Event::Put(entry) => entry.key.len() + entry.value.len(),
        Event::Delete { key } => key.len(),
    };
    events.iter().map(one).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deletion(key: &str) -> Vec<Event> {
        vec![Event::Delete { key: key.into() }]
    }

    #[test]
    fn a_reader_sees_its_prefix_in_order() {
        let feed = Feed::new(Revision(4));
        let mut reader = feed.reader(b"a/", Revision(4));
        assert_eq!(reader.poll(), None);
        for (revision, key) in [(5, "a/1"), (6, "b/1"), (7, "a/2")] {
            feed.publish(Revision(revision), deletion(key));
        }
        assert_eq!(reader.poll(), Some(Watched::Events { revision: Revision(5), events: deletion("a/1") }));
        assert_eq!(reader.poll(), Some(Watched::Events { revision: Revision(7), events: deletion("a/2") }));
        assert_eq!(reader.poll(), None);
    }

    #[test]
    fn a_reader_that_is_too_slow_is_told() {
        let feed = Feed::with_bounds(Revision(0), 2, 1000);
        let mut slow = feed.reader(b"", Revision(0));
        let mut just_in_time = feed.reader(b"", Revision(1));
        for revision in 1..=3 {
            feed.publish(Revision(revision), deletion("k"));
        }
        assert_eq!(slow.poll(), Some(Watched::Compacted));
        assert!(matches!(just_in_time.poll(), Some(Watched::Events { revision: Revision(2), .. })));
    }

    #[test]
    fn a_transaction_larger_than_the_bound_is_not_kept() {
        let feed = Feed::with_bounds(Revision(0), 100, 10);
        let mut reader = feed.reader(b"", Revision(0));
        feed.publish(Revision(1), deletion("a key longer than ten bytes"));
        assert_eq!(reader.poll(), Some(Watched::Compacted));
        assert_eq!(feed.reader(b"", Revision(1)).poll(), None);
    }
}
