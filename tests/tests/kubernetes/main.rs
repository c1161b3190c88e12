//! Kubernetes' side of the hub, on one real API server that all of these tests share.
//!
//! Owns what only an API server can tell: whether it takes the definitions, what it refuses, what kubectl shows. Needs no
//! managed cluster and no Flux. Tests keep apart by namespaces and names.

mod bed;
mod definitions;
mod refusals;
mod statuses;
