use starling_model::Action;

use super::*;
use crate::testing::{Hub, TO_PROD, assignment, assignment_in, cluster_in, facts, key, workspace};

mod properties;

fn reason(hub: &Hub, cluster: &str, install: &str) -> String {
    let plan = hub.plan(cluster);
    let entry = plan.entries.iter().find(|entry| entry.install.name == install).expect("an entry");
    match &entry.action {
        Action::Render(_) => "render".to_owned(),
        Action::Keep(reason) => format!("keep: {reason}"),
        Action::Blocked(reason) => format!("{}: {reason}", reason.as_str()),
    }
}

fn one_cluster(documents: &[String]) -> Hub {
    let mut hub = Hub::new();
    hub.add_clusters(1);
    hub.write("a.yaml", &documents.join("\n---\n"));
    let synced = hub.sync();
    assert!(synced.problems.is_empty(), "{:?}", synced.problems);
    hub
}

fn addon_with(name: &str, spec: &str) -> String {
    let head = "apiVersion: starling.dev/v1alpha1\nkind: Addon\nmetadata:\n  namespace: starling-platform";
    format!("{head}\n  name: {name}\nspec:\n{spec}")
}

fn assign(addon: &str, rest: &str) -> String {
    assignment("web", &format!("  version: 1.2.3\n  clusterSelector: {{}}\n{rest}"))
        .replace("name: podinfo", &format!("name: {addon}"))
}

#[test]
fn every_source_renders() {
    let sources = [
        ("helm-http", "helmRepository: {url: 'http://charts.example', chart: podinfo}"),
        ("helm-oci", "helmRepository: {url: 'oci://reg.example/charts', chart: podinfo, version: 1.x, insecure: true}"),
        ("oci-chart", "ociChart: {url: 'oci://reg.example/charts/podinfo', insecure: true}"),
        ("git", "git: {url: 'https://git.example/apps.git', branch: main, path: ./web}"),
        ("git-tag", "git: {url: 'https://git.example/apps.git', path: ./web}"),
        ("oci-kustomization", "ociKustomization: {url: 'oci://reg.example/web', tag: stable}"),
    ];
    for (name, source) in sources {
        let addon = addon_with(
            name,
            &format!("  versions: [{{version: 1.2.3, source: {{{source}}}, values: {{replicas: 1, colour: red}}}}]"),
        );
        let hub = one_cluster(&[addon, assign(name, "  values: {replicas: 2}\n  targetNamespace: apps")]);
        let plan = hub.plan("edge-000");
        let [Entry { action: Action::Render(render), .. }] = plan.entries.as_slice() else {
            panic!("{name}: {plan:?}")
        };
        let documents: Vec<_> = render.objects.iter().map(starling_model::Object::document).collect();
        insta::assert_snapshot!(name, serde_json::to_string_pretty(&documents).expect("documents are written"));
    }
}

#[test]
fn a_workspace_confines_its_addons() {
    let mut hub = one_cluster(&[assignment("web", TO_PROD)]);
    assert_eq!(hub.plan("edge-000").entries[0].install.to_string(), "starling-addons/web");
    let confined = workspace("dev").replace("spec: {}", "spec: {namespace: dev-addons, serviceAccountName: dev}");
    hub.write("base.yaml", &[confined, crate::testing::addon("podinfo")].join("\n---\n"));
    hub.sync();
    let plan = hub.plan("edge-000");
    assert_eq!(plan.entries[0].install.to_string(), "dev-addons/web");
    let Action::Render(render) = &plan.entries[0].action else { panic!("{plan:?}") };
    let account = render.objects[1].document().at(&["spec", "serviceAccountName"]).and_then(|name| name.as_str());
    assert_eq!(account, Some("dev"));
    assert_eq!(plan.tombstones.len(), 1, "the install of the old name goes: {plan:?}");
}

#[test]
fn reasons_are_typed() {
    let ranged = addon_with(
        "ranged",
        "  kubernetes: '>=1.36'\n  versions: [{version: 1.2.3, source: {git: {url: 'https://x', path: ./y}}}]",
    );
    let nested = addon_with(
        "nested",
        "  versions: [{version: 1.2.3, source: {git: {url: 'https://x', path: ./y}}, values: {a: {b: c}}}]",
    );
    let table = [
        (vec![assign("missing", "")], "addon-not-found"),
        (vec![assign("podinfo", "")], "version-not-found"),
        (vec![ranged.clone(), assign("ranged", "")], "kubernetes-out-of-range"),
        (vec![nested, assign("nested", "")], "invalid"),
        (vec![assign("podinfo, namespace: other", "")], "not-permitted"),
        (vec![assignment("web", &format!("{TO_PROD}\n  paused: true"))], "keep: the assignment is paused"),
        (vec![assignment("web", TO_PROD)], "render"),
    ];
    for (documents, expected) in table {
        let hub = one_cluster(&documents);
        assert!(reason(&hub, "edge-000", "web").starts_with(expected), "{expected}: {documents:?}");
    }
    let hub = one_cluster(&[ranged, assign("ranged", "")]);
    let plan = plan(&hub.fleet, hub.id("edge-000"), &Facts::default());
    assert_eq!(plan.entries[0].action, Action::Blocked(BlockedReason::KubernetesUnknown));
}

