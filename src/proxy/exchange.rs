//! One request and its answer on one connection, driven by the task that asked: no other task, no
//! channel between threads, and what is dropped half-way closes the connection with it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::proxy::error::ForwardError;
use crate::proxy::headers::response::Trailers;
use crate::proxy::headers::{Direction, clean_trailers};
use crate::proxy::upload::{Outgoing, Progress};
use crate::proxy::upstream::{Link, Upstreams};
use crate::web::body::{Body, BodyError};
use crate::web::ending::{EndReason, Ending};

/// How long an answer may take before its waiter listens for the session's end; nearly all come
/// sooner and never pay for it.
const PATIENCE: Duration = Duration::from_millis(250);

/// How an exchange failed.
pub(super) enum Failure {
    /// Nothing of the request left; here it is again.
    Unsent(Box<Request<Outgoing>>, hyper::Error),
    /// The connection ended before an answer came, and the upstream may have seen the request.
    Lost(hyper::Error),
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

/// Sends the request and waits for the head of its answer.
pub(super) async fn exchange(
    link: &mut Link,
    request: Request<Outgoing>,
    bounds: &Bounds<'_>,
) -> Result<Response<Incoming>, Failure> {
    let mut answer = pin!(link.sender.try_send_request(request));
    let started = Instant::now();
    let mut last_progress = 0;
    let mut give_up = started + bounds.timeout;
    let mut end: Option<Pin<Box<dyn Future<Output = EndReason> + Send>>> = None;
    let first_look = match bounds.ending {
        Some(_) => give_up.min(started + PATIENCE),
        None => give_up,
    };
    link.deadline.set(first_look);
    // Only the connection, polled just before, can have brought it: no need to be woken for it.
    let mut look = || {
        answer
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
    };
    let mut sent = false;
    let outcome = poll_fn(|ctx| {
        // Whoever is woken after the request was sent finds the answer in nearly every case. A
        // connection that held our waker then would only wake us once more, to say that we asked
        // for the body.
        if std::mem::replace(&mut sent, true) {
            link.drive_unwatched();
            if let Poll::Ready(outcome) = look() {
                return Poll::Ready(Ok(outcome));
            }
        }
        link.drive(ctx);
        if let Poll::Ready(outcome) = look() {
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
        Ok(Ok(response)) => match bounds.ending.and_then(Ending::reason) {
            Some(reason) => Err(Failure::Final(ForwardError::Ended(reason))),
            None => Ok(response),
        },
        Ok(Err(mut error)) => {
            let unsent = error.take_message();
            let error = error.into_error();
            // A fault of the upload shows as one of the connection; it is the browser's all the same.
            if let Some(fault) = bounds.progress.and_then(|progress| progress.fault()) {
                return Err(Failure::Final(fault.into()));
            }
            Err(match unsent {
                Some(request) => Failure::Unsent(Box::new(request), error),
                None if error.is_parse_too_large() => {
                    Failure::Final(ForwardError::AnswerHead(error))
                }
                None if error.is_parse() => Failure::Final(ForwardError::Unreadable(error)),
                None => Failure::Lost(error),
            })
        }
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
pub(super) fn body(mut incoming: Incoming, mut tail: Tail) -> Body {
    if incoming.is_end_stream() {
        tail.upstreams.give_back(tail.link);
        return Body::Empty;
    }
    let first = match poll_once(&mut incoming) {
        Poll::Ready(None) => {
            tail.upstreams.give_back(tail.link);
            return Body::Empty;
        }
        Poll::Ready(first) => first,
        Poll::Pending => return Body::stream(Download::new(incoming, tail, [None, None])),
    };
    let Some(data) = first
        .as_ref()
        .and_then(|piece| piece.as_ref().ok()?.data_ref().cloned())
    else {
        return Body::stream(Download::new(incoming, tail, [first, None]));
    };
    if !incoming.is_end_stream() {
        // The end of a short chunked body is in the connection's buffer already.
        tail.link.drive_unwatched();
        match poll_once(&mut incoming) {
            Poll::Ready(None) => {}
            Poll::Ready(second) => {
                return Body::stream(Download::new(incoming, tail, [first, second]));
            }
            Poll::Pending => return Body::stream(Download::new(incoming, tail, [first, None])),
        }
    }
    tail.upstreams.give_back(tail.link);
    Body::full(data)
}

type Piece = Result<Frame<Bytes>, hyper::Error>;

fn poll_once(incoming: &mut Incoming) -> Poll<Option<Piece>> {
    // Only the connection feeds it, and whoever polls this drives that.
    Pin::new(incoming).poll_frame(&mut Context::from_waker(Waker::noop()))
}

/// Why a download stopped before its end.
#[derive(Debug, thiserror::Error)]
enum DownloadFault {
    #[error("whoever called may call no more: {}", .0.as_str())]
    Ended(EndReason),
    #[error("the upstream sent nothing for too long")]
    Idle,
    #[error("the upstream's connection ended inside the body")]
    Cut,
}

/// An answer's body on its way to the browser, driving the upstream's connection as it is asked for
/// more; what the browser does not take is not read.
struct Download {
    incoming: Incoming,
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
    fn new(incoming: Incoming, tail: Tail, held: [Option<Piece>; 2]) -> Self {
        Self {
            incoming,
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
        let piece = poll_once(&mut self.incoming);
        if piece.is_ready() {
            return piece;
        }
        match &mut self.link {
            Some(link) => link.drive(ctx),
            None => return Poll::Ready(None),
        }
        poll_once(&mut self.incoming)
    }

    fn give_back(&mut self) {
        if let Some(link) = self.link.take() {
            self.upstreams.give_back(link);
        }
    }

    /// Nothing is there: the clock runs, and the session may end meanwhile.
    fn poll_waiting(&mut self, ctx: &mut Context<'_>) -> Poll<DownloadFault> {
        if let Some(link) = &mut self.link {
            if link.ended {
                return Poll::Ready(DownloadFault::Cut);
            }
            if let Some(idle) = self.idle {
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
        self.held.iter().all(Option::is_none) && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let Some(rest) = self.incoming.size_hint().exact() else {
            return SizeHint::default();
        };
        let held = self.held.iter().flatten().filter_map(|piece| {
            let data = piece.as_ref().ok()?.data_ref()?;
            Some(data.len() as u64)
        });
        SizeHint::with_exact(rest + held.sum::<u64>())
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}
