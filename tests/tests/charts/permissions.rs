//! What the ServiceAccounts of the charts may do, asked of the real API server: what they need, and nothing that would hurt.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::bed::Turn;
use crate::support::{CASES, NAMESPACE, text};

/// `answer verb resource.group[/subresource] [namespace/name]`; `*` is every namespace, a missing name is every object.
const HUB: &str = "
yes list workspaces.starling.dev *
yes watch managedclusters.starling.dev *
yes patch addonassignments.starling.dev retail/podinfo
yes patch tombstones.starling.dev retail/x
yes patch addons.starling.dev/status retail/x
yes create managedclusters.starling.dev retail
yes delete managedclusters.starling.dev retail/edge-1
yes get namespaces retail
yes create namespaces *
yes get customresourcedefinitions.apiextensions.k8s.io /workspaces.starling.dev
yes create tokenreviews.authentication.k8s.io *
yes create subjectaccessreviews.authorization.k8s.io *
yes get secrets starling-system/starling-hub-keys
yes update secrets starling-system/starling-hub-keys
yes create secrets starling-system
yes patch configmaps starling-system/starling-hub
yes watch configmaps starling-system/starling-hub
yes create configmaps starling-system/starling-hub

no get secrets starling-system/other
no list secrets starling-system
no delete secrets starling-system/starling-hub-keys
no get secrets kube-system/other
no create secrets kube-system
no list configmaps starling-system
no create configmaps starling-system
no create configmaps starling-system/other
no get configmaps starling-system/starling-agent-inventory
no list namespaces *
no delete namespaces retail
no patch namespaces retail
no delete workspaces.starling.dev *
no delete addonassignments.starling.dev retail/podinfo
no create addonassignments.starling.dev retail
no create tombstones.starling.dev retail
no deletecollection managedclusters.starling.dev retail
no delete customresourcedefinitions.apiextensions.k8s.io /workspaces.starling.dev
no get customresourcedefinitions.apiextensions.k8s.io /others.example.org
no create pods starling-system
no create pods/exec starling-system/starling-hub-0
no impersonate users *
no impersonate serviceaccounts starling-system/default
no create serviceaccounts/token kube-system/default
no create rolebindings.rbac.authorization.k8s.io starling-system
no escalate clusterroles.rbac.authorization.k8s.io *
no bind clusterroles.rbac.authorization.k8s.io *
no approve addonassignments.starling.dev retail/podinfo
no get nodes *
";

const AGENT: &str = "
yes list helmreleases.helm.toolkit.fluxcd.io *
yes watch kustomizations.kustomize.toolkit.fluxcd.io *
yes patch gitrepositories.source.toolkit.fluxcd.io team-a/app
yes create helmreleases.helm.toolkit.fluxcd.io starling-addons
yes delete ocirepositories.source.toolkit.fluxcd.io starling-addons/podinfo
yes get namespaces kube-system
yes create namespaces *
yes list nodes *
yes watch customresourcedefinitions.apiextensions.k8s.io *
yes list configmaps starling-system
yes delete configmaps starling-system/x
yes create leases.coordination.k8s.io starling-system
yes patch leases.coordination.k8s.io starling-system/starling-agent
yes create secrets starling-system
yes get secrets starling-system/starling-agent-identity
yes patch secrets starling-system/starling-agent-identity

no get secrets starling-system/starling-hub-keys
no get secrets starling-system/starling-agent-join
no patch leases.coordination.k8s.io starling-system/other
no list leases.coordination.k8s.io kube-system
no list secrets starling-system
no get secrets team-a/x
no list configmaps team-a
no create configmaps team-a
no delete namespaces starling-addons
no delete buckets.source.toolkit.fluxcd.io team-a/x
no create pods starling-system
no create pods/exec team-a/x
no create serviceaccounts/token kube-system/default
no create clusterrolebindings.rbac.authorization.k8s.io *
no impersonate users *
no list workspaces.starling.dev *
no delete statefulsets.apps starling-system/starling-hub
no create tokenreviews.authentication.k8s.io *
";

/// Anybody whom the API server knows.
const ANYBODY: &str = "
yes get configmaps starling-system/starling-hub
no list configmaps starling-system
no get configmaps starling-system/other
no patch configmaps starling-system/starling-hub
no get secrets starling-system/starling-hub-keys
no list workspaces.starling.dev *
no list managedclusters.starling.dev retail
";

