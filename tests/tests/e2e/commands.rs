//! Reconcile, suspend and resume, through the agent.

use std::time::Duration;

use anyhow::{Result, ensure};
use rstest::rstest;
use serde::Deserialize;
use starling_tests::steps::{stays, wait};
use starling_tests::views::Object;

use crate::support::{Addon, Bed, Source, on_a_cluster};

const ADDON: Addon = Addon::Rules;

/// What a command prints.
#[derive(Debug, Deserialize)]
struct Outcome {
    selected: u64,
    done: u64,
    failed: u64,
}

#[rstest]
#[case::directory(Source::Directory)]
#[case::kubernetes(Source::Kubernetes)]
fn objects_are_reconciled_suspended_and_resumed(#[case] source: Source) -> Result<()> {
    on_a_cluster(source, "commands", &[], |bed| {
        bed.install(&[ADDON])?;
        let asked = "/status/lastHandledReconcileAt";
        let before = bed.workload(ADDON)?.text(asked).to_owned();
        run(bed, &["reconcile", "Kustomization/rules", "--cluster", bed.name()], 1)?;
        wait("Flux to have reconciled", || {
            let now = bed.workload(ADDON)?;
            ensure!(now.text(asked) != before, "it is still {before:?}");
            Ok(())
        })?;

        // A selection: workload and source.
        run(bed, &["suspend", "--assignment", "retail/rules"], 2)?;
        wait("both to be shown as suspended", || {
            let objects: Vec<Object> = bed.list(&["--health", "suspended"])?;
            ensure!(objects.len() == 2, "{objects:?}");
            Ok(())
        })?;
        stays("what is suspended", Duration::from_secs(15), || {
            let suspended = bed.workload(ADDON)?;
            ensure!(suspended.field("/spec/suspend") == Some(&true.into()), "repairs of drift leave commands alone");
            Ok(())
        })?;
        let report = bed.install_view(ADDON)?.and_then(|install| install.report);
        ensure!(report.as_ref().is_some_and(|report| report.drift_repairs == 0), "a command is no drift: {report:?}");

        run(bed, &["resume", "--kind", "ks", "--all"], 1)?;
        run(bed, &["resume", "--all"], 2)?;
        bed.wait_ready(ADDON, ADDON.first())?;
        bed.expect(&["reconcile", "HelmRelease/nobody"], 4, &["no object matches"])?;
        bed.expect(&["reconcile"], 2, &["--all"])?;

        // An agent that is away is a failure that is told, not a silence.
        bed.agent.process().kill9()?;
        wait("the cluster to be disconnected", || {
            let cluster = bed.cluster_view()?;
            ensure!(cluster.connection == "disconnected", "{cluster:?}");
            Ok(())
        })?;
        bed.expect(&["reconcile", "--all", "--yes"], 1, &["2 of 2", "get clusters"])?;
        Ok(())
    })
}

/// Runs a command that succeeds on so many objects.
fn run(bed: &Bed, arguments: &[&str], objects: u64) -> Result<()> {
    let outcome: Outcome = bed.hub.ask_json(arguments)?;
    ensure!((outcome.selected, outcome.done, outcome.failed) == (objects, objects, 0), "{arguments:?}: {outcome:?}");
    Ok(())
}
