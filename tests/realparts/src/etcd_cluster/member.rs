//! One member: its process, its ports, its health.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::EtcdClusterOptions;
use super::certificates::ServerFiles;
use crate::error::{Result, create_folder};
use crate::ports::Port;
use crate::process::{Launch, Process};
use crate::wait::{http_get, http_get_ok};

/// A member of the cluster.
#[derive(Debug)]
pub(super) struct Member {
    process: Process,
    folder: PathBuf,
    ports: Ports,
    scheme: &'static str,
}

#[derive(Debug)]
struct Ports {
    client: Port,
    peer: Port,
    health: Port,
    administration: Port,
}

impl Ports {
    fn reserve() -> Result<Self> {
        let [client, peer, health, administration] = [(); 4].map(|()| Port::reserve());
        Ok(Self { client: client?, peer: peer?, health: health?, administration: administration? })
    }
}

impl Member {
    /// Starts all members of a cluster at once, for each waits for the others.
    pub(super) fn start_all(
        program: &Path,
        folder: &Path,
        options: &EtcdClusterOptions,
        files: Option<&ServerFiles>,
    ) -> Result<Vec<Self>> {
        let ports = (0..options.members).map(|_| Ports::reserve()).collect::<Result<Vec<_>>>()?;
        let members: Vec<String> = ports
            .iter()
            .enumerate()
            .map(|(index, ports)| format!("{}=http://{}", name(index), ports.peer.address()))
            .collect();
        let members = members.join(",");
        let start = |(index, ports)| Self::start(program, folder, options, files, &members, index, ports);
        ports.into_iter().enumerate().map(start).collect()
    }

    fn start(
        program: &Path,
        folder: &Path,
        options: &EtcdClusterOptions,
        files: Option<&ServerFiles>,
        members: &str,
        index: usize,
        ports: Ports,
    ) -> Result<Self> {
        let name = name(index);
        let folder = create_folder(&folder.join(&name))?;
        let scheme = if files.is_some() { "https" } else { "http" };
        let client = |address: IpAddr| format!("{scheme}://{}", SocketAddr::new(address, ports.client.number()));
        let told = client(Ipv4Addr::LOCALHOST.into());
        let mut listen = vec![told.clone(), format!("http://{}", ports.administration.address())];
        listen.extend(options.addresses.iter().map(|address| client(*address)));
        let peer = format!("http://{}", ports.peer.address());
        let mut launch = Launch::new(&name, program, &folder)
            .args(["--name", &name, "--log-level", "warn", "--unsafe-no-fsync", "--data-dir"])
            .arg(folder.join("data"))
            .args(["--listen-client-urls", &listen.join(","), "--advertise-client-urls", &told])
            .args(["--listen-metrics-urls", &format!("http://{}", ports.health.address())])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", members]);
        if let Some(files) = files {
            launch = launch
                .args(["--client-cert-auth", "--cert-file"])
                .arg(&files.certificate)
                .arg("--key-file")
                .arg(&files.key)
                .arg("--trusted-ca-file")
                .arg(&files.client.ca);
        }
        if let Some(bytes) = options.quota_bytes {
            launch = launch.args(["--quota-backend-bytes", &bytes.to_string()]);
        }
        let process = Process::start(launch.args(&options.arguments))?;
        Ok(Self { process, folder, ports, scheme })
    }

    /// Its client URL at an address of this machine.
    pub(super) fn client_url(&self, address: IpAddr) -> String {
        format!("{}://{}", self.scheme, SocketAddr::new(address, self.ports.client.number()))
    }

    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    /// The folder of its data.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The plain address of its JSON interface.
    pub(super) fn administration(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.administration.number()))
    }

    /// Asks whether it serves, which it does only with a majority behind it.
    pub(super) fn ask_health(&self) -> Result<(), String> {
        http_get_ok(self.ports.health.number(), "/health")
    }

    pub(super) fn wait_ready(&self, patience: Duration) -> Result<()> {
        self.process.wait_until("serves", patience, || self.ask_health())
    }

    /// Reads one of its metrics that has no labels.
    pub(super) fn metric(&self, name: &str) -> Result<u64, String> {
        let page = http_get(SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.health.number())), "/metrics")?;
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok());
        value.map(|value| value as u64).ok_or_else(|| format!("there is no metric {name}"))
    }
}

fn name(index: usize) -> String {
    format!("etcd-{}", index + 1)
}
