//! Somebody edits or deletes by hand what Starling assigned: it comes back, and that is shown.

use anyhow::{Context, Result, ensure};
use rstest::rstest;
use starling_tests::steps::wait;
use starling_tests::views::Report;

use crate::support::{Addon, Bed, Source, on_a_cluster};

const ADDON: Addon = Addon::Web;

#[rstest]
#[case::directory(Source::Directory)]
#[case::kubernetes(Source::Kubernetes)]
fn what_is_edited_or_deleted_by_hand_comes_back_and_is_shown(#[case] source: Source) -> Result<()> {
    on_a_cluster(source, "drift", &[], |bed| {
        bed.install(&[ADDON])?;
        ensure!(report(bed)?.drift_repairs == 0, "nothing drifted yet: {:?}", report(bed)?);

        edit_interval(bed)?;
        interval_comes_back(bed)?;
        drift_is_shown(bed, 1, "spec.interval")?;

        let label = "starling.dev/assignment-";
        bed.cluster.kubectl(&["label", "-n", "starling-addons", "helmrelease/web", label])?;
        wait("the label to come back", || {
            let labels = bed.workload(ADDON)?;
            let labels = labels.field("/metadata/labels").context("there are no labels")?;
            ensure!(labels.to_string().contains("starling.dev/assignment"), "{labels}");
            Ok(())
        })?;
        drift_is_shown(bed, 2, "metadata.labels")?;

        delete_source(bed)?;
        drift_is_shown(bed, 3, "HelmRepository")?;
        bed.wait_ready(ADDON, ADDON.first())
    })
}

#[rstest]
#[case::directory(Source::Directory)]
#[case::kubernetes(Source::Kubernetes)]
fn drift_is_repaired_without_a_hub(#[case] source: Source) -> Result<()> {
    on_a_cluster(source, "drift-without-hub", &[], |bed| {
        bed.install(&[ADDON])?;
        bed.hub.kill9()?;
        edit_interval(bed)?;
        interval_comes_back(bed)?;
        // Not even the agent that knew the hub is needed: what it holds is in the cluster.
        bed.agent.process().kill9()?;
        delete_source_and(bed, || Ok(bed.agent.process().restart()?))?;
        bed.hub.restart()?;
        bed.wait_live()?;
        drift_is_shown(bed, 1, "")?;
        bed.wait_ready(ADDON, ADDON.first())
    })
}

fn edit_interval(bed: &Bed) -> Result<()> {
    let patch = r#"{"spec":{"interval":"3h"}}"#;
    let arguments = ["patch", "-n", "starling-addons", "helmrelease/web", "--type=merge", "-p", patch];
    bed.cluster.kubectl(&arguments).context("edit by hand")?;
    Ok(())
}

fn interval_comes_back(bed: &Bed) -> Result<()> {
    wait("the interval to come back", || {
        let workload = bed.workload(ADDON)?;
        let interval = workload.text("/spec/interval");
        ensure!(interval == "10m", "it is {interval:?}");
        Ok(())
    })
}

fn delete_source(bed: &Bed) -> Result<()> {
    delete_source_and(bed, || Ok(()))
}

/// Deletes the HelmRepository by hand, does something, and waits until there is another one.
fn delete_source_and(bed: &Bed, then: impl FnOnce() -> Result<()>) -> Result<()> {
    let source = |bed: &Bed| bed.live()?.remove("HelmRepository/web").context("there is no HelmRepository");
    let before = source(bed)?;
    bed.cluster.kubectl(&["delete", "-n", "starling-addons", "helmrepository/web", "--wait=false"])?;
    then()?;
    wait("the HelmRepository to come back", || {
        let now = source(bed)?;
        ensure!(now.uid() != before.uid(), "it is still the one that was deleted");
        Ok(())
    })
}

fn drift_is_shown(bed: &Bed, repairs: u64, what: &str) -> Result<()> {
    wait(&format!("{repairs} repairs to be shown, the last of {what:?}"), || {
        let report = report(bed)?;
        let is_shown =
            report.drift_repairs >= repairs && report.last_drift.contains(what) && !report.last_drift.is_empty();
        ensure!(is_shown, "it is {report:?}");
        Ok(())
    })
}

fn report(bed: &Bed) -> Result<Report> {
    bed.install_view(ADDON)?.and_then(|install| install.report).context("there is no report")
}
