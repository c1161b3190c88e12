//! The API server that all tests of the process share, with the chart's definitions applied.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};
use starling_realparts::{ApiServer, Etcd, Kubectl, Program, Programs};
use starling_tests::scratch::Scratch;

/// One etcd, one API server, kubectl.
pub(crate) struct Bed {
    // Dropped in this order: the API server before the etcd that it would complain about.
    pub(crate) server: ApiServer,
    _etcd: Etcd,
    /// Held, so that another run of these tests waits.
    _scratch: Scratch,
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
        let server = ApiServer::start(&programs, &etcd, &shared.join("api-server"), "hub", &[])?;
        let bed = Self { server, _etcd: etcd, _scratch: scratch };
        for path in definitions()? {
            let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            bed.kubectl().apply(&text).with_context(|| format!("apply {}", path.display()))?;
        }
        let all =
            ["wait", "--for=condition=Established", "--timeout=60s", "crd", "-l", "app.kubernetes.io/part-of=starling"];
        bed.kubectl().run(&all)?;
        Ok(bed)
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

/// Lists the files of the chart's definitions.
pub(crate) fn definitions() -> Result<Vec<PathBuf>> {
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
