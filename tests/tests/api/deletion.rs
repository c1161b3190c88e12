//! The budget of removals: within it a changed selector removes at once, beyond it everything waits for an approval that shows
//! the count.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use starling_loadtest::cluster::SimulatedCluster;
use starling_tests::steps::{expect, stays, wait};
use starling_tests::views::{Install, Proposal};

use crate::bed::{Agent, Bed, cluster, on_a_hub};
use crate::documents::assignment;

/// Clusters of the fleet, half of them with `tier=edge`.
const CLUSTERS: usize = 12;

#[test]
fn removals_beyond_the_budget_wait_for_an_approval_of_their_count() -> Result<()> {
    on_a_hub("deletion-budget", &[], |bed| {
        let fleet = fleet(bed)?;
        bed.write("base.yaml", &assignment("base", "{}"))?;
        bed.wait_ready("base", CLUSTERS)?;

        // Two of twelve: within the budget of three.
        bed.write(
            "base.yaml",
            &assignment("base", "{matchExpressions: [{key: number, operator: NotIn, values: ['0', '1']}]}"),
        )?;
        removed(&fleet, &[0, 1])?;
        let removals = |fleet: &[(Arc<SimulatedCluster>, Agent)]| {
            fleet.iter().map(|(machine, _)| machine.removals().len()).sum::<usize>()
        };
        let before = removals(&fleet);

        // All with `tier=core` as well: beyond it, so that not even one of them goes.
        bed.write(
            "base.yaml",
            &assignment(
                "base",
                "{matchLabels: {tier: edge}, matchExpressions: [{key: number, operator: NotIn, values: ['0', '1']}]}",
            ),
        )?;
        let proposal = wait("the removal to wait for approval", || {
            let proposals: Vec<Proposal> = bed.list(&[])?;
            ensure!(proposals.len() == 1, "{proposals:?}");
            Ok(proposals[0].clone())
        })?;
        ensure!(proposal.installs == 5 && proposal.assignment == "starling-platform/base", "{proposal:?}");
        let kept: Vec<Install> = bed.list(&["--assignment", "starling-platform/base"])?;
        let kept: Vec<&Install> = kept.iter().filter(|install| install.planned == "keep").collect();
        ensure!(kept.len() == 5 && kept.iter().all(|install| !install.reason.is_empty()), "{kept:?}");
        stays("what waits for approval", Duration::from_secs(12), || {
            ensure!(removals(&fleet) == before, "{} removals, and {before} before", removals(&fleet));
            Ok(())
        })?;
        expect(&bed.hub, &["approve"], 0, &["starling-platform/base", "5"])?;
        expect(&bed.hub, &["approve", &proposal.id], 3, &["5 installs", "--count 5"])?;
        expect(&bed.hub, &["approve", &proposal.id, "--count", "4"], 3, &["--count 5"])?;
        ensure!(removals(&fleet) == before, "nothing goes without approval");
        expect(&bed.hub, &["approve", &proposal.id, "--count", "5"], 0, &["5 installs"])?;
        removed(&fleet, &[0, 1, 3, 5, 7, 9, 11])?;
        bed.wait_ready("base", 5)?;
        let proposals: Vec<Proposal> = bed.list(&[])?;
        ensure!(proposals.is_empty(), "{proposals:?}");
        Ok(())
    })
}

#[test]
fn a_proposal_is_void_when_the_selector_takes_the_clusters_back() -> Result<()> {
    on_a_hub("deletion-withdrawn", &[], |bed| {
        let fleet = fleet(bed)?;
        bed.write("base.yaml", &assignment("base", "{}"))?;
        bed.wait_ready("base", CLUSTERS)?;
        bed.write("base.yaml", &assignment("base", "{matchLabels: {tier: edge}}"))?;
        wait("the removal to wait for approval", || {
            let proposals: Vec<Proposal> = bed.list(&[])?;
            ensure!(proposals.len() == 1, "{proposals:?}");
            Ok(())
        })?;
        bed.write("base.yaml", &assignment("base", "{}"))?;
        wait("the proposal to be withdrawn", || {
            let proposals: Vec<Proposal> = bed.list(&[])?;
            ensure!(proposals.is_empty(), "{proposals:?}");
            Ok(())
        })?;
        bed.wait_ready("base", CLUSTERS)?;
        removed(&fleet, &[])?;

        // A deletion by the command line shows the whole count and needs no budget.
        expect(&bed.hub, &["delete", "assignment", "base"], 3, &["12 installs", "12 clusters", "--approve 12"])?;
        expect(&bed.hub, &["delete", "assignment", "base", "--approve", "11"], 3, &["12 installs"])?;
        removed(&fleet, &[])?;
        expect(&bed.hub, &["delete", "assignment", "base", "--approve", "12"], 0, &["deleted"])?;
        removed(&fleet, &(0..CLUSTERS).collect::<Vec<_>>())
    })
}

/// Adopts clusters `c0` to `c11` with their number and a tier as labels, and waits until all are live.
fn fleet(bed: &Bed) -> Result<Vec<(Arc<SimulatedCluster>, Agent)>> {
    let fleet: Vec<_> = (0..CLUSTERS)
        .map(|number| {
            let name = format!("c{number}");
            let (tier, label) = (["edge", "core"][number % 2], format!("number={number}"));
            let adoption = bed.adopt(&name, &["--label", &format!("tier={tier}"), "--label", &label])?;
            let machine = cluster(&name);
            let agent = bed.run_agent(&machine, &adoption, "identity");
            Ok((machine, agent))
        })
        .collect::<Result<_>>()?;
    wait("all clusters to be live", || {
        let status = bed.hub.status()?;
        ensure!(status.live == CLUSTERS as u64, "{status:?}");
        Ok(())
    })?;
    Ok(fleet)
}

/// Waits until the install is gone from these clusters, and makes sure that it is on all others.
fn removed(fleet: &[(Arc<SimulatedCluster>, Agent)], gone: &[usize]) -> Result<()> {
    let has = |machine: &SimulatedCluster| machine.objects().keys().any(|key| key.kind == "HelmRelease");
    wait(&format!("the install to be gone from {gone:?}"), || {
        let left: Vec<&usize> = gone.iter().filter(|number| has(&fleet[**number].0)).collect();
        ensure!(left.is_empty(), "it is still on {left:?}");
        Ok(())
    })?;
    let lost: Vec<usize> =
        (0..fleet.len()).filter(|number| !gone.contains(number) && !has(&fleet[*number].0)).collect();
    ensure!(lost.is_empty(), "it is gone from {lost:?} too");
    Ok(())
}
