//! A hub of several processes over one etcd: a directory, secrets and one advertised address for all of them.
//!
//! Owns the processes, the balancer before them, and where each of them runs: on loopback, or in a network namespace of its own
//! that can be cut off from agents (front) and from etcd (back).

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use starling_realparts::{Balancer, BalancerTarget, Clock, EtcdClientFiles, EtcdCluster, Network, Side};

use crate::command_line::CommandLine;
use crate::hub::{Hub, HubMember, HubOptions};
use crate::programs::StarlingPrograms;

/// How hub processes get to etcd.
#[derive(Clone, Debug)]
pub struct EtcdAccess {
    /// The members' client URLs.
    pub endpoints: Vec<String>,
    /// What TLS needs.
    pub files: Option<EtcdClientFiles>,
    /// The user, and the file with the password.
    pub user: Option<(String, PathBuf)>,
}

/// How to start a hub of several processes.
#[derive(Clone, Debug)]
pub struct HubsOptions {
    /// The fleet's name.
    pub fleet: String,
    /// The folder of everything: `fleet` (the directory), `keys`, `logs`, and `hub-<n>` for the state of each.
    pub folder: PathBuf,
    /// How many processes there are at first.
    pub count: usize,
    /// The store.
    pub etcd: EtcdAccess,
    /// Puts each process into a namespace of this network.
    pub network: Option<Arc<Network>>,
    /// Gives each process a clock that can be shifted.
    pub clocks: bool,
    /// Further arguments of each process.
    pub arguments: Vec<String>,
}

/// The processes of one hub, `hub-1` first; killed on drop.
#[derive(Debug)]
pub struct Hubs {
    hubs: Vec<Hub>,
    balancer: Balancer,
    programs: StarlingPrograms,
    options: HubsOptions,
}

/// A process as `starling get shards -o json` shows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shard {
    /// The process's name.
    pub name: String,
    /// serving, joining, draining, gone or not-answering.
    pub state: String,
    /// It writes what concerns the whole fleet.
    #[serde(default)]
    pub steward: bool,
    /// Clusters that it is to serve.
    pub clusters_owned: u64,
    /// Clusters that are connected to it.
    pub clusters_connected: u64,
    /// Of the connected ones, on the way to another process.
    pub clusters_moving: u64,
}

#[derive(Deserialize)]
struct Shards {
    items: Vec<Shard>,
}

impl Shard {
    /// Tells whether it is a member and serves what it owns, and nothing else.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.state == "serving" && self.clusters_connected == self.clusters_owned && self.clusters_moving == 0
    }
}

impl EtcdAccess {
    /// Gets to a cluster at one of the addresses that it listens on.
    #[must_use]
    pub fn at(etcd: &EtcdCluster, address: IpAddr) -> Self {
        Self {
            endpoints: etcd.endpoints_at(address),
            files: etcd.client_files().cloned(),
            user: etcd.user().map(|(user, file)| (user.to_owned(), file.to_owned())),
        }
    }

    /// Gets to a cluster on loopback.
    #[must_use]
    pub fn on_loopback(etcd: &EtcdCluster) -> Self {
        Self::at(etcd, Ipv4Addr::LOCALHOST.into())
    }

    /// The arguments of a hub that keeps its store there.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--store".into(), "etcd".into(), "--etcd-endpoints".into(), self.endpoints.join(",")];
        let mut file = |flag: &str, path: &Path| arguments.extend([flag.to_owned(), path.display().to_string()]);
        if let Some(files) = &self.files {
            file("--etcd-ca-file", &files.ca);
            file("--etcd-cert-file", &files.certificate);
            file("--etcd-key-file", &files.key);
        }
        if let Some((user, password)) = &self.user {
            file("--etcd-password-file", password);
            arguments.extend(["--etcd-user".to_owned(), user.clone()]);
        }
        arguments
    }
}

impl HubsOptions {
    /// Processes on loopback, with everything below one folder.
    #[must_use]
    pub fn below(folder: &Path, fleet: &str, count: usize, etcd: EtcdAccess) -> Self {
        let (fleet, folder) = (fleet.to_owned(), folder.to_owned());
        Self { fleet, folder, count, etcd, network: None, clocks: false, arguments: Vec::new() }
    }

