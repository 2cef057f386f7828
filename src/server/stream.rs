//! A socket that is watched: what moves on it, and who still holds it.
//!
//! hyper's own head timer runs from the end of the last answer, so it cannot tell an idle
//! connection from a slow head, and it allocates for every request. The [`Pulse`] can and does
//! not; `connection.rs` draws the consequences.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// What a connection is doing. One thread touches it; atomics since hyper wants `Send`.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    open: AtomicU32,
    turns: AtomicU32,
    head_begun: AtomicBool,
    write_stalled: AtomicBool,
    body_left: AtomicBool,
    abandoned: AtomicU32,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Its first request, of which nothing came yet.
    FirstHead,
    /// The rest of a head.
    Head,
    /// The next request.
    NextRequest,
    /// Us, or a body that others watch over.
    Answer,
    /// The peer to take what we wrote.
    Write,
}

impl Pulse {
    /// A request's head is complete.
    pub(super) fn request_began(&self, body: BodyAhead) {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.head_begun.store(false, Ordering::Relaxed);
        if body == BodyAhead::Some {
            self.body_left.store(true, Ordering::Relaxed);
        }
    }

    /// Its answer was handed over whole, or nobody wants it any more.
    pub(super) fn request_ended(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// The peer left a request before its answer began.
    pub(super) fn request_abandoned(&self) {
        self.abandoned.fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests were left so, over the connection's life.
    pub(super) fn abandoned(&self) -> u32 {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// What the connection waits for, and a number that differs when it is not the same wait as
    /// last time.
    pub(super) fn wait(&self) -> (Wait, u32) {
        let turn = self.turns.load(Ordering::Relaxed);
        let wait = if self.write_stalled.load(Ordering::Relaxed) {
            Wait::Write
        } else if self.open.load(Ordering::Relaxed) > 0 {
            Wait::Answer
        } else if self.head_begun.load(Ordering::Relaxed) {
            Wait::Head
        } else if turn == 0 {
            Wait::FirstHead
        } else {
            Wait::NextRequest
        };
        (wait, turn)
    }

    /// Whether a request with a body came: bytes of it may lie unread in the socket.
    pub(super) fn body_left(&self) -> bool {
        self.body_left.load(Ordering::Relaxed)
    }

    fn read(&self) {
        if self.open.load(Ordering::Relaxed) == 0 {
            self.head_begun.store(true, Ordering::Relaxed);
        }
    }

    fn wrote(&self, outcome: &Poll<io::Result<usize>>) {
        self.flushed(outcome.is_pending());
    }

    fn flushed(&self, pending: bool) {
        if self.write_stalled.swap(pending, Ordering::Relaxed) && !pending {
            // Progress: the next stall is a new one.
            self.turns.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether a request's head announced a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyAhead {
    None,
    Some,
}

/// What an open socket counts against; both free themselves with it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) _connection: OwnedSemaphorePermit,
    pub(super) _drain: TaskTrackerToken,
}

/// A socket with its pulse. Bytes read before the protocol was known are given out first.
#[derive(Debug)]
pub(super) struct Watched<S> {
    socket: S,
    ahead: Bytes,
    pulse: Arc<Pulse>,
    _held: Held,
}

impl<S> Watched<S> {
    pub(super) fn new(socket: S, ahead: Bytes, pulse: Arc<Pulse>, held: Held) -> Self {
        Self {
            socket,
            ahead,
            pulse,
            _held: held,
        }
    }

    /// Gives bytes out again that were read and not used.
    pub(super) fn put_back(&mut self, bytes: Bytes) {
        debug_assert!(self.ahead.is_empty(), "read before what is put back");
        // No bytes may still hold the buffer that they were read into.
        self.ahead = if bytes.is_empty() {
            Bytes::new()
        } else {
            bytes
        };
    }
}

impl<S: AsyncRead + Unpin> Watched<S> {
    /// Waits for bytes and keeps them for the next read; how many, 0 at the end. Holds no buffer
    /// while it waits.
    pub(super) async fn read_ahead(&mut self) -> io::Result<usize> {
        if self.ahead.is_empty() {
            self.ahead = std::future::poll_fn(|ctx| {
                let mut room = [MaybeUninit::uninit(); READ_AHEAD];
                let mut room = ReadBuf::uninit(&mut room);
                ready!(Pin::new(&mut self.socket).poll_read(ctx, &mut room))?;
                Poll::Ready(Ok::<_, io::Error>(Bytes::copy_from_slice(room.filled())))
            })
            .await?;
        }
        Ok(self.ahead.len())
    }
}

/// What is read of a connection at rest when something comes: most heads fit whole.
pub(super) const READ_AHEAD: usize = 2048;

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.socket).poll_read(ctx, buf))?;
            if buf.filled().len() > before {
                self.pulse.read();
            }
        } else {
            let bytes = buf.remaining().min(self.ahead.len());
            buf.put_slice(&self.ahead.split_to(bytes));
            if !self.ahead.has_remaining() {
                // Gives the buffer back now rather than when the connection ends.
                self.ahead = Bytes::new();
            }
            self.pulse.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(ctx, buf);
        self.pulse.wrote(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(ctx, bufs);
        self.pulse.wrote(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.socket).poll_flush(ctx);
        // TLS keeps sealed bytes of its own, which only a flush shows to be stuck.
        self.pulse.flushed(outcome.is_pending());
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.socket).poll_shutdown(ctx);
        self.pulse.flushed(outcome.is_pending());
        outcome
    }
}
