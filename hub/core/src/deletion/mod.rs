//! Deletion needs evidence, and has a budget (invariants I1 and I2).
//!
//! Owns counting what a removal would take away, and judging whether it may go at once or waits for approval. Does not
//! own writing tombstones and proposals: the steward does, by what is judged here.

pub mod budget;
mod holding;
mod judge;

pub use holding::{Holding, held_by, holding, proposed};
pub(crate) use holding::{among, reached, siblings};
pub use judge::{Cause, Verdict, installs_of, judge, judge_all};

#[cfg(test)]
mod tests;
