//! What is reported: the newest status of every tracked object and install, and which of them the hub lacks.
//!
//! Owns coalescing (a key that changed ten times is sent once, with its newest), the bound on tracked objects, and how
//! a snapshot is cut into batches while changes go on. Does not own judging (judge) nor pacing (pace). The book is the
//! bounded queue: it holds one status a key, however slow the hub reads.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use starling_model::health::kind_digest;
use starling_model::install::installs_digest;
use starling_model::limits::truncate_text;
use starling_model::session::{BatchKind, KindDigest, StatusBatch};
use starling_model::{Digest, Facts, InstallKey, InstallReport, Limits, ObjectKey, ObjectStatus};

use crate::dirty::Dirty;
use crate::status_size::{BATCH_OVERHEAD, facts_bytes, install_bytes, key_bytes, report_bytes, status_bytes};

/// All statuses and install reports, and what of them is still to be sent.
#[derive(Clone, Debug)]
pub struct StatusBook {
    limits: Limits,
    facts: Facts,
    statuses: BTreeMap<ObjectKey, ObjectStatus>,
    installs: BTreeMap<InstallKey, InstallReport>,
    untracked: BTreeSet<ObjectKey>,
    uncounted: u64,
    dropped: u64,
    dirty: Dirty<ObjectKey>,
    dirty_installs: Dirty<InstallKey>,
    dirty_facts: bool,
    dirty_untracked: bool,
    link: Link,
    second: Second,
    sequence: u64,
}

/// What the shell does to fill the room that appeared under the bound of tracked objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refill {
    /// Objects to read again and report by [`StatusBook::upsert`] or [`StatusBook::remove`].
    pub read: Vec<ObjectKey>,
    /// True when objects were seen that are not even known by name: every watched kind must be listed again.
    pub relist: bool,
}

/// What of the book Hello tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookDigests {
    /// The digests of the statuses, one a kind, sorted.
    pub kinds: Vec<KindDigest>,
    /// The digest of the install reports.
    pub installs: Digest,
    /// The facts.
    pub facts: Facts,
}

#[derive(Clone, Debug)]
enum Link {
    /// No session, or none that was welcomed: nothing is sent.
    Closed,
    /// Changes are sent as deltas.
    Deltas,
    /// A snapshot is being sent.
    Snapshot(Cursor),
}

/// What a Hello on a second link is worth, while the first link's session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Second {
    /// None was said.
    Unsaid,
    /// All that changed since is still to be sent.
    Said,
    /// Something that changed since may have gone to the first link alone: only a snapshot tells all.
    Overtaken,
}

/// Up to where a snapshot was sent.
#[derive(Clone, Debug)]
enum Cursor {
    Start,
    Objects(ObjectKey),
    Installs(Option<InstallKey>),
}

impl StatusBook {
    /// Makes an empty book.
    #[must_use]
    pub fn new(limits: Limits, facts: Facts) -> Self {
        Self {
            limits,
            facts,
            statuses: BTreeMap::new(),
            installs: BTreeMap::new(),
            untracked: BTreeSet::new(),
            uncounted: 0,
            dropped: 0,
            dirty: Dirty::default(),
            dirty_installs: Dirty::default(),
            dirty_facts: false,
            dirty_untracked: false,
            link: Link::Closed,
            second: Second::Unsaid,
            sequence: 0,
        }
    }

    /// Returns all tracked statuses.
    #[must_use]
    pub fn statuses(&self) -> &BTreeMap<ObjectKey, ObjectStatus> {
        &self.statuses
    }

    /// Returns all install reports.
    #[must_use]
    pub fn installs(&self) -> &BTreeMap<InstallKey, InstallReport> {
        &self.installs
    }

    /// Returns the facts.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Returns the limits that hold now.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns how many objects exist that are not tracked; an upper bound once there are twice as many as may be.
    #[must_use]
    pub fn untracked(&self) -> u64 {
        (self.untracked.len() as u64).saturating_add(self.uncounted)
    }

