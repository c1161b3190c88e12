//! Wrong values are refused before anything is applied, by name.

use anyhow::{Result, ensure};

use crate::support::{Case, Chart};

/// Values that must be refused, and the place that the refusal must name.
const HUB: [(&str, &str); 26] = [
    ("fleet=Not A Label", "/fleet"),
    ("advertise=hub.example.org", "/advertise"),
    ("advertise=https://hub.example.org:1", "/advertise"),
    ("image.tag=latest", "/image/tag"),
    ("image.digest=sha256:1234", "/image/digest"),
    ("image.repo=x", "/image"),
    ("bindAddress=127.0.0.1", "/bindAddress"),
    ("service.type=ExternalName", "/service/type"),
    ("service.port=70000", "/service/port"),
    ("persistence.accessMode=ReadWriteMany", "/persistence/accessMode"),
    ("authority.certManager.enabled=true", "/authority/certManager"),
    ("podDisruptionBudget.minAvailable=1", "/podDisruptionBudget"),
    ("replicas=0", "/replicas"),
    ("replica=2", "'replica'"),
    ("store.kind=redb", "/store/kind"),
    ("etcd.endpoints[0]=etcd:2379", "/etcd/endpoints"),
    ("etcd.endpoints[0]=https://etcd", "/etcd/endpoints"),
    ("etcd.prefix=/fleets/demo", "/etcd/prefix"),
    ("etcd.bundled.replicas=2", "/etcd/bundled/replicas"),
    ("etcd.bundled.image.tag=latest", "/etcd/bundled/image/tag"),
    ("shards.addressTemplate=hub.example.org:8443", "/shards/addressTemplate"),
    ("shards.routing=both", "/shards/routing"),
    ("logFormat=xml", "/logFormat"),
    ("otlp.endpoint=collector:4317", "/otlp/endpoint"),
    ("resources.limit.memory=1Gi", "/resources"),
    ("terminationGracePeriodSeconds=5", "/terminationGracePeriodSeconds"),
];

const AGENT: [(&str, &str); 9] = [
    ("hub.address=hub.example.org", "/hub/address"),
    ("hub.address=", "/hub/address"),
    ("hub.fleet=", "/hub/fleet"),
    ("hub.trustPem=none", "/hub/trustPem"),
    ("kind=Job", "/kind"),
    ("replicas=0", "/replicas"),
    ("image.tag=latest", "/image/tag"),
    ("proxy.https=proxy:3128", "/proxy/https"),
    ("join.tokn=x", "/join"),
];

#[test]
fn wrong_values_of_the_hub_are_refused() -> Result<()> {
    all_refused(Case { chart: Chart::Hub, values: "hub-defaults.yaml" }, &HUB)
}

/// Values over three hubs with a bundled etcd that are wrong together, and what the refusal says to set.
const TOGETHER: [(&str, &str); 11] = [
    ("store.kind=embedded,etcd.bundled.enabled=false", "set store.kind=etcd with etcd.bundled.enabled=true"),
    ("store.kind=embedded,replicas=1", "set store.kind=etcd to use it"),
    ("store.kind=embedded,replicas=1,etcd.bundled.enabled=false,shards.routing=forward", "leave shards as it is"),
    ("etcd.bundled.enabled=false", "set etcd.endpoints to one of your own, or etcd.bundled.enabled=true"),
    ("etcd.endpoints[0]=http://etcd:2379", "both set"),
    ("etcd.bundled.enabled=false,etcd.endpoints[0]=https://etcd:2379", "set etcd.tls.existingSecret"),
    ("etcd.auth.user=starling", "set etcd.auth.existingSecret"),
    ("etcd.tls.existingSecret=client", "go together"),
    ("networkPolicy.enabled=false", "every Pod could write the fleet's store"),
    ("shards.routing=redirect", "set shards.addressTemplate"),
    ("shards.service.type=NodePort,shards.service.nodePorts[0]=30440", "give one for each"),
];

#[test]
fn values_that_are_wrong_together_are_refused_with_what_to_set() -> Result<()> {
    let case = Case { chart: Chart::Hub, values: "hub-shards.yaml" };
    for (set, says) in TOGETHER {
        let refusal = case.render(&["--set", set]).err().map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(refusal.contains(says), "{set} must be refused with {says:?}: {refusal}");
    }
    Ok(())
}

#[test]
fn wrong_values_of_the_agent_are_refused() -> Result<()> {
    all_refused(Case { chart: Chart::Agent, values: "agent-token.yaml" }, &AGENT)
}

#[test]
fn two_authorities_at_once_are_refused() -> Result<()> {
    let case = Case { chart: Chart::Hub, values: "hub-everything.yaml" };
    all_refused(case, &[("authority.existingSecret=mine", "/authority/existingSecret")])
}

fn all_refused(case: Case, wrong: &[(&str, &str)]) -> Result<()> {
    case.render(&[])?;
    for (set, place) in wrong {
        let refusal = match case.render(&["--set", set]) {
            Ok(_) => String::new(),
            Err(error) => format!("{error:#}"),
        };
        let names_it = refusal.contains("don't meet the specifications of the schema") && refusal.contains(place);
        ensure!(names_it, "{set} must be refused at {place}: {refusal}");
    }
    Ok(())
}
