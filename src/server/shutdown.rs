//! The end of a worker: connections are asked to finish, waited for, then cut.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// How long a connection may still ask for something when the drain finds it without a request: its
/// first one may be on the way, and whoever sent it is to be answered.
pub(super) const FIRST_REQUEST: Duration = Duration::from_secs(2);

/// Whether the answers of all workers are the last ones of their connections: from the drain on, or
/// before it, so that a proxy that keeps connections sends no call into one which the drain closes.
#[derive(Debug, Clone, Default)]
pub(super) struct LastAnswers(Arc<AtomicBool>);

impl LastAnswers {
    /// From now on they are.
    pub(super) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether they are.
    pub(super) fn have_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// One worker's drain.
///
/// Not the shutdown token itself: a connection asks "has it begun?" at every poll, and for that
/// the token takes a lock that all workers share, where this is one load.
#[derive(Debug)]
pub(super) struct Drain {
    begun: AtomicBool,
    last_answers: LastAnswers,
    beginning: Notify,
    open: TaskTracker,
}

impl Drain {
    pub(super) fn new(last_answers: LastAnswers) -> Self {
        Self {
            begun: AtomicBool::new(false),
            last_answers,
            beginning: Notify::new(),
            open: TaskTracker::new(),
        }
    }

    /// Held by every open socket, upgraded ones included, wherever it travels.
    pub(super) fn hold(&self) -> TaskTrackerToken {
        self.open.token()
    }

    /// Whether connections are to end after what they are doing.
    pub(super) fn begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether an answer is the last one of its connection.
    pub(super) fn ends_with_this_answer(&self) -> bool {
        self.last_answers.have_begun()
    }

    /// Ready when the drain begins, for whoever polled it before. Look at [`Drain::begun`] after
    /// the first poll.
    pub(super) fn beginning(&self) -> Notified<'_> {
        self.beginning.notified()
    }

    /// Waits for the drain, and then for as long as a first request may still come.
    pub(super) async fn leaves_no_time(&self) {
        self.has_begun().await;
        tokio::time::sleep(FIRST_REQUEST).await;
    }

    /// Waits for the drain, for a connection that has no request to finish.
    pub(super) async fn has_begun(&self) {
        let mut beginning = pin!(self.beginning());
        // Registered before the look, so that a beginning between the two is not missed.
        beginning.as_mut().enable();
        if !self.begun() {
            beginning.await;
        }
    }

    /// Asks every connection to end after what it is doing.
    pub(super) fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
        self.last_answers.begin();
        self.beginning.notify_waiters();
    }

    /// Waits until every connection has ended, or until `deadline`. Nobody may be let in any more.
    pub(super) async fn finish(&self, deadline: Instant) {
        self.open.close();
        let ended = tokio::time::timeout_at(deadline, self.open.wait()).await;
        if ended.is_err() {
            tracing::warn!(
                event = "drain.cut",
                connections = self.open.len(),
                "connections did not end in time and are cut"
            );
        }
    }
}
