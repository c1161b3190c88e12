//! The client's side of the session with the hub: drives the core's state machine over a real stream.
//!
//! Owns dialling, the stream, and performing the session's effects. Does not own when to dial or leave, what a plan is
//! worth, nor what is reported: these are the core's.

pub(crate) mod channel;
mod commands;
mod link;
mod outbox;
mod slot;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use starling_agent_core::hello::{Speaker, compose_hello, compose_second_hello};
use starling_agent_core::session::{Effect, End, Input, SecondEffect, SecondInput};
use starling_model::session::{AgentMessage, CommandResult, HubMessage};
use starling_model::{ErrorCode, Millis};
use starling_telemetry::{TRACE, context};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::link::Link;
use self::slot::{Slot, SlotEvent};
use crate::cluster::ClusterApi;
use crate::ports::Ports;
use crate::shared::Shared;

/// How long changes are gathered before they are sent, so that a burst of one object is one status.
const GATHER: Duration = Duration::from_millis(20);

/// How long a stopping agent waits for its last messages to leave.
const FAREWELL: Duration = Duration::from_millis(500);

/// The session task of one agent.
pub(crate) struct Client {
    shared: Arc<Shared>,
    cluster: Arc<dyn ClusterApi>,
    ports: Ports,
    speaker: Speaker,
    first: Slot,
    /// Only while the agent moves or looks for another hub process.
    second: Option<Box<Slot>>,
    /// The second link was the first, until the statuses that the new owner lacks have left.
    hands_over: bool,
    commands: FuturesUnordered<BoxFuture<'static, CommandResult>>,
    flush_at: Option<Millis>,
    /// The trace that the message at hand belongs to; empty for none.
    traceparent: String,
}

/// What a wait ended with.
enum Event {
    Input(Input),
    First(SlotEvent),
    Second(SlotEvent),
    Bell,
}

impl Client {
    pub(crate) fn new(shared: Arc<Shared>, cluster: Arc<dyn ClusterApi>, ports: Ports, speaker: Speaker) -> Self {
        Self {
            shared,
            cluster,
            ports,
            speaker,
            first: Slot::idle(),
            second: None,
            hands_over: false,
            commands: FuturesUnordered::new(),
            flush_at: None,
            traceparent: String::new(),
        }
    }

