//! Agents behind proxies and balancers, and over IPv6.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use starling_agent::ports::{Dialer, Io, Ports, Proxies};
use starling_harness::StarlingPrograms;
use starling_realparts::{Launch, Port, Process};
use starling_tests::steps::{stays, wait};
use starling_tests::views::Adoption;

use crate::bed::{Bed, cluster, on_a_hub, spawn_agent};
use crate::documents::WORKSPACE;
use crate::middlebox::{Balancer, ConnectProxy};

/// Dials by a name that nobody but the proxy can resolve, as machines behind one do.
struct ByName(Ports);

#[async_trait::async_trait]
impl Dialer for ByName {
    async fn dial(&self, address: &str) -> io::Result<Box<dyn Io>> {
        let (_, port) = address.rsplit_once(':').ok_or(io::ErrorKind::InvalidInput)?;
        self.0.dialer.dial(&format!("hub.starling.test:{port}")).await
    }
}

fn by_name(https_proxy: &str, no_proxy: &str) -> Result<Ports> {
    let dialer = ByName(Ports::behind(Proxies::new(https_proxy, "", no_proxy)?));
    Ok(Ports { dialer: Arc::new(dialer), ..Ports::system() })
}

#[test]
fn an_agent_joins_and_stays_through_a_proxy() -> Result<()> {
    on_a_hub("networks-proxy", &[], |bed| {
        let proxy = bed.runtime.block_on(ConnectProxy::start())?;
        proxy.demand("Basic bWU6c0BjcjpldA==");
        let ports = by_name(&format!("http://me:s%40cr%3Aet@127.0.0.1:{}", proxy.port), "")?;
        let adoption = bed.adopt("edge", &[])?;
        let _agent = bed.run_agent_at(&cluster("edge"), &adoption, &bed.hub.address(), ports);
        bed.wait_live("edge")?;
        // One to join and one for the session.
        ensure!((proxy.tunnels(), proxy.refused()) == (2, 0), "{} {}", proxy.tunnels(), proxy.refused());
        for cut in 1..=2 {
            proxy.cut();
            wait("the agent to dial again", || {
                ensure!(proxy.tunnels() == 2 + cut, "{} tunnels", proxy.tunnels());
                Ok(())
            })?;
            bed.wait_live("edge")?;
        }
        Ok(())
    })
}

#[test]
fn an_agent_whom_the_proxy_refuses_waits_and_says_why() -> Result<()> {
    on_a_hub("networks-refusal", &[], |bed| {
        let proxy = bed.runtime.block_on(ConnectProxy::start())?;
        proxy.demand("Basic bWU6b3RoZXI=");
        let url = format!("http://me:secret@127.0.0.1:{}", proxy.port);
        let ports = by_name(&url, "")?;
        let adoption = bed.adopt("edge", &[])?;
        let _agent = bed.run_agent_at(&cluster("edge"), &adoption, &bed.hub.address(), ports.clone());
        wait("the proxy to refuse", || {
            ensure!(proxy.refused() > 0, "not yet");
            Ok(())
        })?;
        std::thread::sleep(Duration::from_secs(12));
        // Waits grow from a second on: without them there would be thousands.
        ensure!((2..=20).contains(&proxy.refused()), "{} attempts in 12 s", proxy.refused());
        let dialled = bed.runtime.block_on(ports.dialer.dial(&bed.hub.address()));
        let said = dialled.err().context("the proxy lets it through")?.to_string();
        ensure!(said.contains("407 Proxy Authentication Required") && said.contains("user:password"), "{said}");
        ensure!(said.contains("hub.starling.test") && !said.contains("secret"), "{said}");
        // The password is put right at the proxy.
        proxy.demand("Basic bWU6c2VjcmV0");
        bed.wait_live("edge")
    })
}

#[test]
fn what_no_proxy_names_is_dialled_directly() -> Result<()> {
    on_a_hub("networks-no-proxy", &[], |bed| {
        let proxy = bed.runtime.block_on(ConnectProxy::start())?;
        let url = format!("http://127.0.0.1:{}", proxy.port);
        let adoption = bed.adopt("edge", &[])?;
        // This machine itself.
        let ports = Ports::behind(Proxies::new(&url, "", "")?);
        let _agent = bed.run_agent_at(&cluster("edge"), &adoption, &bed.hub.address(), ports);
        bed.wait_live("edge")?;
        let direct = by_name(&url, "example.org, .starling.test")?;
        let dialled = bed.runtime.block_on(direct.dialer.dial(&bed.hub.address()));
        let said = dialled.err().context("somebody resolves the name")?.to_string();
        ensure!(said.contains("cannot resolve hub.starling.test"), "{said}");
        ensure!(proxy.tunnels() == 0, "{} tunnels", proxy.tunnels());
        Ok(())
    })
}

