//! The one API server that all these tests share, and its turns: a hub's names are the cluster's, so that one test at a time
//! has it installed.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::{Context, Result, anyhow};
use starling_realparts::{ApiServer, Etcd, Kubectl, Program, Programs};
use starling_tests::scratch::Scratch;

use crate::support::{Case, NAMESPACE, helm, utf8};

/// Kinds of others that the charts may make objects of, with the fields that they use; any other field is refused.
const STUBS: &str = include_str!("values/stub-definitions.yaml");

/// Both families, so that the Service may ask for them.
const ADDRESSES: &str = "--service-cluster-ip-range=10.0.0.0/24,fd00:10::/112";

/// What tests make in the place of the programs that do not run here.
const LEFT: [&str; 5] = [
    "secret/starling-hub-keys",
    "secret/starling-agent-identity",
    "secret/fleet-authority",
    "secret/etcd-login",
    "configmap/starling-hub",
];

/// The shared API server.
#[derive(Debug)]
pub(crate) struct Bed {
    server: ApiServer,
    turn: Mutex<()>,
    _etcd: Etcd,
    _scratch: Scratch,
}

/// The right to install the charts; what is installed at its end is uninstalled.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) bed: &'static Bed,
    _guard: MutexGuard<'static, ()>,
}

/// Returns the API server, which the first test starts.
fn bed() -> Result<&'static Bed> {
    static BED: OnceLock<Result<Bed, String>> = OnceLock::new();
    BED.get_or_init(|| Bed::start().map_err(|error| format!("{error:#}"))).as_ref().map_err(|error| anyhow!("{error}"))
}

impl Bed {
    fn start() -> Result<Self> {
        let scratch = Scratch::of_tier(env!("CARGO_TARGET_TMPDIR"), "charts")?;
        let programs = Programs::ensure(&[Program::Etcd, Program::KubeApiserver, Program::Kubectl])?;
        let folder = scratch.folder("shared")?;
        let etcd = Etcd::start(&programs, &folder.join("etcd"))?;
        let server = ApiServer::start(&programs, &etcd, &folder.join("api-server"), "charts", &[ADDRESSES.to_owned()])?;
        server.admin().apply(STUBS)?;
        let stubs = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"];
        server.admin().run(&stubs).context("wait for the definitions of others")?;
        let namespace = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n  labels:\n    \
             pod-security.kubernetes.io/enforce: restricted\n"
        );
        server.admin().apply(&namespace)?;
        Ok(Self { server, turn: Mutex::new(()), _etcd: etcd, _scratch: scratch })
    }

    /// kubectl with admin rights.
    pub(crate) fn kubectl(&self) -> &Kubectl {
        self.server.admin()
    }

    /// Runs helm against the server.
    pub(crate) fn helm(&self, arguments: &[&str]) -> Result<String> {
        let kubeconfig: PathBuf = self.kubectl().kubeconfig().to_owned();
        Ok(helm()?.run(&[arguments, &["--kubeconfig", &utf8(&kubeconfig)?]].concat())?)
    }

    /// Installs or upgrades a chart as the release of its own name.
    pub(crate) fn release(&self, verb: &str, case: Case, arguments: &[&str]) -> Result<String> {
        let (folder, values) = (utf8(&case.chart.folder())?, case.values_path()?);
        let base = [verb, case.chart.name(), &folder, "--namespace", NAMESPACE, "--values", &values];
        self.helm(&[&base, arguments].concat())
    }

    /// Uninstalls a chart and returns what Helm says.
    pub(crate) fn uninstall(&self, case: Case) -> Result<String> {
        self.helm(&["uninstall", case.chart.name(), "--namespace", NAMESPACE, "--ignore-not-found"])
    }

    /// Whether an object is there.
    pub(crate) fn has(&self, arguments: &[&str]) -> Result<bool> {
        let found = self.kubectl().run(&[&["get", "-o", "name", "--ignore-not-found"], arguments].concat())?;
        Ok(!found.trim().is_empty())
    }
}

impl Turn {
    /// Waits for the turn; at its begin neither chart is installed, and the definitions may be there, as after an uninstall.
    pub(crate) fn take() -> Result<Self> {
        let bed = bed()?;
        let turn = Self { bed, _guard: bed.turn.lock().unwrap_or_else(PoisonError::into_inner) };
        turn.clean().context("clean up after the test before")?;
        Ok(turn)
    }

    /// Removes what the test before has left, or one that failed.
    fn clean(&self) -> Result<()> {
        for name in ["starling-hub", "starling-agent"] {
            self.bed.helm(&["uninstall", name, "--namespace", NAMESPACE, "--ignore-not-found"])?;
        }
        let delete = ["delete", "--ignore-not-found", "--namespace", NAMESPACE];
        self.bed.kubectl().run(&[&delete, LEFT.as_slice()].concat())?;
        Ok(())
    }
}
