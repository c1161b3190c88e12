//! The hub's decisions, pure: planner, deletion and its budget, sessions, status index, enrolment rules, the ring.

pub mod change;
pub mod deletion;
pub mod enrolment;
pub mod fleet;
pub mod hold;
pub mod index;
pub mod planner;
pub mod records;
pub mod resources;
pub mod ring;
pub mod selector;
pub mod session;
pub mod status;
pub mod steward;

#[cfg(test)]
mod testing;
