//! Commands that change something, and their exit codes in scripts.

use std::sync::atomic::Ordering;

use crate::support::{Hub, fake};

#[test]
fn adopting_prints_a_manifest_and_hints_apart_from_it() {
    let hub = Hub::start();
    let ran = hub.run("adopt cluster edge-9 -w retail --label env=prod --token-ttl 1h --image registry/agent:1");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("kubectl --context edge-9 apply -f -"), "{}", ran.stderr);
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&ran.stdout).unwrap();
    let secret = documents.iter().find(|document| document["kind"] == "Secret").expect("the token is in a Secret");
    assert_eq!(secret["stringData"]["token"], "a-one-time-token");
    assert!(ran.stdout.contains("hub.example:8443") && ran.stdout.contains("registry/agent:1"));
    assert!(hub.fake.changed().contains("token_seconds: 3600"), "{}", hub.fake.changed());
    let document = hub.json("adopt cluster edge-9 -w retail -o json");
    assert_eq!((document["kind"].as_str(), document["token"].as_str()), (Some("Adoption"), Some("a-one-time-token")));
    assert_eq!(document["agentAddress"], "hub.example:8443");
}

#[test]
fn a_script_deletes_with_the_count_it_was_shown() {
    let hub = Hub::start();
    let asked = hub.run("delete assignment podinfo");
    asked.fails(3, &format!("--approve {}", fake::INSTALLS));
    assert!(asked.stderr.contains("12 installs go from 12 clusters"), "{}", asked.stderr);
    hub.run("delete assignment podinfo --approve 11").fails(3, "12 installs would go, not 11");
    assert_eq!(hub.run("delete assignment podinfo --dry-run").code, 0);
    assert_eq!(hub.fake.changed(), "");
    let deleted = hub.run("delete assignment/payments/podinfo --approve 12");
    assert_eq!((deleted.code, deleted.stdout.as_str()), (0, "assignment payments/podinfo deleted\n"));
    assert!(hub.fake.changed().contains("kind: \"AddonAssignment\", namespace: \"payments\", name: \"podinfo\""));
    hub.run("delete assignment nothing").fails(4, "there is no assignment");
}

#[test]
fn where_nothing_is_installed_nothing_needs_approval() {
    let hub = Hub::start();
    let ran = hub.run("delete assignment unused -n payments");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(hub.fake.changed().contains("approved_count: Some(0)"));
}

#[test]
fn files_are_deleted_with_their_sum_approved() {
    let hub = Hub::start();
    let document = |name: &str| format!("kind: AddonAssignment\nmetadata: {{namespace: payments, name: {name}}}\n");
    hub.write("all.yaml", &format!("{}---\n{}", document("podinfo"), document("unused")));
    hub.run("delete -f all.yaml").fails(3, "12 installs would go");
    let ran = hub.run("delete -f all.yaml --approve 12");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout.lines().count(), 2);
}

#[test]
fn files_are_applied_one_by_one() {
    let hub = Hub::start();
    std::fs::create_dir(hub.scratch.path().join("fleet")).unwrap();
    for (name, text) in [("a.yaml", "good: 1"), ("b.yaml", "broken: 1"), ("c.yml", "good: 2")] {
        hub.write(&format!("fleet/{name}"), text);
    }
    let ran = hub.run("apply -f fleet");
    ran.fails(2, "1 of 3 files were not applied");
    assert!(ran.stderr.contains("fleet/b.yaml: line 3, column 5: unknown field"), "{}", ran.stderr);
    assert_eq!(ran.stdout, "addon/p/a created\naddon/p/a created\n");
    let piped = hub.run_with_input("apply -f - --dry-run -o json", "good: 3");
    let document: serde_json::Value = serde_json::from_str(&piped.stdout).unwrap();
    assert_eq!(
        (document["kind"].as_str(), document["items"][0]["outcome"].as_str()),
        (Some("AppliedList"), Some("created"))
    );
    assert!(hub.fake.changed().contains("dry_run: true"));
    hub.run("apply -f none.yaml").fails(4, "cannot read none.yaml");
}

#[test]
fn proposals_are_approved_with_their_count() {
    let hub = Hub::start();
    let listed = hub.run("approve");
    assert!(listed.stdout.contains("abababab-abab-abab-abab-abababababab   payments/podinfo   7"), "{}", listed.stdout);
    hub.run("approve abab").fails(3, "--count 7");
    hub.run("approve abab --count 8").fails(3, "not 8");
    hub.run("approve ffff --count 7").fails(4, "no proposal");
    assert_eq!(hub.fake.changed(), "");
    assert_eq!(hub.run("approve abab --count 7").code, 0);
    assert!(hub.fake.changed().contains("count: 7"));
}

#[test]
fn commands_run_on_one_object_or_on_a_selection() {
    let hub = Hub::start();
    hub.run("reconcile").fails(2, "name an object or a selection");
    hub.run("reconcile hr/nothing --cluster edge-1").fails(4, "no object matches");
    let one = hub.run("reconcile hr/podinfo -n apps --cluster retail/edge-1");
    assert_eq!((one.code, one.stdout.as_str()), (0, "reconcile: 1 of 1 done, 0 failed\n"));
    let request = hub.fake.changed();
    for part in ["verb: \"reconcile\"", "names: [\"edge-1\"]", "kind: \"HelmRelease\"", "namespace: \"apps\""] {
        assert!(request.contains(part), "{part} is not in {request}");
    }
    let many = hub.run("suspend --kind ks -l env=prod --per-second 5");
    many.fails(1, "suspend: 1 of 3 objects failed");
    assert!(many.stderr.contains("retail/edge-2 HelmRelease/apps/redis: the cluster is not connected"));
    assert!(hub.fake.changed().contains("per_second: 5"));
    let document = hub.run("resume --all -o json");
    let document: serde_json::Value = serde_json::from_str(&document.stdout).unwrap();
    assert_eq!((document["kind"].as_str(), document["failed"].as_u64()), (Some("CommandResult"), Some(1)));
    assert_eq!(document["failures"][0]["cluster"], "edge-2");
}

#[test]
fn detaching_waits_until_the_cluster_has_left() {
    let hub = Hub::start();
    let ran = hub.run("detach cluster edge-2 --wait");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("has left the fleet"), "{}", ran.stdout);
    hub.run("detach cluster edge-2").fails(4, "there is no cluster");
    let forgotten = hub.run("detach cluster edge-1 -w plant --forget");
    assert!(forgotten.stdout.contains("is forgotten"), "{}", forgotten.stdout);
}

#[test]
fn a_held_fleet_is_recovered_by_its_name() {
    let hub = Hub::start();
    hub.run("store recover --fleet demo --yes").fails(1, "does not hold");
    hub.fake.holds.store(true, Ordering::Relaxed);
    hub.run("adopt cluster edge-9 -w retail").fails(6, "starling store recover");
    hub.run("store recover --fleet other --yes").fails(2, "serves the fleet \"demo\"");
    hub.run("store recover --fleet demo").fails(3, "--yes");
    assert_eq!(hub.fake.changed(), "");
    let ran = hub.run("store recover --fleet demo --yes");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("nothing is removed because it is missing"), "{}", ran.stderr);
    assert!(ran.stdout.contains("moves again"), "{}", ran.stdout);
}
