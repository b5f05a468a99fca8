//! Patience with peers that do not read: a connection whose peer takes nothing for a while is closed, so that it holds
//! neither what was to be sent nor a shutdown.

use std::future::{Future, Ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How long a peer may take nothing of what is to be sent.
const NOTHING_TAKEN: Duration = Duration::from_secs(30);

/// Gives every connection that is accepted this patience.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patient;

impl<I, S> Accept<I, S> for Patient {
    type Stream = Patiently<I>;
    type Service = S;
    type Future = Ready<io::Result<(Self::Stream, S)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        std::future::ready(Ok((Patiently::new(stream, NOTHING_TAKEN), service)))
    }
}

/// A connection that is closed when its peer takes nothing for too long.
#[derive(Debug)]
pub(super) struct Patiently<I> {
    stream: I,
    within: Duration,
    /// Runs while a write waits.
    waiting: Pin<Box<Sleep>>,
    is_waiting: bool,
}

impl<I> Patiently<I> {
    fn new(stream: I, within: Duration) -> Self {
        Self { stream, within, waiting: Box::pin(tokio::time::sleep(within)), is_waiting: false }
    }

    fn judge<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.is_waiting = false;
            return outcome;
        }
        if !self.is_waiting {
            self.is_waiting = true;
            self.waiting.as_mut().reset(Instant::now() + self.within);
        }
        match self.waiting.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Patiently<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Patiently<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const WITHIN: Duration = Duration::from_secs(3);

    #[tokio::test]
    async fn a_peer_that_reads_slowly_is_served_and_one_that_does_not_read_is_left() {
        let (ours, mut theirs) = tokio::io::duplex(4);
        let mut ours = Patiently::new(ours, WITHIN);
        let reading = async {
            let mut taken = [0; 4];
            // Longer than the patience in all, and never nearly as long at a time.
            for _ in 0..5 {
                tokio::time::sleep(WITHIN / 4).await;
                theirs.read_exact(&mut taken).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let writing = async {
            ours.write_all(&[7; 20]).await.unwrap();
            let began = Instant::now();
            let error = ours.write_all(&[7; 20]).await.unwrap_err();
            (error.kind(), began.elapsed())
        };
        // The reader first, so that it is never late because the machine was.
        tokio::select! {
            biased;
            () = reading => panic!("it reads no further"),
            (kind, took) = writing => {
                assert_eq!(kind, io::ErrorKind::TimedOut);
                assert!(took >= WITHIN, "{took:?}");
            }
        }
    }
}
