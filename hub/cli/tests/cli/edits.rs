//! Editing a hub's resources in its API server, as the person who runs the program.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::support::{Hub, api, fake};

const GROUP: &str = "/apis/starling.dev/v1alpha1";

fn path(namespace: &str, plural: &str, name: &str) -> String {
    format!("{GROUP}/namespaces/{namespace}/{plural}/{name}")
}

fn document(kind: &str, namespace: &str, name: &str, spec: &str) -> String {
    let namespace = if namespace.is_empty() { String::new() } else { format!(", namespace: {namespace}") };
    format!(
        "apiVersion: starling.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}{namespace}}}\nspec: {spec}\n---\n"
    )
}

fn with_namespace(hub: &Hub, namespace: &str) {
    hub.api.put(&format!("/api/v1/namespaces/{namespace}"), json!({"metadata": {"name": namespace}}));
}

fn flux_labels() -> Value {
    json!({"kustomize.toolkit.fluxcd.io/name": "fleet", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"})
}

fn with_flux(hub: &Hub) {
    let spec = json!({"path": "./clusters", "sourceRef": {"kind": "GitRepository", "name": "fleet"}});
    let kustomization = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations/fleet";
    hub.api.put(kustomization, json!({"metadata": {"name": "fleet"}, "spec": spec}));
    let source = "/apis/source.toolkit.fluxcd.io/v1/namespaces/flux-system/gitrepositories/fleet";
    let status = json!({"artifact": {"revision": "main@sha1:0123abcd"}});
    hub.api.put(
        source,
        json!({"metadata": {"name": "fleet"}, "spec": {"url": "https://git.example/fleet"}, "status": status}),
    );
}

#[test]
fn files_are_applied_as_the_person_in_the_order_of_their_references() {
    let hub = Hub::start_on_kubernetes();
    let cluster = document("ManagedCluster", "retail", "edge-1", "{}");
    let workspace = document("Workspace", "", "retail", "{}");
    hub.write("fleet.yaml", &format!("{cluster}{workspace}"));
    hub.run("apply -f fleet.yaml --dry-run").fails(4, "has no namespace retail to be in");
    let ran = hub.run("apply -f fleet.yaml");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout, "workspace/retail created\nmanagedcluster/retail/edge-1 created\n");
    assert!(hub.api.changed().contains("jane PATCH "), "{}", hub.api.changed());
    assert_eq!(hub.fake.changed(), "", "the hub is asked for nothing");
    let again = hub.json("apply -f fleet.yaml -o json");
    assert_eq!(again["kind"], "AppliedList");
    assert!(again["items"].as_array().unwrap().iter().all(|item| item["outcome"] == "unchanged"), "{again}");
    hub.write("fleet.yaml", &document("Workspace", "", "retail", "{description: Shops}"));
    let dry = hub.run("apply -f fleet.yaml --dry-run");
    assert_eq!(dry.stdout, "workspace/retail configured (dry run)\n");
    let stored = hub.api.object(&format!("{GROUP}/workspaces/retail")).unwrap();
    assert_eq!(stored["spec"], json!({}), "a dry run keeps nothing");
    assert_eq!(hub.run("apply -f fleet.yaml").stdout, "workspace/retail configured\n");
}

#[test]
fn what_the_api_server_refuses_is_told_and_keeps_nothing_else_back() {
    let hub = Hub::start_on_kubernetes();
    with_namespace(&hub, "p");
    let all = document("Addon", "p", "a", "{broken: 1}")
        + &document("Addon", "p", "b", "{title: B}")
        + &document("Addon", "nowhere", "c", "{}");
    hub.write("all.yaml", &all);
    let ran = hub.run("apply -f all.yaml");
    ran.fails(2, "2 of 3 resources and files were not applied");
    assert_eq!(ran.stdout, "addon/p/b created\n");
    assert!(ran.stderr.contains("all.yaml: Addon.starling.dev \"a\" is invalid"), "{}", ran.stderr);
    assert!(ran.stderr.contains("apply a Workspace nowhere first"), "{}", ran.stderr);
    hub.write("other.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n");
    hub.run("apply -f other.yaml").fails(2, "no resource of Starling");
    hub.api.forbid("PATCH");
    hub.write("one.yaml", &document("Addon", "p", "b", "{title: C}"));
    let denied = hub.run("apply -f one.yaml");
    denied.fails(1, "jane may not patch addons b in namespace p");
    assert!(denied.stderr.contains("ClusterRole starling-workspace-admin"), "{}", denied.stderr);
    hub.api.forbid_path(&path("p", "addons", "b"));
    let blind = hub.run("apply -f one.yaml");
    blind.fails(1, "jane may not get addons b in namespace p");
    assert!(blind.stderr.contains("ClusterRole starling-workspace-admin"), "{}", blind.stderr);
}

#[test]
fn fields_of_others_are_taken_over_only_when_that_is_said() {
    let hub = Hub::start_on_kubernetes();
    with_namespace(&hub, "p");
    let addon = json!({"metadata": {"name": "a", "annotations": {"managed-by": "kubectl"}}, "spec": {"title": "A"}});
    hub.api.put(&path("p", "addons", "a"), addon);
    hub.write("a.yaml", &document("Addon", "p", "a", "{title: B}"));
    let conflict = hub.run("apply -f a.yaml");
    conflict.fails(1, ".spec.title (by kubectl-edit)");
    assert!(conflict.stderr.contains("--force-conflicts"), "{}", conflict.stderr);
    assert_eq!(hub.run("apply -f a.yaml --force-conflicts").stdout, "addon/p/a configured\n");
}

#[test]
fn a_deletion_is_counted_by_the_hub_and_done_by_the_person() {
    let hub = Hub::start_on_kubernetes();
    let object = path("payments", "addonassignments", "podinfo");
    hub.api.put(&object, json!({"metadata": {"name": "podinfo", "namespace": "payments"}, "spec": {}}));
    hub.run("delete assignment podinfo").fails(3, "--approve 12");
    assert!(hub.api.object(&object).is_some());
    let ran = hub.run("delete assignment podinfo --approve 12");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "assignment payments/podinfo deleted\n"), "{}", ran.stderr);
    assert!(hub.fake.changed().contains("approved_count: Some(12)"), "the hub is told that it is meant");
    assert_eq!(hub.api.object(&object), None);
    let last = hub.api.changed();
    assert!(last.lines().last().unwrap().contains("\"preconditions\":{\"uid\":"), "{last}");
}

