//! The hub: store, steward, sessions, directory source, admin API.

pub mod ports;
pub mod store;
