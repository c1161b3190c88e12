//! What a hub writes into the status of objects, seen as people see it: with kubectl.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use starling_tests::logs::unexpected_errors;
use starling_tests::steps::wait;

use crate::bed::{HubBed, bed};

const HEAD: &str = "apiVersion: starling.dev/v1alpha1";

/// How long a hub is watched that has nothing to write.
const QUIET: Duration = Duration::from_secs(8);

#[test]
fn objects_say_what_the_hub_makes_of_them() -> Result<()> {
    let bed = bed()?.hub("statuses")?;
    bed.apply(&[
        "kind: Workspace\nmetadata: {name: retail}",
        "kind: Addon\nmetadata: {name: web, namespace: retail}\nspec: {versions: [{version: 1.0.0, source: {ociChart: {url: 'oci://x/web'}}}]}",
        "kind: ManagedCluster\nmetadata: {name: edge-1, namespace: retail, labels: {env: prod}}",
        "kind: AddonAssignment\nmetadata: {name: web, namespace: retail}\nspec: {addon: {name: web}, version: 1.0.0, clusterSelector: {}}",
        // The schema cannot refuse these.
        "kind: AddonAssignment\nmetadata: {name: lost, namespace: retail}\nspec: {addon: {name: lost}, version: 1.0.0, clusterSelector: {}}",
        "kind: ManagedCluster\nmetadata: {name: edge-2, namespace: retail}\nspec: {variables: {ports: [1, 2]}}",
    ])?;
    bed.kubectl(&["wait", "--for=condition=Accepted", "--timeout=60s", "workspace/retail"])?;
    bed.kubectl(&[
        "wait",
        "-n",
        "retail",
        "--for=condition=Accepted",
        "--timeout=60s",
        "ad/web",
        "mcl/edge-1",
        "aa/web",
    ])?;
    bed.wait_condition(
        "aa/lost",
        "Accepted",
        "False",
        &["starling-platform/lost does not exist", "write an Addon document"],
    )?;
    bed.wait_condition(
        "mcl/edge-2",
        "Accepted",
        "False",
        &["spec.variables.ports", "a text, a number or a truth value"],
    )?;
    bed.wait_condition("mcl/edge-1", "Connected", "False", &["no agent has joined yet"])?;
    bed.wait_condition("aa/web", "Ready", "False", &["0 of 1 clusters are ready"])?;

    bed.wait_clusters(1)?;
    let cluster = bed.get("mcl/edge-1")?;
    let status = &cluster["status"];
    ensure!(status["observedGeneration"] == cluster["metadata"]["generation"], "{cluster}");
    ensure!(status["connection"] == "pending" && status["id"].as_str().is_some_and(|id| id.len() == 36), "{status}");
    ensure!(status["lastSeenTime"].is_null(), "{status}");

    // What is put right is accepted, with the generation that was put right.
    bed.kubectl(&[
        "patch",
        "-n",
        "retail",
        "mcl/edge-2",
        "--type=merge",
        "-p",
        r#"{"spec":{"variables":{"ports":"1, 2"}}}"#,
    ])?;
    bed.kubectl(&["wait", "-n", "retail", "--for=condition=Accepted", "--timeout=60s", "mcl/edge-2"])?;
    wait("the new generation to be observed", || {
        let cluster = bed.get("mcl/edge-2")?;
        ensure!(cluster["status"]["observedGeneration"] == 2, "it says {}", cluster["status"]);
        Ok(())
    })?;
    bed.end(&[])
}

