//! A hub on a real machine: files, sockets, signals.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use starling_model::Limits;

use crate::accept::AcceptLimits;
use crate::access::{KubernetesReviews, Reviews};
use crate::config::{Config, StoreKind};
use crate::hub::{Hub, HubParts, Inputs, OneOfMany, Process, READY};
use crate::keyring::{
    GivenAuthority, KeyDirectory, KeyStorage, Keyring, KeyringOptions, write_admin_context, write_private,
};
use crate::kubernetes::{self, KeySecret};
use crate::member::Identity;
use crate::metrics::{DiskCollector, Metrics};
use crate::ports::{Clock, Entropy, EntropyExt as _, OsEntropy, SystemClock, TcpDialer, TcpListenerPort};
use crate::shutdown::Signals;
use crate::source::{Directory, SourceKind};
use crate::steward::Audit;
use crate::store::etcd::EtcdStore;
use crate::store::redb::RedbStore;
use crate::store::{Store, keys};
use crate::web::{self, Readiness};

/// How long to wait before the fleet's secrets, or a store that is away, are asked for again.
const RETRY: Duration = Duration::from_secs(2);

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

    // A store or secrets that are away are waited for, and whoever asks to stop does not wait with the hub.
    let mut hub = tokio::select! {
        biased;
        signal = signals.next() => {
            tracing::info!(signal, "stopping before the hub has started");
            return Ok(());
        }
        started = start(config, metrics, readiness.clone()) => started?,
    };
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
    fs::create_dir_all(&config.state).with_context(|| format!("make {}", config.state.display()))?;
    // The lock first: whoever has it is the hub, and nobody else may touch what lies beside it.
    let store = open_store(config, &clock, &entropy).await?;
    if config.store_place.store == StoreKind::Etcd {
        if config.source == SourceKind::Directory && config.process.keys.is_none() {
            bail!("processes over one etcd share the fleet's secrets: give all of them the same directory with --keys");
        }
        // Another fleet's store is told before secrets are missed that are another fleet's.
        keys::ensure_format(store.as_ref(), &config.fleet).await?;
    }
    // A first start that was cut short left a file without a fleet in it, which needs no secrets yet.
    let has_fleet = store.get(keys::ERA.as_bytes()).await?.is_some();
    let listener = TcpListenerPort::bind(config.listen).await;
    let listener = listener.with_context(|| format!("listen on {} for agents", config.listen))?;
    let bound = listener.socket_address();
    let ports = (clock.as_ref(), entropy.as_ref());
    let (inputs, storage, reviews) = open_source(config).await?;
    let authority = config.authority_dir.as_deref().map(GivenAuthority::read).transpose()?;
    let names = config.server_names(bound);
    let options = KeyringOptions { fleet: config.fleet.clone(), names, authority, has_store: has_fleet };
    let keyring = open_keyring(&storage, &options, ports).await?;
    let agent_address = config.advertise(bound);
    let process = process(config, &agent_address, entropy.as_ref())?;
    write_context(config, &keyring, &agent_address)?;
    Hub::start(HubParts {
        process,
        agent_address,
        keyring: Arc::new(keyring),
        store,
        inputs,
        reviews,
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

/// Opens the store; one that is away is waited for.
async fn open_store(config: &Config, clock: &Arc<dyn Clock>, entropy: &Arc<dyn Entropy>) -> Result<Arc<dyn Store>> {
    match config.store_place.store {
        StoreKind::Embedded => Ok(Arc::new(RedbStore::open(&config.store(), Arc::clone(clock))?)),
        StoreKind::Etcd => {
            let options = config.store_place.etcd(&config.fleet, &config.process.name()?);
            loop {
                let (clock, entropy) = (Arc::clone(clock), Arc::clone(entropy));
                match EtcdStore::connect(options.clone(), Arc::new(TcpDialer), clock, entropy).await {
                    Ok(store) => return Ok(Arc::new(store)),
                    Err(error) if error.retry_helps() => {
                        tracing::warn!(%error, "cannot reach etcd yet, trying again");
                        tokio::time::sleep(RETRY).await;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
}

/// Tells whether this process is the whole hub, or which of several it is.
fn process(config: &Config, advertised: &str, entropy: &dyn Entropy) -> Result<Process> {
    match config.store_place.store {
        StoreKind::Embedded => Ok(Process::Whole),
        StoreKind::Etcd => {
            let own_address = config.process.own_address.as_deref();
            let identity = Identity {
                name: config.process.name()?,
                incarnation: entropy.uid(),
                address: own_address.unwrap_or(advertised).to_owned(),
                weight: config.process.weight,
            };
            let dialer = Arc::new(TcpDialer);
            Ok(Process::OneOfMany(OneOfMany { identity, routing: config.process.routing, dialer }))
        }
    }
}

/// What depends on where resources come from.
type SourceSide = (Inputs, Arc<dyn KeyStorage>, Option<Arc<dyn Reviews>>);

/// Opens the source of resources, and with it the place of the fleet's secrets and whoever knows people.
async fn open_source(config: &Config) -> Result<SourceSide> {
    match config.source {
        SourceKind::Directory => {
            let directory = config.directory();
            fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
            let keys = Arc::new(match config.process.keys {
                Some(_) => KeyDirectory::shared(&config.keys()),
                None => KeyDirectory::new(&config.keys()),
            });
            Ok((Inputs::Directory(Directory::new(&directory)), keys, None))
        }
        SourceKind::Kubernetes => {
            let connection = kubernetes::connect(config.kubeconfig.as_deref(), config.namespace.as_deref()).await?;
            let keys = Arc::new(KeySecret::new(connection.client.clone(), &connection.namespace));
            let reviews = Arc::new(KubernetesReviews::new(connection.client.clone()));
            Ok((Inputs::Kubernetes(connection), keys, Some(reviews)))
        }
    }
}

/// Opens the keyring, and waits for a storage that is away: without its secrets a hub is nobody.
async fn open_keyring(
    storage: &Arc<dyn KeyStorage>,
    options: &KeyringOptions,
    ports: (&dyn Clock, &dyn Entropy),
) -> Result<Keyring> {
    loop {
        match Keyring::open(Arc::clone(storage), options.clone(), ports).await {
            Err(error) if error.may_pass() => {
                tracing::warn!(%error, "cannot read the fleet's secrets yet, trying again");
                tokio::time::sleep(RETRY).await;
            }
            opened => return Ok(opened?),
        }
    }
}

/// Writes a ready-made context for the command line; the token stays in its own file.
fn write_context(config: &Config, keyring: &Keyring, server: &str) -> Result<()> {
    let token = match config.source {
        SourceKind::Directory => config.keys().join("admin.token"),
        // For whoever has to come in without Kubernetes.
        SourceKind::Kubernetes => {
            let token = config.state.join("admin.token");
            write_private(&token, keyring.admin_token().as_bytes()).context("write the admin token")?;
            token
        }
    };
    let token = fs::canonicalize(token).context("find the admin token")?;
    let file = config.admin_context();
    write_admin_context(&file, &config.fleet, server, keyring.authority().pem(), &token)
        .with_context(|| format!("write {}", file.display()))
}
