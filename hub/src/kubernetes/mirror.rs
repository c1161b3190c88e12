//! What the API told and the steward does not know yet: the latest of each object, never a queue.

use std::collections::{BTreeMap, BTreeSet};

use kube::runtime::watcher;
use starling_hub_core::fleet::Fleet;
use starling_hub_core::resources::{InputKey, Kind};

use super::seen::Seen;

/// The latest of an object.
#[derive(Debug)]
pub(super) enum Change {
    /// It is there.
    Present(Box<Seen>),
    /// It is being deleted under our finalizer.
    Deleting(Box<Seen>),
    /// It is not there.
    Gone,
}

/// What was told of all objects, and what of it waits.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    /// The objects that are there.
    there: BTreeSet<InputKey>,
    /// The objects of a list that is under way.
    listing: BTreeMap<Kind, BTreeSet<InputKey>>,
    /// The kinds that were listed to the end since the watches began.
    listed: BTreeSet<Kind>,
    waiting: BTreeMap<InputKey, Change>,
    /// What could not be dealt with and waits for another try; whatever is told of an object takes its place.
    deferred: BTreeMap<InputKey, Change>,
}

impl Mirror {
    /// Notes an event of a kind's watch; returns the object that it is about.
    pub(super) fn note<'a>(
        &'a mut self,
        kind: Kind,
        event: watcher::Event<kube::api::DynamicObject>,
        fleet: &Fleet,
    ) -> Option<(InputKey, Option<&'a Seen>)> {
        match event {
            watcher::Event::Init => {
                self.listing.insert(kind, BTreeSet::new());
                None
            }
            watcher::Event::InitApply(object) => {
                let seen = Seen::read(kind, object)?;
                self.listing.entry(kind).or_default().insert(seen.key.clone());
                self.present(seen)
            }
            watcher::Event::Apply(object) => self.present(Seen::read(kind, object)?),
            watcher::Event::Delete(object) => {
                let key = Seen::read(kind, object)?.key;
                self.gone(key.clone());
                Some((key, None))
            }
            watcher::Event::InitDone => {
                self.complete(kind, fleet);
                None
            }
        }
    }

    /// Notes that a kind does not exist, so that none of its objects is there.
    pub(super) fn no_such_kind(&mut self, kind: Kind, fleet: &Fleet) {
        self.listing.insert(kind, BTreeSet::new());
        self.complete(kind, fleet);
    }

    /// Forgets what was told: the watches begin anew.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Tells whether every kind was listed, and nothing of it waits but deletions.
    pub(super) fn is_settled(&self) -> bool {
        self.listed.len() == Kind::ALL.len()
            && self.waiting.values().all(|change| matches!(change, Change::Deleting(_)))
    }

    /// Takes changes out, in the order of kinds: at most so many, and no deletion.
    pub(super) fn take(&mut self, most: usize) -> Vec<(InputKey, Change)> {
        let keys: Vec<InputKey> = self
            .waiting
            .iter()
            .filter(|(_, change)| !matches!(change, Change::Deleting(_)))
            .take(most)
            .map(|(key, _)| key.clone())
            .collect();
        keys.into_iter().filter_map(|key| self.waiting.remove_entry(&key)).collect()
    }

    /// Takes a deletion out whose kind was listed: then what else there is of it is known.
    pub(super) fn take_deletion(&mut self) -> Option<Box<Seen>> {
        let is_due = |key: &InputKey| self.listed.contains(&key.kind);
        let (key, _) =
            self.waiting.iter().find(|(key, change)| matches!(change, Change::Deleting(_)) && is_due(key))?;
        let key = key.clone();
        match self.waiting.remove(&key) {
            Some(Change::Deleting(seen)) => Some(seen),
            Some(Change::Present(_) | Change::Gone) | None => None,
        }
    }

    /// Puts back what was taken and could not be handed over; nothing was told meanwhile.
    pub(super) fn put_back(&mut self, key: InputKey, change: Change) {
        self.waiting.insert(key, change);
    }

    /// Keeps what was handed over, and whose follow-up failed, for another try.
    pub(super) fn defer(&mut self, key: InputKey, change: Change) {
        self.deferred.insert(key, change);
    }

    /// Lets what was deferred wait again.
    pub(super) fn retry(&mut self) {
        self.waiting.append(&mut self.deferred);
    }

    /// Tells whether nothing was deferred.
    pub(super) fn is_nothing_deferred(&self) -> bool {
        self.deferred.is_empty()
    }

    fn present(&mut self, seen: Seen) -> Option<(InputKey, Option<&Seen>)> {
        let key = seen.key.clone();
        self.deferred.remove(&key);
        self.there.insert(key.clone());
        let change = match (seen.is_deleting, seen.has_finalizer) {
            (false, _) => Change::Present(Box::new(seen)),
            (true, true) => Change::Deleting(Box::new(seen)),
            // Somebody else's finalizer keeps it; it is no evidence, and nothing of it is taken any more.
            (true, false) => {
                self.waiting.remove(&key);
                return Some((key, None));
            }
        };
        self.waiting.insert(key.clone(), change);
        let seen = match self.waiting.get(&key) {
            Some(Change::Present(seen) | Change::Deleting(seen)) => Some(seen.as_ref()),
            Some(Change::Gone) | None => None,
        };
        Some((key, seen))
    }

    fn gone(&mut self, key: InputKey) {
        self.deferred.remove(&key);
        self.there.remove(&key);
        self.waiting.insert(key, Change::Gone);
    }

    /// Ends a list: what was there before, or is in the fleet, and is not in the list, has gone.
    fn complete(&mut self, kind: Kind, fleet: &Fleet) {
        let listed = self.listing.remove(&kind).unwrap_or_default();
        let known = self.there.iter().filter(|key| key.kind == kind).cloned();
        let in_fleet = fleet.inputs_of(kind).filter(|record| record.missing.is_none());
        let deleted = fleet.all_deleted().filter(|record| record.key.kind == kind).map(|record| record.key.clone());
        let before = known.chain(in_fleet.map(|record| record.resource.key())).chain(deleted);
        let vanished: BTreeSet<InputKey> = before.filter(|key| !listed.contains(key)).collect();
        for key in vanished {
            self.gone(key);
        }
        self.listed.insert(kind);
    }
}

