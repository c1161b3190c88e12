//! The hub loses what it knows: its directory is emptied, its database deleted, or it is replaced by an empty one with the same
//! authorities. Nothing goes from the cluster, what is there stays visible, and the way out is told.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rstest::rstest;
use starling_harness::FLEET_HOLDS;
use starling_tests::steps::{stays, wait};
use starling_tests::views::{Cluster, Install, Object, Problem};

use crate::support::{Addon, Bed, Documents, Source, WORKSPACE, cluster_file, on_a_cluster};

/// What is installed when the loss happens: one chart, one kustomization.
const INSTALLED: [Addon; 2] = [Addon::Web, Addon::Rules];

/// What the hub says as an error, because a person has to look.
const HOLDS: [&str; 1] = ["the fleet holds"];

/// Longer than a heartbeat and a command lease, so that a removal that was going to happen would have.
const LONG_ENOUGH: Duration = Duration::from_secs(20);

#[rstest]
#[case::directory(Source::Directory)]
#[case::kubernetes(Source::Kubernetes)]
fn an_emptied_directory_changes_nothing(#[case] source: Source) -> Result<()> {
    on_a_cluster(source, "loss-directory", &[], |bed| {
        bed.install(&INSTALLED)?;
        let installed = bed.uids()?;
        bed.lose_documents()?;
        wait("every source to be missing", || {
            let problems: Vec<Problem> = bed.list(&[])?;
            for addon in INSTALLED {
                let problem =
                    problems.iter().find(|problem| problem.kind == "AddonAssignment" && problem.name == addon.name());
                let problem = problem.with_context(|| format!("no word about {}: {problems:?}", addon.name()))?;
                ensure!(problem.message.contains("source missing"), "{problem:?}");
                let settle = format!("starling delete assignment {WORKSPACE}/{}", addon.name());
                ensure!(problem.next.contains(&settle), "{problem:?}");
            }
            Ok(())
        })?;
        nothing_goes(bed, &installed)?;
        bed.hub.kill9()?;
        bed.hub.restart()?;
        bed.wait_live()?;
        nothing_goes(bed, &installed)?;
        for addon in INSTALLED {
            ensure!(bed.assignment_view(addon)?.source_missing, "it says so where assignments are listed");
            bed.wait_ready(addon, addon.first())?;
        }
        bed.expect(&["status"], 0, &["1 live"])?;
        bed.write_catalogue()?;
        it_moves_again(bed, &installed)?;
        wait("nothing to be wrong but the cluster's own document", || {
            let problems: Vec<Problem> = bed.list(&[])?;
            ensure!(problems.iter().all(|problem| problem.kind == "ManagedCluster"), "{problems:?}");
            Ok(())
        })
    })
}

#[rstest]
#[case::directory(Source::Directory)]
#[case::kubernetes(Source::Kubernetes)]
fn a_deleted_database_holds_the_fleet_until_it_is_recovered(#[case] source: Source) -> Result<()> {
    on_a_cluster(source, "loss-database", &HOLDS, |bed| {
        bed.install(&INSTALLED)?;
        let installed = bed.uids()?;
        bed.hub.kill9()?;
        fs::remove_file(bed.hub.options().state.join("store.redb")).context("delete the database")?;
        bed.hub.restart()?;
        it_holds(bed, &installed)?;
        recover(bed)?;
        bed.wait_live()?;
        it_moves_again(bed, &installed)?;
        let cluster = bed.cluster_view()?;
        ensure!(cluster.problem.is_empty(), "{cluster:?}");
        Ok(())
    })
}

#[rstest]
#[case::directory(Source::Directory)]
#[case::kubernetes(Source::Kubernetes)]
fn an_empty_hub_with_the_same_authorities_holds_the_fleet(#[case] source: Source) -> Result<()> {
    on_a_cluster(source, "loss-hub", &HOLDS, |bed| replaced_by_an_empty_hub(bed, true))
}

#[rstest]
#[case::directory(Source::Directory)]
#[case::kubernetes(Source::Kubernetes)]
fn an_empty_hub_with_the_same_authorities_and_no_mark_holds_the_fleet(#[case] source: Source) -> Result<()> {
    on_a_cluster(source, "loss-hub-and-mark", &HOLDS, |bed| replaced_by_an_empty_hub(bed, false))
}

