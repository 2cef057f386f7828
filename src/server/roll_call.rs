//! Whether every worker still turns: each is asked, and answers in its own runtime.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// A worker's ear.
pub(super) type Calls = mpsc::Receiver<oneshot::Sender<()>>;

/// Asks the workers of a listener; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct RollCall(Vec<mpsc::Sender<oneshot::Sender<()>>>);

impl RollCall {
    /// Adds a worker, which is to [answer].
    pub(super) fn enlist(&mut self) -> Calls {
        let (ask, calls) = mpsc::channel(1);
        self.0.push(ask);
        calls
    }

    /// Whether all that run answer in time. One that has ended has nothing to answer for.
    pub async fn all_answer(&self, within: Duration) -> bool {
        let mut answers = Vec::new();
        let mut all_hear = true;
        for worker in &self.0 {
            let (answer, answered) = oneshot::channel();
            match worker.try_send(answer) {
                Ok(()) => answers.push(answered),
                Err(TrySendError::Closed(_)) => {}
                // It has not even heard the question before.
                Err(TrySendError::Full(_)) => all_hear = false,
            }
        }
        timeout(within, join_all(answers)).await.is_ok() && all_hear
    }
}

/// Answers for one worker, as long as it runs.
pub(super) async fn answer(mut calls: Calls) {
    while let Some(answer) = calls.recv().await {
        // Whoever asked may have lost patience.
        let _gone = answer.send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker that hangs is told from one that answers, and from one that has ended.
    #[tokio::test]
    async fn a_worker_that_hangs_is_noticed() {
        let soon = Duration::from_millis(50);
        let mut workers = RollCall::default();
        assert!(workers.all_answer(soon).await, "nobody");
        let well = tokio::spawn(answer(workers.enlist()));
        assert!(workers.all_answer(soon).await, "one that is well");
        let hangs = workers.enlist();
        assert!(!workers.all_answer(soon).await, "asked, and no answer");
        assert!(!workers.all_answer(soon).await, "not even heard");
        drop(hangs);
        assert!(workers.all_answer(soon).await, "it has ended");
        well.abort();
    }
}
