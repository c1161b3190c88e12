//! Which trace a position belongs to.
//!
//! A plan is a latest value: it may carry several positions' changes at once, and then belongs to the newest of them whose
//! trace is known. Bounded; a context is an opaque text here.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use starling_model::Position;

/// Positions that are remembered at most.
const KEPT: usize = 256;

/// The contexts of the newest positions; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Traces(Arc<Mutex<VecDeque<Noted>>>);

/// A position and its context.
type Noted = (Position, Arc<str>);

impl Traces {
    /// Remembers the context under which a position is written; an empty one is no context.
    pub fn note(&self, position: Position, traceparent: &str) {
        if traceparent.is_empty() {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((position, traceparent.into()));
    }

    /// Returns the newest context of the positions behind `after`, up to `until`.
    #[must_use]
    pub fn newest(&self, after: Position, until: Position) -> Option<Arc<str>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().rev().find(|(position, _)| after < *position && *position <= until)?;
        Some(Arc::clone(&found.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_context_of_a_stretch_is_found_and_few_are_kept() {
        let traces = Traces::default();
        traces.note(Position(3), "three");
        traces.note(Position(4), "");
        traces.note(Position(5), "five");
        assert_eq!(traces.newest(Position(2), Position(4)).as_deref(), Some("three"));
        assert_eq!(traces.newest(Position(2), Position(9)).as_deref(), Some("five"));
        assert_eq!(traces.newest(Position(3), Position(4)), None);
        for position in 10..1000 {
            traces.note(Position(position), "later");
        }
        assert_eq!(traces.newest(Position(0), Position(5)), None);
        assert_eq!(traces.0.lock().unwrap().len(), KEPT);
    }
}
