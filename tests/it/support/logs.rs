//! The log lines of one app of a test: many tests share a process, and none reads another's lines.
//!
//! What belongs to no app (a thread that a library started, the test's own) goes to the strays, which
//! all tests share: what is looked for there is unpredictable, so one test's canary is never another's.

use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use bff::telemetry::LogLines;
use tracing::dispatcher::{DefaultGuard, Dispatch};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

static STRAYS: OnceLock<Lines> = OnceLock::new();

/// What was logged so far.
#[derive(Debug, Clone)]
pub(crate) struct Logs {
    own: Lines,
    to: LogLines,
}

#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Logs {
    /// Listens to whatever is given [`LogLines`] of its own, and to strays from now on.
    pub(crate) fn capture() -> Self {
        STRAYS.get_or_init(|| {
            let lines = Lines::default();
            tracing::dispatcher::set_global_default(lines.subscriber()).unwrap();
            lines
        });
        let own = Lines::default();
        let to = LogLines::to(own.subscriber());
        Self { own, to }
    }

    /// What an app is given so that it is heard here.
    pub(crate) fn destination(&self) -> LogLines {
        self.to.clone()
    }

    /// This thread is heard here until the guard is dropped.
    pub(crate) fn listen(&self) -> DefaultGuard {
        self.to.enter().unwrap()
    }

    /// Everything of this app so far.
    pub(crate) fn text(&self) -> String {
        self.own.text()
    }

    /// What nobody's app said so far, whichever test it came from.
    pub(crate) fn strays() -> String {
        STRAYS.get().map(Lines::text).unwrap_or_default()
    }

    /// The lines so far that hold `needle`, a request id for example.
    pub(crate) fn lines_with(&self, needle: &str) -> Vec<String> {
        self.text()
            .lines()
            .filter(|line| line.contains(needle))
            .map(str::to_owned)
            .collect()
    }
}

impl Lines {
    fn subscriber(&self) -> Dispatch {
        tracing_subscriber::fmt()
            .json()
            .with_env_filter(EnvFilter::new("bff=trace,info"))
            .with_writer(self.clone())
            .finish()
            .into()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
