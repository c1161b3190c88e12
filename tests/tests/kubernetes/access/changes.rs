//! What each of the people may do.

use anyhow::{Result, ensure};
use starling_proto::v1;
use tonic::{Code, Status};

use super::client::Person;
use super::world::World;

/// A change, or the dry run of one; none of them changes anything that another looks at.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// A token for a cluster.
    Adopt(&'static str, &'static str),
    /// Reconcile what is of an assignment on the clusters of a workspace and names, dry.
    Command(&'static str, &'static [&'static str], &'static str),
    /// Count what deleting an assignment would take away.
    Delete(&'static str, &'static str),
    /// Detach or forget a cluster that is not there.
    Detach(&'static str, bool),
    /// A join token of a workspace, with labels or none.
    JoinToken(&'static str, &'static str),
    JoinTokens(&'static str),
    Approve,
    Recover,
    Apply,
}

use Change::{Adopt, Apply, Approve, Command, Delete, Detach, JoinToken, JoinTokens, Recover};

/// What becomes of it.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Done,
    /// Permitted, and refused for another reason.
    Refused(Code),
    Denied(&'static str),
}

use Outcome::{Denied, Done, Refused};

/// Who does what, and what becomes of it.
const TABLE: &[(&str, Change, Outcome)] = &[
    ("platform", Adopt("bank", "b-1"), Done),
    ("platform", Command("", &[], ""), Done),
    ("platform", Delete("starling-platform", "web"), Done),
    ("platform", Detach("bank", false), Refused(Code::NotFound)),
    ("platform", Detach("bank", true), Refused(Code::NotFound)),
    ("platform", JoinToken("bank", "tier"), Done),
    ("platform", JoinTokens(""), Done),
    ("platform", Approve, Refused(Code::NotFound)),
    ("platform", Apply, Refused(Code::InvalidArgument)),
    ("retailer", Adopt("retail", "r-1"), Done),
    (
        "retailer",
        Adopt("bank", "b-1"),
        Denied("may not create managedclusters/join b-1 in namespace bank; the ClusterRole starling-workspace-admin"),
    ),
    ("retailer", Command("", &[], ""), Done),
    ("retailer", Delete("retail", "shop"), Done),
    (
        "retailer",
        Delete("starling-platform", "web"),
        Denied("may not delete addonassignments web in namespace starling-platform"),
    ),
    ("retailer", Delete("bank", "nothing"), Denied("may not delete addonassignments nothing in namespace bank")),
    ("retailer", Detach("retail", false), Refused(Code::NotFound)),
    ("retailer", Detach("bank", false), Denied("may not delete managedclusters gone in namespace bank")),
    ("retailer", JoinToken("retail", ""), Done),
    (
        "retailer",
        JoinToken("retail", "tier"),
        Denied("may not update managedclusters/labels in namespace retail; the ClusterRole starling-cluster-labeller"),
    ),
    ("retailer", JoinToken("bank", ""), Denied("may not create jointokens in namespace bank")),
    ("retailer", JoinTokens(""), Done),
    ("retailer", JoinTokens("bank"), Denied("may not list jointokens in namespace bank")),
    ("retailer", Recover, Denied("may not recover hubs access; the ClusterRole starling-platform-admin")),
    ("operator", Command("bank", &["b-1"], ""), Done),
    ("operator", Command("bank", &["b-2"], ""), Denied("may not get managedclusters/objects b-2 in namespace bank")),
    ("operator", Adopt("bank", "b-1"), Denied("may not create managedclusters/join b-1 in namespace bank")),
    ("operator", Detach("bank", false), Denied("may not delete managedclusters gone in namespace bank")),
    ("developer", Command("", &[], "starling-platform/web"), Denied("may not update managedclusters/objects b-")),
    (
        "developer",
        Delete("starling-platform", "web"),
        Denied("may not delete addonassignments web in namespace starling-platform"),
    ),
    (
        "shopkeeper",
        Command("", &[], ""),
        Denied("may not update managedclusters/objects r-1 in namespace retail; the ClusterRole starling-oncall"),
    ),
    ("oncall", Command("", &[], ""), Done),
    ("oncall", Delete("retail", "shop"), Denied("may not delete addonassignments shop in namespace retail")),
    ("oncall", Detach("bank", true), Denied("may not forget managedclusters gone in namespace bank")),
    ("oncall", JoinTokens(""), Denied("may not list jointokens in all namespaces")),
    ("oncall", Approve, Refused(Code::NotFound)),
    ("oncall", Recover, Denied("may not recover hubs access")),
    ("stranger", Adopt("retail", "r-1"), Denied("may not create managedclusters/join r-1 in namespace retail")),
    ("stranger", Command("", &[], ""), Denied("may not get managedclusters/objects in all namespaces")),
    ("stranger", JoinTokens(""), Denied("may not list jointokens in all namespaces")),
];

/// Everybody does what is theirs, and is told what is missing for the rest.
pub(super) fn everybody_does_what_is_theirs(world: &World) -> Result<()> {
    let mut wrong = Vec::new();
    for (name, change, expected) in TABLE {
        let answer = make(&world.person(name)?, *change);
        let is_right = match (&answer, expected) {
            (Ok(()), Done) => true,
            (Err(status), Refused(code)) => status.code() == *code,
            (Err(status), Denied(text)) => status.code() == Code::PermissionDenied && status.message().contains(text),
            (Ok(()), Refused(_) | Denied(_)) | (Err(_), Done) => false,
        };
        if !is_right {
            wrong.push(format!("{name} makes {change:?}: expected {expected:?}, got {answer:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Labels and identities are guarded by the API server itself, whoever edits; variables are a workspace's own.
pub(super) fn labels_are_not_a_workspaces_to_change(world: &World) -> Result<()> {
    let retailer = world.kubectl("retailer")?;
    let patch = |what: &str| retailer.run(&["-n", "retail", "patch", "mcl", "r-1", "--type", "merge", "-p", what]);
    patch(r#"{"spec": {"variables": {"region": "north"}}}"#)?;
    patch(r#"{"spec": {"paused": false}}"#)?;
    let create = |name: &str, metadata: &str, spec: &str| {
        let document = format!(
            "apiVersion: starling.dev/v1alpha1\nkind: ManagedCluster\n\
             metadata: {{name: {name}, namespace: retail{metadata}}}\nspec: {{{spec}}}\n"
        );
        retailer.run_with_input(&["create", "--dry-run=server", "-f", "-"], &document)
    };
    create("r-8", "", "")?;
    // What Flux notes about where an object comes from.
    create("r-8", ", labels: {kustomize.toolkit.fluxcd.io/name: fleet}", "")?;
    let labels = "may not change the labels of a ManagedCluster in namespace retail";
    for (refused, text) in [
        (patch(r#"{"metadata": {"labels": {"tier": "core"}}}"#), labels),
        (patch(r#"{"metadata": {"labels": {"more": "x"}}}"#), labels),
        (patch(r#"{"metadata": {"labels": {"tier": null}}}"#), labels),
        (create("r-9", ", labels: {tier: core}", ""), labels),
        (
            create("r-9", "", "id: 6ba7b810-9dad-41d1-80b4-00c04fd430c8"),
            "may not give a ManagedCluster in namespace retail an identity",
        ),
    ] {
        let Err(error) = refused else { anyhow::bail!("{text}: it was not refused") };
        ensure!(error.to_string().contains(text), "{error}");
    }
    let platform = world.kubectl("platform")?;
    platform.run(&["-n", "retail", "label", "mcl", "r-1", "more=x"])?;
    platform.run(&["-n", "retail", "label", "mcl", "r-1", "more-"])?;
    let other = retailer.run(&["-n", "bank", "get", "mcl"]);
    ensure!(other.is_err(), "{other:?}");
    Ok(())
}

fn make(person: &Person, change: Change) -> Result<(), Status> {
    match change {
        Adopt(workspace, name) => {
            let request =
                v1::AdoptRequest { workspace: workspace.into(), name: name.into(), ..v1::AdoptRequest::default() };
            person.call(request, |mut client, it| async move { client.adopt(it).await }).map(drop)
        }
        Command(workspace, names, assignment) => {
            let selector = v1::ClusterSelector {
                workspace: workspace.into(),
                names: names.iter().map(|&name| name.to_owned()).collect(),
                labels: String::new(),
            };
            let objects = v1::ListObjectsRequest {
                selector: Some(selector),
                assignment: assignment.into(),
                ..v1::ListObjectsRequest::default()
            };
            let request = v1::RunCommandRequest {
                verb: "reconcile".into(),
                objects: Some(objects),
                dry_run: true,
                ..v1::RunCommandRequest::default()
            };
            let told = person.read(request, |mut client, it| async move { client.run_command(it).await })?;
            assert!(told.first().is_some_and(|told| told.selected > 0), "{told:?}");
            Ok(())
        }
        Delete(namespace, name) => {
            let (kind, namespace, name) = ("assignment".to_owned(), namespace.to_owned(), name.to_owned());
            let request = v1::DeleteRequest { kind, namespace, name, approved_count: None };
            person.call(request, |mut client, it| async move { client.delete(it).await }).map(drop)
        }
        Detach(workspace, forget) => {
            let (workspace, name) = (workspace.to_owned(), "gone".to_owned());
            let request = v1::DetachRequest { workspace, name, forget, ..v1::DetachRequest::default() };
            person.call(request, |mut client, it| async move { client.detach(it).await }).map(drop)
        }
        JoinToken(workspace, label) => {
            let mut request =
                v1::CreateJoinTokenRequest { workspace: workspace.into(), ..v1::CreateJoinTokenRequest::default() };
            if !label.is_empty() {
                request.labels.insert(label.to_owned(), "edge".to_owned());
            }
            person.call(request, |mut client, it| async move { client.create_join_token(it).await }).map(drop)
        }
        JoinTokens(workspace) => {
            let request = v1::ListJoinTokensRequest { workspace: workspace.into() };
            let listed = person.call(request, |mut client, it| async move { client.list_join_tokens(it).await })?;
            assert!(!listed.join_tokens.is_empty(), "those that were made before are listed");
            Ok(())
        }
        Approve => {
            let request = v1::ApproveRequest { proposal: vec![7; 16], count: 1 };
            person.call(request, |mut client, it| async move { client.approve(it).await }).map(drop)
        }
        Recover => {
            let request = v1::RecoverStoreRequest { fleet: "access".into() };
            person.call(request, |mut client, it| async move { client.recover_store(it).await }).map(drop)
        }
        Apply => {
            let request = v1::ApplyRequest { documents: String::new(), dry_run: true };
            person.call(request, |mut client, it| async move { client.apply(it).await }).map(drop)
        }
    }
}
