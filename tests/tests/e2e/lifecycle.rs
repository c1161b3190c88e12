//! A chart from a Helm repository, a chart from an OCI registry and a kustomization from Git: assigned, upgraded, broken, mended,
//! removed.

use anyhow::{Context, Result, ensure};
use rstest::rstest;
use starling_tests::steps::wait;
use starling_tests::views::{Object, Problem};

use crate::support::{Addon, Bed, Source, WORKSPACE, on_a_cluster};

#[rstest]
#[case::directory(Source::Directory)]
#[case::kubernetes(Source::Kubernetes)]
fn addons_are_assigned_upgraded_broken_mended_and_removed(#[case] source: Source) -> Result<()> {
    on_a_cluster(source, "lifecycle", &[], |bed| {
        bed.install(&Addon::ALL)?;
        everything_is_shown(bed)?;
        let installed = bed.uids()?;

        for addon in Addon::ALL {
            bed.assign(addon, addon.second())?;
        }
        for addon in Addon::ALL {
            bed.wait_ready(addon, addon.second())?;
        }
        ensure!(bed.uids()? == installed, "an upgrade replaces no object: {installed:?}, then {:?}", bed.uids()?);

        for addon in Addon::ALL {
            bed.assign(addon, addon.broken())?;
        }
        for addon in Addon::ALL {
            flux_says(bed, addon, addon.complaint())?;
        }
        for addon in Addon::ALL {
            bed.assign(addon, addon.mended())?;
        }
        for addon in Addon::ALL {
            bed.wait_ready(addon, addon.mended())?;
        }

        for addon in Addon::ALL {
            delete(bed, addon)?;
        }
        for addon in Addon::ALL {
            bed.wait_gone(addon)?;
        }
        bed.cluster.kubectl(&["get", "namespace", "starling-addons"]).context("namespaces are never deleted")?;
        let problems: Vec<Problem> = bed.list(&[])?;
        ensure!(problems.is_empty(), "nothing is left to say: {problems:?}");
        Ok(())
    })
}

/// Looks at what a person would look at.
fn everything_is_shown(bed: &Bed) -> Result<()> {
    for addon in Addon::ALL {
        let assignment = bed.assignment_view(addon)?;
        let counts = (assignment.selected, assignment.applied, assignment.ready);
        ensure!(counts == (1, 1, 1) && assignment.version == addon.first(), "{assignment:?}");
        ensure!(assignment.name == addon.name() && !assignment.source_missing, "{assignment:?}");
        let objects: Vec<Object> = bed.list(&["--assignment", &format!("{WORKSPACE}/{}", addon.name())])?;
        let mut kinds: Vec<&str> = objects.iter().map(|object| object.kind.as_str()).collect();
        kinds.sort_unstable();
        let mut expected = [addon.workload(), addon.source()];
        expected.sort_unstable();
        ensure!(kinds == expected, "{objects:?}");
        let workload = objects.iter().find(|object| object.kind == addon.workload()).context("the workload")?;
        ensure!(workload.health == "ready" && workload.old_since.is_none(), "{workload:?}");
        ensure!(workload.assignment == format!("{WORKSPACE}/{}", addon.name()), "{workload:?}");
        // A chart's version, or a commit of the branch.
        let revision = if addon == Addon::Rules { "main@sha1:" } else { addon.first() };
        ensure!(workload.revision.contains(revision), "{workload:?}");
    }
    let status = bed.hub.status()?;
    ensure!((status.clusters, status.live, status.ready) == (1, 1, 1) && status.hold.is_none(), "{status:?}");
    bed.expect(&["get", "clusters"], 0, &["live", "3/3"])?;
    bed.expect(&["describe", "cluster", bed.name()], 0, &["v1.35.4", "3 of 3 ready", "retail/web"])?;
    Ok(())
}

/// Waits until Flux's own words are in the list of what fails.
fn flux_says(bed: &Bed, addon: Addon, complaint: &str) -> Result<()> {
    wait(&format!("Flux to say {complaint:?} of {}", addon.name()), || {
        let objects: Vec<Object> = bed.list(&["--health", "failing,stalled", "--kind", addon.workload()])?;
        let found = objects.iter().any(|object| object.name == addon.name() && object.message.contains(complaint));
        ensure!(found, "{objects:?}");
        Ok(())
    })
}

/// Deletes as a script would: asks for the count, is refused without it and with a wrong one, then passes it.
fn delete(bed: &Bed, addon: Addon) -> Result<()> {
    let name = addon.name();
    let before = bed.uids()?;
    bed.expect(&["delete", "assignment", name, "-w", WORKSPACE], 3, &["1 install", "1 cluster", "--approve 1"])?;
    bed.expect(&["delete", "assignment", name, "-w", WORKSPACE, "--approve", "7"], 3, &["1 install", "--approve 1"])?;
    bed.expect(&["delete", "assignment", name, "-w", WORKSPACE, "--dry-run"], 0, &["1 install"])?;
    ensure!(bed.uids()? == before, "nothing goes without approval");
    ensure!(bed.assignment_view(addon)?.name == name, "the assignment stays without approval");
    bed.expect(&["delete", "assignment", name, "-w", WORKSPACE, "--approve", "1"], 0, &["deleted"])?;
    wait("the document to be gone", || {
        ensure!(!bed.documents.is_there(&format!("{name}.yaml"))?, "it is still there");
        Ok(())
    })?;
    bed.expect(&["delete", "assignment", name, "-w", WORKSPACE], 4, &["next:"])?;
    Ok(())
}
