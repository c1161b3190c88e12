//! The fleet's secrets in a Secret: they outlive the state volume, and the mark among them tells that it was lost.

use std::fs;

use anyhow::{Context, Result, ensure};
use starling_harness::FLEET_HOLDS;
use starling_tests::steps::{expect, wait};

use super::bed::on_a_fleet;

#[test]
fn a_lost_state_volume_is_noticed_and_recovered_without_a_new_authority() -> Result<()> {
    on_a_fleet("source-keys", 2, &["the fleet holds"], |fleet| {
        let secret = ["get", "secret", "starling-hub-keys", "-n", "starling-system", "-o", "json"];
        let keys: serde_json::Value = serde_json::from_str(&fleet.kubectl(&secret)?)?;
        let entries: Vec<&String> = keys["data"].as_object().context("entries")?.keys().collect();
        ensure!(entries == ["admin.token", "ca.crt", "ca.key", "fleet.key", "mark.json"], "{entries:?}");
        let published = ["get", "configmap", "starling-hub", "-n", "starling-system", "-o", "jsonpath={.data.address}"];
        ensure!(fleet.kubectl(&published)? == fleet.hub.address());

        fleet.hub.kill9()?;
        let state = &fleet.hub.options().state;
        fs::remove_dir_all(state).context("lose the state volume")?;
        fleet.hub.restart()?;
        expect(&fleet.hub, &["status"], FLEET_HOLDS, &["THE FLEET HOLDS", "store recover"])?;
        let again: serde_json::Value = serde_json::from_str(&fleet.kubectl(&secret)?)?;
        ensure!(again["data"]["ca.crt"] == keys["data"]["ca.crt"], "another authority");

        let fleet_name = fleet.hub.options().fleet.clone();
        expect(&fleet.hub, &["store", "recover", "--fleet", &fleet_name, "--yes"], 0, &["moves again"])?;
        wait("everything to be read again", || {
            let web = fleet.web()?;
            ensure!(web.selected == 2, "{web:?}");
            Ok(())
        })?;
        fleet.wait_ready(2)?;
        ensure!(fleet.removals() == 0, "{} removals", fleet.removals());

        fleet.kubectl(&["delete", "configmap", "starling-hub", "-n", "starling-system"])?;
        wait("the address to be published again", || {
            ensure!(fleet.kubectl(&published)? == fleet.hub.address());
            Ok(())
        })
    })
}
