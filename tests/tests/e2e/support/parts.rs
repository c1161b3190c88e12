//! The parts that all tests of the process use together: programs, one etcd, and the servers of charts and repositories.

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

use anyhow::{Result, anyhow};
use starling_harness::StarlingPrograms;
use starling_realparts::{Etcd, ExampleChart, GitServer, HelmRepository, OciRegistry, Program, Programs};
use starling_tests::scratch::Scratch;

/// Clusters that run at the same time: each has about 700 MB, and more would only wait for the processors.
const CLUSTERS_AT_ONCE: usize = 4;

/// The versions of the chart that work.
const GOOD_VERSIONS: [&str; 3] = ["1.0.0", "1.1.0", "1.3.0"];

/// The version of the chart that cannot be rendered.
pub(crate) const BROKEN_VERSION: &str = "1.2.0";

/// What all tests of the process share.
pub(crate) struct Parts {
    pub(crate) real: Programs,
    pub(crate) starling: StarlingPrograms,
    pub(crate) etcd: Etcd,
    pub(crate) helm: HelmRepository,
    pub(crate) oci: OciRegistry,
    pub(crate) git: GitServer,
    scratch: Scratch,
}

/// The right to run one cluster.
pub(crate) struct Permit(());

static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// Returns the shared parts, which the first test starts.
pub(crate) fn parts() -> Result<&'static Parts> {
    static PARTS: OnceLock<Result<Parts, String>> = OnceLock::new();
    PARTS
        .get_or_init(|| Parts::start().map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|error| anyhow!("{error}"))
}

impl Parts {
    fn start() -> Result<Self> {
        let scratch = Scratch::of_tier(env!("CARGO_TARGET_TMPDIR"), "e2e")?;
        let starling = StarlingPrograms::of_this_build()?;
        let real = Programs::ensure(&Program::CLUSTER)?;
        let shared = scratch.folder("shared")?;
        let parts = Self {
            etcd: Etcd::start(&real, &shared.join("etcd"))?,
            helm: HelmRepository::start(&real, &shared.join("helm"))?,
            oci: OciRegistry::start(&real, &shared.join("oci"))?,
            git: GitServer::start(&shared.join("git"))?,
            real,
            starling,
            scratch,
        };
        parts.publish()?;
        Ok(parts)
    }

    /// Returns an empty folder for a test, which stays after it for whoever wants to read the logs.
    pub(crate) fn folder_of(&self, test: &str) -> Result<PathBuf> {
        self.scratch.folder(test)
    }

    fn publish(&self) -> Result<()> {
        let good = GOOD_VERSIONS.map(ExampleChart::podinfo_lite);
        for chart in good.iter().chain([&ExampleChart::podinfo_lite(BROKEN_VERSION).broken()]) {
            self.helm.publish(chart)?;
            self.oci.push(chart)?;
        }
        for version in ["v1", "v2"] {
            let config_map =
                format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: rules\ndata:\n  version: {version}\n");
            let kustomization = "resources: [rules.yaml]\n";
            let (rules, list) = (format!("{version}/rules.yaml"), format!("{version}/kustomization.yaml"));
            let files = [(rules.as_str(), config_map.as_str()), (list.as_str(), kustomization)];
            self.git.commit("rules", &format!("Add the rules {version}"), &files)?;
        }
        Ok(())
    }
}

impl Permit {
    /// Waits until another cluster may run.
    pub(crate) fn acquire() -> Self {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        while *running >= CLUSTERS_AT_ONCE {
            running = ENDED.wait(running).unwrap_or_else(PoisonError::into_inner);
        }
        *running += 1;
        Self(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ENDED.notify_one();
    }
}
