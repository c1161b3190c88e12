//! Conversion of the session's messages. `Fragment` and `Secrets` have no counterpart in the model: the first is put
//! together before conversion, the second is reserved.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use starling_model::plan::{Detach, Render, Tombstone};
use starling_model::session::{
    AgentMessage, BatchKind, Command, CommandResult, CommandVerb, Desired, DesiredAction, DesiredEntry, Heartbeat,
    Held, Hello, HubMessage, KindDigest, Lease, Receipt, StatusBatch, Welcome,
};
use starling_model::{Limits, Object, Position, Value};

use super::{ConvertError, all, digest, every, millis, required, text, uid};
use crate::v1::{self, connect_request, connect_response};

impl From<AgentMessage> for v1::ConnectRequest {
    fn from(message: AgentMessage) -> Self {
        use connect_request::Message;
        let message = match message {
            AgentMessage::Hello(hello) => Message::Hello((*hello).into()),
            AgentMessage::Status(batch) => Message::Status(batch.into()),
            AgentMessage::Receipt(receipt) => Message::Receipt(v1::Receipt {
                fence: Some(receipt.fence.into()),
                plan_digest: receipt.plan_digest.0.to_vec(),
                refused: receipt.refused.unwrap_or_default(),
            }),
            AgentMessage::Heartbeat(beat) => {
                Message::Heartbeat(v1::Heartbeat { sequence: beat.sequence, dropped: beat.dropped })
            }
            AgentMessage::CommandResult(result) => Message::CommandResult(v1::CommandResult {
                id: result.id.0.to_vec(),
                outcomes: result
                    .outcomes
                    .into_iter()
                    .map(|(object, error)| v1::CommandOutcome {
                        object: Some(object.into()),
                        error: error.unwrap_or_default(),
                    })
                    .collect(),
            }),
            AgentMessage::Detached(fence) => Message::Detached(v1::Detached { fence: Some(fence.into()) }),
        };
        Self { message: Some(message), traceparent: String::new() }
    }
}

impl TryFrom<v1::ConnectRequest> for AgentMessage {
    type Error = ConvertError;

    fn try_from(wire: v1::ConnectRequest) -> Result<Self, ConvertError> {
        use connect_request::Message;
        Ok(match required(wire.message, "message")? {
            Message::Hello(hello) => Self::Hello(Box::new(hello.try_into()?)),
            Message::Status(batch) => Self::Status(batch.try_into()?),
            Message::Receipt(receipt) => Self::Receipt(Receipt {
                fence: required(receipt.fence, "receipt.fence")?.try_into()?,
                plan_digest: digest(&receipt.plan_digest, "receipt.plan_digest")?,
                refused: text(receipt.refused),
            }),
            Message::Heartbeat(beat) => Self::Heartbeat(Heartbeat { sequence: beat.sequence, dropped: beat.dropped }),
            Message::CommandResult(result) => Self::CommandResult(CommandResult {
                id: uid(&result.id, "command_result.id")?,
                outcomes: result
                    .outcomes
                    .into_iter()
                    .map(|outcome| Ok((required(outcome.object, "outcome.object")?.try_into()?, text(outcome.error))))
                    .collect::<Result<_, ConvertError>>()?,
            }),
            Message::Detached(detached) => Self::Detached(required(detached.fence, "detached.fence")?.try_into()?),
            Message::Fragment(_) => return Err(ConvertError::Invalid("fragment")),
        })
    }
}

impl From<HubMessage> for v1::ConnectResponse {
    fn from(message: HubMessage) -> Self {
        use connect_response::Message;
        let message = match message {
            HubMessage::Welcome(welcome) => Message::Welcome(welcome.into()),
            HubMessage::Desired(desired) => Message::Desired((*desired).into()),
            HubMessage::Lease(lease) => Message::Lease(v1::Lease {
                heartbeat_sequence: lease.heartbeat,
                lease_millis: millis(lease.lease),
                hold_reason: lease.hold_reason.unwrap_or_default(),
            }),
            HubMessage::Resync(reason) => Message::Resync(v1::Resync { reason }),
            HubMessage::Command(command) => Message::Command(v1::Command {
                id: command.id.0.to_vec(),
                verb: match command.verb {
                    CommandVerb::Reconcile => v1::CommandVerb::Reconcile,
                    CommandVerb::Suspend => v1::CommandVerb::Suspend,
                    CommandVerb::Resume => v1::CommandVerb::Resume,
                }
                .into(),
                objects: every(command.objects),
                token: command.token,
            }),
            HubMessage::Redirect { address, epoch } => Message::Redirect(v1::Redirect { address, epoch }),
            HubMessage::TrustBundle(certificates_pem) => Message::TrustBundle(v1::TrustBundle { certificates_pem }),
            HubMessage::Drain { window } => Message::Drain(v1::Drain { window_millis: millis(window) }),
        };
        Self { message: Some(message), traceparent: String::new() }
    }
}

