//! The program's flags; each can be given as an environment variable too.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::builder::FalseyValueParser;
use clap::{ArgGroup, Parser, ValueEnum};
use starling_dial::Address;
use starling_model::labels;

use crate::config::{AgentConfig, TokenSource};
use crate::identity::IdentityPlace;

/// The agent of one managed cluster: watches Flux and applies what Starling's hub assigns to the cluster.
#[derive(Parser)]
#[command(name = "starling-agent", version)]
#[command(group(ArgGroup::new("authorities").required(true).args(["trust", "trust_pem"])))]
#[command(group(ArgGroup::new("identity").args(["identity_secret", "identity_file"])))]
pub struct Flags {
    /// The hub's address, host:port.
    #[arg(long, env = "STARLING_AGENT_HUB", value_name = "HOST:PORT")]
    pub hub: String,
    /// The fleet's name.
    #[arg(long, env = "STARLING_AGENT_FLEET")]
    pub fleet: String,
    /// File with the hub's certificate authorities, PEM.
    #[arg(long, env = "STARLING_AGENT_TRUST", value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// The hub's certificate authorities, PEM.
    #[arg(long, env = "STARLING_AGENT_TRUST_PEM", value_name = "PEM")]
    pub trust_pem: Option<String>,
    /// File with the one-time join token; read again for each attempt.
    #[arg(long, env = "STARLING_AGENT_TOKEN_FILE", value_name = "FILE")]
    pub token: Option<PathBuf>,
    /// The one-time join token itself, from the environment alone: a command line can be read by others.
    #[arg(skip = std::env::var("STARLING_AGENT_TOKEN").ok().map(Redacted))]
    pub token_text: Option<Redacted>,
    /// The name under which this cluster joins with a workspace's token; empty where the token names the cluster.
    #[arg(long, env = "STARLING_AGENT_CLUSTER_NAME", value_name = "NAME", default_value = "")]
    pub cluster_name: String,
    /// Secret in the agent's namespace that keeps key and certificate.
    #[arg(
        long,
        env = "STARLING_AGENT_IDENTITY_SECRET",
        value_name = "NAME",
        default_value = "starling-agent-identity"
    )]
    pub identity_secret: String,
    /// File that keeps key and certificate, for an agent outside of a cluster.
    #[arg(long, env = "STARLING_AGENT_IDENTITY_FILE", value_name = "FILE")]
    pub identity_file: Option<PathBuf>,
    /// Kubeconfig of the managed cluster; left out: KUBECONFIG, or the pod's service account.
    #[arg(long, env = "STARLING_AGENT_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of inventory and identity.
    #[arg(long, env = "STARLING_AGENT_NAMESPACE", default_value = labels::SYSTEM_NAMESPACE)]
    pub namespace: String,
    /// Wait as a standby until no other agent of this cluster is active.
    #[arg(long, env = "STARLING_AGENT_LEADER_ELECT", value_parser = FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub leader_elect: bool,
    /// Lease in the agent's namespace that tells who is active.
    #[arg(long, env = "STARLING_AGENT_LEASE", value_name = "NAME", default_value = "starling-agent")]
    pub lease: String,
    /// This process's name in the lease, another than that of every other agent of this cluster; left out: a random one.
    #[arg(long, env = "STARLING_AGENT_POD_NAME", value_name = "NAME")]
    pub pod_name: Option<String>,
    /// How to write logs.
    #[arg(long, env = "STARLING_AGENT_LOG_FORMAT", value_enum, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,
    /// Address of /healthz and /metrics; left out: none.
    #[arg(long, env = "STARLING_AGENT_HTTP", value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// Where traces go, OTLP over gRPC, such as http://collector:4317; left out: OTEL_EXPORTER_OTLP_ENDPOINT, or nowhere.
    #[arg(long, env = "STARLING_AGENT_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// A text that is never printed.
#[derive(Clone)]
pub struct Redacted(String);

impl Flags {
    /// Reads what the flags name.
    ///
    /// # Errors
    /// A file that cannot be read, an address without a port, names that the API server would not accept.
    pub fn config(&self) -> anyhow::Result<AgentConfig> {
        self.hub.parse::<Address>().context("--hub")?;
        starling_model::ids::check_label(&self.namespace).context("--namespace")?;
        starling_model::ids::check_label(&self.identity_secret).context("--identity-secret")?;
        starling_model::ids::check_label(&self.lease).context("--lease")?;
        let trust_pem = match (&self.trust, &self.trust_pem) {
            (Some(path), _) => {
                std::fs::read(path).with_context(|| format!("read authorities from {}", path.display()))?
            }
            (None, pem) => pem.clone().unwrap_or_default().into_bytes(),
        };
        let token = match (&self.token_text, &self.token) {
            (Some(text), _) => TokenSource::Text(text.0.clone()),
            (None, Some(path)) => TokenSource::File(path.clone()),
            (None, None) => TokenSource::None,
        };
        if !self.cluster_name.is_empty() {
            starling_model::ids::check_label(&self.cluster_name).context("--cluster-name")?;
        }
        let identity = match &self.identity_file {
            Some(path) => IdentityPlace::File(path.clone()),
            None => IdentityPlace::Secret(self.identity_secret.clone()),
        };
        Ok(AgentConfig {
            hub: self.hub.clone(),
            fleet: self.fleet.clone(),
            trust_pem,
            token,
            cluster_name: self.cluster_name.clone(),
            identity,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags_are_consistent() {
        Flags::command().debug_assert();
    }

    #[test]
    fn an_address_needs_a_port() {
        for (hub, is_address) in [("hub", false), ("[::1]", false), ("::1:8443", false), ("[::1]:8443", true)] {
            let flags = Flags::parse_from(["starling-agent", "--hub", hub, "--fleet", "demo", "--trust-pem", "x"]);
            assert_eq!(flags.config().is_ok(), is_address, "{hub}");
        }
    }
}
