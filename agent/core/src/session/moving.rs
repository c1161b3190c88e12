//! Moving without a gap: a second link is dialled and welcomed before the first is given up.
//!
//! Owns the second link, what it is for, when it is tried again, and what was learned about addresses that cannot be
//! reached. Does not own the first link's life (session, leaving). A second link exists only while the first is open;
//! when the first ends, what was being dialled becomes the first.

use std::time::Duration;

use starling_model::Millis;
use starling_model::limits::SESSION_TIMEOUT;
use starling_model::session::{HubMessage, Welcome};

use super::leaving::REDIRECTS_AT_ONCE;
use super::{DIAL_TIMEOUT, Effect, End, Phase, SecondEffect, SecondInput, Session, speaks_ours};

mod retry;

/// How long a process that was left goes on at most while the new owner receives the snapshot.
pub const HANDOVER: Duration = Duration::from_secs(5);

/// For how long a process must lend nothing before another is looked for.
pub const CAPTIVE_AFTER: Duration = Duration::from_secs(60);

/// For how long an address that could not be reached is not tried before the one that forwards.
pub const FORWARD_MEMORY: Duration = Duration::from_secs(600);

/// What is known beside the first link; empty in an agent that is where it belongs.
#[derive(Clone, Debug, Default)]
pub(super) struct Moving {
    pub(super) second: Option<Box<Second>>,
    pub(super) unreached: Option<Box<Unreached>>,
    wish: Option<Box<Wish>>,
    /// Attempts to move that failed in a row.
    attempts: u32,
}

/// The second link.
#[derive(Clone, Debug)]
pub(super) struct Second {
    purpose: Purpose,
    address: String,
    forward: bool,
    /// Its number among the links.
    pub(super) link: u64,
    redirects: u32,
    phase: SecondPhase,
}

#[derive(Clone, Debug)]
enum SecondPhase {
    Dialling {
        since: Millis,
    },
    Greeting {
        hello_sent: Millis,
    },
    /// What was the first link, until the new owner has the snapshot.
    Lingering {
        until: Millis,
    },
}

/// What a second link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// The hub redirected the agent.
    Move,
    /// The session is forwarded; its owner may be reachable by now.
    Direct,
    /// The process is about to stop.
    Leave,
    /// The process lends nothing; another may know a newer ring.
    Probe,
}

/// An address of a redirect that could not be reached.
#[derive(Clone, Debug)]
pub(super) struct Unreached {
    address: String,
    epoch: u64,
    since: Millis,
}

/// An attempt that is to be made later.
#[derive(Clone, Debug)]
struct Wish {
    purpose: Purpose,
    /// `None` is the configured address.
    address: Option<String>,
    at: Millis,
}

impl Session {
    /// Tells whether a second link is about to become the first.
    pub(super) fn is_moving(&self) -> bool {
        self.moving.second.as_ref().is_some_and(|second| {
            let is_under_way = match second.phase {
                SecondPhase::Dialling { .. } | SecondPhase::Greeting { .. } => true,
                SecondPhase::Lingering { .. } => false,
            };
            is_under_way
                && match second.purpose {
                    Purpose::Move | Purpose::Leave => true,
                    Purpose::Direct | Purpose::Probe => false,
                }
        })
    }

    pub(super) fn second_deadline(&self) -> Option<Millis> {
        let Phase::Open(open) = &self.phase else { return None };
        match self.moving.second.as_ref().map(|second| &second.phase) {
            Some(SecondPhase::Dialling { since }) => Some(since.plus(DIAL_TIMEOUT)),
            Some(SecondPhase::Greeting { hello_sent }) => Some(hello_sent.plus(SESSION_TIMEOUT)),
            Some(SecondPhase::Lingering { until }) => Some(*until),
            None => [self.moving.wish.as_ref().map(|wish| wish.at), open.probe_at].into_iter().flatten().min(),
        }
    }

