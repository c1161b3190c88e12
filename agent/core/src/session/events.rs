//! What a session hears and what it wants done.

use std::sync::Arc;
use std::time::Duration;

use starling_model::session::{AgentMessage, Command, CommandResult, HubMessage, Welcome};
use starling_model::{ErrorCode, Fence, Millis};

use crate::parked::Parked;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The process is ready to dial.
    Start,
    /// The dialled stream is up.
    Connected,
    /// The dialled stream did not come up.
    DialFailed(End),
    /// The hub said something.
    Received(HubMessage),
    /// The stream ended.
    Closed(End),
    /// The deadline passed.
    Tick,
    /// A command ran.
    CommandDone(CommandResult),
    /// [`Session::observe_inventory`] was called after a commit.
    InventoryChanged,
    /// There is another certificate to dial with.
    IdentityChanged,
    /// Something happened on the second link.
    Second(SecondInput),
    /// The process stops.
    Stop,
}

/// Something that happened on the second link.
#[derive(Clone, Debug)]
pub enum SecondInput {
    /// The dialled stream is up.
    Connected,
    /// The dialled stream did not come up.
    DialFailed(End),
    /// The hub said something.
    Received(HubMessage),
    /// The stream ended.
    Closed(End),
    /// The statuses that the new owner lacked have left on the first link, so that the second is of no more use.
    HandedOver,
}

/// How a stream ended, or why it did not come up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The hub's error code, where it gave one.
    pub code: Option<ErrorCode>,
    /// The message, for people.
    pub message: String,
    /// After how long the hub wants to be tried again, where it says so.
    pub retry_after: Option<Duration>,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Open the first link's stream to this address, `host:port`.
    Dial {
        /// Where.
        address: String,
    },
    /// Compose Hello ([`crate::hello::compose_hello`]) and send it at once.
    SendHello {
        /// Whether to ask that the stream is forwarded to the owner.
        forward: bool,
    },
    /// Send a message.
    Send(AgentMessage),
    /// The hub welcomed the agent: give the book its limits and tell it whether the status is known.
    Opened(Welcome),
    /// Call [`crate::status_book::StatusBook::begin_snapshot`], for this reason.
    BeginSnapshot(String),
    /// The newest plan; it replaces one that was parked before and is acted on under a live lease.
    Park(Arc<Parked>),
    /// The plan at hand was confirmed under a newer fence.
    Advance(Fence),
    /// The lease now ends then (boot time); `None` is no lease.
    LeaseChanged(Option<Millis>),
    /// Run a command, and answer with [`Input::CommandDone`].
    RunCommand(Command),
    /// Trust these authorities (PEM) from now on.
    Trust(Vec<u8>),
    /// Close the stream or give up dialling, for this reason.
    Close(String),
    /// Something to do with the second link.
    Second(SecondEffect),
    /// The second link becomes the first, and the first stays as the second; [`Effect::Opened`] follows.
    Switch,
    /// The first link is gone, and the second takes its place as it is.
    Promote,
}

/// Something to do with the second link.
#[derive(Clone, Debug, PartialEq)]
pub enum SecondEffect {
    /// Open a stream to this address, `host:port`.
    Dial {
        /// Where.
        address: String,
    },
    /// Compose Hello beside the session at hand ([`crate::hello::compose_second_hello`]) and send it at once.
    SendHello {
        /// Whether to ask that the stream is forwarded to the owner.
        forward: bool,
    },
    /// Send a message.
    Send(AgentMessage),
    /// Say nothing more, and read on until the hub ends the stream.
    Finish,
    /// Close the stream or give up dialling, for this reason.
    Close(String),
}

/// Where a session stands, for people and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// `idle`, `waiting`, `dialling`, `greeting`, `open` or `stopped`.
    pub phase: &'static str,
    /// The hub process's name while open.
    pub hub: Option<String>,
    /// Why the hub lends no lease.
    pub hold_reason: Option<String>,
    /// Why the last stream ended or did not come up.
    pub last_error: Option<String>,
    /// Failures in a row.
    pub failures: u32,
}

impl End {
    /// Makes an end for which the hub gave no code.
    #[must_use]
    pub fn because(message: impl Into<String>) -> Self {
        Self { code: None, message: message.into(), retry_after: None }
    }
}
