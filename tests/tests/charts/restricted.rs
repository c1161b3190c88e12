//! A bare Pod made of each template is accepted where `restricted` is enforced.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use starling_realparts::Kubectl;

use crate::bed::Turn;
use crate::support::{CASES, items, text};

const NAMESPACE: &str = "restricted";

#[test]
fn a_pod_of_each_template_is_accepted_under_enforced_restrictions() -> Result<()> {
    let turn = Turn::take()?;
    let kubectl = turn.bed.kubectl();
    kubectl.apply(&format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n  labels:\n    \
         pod-security.kubernetes.io/enforce: restricted\n    pod-security.kubernetes.io/enforce-version: latest\n"
    ))?;
    for (index, case) in CASES.into_iter().enumerate() {
        for workload in case.render(&[])?.workloads() {
            let name = format!("{}-{index}", text(workload, "/metadata/name"));
            accepted_as_it_is(kubectl, &pod_of(workload, &name)?).with_context(|| format!("{name} of {case:?}"))?;
        }
    }
    Ok(())
}

fn accepted_as_it_is(kubectl: &Kubectl, pod: &Value) -> Result<()> {
    kubectl.run_with_input(&["create", "-f", "-"], &pod.to_string())?;
    // The check can fail: the same Pod without what the chart says is refused.
    for without in ["/spec/securityContext", "/spec/containers/0/securityContext"] {
        let mut lax = pod.clone();
        lax["metadata"]["name"] = json!("lax");
        *lax.pointer_mut(without).context("a Pod has a security context")? = json!({});
        let refusal =
            kubectl.run_with_input(&["create", "-f", "-"], &lax.to_string()).err().map(|error| error.to_string());
        let is_refused =
            refusal.as_ref().is_some_and(|text| text.contains("violates PodSecurity \"restricted:latest\""));
        ensure!(is_refused, "without {without}: {refusal:?}");
    }
    Ok(())
}

/// The Pod that a controller would make of a workload.
fn pod_of(workload: &Value, name: &str) -> Result<Value> {
    let template = &workload["spec"]["template"];
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": template["metadata"]["labels"],
            "annotations": template["metadata"]["annotations"],
        },
        "spec": template["spec"],
    });
    let claims = items(workload, "/spec/volumeClaimTemplates").iter().map(|claim| {
        let name = text(claim, "/metadata/name");
        json!({ "name": name, "persistentVolumeClaim": { "claimName": name } })
    });
    let volumes = pod["spec"]["volumes"].as_array_mut().context("a Pod has volumes")?;
    volumes.extend(claims);
    Ok(pod)
}
