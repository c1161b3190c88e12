//! From a parked plan to what will be done: the difference to what is held, and nothing that the plan does not say.
//!
//! Owns the rule by which a tombstone applies, and invariant I1: an install goes on a tombstone that names it, an
//! object goes on that or because a render retires it, and absence means nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use starling_model::plan::{Detach, Render, Tombstone};
use starling_model::{Digest, Fence, Guard, InstallKey, InstallState, Uid};

use crate::inventory::{FORMER_MAXIMUM, HeldInstall, Inventory, OpenIntent};
use crate::parked::{Parked, ParkedAction};
use crate::reconcile::is_orphanable;

/// What a plan makes of an inventory; committed before anything of it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The fence of the plan.
    pub fence: Fence,
    /// The digest of the plan.
    pub plan_digest: Digest,
    /// Installs to write, sorted.
    pub writes: Vec<Write>,
    /// Installs to remove, with the tombstone that names each, sorted by install.
    pub removals: Vec<Tombstone>,
    /// What the plan lists, whatever it says of it.
    pub listed: BTreeSet<(InstallKey, Uid)>,
    /// Set when the agent stops syncing.
    pub detach: Option<Detach>,
}

/// One install to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which install.
    pub install: InstallKey,
    /// The assignment behind it.
    pub assignment: Uid,
    /// The assignment's name, for people.
    pub assignment_name: String,
    /// The assignment's revision.
    pub revision: Digest,
    /// The objects to hold, and those to retire.
    pub render: Arc<Render>,
}

/// An intent that may not be committed: something newer was, in the meantime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a plan under another or newer fence was committed")]
pub struct Superseded;

/// Returns what a plan makes of an inventory.
#[must_use]
pub fn intend(inventory: &Inventory, parked: &Parked) -> Intent {
    let listed: BTreeSet<_> = parked.entries.iter().map(|entry| (entry.install.clone(), entry.assignment)).collect();
    let mut intent = Intent {
        fence: parked.fence,
        plan_digest: parked.plan_digest,
        writes: Vec::new(),
        removals: Vec::new(),
        listed,
        detach: parked.detach,
    };
    if parked.detach.is_some() {
        // What is installed stays where it is, whatever else the plan says.
        return intent;
    }
    for entry in &parked.entries {
        let render = match &entry.action {
            ParkedAction::Render(render) => render,
            ParkedAction::Keep(_) | ParkedAction::Blocked(_) => continue,
        };
        let write = Write {
            install: entry.install.clone(),
            assignment: entry.assignment,
            assignment_name: entry.assignment_name.clone(),
            revision: entry.revision,
            render: Arc::clone(render),
        };
        if !inventory.installs.get(&entry.install).is_some_and(|held| holds(held, &write)) {
            intent.writes.push(write);
        }
    }
    let mut named = BTreeSet::new();
    for tombstone in &parked.tombstones {
        let listed = parked.entries.iter().any(|entry| entry.install == tombstone.install);
        let held = inventory.installs.get(&tombstone.install);
        let applies = !listed && held.is_some_and(|held| held.removing.is_none() && tombstone_applies(tombstone, held));
        if applies && named.insert(&tombstone.install) {
            intent.removals.push(tombstone.clone());
        }
    }
    if Guard::Tombstone.is_broken() {
        intent.removals.extend(unlisted(inventory, parked));
    }
    intent.removals.sort_by(|one, other| one.install.cmp(&other.install));
    intent
}

/// Makes up tombstones of what a plan does not list, as a tool does that takes absence for deletion.
fn unlisted<'a>(inventory: &'a Inventory, parked: &'a Parked) -> impl Iterator<Item = Tombstone> + 'a {
    let is_listed = |install: &InstallKey| parked.entries.iter().any(|entry| entry.install == *install);
    let unlisted =
        inventory.installs.iter().filter(move |(install, held)| !is_listed(install) && held.removing.is_none());
    unlisted.map(|(install, held)| Tombstone {
        id: held.assignment,
        assignment: held.assignment,
        install: install.clone(),
        minted: (parked.fence.era.number, parked.fence.position),
    })
}

/// Tells whether a tombstone removes an install that is held under its key: the same assignment, recorded and last
/// listed by a plan of a lower era or position than the tombstone was minted at.
#[must_use]
pub fn tombstone_applies(tombstone: &Tombstone, held: &HeldInstall) -> bool {
    held.assignment == tombstone.assignment && held.recorded.max(held.affirmed) < tombstone.minted
}

