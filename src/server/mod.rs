//! Bytes in, bytes out: listeners, TLS, connections and their limits, shutdown.
//!
//! Knows nothing of what a request means; every request goes to a [`Handler`].

mod accept;
mod callers;
mod connection;
pub mod descriptors;
mod drive;
mod frames;
mod listen;
mod listener;
mod queue;
mod roll_call;
mod room;
mod shutdown;
mod socket_file;
mod stream;
mod tls;
mod unread;

use std::fmt;
use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::telemetry::LogLines;
use crate::web::body::Body;
use crate::web::client_address::Peer;
use crate::web::pace::LeastRate;
use crate::web::repeats::Repeats;

use self::listener::Worker;
use self::room::Room;
use self::shutdown::LastAnswers;
use self::tls::Told;

pub use self::callers::Callers;
pub use self::listen::Listen;
pub use self::roll_call::RollCall;
pub use self::tls::{CertificateNames, Certificates, SiteCertificate, TlsError, names_in};
pub use crate::web::key_pair::TlsFiles;

/// How the public listener behaves.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Where to listen.
    pub listen: Listen,
    /// The key of bff.toml that says so.
    pub key: &'static str,
    /// Certificate and key for whoever asks for no site's host.
    pub tls: Option<TlsFiles>,
    /// Those of sites. Without any certificate it listens in the clear.
    pub site_certificates: Vec<SiteCertificate>,
    /// Threads, each with its own listener, runtime and upstream connections.
    pub workers: NonZeroUsize,
    /// What a stranger may use.
    pub limits: Limits,
    /// How long a stranger may take.
    pub timeouts: Timeouts,
}

impl ServerSettings {
    /// Whether TLS ends here.
    pub const fn speaks_tls(&self) -> bool {
        self.tls.is_some() || !self.site_certificates.is_empty()
    }

    /// The certificate that a browser gets which asks for this host, in A-labels.
    pub fn certificate_for(&self, host: &str) -> Option<&TlsFiles> {
        let of_sites = |host: &str| {
            let mut all = self.site_certificates.iter();
            all.find(|one| one.host.eq_ignore_ascii_case(host))
                .map(|one| &one.files)
        };
        let below = || of_sites(&format!("*.{}", host.split_once('.')?.1));
        of_sites(host).or_else(below).or(self.tls.as_ref())
    }

    /// Reads and judges all certificates as a start would.
    ///
    /// # Errors
    ///
    /// See [`TlsError`]: the first fault.
    pub fn check_certificates(&self, now: Timestamp) -> Result<(), TlsError> {
        Certificates::load(self.tls.as_ref(), &self.site_certificates, now).map(drop)
    }
}

/// What a stranger may use (J17).
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Fields in a request's head.
    pub head_fields: usize,
    /// Fields in the head of an upstream's answer.
    pub upstream_fields: usize,
    /// Connections open at once, over all workers.
    pub connections: usize,
    /// Of these, those of one address, where addresses tell one from another; `None` is a quarter.
    pub connections_per_address: Option<usize>,
    /// HTTP/2 streams open at once on a connection.
    pub h2_streams: u32,
    /// HTTP/2 requests that the peer may reset within 30 s before its connection is closed.
    pub h2_resets: usize,
    /// The slowest that a body may go, either way (J18).
    pub least_rate: LeastRate,
}

/// How long a stranger may take (J18).
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// The TLS handshake.
    pub handshake: Duration,
    /// A request's head, from its first byte; a connection's first, from the connection.
    pub head: Duration,
    /// Between two requests on one connection.
    pub idle: Duration,
    /// Between two pieces of a body, either way.
    pub body_idle: Duration,
    /// Connecting to an upstream.
    pub connect: Duration,
    /// A browser's silence on a WebSocket before it is pinged, and from then until it is let go;
    /// `None` for ever.
    pub websocket_ping: Option<Duration>,
    /// Using one connection to an upstream for new requests.
    pub upstream_age: Duration,
    /// Open streams at shutdown.
    pub drain: Duration,
}

/// What is known of the connection that a request came on.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The other end of the socket: a browser, or a proxy before us.
    pub peer: Peer,
    /// Whether TLS ended here.
    pub tls: bool,
    /// What its certificate is for, where another one could have been meant.
    names: Option<Arc<CertificateNames>>,
}

