//! The hub's processes, of a hub that is one: it lists itself, and tells what more of them would move.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use starling_tests::steps::wait;

use crate::bed::{cluster, on_a_hub};

/// Enough that each of two processes would own some.
const CLUSTERS: usize = 16;

#[test]
fn a_hub_of_one_process_lists_itself_and_simulates_more() -> Result<()> {
    on_a_hub("shards", &[], |bed| {
        let adoptions: Result<Vec<_>> = (0..CLUSTERS).map(|number| bed.adopt(&format!("edge-{number}"), &[])).collect();
        let machine = cluster("edge");
        let _agent = bed.run_agent(&machine, &adoptions?[0], "identity");
        bed.wait_live("edge-0")?;

        wait("the process to know its load", || {
            let list: Value = bed.hub.ask_json(&["get", "shards"])?;
            let shard = &list["items"][0];
            ensure!(list["items"].as_array().map(Vec::len) == Some(1), "{list}");
            ensure!(shard["state"] == "serving" && shard["clustersConnected"] == 1, "{shard}");
            ensure!(shard["clustersOwned"] == json!(CLUSTERS) && shard["clustersMoving"] == 0, "{shard}");
            ensure!(
                shard["residentBytes"].as_u64() > Some(1 << 20) && shard["cpuMillis"].as_u64() > Some(0),
                "{shard}"
            );
            ensure!(
                list.get("epoch").is_none() && list["note"].as_str().unwrap_or_default().contains("one process"),
                "{list}"
            );
            Ok(())
        })?;

        let simulated: Value = bed.hub.ask_json(&["shards", "simulate", "--add", "1"])?;
        let (moved, after) = (&simulated["moved"], &simulated["shards"]);
        ensure!(simulated["clusters"] == json!(CLUSTERS) && simulated["ideal"] == json!(CLUSTERS / 2), "{simulated}");
        let joins = after.as_array().into_iter().flatten().find(|shard| shard["change"] == "joins");
        ensure!(joins.is_some_and(|shard| shard["clustersAfter"] == *moved && *moved != 0), "{simulated}");
        let own = bed.hub.ask(&["get", "shards", "-o", "name"])?;
        let own = own.trim().trim_start_matches("shard/");
        let printed = bed.hub.starling(&["shards", "simulate", "--remove", own])?;
        ensure!(printed.code == 2 && printed.stderr.contains("nobody would be left"), "{}", printed.stderr);
        Ok(())
    })
}