#[test]
fn service_accounts_may_do_what_they_need_and_nothing_else() -> Result<()> {
    let turn = Turn::take()?;
    turn.bed.release("install", CASES[0], &[])?;
    turn.bed.release("install", CASES[3], &[])?;
    publishes(&turn)?;
    answers(&turn, "system:serviceaccount:starling-system:starling-hub", HUB)?;
    answers(&turn, "system:serviceaccount:starling-system:starling-agent", AGENT)?;
    answers(&turn, "somebody", ANYBODY)?;
    // As a person would ask.
    let user = "--as=system:serviceaccount:starling-system:starling-hub";
    let said = turn.bed.kubectl().run(&["auth", "can-i", "list", "managedclusters.starling.dev", "-A", user])?;
    ensure!(said.trim() == "yes", "{said}");
    let said = turn.bed.kubectl().run(&["auth", "can-i", "get", "secrets", "-n", "kube-system", user]);
    ensure!(said.is_err_and(|error| error.to_string().contains("no")), "secrets elsewhere");
    Ok(())
}

#[test]
fn the_hub_is_found_by_nobody_where_that_was_asked_for() -> Result<()> {
    let turn = Turn::take()?;
    turn.bed.release("install", CASES[0], &["--set", "discovery.authenticated=false"])?;
    answers(&turn, "somebody", "no get configmaps starling-system/starling-hub")
}

/// The hub's ConfigMap is created and watched by the hub's account, bound to its name.
fn publishes(turn: &Turn) -> Result<()> {
    let user = "--as=system:serviceaccount:starling-system:starling-hub";
    let config_map =
        |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: {NAMESPACE}\n");
    let apply = ["apply", "--server-side", "-f", "-", user];
    turn.bed.kubectl().run_with_input(&apply, &config_map("starling-hub")).context("publish the hub's address")?;
    let by_name =
        ["get", "configmap", "-n", NAMESPACE, "--field-selector=metadata.name=starling-hub", "-o", "name", user];
    ensure!(turn.bed.kubectl().run(&by_name)?.trim() == "configmap/starling-hub");
    let refusal = turn.bed.kubectl().run_with_input(&apply, &config_map("other"));
    ensure!(refusal.is_err_and(|error| error.to_string().contains("forbidden")), "another ConfigMap");
    Ok(())
}

/// Asks every line of a table, in one command.
fn answers(turn: &Turn, user: &str, table: &str) -> Result<()> {
    let lines: Vec<&str> = table.lines().filter(|line| !line.is_empty()).collect();
    let reviews: Vec<Value> = lines.iter().map(|line| review(user, line)).collect::<Result<_>>()?;
    let asked: String = reviews.iter().map(|review| format!("---\n{review}\n")).collect();
    let printed = turn.bed.kubectl().run_with_input(&["create", "-o", "json", "-f", "-"], &asked)?;
    let mut answers: Vec<Value> = serde_json::Deserializer::from_str(&printed).into_iter().collect::<Result<_, _>>()?;
    if let [list] = answers.as_slice()
        && let Some(items) = list["items"].as_array()
    {
        answers = items.clone();
    }
    ensure!(answers.len() == lines.len(), "{} answers to {} questions", answers.len(), lines.len());
    let is_wrong = |(line, answer): &(&&str, &Value)| (answer["status"]["allowed"] == true) != line.starts_with("yes");
    let wrong: Vec<&str> = lines.iter().zip(&answers).filter(is_wrong).map(|(line, _)| *line).collect();
    ensure!(wrong.is_empty(), "{user}: answered otherwise: {wrong:#?}");
    Ok(())
}

/// The review that a line of a table asks for.
fn review(user: &str, line: &str) -> Result<Value> {
    let mut words = line.split_whitespace().skip(1);
    let verb = words.next().context("a line has a verb")?;
    let resource = words.next().context("a line has a resource")?;
    let place = words.next().unwrap_or("*");
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let (namespace, name) = place.split_once('/').unwrap_or((place, ""));
    let namespace = if namespace == "*" { "" } else { namespace };
    let mut groups = vec!["system:authenticated".to_owned()];
    if user.starts_with("system:serviceaccount:") {
        groups.extend(["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{NAMESPACE}")]);
    }
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": user,
            "groups": groups,
            "resourceAttributes": {
                "verb": verb, "group": group, "resource": resource, "subresource": subresource,
                "namespace": namespace, "name": name,
            },
        },
    });
    ensure!(!text(&review, "/spec/resourceAttributes/resource").is_empty(), "{line}");
    Ok(review)
}
