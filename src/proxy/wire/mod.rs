//! One HTTP/1.1 connection to an upstream, driven by whoever holds it: a request out, its answer in.
//!
//! Ours, and not the engine's, since a request's head is written here straight from the browser's
//! fields: the engine takes a map, a channel and a task's wake for each. It reads an answer as
//! strictly.

mod body;
mod error;
mod head;
mod sending;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http_body::Frame;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use self::body::{Decoded, Decoder};
use self::head::Places;
use self::sending::{Sending, Trouble};

pub use self::error::WireError;
pub use self::sending::Framing;
pub use crate::proxy::upload::{Outgoing, Upload};

pub(in crate::proxy) use self::sending::put_field;

/// An answer's head must fit in this, and no more of a body is read ahead.
const READ_BUFFER: usize = 64 * 1024;
/// What is read at once from an upstream whose answers are small.
const FIRST_READ: usize = 8 * 1024;

/// A request to send.
#[derive(Debug)]
pub struct Outbound {
    /// How its body is framed.
    pub framing: Framing,
    /// The body.
    pub body: Outgoing,
    /// Whether its answer has a head alone.
    pub is_head: bool,
}

/// A connection; at most one request is under way on it.
pub struct Wire<S> {
    socket: S,
    /// What came and was not used yet.
    came: BytesMut,
    /// How much is read at once: it follows what comes.
    read_size: usize,
    /// Fields that a head or trailers may have.
    most_fields: usize,
    places: Places,
    sending: Sending,
    reading: Reading,
    /// Whether another request may follow the one under way.
    keeps: bool,
}

/// Where in an answer a connection is.
#[derive(Debug)]
enum Reading {
    /// In none.
    Nothing,
    Head {
        of_head: bool,
    },
    Body(Decoder),
    /// After a 101: what comes is no HTTP.
    Switched,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// A connection that has served nobody; a head may have this many fields.
    pub fn new(socket: S, most_fields: usize) -> Self {
        Self {
            socket,
            came: BytesMut::new(),
            read_size: FIRST_READ,
            most_fields,
            places: Places::default(),
            sending: Sending::default(),
            reading: Reading::Nothing,
            keeps: true,
        }
    }

    /// Begins a request on a connection that [`is_idle`](Self::is_idle); `head` writes its head, to the
    /// empty line.
    pub fn begin(&mut self, outbound: Outbound, head: impl FnOnce(&mut Vec<u8>)) {
        let Outbound {
            framing,
            body,
            is_head: of_head,
        } = outbound;
        self.sending.begin(head, framing, body);
        self.reading = Reading::Head { of_head };
    }

    /// The body of a request of which nothing was sent.
    pub fn take_body(&mut self) -> Outgoing {
        self.sending.take_body()
    }

