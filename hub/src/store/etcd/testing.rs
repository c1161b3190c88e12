//! A real etcd for tests: one for whoever runs at the same time, or one of one's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use starling_realparts::{Launch, Port, Process, Program, Programs};

use super::{EtcdOptions, EtcdStore};
use crate::ports::{OsEntropy, SystemClock, TcpDialer};
use crate::store::StoreError;

const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running etcd of one or more members.
pub(crate) struct TestEtcd {
    members: Vec<Member>,
    prefixes: AtomicUsize,
    _folder: tempfile::TempDir,
}

struct Member {
    process: Process,
    home: PathBuf,
    url: String,
    _ports: [Port; 2],
}

/// How a test's etcd differs.
#[derive(Default)]
pub(crate) struct Setup<'a> {
    /// How many members; none is one.
    pub(crate) members: usize,
    /// Further arguments.
    pub(crate) arguments: &'a [&'a str],
    /// Files for TLS: the server's certificate and key, and the authority of its clients.
    pub(crate) tls: Option<[&'a Path; 3]>,
}

impl TestEtcd {
    /// Returns the etcd that tests share while any of them runs.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<TestEtcd>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let etcd = Self::start(&Setup::default());
            *shared = Arc::downgrade(&etcd);
            etcd
        })
    }

    pub(crate) fn start(setup: &Setup<'_>) -> Arc<Self> {
        let programs = Programs::ensure(&[Program::Etcd]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let scheme = if setup.tls.is_some() { "https" } else { "http" };
        let ports = || [Port::reserve().unwrap(), Port::reserve().unwrap()];
        let ports: Vec<[Port; 2]> = (0..setup.members.max(1)).map(|_| ports()).collect();
        let peers = ports.iter().enumerate().map(|(n, [_, peer])| format!("etcd-{n}=http://{}", peer.address()));
        let peers = peers.collect::<Vec<_>>().join(",");
        let members = ports.into_iter().enumerate().map(|(number, ports)| {
            let name = format!("etcd-{number}");
            let (url, peer) = (format!("{scheme}://{}", ports[0].address()), format!("http://{}", ports[1].address()));
            let home = folder.path().join(&name);
            fs::create_dir(&home).unwrap();
            let mut launch = Launch::new(&name, &programs.path(Program::Etcd).unwrap(), &home)
                .args(["--name", &name, "--log-level", "warn", "--unsafe-no-fsync", "--data-dir"])
                .arg(home.join("data"))
                .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                .args(["--initial-cluster", &peers])
                .args(setup.arguments.iter().copied());
            if let Some([certificate, key, clients]) = setup.tls {
                launch = launch.arg("--cert-file").arg(certificate).arg("--key-file").arg(key);
                launch = launch.arg("--client-cert-auth").arg("--trusted-ca-file").arg(clients);
            }
            Member { process: Process::start(launch).unwrap(), home, url, _ports: ports }
        });
        let etcd = Self { members: members.collect(), prefixes: AtomicUsize::new(0), _folder: folder };
        etcd.members.iter().for_each(Member::wait_ready);
        Arc::new(etcd)
    }

    /// The members' URLs.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.members.iter().map(|member| member.url.clone()).collect()
    }

    /// Kills a member as a crash would.
    pub(crate) fn kill(&self, member: usize) {
        self.members[member].process.kill9().unwrap();
    }

    /// Stops a member without ending it.
    pub(crate) fn pause(&self, member: usize) {
        self.members[member].process.pause().unwrap();
    }

    /// Starts a killed member again.
    pub(crate) fn restart(&self, member: usize) {
        self.members[member].process.restart().unwrap();
        self.members[member].wait_ready();
    }

    /// Kills a member and starts it again with nothing in it.
    pub(crate) fn wipe(&self, member: usize) {
        self.kill(member);
        fs::remove_dir_all(self.members[member].home.join("data")).unwrap();
        self.restart(member);
    }

    /// Does what an administrator does about a full disk: throws away, compacts, defragments, switches the alarm off.
    pub(crate) async fn make_space(&self, prefix: &str) {
        let mut client = etcd_client::Client::connect([self.members[0].url.clone()], None).await.unwrap();
        let all = etcd_client::DeleteOptions::new().with_prefix();
        client.delete(prefix, Some(all)).await.unwrap();
        self.compact().await;
        client.defragment().await.unwrap();
        let full = etcd_client::AlarmType::Nospace;
        for alarm in client.alarm(etcd_client::AlarmAction::Get, full, None).await.unwrap().alarms() {
            let mut of_member = etcd_client::AlarmOptions::new();
            of_member.with_member(alarm.member_id());
            client.alarm(etcd_client::AlarmAction::Deactivate, full, Some(of_member)).await.unwrap();
        }
    }

    /// Returns options with a prefix that nobody else has.
    pub(crate) fn options(&self) -> EtcdOptions {
        let number = self.prefixes.fetch_add(1, Ordering::Relaxed);
        options(self.urls(), &format!("/test-{number}/"), "hub-0")
    }

    /// Opens a store of its own.
    pub(crate) async fn store(&self) -> EtcdStore {
        connect(self.options()).await.unwrap()
    }

    /// Compacts everything before the present.
    pub(crate) async fn compact(&self) {
        let mut client = etcd_client::Client::connect([self.members[0].url.clone()], None).await.unwrap();
        let at = client.get("any", None).await.unwrap().header().unwrap().revision();
        client.compact(at, Some(etcd_client::CompactionOptions::new().with_physical())).await.unwrap();
    }
}

impl Member {
    fn wait_ready(&self) {
        let address = self.url.rsplit('/').next().unwrap_or_default().to_owned();
        let open = || std::net::TcpStream::connect(&address).map(drop).map_err(|error| error.to_string());
        self.process.wait_until("listens", READY_WITHIN, open).unwrap();
    }
}

pub(crate) fn options(endpoints: Vec<String>, prefix: &str, process: &str) -> EtcdOptions {
    EtcdOptions { endpoints, prefix: prefix.to_owned(), tls: None, login: None, process: process.to_owned() }
}

pub(crate) async fn connect(options: EtcdOptions) -> Result<EtcdStore, StoreError> {
    EtcdStore::connect(options, Arc::new(TcpDialer), Arc::new(SystemClock), Arc::new(OsEntropy)).await
}
