//! The ports to the world besides the cluster: clocks, entropy, the network.
//!
//! Everything that differs between a pod, a simulated fleet in one process and a deterministic simulation is behind
//! these. Waiting is tokio's own time, which a simulation replaces.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use starling_dial::Address;
pub use starling_dial::Proxies;
use starling_model::{Millis, Uid};
use tokio::io::{AsyncRead, AsyncWrite};

/// Everything that an agent takes from outside.
#[derive(Clone)]
pub struct Ports {
    /// Wall time and time since boot.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Connections to the hub.
    pub dialer: Arc<dyn Dialer>,
}

/// Reads time.
pub trait Clock: Send + Sync + 'static {
    /// Returns wall time: milliseconds since the Unix epoch.
    fn now(&self) -> Millis;

    /// Returns milliseconds since boot, which go on while the machine sleeps.
    fn uptime(&self) -> Millis;
}

/// Draws randomness.
pub trait Entropy: Send + Sync + 'static {
    /// Fills the bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// Opens byte streams to the hub; TLS runs on top of them, inside the agent.
#[async_trait]
pub trait Dialer: Send + Sync + 'static {
    /// Connects to `host:port`.
    async fn dial(&self, address: &str) -> io::Result<Box<dyn Io>>;
}

/// A byte stream in both directions.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Ports {
    /// Returns the machine's own clocks, entropy and network; hubs are dialled directly.
    #[must_use]
    pub fn system() -> Self {
        Self::behind(Proxies::none())
    }

    /// Returns the machine's own clocks, entropy and network; hubs are dialled through these proxies.
    #[must_use]
    pub fn behind(proxies: Proxies) -> Self {
        let dialer = Arc::new(NetworkDialer { proxies });
        Self { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy), dialer }
    }

    /// Draws a number.
    pub(crate) fn draw(&self) -> u64 {
        let mut bytes = [0; 8];
        self.entropy.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Draws an identity.
    pub(crate) fn draw_uid(&self) -> Uid {
        let mut bytes = [0; 16];
        self.entropy.fill(&mut bytes);
        Uid::from_entropy(bytes)
    }

    /// Draws a wait between the two durations.
    pub(crate) fn draw_wait(&self, least: Duration, most: Duration) -> Duration {
        let span = u64::try_from(most.saturating_sub(least).as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        least + Duration::from_millis(self.draw() % span)
    }
}

/// The machine's clocks.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(0).plus(since_epoch)
    }

    fn uptime(&self) -> Millis {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
        Millis(seconds * 1000 + nanos / 1_000_000)
    }
}

/// The operating system's randomness, stretched by a generator of cryptographic quality.
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        rand::fill(bytes);
    }
}

/// TCP, through proxies where they lead.
pub struct NetworkDialer {
    proxies: Proxies,
}

#[async_trait]
impl Dialer for NetworkDialer {
    async fn dial(&self, address: &str) -> io::Result<Box<dyn Io>> {
        let address: Address = address.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let stream = starling_dial::connect(&address, &self.proxies).await?;
        Ok(Box::new(stream))
    }
}
