//! The documents that people keep, in memory: a workspace, its clusters, a catalogue, and the assignments that a scenario changes.
//!
//! Owns the files and what they mean to whoever wrote them. What the hub makes of them is judged against this.

use std::collections::{BTreeMap, BTreeSet};

use starling_hub::source::{Scan, Unreadable};
use starling_hub_core::resources::{
    AddonReference, AddonSpec, AddonVersion, AssignmentSpec, Document, Git, HelmRepository, InputKey, Kind, Metadata,
    OciChart, OciKustomization, PLATFORM_NAMESPACE, Resource, Source, WorkspaceSpec,
};
use starling_hub_core::selector::LabelSelector;
use starling_hub_core::steward::{SourceFile, SyncInputs};
use starling_model::{Digest, Value};

/// The workspace that everything is in.
pub(crate) const WORKSPACE: &str = "retail";

/// The label that selectors look at.
const TIER: &str = "tier";

/// The values of that label.
pub(crate) const TIERS: [&str; 2] = ["edge", "core"];

/// The names of the assignments that a scenario may make, each with its addon and whether the platform owns it.
pub(crate) const SLOTS: [Slot; 5] = [
    Slot { name: "metrics", addon: "chart", platform: true },
    Slot { name: "logging", addon: "chart", platform: false },
    Slot { name: "site", addon: "site", platform: false },
    Slot { name: "portal", addon: "morph", platform: false },
    Slot { name: "ingress", addon: "morph", platform: true },
];

/// How many versions each addon has.
pub(crate) const VERSIONS: usize = 3;

/// An assignment that a scenario may make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    /// The assignment's name, which is the instance's.
    pub(crate) name: &'static str,
    /// The addon's name.
    pub(crate) addon: &'static str,
    platform: bool,
}

/// What an assignment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Which of the addon's versions.
    pub(crate) version: usize,
    /// Which tier; `None` is every cluster.
    pub(crate) tier: Option<usize>,
    /// A value that differs from change to change.
    pub(crate) value: u64,
}

/// The files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Documents {
    files: BTreeMap<String, Resource>,
    /// Files that are gone for a while.
    vanished: BTreeSet<String>,
    /// Files that cannot be read for a while.
    garbled: BTreeSet<String>,
    /// All files are gone for a while.
    emptied: bool,
    /// Grows with each change.
    version: u64,
    /// Every document that was ever written, by its digest.
    written: BTreeSet<Digest>,
}

impl Slot {
    /// Returns the resource's key.
    pub(crate) fn key(&self) -> InputKey {
        InputKey::new(Kind::AddonAssignment, self.namespace(), self.name)
    }

    /// Returns the kinds of the objects that a version renders to.
    pub(crate) fn kinds(&self, version: usize) -> [&'static str; 2] {
        match (self.addon, version) {
            ("chart", 0 | 1) | ("morph", 0) => ["HelmRepository", "HelmRelease"],
            ("chart", _) | ("morph", 1) => ["OCIRepository", "HelmRelease"],
            ("site", 0 | 1) => ["GitRepository", "Kustomization"],
            ("site", _) => ["OCIRepository", "Kustomization"],
            _ => ["GitRepository", "Kustomization"],
        }
    }

    fn namespace(&self) -> &'static str {
        if self.platform { PLATFORM_NAMESPACE } else { WORKSPACE }
    }

    fn file(&self) -> String {
        format!("assignments/{}.yaml", self.name)
    }
}

impl Documents {
    /// Begins with a workspace and the catalogue.
    pub(crate) fn new() -> Self {
        let mut documents = Self::default();
        let workspace = Document { metadata: metadata("", WORKSPACE), spec: WorkspaceSpec::default() };
        documents.put("workspace.yaml".into(), Resource::Workspace(workspace));
        for name in ["chart", "site", "morph"] {
            documents.put(format!("addons/{name}.yaml"), addon(name));
        }
        documents
    }

    /// Returns a number that grows with each change.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Reads the directory.
    pub(crate) fn scan(&self) -> Scan {
        let mut scan = Scan::default();
        let mut inputs = SyncInputs::default();
        for (file, resource) in &self.files {
            if self.emptied || self.vanished.contains(file) {
                continue;
            }
            let unreadable = self.garbled.contains(file);
            let documents = if unreadable { Vec::new() } else { vec![(1, resource.clone())] };
            inputs.files.insert(file.clone(), SourceFile { documents, unreadable }.into());
            if unreadable {
                let message = "not YAML".to_owned();
                scan.unreadable.push(Unreadable { file: file.clone(), line: 1, column: 1, message });
            }
        }
        scan.inputs = inputs;
        scan
    }

    /// Lets the hub read everything again, as after a document was written that was there already.
    pub(crate) fn read_again(&mut self) {
        self.version += 1;
    }

    /// Writes a file, which is there and can be read from then on.
    pub(crate) fn put(&mut self, file: String, resource: Resource) {
        self.vanished.remove(&file);
        self.garbled.remove(&file);
        self.written.insert(resource.digest());
        self.files.insert(file, resource);
        self.version += 1;
    }

    /// Removes the file of a resource.
    pub(crate) fn remove(&mut self, key: &InputKey) {
        self.files.retain(|_, resource| resource.key() != *key);
        self.version += 1;
    }

