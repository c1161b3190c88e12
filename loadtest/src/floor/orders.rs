//! What a driver is told to do with a floor, and what the floor's server is told.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::drive::Moment;
use crate::latency::Latency;
use crate::scenario::FleetSpec;

/// What a driver is told.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", tag = "floor")]
pub(crate) enum FloorOrder {
    /// Connects, and sends the snapshot of each cluster.
    Connect(Box<ConnectOrder>),
    /// Sends one message and waits for its answer, so often, on the first connection.
    Echo { times: u32 },
    /// Waits until connections have heard of a change: the first one alone, or all.
    Received { change: u64, since: Moment, first_alone: bool, patience_ms: u64 },
    /// Each connection sends so many small deltas, and waits until they are read.
    Deltas { each: u32 },
    /// Nothing but heartbeats.
    Idle { millis: u64 },
}

/// Which clusters connect where.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ConnectOrder {
    pub(crate) address: String,
    pub(crate) certificates: PathBuf,
    pub(crate) first: u32,
    pub(crate) clusters: u32,
    pub(crate) shape: FleetSpec,
    pub(crate) seed: u64,
}

/// What the server is told, a line of JSON each: to send a change.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Push {
    /// Which change; they count from 1.
    pub(crate) change: u64,
    /// To the first cluster, or to all of its connections.
    pub(crate) first_alone: bool,
}

/// What the server answers, a line of JSON each.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Pushed {
    /// When it began.
    pub(crate) since: Moment,
    /// When each receipt was there.
    pub(crate) acknowledged: Latency,
}
