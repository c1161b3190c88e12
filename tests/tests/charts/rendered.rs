//! What the charts render to, whatever the values: properties, not copies of the output.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use clap::Parser as _;
use serde_json::{Value, json};

use crate::support::{CASES, Case, Chart, ETCD, NAMESPACE, Objects, arguments, helm, items, text, utf8};

const HUB: Case = CASES[0];
const HUB_WITH_EVERYTHING: Case = CASES[1];
const HUB_WITH_ITS_OWN_AUTHORITY: Case = CASES[2];
const AGENT: Case = CASES[3];
const AGENT_WITH_EVERYTHING: Case = CASES[4];
const SINGLE_AGENT: Case = CASES[5];

/// Kinds that have no namespace.
const CLUSTER_WIDE: [&str; 5] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

#[test]
fn charts_are_linted() -> Result<()> {
    for case in CASES {
        let folder = utf8(&case.chart.folder())?;
        helm()?.run(&["lint", "--strict", &folder, "--values", &case.values_path()?])?;
    }
    Ok(())
}

#[test]
fn a_packaged_chart_renders_as_its_folder_does() -> Result<()> {
    let target = tempfile::tempdir()?;
    for case in [HUB_WITH_EVERYTHING, AGENT] {
        let folder = utf8(&case.chart.folder())?;
        helm()?.run(&["package", &folder, "--destination", &utf8(target.path())?])?;
        let package = target.path().join(format!("{}-{}.tgz", case.chart.name(), env!("CARGO_PKG_VERSION")));
        let values = case.values_path()?;
        let arguments =
            ["template", case.chart.name(), &utf8(&package)?, "--namespace", NAMESPACE, "--values", &values];
        let packaged = Objects::parse(&helm()?.run(&arguments)?)?;
        ensure!(packaged.0 == case.render(&[])?.0, "{case:?}");
    }
    Ok(())
}

#[test]
fn versions_are_the_workspaces() -> Result<()> {
    for chart in [Chart::Hub, Chart::Agent] {
        let about: Value = serde_saphyr::from_str(&chart.read("Chart.yaml")?)?;
        for field in ["version", "appVersion"] {
            ensure!(about[field] == env!("CARGO_PKG_VERSION"), "{field} of {chart:?}: {}", about[field]);
        }
    }
    Ok(())
}

#[test]
fn every_object_is_labelled_and_in_the_release_namespace() -> Result<()> {
    for case in CASES {
        for object in case.render(&[])?.0 {
            let name = format!("{} {} of {case:?}", text(&object, "/kind"), text(&object, "/metadata/name"));
            let labels = &object["metadata"]["labels"];
            ensure!(labels["app.kubernetes.io/part-of"] == "starling", "labels of {name}: {labels}");
            let is_cluster_wide = CLUSTER_WIDE.contains(&text(&object, "/kind"));
            let namespace = if is_cluster_wide { Value::Null } else { json!(NAMESPACE) };
            ensure!(object["metadata"]["namespace"] == namespace, "namespace of {name}");
        }
    }
    Ok(())
}

#[test]
fn every_pod_is_restricted() -> Result<()> {
    for case in CASES {
        for workload in case.render(&[])?.workloads() {
            is_restricted(&workload["spec"]["template"]["spec"]).with_context(|| format!("{case:?}"))?;
        }
    }
    Ok(())
}

