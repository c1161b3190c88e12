//! Wrong values are refused before anything is applied, by name.

use anyhow::{Result, ensure};

use crate::support::{Case, Chart};

/// Values that must be refused, and the place that the refusal must name.
const HUB: [(&str, &str); 17] = [
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
    ("replicas=2", "'replicas'"),
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
