//! Charts as the tests see them: where they are, with which values, and what Helm makes of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use starling_realparts::{Helm, Program, Programs};

/// The namespace that both charts are meant for.
pub(crate) const NAMESPACE: &str = "starling-system";

/// The name of the etcd that the hub's chart brings along where that is asked for.
pub(crate) const ETCD: &str = "starling-hub-etcd";

/// A chart of this repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chart {
    Hub,
    Agent,
}

/// A chart with a file of values, from `tests/charts/values`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) chart: Chart,
    pub(crate) values: &'static str,
}

/// What a chart renders to.
#[derive(Clone, Debug)]
pub(crate) struct Objects(pub(crate) Vec<Value>);

/// Every chart with every file of values that it has to work with.
pub(crate) const CASES: [Case; 9] = [
    Case { chart: Chart::Hub, values: "hub-defaults.yaml" },
    Case { chart: Chart::Hub, values: "hub-everything.yaml" },
    Case { chart: Chart::Hub, values: "hub-own-authority.yaml" },
    Case { chart: Chart::Agent, values: "agent-token.yaml" },
    Case { chart: Chart::Agent, values: "agent-everything.yaml" },
    Case { chart: Chart::Agent, values: "agent-single.yaml" },
    Case { chart: Chart::Hub, values: "hub-shards.yaml" },
    Case { chart: Chart::Hub, values: "hub-shards-external.yaml" },
    Case { chart: Chart::Hub, values: "hub-shards-node-ports.yaml" },
];

impl Chart {
    /// The chart's name, which is its workload's and its release's, too.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hub => "starling-hub",
            Self::Agent => "starling-agent",
        }
    }

    /// The folder of the chart.
    pub(crate) fn folder(self) -> PathBuf {
        root().join("charts").join(self.name())
    }

    /// A file of the chart.
    pub(crate) fn read(self, file: &str) -> Result<String> {
        let path = self.folder().join(file);
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }
}

impl Case {
    /// The path of the file of values.
    pub(crate) fn values_path(self) -> Result<String> {
        utf8(&root().join("tests/tests/charts/values").join(self.values))
    }

    /// Renders the chart, with further arguments of `helm template`.
    pub(crate) fn render(self, arguments: &[&str]) -> Result<Objects> {
        let (folder, values) = (utf8(&self.chart.folder())?, self.values_path()?);
        let base = ["template", self.chart.name(), &folder, "--namespace", NAMESPACE, "--values", &values];
        let text = helm()?.run(&[&base, arguments].concat())?;
        Objects::parse(&text).with_context(|| format!("read what {self:?} renders to"))
    }
}

impl Objects {
    /// Reads YAML documents; empty ones are left out.
    pub(crate) fn parse(yaml: &str) -> Result<Self> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(yaml)?;
        Ok(Self(documents.into_iter().filter(|document| !document.is_null()).collect()))
    }

    /// The one object of a kind and a name.
    pub(crate) fn one(&self, kind: &str, name: &str) -> Result<&Value> {
        self.find(kind, name).ok_or_else(|| anyhow!("there is no {kind} {name} among {:?}", self.names()))
    }

    /// The object of a kind and a name.
    pub(crate) fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.0.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    }

    /// Every object of a kind.
    pub(crate) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |object| object["kind"] == kind)
    }

    /// The one workload that runs a program of ours.
    pub(crate) fn workload(&self) -> Result<&Value> {
        self.workloads().find(|workload| workload["metadata"]["name"] != ETCD).context("there is no workload")
    }

    /// Every workload: the program's, and that of the bundled etcd.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = &Value> {
        let is_workload =
            |object: &&Value| ["StatefulSet", "Deployment", "DaemonSet"].iter().any(|kind| object["kind"] == *kind);
        self.0.iter().filter(is_workload)
    }

    /// `Kind/name` of each, in the order of Helm.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.iter().map(|object| format!("{}/{}", text(object, "/kind"), text(object, "/metadata/name"))).collect()
    }
}

/// Returns a field as text; empty where it is not there.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the items of a list; none where it is not there.
pub(crate) fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Returns the arguments of a workload's one container.
pub(crate) fn arguments(workload: &Value) -> Vec<String> {
    let all = items(workload, "/spec/template/spec/containers/0/args");
    all.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Returns the real Helm, with a home of its own.
pub(crate) fn helm() -> Result<&'static Helm> {
    static HELM: OnceLock<Result<Helm, String>> = OnceLock::new();
    let start = || -> Result<Helm> {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("charts-helm");
        Ok(Helm::new(&Programs::ensure(&[Program::Helm])?, &home)?)
    };
    HELM.get_or_init(|| start().map_err(|error| format!("{error:#}"))).as_ref().map_err(|error| anyhow!("{error}"))
}

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a folder of the checkout").to_owned()
}

pub(crate) fn utf8(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
}
