//! The program around an agent: flags, logs, traces, signals, the liveness page and the metrics.

mod flags;
mod http;
mod logs;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use starling_dial::{Address, Proxies};
use starling_telemetry::export::{self, Export, Service};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub use self::flags::Flags;
use crate::cluster::kube::KubeCluster;
use crate::metrics::Metrics;
use crate::ports::Ports;
use crate::standby::Candidate;

/// How long the last traces of a stopping agent may take to leave.
const LAST_TRACES: Duration = Duration::from_secs(2);

/// Runs the program: an agent with its machine's clocks and network, until SIGTERM or SIGINT.
///
/// # Errors
/// Flags that cannot be used, a kubeconfig that cannot be read, a defect of the agent.
pub async fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let metrics = Metrics::new();
    let export = start_export(&flags, &metrics)?;
    logs::start(flags.log_format, export.as_ref());
    let config = flags.config().context("read configuration")?;
    let ports = Ports::behind(proxies_to(&config.hub)?);
    let cluster = KubeCluster::connect(flags.kubeconfig.as_deref(), &flags.namespace)
        .await
        .context("configure access to the cluster")?;
    let shutdown = CancellationToken::new();
    tokio::spawn(wait_for_signal(shutdown.clone()));
    if let Some(address) = flags.http {
        http::serve(address, metrics.clone()).await.with_context(|| format!("listen on {address}"))?;
    }
    let outcome = match flags.leader_elect {
        false => crate::run_measured(config, Arc::new(cluster), ports, shutdown, metrics).await,
        true => {
            let name = flags.pod_name.unwrap_or_else(|| format!("starling-agent-{}", ports.draw_uid()));
            let candidate = Candidate { lease: Arc::new(cluster.lease(&flags.lease)), name };
            crate::run_elected(config, Arc::new(cluster), ports, candidate, shutdown, metrics).await
        }
    };
    if let Some(export) = export {
        export.flush(LAST_TRACES).await;
    }
    outcome
}

/// Starts exporting traces where somebody asks for it.
fn start_export(flags: &Flags, metrics: &Metrics) -> anyhow::Result<Option<Export>> {
    let Some(endpoint) = export::endpoint(flags.otlp_endpoint.as_deref()) else { return Ok(None) };
    let service = Service { name: "starling-agent", version: env!("CARGO_PKG_VERSION"), fleet: flags.fleet.clone() };
    Ok(Some(Export::start(&endpoint, &service, &metrics.export)?))
}

/// Reads the proxy variables; says whether one of them leads to the hub.
fn proxies_to(hub: &str) -> anyhow::Result<Proxies> {
    let proxies = Proxies::from_env().context("read the proxy variables")?;
    let address: Address = hub.parse().context("--hub")?;
    if let Some(proxy) = proxies.leading_to(&address) {
        tracing::info!(%hub, %proxy, "the hub is dialled through a proxy");
    }
    Ok(proxies)
}

/// Stops the agent on the first signal; a second one ends the process at once.
async fn wait_for_signal(shutdown: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("cannot listen for signals");
        return;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if shutdown.is_cancelled() {
            std::process::exit(1);
        }
        tracing::info!("stopping");
        shutdown.cancel();
    }
}
