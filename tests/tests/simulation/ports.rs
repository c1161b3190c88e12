//! The ports of hub and agents under turmoil: simulated time, numbers from the seed, streams of the simulated network.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use starling_agent::ports as agent;
use starling_hub::ports as hub;
use starling_model::Millis;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

use crate::random::Random;
use crate::trace::Trace;

/// 2026-01-01T00:00:00Z, at which every simulation begins.
pub(crate) const EPOCH: Duration = Duration::from_secs(1_767_225_600);

/// Simulated time as the driver knows it between two steps.
#[derive(Debug, Default)]
pub(crate) struct DriverTime(AtomicU64);

/// Simulated time, which goes on through crashes. What suspensions took counts as time since boot; a clock on the wall is
/// wrong by what it always was wrong.
#[derive(Debug)]
pub(crate) struct SimClock {
    driver: Arc<DriverTime>,
    suspended: AtomicU64,
    /// Where it stands while its machine is paused; [`RUNS`] while it is not.
    stalled: AtomicU64,
    ahead: Duration,
}

/// Of a clock that is not stalled.
const RUNS: u64 = u64::MAX;

/// A stream of numbers of one machine; it goes on, not over, when the machine's process restarts.
#[derive(Debug)]
pub(crate) struct SimEntropy(Mutex<Random>);

/// turmoil's listener.
pub(crate) struct SimListener {
    listener: TcpListener,
    address: String,
}

/// turmoil's connector; names are turmoil's hosts.
pub(crate) struct SimDialer {
    pub(crate) host: String,
    pub(crate) link: Arc<Link>,
    pub(crate) trace: Trace,
    /// Finds the machine behind an address, as a load balancer does.
    pub(crate) balancer: Arc<dyn Balancer>,
}

/// Finds the machine behind an address.
pub(crate) trait Balancer: Send + Sync {
    /// Returns where to dial for an address.
    fn find(&self, address: &str) -> String;
}

/// Where an address is the machine's own.
pub(crate) struct Direct;

/// A hub process's way to etcd and to the other processes.
pub(crate) struct HubDialer {
    pub(crate) host: String,
    pub(crate) trace: Trace,
}

/// What an agent's machine knows of its newest connection.
#[derive(Debug, Default)]
pub(crate) struct Link(Mutex<LinkState>);

#[derive(Debug, Default)]
struct LinkState {
    dialled: u64,
    open: Option<(u64, Duration)>,
}

/// A dialled stream that tells when it ends.
struct DialledStream {
    stream: TcpStream,
    number: u64,
    host: String,
    link: Arc<Link>,
    trace: Trace,
}

impl DriverTime {
    /// Tells the time between two steps.
    pub(crate) fn set(&self, elapsed: Duration) {
        self.0.store(millis(elapsed), Ordering::Relaxed);
    }
}

impl SimClock {
    /// Makes the clock of a machine.
    pub(crate) fn new(driver: &Arc<DriverTime>, ahead: Duration) -> Self {
        Self { driver: Arc::clone(driver), suspended: AtomicU64::new(0), stalled: AtomicU64::new(RUNS), ahead }
    }

    /// Lets time pass for this machine alone, as suspending it does: its timers stand still meanwhile.
    pub(crate) fn suspend(&self, time: Duration) {
        self.suspended.fetch_add(millis(time), Ordering::Relaxed);
    }

    /// Lets the clock stand still from now on, as a process that is stopped believes it did, or catch up.
    pub(crate) fn stall(&self, stalled: bool) {
        self.stalled.store(RUNS, Ordering::Relaxed);
        if stalled {
            self.stalled.store(self.elapsed(), Ordering::Relaxed);
        }
    }

    fn elapsed(&self) -> u64 {
        match self.stalled.load(Ordering::Relaxed) {
            // Between two steps there is no simulated host that could tell.
            RUNS => turmoil::sim_elapsed().map_or_else(|| self.driver.0.load(Ordering::Relaxed), millis),
            stands => stands,
        }
    }

    fn wall(&self) -> Millis {
        Millis(self.elapsed()).plus(EPOCH + self.ahead)
    }

    fn boot(&self) -> Millis {
        Millis(self.elapsed() + self.suspended.load(Ordering::Relaxed))
    }
}

impl hub::Clock for SimClock {
    fn now(&self) -> Millis {
        self.wall()
    }

    fn uptime(&self) -> Millis {
        self.boot()
    }
}

impl agent::Clock for SimClock {
    fn now(&self) -> Millis {
        self.wall()
    }

    fn uptime(&self) -> Millis {
        self.boot()
    }
}

impl SimEntropy {
    /// Begins the stream of a machine.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self(Mutex::new(Random::new(seed, stream)))
    }

    fn draw(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
    }
}

impl hub::Entropy for SimEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        self.draw(bytes);
    }
}

impl agent::Entropy for SimEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        self.draw(bytes);
    }
}

impl SimListener {
    /// Binds a port of the present host.
    pub(crate) async fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("0.0.0.0", port)).await?;
        Ok(Self { listener, address: format!("0.0.0.0:{port}") })
    }
}

#[async_trait]
impl hub::Listener for SimListener {
    async fn accept(&self) -> io::Result<(Box<dyn hub::Io>, String)> {
        let (stream, peer) = self.listener.accept().await?;
        Ok((Box::new(stream), peer.to_string()))
    }

    fn address(&self) -> String {
        self.address.clone()
    }
}

#[async_trait]
impl agent::Dialer for SimDialer {
    async fn dial(&self, address: &str) -> io::Result<Box<dyn agent::Io>> {
        let stream = match TcpStream::connect(self.balancer.find(address)).await {
            Ok(stream) => stream,
            Err(error) => {
                self.trace.note(&self.host, format!("cannot dial: {}", error.kind()));
                return Err(error);
            }
        };
        let number = self.link.opened();
        self.trace.note(&self.host, format!("dialled, connection {number}"));
        let (host, link, trace) = (self.host.clone(), Arc::clone(&self.link), self.trace.clone());
        Ok(Box::new(DialledStream { stream, number, host, link, trace }))
    }
}

#[async_trait]
impl hub::Dialer for HubDialer {
    async fn dial(&self, address: &str) -> io::Result<Box<dyn hub::Io>> {
        match TcpStream::connect(address).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => {
                self.trace.note(&self.host, format!("cannot dial {address}: {}", error.kind()));
                Err(error)
            }
        }
    }
}

impl Balancer for Direct {
    fn find(&self, address: &str) -> String {
        address.to_owned()
    }
}

impl Link {
    /// Returns how often the machine opened a connection.
    pub(crate) fn dialled(&self) -> u64 {
        self.state().dialled
    }

    /// Returns since when the newest connection is open; `None` if it was closed at this end.
    pub(crate) fn open_since(&self) -> Option<Duration> {
        self.state().open.map(|(_, since)| since)
    }

    fn opened(&self) -> u64 {
        let mut state = self.state();
        state.dialled += 1;
        let number = state.dialled;
        state.open = turmoil::sim_elapsed().map(|now| (number, now));
        number
    }

    fn closed(&self, number: u64) {
        let mut state = self.state();
        state.open = state.open.filter(|(open, _)| *open != number);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, LinkState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for DialledStream {
    fn drop(&mut self) {
        self.link.closed(self.number);
        self.trace.note(&self.host, format!("connection {} ended", self.number));
    }
}

impl AsyncRead for DialledStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for DialledStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).expect("a short time")
}
