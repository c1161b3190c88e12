//! The hub's flags and environment.

mod moving;
mod process;
mod store;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use starling_model::ids::check_label;

pub use self::process::{NoName, ProcessConfig};
use crate::keyring::{CLUSTER_LIFETIME, ServerNames};
use crate::source::SourceKind;
use crate::telemetry::LogFormat;

pub use self::moving::{Command, MoveCommand, Place};
pub use self::store::{StoreConfig, StoreKind};

/// Open files that are not connections: the store, listeners, watched directories, what libraries open.
const OTHER_FILES: u64 = 512;

/// The hub of a Starling fleet: one process, one source of documents, one file of state.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(name = "starling-hub", version, subcommand_negates_reqs = true)]
pub struct Config {
    /// What to do instead of running the hub.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The fleet's name; it is in every certificate and cannot be changed later
    #[arg(long, env = "STARLING_HUB_FLEET", default_value = "starling", value_parser = label)]
    pub fleet: String,

    /// Where resources come from: a directory of YAML, or the custom resources of a Kubernetes API
    #[arg(long, env = "STARLING_HUB_SOURCE", value_enum, default_value_t)]
    pub source: SourceKind,

    /// The kubeconfig of `--source kubernetes` [default: the pod's service account, else $KUBECONFIG or ~/.kube/config]
    #[arg(long, env = "STARLING_HUB_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The hub's own namespace, of `--source kubernetes` [default: the pod's, else starling-system]
    #[arg(long, env = "STARLING_HUB_NAMESPACE", value_name = "NAMESPACE", value_parser = label)]
    pub namespace: Option<String>,

    /// A directory with `tls.crt` and `tls.key` of the fleet's certificate authority, such as a mounted Secret of cert-manager
    /// [default: the hub makes an authority]
    #[arg(long, env = "STARLING_HUB_AUTHORITY_DIR", value_name = "DIR")]
    pub authority_dir: Option<PathBuf>,

    /// The directory of YAML documents [default: fleet, in the state directory]
    #[arg(long, env = "STARLING_HUB_DIRECTORY", value_name = "DIR")]
    directory: Option<PathBuf>,

    /// The directory of everything that has to survive: the store and the fleet's secrets
    #[arg(long, env = "STARLING_HUB_STATE", value_name = "DIR", default_value = "/var/lib/starling")]
    pub state: PathBuf,

    /// Where the store is.
    #[command(flatten)]
    pub store_place: StoreConfig,

    /// The address for agents and the command line (TLS)
    #[arg(long, env = "STARLING_HUB_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8443")]
    pub listen: SocketAddr,

    /// What agents dial [default: the listen address; localhost where that is every address]
    #[arg(long, env = "STARLING_HUB_ADVERTISE", value_name = "HOST:PORT", value_parser = host_and_port)]
    advertise: Option<String>,

    /// A further name or address under which the hub is dialled, for its certificate; may be given again
    #[arg(long = "server-name", env = "STARLING_HUB_SERVER_NAMES", value_name = "HOST", value_delimiter = ',', value_parser = host)]
    server_names: Vec<String>,

    /// The address for /metrics, /healthz and /readyz (plain HTTP)
    #[arg(long, env = "STARLING_HUB_HTTP", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub http: SocketAddr,

    /// Where traces go, OTLP over gRPC, such as http://collector:4317 [default: OTEL_EXPORTER_OTLP_ENDPOINT, else nowhere]
    #[arg(long, env = "STARLING_HUB_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// How log lines look
    #[arg(long, env = "STARLING_HUB_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,

    /// Hours that a cluster's certificate lasts
    #[arg(long, env = "STARLING_HUB_CERTIFICATE_HOURS", value_name = "HOURS", default_value_t = CLUSTER_LIFETIME.as_secs() / 3600, value_parser = clap::value_parser!(u64).range(1..=8760))]
    certificate_hours: u64,

    /// Connections that may be open [default: as many as the process may have files, less 512]
    #[arg(long, env = "STARLING_HUB_CONNECTIONS", value_name = "NUMBER")]
    connections: Option<usize>,

    /// Seconds that an orderly end may take
    #[arg(long, env = "STARLING_HUB_SHUTDOWN_SECONDS", value_name = "SECONDS", default_value_t = 20)]
    shutdown_seconds: u64,

    /// Which process this is among several
    #[command(flatten)]
    pub process: ProcessConfig,
}

