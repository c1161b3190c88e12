//! One connection over a link.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{Link, LinkOptions};

/// Bytes that are on their way in one direction at most; beyond them, whoever sends waits.
const UNDER_WAY: usize = 256 * 1024;

/// Bytes that are read at once.
const CHUNK: usize = 8 * 1024;

/// How often a slow reader reads, a second.
const READS_PER_SECOND: u64 = 10;

/// A connection that is as slow as its link, and that counts.
pub(crate) struct LinkStream<S> {
    /// `None` once the link was cut.
    inner: Option<S>,
    link: Arc<Link>,
    broken: Pin<Box<WaitForCancellationFutureOwned>>,
    /// `None` where the link delays nothing.
    delays: Option<Box<Delays>>,
}

/// What is on its way.
struct Delays {
    options: LinkOptions,
    out: Transit,
    back: Transit,
    /// The hub said its last word, which is on its way, too.
    ends: bool,
    /// When a slow reader reads again.
    reads_at: Pin<Box<Sleep>>,
}

/// One direction: bytes with when they arrive, in order.
struct Transit {
    parts: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    timer: Pin<Box<Sleep>>,
}

impl<S> LinkStream<S> {
    /// Makes a connection of a link over another stream.
    pub(crate) fn new(inner: S, link: &Arc<Link>) -> Self {
        let LinkOptions { latency, bytes_per_second } = link.options;
        let is_slow = !latency.is_zero() || bytes_per_second.is_some();
        link.open.fetch_add(1, Ordering::Relaxed);
        Self {
            inner: Some(inner),
            link: Arc::clone(link),
            broken: Box::pin(link.whole().cancelled_owned()),
            delays: is_slow.then(|| Box::new(Delays::new(link.options))),
        }
    }

    /// Returns the parts; a link that was cut lets go of its stream.
    fn whole(&mut self, context: &mut Context<'_>) -> io::Result<(&mut S, &Link, Option<&mut Delays>)> {
        if self.broken.as_mut().poll(context).is_ready() {
            self.inner = None;
        }
        let inner = self.inner.as_mut().ok_or(io::ErrorKind::ConnectionReset)?;
        Ok((inner, &self.link, self.delays.as_deref_mut()))
    }
}

impl<S> Drop for LinkStream<S> {
    fn drop(&mut self) {
        self.link.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for LinkStream<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (inner, link, delays) = self.get_mut().whole(context)?;
        let Some(delays) = delays else {
            if link.is_deaf.load(Ordering::Relaxed) {
                // Woken by a cut alone.
                return Poll::Pending;
            }
            let before = buffer.filled().len();
            ready!(Pin::new(inner).poll_read(context, buffer))?;
            link.wire.received.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
            return Poll::Ready(Ok(()));
        };
        // Whoever waits for an answer only reads: what it said before leaves meanwhile.
        if let Poll::Ready(Err(error)) = delays.poll_out(context, inner, link) {
            return Poll::Ready(Err(error));
        }
        if link.is_deaf.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        delays.poll_in(context, inner, link)?;
        ready!(delays.back.poll_arrived(context));
        // An empty part is the end, and stays it.
        delays.back.take(buffer);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for LinkStream<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let (inner, link, delays) = self.get_mut().whole(context)?;
        if let Some(delays) = delays.filter(|delays| !delays.options.latency.is_zero()) {
            return delays.poll_send(context, inner, link, bytes);
        }
        let written = ready!(Pin::new(inner).poll_write(context, bytes))?;
        link.wire.sent.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (inner, link, delays) = self.get_mut().whole(context)?;
        if let Some(delays) = delays.filter(|delays| !delays.options.latency.is_zero()) {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return delays.poll_send(context, inner, link, first.map_or(&[], |slice| &**slice));
        }
        let written = ready!(Pin::new(inner).poll_write_vectored(context, slices))?;
        link.wire.sent.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (inner, link, delays) = self.get_mut().whole(context)?;
        if let Some(delays) = delays
            && delays.poll_out(context, inner, link)?.is_pending()
        {
            // What is on its way was sent, as far as its sender can tell.
            return Poll::Ready(Ok(()));
        }
        Pin::new(inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (inner, link, delays) = self.get_mut().whole(context)?;
        if let Some(delays) = delays {
            ready!(delays.poll_out(context, inner, link))?;
        }
        Pin::new(inner).poll_shutdown(context)
    }
}

impl Delays {
    fn new(options: LinkOptions) -> Self {
        let reads_at = Box::pin(sleep_until(Instant::now()));
        Self { options, out: Transit::new(), back: Transit::new(), ends: false, reads_at }
    }

