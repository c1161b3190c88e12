//! Conditions: drafts of them, and what becomes of those that are there.

use starling_model::Millis;

use super::time::rfc3339;
use crate::resources::status::{Condition, ConditionStatus};

/// A condition as it is found now.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    kind: &'static str,
    status: ConditionStatus,
    reason: String,
    message: String,
}

impl Draft {
    pub(super) fn new(
        kind: &'static str,
        status: ConditionStatus,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { kind, status, reason: reason.into(), message: message.into() }
    }

    pub(super) fn is(kind: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self::new(kind, ConditionStatus::True, reason, message)
    }

    pub(super) fn is_not(kind: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self::new(kind, ConditionStatus::False, reason, message)
    }

    pub(super) fn unknown(kind: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self::new(kind, ConditionStatus::Unknown, reason, message)
    }

    /// Makes the condition; its time is that of the one which is there, as long as the status is the same.
    pub(super) fn settle(self, present: &[Condition], generation: Option<i64>, now: Millis) -> Condition {
        let same = present.iter().find(|condition| condition.kind == self.kind && condition.status == self.status);
        Condition {
            kind: self.kind.to_owned(),
            status: self.status,
            observed_generation: generation,
            last_transition_time: same.map_or_else(|| rfc3339(now), |same| same.last_transition_time.clone()),
            reason: self.reason,
            message: self.message,
        }
    }
}

/// Returns the conditions of these types that are there.
pub(super) fn kept<'a>(present: &'a [Condition], kinds: &'a [&str]) -> impl Iterator<Item = Condition> + 'a {
    present.iter().filter(|condition| kinds.contains(&condition.kind.as_str())).cloned()
}