impl Config {
    /// Returns the directory of documents.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.directory.clone().unwrap_or_else(|| self.state.join("fleet"))
    }

    /// Returns the file of the store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.state.join("store.redb")
    }

    /// Returns the directory of the fleet's secrets.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.process.keys.clone().unwrap_or_else(|| self.state.join("keys"))
    }

    /// Returns the file of the administrator's context.
    #[must_use]
    pub fn admin_context(&self) -> PathBuf {
        self.state.join("admin.yaml")
    }

    /// Returns what agents dial, `host:port`, given the address that was bound (where port 0 was asked for).
    #[must_use]
    pub fn advertise(&self, bound: SocketAddr) -> String {
        match &self.advertise {
            Some(advertise) => advertise.clone(),
            None if bound.ip().is_unspecified() => format!("localhost:{}", bound.port()),
            None => bound.to_string(),
        }
    }

    /// Returns the names of the hub's certificate.
    #[must_use]
    pub fn server_names(&self, bound: SocketAddr) -> ServerNames {
        let advertised = self.advertise(bound);
        let host = advertised.rsplit_once(':').map_or(advertised.as_str(), |(host, _)| host);
        let mut names = ServerNames::new(host, bound);
        // Other processes, and agents that are redirected, dial the own address.
        if let Some((own, _)) = self.process.own_address.as_deref().and_then(|address| address.rsplit_once(':')) {
            names.add(own);
        }
        for name in &self.server_names {
            names.add(name);
        }
        names
    }

    /// Returns how long a cluster's certificate lasts.
    #[must_use]
    pub fn certificate_lifetime(&self) -> Duration {
        Duration::from_secs(self.certificate_hours * 3600)
    }

    /// Returns how long an orderly end may take.
    #[must_use]
    pub fn shutdown_timeout(&self) -> Duration {
        Duration::from_secs(self.shutdown_seconds)
    }

    /// Returns how many connections may be open, and raises the process's limit of open files as far as it may for them.
    #[must_use]
    pub fn connections(&self) -> usize {
        let files = raise_open_files();
        let possible = usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX).max(16);
        let Some(wanted) = self.connections else { return possible };
        if wanted > possible {
            tracing::warn!(wanted, possible, "the limit of open files allows fewer connections");
        }
        wanted.min(possible)
    }
}

/// Raises the soft limit of open files to the hard one, and returns what holds then.
fn raise_open_files() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

fn label(text: &str) -> Result<String, String> {
    check_label(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

fn host_and_port(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is not of the form host:port");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    if port == 0 || !is_host(host) {
        return Err(wrong());
    }
    Ok(text.to_owned())
}

fn host(text: &str) -> Result<String, String> {
    if is_host(text) { Ok(text.to_owned()) } else { Err(format!("{text:?} is neither a name nor an address")) }
}

fn is_host(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    !text.is_empty() && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Config, clap::Error> {
        Config::try_parse_from(std::iter::once(&"starling-hub").chain(arguments))
    }

    #[test]
    fn defaults_are_local() {
        let config = parse(&["--state", "/s"]).unwrap();
        assert_eq!(config.directory(), PathBuf::from("/s/fleet"));
        assert_eq!(config.store(), PathBuf::from("/s/store.redb"));
        assert!(config.listen.ip().is_loopback() && config.http.ip().is_loopback());
        assert_eq!(config.certificate_lifetime(), CLUSTER_LIFETIME);
        assert!(config.connections() >= 16);
    }

    #[test]
    fn what_is_advertised_follows_what_is_bound() {
        let config = parse(&[]).unwrap();
        assert_eq!(config.advertise("127.0.0.1:5000".parse().unwrap()), "127.0.0.1:5000");
        assert_eq!(config.advertise("0.0.0.0:5000".parse().unwrap()), "localhost:5000");
        let config = parse(&["--advertise", "hub.example.org:443"]).unwrap();
        assert_eq!(config.advertise("0.0.0.0:5000".parse().unwrap()), "hub.example.org:443");
        let names = config.server_names("0.0.0.0:5000".parse().unwrap());
        assert!(names.dns.contains("hub.example.org") && names.dns.contains("localhost"));
        let config = parse(&["--server-name", "hub.svc", "--server-name", "fd00::1,10.0.0.7"]).unwrap();
        let names = config.server_names("0.0.0.0:5000".parse().unwrap());
        assert!(names.dns.contains("hub.svc") && names.ips.contains(&"fd00::1".parse().unwrap()));
        assert!(names.ips.contains(&"10.0.0.7".parse().unwrap()));
    }

    #[test]
    fn wrong_values_are_refused() {
        for wrong in [
            ["--fleet", "Not A Label"],
            ["--advertise", "hub"],
            ["--advertise", "hub:0"],
            ["--advertise", "https://hub:1"],
            ["--listen", "nowhere"],
            ["--server-name", "https://hub"],
            ["--certificate-hours", "0"],
            ["--source", "git"],
            ["--namespace", "Not A Label"],
        ] {
            assert!(parse(&wrong).is_err(), "{wrong:?}");
        }
    }
}
