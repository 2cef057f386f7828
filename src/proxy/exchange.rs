//! One request and its answer on one connection, driven by the task that asked: no other task, no
//! channel between threads, and what is dropped half-way closes the connection with it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use crate::proxy::error::ForwardError;
use crate::proxy::headers::response::Trailers;
use crate::proxy::headers::{Direction, clean_trailers};
use crate::proxy::upload::{Outgoing, Progress};
use crate::proxy::upstream::{Link, Upstreams};
use crate::proxy::wire::WireError;
use crate::web::body::{Body, BodyError};
use crate::web::ending::{EndReason, Ending};

/// How long an answer may take before its waiter listens for the session's end; nearly all come
/// sooner and never pay for it.
const PATIENCE: Duration = Duration::from_millis(250);

/// How an exchange failed.
pub(super) enum Failure {
    /// Nothing of the request left; here is its body again.
    Unsent(Outgoing, WireError),
    /// The connection ended before an answer came, and the upstream may have seen the request.
    Lost(WireError),
    /// As the caller will see it.
    Final(ForwardError),
}

/// Limits of one exchange.
pub(super) struct Bounds<'a> {
    /// To the head of the answer, from the last byte of the request's body.
    pub(super) timeout: Duration,
    pub(super) progress: Option<&'a Arc<Progress>>,
    pub(super) ending: Option<&'a Ending>,
}

/// Sends the request that was begun and waits for the head of its answer.
pub(super) async fn exchange(link: &mut Link, bounds: &Bounds<'_>) -> Result<Parts, Failure> {
    let started = Instant::now();
    let mut last_progress = 0;
    let mut give_up = started + bounds.timeout;
    let mut end: Option<Pin<Box<dyn Future<Output = EndReason> + Send>>> = None;
    let first_look = match bounds.ending {
        Some(_) => give_up.min(started + PATIENCE),
        None => give_up,
    };
    link.deadline.set(first_look);
    let outcome = poll_fn(|ctx| {
        if let Poll::Ready(outcome) = link.wire.poll_answer(ctx) {
            return Poll::Ready(Ok(outcome));
        }
        if let Some(end) = &mut end
            && let Poll::Ready(reason) = end.as_mut().poll(ctx)
        {
            return Poll::Ready(Err(ForwardError::Ended(reason)));
        }
        while link.deadline.poll(ctx).is_ready() {
            let sent = bounds.progress.map_or(0, |progress| progress.bytes());
            if sent != last_progress {
                last_progress = sent;
                give_up = Instant::now() + bounds.timeout;
            }
            if Instant::now() >= give_up {
                return Poll::Ready(Err(ForwardError::Timeout));
            }
            link.deadline.set(give_up);
            if end.is_none()
                && let Some(ending) = bounds.ending.cloned()
            {
                let mut waiting = Box::pin(async move { ending.wait().await });
                if let Poll::Ready(reason) = waiting.as_mut().poll(ctx) {
                    return Poll::Ready(Err(ForwardError::Ended(reason)));
                }
                end = Some(waiting);
            }
        }
        Poll::Pending
    })
    .await;
    match outcome {
        Err(error) => Err(Failure::Final(error)),
        Ok(Ok(head)) => match bounds.ending.and_then(Ending::reason) {
            Some(reason) => Err(Failure::Final(ForwardError::Ended(reason))),
            None => Ok(head),
        },
        Ok(Err(error)) => Err(match error {
            WireError::Unsent(_) => Failure::Unsent(link.wire.take_body(), error),
            // A fault of the browser's.
            WireError::Upload(fault) => Failure::Final(fault.into()),
            WireError::HeadTooLarge => Failure::Final(ForwardError::AnswerHead(error)),
            WireError::Head(_) | WireError::Malformed(_) => {
                Failure::Final(ForwardError::Unreadable(error))
            }
            WireError::Broken(_) | WireError::Ended | WireError::Cut | WireError::Chunks(_) => {
                Failure::Lost(error)
            }
        }),
    }
}

/// What becomes of an answer's body.
pub(super) struct Tail {
    pub(super) upstreams: Upstreams,
    pub(super) link: Box<Link>,
    pub(super) trailers: Trailers,
    /// The name of the route that it is on.
    pub(super) route: Arc<str>,
    /// How long it may stand still; `None` for event streams, which are silent by nature.
    pub(super) idle: Option<Duration>,
    pub(super) ending: Option<Ending>,
}

/// The body for the browser. What has come with the head already is handed over whole and the
/// connection given back at once; the rest is streamed.
pub(super) fn body(mut tail: Tail) -> Body {
    let first = match poll_unwatched(&mut tail.link) {
        Poll::Ready(None) => {
            tail.upstreams.give_back(tail.link);
            return Body::Empty;
        }
        Poll::Ready(first) => first,
        Poll::Pending => return Body::stream(Download::new(tail, [None, None])),
    };
    let Some(data) = first
        .as_ref()
        .and_then(|piece| piece.as_ref().ok()?.data_ref().cloned())
    else {
        return Body::stream(Download::new(tail, [first, None]));
    };
    if !tail.link.wire.is_read() {
        // The end of a short chunked body is in the connection's buffer already.
        match poll_unwatched(&mut tail.link) {
            Poll::Ready(None) => {}
            Poll::Ready(second) => return Body::stream(Download::new(tail, [first, second])),
            Poll::Pending => return Body::stream(Download::new(tail, [first, None])),
        }
    }
    tail.upstreams.give_back(tail.link);
    Body::full(data)
}