    /// Takes bytes on their way, as long as there is room.
    fn poll_send<S: AsyncWrite + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        inner: &mut S,
        link: &Link,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let is_clear = self.poll_out(context, inner, link)?.is_ready();
        let taken = bytes.len().min(UNDER_WAY - self.out.bytes);
        if taken == 0 && !bytes.is_empty() {
            return Poll::Pending;
        }
        self.out.push(Instant::now() + self.options.latency, Bytes::copy_from_slice(&bytes[..taken]));
        if is_clear {
            // Nothing was awaited so far: from now on the first part's arrival is.
            let _ = self.poll_out(context, inner, link)?;
        }
        Poll::Ready(Ok(taken))
    }

    /// Writes what has arrived at the other end; ready once nothing is on its way.
    fn poll_out<S: AsyncWrite + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        inner: &mut S,
        link: &Link,
    ) -> Poll<io::Result<()>> {
        while let Some((_, part)) = self.out.parts.front() {
            let part = part.clone();
            ready!(self.out.poll_arrived(context));
            let written = ready!(Pin::new(&mut *inner).poll_write(context, &part))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            link.wire.sent.fetch_add(written as u64, Ordering::Relaxed);
            self.out.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what the hub sent on its way, at the pace of the reader, and as long as there is room.
    fn poll_in<S: AsyncRead + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        inner: &mut S,
        link: &Link,
    ) -> io::Result<()> {
        let mut chunk = [0; CHUNK];
        while !self.ends && self.back.bytes < UNDER_WAY {
            let mut most = CHUNK;
            if let Some(pace) = self.options.bytes_per_second {
                if self.reads_at.as_mut().poll(context).is_pending() {
                    break;
                }
                most = usize::try_from((pace / READS_PER_SECOND).max(1)).map_or(CHUNK, |most| most.min(CHUNK));
            }
            let mut read = ReadBuf::new(&mut chunk[..most]);
            let Poll::Ready(outcome) = Pin::new(&mut *inner).poll_read(context, &mut read) else { break };
            outcome?;
            let read = read.filled();
            if let Some(pace) = self.options.bytes_per_second {
                let rest = Duration::from_secs(1).mul_f64(read.len() as f64 / pace.max(1) as f64);
                self.reads_at.as_mut().reset(Instant::now() + rest);
            }
            link.wire.received.fetch_add(read.len() as u64, Ordering::Relaxed);
            self.ends = read.is_empty();
            self.back.push(Instant::now() + self.options.latency, Bytes::copy_from_slice(read));
        }
        Ok(())
    }
}

impl Transit {
    fn new() -> Self {
        Self { parts: VecDeque::new(), bytes: 0, timer: Box::pin(sleep_until(Instant::now())) }
    }

    fn push(&mut self, at: Instant, part: Bytes) {
        self.bytes += part.len();
        self.parts.push_back((at, part));
    }

    /// Waits until the first part has arrived; without one, whoever pushes one asks again.
    fn poll_arrived(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some((at, _)) = self.parts.front() else { return Poll::Pending };
        if *at <= Instant::now() {
            return Poll::Ready(());
        }
        if self.timer.deadline() != *at {
            self.timer.as_mut().reset(*at);
        }
        self.timer.as_mut().poll(context)
    }

