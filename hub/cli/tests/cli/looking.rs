//! Commands that look: status, lists, watches, descriptions; what scripts read and what people see.

use std::io::{BufRead as _, BufReader};
use std::sync::atomic::Ordering;

use crate::support::{Hub, fake};
use serde_json::json;

#[test]
fn status_shows_the_fleet_and_whether_it_holds() {
    let hub = Hub::start();
    let well = hub.run("status");
    assert_eq!(well.code, 0, "{}", well.stderr);
    assert!(well.stdout.contains("3, 2 live, 2 ready"), "{}", well.stdout);
    hub.fake.holds.store(true, Ordering::Relaxed);
    let holding = hub.run("status --color=always");
    holding.fails(6, "starling store recover --fleet demo");
    assert!(holding.stdout.contains("\u{1b}[31mTHE FLEET HOLDS: the store is empty"), "{}", holding.stdout);
    let document = hub.run("status -o json");
    let document: serde_json::Value = serde_json::from_str(&document.stdout).unwrap();
    assert_eq!(document["kind"], "Status");
    assert_eq!(document["hold"], "the store is empty");
}

#[test]
fn lists_are_stable_documents_of_all_pages() {
    let hub = Hub::start();
    let list = hub.json("get clusters -o json");
    assert_eq!(list["apiVersion"], "starling.dev/v1alpha1");
    assert_eq!(list["kind"], "ClusterList");
    let names: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| item["name"].clone()).collect();
    assert_eq!(names, ["edge-1", "edge-2", "edge-1"]);
    let first = &list["items"][0];
    assert_eq!(first["health"], json!({"ready": 40}));
    assert_eq!(first["lastSeen"], "2026-11-21T06:50:00Z");
    assert_eq!(first["installsReady"], 3);
    let yaml = hub.run("get clusters -o yaml");
    let from_yaml: serde_json::Value = serde_saphyr::from_str(&yaml.stdout).unwrap();
    assert_eq!(from_yaml, list);
    assert_eq!(hub.json("get addons -o json")["items"], json!([]));
    let empty: serde_json::Value = serde_saphyr::from_str(&hub.run("get addons -o yaml").stdout).unwrap();
    assert_eq!(empty["items"], json!([]));
}

#[test]
fn objects_are_filtered_by_health() {
    let hub = Hub::start();
    let trouble = hub.json("get obj --health trouble -o json");
    assert_eq!(trouble["kind"], "ObjectList");
    let healths: Vec<_> = trouble["items"].as_array().unwrap().iter().map(|item| item["health"].clone()).collect();
    assert_eq!(healths, ["failing-retrying", "stalled"]);
    hub.run("get objects --health sick").fails(2, "\"sick\" is not a health");
}

#[test]
fn tables_line_up_and_colours_mean_health() {
    let hub = Hub::start();
    let table = hub.run("get objects --no-headers");
    assert!(table.stdout.starts_with("retail/edge-1   HelmRelease   apps   podinfo   ready  "), "{}", table.stdout);
    assert!(table.stdout.contains(&"x".repeat(200)), "nothing is cut where there is no terminal");
    assert!(!table.stdout.contains('\u{1b}'));
    let coloured = hub.run("get objects --color=always");
    assert!(coloured.stdout.contains("\u{1b}[32mready\u{1b}[0m"), "{}", coloured.stdout);
    assert!(coloured.stdout.contains("\u{1b}[31mstalled\u{1b}[0m"), "{}", coloured.stdout);
    let none = hub.run("get problems");
    assert_eq!((none.code, none.stdout.as_str()), (0, ""));
    assert!(none.stderr.contains("no problems found"));
}

#[test]
fn names_are_what_other_commands_take() {
    let hub = Hub::start();
    let names = hub.run("get objects podinfo -o name").stdout;
    let first = names.lines().next().unwrap();
    assert_eq!(first, "object/retail/edge-1/HelmRelease.helm.toolkit.fluxcd.io/apps/podinfo");
    let described = hub.run(&format!("describe {first}"));
    assert!(described.stdout.contains("Health:      ready for"), "{}{}", described.stdout, described.stderr);
    let cluster = hub.run("get clusters -w plant -o name").stdout;
    assert_eq!(cluster, "cluster/plant/edge-1\n");
    let described = hub.run(&format!("describe {}", cluster.trim()));
    assert!(described.stdout.contains("Name:        plant/edge-1"), "{}", described.stdout);
}

#[test]
fn what_is_not_there_or_not_clear_is_said() {
    let hub = Hub::start();
    hub.run("get clusters edge-1 edge-9").fails(4, "there is no cluster edge-9");
    hub.run("get objects hr/nothing").fails(4, "there is no object nothing");
    hub.run("describe cluster edge-9").fails(4, "starling get clusters");
    hub.run("describe cluster edge-1").fails(2, "in several workspaces: cluster/retail/edge-1, cluster/plant/edge-1");
    hub.run("get clusters --kind hr").fails(2, "`--kind` does not select clusters");
}

#[test]
fn a_watch_prints_what_changes() {
    let hub = Hub::start();
    let mut child = hub.command("get clusters --watch -o json").spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || -> serde_json::Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    for _ in 0..3 {
        assert_eq!(next()["type"], "ADDED");
    }
    hub.fake.clusters.lock().unwrap()[0].connection = "paused".into();
    hub.fake.notice.send_replace(1);
    let event = next();
    assert_eq!((event["type"].as_str(), event["kind"].as_str()), (Some("MODIFIED"), Some("Cluster")));
    assert_eq!(event["object"]["connection"], "paused");
    // Being heard again is no change that anybody waits for: only the new cluster is printed.
    hub.fake.clusters.lock().unwrap()[1].last_seen_millis += 1000;
    hub.fake.clusters.lock().unwrap().push(fake::cluster("plant", "edge-7", "pending"));
    hub.fake.notice.send_replace(2);
    let event = next();
    assert_eq!((event["type"].as_str(), event["object"]["name"].as_str()), (Some("ADDED"), Some("edge-7")));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let hub = Hub::start();
    let mut child = hub.command("get objects -o wide").spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_watch_ends_when_the_hub_does_not_know_the_token() {
    let hub = Hub::start();
    hub.write("wrong.token", "another");
    hub.run("get clusters --watch --token-file wrong.token").fails(5, "the token is not known");
}
