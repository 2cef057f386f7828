//! The counters, gauges and histograms of one app. There is no global recorder: every app has its own
//! [`Metrics`], so that several run in one process.
//!
//! What a number means to an operator stands in its description below and in docs/metrics.md, which a
//! test holds against a scrape; who counts what is the parts' own affair. What can be known at the
//! start is registered then, at zero: a rate over a series that comes into being with its first event
//! misses that event.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Recorder as _};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::names::{
    BUILD, CERTIFICATE_EXPIRES, CLOCK_SKEW, CONFIG_IN_USE_SINCE, CONFIG_REFUSED_SINCE, LOGINS,
    LOGOUTS, LOOKUPS, PROVIDER_CALLS, PROVIDER_SECONDS, REFRESHES, RELOADS, REQUESTS,
    SECRET_EXPIRES, SESSION_MEMORY, SESSION_MEMORY_MAX, SESSIONS, SESSIONS_ENDED, SOCKETS,
    STORE_ERRORS, STORE_SECONDS, STRANGERS, STRANGERS_BUDGET, STRANGERS_REFUSED, STREAMS, describe,
};
use super::of_site::{EverySite, Labelled, SiteLabels};
use super::outcome::{LoginOutcome, LogoutOutcome, RefreshOutcome, ReloadOutcome};
use super::process;
use super::route::RouteMetrics;
use super::series::{METADATA, histogram, label};
use crate::clock::Timestamp;
use crate::web::ending::EndReason;
use crate::web::site_id::SiteId;

/// Seconds; the upper bounds of every latency histogram.
const LATENCY_BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

/// How often samples move from the queues of the hot path into their histograms.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The counters and histograms of one app, for whoever counts at one of its sites or for all of them; cheap
/// to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Recorded>, SiteLabels);

struct Recorded {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    sessions: Gauge,
    every_site: EverySite,
    /// Every route that was asked for a handle, by its site and its name.
    routes: Mutex<BTreeMap<(SiteLabels, Box<str>), RouteMetrics>>,
    /// Since when the configuration has faults.
    refused_since: Mutex<Option<Timestamp>>,
    logins: AtomicU64,
    failed_logins: AtomicU64,
    refreshes: AtomicU64,
}

