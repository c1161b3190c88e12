//! The way of agents into a hub of several processes: what a Service or a load balancer in front of them would do, without a process
//! in between that would take part of the machine.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use starling_agent::ports::{Dialer, Io, Ports};
use tokio::time::timeout;

/// How long one process may take to accept a connection before the next one is tried.
const ACCEPTS_WITHIN: Duration = Duration::from_secs(1);

/// What agents are told to dial, and what that leads to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Doors {
    /// The advertised address.
    pub(crate) advertised: String,
    /// The processes' own ones.
    pub(crate) processes: Vec<String>,
}

/// Dials the processes in turn where the advertised address is asked for; every other address is what it says.
struct InTurn {
    doors: Doors,
    next: AtomicUsize,
    network: Arc<dyn Dialer>,
}

impl Doors {
    /// Returns ports whose connections lead through these doors.
    pub(crate) fn ports(self, ports: Ports) -> Ports {
        let dialer = Arc::new(InTurn { doors: self, next: AtomicUsize::new(0), network: ports.dialer });
        Ports { dialer, ..ports }
    }
}

#[async_trait]
impl Dialer for InTurn {
    async fn dial(&self, address: &str) -> io::Result<Box<dyn Io>> {
        let Doors { advertised, processes } = &self.doors;
        if address != advertised {
            return self.network.dial(address).await;
        }
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut refused = io::Error::other("there is no process");
        for step in 0..processes.len() {
            let process = &processes[first.wrapping_add(step) % processes.len()];
            match timeout(ACCEPTS_WITHIN, self.network.dial(process)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => refused = error,
                Err(_) => refused = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(refused)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Remembers what was dialled; one address refuses.
    struct Remembering(Mutex<Vec<String>>);

    #[async_trait]
    impl Dialer for Remembering {
        async fn dial(&self, address: &str) -> io::Result<Box<dyn Io>> {
            self.0.lock().expect("nobody panicked").push(address.to_owned());
            if address == "b:1" {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            Ok(Box::new(tokio::io::empty()))
        }
    }

    #[tokio::test]
    async fn the_advertised_address_leads_to_the_processes_in_turn() {
        let network = Arc::new(Remembering(Mutex::default()));
        let doors = Doors { advertised: "all:1".into(), processes: vec!["a:1".into(), "b:1".into(), "c:1".into()] };
        let dialer: Arc<dyn Dialer> = Arc::clone(&network) as _;
        let ports = doors.ports(Ports { dialer, ..Ports::system() });
        for address in ["all:1", "all:1", "b:1", "all:1"] {
            assert_eq!(ports.dialer.dial(address).await.is_ok(), address == "all:1", "{address}");
        }
        // The second one goes on to the next, and a process that is asked for by its own name is no other.
        assert_eq!(*network.0.lock().expect("nobody panicked"), ["a:1", "b:1", "c:1", "b:1", "c:1"]);
    }
}
