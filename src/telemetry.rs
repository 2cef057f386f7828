//! Log lines and metrics: what is set up once, and the handles that the parts are given.
//!
//! There is no global recorder: every app has its own [`Metrics`], so that several run in one
//! process. What a number means to an operator stands in its description below; who counts what
//! is the parts' own affair.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tracing::dispatcher::{self, DefaultGuard, Dispatch};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// `[log]`.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// A filter such as `info` or `bff=debug,warn`.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
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
    AlreadySet(#[source] Box<dyn Error + Send + Sync>),
}

/// Writes out the lines that still wait, when it is dropped.
#[must_use = "lines still in the queue are lost without it"]
#[derive(Debug)]
pub struct LogGuard(#[expect(dead_code, reason = "held for its drop")] WorkerGuard);

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

/// Lines that may wait for a slow reader. The queue takes its room at once, 40 bytes a line.
const QUEUED_LINES: usize = 8192;

/// Sends log lines to standard output; `main` alone calls this, once.
///
/// The lines leave through a thread of their own. Where the reader is too slow for that thread,
/// lines are dropped rather than requests held up.
///
/// # Errors
///
/// A filter that does not parse, or logging that is set up already.
pub fn init(settings: &LogSettings) -> Result<LogGuard, LogError> {
    let filter = EnvFilter::try_new(&settings.level)?;
    let stdout = io::stdout();
    let colours = stdout.is_terminal();
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(QUEUED_LINES)
        .finish(stdout);
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer);
    match settings.format {
        LogFormat::Text => lines.with_ansi(colours).try_init(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init(),
    }
    .map_err(LogError::AlreadySet)?;
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
        tracing::error!(panic.location = place, thread, "a task panicked");
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

/// Seconds; the upper bounds of every latency histogram.
const LATENCY_BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

/// How often samples move from the queues of the hot path into their histograms.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

const REQUESTS: &str = "bff_requests_total";
const REQUEST_SECONDS: &str = "bff_request_duration_seconds";
const UPSTREAM_SECONDS: &str = "bff_upstream_head_duration_seconds";
const SESSIONS: &str = "bff_sessions";
const CLOCK_SKEW: &str = "bff_session_store_clock_skew_seconds";
const LOGINS: &str = "bff_logins_total";
const LOGOUTS: &str = "bff_logouts_total";
const REFRESHES: &str = "bff_token_refreshes_total";
const STRANGERS: &str = "bff_strangers";
const STRANGERS_REFUSED: &str = "bff_strangers_refused_total";
const PROVIDER_CALLS: &str = "bff_provider_calls_total";
const PROVIDER_SECONDS: &str = "bff_provider_call_duration_seconds";

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// The counters and histograms of one app; cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Recorded>);

struct Recorded {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    sessions: Gauge,
    /// Every route that was asked for a handle.
    routes: Mutex<Vec<RouteMetrics>>,
    logins: AtomicU64,
    failed_logins: AtomicU64,
    refreshes: AtomicU64,
}

/// What happened since the process started, whatever the route and the reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests answered.
    pub requests: u64,
    /// Logins that came to a session.
    pub logins: u64,
    /// Logins that did not.
    pub failed_logins: u64,
    /// Refreshes that brought tokens.
    pub refreshes: u64,
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Self {
        let buckets = PrometheusBuilder::new().set_buckets(&LATENCY_BUCKETS);
        // `set_buckets` fails on an empty list only; summaries are then the honest rest.
        let recorder = buckets.unwrap_or_default().build_recorder();
        describe(&recorder);
        Self(Arc::new(Recorded {
            handle: recorder.handle(),
            sessions: recorder.register_gauge(&Key::from_static_name(SESSIONS), &METADATA),
            recorder,
            routes: Mutex::default(),
            logins: AtomicU64::new(0),
            failed_logins: AtomicU64::new(0),
            refreshes: AtomicU64::new(0),
        }))
    }

    /// A login ended: `ok`, `refused`, `provider_unavailable`, ….
    pub fn login(&self, outcome: &'static str) {
        let total = match outcome {
            "ok" => &self.0.logins,
            _ => &self.0.failed_logins,
        };
        total.fetch_add(1, Ordering::Relaxed);
        self.count(LOGINS, vec![Label::from_static_parts("outcome", outcome)]);
    }

    /// A logout ended.
    pub fn logout(&self, outcome: &'static str) {
        self.count(LOGOUTS, vec![Label::from_static_parts("outcome", outcome)]);
    }

    /// A token refresh ended.
    pub fn refresh(&self, outcome: &'static str) {
        if outcome == "ok" {
            self.0.refreshes.fetch_add(1, Ordering::Relaxed);
        }
        self.count(
            REFRESHES,
            vec![Label::from_static_parts("outcome", outcome)],
        );
    }

    /// A token refresh brought nothing: `refused`, which ended the session, or `unavailable`; and why.
    pub fn refresh_failed(&self, outcome: &'static str, cause: &'static str) {
        let outcome = Label::from_static_parts("outcome", outcome);
        let cause = Label::from_static_parts("cause", cause);
        self.count(REFRESHES, vec![outcome, cause]);
    }

    /// A call to the provider ended.
    pub fn provider_call(&self, endpoint: &'static str, outcome: &'static str, elapsed: Duration) {
        let endpoint = Label::from_static_parts("endpoint", endpoint);
        let outcome = Label::from_static_parts("outcome", outcome);
        self.count(PROVIDER_CALLS, vec![endpoint.clone(), outcome]);
        self.histogram(PROVIDER_SECONDS, vec![endpoint])
            .record(elapsed);
    }

    /// How many sessions there are.
    pub fn sessions(&self, count: u64) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "exact below 2^53 sessions, and a gauge is a float"
        )]
        self.0.sessions.set(count as f64);
    }

    /// What strangers have of one kind, and how often they were refused more.
    pub fn strangers(&self, demand: &'static str, used: usize, refused: u64) {
        let labels = vec![Label::from_static_parts("demand", demand)];
        let key = Key::from_parts(STRANGERS, labels.clone());
        let gauge = self.0.recorder.register_gauge(&key, &METADATA);
        gauge.set(f64::from(u32::try_from(used).unwrap_or(u32::MAX)));
        self.counter(STRANGERS_REFUSED, labels).absolute(refused);
    }

    /// How far this node's clock is ahead of the session store's, in milliseconds.
    pub fn clock_skew(&self, ahead: i64) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "exact below 2^53 milliseconds, and a gauge is a float"
        )]
        let seconds = ahead as f64 / 1000.0;
        let gauge = Key::from_static_name(CLOCK_SKEW);
        self.0
            .recorder
            .register_gauge(&gauge, &METADATA)
            .set(seconds);
    }

    /// The handle for one route. `name` is the route as configured, never a path of a request:
    /// each name is a series of its own for as long as the process lives.
    pub fn route(&self, name: &str) -> RouteMetrics {
        let label = vec![Label::new("route", name.to_owned())];
        let route = RouteMetrics(Arc::new(RouteCounters {
            answered: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            request_seconds: self.histogram(REQUEST_SECONDS, label.clone()),
            upstream_seconds: self.histogram(UPSTREAM_SECONDS, label),
            name: name.to_owned(),
        }));
        self.routes().push(route.clone());
        route
    }

    /// Everything counted so far, as Prometheus reads it (text format 0.0.4).
    pub fn render(&self) -> String {
        for ((route, method, class), count) in self.requests() {
            let labels = vec![
                Label::new("route", route),
                Label::from_static_parts("method", method),
                Label::from_static_parts("status", class),
            ];
            self.counter(REQUESTS, labels).absolute(count);
        }
        self.0.handle.render()
    }

    /// What happened so far.
    pub fn totals(&self) -> Totals {
        let of = |total: &AtomicU64| total.load(Ordering::Relaxed);
        Totals {
            requests: self.requests().values().sum(),
            logins: of(&self.0.logins),
            failed_logins: of(&self.0.failed_logins),
            refreshes: of(&self.0.refreshes),
        }
    }

    /// Requests by route, method and class of status; those of which there were any, so that a
    /// route nobody asks for shows no forty zeros.
    fn requests(&self) -> BTreeMap<(String, &'static str, &'static str), u64> {
        let mut requests = BTreeMap::new();
        for RouteMetrics(route) in &*self.routes() {
            for (method, row) in METHODS.iter().zip(&route.answered) {
                for (class, count) in CLASSES.iter().zip(row) {
                    let count = count.load(Ordering::Relaxed);
                    if count > 0 {
                        // Two routes may have one name: for two methods, say.
                        let key = (route.name.clone(), *method, *class);
                        *requests.entry(key).or_default() += count;
                    }
                }
            }
        }
        requests
    }

    fn routes(&self) -> MutexGuard<'_, Vec<RouteMetrics>> {
        let routes = self.0.routes.lock();
        routes.unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs for ever: empties the queues that the histograms fill, so that they stay small where
    /// nobody asks for [`Metrics::render`]. One task per app.
    pub async fn keep_small(self) {
        let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.0.handle.run_upkeep();
        }
    }

    fn count(&self, name: &'static str, labels: Vec<Label>) {
        self.counter(name, labels).increment(1);
    }

    fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        let key = Key::from_parts(name, labels);
        self.0.recorder.register_counter(&key, &METADATA)
    }

    fn histogram(&self, name: &'static str, labels: Vec<Label>) -> Histogram {
        let key = Key::from_parts(name, labels);
        self.0.recorder.register_histogram(&key, &METADATA)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

fn describe(recorder: &PrometheusRecorder) {
    let counters = [
        (
            REQUESTS,
            "Requests answered, by route, method and class of status.",
        ),
        (LOGINS, "Logins that ended, by outcome."),
        (LOGOUTS, "Logouts that ended, by outcome."),
        (
            REFRESHES,
            "Token refreshes that ended, by outcome and, where they failed, by cause.",
        ),
        (
            PROVIDER_CALLS,
            "Calls to the provider that ended, by endpoint and outcome.",
        ),
        (
            STRANGERS_REFUSED,
            "What strangers were refused beyond their budget, by demand.",
        ),
    ];
    for (name, text) in counters {
        recorder.describe_counter(KeyName::from(name), None, text.into());
    }
    recorder.describe_gauge(KeyName::from(SESSIONS), None, "Live sessions.".into());
    recorder.describe_gauge(
        KeyName::from(STRANGERS),
        None,
        "What strangers have us keep, open or send, by demand.".into(),
    );
    let skew = "How far this node's clock is ahead of the session store's, where that has one.";
    recorder.describe_gauge(KeyName::from(CLOCK_SKEW), None, skew.into());
    let histograms = [
        (
            REQUEST_SECONDS,
            "From a request's head to the head of its answer, by route.",
        ),
        (
            UPSTREAM_SECONDS,
            "Until the upstream's head came, by route.",
        ),
        (PROVIDER_SECONDS, "Calls to the provider, by endpoint."),
    ];
    for (name, text) in histograms {
        recorder.describe_histogram(KeyName::from(name), None, text.into());
    }
}

/// The counters of one route, ready for the hot path; cheap to clone.
#[derive(Clone)]
pub struct RouteMetrics(Arc<RouteCounters>);

struct RouteCounters {
    name: String,
    /// By method, then class of status. Only whoever asks for the metrics gives them labels.
    answered: [[AtomicU64; CLASSES.len()]; METHODS.len()],
    request_seconds: Histogram,
    upstream_seconds: Histogram,
}

const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other",
];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl RouteMetrics {
    /// A request was answered.
    pub fn answered(&self, method: &Method, status: StatusCode, elapsed: Duration) {
        self.0.request_seconds.record(elapsed);
        let (method, class) = (method_index(method), class_index(status));
        let slot = self.0.answered.get(method).and_then(|row| row.get(class));
        if let Some(slot) = slot {
            slot.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The upstream's head came.
    pub fn upstream_answered(&self, elapsed: Duration) {
        self.0.upstream_seconds.record(elapsed);
    }
}

impl fmt::Debug for RouteMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RouteMetrics").field(&self.0.name).finish()
    }
}