impl TryFrom<v1::ConnectResponse> for HubMessage {
    type Error = ConvertError;

    fn try_from(wire: v1::ConnectResponse) -> Result<Self, ConvertError> {
        use connect_response::Message;
        Ok(match required(wire.message, "message")? {
            Message::Welcome(welcome) => Self::Welcome(welcome.try_into()?),
            Message::Desired(desired) => Self::Desired(Box::new(desired.try_into()?)),
            Message::Lease(lease) => Self::Lease(Lease {
                heartbeat: lease.heartbeat_sequence,
                lease: Duration::from_millis(lease.lease_millis),
                hold_reason: text(lease.hold_reason),
            }),
            Message::Resync(resync) => Self::Resync(resync.reason),
            Message::Command(command) => {
                let verb = match command.verb() {
                    v1::CommandVerb::Unspecified => return Err(ConvertError::Invalid("command.verb")),
                    v1::CommandVerb::Reconcile => CommandVerb::Reconcile,
                    v1::CommandVerb::Suspend => CommandVerb::Suspend,
                    v1::CommandVerb::Resume => CommandVerb::Resume,
                };
                Self::Command(Command {
                    id: uid(&command.id, "command.id")?,
                    verb,
                    objects: all(command.objects)?,
                    token: command.token,
                })
            }
            Message::Redirect(redirect) => Self::Redirect { address: redirect.address, epoch: redirect.epoch },
            Message::TrustBundle(bundle) => Self::TrustBundle(bundle.certificates_pem),
            Message::Drain(drain) => Self::Drain { window: Duration::from_millis(drain.window_millis) },
            Message::Fragment(_) => return Err(ConvertError::Invalid("fragment")),
            Message::Secrets(_) => return Err(ConvertError::Invalid("secrets")),
        })
    }
}

impl From<Hello> for v1::Hello {
    fn from(hello: Hello) -> Self {
        Self {
            protocol_min: hello.protocols.0,
            protocol_max: hello.protocols.1,
            fingerprint: hello.fingerprint,
            instance: hello.instance.0.to_vec(),
            agent_version: hello.agent_version,
            facts: Some(hello.facts.into()),
            plan_digest: hello.plan_digest.map_or_else(Vec::new, |digest| digest.0.to_vec()),
            held: hello
                .held
                .into_iter()
                .map(|held| v1::Held {
                    install: Some(held.install.into()),
                    assignment: held.assignment.0.to_vec(),
                    render: held.render.0.to_vec(),
                })
                .collect(),
            kinds: hello
                .kinds
                .into_iter()
                .map(|kind| v1::KindDigest { group: kind.group, kind: kind.kind, digest: kind.digest.0.to_vec() })
                .collect(),
            installs_digest: hello.installs_digest.0.to_vec(),
            newest_fence: hello.newest_fence.map(Into::into),
            newest_epoch: hello.newest_epoch,
            forward: hello.forward,
        }
    }
}

impl TryFrom<v1::Hello> for Hello {
    type Error = ConvertError;

    fn try_from(wire: v1::Hello) -> Result<Self, ConvertError> {
        let held = |held: v1::Held| {
            Ok(Held {
                install: required(held.install, "held.install")?.try_into()?,
                assignment: uid(&held.assignment, "held.assignment")?,
                render: digest(&held.render, "held.render")?,
            })
        };
        let kind = |kind: v1::KindDigest| {
            Ok(KindDigest { group: kind.group, kind: kind.kind, digest: digest(&kind.digest, "kind.digest")? })
        };
        Ok(Self {
            protocols: (wire.protocol_min, wire.protocol_max),
            fingerprint: wire.fingerprint,
            instance: uid(&wire.instance, "hello.instance")?,
            agent_version: wire.agent_version,
            facts: required(wire.facts, "hello.facts")?.into(),
            plan_digest: if wire.plan_digest.is_empty() {
                None
            } else {
                Some(digest(&wire.plan_digest, "hello.plan_digest")?)
            },
            held: wire.held.into_iter().map(held).collect::<Result<_, ConvertError>>()?,
            kinds: wire.kinds.into_iter().map(kind).collect::<Result<_, ConvertError>>()?,
            installs_digest: digest(&wire.installs_digest, "hello.installs_digest")?,
            newest_fence: wire.newest_fence.map(TryInto::try_into).transpose()?,
            newest_epoch: wire.newest_epoch,
            forward: wire.forward,
        })
    }
}

