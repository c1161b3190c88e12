//! kill -9 of the hub, of the agent, of both, and of the API server, in the middle of an assignment, an upgrade and a deletion:
//! each ends as if nothing had happened, and what stands beside is not touched.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use rstest::rstest;
use starling_harness::Printed;
use starling_tests::steps::wait;

use crate::support::{Addon, Bed, Source, WORKSPACE, on_a_cluster};

/// The addon that is assigned, upgraded and deleted.
const SUBJECT: Addon = Addon::Web;

/// The addon that nobody touches.
const BYSTANDER: Addon = Addon::Rules;

/// How long a victim is down.
const DOWN: Duration = Duration::from_millis(700);

/// How long a hub has to last until its agents forget that it fell, and no longer wait longer after each fall.
const TRUSTED_AGAIN: Duration = Duration::from_secs(11);

/// Who is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Hub,
    Agent,
    Both,
    ApiServer,
}

/// When the victim is killed after each of the three steps began, in milliseconds: before anything was heard of it, while it is
/// under way, and when most of it is done.
type Delays = [u64; 3];

#[rstest]
#[case::directory(Source::Directory)]
#[case::kubernetes(Source::Kubernetes)]
fn the_hub_is_killed(#[case] source: Source) -> Result<()> {
    survive(source, "crash-hub", Victim::Hub, &[[0, 200, 60], [350, 30, 15]])
}

#[rstest]
#[case::directory(Source::Directory)]
#[case::kubernetes(Source::Kubernetes)]
fn the_agent_is_killed(#[case] source: Source) -> Result<()> {
    survive(source, "crash-agent", Victim::Agent, &[[300, 400, 150], [900, 250, 600], [1500, 1200, 30]])
}

#[rstest]
#[case::directory(Source::Directory)]
#[case::kubernetes(Source::Kubernetes)]
fn hub_and_agent_are_killed(#[case] source: Source) -> Result<()> {
    survive(source, "crash-both", Victim::Both, &[[250, 600, 100], [1000, 100, 900]])
}

#[rstest]
#[case::directory(Source::Directory)]
#[case::kubernetes(Source::Kubernetes)]
fn the_api_server_is_killed(#[case] source: Source) -> Result<()> {
    survive(source, "crash-api-server", Victim::ApiServer, &[[300, 500, 150], [1200, 100, 900]])
}

fn survive(source: Source, test: &str, victim: Victim, rounds: &[Delays]) -> Result<()> {
    on_a_cluster(source, test, &[], |bed| {
        bed.install(&[BYSTANDER])?;
        let beside = bed.uids()?;
        for [assigning, upgrading, deleting] in rounds.iter().map(|round| round.map(Duration::from_millis)) {
            bed.assign(SUBJECT, SUBJECT.first())?;
            victim.falls(bed, assigning)?;
            bed.wait_ready(SUBJECT, SUBJECT.first())?;
            let installed = bed.workload(SUBJECT)?;

            bed.assign(SUBJECT, SUBJECT.second())?;
            victim.falls(bed, upgrading)?;
            bed.wait_ready(SUBJECT, SUBJECT.second())?;
            ensure!(bed.workload(SUBJECT)?.uid() == installed.uid(), "an upgrade replaces nothing");

            std::thread::scope(|scope| {
                let deletion = scope.spawn(|| delete(bed));
                victim.falls(bed, deleting)?;
                deletion.join().expect("the command line's thread does not panic")
            })?;
            wait("the deletion to be taken", || {
                let printed = delete_once(bed)?;
                match printed.code {
                    // Deleted now, or by the command that was cut off.
                    0 | 4 => Ok(()),
                    _ => bail!("{printed:?}"),
                }
            })?;
            bed.wait_gone(SUBJECT)?;
            ensure!(bed.uids()? == beside, "what stands beside is not touched: {beside:?}, then {:?}", bed.uids()?);
            bed.wait_live()?;
            std::thread::sleep(TRUSTED_AGAIN);
        }
        bed.wait_ready(BYSTANDER, BYSTANDER.first())
    })
}

/// Begins a deletion, which the crash may cut off: then the command line says that it did not reach the hub.
fn delete(bed: &Bed) -> Result<()> {
    let printed = delete_once(bed)?;
    ensure!([0, 5].contains(&printed.code), "a deletion that is cut off says so: {printed:?}");
    Ok(())
}

fn delete_once(bed: &Bed) -> Result<Printed> {
    bed.hub.starling(&["delete", "assignment", SUBJECT.name(), "-w", WORKSPACE, "--approve", "1", "--timeout", "10s"])
}

impl Victim {
    /// Kills the victim after a while, and starts it again.
    fn falls(self, bed: &Bed, after: Duration) -> Result<()> {
        std::thread::sleep(after);
        match self {
            Self::Hub => bed.hub.kill9()?,
            Self::Agent => bed.agent.process().kill9()?,
            Self::Both => {
                bed.hub.kill9()?;
                bed.agent.process().kill9()?;
            }
            Self::ApiServer => bed.cluster.api_server().kill9()?,
        }
        std::thread::sleep(DOWN);
        match self {
            Self::Hub => bed.hub.restart(),
            Self::Agent => Ok(bed.agent.process().restart()?),
            Self::Both => {
                bed.agent.process().restart()?;
                bed.hub.restart()
            }
            Self::ApiServer => Ok(bed.cluster.api_server().restart()?),
        }
    }
}
