//! The queue of connections that nobody has accepted yet, when the listener is to close.

/// Lets the kernel queue nobody more: who knocks now hears nothing and knocks again a second later,
/// when the next process listens, or nobody. Closing the socket alone would reset whoever has come
/// since the last accept, and `shutdown(2)` would reset the whole queue.
#[cfg(target_os = "linux")]
pub(super) fn let_nobody_queue(listener: &tokio::net::TcpListener) {
    use socket2::{SockFilter, SockRef};
    // Classic BPF over the TCP header, which drops a segment that begins a connection. The last one
    // of a handshake under way passes.
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    const ONLY_NEW_ARE_DROPPED: [SockFilter; 5] = [
        SockFilter::new(0x30, 0, 0, FLAGS),     // load the byte
        SockFilter::new(0x54, 0, 0, SYN | ACK), // and
        SockFilter::new(0x15, 0, 1, SYN),       // jump unless equal
        SockFilter::new(0x06, 0, 0, 0),         // return: drop
        SockFilter::new(0x06, 0, 0, u32::MAX),  // return: keep
    ];
    if let Err(error) = SockRef::from(listener).attach_filter(&ONLY_NEW_ARE_DROPPED) {
        tracing::debug!(%error, "connections that come while the listener closes may be reset");
    }
}

/// Elsewhere the kernel offers no way.
#[cfg(not(target_os = "linux"))]
pub(super) fn let_nobody_queue(_listener: &tokio::net::TcpListener) {}