#[cfg(test)]
mod tests {
    use kube::api::DynamicObject;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::super::FINALIZER;
    use super::*;

    fn workspace(name: &str, deleting: bool) -> DynamicObject {
        let mut text = json!({
            "apiVersion": "starling.dev/v1alpha1", "kind": "Workspace", "spec": {},
            "metadata": { "name": name, "uid": name, "finalizers": [FINALIZER] },
        });
        if deleting {
            text["metadata"]["deletionTimestamp"] = "2026-11-21T08:00:00Z".into();
        }
        serde_json::from_value(text).unwrap()
    }

    fn names(changes: &[(InputKey, Change)]) -> Vec<String> {
        changes.iter().map(|(key, _)| key.name.clone()).collect()
    }

    #[test]
    fn the_latest_of_an_object_counts_and_batches_are_bounded() {
        let (mut mirror, fleet) = (Mirror::default(), Fleet::new("demo"));
        for name in ["c", "a", "b", "a"] {
            mirror.note(Kind::Workspace, Event::Apply(workspace(name, false)), &fleet);
        }
        mirror.note(Kind::Workspace, Event::Delete(workspace("b", false)), &fleet);
        assert_eq!(names(&mirror.take(2)), ["a", "b"]);
        assert!(matches!(mirror.take(2).as_slice(), [(_, Change::Present(_))]));
        assert!(mirror.waiting.is_empty());
    }

    #[test]
    fn what_was_told_since_takes_the_place_of_what_was_deferred() {
        let (mut mirror, fleet) = (Mirror::default(), Fleet::new("demo"));
        for name in ["a", "b"] {
            mirror.note(Kind::Workspace, Event::Apply(workspace(name, false)), &fleet);
        }
        for (key, change) in mirror.take(9) {
            mirror.defer(key, change);
        }
        mirror.note(Kind::Workspace, Event::Apply(workspace("a", false)), &fleet);
        assert_eq!(names(&mirror.take(9)), ["a"]);
        mirror.retry();
        assert_eq!(names(&mirror.take(9)), ["b"]);
        assert!(mirror.is_nothing_deferred());
    }

    #[test]
    fn what_a_list_does_not_hold_has_gone() {
        let (mut mirror, fleet) = (Mirror::default(), Fleet::new("demo"));
        mirror.note(Kind::Workspace, Event::Apply(workspace("a", false)), &fleet);
        mirror.take(9);
        mirror.note(Kind::Workspace, Event::Init, &fleet);
        mirror.note(Kind::Workspace, Event::InitApply(workspace("b", false)), &fleet);
        assert!(!mirror.take(9).iter().any(|(_, change)| matches!(change, Change::Gone)));
        mirror.note(Kind::Workspace, Event::InitDone, &fleet);
        assert!(matches!(mirror.take(9).as_slice(), [(key, Change::Gone)] if key.name == "a"));
    }

    #[test]
    fn a_deletion_waits_until_everything_else_of_its_kind_is_known() {
        let (mut mirror, fleet) = (Mirror::default(), Fleet::new("demo"));
        mirror.note(Kind::Workspace, Event::Init, &fleet);
        mirror.note(Kind::Workspace, Event::InitApply(workspace("a", true)), &fleet);
        assert!(mirror.take(9).is_empty() && mirror.take_deletion().is_none());
        mirror.note(Kind::Workspace, Event::InitDone, &fleet);
        assert_eq!(mirror.take_deletion().map(|seen| seen.key.name), Some("a".to_owned()));
    }
}
