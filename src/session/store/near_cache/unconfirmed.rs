//! Sessions of which something was heard that the store has to confirm: each once, however often it was
//! told of, and so many at the most.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::session::id::SessionHash;
use crate::web::uniform::UniformState;

/// How many may wait. What does not fit is asked about when it is next used.
const MOST: usize = 4096;

/// The sessions that wait for the store's word.
#[derive(Default)]
pub(super) struct Unconfirmed {
    waiting: Mutex<HashSet<SessionHash, UniformState>>,
    come: Notify,
}

impl Unconfirmed {
    /// Has the store asked about a session; `false` where too many wait.
    pub(super) fn add(&self, hash: SessionHash) -> bool {
        let mut waiting = self.waiting();
        if waiting.len() >= MOST && !waiting.contains(&hash) {
            return false;
        }
        waiting.insert(hash);
        drop(waiting);
        self.come.notify_one();
        true
    }

    /// The next to ask about, once there are any; `at_once` of them.
    pub(super) async fn next(&self, at_once: usize) -> Vec<SessionHash> {
        loop {
            let next: Vec<_> = {
                let mut waiting = self.waiting();
                let next: Vec<_> = waiting.iter().take(at_once).copied().collect();
                for hash in &next {
                    waiting.remove(hash);
                }
                next
            };
            if !next.is_empty() {
                return next;
            }
            self.come.notified().await;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashSet<SessionHash, UniformState>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: usize) -> SessionHash {
        let mut bytes = [0; 32];
        bytes[24..].copy_from_slice(&(number as u64).to_be_bytes());
        SessionHash::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn each_waits_once_and_no_more_than_so_many() {
        let unconfirmed = Unconfirmed::default();
        for _ in 0..100_000 {
            assert!(unconfirmed.add(hash(0)));
        }
        assert_eq!(unconfirmed.next(500).await, [hash(0)]);
        for number in 0..MOST {
            assert!(unconfirmed.add(hash(number)));
        }
        assert!(!unconfirmed.add(hash(MOST)));
        assert!(unconfirmed.add(hash(7)), "it waits already");
        assert_eq!(unconfirmed.next(500).await.len(), 500);
        assert!(unconfirmed.add(hash(MOST)));
    }
}
