//! The grammar of what is asked about the hub's processes.

use clap::Subcommand;

use super::look::OneFormat;

/// What to do with the hub's processes.
#[derive(Debug, Subcommand)]
pub(crate) enum ShardsCommand {
    /// Show which clusters would move if processes of the hub joined or left; changes nothing
    #[command(after_help = "\
Examples:
  starling shards simulate --add 1
  starling shards simulate --remove starling-hub-3
  starling shards simulate --add 2 --remove starling-hub-0,starling-hub-1 -o json

Processes that join have the usual weight, 100. `starling get shards` shows those that there are.")]
    Simulate {
        /// How many processes join
        #[arg(long, value_name = "N", required_unless_present = "remove", value_parser = clap::value_parser!(u32).range(1..))]
        add: Option<u32>,
        /// The names of processes that leave; may be repeated
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        remove: Vec<String>,
        /// How to print
        #[arg(short, long, value_enum, default_value = "text")]
        output: OneFormat,
    },
}