#[test]
fn nothing_is_put_where_starling_itself_lives() {
    for namespace in OWN_NAMESPACES {
        let hub = one_cluster(&[assignment("web", &format!("{TO_PROD}\n  targetNamespace: {namespace}"))]);
        let said = reason(&hub, "edge-000", "web");
        assert!(said.starts_with("not-permitted: namespace") && said.contains("spec.targetNamespace"), "{said}");
        let addon = "  versions: [{version: 1.2.3, source: {git: {url: 'https://x', path: ./y}}}]\n  targetNamespace: ";
        let hub = one_cluster(&[addon_with("own", &format!("{addon}{namespace}")), assign("own", "")]);
        assert!(reason(&hub, "edge-000", "web").starts_with("not-permitted"), "by the addon's own default");
        let mut hub = one_cluster(&[assignment("web", TO_PROD)]);
        let confined = workspace("dev").replace("spec: {}", &format!("spec: {{namespace: {namespace}}}"));
        hub.write("base.yaml", &[confined, crate::testing::addon("podinfo")].join("\n---\n"));
        hub.sync();
        let plan = hub.plan("edge-000");
        assert!(matches!(plan.entries[0].action, Action::Blocked(BlockedReason::NotPermitted(_))), "{plan:?}");
        assert_eq!((plan.entries[0].install.namespace.as_str(), plan.tombstones.len()), ("starling-addons", 0));
    }
}

#[test]
fn the_older_assignment_has_the_name() {
    let named = |name: &str| assignment(name, &format!("{TO_PROD}\n  instance: shared"));
    let mut hub = one_cluster(&[named("zebra")]);
    hub.write("b.yaml", &named("aardvark"));
    hub.sync();
    let plan = hub.plan("edge-000");
    assert_eq!(plan.entries.len(), 1);
    assert_eq!(plan.entries[0].assignment_name, "dev/zebra");
    let losers = collisions(&hub.fleet, hub.id("edge-000"));
    assert_eq!(losers.len(), 1);
    assert_eq!(losers[0].action, Action::Blocked(BlockedReason::NameCollision("dev/zebra".to_owned())));
}

#[test]
fn assignments_reach_their_workspace_and_the_platform_s_reach_all() {
    let mut hub = one_cluster(&[
        workspace("ops"),
        cluster_in("ops", "far", "env: prod", "{}"),
        assignment("web", TO_PROD),
        assignment_in("starling-platform", "base", TO_PROD),
    ]);
    let names = |hub: &Hub, namespace: &str, name: &str| -> Vec<String> {
        let id = hub.fleet.cluster_named(namespace, name).expect("a cluster").id;
        plan(&hub.fleet, id, &facts()).entries.into_iter().map(|entry| entry.assignment_name).collect()
    };
    assert_eq!(names(&hub, "dev", "edge-000"), ["starling-platform/base", "dev/web"]);
    assert_eq!(names(&hub, "ops", "far"), ["starling-platform/base"]);
    hub.write("c.yaml", &cluster_in("nowhere", "lost", "env: prod", "{}"));
    hub.sync();
    assert_eq!(hub.fleet.problems_of(&key(crate::resources::Kind::ManagedCluster, "nowhere", "lost")).len(), 1);
}

#[test]
fn a_paused_cluster_keeps_and_a_revoked_or_unknown_one_has_an_empty_plan() {
    let mut hub = one_cluster(&[assignment("web", TO_PROD)]);
    let id = hub.id("edge-000");
    hub.write("clusters/edge-000.yaml", &cluster_in("dev", "edge-000", "env: prod", "{paused: true}"));
    hub.sync();
    assert_eq!(reason(&hub, "edge-000", "web"), "keep: the cluster is paused");
    hub.write("clusters/edge-000.yaml", &cluster_in("dev", "edge-000", "env: prod", "{revoked: true}"));
    hub.sync();
    let empty = |plan: Plan| plan.entries.is_empty() && plan.tombstones.is_empty() && plan.detach.is_none();
    assert!(empty(plan(&hub.fleet, id, &facts())));
    assert!(empty(plan(&hub.fleet, ClusterId([9; 16]), &facts())));
}

#[test]
fn a_render_is_shared_by_all_clusters() {
    let mut hub = Hub::new();
    hub.add_clusters(3);
    hub.write("a.yaml", &assignment("web", TO_PROD));
    hub.sync();
    let renders: Vec<_> = hub
        .plans()
        .into_values()
        .filter_map(|plan| match plan.entries.into_iter().next()?.action {
            Action::Render(render) => Some(render),
            Action::Keep(_) | Action::Blocked(_) => None,
        })
        .collect();
    assert_eq!(renders.len(), 3);
    assert!(renders.windows(2).all(|pair| std::sync::Arc::ptr_eq(&pair[0], &pair[1])));
}