#[test]
fn a_status_is_written_once_whoever_restarts() -> Result<()> {
    let bed = bed()?.hub("restarts")?;
    bed.apply(&[
        "kind: Workspace\nmetadata: {name: retail}",
        "kind: ManagedCluster\nmetadata: {name: edge-1, namespace: retail}",
        "kind: ManagedCluster\nmetadata: {name: edge-2, namespace: retail}",
    ])?;
    bed.kubectl(&["wait", "-n", "retail", "--for=condition=Accepted", "--timeout=60s", "mcl/edge-1", "mcl/edge-2"])?;
    // Counts alone may wait for half a minute.
    bed.wait_clusters(2)?;
    let before = bed.settled_versions()?;
    bed.hub.kill9()?;
    bed.hub.restart()?;
    sleep(QUIET);
    ensure!(bed.versions()? == before, "a restart wrote: {before:?} became {:?}", bed.versions()?);

    // The API server is gone for a while, and comes back with its objects.
    bed.server.kill9()?;
    sleep(Duration::from_secs(2));
    bed.server.restart()?;
    bed.kubectl(&["label", "-n", "retail", "mcl/edge-1", "env=prod"])?;
    bed.kubectl(&["patch", "-n", "retail", "mcl/edge-1", "--type=merge", "-p", r#"{"spec":{"paused":true}}"#])?;
    wait("the change to be observed", || {
        let cluster = bed.get("mcl/edge-1")?;
        ensure!(cluster["status"]["observedGeneration"] == 2, "it says {}", cluster["status"]);
        Ok(())
    })?;

    // Somebody else's hand is put right.
    let wrong = r#"{"status":{"connection":"live","installs":7,"conditions":[]}}"#;
    bed.kubectl(&["patch", "-n", "retail", "mcl/edge-2", "--subresource=status", "--type=merge", "-p", wrong])?;
    wait("the status to be put right", || {
        let cluster = bed.get("mcl/edge-2")?;
        ensure!(cluster["status"]["connection"] == "pending" && cluster["status"]["installs"].is_null(), "{cluster}");
        Ok(())
    })?;
    bed.kubectl(&["wait", "-n", "retail", "--for=condition=Accepted", "--timeout=60s", "mcl/edge-2"])?;
    bed.end(&[])
}

impl HubBed {
    fn apply(&self, documents: &[&str]) -> Result<()> {
        // The hub makes the namespaces of workspaces; a person who applies everything at once tries again.
        wait("the documents to be applied", || {
            let text: Vec<String> = documents.iter().map(|document| format!("{HEAD}\n{document}\n")).collect();
            Ok(self.server.admin().apply(&text.join("---\n"))?)
        })
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        Ok(self.server.admin().run(arguments)?)
    }

    fn get(&self, object: &str) -> Result<Value> {
        Ok(self.server.admin().get_json(&["-n", "retail", object])?)
    }

    fn wait_clusters(&self, count: u64) -> Result<()> {
        wait("the workspace to count its clusters", || {
            let found = self.get("workspace/retail")?;
            ensure!(found["status"]["clusters"] == count, "it says {}", found["status"]);
            Ok(())
        })
    }

    fn wait_condition(&self, object: &str, kind: &str, status: &str, texts: &[&str]) -> Result<()> {
        wait(&format!("{object} to say {kind}={status}"), || {
            let found = self.get(object)?;
            let conditions = found["status"]["conditions"].as_array().context("it has no conditions yet")?;
            let condition = conditions.iter().find(|condition| condition["type"] == kind).context("it has none")?;
            let message = condition["message"].as_str().unwrap_or_default();
            let missing: Vec<_> = texts.iter().filter(|text| !message.contains(**text)).collect();
            ensure!(condition["status"] == status && missing.is_empty(), "{condition} lacks {missing:?}");
            Ok(())
        })
    }

    /// Waits until nothing is written any more, and returns every object's version.
    fn settled_versions(&self) -> Result<Vec<String>> {
        wait("writing to end", || {
            let before = self.versions()?;
            sleep(QUIET);
            ensure!(self.versions()? == before, "objects still change");
            Ok(before)
        })
    }

    fn versions(&self) -> Result<Vec<String>> {
        let columns = "custom-columns=KIND:.kind,NAME:.metadata.name,VERSION:.metadata.resourceVersion";
        let listed = self.kubectl(&["get", "starling", "--all-namespaces", "--no-headers", "-o", columns])?;
        Ok(listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect())
    }

    fn end(&self, allowed: &[&str]) -> Result<()> {
        let errors = unexpected_errors(&self.hub.process().log_path(), allowed)?;
        ensure!(errors.is_empty(), "unexpected errors of the hub:\n{}", errors.join("\n"));
        Ok(())
    }
}
