//! A connection after its handshake, which knows its peer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::admission::OpenPlace;
use crate::ports::Io;
use crate::tls::PeerIdentity;

/// The length of HTTP/2's connection preface (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;

/// The caller of a connection.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// The address that it came from, for people.
    pub address: Arc<str>,
    /// What it proved.
    pub identity: PeerIdentity,
}

/// A connection that is ready for HTTP/2.
pub struct PeerStream {
    tls: TlsStream<Box<dyn Io>>,
    peer: Peer,
    preface: Option<Preface>,
    _place: OpenPlace,
}

/// What is still missing of HTTP/2's beginning, and until when it may be. hyper waits for it without an end.
struct Preface {
    missing: usize,
    ends: Pin<Box<Sleep>>,
}

impl Peer {
    /// Returns the caller of a request; one that came by another way than [`super::incoming`] proved nothing.
    #[must_use]
    pub fn of<T>(request: &tonic::Request<T>) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }
}

impl PeerStream {
    /// Wraps a connection on which HTTP/2 has to begin within a time.
    pub(super) fn new(tls: TlsStream<Box<dyn Io>>, peer: Peer, place: OpenPlace, begins_within: Duration) -> Self {
        let preface = Preface { missing: PREFACE_BYTES, ends: Box::pin(sleep(begins_within)) };
        Self { tls, peer, preface: Some(preface), _place: place }
    }

    /// Returns the caller.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Connected for PeerStream {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.tls).poll_read(context, buffer);
        let Some(preface) = &mut self.preface else { return polled };
        preface.missing = preface.missing.saturating_sub(buffer.filled().len() - before);
        if preface.missing == 0 {
            self.preface = None;
        } else if polled.is_pending() && preface.ends.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "HTTP/2 did not begin in time")));
        }
        polled
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }
}
