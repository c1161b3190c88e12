//! The charts, with the real Helm: linted, rendered, and installed into a real API server.
//!
//! Owns what an installation promises: restricted Pods, immutable images, least privilege, definitions that outlive the chart,
//! wrong values refused, many hubs over an etcd. Nothing runs in these clusters; what the installed programs do is the matter of `tests/e2e`.

mod bed;
mod documented;
mod installed;
mod manifest;
mod permissions;
mod refused;
mod rendered;
mod restricted;
mod shards;
mod support;
