//! A hub without a shell, for tests: documents as YAML, decisions applied at once, clusters that say what they hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use starling_model::{ClusterId, ErrorCode, Facts, InstallKey, Millis, Plan, Position, Uid};

use crate::deletion::budget;
use crate::fleet::{AssignmentInput, Fleet};
use crate::planner;
use crate::resources::{InputKey, Kind, Resource};
use crate::steward::{
    Answer, Context, Decision, Entropy, Heard, Refusal, Request, SourceFile, SyncFiles, SyncInputs, Synced, decide,
    with_names_kept,
};

pub(crate) const FLEET: &str = "demo";

pub(crate) struct Hub {
    pub(crate) fleet: Fleet,
    pub(crate) now: Millis,
    pub(crate) heard: HeardClusters,
    pub(crate) files: BTreeMap<String, Arc<SourceFile>>,
    pub(crate) unlisted: BTreeSet<String>,
    entropy: Counter,
    /// The files as they were copied last, where nothing was wrong with any.
    clean: Option<Clean>,
}

/// Files that were copied, with the fleet into which they were.
struct Clean {
    files: BTreeMap<String, Arc<SourceFile>>,
    since: Arc<Fleet>,
}

#[derive(Clone, Default)]
pub(crate) struct HeardClusters(pub(crate) BTreeMap<ClusterId, BTreeSet<(InstallKey, Uid)>>);

#[derive(Clone)]
struct Counter(u64);

impl Entropy for Counter {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0 += 1;
        bytes.fill(0);
        bytes[..8].copy_from_slice(&self.0.to_be_bytes());
    }
}

impl Heard for HeardClusters {
    fn installs(&self, cluster: &ClusterId) -> Option<BTreeSet<(InstallKey, Uid)>> {
        self.0.get(cluster).cloned()
    }
}

impl Hub {
    /// A fleet with workspace `dev` and addon `podinfo`, versions 1.0.0 and 2.0.0 in a Helm repository.
    pub(crate) fn new() -> Self {
        let mut hub = Self {
            fleet: Fleet::new(FLEET),
            now: Millis(1_000_000_000),
            heard: HeardClusters::default(),
            files: BTreeMap::new(),
            unlisted: BTreeSet::new(),
            entropy: Counter(0),
            clean: None,
        };
        hub.ask(&Request::Begin).expect("a new fleet begins");
        hub.write("base.yaml", &[&workspace("dev"), &addon("podinfo")].map(String::as_str).join("\n---\n"));
        hub.sync();
        hub
    }

    pub(crate) fn write(&mut self, file: &str, documents: &str) {
        let documents = documents.split("\n---\n").enumerate().map(|(index, text)| (index as u64 + 1, yaml(text)));
        self.files.insert(file.to_owned(), SourceFile { documents: documents.collect(), unreadable: false }.into());
    }

    /// Copies all files; that the changed ones alone are copied in the very same way is checked each time.
    pub(crate) fn sync(&mut self) -> Synced {
        let request = Request::SyncInputs(SyncInputs { files: self.files.clone(), unlisted: self.unlisted.clone() });
        let entropy = self.entropy.clone();
        let of_changed = self.changed().map(|changed| self.decide(&Request::SyncFiles(changed)));
        self.entropy = entropy.clone();
        let of_all = self.decide(&request);
        self.entropy = entropy;
        match of_changed {
            Some(Err(refusal)) => assert_eq!(refusal.code, ErrorCode::Conflict, "{refusal}"),
            Some(of_changed) => assert_eq!(of_changed, of_all),
            None => {}
        }
        match self.ask(&request) {
            Ok(Answer::Synced(synced)) => {
                let before = self.clean.take().map(|clean| clean.files);
                let files = with_names_kept(before.as_ref(), self.files.clone());
                let files = files.filter(|_| synced.problems.is_empty() && self.unlisted.is_empty());
                self.clean = files.map(|files| Clean { files, since: self.fleet.clone().into() });
                synced
            }
            other => panic!("a sync answers otherwise: {other:?}"),
        }
    }

    /// Returns the files that differ from those that were copied last; `None` where that is not enough.
    pub(crate) fn changed(&self) -> Option<SyncFiles> {
        let clean = self.clean.as_ref().filter(|_| self.unlisted.is_empty())?;
        SyncFiles::between(&clean.files, &self.files, Arc::clone(&clean.since))
    }

