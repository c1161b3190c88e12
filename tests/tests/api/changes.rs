//! What a fleet lives through: pauses, names that collide, clusters that move, addons that go, a hub that falls under many agents.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use starling_loadtest::cluster::SimulatedCluster;
use starling_model::limits::SESSION_TIMEOUT;
use starling_tests::steps::{expect, stays, wait};
use starling_tests::views::{Install, Problem};

use crate::bed::{Bed, cluster, on_a_hub};
use crate::documents::assignment;

#[test]
fn what_is_paused_does_not_move() -> Result<()> {
    on_a_hub("changes-paused", &[], |bed| {
        let machine = cluster("edge");
        let _agent = bed.run_agent(&machine, &bed.adopt("edge", &[])?, "identity");
        bed.write("base.yaml", &assignment("base", "{}"))?;
        bed.wait_ready("base", 1)?;

        let file = "cluster/retail/edge.yaml";
        let document = std::fs::read_to_string(bed.hub.options().directory.join(file)).context("read the cluster")?;
        bed.write(file, &document.replace("paused: false", "paused: true"))?;
        planned(bed, "keep", "paused")?;
        bed.write("base.yaml", &assignment("base", "{}").replace("1.0.0", "1.1.0"))?;
        bed.write("more.yaml", &assignment("more", "{}"))?;
        stays("a paused cluster", Duration::from_secs(8), || {
            ensure!(
                chart_version(&machine, "base").as_deref() == Some("1.0.0"),
                "{:?}",
                chart_version(&machine, "base")
            );
            ensure!(chart_version(&machine, "more").is_none(), "something new came");
            Ok(())
        })?;
        bed.write(file, &document)?;
        bed.wait_ready("base", 1)?;
        bed.wait_ready("more", 1)?;
        ensure!(chart_version(&machine, "base").as_deref() == Some("1.1.0"), "it moves again");

        bed.write("base.yaml", &format!("{}  paused: true\n", assignment("base", "{}")))?;
        planned(bed, "keep", "paused")?;
        ensure!(chart_version(&machine, "base").as_deref() == Some("1.1.0"), "a paused assignment stays as it is");
        Ok(())
    })
}

#[test]
fn a_name_that_is_taken_is_told_and_inherited() -> Result<()> {
    on_a_hub("changes-collision", &[], |bed| {
        let machine = cluster("edge");
        let _agent = bed.run_agent(&machine, &bed.adopt("edge", &[])?, "identity");
        bed.write("base.yaml", &assignment("base", "{}"))?;
        bed.wait_ready("base", 1)?;
        let before = uid(&machine, "base").context("the release is there")?;
        let rival = assignment("rival", "{}").replace("spec:\n", "spec:\n  instance: base\n").replace("1.0.0", "1.1.0");
        bed.write("rival.yaml", &rival)?;
        wait("the collision to be told", || {
            let installs: Vec<Install> = bed.list(&[])?;
            let told = |install: &Install| {
                install.assignment.ends_with("/rival")
                    && install.planned == "blocked"
                    && install.reason.contains("base")
            };
            ensure!(installs.iter().any(told), "{installs:?}");
            Ok(())
        })?;
        ensure!(chart_version(&machine, "base").as_deref() == Some("1.0.0"), "the older one keeps the name");
        expect(&bed.hub, &["delete", "assignment", "base", "--approve", "1"], 0, &["deleted"])?;
        bed.wait_ready("rival", 1)?;
        ensure!(chart_version(&machine, "base").as_deref() == Some("1.1.0"), "{:?}", chart_version(&machine, "base"));
        ensure!(uid(&machine, "base") == Some(before), "the heir takes it over in place");
        ensure!(machine.removals().is_empty(), "{:?}", machine.removals());
        Ok(())
    })
}

#[test]
fn a_cluster_that_moves_keeps_its_identity_and_leaves_its_workspaces_addons() -> Result<()> {
    on_a_hub("changes-move", &[], |bed| {
        let machine = cluster("edge");
        let _agent = bed.run_agent(&machine, &bed.adopt("edge", &[])?, "identity");
        bed.write("base.yaml", &assignment("base", "{}"))?;
        let own = assignment("own", "{}").replace("namespace: starling-platform", "namespace: retail");
        bed.write("own.yaml", &own.replace("{name: web}", "{name: web, namespace: starling-platform}"))?;
        bed.wait_ready("base", 1)?;
        bed.wait_ready("own", 1)?;
        let before = (uid(&machine, "base"), bed.view("edge")?.id);

        let directory = &bed.hub.options().directory;
        let document =
            std::fs::read_to_string(directory.join("cluster/retail/edge.yaml")).context("read the cluster")?;
        ensure!(document.contains(&before.1), "its document names its identity: {document}");
        std::fs::create_dir_all(directory.join("cluster/factory")).context("make a folder")?;
        bed.write("cluster/factory/edge.yaml", &document.replace("namespace: retail", "namespace: factory"))?;
        std::fs::remove_file(directory.join("cluster/retail/edge.yaml")).context("remove the old document")?;
        wait("the workspace's own addon to be gone", || {
            ensure!(uid(&machine, "own").is_none(), "it is there");
            Ok(())
        })?;
        bed.wait_live("edge")?;
        bed.wait_ready("base", 1)?;
        ensure!((uid(&machine, "base"), bed.view("edge")?.id) == before, "the same cluster and the same release");
        expect(&bed.hub, &["get", "clusters", "edge", "-w", "factory"], 0, &["live"])?;
        expect(&bed.hub, &["get", "clusters", "edge", "-w", "retail"], 4, &[])?;
        Ok(())
    })
}

