//! What the tests share: the parts that all use, a bed for one test, what clusters and command line say.

mod bed;
mod documents;
mod live;
mod parts;
mod source;

pub(crate) use bed::{Bed, WORKSPACE, on_a_cluster, on_a_cluster_with};
pub(crate) use documents::{Addon, assignment, catalogue, tombstone};
pub(crate) use parts::{Permit, parts};
pub(crate) use source::{Documents, Source, cluster_file};
