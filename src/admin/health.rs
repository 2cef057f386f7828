//! `/livez`: the process answers. `/readyz`: it should be sent work.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::join_all;
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::{Admin, json_answer};
use crate::web::body::Body;

/// How long a check may take before it counts as failed.
pub(super) const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Something that `/readyz` asks about: the provider, the session store.
pub trait Check: Send + Sync + 'static {
    /// Its name in the answer.
    fn name(&self) -> &'static str;

    /// How it is now.
    fn state(&self) -> Pin<Box<dyn Future<Output = CheckState> + Send + '_>>;
}

/// How something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckState {
    /// Well.
    Ok,
    /// Unwell, but requests are still served: the provider is away and sessions go on. Told,
    /// and no reason to send work elsewhere, where it would be the same.
    Degraded(String),
    /// No request can be served.
    Failed(String),
}

/// The process runs and its listener answers.
pub(super) fn live() -> Response<Body> {
    json_answer(StatusCode::OK, &json!({ "status": "ok" }))
}

/// All checks at once, each by name; 503 where one failed or the drain has begun.
pub(super) async fn ready(admin: &Admin) -> Response<Body> {
    let states = admin.checks.iter().map(|check| async move {
        let state = timeout(CHECK_TIMEOUT, check.state())
            .await
            .unwrap_or_else(|_| CheckState::Failed("no answer in time".into()));
        (check.name(), state)
    });
    let states = join_all(states).await;
    let failed = states
        .iter()
        .any(|(_, state)| matches!(state, CheckState::Failed(_)));
    let (status, word) = if admin.draining.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if failed {
        (StatusCode::SERVICE_UNAVAILABLE, "unready")
    } else {
        (StatusCode::OK, "ready")
    };
    let checks: Map<String, Value> = states
        .into_iter()
        .map(|(name, state)| (name.to_owned(), shown(state)))
        .collect();
    json_answer(status, &json!({ "status": word, "checks": checks }))
}

/// A state as it is told.
pub(super) fn shown(state: CheckState) -> Value {
    match state {
        CheckState::Ok => json!({ "state": "ok" }),
        CheckState::Degraded(detail) => json!({ "state": "degraded", "detail": detail }),
        CheckState::Failed(detail) => json!({ "state": "failed", "detail": detail }),
    }
}
