//! The agent's session with the hub: dialling, greeting, heartbeats and leases, plans in, and when to leave.
//!
//! Owns every decision about the stream. Does not own the stream (the shell's), what is reported (status book), nor
//! what is done with a plan (intent). The shell calls [`Session::handle`] for everything that happens and at
//! [`Session::next_deadline`], and performs the effects in order. After [`Effect::Close`] it reports nothing more of
//! that connection. Beside the first link there is at most one second, and only while the first is open (moving).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use starling_model::limits::{COMMAND_LEASE, PROTOCOL_VERSIONS, RECONNECT_MAXIMUM, RECONNECT_WINDOW, SESSION_TIMEOUT};
use starling_model::session::{AgentMessage, Heartbeat, HubMessage, Lease, Welcome};
use starling_model::{Digest, ErrorCode, Fence, Guard, Millis, Uid};

pub use self::events::{Effect, End, Input, SecondEffect, SecondInput, Standing};
pub use self::leaving::LIVED;
use self::leaving::jitter;
use self::moving::Moving;
pub use self::moving::{CAPTIVE_AFTER, FORWARD_MEMORY, HANDOVER};
pub use self::orders::COMMANDS_AT_ONCE;
use crate::inventory::Inventory;
use crate::parked::{Parked, RenderShelf};

mod events;
mod leaving;
mod moving;
mod orders;

/// How long an attempt to dial may take, TLS included.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(20);

/// How many heartbeats may be unanswered before the oldest is forgotten.
const HEARTBEATS_OUTSTANDING: usize = 8;

/// The bounds between which an announced heartbeat interval is taken.
const HEARTBEAT_BOUNDS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// The agent's session with the hub.
#[derive(Clone, Debug)]
pub struct Session {
    home: String,
    redirected: Option<String>,
    redirects: u32,
    phase: Phase,
    failures: u32,
    /// The hub did not take the certificate that the last stream showed.
    identity_refused: bool,
    window: Duration,
    facts: Digest,
    newest_fence: Option<Fence>,
    newest_epoch: u64,
    plan_digest: Option<Digest>,
    parked: Option<Arc<Parked>>,
    shelf: RenderShelf,
    lease_until: Option<Millis>,
    hold_reason: Option<String>,
    last_error: Option<String>,
    /// Commands that run, each with the number of the link that it came from.
    running: BTreeMap<Uid, u64>,
    /// The number of the first link; links are counted from the process's start.
    link: u64,
    links: u64,
    /// The first link's Hello asks for forwarding.
    forward: bool,
    moving: Moving,
    detached: Option<Fence>,
    dropped: u64,
}

#[derive(Clone, Debug)]
enum Phase {
    Idle,
    Waiting { until: Millis },
    Dialling { since: Millis },
    Greeting { hello_sent: Millis },
    Open(Open),
    Stopped,
}

#[derive(Clone, Debug)]
struct Open {
    hub: String,
    since: Millis,
    heard: Millis,
    interval: Duration,
    next_heartbeat: Millis,
    sequence: u64,
    sent: BTreeMap<u64, Millis>,
    leave_at: Option<Millis>,
    /// Until when a process that is about to stop is worth staying with.
    drained_at: Millis,
    /// When to look for another process, as this one lends nothing.
    probe_at: Option<Millis>,
}

impl Session {
    /// Makes a session that dials `address` (`host:port`) and judges plans by the digest of the agent's facts.
    #[must_use]
    pub fn new(address: String, facts: Digest, inventory: &Inventory) -> Self {
        let mut session = Self {
            home: address,
            redirected: None,
            redirects: 0,
            phase: Phase::Idle,
            failures: 0,
            identity_refused: false,
            window: RECONNECT_WINDOW,
            facts,
            newest_fence: None,
            newest_epoch: 0,
            plan_digest: None,
            parked: None,
            shelf: RenderShelf::new(),
            lease_until: None,
            hold_reason: None,
            last_error: None,
            running: BTreeMap::new(),
            link: 0,
            links: 0,
            forward: false,
            moving: Moving::default(),
            detached: None,
            dropped: 0,
        };
        session.observe_inventory(inventory);
        session
    }

