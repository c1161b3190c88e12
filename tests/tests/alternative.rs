//! A load test that compares the hub with the floor and with a real API server.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use starling_harness::StarlingPrograms;
use starling_realparts::{Program, Programs};
use tempfile::TempDir;

const SCENARIO: &str = "
name = \"compared\"
[fleet]
clusters = 20
objects = [5, 20]
[[step]]
kind = \"steady\"
seconds = 3
[[step]]
kind = \"change\"
rounds = 1
[[step]]
kind = \"change-one\"
rounds = 2
[[step]]
kind = \"storm\"
seconds = 2
per-second = 100
[[step]]
kind = \"kill-hub\"
away-seconds = 0
[compare]
floor = true
alternative = { clusters = [10, 1000] }
[thresholds]
\"alternative.clusters\" = { min = 20, max = 20 }
\"floor.ratio.kill-hub.whole-seconds\" = { min = 0 }
";

/// Figures of the comparison: all of them are measured, and none is nothing.
const FIGURES: [&str; 17] = [
    "floor.live-seconds",
    "floor.echo-ms.p99",
    "floor.one-acknowledged-ms.p50",
    "floor.all-received-ms.p50",
    "floor.changes-per-second",
    "floor.ratio.change.acknowledged-ms.p50",
    "floor.ratio.storm.cpu-ms-per-change",
    "alternative-10.live-seconds",
    "alternative-20.live-seconds",
    "alternative.one-received-ms.p50",
    "alternative.all-acknowledged-ms.p50",
    "alternative.visible-ms.p50",
    "alternative.list-ms.p50",
    "alternative.cpu-ms-per-change",
    "alternative.ratio.start.live-seconds",
    "alternative.ratio.change-one.received-ms.p50",
    "alternative.ratio.kill-hub.live-seconds",
];

/// A folder with a scenario, and the programs that it needs.
struct Bed {
    folder: TempDir,
    programs: StarlingPrograms,
    etcd: String,
    kube_apiserver: String,
}

impl Bed {
    fn new(scenario: &str) -> Self {
        let parts = Programs::ensure(&[Program::Etcd, Program::KubeApiserver]).expect("the programs are built");
        let path = |program| parts.path(program).expect("it is built").display().to_string();
        let folder = tempfile::tempdir().expect("make a folder");
        fs::write(folder.path().join("compared.toml"), scenario).expect("write a scenario");
        let programs = StarlingPrograms::of_this_build().expect("the programs are built");
        let (etcd, kube_apiserver) = (path(Program::Etcd), path(Program::KubeApiserver));
        Self { folder, programs, etcd, kube_apiserver }
    }

    fn run(&self, etcd: &str, out: &str) -> Output {
        let mut command = Command::new(self.programs.path("starling-loadtest"));
        command.args(["run", "compared.toml", "--etcd", etcd, "--kube-apiserver", &self.kube_apiserver]);
        command.args(["--out", out, "-o", "json"]).current_dir(self.folder.path());
        command.output().expect("start the load test")
    }
}

#[test]
fn a_hub_is_compared_with_the_floor_and_with_an_api_server() {
    let bed = Bed::new(SCENARIO);
    let output = bed.run(&bed.etcd, "report");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let told: Value = serde_json::from_slice(&output.stdout).expect("a line of figures");
    for figure in FIGURES {
        let value = told["figures"][figure].as_f64();
        assert!(value.is_some_and(|value| value > 0.0), "{figure} is {value:?}");
    }
    // A few clusters may take no more memory than was there.
    assert!(told["figures"]["alternative.bytes-per-cluster"].is_number(), "{told}");
    assert!(said.contains("went through everything up to 20 clusters"), "{said}");
    let report = bed.folder.path().join("report");
    for file in ["report.md", "report.html"] {
        let text = fs::read_to_string(report.join(file)).expect("read a report");
        assert!(text.contains("alternative, 20 clusters") && text.contains("hub / floor"), "{file}: {text}");
    }
    let page = fs::read_to_string(report.join("report.html")).expect("read the page");
    assert!(page.contains("The alternative: seconds, by clusters"), "its growth is drawn");
    assert_eq!(left(&report), Vec::<String>::new(), "no process is left");
    let kept = fs::read_dir(report.join("alternative/20")).expect("list a folder");
    let mut kept: Vec<_> = kept.map(|entry| entry.expect("an entry").file_name()).collect();
    kept.sort();
    assert_eq!(kept, ["etcd.log", "kube-apiserver.log"], "nothing else of the servers is left");
}

#[test]
fn where_the_alternative_stops_is_told() {
    let scenario = "name = \"stopped\"\n[fleet]\nclusters = 3\n[compare]\n\
                    alternative = { clusters = [2, 3], memory-mib = 64 }\n";
    let bed = Bed::new(scenario);
    let missing = bed.run("/nowhere/etcd", "missing");
    let said = String::from_utf8_lossy(&missing.stderr);
    assert!(!missing.status.success() && said.contains("cargo xtask loadtest"), "{said}");
    assert!(!bed.folder.path().join("missing").exists(), "it is told before anything is begun");

    let output = bed.run(&bed.etcd, "report");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let told: Value = serde_json::from_slice(&output.stdout).expect("a line of figures");
    assert_eq!(told["figures"]["alternative.stopped-at-clusters"], 2.0);
    assert!(said.contains("stops at 2 clusters: its processes took"), "{said}");
    assert_eq!(left(&bed.folder.path().join("report")), Vec::<String>::new(), "no process is left");
}

/// Returns the command lines of processes that were told about a folder.
fn left(folder: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("list processes");
    let lines = processes.filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(folder.to_str().expect("a path in text"))).collect()
}
