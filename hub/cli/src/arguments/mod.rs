//! The command line's grammar.

pub(crate) mod change;
pub(crate) mod duration;
pub(crate) mod look;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::terminal::ColorChoice;

const EXIT_CODES: &str = "\
Exit codes:
  0  all was done
  1  something failed
  2  wrong usage, or a request that the hub calls invalid
  3  an approval is required: repeat with --approve COUNT
  4  not found
  5  the hub cannot be reached, or does not accept the token
  6  the fleet holds: `starling status` says what to run";

/// Runs addons and watches Flux on many Kubernetes clusters as if they were one.
#[derive(Debug, Parser)]
#[command(name = "starling", version, after_help = EXIT_CODES, max_term_width = 120)]
pub(crate) struct Arguments {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) global: Global,
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The file of contexts [default: ~/.config/starling/config.yaml]
    #[arg(long, global = true, env = "STARLING_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The context to use instead of the current one
    #[arg(long, global = true, env = "STARLING_CONTEXT", hide_env_values = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The hub's address, instead of the context's
    #[arg(long, global = true, env = "STARLING_SERVER", hide_env_values = true, value_name = "HOST:PORT")]
    pub(crate) server: Option<String>,
    /// A file with the administrator's token, instead of the context's
    #[arg(long, global = true, env = "STARLING_TOKEN_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// A PEM file with the authorities to trust, instead of the context's
    #[arg(long, global = true, env = "STARLING_CA", hide_env_values = true, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// How long to wait for an answer of the hub
    #[arg(long, global = true, default_value = "30s", value_parser = duration::parse, value_name = "DURATION")]
    pub(crate) timeout: Duration,
    /// When to use colours; NO_COLOR is honoured
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN", hide_possible_values = true)]
    #[arg(help = "When to use colours: auto, always or never; NO_COLOR is honoured")]
    pub(crate) color: ColorChoice,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the hub, the fleet and whether it holds
    Status(look::StatusArguments),
    /// List clusters, addons, assignments, objects, installs, problems or proposals
    Get(look::GetArguments),
    /// Show one thing with everything around it
    Describe(look::DescribeArguments),
    /// Bring a cluster into the fleet: prints the manifest to apply there
    Adopt(change::AdoptArguments),
    /// Take a cluster out of the fleet; what is installed there stays
    Detach(change::DetachArguments),
    /// Write resources into the hub's directory
    Apply(change::ApplyArguments),
    /// Delete resources, after showing what would go from how many clusters
    Delete(change::DeleteArguments),
    /// List what waits for approval, or approve it
    Approve(change::ApproveArguments),
    /// Ask Flux to reconcile objects now
    Reconcile(change::RunArguments),
    /// Suspend objects: Flux leaves them as they are
    Suspend(change::RunArguments),
    /// Resume suspended objects
    Resume(change::RunArguments),
    /// Care for the hub's store
    #[command(subcommand)]
    Store(change::StoreCommand),
    /// Manage contexts, as kubectl has them
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a shell's completion script
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Show the versions of this program and of the hub
    Version(look::VersionArguments),
}

/// What to do with contexts.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// List the contexts
    GetContexts {
        /// Print names alone
        #[arg(short, long, value_parser = ["name"])]
        output: Option<String>,
        /// Leave the header out
        #[arg(long)]
        no_headers: bool,
    },
    /// Print the current context's name
    CurrentContext,
    /// Make a context the current one
    UseContext {
        /// The context
        name: String,
    },
    /// Print the contexts as YAML
    View {
        /// Print certificates too
        #[arg(long)]
        raw: bool,
    },
    /// Add a context or change one
    SetContext {
        /// The context
        name: String,
        /// Make it the current one
        #[arg(long)]
        current: bool,
    },
    /// Take over all contexts of another file, such as a hub's <state>/admin.yaml
    Import {
        /// The file
        file: PathBuf,
        /// The name of the context here, where the file holds a single one
        #[arg(long)]
        name: Option<String>,
    },
    /// Delete a context
    DeleteContext {
        /// The context
        name: String,
    },
}