    /// Writes an assignment.
    pub(crate) fn assign(&mut self, slot: &Slot, wanted: Wanted) {
        let match_labels = wanted.tier.map(labels).unwrap_or_default();
        let spec = AssignmentSpec {
            addon: AddonReference { name: slot.addon.into(), namespace: Some(PLATFORM_NAMESPACE.into()) },
            version: version_name(wanted.version),
            instance: None,
            cluster_selector: LabelSelector { match_labels, ..LabelSelector::default() },
            values: Value::map([("value", wanted.value.to_string())]),
            target_namespace: None,
            paused: false,
            interval: None,
        };
        let document = Document { metadata: metadata(slot.namespace(), slot.name), spec };
        self.put(slot.file(), Resource::AddonAssignment(document));
    }

    /// Pauses an assignment, or lets it go on.
    pub(crate) fn pause(&mut self, slot: &Slot, paused: bool) {
        if let Some(Resource::AddonAssignment(document)) = self.files.get_mut(&slot.file()) {
            document.spec.paused = paused;
        }
        self.rewritten();
    }

    /// Moves a cluster to another tier.
    pub(crate) fn relabel(&mut self, cluster: &str, tier: usize) {
        for resource in self.files.values_mut() {
            if let Resource::ManagedCluster(document) = resource
                && document.metadata.name == cluster
            {
                document.metadata.labels = labels(tier);
            }
        }
        self.rewritten();
    }

    /// Lets the file of an assignment vanish, or return.
    pub(crate) fn vanish(&mut self, slot: &Slot, gone: bool) {
        self.version += 1;
        if gone {
            self.vanished.insert(slot.file())
        } else {
            self.vanished.remove(&slot.file())
        };
    }

    /// Makes the file of an assignment unreadable, or readable.
    pub(crate) fn garble(&mut self, slot: &Slot, garbled: bool) {
        self.version += 1;
        if garbled {
            self.garbled.insert(slot.file())
        } else {
            self.garbled.remove(&slot.file())
        };
    }

    /// Lets the whole directory look empty, or not.
    pub(crate) fn empty(&mut self, empty: bool) {
        self.version += 1;
        self.emptied = empty;
    }

    /// Lets every file return, and every pause end.
    pub(crate) fn settle(&mut self) {
        self.vanished.clear();
        self.garbled.clear();
        self.emptied = false;
        for resource in self.files.values_mut() {
            if let Resource::AddonAssignment(document) = resource {
                document.spec.paused = false;
            }
        }
        self.rewritten();
    }

    /// Tells whether somebody ever wrote this document.
    pub(crate) fn was_written(&self, document: &Digest) -> bool {
        self.written.contains(document)
    }

    fn rewritten(&mut self) {
        self.written.extend(self.files.values().map(Resource::digest));
        self.version += 1;
    }

    /// Tells whether a resource has a file, be it readable now or not.
    pub(crate) fn has(&self, key: &InputKey) -> bool {
        self.files.values().any(|resource| resource.key() == *key)
    }

    /// Returns the assignments that a cluster is meant to have, by instance, each with the version that it is meant to have.
    pub(crate) fn wanted_on(&self, cluster: &str) -> BTreeMap<&str, &str> {
        let labels = self.files.values().find_map(|resource| match resource {
            Resource::ManagedCluster(document) if document.metadata.name == cluster => Some(&document.metadata.labels),
            _ => None,
        });
        let Some(labels) = labels else { return BTreeMap::new() };
        let assignments = self.files.values().filter_map(|resource| match resource {
            Resource::AddonAssignment(document) => Some(document),
            _ => None,
        });
        let selected =
            |selector: &LabelSelector| selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        assignments
            .filter(|document| selected(&document.spec.cluster_selector))
            .map(|document| (document.metadata.name.as_str(), document.spec.version.as_str()))
            .collect()
    }
}

/// Returns the labels of a cluster of a tier.
pub(crate) fn labels(tier: usize) -> BTreeMap<String, String> {
    BTreeMap::from([(TIER.to_owned(), TIERS[tier].to_owned())])
}

/// Returns the name of a version.
pub(crate) fn version_name(version: usize) -> String {
    format!("{}.0.0", version + 1)
}

fn metadata(namespace: &str, name: &str) -> Metadata {
    Metadata { name: name.into(), namespace: namespace.into(), ..Metadata::default() }
}

fn addon(name: &str) -> Resource {
    let helm = |version: usize| Source {
        helm_repository: Some(HelmRepository {
            url: "https://charts.example.org".into(),
            chart: name.into(),
            version: Some(version_name(version)),
            insecure: false,
        }),
        ..Source::default()
    };
    let oci = || Source {
        oci_chart: Some(OciChart { url: format!("oci://registry.example.org/{name}"), tag: None, insecure: false }),
        ..Source::default()
    };
    let git = || Source {
        git: Some(Git {
            url: "https://git.example.org/site.git".into(),
            branch: None,
            tag: None,
            commit: None,
            path: "./deploy".into(),
        }),
        ..Source::default()
    };
    let artifact = || Source {
        oci_kustomization: Some(OciKustomization {
            url: format!("oci://registry.example.org/{name}"),
            tag: None,
            path: None,
            insecure: false,
        }),
        ..Source::default()
    };
    let sources: [Source; VERSIONS] = match name {
        "chart" => [helm(0), helm(1), oci()],
        "site" => [git(), git(), artifact()],
        _ => [helm(0), oci(), git()],
    };
    let versions = sources.into_iter().enumerate().map(|(number, source)| AddonVersion {
        version: version_name(number),
        source,
        values: Value::empty_map(),
    });
    let spec = AddonSpec {
        title: String::new(),
        description: String::new(),
        kubernetes: None,
        versions: versions.collect(),
        target_namespace: None,
    };
    Resource::Addon(Document { metadata: metadata(PLATFORM_NAMESPACE, name), spec })
}
