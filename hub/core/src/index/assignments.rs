//! The assignments that objects came from, with their counts, each under a small tag.

use std::collections::BTreeMap;

use starling_model::{Health, Uid};

use super::counts::HealthCounts;

/// The assignment of an object, or none; valid for as long as an object counts for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tag(u32);

/// The assignments in use.
#[derive(Debug, Default)]
pub(crate) struct Assignments {
    slots: Vec<(Uid, HealthCounts)>,
    free: Vec<u32>,
    by_uid: BTreeMap<Uid, Tag>,
}

impl Tag {
    /// The tag of objects that came from no assignment.
    pub(crate) const NONE: Self = Self(u32::MAX);
}

impl Assignments {
    /// Counts one object more.
    pub(crate) fn add(&mut self, assignment: Option<Uid>, health: Health) -> Tag {
        let Some(uid) = assignment else { return Tag::NONE };
        let tag = self.by_uid.get(&uid).copied().unwrap_or_else(|| self.insert(uid));
        self.slots[tag.0 as usize].1.add(health);
        tag
    }

    /// Counts one object less, and forgets the assignment with its last.
    pub(crate) fn remove(&mut self, tag: Tag, health: Health) {
        if tag == Tag::NONE {
            return;
        }
        let (uid, counts) = &mut self.slots[tag.0 as usize];
        counts.subtract(health);
        if counts.is_empty() {
            self.by_uid.remove(uid);
            self.free.push(tag.0);
        }
    }

    /// Returns the tag of an assignment that objects came from.
    pub(crate) fn find(&self, uid: &Uid) -> Option<Tag> {
        self.by_uid.get(uid).copied()
    }

    pub(crate) fn uid(&self, tag: Tag) -> Option<Uid> {
        (tag != Tag::NONE).then(|| self.slots[tag.0 as usize].0)
    }

    pub(crate) fn counts(&self, uid: &Uid) -> HealthCounts {
        self.find(uid).map(|tag| self.slots[tag.0 as usize].1).unwrap_or_default()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_uid.is_empty()
    }

    fn insert(&mut self, uid: Uid) -> Tag {
        let slot = (uid, HealthCounts::default());
        let tag = if let Some(index) = self.free.pop() {
            self.slots[index as usize] = slot;
            Tag(index)
        } else {
            let index = u32::try_from(self.slots.len()).expect("four billion assignments do not fit into memory");
            self.slots.push(slot);
            Tag(index)
        };
        self.by_uid.insert(uid, tag);
        tag
    }
}