    pub(crate) fn decide(&mut self, request: &Request) -> Result<Decision, Refusal> {
        let mut context = Context {
            now: self.now,
            actor: "tester".to_owned(),
            position: Position(self.fleet.position().0 + 1),
            entropy: &mut self.entropy,
            heard: &self.heard,
        };
        decide(&self.fleet, request, &mut context)
    }

    pub(crate) fn ask(&mut self, request: &Request) -> Result<Answer, Refusal> {
        let decision = self.decide(request)?;
        for change in &decision.changes {
            self.fleet.apply(change);
        }
        if !decision.changes.is_empty() {
            self.fleet.set_position(decision.position);
        }
        self.now = Millis(self.now.0 + 1000);
        Ok(decision.answer)
    }

    pub(crate) fn add_clusters(&mut self, count: usize) {
        for index in 0..count {
            self.write(&format!("clusters/edge-{index:03}.yaml"), &cluster(&format!("edge-{index:03}"), "env: prod"));
        }
        self.sync();
    }

    pub(crate) fn id(&self, name: &str) -> ClusterId {
        self.fleet.cluster_named("dev", name).expect("a managed cluster").id
    }

    pub(crate) fn assignment(&self, name: &str) -> AssignmentInput {
        self.fleet.assignment_named("dev", name).expect("an assignment")
    }

    pub(crate) fn plan(&self, cluster: &str) -> Plan {
        planner::plan(&self.fleet, self.id(cluster), &facts())
    }

    /// Lets every cluster say that it holds all that its plan renders, and nothing that a tombstone of it removes.
    pub(crate) fn hear_all(&mut self) {
        for cluster in self.fleet.managed_clusters() {
            let plan = planner::plan(&self.fleet, cluster.id, &facts());
            let held = self.heard.0.entry(cluster.id).or_default();
            held.retain(|(install, uid)| {
                !plan.tombstones.iter().any(|grave| grave.install == *install && grave.assignment == *uid)
            });
            for entry in plan.entries {
                if matches!(entry.action, starling_model::Action::Render(_)) {
                    held.retain(|(install, _)| *install != entry.install);
                    held.insert((entry.install, entry.assignment));
                }
            }
        }
    }

    pub(crate) fn plans(&self) -> BTreeMap<ClusterId, Plan> {
        let plan = |id| Plan { position: Position(0), ..planner::plan(&self.fleet, id, &facts()) };
        self.fleet.managed_clusters().map(|cluster| (cluster.id, plan(cluster.id))).collect()
    }

    pub(crate) fn pass_a_day(&mut self) {
        self.now = self.now.plus(budget::WINDOW);
    }
}

pub(crate) fn facts() -> Facts {
    Facts { kubernetes_version: "v1.35.4".to_owned(), ..Facts::default() }
}

pub(crate) fn yaml(text: &str) -> Resource {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

pub(crate) fn key(kind: Kind, namespace: &str, name: &str) -> InputKey {
    InputKey::new(kind, namespace, name)
}

pub(crate) fn workspace(name: &str) -> String {
    format!("apiVersion: starling.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: {name}\nspec: {{}}")
}

pub(crate) fn cluster(name: &str, labels: &str) -> String {
    cluster_in("dev", name, labels, "{}")
}

pub(crate) fn cluster_in(namespace: &str, name: &str, labels: &str, spec: &str) -> String {
    format!(
        "apiVersion: starling.dev/v1alpha1\nkind: ManagedCluster\nmetadata:\n  name: {name}\n  namespace: {namespace}\n  \
         labels: {{{labels}}}\nspec: {spec}"
    )
}

pub(crate) fn addon(name: &str) -> String {
    let source = format!("source: {{helmRepository: {{url: 'https://charts.example', chart: {name}}}}}");
    format!(
        "apiVersion: starling.dev/v1alpha1\nkind: Addon\nmetadata:\n  name: {name}\n  namespace: starling-platform\nspec:\n  \
         versions:\n  - version: 1.0.0\n    {source}\n    values: {{replicas: 1, log: {{level: info}}}}\n  \
         - version: 2.0.0\n    {source}"
    )
}

pub(crate) fn assignment(name: &str, spec: &str) -> String {
    assignment_in("dev", name, spec)
}

pub(crate) fn assignment_in(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: starling.dev/v1alpha1\nkind: AddonAssignment\nmetadata:\n  name: {name}\n  namespace: {namespace}\n\
         spec:\n  addon: {{name: podinfo}}\n{spec}"
    )
}

/// The specification of an assignment of version 1.0.0 to `env: prod`.
pub(crate) const TO_PROD: &str = "  version: 1.0.0\n  clusterSelector: {matchLabels: {env: prod}}";
