//! A TCP balancer in this process: one address before several servers, as a load balancer or a Service is.
//!
//! Owns its listener and which servers are ready: each is asked for `/readyz` every second, and connections go round those that
//! said yes; when none does, round all of them. Knows nothing of what the connections carry.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::error::{IoContext as _, Result};
use crate::ports::Port;
use crate::wait::http_get;

const PROBE_EVERY: Duration = Duration::from_secs(1);
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
const PAUSE_AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// A server behind the balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BalancerTarget {
    /// Where connections go.
    pub address: SocketAddr,
    /// Where `/readyz` is asked for.
    pub health: SocketAddr,
}

/// A running balancer; dropping it ends all its connections.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    targets: Arc<Targets>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    _port: Port,
}

#[derive(Debug, Default)]
struct Targets {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    targets: Vec<(BalancerTarget, bool)>,
    next: usize,
}

impl Balancer {
    /// Starts a balancer without servers on a port of its own.
    pub fn start(host: IpAddr) -> Result<Self> {
        let port = Port::reserve()?;
        let address = SocketAddr::new(host, port.number());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.doing(|| "start the balancer's runtime".to_owned())?;
        let listener = runtime.block_on(TcpListener::bind(address)).doing(|| format!("listen on {address}"))?;
        let targets = Arc::new(Targets::default());
        let (stop, mut stopped) = watch::channel(false);
        let table = Arc::clone(&targets);
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, Arc::clone(&table)) => {}
                    () = probe(&table) => {}
                    // An error means that the balancer was dropped.
                    _ = stopped.changed() => {}
                }
            });
            // A probe that hangs in its two seconds must not hold up whoever drops the balancer.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("balancer".to_owned()).spawn(run);
        let thread = thread.doing(|| "start the balancer's thread".to_owned())?;
        Ok(Self { address, targets, stop, thread: Some(thread), _port: port })
    }

    /// The address that clients dial, `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Replaces the servers; those that are new count as ready until they are asked.
    pub fn set_targets(&self, targets: &[BalancerTarget]) {
        let mut table = self.targets.lock();
        let known = std::mem::take(&mut table.targets);
        let ready =
            |target: &BalancerTarget| known.iter().find(|(old, _)| old == target).is_none_or(|(_, ready)| *ready);
        table.targets = targets.iter().map(|target| (*target, ready(target))).collect();
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("the balancer's thread panicked");
        }
    }
}

impl Targets {
    /// Returns the servers in the order in which the next connection tries them.
    fn order(&self) -> Vec<SocketAddr> {
        let mut table = self.lock();
        let ready: Vec<SocketAddr> =
            table.targets.iter().filter(|(_, ready)| *ready).map(|(target, _)| target.address).collect();
        let all = || table.targets.iter().map(|(target, _)| target.address).collect();
        let mut order: Vec<SocketAddr> = if ready.is_empty() { all() } else { ready };
        let turn = table.next % order.len().max(1);
        order.rotate_left(turn);
        table.next = table.next.wrapping_add(1);
        order
    }

    fn all(&self) -> Vec<BalancerTarget> {
        self.lock().targets.iter().map(|(target, _)| *target).collect()
    }

    fn mark(&self, probed: BalancerTarget, ready: bool) {
        let mut table = self.lock();
        for (target, state) in &mut table.targets {
            if *target == probed {
                *state = ready;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Every change is one assignment, so that a panic of another thread leaves a whole table.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, targets: Arc<Targets>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Out of open files, most likely: waiting is all that helps.
            sleep(PAUSE_AFTER_FAILED_ACCEPT).await;
            continue;
        };
        tokio::spawn(carry(client, targets.order()));
    }
}

/// Carries one connection to the first server that takes it.
async fn carry(mut client: TcpStream, order: Vec<SocketAddr>) {
    for address in order {
        if let Ok(Ok(mut server)) = timeout(CONNECT_WITHIN, TcpStream::connect(address)).await {
            // Without this each small message waits for the acknowledgement of the one before.
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            // Either end may go at any time, and the other one is then closed: that is all that there is to do.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            return;
        }
    }
}

async fn probe(targets: &Arc<Targets>) {
    loop {
        let probes: Vec<_> = targets
            .all()
            .into_iter()
            .map(|target| (target, tokio::task::spawn_blocking(move || http_get(target.health, "/readyz").is_ok())))
            .collect();
        for (target, answer) in probes {
            targets.mark(target, answer.await.unwrap_or(false));
        }
        sleep(PROBE_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpListener as Listener, TcpStream as Stream};

    use super::*;
    use crate::wait::wait_for;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A server that answers every connection with its name, and its readiness with a status that can change.
    fn server(name: &'static str) -> (BalancerTarget, Arc<Mutex<&'static str>>) {
        let (served, health) = (Listener::bind("127.0.0.1:0").unwrap(), Listener::bind("127.0.0.1:0").unwrap());
        let target = BalancerTarget { address: served.local_addr().unwrap(), health: health.local_addr().unwrap() };
        let status = Arc::new(Mutex::new("200 OK"));
        let says = Arc::clone(&status);
        std::thread::spawn(move || {
            for stream in served.incoming() {
                stream.unwrap().write_all(name.as_bytes()).unwrap();
            }
        });
        std::thread::spawn(move || {
            for stream in health.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(format!("HTTP/1.0 {}\r\n\r\n", says.lock().unwrap()).as_bytes());
            }
        });
        (target, status)
    }

    #[test]
    fn connections_go_round_the_servers_that_are_ready() {
        let balancer = Balancer::start(Ipv4Addr::LOCALHOST.into()).unwrap();
        let ask = || {
            let mut answer = String::new();
            Stream::connect(balancer.address()).unwrap().read_to_string(&mut answer).unwrap();
            answer
        };
        assert_eq!(ask(), "", "nobody is behind it yet");
        let ((one, status), (two, _)) = (server("one"), server("two"));
        balancer.set_targets(&[one, two]);
        let mut answers = [ask(), ask()];
        answers.sort_unstable();
        assert_eq!(answers, ["one", "two"]);

        *status.lock().unwrap() = "503 Service Unavailable";
        wait_for("the unready one to be left out", PATIENCE, || {
            let answers = [ask(), ask(), ask(), ask()];
            if answers.iter().all(|answer| answer == "two") { Ok(()) } else { Err(format!("{answers:?}")) }
        })
        .unwrap();
        *status.lock().unwrap() = "200 OK";
        wait_for("it to come back", PATIENCE, || if ask() == "one" { Ok(()) } else { Err(String::new()) }).unwrap();
    }
}
