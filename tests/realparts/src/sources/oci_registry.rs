//! An OCI registry on loopback (crane's), which charts are pushed to.

use std::path::Path;
use std::time::Duration;

use crate::error::{IoContext, Result, create_folder};
use crate::ports::Port;
use crate::process::{Launch, Process};
use crate::programs::Programs;
use crate::recipes::Program;
use crate::sources::chart::ExampleChart;
use crate::sources::helm::{Helm, utf8};
use crate::wait::http_get_ok;

const READY_WITHIN: Duration = Duration::from_secs(30);
const CHARTS: &str = "charts";

/// A running registry without TLS; killed on drop.
#[derive(Debug)]
pub struct OciRegistry {
    process: Process,
    port: Port,
    helm: Helm,
}

impl OciRegistry {
    /// Starts a registry with its blobs below `folder`; they survive a restart.
    pub fn start(programs: &Programs, folder: &Path) -> Result<Self> {
        let folder = &create_folder(folder)?;
        let blobs = create_folder(&folder.join("blobs"))?;
        let port = Port::reserve()?;
        let launch = Launch::new("oci-registry", &programs.path(Program::Crane)?, folder)
            .args(["registry", "serve", "--address", &port.address(), "--disk"])
            .arg(&blobs);
        let helm = Helm::new(programs, &folder.join("helm-home"))?;
        let registry = Self { process: Process::start(launch)?, port, helm };
        registry.wait_ready()?;
        Ok(registry)
    }

    /// `oci://127.0.0.1:<port>/charts`, the parent of every pushed chart; it needs `insecure: true`.
    pub fn charts_url(&self) -> String {
        format!("oci://{}/{CHARTS}", self.port.address())
    }

    /// What an OCIRepository's `spec.url` takes for a chart; it needs `insecure: true`.
    pub fn chart_url(&self, chart: &ExampleChart) -> String {
        format!("{}/{}", self.charts_url(), chart.name())
    }

    /// Packages and pushes a chart; its version is the tag.
    pub fn push(&self, chart: &ExampleChart) -> Result<()> {
        let scratch = tempfile::tempdir().doing(|| "create a temporary folder".to_owned())?;
        let package = self.helm.package(chart, scratch.path())?;
        self.helm.run(&["push", utf8(&package)?, &self.charts_url(), "--plain-http"]).map(|_| ())
    }

    /// The process, to kill, pause or restart it.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Waits until the registry answers, as after a restart of its process.
    pub fn wait_ready(&self) -> Result<()> {
        self.process.wait_until("serves", READY_WITHIN, || http_get_ok(self.port.number(), "/v2/"))
    }
}
