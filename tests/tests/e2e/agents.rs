//! Two agents of one cluster, one of them paused as a virtual machine would be: whatever it holds to be true when it wakes, it
//! does not undo what the other did.

use std::time::Duration;

use anyhow::{Result, ensure};
use rstest::rstest;
use starling_harness::Agent;
use starling_tests::steps::{stays, wait};

use crate::support::{Addon, Source, WORKSPACE, on_a_cluster};

/// Longer than an agent takes between two looks at what it holds.
const LONG_ENOUGH: Duration = Duration::from_secs(45);

#[rstest]
#[case::directory(Source::Directory)]
#[case::kubernetes(Source::Kubernetes)]
fn a_paused_agent_that_wakes_undoes_nothing(#[case] source: Source) -> Result<()> {
    on_a_cluster(source, "agents", &[], |bed| {
        bed.install(&[Addon::Web, Addon::Rules, Addon::Cache])?;
        bed.agent.process().pause()?;
        let twin = Agent::twin(&bed.hub, &bed.cluster)?;
        // The hub believes the silent one for a while.
        wait("the twin to have the session", || {
            let log = std::fs::read_to_string(twin.process().log_path())?;
            ensure!(log.contains("session open"), "{}", twin.process().log_tail());
            Ok(())
        })?;
        bed.assign(Addon::Web, Addon::Web.second())?;
        bed.wait_ready(Addon::Web, Addon::Web.second())?;
        bed.expect(&["delete", "assignment", "rules", "-w", WORKSPACE, "--approve", "1"], 0, &["deleted"])?;
        bed.wait_gone(Addon::Rules)?;
        let after = bed.uids()?;

        bed.agent.process().resume()?;
        let settled = || {
            let now = bed.uids()?;
            ensure!(now == after, "{after:?}, and now {now:?}");
            ensure!(bed.workload(Addon::Web)?.text("/spec/chart/spec/version") == Addon::Web.second(), "it is back");
            Ok(())
        };
        // What it had under way may still arrive, and is put right.
        wait("the woken agent to have undone nothing", settled)?;
        stays("what the twin did", LONG_ENOUGH, settled)?;
        bed.wait_ready(Addon::Web, Addon::Web.second())?;

        // The twin goes, and the first takes over again.
        twin.process().terminate(Duration::from_secs(20))?;
        bed.assign(Addon::Web, Addon::Web.mended())?;
        bed.wait_ready(Addon::Web, Addon::Web.mended())?;
        bed.wait_ready(Addon::Cache, Addon::Cache.first())?;
        bed.wait_live()
    })
}
