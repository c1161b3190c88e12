//! The API server that all tests of the process share, with the chart's definitions applied; and servers of their own for tests
//! with a hub, which works with every object that it finds.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};
use starling_harness::{Hub, HubOptions, KubernetesSource, StarlingPrograms};
use starling_realparts::{ApiServer, ControllerManager, Etcd, Kubectl, Program, Programs};
use starling_tests::scratch::Scratch;

/// One etcd, one API server, kubectl.
pub(crate) struct Bed {
    // Dropped in this order: the API server before the etcd that it would complain about.
    pub(crate) server: ApiServer,
    programs: Programs,
    scratch: Scratch,
    etcd: Etcd,
}

/// A hub over an API server of its own.
pub(crate) struct HubBed {
    pub(crate) hub: Hub,
    pub(crate) server: ApiServer,
}

/// Returns the shared parts, which the first test starts.
pub(crate) fn bed() -> Result<&'static Bed> {
    static BED: OnceLock<Result<Bed, String>> = OnceLock::new();
    BED.get_or_init(|| Bed::start().map_err(|error| format!("{error:#}"))).as_ref().map_err(|error| anyhow!("{error}"))
}

impl Bed {
    fn start() -> Result<Self> {
        let scratch = Scratch::of_tier(env!("CARGO_TARGET_TMPDIR"), "kubernetes")?;
        let programs = Programs::ensure(&[Program::Etcd, Program::KubeApiserver, Program::Kubectl])?;
        let shared = scratch.folder("shared")?;
        let etcd = Etcd::start(&programs, &shared.join("etcd"))?;
        let server = start_server(&programs, &etcd, &shared.join("api-server"), "shared")?;
        Ok(Self { server, programs, scratch, etcd })
    }

    /// Starts an API server and a hub that has it for its source, with every right.
    pub(crate) fn hub(&self, test: &str) -> Result<HubBed> {
        let folder = self.scratch.folder(test)?;
        let server = start_server(&self.programs, &self.etcd, &folder.join("api-server"), test)?;
        server.admin().run(&["create", "namespace", "starling-system"])?;
        let kubeconfig = server.admin().kubeconfig().to_owned();
        let source = KubernetesSource { hub: kubeconfig.clone(), person: kubeconfig };
        let options = HubOptions { kubernetes: Some(source), ..HubOptions::below(&folder, test) };
        let hub = Hub::start(&StarlingPrograms::of_this_build()?, &options)?;
        Ok(HubBed { hub, server })
    }

    /// Starts the controllers of an API server that finish namespaces off.
    pub(crate) fn controllers(&self, test: &str, server: &ApiServer) -> Result<ControllerManager> {
        let programs = Programs::ensure(&[Program::KubeControllerManager])?;
        let folder = server.admin().kubeconfig().with_file_name(format!("{test}-controllers"));
        let controllers = ControllerManager::start(&programs, server, &folder)?;
        controllers.wait_ready(server)?;
        Ok(controllers)
    }

    /// kubectl as a member of `system:masters`.
    pub(crate) fn kubectl(&self) -> &Kubectl {
        self.server.admin()
    }

    /// Makes a namespace of a name, and returns it.
    pub(crate) fn namespace<'a>(&self, name: &'a str) -> Result<&'a str> {
        self.kubectl().run(&["create", "namespace", name])?;
        Ok(name)
    }
}

fn start_server(programs: &Programs, etcd: &Etcd, folder: &Path, name: &str) -> Result<ApiServer> {
    let server = ApiServer::start(programs, etcd, folder, name, &[])?;
    for path in definitions()? {
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        server.admin().apply(&text).with_context(|| format!("apply {}", path.display()))?;
    }
    let ours = ["-l", "app.kubernetes.io/part-of=starling"];
    let established = ["wait", "--for=condition=Established", "--timeout=60s", "crd"];
    server.admin().run(&[established.as_slice(), &ours].concat())?;
    Ok(server)
}

/// Lists the files of the chart's definitions.
fn definitions() -> Result<Vec<PathBuf>> {
    let folder = checkout().join("charts/starling-hub/files/crds");
    let entries = fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    Ok(paths)
}

/// The folder of the checkout.
pub(crate) fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a folder of the checkout")
}
