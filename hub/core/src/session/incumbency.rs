//! One identity, one agent: what happens when two processes show the same certificate.
//!
//! An agent's process is known by the instance id that it drew at its start. A responding incumbent stays and the
//! newcomer backs off. A process that was succeeded and comes back proves that two run at once; when that repeats,
//! neither is trusted for a while.

use std::time::Duration;

use starling_model::limits::COMMAND_LEASE;
use starling_model::{Millis, Uid};

/// Within this time [`RETURNS`] returns make an alternation.
pub const ALTERNATION_WINDOW: Duration = Duration::from_secs(600);

/// How long two alternating processes are refused.
pub const QUARANTINE: Duration = Duration::from_secs(600);

/// How many returns of a succeeded process within the window quarantine the identity.
const RETURNS: usize = 2;

/// How many succeeded processes are remembered.
const REMEMBERED: usize = 8;

/// Who holds the session of one cluster, and who did before.
#[derive(Clone, Debug, Default)]
pub struct Incumbency {
    holder: Option<Holder>,
    last: Option<Uid>,
    /// Processes that another succeeded, oldest first.
    succeeded: Vec<Uid>,
    returns: Vec<Millis>,
    quarantined_until: Option<Millis>,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    instance: Uid,
    session: u64,
    heard: Millis,
}

/// What becomes of a process that asks for the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It has the session; the session named, if any, is to be closed.
    Admitted {
        /// The session that it replaces.
        replaces: Option<u64>,
    },
    /// Another process has the session and responds.
    BackOff {
        /// When asking again can succeed.
        after: Duration,
    },
    /// Two processes alternate.
    Quarantined {
        /// How long it lasts.
        remaining: Duration,
        /// The session that is to be closed; set when the quarantine begins with this arrival.
        close: Option<u64>,
        /// True when it begins with this arrival, which somebody must look at.
        begins: bool,
    },
}

impl Incumbency {
    /// Decides about a process that asks for the session, which would be called `session`.
    pub fn arrive(&mut self, instance: Uid, session: u64, uptime: Millis) -> Arrival {
        if let Some(until) = self.quarantined_until {
            if uptime < until {
                return Arrival::Quarantined { remaining: until.since(uptime), close: None, begins: false };
            }
            *self = Self::default();
        }
        let holder = self.holder.filter(|holder| holder.instance != instance);
        if let Some(holder) = holder {
            // A holder that was silent for as long as its command lease lasts may not act any more.
            let silent = uptime.since(holder.heard);
            if silent < COMMAND_LEASE {
                return Arrival::BackOff { after: COMMAND_LEASE - silent };
            }
        }
        let replaces = self.holder.map(|holder| holder.session);
        if self.is_alternating(instance, uptime) {
            let until = uptime.plus(QUARANTINE);
            *self = Self { quarantined_until: Some(until), ..Self::default() };
            return Arrival::Quarantined { remaining: QUARANTINE, close: replaces, begins: true };
        }
        self.holder = Some(Holder { instance, session, heard: uptime });
        Arrival::Admitted { replaces }
    }

    /// Notes that a session's process was heard.
    pub fn heard(&mut self, session: u64, uptime: Millis) {
        if let Some(holder) = self.holder.as_mut().filter(|holder| holder.session == session) {
            holder.heard = uptime;
        }
    }

    /// Ends a session; returns whether it was the one that counts.
    pub fn leave(&mut self, session: u64) -> bool {
        let is_holder = self.is_held_by(session);
        if is_holder {
            self.holder = None;
        }
        is_holder
    }

    /// Tells whether a session is the one that counts.
    #[must_use]
    pub fn is_held_by(&self, session: u64) -> bool {
        self.holder.is_some_and(|holder| holder.session == session)
    }

    /// Returns how much of a quarantine remains.
    #[must_use]
    pub fn quarantine(&self, uptime: Millis) -> Option<Duration> {
        let until = self.quarantined_until?;
        (uptime < until).then(|| until.since(uptime))
    }

    /// Notes who comes after whom; true when succeeded processes came back too often.
    fn is_alternating(&mut self, instance: Uid, uptime: Millis) -> bool {
        let last = self.last.replace(instance);
        if last == Some(instance) {
            return false;
        }
        if let Some(last) = last
            && !self.succeeded.contains(&last)
        {
            self.succeeded.push(last);
            if self.succeeded.len() > REMEMBERED {
                self.succeeded.remove(0);
            }
        }
        if !self.succeeded.contains(&instance) {
            return false;
        }
        self.returns.retain(|returned| uptime.since(*returned) < ALTERNATION_WINDOW);
        self.returns.push(uptime);
        self.returns.len() >= RETURNS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Uid = Uid([1; 16]);
    const B: Uid = Uid([2; 16]);

    fn at(seconds: u64) -> Millis {
        Millis(seconds * 1000)
    }

    #[test]
    fn a_responding_incumbent_stays() {
        let mut incumbency = Incumbency::default();
        assert_eq!(incumbency.arrive(A, 1, at(0)), Arrival::Admitted { replaces: None });
        incumbency.heard(1, at(10));
        assert_eq!(incumbency.arrive(B, 2, at(12)), Arrival::BackOff { after: Duration::from_secs(13) });
        assert!(incumbency.is_held_by(1));
    }

    #[test]
    fn a_silent_incumbent_is_replaced() {
        let mut incumbency = Incumbency::default();
        incumbency.arrive(A, 1, at(0));
        assert_eq!(incumbency.arrive(B, 2, at(15)), Arrival::Admitted { replaces: Some(1) });
        assert!(!incumbency.leave(1) && incumbency.leave(2));
    }

    #[test]
    fn a_process_that_dials_again_replaces_its_own_session() {
        let mut incumbency = Incumbency::default();
        incumbency.arrive(A, 1, at(0));
        assert_eq!(incumbency.arrive(A, 2, at(1)), Arrival::Admitted { replaces: Some(1) });
    }

    #[test]
    fn restarts_are_no_alternation() {
        let mut incumbency = Incumbency::default();
        for restart in 0..100u8 {
            let arrival = incumbency.arrive(Uid([restart; 16]), u64::from(restart), at(u64::from(restart)));
            assert_eq!(arrival, Arrival::Admitted { replaces: None });
            assert!(incumbency.leave(u64::from(restart)));
        }
    }

    #[test]
    fn alternation_quarantines_both_for_a_while() {
        let mut incumbency = Incumbency::default();
        let mut arrive = |instance, seconds| incumbency.arrive(instance, seconds, at(seconds));
        assert_eq!(arrive(A, 0), Arrival::Admitted { replaces: None });
        assert_eq!(arrive(B, 20), Arrival::Admitted { replaces: Some(0) });
        assert_eq!(arrive(A, 40), Arrival::Admitted { replaces: Some(20) });
        let begins = Arrival::Quarantined { remaining: QUARANTINE, close: Some(40), begins: true };
        assert_eq!(arrive(B, 60), begins);
        let lasts = Duration::from_secs(590);
        assert_eq!(arrive(A, 70), Arrival::Quarantined { remaining: lasts, close: None, begins: false });
        assert_eq!(arrive(A, 660), Arrival::Admitted { replaces: None });
    }

    #[test]
    fn returns_far_apart_are_forgotten() {
        let mut incumbency = Incumbency::default();
        for (seconds, instance) in [(0, A), (1000, B), (2000, A), (3000, B), (4000, A)] {
            assert!(matches!(incumbency.arrive(instance, seconds, at(seconds)), Arrival::Admitted { .. }));
        }
    }
}
