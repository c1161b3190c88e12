//! The load test, run as a platform team runs it: on a hub that it starts, and on one that is there already.

use std::fs;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use starling_harness::{Hub, HubOptions, StarlingPrograms};
use starling_realparts::{Program, Programs, wait_for};

/// Runs `starling-loadtest`.
fn loadtest(arguments: &[&str], folder: &Path) -> Output {
    let program = StarlingPrograms::of_this_build().expect("the programs are built").path("starling-loadtest");
    Command::new(program).args(arguments).current_dir(folder).output().expect("start the load test")
}

fn scenario(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a folder of the checkout");
    file.join("loadtest/scenarios").join(name).display().to_string()
}

/// Returns the one line of figures.
fn line(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn every_step_runs_against_a_hub_of_its_own_and_two_runs_compare() {
    let folder = tempfile::tempdir().expect("make a folder");
    let told = line(&loadtest(&["run", &scenario("smoke.toml"), "--out", "one", "-o", "json"], folder.path()));
    assert_eq!((&told["passed"], &told["clusters"]), (&Value::Bool(true), &Value::from(60)));
    let figures = told["figures"].as_object().expect("figures");
    for figure in [
        "start.live-seconds",
        "change.acknowledged-ms.p99",
        "change-one.received-ms.p50",
        "storm.hub-changes-per-second",
        "reconnect.live-seconds",
        "kill-hub.whole-seconds",
        "restart-hub.whole-seconds",
    ] {
        let value = figures.get(figure).and_then(Value::as_f64);
        assert!(value.is_some_and(|value| value > 0.0), "{figure} is {value:?}");
    }
    for file in ["results.json", "report.md", "report.html"] {
        assert!(folder.path().join("one").join(file).is_file(), "{file} was written");
    }
    let same = loadtest(&["compare", "one", "one"], folder.path());
    assert_eq!(String::from_utf8_lossy(&same.stdout), "nothing differs by 5 % or more\n");
}

#[test]
fn shards_of_a_hub_of_its_own_are_killed_restarted_and_joined() {
    let folder = tempfile::tempdir().expect("make a folder");
    let etcd =
        Programs::ensure(&[Program::Etcd]).and_then(|programs| programs.path(Program::Etcd)).expect("etcd is built");
    let etcd = etcd.display().to_string();
    let run = ["run", &scenario("sharded-smoke.toml"), "--etcd", &etcd, "--out", "run", "-o", "json"];
    let told = line(&loadtest(&run, folder.path()));
    assert_eq!((&told["passed"], &told["defects"]), (&Value::Bool(true), &Value::Array(Vec::new())));
    let figures = told["figures"].as_object().expect("figures");
    for figure in [
        "start.hub-2-cpus",
        "start.hub-3-resident-bytes",
        "start.hub-bytes-per-cluster",
        "start.etcd-cpus",
        "start.etcd-resident-bytes",
        "start.etcd-writes-per-second",
        "start.etcd-fsync-ms.mean",
        "kill-shard.live-seconds",
        "kill-shard.whole-seconds",
        "kill-shard.back-seconds",
        "kill-shard.moves-per-cluster",
        "kill-shard.unserved-seconds",
        "kill-shard.unserved-clusters",
        "rolling-restart.restarted-seconds",
        "rolling-restart.settled-seconds",
        "rolling-restart.moves-per-cluster",
        "join-shard.serves-seconds",
        "join-shard.settled-seconds",
        "join-shard.moved-per-ideal",
        "join-shard.hub-4-resident-bytes",
    ] {
        let value = figures.get(figure).and_then(Value::as_f64);
        assert!(value.is_some_and(|value| value > 0.0), "{figure} is {value:?}");
    }
    assert_eq!(figures["end.clusters-wrong"], 0.0);
    let mut left: Vec<String> = fs::read_dir(folder.path().join("run/hub"))
        .expect("list what the hub left")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    left.sort();
    assert_eq!(left, ["etcd.log", "hub-1.log", "hub-2.log", "hub-3.log", "hub-4.log"]);
    let running = processes().into_iter().filter(|(_, _, command)| command.contains(&*folder.path().to_string_lossy()));
    assert_eq!(running.collect::<Vec<_>>(), [], "nothing runs on");
}

#[test]
fn a_hub_of_several_processes_needs_etcd_and_is_the_runs_own() {
    let folder = tempfile::tempdir().expect("make a folder");
    let program = StarlingPrograms::of_this_build().expect("the programs are built").path("starling-loadtest");
    let refused = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(["run", &scenario("sharded-smoke.toml")]).args(arguments).env("PATH", folder.path());
        let output = command.current_dir(folder.path()).output().expect("start the load test");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = refused(&[]);
    assert!(
        said.contains("none on PATH") && said.contains("--etcd") && said.contains("cargo xtask loadtest"),
        "{said}"
    );
    let said = refused(&["--etcd", "nowhere"]);
    assert!(said.contains("--etcd: there is no nowhere"), "{said}");
    let said = refused(&["--target", "admin.yaml"]);
    assert!(said.contains("kill-shard") && said.contains("leave --target out"), "{said}");
}

#[test]
fn a_hub_that_ends_by_itself_is_a_defect() {
    let folder = tempfile::tempdir().expect("make a folder");
    let text = "name = \"killed\"\n[fleet]\nclusters = 2\nobjects = 5\n[probes]\nstatuses-per-second = 0\n\
                queries-per-second = 0\n[[step]]\nkind = \"steady\"\nseconds = 5\n";
    fs::write(folder.path().join("killed.toml"), text).expect("write a scenario");
    let program = StarlingPrograms::of_this_build().expect("the programs are built").path("starling-loadtest");
    let mut run = Command::new(program);
    run.args(["run", "killed.toml", "--out", "report"]).current_dir(folder.path()).stderr(Stdio::piped());
    let mut run = run.spawn().expect("start the load test");
    let mut said = std::io::BufReader::new(run.stderr.take().expect("it is piped")).lines();
    let in_step = said.by_ref().map_while(Result::ok).any(|line| line.contains("  steady "));
    assert!(in_step, "the step begins");
    let all = processes();
    let hub = all.iter().find(|(_, parent, command)| *parent == run.id() && command.contains("starling-hub"));
    let (hub, ..) = hub.unwrap_or_else(|| panic!("the hub runs: {all:?}"));
    let killed = Command::new("kill").args(["-KILL", &hub.to_string()]).status().expect("kill the hub");
    assert!(killed.success());
    let rest: Vec<String> = said.map_while(Result::ok).collect();
    assert_eq!(run.wait().expect("it ends").code(), Some(1));
    assert!(rest.iter().any(|line| line.contains("the run broke off")), "{rest:?}");
    let results = fs::read_to_string(folder.path().join("report/results.json")).expect("what was measured is kept");
    let results: Value = serde_json::from_str(&results).expect("results");
    let defects = results["defects"].to_string();
    assert!(defects.contains("step steady: hub ended (signal: 9 (SIGKILL))"), "{defects}");
    assert!(defects.contains("although nobody told it to"), "{defects}");
}

#[test]
fn a_hub_that_is_there_is_left_as_it_was() {
    let folder = tempfile::tempdir().expect("make a folder");
    let programs = StarlingPrograms::of_this_build().expect("the programs are built");
    let hub = Hub::start(&programs, &HubOptions::below(folder.path(), "there")).expect("start a hub");
    let directory = hub.options().directory.clone();
    let config = hub.context_file().display().to_string();
    let small = folder.path().join("small.toml");
    let text = "name = \"small\"\n[fleet]\nclusters = 7\ndrivers = 2\nobjects = 5\n[[step]]\nkind = \"change\"\nrounds = 1\n\
                [thresholds]\n\"end.clusters-wrong\" = { max = 0 }\n";
    fs::write(&small, text).expect("write a scenario");
    let metrics = hub.http_address().to_string();
    let small = small.display().to_string();
    let run = ["run", &small, "--target", &config, "--metrics", &metrics, "--out", "report", "-o", "json"];
    let told = line(&loadtest(&run, folder.path()));
    assert_eq!((&told["passed"], &told["defects"]), (&Value::Bool(true), &Value::Array(Vec::new())));
    let status = hub.status().expect("ask for the status");
    assert_eq!((status.clusters, documents(&directory)), (0, Vec::new()), "nothing is left behind");

    let others = "apiVersion: starling.dev/v1alpha1\nkind: Workspace\nmetadata: {name: starling-loadtest}\nspec: {}\n---\n\
                  apiVersion: starling.dev/v1alpha1\nkind: ManagedCluster\n\
                  metadata: {name: sim-00000, namespace: starling-loadtest}\nspec: {}\n";
    fs::write(directory.join("others.yaml"), others).expect("write somebody else's cluster");
    let taken = || match hub.status() {
        Ok(status) if status.clusters == 1 => Ok(()),
        other => Err(format!("{other:?}")),
    };
    wait_for("the cluster to be known", Duration::from_secs(30), taken).expect("it is taken");
    let refused = loadtest(&["run", &small, "--target", &config, "--out", "again"], folder.path());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("another run goes on there"), "{said}");
    assert_eq!(hub.status().expect("ask for the status").clusters, 1, "what is somebody else's stays");
    let refused = loadtest(&["run", &scenario("smoke.toml"), "--target", &config], folder.path());
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("kill-hub") && said.contains("leave --target out"), "{said}");
}

