//! Limits per cluster and per message, as numbers in one place; the hub announces them in `Welcome`.
//!
//! Beyond a limit things are truncated, counted and shown; nothing grows without bound.

use std::time::Duration;

/// The limits of one session and one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Flux objects that are tracked per cluster.
    pub objects: u32,
    /// Bytes of one status batch or one fragment of a larger message. Both ends keep room for the largest that a session had, twice
    /// over, as long as it lives: small ones are what lets a hub hold ten thousand sessions.
    pub batch_bytes: u32,
    /// Bytes of one whole message after its fragments are put together.
    pub message_bytes: u32,
    /// Bytes of Flux's message that are kept per object.
    pub text_bytes: u32,
    /// Messages a second that the hub reads from one session, on average over ten seconds.
    pub messages_per_second: u32,
    /// Bytes a second that the hub reads from one session, on average over ten seconds.
    pub bytes_per_second: u32,
    /// Labels of a cluster.
    pub labels: u32,
}

/// How often an agent sends a heartbeat.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

/// How long a command lease lasts at most, counted by the agent from when it sent the heartbeat.
pub const COMMAND_LEASE: Duration = Duration::from_secs(15);

/// After how long without any message a session counts as dead.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(35);

/// The window over which agents spread their attempts to reconnect.
pub const RECONNECT_WINDOW: Duration = Duration::from_secs(5);

/// The longest wait between two attempts to reconnect.
pub const RECONNECT_MAXIMUM: Duration = Duration::from_secs(120);

/// How long a connection may take to complete its TLS handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a new stream may wait before its `Hello`.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Handshakes that run at the same time on one hub process.
pub const HANDSHAKES_AT_ONCE: usize = 256;

/// Bytes of the largest batch or fragment that is read, whatever was announced: the other side may not have heard of a limit yet, or
/// have an older one.
pub const LARGEST_BATCH_BYTES: u32 = 64 * 1024;

/// The oldest and the newest session protocol that this build speaks.
pub const PROTOCOL_VERSIONS: (u32, u32) = (1, 1);

impl Limits {
    /// The limits that a hub announces unless it was told otherwise.
    pub const DEFAULT: Self = Self {
        objects: 20_000,
        batch_bytes: 4 * 1024,
        message_bytes: 4 * 1024 * 1024,
        text_bytes: 1024,
        messages_per_second: 400,
        bytes_per_second: 4 * 1024 * 1024,
        labels: 64,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Cuts a text to at most `limit` bytes at a character boundary, with an ellipsis where something was cut.
#[must_use]
pub fn truncate_text(text: &str, limit: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut end = limit.saturating_sub(ELLIPSIS.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ELLIPSIS}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_characters() {
        assert_eq!(truncate_text("short", 5), "short");
        assert_eq!(truncate_text("äääääääää", 10), "äää…");
        assert!(truncate_text(&"x".repeat(5000), 1024).len() <= 1024);
    }
}
