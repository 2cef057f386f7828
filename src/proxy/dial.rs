//! The way to an upstream: its name resolved, one of its addresses reached, TLS agreed on; or a socket
//! file.
//!
//! An address that does not take connections is remembered and tried again beside the requests, so
//! that of them only the first waits for it.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::proxy::origin::{Origin, Security, connector};
use crate::proxy::route::RouteTable;
use crate::web::trust::Mistrust;

/// How often what could not be reached is tried again.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(1);

/// How often an address is tried again before it is forgotten: its name may have left it.
const MOST_TRIES: usize = 300;

/// Finds the addresses of a name.
pub trait Resolve: Send + Sync + 'static {
    /// Those of `host`, in the order to try them, each with `port`.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>;
}

/// What [`Resolve::resolve`] gives.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// As the machine resolves names.
#[derive(Debug, Clone, Copy)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// One worker's way to all upstreams; cheap to clone.
#[derive(Clone)]
pub(super) struct Dialer(Arc<Shared>);

struct Shared {
    timeout: Duration,
    tls: TlsConnector,
    resolver: Arc<dyn Resolve>,
    /// Addresses that took no connection when they were tried last, though another one did.
    mute: Mutex<HashSet<SocketAddr>>,
}

/// The wire to an upstream.
#[derive(Debug)]
pub(super) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// A socket file.
    Unix(UnixStream),
}

impl Dialer {
    /// Reaches an upstream within `timeout`, or not at all; `tls` verifies those that are https.
    pub(super) fn new(
        timeout: Duration,
        tls: Arc<ClientConfig>,
        resolver: Arc<dyn Resolve>,
    ) -> Self {
        Self(Arc::new(Shared {
            timeout,
            tls: connector(Arc::unwrap_or_clone(tls)),
            resolver,
            mute: Mutex::default(),
        }))
    }

    /// Name, TCP, TLS; or a file.
    pub(super) async fn dial(&self, origin: &Origin) -> io::Result<Socket> {
        let deadline = Instant::now() + self.0.timeout;
        timeout_at(deadline, self.dial_before(origin, deadline))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    async fn dial_before(&self, origin: &Origin, deadline: Instant) -> io::Result<Socket> {
        let shared = &*self.0;
        if let Some(path) = &origin.socket {
            return UnixStream::connect(path).await.map(Socket::Unix);
        }
        let mut addresses = shared.resolver.resolve(&origin.host, origin.port).await?;
        {
            let mute = shared.mute();
            addresses.sort_by_key(|address| mute.contains(address));
        }
        let stream = self.first_to_answer(&addresses, deadline).await?;
        stream.set_nodelay(true)?;
        match origin.security {
            Security::Plain => Ok(Socket::Plain(stream)),
            Security::Tls => {
                let name = ServerName::try_from(origin.host.clone()).map_err(io::Error::other)?;
                let tls = origin.tls(&shared.tls);
                let stream = tls.connect(name, stream).await.map_err(named)?;
                Ok(Socket::Tls(Box::new(stream)))
            }
        }
    }

    /// Every address gets its share of the time that is left, so that one that answers nothing
    /// does not use it up.
    async fn first_to_answer(
        &self,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> io::Result<TcpStream> {
        let mut outcome = Err(io::Error::from(io::ErrorKind::NotFound));
        for (tried, address) in addresses.iter().enumerate() {
            let left = u32::try_from(addresses.len() - tried).unwrap_or(1);
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            outcome = match timeout(share, TcpStream::connect(address)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
            };
            if outcome.is_ok() {
                break;
            }
            // Where there is no other, there is nothing to put before it.
            if addresses.len() > 1 {
                self.remember(*address);
            }
        }
        outcome
    }

    fn remember(&self, address: SocketAddr) {
        if self.0.mute().insert(address) {
            drop(tokio::spawn(listen_for(Arc::downgrade(&self.0), address)));
        }
    }
}

/// Tries every upstream of `routes` once, all at the same time: those that cannot be reached within
/// `patience`, each with what stood in the way.
pub async fn try_all(
    routes: &RouteTable,
    patience: Duration,
    tls: Arc<ClientConfig>,
) -> Vec<(String, io::Error)> {
    let dialer = Dialer::new(patience, tls, Arc::new(SystemResolver));
    let tries = routes
        .origins()
        .into_iter()
        .map(async |origin: Arc<Origin>| {
            let error = dialer.dial(&origin).await.err()?;
            Some((origin.as_str().to_owned(), error))
        });
    let tried = futures_util::future::join_all(tries).await;
    tried.into_iter().flatten().collect()
}

/// A certificate that is not believed says so, and what to write.
fn named(error: io::Error) -> io::Error {
    match Mistrust::behind(&error) {
        Some(fault) => io::Error::new(error.kind(), UntrustedUpstream { fault, error }),
        None => error,
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{fault}{}", if fault.is_of_unknown_authority { "; write the PEM file with its roots as the route's ca" } else { "" })]
struct UntrustedUpstream {
    fault: Mistrust,
    #[source]
    error: io::Error,
}

impl Shared {
    fn mute(&self) -> MutexGuard<'_, HashSet<SocketAddr>> {
        self.mute.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tries a mute address until it takes a connection.
async fn listen_for(shared: Weak<Shared>, address: SocketAddr) {
    for _ in 0..MOST_TRIES {
        sleep(TRY_AGAIN).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let reached = timeout(shared.timeout, TcpStream::connect(address)).await;
        if matches!(reached, Ok(Ok(_))) {
            break;
        }
    }
    if let Some(shared) = shared.upgrade() {
        shared.mute().remove(&address);
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
            Self::Unix(stream) => Pin::new(stream).poll_read(ctx, buffer),
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
            Self::Unix(stream) => Pin::new(stream).poll_write(ctx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(ctx, pieces),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(ctx, pieces),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(ctx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(ctx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(ctx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(ctx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(ctx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(ctx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(ctx),
        }
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}
