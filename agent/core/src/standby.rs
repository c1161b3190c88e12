//! Who of a cluster's agents is active: the state machine over one Lease of the cluster's own API server.
//!
//! Owns when to read and write the Lease, when it may be taken, and when its holder has to stop. Does not own the
//! requests. Never compares another machine's clock: a Lease is over when it was seen unchanged for as long as it says,
//! and a holder's right ends earlier than that, counted from before it asked. The Lease keeps two agents from working at
//! once in ordinary times; that they cannot undo each other is the inventory's compare-and-set, whatever happens here.

use std::time::Duration;

use starling_model::Millis;

/// How long a Lease stands unrenewed before others may take it.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);

/// How long a holder may act after it asked for the renewal that succeeded.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);

/// How often a holder renews.
pub const RENEW_INTERVAL: Duration = Duration::from_secs(5);

/// How often a standby looks, and a holder tries again: more or less.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// The bounds between which the duration that a Lease names is believed.
const DURATION_BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A Lease as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it; empty for nobody.
    pub holder: String,
    /// How long it stands unrenewed.
    pub duration: Duration,
    /// How often it changed hands.
    pub transitions: u64,
    /// Changes with every write, whoever makes it; for compare-and-set.
    pub version: String,
}

/// A Lease to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseWrite {
    /// The version that must still be there; `None` creates it.
    pub expected: Option<String>,
    /// Who holds it from then on; empty for nobody.
    pub holder: String,
    /// How long it stands unrenewed.
    pub duration: Duration,
    /// How often it changed hands.
    pub transitions: u64,
    /// True when it changes hands, false for a renewal.
    pub is_taken: bool,
}

/// What to ask the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Read the Lease; [`Election::read`] takes the answer.
    Read,
    /// Write it; [`Election::wrote`] or [`Election::failed`] takes the answer.
    Write(LeaseWrite),
}

/// Why a request did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Somebody else wrote first.
    Conflict,
    /// No answer, or one that a retry can better. It may have happened nevertheless.
    Unavailable,
}

/// The election as one agent sees it.
#[derive(Clone, Debug)]
pub struct Election {
    me: String,
    seen: Option<Seen>,
    /// What is stored may be another than what was seen.
    is_unsure: bool,
    active_until: Option<Millis>,
    next: Millis,
}

/// A Lease, and when it was first seen like this (boot time).
#[derive(Clone, Debug)]
struct Seen {
    lease: Lease,
    since: Millis,
}

impl Election {
    /// Makes a standby that looks at once; `me` is another name than that of every other agent.
    #[must_use]
    pub fn new(me: String, uptime: Millis) -> Self {
        Self { me, seen: None, is_unsure: true, active_until: None, next: uptime }
    }

    /// Tells whether this agent may act.
    #[must_use]
    pub fn is_active(&self, uptime: Millis) -> bool {
        self.active_until.is_some_and(|until| uptime < until)
    }

    /// Returns until when this agent may act (boot time), if it renews no more.
    #[must_use]
    pub fn active_until(&self) -> Option<Millis> {
        self.active_until
    }

    /// Returns who holds the Lease, as far as this agent knows; `None` for nobody.
    #[must_use]
    pub fn holder(&self) -> Option<&str> {
        self.seen.as_ref().map(|seen| seen.lease.holder.as_str()).filter(|holder| !holder.is_empty())
    }

    /// Returns when [`Self::request`] is due (boot time).
    #[must_use]
    pub fn due(&self) -> Millis {
        self.next
    }

    /// Returns what to ask now. A holder renews upon what it knows; everybody else looks first.
    #[must_use]
    pub fn request(&self, uptime: Millis) -> Request {
        match &self.seen {
            Some(seen) if !self.is_unsure && self.is_active(uptime) && seen.lease.holder == self.me => {
                Request::Write(self.take(Some(&seen.lease)))
            }
            Some(_) | None => Request::Read,
        }
    }