    /// Runs the session until the agent stops.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        while !self.shared.may_begin() {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = self.shared.session_bell.notified() => {}
            }
        }
        self.handle(Input::Start);
        while let Some(event) = self.next_event(&shutdown).await {
            match event {
                Event::Input(input) => self.handle(input),
                Event::First(event) => self.first_event(event),
                Event::Second(event) => self.second_event(event),
                Event::Bell => self.rung(),
            }
        }
        self.say_farewell().await;
    }

    /// Waits for whatever comes first; `None` once the agent stops.
    async fn next_event(&mut self, shutdown: &CancellationToken) -> Option<Event> {
        let uptime = self.ports.clock.uptime();
        let deadline = self.shared.state().session.next_deadline();
        let flush_is_due = self.flush_at.is_some_and(|at| at <= uptime);
        // Room with nothing to fill it tells that the last batch has left.
        let wants_room = flush_is_due || (self.hands_over && self.flush_at.is_none());
        let waking = [deadline, self.flush_at.filter(|_| !flush_is_due)].into_iter().flatten().min();
        let event = tokio::select! {
            // In order, so that a simulation's runs are equal; urgent things first.
            biased;
            () = shutdown.cancelled() => return None,
            event = self.first.next(wants_room) => Event::First(event),
            event = next_of(&mut self.second) => Event::Second(event),
            Some(result) = self.commands.next(), if !self.commands.is_empty() => {
                Event::Input(Input::CommandDone(result))
            }
            () = sleep_until(waking, uptime) => Event::Input(Input::Tick),
            () = self.shared.session_bell.notified() => Event::Bell,
        };
        Some(event)
    }

    fn first_event(&mut self, event: SlotEvent) {
        match event {
            SlotEvent::Connected => self.handle(Input::Connected),
            SlotEvent::DialFailed(end) => {
                self.cannot_reach(&end);
                self.handle(Input::DialFailed(end));
            }
            SlotEvent::Received(message, traceparent) => self.received(message, traceparent),
            SlotEvent::Closed(end) => self.ended(end),
            SlotEvent::Room => self.send_next(),
        }
    }

    fn second_event(&mut self, event: SlotEvent) {
        match event {
            SlotEvent::Connected => self.handle(Input::Second(SecondInput::Connected)),
            SlotEvent::DialFailed(end) => {
                self.cannot_reach(&end);
                self.disconnect_second(None);
                self.handle(Input::Second(SecondInput::DialFailed(end)));
            }
            SlotEvent::Received(message, _) => self.handle(Input::Second(SecondInput::Received(message))),
            SlotEvent::Closed(end) => self.second_ended(end),
            SlotEvent::Room => {
                if let Some(second) = &mut self.second {
                    second.send_urgent();
                }
            }
        }
    }

    fn cannot_reach(&self, end: &End) {
        self.shared.metrics.connect_failures.inc();
        tracing::info!(error = %end.message, "cannot reach the hub, trying again");
    }

    /// Something changed outside of the session: statuses to send, another inventory or certificate.
    fn rung(&mut self) {
        let (has_batch, inventory_changed, identity_changed) = {
            let mut state = self.shared.state();
            let dropped = state.book.dropped();
            state.session.observe_dropped(dropped);
            let inventory_changed = std::mem::take(&mut state.inventory_changed);
            (state.book.has_batch(), inventory_changed, std::mem::take(&mut state.identity_changed))
        };
        if has_batch && self.first.is_up() && self.flush_at.is_none() {
            self.flush_at = Some(self.ports.clock.uptime().plus(GATHER));
        }
        if inventory_changed {
            self.handle(Input::InventoryChanged);
        }
        if identity_changed {
            self.handle(Input::IdentityChanged);
        }
    }

    fn send_next(&mut self) {
        let uptime = self.ports.clock.uptime();
        let next = {
            let mut state = self.shared.state();
            self.first.outbox.next(&mut state.book, uptime)
        };
        match next {
            Ok(Some(message)) => self.first.send(message),
            Err(wait) => self.flush_at = Some(uptime.plus(wait)),
            Ok(None) => {
                self.flush_at = None;
                if std::mem::take(&mut self.hands_over) {
                    self.handle(Input::Second(SecondInput::HandedOver));
                }
            }
        }
    }

    /// Takes a message of the hub; a plan is part of the trace that brought it.
    fn received(&mut self, message: HubMessage, traceparent: String) {
        let HubMessage::Desired(desired) = &message else {
            self.handle(Input::Received(message));
            return;
        };
        if !desired.unchanged {
            self.shared.metrics.plans_received.inc();
        }
        if !context::is_context(&traceparent) {
            self.handle(Input::Received(message));
            return;
        }
        let span = tracing::info_span!(target: TRACE, "receive plan", fence = %desired.fence.stamp());
        context::follow(&span, &traceparent);
        let ours = context::of(&span);
        self.traceparent = if ours.is_empty() { traceparent } else { ours };
        span.in_scope(|| self.handle(Input::Received(message)));
        self.traceparent.clear();
    }

    fn ended(&mut self, end: End) {
        self.handle(Input::Closed(end));
    }

    /// Gives the state machine what happened, and performs what it wants.
    fn handle(&mut self, mut input: Input) {
        if let Input::Closed(end) = &mut input {
            self.excuse(end, self.first.shown);
            tracing::info!(error = %end.message, "session ended");
            self.shared.metrics.sessions_ended.inc();
            self.disconnect(end.code);
        }
        let uptime = self.ports.clock.uptime();
        let effects = {
            let ports = self.ports.clone();
            let mut entropy = || ports.draw();
            self.shared.state().session.handle(input, uptime, &mut entropy)
        };
        for effect in effects {
            self.perform(effect, uptime);
        }
    }

    fn perform(&mut self, effect: Effect, uptime: Millis) {
        match effect {
            Effect::Dial { address } => self.first = self.dial(address),
            Effect::SendHello { forward } => {
                let hello = {
                    let mut state = self.shared.state();
                    let state = &mut *state;
                    compose_hello(&state.session, &mut state.book, &state.inventory, &self.speaker, forward)
                };
                self.send(AgentMessage::Hello(Box::new(hello)));
            }
            Effect::Send(message) => self.send(message),
            Effect::Opened(welcome) => {
                tracing::info!(hub = %welcome.hub, status_known = welcome.status_known, "session open");
                if let Some(reason) = &welcome.hold_reason {
                    tracing::warn!(reason, "the hub lends no command lease: nothing new is applied");
                }
                self.first.limits = welcome.limits;
                self.first.outbox.open(&welcome.limits, uptime);
                let mut state = self.shared.state();
                state.book.set_limits(welcome.limits);
                state.book.welcomed(welcome.status_known);
                drop(state);
                self.rung();
            }
            Effect::BeginSnapshot(reason) => {
                tracing::info!(reason, "the hub asks for a snapshot");
                self.shared.state().book.begin_snapshot();
                self.rung();
            }
            Effect::Park(parked) => {
                tracing::debug!(fence = %parked.fence.stamp(), entries = parked.entries.len(), "plan received");
                let trace = (parked.plan_digest, self.traceparent.clone());
                self.shared.state().plan_trace = Some(trace).filter(|(_, trace)| !trace.is_empty());
                self.shared.applier_bell.notify_one();
            }
            Effect::Advance(fence) => self.shared.state().advanced = Some(fence),
            Effect::LeaseChanged(until) => {
                if until.is_some() {
                    self.shared.applier_bell.notify_one();
                }
            }
            Effect::RunCommand(command) => {
                let (shared, clock) = (Arc::clone(&self.shared), Arc::clone(&self.ports.clock));
                let lease_is_live = move || shared.lease_is_live(clock.uptime());
                self.commands.push(Box::pin(commands::run(Arc::clone(&self.cluster), command, lease_is_live)));
            }
            Effect::Trust(pem) => {
                self.shared.state().announced_trust = Some(pem);
                self.shared.identity_bell.notify_one();
            }
            Effect::Close(reason) => {
                tracing::info!(reason, "leaving the hub");
                self.disconnect(None);
            }
            Effect::Second(effect) => self.perform_second(effect),
            Effect::Switch => {
                if let Some(second) = &mut self.second {
                    std::mem::swap(&mut self.first, second);
                    second.outbox.stop_statuses();
                    self.flush_at = None;
                    self.hands_over = true;
                }
            }
            Effect::Promote => {
                if let Some(second) = self.second.take() {
                    self.first = *second;
                }
            }
        }
    }

    fn perform_second(&mut self, effect: SecondEffect) {
        match effect {
            SecondEffect::Dial { address } => {
                tracing::info!(address, "dialling another hub beside the present one");
                self.second = Some(Box::new(self.dial(address)));
            }
            SecondEffect::SendHello { forward } => {
                let hello = {
                    let mut state = self.shared.state();
                    let state = &mut *state;
                    compose_second_hello(&state.session, &mut state.book, &state.inventory, &self.speaker, forward)
                };
                self.send_second(AgentMessage::Hello(Box::new(hello)));
            }
            SecondEffect::Send(message) => self.send_second(message),
            SecondEffect::Finish => {
                if let Some(second) = &mut self.second {
                    second.finish();
                }
            }
            SecondEffect::Close(reason) => {
                tracing::info!(reason, "closing the second link");
                self.disconnect_second(None);
            }
        }
    }

    fn send_second(&mut self, message: AgentMessage) {
        let Some(second) = &mut self.second else { return };
        if second.push(message, &self.traceparent).is_err() {
            self.second_ended(End::because("the hub asks for more than it reads"));
        }
    }

    fn second_ended(&mut self, mut end: End) {
        let shown = self.second.as_ref().and_then(|second| second.shown);
        self.excuse(&mut end, shown);
        tracing::info!(error = %end.message, "second link ended");
        self.disconnect_second(end.code);
        self.handle(Input::Second(SecondInput::Closed(end)));
    }

    fn disconnect_second(&mut self, code: Option<ErrorCode>) {
        self.second = None;
        self.hands_over = false;
        self.shared.state().book.abandon_second();
        self.mind_refusal(code);
    }

    fn dial(&self, address: String) -> Slot {
        let credentials = self.shared.state().credentials.clone();
        let now = self.ports.clock.now();
        let usable = credentials.filter(|credentials| now < credentials.not_after);
        let shown = usable.as_ref().map(|credentials| credentials.generation);
        let ports = self.ports.clone();
        let dialling: BoxFuture<'static, Result<Link, End>> = match usable {
            Some(credentials) => Box::pin(Link::dial(ports, address, credentials.tls)),
            None => Box::pin(async { Err(End::because("the certificate expired and is not renewed yet")) }),
        };
        Slot::dialling(dialling, shown)
    }

    /// A refusal of a certificate that was replaced meanwhile says nothing about the present one.
    fn excuse(&self, end: &mut End, shown: Option<u64>) {
        let present = self.shared.state().credentials.as_ref().map(|credentials| credentials.generation);
        if present != shown && end.code.is_some_and(refuses_identity) {
            end.code = None;
        }
    }

    fn send(&mut self, message: AgentMessage) {
        if self.first.push(message, &self.traceparent).is_err() {
            self.ended(End::because("the hub asks for more than it reads"));
        }
    }

    /// Drops the stream and all that waited for it.
    fn disconnect(&mut self, code: Option<ErrorCode>) {
        self.first = Slot::idle();
        self.flush_at = None;
        self.shared.state().book.end_session();
        self.mind_refusal(code);
    }

    fn mind_refusal(&self, code: Option<ErrorCode>) {
        if code.is_some_and(refuses_identity) {
            self.shared.state().identity_is_refused = true;
            self.shared.identity_bell.notify_one();
        }
    }

    async fn say_farewell(mut self) {
        // What was promised (receipts, outcomes) leaves if the hub reads it soon; it is not needed for correctness.
        let drain = async {
            while self.first.outbox.is_urgent() && self.first.ready().await {
                self.send_next();
            }
        };
        let _ = timeout(FAREWELL, drain).await;
        let mut entropy = || 0;
        let uptime = self.ports.clock.uptime();
        self.shared.state().session.handle(Input::Stop, uptime, &mut entropy);
    }
}

fn refuses_identity(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::CredentialRefused | ErrorCode::Unauthenticated)
}

async fn next_of(second: &mut Option<Box<Slot>>) -> SlotEvent {
    match second {
        Some(second) => second.next(false).await,
        None => pending().await,
    }
}

async fn sleep_until(waking: Option<Millis>, uptime: Millis) {
    match waking {
        Some(waking) => sleep(waking.since(uptime)).await,
        None => pending().await,
    }
}