fn holds(held: &HeldInstall, write: &Write) -> bool {
    held.removing.is_none()
        && held.assignment == write.assignment
        && held.assignment_name == write.assignment_name
        && held.revision == write.revision
        && held.render.digest == write.render.digest
}

impl Intent {
    /// Tells whether nothing has to be done; the plan's digest may still be new.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.removals.is_empty() && self.detach.is_none()
    }

    /// Tells whether committing it would change more of the inventory than the position of its newest fence.
    #[must_use]
    pub fn needs_commit(&self, inventory: &Inventory) -> bool {
        !self.writes.is_empty()
            || !self.removals.is_empty()
            || inventory.plan_digest != Some(self.plan_digest)
            || inventory.detached.is_some() != self.detach.is_some()
            || inventory.begins_era(&self.fence)
    }
}

impl Inventory {
    /// Records an intent; the caller stores the result by compare-and-set before it acts, and stops if that fails.
    ///
    /// # Errors
    /// The inventory has seen a newer fence, or one of an era that cannot be compared.
    pub fn commit(&mut self, intent: &Intent) -> Result<(), Superseded> {
        if self.newest_fence().is_some_and(|newest| !intent.fence.is_at_least(&newest)) {
            return Err(Superseded);
        }
        self.newest_fence = Some(intent.fence);
        self.plan_digest = Some(intent.plan_digest);
        self.detached = intent.detach.map(|Detach::Orphan| intent.fence);
        if intent.detach.is_some() {
            self.open = None;
        }
        for write in &intent.writes {
            self.record(write, &intent.fence);
        }
        for tombstone in &intent.removals {
            self.start_removal(tombstone, intent.fence);
        }
        self.affirm(&intent.fence, &intent.listed);
        let writes = intent.writes.iter().map(|write| &write.install);
        let touched = writes.chain(intent.removals.iter().map(|tombstone| &tombstone.install));
        let touched: BTreeSet<InstallKey> = touched.filter(|key| self.installs.contains_key(key)).cloned().collect();
        if !touched.is_empty() {
            let open = self.open.get_or_insert(OpenIntent { fence: intent.fence, installs: BTreeSet::new() });
            open.fence = intent.fence;
            open.installs.extend(touched);
        }
        Ok(())
    }

    fn record(&mut self, write: &Write, fence: &Fence) {
        let recorded = (fence.era.number, fence.position);
        let wanted: BTreeSet<_> = write.render.objects.iter().map(|object| object.key().clone()).collect();
        let before = self.installs.remove(&write.install);
        let mut former = before.as_ref().map(|held| held.former.clone()).unwrap_or_default();
        if let Some(held) = before.as_ref().filter(|held| held.assignment != write.assignment) {
            former.retain(|uid| *uid != held.assignment && *uid != write.assignment);
            former.push(held.assignment);
            let surplus = former.len().saturating_sub(FORMER_MAXIMUM);
            former.drain(..surplus);
        }
        let mut objects = before.as_ref().map(|held| held.objects.clone()).unwrap_or_default();
        for key in &wanted {
            objects.entry(key.clone()).or_default();
        }
        let mut retiring = before.as_ref().map(|held| held.retiring.clone()).unwrap_or_default();
        retiring.extend(write.render.retires.iter().filter(|key| !is_orphanable(key)).cloned());
        retiring.retain(|key| !wanted.contains(key));
        for key in &retiring {
            objects.entry(key.clone()).or_default();
        }
        let mut retired = before.as_ref().map(|held| held.retired.clone()).unwrap_or_default();
        retired.retain(|key, _| !wanted.contains(key) && !retiring.contains(key));
        let held = HeldInstall {
            assignment: write.assignment,
            assignment_name: write.assignment_name.clone(),
            revision: write.revision,
            render: Arc::clone(&write.render),
            recorded,
            affirmed: recorded,
            state: InstallState::Applying,
            message: String::new(),
            objects,
            retiring,
            retired,
            former,
            removing: None,
            drift_repairs: before.as_ref().map_or(0, |held| held.drift_repairs),
            last_drift: before.map(|held| held.last_drift).unwrap_or_default(),
        };
        self.installs.insert(write.install.clone(), held);
    }
}

#[cfg(test)]
#[path = "intent_tests.rs"]
mod tests;
