//! What the agent holds in its cluster: installs, the unfinished intent, the tombstones that were carried out.
//!
//! Owns the record and how it changes when an intent is committed or a step of it is done. Does not own how it is
//! stored (records), what a plan makes of it (intent), nor what one live object needs (reconcile). Whoever changes a
//! record commits it to the cluster by compare-and-set before acting on it: change a clone, store it, then use it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use starling_model::fence::parse_stamp;
use starling_model::limits::truncate_text;
use starling_model::plan::{Render, Tombstone};
use starling_model::session::Held;
use starling_model::{Digest, Fence, InstallKey, InstallReport, InstallState, ObjectKey, Position, Uid, Value, labels};

use crate::judge::{assignment_of, key_of};
use crate::parked::RenderShelf;
use crate::reconcile::is_orphanable;

/// How many carried-out tombstones are remembered; older ones are forgotten and counted.
pub const BURIED_MAXIMUM: usize = 256;

/// How many earlier incarnations of an install's assignment are remembered as owners of its objects.
pub const FORMER_MAXIMUM: usize = 8;

/// The bound in bytes of a message or drift note that is kept.
pub const NOTE_BYTES: usize = 1024;

/// What the agent holds in its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    pub(crate) newest_fence: Option<Fence>,
    pub(crate) plan_digest: Option<Digest>,
    pub(crate) installs: BTreeMap<InstallKey, HeldInstall>,
    pub(crate) open: Option<OpenIntent>,
    pub(crate) buried: VecDeque<Buried>,
    pub(crate) buried_forgotten: u64,
    pub(crate) detached: Option<Fence>,
}

/// One install that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldInstall {
    /// The assignment that it is held for.
    pub assignment: Uid,
    /// The assignment's name, for people.
    pub assignment_name: String,
    /// The assignment's revision.
    pub revision: Digest,
    /// The objects to hold.
    pub render: Arc<Render>,
    /// The era number and the position of the plan that was last written.
    pub recorded: (u64, Position),
    /// The era number and the position of the newest plan that listed the install for its assignment; a tombstone
    /// that was minted earlier is void.
    pub affirmed: (u64, Position),
    /// How far it came.
    pub state: InstallState,
    /// The API server's message where an object was rejected, else empty.
    pub message: String,
    /// Every object that was ever written for the install and is not known to be gone, with its UID once known.
    pub objects: BTreeMap<ObjectKey, Option<String>>,
    /// Objects that renders retired and that are not yet gone.
    pub retiring: BTreeSet<ObjectKey>,
    /// Objects that were retired and are gone, with the era number and the position of the fence that saw to it.
    pub retired: BTreeMap<ObjectKey, (u64, Position)>,
    /// Earlier incarnations of the assignment, whose labels objects may still carry.
    pub former: Vec<Uid>,
    /// The tombstone that is being carried out.
    pub removing: Option<Tombstone>,
    /// How often an object was put back after somebody changed or deleted it.
    pub drift_repairs: u64,
    /// What drifted last: object and field.
    pub last_drift: String,
}

/// An intent that was committed and has not run to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenIntent {
    /// The fence that it was committed under.
    pub fence: Fence,
    /// The installs that are not finished.
    pub installs: BTreeSet<InstallKey>,
}

/// A tombstone that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buried {
    /// The tombstone.
    pub tombstone: Tombstone,
    /// The fence under which it was carried out.
    pub fence: Fence,
    /// The objects that were removed, with their UIDs where known.
    pub objects: BTreeMap<ObjectKey, Option<String>>,
}

/// A live object that was created late, by an agent that was paused: it was removed before, and goes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Late {
    /// Of which install.
    pub install: InstallKey,
    /// The assignments whose label it may carry.
    pub owners: BTreeSet<Uid>,
}

/// What became of a step of the open intent, or of the watch over what is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An object was written, or found as it should be; its UID is known.
    Written(ObjectKey, String),
    /// All objects of the render with this digest are written.
    Applied(Digest),
    /// The API server refused an object of the render with this digest, with this message; it is tried again.
    Rejected(Digest, String),
    /// A retired object is gone.
    Retired(ObjectKey),
    /// An object of an install that is being removed is gone.
    Gone(ObjectKey),
    /// An object of an install that is being removed cannot be removed, with the reason; it is tried again. Empty where nothing
    /// stands in the way any more.
    Stuck(String),
    /// Somebody changed or deleted an object, and it was put back; what drifted is named.
    Repaired(String),
}

impl Inventory {
    /// Returns the newest fence that was committed; none before the first plan and for a detached cluster, which any
    /// fleet may adopt again.
    #[must_use]
    pub fn newest_fence(&self) -> Option<Fence> {
        if self.detached.is_some() { None } else { self.newest_fence }
    }

    /// Returns the fence under which objects are written: the newest that was committed.
    #[must_use]
    pub fn acting_fence(&self) -> Option<Fence> {
        self.newest_fence
    }

