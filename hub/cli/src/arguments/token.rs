//! The grammar of join tokens.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::change::parse_label;
use super::duration;

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TokenWord {
    /// A token with which clusters join a workspace by themselves
    #[value(alias = "jointoken", alias = "jt")]
    Token,
}

/// How a new token is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TokenFormat {
    /// The token, and the command that installs an agent with it by Helm
    Text,
    /// The manifest to apply in each cluster
    Yaml,
    /// The command that installs an agent with Helm, alone
    Helm,
    /// All of it, for scripts
    Json,
}

/// Takes `starling create token`.
#[derive(Debug, Args)]
#[command(after_help = "\
The token is shown once. With it clusters register by themselves, into this workspace and with these labels, whatever their
agents say. Each names itself: put its name in the place of ${CLUSTER_NAME}, which envsubst, Flux and Cluster API's tools do.

  starling create token -w retail --label env=prod --uses 50 --ttl 7d -o yaml > agent.yaml
  CLUSTER_NAME=edge-7 envsubst '$CLUSTER_NAME' < agent.yaml | kubectl --context edge-7 apply -f -")]
pub(crate) struct CreateArguments {
    /// What to make
    #[arg(value_enum, value_name = "KIND")]
    pub(crate) kind: TokenWord,
    /// The workspace that the clusters join
    #[arg(short, long)]
    pub(crate) workspace: String,
    /// A label that each cluster gets; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub(crate) labels: Vec<(String, String)>,
    /// How many clusters may join with it [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) uses: Option<u32>,
    /// How long it is good for [default: the hub's]
    #[arg(long, value_parser = duration::parse, value_name = "DURATION")]
    pub(crate) ttl: Option<Duration>,
    /// A note for people
    #[arg(long, default_value = "", value_name = "TEXT", hide_default_value = true)]
    pub(crate) description: String,
    /// The cluster's name in the manifest and the command [default: ${CLUSTER_NAME}]
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster_name: Option<String>,
    /// The agent's image [default: the one of this version]
    #[arg(long, env = "STARLING_AGENT_IMAGE", value_name = "REF")]
    pub(crate) image: Option<String>,
    /// The agent's Helm chart [default: the one of this version]
    #[arg(long, env = "STARLING_AGENT_CHART", value_name = "CHART")]
    pub(crate) chart: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: TokenFormat,
}
