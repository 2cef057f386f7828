//! Log lines: where they go and how they look. What they say is the parts' own affair, and stands in
//! docs/logs.md.

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};

use tracing::dispatcher::{self, DefaultGuard, Dispatch};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use super::log_queue::{LogQueue, QueueGuard};
use super::request_line::RequestLines;

/// `[log]`.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// A filter such as `info` or `bff=debug,warn`.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
    /// How users are called in it.
    pub subject: SubjectInLog,
}

/// How users are called in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectInLog {
    /// By a keyed hash of their subject.
    Hash,
    /// By their subject.
    Clear,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter does not parse.
    #[error("log.level is not a filter such as \"info\" or \"bff=debug,warn\": {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Something in this process logs already.
    #[error("logging is set up already")]
    AlreadySet(#[from] TryInitError),
    /// The thread that writes them cannot be started.
    #[error("the thread that writes the log does not start: {0}")]
    Thread(#[from] io::Error),
}

/// Writes out the lines that still wait, when it is dropped.
#[must_use = "lines still in the queue are lost without it"]
#[derive(Debug)]
pub struct LogGuard(#[expect(dead_code, reason = "held for its drop")] QueueGuard);

/// Where the threads of an app send their log lines: where the process does, unless somebody listens
/// to this app alone. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct LogLines(Option<Dispatch>);

impl LogLines {
    /// To a subscriber of the app's own.
    pub const fn to(subscriber: Dispatch) -> Self {
        Self(Some(subscriber))
    }

    /// From here on this thread sends its lines there, until the guard is dropped.
    ///
    /// Where they go where the process' lines do, nothing is entered: a line would look for its
    /// thread's own subscriber first.
    pub fn enter(&self) -> Option<DefaultGuard> {
        self.0.as_ref().map(dispatcher::set_default)
    }
}

/// Sends log lines to standard output; `main` alone calls this, once.
///
/// The lines leave through a thread of their own. Where the reader is too slow for that thread,
/// lines of requests are dropped rather than requests held up, and the log says how many.
///
/// # Errors
///
/// A filter that does not parse, logging that is set up already, or no thread.
pub fn init(settings: &LogSettings) -> Result<LogGuard, LogError> {
    let filter = EnvFilter::try_new(&settings.level)?;
    let stdout = io::stdout();
    let colours = stdout.is_terminal();
    let queue = LogQueue::default();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(queue.clone());
    match settings.format {
        LogFormat::Text if colours => lines.with_ansi(true).finish().try_init(),
        LogFormat::Text => {
            let lines = lines.with_ansi(false).finish();
            lines.with(RequestLines::text(queue.clone())).try_init()
        }
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .finish()
            .with(RequestLines::json(queue.clone()))
            .try_init(),
    }?;
    let guard = queue.write_to(stdout)?;
    log_panics();
    Ok(LogGuard(guard))
}

/// A panic is a log line as well, so that a reader of JSON does not miss it.
///
/// The place only, in the log and where panics are told else: a message may quote the value that it
/// stumbled over (G14).
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let place = place.unwrap_or_default();
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        tracing::error!(
            event = "panic",
            panic.location = place,
            thread,
            "a task panicked"
        );
        // The log may leave errors out, or come to an end with the process.
        let told = writeln!(io::stderr(), "thread '{thread}' panicked at {place}");
        drop(told);
    }));
}

/// An error and its sources, in one line: what each adds, from the outermost to the first cause.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// G14: a panic is told by its place, and its message, which may quote a secret, nowhere. In a process
    /// of its own, since a process has one hook.
    #[test]
    fn a_panic_is_told_by_its_place_alone() {
        let told = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "telemetry::log::tests::panics_with_a_secret"])
            .args(["--ignored", "--nocapture"])
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (log, console) = (text(&told.stdout), text(&told.stderr));
        assert!(
            !log.contains("canary") && !console.contains("canary"),
            "{log}\n{console}"
        );
        let place = "src/telemetry/log.rs:";
        assert!(
            log.contains("a task panicked") && log.contains(place),
            "{log}"
        );
        assert!(console.contains(place), "{console}");
    }

    #[test]
    #[ignore = "the other half of a_panic_is_told_by_its_place_alone"]
    fn panics_with_a_secret() {
        let settings = LogSettings {
            level: "info".into(),
            format: LogFormat::Json,
            subject: SubjectInLog::Hash,
        };
        let guard = init(&settings).unwrap();
        let task = std::thread::spawn(|| panic!("the token is a {}", "canary"));
        assert!(task.join().is_err());
        drop(guard);
    }

    #[test]
    fn a_filter_that_does_not_parse_is_an_error() {
        let settings = LogSettings {
            level: "bff=loud".into(),
            format: LogFormat::Json,
            subject: SubjectInLog::Hash,
        };
        assert!(matches!(init(&settings), Err(LogError::Filter(_))));
    }
}
