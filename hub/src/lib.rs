//! The hub: store, steward, sessions, sources, admin API.
//!
//! Owns the IO around the decisions of `starling-hub-core`. [`hub`] alone knows every component.

pub mod accept;
pub mod access;
pub mod api;
pub mod channel;
pub mod config;
pub mod enrolment;
pub mod gather;
pub mod hub;
pub mod inputs;
pub mod keyring;
pub mod kubernetes;
pub mod load;
pub mod many;
pub mod member;
pub mod metrics;
pub mod moving;
pub mod peers;
pub mod ports;
pub mod serve;
pub mod session;
pub mod settling;
pub mod shard;
pub mod shutdown;
pub mod source;
pub mod steward;
pub mod store;
pub mod sync;
pub mod tasks;
pub mod telemetry;
pub mod tls;
pub mod traced;
pub mod traces;
pub mod view;
pub mod web;
