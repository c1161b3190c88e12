//! The pages for kubelet and monitoring: `GET /healthz` answers 200 while the process takes turns, `GET /readyz` while it is
//! the active agent or a standby (it says which; an active agent without a hub is ready, for it goes on repairing).
//!
//! Serves one small answer to whoever asks; bounded in connections, bytes and time.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
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
    let listener = bind(address).await?;
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

/// Listens on an address. The wildcard of IPv6 takes both families; where a machine has no IPv6, that of IPv4 is taken.
async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let unspecified_v6 = address.is_ipv6() && address.ip().is_unspecified();
    match TcpListener::bind(address).await {
        Err(error) if unspecified_v6 && error.kind() != io::ErrorKind::AddrInUse => {
            tracing::info!(%error, "no IPv6 here, listening on IPv4 alone");
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    }
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
    } else if request.starts_with(b"GET /readyz ") {
        match metrics.standing() {
            "starting" => ("503 Service Unavailable", PLAIN, "starting\n".to_owned()),
            standing => ("200 OK", PLAIN, format!("{standing}\n")),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_wildcard_answers_in_both_families() {
        let port = bind("[::]:0".parse().unwrap()).await.unwrap().local_addr().unwrap().port();
        let metrics = Metrics::new();
        serve(SocketAddr::new("::".parse().unwrap(), port), metrics.clone()).await.unwrap();
        for host in ["127.0.0.1", "::1"] {
            let address = SocketAddr::new(host.parse().unwrap(), port);
            assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 "));
            assert!(get(address, "/readyz").await.contains("503 Service Unavailable"));
        }
        metrics.set_standby(true);
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        assert!(get(address, "/readyz").await.ends_with("\r\n\r\nstandby\n"));
        assert!(get(address, "/metrics").await.contains("starling_agent_active 0"));
        assert!(get(address, "/").await.contains("404 Not Found"));
    }
}
