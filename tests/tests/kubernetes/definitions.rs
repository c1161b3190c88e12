//! The definitions as an API server and kubectl see them.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::bed::{bed, checkout};

const PLURALS: [&str; 5] = ["workspaces", "managedclusters", "addons", "addonassignments", "tombstones"];

#[test]
fn every_definition_is_served_and_structural() -> Result<()> {
    let kubectl = bed()?.kubectl();
    for plural in PLURALS {
        let definition = kubectl.get_json(&["crd", &format!("{plural}.starling.dev")])?;
        let conditions = definition["status"]["conditions"].as_array().context("it has conditions")?;
        let status_of = |kind: &str| {
            conditions.iter().find(|condition| condition["type"] == kind).map(|condition| condition["status"].clone())
        };
        ensure!(status_of("Established") == Some("True".into()), "{plural}: {conditions:?}");
        ensure!(status_of("NamesAccepted") == Some("True".into()), "{plural}: {conditions:?}");
        ensure!(status_of("NonStructuralSchema").is_none(), "{plural}: {conditions:?}");
        let scope = if plural == "workspaces" { "Cluster" } else { "Namespaced" };
        ensure!(definition["spec"]["scope"] == scope, "{plural} is {}", definition["spec"]["scope"]);
    }
    let of_category = kubectl.run(&["api-resources", "--categories=starling", "-o", "name"])?;
    ensure!(of_category.lines().count() == PLURALS.len(), "the category has\n{of_category}");
    Ok(())
}

#[test]
fn the_example_fleet_is_accepted() -> Result<()> {
    let bed = bed()?;
    for namespace in ["starling-platform", "factory"] {
        bed.namespace(namespace)?;
    }
    // What stands for the servers of charts and repositories is filled in by the demo.
    let servers = [
        ("\"HELM\"", "\"https://charts.example\""),
        ("OCI/", "oci://charts.example/"),
        ("\"GIT\"", "\"https://git.example/a\""),
    ];
    for name in ["workspaces", "addons", "assignments"] {
        let path = checkout().join("examples/fleet").join(format!("{name}.yaml"));
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let text = servers.iter().fold(text, |text, (word, server)| text.replace(word, server));
        let said = bed.kubectl().run_with_input(&["apply", "--dry-run=server", "-f", "-"], &text)?;
        ensure!(said.lines().count() == text.matches("\nkind: ").count(), "{name}:\n{said}");
    }
    Ok(())
}

#[test]
fn kubectl_explains_the_fields() -> Result<()> {
    let kubectl = bed()?.kubectl();
    for (path, texts) in [
        ("addonassignment.spec", &["clusterSelector", "-required-", "merged over the addon version's", "10m"][..]),
        ("aa.spec.clusterSelector.matchExpressions", &["enum: In, NotIn, Exists, DoesNotExist", "The label is there"]),
        ("mcl.spec", &["deletionPolicy", "enum: Orphan, Delete", "It is removed first"]),
        ("mcl.status", &["lastSeenTime", "installsReady", "conditions"]),
        ("addon.spec.versions.source", &["helmRepository", "A kustomization in a Git repository"]),
        ("tomb.spec", &["enum: Workspace, ManagedCluster, Addon, AddonAssignment", "starling delete"]),
    ] {
        let said = kubectl.run(&["explain", path])?;
        let missing: Vec<_> = texts.iter().filter(|text| !said.contains(**text)).collect();
        ensure!(missing.is_empty(), "explain {path} lacks {missing:?}:\n{said}");
    }
    Ok(())
}

#[test]
fn kubectl_shows_columns_and_waits_for_conditions() -> Result<()> {
    let bed = bed()?;
    let namespace = bed.namespace("columns")?;
    bed.kubectl().apply(&format!(
        "apiVersion: starling.dev/v1alpha1\nkind: ManagedCluster\nmetadata: {{name: edge-1, namespace: {namespace}}}\n"
    ))?;
    let named = ["-n", namespace, "mcl", "edge-1"];
    let defaulted = bed.kubectl().get_json(&named)?;
    ensure!(defaulted["spec"]["deletionPolicy"] == "Orphan", "the defaults are {}", defaulted["spec"]);
    let status = serde_json::json!({"status": {
        "observedGeneration": 1, "connection": "live", "installs": 3, "installsReady": 2,
        "facts": {"kubernetesVersion": "v1.35.4", "nodes": 5},
        "conditions": [
            {"type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "observedGeneration": 1,
             "lastTransitionTime": "2026-01-02T03:04:05Z"},
            {"type": "Ready", "status": "False", "reason": "InstallsNotReady", "message": "1 of 3 installs is not ready",
             "observedGeneration": 1, "lastTransitionTime": "2026-01-02T03:04:05Z"},
        ],
    }});
    let patch = status.to_string();
    bed.kubectl().run(&[
        "patch",
        "-n",
        namespace,
        "mcl",
        "edge-1",
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ])?;
    bed.kubectl().run(&["wait", "-n", namespace, "mcl/edge-1", "--for=condition=Accepted", "--timeout=20s"])?;
    let short = bed.kubectl().run(&["get", "-n", namespace, "mcl"])?;
    let words: Vec<Vec<&str>> = short.lines().map(|line| line.split_whitespace().collect()).collect();
    ensure!(words[0] == ["NAME", "CONNECTION", "READY", "INSTALLS", "INSTALLED", "KUBERNETES", "AGE"], "{short}");
    ensure!(words[1][..6] == ["edge-1", "live", "False", "3", "2", "v1.35.4"], "{short}");
    let wide = bed.kubectl().run(&["get", "-n", namespace, "starling", "-o", "wide"])?;
    ensure!(wide.contains("NODES") && wide.contains("ACCEPTED"), "{wide}");
    Ok(())
}

#[test]
fn a_clusters_id_cannot_change_once_it_is_set() -> Result<()> {
    let bed = bed()?;
    let namespace = bed.namespace("ids")?;
    let with = |spec: &str| {
        let head = format!(
            "apiVersion: starling.dev/v1alpha1\nkind: ManagedCluster\nmetadata: {{name: edge, namespace: {namespace}}}\n"
        );
        bed.kubectl().run_with_input(&["replace", "--force=false", "-f", "-"], &format!("{head}spec: {spec}\n"))
    };
    bed.kubectl().apply(&format!(
        "apiVersion: starling.dev/v1alpha1\nkind: ManagedCluster\nmetadata: {{name: edge, namespace: {namespace}}}\n"
    ))?;
    with("{id: 5492b768-9114-4db9-9df5-a271647019c9}").context("set it once")?;
    with("{id: 5492b768-9114-4db9-9df5-a271647019c9, paused: true}").context("change something else")?;
    for spec in ["{id: 00000000-9114-4db9-9df5-a271647019c9}", "{}"] {
        let refused = with(spec).err().with_context(|| format!("{spec} was taken"))?.to_string();
        ensure!(refused.contains("spec.id") && refused.contains("cannot change once it is set"), "{refused}");
    }
    Ok(())
}
