//! What happened, in order and with simulated time: compared between two runs of a seed, printed when one fails.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Simulated time.
    pub(crate) at: Duration,
    /// The host, or `driver`.
    pub(crate) host: String,
    /// What.
    pub(crate) what: String,
}

/// The events of one simulation; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace(Arc<Mutex<Events>>);

#[derive(Debug, Default)]
struct Events {
    events: Vec<Event>,
    muted: bool,
}

impl Trace {
    /// Notes what happens on a host, now. Nothing is noted outside of a simulated host.
    pub(crate) fn note(&self, host: &str, what: impl Into<String>) {
        if let Some(at) = turmoil::sim_elapsed() {
            self.push(at, host, what.into());
        }
    }

    /// Notes what the driver does.
    pub(crate) fn drive(&self, at: Duration, what: impl Into<String>) {
        self.push(at, "driver", what.into());
    }

    /// Runs something whose order is not fixed: a crashing host drops its tasks in the order of their ids, which count on
    /// through the whole process.
    pub(crate) fn muted<T>(&self, work: impl FnOnce() -> T) -> T {
        self.events().muted = true;
        let result = work();
        self.events().muted = false;
        result
    }

    /// Takes all events out.
    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.events().events)
    }

    fn push(&self, at: Duration, host: &str, what: String) {
        let mut events = self.events();
        if !events.muted {
            events.events.push(Event { at, host: host.to_owned(), what });
        }
    }

    fn events(&self) -> MutexGuard<'_, Events> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3} s  {:<7} {}", self.at.as_secs_f64(), self.host, self.what)
    }
}
