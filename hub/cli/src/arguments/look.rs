//! The grammar of commands that only look.

use clap::{Args, ValueEnum};

use crate::kind::{Listed, ListedParser, Subject};

/// The heading of options that say how to print; without one they would stand under the selection's.
pub(super) const OUTPUT: &str = "Output";

/// How a list is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// A table for people
    #[default]
    Table,
    /// A table with more columns and whole messages
    Wide,
    /// One JSON document; with --watch one a line
    Json,
    /// YAML
    Yaml,
    /// Names alone, as other commands take them
    Name,
}

/// How one document is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OneFormat {
    /// Text for people
    #[default]
    Text,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// Takes `starling status`.
#[derive(Debug, Args)]
#[command(after_help = "Exits with 6 while the fleet holds, so that `starling status` can guard a script.")]
pub(crate) struct StatusArguments {
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: OneFormat,
}

/// Takes `starling whoami`.
#[derive(Debug, Args)]
pub(crate) struct WhoAmIArguments {
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: OneFormat,
}

/// Takes `starling version`.
#[derive(Debug, Args)]
pub(crate) struct VersionArguments {
    /// Only this program's version; asks no hub
    #[arg(long)]
    pub(crate) client: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: OneFormat,
}

/// Which clusters, and which objects on them.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct Selection {
    /// Only clusters, assignments or addons of this workspace
    #[arg(short, long, value_name = "NAME")]
    pub(crate) workspace: Option<String>,
    /// Only clusters whose labels match, such as env=prod,tier!=edge or 'env in (a,b)'
    #[arg(short = 'l', long = "selector", value_name = "LABELS")]
    pub(crate) labels: Option<String>,
    /// Only these clusters, NAME or WORKSPACE/NAME
    #[arg(long = "cluster", value_name = "CLUSTER", value_delimiter = ',')]
    pub(crate) clusters: Vec<String>,
    /// Only Flux objects of this kind, such as HelmRelease, hr or ks
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// Only Flux objects and installs of this namespace in their cluster; the workspace for addons and assignments
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Only what this assignment brought, NAME or WORKSPACE/NAME
    #[arg(long, value_name = "ASSIGNMENT")]
    pub(crate) assignment: Option<String>,
    /// Only these healths: stalled, failing (and retrying), unknown, stale, progressing, deleting, suspended, ready, none;
    /// 'trouble' is stalled and failing, and for installs also rejected and blocked
    #[arg(long, value_name = "HEALTH", value_delimiter = ',')]
    pub(crate) health: Vec<String>,
}

/// Takes `starling get`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  starling get clusters -l env=prod
  starling get objects --health trouble -o wide
  starling get installs --assignment payments/podinfo --watch
  starling get objects --kind hr --health failing -o name | xargs -n1 starling reconcile

JSON and YAML:
  {apiVersion: starling.dev/v1alpha1, kind: ClusterList, items: [...]}
  with --watch, one a line: {type: ADDED|MODIFIED|DELETED, kind: Cluster, object: {...}}")]
pub(crate) struct GetArguments {
    /// What to list; singular and short forms are understood (cluster, cl, obj, ...)
    #[arg(value_name = "KIND", value_parser = ListedParser)]
    pub(crate) subject: Subject<Listed>,
    /// Only these, NAME or WORKSPACE/NAME
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Which of them.
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// How to print
    #[arg(short, long, value_enum, default_value = "table", help_heading = OUTPUT)]
    pub(crate) output: ListFormat,
    /// Leave the header out
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) no_headers: bool,
    /// Print what changes, until interrupted
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) watch: bool,
}

/// Takes `starling describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArguments {
    /// cluster, addon, assignment or object
    #[arg(value_name = "KIND", value_parser = ListedParser, hide_possible_values = true)]
    pub(crate) subject: Subject<Listed>,
    /// NAME or WORKSPACE/NAME; of an object also KIND/NAME, or what `get objects -o name` prints
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The workspace
    #[arg(short, long, value_name = "NAME")]
    pub(crate) workspace: Option<String>,
    /// The object's namespace in its cluster; the workspace for an addon or assignment
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// The object's cluster
    #[arg(long, value_name = "CLUSTER")]
    pub(crate) cluster: Option<String>,
}
