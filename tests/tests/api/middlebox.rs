//! What stands between an agent and its hub: a proxy that is asked with CONNECT, and a balancer that cuts idle connections
//! or lets them die without a word.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A proxy that resolves every name to this machine; ends with its runtime.
#[derive(Clone)]
pub(crate) struct ConnectProxy {
    pub(crate) port: u16,
    tunnels: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    /// The header that it demands.
    credentials: watch::Sender<Option<String>>,
    /// Counts how often everything was cut.
    cuts: watch::Sender<u64>,
}

/// A balancer in front of one hub; ends with its runtime.
#[derive(Clone)]
pub(crate) struct Balancer {
    pub(crate) port: u16,
    accepted: Arc<AtomicU64>,
    cut: Arc<AtomicU64>,
    /// Connections up to this number are dead, and nobody is told.
    dead: watch::Sender<u64>,
}

impl ConnectProxy {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen as a proxy")?;
        let port = listener.local_addr()?.port();
        let (tunnels, refused) = (Arc::default(), Arc::default());
        let proxy = Self { port, tunnels, refused, credentials: watch::Sender::new(None), cuts: watch::Sender::new(0) };
        let served = proxy.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let proxy = served.clone();
                tokio::spawn(async move { proxy.serve(stream).await });
            }
        });
        Ok(proxy)
    }

    /// Demands a value of `Proxy-Authorization` from now on.
    pub(crate) fn demand(&self, credentials: &str) {
        self.credentials.send_replace(Some(credentials.to_owned()));
    }

    /// Cuts every tunnel, as a proxy that is restarted.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Tunnels that came up so far.
    pub(crate) fn tunnels(&self) -> u64 {
        self.tunnels.load(Ordering::Relaxed)
    }

    /// Requests that were refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut cuts = self.cuts.subscribe();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head.push(char::from(stream.read_u8().await.ok()?));
        }
        let target = head.strip_prefix("CONNECT ")?.split(' ').next()?;
        let port: u16 = target.rsplit_once(':')?.1.parse().ok()?;
        let demanded = self.credentials.borrow().clone();
        let given = head.lines().find_map(|line| line.strip_prefix("Proxy-Authorization: "));
        if demanded.is_some() && demanded.as_deref() != given {
            self.refused.fetch_add(1, Ordering::Relaxed);
            stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await.ok()?;
            return None;
        }
        let mut hub = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").await.ok()?;
        self.tunnels.fetch_add(1, Ordering::Relaxed);
        tokio::select! {
            _ = copy_bidirectional(&mut stream, &mut hub) => {}
            _ = cuts.changed() => {}
        }
        Some(())
    }
}

impl Balancer {
    /// Starts one that cuts what was idle for a while, in both directions.
    pub(crate) async fn start(hub: u16, idle: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen as a balancer")?;
        let port = listener.local_addr()?.port();
        let balancer = Self { port, accepted: Arc::default(), cut: Arc::default(), dead: watch::Sender::new(0) };
        let served = balancer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = served.accepted.fetch_add(1, Ordering::Relaxed) + 1;
                let balancer = served.clone();
                tokio::spawn(async move { balancer.serve(stream, number, hub, idle).await });
            }
        });
        Ok(balancer)
    }

    /// Lets every connection die that there is: they stay open and carry nothing.
    pub(crate) fn kill_silently(&self) {
        self.dead.send_replace(self.accepted());
    }

    /// Connections that came so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections that were cut because they were idle.
    pub(crate) fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    async fn serve(&self, mut agent: TcpStream, number: u64, hub: u16, idle: Duration) -> Option<()> {
        let mut hub = TcpStream::connect(("127.0.0.1", hub)).await.ok()?;
        let mut dead = self.dead.subscribe();
        let (mut out, mut back) = ([0; 16 * 1024], [0; 16 * 1024]);
        let mut moved = Instant::now();
        loop {
            let left = (moved + idle).saturating_duration_since(Instant::now());
            tokio::select! {
                read = agent.read(&mut out) => match read.ok()? {
                    0 => return Some(()),
                    length => hub.write_all(&out[..length]).await.ok()?,
                },
                read = hub.read(&mut back) => match read.ok()? {
                    0 => return Some(()),
                    length => agent.write_all(&back[..length]).await.ok()?,
                },
                () = tokio::time::sleep(left) => {
                    self.cut.fetch_add(1, Ordering::Relaxed);
                    return Some(());
                }
                () = killed(&mut dead, number) => return std::future::pending().await,
            }
            moved = Instant::now();
        }
    }
}

/// Waits until connections up to this number are dead.
async fn killed(dead: &mut watch::Receiver<u64>, number: u64) {
    let _ = dead.wait_for(|dead| *dead >= number).await;
}
