//! `cargo xtask loadtest`: builds everything at full speed and runs `starling-loadtest` with what it is given, and with the programs
//! that a scenario compares with.

use std::collections::BTreeSet;
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
    let arguments = &arguments.arguments;
    let program = build::release_programs()?.join("starling-loadtest");
    build::run("the load test", Command::new(program).args(arguments).args(parts(arguments)?))
}

/// Returns what says where the real programs are that a run starts and is not told of; they are built if they are not there yet.
fn parts(arguments: &[String]) -> Result<Vec<OsString>> {
    if arguments.first().is_none_or(|command| command != "run" && command != "grow") {
        return Ok(Vec::new());
    }
    // Which of the arguments is the scenario, and whether it is one, the load test itself says.
    let scenarios = arguments.iter().filter_map(|argument| std::fs::read_to_string(argument).ok());
    let wanted: BTreeSet<_> = scenarios.flat_map(|text| wanted(&text)).collect();
    let is_told = |option: &str| {
        arguments.iter().any(|argument| argument == option || argument.starts_with(&format!("{option}=")))
    };
    let wanted: Vec<_> = wanted.into_iter().filter(|(option, _)| !is_told(option)).collect();
    let programs: Vec<Program> = wanted.iter().map(|(_, program)| *program).collect();
    if programs.is_empty() {
        return Ok(Vec::new());
    }
    let built = Programs::ensure(&programs)?;
    let mut options: Vec<OsString> = Vec::new();
    for (option, program) in wanted {
        options.extend([option.into(), built.path(program)?.into()]);
    }
    Ok(options)
}

/// Returns the programs that a text wants if it is a scenario, each with the option that says where it is.
fn wanted(text: &str) -> Vec<(&'static str, Program)> {
    let scenario = text.parse::<toml::Table>().unwrap_or_default();
    let value = |section: &str, key: &str| scenario.get(section).and_then(|section| section.get(key)).cloned();
    let has_several_processes =
        value("hub", "processes").and_then(|processes| processes.as_integer()).is_some_and(|processes| processes > 1);
    let has_alternative = value("compare", "alternative").is_some();
    let mut wanted = Vec::new();
    if has_several_processes || has_alternative {
        wanted.push(("--etcd", Program::Etcd));
    }
    if has_alternative {
        wanted.push(("--kube-apiserver", Program::KubeApiserver));
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_say_which_programs_they_want() {
        let options = |text| wanted(text).into_iter().map(|(option, _)| option).collect::<Vec<_>>();
        assert_eq!(options("[hub]\nprocesses = 3\n"), ["--etcd"]);
        assert_eq!(options("[compare]\nalternative = { clusters = [10] }\n"), ["--etcd", "--kube-apiserver"]);
        for other in ["name = \"a\"\n", "[hub]\nprocesses = 1\n", "[compare]\nfloor = true\n", "contexts: []"] {
            assert!(wanted(other).is_empty(), "{other}");
        }
        let run = |words: &[&str]| parts(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert!(run(&["compare", "a", "b"]).expect("nothing is built").is_empty());
        let scenarios = build::root().join("loadtest/scenarios/alternative.toml").display().to_string();
        let told = ["run", &scenarios, "--etcd", "etcd", "--kube-apiserver=kube-apiserver"];
        assert!(run(&told).expect("nothing is built").is_empty());
    }
}
