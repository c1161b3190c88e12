//! A classic Helm repository: `index.yaml` and packages, served over HTTP from a folder.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use axum::routing::get;

use crate::error::{IoContext, Result, create_folder};
use crate::programs::Programs;
use crate::sources::chart::ExampleChart;
use crate::sources::helm::{Helm, utf8};
use crate::sources::loopback_server::LoopbackServer;

/// A running repository; stopped on drop.
#[derive(Debug)]
pub struct HelmRepository {
    server: LoopbackServer,
    helm: Helm,
    charts: PathBuf,
}

impl HelmRepository {
    /// Serves what is published into `<folder>/charts`; empty at first, with an index.
    pub fn start(programs: &Programs, folder: &Path) -> Result<Self> {
        let charts = create_folder(&folder.join("charts"))?;
        let helm = Helm::new(programs, &folder.join("helm-home"))?;
        let router = Router::new().route("/{file}", get(serve_file)).with_state(Arc::new(charts.clone()));
        let server = LoopbackServer::start("helm-repository", router)?;
        let repository = Self { server, helm, charts };
        repository.write_index()?;
        Ok(repository)
    }

    /// What a HelmRepository's `spec.url` takes.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Packages a chart, replacing one of the same version, and updates the index.
    pub fn publish(&self, chart: &ExampleChart) -> Result<()> {
        self.helm.package(chart, &self.charts)?;
        self.write_index()
    }

    /// Removes a version from the repository.
    pub fn withdraw(&self, chart: &ExampleChart) -> Result<()> {
        let package = self.charts.join(format!("{}-{}.tgz", chart.name(), chart.version()));
        fs::remove_file(&package).at_path("remove", &package)?;
        self.write_index()
    }

    fn write_index(&self) -> Result<()> {
        self.helm.run(&["repo", "index", utf8(&self.charts)?]).map(|_| ())
    }
}

async fn serve_file(
    State(folder): State<Arc<PathBuf>>,
    UrlPath(file): UrlPath<String>,
) -> Result<Vec<u8>, (StatusCode, String)> {
    // The router gives one decoded segment, which could still be `..` or hold an encoded slash.
    if file.contains('/') || file.starts_with('.') {
        return Err((StatusCode::NOT_FOUND, "no such file\n".to_owned()));
    }
    // Small files of a test on a thread that serves nothing else: reading them blocks nobody.
    fs::read(folder.join(&file)).map_err(|error| match error.kind() {
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, "no such file\n".to_owned()),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, format!("read {file}: {error}\n")),
    })
}
