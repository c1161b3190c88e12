//! `cargo xtask loadtest`: builds everything at full speed and runs `starling-loadtest` with what it is given.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;
use clap::Args;
use starling_realparts::{Program, Programs};

use crate::build;

/// What the load test is given.
#[derive(Debug, Args)]
pub(crate) struct LoadtestArguments {
    /// Arguments of `starling-loadtest`, such as `run loadtest/scenarios/numbers.toml`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    arguments: Vec<String>,
}

/// Builds and runs.
pub(crate) fn run(arguments: &LoadtestArguments) -> Result<()> {
    let program = build::release_programs()?.join("starling-loadtest");
    let arguments = &arguments.arguments;
    build::run("the load test", Command::new(program).args(arguments).args(etcd(arguments)?))
}

/// Returns what says where etcd is, which is built for a run that starts one and is not told otherwise.
fn etcd(arguments: &[String]) -> Result<Vec<OsString>> {
    let is_told = arguments.iter().any(|argument| argument == "--etcd" || argument.starts_with("--etcd="));
    if is_told || arguments.first().is_none_or(|command| command != "run") {
        return Ok(Vec::new());
    }
    // Which of the arguments is the scenario, and whether it is one, the load test itself says.
    let texts = arguments.iter().filter_map(|argument| std::fs::read_to_string(argument).ok());
    if !texts.into_iter().any(|text| has_several_processes(&text)) {
        return Ok(Vec::new());
    }
    let etcd = Programs::ensure(&[Program::Etcd])?.path(Program::Etcd)?;
    Ok(vec!["--etcd".into(), etcd.into()])
}

/// Tells whether a text is a scenario that wants a hub of several processes.
fn has_several_processes(text: &str) -> bool {
    let scenario = text.parse::<toml::Table>().unwrap_or_default();
    let processes = scenario.get("hub").and_then(|hub| hub.get("processes")).and_then(toml::Value::as_integer);
    processes.is_some_and(|processes| processes > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_of_several_processes_wants_etcd() {
        assert!(has_several_processes("name = \"a\"\n[hub]\nprocesses = 3\n"));
        for other in ["name = \"a\"\n", "[hub]\nprocesses = 1\n", "contexts: []"] {
            assert!(!has_several_processes(other), "{other}");
        }
        let run = |words: &[&str]| etcd(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert!(run(&["compare", "a", "b"]).expect("nothing is built").is_empty());
        assert!(run(&["run", "nowhere.toml", "--etcd", "etcd"]).expect("nothing is built").is_empty());
    }
}
