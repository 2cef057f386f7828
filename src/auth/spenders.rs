//! Those of one process that spend a session's refresh token: one after the other (L3).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as Queue, OwnedMutexGuard};

use crate::session::id::SessionHash;
use crate::web::uniform::UniformState;

/// The queues, each of one session; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(in crate::auth) struct Spenders(Arc<Queues>);

type Queues = Mutex<HashMap<SessionHash, Arc<Queue<()>>, UniformState>>;

/// A turn, which is over once it is dropped.
#[derive(Debug)]
pub(in crate::auth) struct Turn {
    spenders: Spenders,
    hash: SessionHash,
    held: Option<OwnedMutexGuard<()>>,
}

impl Spenders {
    /// Waits for its turn to spend the refresh token of a session.
    pub(in crate::auth) async fn turn(&self, hash: SessionHash) -> Turn {
        let queue = Arc::clone(self.lock().entry(hash).or_default());
        Turn {
            spenders: self.clone(),
            hash,
            held: Some(queue.lock_owned().await),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionHash, Arc<Queue<()>>, UniformState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.held.take());
        let mut queues = self.spenders.lock();
        // Whoever waits has a share of it, and came by it under this lock.
        if queues
            .get(&self.hash)
            .is_some_and(|queue| Arc::strong_count(queue) == 1)
        {
            queues.remove(&self.hash);
        }
    }
}
