//! A bed: one hub, one real cluster with its agent, for one test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use starling_harness::{Agent, Hub, HubOptions, InstalledBy, ManagementCluster, Printed};
use starling_realparts::{ClusterOptions, Flux, FluxParts, Helm, ManagedCluster};
use starling_tests::logs::unexpected_errors;
use starling_tests::steps;
use starling_tests::views::{self, Assignment, Cluster, Install, Item};

use super::documents::{Addon, assignment, catalogue};
use super::live::{self, LiveObject};
use super::parts::{Parts, Permit, parts};
use super::source::{Documents, Source};

/// The workspace of every test.
pub(crate) const WORKSPACE: &str = "retail";

/// One hub, one real cluster with its agent.
pub(crate) struct Bed {
    // Dropped in this order: clients before the servers that they would complain about.
    pub(crate) agent: Agent,
    pub(crate) hub: Hub,
    pub(crate) documents: Documents,
    pub(crate) cluster: ManagedCluster,
    pub(crate) installed_by: InstalledBy,
    parts: &'static Parts,
    folder: PathBuf,
    _permit: Permit,
}

/// Runs a test's story on a bed of its own, then looks through the logs of hub and agent: only errors that hold one of the
/// allowed texts may be in there.
pub(crate) fn on_a_cluster(
    source: Source,
    test: &str,
    allowed: &[&str],
    story: impl FnOnce(&Bed) -> Result<()>,
) -> Result<()> {
    on_a_cluster_with(FluxParts::Controllers, source, test, allowed, story)
}

/// As [`on_a_cluster`], with other parts of Flux.
pub(crate) fn on_a_cluster_with(
    flux: FluxParts,
    source: Source,
    test: &str,
    allowed: &[&str],
    story: impl FnOnce(&Bed) -> Result<()>,
) -> Result<()> {
    let bed = Bed::make(source, test, flux)?;
    story(&bed).with_context(|| bed.whereabouts())?;
    for process in [bed.hub.process(), bed.agent.process()] {
        let errors = unexpected_errors(&process.log_path(), allowed)?;
        ensure!(errors.is_empty(), "unexpected errors of the {}:\n{}", process.name(), errors.join("\n"));
    }
    Ok(())
}

impl Bed {
    fn make(source: Source, test: &str, flux: FluxParts) -> Result<Self> {
        let permit = Permit::acquire();
        let parts = parts()?;
        let folder = parts.folder_of(&format!("{test}-{source}"))?;
        let (hub, documents) = Self::hub(source, test, parts, &folder)?;
        let options = ClusterOptions { flux, ..ClusterOptions::default() };
        let name = format!("{test}-{source}");
        let cluster = ManagedCluster::start(&parts.real, &parts.etcd, &folder, &name, &options)?;
        let installed_by = match source {
            Source::Directory => InstalledBy::Manifest,
            Source::Kubernetes => InstalledBy::Chart(Helm::new(&parts.real, &folder.join("helm"))?),
        };
        let agent = Agent::join(&hub, &cluster, &installed_by, WORKSPACE, &["env=test"])?;
        let bed = Self { agent, hub, documents, cluster, installed_by, parts, folder, _permit: permit };
        bed.wait_live()?;
        Ok(bed)
    }

    /// Starts a hub with the catalogue.
    fn hub(source: Source, test: &str, parts: &'static Parts, folder: &Path) -> Result<(Hub, Documents)> {
        let catalogue = catalogue(parts);
        match source {
            Source::Directory => {
                let options = HubOptions::below(folder, "e2e");
                let documents = Documents::Directory(options.directory.clone());
                documents.write("catalogue.yaml", &catalogue)?;
                Ok((Hub::start(&parts.starling, &options)?, documents))
            }
            Source::Kubernetes => {
                let name = format!("management-{test}");
                let management = ManagementCluster::start(&parts.real, &parts.etcd, folder, &name, FluxParts::Nothing)?;
                let hub = Hub::start(&parts.starling, &management.hub_options(folder, "e2e")?)?;
                let documents = Documents::of(management);
                // The hub makes the namespaces; whoever is earlier tries again, as Flux does.
                steps::wait("the catalogue to be taken", || documents.write("catalogue.yaml", &catalogue))?;
                Ok((hub, documents))
            }
        }
    }

    /// Returns the cluster's name in the fleet.
    pub(crate) fn name(&self) -> &str {
        self.cluster.name()
    }

