//! The hub as a process: one at a time over one state, for one fleet, ended in order, over a directory that it cannot write.

use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use starling_tests::steps::expect;

use crate::bed::{Bed, cluster, on_a_hub};
use crate::documents::WORKSPACE;

#[test]
fn a_second_hub_over_the_same_state_does_not_start() -> Result<()> {
    on_a_hub("process-second", &[], |bed| {
        let second = start_another(bed, &bed.hub.options().fleet)?;
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        ensure!(!second.status.success() && said.contains("store.redb"), "{second:?}");
        expect(&bed.hub, &["status"], 0, &[])?;
        Ok(())
    })
}

#[test]
fn a_hub_of_another_fleet_does_not_start_over_the_state() -> Result<()> {
    on_a_hub("process-fleet", &[], |bed| {
        bed.hub.stop(Duration::from_secs(30))?;
        let other = start_another(bed, "another")?;
        let said = String::from_utf8_lossy(&other.stderr).into_owned();
        ensure!(!other.status.success() && said.contains("belongs to fleet") && said.contains("another"), "{other:?}");
        bed.hub.restart()
    })
}

#[test]
fn a_hub_that_is_stopped_in_order_loses_nothing() -> Result<()> {
    on_a_hub("process-stop", &[], |bed| {
        let _agent = bed.run_agent(&cluster("edge"), &bed.adopt("edge", &[])?, "identity");
        bed.wait_live("edge")?;
        let position = || -> Result<u64> {
            let status: serde_json::Value = bed.hub.ask_json(&["status"])?;
            status["position"].as_u64().context("a position")
        };
        let before = position()?;
        bed.hub.stop(Duration::from_secs(30))?;
        bed.hub.restart()?;
        bed.wait_live("edge")?;
        ensure!(position()? == before, "nothing was written: {before} and {}", position()?);
        let printed = bed.hub.starling(&["get", "clusters", "--timeout", "5s"])?;
        ensure!(printed.code == 0, "{printed:?}");
        bed.hub.stop(Duration::from_secs(30))?;
        expect(&bed.hub, &["get", "clusters", "--timeout", "2s"], 5, &["next:"])?;
        bed.hub.restart()
    })
}

#[test]
fn a_directory_that_cannot_be_written_gets_its_edits_printed() -> Result<()> {
    on_a_hub("process-directory", &[], |bed| {
        // A file where the hub would make a folder: not even root can.
        fs::write(bed.hub.options().directory.join("cluster"), "").context("write a file")?;
        let adopt = ["adopt", "cluster", "edge", "--workspace", WORKSPACE];
        expect(
            &bed.hub,
            &adopt,
            0,
            &["cannot write its directory", "kind: ManagedCluster", "name: edge", "kind: Deployment"],
        )?;
        ensure!(bed.view("edge")?.connection == "pending", "{:?}", bed.view("edge")?);
        expect(&bed.hub, &["detach", "cluster", "edge"], 0, &["is forgotten"])?;
        Ok(())
    })
}

/// Starts another hub over the bed's state, and waits for its end.
fn start_another(bed: &Bed, fleet: &str) -> Result<Output> {
    let options = bed.hub.options();
    let mut command = Command::new("timeout");
    command.arg("20").arg(bed.hub.programs().path("starling-hub"));
    command.args(["--fleet", fleet, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    command.arg("--state").arg(&options.state).arg("--directory").arg(&options.directory);
    command.output().context("start another hub")
}
