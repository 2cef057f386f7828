//! The time of a test: it stands still at nine o'clock until the test moves it.

use std::sync::Arc;
use std::time::Duration;

use bff::clock::{ManualClock, Timestamp};

/// How long a test waits for what must come, before it fails: a busy machine may stand still for a
/// while. Nothing waits this long and passes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// 2026-11-21T09:00:00Z, and standing still.
pub(crate) fn nine_o_clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::starting_at(Timestamp::from_unix_seconds(
        1_795_251_600,
    )))
}

/// Waits for what must come.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited {PATIENCE:?} in vain for {what}"))
}
