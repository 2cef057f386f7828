//! Servers that keep sessions, started for one test on a free port and ended with it.

pub(crate) mod nginx;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "redis")]
pub(crate) mod redis;

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

/// That a test cannot run for lack of `program`: said aloud on a developer's machine, a failure
/// where the tests stand for everybody.
#[expect(clippy::print_stderr, reason = "the one who runs the tests is told")]
#[expect(clippy::disallowed_methods, reason = "CI is known by its environment")]
pub(crate) fn missing(program: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "{program} is not installed"
    );
    eprintln!("SKIPPED: {program} is not installed; `tests/run.sh tests` installs it");
}