    /// Sends, and reads up to the end of the answer's head; interim answers are passed over.
    pub fn poll_answer(&mut self, ctx: &mut Context<'_>) -> Poll<Result<Parts, WireError>> {
        self.drive_sending(ctx)?;
        let Reading::Head { of_head } = self.reading else {
            return Poll::Ready(Err(WireError::Ended));
        };
        loop {
            if let Some(head) = self.places.take(&mut self.came, self.most_fields)? {
                if head.is_interim() {
                    continue;
                }
                self.keeps = head.keeps_alive();
                self.reading = if head.is_switch() {
                    Reading::Switched
                } else {
                    match Decoder::of(&head, of_head, self.most_fields) {
                        Some(decoder) => {
                            self.keeps &= !decoder.ends_with_the_connection();
                            Reading::Body(decoder)
                        }
                        None => Reading::Nothing,
                    }
                };
                return Poll::Ready(Ok(head.parts));
            }
            if self.came.len() >= READ_BUFFER {
                return Poll::Ready(Err(WireError::HeadTooLarge));
            }
            let room = self.read_size.min(READ_BUFFER - self.came.len());
            match ready!(self.poll_read(room, ctx)) {
                Ok(0) => return Poll::Ready(Err(WireError::Ended)),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(WireError::Broken(error))),
            }
        }
    }

    /// The next piece of the answer's body; `None` at its end. Sends what is left to send as well.
    pub fn poll_body(
        &mut self,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, WireError>>> {
        self.try_poll_body(ctx).map(Result::transpose)
    }

    fn try_poll_body(
        &mut self,
        ctx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, WireError>> {
        self.drive_sending(ctx)?;
        loop {
            let Reading::Body(decoder) = &mut self.reading else {
                return Poll::Ready(Ok(None));
            };
            let decoded = decoder.decode(&mut self.came)?;
            if decoder.is_over() {
                self.reading = Reading::Nothing;
            }
            match decoded {
                Decoded::Data(data) => return Poll::Ready(Ok(Some(Frame::data(data)))),
                Decoded::Trailers(trailers) => {
                    return Poll::Ready(Ok(Some(Frame::trailers(trailers))));
                }
                Decoded::End => return Poll::Ready(Ok(None)),
                Decoded::Nothing => {}
            }
            match ready!(self.poll_read(self.read_size, ctx)) {
                Ok(0) => {
                    let Reading::Body(decoder) = &self.reading else {
                        return Poll::Ready(Ok(None));
                    };
                    if !decoder.ends_with_the_connection() {
                        return Poll::Ready(Err(WireError::Cut));
                    }
                    self.reading = Reading::Nothing;
                }
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(WireError::Broken(error))),
            }
        }
    }

    /// Whether all of the body was given out.
    pub const fn is_read(&self) -> bool {
        !matches!(self.reading, Reading::Body(_))
    }

    /// How much of the body is still to be given out, where that is known.
    pub const fn length_left(&self) -> Option<u64> {
        match &self.reading {
            Reading::Body(decoder) => decoder.length_left(),
            _ => Some(0),
        }
    }

    /// Whether the last exchange is over on both sides, nothing came after it, and another may follow (J8).
    pub fn is_over(&self) -> bool {
        self.keeps
            && matches!(self.reading, Reading::Nothing)
            && self.came.is_empty()
            && self.sending.is_over()
    }

    /// The same, and it is still open. Nobody is woken when that changes.
    pub fn is_idle(&mut self) -> bool {
        let mut octet = [0];
        let mut room = ReadBuf::new(&mut octet);
        let mut unwatched = Context::from_waker(Waker::noop());
        self.is_over()
            && Pin::new(&mut self.socket)
                .poll_read(&mut unwatched, &mut room)
                .is_pending()
    }

    /// The socket, and what came on it that nobody has read.
    pub fn into_parts(self) -> (S, Bytes) {
        (self.socket, self.came.freeze())
    }

    fn drive_sending(&mut self, ctx: &mut Context<'_>) -> Result<(), WireError> {
        match self.sending.poll(&mut self.socket, ctx) {
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
            Poll::Ready(Err(Trouble::Body(fault))) => Err(WireError::Upload(fault)),
            Poll::Ready(Err(Trouble::Unsent(error))) => Err(WireError::Unsent(error)),
            // It may have answered before it hung up; if it has not, its silence says so.
            Poll::Ready(Err(Trouble::Refused)) => {
                self.keeps = false;
                Ok(())
            }
        }
    }

    /// Reads once, about as much as `room`.
    fn poll_read(&mut self, room: usize, ctx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // What is left of the buffer will do, if it is no sliver.
        if self.came.capacity() - self.came.len() < room / 2 {
            self.came.reserve(room);
        }
        let room = self.came.capacity() - self.came.len();
        let read = ready!(pin!(self.socket.read_buf(&mut self.came)).poll(ctx))?;
        if read >= room {
            self.read_size = (self.read_size * 2).min(READ_BUFFER);
        } else if read < self.read_size / 4 {
            self.read_size = (self.read_size / 2).max(FIRST_READ);
        }
        Poll::Ready(Ok(read))
    }
}

impl<S> fmt::Debug for Wire<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("reading", &self.reading)
            .finish_non_exhaustive()
    }
}