    /// Returns how many statuses were dropped since the start because a bound was reached.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Records the newest status of an object; returns whether it is news.
    pub fn upsert(&mut self, mut status: ObjectStatus) -> bool {
        shorten(&mut status.message, &self.limits);
        let key = status.key.clone();
        let known = self.statuses.get(&key);
        if known == Some(&status) {
            return false;
        }
        if known.is_none() && self.statuses.len() >= self.limits.objects as usize {
            self.leave_out(key);
            return false;
        }
        if self.untracked.remove(&key) {
            self.dirty_untracked = true;
        }
        self.statuses.insert(key.clone(), status);
        self.dirty.insert(key);
        true
    }

    /// Records that an object is gone; returns whether it is news.
    pub fn remove(&mut self, key: &ObjectKey) -> bool {
        if self.untracked.remove(key) {
            self.dirty_untracked = true;
        }
        let was_tracked = self.statuses.remove(key).is_some();
        if was_tracked {
            self.dirty.insert(key.clone());
        }
        was_tracked
    }

    /// Records that a kind was listed whole: objects of it that are not among `present` are gone.
    pub fn retain_kind(&mut self, group: &str, kind: &str, present: &BTreeSet<ObjectKey>) {
        let of_kind = |key: &&ObjectKey| key.group == group && key.kind == kind;
        let from = ObjectKey::new(group, kind, "", "");
        let tracked = self.statuses.range(&from..).map(|(key, _)| key).take_while(of_kind);
        let untracked = self.untracked.range(&from..).take_while(of_kind);
        let gone: Vec<_> = tracked.chain(untracked).filter(|key| !present.contains(key)).cloned().collect();
        for key in &gone {
            self.remove(key);
        }
    }

    /// Records the newest report of an install.
    pub fn upsert_install(&mut self, mut report: InstallReport) {
        shorten(&mut report.message, &self.limits);
        shorten(&mut report.last_drift, &self.limits);
        let install = report.install.clone();
        if self.installs.get(&install) != Some(&report) {
            self.installs.insert(install.clone(), report);
            self.dirty_installs.insert(install);
        }
    }

    /// Records that an install is gone.
    pub fn remove_install(&mut self, install: &InstallKey) {
        if self.installs.remove(install).is_some() {
            self.dirty_installs.insert(install.clone());
        }
    }

    /// Records all installs at once; those that are not among them are gone.
    pub fn set_installs(&mut self, reports: impl Iterator<Item = InstallReport>) {
        let mut gone: BTreeSet<InstallKey> = self.installs.keys().cloned().collect();
        for report in reports {
            gone.remove(&report.install);
            self.upsert_install(report);
        }
        for install in gone {
            self.remove_install(&install);
        }
    }

    /// Records new facts; returns whether they are news.
    pub fn set_facts(&mut self, facts: Facts) -> bool {
        let is_news = self.facts != facts;
        self.facts = facts;
        self.dirty_facts |= is_news;
        is_news
    }

