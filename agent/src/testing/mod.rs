//! A cluster and a hub in memory, and a clock that only moves when nothing else does.

mod cluster;
mod hub;

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use starling_model::Millis;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub(crate) use self::cluster::{FakeCluster, flux_status};
pub(crate) use self::hub::{FakeHub, HubConnection, TOKEN, digest, fence, welcome};
use crate::ports::{Clock, Dialer, Io, Ports, SystemEntropy};

/// Wall time at the start of a test: certificates must be valid then.
pub(crate) const START: Millis = Millis(1_800_000_000_000);

/// Tokio's clock, which a test pauses.
pub(crate) struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now(&self) -> Millis {
        START.plus(self.0.elapsed())
    }

    fn uptime(&self) -> Millis {
        Millis(1_000_000).plus(self.0.elapsed())
    }
}

/// Connects to a hub in this process.
pub(crate) struct PipeDialer(pub(crate) mpsc::Sender<DuplexStream>);

#[async_trait]
impl Dialer for PipeDialer {
    async fn dial(&self, _address: &str) -> io::Result<Box<dyn Io>> {
        let (ours, theirs) = tokio::io::duplex(256 * 1024);
        self.0.send(theirs).await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        Ok(Box::new(ours))
    }
}

/// Connects to several hub processes in this process, by their addresses; others refuse.
pub(crate) struct Routes(pub(crate) Vec<(&'static str, PipeDialer)>);

#[async_trait]
impl Dialer for Routes {
    async fn dial(&self, address: &str) -> io::Result<Box<dyn Io>> {
        let route = self.0.iter().find(|(name, _)| *name == address);
        let (_, dialer) = route.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        dialer.dial(address).await
    }
}

/// Ports to a hub in this process.
pub(crate) fn ports(dialer: impl Dialer) -> Ports {
    Ports { clock: Arc::new(PausedClock(Instant::now())), entropy: Arc::new(SystemEntropy), dialer: Arc::new(dialer) }
}
