//! When a session leaves its stream, where it dials next and how long it waits before.

use std::time::Duration;

use starling_model::limits::{RECONNECT_MAXIMUM, SESSION_TIMEOUT};
use starling_model::{ErrorCode, Millis};

use super::{Effect, End, Phase, Session};

/// How long a session must have been open for its end to count as the first failure.
pub const LIVED: Duration = Duration::from_secs(10);

/// The longest wait that a hub can ask for.
pub(super) const RETRY_AFTER_MAXIMUM: Duration = Duration::from_secs(900);

/// How many redirects in a row are followed at once.
pub(super) const REDIRECTS_AT_ONCE: u32 = 4;

/// The longest time after which a hub can ask to be tried again briefly: it catches up, and nothing is wrong.
const BRIEFLY: Duration = Duration::from_millis(999);

/// How many times in a row a hub is tried again briefly.
const BRIEF_FAILURES: u32 = 8;

impl Session {
    pub(super) fn redirect(
        &mut self,
        address: String,
        epoch: u64,
        uptime: Millis,
        entropy: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        if let Phase::Open(_) = self.phase {
            if epoch >= self.newest_epoch {
                self.newest_epoch = epoch;
                self.redirected_while_open(address, epoch, uptime, entropy, effects);
            }
            return;
        }
        if epoch < self.newest_epoch {
            self.redirected = None;
            self.leave("the hub's process is behind the ring that the agent has seen", uptime, entropy, effects);
            return;
        }
        self.newest_epoch = epoch;
        if self.redirects >= REDIRECTS_AT_ONCE {
            self.redirected = None;
            self.leave("the hub's processes redirect in a circle", uptime, entropy, effects);
            return;
        }
        self.redirects += 1;
        effects.push(Effect::Close(format!("redirected to {address}")));
        self.redirected = Some(address);
        self.dial(uptime, effects);
    }

    /// Picks the moment to leave a process that is about to stop; one that does not greet any more is left at once.
    pub(super) fn drain(
        &mut self,
        window: Duration,
        uptime: Millis,
        entropy: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        let window = window.min(RECONNECT_MAXIMUM);
        let leave_at = uptime.plus(jitter(window, entropy));
        if let Phase::Open(open) = &mut self.phase {
            if open.leave_at.is_none() {
                open.leave_at = Some(leave_at);
                open.drained_at = uptime.plus(window);
            }
        } else {
            effects.push(Effect::Close("the hub is about to stop".to_owned()));
            self.phase = Phase::Waiting { until: leave_at };
        }
    }

    pub(super) fn dial(&mut self, uptime: Millis, effects: &mut Vec<Effect>) {
        self.phase = Phase::Dialling { since: uptime };
        self.identity_refused = false;
        self.links += 1;
        self.link = self.links;
        self.forward = self.redirected.is_none() && self.moving.unreached.is_some();
        effects.push(Effect::Dial { address: self.address().to_owned() });
    }

    /// Returns the address of the first link.
    pub(super) fn address(&self) -> &str {
        self.redirected.as_ref().unwrap_or(&self.home)
    }

    /// The address of a redirect that cannot be reached is worth nothing; the configured one knows better.
    pub(super) fn forget_redirect(&mut self, uptime: Millis) {
        let Some(address) = self.redirected.take() else { return };
        // An owner that was reached before and died is no reason to ask for forwarding: only what a process names now.
        if self.redirects > 0 {
            self.note_unreached(address, uptime);
        }
    }

    pub(super) fn leave(
        &mut self,
        reason: &str,
        uptime: Millis,
        entropy: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        effects.push(Effect::Close(reason.to_owned()));
        self.ended(End::because(reason), uptime, entropy, effects);
    }

    /// Decides how long to wait after a stream ended. A lease that was lent runs on by the clock, unless the hub sent
    /// the agent away.
    pub(super) fn ended(
        &mut self,
        end: End,
        uptime: Millis,
        entropy: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        self.last_error = Some(end.message);
        self.redirects = 0;
        self.identity_refused = end.code.is_some_and(concerns_identity);
        let is_sent_away = end.code.is_some_and(sends_away);
        if is_sent_away {
            self.lease_until = None;
        }
        if self.promote(effects) {
            return;
        }
        if let Phase::Open(open) = &self.phase {
            if uptime.since(open.since) >= LIVED {
                self.failures = 0;
            }
            if let Some(leave_at) = open.leave_at {
                self.phase = Phase::Waiting { until: leave_at.max(uptime) };
                return;
            }
        }
        let doublings = self.failures.saturating_sub(1).min(16);
        let backoff = self.window.saturating_mul(1 << doublings).min(RECONNECT_MAXIMUM);
        let is_behind = end.code == Some(ErrorCode::Unavailable) && self.failures < BRIEF_FAILURES;
        let (least, span) = match end.retry_after {
            // A process that waits for the ring that the agent has seen has it in a moment.
            Some(after) if is_behind && after.as_secs() == 0 => (after, backoff.min(BRIEFLY)),
            // The hub knows when it is worth while; all that it told the same do not come at once.
            Some(after) => (after.min(RETRY_AFTER_MAXIMUM), backoff),
            None if is_sent_away => (SESSION_TIMEOUT, RECONNECT_MAXIMUM.saturating_sub(SESSION_TIMEOUT)),
            None => (Duration::ZERO, backoff),
        };
        self.phase = Phase::Waiting { until: uptime.plus(least).plus(jitter(span, entropy)) };
        self.failures = self.failures.saturating_add(1);
    }
}

/// Tells whether the hub will not take this agent soon: another instance has its identity, it was revoked, it does
/// not belong here, or the two do not understand each other.
fn sends_away(code: ErrorCode) -> bool {
    match code {
        ErrorCode::Conflict
        | ErrorCode::PermissionDenied
        | ErrorCode::Unauthenticated
        | ErrorCode::CredentialRefused
        | ErrorCode::InvalidRequest => true,
        ErrorCode::NotFound
        | ErrorCode::ApprovalRequired
        | ErrorCode::FleetHolds
        | ErrorCode::LimitExceeded
        | ErrorCode::Unavailable
        | ErrorCode::Internal => false,
    }
}

/// Tells whether another certificate may change the hub's mind.
fn concerns_identity(code: ErrorCode) -> bool {
    match code {
        ErrorCode::Unauthenticated | ErrorCode::CredentialRefused => true,
        ErrorCode::Conflict
        | ErrorCode::PermissionDenied
        | ErrorCode::InvalidRequest
        | ErrorCode::NotFound
        | ErrorCode::ApprovalRequired
        | ErrorCode::FleetHolds
        | ErrorCode::LimitExceeded
        | ErrorCode::Unavailable
        | ErrorCode::Internal => false,
    }
}

/// Draws a duration between zero and `span`, both included.
pub(super) fn jitter(span: Duration, entropy: &mut dyn FnMut() -> u64) -> Duration {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX - 1);
    Duration::from_millis(entropy() % (millis + 1))
}
