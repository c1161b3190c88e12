//! A fleet without a shell: documents as YAML, decided and applied at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use starling_hub_core::fleet::Fleet;
use starling_hub_core::records::ObjectOrigin;
use starling_hub_core::resources::Resource;
use starling_hub_core::steward::{
    Context, Decision, Entropy, Heard, Request, SourceFile, SourceObject, SyncFiles, SyncInputs, SyncObjects, decide,
};
use starling_model::{ClusterId, Facts, InstallKey, Millis, Position, Uid};

/// The fleet's name.
const FLEET: &str = "guarded";

/// Addons, each assigned to every cluster.
const ADDONS: usize = 30;

/// Of these, the addons that fit only some versions of Kubernetes, which is looked at for each cluster.
const RANGED: usize = 3;

/// The fleet, and what the next decision may use.
pub(crate) struct Hub {
    pub(crate) fleet: Fleet,
    files: BTreeMap<String, Arc<SourceFile>>,
    entropy: Counter,
}

/// Bytes that nobody has to be unable to foresee.
struct Counter(u64);

/// Clusters that were not heard.
struct Nobody;

impl Entropy for Counter {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 += 1;
            chunk.copy_from_slice(&self.0.to_be_bytes()[8 - chunk.len()..]);
        }
    }
}

impl Heard for Nobody {
    fn installs(&self, _: &ClusterId) -> Option<BTreeSet<(InstallKey, Uid)>> {
        None
    }
}

impl Hub {
    /// A fleet of a directory with the addons, and `clusters` clusters, each in a file of its own.
    pub(crate) fn of_files(clusters: usize) -> Self {
        let mut hub = Self::begun();
        hub.files.insert("platform.yaml".to_owned(), file(platform().iter().map(String::as_str)));
        for number in 0..clusters {
            hub.files.insert(file_name(number), file([cluster(number, "blue").as_str()]));
        }
        let request = hub.sync_files();
        hub.do_at_once(&request);
        hub
    }

    /// The same of the objects of a Kubernetes API.
    pub(crate) fn of_objects(clusters: usize) -> Self {
        let mut hub = Self::begun();
        let documents = platform().into_iter().chain((0..clusters).map(|number| cluster(number, "blue")));
        let present = documents.enumerate().map(|(number, text)| object(&text, number, 1)).collect();
        hub.do_at_once(&Request::SyncObjects(SyncObjects { present, gone: BTreeSet::new() }));
        hub
    }

    fn begun() -> Self {
        let mut hub = Self { fleet: Fleet::new(FLEET), files: BTreeMap::new(), entropy: Counter(0) };
        hub.do_at_once(&Request::Begin);
        hub
    }

    /// Puts another text of a cluster in its file, and returns that file alone, as the hub does where the rest is as it was.
    pub(crate) fn rewrite_alone(&mut self, number: usize, text: &str) -> Request {
        let files = BTreeMap::from([(file_name(number), file([text]))]);
        let request = Request::SyncFiles(SyncFiles::of(files.clone(), &self.files, Arc::new(self.fleet.clone())));
        self.files.extend(files);
        request
    }

    /// Puts another text of a cluster in its file, and returns the directory as it is then.
    pub(crate) fn rewrite(&mut self, number: usize, text: &str) -> Request {
        self.files.insert(file_name(number), file([text]));
        self.sync_files()
    }

    fn sync_files(&self) -> Request {
        Request::SyncInputs(SyncInputs { files: self.files.clone(), unlisted: BTreeSet::new() })
    }

    /// Decides a request.
    pub(crate) fn decide(&mut self, request: &Request) -> Decision {
        let position = Position(self.fleet.position().0 + 1);
        let (entropy, actor) = (&mut self.entropy, "guard".to_owned());
        let mut context = Context { now: Millis(1_000_000), actor, position, entropy, heard: &Nobody };
        decide(&self.fleet, request, &mut context).expect("the guard's requests are granted")
    }

