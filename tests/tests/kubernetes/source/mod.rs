//! The objects as the hub's source, and deletions as evidence: a hub as a process, agents over clusters in memory, and an API
//! server of its own for each test, with the controller that finishes namespaces off.

mod away;
mod bed;
mod deletion;
mod inputs;
mod keys;
mod killed;
mod registering;