#[test]
fn the_agents_program_heeds_the_variables() -> Result<()> {
    let folder = crate::bed::scratch()?.folder("networks-program")?;
    let programs = StarlingPrograms::of_this_build()?;
    let kubeconfig = folder.join("kubeconfig");
    let text = "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
        contexts: [{name: c, context: {cluster: c, user: u}}]\n\
        clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}]\nusers: [{name: u, user: {token: t}}]\n";
    std::fs::write(&kubeconfig, text).context("write a kubeconfig")?;
    let start = |name: &str, proxy: &str| {
        let launch = Launch::new(name, &programs.path("starling-agent"), &folder)
            .args(["--hub", "hub.starling.test:8443", "--fleet", "demo", "--trust-pem", "none", "--kubeconfig"])
            .arg(&kubeconfig)
            .env("https_proxy", proxy);
        Process::start(launch)
    };
    // One that cannot be used is not passed by.
    let refused = start("refused", "socks5://me:secret@127.0.0.1:1080")?;
    let status = refused.wait(Duration::from_secs(30))?;
    let said = refused.log_tail();
    ensure!(!status.success() && said.contains("HTTPS_PROXY names a proxy of scheme"), "{status}: {said}");
    ensure!(!said.contains("secret"), "{said}");
    // The proxy leads to the hub, not to the cluster's own API server.
    let heeded = start("heeded", "http://me:secret@127.0.0.1:3128")?;
    wait("the agent to look for its API server", || {
        heeded.check_running()?;
        let said = std::fs::read_to_string(heeded.log_path())?;
        ensure!(said.contains("dialled through a proxy") && said.contains("cannot reach the cluster"), "{said}");
        ensure!(said.contains("http://127.0.0.1:3128") && !said.contains("secret"), "{said}");
        Ok(())
    })
}

/// Joins through a balancer that cuts connections after a while without a byte.
fn behind_a_balancer(bed: &Bed, idle: Duration, story: impl FnOnce(&Balancer) -> Result<()>) -> Result<()> {
    let hub: SocketAddr = bed.hub.address().parse()?;
    let balancer = bed.runtime.block_on(Balancer::start(hub.port(), idle))?;
    let adoption = bed.adopt("edge", &[])?;
    let address = format!("127.0.0.1:{}", balancer.port);
    let _agent = bed.run_agent_at(&cluster("edge"), &adoption, &address, Ports::system());
    bed.wait_live("edge")?;
    story(&balancer)
}

#[test]
fn a_balancer_that_is_more_patient_than_a_heartbeat_cuts_nothing() -> Result<()> {
    on_a_hub("networks-patient", &[], |bed| {
        behind_a_balancer(bed, Duration::from_secs(13), |balancer| {
            let accepted = balancer.accepted();
            stays("the session", Duration::from_secs(40), || {
                // The connection of joining may end as idle; it is of no more use.
                ensure!(balancer.accepted() == accepted && bed.view("edge")?.connection == "live", "dialled again");
                Ok(())
            })
        })
    })
}

#[test]
fn a_balancer_that_is_less_patient_meets_an_agent_that_comes_back() -> Result<()> {
    on_a_hub("networks-impatient", &[], |bed| {
        behind_a_balancer(bed, Duration::from_secs(3), |balancer| {
            for _ in 0..3 {
                let cut = balancer.cut();
                wait("the next cut", || {
                    ensure!(balancer.cut() > cut, "{cut} so far");
                    Ok(())
                })?;
                let began = Instant::now();
                bed.wait_live("edge")?;
                ensure!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
            }
            // Each connection lives for three seconds, and a wait follows that grows.
            ensure!(balancer.accepted() < 30, "{} connections", balancer.accepted());
            Ok(())
        })
    })
}

#[test]
fn a_connection_that_died_without_a_word_is_dialled_again() -> Result<()> {
    on_a_hub("networks-half-open", &[], |bed| {
        behind_a_balancer(bed, Duration::from_secs(600), |balancer| {
            let before = balancer.accepted();
            balancer.kill_silently();
            let began = Instant::now();
            wait("the agent to dial again", || {
                ensure!(balancer.accepted() > before, "not yet");
                Ok(())
            })?;
            // A session may be silent for 35 s, and the wait before the first attempt is up to 5 s.
            ensure!(began.elapsed() < Duration::from_secs(55), "{:?}", began.elapsed());
            bed.wait_live("edge")
        })
    })
}

#[test]
fn a_hub_is_reached_over_ipv6() -> Result<()> {
    let folder = crate::bed::scratch()?.folder("networks-ipv6")?;
    let programs = StarlingPrograms::of_this_build()?;
    let (agents, http) = (Port::reserve()?, Port::reserve()?);
    let address = format!("[::1]:{}", agents.number());
    let directory = folder.join("fleet");
    std::fs::create_dir_all(&directory).context("make the directory")?;
    std::fs::write(directory.join("catalogue.yaml"), crate::documents::CATALOGUE).context("write the catalogue")?;
    let launch = Launch::new("hub", &programs.path("starling-hub"), &folder)
        .args(["--fleet", "six", "--listen", &address, "--http", &format!("[::1]:{}", http.number())])
        .arg("--state")
        .arg(folder.join("state"))
        .arg("--directory")
        .arg(&directory);
    let hub = Process::start(launch)?;
    let starling = |arguments: &[&str]| -> Result<String> {
        let config = folder.join("state/admin.yaml");
        let mut command = std::process::Command::new(programs.path("starling"));
        let output = command.arg("--config").arg(config).args(arguments).output().context("run starling")?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    wait("the hub to answer over IPv6", || {
        hub.check_running()?;
        starling(&["get", "addons", "web"]).map(drop)
    })?;
    let adopt = starling(&["adopt", "cluster", "edge", "-w", WORKSPACE, "-o", "json"])?;
    let adoption: Adoption = serde_json::from_str(&adopt).context("read the adoption")?;
    ensure!(adoption.manifest.contains(&format!("--hub={address}")), "{}", adoption.manifest);
    let runtime = tokio::runtime::Runtime::new().context("start a runtime")?;
    let _agent = spawn_agent(&runtime, &cluster("edge"), &adoption, ("six", "identity"), &address, Ports::system());
    wait("edge to be live", || {
        let listed = starling(&["get", "clusters", "-o", "json"])?;
        ensure!(listed.contains("\"live\""), "{listed}");
        Ok(())
    })
}
