//! Installed, upgraded and uninstalled by the real Helm: every object is accepted, and what must outlive the chart does.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use starling_realparts::wait_for;

use crate::bed::{Bed, Turn};
use crate::support::{CASES, Case, Chart, NAMESPACE, text};

const HUB: Case = CASES[0];
const HUB_WITH_EVERYTHING: Case = CASES[1];
const HUB_WITH_ITS_OWN_AUTHORITY: Case = CASES[2];
const HUBS: Case = CASES[6];
const AGENT: Case = CASES[3];
const AGENT_WITH_EVERYTHING: Case = CASES[4];

/// Definitions go one by one, each some seconds after it was made.
const GONE_WITHIN: Duration = Duration::from_secs(90);

/// A resource of the fleet, which no uninstall may take.
const WORKSPACE: &str = "apiVersion: starling.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: retail\nspec: {}\n";

/// What the hub makes by itself, in its namespace.
const HUBS_OWN: [&str; 2] = ["secret/starling-hub-keys", "configmap/starling-hub"];

#[test]
fn the_hub_is_installed_upgraded_and_uninstalled_and_the_fleet_stays() -> Result<()> {
    let turn = Turn::take()?;
    let bed = turn.bed;
    let notes = bed.release("install", HUB, &[])?;
    ensure!(notes.contains("starling status") && notes.contains("only this cluster reaches"), "{notes}");
    served(bed)?;
    bed.kubectl().apply(WORKSPACE)?;
    bed.kubectl().run(&["create", "secret", "generic", "starling-hub-keys", "-n", NAMESPACE])?;
    bed.kubectl().run(&["create", "configmap", "starling-hub", "-n", NAMESPACE])?;

    let exposed = ["--set", "service.type=LoadBalancer,advertise=hub.example.org:8443,logFormat=human"];
    let notes = bed.release("upgrade", HUB, &exposed)?;
    ensure!(notes.contains("REVISION: 2") && notes.contains("hub.example.org:8443"), "{notes}");
    let service = bed.kubectl().get_json(&["service", "starling-hub", "-n", NAMESPACE])?;
    ensure!(service["spec"]["type"] == "LoadBalancer");

    let said = bed.uninstall(HUB)?;
    ensure!(said.contains("kept due to the resource policy") && said.contains("workspaces.starling.dev"), "{said}");
    gone(bed, &["statefulset,service,serviceaccount,role,rolebinding,networkpolicy", "-n", NAMESPACE])?;
    gone(bed, &["clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding"])?;
    ensure!(bed.has(&["workspace", "retail"])?, "the fleet's resources outlive the chart");
    for own in HUBS_OWN {
        ensure!(bed.has(&["-n", NAMESPACE, own])?, "{own} outlives the chart");
    }

    // The same release again takes the definitions over.
    bed.release("install", HUB, &[])?;
    ensure!(bed.has(&["workspace", "retail"])? && bed.has(&["statefulset", "starling-hub", "-n", NAMESPACE])?);
    bed.kubectl().run(&["delete", "workspace", "retail"])?;
    Ok(())
}

#[test]
fn every_object_with_every_value_is_accepted_as_it_is_written() -> Result<()> {
    let turn = Turn::take()?;
    for case in [HUB_WITH_EVERYTHING, AGENT_WITH_EVERYTHING] {
        accepted_strictly(turn.bed, case)?;
        turn.bed.release("install", case, &[])?;
    }
    let bed = turn.bed;
    let service = bed.kubectl().get_json(&["service", "starling-hub", "-n", NAMESPACE])?;
    let addresses = service["spec"]["clusterIPs"].as_array().map_or(0, Vec::len);
    ensure!(addresses == 2 && service["spec"]["ipFamilies"][0] == "IPv6", "{}", service["spec"]);
    for object in [
        "certificate/starling-hub-authority",
        "servicemonitor/starling-hub",
        "podmonitor/starling-agent",
        "pdb/starling-hub",
    ] {
        ensure!(bed.has(&["-n", NAMESPACE, object])?, "{object}");
    }
    Ok(())
}

#[test]
fn several_hubs_are_installed_and_scaled_and_their_etcd_is_not() -> Result<()> {
    let turn = Turn::take()?;
    let bed = turn.bed;
    for case in [HUBS, CASES[7], CASES[8]] {
        accepted_strictly(bed, case).with_context(|| format!("{case:?}"))?;
    }
    let notes = bed.release("install", HUBS, &[])?;
    ensure!(notes.contains("3 hub processes") && notes.contains("starling get shards"), "{notes}");
    bed.release("upgrade", HUBS, &["--set", "replicas=5"])?;
    let hubs = bed.kubectl().get_json(&["statefulset", "starling-hub", "-n", NAMESPACE])?;
    ensure!(hubs["spec"]["replicas"] == 5 && hubs["spec"]["volumeClaimTemplates"].is_null(), "{}", hubs["spec"]);
    // What scales a StatefulSet tells etcd nothing.
    let refusal = bed.release("upgrade", HUBS, &["--set", "etcd.bundled.replicas=5"]).err();
    let refusal = refusal.map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(refusal.contains("etcd.bundled.replicas cannot be changed: it is 3 here"), "{refusal}");
    // One hub with a file is another StatefulSet and another store: the way there is an uninstall.
    let refusal = bed.release("upgrade", HUB, &["--reset-values"]).err();
    let refusal = refusal.map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(refusal.contains("store.kind is etcd here") && refusal.contains("uninstall first"), "{refusal}");
    bed.uninstall(HUBS)?;
    gone(bed, &["statefulset,service,networkpolicy,pdb", "-n", NAMESPACE])?;
    bed.release("install", HUB, &[])?;
    let refusal = bed.release("upgrade", HUBS, &[]).err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(refusal.contains("store.kind is embedded here"), "{refusal}");
    Ok(())
}

