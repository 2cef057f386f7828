//! Sessions in this process: moka, and a queue of when each ends.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::sync::Cache;

use crate::clock::Timestamp;
use crate::session::id::{SessionHash, UniformState};
use crate::session::record::{Session, Tokens};
use crate::session::store::{SaveOutcome, SessionStore, StoreFuture};
use crate::web::ending::EndReason;

/// The default store: nothing outlives the process.
#[derive(Debug)]
pub struct MemoryStore {
    sessions: Cache<SessionHash, Arc<Session>, UniformState>,
    /// Each session once, at the end it had when it was queued. One that was used meanwhile is
    /// queued again when its turn comes, so that a request never touches this lock.
    ends: Mutex<BinaryHeap<Reverse<(Timestamp, SessionHash)>>>,
    idle_timeout: Duration,
}

impl MemoryStore {
    /// An empty store for sessions with this idle timeout.
    pub fn new(idle_timeout: Duration) -> Self {
        Self {
            sessions: Cache::builder().build_with_hasher(UniformState::default()),
            ends: Mutex::default(),
            idle_timeout,
        }
    }

    fn queue(&self, session: &Session) {
        let end = Reverse((session.expires(self.idle_timeout), session.hash));
        self.ends
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(end);
    }

    fn pop_due(&self, now: Timestamp) -> Option<SessionHash> {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let Reverse((end, hash)) = ends.peek().copied()?;
        if end > now {
            return None;
        }
        ends.pop();
        Some(hash)
    }

    fn remove(&self, hash: &SessionHash, reason: EndReason) -> Option<Arc<Session>> {
        let session = self.sessions.remove(hash)?;
        session.ending.come(reason);
        Some(session)
    }
}

impl SessionStore for MemoryStore {
    fn at_hand(&self, hash: &SessionHash) -> Option<Arc<Session>> {
        self.sessions.get(hash)
    }

    fn load<'a>(&'a self, hash: &'a SessionHash) -> StoreFuture<'a, Option<Arc<Session>>> {
        Box::pin(async { Ok(self.sessions.get(hash)) })
    }

    fn insert(&self, session: Arc<Session>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.queue(&session);
            self.sessions.insert(session.hash, session);
            Ok(())
        })
    }

    fn save_tokens<'a>(
        &'a self,
        session: &'a Arc<Session>,
        tokens: Tokens,
    ) -> StoreFuture<'a, SaveOutcome> {
        Box::pin(async move {
            // Stored first, looked at second; an end is written first and read second. So either
            // we see the end, or whoever ends the session sees these tokens and revokes them.
            session.replace_tokens(tokens);
            Ok(match session.ending.reason() {
                None => SaveOutcome::Saved,
                Some(_) => SaveOutcome::Ended,
            })
        })
    }

    fn slide<'a>(
        &'a self,
        session: &'a Arc<Session>,
        now: Timestamp,
    ) -> StoreFuture<'a, SaveOutcome> {
        Box::pin(async move {
            session.seen_at(now);
            Ok(SaveOutcome::Saved)
        })
    }

    fn end<'a>(
        &'a self,
        hash: &'a SessionHash,
        reason: EndReason,
    ) -> StoreFuture<'a, Option<Arc<Session>>> {
        Box::pin(async move { Ok(self.remove(hash, reason)) })
    }

    fn sweep(&self, now: Timestamp) -> usize {
        let mut ended = 0;
        while let Some(hash) = self.pop_due(now) {
            let Some(session) = self.sessions.get(&hash) else {
                continue;
            };
            if session.expires(self.idle_timeout) > now {
                self.queue(&session);
            } else if self.remove(&hash, EndReason::Expired).is_some() {
                ended += 1;
            }
        }
        ended
    }

    fn count(&self) -> u64 {
        self.sessions.run_pending_tasks();
        self.sessions.entry_count()
    }
}
