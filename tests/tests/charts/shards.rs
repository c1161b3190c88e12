//! Many hub processes: each has a name and an address of its own, they share an etcd, and nobody else reaches that.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::support::{CASES, Case, ETCD, Objects, arguments, items, text};

const BUNDLED: Case = CASES[6];
const EXTERNAL: Case = CASES[7];
const NODE_PORTS: Case = CASES[8];

#[test]
fn each_process_has_a_name_and_shares_the_store() -> Result<()> {
    for (case, replicas) in [(BUNDLED, 3), (EXTERNAL, 5), (NODE_PORTS, 2)] {
        let objects = case.render(&[])?;
        let hub = objects.one("StatefulSet", "starling-hub")?;
        ensure!(hub["spec"]["replicas"] == replicas && hub["spec"]["podManagementPolicy"] == "Parallel", "{case:?}");
        ensure!(hub["spec"]["updateStrategy"]["rollingUpdate"]["partition"] == 0, "{case:?}");
        ensure!(hub["spec"]["volumeClaimTemplates"].is_null(), "{case:?}: the store is in etcd");
        let volumes = items(hub, "/spec/template/spec/volumes");
        ensure!(volumes.iter().any(|volume| volume["name"] == "state" && !volume["emptyDir"].is_null()), "{case:?}");
        let flags = arguments(hub);
        for flag in ["--store=etcd", "--name=$(POD_NAME)"] {
            ensure!(flags.contains(&flag.to_owned()), "{case:?}: {flags:?}");
        }
        let budget = objects.one("PodDisruptionBudget", "starling-hub")?;
        ensure!(budget["spec"]["maxUnavailable"] == 1, "{case:?}");
        let spreads = items(hub, "/spec/template/spec/topologySpreadConstraints");
        let over_nodes = spreads.iter().filter(|spread| spread["topologyKey"] == "kubernetes.io/hostname").count();
        ensure!(over_nodes == 1, "{case:?}: {spreads:?}");
    }
    Ok(())
}

