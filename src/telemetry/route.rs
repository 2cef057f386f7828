//! The counters of one route, ready for the hot path: where they are counted nothing is looked up.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{Method, StatusCode};
use metrics::{Histogram, Label};
use metrics_exporter_prometheus::PrometheusRecorder;

use super::names::{REQUEST_SECONDS, UPSTREAM_SECONDS};
use super::of_site::SiteLabels;
use super::series::histogram;

/// The counters of one route, ready for the hot path; cheap to clone.
#[derive(Clone)]
pub struct RouteMetrics(Arc<RouteCounters>);

struct RouteCounters {
    name: String,
    site: SiteLabels,
    recorder: Arc<PrometheusRecorder>,
    /// By method, then class of status. Only whoever asks for the metrics gives them labels.
    answered: [[AtomicU64; CLASSES.len()]; METHODS.len()],
    request_seconds: OnceLock<Histogram>,
    upstream_seconds: OnceLock<Histogram>,
}

const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other",
];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl RouteMetrics {
    pub(super) fn new(name: &str, site: SiteLabels, recorder: Arc<PrometheusRecorder>) -> Self {
        Self(Arc::new(RouteCounters {
            recorder,
            answered: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            request_seconds: OnceLock::new(),
            upstream_seconds: OnceLock::new(),
            name: name.to_owned(),
            site,
        }))
    }

    /// What was answered so far, by method and class of status; those of which there was any.
    pub(super) fn counts(&self) -> impl Iterator<Item = ((&'static str, &'static str), u64)> {
        let rows = METHODS.iter().zip(&self.0.answered);
        rows.flat_map(|(method, row)| {
            let counts = CLASSES.iter().zip(row);
            counts.map(|(class, count)| ((*method, *class), count.load(Ordering::Relaxed)))
        })
        .filter(|(_, count)| *count > 0)
    }

    /// A request was answered.
    pub fn answered(&self, method: &Method, status: StatusCode, elapsed: Duration) {
        let counters = &*self.0;
        counters
            .request_seconds
            .get_or_init(|| counters.histogram(REQUEST_SECONDS))
            .record(elapsed);
        let (method, class) = (method_index(method), class_index(status));
        let slot = counters.answered.get(method).and_then(|row| row.get(class));
        if let Some(slot) = slot {
            slot.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The route as configured.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The upstream's head came.
    pub fn upstream_answered(&self, elapsed: Duration) {
        let counters = &*self.0;
        counters
            .upstream_seconds
            .get_or_init(|| counters.histogram(UPSTREAM_SECONDS))
            .record(elapsed);
    }
}

impl RouteCounters {
    fn histogram(&self, name: &'static str) -> Histogram {
        let mut labels = vec![Label::new("route", self.name.clone())];
        labels.extend(self.site.iter().cloned());
        histogram(&self.recorder, name, labels)
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
