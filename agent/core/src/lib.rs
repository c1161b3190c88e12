//! The agent's decisions, pure: how a Flux object is judged, what is reported, how a session goes, what the
//! cluster holds, what to do with one object, and who of several agents is active.
//!
//! Owns every decision that an agent makes. Does not own any IO: watches, API calls, the stream and the clock are
//! the shell's (`starling-agent`), which feeds inputs in and performs what comes out. Time is an argument in
//! unsigned milliseconds (`uptime` counts from boot and goes on while the machine sleeps), entropy is an argument too.

mod dirty;
pub mod hello;
pub mod intent;
pub mod invariants;
pub mod inventory;
pub mod judge;
pub mod order;
pub mod pace;
pub mod parked;
pub mod reconcile;
pub mod records;
pub mod session;
pub mod standby;
pub mod status_book;
mod status_size;

#[cfg(test)]
mod testing;
