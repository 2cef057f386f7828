//! A socket that is watched: what moves on it, and who still holds it.
//!
//! hyper's own head timer runs from the end of the last answer, so it cannot tell an idle
//! connection from a slow head, and it allocates for every request. The [`Pulse`] can and does
//! not; `connection.rs` draws the consequences.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use memchr::memchr2;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::frames::Frames;
use super::room::Place;
use crate::web::strangers::Turn;

/// What a connection is doing. One thread touches it; atomics since hyper wants `Send`.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    open: AtomicU32,
    requests: AtomicU32,
    head_begun: AtomicBool,
    /// Heads of HTTP/2 that began: not every one becomes a request.
    heads: AtomicU32,
    write_stalled: AtomicBool,
    /// Stalls that are over.
    stalls: AtomicU32,
    written: AtomicU64,
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

impl Wait {
    /// Whether nothing of ours is waited for, and nobody for an answer.
    pub(super) const fn is_rest(self) -> bool {
        match self {
            Self::FirstHead | Self::Head | Self::NextRequest => true,
            Self::Answer | Self::Write => false,
        }
    }
}

impl Pulse {
    /// A request's head is complete.
    pub(super) fn request_began(&self, body: BodyAhead) {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.head_begun.store(false, Ordering::Relaxed);
        if body == BodyAhead::Some {
            self.body_left.store(true, Ordering::Relaxed);
        }
    }

