//! Clusters that register by themselves: the hub makes their objects, and then they are as everybody else's.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Deserialize;
use starling_tests::steps::{stays, wait};
use starling_tests::views::Cluster;

use super::bed::{WEB, machine, on_a_fleet};

/// What `starling create token -o json` prints.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    token: String,
    trust_pem: String,
}

#[test]
fn a_cluster_that_registers_keeps_what_its_token_gave_it_and_leaves_by_kubectl() -> Result<()> {
    on_a_fleet("source-registering", 0, &[], |fleet| {
        fleet.apply(&WEB.replace("clusterSelector: {}", "clusterSelector: {matchLabels: {env: prod}}"))?;
        let create = ["create", "token", "--workspace", "retail", "--label", "env=prod", "--uses", "2"];
        let token: Token = fleet.hub.ask_json(&create)?;
        let _agent = fleet.run_agent(&machine("born"), &token.token, &token.trust_pem, "born");
        fleet.wait_ready(1)?;

        let object = || fleet.server.admin().get_json(&["managedcluster", "born", "-n", "retail"]);
        wait("the finalizer", || {
            let finalizers = object()?["metadata"]["finalizers"].to_string();
            ensure!(finalizers.contains("starling.dev/evidence"), "{finalizers}");
            Ok(())
        })?;
        let written = object()?;
        stays("what the token gave the cluster", Duration::from_secs(5), || {
            let now = object()?;
            ensure!(now["metadata"]["labels"]["env"] == "prod", "{now}");
            ensure!(now["spec"] == written["spec"] && now["metadata"]["uid"] == written["metadata"]["uid"], "{now}");
            Ok(())
        })?;
        fleet.wait_no_problem()?;

        fleet.kubectl(&["delete", "managedcluster", "born", "-n", "retail"])?;
        wait("the cluster to have left", || {
            let clusters: Vec<Cluster> = fleet.list()?;
            ensure!(clusters.is_empty(), "{clusters:?}");
            Ok(())
        })
    })
}