impl From<Welcome> for v1::Welcome {
    fn from(welcome: Welcome) -> Self {
        let limits = welcome.limits;
        Self {
            protocol: welcome.protocol,
            hub: welcome.hub,
            lease_millis: millis(welcome.lease),
            heartbeat_millis: millis(welcome.heartbeat),
            reconnect_window_millis: millis(welcome.reconnect_window),
            limits: Some(v1::Limits {
                objects: limits.objects,
                batch_bytes: limits.batch_bytes,
                message_bytes: limits.message_bytes,
                text_bytes: limits.text_bytes,
                messages_per_second: limits.messages_per_second,
                bytes_per_second: limits.bytes_per_second,
                labels: limits.labels,
            }),
            status_known: welcome.status_known,
            epoch: welcome.epoch,
            hold_reason: welcome.hold_reason.unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::Welcome> for Welcome {
    type Error = ConvertError;

    fn try_from(wire: v1::Welcome) -> Result<Self, ConvertError> {
        let limits = required(wire.limits, "welcome.limits")?;
        if wire.heartbeat_millis == 0 {
            return Err(ConvertError::Invalid("welcome.heartbeat_millis"));
        }
        if limits.batch_bytes == 0 || limits.message_bytes == 0 {
            return Err(ConvertError::Invalid("welcome.limits"));
        }
        Ok(Self {
            protocol: wire.protocol,
            hub: wire.hub,
            lease: Duration::from_millis(wire.lease_millis),
            heartbeat: Duration::from_millis(wire.heartbeat_millis),
            reconnect_window: Duration::from_millis(wire.reconnect_window_millis),
            limits: Limits {
                objects: limits.objects,
                batch_bytes: limits.batch_bytes,
                message_bytes: limits.message_bytes,
                text_bytes: limits.text_bytes,
                messages_per_second: limits.messages_per_second,
                bytes_per_second: limits.bytes_per_second,
                labels: limits.labels,
            },
            status_known: wire.status_known,
            epoch: wire.epoch,
            hold_reason: text(wire.hold_reason),
        })
    }
}

impl From<StatusBatch> for v1::StatusBatch {
    fn from(batch: StatusBatch) -> Self {
        Self {
            sequence: batch.sequence,
            kind: match batch.kind {
                BatchKind::Delta => v1::BatchKind::Delta,
                BatchKind::SnapshotStart => v1::BatchKind::SnapshotStart,
                BatchKind::SnapshotPart => v1::BatchKind::SnapshotPart,
                BatchKind::SnapshotEnd => v1::BatchKind::SnapshotEnd,
                BatchKind::SnapshotWhole => v1::BatchKind::SnapshotWhole,
            }
            .into(),
            objects: every(batch.objects),
            removed: every(batch.removed),
            installs: every(batch.installs),
            removed_installs: every(batch.removed_installs),
            untracked: batch.untracked,
            facts: batch.facts.map(Into::into),
        }
    }
}

impl TryFrom<v1::StatusBatch> for StatusBatch {
    type Error = ConvertError;

    fn try_from(wire: v1::StatusBatch) -> Result<Self, ConvertError> {
        let kind = match wire.kind() {
            v1::BatchKind::Unspecified => return Err(ConvertError::Invalid("status.kind")),
            v1::BatchKind::Delta => BatchKind::Delta,
            v1::BatchKind::SnapshotStart => BatchKind::SnapshotStart,
            v1::BatchKind::SnapshotPart => BatchKind::SnapshotPart,
            v1::BatchKind::SnapshotEnd => BatchKind::SnapshotEnd,
            v1::BatchKind::SnapshotWhole => BatchKind::SnapshotWhole,
        };
        Ok(Self {
            sequence: wire.sequence,
            kind,
            objects: all(wire.objects)?,
            removed: all(wire.removed)?,
            installs: all(wire.installs)?,
            removed_installs: all(wire.removed_installs)?,
            untracked: wire.untracked,
            facts: wire.facts.map(Into::into),
        })
    }
}

impl From<Desired> for v1::Desired {
    fn from(desired: Desired) -> Self {
        Self {
            fence: Some(desired.fence.into()),
            plan_digest: desired.plan_digest.0.to_vec(),
            facts_digest: desired.facts.0.to_vec(),
            unchanged: desired.unchanged,
            entries: every(desired.entries),
            tombstones: every(desired.tombstones),
            detach: match desired.detach {
                None => v1::DetachMode::Unspecified,
                Some(Detach::Orphan) => v1::DetachMode::Orphan,
            }
            .into(),
        }
    }
}

impl TryFrom<v1::Desired> for Desired {
    type Error = ConvertError;

    fn try_from(wire: v1::Desired) -> Result<Self, ConvertError> {
        let detach = v1::DetachMode::try_from(wire.detach).map_err(|_| ConvertError::Invalid("desired.detach"))?;
        Ok(Self {
            fence: required(wire.fence, "desired.fence")?.try_into()?,
            plan_digest: digest(&wire.plan_digest, "desired.plan_digest")?,
            facts: digest(&wire.facts_digest, "desired.facts_digest")?,
            unchanged: wire.unchanged,
            entries: all(wire.entries)?,
            tombstones: all(wire.tombstones)?,
            detach: match detach {
                v1::DetachMode::Unspecified => None,
                v1::DetachMode::Orphan => Some(Detach::Orphan),
            },
        })
    }
}

impl From<DesiredEntry> for v1::Entry {
    fn from(entry: DesiredEntry) -> Self {
        use v1::entry::Action;
        Self {
            install: Some(entry.install.into()),
            assignment: entry.assignment.0.to_vec(),
            assignment_name: entry.assignment_name,
            revision: entry.revision.0.to_vec(),
            action: Some(match entry.action {
                DesiredAction::HeldRender(digest) => Action::HeldRender(digest.0.to_vec()),
                DesiredAction::Render(render) => Action::Render(v1::Render::from(render.as_ref())),
                DesiredAction::Keep(reason) => Action::Keep(reason),
                DesiredAction::Blocked(reason) => Action::Blocked(reason),
            }),
        }
    }
}

impl TryFrom<v1::Entry> for DesiredEntry {
    type Error = ConvertError;

    fn try_from(wire: v1::Entry) -> Result<Self, ConvertError> {
        use v1::entry::Action;
        Ok(Self {
            install: required(wire.install, "entry.install")?.try_into()?,
            assignment: uid(&wire.assignment, "entry.assignment")?,
            assignment_name: wire.assignment_name,
            revision: digest(&wire.revision, "entry.revision")?,
            action: match required(wire.action, "entry.action")? {
                Action::HeldRender(bytes) => DesiredAction::HeldRender(digest(&bytes, "entry.held_render")?),
                Action::Render(render) => DesiredAction::Render(Arc::new(render.try_into()?)),
                Action::Keep(reason) => DesiredAction::Keep(reason),
                Action::Blocked(reason) => DesiredAction::Blocked(reason),
            },
        })
    }
}

impl From<&Render> for v1::Render {
    fn from(render: &Render) -> Self {
        Self {
            digest: render.digest.0.to_vec(),
            objects: render.objects.iter().map(|object| Bytes::from(object.document().to_json())).collect(),
            retires: every(render.retires.clone()),
        }
    }
}

impl TryFrom<v1::Render> for Render {
    type Error = ConvertError;

    fn try_from(wire: v1::Render) -> Result<Self, ConvertError> {
        let object = |json: &Bytes| {
            let document = Value::from_json(json).map_err(|_| ConvertError::Invalid("render.objects"))?;
            Object::new(document).map_err(|_| ConvertError::Invalid("render.objects"))
        };
        let objects = wire.objects.iter().map(object).collect::<Result<_, ConvertError>>()?;
        let render = Self::new(objects, all(wire.retires)?);
        // The digest is what inventories are compared by, so a render that does not have its own is damaged.
        if render.digest != digest(&wire.digest, "render.digest")? {
            return Err(ConvertError::Invalid("render.digest"));
        }
        Ok(render)
    }
}

impl From<Tombstone> for v1::Tombstone {
    fn from(tombstone: Tombstone) -> Self {
        Self {
            id: tombstone.id.0.to_vec(),
            assignment: tombstone.assignment.0.to_vec(),
            install: Some(tombstone.install.into()),
            minted_era: tombstone.minted.0,
            minted_position: tombstone.minted.1.0,
        }
    }
}

impl TryFrom<v1::Tombstone> for Tombstone {
    type Error = ConvertError;

    fn try_from(wire: v1::Tombstone) -> Result<Self, ConvertError> {
        Ok(Self {
            id: uid(&wire.id, "tombstone.id")?,
            assignment: uid(&wire.assignment, "tombstone.assignment")?,
            install: required(wire.install, "tombstone.install")?.try_into()?,
            minted: (wire.minted_era, Position(wire.minted_position)),
        })
    }
}
