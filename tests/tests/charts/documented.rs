//! The commands of `docs/install.md`, as they stand there, in their order.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use starling_realparts::wait_for;

use crate::bed::{Bed, Turn};
use crate::support::{CASES, root, utf8};

/// What only a cluster with nodes or a running hub can answer.
const NEEDS_PODS: [&str; 1] = ["kubectl --namespace starling-system rollout status statefulset/starling-hub"];

/// What the hub makes by itself, which a document may then ask for.
const HUBS_OWN: [&str; 2] = ["secret generic starling-hub-keys", "configmap starling-hub"];

#[test]
fn the_commands_of_the_installation_page_work() -> Result<()> {
    let turn = Turn::take()?;
    let page = fs::read_to_string(root().join("docs/install.md")).context("read the page")?;
    let files = tempfile::tempdir()?;
    write_files(files.path(), &page)?;
    let commands: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    let mut ran = 0;
    for needed in NEEDS_PODS {
        ensure!(commands.contains(&needed), "{needed} is not on the page any more");
    }
    for own in HUBS_OWN {
        let words: Vec<&str> = own.split(' ').collect();
        turn.bed.kubectl().run(&[&["create", "--namespace", "starling-system"], words.as_slice()].concat())?;
    }
    for command in commands {
        if !NEEDS_PODS.contains(&command) {
            ran += usize::from(run(turn.bed, command, files.path()).with_context(|| format!("run `{command}`"))?);
        }
    }
    ensure!(ran > 15, "only {ran} commands of the page were run");
    // What other tests would find.
    turn.bed.kubectl().run(&["delete", "clusterrolebinding", "platform-team"])?;
    turn.bed.kubectl().run(&["delete", "rolebinding", "retail-admins", "--namespace", "retail"])?;
    Ok(())
}

/// Runs one command of the page; those of other programs are told elsewhere.
fn run(bed: &Bed, command: &str, files: &Path) -> Result<bool> {
    let words: Vec<String> = command.split_whitespace().map(|word| placed(word, files)).collect::<Result<_>>()?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        // The page is about two clusters; here they are one, whose namespaces are there already.
        ["kubectl", "create", "namespace", "starling-system"] => return Ok(false),
        // Definitions that were just installed take a moment until they are explained.
        ["kubectl", arguments @ ..] if arguments[0] == "explain" => {
            let explain = || bed.kubectl().run(arguments).map(|_| ()).map_err(String::from);
            wait_for("the kinds to be explained", std::time::Duration::from_secs(30), explain)?;
        }
        ["kubectl", arguments @ ..] => {
            bed.kubectl().run(arguments)?;
        }
        ["helm", arguments @ ..] => {
            bed.helm(arguments)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Names of the page as they are here.
fn placed(word: &str, files: &Path) -> Result<String> {
    if let Some(chart) = word.strip_prefix("charts/") {
        return utf8(&root().join("charts").join(chart));
    }
    for file in ["ca.crt", "ca.key", "agent.yaml", "hubs.yaml"] {
        if let Some(option) = word.strip_suffix(file) {
            return Ok(format!("{option}{}", utf8(&files.join(file))?));
        }
    }
    Ok(word.to_owned())
}

/// Writes the files that the commands name.
fn write_files(folder: &Path, page: &str) -> Result<()> {
    let authority = rcgen::generate_simple_self_signed(["fleet".to_owned()])?;
    fs::write(folder.join("ca.crt"), authority.cert.pem())?;
    fs::write(folder.join("ca.key"), authority.signing_key.serialize_pem())?;
    fs::copy(CASES[3].values_path()?, folder.join("agent.yaml"))?;
    let block = page.split_once("```yaml\n").and_then(|(_, rest)| rest.split_once("```"));
    let (hubs, _) = block.context("the page has the values of several hubs")?;
    fs::write(folder.join("hubs.yaml"), hubs)?;
    Ok(())
}
