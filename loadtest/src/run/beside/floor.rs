//! What is timed with a floor, and in which order.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use tokio::time::sleep;

use super::{DRAINS_WITHIN, Driver, QUIET, add, end, order_all, shares, start_drivers, timed};
use crate::drive::Order;
use crate::floor::{ConnectOrder, FloorOrder, FloorServer, Push};
use crate::latency::Latency;
use crate::report::results::StepResult;
use crate::run::process::Usage;
use crate::scenario::Scenario;

/// Sessions of one server process: each needs an open file, and a process may have 20,000.
const SESSIONS_PER_SERVER: u32 = 15_000;

/// Messages there and back that are timed.
const ECHOES: u32 = 1000;

/// Changes to one, and to all.
const ROUNDS: (u64, u64) = (100, 3);

/// How many small deltas are sent in all, about, and by each session at most.
const DELTAS: (u32, u32) = (100_000, 500);

/// How long nothing but heartbeats is sent.
const IDLE: Duration = Duration::from_secs(20);

/// How long one thing may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(300);

/// The wait between changes.
const PAUSE: Duration = Duration::from_millis(100);

/// A floor with its clients.
struct Floor {
    servers: Vec<FloorServer>,
    drivers: Vec<Driver>,
    changes: u64,
}

/// Measures everything, and ends the processes.
pub(super) async fn measure(scenario: &Scenario, clusters: u32, step: &mut StepResult) -> Result<()> {
    let drivers = start_drivers(scenario, clusters)?;
    let count = if clusters > SESSIONS_PER_SERVER { drivers.len() } else { 1 };
    let servers = try_join_all((0..count).map(|_| FloorServer::start())).await?;
    let mut floor = Floor { servers, drivers, changes: 0 };
    floor.connect(scenario, clusters, step).await?;
    floor.idle(step).await?;
    let Floor { drivers, .. } = &floor;
    let echoed = drivers[0].order(Order::Floor(FloorOrder::Echo { times: ECHOES }), PATIENCE).await?;
    add(step, "echo", &timed(vec![echoed])?.0);
    for _ in 0..ROUNDS.0 {
        floor.change(true, step).await?;
    }
    for _ in 0..ROUNDS.1 {
        floor.change(false, step).await?;
    }
    floor.deltas(clusters, step).await?;
    // Sessions end before their servers, so that nobody has anything to complain about.
    end(floor.drivers).await
}

impl Floor {
    fn usage(&self) -> Result<Usage> {
        let mut sum = Usage::default();
        for server in &self.servers {
            let usage = server.usage()?;
            sum = Usage { cpu: sum.cpu + usage.cpu, resident: sum.resident + usage.resident };
        }
        Ok(sum)
    }

    async fn connect(&self, scenario: &Scenario, clusters: u32, step: &mut StepResult) -> Result<()> {
        let before = self.usage()?.resident;
        let began = Instant::now();
        let shares = shares(0, clusters, self.drivers.len() as u32);
        let orders = self.drivers.iter().zip(shares).enumerate().map(|(number, (driver, share))| {
            let server = &self.servers[number % self.servers.len()];
            let order = ConnectOrder {
                address: server.address().to_owned(),
                certificates: server.certificates().to_owned(),
                first: share.start,
                clusters: share.end - share.start,
                shape: scenario.fleet.clone(),
                seed: scenario.seed,
            };
            driver.order(Order::Floor(FloorOrder::Connect(Box::new(order))), PATIENCE)
        });
        try_join_all(orders).await?;
        step.figures.insert("live-seconds".into(), began.elapsed().as_secs_f64());
        sleep(QUIET).await;
        let grown = self.usage()?.resident.saturating_sub(before);
        step.figures.insert("bytes-per-cluster".into(), grown as f64 / f64::from(clusters));
        Ok(())
    }

    async fn idle(&self, step: &mut StepResult) -> Result<()> {
        let (began, before) = (Instant::now(), self.usage()?.cpu);
        let order = Order::Floor(FloorOrder::Idle { millis: IDLE.as_millis() as u64 });
        order_all(&self.drivers, &order, PATIENCE).await?;
        let used = self.usage()?.cpu.saturating_sub(before);
        step.figures.insert("heartbeat-cpus".into(), used.as_secs_f64() / began.elapsed().as_secs_f64());
        Ok(())
    }

    async fn change(&mut self, first_alone: bool, step: &mut StepResult) -> Result<()> {
        sleep(PAUSE).await;
        self.changes += 1;
        let change = self.changes;
        let servers = if first_alone { &mut self.servers[..1] } else { &mut self.servers[..] };
        let pushes = servers.iter_mut().map(|server| server.push(Push { change, first_alone }, PATIENCE));
        let pushed = try_join_all(pushes).await?;
        let since = pushed.iter().map(|pushed| pushed.since).min().context("the floor has no server")?;
        let patience_ms = DRAINS_WITHIN.as_millis() as u64;
        let order = Order::Floor(FloorOrder::Received { change, since, first_alone, patience_ms });
        let drivers = if first_alone { &self.drivers[..1] } else { &self.drivers[..] };
        let (received, missing) = timed(order_all(drivers, &order, PATIENCE).await?)?;
        ensure!(missing == 0, "{missing} sessions did not receive a change");
        let name = if first_alone { "one" } else { "all" };
        add(step, &format!("{name}-received"), &received);
        let mut acknowledged = Latency::new();
        pushed.iter().for_each(|pushed| acknowledged.add(&pushed.acknowledged));
        add(step, &format!("{name}-acknowledged"), &acknowledged);
        Ok(())
    }

    /// Lets every session send small deltas as fast as the server reads them.
    async fn deltas(&self, clusters: u32, step: &mut StepResult) -> Result<()> {
        let each = DELTAS.0.div_ceil(clusters).min(DELTAS.1);
        let (began, before) = (Instant::now(), self.usage()?.cpu);
        order_all(&self.drivers, &Order::Floor(FloorOrder::Deltas { each }), PATIENCE).await?;
        let (took, used) = (began.elapsed().as_secs_f64(), self.usage()?.cpu.saturating_sub(before));
        let sent = f64::from(each) * f64::from(clusters);
        step.figures.insert("changes-per-second".into(), sent / took);
        step.figures.insert("cpu-ms-per-change".into(), used.as_secs_f64() * 1000.0 / sent);
        Ok(())
    }
}
