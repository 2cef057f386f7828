//! `/metrics`, as Prometheus reads it.

use http::{Response, StatusCode};

use super::answer;
use crate::telemetry::Metrics;
use crate::web::body::Body;

pub(super) fn show(metrics: &Metrics) -> Response<Body> {
    answer(
        StatusCode::OK,
        Some("text/plain; version=0.0.4; charset=utf-8"),
        Body::full(metrics.render()),
    )
}
