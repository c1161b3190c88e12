//! Real sockets and certificates on loopback: a hub as a process, its command line, agents over clusters in memory, and
//! clients that no agent would be.
//!
//! Owns bad input of every kind: a clear error, nothing lost, the rest served. Owns the rules of enrolment and of the budget
//! as their users see them.

mod bed;
mod changes;
mod client;
mod deletion;
mod documents;
mod enrolment;
mod files;
mod identities;
mod input;
mod middlebox;
mod networks;
mod port;
mod process;
mod recovery;
mod removal;
mod sessions;
mod shards;
mod tokens;
mod watching;
