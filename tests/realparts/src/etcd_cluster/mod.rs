//! A real etcd of several members on loopback: killed, paused and brought back one by one, backed up and restored as a whole.
//!
//! Owns the members' processes, folders and certificates. Every member also has two plain ports of its own that nobody is told
//! about: one for its health, one for the administration (passwords, compaction), so that neither needs TLS.

mod administration;
mod backup;
mod certificates;
mod member;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result, create_folder};
use crate::kubectl::write_private;
use crate::process::Process;
use crate::programs::Programs;
use crate::recipes::Program;
use crate::wait::wait_for;
pub use backup::EtcdBackup;
pub use certificates::EtcdClientFiles;
use member::Member;

const READY_WITHIN: Duration = Duration::from_secs(60);

/// The user that a cluster with a password has.
const USER: &str = "root";

/// What an etcd cluster is like.
#[derive(Debug, Clone)]
pub struct EtcdClusterOptions {
    /// How many members.
    pub members: usize,
    /// Clients use TLS and show a certificate.
    pub tls: bool,
    /// Clients give this password, of user `root`.
    pub password: Option<String>,
    /// Addresses of this machine that clients come to, besides loopback.
    pub addresses: Vec<IpAddr>,
    /// Bytes from which on members take no writes, as on a full disk; `None` for etcd's own default.
    pub quota_bytes: Option<u64>,
    /// Further arguments of each member.
    pub arguments: Vec<String>,
}

/// A running etcd cluster; killed on drop.
#[derive(Debug)]
pub struct EtcdCluster {
    folder: PathBuf,
    members: Vec<Member>,
    password: Option<String>,
    password_file: Option<PathBuf>,
    client_files: Option<EtcdClientFiles>,
}

impl Default for EtcdClusterOptions {
    fn default() -> Self {
        Self { members: 3, tls: false, password: None, addresses: Vec::new(), quota_bytes: None, arguments: Vec::new() }
    }
}

impl EtcdCluster {
    /// Starts the members with their data below `folder`, without fsync (they survive a kill -9, not a power cut), and waits until
    /// all of them serve.
    pub fn start(programs: &Programs, folder: &Path, options: &EtcdClusterOptions) -> Result<Self> {
        let folder = create_folder(folder)?;
        let files = options.tls.then(|| certificates::make(&folder, &options.addresses)).transpose()?;
        let members = Member::start_all(&programs.path(Program::Etcd)?, &folder, options, files.as_ref())?;
        let password_file = options.password.as_ref().map(|password| {
            let path = folder.join("password");
            write_private(&path, password.as_bytes()).map(|()| path)
        });
        let cluster = Self {
            folder,
            members,
            password: options.password.clone(),
            password_file: password_file.transpose()?,
            client_files: files.map(|files| files.client),
        };
        cluster.wait_all()?;
        if let Some(password) = &cluster.password {
            administration::enable_passwords(&cluster, password)?;
        }
        Ok(cluster)
    }

    /// The members' client URLs on loopback.
    pub fn endpoints(&self) -> Vec<String> {
        self.endpoints_at(IpAddr::from([127, 0, 0, 1]))
    }

    /// The members' client URLs at one of the further addresses.
    pub fn endpoints_at(&self, address: IpAddr) -> Vec<String> {
        self.members.iter().map(|member| member.client_url(address)).collect()
    }

    /// What a client needs for TLS.
    pub fn client_files(&self) -> Option<&EtcdClientFiles> {
        self.client_files.as_ref()
    }

    /// The user and the file with its password, where clients need them.
    pub fn user(&self) -> Option<(&'static str, &Path)> {
        self.password_file.as_deref().map(|file| (USER, file))
    }

    /// How many members it has, running or not.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// A member's process, members counted from 0.
    pub fn process(&self, member: usize) -> &Process {
        self.members[member].process()
    }

    /// Kills a member as a crash would.
    pub fn kill9(&self, member: usize) -> Result<()> {
        self.process(member).kill9()
    }

    /// Stops a member in its tracks.
    pub fn pause(&self, member: usize) -> Result<()> {
        self.process(member).pause()
    }

    /// Lets a paused member go on.
    pub fn resume(&self, member: usize) -> Result<()> {
        self.process(member).resume()
    }

    /// Starts a member again with its data, and waits until it serves: that needs a majority.
    pub fn restart(&self, member: usize) -> Result<()> {
        self.process(member).restart()?;
        self.members[member].wait_ready(READY_WITHIN)
    }

    /// Kills every member.
    pub fn kill_all(&self) -> Result<()> {
        self.members.iter().try_for_each(|member| member.process().kill9())
    }

    /// Starts every member again, and waits until all of them serve.
    pub fn restart_all(&self) -> Result<()> {
        self.members.iter().try_for_each(|member| member.process().restart())?;
        self.wait_all()
    }

    /// Waits until a majority of the members serves.
    pub fn wait_majority(&self) -> Result<()> {
        let majority = self.members.len() / 2 + 1;
        wait_for("a majority of etcd to serve", READY_WITHIN, || {
            let asked: Vec<Result<(), String>> = self.members.iter().map(Member::ask_health).collect();
            if asked.iter().filter(|answer| answer.is_ok()).count() >= majority {
                return Ok(());
            }
            Err(asked.into_iter().filter_map(Result::err).collect::<Vec<_>>().join("; "))
        })
    }

    /// Waits until every member serves.
    pub fn wait_all(&self) -> Result<()> {
        self.members.iter().try_for_each(|member| member.wait_ready(READY_WITHIN))
    }

    /// The member that leads at present.
    pub fn leader(&self) -> Result<usize> {
        wait_for("etcd to have a leader", READY_WITHIN, || {
            let leads = |member: &Member| member.metric("etcd_server_is_leader").is_ok_and(|value| value == 1);
            self.members.iter().position(leads).ok_or_else(|| "no member says that it leads".to_owned())
        })
    }

    /// The store's revision: how many writes there have been.
    pub fn revision(&self) -> Result<u64> {
        administration::revision(self)
    }

    /// Forgets every version of a key before the present one, so that watches of older ones end.
    pub fn compact(&self) -> Result<u64> {
        let revision = self.revision()?;
        administration::compact(self, revision)?;
        Ok(revision)
    }

    /// Gives space back to the disk and ends the alarm that a full one raised.
    pub fn make_room(&self) -> Result<()> {
        administration::make_room(self)
    }

    fn unexpected(&self, doing: &str, detail: impl Into<String>) -> Error {
        Error::Unexpected { what: format!("{doing} etcd in {}", self.folder.display()), detail: detail.into() }
    }
}

#[cfg(test)]
mod tests;