    /// Takes over what the inventory holds, after each commit and each time it was read again.
    pub fn observe_inventory(&mut self, inventory: &Inventory) {
        self.shelf = inventory.shelf();
        self.detached = self.detached.filter(|left| inventory.detached() == Some(*left));
        let committed = inventory.newest_fence();
        let is_news = |committed: &Fence| self.newest_fence.is_none_or(|newest| committed.is_at_least(&newest));
        if let Some(committed) = committed.filter(is_news) {
            self.newest_fence = Some(committed);
        }
        let is_pending = self
            .parked
            .as_ref()
            .is_some_and(|parked| committed.is_none_or(|committed| parked.fence.is_at_least(&committed)));
        if !is_pending {
            self.parked = None;
            self.plan_digest = inventory.plan_digest();
        }
    }

    /// Takes over that everything of a detached cluster is left to itself, so that the hub may be told; followed by
    /// [`Input::InventoryChanged`].
    pub fn observe_left(&mut self, detached: Fence) {
        self.detached = Some(detached);
    }

    /// Takes over the digest of new facts.
    pub fn observe_facts(&mut self, facts: Digest) {
        self.facts = facts;
    }

    /// Takes over the number of statuses that were dropped since the start, for the next heartbeat.
    pub fn observe_dropped(&mut self, dropped: u64) {
        self.dropped = dropped;
    }

    /// Tells whether the agent may start to act on a parked plan.
    #[must_use]
    pub fn lease_is_live(&self, uptime: Millis) -> bool {
        self.lease_until.is_some_and(|until| uptime < until) || Guard::AgentLease.is_broken()
    }

    /// Returns when the lease ends (boot time), if there is one.
    #[must_use]
    pub fn lease_until(&self) -> Option<Millis> {
        self.lease_until
    }

    /// Returns the newest plan that was received whole since the process started.
    #[must_use]
    pub fn parked(&self) -> Option<&Arc<Parked>> {
        self.parked.as_ref()
    }

    /// Returns the digest of the newest plan that was received whole or committed.
    #[must_use]
    pub fn plan_digest(&self) -> Option<Digest> {
        self.plan_digest
    }

    /// Returns the newest fence that was seen.
    #[must_use]
    pub fn newest_fence(&self) -> Option<Fence> {
        self.newest_fence
    }

    /// Returns the newest ring epoch that was seen.
    #[must_use]
    pub fn newest_epoch(&self) -> u64 {
        self.newest_epoch
    }

