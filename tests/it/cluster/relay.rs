//! A stretch of network between a node and its store that can fall silent for the push channel
//! alone: nothing passes, nothing breaks off, and nobody is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use crate::support::helper::Helper;
use crate::support::wire::find;

/// The stretch.
#[derive(Debug)]
pub(super) struct Relay {
    helper: Helper,
    flows: watch::Sender<bool>,
}

impl Relay {
    /// Leads to `target`; a connection on which the node says `marker` is its push channel.
    pub(super) fn to(target: SocketAddr, marker: &'static [u8]) -> Self {
        let (flows, flowing) = watch::channel(true);
        let helper = Helper::listen("a relay", move |stream| {
            carry(stream, target, marker, flowing.clone())
        });
        Self { helper, flows }
    }

    /// Where a node finds it.
    pub(super) fn addr(&self) -> SocketAddr {
        self.helper.addr()
    }

    /// Nothing of a push channel passes from now on, of those there are and of those to come.
    pub(super) fn cut(&self) {
        self.flows.send_replace(false);
    }

    /// Everything passes again, what was held back first.
    pub(super) fn mend(&self) {
        self.flows.send_replace(true);
    }
}

async fn carry(
    client: TcpStream,
    target: SocketAddr,
    marker: &'static [u8],
    flows: watch::Receiver<bool>,
) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    drop(server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    let is_push = Arc::new(AtomicBool::new(false));
    let there = pass(
        from_client,
        to_server,
        Some(marker),
        Arc::clone(&is_push),
        flows.clone(),
    );
    let back = pass(from_server, to_client, None, is_push, flows);
    // Whichever side ends, the other is told.
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    marker: Option<&'static [u8]>,
    is_push: Arc<AtomicBool>,
    mut flows: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        let bytes = &buffer[..count];
        if marker.is_some_and(|marker| find(bytes, marker).is_some()) {
            is_push.store(true, Ordering::SeqCst);
        }
        if is_push.load(Ordering::SeqCst) && flows.wait_for(|flows| *flows).await.is_err() {
            return;
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}