fn is_restricted(pod: &Value) -> Result<()> {
    ensure!(pod["securityContext"]["runAsNonRoot"] == true);
    ensure!(pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault");
    ensure!(pod["hostNetwork"].is_null() && pod["hostPID"].is_null());
    ensure!(pod["initContainers"].is_null());
    for container in items(pod, "/containers") {
        let context = &container["securityContext"];
        ensure!(context["allowPrivilegeEscalation"] == false);
        ensure!(context["readOnlyRootFilesystem"] == true);
        ensure!(context["capabilities"] == json!({ "drop": ["ALL"] }));
        ensure!(!text(container, "/resources/requests/memory").is_empty());
        ensure!(!container["livenessProbe"].is_null());
    }
    ensure!(items(pod, "/volumes").iter().all(|volume| volume["hostPath"].is_null()));
    Ok(())
}

#[test]
fn images_are_never_movable_by_accident() -> Result<()> {
    let image_of = |case: Case, arguments: &[&str]| -> Result<String> {
        let objects = case.render(arguments)?;
        Ok(text(objects.workload()?, "/spec/template/spec/containers/0/image").to_owned())
    };
    let version = env!("CARGO_PKG_VERSION");
    ensure!(image_of(HUB, &[])? == format!("ghcr.io/starling-dev/starling-hub:{version}"));
    ensure!(image_of(AGENT, &[])? == format!("ghcr.io/starling-dev/starling-agent:{version}"));
    ensure!(image_of(AGENT, &["--set", "image.tag=9.9.9"])?.ends_with(":9.9.9"));
    // The digest wins, and no tag is left beside it.
    for case in [HUB_WITH_EVERYTHING, AGENT_WITH_EVERYTHING] {
        let image = image_of(case, &["--set", "image.tag=9.9.9"])?;
        ensure!(image.contains("@sha256:") && !image.contains("9.9.9"), "{image}");
    }
    Ok(())
}

#[test]
fn selectors_select_the_pod_and_nothing_that_changes() -> Result<()> {
    for case in CASES {
        let objects = case.render(&[])?;
        for object in &objects.0 {
            let is_of_etcd = text(object, "/metadata/name") == ETCD;
            let name = if is_of_etcd { ETCD } else { case.chart.name() };
            let expected = json!({ "app.kubernetes.io/name": name, "app.kubernetes.io/instance": case.chart.name() });
            for selector in selectors_of(object) {
                let mut selector = selector.clone();
                // The Service of one process of several.
                if let Some(labels) = selector.as_object_mut() {
                    labels.remove("statefulset.kubernetes.io/pod-name");
                }
                ensure!(selector == expected, "{case:?}: {selector} of {name}");
            }
            let Some(labels) = object.pointer("/spec/template/metadata/labels").and_then(Value::as_object) else {
                continue;
            };
            for (key, value) in expected.as_object().context("labels are a map")? {
                ensure!(labels[key] == *value, "{case:?}: {labels:?}");
            }
            let moves = labels.keys().any(|key| key.contains("version") || key.contains("chart"));
            ensure!(!moves, "a new chart with the same Pod would restart it: {labels:?}");
        }
    }
    Ok(())
}

/// Whatever of an object selects Pods of its own.
fn selectors_of(object: &Value) -> Vec<&Value> {
    let mut selectors = match text(object, "/kind") {
        "Service" => vec![&object["spec"]["selector"]],
        "NetworkPolicy" => vec![&object["spec"]["podSelector"]["matchLabels"]],
        "StatefulSet" | "Deployment" | "DaemonSet" | "PodDisruptionBudget" => {
            vec![&object["spec"]["selector"]["matchLabels"]]
        }
        _ => Vec::new(),
    };
    let spreads = items(object, "/spec/template/spec/topologySpreadConstraints");
    selectors.extend(spreads.iter().map(|spread| &spread["labelSelector"]["matchLabels"]));
    selectors
}

#[test]
fn ports_of_services_and_probes_are_ports_of_the_container() -> Result<()> {
    for case in CASES {
        let objects = case.render(&[])?;
        for workload in objects.workloads() {
            let selected = |selector: &Value| {
                selector["app.kubernetes.io/name"]
                    == workload["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
            };
            let container = &workload["spec"]["template"]["spec"]["containers"][0];
            let ports: BTreeSet<&str> = items(container, "/ports").iter().map(|port| text(port, "/name")).collect();
            let services = objects.of_kind("Service").filter(|service| selected(&service["spec"]["selector"]));
            let mut used: Vec<&str> = services
                .flat_map(|service| items(service, "/spec/ports"))
                .map(|port| text(port, "/targetPort"))
                .collect();
            used.extend(
                ["livenessProbe", "readinessProbe", "startupProbe"]
                    .map(|probe| &container[probe])
                    .into_iter()
                    .filter(|probe| !probe.is_null())
                    .map(|probe| text(probe, "/httpGet/port")),
            );
            let policies = objects.of_kind("NetworkPolicy");
            let policies = policies.filter(|policy| selected(&policy["spec"]["podSelector"]["matchLabels"]));
            let rules = policies.flat_map(|policy| items(policy, "/spec/ingress"));
            used.extend(rules.flat_map(|rule| items(rule, "/ports")).map(|port| text(port, "/port")));
            ensure!(used.iter().all(|port| ports.contains(port)), "{case:?}: {used:?} of {ports:?}");
            // What is bound is what is named.
            let arguments = arguments(workload).join(" ");
            for port in items(container, "/ports") {
                ensure!(arguments.contains(&format!(":{}", port["containerPort"])), "{case:?}: {port} in {arguments}");
            }
        }
    }
    Ok(())
}

#[test]
fn definitions_are_the_generated_ones_and_kept() -> Result<()> {
    let kept = HUB.render(&[])?;
    let let_go = HUB_WITH_ITS_OWN_AUTHORITY.render(&[])?;
    let mut files = 0;
    for entry in std::fs::read_dir(Chart::Hub.folder().join("files/crds"))? {
        let path = entry?.path();
        let file: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path)?)?;
        let name = text(&file, "/metadata/name");
        let rendered = kept.one("CustomResourceDefinition", name)?;
        ensure!(rendered["spec"] == file["spec"], "{name} is not what was generated");
        let policy = |object: &Value| text(object, "/metadata/annotations/helm.sh~1resource-policy").to_owned();
        ensure!(policy(rendered) == "keep", "{name} must be kept");
        ensure!(
            policy(let_go.one("CustomResourceDefinition", name)?).is_empty(),
            "{name} must go where that is asked for"
        );
        files += 1;
    }
    ensure!(files == kept.of_kind("CustomResourceDefinition").count() && files == 5, "{files} definitions");
    let none = HUB.render(&["--set", "crds.install=false"])?;
    ensure!(none.of_kind("CustomResourceDefinition").count() == 0);
    Ok(())
}

