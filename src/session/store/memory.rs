//! Sessions in this process: a map in shards, and a queue of when each ends.
//!
//! A cache that evicts would keep books at every look-up, for which a store that lets nothing go has
//! no use: they cost a request eight times what finding the session does.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::session::id::{SessionHash, UniformState};
use crate::session::record::{Session, Tokens};
use crate::session::store::{SaveOutcome, SessionStore, StoreFuture};
use crate::web::ending::EndReason;

/// The default store: nothing outlives the process.
#[derive(Debug)]
pub struct MemoryStore {
    shards: Box<[Mutex<Shard>]>,
    /// Each session once, at the end it had when it was queued. One that was used meanwhile is
    /// queued again when its turn comes, so that a request never touches this lock.
    ends: Mutex<BinaryHeap<Reverse<(Timestamp, SessionHash)>>>,
    idle_timeout: Duration,
}

type Shard = HashMap<SessionHash, Arc<Session>, UniformState>;

/// Enough that two workers seldom meet at one lock, which is held for one look-up.
const SHARDS: usize = 64;

impl MemoryStore {
    /// An empty store for sessions with this idle timeout.
    pub fn new(idle_timeout: Duration) -> Self {
        Self {
            shards: std::iter::repeat_with(Mutex::default)
                .take(SHARDS)
                .collect(),
            ends: Mutex::default(),
            idle_timeout,
        }
    }

    /// The shard of a session, locked. `None` never comes: the last byte names a shard in every case.
    fn shard(&self, hash: &SessionHash) -> Option<MutexGuard<'_, Shard>> {
        let [.., last] = hash.as_bytes();
        let shard = self.shards.get(usize::from(*last) % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn get(&self, hash: &SessionHash) -> Option<Arc<Session>> {
        self.shard(hash)?.get(hash).cloned()
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
        let session = self.shard(hash)?.remove(hash)?;
        session.ending.come(reason);
        Some(session)
    }
}

impl SessionStore for MemoryStore {
    fn at_hand(&self, hash: &SessionHash) -> Option<Arc<Session>> {
        self.get(hash)
    }

    fn load<'a>(&'a self, hash: &'a SessionHash) -> StoreFuture<'a, Option<Arc<Session>>> {
        Box::pin(async { Ok(self.get(hash)) })
    }

    fn insert(&self, session: Arc<Session>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.queue(&session);
            if let Some(mut shard) = self.shard(&session.hash) {
                shard.insert(session.hash, session);
            }
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
            let Some(session) = self.get(&hash) else {
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
        let sizes = self.shards.iter().map(|shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.len() as u64
        });
        sizes.sum()
    }
}