    /// Returns the digest of the newest plan that was committed.
    #[must_use]
    pub fn plan_digest(&self) -> Option<Digest> {
        self.plan_digest
    }

    /// Returns what is held, sorted by install.
    #[must_use]
    pub fn installs(&self) -> &BTreeMap<InstallKey, HeldInstall> {
        &self.installs
    }

    /// Returns the intent that has not run to its end.
    #[must_use]
    pub fn open_intent(&self) -> Option<&OpenIntent> {
        self.open.as_ref()
    }

    /// Returns the carried-out tombstones, oldest first.
    pub fn buried(&self) -> impl Iterator<Item = &Buried> {
        self.buried.iter()
    }

    /// Returns how many carried-out tombstones were forgotten because of [`BURIED_MAXIMUM`].
    #[must_use]
    pub fn buried_forgotten(&self) -> u64 {
        self.buried_forgotten
    }

    /// Returns the fence under which the cluster was detached; a detached agent neither applies nor repairs.
    #[must_use]
    pub fn detached(&self) -> Option<Fence> {
        self.detached
    }

    /// Returns every object of the unfinished intent, so that a new agent stamps those that live with its own fence
    /// before it goes on.
    #[must_use]
    pub fn intent_objects(&self) -> BTreeSet<ObjectKey> {
        let open = self.open.iter().flat_map(|open| &open.installs);
        let installs = open.filter_map(|install| self.installs.get(install));
        installs.flat_map(|held| held.objects.keys().chain(&held.retiring)).cloned().collect()
    }

    /// Returns what Hello tells of the installs, sorted. A damaged install is left out, so that its render is sent.
    #[must_use]
    pub fn held(&self) -> Vec<Held> {
        let whole = self.installs.iter().filter(|(_, held)| !held.is_damaged());
        whole
            .map(|(install, held)| Held {
                install: install.clone(),
                assignment: held.assignment,
                render: held.render.digest,
            })
            .collect()
    }

    /// Returns the renders at hand.
    #[must_use]
    pub fn shelf(&self) -> RenderShelf {
        let whole = self.installs.values().filter(|held| !held.is_damaged());
        whole.map(|held| (held.render.digest, Arc::clone(&held.render))).collect()
    }

    /// Returns the report of each install, sorted by install.
    pub fn reports(&self) -> impl Iterator<Item = InstallReport> {
        self.installs.iter().map(|(install, held)| held.report(install))
    }

    /// Returns the install that wants the object, if it is of a render (not retired, not being removed).
    #[must_use]
    pub fn wanted_by(&self, key: &ObjectKey) -> Option<(&InstallKey, &HeldInstall)> {
        self.installs
            .iter()
            .find(|(_, held)| held.removing.is_none() && held.render.objects.iter().any(|object| object.key() == key))
    }

    /// Tells whether a live object was created late: a carried-out tombstone or a retirement named it, it is stamped under
    /// a lower fence than the one that removed it, and nothing that is held wants it.
    #[must_use]
    pub fn late_creation(&self, object: &Value) -> Option<Late> {
        let (key, assignment) = (key_of(object), assignment_of(object)?);
        if self.installs.values().any(|held| held.objects.contains_key(&key)) {
            return None;
        }
        let stamp = object.at(&["metadata", "annotations", labels::FENCE])?.as_str().and_then(parse_stamp)?;
        let buried = self.buried.iter().find(|buried| {
            buried.tombstone.assignment == assignment
                && buried.objects.contains_key(&key)
                && stamp < (buried.fence.era.number, buried.fence.position.0)
        });
        if let Some(Buried { tombstone, .. }) = buried {
            return Some(Late { install: tombstone.install.clone(), owners: BTreeSet::from([tombstone.assignment]) });
        }
        let is_retired = |held: &HeldInstall| held.retired.get(&key).is_some_and(|at| stamp < (at.0, at.1.0));
        let retired = self.installs.iter().find(|(_, held)| is_retired(held) && held.owners().contains(&assignment));
        retired.map(|(install, held)| Late { install: install.clone(), owners: held.owners() })
    }

    /// Notes that the committed plan was confirmed under a newer fence. In memory it voids older tombstones of what the
    /// plan lists at once; it is stored with the next commit, so that a position that changes nothing writes nothing. A
    /// greater era becomes the committed one, which the caller stores at once: an agent that starts anew must not
    /// follow an older store again.
    pub fn advance(&mut self, fence: &Fence) {
        let Some(committed) = self.newest_fence.filter(|newest| fence.is_at_least(newest)) else { return };
        if self.begins_era(fence) {
            self.newest_fence = Some(*fence);
        }
        let committed = (committed.era.number, committed.position);
        for held in self.installs.values_mut().filter(|held| held.affirmed >= committed) {
            held.affirmed = held.affirmed.max((fence.era.number, fence.position));
        }
    }

    /// Tells whether a fence is of a greater era than the newest that was committed.
    #[must_use]
    pub fn begins_era(&self, fence: &Fence) -> bool {
        self.newest_fence.is_some_and(|newest| newest.era.number < fence.era.number)
    }

