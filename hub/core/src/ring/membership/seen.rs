//! What is remembered of one process.

use std::time::Duration;

use starling_model::{Millis, Uid};

use super::{FLAP_WINDOW, FLAPS, HOLD_FIRST, HOLD_LONGEST, Presence};

/// The memory of one process, by its name.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Which start of it is there, and since when without interruption.
    present: Option<(Uid, Millis)>,
    /// Set while it is not there although others are.
    gone: Option<Gone>,
    /// It was draining when it was last seen.
    draining: bool,
    /// When it was last there or a member.
    last: Millis,
    /// Since when it is a member; `None` if it is none.
    member: Option<Millis>,
    /// When it left, within the window.
    departures: Vec<Millis>,
    /// How long it must be there before it joins, if it flaps.
    held: Option<Duration>,
}

/// The absence of a member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone {
    /// Since when.
    pub(super) since: Millis,
    /// Many were gone at once at some time since then. That others came back sooner is no reason to give it less time.
    pub(super) with_many: bool,
}

impl Seen {
    /// Returns since when it is there without interruption.
    pub(super) fn present_since(&self) -> Option<Millis> {
        self.present.map(|(_, since)| since)
    }

    /// Returns its absence; `None` if it is there, or nobody is.
    pub(super) fn gone(&self) -> Option<Gone> {
        self.gone
    }

    /// Tells whether it was draining when it was last seen.
    pub(super) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Returns how long it must be there before it joins; `None` if it is not held down.
    pub(super) fn held(&self) -> Option<Duration> {
        self.held
    }

    /// Tells whether it has not been there for so long that its past counts no more.
    pub(super) fn is_forgettable(&self, uptime: Millis) -> bool {
        self.present.is_none() && uptime.since(self.last) >= FLAP_WINDOW
    }

    /// Begins its timers anew: nobody knows what happened in between.
    pub(super) fn begin_anew(&mut self, uptime: Millis) {
        if let Some((_, since)) = &mut self.present {
            *since = uptime;
        }
        self.gone = self.gone.map(|gone| Gone { since: uptime, ..gone });
    }

    pub(super) fn is_present(&mut self, presence: &Presence, uptime: Millis) {
        let same = self.present.filter(|(incarnation, _)| {
            // Time in which it was draining does not count as time in which it was there.
            *incarnation == presence.incarnation && self.draining == presence.draining
        });
        self.present = same.or(Some((presence.incarnation, uptime)));
        self.gone = None;
        self.draining = presence.draining;
        self.last = uptime;
    }

    pub(super) fn is_absent(&mut self, uptime: Millis, others_are_there: bool) {
        self.present = None;
        let begins = Gone { since: uptime, with_many: false };
        self.gone = others_are_there.then(|| self.gone.unwrap_or(begins));
    }

    pub(super) fn is_gone_with_many(&mut self) {
        if let Some(gone) = &mut self.gone {
            gone.with_many = true;
        }
    }

    pub(super) fn is_member(&mut self, uptime: Millis) {
        self.member = self.member.or(Some(uptime));
        self.last = uptime;
    }

    pub(super) fn left(&mut self, uptime: Millis) {
        let stayed = self.member.take().map_or(Duration::ZERO, |since| uptime.since(since));
        if stayed >= FLAP_WINDOW {
            self.held = None;
        }
        self.departures.retain(|departure| uptime.since(*departure) < FLAP_WINDOW);
        self.departures.push(uptime);
        self.held = match self.held {
            Some(held) => Some((held * 2).min(HOLD_LONGEST)),
            None if self.departures.len() > FLAPS => Some(HOLD_FIRST),
            None => None,
        };
    }
}
