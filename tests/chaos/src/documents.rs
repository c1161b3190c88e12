//! The documents of a run: two workspaces, an addon, and the assignments that come, change and go.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The namespace of catalogue and assignments.
pub(crate) const PLATFORM: &str = "starling-platform";

/// The versions that an assignment changes between.
pub(crate) const VERSIONS: [&str; 2] = ["1.0.0", "1.1.0"];

/// Nothing is fetched by simulated clusters.
const CATALOGUE: &str = r#"apiVersion: starling.dev/v1alpha1
kind: Workspace
metadata:
  name: retail
spec: {}
---
apiVersion: starling.dev/v1alpha1
kind: Workspace
metadata:
  name: factory
spec: {}
---
apiVersion: starling.dev/v1alpha1
kind: Addon
metadata:
  name: app
  namespace: starling-platform
spec:
  title: app
  targetNamespace: app
  versions:
    - version: "1.0.0"
      source:
        helmRepository: {url: "https://charts.example.com", chart: app}
    - version: "1.1.0"
      source:
        helmRepository: {url: "https://charts.example.com", chart: app}
"#;

/// Writes workspaces and addon.
pub(crate) fn write_catalogue(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).context("make the fleet's directory")?;
    write(directory, "catalogue.yaml", CATALOGUE)
}

/// Writes an assignment of the addon to every cluster.
pub(crate) fn write_assignment(directory: &Path, name: &str, version: &str) -> Result<()> {
    let text = format!(
        "apiVersion: starling.dev/v1alpha1\nkind: AddonAssignment\nmetadata:\n  name: {name}\n  namespace: {PLATFORM}\n\
         spec:\n  addon: {{name: app}}\n  version: {version:?}\n  clusterSelector: {{}}\n"
    );
    write(directory, &format!("{name}.yaml"), &text)
}

fn write(directory: &Path, name: &str, text: &str) -> Result<()> {
    // Renamed into place, so that nobody reads half of it; a hidden name is no document.
    let (scratch, file) = (directory.join(format!(".{name}.new")), directory.join(name));
    fs::write(&scratch, text).and_then(|()| fs::rename(&scratch, &file)).with_context(|| format!("write {name}"))
}
