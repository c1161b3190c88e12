//! Two agents of one cluster around one Lease, with the rights of the manifest's service account: the active one is killed,
//! paused and stopped, and the other goes on where it was.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use starling_realparts::{Launch, Port, Process};
use starling_tests::logs::unexpected_errors;
use starling_tests::steps::{stays, wait};

use crate::support::{Addon, Bed, Source, on_a_cluster};

/// A Lease stands for 15 s after it was seen renewed, a standby looks every 2 s or so, and everything is slower here.
const TAKEN_OVER: Duration = Duration::from_secs(30);

/// A released Lease is seen at the next look.
const HANDED_OVER: Duration = Duration::from_secs(10);

/// Longer than a Lease, and than an agent takes between two looks at what it holds.
const LONG_ENOUGH: Duration = Duration::from_secs(25);

/// One agent's process, as its pod would run it.
struct Pod {
    process: Process,
    http: Port,
}

impl Pod {
    fn start(bed: &Bed, name: &str) -> Result<Self> {
        let folder = bed.cluster.folder().join("agent");
        let http = Port::reserve()?;
        let launch = Launch::new(name, &bed.hub.programs().path("starling-agent"), &folder)
            .args(["--hub", &bed.hub.address(), "--fleet", &bed.hub.options().fleet])
            .arg("--trust")
            .arg(folder.join("trust.pem"))
            .arg("--token")
            .arg(folder.join("token"))
            .arg("--kubeconfig")
            .arg(folder.join("kubeconfig"))
            .args(["--http", &http.address()])
            .env("STARLING_AGENT_LEADER_ELECT", "true")
            .env("STARLING_AGENT_POD_NAME", name);
        Ok(Self { process: Process::start(launch).with_context(|| format!("start {name}"))?, http })
    }

    fn name(&self) -> &str {
        self.process.name()
    }

    /// Asks one of its pages for the whole answer.
    fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.http.address()).context("reach the agent")?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.1\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Waits until its kubelet would be told that it is ready, as this.
    fn wait_standing(&self, standing: &str) -> Result<()> {
        wait(&format!("{} to be {standing}", self.name()), || {
            let answer = self.get("/readyz")?;
            ensure!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&format!("\r\n{standing}\n")), "{answer}");
            Ok(())
        })
    }

    fn sessions(&self) -> Result<usize> {
        Ok(std::fs::read_to_string(self.process.log_path())?.matches("session open").count())
    }
}

fn holder(bed: &Bed) -> Result<String> {
    Ok(bed.cluster.kubectl(&[
        "get",
        "lease",
        "starling-agent",
        "--namespace",
        "starling-system",
        "--output=jsonpath={.spec.holderIdentity}/{.spec.leaseTransitions}",
    ])?)
}

/// Waits until a pod holds the Lease and has the session; tells how long that took.
fn wait_taken_over(bed: &Bed, by: &Pod, lease: &str, at_most: Duration) -> Result<()> {
    let (began, sessions) = (Instant::now(), by.sessions()?);
    wait(&format!("{} to hold the lease", by.name()), || {
        let holder = holder(bed)?;
        ensure!(holder == lease, "{holder}, not {lease}");
        Ok(())
    })?;
    let taken = began.elapsed();
    ensure!(taken < at_most, "{} took over after {taken:?}", by.name());
    by.wait_standing("active")?;
    wait(&format!("{} to have the session", by.name()), || {
        ensure!(by.sessions()? > sessions, "{}", by.process.log_tail());
        Ok(())
    })?;
    println!("{} held the lease after {taken:?} and had the session after {:?}", by.name(), began.elapsed());
    bed.wait_live()
}

#[test]
fn a_standby_takes_over() -> Result<()> {
    on_a_cluster(Source::Directory, "standby", &[], |bed| {
        // The agent of every test has no standby.
        bed.agent.process().terminate(Duration::from_secs(20))?;
        let one = Pod::start(bed, "one")?;
        wait_taken_over(bed, &one, "one/0", TAKEN_OVER)?;
        let two = Pod::start(bed, "two")?;
        two.wait_standing("standby")?;
        bed.install(&[Addon::Web, Addon::Rules])?;
        let installed = bed.uids()?;
        let figures = two.get("/metrics")?;
        ensure!(figures.contains("starling_agent_active 0\n") && two.sessions()? == 0, "{figures}");
        println!("memory: active {}, standby {} bytes", one.process.resident_bytes()?, two.process.resident_bytes()?);

        // The machine is lost.
        one.process.kill9()?;
        wait_taken_over(bed, &two, "two/1", TAKEN_OVER)?;
        one.process.restart()?;
        one.wait_standing("standby")?;
        ensure!(bed.uids()? == installed, "something was made anew");

        // The machine is paused.
        two.process.pause()?;
        wait_taken_over(bed, &one, "one/2", TAKEN_OVER)?;
        bed.assign(Addon::Web, Addon::Web.second())?;
        bed.wait_ready(Addon::Web, Addon::Web.second())?;
        let upgraded = bed.uids()?;
        two.process.resume()?;
        two.wait_standing("standby")?;
        stays("what the active agent did", LONG_ENOUGH, || {
            ensure!(bed.uids()? == upgraded && holder(bed)? == "one/2", "the woken agent did something");
            let workload = bed.workload(Addon::Web)?;
            let version = workload.text("/spec/chart/spec/version");
            ensure!(version == Addon::Web.second(), "it is {version} again");
            Ok(())
        })?;
        let log = std::fs::read_to_string(two.process.log_path())?;
        ensure!(log.contains("the lease is lost"), "{}", two.process.log_tail());

        // The pod is evicted.
        let ended = one.process.terminate(Duration::from_secs(20))?;
        ensure!(ended.success(), "{ended}");
        wait_taken_over(bed, &two, "two/3", HANDED_OVER)?;
        bed.assign(Addon::Web, Addon::Web.mended())?;
        bed.wait_ready(Addon::Web, Addon::Web.mended())?;
        for pod in [&one, &two] {
            let errors = unexpected_errors(&pod.process.log_path(), &[])?;
            ensure!(errors.is_empty(), "unexpected errors of {}:\n{}", pod.name(), errors.join("\n"));
        }
        Ok(())
    })
}