/// Leaves nothing of a hub but its keys, with or without the mark that tells how far its store was.
fn replaced_by_an_empty_hub(bed: &Bed, with_mark: bool) -> Result<()> {
    bed.install(&INSTALLED)?;
    let installed = bed.uids()?;
    let adopted = bed.documents.managed_cluster(WORKSPACE, bed.name())?;
    bed.hub.kill9()?;
    bed.lose_documents()?;
    let state = &bed.hub.options().state;
    for entry in fs::read_dir(state).context("list the hub's state")? {
        let path = entry?.path();
        if path.is_file() {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    if !with_mark {
        bed.documents.lose_mark(state)?;
    }
    bed.hub.restart()?;
    it_holds(bed, &installed)?;
    recover(bed)?;
    wait("the cluster to be there without a name", || {
        let clusters: Vec<Cluster> = bed.list(&[])?;
        ensure!(clusters.iter().any(|cluster| cluster.connection == "unassigned"), "{clusters:?}");
        Ok(())
    })?;
    nothing_goes(bed, &installed)?;
    // A repository that is checked out again.
    bed.write_catalogue()?;
    wait("the cluster's document to be taken", || bed.write(&cluster_file(WORKSPACE, bed.name()), &adopted))?;
    bed.wait_live()?;
    it_moves_again(bed, &installed)
}

/// Looks at a fleet that holds: everything is shown, nothing moves, and the way out is told.
fn it_holds(bed: &Bed, installed: &BTreeMap<String, String>) -> Result<()> {
    wait("the fleet to hold, and the agent to be back", || {
        bed.expect(&["status"], FLEET_HOLDS, &["THE FLEET HOLDS", "starling store recover"])?;
        let objects: Vec<Object> = bed.list(&["--health", "ready"])?;
        for addon in INSTALLED {
            let is_shown = objects.iter().any(|object| object.kind == addon.workload() && object.name == addon.name());
            ensure!(is_shown, "{} is not shown: {objects:?}", addon.name());
        }
        let installs: Vec<Install> = bed.list(&[])?;
        ensure!(installs.len() == INSTALLED.len(), "{installs:?}");
        for install in &installs {
            let report = install.report.as_ref().with_context(|| format!("no report: {install:?}"))?;
            ensure!(report.state == "applied" && !report.assignment_uid.is_empty(), "{install:?}");
        }
        Ok(())
    })?;
    bed.assign(Addon::Cache, Addon::Cache.first())?;
    bed.expect(&["adopt", "cluster", "another", "--workspace", WORKSPACE], FLEET_HOLDS, &["starling store recover"])?;
    if let Documents::Directory(directory) = &bed.documents {
        let file = directory.join("cache.yaml").display().to_string();
        bed.expect(&["apply", "-f", &file], FLEET_HOLDS, &["starling store recover"])?;
    }
    nothing_goes(bed, installed)?;
    ensure!(bed.live()?.len() == installed.len(), "nothing comes either");
    // What the cluster holds is still kept as it was.
    let patch = r#"{"spec":{"interval":"3h"}}"#;
    bed.cluster.kubectl(&["patch", "-n", "starling-addons", "helmrelease/web", "--type=merge", "-p", patch])?;
    wait("drift to be repaired while the fleet holds", || {
        let workload = bed.workload(Addon::Web)?;
        ensure!(workload.text("/spec/interval") == "10m", "it is {:?}", workload.text("/spec/interval"));
        Ok(())
    })?;
    bed.remove("cache.yaml")
}

fn recover(bed: &Bed) -> Result<()> {
    bed.expect(&["store", "recover", "--fleet", "another", "--yes"], 2, &["next:"])?;
    bed.expect(&["store", "recover", "--fleet", "e2e"], 3, &["--yes"])?;
    bed.expect(&["store", "recover", "--fleet", "e2e", "--yes"], 0, &["moves again"])?;
    bed.expect(&["status"], 0, &[])?;
    bed.expect(&["store", "recover", "--fleet", "e2e", "--yes"], 1, &["does not hold"])?;
    Ok(())
}

fn nothing_goes(bed: &Bed, installed: &BTreeMap<String, String>) -> Result<()> {
    stays("what is installed", LONG_ENOUGH, || {
        let now = bed.uids()?;
        ensure!(now == *installed, "there were {installed:?}, and now {now:?}");
        Ok(())
    })
}

/// Upgrades what is installed, in place, and removes one of it.
fn it_moves_again(bed: &Bed, installed: &BTreeMap<String, String>) -> Result<()> {
    for addon in INSTALLED {
        bed.assign(addon, addon.second())?;
    }
    for addon in INSTALLED {
        bed.wait_ready(addon, addon.second())?;
    }
    ensure!(bed.uids()? == *installed, "what was installed is updated in place");
    bed.expect(&["delete", "assignment", "rules", "-w", WORKSPACE, "--approve", "1"], 0, &["deleted"])?;
    bed.wait_gone(Addon::Rules)
}
