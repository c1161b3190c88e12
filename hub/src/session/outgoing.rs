//! What a session has yet to say: the latest of each kind, and the parts of one large message.

use std::collections::{BTreeMap, VecDeque};

use prost::Message as _;
use starling_model::session::{Desired, DesiredAction, DesiredEntry, Held, HubMessage, Lease, Welcome};
use starling_model::{Action, Digest, Entry, Era, Fence, InstallKey, Uid};
use starling_proto::{fragment, v1};
use starling_telemetry::{TRACE, context};

use crate::shard::{Assigned, OpenSession};

/// What waits to be sent; nothing here grows with time.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// The first message of all.
    welcome: Option<Box<Welcome>>,
    /// The heartbeat that is to be answered.
    pub(super) lease: Option<u64>,
    pub(super) resync: Option<&'static str>,
    /// The address of the process that the cluster belongs to, with the epoch that says so.
    pub(super) redirect: Option<(String, u64)>,
    /// The plan or its position is to be sent.
    pub(super) desired: bool,
    /// Commands wait in the mailbox.
    pub(super) commands: bool,
    parts: VecDeque<v1::ConnectResponse>,
    split_messages: u64,
    /// The digest of the plan that the agent has whole once all that was sent has arrived.
    sent: Option<Digest>,
    sent_fence: Option<Fence>,
    /// The era of the newest plan or position that has left whole.
    arrived: Option<Era>,
    /// What Hello said that the inventory holds; until the first plan is sent, after which reports tell.
    held: Option<BTreeMap<(InstallKey, Uid), Digest>>,
}

impl Outgoing {
    /// Begins with what the agent says it has.
    pub(super) fn new(welcome: Welcome, plan_digest: Option<Digest>, held: Vec<Held>) -> Self {
        let held = held.into_iter().map(|held| ((held.install, held.assignment), held.render)).collect();
        Self { welcome: Some(Box::new(welcome)), desired: true, sent: plan_digest, held: Some(held), ..Self::default() }
    }

    /// Tells whether anything waits.
    pub(super) fn is_waiting(&self) -> bool {
        self.welcome.is_some()
            || self.lease.is_some()
            || self.resync.is_some()
            || self.redirect.is_some()
            || self.desired
            || self.commands
            || !self.parts.is_empty()
    }

    /// Notes that the agent did not take a plan: it is sent whole again, at the next heartbeat.
    pub(super) fn refused(&mut self) {
        (self.sent, self.sent_fence) = (None, None);
    }

    /// Lets the position, or a plan that was refused or held back, follow a heartbeat.
    pub(super) fn follow_up(&mut self, session: &OpenSession) {
        let current = session.shard.current(&session.cluster);
        self.desired |= current.is_some_and(|(fence, _)| self.sent_fence != Some(fence));
    }

    /// Takes the next message; what is urgent passes between the parts of what is large.
    pub(super) fn next(&mut self, session: &OpenSession) -> Option<v1::ConnectResponse> {
        if let Some(welcome) = self.welcome.take() {
            return Some(HubMessage::Welcome(*welcome).into());
        }
        if let Some(heartbeat) = self.lease.take() {
            let lent = session.shard.lend_to(&session.cluster.id, self.arrived);
            session.shard.note_lent(&session.cluster, &lent);
            return Some(HubMessage::Lease(Lease { heartbeat, lease: lent.lease, hold_reason: lent.reason }).into());
        }
        if let Some((address, epoch)) = self.redirect.take() {
            return Some(HubMessage::Redirect { address, epoch }.into());
        }
        if let Some(reason) = self.resync.take() {
            return Some(HubMessage::Resync(reason.into()).into());
        }
        if let Some(part) = self.next_part() {
            return Some(part);
        }
        if std::mem::take(&mut self.desired)
            && let Some(message) = self.desired(session)
        {
            return self.split(message, session);
        }
        if std::mem::take(&mut self.commands)
            && let Some(command) = session.mailbox.next_command()
        {
            self.commands = true;
            session.shard.counters.commands.add(1);
            return self.split(HubMessage::Command(command).into(), session);
        }
        None
    }

