//! Several hub processes over a real etcd of three members, with a simulated fleet: a short row of faults, always the same.
//!
//! `cargo xtask chaos --minutes 30 --seed N` brings many more. Hubs run in network namespaces of their own, which needs root.

use std::time::Duration;

use anyhow::{Result, bail};
use starling_chaos::{ChaosOptions, Fault, Length};
use starling_harness::StarlingPrograms;
use starling_tests::scratch::Scratch;

/// What draws the changes that are made while faults last.
const SEED: u64 = 5;

#[test]
fn a_fleet_survives_the_loss_of_hubs_and_members_of_etcd() -> Result<()> {
    let scratch = Scratch::of_tier(env!("CARGO_TARGET_TMPDIR"), "shards")?;
    let faults = vec![
        Fault::HubKilled { hub: 1, seconds: 0 },
        Fault::HubCutFromEtcd { hub: 0, seconds: 20 },
        Fault::EtcdMemberKilled { member: 2, seconds: 5 },
        Fault::HubPaused { hub: 2, seconds: 8 },
        Fault::RollingRestart,
    ];
    let options = ChaosOptions {
        folder: scratch.folder("chaos")?,
        seed: SEED,
        length: Length::Faults(faults),
        clusters: 40,
        hubs: 4,
        bound: Duration::from_secs(120),
        network: true,
        clocks: true,
    };
    let report = starling_chaos::run(&StarlingPrograms::of_this_build()?, &options, &|line| eprintln!("{line}"))?;
    eprintln!("{}", report.to_markdown());
    match report.violation {
        None => Ok(()),
        Some(violation) => bail!("{violation}"),
    }
}