#[test]
fn a_threshold_that_does_not_hold_fails_the_run() {
    let folder = tempfile::tempdir().expect("make a folder");
    let text = "name = \"never\"\n[fleet]\nclusters = 1\n[thresholds]\n\"start.live-seconds\" = { max = 0 }\n";
    fs::write(folder.path().join("never.toml"), text).expect("write a scenario");
    let output = loadtest(&["run", "never.toml", "--out", "report", "-o", "json"], folder.path());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("FAILED   start.live-seconds"), "{said}");
    let told: Value = serde_json::from_slice(&output.stdout).expect("the line is printed all the same");
    assert_eq!(told["failed"], serde_json::json!(["start.live-seconds"]));
}

/// Lists the processes that run: each with its parent and its command line.
fn processes() -> Vec<(u32, u32, String)> {
    let running = fs::read_dir("/proc").expect("list processes").filter_map(|entry| {
        let entry = entry.ok()?;
        let id = entry.file_name().to_str()?.parse().ok()?;
        // One may end meanwhile.
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()?;
        let command = fs::read(entry.path().join("cmdline")).ok()?;
        Some((id, parent, String::from_utf8_lossy(&command).replace('\0', " ")))
    });
    running.collect()
}

/// Lists the files of documents below a folder.
fn documents(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("list a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(documents(&path));
        } else {
            found.push(path);
        }
    }
    found
}
