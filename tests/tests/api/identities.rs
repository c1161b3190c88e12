//! Who is who: one cluster under two names, two agents with one identity.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use starling_agent::cluster::ClusterApi;
use starling_loadtest::cluster::{SimulatedApi, SimulatedCluster};
use starling_tests::steps::wait;

use crate::bed::{cluster, on_a_hub};
use crate::documents::assignment;

#[test]
fn one_cluster_that_joins_under_two_names_is_served_under_the_first() -> Result<()> {
    on_a_hub("identities-two-names", &[], |bed| {
        let machine = cluster("edge");
        let _first = bed.run_agent(&machine, &bed.adopt("first", &[])?, "first");
        bed.wait_live("first")?;
        let _second = bed.run_agent(&machine, &bed.adopt("second", &[])?, "second");
        wait("the second name to be refused with its reason", || {
            let refused = bed.metric("starling_join_refused_total{reason=\"cluster-known\"}")?;
            ensure!(refused > 0, "it is not");
            Ok(())
        })?;
        let log = std::fs::read_to_string(bed.hub.process().log_path()).context("read the hub's log")?;
        ensure!(log.contains("the cluster is in the fleet already as retail/first"), "{log}");
        ensure!(bed.view("second")?.connection == "pending", "{:?}", bed.view("second")?);
        bed.write("base.yaml", &assignment("base", "{}"))?;
        wait("the first name to be served", || {
            ensure!(machine.objects().keys().any(|key| key.kind == "HelmRelease"), "{:?}", machine.objects().keys());
            Ok(())
        })?;
        ensure!(bed.view("first")?.problem.is_empty(), "{:?}", bed.view("first")?);
        bed.wait_live("first")
    })
}

#[test]
fn a_second_agent_with_the_identity_of_a_connected_one_is_refused() -> Result<()> {
    on_a_hub("identities-two-agents", &[], |bed| {
        let machine = cluster("edge");
        let adoption = bed.adopt("edge", &[])?;
        let _first = bed.run_agent(&machine, &adoption, "identity");
        bed.wait_live("edge")?;
        let second = bed.run_agent(&machine, &adoption, "identity");
        wait("the second agent to be told", || {
            let edge = bed.view("edge")?;
            ensure!(edge.problem.contains("a second agent shows this cluster's identity"), "{edge:?}");
            Ok(())
        })?;
        bed.wait_live("edge")?;
        bed.write("base.yaml", &assignment("base", "{}"))?;
        wait("the first agent to be served", || {
            ensure!(machine.objects().keys().any(|key| key.kind == "HelmRelease"), "{:?}", machine.objects().keys());
            Ok(())
        })?;
        drop(second);
        bed.write("more.yaml", &assignment("more", "{}"))?;
        wait("nothing to be wrong any more", || {
            let edge = bed.view("edge")?;
            ensure!(edge.connection == "live" && edge.problem.is_empty(), "{edge:?}");
            Ok(())
        })
    })
}

#[test]
fn a_copied_identity_in_another_cluster_is_refused() -> Result<()> {
    on_a_hub("identities-copied", &[], |bed| {
        let machine = cluster("edge");
        let adoption = bed.adopt("edge", &[])?;
        let first = bed.run_agent(&machine, &adoption, "identity");
        bed.wait_live("edge")?;
        drop(first);
        // A restored backup of the first cluster, say.
        let copy = cluster("copy");
        bed.runtime.block_on(copy_identity(&machine, &copy))?;
        let _copied = bed.run_agent(&copy, &adoption, "identity");
        wait("the copy to be refused", || {
            let refused = bed.metric("starling_sessions_ended_total{reason=\"fingerprint-changed\"}")?;
            ensure!(refused > 0, "not refused yet");
            Ok(())
        })?;
        ensure!(bed.view("edge")?.connection != "live", "{:?}", bed.view("edge")?);
        let _again = bed.run_agent(&machine, &adoption, "identity");
        bed.wait_live("edge")
    })
}

async fn copy_identity(from: &Arc<SimulatedCluster>, to: &Arc<SimulatedCluster>) -> Result<()> {
    let identity = SimulatedApi(Arc::clone(from)).load_identity("identity").await?.context("there is no identity")?;
    SimulatedApi(Arc::clone(to)).store_identity("identity", &identity).await?;
    Ok(())
}
