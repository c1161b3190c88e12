//! What becomes of each message of an agent.

use std::sync::Arc;

use prost::Message as _;
use starling_hub_core::records::ClusterStage;
use starling_hub_core::session::hello::check_facts;
use starling_hub_core::steward::{Request, SeeCluster};
use starling_model::session::{AgentMessage, Heartbeat, Receipt, StatusBatch};
use starling_model::{ErrorCode, Fence};
use starling_proto::v1;
use starling_telemetry::{TRACE, context};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::End;
use super::task::Task;

impl Task<'_> {
    /// Takes one message off the wire.
    pub(super) fn receive(&mut self, message: v1::ConnectRequest) -> Result<(), End> {
        let shard = &self.sessions.shard;
        let uptime = shard.parts.clock.uptime();
        self.heard = uptime;
        let wait = self.rate.charge(message.encoded_len(), uptime);
        if !wait.is_zero() {
            shard.counters.throttled.add(1);
            self.read_after = Some(Instant::now() + wait);
        }
        let limit = shard.parts.limits.message_bytes as usize;
        let whole = self.assembler.accept(message, limit).map_err(|error| End::Garbled(error.to_string()))?;
        let Some(mut whole) = whole else { return Ok(()) };
        let traceparent = std::mem::take(&mut whole.traceparent);
        match AgentMessage::try_from(whole).map_err(|error| End::Garbled(error.to_string()))? {
            AgentMessage::Status(batch) => self.status(&batch),
            AgentMessage::Heartbeat(heartbeat) => {
                self.heartbeat(heartbeat);
                Ok(())
            }
            AgentMessage::Receipt(receipt) => {
                self.receipt(receipt, &traceparent);
                Ok(())
            }
            AgentMessage::CommandResult(result) => {
                self.session.mailbox.result(result);
                Ok(())
            }
            AgentMessage::Detached(fence) => {
                self.detached(fence);
                Ok(())
            }
            AgentMessage::Hello(_) => Err(End::Garbled("Hello comes once".into())),
        }
    }

    fn status(&mut self, batch: &StatusBatch) -> Result<(), End> {
        let shard = &self.sessions.shard;
        let clock = &shard.parts.clock;
        let id = self.caller.cluster;
        let step = self.sequence.accept(batch.sequence, batch.kind, clock.uptime());
        let outcome = step.apply(&mut shard.index.write(&id), id, batch, &shard.parts.limits, clock.now());
        shard.counters.batches.add(1);
        shard.counters.changes.add(outcome.changed);
        shard.counters.refused.add(outcome.refused);
        if step.resync.is_some() {
            shard.counters.resyncs.add(1);
            self.outgoing.resync = step.resync;
        }
        let mut state = self.session.cluster.state();
        state.untracked = batch.untracked;
        if let Some(facts) = batch.facts.as_ref().filter(|facts| **facts != *state.facts) {
            check_facts(facts, &shard.parts.limits).map_err(|error| End::Limit(error.to_string()))?;
            state.facts = facts.clone().into();
            shard.replan(&self.session.cluster, &mut state);
        }
        drop(state);
        if step.finish {
            self.session.note_complete();
        }
        self.session.cluster.seen(clock.now());
        if outcome.changed > 0 || step.finish {
            self.session.touch();
        }
        if step.finish || !batch.removed_installs.is_empty() {
            self.look_whether_emptied();
        }
        Ok(())
    }

    fn heartbeat(&mut self, heartbeat: Heartbeat) {
        let shard = &self.sessions.shard;
        self.session.heard();
        self.session.cluster.state().dropped = heartbeat.dropped;
        if self.sequence.is_complete() {
            self.session.note_complete();
        }
        if let Some(reason) = self.sequence.remind(shard.parts.clock.uptime()) {
            self.outgoing.resync = Some(reason);
        }
        self.outgoing.lease = Some(heartbeat.sequence);
        self.outgoing.follow_up(&self.session);
        self.look_whether_emptied();
        // The steward may have been unable to write what it was told.
        if self.acknowledgement.as_ref().is_some_and(JoinHandle::is_finished) && self.is_asked_to_let_go() {
            self.acknowledge();
        }
    }

    fn receipt(&mut self, receipt: Receipt, traceparent: &str) {
        if context::is_context(traceparent) {
            let refused = receipt.refused.is_some();
            let span = tracing::info_span!(target: TRACE, "receipt", cluster = %self.caller.cluster, refused);
            context::follow(&span, traceparent);
        }
        let mut state = self.session.cluster.state();
        match receipt.refused {
            None => {
                state.confirmed = Some(receipt.plan_digest);
                state.problem = None;
            }
            Some(reason) => {
                tracing::info!(cluster = %self.caller.cluster, %reason, "the agent refused a plan");
                self.sessions.shard.counters.plans_refused.add(1);
                state.problem = Some(format!("the agent refused its plan: {reason}"));
                self.outgoing.refused();
            }
        }
        drop(state);
        self.session.touch();
        self.look_whether_emptied();
    }

    /// Tells the steward that a cluster which is being emptied holds nothing any more, once its agent said so under the plan that
    /// removes.
    fn look_whether_emptied(&mut self) {
        let id = self.caller.cluster;
        let shard = &self.sessions.shard;
        let is_asked = self.emptied.as_ref().is_some_and(|asked| !asked.is_finished());
        if is_asked || !matches!(shard.fleet().stage(id), ClusterStage::Removing { .. }) {
            return;
        }
        let is_live = self.session.cluster.state().is_live();
        if is_live && shard.heard(&id).is_some_and(|held| held.is_empty()) {
            self.emptied = Some(self.tell_steward(Request::Emptied(id)));
        }
    }

    /// Tells the steward that the agent let go, if that is what it was asked.
    fn detached(&mut self, fence: Fence) {
        if !self.is_asked_to_let_go() || !self.sessions.shard.parts.fleet_key.is_genuine(&fence) {
            tracing::warn!(cluster = %self.caller.cluster, "the agent says it let go, and nobody asked it to");
            return;
        }
        self.acknowledge();
    }

    fn is_asked_to_let_go(&self) -> bool {
        let current = self.sessions.shard.current(&self.session.cluster);
        current.is_some_and(|(_, assigned)| assigned.plan.detach.is_some())
    }

    fn acknowledge(&mut self) {
        self.acknowledgement = Some(self.tell_steward(Request::DetachAcknowledged(self.caller.cluster)));
    }

    pub(super) fn record(&self) {
        drop(self.tell_steward(Request::SeeCluster(SeeCluster {
            cluster: self.caller.cluster,
            key: self.caller.key,
            fingerprint: self.fingerprint.clone(),
        })));
    }

    /// Asks the steward beside the session, which does not wait for it; a refusal of the credential ends the session.
    fn tell_steward(&self, request: Request) -> JoinHandle<()> {
        let steward = Arc::clone(&self.sessions.steward);
        let mailbox = Arc::clone(&self.session.mailbox);
        let actor = format!("cluster {}", self.caller.cluster);
        self.sessions.shard.tasks.spawn(async move {
            let Err(refusal) = steward.report(&actor, request).await else { return };
            match refusal.credential {
                Some(reason) => mailbox.end(End::Refused(reason)),
                // Asked again with the next heartbeat or position, or once the fleet moves again.
                None if refusal.code == ErrorCode::FleetHolds || refusal.code == ErrorCode::Unavailable => {
                    tracing::debug!(%actor, reason = %refusal.message, "the steward did not record what a session showed");
                }
                None => tracing::warn!(%actor, code = %refusal.code, reason = %refusal.message, "the steward refused what a session showed"),
            }
        })
    }
}