/// Whose requests, of which route, method and class of status, and how many.
type Requests = (SiteLabels, (String, &'static str, &'static str), u64);

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
        let recorded = Recorded {
            handle: recorder.handle(),
            sessions: recorder.register_gauge(&Key::from_static_name(SESSIONS), &METADATA),
            recorder: Arc::new(recorder),
            every_site: EverySite::default(),
            routes: Mutex::default(),
            refused_since: Mutex::default(),
            logins: AtomicU64::new(0),
            failed_logins: AtomicU64::new(0),
            refreshes: AtomicU64::new(0),
        };
        let this = Self(Arc::new(recorded), Arc::new([]));
        this.begin_at_zero();
        this.site_begins_at_zero();
        this
    }

    /// What is counted at this site; the site of bff.toml goes by no label.
    #[must_use]
    pub fn at(&self, site: &SiteId) -> Self {
        let Labelled { labels, is_new } = self.0.every_site.of(site);
        let this = Self(Arc::clone(&self.0), labels);
        // Tenants come with their first login, and may be many.
        if is_new && site.tenant_name().is_none() {
            this.site_begins_at_zero();
        }
        this
    }

    fn begin_at_zero(&self) {
        let version = label("version", env!("CARGO_PKG_VERSION"));
        self.gauge(BUILD, vec![version]).set(1);
        for outcome in ReloadOutcome::ALL {
            drop(self.counter(RELOADS, vec![label("outcome", outcome.as_str())]));
        }
        for open in [STREAMS, SOCKETS] {
            drop(self.gauge(open, Vec::new()));
        }
    }

    fn site_begins_at_zero(&self) {
        for outcome in LoginOutcome::ALL {
            drop(self.counter(LOGINS, vec![label("outcome", outcome.as_str())]));
        }
        for outcome in LogoutOutcome::ALL {
            drop(self.counter(LOGOUTS, vec![label("outcome", outcome.as_str())]));
        }
        // The others have a cause as well.
        for outcome in [RefreshOutcome::Ok, RefreshOutcome::Overtaken] {
            drop(self.counter(REFRESHES, vec![label("outcome", outcome.as_str())]));
        }
        for reason in EndReason::ALL {
            drop(self.counter(SESSIONS_ENDED, vec![label("reason", reason.as_str())]));
        }
    }

    /// A login ended.
    pub fn login(&self, outcome: LoginOutcome) {
        let total = match outcome {
            LoginOutcome::Ok => &self.0.logins,
            _ => &self.0.failed_logins,
        };
        total.fetch_add(1, Ordering::Relaxed);
        self.count(LOGINS, vec![label("outcome", outcome.as_str())]);
    }

    /// A logout ended.
    pub fn logout(&self, outcome: LogoutOutcome) {
        self.count(LOGOUTS, vec![label("outcome", outcome.as_str())]);
    }

    /// A token refresh ended.
    pub fn refresh(&self, outcome: RefreshOutcome) {
        if outcome == RefreshOutcome::Ok {
            self.0.refreshes.fetch_add(1, Ordering::Relaxed);
        }
        self.count(REFRESHES, vec![label("outcome", outcome.as_str())]);
    }

    /// A token refresh brought nothing, and why.
    pub fn refresh_failed(&self, outcome: RefreshOutcome, cause: &'static str) {
        let outcome = label("outcome", outcome.as_str());
        self.count(REFRESHES, vec![outcome, label("cause", cause)]);
    }

    /// A session ended, by this node.
    pub fn session_ended(&self, reason: EndReason) {
        self.count(SESSIONS_ENDED, vec![label("reason", reason.as_str())]);
    }

    /// A call to the provider ended.
    pub fn provider_call(&self, endpoint: &'static str, outcome: &'static str, elapsed: Duration) {
        let endpoint = label("endpoint", endpoint);
        self.count(
            PROVIDER_CALLS,
            vec![endpoint.clone(), label("outcome", outcome)],
        );
        histogram(&self.0.recorder, PROVIDER_SECONDS, vec![endpoint]).record(elapsed);
    }

    /// The handles for calls to the session store.
    pub fn store(&self) -> StoreMetrics {
        let error = |kind| self.counter(STORE_ERRORS, vec![label("kind", kind)]);
        StoreMetrics {
            seconds: histogram(&self.0.recorder, STORE_SECONDS, Vec::new()),
            away: error("away"),
            unusable: error("unusable"),
        }
    }

    /// How many looks at sessions were answered from memory, and how many asked the store.
    pub fn lookups(&self, from_memory: u64, from_store: u64) {
        for (from, count) in [("memory", from_memory), ("store", from_store)] {
            self.counter(LOOKUPS, vec![label("from", from)])
                .absolute(count);
        }
    }

    /// How many sessions there are.
    pub fn sessions(&self, count: u64) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "exact below 2^53 sessions, and a gauge is a float"
        )]
        self.0.sessions.set(count as f64);
    }

    /// How much of this process's memory sessions take, about, and how much they may.
    pub fn session_memory(&self, used: u64, most: u64) {
        for (name, bytes) in [(SESSION_MEMORY, used), (SESSION_MEMORY_MAX, most)] {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            self.gauge(name, Vec::new()).set(float(bytes));
        }
    }

    /// How many event streams and WebSockets are open.
    pub fn open(&self, streams: usize, sockets: usize) {
        self.gauge(STREAMS, Vec::new()).set(float(streams));
        self.gauge(SOCKETS, Vec::new()).set(float(sockets));
    }

    /// What strangers have of one kind, what they may have, and how often they were refused more.
    pub fn strangers(&self, demand: &'static str, used: usize, budget: usize, refused: u64) {
        let labels = || vec![label("demand", demand)];
        self.gauge(STRANGERS, labels()).set(float(used));
        self.gauge(STRANGERS_BUDGET, labels()).set(float(budget));
        self.counter(STRANGERS_REFUSED, labels()).absolute(refused);
    }

    /// How far this node's clock is ahead of the session store's, in milliseconds.
    pub fn clock_skew(&self, ahead: i64) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "exact below 2^53 milliseconds, and a gauge is a float"
        )]
        let seconds = ahead as f64 / 1000.0;
        self.gauge(CLOCK_SKEW, Vec::new()).set(seconds);
    }

    /// When the certificate in use ends.
    pub fn certificate_expires(&self, at: Timestamp) {
        self.gauge(CERTIFICATE_EXPIRES, Vec::new()).set(seconds(at));
    }

    /// The configuration is in use from now on, as a start or a reload took it.
    pub fn config_in_use(&self, now: Timestamp) {
        self.gauge(CONFIG_IN_USE_SINCE, Vec::new())
            .set(seconds(now));
        self.gauge(CONFIG_REFUSED_SINCE, Vec::new()).set(0);
    }

    /// The configuration was read again.
    pub fn reload(&self, outcome: ReloadOutcome, now: Timestamp) {
        self.count(RELOADS, vec![label("outcome", outcome.as_str())]);
        match outcome {
            ReloadOutcome::Applied => self.config_in_use(now),
            ReloadOutcome::Unchanged => self.gauge(CONFIG_REFUSED_SINCE, Vec::new()).set(0),
            ReloadOutcome::Refused => {
                // The first of those that followed one another.
                let mut refused = self
                    .0
                    .refused_since
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                let since = *refused.get_or_insert(now);
                self.gauge(CONFIG_REFUSED_SINCE, Vec::new())
                    .set(seconds(since));
                return;
            }
        }
        *self
            .0
            .refused_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// When the client secret ends, as the operator says.
    pub fn client_secret_expires(&self, at: Timestamp) {
        self.gauge(SECRET_EXPIRES, Vec::new()).set(seconds(at));
    }

    /// The handle for one route. `name` is the route as configured, never a path of a request:
    /// each name is a series of its own for as long as the process lives. Its histograms come into
    /// being with their first sample: what is never asked for, or has no upstream, shows none.
    pub fn route(&self, name: &str) -> RouteMetrics {
        // A configuration that is read again asks for the same ones.
        let key = (Arc::clone(&self.1), name.into());
        let mut routes = self.routes();
        let route = routes.entry(key).or_insert_with(|| {
            let (recorder, site) = (Arc::clone(&self.0.recorder), Arc::clone(&self.1));
            RouteMetrics::new(name, site, recorder)
        });
        route.clone()
    }

    /// Everything counted so far, as Prometheus reads it (text format 0.0.4).
    pub fn render(&self) -> String {
        for (site, (route, method, class), count) in self.requests() {
            let labels = vec![
                Label::new("route", route),
                label("method", method),
                label("status", class),
            ];
            let of_site = Self(Arc::clone(&self.0), site);
            of_site.counter(REQUESTS, labels).absolute(count);
        }
        let mut text = self.0.handle.render();
        text.push_str(&process::render());
        text
    }

    /// What happened so far.
    pub fn totals(&self) -> Totals {
        let of = |total: &AtomicU64| total.load(Ordering::Relaxed);
        Totals {
            requests: self.requests().iter().map(|(_, _, count)| count).sum(),
            logins: of(&self.0.logins),
            failed_logins: of(&self.0.failed_logins),
            refreshes: of(&self.0.refreshes),
        }
    }

    /// Requests by route, method and class of status; those of which there were any, so that a
    /// route nobody asks for shows no forty zeros.
    fn requests(&self) -> Vec<Requests> {
        let mut requests = Vec::new();
        for ((site, name), route) in &*self.routes() {
            for ((method, class), count) in route.counts() {
                let counted = (name.to_string(), method, class);
                requests.push((Arc::clone(site), counted, count));
            }
        }
        requests
    }

    fn routes(&self) -> MutexGuard<'_, BTreeMap<(SiteLabels, Box<str>), RouteMetrics>> {
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

    fn counter(&self, name: &'static str, mut labels: Vec<Label>) -> Counter {
        labels.extend(self.1.iter().cloned());
        let key = Key::from_parts(name, labels);
        self.0.recorder.register_counter(&key, &METADATA)
    }

    fn gauge(&self, name: &'static str, mut labels: Vec<Label>) -> Gauge {
        labels.extend(self.1.iter().cloned());
        let key = Key::from_parts(name, labels);
        self.0.recorder.register_gauge(&key, &METADATA)
    }
}

