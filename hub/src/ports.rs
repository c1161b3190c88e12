//! The ports through which the hub meets the world: clock, entropy, listener, dialer; and their real implementations.
//!
//! Everything in the hub that tells the time, draws random bytes, accepts connections or opens them to etcd and to other hub
//! processes does so through a port, so
//! that a simulation can put its own behind them. Sleeping is tokio's, which a simulation steps itself.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use rand::TryRng as _;
use rand::rngs::SysRng;
use rustix::time::{ClockId, clock_gettime};
use starling_model::{Millis, Uid};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// Tells the time; never sleeps.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns wall time: milliseconds since the Unix epoch. It can jump.
    fn now(&self) -> Millis;

    /// Returns milliseconds since the machine booted, counted through suspension. It never goes back.
    fn uptime(&self) -> Millis;
}

/// Gives unpredictable bytes, fit for keys; in a simulation, a stream fixed by the seed.
pub trait Entropy: fmt::Debug + Send + Sync + 'static {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// What entropy is usually drawn for.
pub trait EntropyExt {
    /// Draws `N` bytes.
    fn bytes<const N: usize>(&self) -> [u8; N];

    /// Draws a random identity.
    fn uid(&self) -> Uid;

    /// Draws a number in `0..bound`, for jitter; zero if `bound` is zero.
    fn below(&self, bound: u64) -> u64;
}

/// A byte stream, before or after TLS.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

/// Accepts plain byte streams on an address that it has already bound.
#[async_trait]
pub trait Listener: Send + Sync + 'static {
    /// Waits for the next connection and returns it with the peer's address, for people; may be cancelled.
    ///
    /// # Errors
    /// Whatever the operating system says, such as too many open files; the next call may succeed.
    async fn accept(&self) -> io::Result<(Box<dyn Io>, String)>;

    /// Returns the address that is listened on, for people and for tests that bound port 0.
    fn address(&self) -> String;
}

/// Opens plain byte streams to etcd and to other processes of the hub; TLS runs on top of them.
#[async_trait]
pub trait Dialer: Send + Sync + 'static {
    /// Connects to `host:port`; may be cancelled.
    ///
    /// # Errors
    /// Whatever the network says; the next attempt may succeed.
    async fn dial(&self, address: &str) -> io::Result<Box<dyn Io>>;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

/// The machine's network, without proxies: etcd and the other processes are near.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpDialer;

/// A listening TCP socket.
#[derive(Debug)]
pub struct TcpListenerPort {
    listener: TcpListener,
    address: SocketAddr,
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for T {}

impl<E: Entropy + ?Sized> EntropyExt for E {
    fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    fn uid(&self) -> Uid {
        Uid::from_entropy(self.bytes())
    }

    fn below(&self, bound: u64) -> u64 {
        // The bias of a remainder is far below what jitter could show.
        u64::from_le_bytes(self.bytes()).checked_rem(bound).unwrap_or(0)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        millis(ClockId::Realtime)
    }

    fn uptime(&self) -> Millis {
        // The monotonic clock stops while a machine is suspended, and a lease must not.
        millis(ClockId::Boottime)
    }
}

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        SysRng.try_fill_bytes(bytes).expect("the operating system always has random bytes once it has booted");
    }
}

#[async_trait]
impl Dialer for TcpDialer {
    async fn dial(&self, address: &str) -> io::Result<Box<dyn Io>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

impl TcpListenerPort {
    /// Binds an address.
    ///
    /// # Errors
    /// The address is in use or not of this machine.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Returns the bound address, with the port that was chosen where 0 was asked for.
    #[must_use]
    pub fn socket_address(&self) -> SocketAddr {
        self.address
    }
}

#[async_trait]
impl Listener for TcpListenerPort {
    async fn accept(&self) -> io::Result<(Box<dyn Io>, String)> {
        let (stream, peer) = self.listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok((Box::new(stream), peer.to_string()))
    }

    fn address(&self) -> String {
        self.address.to_string()
    }
}

fn millis(clock: ClockId) -> Millis {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    Millis(seconds * 1000 + nanoseconds / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_tell_plausible_times() {
        let clock = SystemClock;
        assert!(clock.now() > Millis(1_700_000_000_000), "wall time is after 2023");
        let before = clock.uptime();
        assert!(before > Millis(0) && clock.uptime() >= before);
    }

    #[test]
    fn entropy_differs_and_stays_below_its_bound() {
        let entropy = OsEntropy;
        assert_ne!(entropy.bytes::<16>(), entropy.bytes::<16>());
        assert_ne!(entropy.uid(), entropy.uid());
        assert!((0..100).all(|_| entropy.below(7) < 7));
        assert_eq!(entropy.below(0), 0);
    }
}
