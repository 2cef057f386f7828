//! A helper of the cast on a thread and runtime of its own, so that it answers whatever the
//! test's own thread is doing. A panic over there fails the test when the helper is dropped.

use std::net::{SocketAddr, TcpListener};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use futures_util::FutureExt as _;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// A listener and the thread that serves it.
#[derive(Debug)]
pub(crate) struct Helper {
    name: &'static str,
    addr: SocketAddr,
    shutdown: CancellationToken,
    thread: Option<JoinHandle<()>>,
    panics: Arc<Mutex<Vec<String>>>,
}

impl Helper {
    /// Listens on a free port of the loopback address; each connection goes to `serve`.
    pub(crate) fn listen<F, Fut>(name: &'static str, serve: F) -> Self
    where
        F: Fn(TcpStream) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let panics = Arc::default();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn({
                let (shutdown, panics) = (shutdown.clone(), Arc::clone(&panics));
                move || run(listener, &shutdown, &panics, &serve)
            })
            .unwrap();
        Self {
            name,
            addr,
            shutdown,
            thread: Some(thread),
            panics,
        }
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Whether a connection's task panicked so far.
    pub(crate) fn has_panicked(&self) -> bool {
        !self.panics.lock().unwrap().is_empty()
    }
}

fn run<F, Fut>(
    listener: TcpListener,
    shutdown: &CancellationToken,
    panics: &Arc<Mutex<Vec<String>>>,
    serve: &F,
) where
    F: Fn(TcpStream) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => accepted.unwrap().0,
                () = shutdown.cancelled() => return,
            };
            stream.set_nodelay(true).unwrap();
            let panics = Arc::clone(panics);
            let served = AssertUnwindSafe(serve(stream)).catch_unwind();
            tokio::spawn(async move {
                if let Err(panic) = served.await {
                    let text = panic
                        .downcast_ref::<String>()
                        .cloned()
                        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                    panics.lock().unwrap().push(text.unwrap_or_default());
                }
            });
        }
    });
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.shutdown.cancel();
        let ended = self.thread.take().map(JoinHandle::join);
        // A second panic would abort and hide the first.
        if std::thread::panicking() {
            return;
        }
        assert!(
            !matches!(ended, Some(Err(_))),
            "the thread of {} panicked",
            self.name
        );
        let panics = self.panics.lock().unwrap();
        assert!(
            panics.is_empty(),
            "{} panicked while it served: {panics:?}",
            self.name
        );
    }
}
