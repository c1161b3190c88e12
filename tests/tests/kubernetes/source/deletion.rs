//! `kubectl delete` of an assignment, of its namespace, of the definition, of all at once: only the first removes anything.

use anyhow::{Result, ensure};
use starling_tests::steps::{expect, wait};
use starling_tests::views::Proposal;

use super::bed::{CATALOGUE, Fleet, WEB, cluster, on_a_fleet};

const DEFINITION: &str = "crd/addonassignments.starling.dev";

#[test]
fn a_deleted_assignment_is_removed_within_the_budget() -> Result<()> {
    on_a_fleet("source-deleted", 3, &[], |fleet| {
        fleet.kubectl(&["delete", "addonassignment", "web", "-n", "retail", "--timeout=60s"])?;
        fleet.wait_removed()?;
        fleet.wait_no_problem()
    })
}

#[test]
fn a_deletion_beyond_the_budget_waits_and_whoever_makes_it_again_has_it_again() -> Result<()> {
    on_a_fleet("source-budget", 4, &[], |fleet| {
        let uid = fleet.web()?.uid;
        let delete = || fleet.kubectl(&["delete", "addonassignment", "web", "-n", "retail", "--timeout=60s"]);
        delete()?;
        let proposal = || {
            wait("the removal to wait for approval", || {
                let proposals: Vec<Proposal> = fleet.list()?;
                ensure!(proposals.len() == 1, "{proposals:?}");
                Ok(proposals[0].clone())
            })
        };
        ensure!(proposal()?.installs == 4);
        fleet.keeps_everything()?;
        fleet.apply(WEB)?;
        fleet.wait_ready(4)?;
        ensure!(fleet.web()?.uid == uid, "another incarnation");
        let none: Vec<Proposal> = fleet.list()?;
        ensure!(none.is_empty(), "{none:?}");
        delete()?;
        let proposal = proposal()?;
        expect(&fleet.hub, &["approve", &proposal.id, "--count", "4"], 0, &["4 installs"])?;
        fleet.wait_removed()
    })
}

#[test]
fn a_deleted_namespace_removes_nothing() -> Result<()> {
    on_a_fleet("source-namespace", 3, &[], |fleet| {
        let uid = fleet.web()?.uid;
        fleet.kubectl(&["delete", "namespace", "retail", "--timeout=90s"])?;
        fleet.wait_problem("web", "went with its namespace")?;
        fleet.keeps_everything()?;
        write_again(fleet, 3)?;
        ensure!(fleet.web()?.uid == uid, "another incarnation");
        fleet.wait_no_problem()
    })
}

#[test]
fn a_deleted_definition_removes_nothing() -> Result<()> {
    on_a_fleet("source-definition", 3, &[], |fleet| {
        let uid = fleet.web()?.uid;
        let definition = fleet.kubectl(&["get", DEFINITION, "-o", "json"])?;
        fleet.kubectl(&["delete", DEFINITION, "--timeout=90s"])?;
        fleet.wait_problem("web", "no evidence")?;
        fleet.keeps_everything()?;
        fleet.kubectl_with(&["create", "-f", "-"], &definition)?;
        write_again(fleet, 3)?;
        ensure!(fleet.web()?.uid == uid, "another incarnation");
        fleet.wait_no_problem()
    })
}

#[test]
fn everything_deleted_at_once_removes_nothing() -> Result<()> {
    on_a_fleet("source-everything", 3, &[], |fleet| {
        let definitions = fleet.kubectl(&["get", "crd", "-l", "app.kubernetes.io/part-of=starling", "-o", "json"])?;
        fleet.kubectl(&["delete", "namespace", "retail", "starling-platform", "--wait=false"])?;
        fleet.kubectl(&["delete", "crd", "-l", "app.kubernetes.io/part-of=starling", "--wait=false"])?;
        // What is told of each deletion may be told of one that has gone already.
        let _ = fleet.kubectl(&["delete", "addonassignment", "--all", "--all-namespaces", "--wait=false"]);
        let _ = fleet.kubectl(&["delete", "workspace", "--all", "--wait=false"]);
        fleet.wait_gone(&["crd", "-l", "app.kubernetes.io/part-of=starling"])?;
        fleet.keeps_everything()?;
        fleet.kubectl_with(&["create", "-f", "-"], &definitions)?;
        write_again(fleet, 3)?;
        fleet.keeps_everything()
    })
}

/// Writes everything anew, once namespaces and definitions are there again.
fn write_again(fleet: &Fleet, clusters: u64) -> Result<()> {
    let clusters_again: Vec<String> = (0..clusters).map(|index| cluster(&format!("edge-{index}"))).collect();
    let workspace = CATALOGUE.split("---\n").next().unwrap_or_default();
    wait("the workspace to be written again", || fleet.apply(workspace))?;
    let all = [CATALOGUE, &clusters_again.join("---\n"), WEB].join("---\n");
    wait("everything to be written again", || fleet.apply(&all))?;
    fleet.wait_ready(clusters)
}
