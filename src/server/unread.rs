//! An HTTP/2 answer that its browser does not read, or hardly.
//!
//! A browser that keeps a stream's window shut holds the answer, and behind it a connection to an
//! upstream. The engine asks the body for nothing meanwhile, so the time is kept beside it (J18).

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::web::body::BodyError;
use crate::web::pace::{LeastRate, Pace};

/// The most that is given out at once: a frame's worth. A reader on a slow line has the whole limit
/// for each.
const PIECE: usize = 16 * 1024;

/// A streamed body that is let go when nobody asks for its next piece in time.
pub(super) struct Unread<B> {
    answer: Arc<Mutex<Answer<B>>>,
    watch: AbortHandle,
}

struct Answer<B> {
    /// `None` once it was let go.
    body: Option<B>,
    /// What is left of a large piece.
    rest: Bytes,
    /// Since when the browser could have asked; `None` while it waits for the body.
    unasked_since: Option<Instant>,
    /// The bytes that it will have taken once it asks.
    out: u64,
    pace: Pace,
}

impl<B> Answer<B> {
    /// From now on the browser is waited for, with so many bytes in its hand.
    fn gives(&mut self, bytes: usize) {
        self.out = bytes as u64;
        self.unasked_since = Some(Instant::now());
        self.pace.waits();
    }

    /// It has come for more.
    fn is_asked(&mut self) {
        if self.unasked_since.take().is_some() {
            self.pace.moves(std::mem::take(&mut self.out));
        }
    }

    /// When to look whether the browser has taken enough, where it is waited for, and when it has
    /// taken too long.
    fn bounds(&mut self, limit: Duration) -> Option<(Instant, Instant)> {
        let late_at = self.unasked_since? + limit;
        let look_at = self.pace.waits().map_or(late_at, |at| at.min(late_at));
        Some((look_at, late_at))
    }

    fn is_late(&mut self, now: Instant, limit: Duration) -> bool {
        self.bounds(limit).is_some_and(|(look_at, late_at)| {
            now >= late_at || (now >= look_at && self.pace.is_too_slow())
        })
    }
}

/// The browser left the answer lying.
#[derive(Debug, thiserror::Error)]
#[error("the browser did not read the answer in time")]
struct LeftUnread;

impl<B: Send + 'static> Unread<B> {
    /// `body`, each piece of which has to be asked for within `limit`, or within twice that, and all
    /// of them at this rate.
    pub(super) fn new(body: B, limit: Duration, least: LeastRate) -> Self {
        let mut answer = Answer {
            body: Some(body),
            rest: Bytes::new(),
            unasked_since: None,
            out: 0,
            pace: Pace::new(least),
        };
        answer.gives(0);
        let answer = Arc::new(Mutex::new(answer));
        let every = least.look_every().map_or(limit, |every| every.min(limit));
        let watch = tokio::spawn(watch(Arc::downgrade(&answer), limit, every)).abort_handle();
        Self { answer, watch }
    }
}

impl<B> Drop for Unread<B> {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// Looks at the answer now and then. `every` is the longest that it may go unwatched.
async fn watch<B>(answer: Weak<Mutex<Answer<B>>>, limit: Duration, every: Duration) {
    let mut look_at = Instant::now() + every;
    loop {
        sleep_until(look_at).await;
        let Some(answer) = answer.upgrade() else {
            return;
        };
        let late = {
            let mut answer = lock(&answer);
            let now = Instant::now();
            if answer.is_late(now, limit) {
                answer.body.take()
            } else {
                let bounds = answer.bounds(limit);
                look_at = bounds.map_or(now + every, |(look_at, _)| look_at.min(now + every));
                None
            }
        };
        if late.is_some() {
            tracing::debug!("an answer was left unread");
            return;
        }
    }
}

fn lock<B>(answer: &Mutex<Answer<B>>) -> MutexGuard<'_, Answer<B>> {
    answer.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B> Body for Unread<B>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut answer = lock(&self.answer);
        let answer = &mut *answer;
        answer.is_asked();
        let Some(body) = &mut answer.body else {
            return Poll::Ready(Some(Err(LeftUnread.into())));
        };
        if answer.rest.is_empty() {
            let Poll::Ready(frame) = Pin::new(body).poll_frame(ctx) else {
                return Poll::Pending;
            };
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => answer.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let piece = answer.rest.split_to(answer.rest.len().min(PIECE));
        answer.gives(piece.len());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        let answer = lock(&self.answer);
        answer.rest.is_empty() && answer.body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let answer = lock(&self.answer);
        let body = answer.body.as_ref().map(Body::size_hint);
        body.and_then(|hint| hint.exact())
            .map(|left| SizeHint::with_exact(left + answer.rest.len() as u64))
            .unwrap_or_default()
    }
}
