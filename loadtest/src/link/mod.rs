//! The links of simulated clusters: what lies between an agent and the wire.
//!
//! Owns latency, slow readers, connections that are cut, and how many bytes the wire carries. Lies below TLS, so that the agent above
//! is the real one, and what is counted is what travels. A link that delays nothing keeps no buffer.

mod stream;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use starling_agent::ports::{Dialer, Io, Ports};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub(crate) use stream::LinkStream;

/// What a cluster's link is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkOptions {
    /// How long every byte is on its way, in each direction.
    pub latency: Duration,
    /// How fast the cluster reads; `None` is as fast as it can.
    pub bytes_per_second: Option<u64>,
}

/// The bytes that links carried.
#[derive(Debug, Default)]
pub struct Wire {
    sent: AtomicU64,
    received: AtomicU64,
}

/// The link of one cluster: all connections of its agent go through it.
#[derive(Debug)]
pub struct Link {
    options: LinkOptions,
    wire: Arc<Wire>,
    /// Cancelled when the connections that there are break; the next ones have another.
    whole: Mutex<CancellationToken>,
    /// Connections that are open now.
    open: AtomicU64,
    /// Nothing is read any more.
    is_deaf: AtomicBool,
}

/// Dials as another dialer does, over a link.
struct LinkDialer {
    link: Arc<Link>,
    network: Arc<dyn Dialer>,
}

impl Wire {
    /// Returns the bytes that clusters sent so far, and those that they received.
    #[must_use]
    pub fn carried(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }
}

impl Link {
    /// Makes a link that counts on a wire.
    #[must_use]
    pub fn new(options: LinkOptions, wire: Arc<Wire>) -> Arc<Self> {
        Arc::new(Self {
            options,
            wire,
            whole: Mutex::default(),
            open: AtomicU64::new(0),
            is_deaf: AtomicBool::new(false),
        })
    }

    /// Returns ports whose connections go over this link.
    #[must_use]
    pub fn ports(self: &Arc<Self>, ports: Ports) -> Ports {
        let dialer = LinkDialer { link: Arc::clone(self), network: ports.dialer };
        Ports { dialer: Arc::new(dialer), ..ports }
    }

    /// Breaks the connections that there are, without a word to either end; returns whether there was one.
    pub fn cut(&self) -> bool {
        let was_open = self.open.load(Ordering::Relaxed) > 0;
        let broken = std::mem::take(&mut *self.whole.lock().unwrap_or_else(PoisonError::into_inner));
        broken.cancel();
        was_open
    }

    /// Reads nothing any more from the connections that there are and that will be; what is written still leaves.
    pub fn deafen(&self) {
        self.is_deaf.store(true, Ordering::Relaxed);
    }

    fn whole(&self) -> CancellationToken {
        self.whole.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Dialer for LinkDialer {
    async fn dial(&self, address: &str) -> io::Result<Box<dyn Io>> {
        // A connection costs a round trip before anything can be said.
        let round_trip = self.link.options.latency * 2;
        if !round_trip.is_zero() {
            sleep(round_trip).await;
        }
        let stream = self.network.dial(address).await?;
        Ok(Box::new(LinkStream::new(stream, &self.link)))
    }
}
