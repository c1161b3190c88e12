//! The command line of Starling: it asks the hub's admin API and shows the answers to people and to scripts.
//!
//! Owns arguments, contexts, tables and documents on standard output, questions on the terminal, and exit codes. Does not
//! own any decision about the fleet: every rule (budgets, approvals, what a selector means) is the hub's.

mod arguments;
pub mod client;
mod commands;
mod contexts;
mod documents;
mod failure;
mod helm;
mod hub;
mod kind;
mod kubernetes;
mod manifest;
mod reference;
mod render;
mod resolve;
mod source;
mod terminal;
mod views;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

use crate::arguments::Arguments;
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;

/// The program's name when kubectl starts it as a plugin.
const PLUGIN_PROGRAM: &str = "kubectl-starling";

/// Runs the command that the process's arguments name and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let arguments = match parse(&words) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version go to standard output and are no failure; a closed pipe is not worth a word.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8));
        }
    };
    let terminal = Terminal::detect(arguments.global.color);
    let is_plugin = is_plugin(&words);
    match run(arguments, &terminal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let failure = if is_plugin { failure.reworded(plugin_words) } else { failure };
            failure.report(&terminal);
            ExitCode::from(failure.exit() as u8)
        }
    }
}

fn parse(words: &[OsString]) -> Result<Arguments, clap::Error> {
    let mut command = Arguments::command();
    if is_plugin(words) {
        command = as_plugin(command).bin_name("kubectl starling");
    }
    let mut matches = command.try_get_matches_from_mut(words)?;
    Arguments::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// Writes examples as a plugin's user types them.
fn as_plugin(mut command: clap::Command) -> clap::Command {
    if let Some(text) = command.get_after_help() {
        let text = plugin_words(&text.to_string());
        command = command.after_help(text);
    }
    command.mut_subcommands(as_plugin)
}

/// Puts `kubectl` before each command of this program in a text.
fn plugin_words(text: &str) -> String {
    text.replace("`starling ", "`kubectl starling ").replace("  starling ", "  kubectl starling ")
}

fn is_plugin(words: &[OsString]) -> bool {
    let program = words.first().and_then(|word| Path::new(word).file_stem());
    program.is_some_and(|name| name.to_string_lossy().replace('_', "-") == PLUGIN_PROGRAM)
}

fn run(arguments: Arguments, terminal: &Terminal) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot start: {error}")))?;
    runtime.block_on(commands::run(arguments, terminal))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_kubectl_plugin_is_known_by_its_name() {
        assert!(is_plugin(&words("/usr/bin/kubectl-starling get")));
        assert!(!is_plugin(&words("/usr/bin/starling get")));
        let help = parse(&words("kubectl-starling get --help")).expect_err("help").to_string();
        assert!(help.contains("Usage: kubectl starling get"), "{help}");
        assert!(help.contains("\n  kubectl starling get clusters -l env=prod"), "{help}");
    }

    #[test]
    fn wrong_usage_exits_with_two() {
        let error = parse(&words("starling get nonsense")).expect_err("no such kind");
        assert_eq!(error.exit_code(), Exit::Usage as i32);
        assert!(error.to_string().contains("clusters, addons"), "{error}");
    }
}