#[test]
fn the_programs_know_the_flags_that_they_are_given() -> Result<()> {
    for case in CASES {
        let objects = case.render(&[])?;
        let flags = expanded(objects.workload()?)?;
        let words = std::iter::once(case.chart.name().to_owned()).chain(flags);
        match case.chart {
            Chart::Hub => {
                drop(starling_hub::config::Config::try_parse_from(words).with_context(|| format!("{case:?}"))?);
            }
            Chart::Agent => {
                drop(starling_agent::program::Flags::try_parse_from(words).with_context(|| format!("{case:?}"))?);
            }
        }
    }
    Ok(())
}

/// The arguments as the first Pod has them: with its variables in the place of their names.
fn expanded(workload: &Value) -> Result<Vec<String>> {
    let mut flags = arguments(workload);
    for variable in items(workload, "/spec/template/spec/containers/0/env") {
        let value = match text(variable, "/valueFrom/fieldRef/fieldPath") {
            "metadata.name" => format!("{}-0", text(workload, "/metadata/name")),
            "metadata.labels['apps.kubernetes.io/pod-index']" => "0".to_owned(),
            _ => text(variable, "/value").to_owned(),
        };
        let place = format!("$({})", text(variable, "/name"));
        flags = flags.iter().map(|flag| flag.replace(&place, &value)).collect();
    }
    ensure!(!flags.iter().any(|flag| flag.contains("$(")), "variables that the container does not have: {flags:?}");
    Ok(flags)
}

