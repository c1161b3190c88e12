//! Deletion needs evidence: what merely vanishes stays, what is meant to go goes, and the same name made again is updated in place.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rstest::rstest;
use starling_tests::steps::{stays, wait};
use starling_tests::views::{Install, Problem};

use crate::support::{Addon, Bed, Source, WORKSPACE, assignment, on_a_cluster, tombstone};

/// Longer than a heartbeat and a command lease.
const LONG_ENOUGH: Duration = Duration::from_secs(20);

#[rstest]
#[case::directory(Source::Directory)]
#[case::kubernetes(Source::Kubernetes)]
fn a_file_that_vanishes_removes_nothing_and_a_tombstone_does(#[case] source: Source) -> Result<()> {
    on_a_cluster(source, "deletion-evidence", &[], |bed| {
        bed.install(&[Addon::Web, Addon::Rules])?;
        let installed = bed.uids()?;
        bed.remove("rules.yaml")?;
        wait("the source to be missing", || {
            ensure!(bed.assignment_view(Addon::Rules)?.source_missing, "it is not");
            Ok(())
        })?;
        stays("what is installed", LONG_ENOUGH, || {
            ensure!(bed.uids()? == installed, "{installed:?}, then {:?}", bed.uids()?);
            Ok(())
        })?;
        bed.assign(Addon::Rules, Addon::Rules.second())?;
        bed.wait_ready(Addon::Rules, Addon::Rules.second())?;
        ensure!(!bed.assignment_view(Addon::Rules)?.source_missing, "the source is found again");
        ensure!(bed.uids()? == installed, "and it is the same install");

        // A tombstone of a UID that nobody knows does nothing, and says so.
        bed.write("no-more-web.yaml", &tombstone(Addon::Web, "00000000-0000-4000-8000-000000000000"))?;
        wait("the tombstone to be shown as without effect", || {
            let problems: Vec<Problem> = bed.list(&[])?;
            let found =
                problems.iter().any(|problem| problem.kind == "Tombstone" && problem.message.contains("unknown"));
            ensure!(found, "{problems:?}");
            Ok(())
        })?;
        ensure!(bed.uids()? == installed, "nothing goes");

        let uid = bed.assignment_view(Addon::Web)?.uid;
        bed.write("no-more-web.yaml", &tombstone(Addon::Web, &uid))?;
        bed.wait_gone(Addon::Web)?;
        // Its document is still there and counts for nothing until it is taken away.
        let problems: Vec<Problem> = bed.list(&[])?;
        let left = problems.iter().any(|problem| {
            problem.name == "web" && problem.next.contains(bed.documents.place(Addon::Web.name()).as_str())
        });
        ensure!(left, "somebody has to take the document away: {problems:?}");
        bed.remove("web.yaml")?;
        wait("nothing to be wrong", || {
            let problems: Vec<Problem> = bed.list(&[])?;
            ensure!(problems.is_empty(), "{problems:?}");
            Ok(())
        })?;
        bed.wait_ready(Addon::Rules, Addon::Rules.second())
    })
}

#[rstest]
#[case::directory(Source::Directory)]
#[case::kubernetes(Source::Kubernetes)]
fn what_a_selector_leaves_goes_and_a_name_made_again_is_updated_in_place(#[case] source: Source) -> Result<()> {
    on_a_cluster(source, "deletion-selector", &[], |bed| {
        bed.install(&[Addon::Web, Addon::Cache])?;
        let installed = bed.uids()?;

        // Deleted while the agent is away, and made again before it is back: the same install in another incarnation.
        let first = bed.assignment_view(Addon::Web)?.uid;
        bed.agent.process().kill9()?;
        bed.expect(&["delete", "assignment", "web", "-w", WORKSPACE, "--approve", "1"], 0, &["deleted"])?;
        bed.assign(Addon::Web, Addon::Web.second())?;
        wait("the assignment to be there again", || {
            let again = bed.assignment_view(Addon::Web)?;
            ensure!(again.uid != first, "it is still the first incarnation");
            Ok(())
        })?;
        bed.agent.process().restart()?;
        bed.wait_ready(Addon::Web, Addon::Web.second())?;
        ensure!(bed.uids()? == installed, "{installed:?}, then {:?}", bed.uids()?);
        let report = bed.install_view(Addon::Web)?.and_then(|install| install.report).context("a report")?;
        ensure!(report.assignment_uid != first, "it belongs to the new incarnation: {report:?}");

        // One cluster less is within the budget.
        let elsewhere = assignment(Addon::Cache, Addon::Cache.first())
            .replace("clusterSelector: {}", "clusterSelector: {matchLabels: {env: prod}}");
        bed.write("cache.yaml", &elsewhere)?;
        bed.wait_gone(Addon::Cache)?;
        bed.assign(Addon::Cache, Addon::Cache.first())?;
        bed.wait_ready(Addon::Cache, Addon::Cache.first())?;

        // An instance under another name: the old one goes, the new one comes.
        let renamed = assignment(Addon::Cache, Addon::Cache.first()).replace("spec:\n", "spec:\n  instance: store\n");
        bed.write("cache.yaml", &renamed)?;
        wait("the renamed instance to replace the old one", || {
            let live = bed.live()?;
            ensure!(live.contains_key("HelmRelease/store") && !live.contains_key("HelmRelease/cache"), "{live:?}");
            let installs: Vec<Install> = bed.list(&["--assignment", "retail/cache"])?;
            let is_ready = installs.len() == 1 && installs[0].health.as_deref() == Some("ready");
            ensure!(is_ready, "{installs:?}");
            Ok(())
        })?;
        removed_by_the_right_command(bed)
    })
}

/// What somebody still needs is not deleted, and the way is told.
fn removed_by_the_right_command(bed: &Bed) -> Result<()> {
    bed.expect(&["delete", "workspace", WORKSPACE], 1, &["still has"])?;
    bed.expect(&["delete", "cluster", bed.name(), "-w", WORKSPACE], 2, &["starling detach cluster"])?;
    Ok(())
}
