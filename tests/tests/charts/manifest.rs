//! The agent's chart and the manifest that `starling adopt cluster` prints are the same agent.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::support::{CASES, Case, NAMESPACE, Objects, arguments, root};

const AGENT: Case = CASES[3];

/// What of a Pod must not differ.
const POD: [&str; 4] = ["/securityContext", "/serviceAccountName", "/terminationGracePeriodSeconds", "/volumes"];

/// What of its container must not differ.
const CONTAINER: [&str; 8] =
    ["/name", "/env", "/ports", "/livenessProbe", "/readinessProbe", "/securityContext", "/resources", "/volumeMounts"];

/// What the chart's values and the manifest's placeholders both stand for.
const PLACEHOLDERS: [(&str, &str); 6] = [
    ("{{CLUSTER_NAME}}", "edge-1"),
    ("{{HUB}}", "hub.example.org:8443"),
    ("{{FLEET}}", "demo"),
    ("{{IMAGE}}", concat!("ghcr.io/starling-dev/starling-agent:", env!("CARGO_PKG_VERSION"))),
    ("{{TOKEN}}", "a-one-time-token"),
    ("{{TRUST_PEM}}", "-----BEGIN CERTIFICATE-----\\nbm90IGEgY2VydGlmaWNhdGU=\\n-----END CERTIFICATE-----\\n"),
];

#[test]
fn the_agents_chart_and_its_manifest_are_in_step() -> Result<()> {
    let chart = AGENT.render(&["--set", "join.clusterName=edge-1"])?;
    let manifest = manifest()?;
    for kind in ["ClusterRole", "Role"] {
        let rules = |objects: &Objects| objects.one(kind, "starling-agent").map(|role| role["rules"].clone());
        let (ours, theirs) = (rules(&chart)?, rules(&manifest)?);
        ensure!(ours == theirs, "rules of {kind}:\nchart {ours:#}\nmanifest {theirs:#}");
    }
    ensure!(keys(&chart, "/data")? == keys(&manifest, "/stringData")?, "keys of the Secret to join with");
    let (ours, theirs) = (chart.workload()?, manifest.workload()?);
    ensure!(
        ours["kind"] == theirs["kind"] && ours["spec"]["replicas"] == theirs["spec"]["replicas"],
        "kind or replicas"
    );
    ensure!(ours["spec"]["strategy"] == theirs["spec"]["strategy"], "the strategy");
    ensure!(
        arguments(ours) == arguments(theirs),
        "arguments:\nchart {:?}\nmanifest {:?}",
        arguments(ours),
        arguments(theirs)
    );
    let pod = |workload: &Value| workload["spec"]["template"]["spec"].clone();
    same(&pod(ours), &pod(theirs), &POD)?;
    let container = |workload: &Value| pod(workload)["containers"][0].clone();
    ensure!(container(ours)["image"] == container(theirs)["image"]);
    same(&container(ours), &container(theirs), &CONTAINER)
}

fn keys(objects: &Objects, field: &str) -> Result<Vec<String>> {
    let secret = objects.one("Secret", "starling-agent-join")?;
    let data = secret.pointer(field).and_then(Value::as_object).with_context(|| format!("it has {field}"))?;
    Ok(data.keys().cloned().collect())
}

fn same(ours: &Value, theirs: &Value, pointers: &[&str]) -> Result<()> {
    for pointer in pointers {
        let (ours, theirs) = (ours.pointer(pointer), theirs.pointer(pointer));
        ensure!(ours == theirs, "{pointer}: the chart has {ours:?}, the manifest has {theirs:?}");
    }
    Ok(())
}

fn manifest() -> Result<Objects> {
    let path = root().join("agent/manifest/agent.yaml");
    let template = std::fs::read_to_string(&path).context("read the agent's manifest")?;
    let fill = |text: String, (place, value): &(&str, &str)| text.replace(place, value);
    let objects = Objects::parse(&PLACEHOLDERS.iter().fold(template, fill))?;
    ensure!(
        objects.one("Namespace", NAMESPACE).is_ok(),
        "the manifest makes the namespace that the chart is installed into"
    );
    Ok(objects)
}