impl Connection {
    /// Whether a request for this host may come on it: the certificate that it began with is for the
    /// host, or is the only one that this listener has.
    pub fn covers(&self, host: &str) -> bool {
        self.names.as_ref().is_none_or(|names| names.cover(host))
    }
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

/// What a worker's [`Handler`] is made from.
#[derive(Debug, Clone)]
pub struct WorkerContext {
    /// Which worker, from 0.
    pub index: usize,
    /// Cancelled when the drain begins; each WebSocket and event stream ends then. The drain waits
    /// for their sockets to close, up to [`Timeouts::drain`].
    pub shutdown: CancellationToken,
}

/// Why the listener did not start: one clear sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something else listens there.
    #[error("{key}: {listen} is in use by another program; stop it, or write another address")]
    AddressInUse {
        /// What asked for it.
        key: &'static str,
        /// The address asked for.
        listen: Listen,
    },
    /// The address cannot be listened on: a port below 1024, an address of another machine.
    #[error("{key}: cannot listen on {listen}{}: {source}", listen.remedy(source))]
    Listen {
        /// What asked for it.
        key: &'static str,
        /// The address asked for.
        listen: Listen,
        /// What the operating system said.
        source: io::Error,
    },
    /// The certificate or its key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No thread or no runtime.
    #[error("cannot start a worker: {0}")]
    Worker(#[source] io::Error),
}

/// A running listener. Dropping it leaves it running until the shutdown token is cancelled.
pub struct Server {
    local_addr: Listen,
    certificates: Option<Certificates>,
    workers: RollCall,
    last_answers: LastAnswers,
    threads: Vec<JoinHandle<()>>,
    /// Closed once every worker has let go of its end.
    running: mpsc::Receiver<()>,
}

impl Server {
    /// Binds, then starts the workers; each makes its handler on its own thread, inside its own
    /// runtime. Cancelling `shutdown` begins the drain; a worker that breaks cancels it too. Workers
    /// send their lines to `log`. Blocks until every worker listens.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. Nothing is left running then, and `shutdown` is cancelled.
    pub fn start<H: Handler>(
        settings: ServerSettings,
        callers: &Callers,
        make_handler: impl Fn(WorkerContext) -> H + Send + Sync + 'static,
        shutdown: CancellationToken,
        log: &LogLines,
    ) -> Result<Self, StartError> {
        let (tls, sites) = (settings.tls.as_ref(), &settings.site_certificates);
        let certificates = Certificates::load(tls, sites, SystemClock.now())?;
        let (local_addr, listeners) = listener::bind(&settings)?;
        let room = Room::new(settings.limits.connections);
        let warnings = Arc::new(Repeats::default());
        let settings = Arc::new(settings);
        let make_handler = Arc::new(make_handler);
        let (alive, running) = mpsc::channel(1);
        // Whoever leaves through `?` below ends the workers that run already.
        let undo = shutdown.drop_guard();
        let mut workers = RollCall::default();
        let last_answers = LastAnswers::default();
        let mut threads = Vec::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            let worker = Worker {
                context: WorkerContext {
                    index,
                    shutdown: undo.token().clone(),
                },
                listener,
                certificates: certificates.clone(),
                settings: Arc::clone(&settings),
                callers: callers.clone(),
                room: room.clone(),
                calls: workers.enlist(),
                last_answers: last_answers.clone(),
                warnings: Arc::clone(&warnings),
                alive: alive.clone(),
                log: log.clone(),
            };
            threads.push(worker.spawn(Arc::clone(&make_handler))?);
        }
        undo.disarm();
        Ok(Self {
            local_addr,
            certificates,
            workers,
            last_answers,
            threads,
            running,
        })
    }

    /// Where it listens: on the real port where port 0 was asked for.
    pub const fn local_addr(&self) -> &Listen {
        &self.local_addr
    }

    /// The certificates in use, where TLS ends here.
    pub fn certificates(&self) -> Option<Certificates> {
        self.certificates.clone()
    }

    /// Serves on, and says with each answer of HTTP/1.1 that its connection ends: the drain is near,
    /// and shall find no connection that a proxy has kept.
    pub fn keeps_no_connection(&self) {
        self.last_answers.begin();
    }

    /// Whom to ask whether the workers still turn.
    pub fn workers(&self) -> RollCall {
        self.workers.clone()
    }

    /// Looks at the certificates now, not only in a moment; the log says what came of it. Reads files.
    pub fn reload(&self) {
        if let Some(certificates) = &self.certificates {
            certificates.look(Told::Always);
        }
    }

    /// Waits until every worker has ended: the drain is over, or one broke, which ends them all.
    pub async fn finished(mut self) {
        // Nothing is ever sent: `None` comes when the last worker lets go.
        while self.running.recv().await.is_some() {}
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!(event = "worker.broke", "a worker of the listener broke");
            }
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
