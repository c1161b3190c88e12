//! The hub's processes: who serves how much, what would move, and what lists say when one of them does not answer.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::support::Hub;

fn many() -> Hub {
    let hub = Hub::start();
    hub.fake.is_many.store(true, Ordering::Relaxed);
    hub
}

/// Returns the columns of a line of a table.
fn columns(line: &str) -> Vec<&str> {
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn processes_are_listed_with_what_is_moving_and_why() {
    let hub = many();
    let table = hub.run("get shards");
    let lines: Vec<Vec<&str>> = table.stdout.lines().map(columns).collect();
    assert_eq!(lines.len(), 4, "{}", table.stdout);
    assert_eq!(lines[0], ["NAME", "STATE", "ROLE", "CLUSTERS", "MOVING", "OBJECTS", "CPU", "MEMORY", "AGE", "ADDRESS"]);
    assert_eq!(lines[1][..8], ["hub-0", "serving", "steward", "2/2", "1", "80", "130m", "81Mi"]);
    assert_eq!(lines[2], ["hub-1", "not-answering", "-", "0/2", "0", "-", "-", "-", "-", "hub-1.hub:8443"]);
    assert_eq!(lines[3][..3], ["hub-2", "joining", "-"]);
    assert!(table.stderr.contains("warning: hub-1 did not answer in time"), "{}", table.stderr);
    let summary = "epoch 4: 6 clusters, 1 are moving to their owners\n  hub-2 is there and joins in 2 s\n";
    assert!(table.stderr.ends_with(summary), "{}", table.stderr);
    let wide = hub.run("get sh hub-0 -o wide");
    assert!(wide.stdout.contains("abababab-abab-abab-abab-abababababab"), "{}", wide.stdout);
    assert_eq!(wide.stdout.lines().count(), 2, "only the one that was named");
    hub.run("get shards hub-7").fails(5, "cannot tell whether there is shard hub-7: hub-1 did not answer");
    hub.run("get shards -w retail").fails(2, "`--workspace` does not select shards");
    hub.run("describe shard hub-0").fails(2, "`starling get shards -o wide`");
}

#[test]
fn documents_of_processes_tell_the_whole() {
    let hub = many();
    let list = hub.json("get shards -o json");
    assert_eq!((&list["kind"], &list["epoch"], &list["moving"]), (&json!("ShardList"), &json!(4), &json!(1)));
    assert_eq!(list["unanswered"], json!(["hub-1"]));
    assert_eq!(list["reasons"], json!(["hub-2 is there and joins in 2 s"]));
    assert_eq!((&list["items"][0]["steward"], &list["items"][0]["cpuMillis"]), (&json!(true), &json!(130)));
    assert_eq!(list["items"][1]["started"], json!(null));
    let yaml: serde_json::Value = serde_saphyr::from_str(&hub.run("get shards -o yaml").stdout).unwrap();
    assert_eq!(yaml, list);
    assert_eq!(hub.run("get shards -o name").stdout, "shard/hub-0\nshard/hub-1\nshard/hub-2\n");
}

#[test]
fn a_hub_of_one_process_speaks_of_nothing_else() {
    let hub = Hub::start();
    for format in ["table", "wide", "json", "yaml"] {
        let ran = hub.run(&format!("get shards -o {format}"));
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(said.contains("this hub is one process"), "{said}");
        for word in ["steward", "ring", "epoch", "lease"] {
            let words = said.split(|c: char| !c.is_alphabetic()).filter(|said| said.eq_ignore_ascii_case(word));
            assert_eq!(words.count(), 0, "{word} in {said}");
        }
    }
    hub.run("get shards hub-7").fails(4, "there is no shard hub-7");
    hub.fake.denies.store(true, Ordering::Relaxed);
    hub.run("get shards").fails(1, "the ClusterRole starling-platform-admin allows it");
}

#[test]
fn lists_say_which_process_did_not_answer() {
    let hub = many();
    for list in ["clusters", "assignments", "objects", "proposals"] {
        let ran = hub.run(&format!("get {list}"));
        assert_eq!((ran.code, ran.stderr.matches("warning: hub-1 did not answer in time").count()), (0, 1), "{list}");
        assert_eq!(hub.json(&format!("get {list} -o json"))["unanswered"], json!(["hub-1"]), "{list}");
    }
    assert_eq!(hub.json("get tokens -o json").get("unanswered"), None);
    hub.run("get objects nothing").fails(5, "cannot tell whether there is object nothing");
    hub.run("describe cluster edge-9").fails(5, "hub-1 did not answer");
    let status = hub.run("status");
    assert!(status.code == 0 && status.stderr.contains("hub-1 did not answer in time"), "{}", status.stderr);
    assert_eq!(hub.json("status -o json")["unanswered"], json!(["hub-1"]));
}

#[test]
fn a_simulation_says_what_would_move() {
    let hub = Hub::start();
    let text = hub.run("shards simulate --add 1 --remove hub-1").stdout;
    let lines: Vec<Vec<&str>> = text.lines().map(columns).collect();
    assert_eq!(lines[0], ["NAME", "NOW", "THEN", "DIFFERENCE", "CHANGE"]);
    assert_eq!(lines[2], ["hub-1", "490", "0", "-490", "leaves"]);
    assert_eq!(lines[3], ["new-1", "0", "480", "+480", "joins"]);
    assert!(text.contains("Would move:   550 of 1000 clusters (55.0 %)"), "{text}");
    assert!(text.contains("Have to:      500 (50.0 %); that is 1.10 times as many"), "{text}");
    let document = hub.json("shards simulate --remove hub-1 -o json");
    assert_eq!((&document["kind"], &document["moved"]), (&json!("ShardSimulation"), &json!(550)));
    assert_eq!(
        document["shards"][1],
        json!({"name": "hub-1", "clustersBefore": 490, "clustersAfter": 0, "change": "leaves"})
    );
    hub.run("shards simulate").fails(2, "--add <N>");
    hub.run("shards simulate --add 0").fails(2, "0 is not in 1..");
    hub.run("shards simulate --remove hub-9").fails(2, "there is no hub process hub-9: there are hub-0, hub-1");
}
