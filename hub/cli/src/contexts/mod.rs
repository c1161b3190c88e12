//! Contexts: which hub to ask, whom to trust, and with which token.

pub(crate) mod file;
pub(crate) mod target;
