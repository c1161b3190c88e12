//! A restored backup of the store: the fleet holds, and after its recovery what was deleted and approved before waits again.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rcgen::KeyPair;
use starling_harness::FLEET_HOLDS;
use starling_tests::steps::{expect, stays, wait};
use starling_tests::views::Proposal;

use crate::bed::{cluster, on_a_hub};
use crate::client;
use crate::documents::assignment;

#[test]
fn a_restored_store_holds_and_old_tombstones_wait_for_approval_again() -> Result<()> {
    on_a_hub("recovery-backup", &["the fleet holds"], |bed| {
        let machine = cluster("edge");
        let adoption = bed.adopt("edge", &[])?;
        let agent = bed.run_agent(&machine, &adoption, "identity");
        for name in ["base", "more"] {
            bed.write(&format!("{name}.yaml"), &assignment(name, "{}"))?;
            bed.wait_ready(name, 1)?;
        }
        // Deleted while the agent is away: the tombstone is in the backup, and so is a token that nobody used yet.
        drop(agent);
        expect(&bed.hub, &["delete", "assignment", "more", "--approve", "1"], 0, &["deleted"])?;
        let open = bed.adopt("edge", &[])?;
        bed.hub.stop(Duration::from_secs(30))?;
        let store = bed.hub.options().state.join("store.redb");
        let backup = store.with_extension("backup");
        fs::copy(&store, &backup).context("back the store up")?;

        // The fleet moves on: the agent sees a position that the backup does not know.
        bed.hub.restart()?;
        let agent = bed.run_agent(&machine, &adoption, "identity");
        wait("the deleted install to be gone", || {
            ensure!(!machine.objects().keys().any(|key| key.name == "more"), "it is there");
            Ok(())
        })?;
        // Also by what the directory does not bring back: reading it takes the restored store as far as the documents went.
        bed.adopt("edge", &[])?;
        bed.write("base.yaml", &assignment("base", "{}").replace("1.0.0", "1.1.0"))?;
        wait("the upgrade to be applied", || {
            let base = bed.assignment("base")?;
            ensure!(base.version == "1.1.0" && base.ready == 1, "{base:?}");
            Ok(())
        })?;
        drop(agent);

        bed.hub.kill9()?;
        fs::copy(&backup, &store).context("restore the backup")?;
        bed.hub.restart()?;
        let removals = machine.removals();
        let _agent = bed.run_agent(&machine, &adoption, "identity");
        wait("the fleet to hold", || {
            expect(&bed.hub, &["status"], FLEET_HOLDS, &["THE FLEET HOLDS", "an agent has seen position"]).map(drop)
        })?;
        expect(&bed.hub, &["delete", "assignment", "base", "--approve", "1"], FLEET_HOLDS, &["store recover"])?;
        stays("what is installed", Duration::from_secs(12), || {
            ensure!(machine.removals() == removals, "{:?}", machine.removals());
            Ok(())
        })?;

        expect(&bed.hub, &["store", "recover", "--fleet", "api", "--yes"], 0, &["moves again"])?;
        let proposal = wait("the old tombstone to wait for approval again", || {
            let proposals: Vec<Proposal> = bed.list(&[])?;
            ensure!(proposals.len() == 1 && proposals[0].assignment == "starling-platform/more", "{proposals:?}");
            Ok(proposals[0].clone())
        })?;
        let address = bed.hub.address();
        let key = KeyPair::generate()?;
        let joined = bed.runtime.block_on(client::join(&address, &open.trust_pem, &open.token, &key))?;
        let refused = joined.err().context("a token of the old era is taken")?;
        ensure!(refused.message().contains("the token is not known here"), "{refused:?}");
        wait("the fleet to move again", || {
            let base = bed.assignment("base")?;
            ensure!(base.version == "1.1.0" && base.ready == 1, "{base:?}");
            Ok(())
        })?;
        bed.wait_live("edge")?;
        ensure!(machine.removals() == removals, "nothing was removed: {:?}", machine.removals());
        let count = proposal.installs.to_string();
        expect(&bed.hub, &["approve", &proposal.id, "--count", &count], 0, &["approved"])?;
        wait("nothing to wait any more", || {
            let proposals: Vec<Proposal> = bed.list(&[])?;
            ensure!(proposals.is_empty(), "{proposals:?}");
            Ok(())
        })
    })
}