    /// Tells whether the hub welcomed the agent on the present stream.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Returns where the session stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let (phase, hub) = match &self.phase {
            Phase::Idle => ("idle", None),
            Phase::Waiting { .. } => ("waiting", None),
            Phase::Dialling { .. } => ("dialling", None),
            Phase::Greeting { .. } => ("greeting", None),
            Phase::Open(open) => ("open", Some(open.hub.clone())),
            Phase::Stopped => ("stopped", None),
        };
        Standing {
            phase,
            hub,
            hold_reason: self.hold_reason.clone(),
            last_error: self.last_error.clone(),
            failures: self.failures,
        }
    }

    /// Returns when [`Input::Tick`] is due (boot time).
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        [self.first_deadline(), self.second_deadline()].into_iter().flatten().min()
    }

    fn first_deadline(&self) -> Option<Millis> {
        match &self.phase {
            Phase::Idle | Phase::Stopped => None,
            Phase::Waiting { until } => Some(*until),
            Phase::Dialling { since } => Some(since.plus(DIAL_TIMEOUT)),
            Phase::Greeting { hello_sent } => Some(hello_sent.plus(SESSION_TIMEOUT)),
            Phase::Open(open) => {
                let leave_at = open.leave_at.filter(|_| !self.is_moving());
                let deadlines = [Some(open.next_heartbeat), Some(open.heard.plus(SESSION_TIMEOUT)), leave_at];
                deadlines.into_iter().flatten().min()
            }
        }
    }

    /// Takes what happened and returns what to do; `uptime` is boot time, each call to `entropy` draws 64 random bits.
    pub fn handle(&mut self, input: Input, uptime: Millis, entropy: &mut dyn FnMut() -> u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        match (input, &self.phase) {
            (_, Phase::Stopped) => {}
            (Input::Start, Phase::Idle) => self.dial(uptime, &mut effects),
            (Input::Connected, Phase::Dialling { .. }) => {
                self.phase = Phase::Greeting { hello_sent: uptime };
                effects.push(Effect::SendHello { forward: self.forward });
            }
            (Input::DialFailed(end), Phase::Dialling { .. }) => {
                self.forget_redirect(uptime);
                self.ended(end, uptime, entropy, &mut effects);
            }
            (Input::Closed(end), Phase::Dialling { .. } | Phase::Greeting { .. } | Phase::Open(_)) => {
                self.ended(end, uptime, entropy, &mut effects);
            }
            (Input::Second(input), Phase::Open(_)) => self.second(input, uptime, entropy, &mut effects),
            (Input::Received(message), Phase::Greeting { .. } | Phase::Open(_)) => {
                self.received(message, uptime, entropy, &mut effects);
            }
            (Input::Tick, _) => self.tick(uptime, entropy, &mut effects),
            (Input::CommandDone(result), _) => self.command_done(result, &mut effects),
            (Input::InventoryChanged, phase) => {
                let is_open = matches!(phase, Phase::Open(_));
                effects.extend(self.detached.filter(|_| is_open).map(AgentMessage::Detached).map(Effect::Send));
            }
            (Input::IdentityChanged, Phase::Waiting { .. }) if self.identity_refused => self.dial(uptime, &mut effects),
            (Input::Stop, phase) => {
                if self.moving.second.take().is_some() {
                    effects.push(Effect::Second(SecondEffect::Close("the agent stops".to_owned())));
                }
                if matches!(phase, Phase::Dialling { .. } | Phase::Greeting { .. } | Phase::Open(_)) {
                    effects.push(Effect::Close("the agent stops".to_owned()));
                }
                self.phase = Phase::Stopped;
            }
            // What a connection that was given up still had to say.
            (
                Input::Start
                | Input::Connected
                | Input::DialFailed(_)
                | Input::Received(_)
                | Input::Closed(_)
                | Input::Second(_),
                _,
            )
            // What waits for another reason goes on waiting: many certificates are renewed in the same days.
            | (Input::IdentityChanged, _) => {}
        }
        effects
    }

    fn tick(&mut self, uptime: Millis, entropy: &mut dyn FnMut() -> u64, effects: &mut Vec<Effect>) {
        self.tick_second(uptime, entropy, effects);
        let is_moving = self.is_moving();
        match &mut self.phase {
            Phase::Idle | Phase::Stopped => {}
            Phase::Waiting { until } if uptime >= *until => self.dial(uptime, effects),
            Phase::Dialling { since } if uptime >= since.plus(DIAL_TIMEOUT) => {
                self.forget_redirect(uptime);
                self.leave("the hub did not answer the dial in time", uptime, entropy, effects);
            }
            Phase::Greeting { hello_sent } if uptime >= hello_sent.plus(SESSION_TIMEOUT) => {
                self.forget_redirect(uptime);
                self.leave("the hub did not welcome the agent in time", uptime, entropy, effects);
            }
            Phase::Open(open) if uptime >= open.heard.plus(SESSION_TIMEOUT) => {
                self.leave("the hub has been silent for too long", uptime, entropy, effects);
            }
            Phase::Open(open) if !is_moving && open.leave_at.is_some_and(|leave_at| uptime >= leave_at) => {
                self.depart(uptime, effects);
            }
            Phase::Open(open) if uptime >= open.next_heartbeat => {
                open.sequence += 1;
                open.next_heartbeat = uptime.plus(open.interval);
                open.sent.insert(open.sequence, uptime);
                while open.sent.len() > HEARTBEATS_OUTSTANDING {
                    open.sent.pop_first();
                }
                let heartbeat = Heartbeat { sequence: open.sequence, dropped: self.dropped };
                effects.push(Effect::Send(AgentMessage::Heartbeat(heartbeat)));
            }
            Phase::Waiting { .. } | Phase::Dialling { .. } | Phase::Greeting { .. } | Phase::Open(_) => {}
        }
    }

    fn received(
        &mut self,
        message: HubMessage,
        uptime: Millis,
        entropy: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        let greeted = match &mut self.phase {
            Phase::Greeting { hello_sent } => Some(*hello_sent),
            Phase::Open(open) => {
                open.heard = uptime;
                None
            }
            Phase::Idle | Phase::Waiting { .. } | Phase::Dialling { .. } | Phase::Stopped => return,
        };
        match (message, greeted) {
            (HubMessage::Welcome(welcome), Some(hello_sent)) => {
                self.welcomed(welcome, hello_sent, uptime, entropy, effects);
            }
            (HubMessage::Redirect { address, epoch }, _) => {
                self.redirect(address, epoch, uptime, entropy, effects);
            }
            (HubMessage::TrustBundle(pem), _) => effects.push(Effect::Trust(pem)),
            (HubMessage::Drain { window }, _) => self.drain(window, uptime, entropy, effects),
            (HubMessage::Desired(desired), None) => self.desired(*desired, uptime, entropy, effects),
            (HubMessage::Lease(lease), None) => self.leased(lease, uptime, entropy, effects),
            (HubMessage::Resync(reason), None) => effects.push(Effect::BeginSnapshot(reason)),
            (HubMessage::Command(command), None) => self.command(command, uptime, effects),
            (HubMessage::Welcome(_), None)
            | (
                HubMessage::Desired(_) | HubMessage::Lease(_) | HubMessage::Resync(_) | HubMessage::Command(_),
                Some(_),
            ) => self.leave("the hub sent a message out of order", uptime, entropy, effects),
        }
    }

    fn welcomed(
        &mut self,
        welcome: Welcome,
        hello_sent: Millis,
        uptime: Millis,
        entropy: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(message) = speaks_ours(&welcome) {
            effects.push(Effect::Close(message.clone()));
            let end = End { code: Some(ErrorCode::InvalidRequest), ..End::because(message) };
            self.ended(end, uptime, entropy, effects);
            return;
        }
        self.open(welcome, hello_sent, None, uptime, entropy, effects);
    }

    /// Opens the session on a link that was welcomed; `lent` is what another process lent before.
    fn open(
        &mut self,
        welcome: Welcome,
        hello_sent: Millis,
        lent: Option<Millis>,
        uptime: Millis,
        entropy: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        let interval = welcome.heartbeat.clamp(HEARTBEAT_BOUNDS.0, HEARTBEAT_BOUNDS.1);
        self.window = welcome.reconnect_window.min(RECONNECT_MAXIMUM);
        self.newest_epoch = self.newest_epoch.max(welcome.epoch);
        self.phase = Phase::Open(Open {
            hub: welcome.hub.clone(),
            since: uptime,
            heard: uptime,
            interval,
            // The first heartbeats of agents that came together are spread over half an interval.
            next_heartbeat: uptime.plus(interval / 2).plus(jitter(interval / 2, entropy)),
            sequence: 0,
            sent: BTreeMap::new(),
            leave_at: None,
            drained_at: uptime,
            probe_at: None,
        });
        self.settle(uptime, entropy);
        self.lend(hello_sent, welcome.lease, lent, uptime, entropy);
        self.hold_reason.clone_from(&welcome.hold_reason);
        effects.push(Effect::LeaseChanged(self.lease_until));
        effects.push(Effect::Opened(welcome));
        effects.extend(self.detached.map(AgentMessage::Detached).map(Effect::Send));
    }

    fn leased(&mut self, lease: Lease, uptime: Millis, entropy: &mut dyn FnMut() -> u64, effects: &mut Vec<Effect>) {
        let Phase::Open(open) = &mut self.phase else { return };
        let Some(sent) = open.sent.get(&lease.heartbeat).copied() else { return };
        open.sent.retain(|sequence, _| *sequence > lease.heartbeat);
        // Only a process that answers heartbeats is where the agent belongs.
        self.redirects = 0;
        self.lend(sent, lease.lease, None, uptime, entropy);
        self.hold_reason = lease.hold_reason;
        effects.push(Effect::LeaseChanged(self.lease_until));
    }

    /// Counts a lease from when it was asked for; a hub that lends nothing takes back what it lent, but not what
    /// another process lent before the agent moved.
    fn lend(
        &mut self,
        asked: Millis,
        lease: Duration,
        lent: Option<Millis>,
        uptime: Millis,
        entropy: &mut dyn FnMut() -> u64,
    ) {
        self.lease_until = (!lease.is_zero()).then(|| asked.plus(lease.min(COMMAND_LEASE))).max(lent);
        self.watch_for_captivity(lease.is_zero(), uptime, entropy);
    }
}

/// Tells whether the hub chose a protocol that this agent speaks; else why not.
fn speaks_ours(welcome: &Welcome) -> Result<(), String> {
    let (oldest, newest) = PROTOCOL_VERSIONS;
    if (oldest..=newest).contains(&welcome.protocol) {
        return Ok(());
    }
    Err(format!("the hub chose protocol {}, which this agent does not speak", welcome.protocol))
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "session/moving_tests.rs"]
mod moving_tests;
