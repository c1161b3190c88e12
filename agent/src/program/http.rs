//! The liveness page and the metrics: `GET /healthz` answers 200 while the process takes turns.
//!
//! Serves one small answer to whoever asks; bounded in connections, bytes and time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::metrics::Metrics;

const CONNECTIONS: usize = 8;
const REQUEST_BYTES: usize = 2048;
const PLAIN: &str = "text/plain";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Listens, and answers in the background.
pub(super) async fn serve(address: SocketAddr, metrics: Metrics) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tokio::spawn(async move {
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let metrics = metrics.clone();
                    tokio::spawn(async move {
                        let _ = timeout(ANSWER_WITHIN, answer(stream, &metrics)).await;
                        drop(slot);
                    });
                }
                // Out of files, most likely: accepting again at once would spin.
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    });
    Ok(())
}

async fn answer(mut stream: TcpStream, metrics: &Metrics) -> io::Result<()> {
    let mut request = Vec::with_capacity(256);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 256];
        let read = stream.read(&mut piece).await?;
        request.extend_from_slice(&piece[..read]);
        if read == 0 || request.len() > REQUEST_BYTES {
            return Ok(());
        }
    }
    let (status, kind, body) = if request.starts_with(b"GET /healthz ") {
        ("200 OK", PLAIN, "ok\n".to_owned())
    } else if request.starts_with(b"GET /metrics ") {
        match metrics.encode() {
            Ok(text) => ("200 OK", OPEN_METRICS, text),
            Err(error) => ("500 Internal Server Error", PLAIN, format!("{error}\n")),
        }
    } else {
        ("404 Not Found", PLAIN, "not found\n".to_owned())
    };
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
