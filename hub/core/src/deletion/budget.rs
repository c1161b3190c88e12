//! The budget of removals that nobody approved (invariant I2), over a ledger and a time.

use std::time::Duration;

use starling_model::{Guard, Millis, ResourceName};

use crate::records::SpentRecord;

/// The window over which removals are counted.
pub const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// Removals of one addon that are always allowed in a window.
pub const ALWAYS: u64 = 3;

/// The share of an addon's installs that may go in a window, in percent, rounded down.
pub const SHARE_PERCENT: u64 = 10;

/// Removals of one addon in a window at most, however many installs it has.
pub const MOST: u64 = 25;

/// Removals of the whole fleet in a window at most.
pub const FLEET: u64 = 100;

/// A removal that goes beyond the budget.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverBudget {
    /// Too much of one addon.
    #[error("{asked} installs of {addon} would go, {spent} went in the last day, and {limit} a day need no approval")]
    Addon {
        /// The addon.
        addon: ResourceName,
        /// The installs that would go.
        asked: u64,
        /// Those that went in the window.
        spent: u64,
        /// The budget.
        limit: u64,
    },
    /// Too much of the fleet.
    #[error(
        "{asked} installs would go, {spent} of all addons went in the last day, and {limit} a day need no approval"
    )]
    Fleet {
        /// The installs that would go.
        asked: u64,
        /// Those that went in the window.
        spent: u64,
        /// The budget.
        limit: u64,
    },
}

/// Returns how many installs of an addon may go in a window, of this many: max(3, min(10 %, 25)).
#[must_use]
pub fn allowance(installs: u64) -> u64 {
    (installs * SHARE_PERCENT / 100).clamp(ALWAYS, MOST)
}

/// Tells whether an entry of the ledger still counts; one from the future does, so that a clock set back frees nothing.
#[must_use]
pub fn counts(entry: &SpentRecord, now: Millis) -> bool {
    now.since(entry.at) < WINDOW
}

/// Judges whether `asked` installs of an addon that has `installs` may go now, whole.
///
/// # Errors
/// Which budget they go beyond.
pub fn check<'a>(
    ledger: impl Iterator<Item = &'a SpentRecord>,
    now: Millis,
    addon: &ResourceName,
    installs: u64,
    asked: u64,
) -> Result<(), OverBudget> {
    let mut of_addon = 0_u64;
    let ledger = ledger.inspect(|entry| {
        if counts(entry, now) && entry.addon == *addon {
            of_addon += entry.installs;
        }
    });
    let fleet = check_fleet(ledger, now, asked);
    let limit = allowance(installs);
    if of_addon + asked > limit && !Guard::Budget.is_broken() {
        return Err(OverBudget::Addon { addon: addon.clone(), asked, spent: of_addon, limit });
    }
    fleet
}

/// Judges whether `asked` installs of whatever addons may go now, as far as the budget of the whole fleet is concerned.
///
/// # Errors
/// That they go beyond it.
pub fn check_fleet<'a>(
    ledger: impl Iterator<Item = &'a SpentRecord>,
    now: Millis,
    asked: u64,
) -> Result<(), OverBudget> {
    let spent: u64 = ledger.filter(|entry| counts(entry, now)).map(|entry| entry.installs).sum();
    if spent + asked > FLEET {
        return Err(OverBudget::Fleet { asked, spent, limit: FLEET });
    }
    Ok(())
}
