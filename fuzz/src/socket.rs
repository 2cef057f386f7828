//! A socket in memory: what the other side sends comes in the pieces told, and what it hears is kept.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One end; a clone watches it.
#[derive(Debug, Clone)]
pub struct Socket(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    to_come: VecDeque<Bytes>,
    then: Then,
    /// Each piece is waited for once before it is there.
    waited: bool,
    heard: Vec<u8>,
}

/// What follows the last piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The other side hangs up.
    Ends,
    /// It stays, and says nothing.
    Stays,
}

impl Socket {
    /// One on which these pieces come.
    pub fn new(pieces: Vec<Bytes>, then: Then) -> Self {
        Self(Rc::new(RefCell::new(State {
            to_come: pieces.into(),
            then,
            waited: false,
            heard: Vec::new(),
        })))
    }

    /// Whether everything has come, and whoever waits for more waits in vain.
    pub fn is_silent(&self) -> bool {
        let state = self.0.borrow();
        state.to_come.is_empty() && state.then == Then::Stays
    }

    /// Whether nothing was left unread.
    pub fn is_drained(&self) -> bool {
        self.0.borrow().to_come.is_empty()
    }

    /// What the other side has heard.
    pub fn heard(&self) -> Vec<u8> {
        self.0.borrow().heard.clone()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        let State { to_come, then, waited, .. } = &mut *state;
        let Some(piece) = to_come.front_mut() else {
            return match then {
                Then::Ends => Poll::Ready(Ok(())),
                Then::Stays => Poll::Pending,
            };
        };
        if !std::mem::replace(waited, true) {
            ctx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let length = piece.len().min(room.remaining());
        room.put_slice(&piece[..length]);
        piece.advance(length);
        if piece.is_empty() {
            to_come.pop_front();
            *waited = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().heard.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
