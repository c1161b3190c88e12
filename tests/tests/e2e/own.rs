//! The hub's own cluster is one of the fleet: it is adopted, gets addons, and leaves with everything; the hub stays what it is.

use anyhow::{Context, Result, ensure};
use starling_harness::{Agent, Hub, InstalledBy, ManagementCluster, SYSTEM_NAMESPACE};
use starling_realparts::{FluxParts, Helm};
use starling_tests::steps::{expect, wait};
use starling_tests::views::{self, Cluster, Install};

use crate::support::{Addon, Permit, WORKSPACE, assignment, catalogue, parts};

const ADDON: Addon = Addon::Rules;

/// What the hub consists of, as `kubectl get` takes it.
const HUB: [&str; 3] = ["customresourcedefinitions", "namespaces", "clusterroles,clusterrolebindings"];

#[test]
fn the_hubs_own_cluster_is_adopted_and_leaves_without_taking_the_hub_along() -> Result<()> {
    let _permit = Permit::acquire();
    let parts = parts()?;
    let folder = parts.folder_of("own")?;
    let management = ManagementCluster::start(&parts.real, &parts.etcd, &folder, "own", FluxParts::Controllers)?;
    let hub = Hub::start(&parts.starling, &management.hub_options(&folder, "e2e")?)?;
    wait("the catalogue to be taken", || Ok(management.admin().apply(&catalogue(parts))?))?;
    let chart = InstalledBy::Chart(Helm::new(&parts.real, &folder.join("helm"))?);
    let _agent = Agent::join(&hub, management.cluster(), &chart, WORKSPACE, &[])?;
    management.admin().apply(&assignment(ADDON, ADDON.first()))?;
    installed(&hub, true)?;
    let before = parts_of_the_hub(&management)?;

    expect(&hub, &["detach", "cluster", "own", "-w", WORKSPACE, "--delete"], 3, &["1 install", "--approve 1"])?;
    let detach =
        ["detach", "cluster", "own", "-w", WORKSPACE, "--delete", "--approve", "1", "--wait", "--wait-timeout"];
    expect(&hub, &[&detach[..], &["2m"]].concat(), 0, &["has left the fleet"])?;
    installed(&hub, false)?;
    let clusters: Vec<Cluster> = views::list(&hub, &[])?;
    ensure!(clusters.is_empty(), "{clusters:?}");
    ensure!(parts_of_the_hub(&management)? == before, "the hub is what it was");
    management
        .admin()
        .run(&["get", "statefulset", "starling-hub", "-n", SYSTEM_NAMESPACE])
        .context("the hub itself")?;
    ensure!(hub.status()?.hold.is_none(), "and it serves");
    Ok(())
}

/// Waits until the addon is on the cluster, or is not.
fn installed(hub: &Hub, is_wanted: bool) -> Result<()> {
    wait("the addon to be there, or to be gone", || {
        let installs: Vec<Install> = views::list(hub, &[])?;
        let is_ready = installs.iter().any(|install| install.health.as_deref() == Some("ready"));
        ensure!(is_ready == is_wanted && (is_wanted || installs.is_empty()), "{installs:?}");
        Ok(())
    })
}

/// Lists what must never go with a cluster that leaves, with the UIDs.
fn parts_of_the_hub(management: &ManagementCluster) -> Result<Vec<String>> {
    let columns = "custom-columns=KIND:.kind,NAME:.metadata.name,UID:.metadata.uid";
    HUB.iter().map(|kinds| Ok(management.admin().run(&["get", kinds, "-o", columns])?)).collect()
}
