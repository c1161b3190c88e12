//! The grammar of commands that change something.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::duration;
use super::look::{OUTPUT, OneFormat, Selection};
use crate::kind::{Deletable, DeletableParser, Subject};

/// What is brought into the fleet or taken out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClusterWord {
    /// A managed cluster
    #[value(alias = "clusters", alias = "managedcluster", alias = "mc", alias = "cl")]
    Cluster,
}

/// How the result of an adoption is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AdoptFormat {
    /// The manifest to apply in the cluster
    Yaml,
    /// The command that installs the agent with Helm
    Helm,
    /// Token, authorities, address, manifest and command, for scripts
    Json,
}

/// Takes `starling adopt`.
#[derive(Debug, Args)]
#[command(after_help = "\
The manifest goes to standard output, hints go to standard error:
  starling adopt cluster edge-1 -w retail --label env=prod | kubectl --context edge-1 apply -f -
With Helm, instead:
  starling adopt cluster edge-1 -w retail -o helm | HELM_KUBECONTEXT=edge-1 sh

Repeating it is harmless: it makes a new one-time token for the same cluster.")]
pub(crate) struct AdoptArguments {
    /// What to adopt
    #[arg(value_enum, value_name = "KIND")]
    pub(crate) kind: ClusterWord,
    /// The cluster's name in the fleet
    pub(crate) name: String,
    /// The workspace that the cluster belongs to
    #[arg(short, long)]
    pub(crate) workspace: String,
    /// A label of the cluster; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub(crate) labels: Vec<(String, String)>,
    /// How long the one-time token is good for [default: the hub's]
    #[arg(long, value_parser = duration::parse, value_name = "DURATION")]
    pub(crate) token_ttl: Option<Duration>,
    /// The agent's image [default: the one of this version]
    #[arg(long, env = "STARLING_AGENT_IMAGE", value_name = "REF")]
    pub(crate) image: Option<String>,
    /// The agent's Helm chart [default: the one of this version]
    #[arg(long, env = "STARLING_AGENT_CHART", value_name = "CHART")]
    pub(crate) chart: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value = "yaml")]
    pub(crate) output: AdoptFormat,
}

/// Takes `starling detach`.
#[derive(Debug, Args)]
#[command(after_help = "\
Detaching has two stages: syncing stops and everything installed is left in place; when the cluster's agent has said so,
its identity is dropped. --forget drops it at once, for a cluster whose agent is gone for good.

--delete first removes what Starling installed there, in order, after asking for the count of installs. A script passes it:
  starling detach cluster edge-1 -w retail --delete --approve 12 --wait")]
pub(crate) struct DetachArguments {
    /// What to detach
    #[arg(value_enum, value_name = "KIND")]
    pub(crate) kind: ClusterWord,
    /// The cluster, NAME or WORKSPACE/NAME
    pub(crate) name: String,
    /// The workspace that the cluster belongs to
    #[arg(short, long)]
    pub(crate) workspace: Option<String>,
    /// Drop the identity without the agent's word
    #[arg(long)]
    pub(crate) forget: bool,
    /// Remove what Starling installed there first
    #[arg(long, conflicts_with = "forget")]
    pub(crate) delete: bool,
    /// The number of installs that go, as approval
    #[arg(long, value_name = "COUNT")]
    pub(crate) approve: Option<u64>,
    /// Wait until the cluster has left the fleet
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait
    #[arg(long, default_value = "10m", value_parser = duration::parse, value_name = "DURATION", requires = "wait")]
    pub(crate) wait_timeout: Duration,
}

/// Takes `starling apply`.
#[derive(Debug, Args)]
#[command(after_help = "\
A hub with a directory writes it; on Kubernetes the resources are applied in the API server, as you.")]
pub(crate) struct ApplyArguments {
    /// A file, a directory of *.yaml and *.yml, or - for standard input; may be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Look into directories of directories too
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// Only tell what would happen
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Take over fields that others manage; on Kubernetes alone
    #[arg(long)]
    pub(crate) force_conflicts: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: OneFormat,
}

/// Takes `starling delete`.
#[derive(Debug, Args)]
#[command(after_help = "\
Shows what would go from how many clusters, and asks for the count. A script passes the count that it expects:
  starling delete assignment podinfo -w payments --approve 12
Without --approve a script gets exit code 3 and the count; where nothing is installed, nothing needs approval.")]
pub(crate) struct DeleteArguments {
    /// assignment, addon, cluster, tombstone, workspace or token
    #[arg(value_name = "KIND", value_parser = DeletableParser, hide_possible_values = true)]
    #[arg(required_unless_present = "files", conflicts_with = "files")]
    pub(crate) subject: Option<Subject<Deletable>>,
    /// NAME or WORKSPACE/NAME; of a token its id or the beginning of it
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Delete the resources of a file, a directory or - for standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Look into directories of directories too
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// The workspace
    #[arg(short, long, alias = "workspace", short_alias = 'w', value_name = "WORKSPACE")]
    pub(crate) namespace: Option<String>,
    /// The number of installs that go, as approval
    #[arg(long, value_name = "COUNT")]
    pub(crate) approve: Option<u64>,
    /// Only tell what would go
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Takes `starling approve`.
#[derive(Debug, Args)]
pub(crate) struct ApproveArguments {
    /// The proposal; none lists all that wait
    pub(crate) proposal: Option<String>,
    /// The number of installs that the list showed
    #[arg(long, value_name = "COUNT", requires = "proposal")]
    pub(crate) count: Option<u64>,
}

/// Takes `starling reconcile`, `suspend` and `resume`.
#[derive(Debug, Args)]
#[command(after_help = "\
One object:
  starling reconcile HelmRelease/podinfo -n starling-addons --cluster edge-1
A selection, paced:
  starling reconcile --kind hr --health failing -l env=prod --per-second 20")]
pub(crate) struct RunArguments {
    /// KIND/NAME, KIND/NAMESPACE/NAME, or what `get objects -o name` prints
    pub(crate) object: Option<String>,
    /// Which objects.
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Every object of the fleet
    #[arg(long, conflicts_with = "object", help_heading = "Selection")]
    pub(crate) all: bool,
    /// How many objects a second over the whole selection [default: the hub's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    #[arg(help_heading = "How")]
    pub(crate) per_second: Option<u32>,
    /// Only count
    #[arg(long, help_heading = "How")]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(short, long, help_heading = "How")]
    pub(crate) yes: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text", help_heading = OUTPUT)]
    pub(crate) output: OneFormat,
}

/// What to do with the hub's store.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// End the hold after a loss of the store, by beginning a new era
    #[command(after_help = "\
The fleet holds when the hub's store is empty or older than what its clusters have seen: nothing is changed anywhere until
somebody says so. Recovering takes what the hub's resources say now as the truth and begins a new era. Clusters keep
what they have; removals and approvals of the old era wait for approval again, and open join tokens are void.")]
    Recover {
        /// The fleet's name, as a confirmation
        #[arg(long)]
        fleet: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

pub(super) fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not KEY=VALUE")),
    }
}