    /// Returns what all tests share.
    pub(crate) fn parts(&self) -> &'static Parts {
        self.parts
    }

    /// Returns the folder of the test.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts Flux in a cluster that has none.
    pub(crate) fn start_flux(&self) -> Result<Flux> {
        let folder = self.folder.join("late-flux");
        Ok(Flux::start(&self.parts.real, self.cluster.admin(), &folder, FluxParts::Controllers)?)
    }

    /// Writes a file of documents.
    pub(crate) fn write(&self, file: &str, text: &str) -> Result<()> {
        self.documents.write(file, text)
    }

    /// Lets the documents of a file vanish.
    pub(crate) fn remove(&self, file: &str) -> Result<()> {
        self.documents.vanish(&self.hub, file)
    }

    /// Lets every document vanish.
    pub(crate) fn lose_documents(&self) -> Result<()> {
        self.documents.vanish_all(&self.hub)
    }

    /// Writes the catalogue anew.
    pub(crate) fn write_catalogue(&self) -> Result<()> {
        steps::wait("the catalogue to be taken", || self.write("catalogue.yaml", &catalogue(self.parts)))
    }

    /// Assigns a version of an addon to the cluster, in a file of the addon's name.
    pub(crate) fn assign(&self, addon: Addon, version: &str) -> Result<()> {
        self.write(&format!("{}.yaml", addon.name()), &assignment(addon, version))
    }

    /// Lists what the command line lists.
    pub(crate) fn list<T: Item>(&self, selection: &[&str]) -> Result<Vec<T>> {
        views::list(&self.hub, selection)
    }

    /// Returns the cluster as the command line shows it.
    pub(crate) fn cluster_view(&self) -> Result<Cluster> {
        let clusters: Vec<Cluster> = self.list(&[])?;
        let found = clusters.into_iter().find(|cluster| cluster.name == self.name());
        found.with_context(|| format!("{} is not listed", self.name()))
    }

    /// Returns an addon's assignment as the command line shows it.
    pub(crate) fn assignment_view(&self, addon: Addon) -> Result<Assignment> {
        let assignments: Vec<Assignment> = self.list(&[addon.name()])?;
        assignments.into_iter().next().with_context(|| format!("{} is not listed", addon.name()))
    }

    /// Returns an addon's install as the command line shows it.
    pub(crate) fn install_view(&self, addon: Addon) -> Result<Option<Install>> {
        let installs: Vec<Install> = self.list(&[])?;
        Ok(installs.into_iter().find(|install| install.assignment == format!("{WORKSPACE}/{}", addon.name())))
    }

    /// Returns the Flux objects that addons rendered to, by `Kind/name`.
    pub(crate) fn live(&self) -> Result<BTreeMap<String, LiveObject>> {
        live::rendered(&self.cluster)
    }

    /// Returns the UID of every Flux object that addons rendered to, by `Kind/name`.
    pub(crate) fn uids(&self) -> Result<BTreeMap<String, String>> {
        Ok(self.live()?.into_iter().map(|(key, object)| (key, object.uid().to_owned())).collect())
    }

    /// Returns the Flux object that runs an addon.
    pub(crate) fn workload(&self, addon: Addon) -> Result<LiveObject> {
        let key = format!("{}/{}", addon.workload(), addon.name());
        self.live()?.remove(&key).with_context(|| format!("{key} is not in the cluster"))
    }

    /// Returns the version of an addon that is installed; `None` where it is not.
    pub(crate) fn installed_version(&self, addon: Addon) -> Result<Option<String>> {
        live::installed_version(&self.cluster, addon)
    }

    /// Waits until the cluster is live.
    pub(crate) fn wait_live(&self) -> Result<()> {
        steps::wait("the cluster to be live", || {
            let cluster = self.cluster_view()?;
            ensure!(cluster.connection == "live", "it is {cluster:?}");
            Ok(())
        })
    }

    /// Waits until an addon's version is applied, Ready, and its ConfigMap there.
    pub(crate) fn wait_ready(&self, addon: Addon, version: &str) -> Result<()> {
        steps::wait(&format!("{} {version} to be ready", addon.name()), || {
            let install = self.install_view(addon)?.context("there is no such install")?;
            let state = install.report.as_ref().map(|report| report.state.as_str());
            let is_ready =
                install.planned == "render" && state == Some("applied") && install.health.as_deref() == Some("ready");
            ensure!(is_ready, "it is {install:?}");
            let installed = self.installed_version(addon)?;
            ensure!(installed.as_deref() == Some(version), "version {installed:?} is in the cluster");
            Ok(())
        })
    }

    /// Assigns first versions, and waits until they are ready.
    pub(crate) fn install(&self, addons: &[Addon]) -> Result<()> {
        addons.iter().try_for_each(|addon| self.assign(*addon, addon.first()))?;
        addons.iter().try_for_each(|addon| self.wait_ready(*addon, addon.first()))
    }

    /// Waits until nothing of an addon is left, in the cluster and on the command line.
    pub(crate) fn wait_gone(&self, addon: Addon) -> Result<()> {
        steps::wait(&format!("{} to be gone", addon.name()), || {
            let name = addon.name();
            let live = self.live()?;
            let left: Vec<&String> = live.keys().filter(|key| key.ends_with(&format!("/{name}"))).collect();
            ensure!(left.is_empty(), "{left:?} is in the cluster");
            let installed = self.installed_version(addon)?;
            ensure!(installed.is_none(), "its ConfigMap is in the cluster");
            let install = self.install_view(addon)?;
            ensure!(install.is_none(), "the hub shows {install:?}");
            Ok(())
        })
    }

    /// Runs the command line; see [`steps::expect`].
    pub(crate) fn expect(&self, arguments: &[&str], code: i32, texts: &[&str]) -> Result<Printed> {
        steps::expect(&self.hub, arguments, code, texts)
    }

    fn whereabouts(&self) -> String {
        let tails = [self.hub.process(), self.agent.process()]
            .map(|process| format!("--- end of {}\n{}", process.log_path().display(), process.log_tail()));
        format!("all files of the test are in {}\n{}", self.folder.display(), tails.join("\n"))
    }
}