    /// The directory of YAML.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.folder.join("fleet")
    }

    /// The folder of the processes' logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// Where agents and the command line find the balancer.
    fn front(&self) -> IpAddr {
        self.network.as_ref().map_or(Ipv4Addr::LOCALHOST, |network| network.machine(Side::Front)).into()
    }

    fn member(&self, number: usize, advertise: String) -> Result<HubOptions> {
        let name = format!("hub-{number}");
        let namespace = self.network.as_ref().map(|network| network.attach(&name)).transpose()?;
        let clock = self.clocks.then(|| Clock::start(&self.folder.join("clocks"), &name)).transpose()?;
        let member = HubMember { name: name.clone(), advertise, keys: self.folder.join("keys"), namespace, clock };
        Ok(HubOptions {
            fleet: self.fleet.clone(),
            state: self.folder.join(name),
            directory: self.directory(),
            logs: self.logs(),
            kubernetes: None,
            member: Some(member),
            arguments: [self.etcd.arguments(), self.arguments.clone()].concat(),
        })
    }
}

impl Hubs {
    /// Starts the processes, the first one alone because it makes the fleet's secrets, and waits until each of them answers.
    ///
    /// # Errors
    /// One of them ended or did not answer in time, with the end of its log.
    pub fn start(programs: &StarlingPrograms, options: &HubsOptions) -> Result<Self> {
        let balancer = Balancer::start(options.front())?;
        let mut hubs = Self { hubs: Vec::new(), balancer, programs: programs.clone(), options: options.clone() };
        hubs.add(1)?;
        hubs.add(options.count.saturating_sub(1))?;
        Ok(hubs)
    }

    /// Starts further processes at once, and waits until each of them answers.
    ///
    /// # Errors
    /// As [`Hubs::start`].
    pub fn add(&mut self, count: usize) -> Result<()> {
        let known = self.hubs.len();
        for number in known + 1..=known + count {
            let options = self.options.member(number, self.balancer.address())?;
            self.hubs.push(Hub::begin(&self.programs, &options)?);
        }
        self.hubs[known..].iter().try_for_each(Hub::wait_until_it_answers)?;
        self.tell_balancer();
        Ok(())
    }

    /// Stops the newest process in order and takes it away for good.
    ///
    /// # Errors
    /// It did not end in time, or ended with a failure.
    pub fn remove_newest(&mut self, patience: Duration) -> Result<()> {
        let newest = self.hubs.pop().context("there is a process to remove")?;
        let stopped = newest.stop(patience);
        self.tell_balancer();
        stopped
    }

    /// Stops every process in order, the newest first.
    ///
    /// # Errors
    /// One of them did not end in time, or ended with a failure.
    pub fn stop(mut self, patience: Duration) -> Result<()> {
        while let Some(hub) = self.hubs.pop() {
            if hub.process().check_running().is_ok() {
                hub.stop(patience)?;
            }
        }
        Ok(())
    }

    /// The processes, in the order of their numbers.
    #[must_use]
    pub fn all(&self) -> &[Hub] {
        &self.hubs
    }

    /// One of them, counted from 0.
    #[must_use]
    pub fn hub(&self, index: usize) -> &Hub {
        &self.hubs[index]
    }

    /// How they were started.
    #[must_use]
    pub fn options(&self) -> &HubsOptions {
        &self.options
    }

    /// The programs that they were started from.
    #[must_use]
    pub fn programs(&self) -> &StarlingPrograms {
        &self.programs
    }

    /// The advertised address.
    #[must_use]
    pub fn address(&self) -> String {
        self.balancer.address()
    }

    /// A context of the command line that leads to the advertised address.
    #[must_use]
    pub fn context_file(&self) -> PathBuf {
        self.hubs[0].context_file()
    }

    /// The command line that asks whichever process is behind the advertised address.
    #[must_use]
    pub fn command_line(&self) -> CommandLine {
        CommandLine::of_context(&self.programs, &self.context_file())
    }

    /// Asks which shards there are.
    ///
    /// # Errors
    /// No process answers.
    pub fn shards(&self) -> Result<Vec<Shard>> {
        Ok(self.command_line().ask_json::<Shards>(&["get", "shards"])?.items)
    }

    fn tell_balancer(&self) {
        let target = |hub: &Hub| BalancerTarget { address: hub.own_address(), health: hub.http_address() };
        let targets: Vec<BalancerTarget> = self.hubs.iter().map(target).collect();
        self.balancer.set_targets(&targets);
    }
}
