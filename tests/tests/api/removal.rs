//! Detaching with removal: the count is approved, what is installed goes in order, and only then the cluster leaves.

use std::time::Duration;

use anyhow::{Result, ensure};
use starling_tests::steps::{expect, stays, wait};
use starling_tests::views::Cluster;

use crate::bed::{Bed, cluster, on_a_hub};
use crate::documents::{WORKSPACE, assignment};

const WAITED: &[&str] =
    &["detach", "cluster", "edge", "--workspace", WORKSPACE, "--delete", "--approve", "2", "--wait"];

/// Lets a cluster have two addons.
fn two_addons(bed: &Bed) -> Result<()> {
    bed.write("base.yaml", &assignment("base", "{}"))?;
    bed.write("extra.yaml", &assignment("extra", "{}"))
}

#[test]
fn what_is_installed_goes_in_order_and_then_the_cluster_leaves() -> Result<()> {
    on_a_hub("removal-order", &[], |bed| {
        two_addons(bed)?;
        let (machine, other) = (cluster("edge"), cluster("other"));
        let _agent = bed.run_agent(&machine, &bed.adopt("edge", &[])?, "identity");
        let _other = bed.run_agent(&other, &bed.adopt("other", &[])?, "identity");
        bed.wait_ready("base", 2)?;
        bed.wait_ready("extra", 2)?;
        let detach = &WAITED[..6];
        expect(&bed.hub, detach, 3, &["2 installs"])?;
        expect(&bed.hub, &[detach, &["--approve", "1"]].concat(), 3, &["2 installs"])?;
        ensure!(machine.removals().is_empty(), "nothing goes before the count is approved");
        expect(&bed.hub, WAITED, 0, &["has left the fleet"])?;
        let kinds: Vec<String> =
            machine.removals().into_iter().map(|key| format!("{}/{}", key.kind, key.name)).collect();
        for name in ["base", "extra"] {
            let place = |kind: &str| kinds.iter().position(|removed| *removed == format!("{kind}/{name}"));
            let (release, source) = (place("HelmRelease"), place("HelmRepository"));
            ensure!(release.is_some() && release < source, "what installs goes before what it comes from: {kinds:?}");
        }
        ensure!(
            !machine.objects().keys().any(|key| key.group.ends_with("fluxcd.io")),
            "{:?}",
            machine.objects().keys()
        );
        let clusters: Vec<Cluster> = bed.list(&[])?;
        ensure!(clusters.iter().all(|cluster| cluster.name != "edge"), "{clusters:?}");
        ensure!(!bed.hub.options().directory.join("cluster/retail/edge.yaml").exists(), "its document is gone");
        ensure!(other.removals().is_empty(), "the other cluster keeps what it has");
        bed.wait_ready("base", 1)
    })
}

#[test]
fn a_hub_that_is_killed_in_the_middle_goes_on() -> Result<()> {
    on_a_hub("removal-killed", &[], |bed| {
        two_addons(bed)?;
        let machine = cluster("edge");
        let adoption = bed.adopt("edge", &[])?;
        let agent = bed.run_agent(&machine, &adoption, "identity");
        bed.wait_ready("base", 1)?;
        bed.wait_ready("extra", 1)?;
        drop(agent);
        wait("the agent to be away", || {
            let edge = bed.view("edge")?;
            ensure!(edge.connection == "disconnected", "{edge:?}");
            Ok(())
        })?;
        expect(&bed.hub, &WAITED[..8], 0, &["is being emptied"])?;
        wait("people to be told", || {
            let edge = bed.view("edge")?;
            ensure!(edge.connection == "removing" && edge.problem.contains("its agent is not connected"), "{edge:?}");
            Ok(())
        })?;
        // A new assignment is not for it.
        bed.write("late.yaml", &assignment("late", "{}"))?;
        bed.hub.kill9()?;
        bed.hub.restart()?;
        stays("the cluster that is away", Duration::from_secs(3), || {
            let edge = bed.view("edge")?;
            ensure!(edge.connection == "removing" && machine.removals().is_empty(), "{edge:?}");
            Ok(())
        })?;
        let _agent = bed.run_agent(&machine, &adoption, "identity");
        wait("the cluster to have left", || {
            let clusters: Vec<Cluster> = bed.list(&[])?;
            ensure!(clusters.iter().all(|cluster| cluster.name != "edge"), "{clusters:?}");
            Ok(())
        })?;
        ensure!(
            !machine.objects().keys().any(|key| key.group.ends_with("fluxcd.io")),
            "{:?}",
            machine.objects().keys()
        );
        ensure!(machine.removals().iter().all(|key| key.name != "late"), "it got nothing new");
        Ok(())
    })
}

#[test]
fn a_cluster_that_is_gone_is_given_up() -> Result<()> {
    on_a_hub("removal-forgotten", &[], |bed| {
        two_addons(bed)?;
        let machine = cluster("edge");
        let agent = bed.run_agent(&machine, &bed.adopt("edge", &[])?, "identity");
        bed.wait_ready("base", 1)?;
        bed.wait_ready("extra", 1)?;
        drop(agent);
        expect(&bed.hub, &WAITED[..8], 0, &["is being emptied"])?;
        let adopt = bed.hub.starling(&["adopt", "cluster", "edge", "--workspace", WORKSPACE])?;
        ensure!(adopt.code != 0 && adopt.stderr.contains("being detached"), "{adopt:?}");
        let forget = ["detach", "cluster", "edge", "--workspace", WORKSPACE, "--forget"];
        expect(&bed.hub, &forget, 0, &["is forgotten"])?;
        ensure!(machine.removals().is_empty(), "nothing was removed");
        Ok(())
    })
}
