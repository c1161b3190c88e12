//! The API server away: what the fleet has is served, and what changed meanwhile is taken when it is back.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use starling_tests::steps::wait;

use super::bed::{Fleet, WEB, on_a_fleet};

#[test]
fn an_api_server_that_is_away_stops_changes_and_nothing_else() -> Result<()> {
    on_a_fleet("source-away", 2, &[], |fleet| {
        fleet.server.kill9()?;
        let available = || -> Result<bool> {
            let page = metrics(fleet.hub.http_port())?;
            Ok(page.lines().any(|line| line == "starling_source_available 1"))
        };
        wait("the metric to tell", || {
            ensure!(!available()?);
            Ok(())
        })?;
        // A person is nobody without the API server; the context that lies beside the store lets the local administrator in.
        let assignments = local_administrator(fleet, &["get", "assignments"])?;
        ensure!(assignments.contains("web") && assignments.contains("2/2"), "{assignments}");
        fleet.server.restart()?;
        fleet.apply(&WEB.replace("1.0.0", "1.1.0"))?;
        wait("the upgrade", || {
            let web = fleet.web()?;
            ensure!((web.version.as_str(), web.ready) == ("1.1.0", 2), "{web:?}");
            Ok(())
        })?;
        wait("the metric to tell", || {
            ensure!(available()?);
            Ok(())
        })?;
        fleet.wait_no_problem()
    })
}

/// Runs the command line with the context that the hub wrote, and without any kubeconfig.
fn local_administrator(fleet: &Fleet, arguments: &[&str]) -> Result<String> {
    let mut starling = Command::new(fleet.hub.programs().path("starling"));
    let config = fleet.hub.context_file();
    let printed = starling.env_remove("KUBECONFIG").arg("--config").arg(config).args(arguments).output();
    let printed = printed.context("run starling")?;
    ensure!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    Ok(String::from_utf8_lossy(&printed.stdout).into_owned())
}

fn metrics(port: u16) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("connect to the hub's monitoring")?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page).context("read the metrics")?;
    Ok(page)
}
