//! New connections: how many, whether TLS, which version of HTTP.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::callers::Callers;
use super::connection::{self, Requests};
use super::drive::Patience;
use super::frames::PREFACE;
use super::queue::let_nobody_queue;
use super::room::{Place, Room};
use super::shutdown::Drain;
use super::socket_file::SocketFile;
use super::stream::{Held, Pulse, READ_AHEAD, Watched};
use super::tls::{Certificates, H2, shake_hands};
use super::{Connection, Handler, Limits, ServerSettings, Timeouts};
use crate::clock::{Clock as _, SystemClock};
use crate::web::client_address::Peer;
use crate::web::pace::LeastRate;
use crate::web::repeats::Repeats;
use crate::web::strangers::{OverBudget, Turn};

/// How long accepting pauses when the machine is out of sockets or memory.
const OUT_OF_SOCKETS: Duration = Duration::from_millis(100);

/// Into which part of the drain's time the queue must stay empty before the door is closed: 300 ms
/// of 30 s.
const STILL_QUEUING: u32 = 100;

/// hyper's own number of fields; another one costs an allocation a request.
const HYPER_FIELDS: usize = 100;

/// hyper refuses a smaller buffer.
const HYPER_MIN_BUFFER: usize = 8192;

/// Bytes that one HTTP/2 stream may lay up here towards a browser that does not read.
const H2_SEND_BUFFER: usize = 128 * 1024;

/// What a browser may send before we have read it, a stream and a connection: enough for an
/// upload over a slow line, and a bound on what a hundred idle uploads cost. Windows that adapt
/// would grow to 16 MiB at a stranger's wish.
const H2_STREAM_WINDOW: u32 = 256 * 1024;
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;

/// How often an HTTP/2 peer is asked whether it is still there, and how long it may think.
const H2_PING_INTERVAL: Duration = Duration::from_secs(30);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// One worker's door.
pub(super) struct Acceptor<H> {
    handler: Arc<H>,
    certificates: Option<Certificates>,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    timeouts: Timeouts,
    least_rate: LeastRate,
    head_fields: usize,
    h2_resets: usize,
    callers: Callers,
    room: Room,
    drain: Arc<Drain>,
    /// Of connections that cannot be accepted, at whichever door.
    warnings: Arc<Repeats>,
}

impl<H: Handler> Acceptor<H> {
    pub(super) fn new(
        handler: H,
        certificates: Option<Certificates>,
        settings: &ServerSettings,
        callers: Callers,
        room: Room,
        drain: Arc<Drain>,
        warnings: Arc<Repeats>,
    ) -> Arc<Self> {
        Arc::new(Self {
            handler: Arc::new(handler),
            certificates,
            http1: http1_engine(&settings.limits),
            http2: http2_engine(&settings.limits),
            timeouts: settings.timeouts.clone(),
            least_rate: settings.limits.least_rate,
            head_fields: settings.limits.head_fields,
            h2_resets: settings.limits.h2_resets,
            callers,
            room,
            drain,
            warnings,
        })
    }

    /// Accepts until `shutdown`, then whoever has knocked before it, and closes the door only then.
    pub(super) async fn accept<D: Door>(self: Arc<Self>, door: D, shutdown: &CancellationToken) {
        let mut over = pin!(shutdown.cancelled());
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut over => break,
                accepted = door.knock() => accepted,
            };
            self.admit(accepted).await;
        }
        door.let_nobody_queue();
        // A handshake under way takes a moment more to bring its connection into the queue.
        let still = self.timeouts.drain / STILL_QUEUING;
        while let Ok(accepted) = timeout(still, door.knock()).await {
            self.admit(accepted).await;
        }
    }

    /// Serves one more connection, as soon as there is room for it.
    async fn admit<S: Knocking>(self: &Arc<Self>, accepted: io::Result<(S, Peer)>) {
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if concerns_one_connection(&error) => return,
            Err(error) => {
                if let Some(left_out) = self.warnings.due("accept", SystemClock.now()) {
                    tracing::error!(
                        event = "accept.failed",
                        %error,
                        left_out,
                        "cannot accept connections for the moment"
                    );
                }
                return tokio::time::sleep(OUT_OF_SOCKETS).await;
            }
        };
        // After the accept, not before it: a worker that waits at its door with a place in hand
        // would keep the last one from a worker whose door is being knocked at.
        match self.place_for(peer).await {
            Ok(Some((turn, place))) => {
                let held = Held {
                    _turn: turn,
                    place,
                    _drain: self.drain.hold(),
                };
                tokio::spawn(Arc::clone(self).serve(socket, peer, held));
            }
            Ok(None) => {}
            // Closed at once: whoever has so many open learns nothing by waiting.
            Err(over) => tracing::debug!(%over, "a connection was refused"),
        }
    }

    /// The right to be served, as soon as there is room.
    async fn place_for(&self, peer: Peer) -> Result<Option<(Option<Turn>, Place)>, OverBudget> {
        // Before anybody gives way for it.
        self.callers.judge(peer)?;
        let Some(place) = self.room.enter(self.callers.source(peer)).await else {
            return Ok(None);
        };
        let turn = self.callers.hold(peer, SystemClock.now())?;
        Ok(Some((turn, place)))
    }

    async fn serve<S: Knocking>(self: Arc<Self>, socket: S, peer: Peer, held: Held) {
        match &self.certificates {
            None => self.serve_cleartext(socket, peer, held).await,
            // In a box: a cleartext connection need not carry the room for it.
            Some(certificates) => {
                Box::pin(self.serve_tls(certificates, socket, peer, held)).await;
            }
        }
    }

    async fn serve_cleartext<S: Knocking>(&self, mut socket: S, peer: Peer, held: Held) {
        let opening = {
            let mut resting = held.place.rest().begin(Instant::now());
            tokio::select! {
                biased;
                opening = timeout(self.timeouts.head, first_bytes(&mut socket)) => opening,
                () = self.drain.leaves_no_time() => return,
                () = resting.told() => return,
            }
        };
        let Ok(Ok(Some((ahead, version)))) = opening else {
            return;
        };
        let connection = Connection {
            peer,
            tls: false,
            names: None,
        };
        self.serve_http(socket, ahead, version, connection, held)
            .await;
    }

    async fn serve_tls<S: Knocking>(
        &self,
        certificates: &Certificates,
        socket: S,
        peer: Peer,
        held: Held,
    ) {
        let handshake = {
            let mut resting = held.place.rest().begin(Instant::now());
            tokio::select! {
                biased;
                handshake = timeout(
                    self.timeouts.handshake,
                    shake_hands(certificates, socket),
                ) => handshake,
                () = self.drain.leaves_no_time() => return,
                () = resting.told() => return,
            }
        };
        let (socket, names) = match handshake {
            Ok(Ok(shaken)) => shaken,
            Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => return tracing::debug!("a TLS handshake took too long"),
        };
        let version = if socket.get_ref().1.alpn_protocol() == Some(H2) {
            Version::Http2
        } else {
            Version::Http1
        };
        let connection = Connection {
            peer,
            tls: true,
            names,
        };
        self.serve_http(socket, Bytes::new(), version, connection, held)
            .await;
    }

    async fn serve_http<S>(
        &self,
        socket: S,
        ahead: Bytes,
        version: Version,
        connection: Connection,
        held: Held,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let pulse = Arc::new(Pulse::default());
        let requests = Arc::new(Requests {
            handler: Arc::clone(&self.handler),
            connection,
            pulse: Arc::clone(&pulse),
            drain: Arc::clone(&self.drain),
            head_fields: self.head_fields,
            h2_resets: self.h2_resets,
        });
        let patience = Patience {
            timeouts: &self.timeouts,
            least_rate: self.least_rate,
            rest: &held.place.rest(),
        };
        let socket = Watched::new(socket, ahead, pulse, held);
        match version {
            Version::Http1 => {
                connection::http1(&self.http1, socket, requests, patience).await;
            }
            Version::Http2 => {
                let socket = socket.in_frames();
                let serving = connection::http2(&self.http2, socket, requests, patience);
                Box::pin(serving).await;
            }
        }
    }
}