#[test]
fn one_hub_owns_its_volume_and_is_never_doubled() -> Result<()> {
    let objects = HUB.render(&[])?;
    let hub = objects.one("StatefulSet", "starling-hub")?;
    ensure!(hub["spec"]["replicas"] == 1);
    ensure!(hub["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain");
    let claims = items(hub, "/spec/volumeClaimTemplates");
    ensure!(claims.len() == 1 && text(&claims[0], "/spec/resources/requests/storage") == "4Gi");
    ensure!(objects.of_kind("PodDisruptionBudget").count() == 0, "with one replica it would block drains");
    // With everything on, it is one that lets the Pod go.
    let everything = HUB_WITH_EVERYTHING.render(&[])?;
    let budget = everything.one("PodDisruptionBudget", "starling-hub")?;
    ensure!(budget["spec"]["maxUnavailable"] == 1 && budget["spec"]["minAvailable"].is_null());
    // An orderly end has time before the kubelet's.
    ensure!(arguments(everything.workload()?).contains(&"--shutdown-seconds=50".to_owned()));
    Ok(())
}

#[test]
fn an_authority_of_ones_own_is_mounted() -> Result<()> {
    for (case, secret) in [
        (HUB, None),
        (HUB_WITH_EVERYTHING, Some("starling-hub-authority")),
        (HUB_WITH_ITS_OWN_AUTHORITY, Some("fleet-authority")),
    ] {
        let objects = case.render(&[])?;
        let workload = objects.workload()?;
        let flag = arguments(workload).contains(&"--authority-dir=/etc/starling/authority".to_owned());
        let volumes = items(workload, "/spec/template/spec/volumes");
        let mounted = volumes
            .iter()
            .find(|volume| volume["name"] == "authority")
            .map(|volume| text(volume, "/secret/secretName"));
        ensure!(flag == secret.is_some() && mounted == secret, "{case:?}");
    }
    let everything = HUB_WITH_EVERYTHING.render(&[])?;
    let certificate = everything.one("Certificate", "starling-hub-authority")?;
    ensure!(certificate["spec"]["isCA"] == true && certificate["spec"]["privateKey"]["rotationPolicy"] == "Never");
    Ok(())
}

#[test]
fn agents_stand_by_or_run_on_each_node() -> Result<()> {
    let two = AGENT.render(&[])?;
    ensure!(two.one("Deployment", "starling-agent")?["spec"]["replicas"] == 2);
    ensure!(arguments(two.workload()?).contains(&"--leader-elect".to_owned()), "two agents need a Lease");
    ensure!(two.one("PodDisruptionBudget", "starling-agent")?["spec"]["maxUnavailable"] == 1);
    for case in [AGENT_WITH_EVERYTHING, SINGLE_AGENT] {
        let objects = case.render(&[])?;
        ensure!(objects.of_kind("PodDisruptionBudget").count() == 0, "{case:?}: it would block drains or do nothing");
        ensure!(arguments(objects.workload()?).contains(&"--leader-elect".to_owned()), "a rolling update has two, too");
    }
    let each = AGENT_WITH_EVERYTHING.render(&[])?;
    ensure!(each.one("DaemonSet", "starling-agent")?["spec"]["replicas"].is_null());
    Ok(())
}

#[test]
fn tokens_are_in_no_argument_and_in_no_pod() -> Result<()> {
    let objects = AGENT.render(&[])?;
    let (token, encoded) = ("a-one-time-token", "YS1vbmUtdGltZS10b2tlbg==");
    ensure!(objects.0.iter().all(|object| !object.to_string().contains(token)));
    let holds_token = |object: &&Value| object.to_string().contains(encoded);
    let holders: Vec<&str> = objects.0.iter().filter(holds_token).map(|object| text(object, "/kind")).collect();
    ensure!(holders == ["Secret"], "{holders:?}");
    // A Secret of one's own is mounted beside the authorities, and none is made for it.
    let own = AGENT_WITH_EVERYTHING.render(&[])?;
    ensure!(own.one("Secret", "starling-agent-join")?["data"]["token"].is_null());
    let sources = items(own.workload()?, "/spec/template/spec/volumes/0/projected/sources").to_vec();
    let names: Vec<&str> = sources.iter().map(|source| text(source, "/secret/name")).collect();
    ensure!(names == ["starling-agent-join", "workspace-token"], "{names:?}");
    Ok(())
}

#[test]
fn the_clusters_own_api_is_never_asked_through_a_proxy() -> Result<()> {
    let objects = AGENT_WITH_EVERYTHING.render(&[])?;
    let variables = items(objects.workload()?, "/spec/template/spec/containers/0/env").to_vec();
    let value = |name: &str| {
        variables.iter().find(|variable| variable["name"] == name).map(|found| text(found, "/value").to_owned())
    };
    let without = value("NO_PROXY").context("NO_PROXY is set")?;
    ensure!(
        without.starts_with("10.0.0.0/8,.example.org,") && without.contains("$(KUBERNETES_SERVICE_HOST)"),
        "{without}"
    );
    ensure!(value("HTTPS_PROXY").as_deref() == Some("http://proxy.example.org:3128"));
    // Without a proxy nothing is said about one.
    let plain = AGENT.render(&[])?;
    let mut names =
        items(plain.workload()?, "/spec/template/spec/containers/0/env").iter().map(|one| text(one, "/name"));
    ensure!(!names.any(|name| name.ends_with("_PROXY")));
    Ok(())
}

#[test]
fn dashboards_and_alerts_are_shipped_as_they_are() -> Result<()> {
    let everything = HUB_WITH_EVERYTHING.render(&[])?;
    let files = |folder: &str| std::fs::read_dir(Chart::Hub.folder().join(folder)).map_or(0, Iterator::count);
    let boards: Vec<&Value> = everything.of_kind("ConfigMap").collect();
    ensure!(boards.len() == files("dashboards") && !boards.is_empty(), "{:?}", everything.names());
    for board in boards {
        ensure!(board["metadata"]["labels"]["grafana_dashboard"] == "1");
        for (name, content) in board["data"].as_object().context("data is a map")? {
            let shipped = content.as_str().context("data is text")?;
            ensure!(shipped.trim_end() == Chart::Hub.read(&format!("dashboards/{name}"))?.trim_end(), "{name} differs");
        }
    }
    let rules: Vec<&Value> = everything.of_kind("PrometheusRule").collect();
    ensure!(rules.len() == files("alerts") && !rules.is_empty(), "{:?}", everything.names());
    for rule in rules {
        let name = text(rule, "/metadata/name").strip_prefix("starling-").context("a rule is named as ours")?;
        let file = format!("alerts/{name}.yaml");
        let shipped: Value = serde_saphyr::from_str(&Chart::Hub.read(&file)?)?;
        ensure!(rule["spec"] == shipped, "{file} differs");
    }
    Ok(())
}

#[test]
fn the_hub_is_exposed_as_asked() -> Result<()> {
    let service_of = |objects: &Objects| objects.one("Service", "starling-hub").map(|service| service["spec"].clone());
    let everything = service_of(&HUB_WITH_EVERYTHING.render(&[])?)?;
    ensure!(everything["type"] == "LoadBalancer" && everything["loadBalancerClass"] == "example.org/internal");
    ensure!(everything["ipFamilies"] == json!(["IPv6", "IPv4"]) && everything["ports"][0]["nodePort"] == 30443);
    let defaults = HUB.render(&[])?;
    let inside = service_of(&defaults)?;
    ensure!(inside["type"] == "ClusterIP" && inside["ipFamilyPolicy"] == "PreferDualStack");
    ensure!(inside["externalTrafficPolicy"].is_null() && inside["ports"][0]["nodePort"].is_null());
    let advertised = "--advertise=starling-hub.starling-system.svc:8443".to_owned();
    ensure!(arguments(defaults.workload()?).contains(&advertised));
    // Monitoring is on no Service that can be exposed.
    let metrics = defaults.one("Service", "starling-hub-metrics")?;
    ensure!(metrics["spec"]["clusterIP"] == "None" && items(&inside, "/ports").len() == 1);
    Ok(())
}