type Piece = Result<Frame<Bytes>, WireError>;

/// What is there at once: whoever streams the rest is woken by it.
fn poll_unwatched(link: &mut Link) -> Poll<Option<Piece>> {
    link.wire.poll_body(&mut Context::from_waker(Waker::noop()))
}

/// Why a download stopped before its end.
#[derive(Debug, thiserror::Error)]
enum DownloadFault {
    #[error("whoever called may call no more: {}", .0.as_str())]
    Ended(EndReason),
    #[error("the upstream sent nothing for too long")]
    Idle,
}

/// An answer's body on its way to the browser, driving the upstream's connection as it is asked for
/// more; what the browser does not take is not read.
struct Download {
    held: [Option<Piece>; 2],
    upstreams: Upstreams,
    /// `None` once it was given back, or the body broke off.
    link: Option<Box<Link>>,
    trailers: Trailers,
    route: Arc<str>,
    idle: Option<Duration>,
    waiting: bool,
    ending: Option<Ending>,
    end: Option<Pin<Box<dyn Future<Output = EndReason> + Send>>>,
}

impl Download {
    fn new(tail: Tail, held: [Option<Piece>; 2]) -> Self {
        Self {
            held,
            upstreams: tail.upstreams,
            link: Some(tail.link),
            trailers: tail.trailers,
            route: tail.route,
            idle: tail.idle,
            waiting: false,
            ending: tail.ending,
            end: None,
        }
    }

    fn poll_piece(&mut self, ctx: &mut Context<'_>) -> Poll<Option<Piece>> {
        let [first, second] = &mut self.held;
        if let Some(piece) = first.take().or_else(|| second.take()) {
            return Poll::Ready(Some(piece));
        }
        match &mut self.link {
            Some(link) => link.wire.poll_body(ctx),
            None => Poll::Ready(None),
        }
    }

    fn give_back(&mut self) {
        if let Some(link) = self.link.take() {
            self.upstreams.give_back(link);
        }
    }

    /// Nothing is there: the clock runs, and the session may end meanwhile.
    fn poll_waiting(&mut self, ctx: &mut Context<'_>) -> Poll<DownloadFault> {
        if let (Some(link), Some(idle)) = (&mut self.link, self.idle) {
            if !self.waiting {
                self.waiting = true;
                link.deadline.set(Instant::now() + idle);
            }
            if link.deadline.poll(ctx).is_ready() {
                tracing::warn!(
                    event = "upstream.cut",
                    route = &*self.route,
                    upstream = link.origin.as_str(),
                    idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX),
                    "an answer was cut since its upstream sent nothing for too long; \
                     route.idle_timeout says how long that is"
                );
                return Poll::Ready(DownloadFault::Idle);
            }
        }
        if let Some(ending) = &self.ending {
            let end = self.end.get_or_insert_with(|| {
                let ending = ending.clone();
                Box::pin(async move { ending.wait().await })
            });
            return end.as_mut().poll(ctx).map(DownloadFault::Ended);
        }
        Poll::Pending
    }
}

impl HttpBody for Download {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(reason) = this.ending.as_ref().and_then(Ending::reason) {
            this.link = None;
            return Poll::Ready(Some(Err(DownloadFault::Ended(reason).into())));
        }
        loop {
            let Poll::Ready(piece) = this.poll_piece(ctx) else {
                let fault = std::task::ready!(this.poll_waiting(ctx));
                this.link = None;
                return Poll::Ready(Some(Err(fault.into())));
            };
            this.waiting = false;
            let frame = match piece {
                None => {
                    this.give_back();
                    return Poll::Ready(None);
                }
                Some(Err(error)) => {
                    this.link = None;
                    return Poll::Ready(Some(Err(error.into())));
                }
                Some(Ok(frame)) => frame,
            };
            match frame.into_trailers() {
                Ok(mut trailers) => {
                    // They are the last; the browser's side asks for nothing more after them.
                    this.give_back();
                    if this.trailers == Trailers::Drop {
                        continue;
                    }
                    clean_trailers(&mut trailers, Direction::ToBrowser);
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Err(data) => {
                    // The browser's side asks for nothing after the last byte of a known length.
                    if this.is_end_stream() {
                        this.give_back();
                    }
                    return Poll::Ready(Some(Ok(data)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let is_read = self.link.as_ref().is_none_or(|link| link.wire.is_read());
        is_read && self.held.iter().all(Option::is_none)
    }

    fn size_hint(&self) -> SizeHint {
        let link = self.link.as_ref();
        let left = link.map_or(Some(0), |link| link.wire.length_left());
        // Whatever is no data comes last, and not in a body of known length.
        let held = self.held.iter().flatten().map(|piece| {
            let data = piece.as_ref().ok()?.data_ref()?;
            Some(data.len() as u64)
        });
        let length = held.chain([left]).sum::<Option<u64>>();
        length.map(SizeHint::with_exact).unwrap_or_default()
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}
