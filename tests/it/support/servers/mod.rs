//! Servers that keep sessions, started for one test on a free port and ended with it.

pub(crate) mod nginx;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "redis")]
pub(crate) mod redis;

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