    /// Moves bytes of the first part into a buffer.
    fn take(&mut self, buffer: &mut ReadBuf<'_>) {
        let Some((_, part)) = self.parts.front() else { return };
        let taken = part.len().min(buffer.remaining());
        buffer.put_slice(&part[..taken]);
        if taken > 0 {
            self.advance(taken);
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.bytes -= bytes;
        if let Some((_, part)) = self.parts.front_mut() {
            part.advance(bytes);
            if part.is_empty() {
                self.parts.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::super::Wire;
    use super::*;

    fn linked(latency_ms: u64, bytes_per_second: Option<u64>) -> (LinkStream<DuplexStream>, DuplexStream, Arc<Link>) {
        let options = LinkOptions { latency: Duration::from_millis(latency_ms), bytes_per_second };
        let link = Link::new(options, Arc::new(Wire::default()));
        let (ours, theirs) = duplex(1024 * 1024);
        (LinkStream::new(ours, &link), theirs, link)
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_take_the_latency_in_each_direction_and_are_counted() {
        let (mut agent, mut hub, link) = linked(80, None);
        let began = Instant::now();
        let answer = async {
            let mut asked = [0; 4];
            hub.read_exact(&mut asked).await.unwrap();
            assert_eq!((&asked, began.elapsed().as_millis()), (b"ping", 80));
            hub.write_all(b"welcome").await.unwrap();
            drop(hub);
        };
        let ask = async {
            agent.write_all(b"ping").await.unwrap();
            agent.flush().await.unwrap();
            assert_eq!(began.elapsed().as_millis(), 0, "sending does not wait for what is on its way");
            let mut heard = Vec::new();
            agent.read_to_end(&mut heard).await.unwrap();
            assert_eq!((heard.as_slice(), began.elapsed().as_millis()), (&b"welcome"[..], 160));
        };
        tokio::join!(answer, ask);
        assert_eq!(link.wire.carried(), (4, 7));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_large_arrives_whole_and_in_order() {
        let (mut agent, mut hub, link) = linked(5, None);
        let sent: Vec<u8> = (0..3 * UNDER_WAY).map(|index| (index % 251) as u8).collect();
        let mut heard = vec![0; sent.len()];
        let send = async {
            agent.write_all(&sent).await.unwrap();
            agent.shutdown().await.unwrap();
        };
        let (_, read) = tokio::join!(send, hub.read_exact(&mut heard));
        read.unwrap();
        assert_eq!((heard == sent, link.wire.carried().0), (true, sent.len() as u64));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_leaves_the_rest_with_its_sender() {
        let (mut agent, mut hub, link) = linked(0, Some(1000));
        hub.write_all(&[7; 5000]).await.unwrap();
        let began = Instant::now();
        let mut heard = vec![0; 2000];
        agent.read_exact(&mut heard).await.unwrap();
        assert!((1900..=2100).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
        assert_eq!(link.wire.carried(), (0, 2000), "the rest was not read ahead");
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_without_delays_carries_and_counts_all_the_same_until_it_is_cut() {
        let (mut agent, mut hub, link) = linked(0, None);
        agent.write_all(b"ping").await.unwrap();
        hub.write_all(b"pong!").await.unwrap();
        let mut heard = [0; 5];
        agent.read_exact(&mut heard).await.unwrap();
        assert_eq!((&heard, link.wire.carried()), (b"pong!", (4, 5)));

        let waiting = tokio::spawn(async move { agent.read(&mut [0; 1]).await });
        tokio::task::yield_now().await;
        assert!(link.cut());
        assert_eq!(waiting.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(hub.read_to_end(&mut Vec::new()).await.unwrap(), 4, "what had arrived did, and then nothing more");
        assert!(!link.cut(), "there is no connection left");
    }

    #[tokio::test(start_paused = true)]
    async fn a_deaf_one_still_speaks() {
        let (mut agent, mut hub, link) = linked(10, None);
        link.deafen();
        hub.write_all(b"hello?").await.unwrap();
        agent.write_all(b"beat").await.unwrap();
        let mut heard = [0; 4];
        let listens = tokio::time::timeout(Duration::from_secs(5), agent.read(&mut heard));
        let mut said = [0; 4];
        let (listened, read) = tokio::join!(listens, hub.read_exact(&mut said));
        read.unwrap();
        assert_eq!((listened.is_err(), &said, link.wire.carried()), (true, b"beat", (4, 0)));
    }
}
