//! Bytes in, bytes out: listeners, TLS, connections and their limits, shutdown.
//!
//! Knows nothing of what a request means; every request goes to a [`Handler`].

use std::future::Future;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::web::body::Body;

/// How the public listener behaves.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Certificate and key; `None` listens in the clear.
    pub tls: Option<TlsFiles>,
    /// Threads, each with its own listener, runtime and upstream connections.
    pub workers: NonZeroUsize,
    /// What a stranger may use.
    pub limits: Limits,
    /// How long a stranger may take.
    pub timeouts: Timeouts,
}

/// PEM files, read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The leaf's private key.
    pub key: PathBuf,
}

/// What a stranger may use (J17).
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Fields in a request's head.
    pub head_fields: usize,
    /// Connections open at once, over all workers.
    pub connections: usize,
    /// HTTP/2 streams open at once on a connection.
    pub h2_streams: u32,
    /// HTTP/2 resets by the peer before its connection is closed.
    pub h2_resets: usize,
}

/// How long a stranger may take (J18).
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// The TLS handshake.
    pub handshake: Duration,
    /// A request's head, from its first byte.
    pub head: Duration,
    /// Between two requests on one connection.
    pub idle: Duration,
    /// Between two pieces of a body, either way.
    pub body_idle: Duration,
    /// Connecting to an upstream.
    pub connect: Duration,
    /// Open streams at shutdown.
    pub drain: Duration,
}

/// What is known of the connection that a request came on.
#[derive(Debug, Clone, Copy)]
pub struct Connection {
    /// The other end of the socket: a browser, or a proxy before us.
    pub peer: SocketAddr,
    /// Whether TLS ended here.
    pub tls: bool,
}

/// Answers requests. One per worker.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(
        &self,
        request: Request<Incoming>,
        connection: Connection,
    ) -> impl Future<Output = Response<Body>> + Send;
}
