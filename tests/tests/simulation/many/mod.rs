//! A hub of several processes over a faked etcd: the real processes, the real gRPC between them, to etcd and to four agents, and
//! everything that can go wrong between them, drawn from a seed.

mod answers;
mod driver;
mod invariants;
mod machines;
mod oracle;
mod processes;
mod script;
mod settled;
mod tests;
mod world;