    pub(crate) fn affirm(&mut self, fence: &Fence, listed: &BTreeSet<(InstallKey, Uid)>) {
        for (install, assignment) in listed {
            if let Some(held) = self.installs.get_mut(install).filter(|held| held.assignment == *assignment) {
                held.affirmed = held.affirmed.max((fence.era.number, fence.position));
            }
        }
    }

    /// Notes what became of a step; returns whether anything changed, so that it must be stored.
    pub fn complete(&mut self, install: &InstallKey, outcome: Outcome) -> bool {
        let acting = self.newest_fence;
        let Some(held) = self.installs.get_mut(install) else { return false };
        match outcome {
            Outcome::Written(key, uid) => held.objects.insert(key, Some(uid.clone())) != Some(Some(uid)),
            Outcome::Applied(digest) => self.settle(install, digest, InstallState::Applied, String::new()),
            Outcome::Rejected(digest, message) => {
                self.settle(install, digest, InstallState::Rejected, truncate_text(&message, NOTE_BYTES))
            }
            Outcome::Retired(key) => {
                held.objects.remove(&key);
                let was_retiring = held.retiring.remove(&key);
                if let Some(fence) = acting.filter(|_| was_retiring) {
                    held.retired.insert(key, (fence.era.number, fence.position));
                }
                was_retiring
            }
            Outcome::Gone(key) => self.bury(install, &key),
            Outcome::Stuck(message) => {
                let message = truncate_text(&message, NOTE_BYTES);
                let changed = held.removing.is_some() && held.message != message;
                if changed {
                    held.message = message;
                }
                changed
            }
            Outcome::Repaired(what) => {
                held.drift_repairs = held.drift_repairs.saturating_add(1);
                held.last_drift = truncate_text(&what, NOTE_BYTES);
                true
            }
        }
    }

    fn settle(&mut self, install: &InstallKey, digest: Digest, state: InstallState, message: String) -> bool {
        let Some(held) = self.installs.get_mut(install) else { return false };
        if held.removing.is_some() || held.render.digest != digest {
            // A newer intent took over; what the older one came to says nothing about it.
            return false;
        }
        let changed = held.state != state || held.message != message;
        (held.state, held.message) = (state, message);
        let closed = state == InstallState::Applied && self.close(install);
        changed || closed
    }

    /// Marks an install as being removed; one that has no object that can be removed is gone at once.
    pub(crate) fn start_removal(&mut self, tombstone: &Tombstone, fence: Fence) {
        let install = &tombstone.install;
        let Some(held) = self.installs.get_mut(install) else { return };
        held.state = InstallState::Removing;
        held.removing = Some(tombstone.clone());
        held.message.clear();
        held.objects.retain(|key, _| !is_orphanable(key));
        let nothing_left = held.objects.is_empty();
        let objects = held.retired.keys().map(|key| (key.clone(), None)).collect();
        while self.buried.len() >= BURIED_MAXIMUM {
            self.buried.pop_front();
            self.buried_forgotten += 1;
        }
        self.buried.push_back(Buried { tombstone: tombstone.clone(), fence, objects });
        if nothing_left {
            self.installs.remove(install);
            self.close(install);
        }
    }

    fn bury(&mut self, install: &InstallKey, key: &ObjectKey) -> bool {
        let Some(held) = self.installs.get_mut(install) else { return false };
        let Some(tombstone) = &held.removing else { return false };
        let Some(uid) = held.objects.remove(key) else { return false };
        held.retiring.remove(key);
        let nothing_left = held.objects.is_empty();
        if let Some(buried) = self.buried.iter_mut().find(|buried| buried.tombstone == *tombstone) {
            buried.objects.insert(key.clone(), uid);
        }
        if nothing_left {
            self.installs.remove(install);
            self.close(install);
        }
        true
    }

    pub(crate) fn close(&mut self, install: &InstallKey) -> bool {
        let Some(open) = &mut self.open else { return false };
        let removed = open.installs.remove(install);
        if open.installs.is_empty() {
            self.open = None;
        }
        removed
    }
}

impl HeldInstall {
    /// Tells whether the stored render was lost: its objects are known by name only, until the hub sends it again.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.render.digest == Digest::default()
    }

    /// Returns the assignments whose labels the install's objects may carry: its own and its earlier incarnations.
    #[must_use]
    pub fn owners(&self) -> BTreeSet<Uid> {
        self.former.iter().copied().chain([self.assignment]).collect()
    }

    /// Returns the report for the hub.
    #[must_use]
    pub fn report(&self, install: &InstallKey) -> InstallReport {
        InstallReport {
            install: install.clone(),
            assignment: self.assignment,
            assignment_name: self.assignment_name.clone(),
            render: self.render.digest,
            revision: self.revision,
            recorded: self.recorded,
            state: self.state,
            message: self.message.clone(),
            drift_repairs: self.drift_repairs,
            last_drift: self.last_drift.clone(),
        }
    }
}

#[cfg(test)]
#[path = "inventory_tests.rs"]
mod tests;
