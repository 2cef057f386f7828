//! Connections to upstreams: made, kept while idle, and given to one request at a time.
//!
//! Nobody drives an idle connection, so one that the upstream closed is noticed when it is taken,
//! or by a sweep that runs while any are kept.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::proxy::route::{Origin, Security};
use crate::proxy::upload::Outgoing;

/// Idle connections kept for one origin by one worker.
const MOST_IDLE: usize = 128;
/// How long one is kept unused.
const IDLE_AGE: Duration = Duration::from_secs(30);
/// How often the kept ones are looked at.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// An answer's head must fit in this, and no more of a body is read ahead.
const READ_BUFFER: usize = 64 * 1024;

/// One worker's connections to all upstreams; cheap to clone.
#[derive(Clone)]
pub struct Upstreams(Arc<Shared>);

struct Shared {
    connect_timeout: Duration,
    body_idle: Duration,
    tls: TlsConnector,
    pool: Mutex<Pool>,
}

#[derive(Default)]
struct Pool {
    /// The longest idle first.
    idle: HashMap<Arc<Origin>, Vec<Idle>>,
    /// Whether a sweep is on its way.
    swept: bool,
}

struct Idle {
    link: Box<Link>,
    since: Instant,
}

/// One connection, driven by whoever holds it.
pub(super) struct Link {
    pub(super) sender: http1::SendRequest<Outgoing>,
    pub(super) connection: http1::Connection<TokioIo<Socket>, Outgoing>,
    /// Whether the connection has said its last word; it must not be polled again.
    pub(super) ended: bool,
    /// Whether it has served a request before.
    pub(super) reused: bool,
    pub(super) deadline: Deadline,
    origin: Arc<Origin>,
}

/// A timer that is set anew for every wait but touches the runtime's wheel only when it must: it
/// stays armed for an earlier moment and looks again then.
pub(super) struct Deadline {
    sleep: Pin<Box<Sleep>>,
    at: Instant,
}

