//! A request on its way out: its head and its body, in one framing (J7).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderName};
use http_body::{Body as _, Frame};
use tokio::io::AsyncWrite;

use crate::proxy::upload::{Outgoing, UploadFault};

/// Pieces up to this size are copied behind the head, so that one write sends all.
const SMALL: usize = 8 * 1024;
/// So much is put together before it is sent.
const GATHERED: usize = 16 * 1024;
/// What a connection keeps of its buffer between requests.
const KEPT: usize = 4 * 1024;

/// How long the body is, in the words of HTTP/1.1.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Framing {
    /// No body, and no word about it.
    #[default]
    None,
    /// This many bytes.
    Length(u64),
    /// As many as come, and then those trailers that were announced (J12).
    Chunked(Vec<HeaderName>),
}

/// What is left to send of one request.
#[derive(Debug, Default)]
pub(super) struct Sending {
    /// The head, small pieces, and the words around a large one.
    buffer: Vec<u8>,
    /// A piece too large to be copied, sent after the buffer, and what closes it.
    piece: Bytes,
    closing: &'static [u8],
    /// How much of the buffer has left.
    left: usize,
    body: Outgoing,
    framing: Framing,
    stage: Stage,
    /// Whether a byte has left, or the body gave one that could not be given back.
    begun: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Nothing to send, or all of it was.
    #[default]
    Over,
    /// The body has more, or may have.
    Body,
    /// The body is over, and not all of it has left.
    Rest,
    /// The upstream takes no more.
    Refused,
}

/// Why nothing more is sent.
pub(super) enum Trouble {
    Body(UploadFault),
    /// The upstream takes nothing, and has seen nothing.
    Unsent(io::Error),
    /// The upstream takes no more.
    Refused,
}

impl Sending {
    pub(super) fn begin(
        &mut self,
        head: impl FnOnce(&mut Vec<u8>),
        framing: Framing,
        body: Outgoing,
    ) {
        self.buffer.clear();
        self.left = 0;
        head(&mut self.buffer);
        self.stage = match framing {
            Framing::None | Framing::Length(0) => Stage::Rest,
            Framing::Length(_) | Framing::Chunked(_) => Stage::Body,
        };
        self.framing = framing;
        self.body = body;
        self.begun = false;
    }

    pub(super) fn take_body(&mut self) -> Outgoing {
        std::mem::take(&mut self.body)
    }

    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Sends as much as the socket takes; ready once all has left.
    pub(super) fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut S,
        ctx: &mut Context<'_>,
    ) -> Poll<Result<(), Trouble>> {
        loop {
            match self.stage {
                Stage::Over => return Poll::Ready(Ok(())),
                Stage::Refused => return Poll::Ready(Err(Trouble::Refused)),
                Stage::Body => self.gather(ctx).map_err(Trouble::Body)?,
                Stage::Rest => {}
            }
            if self.is_empty() && self.stage == Stage::Body {
                return Poll::Pending;
            }
            if let Err(error) = ready!(self.poll_write(socket, ctx)) {
                self.stage = Stage::Refused;
                return Poll::Ready(Err(if self.begun {
                    Trouble::Refused
                } else {
                    Trouble::Unsent(error)
                }));
            }
            if self.stage == Stage::Rest {
                self.stage = Stage::Over;
                self.body = Outgoing::Empty;
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.piece.is_empty() && self.closing.is_empty()
    }

    /// Whether what comes next may stand at the buffer's end: whatever follows the buffer goes first.
    fn has_room(&self) -> bool {
        self.piece.is_empty() && self.closing.is_empty() && self.buffer.len() < GATHERED
    }

    /// Takes what the body has at once.
    fn gather(&mut self, ctx: &mut Context<'_>) -> Result<(), UploadFault> {
        while self.stage == Stage::Body && self.has_room() {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(ctx) else {
                break;
            };
            self.begun = true;
            match frame {
                Some(frame) => self.put(frame?)?,
                None => self.end(&HeaderMap::new())?,
            }
        }
        Ok(())
    }

    fn put(&mut self, frame: Frame<Bytes>) -> Result<(), UploadFault> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => return self.end(&frame.into_trailers().unwrap_or_default()),
        };
        if data.is_empty() {
            return Ok(());
        }
        let closing: &'static [u8] = match &mut self.framing {
            Framing::None => return Err(UploadFault::Broken),
            Framing::Length(left) => {
                *left = left
                    .checked_sub(data.len() as u64)
                    .ok_or(UploadFault::Broken)?;
                if *left == 0 {
                    self.stage = Stage::Rest;
                }
                b""
            }
            Framing::Chunked(_) => {
                self.buffer
                    .extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                b"\r\n"
            }
        };
        if data.len() <= SMALL {
            self.buffer.extend_from_slice(&data);
            self.buffer.extend_from_slice(closing);
        } else {
            self.piece = data;
            self.closing = closing;
        }
        Ok(())
    }

    /// The body is over, as it was announced to be.
    fn end(&mut self, trailers: &HeaderMap) -> Result<(), UploadFault> {
        match &self.framing {
            Framing::None | Framing::Length(0) => {}
            Framing::Length(_) => return Err(UploadFault::Broken),
            Framing::Chunked(announced) => {
                self.buffer.extend_from_slice(b"0\r\n");
                for (name, value) in trailers {
                    if announced.contains(name) {
                        put_field(&mut self.buffer, name.as_str(), value.as_bytes());
                    }
                }
                self.buffer.extend_from_slice(b"\r\n");
            }
        }
        self.stage = Stage::Rest;
        Ok(())
    }

    /// Writes all that is at hand.
    fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut S,
        ctx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let rest = self.buffer.get(self.left..).unwrap_or_default();
            let socket = Pin::new(&mut *socket);
            let written = if self.piece.is_empty() && self.closing.is_empty() {
                ready!(socket.poll_write(ctx, rest))?
            } else {
                let all = [rest, &self.piece, self.closing].map(IoSlice::new);
                ready!(socket.poll_write_vectored(ctx, &all))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.begun = true;
            self.has_left(written);
        }
        Pin::new(socket).poll_flush(ctx)
    }

    fn has_left(&mut self, mut written: usize) {
        let of_buffer = written.min(self.buffer.len() - self.left);
        self.left += of_buffer;
        written -= of_buffer;
        if self.left == self.buffer.len() {
            self.buffer.clear();
            self.buffer.shrink_to(KEPT);
            self.left = 0;
        }
        let of_piece = written.min(self.piece.len());
        self.piece.advance(of_piece);
        if let Some(rest) = self.closing.get(written - of_piece..) {
            self.closing = rest;
        }
    }
}

/// One field of a head or of trailers.
pub(in crate::proxy) fn put_field(into: &mut Vec<u8>, name: &str, value: &[u8]) {
    into.extend_from_slice(name.as_bytes());
    into.extend_from_slice(b": ");
    into.extend_from_slice(value);
    into.extend_from_slice(b"\r\n");
}
