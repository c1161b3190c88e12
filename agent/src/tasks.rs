//! Every task that an agent runs in the background, and what its end means.

use std::fmt;

/// A background task. Each runs until the agent stops: one that ends before is a defect and ends the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Follows the watch: statuses and hints.
    Observer,
    /// Observes the facts.
    Facts,
    /// Applies, repairs, removes.
    Applier,
    /// Keeps the identity.
    Identity,
    /// Talks to the hub.
    Session,
}

impl Task {
    fn as_str(self) -> &'static str {
        match self {
            Self::Observer => "observer",
            Self::Facts => "facts",
            Self::Applier => "applier",
            Self::Identity => "identity",
            Self::Session => "session",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