    /// Takes over the limits that the hub announced. Objects beyond a lower bound are dropped, last names first.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        while self.statuses.len() > limits.objects as usize {
            let Some((key, _)) = self.statuses.pop_last() else { break };
            self.dirty.insert(key.clone());
            self.leave_out(key);
        }
    }

    /// Tells what to read again, now that there is room for objects that were left out.
    pub fn refill(&mut self) -> Refill {
        let room = (self.limits.objects as usize).saturating_sub(self.statuses.len());
        if room == 0 {
            return Refill::default();
        }
        let read: Vec<_> = self.untracked.iter().take(room).cloned().collect();
        let relist = read.len() < room && self.uncounted > 0;
        if relist {
            // The listing reports each of them again, and counts those for which there is still no room.
            self.uncounted = 0;
            self.dirty_untracked = true;
        }
        Refill { read, relist }
    }

    /// Starts a session: sequence numbers start again, and what Hello tells counts as sent. Nothing is sent until
    /// [`Self::welcomed`].
    pub fn begin_session(&mut self) -> BookDigests {
        self.link = Link::Closed;
        self.second = Second::Unsaid;
        self.sequence = 0;
        self.clear_dirty();
        // The count has no digest, so a hub that knows the rest is told it again.
        self.dirty_untracked = self.untracked() > 0 || self.dropped > 0;
        self.digests()
    }

    /// Tells what Hello tells on a second link. The session at hand goes on with its own sequence numbers; one
    /// book serves both, as nothing is taken from it for the second before that is welcomed.
    pub fn begin_second(&mut self) -> BookDigests {
        self.second = Second::Said;
        self.digests()
    }

    /// Forgets what a second link's Hello told: the session at hand is the only one again.
    pub fn abandon_second(&mut self) {
        self.second = Second::Unsaid;
    }

    /// Records the hub's Welcome to the newest Hello: deltas follow if it knows what Hello told, else a snapshot.
    pub fn welcomed(&mut self, status_known: bool) {
        let second = std::mem::replace(&mut self.second, Second::Unsaid);
        if second != Second::Unsaid {
            self.sequence = 0;
            self.dirty_untracked |= self.untracked() > 0 || self.dropped > 0;
        }
        let is_overtaken = second == Second::Overtaken;
        self.dirty_facts |= is_overtaken;
        let is_known = status_known && !is_overtaken;
        self.link = if is_known { Link::Deltas } else { Link::Snapshot(Cursor::Start) };
    }

    /// Starts a snapshot, from its beginning if one is under way; it needs a welcomed session.
    pub fn begin_snapshot(&mut self) {
        match self.link {
            Link::Closed => {}
            Link::Deltas | Link::Snapshot(_) => self.link = Link::Snapshot(Cursor::Start),
        }
    }

    /// Ends the session: nothing is sent until the next one is welcomed.
    pub fn end_session(&mut self) {
        self.link = Link::Closed;
    }

    /// Tells whether [`Self::next_batch`] has something.
    #[must_use]
    pub fn has_batch(&self) -> bool {
        match self.link {
            Link::Closed => false,
            Link::Snapshot(_) => true,
            Link::Deltas => {
                self.dirty_facts || self.dirty_untracked || !self.dirty.is_empty() || !self.dirty_installs.is_empty()
            }
        }
    }

    /// Takes the next batch, of about at most `max_bytes` on the wire; one item passes whatever its size.
    pub fn next_batch(&mut self, max_bytes: usize) -> Option<StatusBatch> {
        if !self.has_batch() {
            return None;
        }
        if self.second == Second::Said {
            self.second = Second::Overtaken;
        }
        self.sequence += 1;
        let mut batch = StatusBatch {
            sequence: self.sequence,
            kind: BatchKind::Delta,
            objects: Vec::new(),
            removed: Vec::new(),
            installs: Vec::new(),
            removed_installs: Vec::new(),
            untracked: self.untracked(),
            facts: std::mem::take(&mut self.dirty_facts).then(|| self.facts.clone()),
        };
        self.dirty_untracked = false;
        let mut room = Room::new(max_bytes, BATCH_OVERHEAD + batch.facts.as_ref().map_or(0, facts_bytes));
        match std::mem::replace(&mut self.link, Link::Deltas) {
            Link::Closed | Link::Deltas => self.fill_delta(&mut batch, &mut room),
            Link::Snapshot(cursor) => self.fill_snapshot(cursor, &mut batch, &mut room),
        }
        Some(batch)
    }

    fn fill_delta(&mut self, batch: &mut StatusBatch, room: &mut Room) {
        while let Some(key) = self.dirty.peek() {
            let status = self.statuses.get(key);
            if !room.take(status.map_or_else(|| key_bytes(key), status_bytes)) {
                return;
            }
            match status {
                Some(status) => batch.objects.push(status.clone()),
                None => batch.removed.push(key.clone()),
            }
            self.dirty.pop();
        }
        while let Some(install) = self.dirty_installs.peek() {
            let report = self.installs.get(install);
            if !room.take(report.map_or_else(|| install_bytes(install), report_bytes)) {
                return;
            }
            match report {
                Some(report) => batch.installs.push(report.clone()),
                None => batch.removed_installs.push(install.clone()),
            }
            self.dirty_installs.pop();
        }
    }

    fn fill_snapshot(&mut self, cursor: Cursor, batch: &mut StatusBatch, room: &mut Room) {
        let is_first = matches!(cursor, Cursor::Start);
        if is_first {
            // All of it is in the snapshot; what changes behind the cursor from now on follows as a delta.
            self.dirty.clear();
            self.dirty_installs.clear();
        }
        let rest = self.fill_objects(cursor, batch, room);
        batch.kind = match (is_first, rest.is_some()) {
            (true, false) => BatchKind::SnapshotWhole,
            (true, true) => BatchKind::SnapshotStart,
            (false, true) => BatchKind::SnapshotPart,
            (false, false) => BatchKind::SnapshotEnd,
        };
        self.link = rest.map_or(Link::Deltas, Link::Snapshot);
    }

    /// Fills a part of a snapshot from where the last ended; returns where it ended, `None` at the snapshot's end.
    fn fill_objects(&mut self, cursor: Cursor, batch: &mut StatusBatch, room: &mut Room) -> Option<Cursor> {
        let (from, mut reached) = match cursor {
            Cursor::Start => (Bound::Unbounded, Cursor::Start),
            Cursor::Objects(key) => (Bound::Excluded(key.clone()), Cursor::Objects(key)),
            Cursor::Installs(after) => return self.fill_installs(after, batch, room),
        };
        for (key, status) in self.statuses.range((from, Bound::Unbounded)) {
            if !room.take(status_bytes(status)) {
                return Some(reached);
            }
            batch.objects.push(status.clone());
            self.dirty.remove(key);
            reached = Cursor::Objects(key.clone());
        }
        self.fill_installs(None, batch, room)
    }

    fn fill_installs(&mut self, after: Option<InstallKey>, batch: &mut StatusBatch, room: &mut Room) -> Option<Cursor> {
        let from = after.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let mut reached = after;
        for (install, report) in self.installs.range((from, Bound::Unbounded)) {
            if !room.take(report_bytes(report)) {
                return Some(Cursor::Installs(reached));
            }
            batch.installs.push(report.clone());
            self.dirty_installs.remove(install);
            reached = Some(install.clone());
        }
        None
    }

    fn leave_out(&mut self, key: ObjectKey) {
        self.dropped += 1;
        self.dirty_untracked = true;
        if self.untracked.len() < self.limits.objects as usize {
            self.untracked.insert(key);
        } else if !self.untracked.contains(&key) {
            self.uncounted += 1;
        }
    }

    fn clear_dirty(&mut self) {
        self.dirty.clear();
        self.dirty_installs.clear();
        self.dirty_facts = false;
    }

    fn digests(&self) -> BookDigests {
        BookDigests {
            kinds: self.kind_digests(),
            installs: installs_digest(self.installs.values()),
            facts: self.facts.clone(),
        }
    }

    fn kind_digests(&self) -> Vec<KindDigest> {
        let statuses: Vec<&ObjectStatus> = self.statuses.values().collect();
        let kinds = statuses.chunk_by(|one, other| one.key.group == other.key.group && one.key.kind == other.key.kind);
        kinds
            .map(|statuses| KindDigest {
                group: statuses[0].key.group.clone(),
                kind: statuses[0].key.kind.clone(),
                digest: kind_digest(statuses.iter().copied()),
            })
            .collect()
    }
}

/// What is left of a batch.
struct Room {
    left: usize,
    is_empty: bool,
}

impl Room {
    fn new(max_bytes: usize, used: usize) -> Self {
        Self { left: max_bytes.saturating_sub(used), is_empty: true }
    }

    /// Takes room for one item; the first item of a batch always fits, or nothing ever would.
    fn take(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.left || self.is_empty;
        if fits {
            self.left = self.left.saturating_sub(bytes);
            self.is_empty = false;
        }
        fits
    }
}

fn shorten(text: &mut String, limits: &Limits) {
    if text.len() > limits.text_bytes as usize {
        *text = truncate_text(text, limits.text_bytes as usize);
    }
}

#[cfg(test)]
#[path = "status_book_tests.rs"]
mod tests;