/// The wire to an upstream.
#[derive(Debug)]
pub(super) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Upstreams {
    /// Connections made with these limits; `tls` verifies the upstreams that are https.
    pub fn new(
        connect_timeout: Duration,
        body_idle: Duration,
        tls: Arc<rustls::ClientConfig>,
    ) -> Self {
        let mut tls = Arc::unwrap_or_clone(tls);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self(Arc::new(Shared {
            connect_timeout,
            body_idle,
            tls: TlsConnector::from(Arc::new(tls)),
            pool: Mutex::default(),
        }))
    }

    /// How long a body may stand still, either way.
    pub(super) fn body_idle(&self) -> Duration {
        self.0.body_idle
    }

    /// An idle connection that still looks alive.
    pub(super) fn take(&self, origin: &Arc<Origin>) -> Option<Box<Link>> {
        let now = Instant::now();
        loop {
            let Idle { mut link, since } = self.0.pop(origin)?;
            if now.duration_since(since) < IDLE_AGE && link.is_idle() {
                link.reused = true;
                return Some(link);
            }
        }
    }

    /// A new connection.
    pub(super) async fn connect(&self, origin: &Arc<Origin>) -> io::Result<Box<Link>> {
        let deadline = Instant::now() + self.0.connect_timeout;
        let socket = tokio::time::timeout_at(deadline, self.0.dial(origin, deadline))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let (sender, connection) = http1::Builder::new()
            // One write of head and body: cheaper than a vectored one for what requests carry.
            .writev(false)
            .max_buf_size(READ_BUFFER)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(io::Error::other)?;
        Ok(Box::new(Link {
            sender,
            connection,
            ended: false,
            reused: false,
            deadline: Deadline::new(),
            origin: Arc::clone(origin),
        }))
    }

    /// Takes a connection back whose exchange is over. One with anything unread or unsent is closed
    /// instead (J8).
    pub(super) fn give_back(&self, mut link: Box<Link>) {
        if !link.is_idle() {
            return;
        }
        let since = Instant::now();
        let mut pool = self.0.lock();
        let idle = match pool.idle.get_mut(&link.origin) {
            Some(idle) => idle,
            None => pool.idle.entry(Arc::clone(&link.origin)).or_default(),
        };
        if idle.len() >= MOST_IDLE {
            return;
        }
        idle.push(Idle { link, since });
        if !pool.swept {
            pool.swept = true;
            drop(pool);
            drop(tokio::spawn(sweep(Arc::downgrade(&self.0))));
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pop(&self, origin: &Arc<Origin>) -> Option<Idle> {
        self.lock().idle.get_mut(origin)?.pop()
    }

    /// Name, TCP, TLS. Every address gets its share of the time that is left, so that one that
    /// answers nothing does not use it up.
    async fn dial(&self, origin: &Origin, deadline: Instant) -> io::Result<Socket> {
        let addresses: Vec<_> = tokio::net::lookup_host((origin.host.as_str(), origin.port))
            .await?
            .collect();
        let mut outcome = Err(io::Error::from(io::ErrorKind::NotFound));
        for (tried, address) in addresses.iter().enumerate() {
            let left = u32::try_from(addresses.len() - tried).unwrap_or(1);
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            outcome = match tokio::time::timeout(share, TcpStream::connect(address)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
            };
            if outcome.is_ok() {
                break;
            }
        }
        let stream = outcome?;
        stream.set_nodelay(true)?;
        match origin.security {
            Security::Plain => Ok(Socket::Plain(stream)),
            Security::Tls => {
                let name = ServerName::try_from(origin.host.clone()).map_err(io::Error::other)?;
                let stream = self.tls.connect(name, stream).await?;
                Ok(Socket::Tls(Box::new(stream)))
            }
        }
    }

    /// Closes what is too old or was closed by the upstream; says whether any are left.
    fn sweep(&self) -> Kept {
        let now = Instant::now();
        let mut pool = self.lock();
        for idle in pool.idle.values_mut() {
            idle.retain_mut(|idle| {
                now.duration_since(idle.since) < IDLE_AGE && idle.link.is_idle()
            });
        }
        pool.idle.retain(|_, idle| !idle.is_empty());
        if pool.idle.is_empty() {
            pool.swept = false;
            Kept::None
        } else {
            Kept::Some
        }
    }
}

enum Kept {
    Some,
    None,
}

async fn sweep(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        if let Kept::None = shared.sweep() {
            return;
        }
    }
}

impl Link {
    /// Drives the connection. Whatever it ends with shows in the answer as well.
    pub(super) fn drive(&mut self, ctx: &mut Context<'_>) {
        if !self.ended && Pin::new(&mut self.connection).poll(ctx).is_ready() {
            self.ended = true;
        }
    }

    /// Drives the connection as far as it goes at once. Nobody is woken when there is more to do:
    /// neither the last one that held an idle connection, nor one that will look again anyway.
    pub(super) fn drive_unwatched(&mut self) {
        self.drive(&mut Context::from_waker(Waker::noop()));
    }

    /// Whether the last exchange is over on both sides and the connection open.
    fn is_idle(&mut self) -> bool {
        self.drive_unwatched();
        !self.ended && self.sender.is_ready()
    }
}

impl Deadline {
    fn new() -> Self {
        let at = Instant::now();
        Self {
            sleep: Box::pin(tokio::time::sleep_until(at)),
            at,
        }
    }

    /// Sets the moment.
    pub(super) fn set(&mut self, at: Instant) {
        self.at = at;
        if at < self.sleep.deadline() {
            self.sleep.as_mut().reset(at);
        }
    }

    /// Ready once the moment has come.
    pub(super) fn poll(&mut self, ctx: &mut Context<'_>) -> Poll<()> {
        loop {
            std::task::ready!(self.sleep.as_mut().poll(ctx));
            if Instant::now() >= self.at {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.at);
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(ctx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(ctx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(ctx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(ctx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(ctx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(ctx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(ctx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(ctx),
        }
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstreams").finish_non_exhaustive()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("origin", &self.origin.as_str())
            .finish_non_exhaustive()
    }
}
