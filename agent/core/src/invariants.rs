//! Invariants as named predicates, for tests, simulation and metrics.

use starling_model::plan::Tombstone;

use crate::intent::tombstone_applies;
use crate::inventory::Inventory;

/// Invariant I1, absence is not deletion, over one step of an inventory: an install that is gone or being removed
/// after it was so before, or one of `tombstones` names it; an object that retires is named by the render that is held.
///
/// # Errors
/// What went without evidence, for people.
pub fn absence_is_not_deletion(before: &Inventory, after: &Inventory, tombstones: &[Tombstone]) -> Result<(), String> {
    for (install, held) in before.installs() {
        let now = after.installs().get(install);
        if now.is_some_and(|now| now.removing.is_none()) || held.removing.is_some() {
            continue;
        }
        let named =
            tombstones.iter().any(|tombstone| tombstone.install == *install && tombstone_applies(tombstone, held));
        if !named {
            return Err(format!("install {install} goes without a tombstone"));
        }
    }
    for (install, held) in after.installs() {
        let earlier = before.installs().get(install);
        for key in &held.retiring {
            let named = held.render.retires.contains(key) || earlier.is_some_and(|held| held.retiring.contains(key));
            if !named {
                return Err(format!("object {key} of install {install} retires although no render says so"));
            }
        }
    }
    Ok(())
}