#[test]
fn an_addon_that_is_deleted_leaves_what_is_installed() -> Result<()> {
    on_a_hub("changes-addon", &[], |bed| {
        let machine = cluster("edge");
        let _agent = bed.run_agent(&machine, &bed.adopt("edge", &[])?, "identity");
        bed.write("base.yaml", &assignment("base", "{}"))?;
        bed.wait_ready("base", 1)?;
        expect(&bed.hub, &["delete", "addon", "web"], 0, &["deleted"])?;
        wait("the assignment to say that its addon is gone", || {
            let problems: Vec<Problem> = bed.list(&[])?;
            let told = |problem: &Problem| problem.name == "base" && problem.next.contains("write an Addon");
            ensure!(problems.iter().any(told), "{problems:?}");
            Ok(())
        })?;
        stays("what is installed", Duration::from_secs(5), || {
            ensure!(machine.removals().is_empty() && uid(&machine, "base").is_some(), "{:?}", machine.removals());
            Ok(())
        })
    })
}

#[test]
fn a_hub_that_falls_under_many_agents_gets_them_all_back() -> Result<()> {
    on_a_hub("changes-fall", &[], |bed| {
        let machines: Vec<_> = (0..20).map(|number| cluster(&format!("c{number}"))).collect();
        let agents: Vec<_> = machines
            .iter()
            .enumerate()
            .map(|(number, machine)| Ok(bed.run_agent(machine, &bed.adopt(&format!("c{number}"), &[])?, "identity")))
            .collect::<Result<_>>()?;
        bed.write("base.yaml", &assignment("base", "{}"))?;
        bed.wait_ready("base", machines.len())?;
        bed.write("base.yaml", &assignment("base", "{}").replace("1.0.0", "1.1.0"))?;
        bed.hub.kill9()?;
        bed.hub.restart()?;
        wait("all to be upgraded", || {
            let late: Vec<usize> = (0..machines.len())
                .filter(|number| chart_version(&machines[*number], "base").as_deref() != Some("1.1.0"))
                .collect();
            ensure!(late.is_empty(), "{late:?} are late");
            Ok(())
        })?;
        bed.wait_ready("base", machines.len())?;
        ensure!(machines.iter().all(|machine| machine.removals().is_empty()), "nothing was removed");
        drop(agents);
        Ok(())
    })
}

#[test]
fn a_hub_that_is_paused_is_left_and_found_again() -> Result<()> {
    on_a_hub("changes-paused-hub", &[], |bed| {
        let machine = cluster("edge");
        let _agent = bed.run_agent(&machine, &bed.adopt("edge", &[])?, "identity");
        bed.write("base.yaml", &assignment("base", "{}"))?;
        bed.wait_ready("base", 1)?;
        bed.write("base.yaml", &assignment("base", "{}").replace("1.0.0", "1.1.0"))?;
        bed.hub.process().pause()?;
        // Longer than either end believes in a silent one.
        std::thread::sleep(SESSION_TIMEOUT + Duration::from_secs(5));
        ensure!(chart_version(&machine, "base").as_deref() == Some("1.0.0"), "nothing moves without a hub");
        bed.hub.process().resume()?;
        // Until its agent is back the hub shows what it last heard: ready, of the version before.
        wait("it to move again", || {
            let version = chart_version(&machine, "base");
            ensure!(version.as_deref() == Some("1.1.0"), "the release asks for {version:?}");
            Ok(())
        })?;
        bed.wait_ready("base", 1)?;
        ensure!(machine.removals().is_empty(), "{:?}", machine.removals());
        bed.wait_live("edge")
    })
}

fn planned(bed: &Bed, planned: &str, reason: &str) -> Result<()> {
    wait(&format!("the install to be planned as {planned}"), || {
        let installs: Vec<Install> = bed.list(&["--assignment", "starling-platform/base"])?;
        let told = |install: &Install| install.planned == planned && install.reason.contains(reason);
        ensure!(installs.len() == 1 && installs.iter().all(told), "{installs:?}");
        Ok(())
    })
}

/// Returns the chart's version that a release asks for.
fn chart_version(machine: &SimulatedCluster, release: &str) -> Option<String> {
    let path = ["spec", "chart", "spec", "version"];
    let objects = machine.objects();
    let release = objects.iter().find(|(key, _)| key.kind == "HelmRelease" && key.name == release)?.1;
    release.at(&path)?.as_str().map(str::to_owned)
}

fn uid(machine: &SimulatedCluster, release: &str) -> Option<String> {
    let objects = machine.objects();
    let release = objects.iter().find(|(key, _)| key.kind == "HelmRelease" && key.name == release)?.1;
    release.at(&["metadata", "uid"])?.as_str().map(str::to_owned)
}
