//! The demo's fleet: the documents of `examples/fleet`, with the addresses of the servers that their addons come from.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use starling_realparts::{ExampleChart, GitServer, HelmRepository, OciRegistry, Program, Programs};

use crate::build;

/// The servers that addons come from.
#[derive(Debug)]
pub(crate) struct Sources {
    helm: String,
    oci: String,
    git: String,
    _servers: Option<(HelmRepository, OciRegistry, GitServer)>,
}

const POLICY: &str = "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: policy
  namespace: default
data:
  rule: no-latest-tags
";

impl Sources {
    /// Names servers that nobody asks: simulated clusters fetch nothing.
    pub(crate) fn simulated() -> Self {
        Self {
            helm: "https://charts.example.com".into(),
            oci: "oci://registry.example.com/charts".into(),
            git: "https://git.example.com/policies".into(),
            _servers: None,
        }
    }

    /// Serves the addons on loopback.
    pub(crate) fn serve(folder: &Path) -> Result<Self> {
        let programs = Programs::ensure(&Program::ALL)?;
        let helm = HelmRepository::start(&programs, &folder.join("helm"))?;
        for version in ["1.0.0", "1.1.0"] {
            helm.publish(&ExampleChart::podinfo_lite(version))?;
        }
        let oci = OciRegistry::start(&programs, &folder.join("oci"))?;
        oci.push(&ExampleChart::new("metrics-lite", "1.0.0"))?;
        let git = GitServer::start(&folder.join("git"))?;
        let kustomization = "resources: [policy.yaml]\n";
        let files = [("policies/policy.yaml", POLICY), ("policies/kustomization.yaml", kustomization)];
        git.commit("policies", "Add the first policy", &files)?;
        Ok(Self { helm: helm.url(), oci: oci.charts_url(), git: git.url("policies"), _servers: Some((helm, oci, git)) })
    }

    /// Writes the documents into a directory that a hub can read.
    pub(crate) fn write_fleet(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory).context("make the fleet's directory")?;
        let examples = build::root().join("examples/fleet");
        for entry in fs::read_dir(&examples).with_context(|| format!("list {}", examples.display()))? {
            let path = entry?.path();
            let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let text = text
                .replace("\"HELM\"", &format!("{:?}", self.helm))
                .replace("\"OCI/", &format!("\"{}/", self.oci))
                .replace("\"GIT\"", &format!("{:?}", self.git));
            fs::write(directory.join(path.file_name().unwrap_or_default()), text).context("write the fleet")?;
        }
        Ok(())
    }
}