#[test]
fn what_may_not_be_deleted_is_known_before_the_hub_is_told() {
    let hub = Hub::start_on_kubernetes();
    let object = path("payments", "addonassignments", "podinfo");
    hub.api.put(&object, json!({"metadata": {"name": "podinfo", "namespace": "payments"}, "spec": {}}));
    hub.api.forbid("DELETE");
    hub.run("delete assignment podinfo --approve 12")
        .fails(1, "jane may not delete addonassignments podinfo in namespace payments");
    assert_eq!(hub.fake.changed(), "");
}

#[test]
fn what_the_hub_never_accepted_is_deleted_all_the_same() {
    let hub = Hub::start_on_kubernetes();
    let object = path("p", "addons", "wrong");
    hub.api.put(&object, json!({"metadata": {"name": "wrong", "namespace": "p"}, "spec": {}}));
    let ran = hub.run("delete addon p/wrong");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "addon p/wrong deleted\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("the hub knows nothing of it"), "{}", ran.stderr);
    assert_eq!(hub.api.object(&object), None);
    hub.run("delete addon p/absent").fails(4, "there is no Addon absent");
}

#[test]
fn what_flux_applies_is_changed_where_flux_reads_it() {
    let hub = Hub::start_on_kubernetes();
    with_flux(&hub);
    with_namespace(&hub, "payments");
    let object = path("payments", "addonassignments", "podinfo");
    let live = |annotations: Value| json!({"metadata": {"name": "podinfo", "labels": flux_labels(), "annotations": annotations}, "spec": {}});
    hub.api.put(&object, live(json!({})));
    let words = "assignment payments/podinfo is applied by Flux: Kustomization flux-system/fleet from \
                 https://git.example/fleet at main@sha1:0123abcd, path ./clusters";
    hub.run("delete assignment podinfo --approve 12").fails(1, words);
    hub.write("a.yaml", &document("AddonAssignment", "payments", "podinfo", "{version: '2'}"));
    hub.run("apply -f a.yaml --force-conflicts").fails(1, words);
    assert_eq!((hub.fake.changed(), hub.api.changed()), (String::new(), String::new()));
    let cluster = json!({"metadata": {"name": "edge-2", "labels": flux_labels()}, "spec": {}});
    hub.api.put(&path("retail", "managedclusters", "edge-2"), cluster);
    hub.run("detach cluster edge-2").fails(1, "cluster retail/edge-2 is applied by Flux");
    hub.api.put(&object, live(json!({"kustomize.toolkit.fluxcd.io/reconcile": "disabled"})));
    assert_eq!(hub.run("apply -f a.yaml").stdout, "addonassignment/payments/podinfo configured\n");
}