    /// Makes the message about the newest plan; `None` if there is nothing new to say or the fleet holds.
    fn desired(&mut self, session: &OpenSession) -> Option<v1::ConnectResponse> {
        let shard = &session.shard;
        if shard.parts.hold.reason().is_some() || !shard.owns(&shard.fleet(), &session.cluster.id) {
            return None;
        }
        let (fence, assigned) = shard.current(&session.cluster)?;
        let unchanged = self.sent == Some(assigned.digest);
        if unchanged && self.sent_fence == Some(fence) {
            return None;
        }
        let mut desired = v1::Desired::from(Desired {
            fence,
            plan_digest: assigned.digest,
            facts: assigned.plan.facts,
            unchanged,
            entries: Vec::new(),
            tombstones: if unchanged { Vec::new() } else { assigned.plan.tombstones.clone() },
            detach: assigned.plan.detach.filter(|_| !unchanged),
        });
        if !unchanged {
            desired.entries = self.entries(session, &assigned);
        }
        let message = v1::connect_response::Message::Desired(desired);
        let traceparent = if unchanged { String::new() } else { trace_sending(session, &assigned) };
        let message = v1::ConnectResponse { message: Some(message), traceparent };
        self.sent_fence = Some(fence);
        let (size, limit) = (message.encoded_len(), shard.parts.limits.message_bytes);
        if size > limit as usize {
            let problem = format!("its plan takes {size} bytes and a message has at most {limit}: assign less to it");
            tracing::warn!(cluster = %session.cluster.id, size, limit, "plan exceeds the size of a message");
            session.cluster.state().problem = Some(problem);
            shard.counters.plans_too_large.add(1);
            return None;
        }
        self.sent = Some(assigned.digest);
        let counter = if unchanged { &shard.counters.positions_sent } else { &shard.counters.plans_sent };
        counter.add(1);
        Some(message)
    }

    fn entries(&mut self, session: &OpenSession, assigned: &Assigned) -> Vec<v1::Entry> {
        let said = self.held.take();
        let holds = |entry: &Entry, render: &Digest| match &said {
            Some(said) => said.get(&(entry.install.clone(), entry.assignment)) == Some(render),
            None => {
                let index = session.shard.index.read(&session.cluster.id);
                let progress = index.install_progress(&session.cluster.id, &entry.install);
                progress.is_some_and(|(_, held, assignment)| held == *render && assignment == entry.assignment)
            }
        };
        let entry = |entry: &Entry| {
            let (action, body) = match &entry.action {
                Action::Render(render) => {
                    let body = (!holds(entry, &render.digest)).then(|| session.shard.renders.get(render));
                    (DesiredAction::HeldRender(render.digest), body)
                }
                Action::Keep(reason) => (DesiredAction::Keep(reason.to_string()), None),
                Action::Blocked(reason) => (DesiredAction::Blocked(reason.to_string()), None),
            };
            let mut wire = v1::Entry::from(DesiredEntry {
                install: entry.install.clone(),
                assignment: entry.assignment,
                assignment_name: entry.assignment_name.clone(),
                revision: entry.revision,
                action,
            });
            if let Some(body) = body {
                wire.action = Some(v1::entry::Action::Render(body));
            }
            wire
        };
        assigned.plan.entries.iter().map(entry).collect()
    }

    fn split(&mut self, message: v1::ConnectResponse, session: &OpenSession) -> Option<v1::ConnectResponse> {
        self.split_messages += 1;
        let piece = session.shard.parts.limits.batch_bytes as usize;
        self.parts = fragment::split(message, self.split_messages, piece).into();
        self.next_part()
    }

    fn next_part(&mut self) -> Option<v1::ConnectResponse> {
        let part = self.parts.pop_front()?;
        if self.parts.is_empty() {
            self.arrived = self.sent_fence.map(|fence| fence.era).or(self.arrived);
        }
        Some(part)
    }
}

/// Leaves a span of a plan that is sent in the trace that made it so, and returns the context for the agent.
fn trace_sending(session: &OpenSession, assigned: &Assigned) -> String {
    if assigned.trace.is_empty() {
        return String::new();
    }
    let span = tracing::info_span!(target: TRACE, "send plan", cluster = %session.cluster.id);
    context::follow(&span, &assigned.trace);
    context::of(&span)
}
