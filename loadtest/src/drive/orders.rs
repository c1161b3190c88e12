//! What the coordinator and its drivers say to one another: a line of JSON each, on standard input and output.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::Doors;
use crate::alternative::AlternativeOrder;
use crate::floor::FloorOrder;
use crate::latency::Latency;
use crate::scenario::{FleetSpec, HostileCrew, Range, Share};

/// A message with the number that an answer repeats.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Numbered<T> {
    pub(crate) number: u64,
    pub(crate) message: T,
}

/// What a driver is told to do.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub(crate) enum Order {
    /// Adopts clusters and starts their agents, beside those that there are.
    Start(Box<StartOrder>),
    /// Lets clusters go: their agents stop, and what they hold is no longer told.
    LetGo { clusters: Vec<u32> },
    /// Lets no status change by itself any more.
    Calm,
    /// Breaks the connections of some clusters again and again.
    Flap { share: Share, millis: u64, every_ms: Range },
    /// Besets the hub with peers that no agent would be.
    Beset { config: PathBuf, workspace: String, crew: HostileCrew, millis: u64 },
    /// Tells what the wire carried so far.
    Wire,
    /// Remembers what each cluster has stored.
    Baseline,
    /// Waits until clusters have stored one more render than remembered: the first one alone, or all.
    Received { since: Moment, first_alone: bool, patience_ms: u64 },
    /// Changes statuses at a pace, whether or not they get anywhere.
    Storm { per_second: u64, millis: u64, seed: u64 },
    /// Changes the status of one object.
    Touch { cluster: u32, object: u32 },
    /// Stops all agents.
    StopAgents,
    /// Starts them again.
    StartAgents,
    /// Tells what the clusters hold.
    Truth,
    /// Works with a floor instead of a hub.
    Floor(FloorOrder),
    /// Works with the alternative instead of a hub.
    Alternative(AlternativeOrder),
}

/// Which clusters a driver runs.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct StartOrder {
    pub(crate) config: PathBuf,
    /// What agents dial in place of what the hub advertises.
    pub(crate) doors: Option<Doors>,
    pub(crate) first: u32,
    pub(crate) clusters: u32,
    pub(crate) shape: FleetSpec,
    pub(crate) seed: u64,
    pub(crate) workspaces: Vec<String>,
}

/// What a driver answers.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", tag = "did")]
pub(crate) enum Answer {
    /// It is done.
    Done,
    /// The agents have stopped; some had ended before although nobody told them to, for these reasons.
    Stopped { ended: Vec<String> },
    /// It cannot be done.
    Failed { why: String },
    /// What clusters stored, since the moment; and how many did not.
    Received { latency: Latency, missing: u64 },
    /// How many statuses were changed, and by how much the driver itself was late at most.
    Stormed { changed: u64, late: Latency },
    /// One status was changed.
    Touched { cluster: String, key: TouchedKey, revision: String, at: Moment },
    /// How many connections were broken, of how many clusters.
    Flapped { cuts: u64, clusters: u64 },
    /// What became of hostile peers, and the processor time that they took.
    Beset { counts: BTreeMap<String, u64>, cpu_seconds: f64 },
    /// Bytes that clusters sent and received.
    Wire { sent: u64, received: u64 },
    /// What the clusters hold, by their order.
    Truth { clusters: Vec<Held>, removals_of_gone: u64 },
}

/// The object whose status was changed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct TouchedKey {
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// What one cluster holds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Held {
    pub(crate) name: String,
    /// Its objects, and what they are together; see [`super::digest`].
    pub(crate) objects: u64,
    pub(crate) digest: u64,
    /// Removals that its agent ever asked for.
    pub(crate) removals: u64,
}

/// A moment by the machine's monotonic clock, which all its processes share; nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) fn now() -> Self {
        let time = clock_gettime(ClockId::Monotonic);
        let nanos =
            Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0)).as_nanos();
        Self(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Returns the moment of an instant of this process.
    pub(crate) fn of(instant: Instant) -> Self {
        let (now, here) = (Self::now(), Instant::now());
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(now.0.saturating_sub(nanos(here.saturating_duration_since(instant))))
    }

    /// Returns how long after an earlier moment it is; zero if it is not.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_one_line() {
        let order =
            Numbered { number: 3, message: Order::Received { since: Moment(5), first_alone: true, patience_ms: 9 } };
        let text = serde_json::to_string(&order).expect("it is written");
        assert!(!text.contains('\n'));
        let read: Numbered<Order> = serde_json::from_str(&text).expect("it is read");
        assert!(matches!(read.message, Order::Received { since: Moment(5), first_alone: true, patience_ms: 9 }));
    }

    #[test]
    fn an_instant_is_a_moment() {
        let before = Moment::now();
        let moment = Moment::of(Instant::now());
        assert!(moment >= before || before.since(moment) < Duration::from_millis(1));
        assert!(Moment::now() >= moment);
    }
}
