//! Ports for servers of other processes.

use std::net::TcpListener;

/// A port of 127.0.0.1 that nobody uses just now. Below those that the system gives to whoever
/// connects, one of which could be taken before the server listens, or while it is down.
pub(crate) fn free_port() -> u16 {
    loop {
        let mut drawn = [0; 2];
        getrandom::fill(&mut drawn).unwrap();
        let port = 10_000 + u16::from_le_bytes(drawn) % 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
