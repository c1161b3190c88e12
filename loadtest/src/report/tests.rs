use std::collections::BTreeMap;
use std::time::Duration;

use super::compare::{cautions, differences};
use super::results::{Machine, ProcessSample, Sample, StepResult, Stopped};
use super::*;
use crate::latency::Latency;
use crate::scenario::Scenario;

fn results() -> Results {
    let scenario = Scenario::parse(
        "name = \"small\"\ndescription = \"a <small> one\"\n[fleet]\nclusters = 10\n[thresholds]\n\
         \"start.live-seconds\" = { max = 3 }\n\"end.clusters-wrong\" = { max = 0 }\n\"start.visible-ms.p99\" = { min = 1, max = 30 }\n",
    )
    .expect("a scenario");
    let mut visible = Latency::new();
    (1..=100).for_each(|millis| visible.record(Duration::from_millis(millis)));
    let step = StepResult {
        name: "start".into(),
        kind: "start".into(),
        ended_seconds: 4.0,
        figures: BTreeMap::from([("live-seconds".into(), 2.5)]),
        latencies: BTreeMap::from([("visible".into(), visible)]),
        ..StepResult::default()
    };
    let sample = |at: f64| Sample {
        at_seconds: at,
        hub_cpu_seconds: Some(at / 2.0),
        hub_resident_bytes: Some(1e8),
        counters: BTreeMap::from([("starling_clusters_live".into(), at)]),
        ..Sample::default()
    };
    let mut results = Results {
        format: FORMAT,
        scenario,
        began: "2026-01-01T00:00:00Z".into(),
        machine: Machine { cpus: 2, memory_bytes: 1 << 34, kernel: "6.1".into() },
        hub_version: "0.1.0".into(),
        clusters: 10,
        drivers: 1,
        steps: vec![step],
        samples: (0..5).map(|second| sample(f64::from(second))).collect(),
        profiles: Vec::new(),
        heap: None,
        beside: Vec::new(),
        stopped: None,
        figures: BTreeMap::new(),
        verdicts: Vec::new(),
        defects: Vec::new(),
        notes: vec!["something <odd>".into()],
    };
    results.judge();
    results
}

#[test]
fn thresholds_judge_and_what_was_not_measured_fails() {
    let results = results();
    let failed: Vec<&str> = results.failed().iter().map(|verdict| verdict.figure.as_str()).collect();
    assert_eq!(failed, ["end.clusters-wrong", "start.visible-ms.p99"]);
    let line = line(&results);
    assert_eq!(line["passed"], false);
    assert_eq!(line["figures"]["start.live-seconds"], 2.5);
    let text = summary(&results);
    assert!(text.contains("FAILED   end.clusters-wrong: not measured, at most 0 wanted"), "{text}");
    assert!(text.contains("ok       start.live-seconds: 2.5 s, at most 3 s wanted"), "{text}");
}

#[test]
fn what_is_written_is_read_again() {
    let folder = tempfile::tempdir().expect("make a folder");
    let results = results();
    write(&results, folder.path()).expect("write");
    let again = read(folder.path()).expect("read");
    assert_eq!((again.figures, again.steps[0].latencies["visible"].samples()), (results.figures, 100));
    let page = std::fs::read_to_string(folder.path().join("report.html")).expect("read the page");
    assert!(page.contains("a &lt;small&gt; one") && page.contains("<svg") && !page.contains("<odd>"));
    assert!(!page.contains("src=") && !page.contains("href="), "it needs nothing else");
    std::fs::write(folder.path().join(RAW), "{\"format\": 2}").expect("write");
    assert!(read(folder.path()).is_err());
}

#[test]
fn each_process_of_several_has_a_line_of_its_own() {
    let mut results = results();
    let page = |results: &Results| html::page(results).expect("a page");
    assert!(!page(&results).contains("each process") && !page(&results).contains("over etcd"));
    for sample in &mut results.samples {
        let used = ProcessSample { cpu_seconds: sample.at_seconds, resident_bytes: 1e8 };
        sample.processes = ["hub-1", "hub-2"].map(|name| (name.to_owned(), used)).into();
    }
    results.scenario.hub.processes = 2;
    let page = page(&results);
    assert_eq!(page.matches("hub-2").count(), 2, "{page}");
    assert!(page.contains("Memory of each process of the hub") && page.contains("0.1.0 in 2 processes over etcd"));
    assert!(markdown::report(&results).expect("a report").contains("in 2 processes over etcd"));
}

#[test]
fn two_runs_differ_by_ratio() {
    let (before, mut after) = (results(), results());
    assert!(differences(&before, &after, 0.0).is_empty());
    after.figures.insert("start.live-seconds".into(), 5.0);
    after.clusters = 20;
    let found = differences(&before, &after, 5.0);
    assert_eq!((found.len(), found[0].ratio), (1, Some(2.0)));
    assert_eq!(cautions(&before, &after), ["the runs differ in the clusters: 10 and 20"]);
}

#[test]
fn the_hub_is_compared_by_ratio() {
    let mut results = results();
    let beside = |name: &str, live: f64| StepResult {
        name: name.into(),
        figures: BTreeMap::from([("live-seconds".into(), live)]),
        ..StepResult::default()
    };
    results.beside = vec![beside("floor", 0.5), beside("alternative-5", 1.0), beside("alternative-8", 60.0)];
    results.stopped = Some(Stopped { clusters: 8, why: "it took longer than 60 s".into(), is_limit: true });
    results.judge();
    let figure = |name: &str| results.figures.get(name).copied();
    assert_eq!(figure("floor.ratio.start.live-seconds"), Some(5.0));
    assert_eq!(figure("alternative.ratio.start.live-seconds"), Some(2.5), "by the largest size that it went through");
    assert_eq!(figure("alternative.clusters"), Some(5.0));
    assert_eq!(figure("alternative.stopped-at-clusters"), Some(8.0));
    assert_eq!(figure("alternative-8.live-seconds"), Some(60.0));
    let text = markdown::report(&results).expect("a report");
    assert!(text.contains("| start.live-seconds | 2.5 s | 0.5 s | 5 x | 1 s | 2.5 x |"), "{text}");
    assert!(text.contains("stops at 8 clusters: it took longer than 60 s."), "{text}");
    assert!(text.contains("flatter it"), "a smaller alternative is no fair one: {text}");
    let again = html::page(&results).expect("draw");
    assert!(again.contains("The alternative: seconds, by clusters"), "its growth is drawn");
}
