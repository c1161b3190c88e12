//! The hub: store, steward, sessions, directory source, admin API.

pub mod keyring;
pub mod ports;
pub mod store;
