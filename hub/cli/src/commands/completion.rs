//! Completion scripts of shells, and answers for kubectl, which completes its plugins by asking them.

use clap::{Arg, Command, CommandFactory as _};
use clap_complete::Shell;

use crate::arguments::{Arguments, CompletionShell};
use crate::failure::Failure;
use crate::terminal::Output;

/// What kubectl runs as `kubectl_complete-starling`, with the words after `kubectl starling`.
const KUBECTL_SCRIPT: &str = "\
#!/bin/sh
# kubectl completes `kubectl starling` with this program, found on the PATH as kubectl_complete-starling.
exec kubectl-starling __complete -- \"$@\"
";

/// The last line of an answer: complete no file names (cobra's ShellCompDirectiveNoFileComp), or let the shell do so.
const NO_FILES: &str = ":4";
const FILES: &str = ":0";

/// Prints a completion script.
pub(super) fn script(shell: CompletionShell, output: &mut Output) -> Result<(), Failure> {
    let shell = match shell {
        CompletionShell::Bash => Shell::Bash,
        CompletionShell::Elvish => Shell::Elvish,
        CompletionShell::Fish => Shell::Fish,
        CompletionShell::PowerShell => Shell::PowerShell,
        CompletionShell::Zsh => Shell::Zsh,
        CompletionShell::Kubectl => return output.raw(KUBECTL_SCRIPT),
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "starling", &mut script);
    output.raw(&String::from_utf8_lossy(&script))
}

/// Prints how a line of words could go on, one candidate a line.
pub(super) fn complete(words: &[String], output: &mut Output) -> Result<(), Failure> {
    let (candidates, files) = candidates(words);
    candidates.iter().try_for_each(|candidate| output.line(candidate))?;
    output.line(if files { FILES } else { NO_FILES })
}

/// Returns the candidates for the last word, and whether it may be a file.
fn candidates(words: &[String]) -> (Vec<String>, bool) {
    let mut root = Arguments::command();
    root.build();
    let (last, before) = words.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    let mut command = &root;
    let mut awaited: Option<&Arg> = None;
    let mut position = 0;
    for word in before {
        if awaited.take().is_some() {
            continue;
        }
        if let Some(argument) = option(command, word) {
            awaited = Some(argument).filter(|argument| argument.get_action().takes_values() && !word.contains('='));
        } else if let Some(inner) = command.find_subcommand(word) {
            command = inner;
            position = 0;
        } else if !word.starts_with('-') {
            position += 1;
        }
    }
    if let Some(argument) = awaited {
        return values(argument, last);
    }
    if last.starts_with('-') {
        let longs = command.get_arguments().filter(|argument| !argument.is_hide_set()).filter_map(Arg::get_long);
        return (beginning(longs.map(|long| format!("--{long}")), last), false);
    }
    let shown = command.get_subcommands().filter(|inner| !inner.is_hide_set());
    let described = shown.map(|inner| match inner.get_about() {
        Some(about) => format!("{}\t{about}", inner.get_name()),
        None => inner.get_name().to_owned(),
    });
    let found = beginning(described, last);
    if !found.is_empty() {
        return (found, false);
    }
    command.get_positionals().nth(position).map_or((Vec::new(), false), |argument| values(argument, last))
}

fn option<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let name = word.split('=').next().unwrap_or(word);
    command.get_arguments().find(|argument| {
        let long = argument.get_long().is_some_and(|long| name.strip_prefix("--") == Some(long));
        long || argument.get_short().is_some_and(|short| name == format!("-{short}"))
    })
}

/// Returns an argument's possible values; one without any may be a file.
fn values(argument: &Arg, last: &str) -> (Vec<String>, bool) {
    let values = argument.get_possible_values();
    let is_file = values.is_empty()
        && argument.get_value_names().is_some_and(|names| names.iter().any(|name| name.as_str() == "FILE"));
    let names = values.iter().filter(|value| !value.is_hide_set()).map(|value| value.get_name().to_owned());
    (beginning(names, last), is_file)
}

fn beginning(candidates: impl Iterator<Item = String>, start: &str) -> Vec<String> {
    candidates.filter(|candidate| candidate.starts_with(start)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(line: &str) -> (Vec<String>, bool) {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let (candidates, files) = candidates(&words);
        (candidates.iter().map(|text| text.split('\t').next().unwrap_or_default().to_owned()).collect(), files)
    }

    #[test]
    fn lines_go_on_as_the_grammar_says() {
        assert_eq!(complete("st").0, ["status", "store"]);
        assert_eq!(complete("get cl").0, ["clusters"]);
        assert_eq!(complete("get sh").0, ["shards"]);
        assert_eq!(complete("shards ").0, ["simulate", "help"]);
        assert_eq!(complete("shards simulate --re").0, ["--remove"]);
        assert_eq!(complete("get clusters -o j").0, ["json"]);
        assert_eq!(complete("delete tok").0, ["token"]);
        assert_eq!(complete("config use").0, ["use-context"]);
        assert!(complete("get clusters --sel").0.contains(&"--selector".to_owned()));
        assert!(complete("get clusters --kube").0.contains(&"--kubeconfig".to_owned()));
        assert!(complete("apply -f ").1);
        assert!(!complete("").0.contains(&"__complete".to_owned()));
    }
}
