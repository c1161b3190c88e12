use std::collections::BTreeMap;

use starling_hub_core::change::Change;
use starling_hub_core::records::{ClusterRecord, ClusterStage};
use starling_hub_core::steward::{Context, Entropy, Heard, Request, SourceFile, SyncInputs, decide};
use starling_model::{InstallKey, Millis, Position, Uid};

use super::*;

struct Counter(u8);

impl Entropy for Counter {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0 += 1;
        bytes.fill(self.0);
    }
}

struct Nobody;

impl Heard for Nobody {
    fn installs(&self, _cluster: &ClusterId) -> Option<BTreeSet<(InstallKey, Uid)>> {
        None
    }
}

/// Copies these documents into a fleet.
fn sync(fleet: &Fleet, entropy: &mut Counter, documents: &[&str]) -> Fleet {
    let documents = documents.iter().map(|text| (1, serde_saphyr::from_str(text).unwrap())).collect();
    let files = BTreeMap::from([("all.yaml".to_owned(), SourceFile { documents, unreadable: false }.into())]);
    ask(fleet, entropy, &Request::SyncInputs(SyncInputs { files, ..SyncInputs::default() }))
}

fn ask(fleet: &Fleet, entropy: &mut Counter, request: &Request) -> Fleet {
    let position = Position(fleet.position().0 + 1);
    let mut context = Context { now: Millis(1), actor: "tester".into(), position, entropy, heard: &Nobody };
    let decision = decide(fleet, request, &mut context).unwrap();
    let mut fleet = fleet.clone();
    decision.changes.iter().for_each(|change| fleet.apply(change));
    fleet.set_position(decision.position);
    fleet
}

const WORKSPACE: &str = "{apiVersion: starling.dev/v1alpha1, kind: Workspace, metadata: {name: dev}, spec: {}}";

fn cluster(name: &str, spec: &str) -> String {
    let metadata = format!("{{name: {name}, namespace: dev}}");
    format!("{{apiVersion: starling.dev/v1alpha1, kind: ManagedCluster, metadata: {metadata}, spec: {spec}}}")
}

/// Tells whose plans two fleets can differ in, which what was noted and what is compared agree on.
fn agreed(old: &Fleet, new: &Fleet) -> Affected {
    let compared = compare(old, new);
    assert_eq!(affected(old, new), compared);
    compared
}

#[test]
fn only_what_a_plan_is_made_of_affects_it() {
    let mut entropy = Counter(0);
    let empty = ask(&Fleet::new("test"), &mut entropy, &Request::Begin);
    let (one, two) = (cluster("one", "{}"), cluster("two", "{}"));
    let base = sync(&empty, &mut entropy, &[WORKSPACE, &one, &two]);
    let id = |name| base.cluster_named("dev", name).unwrap().id;
    assert_eq!(agreed(&empty, &base), Affected::All);

    let mut moved = base.clone();
    moved.set_position(Position(99));
    assert_eq!(agreed(&base, &moved), Affected::Some(BTreeSet::new()));

    let paused = cluster("one", "{paused: true}");
    let changed = sync(&base, &mut entropy, &[WORKSPACE, &paused, &two]);
    assert_eq!(agreed(&base, &changed), Affected::Some(BTreeSet::from([id("one")])));

    let mut joined = base.clone();
    joined.apply(&Change::PutCluster(ClusterRecord {
        id: id("two"),
        name: None,
        keys: Vec::new(),
        revoked_keys: BTreeSet::new(),
        fingerprint: String::new(),
        joined: Millis(1),
        era: 1,
        joined_with: None,
        stage: ClusterStage::Attached,
    }));
    assert_eq!(agreed(&base, &joined), Affected::Some(BTreeSet::from([id("two")])));

    let renamed = cluster("one", &format!("{{id: {}}}", ClusterId::derive("test", "dev", "other")));
    let mut other = base.clone();
    let Resource::ManagedCluster(document) = serde_saphyr::from_str(&renamed).unwrap() else { panic!("a cluster") };
    let record = (*base.cluster_named("dev", "one").unwrap().record).clone();
    other.apply(&Change::PutInput(InputRecord { resource: Resource::ManagedCluster(document), ..record }));
    assert_eq!(affected(&base, &other), Affected::All, "its document names another cluster");
    let read_anew = sync(&ask(&Fleet::new("test"), &mut entropy, &Request::Begin), &mut entropy, &[WORKSPACE]);
    assert_eq!(affected(&base, &read_anew), compare(&base, &read_anew));
}

const ADDON: &str = "{apiVersion: starling.dev/v1alpha1, kind: Addon, metadata: {name: web, namespace: dev}, spec: \
                     {versions: [{version: 1.0.0, source: {helmRepository: {url: 'https://charts.example', chart: web}}}]}}";

fn assignment(tier: &str, values: &str) -> String {
    let selector = format!("{{matchLabels: {{tier: {tier}}}}}");
    format!(
        "{{apiVersion: starling.dev/v1alpha1, kind: AddonAssignment, metadata: {{name: web, namespace: dev}}, spec: {{addon: \
         {{name: web}}, version: 1.0.0, clusterSelector: {selector}, values: {values}}}}}"
    )
}

fn labelled(name: &str, tier: &str) -> String {
    cluster(name, "{}").replace("namespace: dev}", &format!("namespace: dev, labels: {{tier: {tier}}}}}"))
}

#[test]
fn a_changed_assignment_concerns_the_clusters_that_it_selected_or_selects() {
    let mut entropy = Counter(0);
    let empty = ask(&Fleet::new("test"), &mut entropy, &Request::Begin);
    let clusters = [labelled("one", "edge"), labelled("two", "core"), labelled("three", "none")];
    let with = |fleet: &Fleet, entropy: &mut Counter, assignment: &[&str]| {
        let documents = [WORKSPACE, ADDON].into_iter().chain(clusters.iter().map(String::as_str));
        sync(fleet, entropy, &documents.chain(assignment.iter().copied()).collect::<Vec<_>>())
    };
    let none = with(&empty, &mut entropy, &[]);
    let some = |names: &[&str]| {
        let ids = names.iter().map(|name| none.cluster_named("dev", name).unwrap().id);
        Affected::Some(ids.collect())
    };
    let edge = with(&none, &mut entropy, &[&assignment("edge", "{}")]);
    assert_eq!(affected(&none, &edge), some(&["one"]), "it is new");
    let valued = with(&edge, &mut entropy, &[&assignment("edge", "{a: 1}")]);
    assert_eq!(affected(&edge, &valued), some(&["one"]), "it says something else");
    assert_eq!(affected(&edge, &edge), some(&[]));
    let core = with(&none, &mut entropy, &[&assignment("core", "{}")]);
    assert_eq!(affected(&none, &core), some(&["two"]), "as nobody has heard of it elsewhere");
    let other = Change::PutInput((*valued.assignment_named("dev", "web").unwrap().input).clone());
    let mut moved = valued.clone();
    let Resource::AddonAssignment(document) = serde_saphyr::from_str(&assignment("core", "{a: 1}")).unwrap() else {
        panic!("an assignment")
    };
    let Change::PutInput(record) = other else { panic!("an input") };
    moved.apply(&Change::PutInput(InputRecord { resource: Resource::AddonAssignment(document), ..record }));
    assert_eq!(affected(&valued, &moved), some(&["one", "two"]), "it moved from one to the other");
}
