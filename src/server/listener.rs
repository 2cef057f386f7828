//! Listening sockets and the workers that own them.
//!
//! Each core has a thread, a current-thread runtime and a socket of its own on the one address
//! (`SO_REUSEPORT`): the kernel shares out the connections, and no request crosses a thread. A socket
//! file has one queue for all.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, mpsc as std_mpsc};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::accept::Acceptor;
use super::callers::Callers;
use super::roll_call::{self, Calls};
use super::room::Room;
use super::shutdown::{Drain, LastAnswers};
use super::socket_file::SocketFile;
use super::tls::Certificates;
use super::{Handler, Listen, ServerSettings, StartError, WorkerContext};
use crate::telemetry::LogLines;
use crate::web::repeats::Repeats;

/// Connections that the kernel keeps until a worker accepts them.
const BACKLOG: i32 = 1024;

/// When the kernel asks a silent peer whether it is still there.
const TCP_KEEPALIVE: Duration = Duration::from_mins(1);

/// The socket of one worker.
pub(super) enum Listener {
    Tcp(TcpListener),
    /// All workers accept from one queue: the kernel shares out no socket file.
    Unix(UnixListener, SocketFile),
}

/// Binds the workers' sockets and says where.
pub(super) fn bind(settings: &ServerSettings) -> Result<(Listen, Vec<Listener>), StartError> {
    let bound = match &settings.listen {
        Listen::Tcp(address) => bind_tcp(*address, settings.workers),
        Listen::Unix(path) => bind_unix(path, settings.workers),
    };
    bound.map_err(|source| {
        let (key, listen) = (settings.key, settings.listen.clone());
        if source.kind() == io::ErrorKind::AddrInUse {
            StartError::AddressInUse { key, listen }
        } else {
            StartError::Listen {
                key,
                listen,
                source,
            }
        }
    })
}

fn bind_tcp(address: SocketAddr, workers: NonZeroUsize) -> io::Result<(Listen, Vec<Listener>)> {
    if address.port() != 0 {
        // A second `bff` could join the first one's port unnoticed and take half its connections:
        // SO_REUSEPORT allows just that. So the port is tried without it first.
        open(address, Sharing::Alone)?;
    }
    let first = open(address, Sharing::Workers)?;
    let bound = first.local_addr()?;
    let mut listeners = vec![Listener::Tcp(first)];
    for _ in 1..workers.get() {
        listeners.push(Listener::Tcp(open(bound, Sharing::Workers)?));
    }
    Ok((Listen::Tcp(bound), listeners))
}

fn bind_unix(path: &Path, workers: NonZeroUsize) -> io::Result<(Listen, Vec<Listener>)> {
    let (file, first) = SocketFile::bind(path, BACKLOG)?;
    let mut listeners = Vec::new();
    for _ in 1..workers.get() {
        listeners.push(Listener::Unix(first.try_clone()?, file.clone()));
    }
    listeners.push(Listener::Unix(first, file));
    Ok((Listen::Unix(path.to_owned()), listeners))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Alone,
    Workers,
}

fn open(address: SocketAddr, sharing: Sharing) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Lets a restart bind while connections of the last run are in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if sharing == Sharing::Workers {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        // `[::]` means every address, whatever the machine's default.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Accepted sockets inherit both, which saves two calls a connection.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    // A trial listens to nobody: whoever connected to it would be cut off when it ends.
    if sharing == Sharing::Workers {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}

/// Where connections come in, once there is a runtime.
enum Door {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener, SocketFile),
}

/// One worker before it runs.
pub(super) struct Worker {
    pub(super) context: WorkerContext,
    pub(super) listener: Listener,
    pub(super) certificates: Option<Certificates>,
    pub(super) settings: Arc<ServerSettings>,
    pub(super) callers: Callers,
    pub(super) room: Room,
    pub(super) calls: Calls,
    pub(super) last_answers: LastAnswers,
    pub(super) warnings: Arc<Repeats>,
    pub(super) alive: mpsc::Sender<()>,
    pub(super) log: LogLines,
}

impl Worker {
    /// Starts the worker on a thread of its own; returns once it can accept.
    pub(super) fn spawn<H, M>(
        self,
        make_handler: Arc<M>,
    ) -> Result<thread::JoinHandle<()>, StartError>
    where
        H: Handler,
        M: Fn(WorkerContext) -> H + Send + Sync + 'static,
    {
        let (started, start) = std_mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name(format!("bff-{}", self.context.index))
            .spawn(move || self.run(&*make_handler, &started))
            .map_err(StartError::Worker)?;
        match start.recv() {
            Ok(Ok(())) => Ok(thread),
            Ok(Err(error)) => Err(StartError::Worker(error)),
            Err(std_mpsc::RecvError) => {
                Err(StartError::Worker(io::Error::other("the worker broke")))
            }
        }
    }

    fn run<H: Handler>(
        self,
        make_handler: &dyn Fn(WorkerContext) -> H,
        started: &std_mpsc::SyncSender<io::Result<()>>,
    ) {
        let _lines = self.log.enter();
        // Dropped last, whatever happens here: one worker gone ends them all, so that whoever
        // watches the process sees it end instead of serving on with half its strength.
        let _alive = self.alive.clone();
        let _end_all = self.context.shutdown.clone().drop_guard();
        let runtime = match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime,
            Err(error) => return report(started, Err(error)),
        };
        runtime.block_on(self.work(make_handler, started));
        // What outlived the drain is cut here. A read of a file that hangs is not waited for.
        runtime.shutdown_background();
    }

    async fn work<H: Handler>(
        self,
        make_handler: &dyn Fn(WorkerContext) -> H,
        started: &std_mpsc::SyncSender<io::Result<()>>,
    ) {
        let door = match self.listener {
            Listener::Tcp(listener) => tokio::net::TcpListener::from_std(listener).map(Door::Tcp),
            Listener::Unix(listener, file) => {
                tokio::net::UnixListener::from_std(listener).map(|door| Door::Unix(door, file))
            }
        };
        let door = match door {
            Ok(door) => door,
            Err(error) => return report(started, Err(error)),
        };
        let drain = Arc::new(Drain::new(self.last_answers));
        let handler = make_handler(self.context.clone());
        if let (0, Some(certificates)) = (self.context.index, self.certificates.clone()) {
            // One worker looks at the files for all.
            tokio::spawn(certificates.keep_fresh());
        }
        tokio::spawn(roll_call::answer(self.calls));
        let acceptor = Acceptor::new(
            handler,
            self.certificates,
            &self.settings,
            self.callers,
            self.room,
            Arc::clone(&drain),
            self.warnings,
        );
        report(started, Ok(()));
        let shutdown = self.context.shutdown.clone();
        let mut accepting: Pin<Box<dyn Future<Output = ()>>> = match door {
            Door::Tcp(door) => Box::pin(acceptor.accept(door, &shutdown)),
            Door::Unix(door, file) => Box::pin(acceptor.accept((door, file), &shutdown)),
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            // It goes on for a moment after the shutdown, so it is never the first.
            () = &mut accepting => {}
        }
        // Before the queue is empty: who leaves now makes room for who is in it.
        drain.begin();
        let deadline = Instant::now() + self.settings.timeouts.drain;
        if timeout_at(deadline, accepting).await.is_err() {
            tracing::warn!(
                event = "drain.queued",
                "connections were still queued at the end of the drain"
            );
        }
        drain.finish(deadline).await;
    }
}

/// Tells the starting thread, unless it has given up already.
fn report(started: &std_mpsc::SyncSender<io::Result<()>>, outcome: io::Result<()>) {
    drop(started.send(outcome));
}