    pub(super) fn tick_second(&mut self, uptime: Millis, entropy: &mut dyn FnMut() -> u64, effects: &mut Vec<Effect>) {
        let Phase::Open(open) = &self.phase else { return };
        let probe_is_due = open.probe_at.is_some_and(|at| uptime >= at);
        let Some(second) = &self.moving.second else {
            if let Some(wish) = self.moving.wish.take_if(|wish| uptime >= wish.at) {
                self.dial_second(wish.purpose, wish.address, 0, uptime, effects);
            } else if probe_is_due {
                self.dial_second(Purpose::Probe, None, 0, uptime, effects);
            }
            return;
        };
        let (until, reason) = match second.phase {
            SecondPhase::Dialling { since } => {
                (since.plus(DIAL_TIMEOUT), "the other hub did not answer the dial in time")
            }
            SecondPhase::Greeting { hello_sent } => {
                (hello_sent.plus(SESSION_TIMEOUT), "the other hub did not welcome the agent in time")
            }
            SecondPhase::Lingering { until } if uptime >= until => {
                self.close_second("handed over", effects);
                return;
            }
            SecondPhase::Lingering { .. } => return,
        };
        if uptime >= until {
            self.note_unreached(second.address.clone(), uptime);
            self.give_up_second(reason, uptime, entropy, effects);
        }
    }

    /// Takes what happened on the second link, while the first is open.
    pub(super) fn second(
        &mut self,
        input: SecondInput,
        uptime: Millis,
        entropy: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        let Some(second) = &mut self.moving.second else { return };
        match (input, &second.phase) {
            (SecondInput::Connected, SecondPhase::Dialling { .. }) => {
                second.phase = SecondPhase::Greeting { hello_sent: uptime };
                effects.push(Effect::Second(SecondEffect::SendHello { forward: second.forward }));
            }
            (SecondInput::DialFailed(end), SecondPhase::Dialling { .. }) => {
                let address = second.address.clone();
                self.note_unreached(address, uptime);
                self.second_failed(end, uptime, entropy, effects);
            }
            (SecondInput::Closed(end), SecondPhase::Dialling { .. } | SecondPhase::Greeting { .. }) => {
                self.second_failed(end, uptime, entropy, effects);
            }
            (SecondInput::Closed(_), SecondPhase::Lingering { .. }) => self.moving.second = None,
            (SecondInput::Received(message), SecondPhase::Greeting { hello_sent }) => {
                let hello_sent = *hello_sent;
                self.greeted_second(message, hello_sent, uptime, entropy, effects);
            }
            (SecondInput::HandedOver, SecondPhase::Lingering { .. }) => {
                effects.push(Effect::Second(SecondEffect::Finish));
            }
            // A process that was left is read, so that it can end in order, and not heeded.
            (SecondInput::Received(_), SecondPhase::Lingering { .. })
            // What a connection that was given up still had to say.
            | (SecondInput::Received(_), SecondPhase::Dialling { .. })
            | (SecondInput::Connected, SecondPhase::Greeting { .. } | SecondPhase::Lingering { .. })
            | (SecondInput::DialFailed(_), SecondPhase::Greeting { .. } | SecondPhase::Lingering { .. })
            | (SecondInput::HandedOver, SecondPhase::Dialling { .. } | SecondPhase::Greeting { .. }) => {}
        }
    }

    fn greeted_second(
        &mut self,
        message: HubMessage,
        hello_sent: Millis,
        uptime: Millis,
        entropy: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        match message {
            HubMessage::Welcome(welcome) => self.second_welcomed(welcome, hello_sent, uptime, entropy, effects),
            HubMessage::Redirect { address, epoch } => {
                self.second_redirected(address, epoch, uptime, entropy, effects);
            }
            HubMessage::TrustBundle(pem) => effects.push(Effect::Trust(pem)),
            HubMessage::Drain { .. } => {
                self.give_up_second("the other hub is about to stop", uptime, entropy, effects);
            }
            HubMessage::Desired(_) | HubMessage::Lease(_) | HubMessage::Resync(_) | HubMessage::Command(_) => {
                self.give_up_second("the other hub sent a message out of order", uptime, entropy, effects);
            }
        }
    }