#[test]
fn a_process_has_time_to_hand_over() -> Result<()> {
    for (case, grace) in [(CASES[0], 30), (BUNDLED, 120), (EXTERNAL, 300)] {
        let objects = case.render(&[])?;
        let workload = objects.workload()?;
        ensure!(workload["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == grace, "{case:?}");
        ensure!(arguments(workload).contains(&format!("--shutdown-seconds={}", grace - 10)), "{case:?}");
    }
    Ok(())
}

#[test]
fn a_single_process_hears_nothing_of_others() -> Result<()> {
    for case in [CASES[0], CASES[1], CASES[2]] {
        let objects = case.render(&[])?;
        let flags = arguments(objects.workload()?);
        let others = ["--store", "--etcd", "--name=", "--own-address", "--routing"];
        ensure!(!flags.iter().any(|flag| others.iter().any(|other| flag.starts_with(other))), "{case:?}: {flags:?}");
        ensure!(objects.find("StatefulSet", ETCD).is_none() && objects.find("Service", "starling-hub-0").is_none());
    }
    Ok(())
}

#[test]
fn agents_are_redirected_where_each_process_has_an_address() -> Result<()> {
    let own = "$(POD_NAME).starling-hub-pods.starling-system.svc";
    for (case, routing, address) in [
        (BUNDLED, "forward", format!("{own}:8443")),
        (EXTERNAL, "redirect", "hub-$(POD_INDEX).hubs.example.com:8443".to_owned()),
        (NODE_PORTS, "redirect", "node.example.org:3044$(POD_INDEX)".to_owned()),
    ] {
        let objects = case.render(&[])?;
        let flags = arguments(objects.workload()?);
        // Whatever is advertised: processes of this cluster may dial the Pod's name, and the certificate says so.
        let expected =
            [format!("--routing={routing}"), format!("--own-address={address}"), format!("--server-name={own}")];
        ensure!(expected.iter().all(|flag| flags.contains(flag)), "{case:?}: {flags:?}");
    }
    let forwards = EXTERNAL.render(&["--set", "shards.routing=forward"])?;
    ensure!(arguments(forwards.workload()?).contains(&"--routing=forward".to_owned()));
    Ok(())
}

#[test]
fn a_service_leads_to_each_process() -> Result<()> {
    ensure!(BUNDLED.render(&[])?.find("Service", "starling-hub-0").is_none());
    let external = EXTERNAL.render(&[])?;
    for ordinal in 0..5 {
        let name = format!("starling-hub-{ordinal}");
        let service = external.one("Service", &name)?;
        ensure!(service["spec"]["type"] == "LoadBalancer" && service["spec"]["externalTrafficPolicy"] == "Local");
        ensure!(service["spec"]["loadBalancerSourceRanges"] == json!(["10.0.0.0/8"]), "{service}");
        ensure!(text(service, "/spec/selector/statefulset.kubernetes.io~1pod-name") == name, "{service}");
        let host = text(service, "/metadata/annotations/external-dns.alpha.kubernetes.io~1hostname");
        ensure!(host == format!("hub-{ordinal}.hubs.example.com"), "{host}");
    }
    ensure!(external.find("Service", "starling-hub-5").is_none());
    let ports = NODE_PORTS.render(&[])?;
    for (ordinal, port) in [(0, 30440), (1, 30441)] {
        let service = ports.one("Service", &format!("starling-hub-{ordinal}"))?;
        ensure!(service["spec"]["ports"][0]["nodePort"] == port, "{service}");
    }
    Ok(())
}

#[test]
fn an_etcd_of_ones_own_is_reached_as_told() -> Result<()> {
    let objects = EXTERNAL.render(&[])?;
    ensure!(objects.workloads().count() == 1, "{:?}", objects.names());
    let hub = objects.workload()?;
    let flags = arguments(hub);
    for flag in [
        "--etcd-endpoints=https://etcd-0.example.org:2379,https://etcd-1.example.org:2379,https://[fd00::12]:12379/",
        "--etcd-prefix=/fleets/demo/",
        "--etcd-ca-file=/etc/starling/etcd/ca.crt",
        "--etcd-cert-file=/etc/starling/etcd/tls.crt",
        "--etcd-key-file=/etc/starling/etcd/tls.key",
        "--etcd-user=starling",
        "--etcd-password-file=/etc/starling/etcd-login/password",
    ] {
        ensure!(flags.contains(&flag.to_owned()), "{flag} in {flags:?}");
    }
    let volumes = items(hub, "/spec/template/spec/volumes");
    for (volume, secret) in [("etcd", "etcd-client"), ("etcd-login", "etcd-login")] {
        let found = volumes.iter().find(|one| one["name"] == volume).with_context(|| format!("volume {volume}"))?;
        ensure!(text(found, "/secret/secretName") == secret, "{found}");
    }
    let policy = objects.one("NetworkPolicy", "starling-hub")?;
    let open = items(policy, "/spec/egress").iter().flat_map(|rule| items(rule, "/ports"));
    let open: BTreeSet<u64> = open.filter_map(|port| port["port"].as_u64()).collect();
    ensure!(open.is_superset(&BTreeSet::from([2379, 12379])), "{open:?}");
    // Without a certificate of its own the hub only checks etcd's.
    let plain = EXTERNAL.render(&["--set", "etcd.tls.clientCertificate=false"])?;
    let flags = arguments(plain.workload()?);
    ensure!(flags.iter().any(|flag| flag.starts_with("--etcd-ca-file")));
    ensure!(!flags.iter().any(|flag| flag.starts_with("--etcd-cert-file") || flag.starts_with("--etcd-key-file")));
    Ok(())
}

#[test]
fn members_of_the_bundled_etcd_know_each_other_and_the_hub_knows_them() -> Result<()> {
    for (case, members, scheme) in [(BUNDLED, 3, "http"), (NODE_PORTS, 1, "https")] {
        let objects = case.render(&[])?;
        let etcd = objects.one("StatefulSet", ETCD)?;
        ensure!(etcd["spec"]["replicas"] == members && etcd["spec"]["podManagementPolicy"] == "Parallel", "{case:?}");
        let all = |port: u16, named: bool| {
            let one = |ordinal: u64| {
                let name = if named { format!("{ETCD}-{ordinal}=") } else { String::new() };
                format!("{name}{scheme}://{ETCD}-{ordinal}.{ETCD}.starling-system.svc:{port}")
            };
            (0..members).map(one).collect::<Vec<_>>().join(",")
        };
        let flags = arguments(etcd);
        ensure!(flags.contains(&format!("--initial-cluster={}", all(2380, true))), "{case:?}: {flags:?}");
        ensure!(flags.iter().any(|flag| flag == "--auto-compaction-mode=revision"), "{case:?}: {flags:?}");
        ensure!(flags.iter().any(|flag| flag == "--client-cert-auth") == (scheme == "https"), "{case:?}: {flags:?}");
        let endpoints = format!("--etcd-endpoints={}", all(2379, false));
        ensure!(arguments(objects.workload()?).contains(&endpoints), "{case:?}: {endpoints}");
        ensure!(etcd["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain", "{case:?}");
        ensure!(objects.one("PodDisruptionBudget", ETCD)?["spec"]["maxUnavailable"] == 1, "{case:?}");
        ensure!(etcd["spec"]["template"]["spec"]["automountServiceAccountToken"] == false, "{case:?}");
    }
    Ok(())
}

#[test]
fn quotas_are_told_in_bytes() -> Result<()> {
    for (set, bytes) in [("2Gi", "2147483648"), ("8Gi", "8589934592"), ("512Mi", "536870912")] {
        let objects = BUNDLED.render(&["--set", &format!("etcd.bundled.quota={set}")])?;
        let flags = arguments(objects.one("StatefulSet", ETCD)?);
        ensure!(flags.contains(&format!("--quota-backend-bytes={bytes}")), "{flags:?}");
    }
    Ok(())
}

#[test]
fn nobody_but_hub_and_members_reaches_the_bundled_etcd() -> Result<()> {
    let objects = BUNDLED.render(&[])?;
    let policy = objects.one("NetworkPolicy", ETCD)?;
    let of = |port: &str| {
        let mut who: Vec<&str> = items(policy, "/spec/ingress")
            .iter()
            .filter(|rule| items(rule, "/ports").iter().any(|open| open["port"] == port))
            .flat_map(|rule| items(rule, "/from"))
            .map(|from| text(from, "/podSelector/matchLabels/app.kubernetes.io~1name"))
            .collect();
        who.sort_unstable();
        who
    };
    ensure!(of("client") == ["starling-hub", ETCD] && of("peer") == [ETCD], "{policy}");
    let unguarded = |rule: &Value| items(rule, "/from").is_empty() && rule["ports"] != json!([{ "port": "metrics" }]);
    ensure!(!items(policy, "/spec/ingress").iter().any(unguarded), "{policy}");
    Ok(())
}

#[test]
fn hubs_reach_each_other_whoever_else_may() -> Result<()> {
    let objects = BUNDLED.render(&[])?;
    let policy = objects.one("NetworkPolicy", "starling-hub")?;
    for (direction, peers) in [("/spec/ingress", "/from"), ("/spec/egress", "/to")] {
        let rules = items(policy, direction).iter().filter(|rule| rule["ports"] == json!([{ "port": "grpc" }]));
        let mut names = rules.flat_map(|rule| items(rule, peers)).map(name_of);
        ensure!(names.any(|name| name == "starling-hub"), "{direction} of {policy}");
    }
    let mut to_etcd = items(policy, "/spec/egress").iter().flat_map(|rule| items(rule, "/to")).map(name_of);
    ensure!(to_etcd.any(|name| name == ETCD), "{policy}");
    // With everybody let in there is nobody to name.
    let open = BUNDLED.render(&["--set", "networkPolicy.from=null"])?;
    ensure!(open_to_all(&open)?, "{:?}", open.names());
    Ok(())
}

fn name_of(peer: &Value) -> &str {
    text(peer, "/podSelector/matchLabels/app.kubernetes.io~1name")
}

fn open_to_all(objects: &Objects) -> Result<bool> {
    let policy = objects.one("NetworkPolicy", "starling-hub")?;
    Ok(items(policy, "/spec/ingress")
        .iter()
        .any(|rule| rule["ports"] == json!([{ "port": "grpc" }]) && rule["from"].is_null()))
}
