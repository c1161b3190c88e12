//! What a cluster's owners do without asking: install Flux late, take a name, delete a namespace or Starling's own records.

use anyhow::{Context, Result, ensure};
use rstest::rstest;
use starling_realparts::FluxParts;
use starling_tests::steps::wait;
use starling_tests::views::{Install, Object};

use crate::support::{Addon, Bed, Source, WORKSPACE, assignment, on_a_cluster, on_a_cluster_with};

const ADDON: Addon = Addon::Web;

#[rstest]
#[case::directory(Source::Directory)]
#[case::kubernetes(Source::Kubernetes)]
fn flux_that_comes_late_is_noticed(#[case] source: Source) -> Result<()> {
    on_a_cluster_with(FluxParts::Nothing, source, "surprise-late-flux", &[], |bed| {
        bed.assign(ADDON, ADDON.first())?;
        wait("the missing kinds to be told", || {
            let install = bed.install_view(ADDON)?.context("there is no such install")?;
            let report = install.report.as_ref().context("there is no report")?;
            ensure!(report.state == "rejected" && report.message.contains("HelmRepository"), "{install:?}");
            Ok(())
        })?;
        bed.expect(&["get", "installs"], 0, &["rejected", "HelmRepository"])?;
        let _flux = bed.start_flux()?;
        bed.wait_ready(ADDON, ADDON.first())?;
        let objects: Vec<Object> = bed.list(&["--health", "ready"])?;
        ensure!(objects.len() >= 2, "{objects:?}");
        Ok(())
    })
}

#[rstest]
#[case::directory(Source::Directory)]
#[case::kubernetes(Source::Kubernetes)]
fn what_is_not_starlings_is_left_alone_until_its_owner_gives_way(#[case] source: Source) -> Result<()> {
    on_a_cluster(source, "surprise-taken", &[], |bed| {
        let theirs = "apiVersion: v1\nkind: Namespace\nmetadata: {name: starling-addons}\n---\n\
             apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\n\
             metadata: {name: web, namespace: starling-addons}\n\
             spec: {interval: 1h, url: 'http://127.0.0.1:9/theirs'}\n";
        bed.cluster.apply_yaml(theirs)?;
        let uid = bed.uids()?;
        bed.assign(ADDON, ADDON.first())?;
        let rejected = || -> Result<Install> {
            let install = bed.install_view(ADDON)?.context("there is no such install")?;
            let report = install.report.as_ref().context("there is no report")?;
            ensure!(report.state == "rejected" && report.message.contains("is not Starling's"), "{install:?}");
            Ok(install)
        };
        wait("the taken name to be told", rejected)?;
        let live = bed.live()?;
        ensure!(bed.uids()? == uid, "nothing was made beside it: {live:?}");
        ensure!(live["HelmRepository/web"].text("/spec/url").ends_with("/theirs"), "{live:?}");
        // Deleting the assignment does not take their object along.
        bed.expect(&["delete", "assignment", "web", "-w", WORKSPACE, "--approve", "1"], 0, &["deleted"])?;
        wait("the install to be forgotten", || {
            let install = bed.install_view(ADDON)?;
            ensure!(install.is_none(), "{install:?}");
            Ok(())
        })?;
        ensure!(bed.uids()? == uid, "their object stays");

        bed.assign(ADDON, ADDON.second())?;
        wait("the taken name to be told again", rejected)?;
        bed.cluster.kubectl(&["delete", "-n", "starling-addons", "helmrepository/web"])?;
        bed.wait_ready(ADDON, ADDON.second())
    })
}

#[rstest]
#[case::directory(Source::Directory)]
#[case::kubernetes(Source::Kubernetes)]
fn a_deleted_namespace_and_deleted_records_are_made_good(#[case] source: Source) -> Result<()> {
    on_a_cluster(source, "surprise-deleted", &[], |bed| {
        bed.install(&[ADDON, Addon::Rules])?;
        let before = bed.uids()?;
        bed.cluster.kubectl(&["delete", "namespace", "starling-addons", "--wait=false"])?;
        wait("everything to be made anew", || {
            let now = bed.uids()?;
            ensure!(now.len() == before.len() && now.iter().all(|(key, uid)| before.get(key) != Some(uid)), "{now:?}");
            Ok(())
        })?;
        bed.wait_ready(ADDON, ADDON.first())?;
        bed.wait_ready(Addon::Rules, Addon::Rules.first())?;

        // The records of what is installed, while the agent runs.
        let installed = bed.uids()?;
        delete_records(bed)?;
        bed.assign(ADDON, ADDON.second())?;
        bed.wait_ready(ADDON, ADDON.second())?;
        // And while it does not.
        bed.agent.process().kill9()?;
        delete_records(bed)?;
        bed.agent.process().restart()?;
        bed.wait_live()?;
        bed.wait_ready(ADDON, ADDON.second())?;
        bed.wait_ready(Addon::Rules, Addon::Rules.first())?;
        ensure!(bed.uids()? == installed, "what is there is taken over: {installed:?}, then {:?}", bed.uids()?);
        bed.expect(&["delete", "assignment", "web", "-w", WORKSPACE, "--approve", "1"], 0, &["deleted"])?;
        bed.wait_gone(ADDON)?;
        bed.wait_ready(Addon::Rules, Addon::Rules.first())
    })
}

#[rstest]
#[case::directory(Source::Directory)]
#[case::kubernetes(Source::Kubernetes)]
fn large_values_arrive_whole(#[case] source: Source) -> Result<()> {
    on_a_cluster(source, "surprise-large", &[], |bed| {
        // Does not compress well: Helm keeps its release in a Secret, where it must not be the first to give up.
        let noise =
            |index: u32| char::from(b'a' + u8::try_from(index.wrapping_mul(2_654_435_761) >> 27).unwrap_or(0) % 26);
        let message: String = (0..200_000).map(noise).collect();
        let document = format!("{}  values: {{message: {message}}}\n", assignment(ADDON, ADDON.first()));
        bed.write("web.yaml", &document)?;
        bed.wait_ready(ADDON, ADDON.first())?;
        let found = bed.cluster.admin().get_json(&["configmap", ADDON.config_map(), "-n", "default"])?;
        ensure!(found["data"]["message"] == message.as_str(), "another message arrived");
        Ok(())
    })
}

fn delete_records(bed: &Bed) -> Result<()> {
    bed.cluster.kubectl(&["delete", "configmaps", "-n", "starling-system", "-l", "starling.dev/inventory"])?;
    Ok(())
}
