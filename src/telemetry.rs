//! Log lines and metrics: what is set up once, and the handles that the parts are given.

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

use std::time::Duration;

use http::{Method, StatusCode};

/// The counters and histograms of one app; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Metrics(());

impl Metrics {
    /// A login ended: `ok`, `refused`, `provider_unavailable`, ….
    pub fn login(&self, _outcome: &'static str) {}

    /// A logout ended.
    pub fn logout(&self, _outcome: &'static str) {}

    /// A token refresh ended.
    pub fn refresh(&self, _outcome: &'static str) {}

    /// A call to the provider ended.
    pub fn provider_call(
        &self,
        _endpoint: &'static str,
        _outcome: &'static str,
        _elapsed: Duration,
    ) {
    }

    /// How many sessions there are.
    pub fn sessions(&self, _count: u64) {}

    /// The handle for one route.
    pub fn route(&self, _name: &str) -> RouteMetrics {
        RouteMetrics(())
    }
}

/// The counters of one route, ready for the hot path.
#[derive(Debug, Clone)]
pub struct RouteMetrics(());

impl RouteMetrics {
    /// A request was answered.
    pub fn answered(&self, _method: &Method, _status: StatusCode, _elapsed: Duration) {}

    /// The upstream's head came.
    pub fn upstream_answered(&self, _elapsed: Duration) {}
}
