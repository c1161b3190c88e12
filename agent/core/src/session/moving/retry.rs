//! When a second link that led nowhere is tried again, and when one is tried to look for another process.

use std::time::Duration;

use starling_model::limits::RECONNECT_MAXIMUM;
use starling_model::{ErrorCode, Millis};

use super::super::leaving::{REDIRECTS_AT_ONCE, RETRY_AFTER_MAXIMUM, jitter};
use super::super::{Effect, End, Phase, Session};
use super::{CAPTIVE_AFTER, FORWARD_MEMORY, Purpose, Wish};

/// The jitter of the first probe: in a hold every process lends nothing, and all agents look.
const CAPTIVE_SPREAD: Duration = Duration::from_secs(120);

/// The least time between two probes, and the most that is added to it.
const CAPTIVE_AGAIN: Duration = Duration::from_secs(180);

/// The least time between two attempts to leave a process that is about to stop, and the most that is added to it.
const LEAVE_AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(1500));

/// How many attempts to move are made again as soon as the hub says.
const BRIEF_ATTEMPTS: u32 = 8;

/// The jitter after the time at which a hub wants to be tried again.
const RETRY_JITTER: Duration = Duration::from_millis(999);

impl Session {
    /// Decides when to look for another process, after each answer about a lease.
    pub(in crate::session) fn watch_for_captivity(
        &mut self,
        is_captive: bool,
        uptime: Millis,
        entropy: &mut dyn FnMut() -> u64,
    ) {
        let has_ring = self.newest_epoch > 0;
        let Phase::Open(open) = &mut self.phase else { return };
        if !is_captive {
            open.probe_at = None;
        } else if has_ring && open.probe_at.is_none() {
            open.probe_at = Some(uptime.plus(CAPTIVE_AFTER).plus(jitter(CAPTIVE_SPREAD, entropy)));
        }
    }

    pub(super) fn probe_again(&mut self, uptime: Millis, entropy: &mut dyn FnMut() -> u64) {
        if let Phase::Open(open) = &mut self.phase
            && open.probe_at.is_some()
        {
            open.probe_at = Some(uptime.plus(CAPTIVE_AGAIN).plus(jitter(CAPTIVE_AGAIN, entropy)));
        }
    }

    /// Stays with the first link, and decides when the second is tried again.
    pub(super) fn second_failed(
        &mut self,
        end: End,
        uptime: Millis,
        entropy: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        let Some(second) = self.moving.second.take() else { return };
        self.last_error = Some(end.message);
        let Phase::Open(open) = &mut self.phase else { return };
        match second.purpose {
            Purpose::Probe => self.probe_again(uptime, entropy),
            Purpose::Direct => self.wish_to_go_direct(uptime, entropy),
            Purpose::Leave if uptime >= open.drained_at => self.depart_at_once(uptime, effects),
            Purpose::Leave => {
                let again = uptime.plus(LEAVE_AGAIN.0).plus(jitter(LEAVE_AGAIN.1, entropy));
                open.leave_at = Some(again.min(open.drained_at));
            }
            Purpose::Move if self.wishes_to_move() && self.moving.attempts < REDIRECTS_AT_ONCE => {
                // The hub named another owner meanwhile, which is dialled at the next tick.
                self.moving.attempts += 1;
            }
            Purpose::Move => {
                let is_unreached =
                    self.moving.unreached.as_ref().is_some_and(|unreached| unreached.address == second.address);
                let goes_home = is_unreached || second.address == self.home;
                let address = match self.moving.wish.take_if(|wish| wish.purpose == Purpose::Move) {
                    Some(wish) => wish.address,
                    None => (!goes_home).then_some(second.address),
                };
                let retry_after = end.retry_after.filter(|_| end.code == Some(ErrorCode::Unavailable));
                self.wish_to_move(address, retry_after, uptime, entropy);
            }
        }
    }

    pub(super) fn wishes_to_move(&self) -> bool {
        self.moving.wish.as_ref().is_some_and(|wish| wish.purpose == Purpose::Move)
    }

    pub(super) fn wish_to_move(
        &mut self,
        address: Option<String>,
        retry_after: Option<Duration>,
        uptime: Millis,
        entropy: &mut dyn FnMut() -> u64,
    ) {
        let doublings = self.moving.attempts.min(16);
        self.moving.attempts = self.moving.attempts.saturating_add(1);
        let backoff = self.window.max(RETRY_JITTER).saturating_mul(1 << doublings).min(RECONNECT_MAXIMUM);
        let wait = match retry_after {
            // A hub that catches up does so soon; one that does not is not asked every second for ever.
            Some(after) if self.moving.attempts > BRIEF_ATTEMPTS => {
                after.min(RETRY_AFTER_MAXIMUM).max(backoff / 4) + jitter(backoff * 3 / 4, entropy)
            }
            Some(after) => after.min(RETRY_AFTER_MAXIMUM) + jitter(RETRY_JITTER, entropy),
            None => backoff / 4 + jitter(backoff * 3 / 4, entropy),
        };
        self.moving.wish = Some(Box::new(Wish { purpose: Purpose::Move, address, at: uptime.plus(wait) }));
    }

    pub(super) fn wish_to_go_direct(&mut self, uptime: Millis, entropy: &mut dyn FnMut() -> u64) {
        let Some(unreached) = &self.moving.unreached else { return };
        let at = uptime.plus(FORWARD_MEMORY).plus(jitter(FORWARD_MEMORY, entropy));
        let address = Some(unreached.address.clone());
        self.moving.wish = Some(Box::new(Wish { purpose: Purpose::Direct, address, at }));
    }
}