/// Applies what a chart renders to, dry, and refuses each field that no definition knows.
fn accepted_strictly(bed: &Bed, case: Case) -> Result<()> {
    // Anything less strict would drop it in silence.
    let (folder, values) = (crate::support::utf8(&case.chart.folder())?, case.values_path()?);
    let template = ["template", case.chart.name(), &folder, "-n", NAMESPACE, "-f", &values];
    let manifest = crate::support::helm()?.run(&template)?;
    let strictly = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
    bed.kubectl().run_with_input(&strictly, &manifest)?;
    Ok(())
}

#[test]
fn definitions_go_with_the_chart_where_that_was_asked_for() -> Result<()> {
    let turn = Turn::take()?;
    turn.bed.release("install", HUB_WITH_ITS_OWN_AUTHORITY, &[])?;
    served(turn.bed)?;
    turn.bed.uninstall(HUB_WITH_ITS_OWN_AUTHORITY)?;
    gone(turn.bed, &["crd"])
}

#[test]
fn an_agent_becomes_a_daemon_set_and_back_and_keeps_its_key() -> Result<()> {
    let turn = Turn::take()?;
    let bed = turn.bed;
    bed.release("install", AGENT, &[])?;
    bed.kubectl().run(&["create", "secret", "generic", "starling-agent-identity", "-n", NAMESPACE])?;
    bed.release("upgrade", AGENT, &["--set", "kind=DaemonSet"])?;
    ensure!(bed.has(&["daemonset", "starling-agent", "-n", NAMESPACE])?);
    gone(bed, &["deployment,pdb", "-n", NAMESPACE])?;
    // A cluster that has joined needs no token.
    bed.release("upgrade", AGENT, &["--set", "join.token="])?;
    ensure!(bed.has(&["deployment", "starling-agent", "-n", NAMESPACE])?);
    let secret: Value = bed.kubectl().get_json(&["secret", "starling-agent-join", "-n", NAMESPACE])?;
    ensure!(text(&secret, "/data/token").is_empty() && !text(&secret, "/data/trust.pem").is_empty(), "{secret}");
    bed.uninstall(AGENT)?;
    gone(bed, &["deployment,daemonset,serviceaccount,role,networkpolicy", "-n", NAMESPACE])?;
    ensure!(bed.has(&["secret", "starling-agent-identity", "-n", NAMESPACE])?, "the key outlives the chart");
    Ok(())
}

#[test]
fn hub_and_agent_share_the_namespace_of_the_hubs_own_cluster() -> Result<()> {
    let turn = Turn::take()?;
    turn.bed.release("install", HUB, &[])?;
    turn.bed.release("install", AGENT, &[])?;
    turn.bed.uninstall(AGENT)?;
    ensure!(turn.bed.has(&["statefulset", "starling-hub", "-n", NAMESPACE])?);
    ensure!(turn.bed.has(&["clusterrole", "starling-hub"])? && !turn.bed.has(&["clusterrole", "starling-agent"])?);
    Ok(())
}

/// Waits until the fleet's kinds can be asked for.
fn served(bed: &Bed) -> Result<()> {
    for entry in std::fs::read_dir(Chart::Hub.folder().join("files/crds"))? {
        let file: Value = serde_saphyr::from_str(&std::fs::read_to_string(entry?.path())?)?;
        let definition = format!("crd/{}", text(&file, "/metadata/name"));
        let established = ["wait", "--for=condition=Established", "--timeout=30s", &definition];
        bed.kubectl().run(&established).with_context(|| format!("wait for {definition}"))?;
    }
    Ok(())
}

/// Waits until none of Starling's objects of these kinds is left.
fn gone(bed: &Bed, kinds: &[&str]) -> Result<()> {
    let mine = ["get", "-o", "name", "--ignore-not-found", "--selector", "app.kubernetes.io/part-of=starling"];
    let ask = || match bed.kubectl().run(&[&mine, kinds].concat())?.trim() {
        "" => Ok(()),
        left => Err(left.to_owned()),
    };
    Ok(wait_for(&format!("{kinds:?} to be gone"), GONE_WITHIN, ask)?)
}