fn float(count: usize) -> f64 {
    u32::try_from(count).unwrap_or(u32::MAX).into()
}

fn seconds(at: Timestamp) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact for any date")]
    let seconds = at.unix_seconds() as f64;
    seconds
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

/// The handles for calls to the session store; cheap to clone.
#[derive(Clone)]
pub struct StoreMetrics {
    seconds: Histogram,
    away: Counter,
    unusable: Counter,
}

impl StoreMetrics {
    /// A call ended.
    pub fn called(&self, elapsed: Duration) {
        self.seconds.record(elapsed);
    }

    /// The store did not answer it.
    pub fn away(&self) {
        self.away.increment(1);
    }

    /// The store answered that it will not do.
    pub fn unusable(&self) {
        self.unusable.increment(1);
    }
}

impl fmt::Debug for StoreMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreMetrics")
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};

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
        metrics.login(LoginOutcome::Ok);
        metrics.logout(LogoutOutcome::Sessions);
        metrics.refresh(RefreshOutcome::Ok);
        metrics.refresh(RefreshOutcome::Ok);
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
            "bff_sessions_ended_total{reason=\"expired\"} 0",
            "bff_logins_total{outcome=\"refused\"} 0",
            "bff_logins_total{outcome=\"ok\"} 1",
            "bff_logouts_total{outcome=\"sessions\"} 1",
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
        for outcome in LoginOutcome::ALL {
            metrics.login(*outcome);
        }
        for outcome in RefreshOutcome::ALL {
            metrics.refresh(*outcome);
        }
        let totals = Totals {
            requests: 6,
            logins: 1,
            failed_logins: 7,
            refreshes: 1,
        };
        assert_eq!(metrics.totals(), totals);
    }

    #[test]
    fn two_apps_do_not_share_their_counters() {
        let (one, two) = (Metrics::new(), Metrics::new());
        one.login(LoginOutcome::Ok);
        let one_login = "bff_logins_total{outcome=\"ok\"} 1";
        assert!(one.render().contains(one_login));
        assert!(!two.render().contains(one_login));
    }

    /// N1: what has no upstream shows no histogram of one, and what nobody asks for none at all.
    #[test]
    fn histograms_are_of_what_happens() {
        let metrics = Metrics::new();
        let (asked, _idle) = (metrics.route("/bff/session"), metrics.route("/bff/user"));
        asked.answered(&Method::GET, StatusCode::OK, Duration::from_millis(3));
        let text = metrics.render();
        assert!(text.contains("bff_request_duration_seconds_count{route=\"/bff/session\"} 1"));
        assert!(!text.contains("/bff/user"), "{text}");
        assert!(!text.contains("bff_upstream_head"), "{text}");
    }
}
