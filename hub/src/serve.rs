//! A hub on a real machine: files, sockets, signals.

use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result};
use starling_model::Limits;

use crate::accept::AcceptLimits;
use crate::config::Config;
use crate::hub::{Hub, HubParts, Inputs, READY};
use crate::keyring::{GivenAuthority, KeyDirectory, Keyring, KeyringOptions, write_admin_context};
use crate::metrics::{DiskCollector, Metrics};
use crate::ports::{Clock, Entropy, OsEntropy, SystemClock, TcpListenerPort};
use crate::shutdown::Signals;
use crate::source::Directory;
use crate::steward::Audit;
use crate::store::redb::RedbStore;
use crate::store::{Store as _, keys};
use crate::web::{self, Readiness};

/// The hub's name in its own records: one process is the whole hub.
const PROCESS: &str = "hub";

/// Runs a hub until SIGTERM or SIGINT; a second signal ends it at once.
///
/// # Errors
/// It cannot start, or a task that it cannot be without has ended.
pub async fn serve(config: &Config, metrics: Metrics) -> Result<()> {
    let mut signals = Signals::install().context("take over SIGTERM and SIGINT")?;
    let readiness = Readiness::waiting_for(&[READY]);
    let disk = DiskCollector { state: config.state.clone(), store: config.store() };
    metrics.register(|registry| registry.register_collector(Box::new(disk)));
    let http = TcpListenerPort::bind(config.http).await;
    let http = http.with_context(|| format!("listen on {} for monitoring", config.http))?;
    let monitoring = web::serve(Arc::new(http), metrics.clone(), readiness.clone(), std::future::pending());
    // Ends with the process: monitoring watches the end, too.
    tokio::spawn(monitoring);

    let mut hub = start(config, metrics, readiness.clone()).await?;
    tracing::info!(fleet = %config.fleet, listen = %config.listen, http = %config.http, "the hub serves");
    let outcome = tokio::select! {
        biased;
        signal = signals.next() => {
            tracing::info!(signal, "stopping");
            Ok(())
        }
        died = hub.died() => Err(died),
    };
    readiness.not_ready(READY, "stopping");
    hub.shutdown(config.shutdown_timeout())
        .run(async move {
            signals.next().await;
        })
        .await?;
    tracing::info!("stopped");
    Ok(outcome?)
}

async fn start(config: &Config, metrics: Metrics, readiness: Readiness) -> Result<Hub> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    let directory = config.directory();
    for folder in [&config.state, &directory] {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    // The lock first: whoever has it is the hub, and nobody else may touch what lies beside it.
    let store = RedbStore::open(&config.store(), Arc::clone(&clock))?;
    // A first start that was cut short left a file without a fleet in it, which needs no secrets yet.
    let has_fleet = store.get(keys::ERA.as_bytes()).await?.is_some();
    let listener = TcpListenerPort::bind(config.listen).await;
    let listener = listener.with_context(|| format!("listen on {} for agents", config.listen))?;
    let bound = listener.socket_address();
    let ports = (clock.as_ref(), entropy.as_ref());
    let authority = config.authority_dir.as_deref().map(GivenAuthority::read).transpose()?;
    let names = config.server_names(bound);
    let options = KeyringOptions { fleet: config.fleet.clone(), names, authority, has_store: has_fleet };
    let keyring = Keyring::open(Arc::new(KeyDirectory::new(&config.keys())), options, ports).await?;
    let agent_address = config.advertise(bound);
    write_context(config, &keyring, &agent_address)?;
    Hub::start(HubParts {
        name: PROCESS.to_owned(),
        agent_address,
        keyring: Arc::new(keyring),
        store: Arc::new(store),
        inputs: Inputs::Directory(Directory::new(&directory)),
        reviews: None,
        listener: Arc::new(listener),
        accept: AcceptLimits::for_connections(config.connections()),
        limits: Limits::DEFAULT,
        audit: Audit::to_file(&config.state.join("audit.jsonl")).context("open the audit record")?,
        clock,
        entropy,
        metrics,
        readiness,
        certificate_lifetime: config.certificate_lifetime(),
    })
    .await
}

/// Writes a ready-made context for the command line; the token stays in its own file.
fn write_context(config: &Config, keyring: &Keyring, server: &str) -> Result<()> {
    let token = fs::canonicalize(config.keys().join("admin.token")).context("find the admin token")?;
    let file = config.admin_context();
    write_admin_context(&file, &config.fleet, server, keyring.authority().pem(), &token)
        .with_context(|| format!("write {}", file.display()))
}
