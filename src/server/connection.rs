//! One connection from its first byte to its last: who may take how long, and how it ends.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until, timeout};

use super::shutdown::Drain;
use super::stream::{BodyAhead, Pulse, Wait, Watched};
use super::unread::Unread;
use super::{Connection, Handler, Timeouts};
use crate::web::body::{Body, BodyError};

/// How long and how much a peer may still send after our last word. Closing a socket with bytes
/// unread resets it, and a reset can overtake the answer that says what was wrong (J8).
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 512 * 1024;

const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What the requests of one connection share.
pub(super) struct Requests<H> {
    pub(super) handler: Arc<H>,
    pub(super) connection: Connection,
    pub(super) pulse: Arc<Pulse>,
    /// Checked here for HTTP/2, whose engine counts bytes only.
    pub(super) head_fields: usize,
    /// Counted here as well for HTTP/2, whose engine forgets a stream once it was handed over.
    pub(super) h2_resets: usize,
}

impl<H: Handler> Requests<H> {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<TurnBody<H>> {
        let body = if hyper::body::Body::is_end_stream(request.body()) {
            BodyAhead::None
        } else {
            BodyAhead::Some
        };
        self.pulse.request_began(body);
        let mut turn = Turn {
            requests: self,
            answered: false,
        };
        let requests = &turn.requests;
        let response = if request.headers().len() > requests.head_fields {
            let mut refusal = Response::new(Body::Empty);
            *refusal.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            refusal
        } else {
            requests.handler.handle(request, requests.connection).await
        };
        turn.answered = true;
        response.map(|body| TurnBody { body, turn })
    }
}

/// A request under way; ends with its answer's body, or with whatever drops it.
struct Turn<H> {
    requests: Arc<Requests<H>>,
    answered: bool,
}

impl<H> Drop for Turn<H> {
    fn drop(&mut self) {
        let pulse = &self.requests.pulse;
        if !self.answered {
            pulse.request_abandoned();
        }
        pulse.request_ended();
    }
}

struct TurnBody<H> {
    body: Body,
    #[expect(dead_code, reason = "held for its drop")]
    turn: Turn<H>,
}

impl<H: Handler> TurnBody<H> {
    /// The body for an HTTP/2 stream, whose browser decides when it is read (J18). What is whole
    /// already holds nothing but itself: such an answer ends its turn here, and the connection's
    /// own time runs.
    fn on_a_stream(self, unread_for: Duration) -> Body {
        match self.body {
            Body::Stream(_) => Body::stream(Unread::new(self, unread_for)),
            whole => whole,
        }
    }
}