    /// Its answer was handed over whole, or nobody wants it any more.
    pub(super) fn request_ended(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// The connection speaks another protocol from now on, whose bytes are no head.
    pub(super) fn upgraded(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
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
        let requests = self.requests.load(Ordering::Relaxed);
        if self.head_begun.load(Ordering::Relaxed) {
            let heads = self.heads.load(Ordering::Relaxed);
            (Wait::Head, requests.wrapping_add(heads))
        } else if self.write_stalled.load(Ordering::Relaxed) {
            (Wait::Write, self.stalls.load(Ordering::Relaxed))
        } else if self.open.load(Ordering::Relaxed) > 0 {
            (Wait::Answer, requests)
        } else if requests == 0 {
            (Wait::FirstHead, requests)
        } else {
            (Wait::NextRequest, requests)
        }
    }

    /// Whether a request is owed to us: a head has begun to come, or none ever came.
    pub(super) fn expects_a_head(&self) -> bool {
        self.head_begun.load(Ordering::Relaxed) || self.requests.load(Ordering::Relaxed) == 0
    }

    /// The bytes that the peer's side took, over the connection's life.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Whether a request with a body came: bytes of it may lie unread in the socket.
    pub(super) fn body_left(&self) -> bool {
        self.body_left.load(Ordering::Relaxed)
    }

    /// Bytes of HTTP/1 came: with no request under way they are of a head. Whether it begins with them.
    fn read(&self) -> bool {
        let begins =
            self.open.load(Ordering::Relaxed) == 0 && !self.head_begun.load(Ordering::Relaxed);
        if begins {
            self.head_begun.store(true, Ordering::Relaxed);
        }
        begins
    }

    /// Frames of HTTP/2 came.
    fn framed(&self, frames: &Frames, heads: u32) {
        self.heads.fetch_add(heads, Ordering::Relaxed);
        self.head_begun
            .store(frames.owes_a_head(), Ordering::Relaxed);
    }

    fn wrote(&self, outcome: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = outcome {
            let written = self.written() + *bytes as u64;
            self.written.store(written, Ordering::Relaxed);
        }
        self.flushed(outcome.is_pending());
    }

    fn flushed(&self, pending: bool) {
        if self.write_stalled.load(Ordering::Relaxed) == pending {
            return;
        }
        self.write_stalled.store(pending, Ordering::Relaxed);
        if !pending {
            // Progress: the next stall is a new one.
            self.stalls.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether a request's head announced a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyAhead {
    None,
    Some,
}

/// What an open socket counts against; all of it frees itself with it.
#[derive(Debug)]
pub(super) struct Held {
    /// Before the place: who takes that is counted next.
    pub(super) _turn: Option<Turn>,
    pub(super) place: Place,
    pub(super) _drain: TaskTrackerToken,
}

/// A socket with its pulse. Bytes read before the protocol was known are given out first.
#[derive(Debug)]
pub(super) struct Watched<S> {
    socket: S,
    ahead: Bytes,
    pulse: Arc<Pulse>,
    /// Where HTTP/2 is spoken.
    frames: Option<Frames>,
    /// Where HTTP/1 is spoken.
    first_line: FirstLine,
    _held: Held,
}

impl<S> Watched<S> {
    /// A socket that speaks HTTP/1.1.
    pub(super) fn new(socket: S, ahead: Bytes, pulse: Arc<Pulse>, held: Held) -> Self {
        Self {
            socket,
            ahead,
            pulse,
            frames: None,
            first_line: FirstLine::Over,
            _held: held,
        }
    }

    /// One that speaks HTTP/2: its preface is the first thing that the peer owes.
    pub(super) fn in_frames(mut self) -> Self {
        let frames = Frames::new();
        self.pulse.framed(&frames, 0);
        self.frames = Some(frames);
        self
    }

    fn came(&mut self, bytes: &mut [u8]) {
        match &mut self.frames {
            None => {
                if self.pulse.read() {
                    self.first_line = FirstLine::Blank;
                }
                if self.first_line != FirstLine::Over {
                    self.first_line = self.first_line.pass(bytes);
                }
            }
            Some(frames) => {
                let heads = frames.pass(bytes);
                self.pulse.framed(frames, heads);
            }
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

/// How much of the first line of a head has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FirstLine {
    /// Nothing but the empty lines that may come before it.
    Blank,
    Begun,
    Over,
}

impl FirstLine {
    /// Passes over the next bytes of the line.
    ///
    /// A `#` has no place in a request-target (I9). The engine would cut the target there and say
    /// nothing; made a NUL, it has the engine refuse the head.
    fn pass(mut self, bytes: &mut [u8]) -> Self {
        let mut rest = bytes;
        while let Some(at) = memchr2(b'\n', b'#', rest) {
            let (before, from) = std::mem::take(&mut rest).split_at_mut(at);
            let Some((found, after)) = from.split_first_mut() else {
                break;
            };
            self = self.grow(before);
            if *found == b'#' {
                *found = 0;
                self = Self::Begun;
            } else if self == Self::Begun {
                return Self::Over;
            }
            rest = after;
        }
        self.grow(rest)
    }

    fn grow(self, bytes: &[u8]) -> Self {
        if bytes.iter().all(|&byte| byte == b'\r') {
            self
        } else {
            Self::Begun
        }
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
        let before = buf.filled().len();
        if self.ahead.is_empty() {
            ready!(Pin::new(&mut self.socket).poll_read(ctx, buf))?;
        } else {
            let bytes = buf.remaining().min(self.ahead.len());
            buf.put_slice(&self.ahead.split_to(bytes));
            if !self.ahead.has_remaining() {
                // Gives the buffer back now rather than when the connection ends.
                self.ahead = Bytes::new();
            }
        }
        match buf.filled_mut().get_mut(before..) {
            Some([]) | None => {}
            Some(bytes) => self.came(bytes),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// I9: a `#` in the first line spoils it, wherever the reads cut it, and nothing after that line is
    /// touched.
    #[test]
    fn a_fragment_spoils_the_first_line_alone() {
        for (head, seen) in [
            (
                "GET /a#b HTTP/1.1\r\nx: #\r\n\r\n",
                "GET /a\0b HTTP/1.1\r\nx: #\r\n\r\n",
            ),
            ("\r\n\nGET /#\nx: #", "\r\n\nGET /\0\nx: #"),
            ("GET / HTTP/1.1\r\nx: #", "GET / HTTP/1.1\r\nx: #"),
            ("#\n#", "\0\n#"),
        ] {
            for cut in 0..head.len() {
                let mut bytes = head.as_bytes().to_vec();
                let (first, second) = bytes.split_at_mut(cut);
                let state = FirstLine::Blank.pass(first);
                if state != FirstLine::Over {
                    state.pass(second);
                }
                assert_eq!(String::from_utf8(bytes).unwrap(), seen, "{head:?} at {cut}");
            }
        }
    }
}
