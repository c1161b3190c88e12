//! Kubernetes' side of the hub, on one real API server that all of these tests share; the story of access has its own.
//!
//! Owns what only an API server can tell: whether it takes the definitions, what it refuses, what kubectl shows. Needs no
//! managed cluster and no Flux. Tests keep apart by namespaces and names.

mod access;
mod bed;
mod definitions;
mod refusals;
mod source;
mod statuses;
