//! What Flux reads from, served on loopback: charts over HTTP, charts in an OCI registry, Git over HTTP.

mod chart;
mod git_server;
mod helm;
mod helm_repository;
mod loopback_server;
mod oci_registry;

pub use chart::ExampleChart;
pub use git_server::GitServer;
pub use helm::Helm;
pub use helm_repository::HelmRepository;
pub use oci_registry::OciRegistry;