#[test]
fn a_cluster_is_adopted_as_the_person_and_its_token_is_the_hubs() {
    let hub = Hub::start_on_kubernetes();
    let object = path("retail", "managedclusters", "edge-9");
    hub.run("adopt cluster edge-9 -w retail").fails(4, "apply a Workspace retail first");
    with_namespace(&hub, "retail");
    let ran = hub.run("adopt cluster edge-9 -w retail --label env=prod");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("is adopted"), "{}", ran.stderr);
    assert_eq!(hub.api.object(&object).unwrap()["metadata"]["labels"], json!({"env": "prod"}));
    assert!(hub.fake.changed().contains("name: \"edge-9\""));
    let again = hub.run("adopt cluster edge-9 -w retail");
    assert!(again.stderr.contains("was adopted before"), "{}", again.stderr);
    hub.run("adopt cluster edge-9 -w retail --label env=test").fails(1, "exists with other labels");
}

#[test]
fn an_administrators_context_edits_through_a_kubeconfig_of_the_same_hub() {
    let hub = Hub::start();
    hub.fake.on_kubernetes.store(true, Ordering::Relaxed);
    with_namespace(&hub, "p");
    hub.write("a.yaml", &document("Addon", "p", "a", "{}"));
    hub.run("apply -f a.yaml").fails(2, "this hub's resources are edited in its own cluster: there is no kubeconfig");
    let named = "--kubeconfig kubeconfig --context demo";
    let ran = hub.run(&format!("apply -f a.yaml {named}"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let map = "/api/v1/namespaces/starling-system/configmaps/starling-hub";
    hub.api.put(map, json!({"data": {"address": "x:1", "trust.pem": "another", "fleet": "other"}}));
    hub.run(&format!("apply -f a.yaml {named}")).fails(2, "leads to another hub (fleet \"other\")");
}

#[test]
fn an_installation_goes_before_its_cluster_does() {
    let hub = Hub::start_on_kubernetes();
    hub.run("detach cluster edge-2 --delete").fails(3, &format!("approve the count: --approve {}", fake::INSTALLS));
    hub.run("detach cluster edge-2 --delete --approve 3").fails(3, "12 installs would go, not 3");
    hub.run("detach cluster edge-2 --delete --forget").fails(2, "cannot be used with");
    assert_eq!(hub.fake.changed(), "");
    let ran = hub.run("detach cluster edge-2 --delete --approve 12 --wait");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("is being emptied: 12 installs left"), "{}", ran.stdout);
    assert!(ran.stderr.contains("3 installs left"), "{}", ran.stderr);
    assert!(ran.stdout.contains("has left the fleet; what Starling installed there is removed"), "{}", ran.stdout);
    assert!(!ran.stderr.contains(api::USER_TOKEN));
}
