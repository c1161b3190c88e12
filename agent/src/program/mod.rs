//! The program around an agent: flags, logs, signals, the liveness page.

mod flags;
mod http;
mod logs;

use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub use self::flags::Flags;
use crate::cluster::kube::KubeCluster;
use crate::ports::Ports;

/// Runs the program: an agent with its machine's clocks and network, until SIGTERM or SIGINT.
///
/// # Errors
/// Flags that cannot be used, a kubeconfig that cannot be read, a defect of the agent.
pub async fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    logs::start(flags.log_format);
    let config = flags.config().context("read configuration")?;
    let cluster = KubeCluster::connect(flags.kubeconfig.as_deref(), &flags.namespace)
        .await
        .context("configure access to the cluster")?;
    let shutdown = CancellationToken::new();
    tokio::spawn(wait_for_signal(shutdown.clone()));
    if let Some(address) = flags.http {
        http::serve(address).await.with_context(|| format!("listen on {address}"))?;
    }
    crate::run(config, Arc::new(cluster), Ports::system(), shutdown).await
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
