//! The real parts that Starling is tested against, built from their Go modules and run as plain processes on loopback.
//!
//! Owns how these programs are built, cached, started, killed and fed with charts and manifests. Knows nothing of
//! Starling itself. Everything blocks, so it is used from plain tests as it is and from async code through
//! `spawn_blocking`. Nothing outlives the process that started it. Linux only.
//!
//! ```no_run
//! use starling_realparts::{ClusterOptions, Etcd, ManagedCluster, Program, Programs};
//!
//! # fn main() -> starling_realparts::Result<()> {
//! let folder = std::env::temp_dir().join("one-cluster");
//! let programs = Programs::ensure(&Program::CLUSTER)?;
//! let etcd = Etcd::start(&programs, &folder.join("etcd"))?;
//! let cluster = ManagedCluster::start(&programs, &etcd, &folder, "edge-1", &ClusterOptions::default())?;
//! println!("{}", cluster.kubectl(&["get", "namespaces"])?);
//! # Ok(())
//! # }
//! ```

mod api_server;
mod balancer;
mod clock;
mod cluster;
mod command;
mod controller_manager;
mod debian;
mod error;
mod etcd;
mod etcd_cluster;
mod flux;
mod go_mod;
mod kubectl;
mod network;
mod ports;
mod process;
mod programs;
mod recipes;
mod sources;
mod wait;

pub use api_server::ApiServer;
pub use balancer::{Balancer, BalancerTarget};
pub use clock::Clock;
pub use cluster::{ClusterOptions, ManagedCluster};
pub use controller_manager::ControllerManager;
pub use debian::{Valgrind, promtool, valgrind};
pub use error::{Error, Result};
pub use etcd::Etcd;
pub use etcd_cluster::{EtcdBackup, EtcdClientFiles, EtcdCluster, EtcdClusterOptions};
pub use flux::{Flux, FluxParts};
pub use kubectl::Kubectl;
pub use network::{End, Namespace, Network, Side};
pub use ports::Port;
pub use process::{Launch, Process};
pub use programs::{Programs, buf, cache_folder};
pub use recipes::Program;
pub use sources::{ExampleChart, GitServer, Helm, HelmRepository, OciRegistry};
pub use wait::{http_get, http_get_ok, wait_for};
