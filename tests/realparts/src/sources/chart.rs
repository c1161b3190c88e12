//! A minimal chart that renders one ConfigMap, so that a release of it becomes Ready without any pod.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{IoContext, Result, create_folder};

/// A chart to write, package and publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExampleChart {
    name: String,
    version: String,
    broken: bool,
}

const VALUES: &str = "message: hello\n";

/// The release's own ConfigMap is `<release>-<chart>` and shows version and message. The version is the `appVersion`, because
/// Flux appends a digest to the version of a chart that comes from an OCIRepository.
const CONFIG_MAP: &str = "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-{{ .Chart.Name }}
data:
  version: {{ .Chart.AppVersion | quote }}
  message: {{ .Values.message | quote }}
";

impl ExampleChart {
    /// The chart `podinfo-lite` at a semantic version; its one value is `message`.
    pub fn podinfo_lite(version: &str) -> Self {
        Self::new("podinfo-lite", version)
    }

    /// The same chart under another name.
    pub fn new(name: &str, version: &str) -> Self {
        Self { name: name.to_owned(), version: version.to_owned(), broken: false }
    }

    /// Makes its templates fail with `<name> <version> is broken`, as a bad release of an addon would.
    pub fn broken(mut self) -> Self {
        self.broken = true;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Writes the chart's folder below `parent` and returns it.
    pub fn write_to(&self, parent: &Path) -> Result<PathBuf> {
        let folder = parent.join(&self.name);
        create_folder(&folder.join("templates"))?;
        for (path, content) in self.files() {
            let path = folder.join(path);
            fs::write(&path, content).at_path("write", &path)?;
        }
        Ok(folder)
    }

    fn files(&self) -> Vec<(&'static str, String)> {
        let chart = format!(
            "apiVersion: v2\nname: {name}\nversion: {version}\nappVersion: {version}\n\
             description: Renders one ConfigMap.\ntype: application\n",
            name = self.name,
            version = self.version,
        );
        let mut files = vec![
            ("Chart.yaml", chart),
            ("values.yaml", VALUES.to_owned()),
            ("templates/config-map.yaml", CONFIG_MAP.to_owned()),
        ];
        if self.broken {
            let fail = format!("{{{{ fail \"{} {} is broken\" }}}}\n", self.name, self.version);
            files.push(("templates/broken.yaml", fail));
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broken_chart_has_the_failing_template() {
        let folder = tempfile::tempdir().unwrap();
        let good = ExampleChart::podinfo_lite("1.0.0").write_to(&folder.path().join("good")).unwrap();
        assert!(fs::read_to_string(good.join("Chart.yaml")).unwrap().contains("version: 1.0.0\n"));
        assert!(!good.join("templates/broken.yaml").exists());

        let broken = ExampleChart::podinfo_lite("1.0.1").broken().write_to(&folder.path().join("broken")).unwrap();
        let template = fs::read_to_string(broken.join("templates/broken.yaml")).unwrap();
        assert_eq!(template, "{{ fail \"podinfo-lite 1.0.1 is broken\" }}\n");
    }
}
