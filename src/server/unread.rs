//! An HTTP/2 answer that its browser does not read.
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

/// A streamed body that is let go when nobody asks for its next piece in time.
pub(super) struct Unread<B> {
    answer: Arc<Mutex<Answer<B>>>,
    watch: AbortHandle,
}

struct Answer<B> {
    /// `None` once it was let go.
    body: Option<B>,
    /// Since when the browser could have asked; `None` while it waits for the body.
    unasked_since: Option<Instant>,
}

/// The browser left the answer lying.
#[derive(Debug, thiserror::Error)]
#[error("the browser did not read the answer in time")]
struct LeftUnread;

impl<B: Send + 'static> Unread<B> {
    /// `body`, each piece of which has to be asked for within `limit`, or within twice that.
    pub(super) fn new(body: B, limit: Duration) -> Self {
        let answer = Arc::new(Mutex::new(Answer {
            body: Some(body),
            unasked_since: Some(Instant::now()),
        }));
        let watch = tokio::spawn(watch(Arc::downgrade(&answer), limit)).abort_handle();
        Self { answer, watch }
    }
}

impl<B> Drop for Unread<B> {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

async fn watch<B>(answer: Weak<Mutex<Answer<B>>>, limit: Duration) {
    let mut look_at = Instant::now() + limit;
    loop {
        sleep_until(look_at).await;
        let Some(answer) = answer.upgrade() else {
            return;
        };
        let late = {
            let mut answer = lock(&answer);
            let now = Instant::now();
            look_at = answer.unasked_since.unwrap_or(now) + limit;
            if now >= look_at {
                answer.body.take()
            } else {
                None
            }
        };
        if late.is_some() {
            tracing::debug!("an answer was left unread for too long");
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
        let Some(body) = &mut answer.body else {
            return Poll::Ready(Some(Err(LeftUnread.into())));
        };
        let piece = Pin::new(body).poll_frame(ctx);
        answer.unasked_since = piece.is_ready().then(Instant::now);
        piece
    }

    fn is_end_stream(&self) -> bool {
        let answer = lock(&self.answer);
        answer.body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let answer = lock(&self.answer);
        answer
            .body
            .as_ref()
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}
