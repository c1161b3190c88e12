//! A proxy that loses answers, or holds requests back until long after somebody gave up on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// How long a request may take to be whole, or to be carried out.
const WHOLE: Duration = Duration::from_millis(300);

/// What the proxy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Passes everything on.
    Pass,
    /// Passes requests on, and cuts the connection when the answer comes.
    LoseAnswers,
    /// Keeps the next request, and passes it on alone when the mode changes.
    Hold,
}

/// A running proxy; it ends with the runtime.
pub(super) struct Proxy {
    pub(super) url: String,
    mode: watch::Sender<Mode>,
    lost: Arc<AtomicUsize>,
}

impl Proxy {
    pub(super) async fn start(target: &str) -> Self {
        let target = target.rsplit('/').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (mode, lost) = (watch::Sender::new(Mode::Pass), Arc::new(AtomicUsize::new(0)));
        let (modes, counter) = (mode.clone(), Arc::clone(&lost));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&target).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(requests(from_client, to_server, modes.subscribe()));
                tokio::spawn(answers(from_server, to_client, modes.subscribe(), Arc::clone(&counter)));
            }
        });
        Self { url, mode, lost }
    }

    pub(super) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// How many connections were cut.
    pub(super) fn lost(&self) -> usize {
        self.lost.load(Ordering::SeqCst)
    }
}

async fn requests(mut client: OwnedReadHalf, mut server: OwnedWriteHalf, mut mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = client.read(&mut buffer).await {
        if *mode.borrow() == Mode::Hold {
            let mut held = buffer[..length].to_vec();
            while let Ok(Ok(length @ 1..)) = timeout(WHOLE, client.read(&mut buffer)).await {
                held.extend_from_slice(&buffer[..length]);
            }
            let _ = mode.wait_for(|mode| *mode != Mode::Hold).await;
            let _ = server.write_all(&held).await;
            // That its sender gave up on it is not passed on.
            std::future::pending::<()>().await;
        }
        if server.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

async fn answers(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    mode: watch::Receiver<Mode>,
    lost: Arc<AtomicUsize>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = server.read(&mut buffer).await {
        if *mode.borrow() == Mode::LoseAnswers {
            lost.fetch_add(1, Ordering::SeqCst);
            sleep(WHOLE).await;
            return;
        }
        if client.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