/// A method that a stranger made up counts as `other`: labels are ours to choose, not theirs.
const fn method_index(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::PATCH => 4,
        Method::DELETE => 5,
        Method::OPTIONS => 6,
        _ => 7,
    }
}

fn class_index(status: StatusCode) -> usize {
    usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_rendered() {
        let metrics = Metrics::new();
        let route = metrics.route("/api");
        route.answered(&Method::GET, StatusCode::OK, Duration::from_millis(3));
        route.answered(
            &Method::GET,
            StatusCode::NO_CONTENT,
            Duration::from_millis(3),
        );
        route.answered(
            &Method::from_bytes(b"BREW").unwrap(),
            StatusCode::NOT_FOUND,
            Duration::from_secs(100),
        );
        route.upstream_answered(Duration::from_millis(2));
        metrics.sessions(7);
        metrics.login("ok");
        metrics.logout("user");
        metrics.refresh("ok");
        metrics.refresh("ok");
        metrics.provider_call("token", "ok", Duration::from_millis(20));
        let text = metrics.render();
        for line in [
            "bff_requests_total{route=\"/api\",method=\"GET\",status=\"2xx\"} 2",
            "bff_requests_total{route=\"/api\",method=\"other\",status=\"4xx\"} 1",
            "bff_request_duration_seconds_bucket{route=\"/api\",le=\"0.0025\"} 0",
            "bff_request_duration_seconds_bucket{route=\"/api\",le=\"0.005\"} 2",
            "bff_request_duration_seconds_bucket{route=\"/api\",le=\"+Inf\"} 3",
            "bff_upstream_head_duration_seconds_count{route=\"/api\"} 1",
            "bff_sessions 7",
            "bff_logins_total{outcome=\"ok\"} 1",
            "bff_logouts_total{outcome=\"user\"} 1",
            "bff_token_refreshes_total{outcome=\"ok\"} 2",
            "bff_provider_calls_total{endpoint=\"token\",outcome=\"ok\"} 1",
            "bff_provider_call_duration_seconds_count{endpoint=\"token\"} 1",
            "# TYPE bff_request_duration_seconds histogram",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line}\nin\n{text}"
            );
        }
    }

    #[test]
    fn totals_are_over_all_routes() {
        let metrics = Metrics::new();
        assert_eq!(metrics.totals(), Totals::default());
        for name in ["/api", "/files", "/api"] {
            let route = metrics.route(name);
            for status in [StatusCode::OK, StatusCode::BAD_GATEWAY] {
                route.answered(&Method::GET, status, Duration::from_millis(3));
            }
        }
        for outcome in ["ok", "refused", "provider_unavailable"] {
            metrics.login(outcome);
            metrics.refresh(outcome);
        }
        let totals = Totals {
            requests: 6,
            logins: 1,
            failed_logins: 2,
            refreshes: 1,
        };
        assert_eq!(metrics.totals(), totals);
    }

    #[test]
    fn two_apps_do_not_share_their_counters() {
        let (one, two) = (Metrics::new(), Metrics::new());
        one.login("ok");
        assert!(one.render().contains("bff_logins_total"));
        assert!(!two.render().contains("bff_logins_total"));
    }

    /// G14: a panic is told by its place, and its message, which may quote a secret, nowhere. In a process
    /// of its own, since a process has one hook.
    #[test]
    fn a_panic_is_told_by_its_place_alone() {
        let told = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "telemetry::tests::panics_with_a_secret"])
            .args(["--ignored", "--nocapture"])
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (log, console) = (text(&told.stdout), text(&told.stderr));
        assert!(
            !log.contains("canary") && !console.contains("canary"),
            "{log}\n{console}"
        );
        let place = "src/telemetry.rs:";
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
        };
        assert!(matches!(init(&settings), Err(LogError::Filter(_))));
    }
}