impl<H> hyper::body::Body for TurnBody<H> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(ctx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// HTTP/1.1, request by request. A WebSocket leaves with its socket.
pub(super) async fn http1<H: Handler, S>(
    engine: &http1::Builder,
    mut socket: Watched<S>,
    requests: Arc<Requests<H>>,
    drain: &Drain,
    timeouts: &Timeouts,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let pulse = Arc::clone(&requests.pulse);
    loop {
        let requests = Arc::clone(&requests);
        let service = service_fn(move |request| {
            let requests = Arc::clone(&requests);
            async move { Ok::<_, Infallible>(requests.answer(request).await) }
        });
        let mut conn = engine
            .serve_connection(TokioIo::new(socket), service)
            .with_upgrades();
        let end = drive(Pin::new(&mut conn), &pulse, drain, timeouts).await;
        let Some(parts) = conn.into_parts() else {
            return;
        };
        socket = parts.io.into_inner();
        match end {
            End::Late(Wait::NextRequest) => {
                socket.put_back(parts.read_buf);
                let left = timeouts.idle.saturating_sub(PARK_AFTER);
                if parked(&mut socket, drain, left).await == Parked::Over {
                    return;
                }
            }
            End::Late(Wait::Head) => return refuse_late_head(socket).await,
            End::Done(Err(error)) => {
                tracing::debug!(%error, "a connection ended in an error");
                // An answer that broke off has no last words: the sooner the browser knows, the
                // better. A stream whose session ended ends so (M7).
                if !error.is_user() {
                    linger(socket).await;
                }
                return;
            }
            End::Done(Ok(())) if pulse.body_left() => return linger(socket).await,
            End::Done(Ok(())) | End::Late(_) => return,
        }
    }
}

/// How long an HTTP/1.1 connection keeps its engine while nothing comes. The engine's buffers and
/// the room for a request under way are some 20 KiB, of which an idle connection needs nothing:
/// after this only the socket stays, and a new engine is made when something comes.
const PARK_AFTER: Duration = Duration::from_millis(500);

/// What a parked connection brought.
#[derive(PartialEq, Eq)]
enum Parked {
    Something,
    Over,
}

/// Waits for bytes, with nothing but the socket, for `left` at most.
async fn parked<S: AsyncRead + Unpin>(
    socket: &mut Watched<S>,
    drain: &Drain,
    left: Duration,
) -> Parked {
    tokio::select! {
        biased;
        come = timeout(left, socket.read_ahead()) => match come {
            Ok(Ok(1..)) => Parked::Something,
            Ok(Ok(0) | Err(_)) | Err(_) => Parked::Over,
        },
        () = drain.has_begun() => Parked::Over,
    }
}

/// HTTP/2, all streams of it.
pub(super) async fn http2<H: Handler, S>(
    engine: &http2::Builder<TokioExecutor>,
    socket: Watched<S>,
    requests: Arc<Requests<H>>,
    drain: &Drain,
    timeouts: &Timeouts,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let pulse = Arc::clone(&requests.pulse);
    let unread_for = timeouts.body_idle;
    let resets = requests.h2_resets;
    let service = service_fn(move |request| {
        let requests = Arc::clone(&requests);
        async move {
            let response = requests.answer(request).await;
            Ok::<_, Infallible>(response.map(|body| body.on_a_stream(unread_for)))
        }
    });
    let mut conn = pin!(engine.serve_connection(TokioIo::new(socket), service));
    let end = tokio::select! {
        biased;
        () = storm(&pulse, resets) => {
            return tracing::debug!("a connection ended since it abandoned too many requests");
        }
        end = drive(conn.as_mut(), &pulse, drain, timeouts) => end,
    };
    match end {
        End::Done(Err(error)) => tracing::debug!(%error, "a connection ended in an error"),
        End::Done(Ok(())) => {}
        End::Late(_) => {
            // Says goodbye (GOAWAY) to a peer that still listens.
            conn.as_mut().graceful_shutdown();
            drop(timeout(LINGER, conn).await);
        }
    }
}

/// In what time the abandoned requests of a connection are counted together.
const STORM_WITHIN: Duration = Duration::from_secs(30);

/// J17: ready when the peer has abandoned more requests than `most` in a short time. Each may have
/// cost an upstream a connection, which its engine's own count, of streams not yet handed over,
/// does not see. Looks whenever the connection's task does anything.
async fn storm(pulse: &Pulse, most: usize) {
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    let mut from = 0;
    let mut since = Instant::now();
    std::future::poll_fn(move |_| {
        let abandoned = pulse.abandoned();
        if abandoned.wrapping_sub(from) <= most {
            return Poll::Pending;
        }
        let now = Instant::now();
        if now.duration_since(since) < STORM_WITHIN {
            return Poll::Ready(());
        }
        (from, since) = (abandoned, now);
        Poll::Pending
    })
    .await;
}

/// How a connection ended.
enum End {
    Done(hyper::Result<()>),
    /// It kept us waiting for this.
    Late(Wait),
}

/// Runs a connection to its end, its timers and the drain beside it.
async fn drive<C: Drains>(
    mut conn: Pin<&mut C>,
    pulse: &Pulse,
    drain: &Drain,
    timeouts: &Timeouts,
) -> End {
    let mut beginning = pin!(drain.beginning());
    let mut timer = pin!(sleep_until(Instant::now()));
    let mut armed = false;
    let mut draining = Draining::Unasked;
    let mut waiting = (C::as_told(Wait::FirstHead), 0);
    let mut since = Instant::now();
    std::future::poll_fn(move |ctx| {
        if draining == Draining::Unasked {
            // Registers the task, once; then the flag tells, which costs one load.
            let begun = beginning.as_mut().poll(ctx).is_ready();
            draining = if begun { Draining::Due } else { Draining::No };
        }
        if draining == Draining::Due || (draining == Draining::No && drain.begun()) {
            draining = Draining::Asked;
            conn.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(result) = conn.as_mut().poll(ctx) {
            return Poll::Ready(End::Done(result));
        }
        let (wait, turn) = pulse.wait();
        let wait = C::as_told(wait);
        if (wait, turn) != waiting {
            waiting = (wait, turn);
            since = Instant::now();
        }
        let Some(limit) = C::limit(wait, timeouts) else {
            return Poll::Pending;
        };
        let deadline = since + limit;
        if armed && timer.deadline() <= deadline && !timer.is_elapsed() {
            // A timer set for earlier stays: moving it at each request costs more than one vain
            // wake.
            return Poll::Pending;
        }
        armed = true;
        if Instant::now() >= deadline {
            return Poll::Ready(End::Late(wait));
        }
        timer.as_mut().reset(deadline);
        timer.as_mut().poll(ctx).map(|()| End::Late(wait))
    })
    .await
}

#[derive(PartialEq, Eq)]
enum Draining {
    /// Nobody has looked yet.
    Unasked,
    No,
    Due,
    /// The connection was asked to end.
    Asked,
}

/// J18: how long each wait may last.
const fn limit(wait: Wait, timeouts: &Timeouts) -> Option<Duration> {
    match wait {
        Wait::FirstHead | Wait::Head => Some(timeouts.head),
        Wait::NextRequest => Some(timeouts.idle),
        Wait::Write => Some(timeouts.body_idle),
        Wait::Answer => None,
    }
}

/// A connection that can be asked to end after what it is doing.
trait Drains: Future<Output = hyper::Result<()>> {
    fn graceful_shutdown(self: Pin<&mut Self>);

    /// The wait as this protocol can tell it.
    fn as_told(wait: Wait) -> Wait;

    /// How long to wait here.
    fn limit(wait: Wait, timeouts: &Timeouts) -> Option<Duration> {
        limit(wait, timeouts)
    }
}

impl<I, S, B> Drains for http1::UpgradeableConnection<I, S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: hyper::body::Body + 'static,
    B::Error: Into<BodyError>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }

    fn as_told(wait: Wait) -> Wait {
        wait
    }

    fn limit(wait: Wait, timeouts: &Timeouts) -> Option<Duration> {
        let limit = limit(wait, timeouts);
        match wait {
            Wait::NextRequest => limit.map(|limit| limit.min(PARK_AFTER)),
            _ => limit,
        }
    }
}

impl<I, S, B> Drains for http2::Connection<I, S, TokioExecutor>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BodyError>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }

    /// Bytes between two streams may be pings, which are no head; idle is idle.
    fn as_told(wait: Wait) -> Wait {
        match wait {
            Wait::FirstHead | Wait::Head | Wait::NextRequest => Wait::NextRequest,
            Wait::Answer | Wait::Write => wait,
        }
    }
}

/// J18: a head that came too slowly is told so.
async fn refuse_late_head<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S) {
    let told = async {
        socket.write_all(REQUEST_TIMEOUT).await?;
        socket.shutdown().await
    };
    if let Ok(Ok(())) = timeout(LINGER, told).await {
        linger(socket).await;
    }
}

/// Reads on for a moment, to nobody, so that our last words are not lost to a reset. The peer
/// sees at once that no more will come: a stream that broke off has ended for it now.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S) {
    let listen = async {
        // A peer that is gone has nothing more to say either.
        if socket.shutdown().await.is_err() {
            return;
        }
        let mut sink = vec![0; 4096];
        let mut left = LINGER_BYTES;
        while let Ok(read @ 1..) = socket.read(&mut sink).await {
            match left.checked_sub(read) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    drop(timeout(LINGER, listen).await);
}