    fn second_welcomed(
        &mut self,
        welcome: Welcome,
        hello_sent: Millis,
        uptime: Millis,
        entropy: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(message) = speaks_ours(&welcome) {
            self.give_up_second(&message, uptime, entropy, effects);
            return;
        }
        let Phase::Open(open) = &self.phase else { return };
        // A process that welcomes an agent twice has ended the first session itself, or is about to.
        let is_same = open.hub == welcome.hub;
        let is_probe = self.moving.second.as_ref().is_some_and(|second| second.purpose == Purpose::Probe);
        if is_probe && !is_same && welcome.epoch <= self.newest_epoch {
            self.close_second("the other hub knows no newer ring", effects);
            self.probe_again(uptime, entropy);
            return;
        }
        let Some(second) = &mut self.moving.second else { return };
        effects.push(Effect::Switch);
        std::mem::swap(&mut self.link, &mut second.link);
        second.phase = SecondPhase::Lingering { until: uptime.plus(HANDOVER) };
        let address = std::mem::take(&mut second.address);
        self.forward = second.forward;
        self.redirected = (address != self.home).then_some(address);
        self.failures = 0;
        // What was lent before is as good as ever: fences decide between two processes, and not a lease's end.
        self.open(welcome, hello_sent, self.lease_until, uptime, entropy, effects);
    }

    fn second_redirected(
        &mut self,
        address: String,
        epoch: u64,
        uptime: Millis,
        entropy: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        let Some(second) = &self.moving.second else { return };
        let (mut purpose, redirects) = (second.purpose, second.redirects);
        if epoch < self.newest_epoch {
            self.give_up_second("the other hub is behind the ring that the agent has seen", uptime, entropy, effects);
            return;
        }
        let is_newer = epoch > self.newest_epoch;
        self.newest_epoch = epoch;
        let leads_back = address == self.address();
        match purpose {
            Purpose::Probe if !is_newer || leads_back => {
                self.close_second("the other hub knows no other owner", effects);
                self.probe_again(uptime, entropy);
                return;
            }
            Purpose::Probe => purpose = Purpose::Move,
            Purpose::Move | Purpose::Direct if leads_back => {
                self.close_second("the agent is where it belongs", effects);
                self.moving.attempts = 0;
                return;
            }
            Purpose::Leave if leads_back => {
                self.give_up_second("the ring still leads to the hub that is about to stop", uptime, entropy, effects);
                return;
            }
            Purpose::Move | Purpose::Direct | Purpose::Leave => {}
        }
        if redirects >= REDIRECTS_AT_ONCE {
            self.give_up_second("the hub's processes redirect in a circle", uptime, entropy, effects);
            return;
        }
        self.dial_second(purpose, Some(address), redirects + 1, uptime, effects);
    }

    /// Follows a redirect of the hub process that has the session, which goes on until another welcomed the agent.
    pub(super) fn redirected_while_open(
        &mut self,
        address: String,
        epoch: u64,
        uptime: Millis,
        entropy: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        if address == self.address() {
            return;
        }
        let is_forgotten =
            |unreached: &mut Box<Unreached>| epoch > unreached.epoch && uptime.since(unreached.since) >= FORWARD_MEMORY;
        self.moving.unreached.take_if(is_forgotten);
        let is_unreached = self.moving.unreached.as_ref().is_some_and(|unreached| unreached.address == address);
        let address = (!is_unreached).then_some(address);
        if self.is_moving() {
            let target = address.as_ref().unwrap_or(&self.home);
            let is_under_way = self.moving.second.as_ref().is_some_and(|second| second.address == *target);
            // One attempt at a time; if this one does not lead anywhere, the next goes where the hub said last.
            self.moving.wish = (!is_under_way).then(|| Box::new(Wish { purpose: Purpose::Move, address, at: uptime }));
            return;
        }
        if let Some(wish) = self.moving.wish.as_mut().filter(|wish| wish.purpose == Purpose::Move) {
            wish.address = address;
            return;
        }
        self.redirects += 1;
        if self.redirects > REDIRECTS_AT_ONCE {
            self.redirects = 0;
            self.wish_to_move(address, None, uptime, entropy);
            return;
        }
        self.dial_second(Purpose::Move, address, 0, uptime, effects);
    }

