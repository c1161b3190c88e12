//! HTTP CONNECT: asks a proxy for a connection to somewhere else.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::address::Address;

/// The bytes that a proxy may answer with before the tunnel.
const HEAD_BYTES: usize = 8192;

/// The characters of a proxy's reason that are shown.
const REASON_CHARACTERS: usize = 100;

/// A tunnel that did not come up.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// The proxy refused, with its status.
    #[error("it answered {status}{separator}{reason}{hint}", separator = if reason.is_empty() { "" } else { " " }, hint = hint(*.status))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The proxy's own words, shortened; may be empty.
        reason: String,
    },
    /// What the proxy answered is not HTTP, or too long.
    #[error("its answer is not that of an HTTP proxy: {0}")]
    Answer(&'static str),
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Asks the proxy at the other end of `stream` for a tunnel. From then on the stream leads to `target`.
///
/// # Errors
/// See [`TunnelError`]; the stream is of no more use.
pub async fn tunnel(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    target: &Address,
    authorization: Option<&str>,
) -> Result<(), TunnelError> {
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: starling\r\n");
    if let Some(authorization) = authorization {
        request.push_str("Proxy-Authorization: ");
        request.push_str(authorization);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let head = read_head(stream).await?;
    let (status, reason) = status_line(&head)?;
    if (200..300).contains(&status) { Ok(()) } else { Err(TunnelError::Refused { status, reason }) }
}

/// Reads to the empty line and not a byte beyond, for these are the tunnel's.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, TunnelError> {
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == HEAD_BYTES {
            return Err(TunnelError::Answer("it does not end"));
        }
        // A few hundred bytes, once a connection.
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !head.is_empty() => {
                return Err(TunnelError::Answer("it breaks off"));
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(io::Error::new(error.kind(), "it closed the connection").into());
            }
            Err(error) => return Err(error.into()),
        }
        if head.len() == 5 && head != b"HTTP/" {
            return Err(TunnelError::Answer("it does not begin with HTTP/"));
        }
    }
    Ok(head)
}

fn status_line(head: &[u8]) -> Result<(u16, String), TunnelError> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.splitn(3, ' ');
    let is_known = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
    let code = words.next().filter(|code| code.len() == 3).and_then(|code| code.parse().ok());
    let (true, Some(status)) = (is_known, code) else {
        return Err(TunnelError::Answer("its first line is not that of HTTP/1"));
    };
    let shown = words.next().unwrap_or_default().chars().filter(|sign| !sign.is_control());
    Ok((status, shown.take(REASON_CHARACTERS).collect()))
}

fn hint(status: u16) -> &'static str {
    match status {
        407 => " (give it http://user:password@host:port)",
        403 | 405 => " (it may not allow CONNECT to this port)",
        502..=504 => " (it cannot reach the hub)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(answer: &[u8]) -> (Result<(), TunnelError>, String, Vec<u8>) {
        let (mut ours, mut theirs) = tokio::io::duplex(64 * 1024);
        theirs.write_all(answer).await.unwrap();
        let target = Address::new("2001:db8::1", 8443);
        let proxy = async {
            let mut request = vec![0; 1024];
            let read = theirs.read(&mut request).await.unwrap();
            request.truncate(read);
            theirs.shutdown().await.unwrap();
            String::from_utf8(request).unwrap()
        };
        let (result, request) = tokio::join!(tunnel(&mut ours, &target, Some("Basic bWU6")), proxy);
        let mut rest = Vec::new();
        if result.is_ok() {
            ours.read_to_end(&mut rest).await.unwrap();
        }
        (result, request, rest)
    }

    #[tokio::test]
    async fn a_tunnel_begins_right_after_the_empty_line() {
        let (result, request, rest) = asked(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nhello").await;
        result.unwrap();
        assert_eq!(rest, b"hello");
        assert_eq!(
            request,
            "CONNECT [2001:db8::1]:8443 HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\nUser-Agent: starling\r\n\
             Proxy-Authorization: Basic bWU6\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn refusals_are_told_with_their_status() {
        for (answer, said) in [
            (
                "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
                "it answered 407 Proxy Authentication Required (give",
            ),
            ("HTTP/1.0 403 Forbidden\r\nX: y\r\n\r\n", "it answered 403 Forbidden (it may"),
            ("HTTP/1.1 502 \r\n\r\n", "it answered 502 (it cannot"),
            ("HTTP/1.1 500\r\n\r\n", "it answered 500"),
            ("SSH-2.0-OpenSSH\r\n", "does not begin with HTTP/"),
            ("HTTP/1.1 2000 OK\r\n\r\n", "first line"),
            ("HTTP/2 200 OK\r\n\r\n", "first line"),
            ("HTTP/1.1 200 OK\r\nX", "it breaks off"),
            ("", "it closed the connection"),
        ] {
            let error = asked(answer.as_bytes()).await.0.unwrap_err().to_string();
            assert!(error.contains(said), "{answer:?}: {error}");
        }
    }

    #[tokio::test]
    async fn an_answer_without_end_is_bounded() {
        let endless = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &vec![b'y'; 2 * HEAD_BYTES]].concat();
        assert!(matches!(asked(&endless).await.0, Err(TunnelError::Answer("it does not end"))));
    }
}
