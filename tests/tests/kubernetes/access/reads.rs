//! What each of the people sees.

use anyhow::{Result, ensure};
use starling_proto::v1;
use tonic::{Code, Status};

use super::client::Person;
use super::world::World;

/// What an answer holds, sorted, or what the refusal must say.
#[derive(Clone, Copy, Debug)]
enum Seen {
    These(&'static [&'static str]),
    Denied(&'static str),
}

use Seen::{Denied, These};

/// A question: clusters, addons, assignments, installs or objects; of a workspace; of clusters of names; of an assignment.
#[derive(Clone, Copy, Debug)]
enum Question {
    Clusters(&'static str, &'static [&'static str]),
    Addons,
    Assignments(&'static str),
    Installs(&'static str, &'static [&'static str], &'static str),
    Objects(&'static str, &'static [&'static str], &'static str),
    Labelled(&'static str),
    Proposals,
}

use Question::{Addons, Assignments, Clusters, Installs, Labelled, Objects, Proposals};

const EVERYTHING: &[&str] =
    &["b-1 starling-platform/web", "b-2 starling-platform/web", "r-1 retail/shop", "r-1 starling-platform/web"];
const RETAIL: &[&str] = &["r-1 retail/shop", "r-1 starling-platform/web"];
const WEB: &[&str] = &["b-1 starling-platform/web", "b-2 starling-platform/web", "r-1 starling-platform/web"];
const B_1: &[&str] = &["b-1 starling-platform/web"];

/// Who asks what, and gets what.
const TABLE: &[(&str, Question, Seen)] = &[
    ("platform", Clusters("", &[]), These(&["bank/b-1", "bank/b-2", "retail/r-1"])),
    ("platform", Clusters("", &["b-2"]), These(&["bank/b-2"])),
    ("platform", Addons, These(&["starling-platform/web 2"])),
    ("platform", Assignments(""), These(&["retail/shop", "starling-platform/web"])),
    ("platform", Installs("", &[], ""), These(EVERYTHING)),
    ("platform", Objects("", &[], "starling-platform/web"), These(WEB)),
    ("platform", Labelled("tier=core"), These(B_1_AND_2)),
    ("platform", Proposals, These(&[])),
    // A workspace's administrator: the workspace, and the catalogue.
    ("retailer", Clusters("", &[]), These(&["retail/r-1"])),
    ("retailer", Clusters("retail", &[]), These(&["retail/r-1"])),
    ("retailer", Clusters("", &["b-1"]), These(&[])),
    (
        "retailer",
        Clusters("bank", &[]),
        Denied("retailer may not list managedclusters in namespace bank; the ClusterRole starling-viewer"),
    ),
    ("retailer", Clusters("nowhere", &[]), Denied("may not list managedclusters in namespace nowhere")),
    ("retailer", Addons, These(&["starling-platform/web 1"])),
    ("retailer", Assignments(""), These(&["retail/shop"])),
    (
        "retailer",
        Assignments("starling-platform"),
        Denied("may not list addonassignments in namespace starling-platform"),
    ),
    ("retailer", Installs("", &[], ""), These(RETAIL)),
    ("retailer", Installs("", &[], "starling-platform/web"), These(&["r-1 starling-platform/web"])),
    ("retailer", Installs("bank", &[], ""), Denied("may not get managedclusters/objects in namespace bank")),
    ("retailer", Objects("", &[], "retail/shop"), These(&["r-1 retail/shop"])),
    ("retailer", Labelled("tier=edge"), These(RETAIL)),
    ("retailer", Labelled("tier=core"), These(&[])),
    // The administrator of one cluster, who has to name it.
    ("operator", Clusters("bank", &["b-1"]), These(&["bank/b-1"])),
    ("operator", Clusters("", &["b-1"]), These(&["bank/b-1"])),
    ("operator", Clusters("bank", &["b-1", "b-2"]), These(&["bank/b-1"])),
    ("operator", Clusters("bank", &["b-2"]), Denied("may not get managedclusters b-2 in namespace bank")),
    ("operator", Clusters("bank", &["b-9"]), Denied("may not get managedclusters b-9 in namespace bank")),
    ("operator", Clusters("", &[]), Denied("may not list managedclusters in all namespaces")),
    ("operator", Installs("bank", &["b-1"], ""), These(B_1)),
    ("operator", Installs("bank", &["b-2"], ""), Denied("may not get managedclusters/objects b-2 in namespace bank")),
    ("operator", Objects("", &["b-1"], "starling-platform/web"), These(B_1)),
    ("operator", Assignments(""), Denied("may not list addonassignments in all namespaces")),
    // The developer of one assignment: its installs wherever they run, and nothing of the clusters but their names.
    ("developer", Installs("", &[], "starling-platform/web"), These(WEB)),
    ("developer", Objects("", &[], "starling-platform/web"), These(WEB)),
    ("developer", Objects("", &["b-1"], "starling-platform/web"), These(B_1)),
    (
        "developer",
        Installs("", &[], "retail/shop"),
        Denied("may not get addonassignments/objects shop in namespace retail; the ClusterRole starling-developer"),
    ),
    (
        "developer",
        Installs("", &[], "retail/nothing"),
        Denied("may not get addonassignments/objects nothing in namespace retail"),
    ),
    ("developer", Installs("", &[], ""), Denied("may not get managedclusters/objects in all namespaces")),
    ("developer", Clusters("", &[]), Denied("may not list managedclusters in all namespaces")),
    ("developer", Addons, Denied("may not list addons in all namespaces")),
    // The developers of a workspace's assignments.
    ("shopkeeper", Assignments(""), These(&["retail/shop"])),
    ("shopkeeper", Installs("", &[], ""), These(&["r-1 retail/shop"])),
    ("shopkeeper", Objects("", &[], ""), These(&["r-1 retail/shop"])),
    (
        "shopkeeper",
        Objects("", &[], "starling-platform/web"),
        Denied("may not get addonassignments/objects web in namespace starling-platform"),
    ),
    ("shopkeeper", Labelled("tier=edge"), Denied("may not list managedclusters in all namespaces")),
    ("oncall", Clusters("", &[]), These(&["bank/b-1", "bank/b-2", "retail/r-1"])),
    ("oncall", Installs("", &[], ""), These(EVERYTHING)),
    ("stranger", Clusters("", &[]), Denied("may not list managedclusters in all namespaces")),
    ("stranger", Clusters("retail", &["r-1"]), Denied("may not get managedclusters r-1 in namespace retail")),
    ("stranger", Assignments("retail"), Denied("may not list addonassignments in namespace retail")),
    (
        "stranger",
        Installs("", &[], "retail/shop"),
        Denied("may not get addonassignments/objects shop in namespace retail"),
    ),
    ("stranger", Proposals, These(&[])),
];

const B_1_AND_2: &[&str] = &["b-1 starling-platform/web", "b-2 starling-platform/web"];

/// Everybody sees what is theirs.
pub(super) fn everybody_sees_what_is_theirs(world: &World) -> Result<()> {
    let mut wrong = Vec::new();
    for (name, question, expected) in TABLE {
        let answer = ask(&world.person(name)?, *question);
        let is_right = match (&answer, expected) {
            (Ok(seen), These(these)) => seen == these,
            (Err(status), Denied(text)) => status.code() == Code::PermissionDenied && status.message().contains(text),
            (Ok(_), Denied(_)) | (Err(_), These(_)) => false,
        };
        if !is_right {
            wrong.push(format!("{name} asks for {question:?}: expected {expected:?}, got {answer:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// What is counted is what is seen, and a position is for who sees it all.
pub(super) fn counts_are_of_what_is_seen(world: &World) -> Result<()> {
    for (name, clusters, sees_all) in [
        ("platform", 3, true),
        ("oncall", 3, true),
        ("retailer", 1, false),
        ("developer", 0, false),
        ("stranger", 0, false),
    ] {
        let person = world.person(name)?;
        let status = person.call(v1::GetStatusRequest {}, |mut client, it| async move { client.get_status(it).await });
        let status = status.map_err(|status| anyhow::anyhow!("{name}: {status}"))?;
        let counted = (status.clusters, status.live, status.ready, status.position > 0);
        ensure!(counted == (clusters, clusters, clusters, sees_all), "{name}: {status:?}");
        ensure!((status.objects > 0) == (clusters > 0), "{name}: {status:?}");
        ensure!(status.source == "kubernetes", "{name}: {status:?}");
    }
    Ok(())
}

/// Whoever sees an assignment's objects sees no more of their clusters than the names.
pub(super) fn a_developer_learns_only_the_names_of_clusters(world: &World) -> Result<()> {
    let request =
        v1::ListObjectsRequest { assignment: "starling-platform/web".to_owned(), ..v1::ListObjectsRequest::default() };
    let list = |person: &Person| {
        let listed = person.call(request.clone(), |mut client, it| async move { client.list_objects(it).await });
        listed.map_err(|status| anyhow::anyhow!("{status}"))
    };
    let (seen, all) = (list(&world.person("developer")?)?, list(&world.person("platform")?)?);
    ensure!(seen.total == all.total && seen.total > 0, "{} of {}", seen.total, all.total);
    ensure!(seen.objects.iter().all(|object| object.cluster_id.is_empty() && !object.cluster.is_empty()));
    ensure!(all.objects.iter().all(|object| !object.cluster_id.is_empty()));
    Ok(())
}

fn ask(person: &Person, question: Question) -> Result<Vec<String>, Status> {
    let selector = |workspace: &str, names: &[&str]| {
        Some(v1::ClusterSelector {
            workspace: workspace.to_owned(),
            names: names.iter().map(|&name| name.to_owned()).collect(),
            labels: String::new(),
        })
    };
    let installs = |selector: Option<v1::ClusterSelector>, assignment: &str| {
        let request = v1::ListInstallsRequest { selector, assignment: assignment.to_owned(), page: None };
        let listed = person.call(request, |mut client, it| async move { client.list_installs(it).await })?;
        Ok::<_, Status>(listed.installs.into_iter().map(|it| format!("{} {}", it.cluster, it.assignment)).collect())
    };
    let mut seen: Vec<String> = match question {
        Clusters(workspace, names) => {
            let request = v1::ListClustersRequest { selector: selector(workspace, names), page: None };
            let listed = person.call(request, |mut client, it| async move { client.list_clusters(it).await })?;
            listed.clusters.into_iter().map(|it| format!("{}/{}", it.workspace, it.name)).collect()
        }
        Addons => {
            let request = v1::ListAddonsRequest::default();
            let listed = person.call(request, |mut client, it| async move { client.list_addons(it).await })?;
            listed.addons.into_iter().map(|it| format!("{}/{} {}", it.namespace, it.name, it.assignments)).collect()
        }
        Assignments(namespace) => {
            let request = v1::ListAssignmentsRequest { namespace: namespace.to_owned() };
            let listed = person.call(request, |mut client, it| async move { client.list_assignments(it).await })?;
            listed.assignments.into_iter().map(|it| format!("{}/{}", it.namespace, it.name)).collect()
        }
        Installs(workspace, names, assignment) => installs(selector(workspace, names), assignment)?,
        Labelled(labels) => {
            installs(Some(v1::ClusterSelector { labels: labels.to_owned(), ..v1::ClusterSelector::default() }), "")?
        }
        Objects(workspace, names, assignment) => {
            let request = v1::ListObjectsRequest {
                selector: selector(workspace, names),
                assignment: assignment.to_owned(),
                ..v1::ListObjectsRequest::default()
            };
            let listed = person.call(request, |mut client, it| async move { client.list_objects(it).await })?;
            assert_eq!(listed.total, listed.objects.len() as u64, "one page holds all");
            listed.objects.into_iter().map(|it| format!("{} {}", it.cluster, it.assignment)).collect()
        }
        Proposals => {
            let request = v1::ListProposalsRequest {};
            let listed = person.call(request, |mut client, it| async move { client.list_proposals(it).await })?;
            listed.proposals.into_iter().map(|it| it.assignment).collect()
        }
    };
    seen.sort();
    seen.dedup();
    Ok(seen)
}
