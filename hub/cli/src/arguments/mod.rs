//! The command line's grammar.

pub(crate) mod change;
pub(crate) mod duration;
pub(crate) mod look;
pub(crate) mod shards;
pub(crate) mod token;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::terminal::ColorChoice;

const EXIT_CODES: &str = "\
Exit codes:
  0  all was done
  1  something failed, or a permission is missing
  2  wrong usage, or a request that the hub calls invalid
  3  an approval is required: repeat with --approve COUNT
  4  not found
  5  the hub or its API server cannot be reached, or does not accept the credentials
  6  the fleet holds: `starling status` says what to run";

const KUBECTL_COMPLETION: &str = "\
kubectl finds plugins, and what completes them, by the names of programs on the PATH:
  ln -s \"$(command -v starling)\" ~/.local/bin/kubectl-starling
  starling completion kubectl > ~/.local/bin/kubectl_complete-starling
  chmod +x ~/.local/bin/kubectl_complete-starling";

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
    /// The kubeconfig that leads to the hub's own cluster [default: $KUBECONFIG or ~/.kube/config]
    #[arg(long, global = true, env = "STARLING_KUBECONFIG", hide_env_values = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig, instead of its current one
    #[arg(long, global = true, env = "STARLING_KUBE_CONTEXT", hide_env_values = true, value_name = "NAME")]
    pub(crate) kube_context: Option<String>,
    /// The hub's namespace in its own cluster [default: starling-system]
    #[arg(long, global = true, env = "STARLING_HUB_NAMESPACE", hide_env_values = true, value_name = "NAME")]
    pub(crate) hub_namespace: Option<String>,
    /// Call the hub in the name of this ServiceAccount, for a kubeconfig without a token
    #[arg(
        long,
        global = true,
        env = "STARLING_SERVICE_ACCOUNT",
        hide_env_values = true,
        value_name = "NAMESPACE/NAME"
    )]
    pub(crate) service_account: Option<String>,
    /// How long to wait for an answer of the hub
    #[arg(long, global = true, default_value = "30s", value_parser = duration::parse, value_name = "DURATION")]
    pub(crate) timeout: Duration,
    /// When to use colours; NO_COLOR is honoured
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN", hide_possible_values = true)]
    #[arg(help = "When to use colours: auto, always or never; NO_COLOR is honoured")]
    pub(crate) color: ColorChoice,
}

impl Global {
    /// Makes options that name a file of contexts and nothing else.
    pub(crate) fn of_file(config: &std::path::Path, timeout: Duration) -> Self {
        Self {
            config: Some(config.to_owned()),
            context: None,
            server: None,
            token_file: None,
            ca: None,
            kubeconfig: None,
            kube_context: None,
            hub_namespace: None,
            service_account: None,
            timeout,
            color: ColorChoice::Never,
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the hub, the fleet and whether it holds
    Status(look::StatusArguments),
    /// Show who you are to the hub
    Whoami(look::WhoAmIArguments),
    /// List clusters, addons, assignments, objects, installs, problems, proposals, tokens or shards
    Get(look::GetArguments),
    /// Show one thing with everything around it
    Describe(look::DescribeArguments),
    /// Bring a cluster into the fleet: prints the manifest to apply there
    Adopt(change::AdoptArguments),
    /// Make a token with which clusters join a workspace by themselves
    Create(token::CreateArguments),
    /// Take a cluster out of the fleet; what is installed there stays, or goes with --delete
    Detach(change::DetachArguments),
    /// Apply resources: into the hub's directory, or in its API server as you
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
    /// Look at how clusters are spread over the processes of the hub
    #[command(subcommand)]
    Shards(shards::ShardsCommand),
    /// Show which hub is asked, how it was found and in whose name; or manage contexts, as kubectl has them
    Config(ConfigArguments),
    /// Print a shell's completion script, or the one by which kubectl completes `kubectl starling`
    #[command(after_help = KUBECTL_COMPLETION)]
    Completion {
        /// The shell, or kubectl
        #[arg(value_enum)]
        shell: CompletionShell,
    },
    /// Answer kubectl, which asks how a line could go on.
    #[command(name = "__complete", hide = true, disable_help_flag = true)]
    Complete {
        /// The words so far; the last one is unfinished.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Show the versions of this program and of the hub
    Version(look::VersionArguments),
}

/// For whom a completion script is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompletionShell {
    /// bash
    Bash,
    /// elvish
    Elvish,
    /// fish
    Fish,
    /// PowerShell
    #[value(name = "powershell")]
    PowerShell,
    /// zsh
    Zsh,
    /// kubectl
    Kubectl,
}

/// Takes `starling config`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ConfigArguments {
    /// What to do with contexts; nothing shows which hub is asked.
    #[command(subcommand)]
    pub(crate) command: Option<ConfigCommand>,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: look::OneFormat,
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