/// Where connections come in.
pub(super) trait Door {
    /// What comes in.
    type Socket: Knocking;

    /// The next one, and whose it is.
    fn knock(&self) -> impl Future<Output = io::Result<(Self::Socket, Peer)>>;

    /// Lets the kernel queue nobody more.
    fn let_nobody_queue(&self);
}

/// A connection that came in.
pub(super) trait Knocking: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static {
    /// Waits without a buffer.
    fn something_came(&self) -> impl Future<Output = io::Result<()>> + Send;
}

impl Door for TcpListener {
    type Socket = TcpStream;

    async fn knock(&self) -> io::Result<(TcpStream, Peer)> {
        let (socket, peer) = self.accept().await?;
        Ok((socket, peer.ip().into()))
    }

    fn let_nobody_queue(&self) {
        let_nobody_queue(self);
    }
}

impl Knocking for TcpStream {
    fn something_came(&self) -> impl Future<Output = io::Result<()>> + Send {
        self.readable()
    }
}

impl Door for (UnixListener, SocketFile) {
    type Socket = UnixStream;

    async fn knock(&self) -> io::Result<(UnixStream, Peer)> {
        let (socket, _) = self.0.accept().await?;
        Ok((socket, Peer::Unix))
    }

    fn let_nobody_queue(&self) {
        self.1.remove();
    }
}

impl Knocking for UnixStream {
    fn something_came(&self) -> impl Future<Output = io::Result<()>> + Send {
        self.readable()
    }
}

fn http1_engine(limits: &Limits) -> http1::Builder {
    let mut engine = http1::Builder::new();
    engine
        // Heads are timed by `connection.rs`, which tells slow from idle.
        .header_read_timeout(None)
        .half_close(false)
        .keep_alive(true)
        .max_header_size(limits.head_bytes)
        .max_buf_size(limits.head_bytes.max(HYPER_MIN_BUFFER).saturating_mul(2));
    if limits.head_fields != HYPER_FIELDS {
        engine.max_headers(limits.head_fields);
    }
    engine
}

fn http2_engine(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut engine = http2::Builder::new(TokioExecutor::new());
    engine
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams)
        // Rapid reset: streams that the peer opened and reset before we looked at them, and
        // streams that it made us reset.
        .max_pending_accept_reset_streams(limits.h2_resets)
        .max_local_error_reset_streams(limits.h2_resets)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(H2_SEND_BUFFER)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .adaptive_window(false)
        .keep_alive_interval(H2_PING_INTERVAL)
        .keep_alive_timeout(H2_PING_TIMEOUT);
    engine
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

/// Reads until the version is clear; `None` where the peer left first. Until something comes
/// this holds no buffer, so that connections opened in advance cost little.
async fn first_bytes<S: Knocking>(socket: &mut S) -> io::Result<Option<(Bytes, Version)>> {
    socket.something_came().await?;
    let mut read = BytesMut::with_capacity(READ_AHEAD);
    loop {
        if socket.read_buf(&mut read).await? == 0 {
            return Ok(None);
        }
        if read.starts_with(PREFACE) {
            return Ok(Some((read.freeze(), Version::Http2)));
        }
        if !PREFACE.starts_with(&read) {
            return Ok(Some((read.freeze(), Version::Http1)));
        }
    }
}

/// Errors of one knock, after which the next may be well.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
