//! The bed of a run: a network, etcd, the hubs, the fleet.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use starling_harness::{EtcdAccess, Hub, Hubs, HubsOptions, StarlingPrograms};
use starling_realparts::{
    EtcdCluster, EtcdClusterOptions, Launch, Network, Process, Program, Programs, Side, wait_for,
};

use crate::ChaosOptions;
use crate::documents;
use crate::schedule::MEMBERS;

/// Objects of each cluster beside those that Starling brings.
const OBJECTS: u32 = 20;

/// The running parts; killed on drop.
#[derive(Debug)]
pub(crate) struct Bed {
    // Dropped in this order: clients before the servers that they would complain about.
    pub(crate) fleet: Process,
    pub(crate) hubs: Hubs,
    pub(crate) etcd: EtcdCluster,
    pub(crate) network: Option<Arc<Network>>,
    pub(crate) truth: PathBuf,
    pub(crate) clusters: u64,
}

impl Bed {
    /// Starts everything, and waits until every cluster has been adopted.
    pub(crate) fn start(programs: &StarlingPrograms, options: &ChaosOptions) -> Result<Self> {
        let folder = &options.folder;
        let parts = Programs::ensure(&[Program::Etcd])?;
        let network = options.network.then(|| Network::start(&folder.join("network")).map(Arc::new)).transpose()?;
        let back = network.as_ref().map(|network| IpAddr::from(network.machine(Side::Back)));
        let etcd_options = EtcdClusterOptions {
            members: MEMBERS,
            addresses: back.into_iter().collect(),
            ..EtcdClusterOptions::default()
        };
        let etcd = EtcdCluster::start(&parts, &folder.join("etcd"), &etcd_options)?;
        let access = back.map_or_else(|| EtcdAccess::on_loopback(&etcd), |back| EtcdAccess::at(&etcd, back));
        let below = HubsOptions::below(folder, "chaos", options.hubs, access);
        documents::write_catalogue(&below.directory())?;
        let hubs = Hubs::start(programs, &HubsOptions { network: network.clone(), clocks: options.clocks, ..below })?;
        let truth = folder.join("truth.json");
        let launch = Launch::new("fleet", &programs.path("starling-loadtest"), &hubs.options().logs())
            .args(["fleet", "--clusters", &options.clusters.to_string(), "--objects", &OBJECTS.to_string()])
            .arg("--config")
            .arg(hubs.context_file())
            .arg("--truth")
            .arg(&truth);
        let fleet = Process::start(launch).context("start the simulated clusters")?;
        let bed = Self { fleet, hubs, etcd, network, truth, clusters: u64::from(options.clusters) };
        bed.wait_adopted(options.bound)?;
        Ok(bed)
    }

    /// Processes whose logs are looked through.
    pub(crate) fn processes(&self) -> impl Iterator<Item = &Process> {
        self.hubs.all().iter().map(Hub::process).chain([&self.fleet])
    }

    fn wait_adopted(&self, bound: Duration) -> Result<()> {
        let adopted = wait_for("every cluster to be adopted", bound, || {
            self.fleet.check_running()?;
            let status = self.hubs.command_line().status().map_err(|error| format!("{error:#}"))?;
            let clusters = status.clusters;
            if clusters == self.clusters { Ok(()) } else { Err(format!("{clusters} are")) }
        });
        adopted.with_context(|| self.fleet.log_tail())
    }
}