    /// Decides a request and applies the decision, as the steward and each reader of the store do.
    pub(crate) fn do_at_once(&mut self, request: &Request) {
        let decision = self.decide(request);
        for change in &decision.changes {
            self.fleet.apply(change);
        }
        self.fleet.set_position(decision.position);
    }

    /// The identity of a cluster.
    pub(crate) fn id(&self, number: usize) -> ClusterId {
        self.fleet.cluster_named("retail", &cluster_name(number)).expect("the cluster is managed").id
    }
}

/// What an agent of the fleet observes.
pub(crate) fn facts() -> Facts {
    Facts { kubernetes_version: "v1.35.4".to_owned(), flux_version: "v2.8.1".to_owned(), nodes: 12, ..Facts::default() }
}

/// The document of a cluster.
pub(crate) fn cluster(number: usize, colour: &str) -> String {
    let region = ["north", "south", "east", "west"][number % 4];
    format!(
        "apiVersion: starling.dev/v1alpha1\nkind: ManagedCluster\nmetadata:\n  name: {}\n  namespace: retail\n  labels:\n    \
         tier: edge\n    region: {region}\n    colour: {colour}\nspec: {{}}\n",
        cluster_name(number)
    )
}

/// An object of a Kubernetes API, with the generation that was read.
pub(crate) fn object(text: &str, number: usize, generation: i64) -> SourceObject {
    let origin = ObjectOrigin { uid: format!("00000000-0000-4000-8000-{number:012}"), generation, absence: None };
    SourceObject { resource: parse(text), origin, manager: "kubectl".to_owned() }
}

/// Reads a document as the hub's directory source does, but for the separators between documents.
pub(crate) fn parse(text: &str) -> Resource {
    let options = serde_saphyr::options! { strict_booleans: true };
    let resource: Resource = serde_saphyr::from_str_with_options(text, options).expect("a document can be read");
    resource.check().expect("a document is valid");
    resource
}

fn file<'a>(documents: impl IntoIterator<Item = &'a str>) -> Arc<SourceFile> {
    let documents = documents.into_iter().zip(1..).map(|(text, line)| (line, parse(text))).collect();
    Arc::new(SourceFile { documents, unreadable: false })
}

fn file_name(number: usize) -> String {
    format!("clusters/{}.yaml", cluster_name(number))
}

fn cluster_name(number: usize) -> String {
    format!("edge-{number:05}")
}

/// The workspace, the addons and their assignments.
fn platform() -> Vec<String> {
    let head = "apiVersion: starling.dev/v1alpha1\nkind";
    let mut documents = vec![format!("{head}: Workspace\nmetadata: {{name: retail}}\nspec: {{}}\n")];
    for number in 0..ADDONS {
        let mut addon =
            format!("{head}: Addon\nmetadata: {{name: addon-{number:02}, namespace: starling-platform}}\nspec:\n");
        if number < RANGED {
            addon.push_str("  kubernetes: '>=1.30, <1.40'\n");
        }
        write!(
            addon,
            "  versions:\n  - version: 1.{number}.0\n    source: {{helmRepository: {{url: 'https://charts.example', chart: addon-{number:02}}}}}\n    \
             values:\n      replicas: 2\n      image: {{repository: registry.example/addon-{number:02}, tag: v1.{number}.0}}\n      \
             log: {{level: info, format: json}}\n      resources: {{requests: {{cpu: 100m, memory: 128Mi}}}}\n"
        )
        .expect("a String takes everything");
        documents.push(addon);
        documents.push(format!(
            "{head}: AddonAssignment\nmetadata: {{name: addon-{number:02}, namespace: retail}}\nspec:\n  \
             addon: {{name: addon-{number:02}}}\n  version: 1.{number}.0\n  clusterSelector: {{matchLabels: {{tier: edge}}}}\n"
        ));
    }
    documents
}
