//! `cargo xtask loadtest`: builds everything at full speed and runs `starling-loadtest` with what it is given.

use std::process::Command;

use anyhow::Result;
use clap::Args;

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
    build::run("the load test", Command::new(program).args(&arguments.arguments))
}
