//! The demo's hub: one process over a file, or several over one etcd.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use starling_harness::{EtcdAccess, Hub, HubOptions, Hubs, HubsOptions, Shard, StarlingPrograms, Status};
use starling_realparts::{EtcdCluster, EtcdClusterOptions, Program, Programs, wait_for};

/// How long a process that somebody killed stays away: long enough to watch its clusters go to the others.
const AWAY: Duration = Duration::from_secs(60);

/// How long the first process that decides may take to read the directory.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// A running hub.
#[derive(Debug)]
pub(crate) enum Bed {
    /// One process over a file.
    One(Box<Hub>),
    /// Several processes over one etcd.
    Many(Box<Many>),
}

/// A hub of several processes.
#[derive(Debug)]
pub(crate) struct Many {
    // Dropped in this order: clients before the server that they would complain about.
    hubs: Hubs,
    ended: BTreeMap<String, Instant>,
    // One member: what a second one would show is the business of etcd, and of `cargo xtask chaos`.
    _etcd: EtcdCluster,
}

impl Bed {
    /// Starts so many processes that read a directory which is there already.
    pub(crate) fn start(programs: &StarlingPrograms, folder: &Path, shards: usize) -> Result<Self> {
        if shards == 1 {
            return Ok(Self::One(Box::new(Hub::start(programs, &HubOptions::below(folder, "demo"))?)));
        }
        let options = EtcdClusterOptions { members: 1, ..EtcdClusterOptions::default() };
        let etcd = EtcdCluster::start(&Programs::ensure(&[Program::Etcd])?, &folder.join("etcd"), &options)?;
        eprintln!("etcd runs with one member, which is enough to look at; a fleet that matters has three");
        let options = HubsOptions::below(folder, "demo", shards, EtcdAccess::on_loopback(&etcd));
        let hubs = Hubs::start(programs, &options)?;
        // A process answers before the one that decides has read the directory, and nobody can be adopted into what is not read.
        wait_for("the directory to be read", READ_WITHIN, || {
            let addons = hubs.command_line().ask_json::<serde_json::Value>(&["get", "addons"]);
            let addons = addons.map_err(|error| format!("{error:#}"))?;
            if addons["items"].as_array().is_some_and(|items| !items.is_empty()) {
                Ok(())
            } else {
                Err(addons.to_string())
            }
        })?;
        Ok(Self::Many(Box::new(Many { hubs, ended: BTreeMap::new(), _etcd: etcd })))
    }

    /// The directory of YAML of a hub in a folder.
    pub(crate) fn directory(folder: &Path) -> PathBuf {
        HubOptions::below(folder, "demo").directory
    }

    /// A process whose address is what agents dial.
    pub(crate) fn any(&self) -> &Hub {
        match self {
            Self::One(hub) => hub,
            Self::Many(many) => many.hubs.hub(0),
        }
    }

    /// The processes.
    pub(crate) fn all(&self) -> &[Hub] {
        match self {
            Self::One(hub) => std::slice::from_ref(hub),
            Self::Many(many) => many.hubs.all(),
        }
    }

    /// The processes, where there are several.
    pub(crate) fn shards(&self) -> Option<Result<Vec<Shard>>> {
        match self {
            Self::One(_) => None,
            Self::Many(many) => Some(many.hubs.shards()),
        }
    }

    /// Asks how the fleet is; `None` when several processes were asked in a moment in which the one that was asked went away.
    pub(crate) fn status(&mut self) -> Result<Option<Status>> {
        match self {
            Self::One(hub) => {
                hub.process().check_running()?;
                hub.status().map(Some)
            }
            Self::Many(many) => {
                many.bring_back()?;
                Ok(many.hubs.command_line().status().ok())
            }
        }
    }

    /// The end of the logs, for whoever must find out what went wrong.
    pub(crate) fn log_tails(&self) -> String {
        self.all().iter().map(|hub| hub.process().log_tail()).collect::<Vec<_>>().join("\n---\n")
    }

    /// Stops it in order.
    pub(crate) fn stop(self, patience: Duration) -> Result<()> {
        match self {
            Self::One(hub) => hub.stop(patience),
            Self::Many(many) => many.hubs.stop(patience),
        }
    }
}

impl Many {
    /// Starts processes again that were killed a while ago; fails when none is left.
    fn bring_back(&mut self) -> Result<()> {
        let mut running = Err(None);
        for hub in self.hubs.all() {
            let Err(ended) = hub.process().check_running() else {
                self.ended.remove(hub.name());
                running = Ok(());
                continue;
            };
            let name = hub.name().to_owned();
            match self.ended.get(&name) {
                None => {
                    eprintln!(
                        "{name} is gone: in about 20 s, once its lease has ended, the others take its clusters over, which work on \
                         meanwhile; {name} comes back in {} s",
                        AWAY.as_secs()
                    );
                    self.ended.insert(name, Instant::now());
                }
                Some(since) if since.elapsed() >= AWAY => {
                    hub.restart()?;
                    self.ended.remove(&name);
                    let id = hub.process().id().unwrap_or_default();
                    eprintln!("{name} is back, as process {id}, and takes its clusters in a few seconds");
                }
                Some(_) => {}
            }
            if running.is_err() {
                running = Err(Some(ended));
            }
        }
        match running {
            Ok(()) | Err(None) => Ok(()),
            Err(Some(ended)) => Err(ended.into()),
        }
    }
}
