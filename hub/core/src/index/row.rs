//! One object's row: symbols and numbers, 64 bytes.

use std::cmp::Ordering;

use starling_model::{Health, Millis, ObjectKey, ObjectStatus, Uid};

use super::interner::{Interner, Symbol};

/// A status as the index keeps it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) group: Symbol,
    pub(crate) kind: Symbol,
    pub(crate) namespace: Symbol,
    pub(crate) name: Symbol,
    reason: Symbol,
    message: Symbol,
    revision: Symbol,
    generation: u64,
    since: Millis,
    pub(crate) assignment: Option<Uid>,
    pub(crate) health: Health,
    /// Set when the running snapshot named the object.
    pub(crate) in_snapshot: bool,
}

impl Row {
    pub(crate) fn new(status: &ObjectStatus, now: Millis, interner: &mut Interner) -> Self {
        Self {
            group: interner.acquire(&status.key.group),
            kind: interner.acquire(&status.key.kind),
            namespace: interner.acquire(&status.key.namespace),
            name: interner.acquire(&status.key.name),
            reason: interner.acquire(&status.reason),
            message: interner.acquire(&status.message),
            revision: interner.acquire(&status.revision),
            generation: status.generation,
            since: now,
            assignment: status.assignment,
            health: status.health,
            in_snapshot: true,
        }
    }

    /// Takes over a newer status of the same object; `since` moves only when the health does.
    pub(crate) fn update(&mut self, status: &ObjectStatus, now: Millis, interner: &mut Interner) -> bool {
        self.in_snapshot = true;
        let changed = self.health != status.health
            || self.generation != status.generation
            || self.assignment != status.assignment
            || interner.text(self.reason) != status.reason
            || interner.text(self.message) != status.message
            || interner.text(self.revision) != status.revision;
        if self.health != status.health {
            self.since = now;
        }
        self.health = status.health;
        self.generation = status.generation;
        self.assignment = status.assignment;
        interner.replace(&mut self.reason, &status.reason);
        interner.replace(&mut self.message, &status.message);
        interner.replace(&mut self.revision, &status.revision);
        changed
    }

    pub(crate) fn release(self, interner: &mut Interner) {
        for symbol in [self.group, self.kind, self.namespace, self.name, self.reason, self.message, self.revision] {
            interner.release(symbol);
        }
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

    pub(crate) fn status(&self, interner: &Interner) -> ObjectStatus {
        let text = |symbol| interner.text(symbol).to_owned();
        ObjectStatus {
            key: ObjectKey {
                group: text(self.group),
                kind: text(self.kind),
                namespace: text(self.namespace),
                name: text(self.name),
            },
            health: self.health,
            reason: text(self.reason),
            message: text(self.message),
            revision: text(self.revision),
            generation: self.generation,
            assignment: self.assignment,
        }
    }

    pub(crate) fn since(&self) -> Millis {
        self.since
    }

    pub(crate) fn message<'a>(&self, interner: &'a Interner) -> &'a str {
        interner.text(self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_small() {
        assert!(size_of::<Row>() <= 64, "{}", size_of::<Row>());
    }
}
