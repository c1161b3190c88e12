//! The agent's program.

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.install_default().map_err(|_| anyhow::anyhow!("a TLS provider is installed already"))?;
    // One thread is enough for one cluster, and keeps an idle agent small.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(starling_agent::program::main())
}
