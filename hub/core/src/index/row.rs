//! One object in two parts: what questions look at (24 bytes), and the rest (32 bytes).

use std::cmp::Ordering;

use starling_model::{Health, Millis, ObjectKey, ObjectStatus};

use super::assignments::Tag;
use super::interner::{Interner, Symbol};

/// The part of a status that filters look at, kept apart so that a question reads little memory.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) group: Symbol,
    pub(crate) kind: Symbol,
    pub(crate) namespace: Symbol,
    pub(crate) name: Symbol,
    pub(crate) assignment: Tag,
    pub(crate) health: Health,
    /// Set when the running snapshot named the object.
    pub(crate) in_snapshot: bool,
}

/// The rest of a status.
#[derive(Debug)]
pub(crate) struct Detail {
    pub(crate) reason: Symbol,
    pub(crate) message: Symbol,
    pub(crate) revision: Symbol,
    pub(crate) generation: u64,
    pub(crate) since: Millis,
}

impl Row {
    pub(crate) fn new(status: &ObjectStatus, assignment: Tag, interner: &mut Interner) -> Self {
        Self {
            group: interner.acquire(&status.key.group),
            kind: interner.acquire(&status.key.kind),
            namespace: interner.acquire(&status.key.namespace),
            name: interner.acquire(&status.key.name),
            assignment,
            health: status.health,
            in_snapshot: true,
        }
    }

    pub(crate) fn release(self, interner: &mut Interner) {
        for symbol in [self.group, self.kind, self.namespace, self.name] {
            interner.release(symbol);
        }
    }

    pub(crate) fn is_of_kind(&self, other: &Self) -> bool {
        (self.group, self.kind) == (other.group, other.kind)
    }

    /// Compares the row's key as [`ObjectKey`] orders keys.
    pub(crate) fn compare(&self, key: &ObjectKey, interner: &Interner) -> Ordering {
        interner
            .text(self.group)
            .cmp(&key.group)
            .then_with(|| interner.text(self.kind).cmp(&key.kind))
            .then_with(|| interner.text(self.namespace).cmp(&key.namespace))
            .then_with(|| interner.text(self.name).cmp(&key.name))
    }
}

impl Detail {
    pub(crate) fn new(status: &ObjectStatus, now: Millis, interner: &mut Interner) -> Self {
        Self {
            reason: interner.acquire(&status.reason),
            message: interner.acquire(&status.message),
            revision: interner.acquire(&status.revision),
            generation: status.generation,
            since: now,
        }
    }

    /// Takes over a newer status; tells whether anything is another than before.
    pub(crate) fn update(&mut self, status: &ObjectStatus, interner: &mut Interner) -> bool {
        let changed = self.generation != status.generation
            || interner.text(self.reason) != status.reason
            || interner.text(self.message) != status.message
            || interner.text(self.revision) != status.revision;
        if changed {
            self.generation = status.generation;
            interner.replace(&mut self.reason, &status.reason);
            interner.replace(&mut self.message, &status.message);
            interner.replace(&mut self.revision, &status.revision);
        }
        changed
    }

    pub(crate) fn release(self, interner: &mut Interner) {
        for symbol in [self.reason, self.message, self.revision] {
            interner.release(symbol);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parts_are_small() {
        assert_eq!((size_of::<Row>(), size_of::<Detail>()), (24, 32));
    }
}
