//! End to end on real parts: a hub, its command line, and agents in real clusters, with real Flux controllers that install
//! real charts and a real repository.
//!
//! Owns what can only be trusted when it was seen there. Every wait has a deadline; every test fails on an ERROR of hub or
//! agent that it did not announce.

mod agents;
mod commands;
mod crash;
mod deletion;
mod drift;
mod enrolment;
mod gitops;
mod lifecycle;
mod loss;
mod own;
mod standby;
mod support;
mod surprises;
