//! The ring's next record: whether it may follow the present one.

use starling_model::ErrorCode;

use super::draft::Draft;
use super::{Answer, Context, Decision, Refusal};
use crate::change::Change;
use crate::fleet::Fleet;
use crate::ring::{MemberChange, RingRecord};

/// A change of the ring's members, as [`crate::ring::Membership`] found it due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateRing {
    /// The record that follows the present one.
    pub next: RingRecord,
    /// Who joined, left or changed, and why; for the audit record.
    pub changes: Vec<MemberChange>,
}

/// Returns what the epochs of a fleet's era begin behind: a recovered store may have lost as many as agents have seen, and their
/// greatest must not count against those of the new era.
#[must_use]
pub fn first_epoch(fleet: &Fleet) -> u64 {
    fleet.era().map_or(0, |record| record.era.number.saturating_sub(1).saturating_mul(1 << 32))
}

pub(super) fn decide(fleet: &Fleet, update: &UpdateRing, context: &Context<'_>) -> Result<Decision, Refusal> {
    if fleet.era().is_none() {
        return Err(Refusal::new(ErrorCode::Conflict, "the fleet has not begun yet, so it has no ring"));
    }
    let UpdateRing { next, changes } = update;
    let epoch = fleet.ring().map_or(0, |ring| ring.epoch).max(first_epoch(fleet));
    if Some(next.epoch) != epoch.checked_add(1) {
        let text = format!("the ring is at epoch {epoch}, and {} does not follow it: look again", next.epoch);
        return Err(Refusal::new(ErrorCode::Conflict, text));
    }
    next.check().map_err(|error| Refusal::new(ErrorCode::InvalidRequest, error.to_string()))?;
    if next.members.is_empty() {
        return Err(Refusal::new(ErrorCode::InvalidRequest, "a ring without members would serve nobody"));
    }
    let mut draft = Draft::new(fleet, context);
    for change in changes {
        let detail = format!("{}: {}; epoch {}", change.cause.verb(), change.cause, next.epoch);
        draft.audit("ring-changed", &format!("hub process {}", change.name), detail);
    }
    draft.change(Change::PutRing(next.clone()));
    Ok(draft.decision(Answer::RingUpdated, context))
}
