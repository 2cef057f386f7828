//! One connection from its first byte to its last: its requests answered, and how it ends.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use super::drive::{End, Patience, drive};
use super::room::Rest;
use super::shutdown::Drain;
use super::stream::{BodyAhead, Pulse, Wait, Watched};
use super::unread::Unread;
use super::{Connection, Handler};
use crate::web::body::{Body, BodyError};
use crate::web::pace::LeastRate;

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
    pub(super) drain: Arc<Drain>,
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
        let version = request.version();
        let mut turn = Turn {
            requests: self,
            answered: false,
        };
        let requests = &turn.requests;
        let mut response = if request.headers().len() > requests.head_fields {
            let mut refusal = Response::new(Body::Empty);
            *refusal.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            refusal
        } else {
            requests
                .handler
                .handle(request, requests.connection.clone())
                .await
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            requests.pulse.upgraded();
        } else if requests.drain.ends_with_this_answer() && version < Version::HTTP_2 {
            // N1: the last answer of its connection says so. HTTP/2 has a frame for it.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
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
    fn on_a_stream(self, unread_for: Duration, least_rate: LeastRate) -> Body {
        match self.body {
            Body::Stream(_) => Body::stream(Unread::new(self, unread_for, least_rate)),
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
    patience: Patience<'_>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (pulse, drain) = (Arc::clone(&requests.pulse), Arc::clone(&requests.drain));
    loop {
        let requests = Arc::clone(&requests);
        let service = service_fn(move |request| {
            let requests = Arc::clone(&requests);
            async move { Ok::<_, Infallible>(requests.answer(request).await) }
        });
        let mut conn = engine
            .serve_connection(TokioIo::new(socket), service)
            .with_upgrades();
        let end = drive(Pin::new(&mut conn), &pulse, &drain, patience).await;
        let Some(parts) = conn.into_parts() else {
            return;
        };
        socket = parts.io.into_inner();
        match end {
            End::Late(Wait::NextRequest, since) => {
                socket.put_back(parts.read_buf);
                if parked(&mut socket, &drain, patience, since).await == Parked::Over {
                    return;
                }
            }
            End::Late(Wait::Head, _) => return refuse_late_head(socket, patience.rest).await,
            End::Done(Err(error)) => {
                tracing::debug!(%error, "a connection ended in an error");
                // An answer that broke off has no last words: the sooner the browser knows, the
                // better. A stream whose session ended ends so (M7).
                if !error.is_user() {
                    linger(socket, patience.rest).await;
                }
                return;
            }
            End::Done(Ok(())) if pulse.body_left() => {
                return linger(socket, patience.rest).await;
            }
            End::Late(Wait::Write, _) => return tracing::debug!("an answer was left unread"),
            End::Done(Ok(())) | End::Late(..) | End::GivesWay => return,
        }
    }
}

/// What a parked connection brought.
#[derive(PartialEq, Eq)]
enum Parked {
    Something,
    Over,
}

/// Waits for bytes, with nothing but the socket, for as long as it may be idle.
async fn parked<S: AsyncRead + Unpin>(
    socket: &mut Watched<S>,
    drain: &Drain,
    patience: Patience<'_>,
    since: Instant,
) -> Parked {
    let over_at = since + patience.timeouts.idle;
    let mut resting = patience.rest.begin(since);
    tokio::select! {
        biased;
        come = timeout_at(over_at, socket.read_ahead()) => match come {
            Ok(Ok(1..)) => Parked::Something,
            Ok(Ok(0) | Err(_)) | Err(_) => Parked::Over,
        },
        () = drain.has_begun() => Parked::Over,
        // Last: what has come is served.
        () = resting.told() => Parked::Over,
    }
}

/// HTTP/2, all streams of it.
pub(super) async fn http2<H: Handler, S>(
    engine: &http2::Builder<TokioExecutor>,
    socket: Watched<S>,
    requests: Arc<Requests<H>>,
    patience: Patience<'_>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (pulse, drain) = (Arc::clone(&requests.pulse), Arc::clone(&requests.drain));
    let (unread_for, least_rate) = (patience.timeouts.body_idle, patience.least_rate);
    let resets = requests.h2_resets;
    let service = service_fn(move |request| {
        let requests = Arc::clone(&requests);
        async move {
            let response = requests.answer(request).await;
            Ok::<_, Infallible>(response.map(|body| body.on_a_stream(unread_for, least_rate)))
        }
    });
    let mut conn = pin!(engine.serve_connection(TokioIo::new(socket), service));
    let end = tokio::select! {
        biased;
        () = storm(&pulse, resets) => {
            return tracing::debug!("a connection ended since it abandoned too many requests");
        }
        end = drive(conn.as_mut(), &pulse, &drain, patience) => end,
    };
    match end {
        End::Done(Err(error)) => tracing::debug!(%error, "a connection ended in an error"),
        End::Done(Ok(())) => {}
        End::Late(..) => {
            // Says goodbye (GOAWAY) to a peer that still listens.
            conn.as_mut().graceful_shutdown();
            drop(timeout(LINGER, conn).await);
        }
        End::GivesWay => {
            // The same in what the socket takes at once: somebody waits for the room.
            conn.as_mut().graceful_shutdown();
            drop(conn.poll(&mut Context::from_waker(Waker::noop())));
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

/// J18: a head that came too slowly is told so.
async fn refuse_late_head<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S, rest: &Rest) {
    let told = async {
        socket.write_all(REQUEST_TIMEOUT).await?;
        socket.shutdown().await
    };
    if let Ok(Ok(())) = timeout(LINGER, told).await {
        linger(socket, rest).await;
    }
}

/// Reads on for a moment, to nobody, so that our last words are not lost to a reset. The peer
/// sees at once that no more will come: a stream that broke off has ended for it now.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S, rest: &Rest) {
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
    let mut resting = rest.begin(Instant::now());
    tokio::select! {
        biased;
        _ = timeout(LINGER, listen) => {}
        () = resting.told() => {}
    }
}
