//! The hub killed before, while and after somebody deletes something.

use std::time::Duration;

use anyhow::Result;
use starling_tests::steps::wait;

use super::bed::{CATALOGUE, WEB, cluster, on_a_fleet};

#[test]
fn what_was_deleted_while_the_hub_was_dead_is_settled_when_it_is_back() -> Result<()> {
    on_a_fleet("source-dead", 3, &[], |fleet| {
        fleet.hub.kill9()?;
        fleet.kubectl(&["delete", "addonassignment", "web", "-n", "retail", "--wait=false"])?;
        fleet.hub.restart()?;
        fleet.wait_removed()?;
        fleet.wait_gone(&["addonassignment", "web", "-n", "retail"])
    })
}

#[test]
fn a_namespace_that_went_while_the_hub_was_dead_removes_nothing() -> Result<()> {
    on_a_fleet("source-dead-namespace", 3, &[], |fleet| {
        fleet.hub.kill9()?;
        fleet.kubectl(&["delete", "namespace", "retail", "--wait=false"])?;
        fleet.hub.restart()?;
        fleet.wait_problem("web", "went with its namespace")?;
        fleet.wait_gone(&["addonassignment", "--all-namespaces"])?;
        fleet.keeps_everything()
    })
}

#[test]
fn a_hub_that_is_killed_again_and_again_removes_what_was_meant_and_nothing_else() -> Result<()> {
    on_a_fleet("source-killed", 3, &[], |fleet| {
        for round in 0..3_u64 {
            fleet.kubectl(&["delete", "addonassignment", "web", "-n", "retail", "--wait=false"])?;
            // Somewhere between the decision, its commit and the finalizer.
            std::thread::sleep(Duration::from_millis(20 + 25 * round));
            fleet.hub.kill9()?;
            fleet.hub.restart()?;
            fleet.wait_removed()?;
            fleet.wait_gone(&["addonassignment", "web", "-n", "retail"])?;
            fleet.apply(WEB)?;
            // The budget of a day has gone with the first round: those after it wait.
            if round == 0 {
                fleet.wait_ready(3)?;
                return again_beyond_the_budget(fleet);
            }
        }
        Ok(())
    })
}

/// Kills the hub around deletions that the budget holds back: each time the same incarnation is back.
fn again_beyond_the_budget(fleet: &super::bed::Fleet) -> Result<()> {
    let (uid, removals) = (fleet.web()?.uid, fleet.removals());
    for round in 0..3_u64 {
        fleet.kubectl(&["delete", "addonassignment", "web", "-n", "retail", "--wait=false"])?;
        std::thread::sleep(Duration::from_millis(10 + 25 * round));
        fleet.hub.kill9()?;
        fleet.hub.restart()?;
        fleet.wait_gone(&["addonassignment", "web", "-n", "retail"])?;
        wait("everything to be written again", || fleet.apply(&[CATALOGUE, &cluster("edge-0"), WEB].join("---\n")))?;
        fleet.wait_ready(3)?;
        anyhow::ensure!(fleet.web()?.uid == uid && fleet.removals() == removals, "round {round}");
    }
    Ok(())
}
