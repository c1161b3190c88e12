//! A hub as a process with a catalogue, agents over clusters in memory in this process, and a bare client of the admin API.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use starling_agent::config::{AgentConfig, TokenSource};
use starling_agent::identity::IdentityPlace;
use starling_agent::ports::Ports;
use starling_harness::{Hub, HubOptions, StarlingPrograms};
use starling_loadtest::cluster::{SimulatedApi, SimulatedCluster, SimulatedOptions};
use starling_tests::scratch::Scratch;
use starling_tests::steps::wait;
use starling_tests::views::Adoption;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::{Channel, Endpoint, Uri};

/// The workspace of the tests.
pub(crate) const WORKSPACE: &str = "retail";

/// A workspace, and an addon that nobody has to serve: clusters in memory fetch nothing.
const CATALOGUE: &str = "\
apiVersion: starling.dev/v1alpha1
kind: Workspace
metadata: {name: retail}
spec: {}
---
apiVersion: starling.dev/v1alpha1
kind: Addon
metadata: {name: web, namespace: starling-platform}
spec:
  title: web
  targetNamespace: default
  versions:
    - version: 1.0.0
      source: {helmRepository: {url: 'https://charts.example.org', chart: web}}
";

/// One hub.
pub(crate) struct Bed {
    pub(crate) hub: Hub,
    pub(crate) runtime: Arc<Runtime>,
}

/// A running agent; dropping it stops it.
pub(crate) struct Agent(#[expect(dead_code, reason = "stops the agent when it is dropped")] DropGuard);

impl Bed {
    /// Starts a hub with further arguments.
    pub(crate) fn start(test: &str, runtime: &Arc<Runtime>, arguments: &[&str]) -> Result<Self> {
        let folder = scratch()?.folder(test)?;
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let options = HubOptions { arguments, ..HubOptions::below(&folder, "observed") };
        for folder in [&options.directory, &options.logs] {
            fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        }
        fs::write(options.directory.join("catalogue.yaml"), CATALOGUE).context("write the catalogue")?;
        let hub = Hub::start(&StarlingPrograms::of_this_build()?, &options)?;
        wait("the catalogue to be read", || hub.ask(&["get", "addons", "web"]).map(drop))?;
        Ok(Self { hub, runtime: Arc::clone(runtime) })
    }

    /// Adopts a cluster.
    pub(crate) fn adopt(&self, name: &str) -> Result<Adoption> {
        self.hub.ask_json(&["adopt", "cluster", name, "--workspace", WORKSPACE, "--label", "tier=edge"])
    }

    /// Starts an agent in a cluster in memory.
    pub(crate) fn run_agent(&self, name: &str, adoption: &Adoption) -> Agent {
        let cluster = SimulatedCluster::new(SimulatedOptions {
            name: name.to_owned(),
            background_objects: 0,
            settle: Duration::from_millis(50),
            kubernetes_version: "v1.35.4".to_owned(),
        });
        let config = AgentConfig {
            hub: self.hub.address(),
            fleet: self.hub.options().fleet.clone(),
            trust_pem: adoption.trust_pem.clone().into_bytes(),
            token: TokenSource::Text(adoption.token.clone()),
            cluster_name: String::new(),
            identity: IdentityPlace::Secret("identity".to_owned()),
            version: "test".to_owned(),
        };
        let stop = CancellationToken::new();
        let agent = starling_agent::run(config, Arc::new(SimulatedApi(cluster)), Ports::system(), stop.clone());
        self.runtime.spawn(async move { agent.await.expect("an agent ends when it is asked to") });
        Agent(stop.drop_guard())
    }

    /// Opens a channel to the hub, trusting what an adoption says.
    pub(crate) fn channel(&self, adoption: &Adoption) -> Result<Channel> {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(adoption.trust_pem.as_bytes()) {
            roots.add(authority?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (connector, address) = (TlsConnector::from(Arc::new(config)), self.hub.address());
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
        let connect = tower::service_fn(move |_: Uri| {
            let (connector, address) = (connector.clone(), address.clone());
            async move {
                let stream = tokio::net::TcpStream::connect(address).await?;
                let name = ServerName::try_from("127.0.0.1").expect("an address is a name");
                connector.connect(name, stream).await.map(TokioIo::new)
            }
        });
        self.runtime.block_on(endpoint.connect_with_connector(connect)).context("open a channel")
    }

    /// Reads the administrator's token.
    pub(crate) fn token(&self) -> Result<String> {
        let path = self.hub.options().state.join("keys/admin.token");
        Ok(fs::read_to_string(path).context("read the administrator's token")?.trim().to_owned())
    }

    /// Returns what the hub shows at `/metrics`.
    pub(crate) fn metrics(&self) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.hub.http_port())).context("connect to the hub")?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("read the metrics")?;
        let Some((head, body)) = answer.split_once("\r\n\r\n") else { bail!("no HTTP answer: {answer:?}") };
        ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
        Ok(body.to_owned())
    }

    /// Returns the value of one series.
    pub(crate) fn metric(&self, series: &str) -> Result<f64> {
        let text = self.metrics()?;
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.with_context(|| format!("{series} is not shown"))?.parse().context("read a value")
    }
}

fn scratch() -> Result<&'static Scratch> {
    static SCRATCH: OnceLock<Result<Scratch, String>> = OnceLock::new();
    let take = || Scratch::of_tier(env!("CARGO_TARGET_TMPDIR"), "observability").map_err(|error| format!("{error:#}"));
    SCRATCH.get_or_init(take).as_ref().map_err(|error| anyhow!("{error}"))
}
