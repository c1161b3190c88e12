//! A cluster comes into the fleet, leaves it and comes again.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use rstest::rstest;
use starling_tests::steps::{stays, wait};
use starling_tests::views::{Adoption, Cluster};

use crate::support::{Addon, Bed, Source, WORKSPACE, on_a_cluster};

const ADDON: Addon = Addon::Web;

#[rstest]
#[case::directory(Source::Directory)]
#[case::kubernetes(Source::Kubernetes)]
fn a_cluster_is_adopted_twice_detached_and_adopted_again(#[case] source: Source) -> Result<()> {
    on_a_cluster(source, "enrolment", &[], |bed| {
        bed.install(&[ADDON])?;
        let installed = bed.uids()?;
        let cluster = bed.cluster_view()?;

        let again = adopt(bed)?;
        ensure!(!again.created && again.cluster_id == cluster.id, "{again:?} of {cluster:?}");
        ensure!(bed.cluster_view()?.connection == "live", "adopting again disturbs nobody");

        bed.expect(&["detach", "cluster", bed.name(), "--wait", "--wait-timeout", "2m"], 0, &["has left the fleet"])?;
        let clusters: Vec<Cluster> = bed.list(&[])?;
        ensure!(clusters.iter().all(|cluster| cluster.name != bed.name()), "{clusters:?}");
        ensure!(bed.uids()? == installed, "what is installed stays: {installed:?}, then {:?}", bed.uids()?);
        // Nobody keeps it as it was any more: it is its owner's.
        let patch = r#"{"spec":{"interval":"3h"}}"#;
        bed.cluster.kubectl(&["patch", "-n", "starling-addons", "helmrelease/web", "--type=merge", "-p", patch])?;
        stays("what its owner changed", std::time::Duration::from_secs(20), || {
            ensure!(bed.workload(ADDON)?.text("/spec/interval") == "3h", "somebody repaired it");
            Ok(())
        })?;

        come_again(bed)?;
        bed.assign(ADDON, ADDON.second())?;
        bed.wait_ready(ADDON, ADDON.second())?;
        ensure!(bed.uids()? == installed, "an adoption takes over what is there");
        ensure!(bed.workload(ADDON)?.text("/spec/interval") == "10m", "and it is Starling's again");
        Ok(())
    })
}

#[rstest]
#[case::directory(Source::Directory)]
#[case::kubernetes(Source::Kubernetes)]
fn a_cluster_whose_agent_is_gone_is_forgotten(#[case] source: Source) -> Result<()> {
    on_a_cluster(source, "enrolment-forget", &[], |bed| {
        bed.install(&[ADDON])?;
        let installed = bed.uids()?;
        bed.agent.process().kill9()?;
        bed.expect(&["detach", "cluster", bed.name()], 0, &["is being detached"])?;
        wait("the cluster to wait for its agent", || {
            let cluster = bed.cluster_view()?;
            ensure!(cluster.connection == "detaching", "{cluster:?}");
            Ok(())
        })?;
        bed.expect(&["detach", "cluster", bed.name(), "--forget"], 0, &["is forgotten"])?;
        bed.agent.process().restart()?;
        wait("the agent to be told", || {
            let log = fs::read_to_string(bed.agent.process().log_path())?;
            if log.contains("the cluster was detached: adopt it again with `starling adopt cluster`") {
                return Ok(());
            }
            bail!("{}", bed.agent.process().log_tail())
        })?;
        ensure!(bed.uids()? == installed, "what is installed stays");
        come_again(bed)?;
        bed.wait_ready(ADDON, ADDON.first())?;
        ensure!(bed.uids()? == installed, "an adoption takes over what is there");
        Ok(())
    })
}

#[rstest]
#[case::directory(Source::Directory)]
#[case::kubernetes(Source::Kubernetes)]
fn a_cluster_is_detached_with_everything_that_was_installed(#[case] source: Source) -> Result<()> {
    on_a_cluster(source, "enrolment-delete", &[], |bed| {
        bed.install(&[ADDON, Addon::Rules])?;
        let installed = bed.uids()?;
        let detach = ["detach", "cluster", bed.name(), "--delete"];
        bed.expect(&detach, 3, &["2 installs", "--approve 2"])?;
        bed.expect(&[&detach[..], &["--approve", "1"]].concat(), 3, &["2 installs"])?;
        ensure!(bed.uids()? == installed, "nothing goes without approval");
        let approved = ["--approve", "2", "--wait", "--wait-timeout", "2m"];
        bed.expect(&[&detach[..], &approved].concat(), 0, &["has left the fleet"])?;
        ensure!(bed.live()?.is_empty(), "{:?}", bed.live()?);
        for addon in [ADDON, Addon::Rules] {
            ensure!(bed.installed_version(addon)?.is_none(), "{} is still installed", addon.name());
        }
        let clusters: Vec<Cluster> = bed.list(&[])?;
        ensure!(clusters.is_empty(), "{clusters:?}");
        bed.cluster.kubectl(&["get", "namespace", "starling-addons"]).context("namespaces are never deleted")?;
        come_again(bed)?;
        bed.wait_ready(ADDON, ADDON.first())
    })
}

fn adopt(bed: &Bed) -> Result<Adoption> {
    bed.hub.ask_json(&["adopt", "cluster", bed.name(), "--workspace", WORKSPACE, "--label", "env=test"])
}

/// Adopts the cluster once more and gives its agent the new token.
fn come_again(bed: &Bed) -> Result<()> {
    let adoption = adopt(bed)?;
    ensure!(adoption.created, "it had left the fleet");
    bed.agent.join_again(&bed.hub, &bed.cluster, &bed.installed_by, &adoption)?;
    bed.wait_live()
}