    /// Leaves a process that is about to stop. Where there is no ring there is no other process to go to first.
    pub(super) fn depart(&mut self, uptime: Millis, effects: &mut Vec<Effect>) {
        if self.newest_epoch > 0 {
            self.dial_second(Purpose::Leave, None, 0, uptime, effects);
            return;
        }
        self.depart_at_once(uptime, effects);
    }

    fn depart_at_once(&mut self, uptime: Millis, effects: &mut Vec<Effect>) {
        self.close_second("the hub asked to leave", effects);
        effects.push(Effect::Close("the hub asked to leave".to_owned()));
        self.failures = 0;
        if self.newest_epoch > 0 {
            self.redirected = None;
        }
        self.dial(uptime, effects);
    }

    /// Makes what is being dialled the first link, now that the first is gone; returns whether there was such.
    pub(super) fn promote(&mut self, effects: &mut Vec<Effect>) -> bool {
        self.moving.wish = None;
        let Some(second) = self.moving.second.take() else { return false };
        let phase = match second.phase {
            SecondPhase::Dialling { since } => Phase::Dialling { since },
            SecondPhase::Greeting { hello_sent } => Phase::Greeting { hello_sent },
            SecondPhase::Lingering { .. } => {
                effects.push(Effect::Second(SecondEffect::Close("the new owner is gone".to_owned())));
                return false;
            }
        };
        self.phase = phase;
        self.link = second.link;
        self.forward = second.forward;
        self.redirects = second.redirects + u32::from(second.address != self.home);
        self.redirected = (second.address != self.home).then_some(second.address);
        effects.push(Effect::Promote);
        true
    }

    /// Takes over that the session is where the agent was sent, and when to look whether forwarding is still needed.
    pub(super) fn settle(&mut self, uptime: Millis, entropy: &mut dyn FnMut() -> u64) {
        self.moving.attempts = 0;
        self.moving.wish = None;
        if self.redirected.is_some() {
            self.moving.unreached = None;
        }
        if self.forward {
            self.wish_to_go_direct(uptime, entropy);
        }
    }

    /// Remembers that an address of a redirect could not be reached.
    pub(super) fn note_unreached(&mut self, address: String, uptime: Millis) {
        if address != self.home {
            self.moving.unreached = Some(Box::new(Unreached { address, epoch: self.newest_epoch, since: uptime }));
        }
    }

    fn dial_second(
        &mut self,
        purpose: Purpose,
        address: Option<String>,
        redirects: u32,
        uptime: Millis,
        effects: &mut Vec<Effect>,
    ) {
        self.close_second("another hub is dialled", effects);
        let asks_to_forward = match purpose {
            Purpose::Move | Purpose::Leave => address.is_none() && self.moving.unreached.is_some(),
            // A probe asks what the ring is, and a direct attempt whether forwarding can end.
            Purpose::Direct | Purpose::Probe => false,
        };
        let address = address.unwrap_or_else(|| self.home.clone());
        effects.push(Effect::Second(SecondEffect::Dial { address: address.clone() }));
        self.links += 1;
        self.moving.second = Some(Box::new(Second {
            purpose,
            address,
            forward: asks_to_forward,
            link: self.links,
            redirects,
            phase: SecondPhase::Dialling { since: uptime },
        }));
    }

    fn close_second(&mut self, reason: &str, effects: &mut Vec<Effect>) {
        if self.moving.second.take().is_some() {
            effects.push(Effect::Second(SecondEffect::Close(reason.to_owned())));
        }
    }

    fn give_up_second(
        &mut self,
        reason: &str,
        uptime: Millis,
        entropy: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        effects.push(Effect::Second(SecondEffect::Close(reason.to_owned())));
        self.second_failed(End::because(reason), uptime, entropy, effects);
    }
}
