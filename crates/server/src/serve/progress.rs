//! A stream whose writes have to make progress: a client that does not read is hung up on.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// What `tokio-io-timeout` does for writes, and it says to others whether a write waits.
#[derive(Debug)]
pub(super) struct Progress<S> {
    stream: S,
    limit: Duration,
    /// Runs while a write waits.
    patience: Option<Pin<Box<Sleep>>>,
    waits: Arc<AtomicBool>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Progress<S> {
    /// Writing fails when for so long not a single byte could be written.
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, patience: None, waits: Arc::default() }
    }

    /// Whether a write waits for the client.
    pub(super) fn waits(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.waits)
    }

    fn watched<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.patience = None;
            self.waits.store(false, Ordering::Relaxed);
            return written;
        }
        self.waits.store(true, Ordering::Relaxed);
        let limit = self.limit;
        let patience = self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(patience.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Progress<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Progress<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watched(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watched(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_write_that_makes_no_progress_fails_after_the_limit() {
        let (ours, _theirs) = duplex(8);
        let mut stream = Progress::new(ours, LIMIT);
        let waits = stream.waits();
        let begun = Instant::now();
        let failed = stream.write_all(&[0; 9]).await.unwrap_err();
        assert_eq!((failed.kind(), begun.elapsed().as_secs()), (io::ErrorKind::TimedOut, LIMIT.as_secs()));
        assert!(waits.load(Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn each_byte_that_is_taken_begins_the_limit_anew() {
        let (ours, mut theirs) = duplex(8);
        let mut stream = Progress::new(ours, LIMIT);
        let waits = stream.waits();
        let reader = tokio::spawn(async move {
            for _ in 0..20 {
                tokio::time::sleep(LIMIT.mul_f32(0.9)).await;
                theirs.read_u8().await.unwrap();
            }
            theirs
        });
        stream.write_all(&[0; 28]).await.unwrap();
        assert!(!waits.load(Ordering::Relaxed));
        drop(reader.await.unwrap());
    }
}