    /// Takes over what was read (`None`: there is no Lease) and returns what to write at once, if anything.
    pub fn read(
        &mut self,
        lease: Option<Lease>,
        uptime: Millis,
        entropy: &mut dyn FnMut() -> u64,
    ) -> Option<LeaseWrite> {
        self.is_unsure = false;
        self.look_again(uptime, entropy);
        let Some(lease) = lease else {
            self.seen = None;
            return Some(self.take(None));
        };
        if self.seen.as_ref().is_none_or(|seen| seen.lease != lease) {
            self.seen = Some(Seen { lease: lease.clone(), since: uptime });
        }
        let since = self.seen.as_ref().map_or(uptime, |seen| seen.since);
        let over = since.plus(lease.duration.clamp(DURATION_BOUNDS.0, DURATION_BOUNDS.1));
        if lease.holder == self.me || lease.holder.is_empty() {
            return Some(self.take(Some(&lease)));
        }
        // Whatever was believed before: somebody else holds it.
        self.active_until = None;
        if uptime >= over {
            return Some(self.take(Some(&lease)));
        }
        self.next = self.next.min(over);
        None
    }

    /// Takes over that the write succeeded that was asked for at `asked`, and what is stored now.
    pub fn wrote(&mut self, lease: Lease, asked: Millis, uptime: Millis) {
        self.is_unsure = false;
        let is_mine = lease.holder == self.me;
        self.seen = Some(Seen { lease, since: uptime });
        self.active_until = is_mine.then(|| asked.plus(RENEW_DEADLINE));
        self.next = asked.plus(RENEW_INTERVAL).max(uptime);
    }

    /// Takes over that a request failed.
    pub fn failed(&mut self, failure: Failure, uptime: Millis, entropy: &mut dyn FnMut() -> u64) {
        self.is_unsure = true;
        match failure {
            // A holder looks at once who wrote: it may be over.
            Failure::Conflict if self.active_until.is_some() => self.next = uptime,
            Failure::Conflict | Failure::Unavailable => self.look_again(uptime, entropy),
        }
    }

    /// Takes over that this agent no longer acts, because its right ended.
    pub fn stepped_down(&mut self) {
        self.active_until = None;
        self.is_unsure = true;
    }

    /// Returns the write that lets others take over at once, and acts no more; `None` where the Lease is not this agent's.
    pub fn release(&mut self) -> Option<LeaseWrite> {
        self.active_until = None;
        let mine = self.seen.as_ref().map(|seen| &seen.lease).filter(|lease| lease.holder == self.me)?;
        Some(LeaseWrite {
            expected: Some(mine.version.clone()),
            holder: String::new(),
            duration: DURATION_BOUNDS.0,
            transitions: mine.transitions,
            is_taken: false,
        })
    }

    fn take(&self, lease: Option<&Lease>) -> LeaseWrite {
        let is_renewal = lease.is_some_and(|lease| lease.holder == self.me);
        let transitions = lease.map_or(0, |lease| lease.transitions);
        LeaseWrite {
            expected: lease.map(|lease| lease.version.clone()),
            holder: self.me.clone(),
            duration: LEASE_DURATION,
            transitions: if is_renewal || lease.is_none() { transitions } else { transitions.saturating_add(1) },
            is_taken: !is_renewal,
        }
    }

    /// Standbys that started together look at different times.
    fn look_again(&mut self, uptime: Millis, entropy: &mut dyn FnMut() -> u64) {
        let fifth = RETRY_INTERVAL / 5;
        let spread = u64::try_from((2 * fifth).as_millis()).unwrap_or(u64::MAX - 1);
        self.next = uptime.plus(RETRY_INTERVAL - fifth).plus(Duration::from_millis(entropy() % (spread + 1)));
    }
}

#[cfg(test)]
#[path = "standby_tests.rs"]
mod tests;
