//! Colours, which mean health and nothing else.

use starling_model::Health;

/// What a colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    /// Nothing: no colour.
    Plain,
    /// All is well: green.
    Good,
    /// Wait, or have a look some time: yellow.
    Busy,
    /// Somebody should look now: red.
    Bad,
    /// Deliberately quiet: dim.
    Faint,
    /// A heading: bold.
    Strong,
}

impl Paint {
    /// Returns what the colour of a health is.
    pub(crate) fn of_health(health: Health) -> Self {
        match health {
            Health::Stalled | Health::Failing | Health::FailingRetrying => Self::Bad,
            Health::Unknown | Health::Stale | Health::Progressing | Health::Deleting => Self::Busy,
            Health::Suspended | Health::None => Self::Faint,
            Health::Ready => Self::Good,
        }
    }

    /// Returns the colour of a cluster's connection, by its name on the wire.
    pub(crate) fn of_connection(connection: &str) -> Self {
        match connection {
            "live" => Self::Good,
            "pending" | "connecting" | "detaching" => Self::Busy,
            "paused" => Self::Faint,
            _ => Self::Bad,
        }
    }

    /// Returns the colour of a hub process's state, by its name on the wire.
    pub(crate) fn of_shard(state: &str) -> Self {
        match state {
            "serving" => Self::Good,
            "joining" | "draining" => Self::Busy,
            _ => Self::Bad,
        }
    }

    /// Wraps a text into the escape sequences of the colour.
    pub(crate) fn apply(self, text: &str) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            Self::Good => 32,
            Self::Busy => 33,
            Self::Bad => 31,
            Self::Faint => 2,
            Self::Strong => 1,
        };
        if text.is_empty() { String::new() } else { format!("\u{1b}[{code}m{text}\u{1b}[0m") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_red_and_ready_is_green() {
        for health in Health::ALL {
            assert_eq!(Paint::of_health(health) == Paint::Bad, health.is_trouble(), "{health}");
        }
        assert_eq!(Paint::Good.apply("ready"), "\u{1b}[32mready\u{1b}[0m");
        assert_eq!(Paint::Plain.apply("ready"), "ready");
        assert_eq!(Paint::of_connection("disconnected"), Paint::Bad);
    }
}
