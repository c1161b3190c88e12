//! What the hub orders: plans under a fence, and commands under a lease.

use std::sync::Arc;

use starling_model::session::{AgentMessage, Command, CommandResult, Desired, Receipt};
use starling_model::{Fence, Millis};

use super::{Effect, SecondEffect, Session};
use crate::parked::{ParkError, Parked};

/// How many commands run at once; a further one is answered with an error.
pub const COMMANDS_AT_ONCE: usize = 16;

impl Session {
    pub(super) fn desired(
        &mut self,
        desired: Desired,
        uptime: Millis,
        entropy: &mut dyn FnMut() -> u64,
        effects: &mut Vec<Effect>,
    ) {
        let (fence, plan_digest) = (desired.fence, desired.plan_digest);
        let receipt = |refused| Effect::Send(AgentMessage::Receipt(Receipt { fence, plan_digest, refused }));
        if self.newest_fence.is_some_and(|newest| !fence.is_at_least(&newest)) {
            effects.push(receipt(Some(self.fence_refusal(&fence))));
            return;
        }
        if desired.unchanged && self.plan_digest != Some(plan_digest) {
            let reason = "the plan is said to be unchanged, but the agent holds another";
            effects.push(receipt(Some(reason.to_owned())));
            self.leave(reason, uptime, entropy, effects);
            return;
        }
        self.newest_fence = Some(fence);
        if desired.unchanged {
            if let Some(parked) = &mut self.parked {
                Arc::make_mut(parked).fence = fence;
            }
            effects.extend([receipt(None), Effect::Advance(fence)]);
            return;
        }
        if desired.facts != self.facts {
            effects.push(receipt(Some("the plan was computed from other facts than the agent reports now".to_owned())));
            return;
        }
        let mut shelf = self.shelf.clone();
        shelf.extend(
            self.parked
                .iter()
                .flat_map(|parked| parked.renders())
                .map(|(_, _, render)| (render.digest, Arc::clone(render))),
        );
        match Parked::new(desired, &shelf) {
            Ok(parked) => {
                let parked = Arc::new(parked);
                self.plan_digest = Some(plan_digest);
                self.parked = Some(Arc::clone(&parked));
                effects.extend([receipt(None), Effect::Park(parked)]);
            }
            Err(error) => {
                let reason = error.to_string();
                effects.push(receipt(Some(reason.clone())));
                match error {
                    // A new Hello tells the hub what is held.
                    ParkError::RenderNotHeld(..) => self.leave(&reason, uptime, entropy, effects),
                    ParkError::RenderDiffers(_) | ParkError::NamedTwice(_) => {}
                }
            }
        }
    }

    fn fence_refusal(&self, fence: &Fence) -> String {
        let newest = self.newest_fence.map(|newest| newest.stamp()).unwrap_or_default();
        let same_era = self.newest_fence.is_some_and(|newest| newest.order(fence).is_some());
        if same_era {
            format!("fence {} is older than {newest}, which the agent has seen", fence.stamp())
        } else {
            format!("fence {} is of another store than {newest}, which the agent has seen", fence.stamp())
        }
    }

    pub(super) fn command(&mut self, command: Command, uptime: Millis, effects: &mut Vec<Effect>) {
        if let Some(link) = self.running.get_mut(&command.id) {
            // Whoever asked last is answered.
            *link = self.link;
            return;
        }
        let refusal = if !self.lease_is_live(uptime) {
            "the agent has no live command lease"
        } else if self.running.len() >= COMMANDS_AT_ONCE {
            "too many commands run at once"
        } else {
            self.running.insert(command.id, self.link);
            effects.push(Effect::RunCommand(command));
            return;
        };
        let outcomes = command.objects.into_iter().map(|key| (key, Some(refusal.to_owned()))).collect();
        let result = CommandResult { id: command.id, outcomes };
        effects.push(Effect::Send(AgentMessage::CommandResult(result)));
    }

    /// Answers on the link that the command came from. The result of a command whose session ended has nobody to go
    /// to: the hub gave the command up with it.
    pub(super) fn command_done(&mut self, result: CommandResult, effects: &mut Vec<Effect>) {
        let Some(link) = self.running.remove(&result.id) else { return };
        let message = AgentMessage::CommandResult(result);
        if link == self.link && self.is_open() {
            effects.push(Effect::Send(message));
        } else if self.moving.second.as_ref().is_some_and(|second| second.link == link) {
            effects.push(Effect::Second(SecondEffect::Send(message)));
        }
    }
}
