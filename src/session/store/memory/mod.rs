//! Sessions in this process: a map in shards, and a queue of when each ends.
//!
//! A cache that evicts would keep books at every look-up, for which a store that lets nothing go has
//! no use: they cost a request eight times what finding the session does.

mod indexes;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::sync::Cache;

use self::indexes::Indexes;
use crate::clock::Timestamp;
use crate::session::id::SessionHash;
use crate::session::record::{Session, Tokens};
use crate::session::store::kept::Kept;
use crate::session::store::{
    Admission, Condition, Found, Lease, Limit, Listed, Note, Notes, OnLimit, SaveOutcome,
    SessionStore, StoreError, StoreFuture, Within,
};
use crate::web::ending::EndReason;
use crate::web::registration::Registration;
use crate::web::uniform::UniformState;

/// The default store: nothing outlives the process.
#[derive(Debug)]
pub struct MemoryStore {
    shards: Box<[Mutex<Shard>]>,
    /// Each session once, at the end it had when it was queued. One that was used meanwhile is
    /// queued again when its turn comes, so that a request never touches this lock.
    ends: Mutex<BinaryHeap<Reverse<(Timestamp, SessionHash)>>>,
    /// What finds a session otherwise than by its cookie. Locked before a shard, never after one.
    indexes: Mutex<Indexes>,
    /// Why sessions ended, for their browsers, each for as long as it could have lived. Bounded: who is
    /// pushed out is told the general thing.
    ended: Cache<SessionHash, Ended>,
    kept: Mutex<Kept>,
}

/// A session that has ended.
#[derive(Debug, Clone, Copy)]
struct Ended {
    reason: EndReason,
    /// For how long that matters.
    remember: Duration,
}

/// Forgets an end when its time is over.
struct InItsTime;

impl Expiry<SessionHash, Ended> for InItsTime {
    fn expire_after_create(&self, _: &SessionHash, ended: &Ended, _: Instant) -> Option<Duration> {
        Some(ended.remember)
    }
}

type Shard = HashMap<SessionHash, Arc<Session>, UniformState>;

/// Enough that two workers seldom meet at one lock, which is held for one look-up.
const SHARDS: usize = 64;

/// Ends that are remembered, at about 100 bytes each.
const ENDS_REMEMBERED: u64 = 100_000;

/// Sessions that are looked at for one that can be let go.
const LOOKED_AT_FOR_ROOM: usize = 32;

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self {
            shards: std::iter::repeat_with(Mutex::default)
                .take(SHARDS)
                .collect(),
            ends: Mutex::default(),
            indexes: Mutex::default(),
            ended: Cache::builder()
                .max_capacity(ENDS_REMEMBERED)
                .expire_after(InItsTime)
                .build(),
            kept: Mutex::default(),
        }
    }

    /// The shard of a session, locked. `None` never comes: the last byte names a shard in every case.
    fn shard(&self, hash: &SessionHash) -> Option<MutexGuard<'_, Shard>> {
        let [.., last] = hash.as_bytes();
        let shard = self.shards.get(usize::from(*last) % SHARDS)?;
        Some(lock(shard))
    }

    pub(super) fn get(&self, hash: &SessionHash) -> Option<Arc<Session>> {
        self.shard(hash)?.get(hash).cloned()
    }

    fn queue(&self, session: &Session) {
        let end = Reverse((session.expires(), session.hash));
        lock(&self.ends).push(end);
    }

    fn pop_due(&self, now: Timestamp) -> Option<SessionHash> {
        let mut ends = lock(&self.ends);
        let Reverse((end, hash)) = ends.peek().copied()?;
        if end > now {
            return None;
        }
        ends.pop();
        Some(hash)
    }

    pub(super) fn remove(&self, hash: &SessionHash, reason: EndReason) -> Option<Arc<Session>> {
        self.remove_from(&mut lock(&self.indexes), hash, reason)
    }

    fn remove_from(
        &self,
        indexes: &mut Indexes,
        hash: &SessionHash,
        reason: EndReason,
    ) -> Option<Arc<Session>> {
        let mut shard = self.shard(hash)?;
        let session = shard.remove(hash)?;
        // Whoever finds it gone finds the reason as well.
        let remember = session.ends.since(session.created);
        self.ended.insert(*hash, Ended { reason, remember });
        drop(shard);
        indexes.remove(&session);
        session.ending.come(reason);
        Some(session)
    }

    /// One step under one lock: of logins that come together as many stay as may (§4).
    fn admit(&self, session: Arc<Session>, limit: Option<Limit>, now: Timestamp) -> Admission {
        let mut indexes = lock(&self.indexes);
        let mut superseded = Vec::new();
        if let Some(limit) = limit {
            let own = indexes.of_subject(&session.subject);
            let among = limit.scope.around(&session);
            // What has expired does not count, and ends with the next sweep.
            let is_live = |hash: &SessionHash| {
                self.get(hash)
                    .is_some_and(|own| among.takes(&own) && own.expires() > now)
            };
            let mut living: Vec<_> = own.into_iter().filter(is_live).collect();
            if living.len() >= limit.most {
                match limit.on_limit {
                    OnLimit::Refuse => return Admission::Refused,
                    OnLimit::EndOldest => {
                        living.truncate(living.len() + 1 - limit.most);
                        for hash in living {
                            let reason = EndReason::Superseded;
                            superseded.extend(self.remove_from(&mut indexes, &hash, reason));
                        }
                    }
                }
            }
        }
        self.put_into(&mut indexes, session);
        Admission::Admitted(superseded)
    }

    /// Takes a session in that this process has not seen.
    pub(super) fn put(&self, session: Arc<Session>) {
        self.put_into(&mut lock(&self.indexes), session);
    }

    fn put_into(&self, indexes: &mut Indexes, session: Arc<Session>) {
        self.queue(&session);
        indexes.add(&session);
        if let Some(mut shard) = self.shard(&session.hash) {
            shard.insert(session.hash, session);
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        lock(&self.indexes).numbers.len()
    }

    /// Lets go, without an end, of the session that was used least lately, to a tenth of the idle
    /// timeout; `false` where whatever was looked at is in use.
    pub(super) fn let_go_of_the_idlest(&self) -> bool {
        let mut in_use = Vec::new();
        let mut gone = false;
        for _ in 0..LOOKED_AT_FOR_ROOM {
            let Some(Reverse((end, hash))) = lock(&self.ends).pop() else {
                break;
            };
            let Some(session) = self.get(&hash) else {
                continue;
            };
            if session.expires() > end {
                self.queue(&session);
            } else {
                drop(session);
                gone = self.let_go(&hash);
                if gone {
                    break;
                }
                in_use.push(Reverse((end, hash)));
            }
        }
        lock(&self.ends).extend(in_use);
        gone
    }

    /// Lets go of a session that neither a request nor anything open holds.
    fn let_go(&self, hash: &SessionHash) -> bool {
        let mut indexes = lock(&self.indexes);
        let Some(mut shard) = self.shard(hash) else {
            return false;
        };
        // Whoever comes to hold it does so under this lock.
        let is_idle = shard
            .get(hash)
            .is_some_and(|session| Arc::strong_count(session) == 1 && !session.ending.is_awaited());
        if is_idle && let Some(session) = shard.remove(hash) {
            drop(shard);
            indexes.remove(&session);
        }
        is_idle
    }

    fn listed(
        &self,
        hashes: impl IntoIterator<Item = SessionHash>,
        within: &Within,
    ) -> Vec<Listed> {
        let sessions = hashes.into_iter().filter_map(|hash| self.get(&hash));
        let sessions = sessions.filter(|session| within.takes(session));
        sessions.map(Listed::of).collect()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl SessionStore for MemoryStore {
    fn at_hand(&self, hash: &SessionHash, _: Timestamp) -> Option<Arc<Session>> {
        self.get(hash)
    }

    fn find<'a>(&'a self, hash: &'a SessionHash, _: Timestamp) -> StoreFuture<'a, Found> {
        Box::pin(async {
            Ok(match self.get(hash) {
                Some(session) => Found::Live(session),
                None => match self.ended.get(hash) {
                    Some(ended) => Found::Ended(ended.reason),
                    None => Found::Nothing,
                },
            })
        })
    }

    fn insert(
        &self,
        session: Arc<Session>,
        limit: Option<Limit>,
        now: Timestamp,
    ) -> StoreFuture<'_, Admission> {
        Box::pin(async move { Ok(self.admit(session, limit, now)) })
    }

    fn save_tokens<'a>(
        &'a self,
        session: &'a Arc<Session>,
        tokens: Arc<Tokens>,
    ) -> StoreFuture<'a, SaveOutcome> {
        Box::pin(async move {
            // Stored first, looked at second; an end is written first and read second. So either
            // we see the end, or whoever ends the session sees these tokens and revokes them.
            session.replace_tokens(&tokens);
            Ok(match session.ending.reason() {
                None => SaveOutcome::Saved,
                Some(_) => SaveOutcome::Ended,
            })
        })
    }

    fn slide(&self, session: &Arc<Session>, seen: Timestamp, expires: Timestamp) {
        session.seen_at(seen, expires);
        session.changes.notify_waiters();
    }

    fn end<'a>(
        &'a self,
        hash: &'a SessionHash,
        reason: EndReason,
    ) -> StoreFuture<'a, Option<Arc<Session>>> {
        Box::pin(async move { Ok(self.remove(hash, reason)) })
    }

    fn expire<'a>(&'a self, hash: &'a SessionHash, now: Timestamp) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            let expired = self
                .get(hash)
                .is_some_and(|session| session.expires() <= now);
            Ok(expired && self.remove(hash, EndReason::Expired).is_some())
        })
    }

    fn sweep(&self, now: Timestamp) -> StoreFuture<'_, Vec<Arc<Session>>> {
        Box::pin(async move {
            let mut ended = Vec::new();
            while let Some(hash) = self.pop_due(now) {
                let Some(session) = self.get(&hash) else {
                    continue;
                };
                if session.expires() > now {
                    self.queue(&session);
                } else {
                    ended.extend(self.remove(&hash, EndReason::Expired));
                }
            }
            Ok(ended)
        })
    }

    fn tend(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::pending())
    }

    fn count(&self) -> u64 {
        let sizes = self.shards.iter().map(|shard| lock(shard).len() as u64);
        sizes.sum()
    }

    fn kind(&self) -> &'static str {
        "memory"
    }

    fn condition(&self) -> Pin<Box<dyn Future<Output = Condition> + Send + '_>> {
        Box::pin(std::future::ready(Condition::Well))
    }
}

impl Lease for MemoryStore {
    /// One process has one list of refreshes under way already.
    fn lease<'a>(&'a self, _: &'a SessionHash, _: &'a str) -> StoreFuture<'a, bool> {
        Box::pin(std::future::ready(Ok(true)))
    }

    fn release<'a>(&'a self, _: &'a SessionHash, _: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Notes for MemoryStore {
    fn keep<'a>(
        &'a self,
        note: Note<'a>,
        value: &'a [u8],
        span: Duration,
        now: Timestamp,
    ) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            // Under one lock: of callers that come at the same moment one is the first.
            let fresh = lock(&self.kept).keep(&key(note), value, now + span, now);
            fresh.map_err(|full| StoreError::Unusable(full.into()))
        })
    }

    fn peek<'a>(&'a self, note: Note<'a>, now: Timestamp) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move { Ok(lock(&self.kept).peek(&key(note), now)) })
    }

    fn take<'a>(&'a self, note: Note<'a>, now: Timestamp) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move { Ok(lock(&self.kept).take(&key(note), now)) })
    }
}

/// What is kept here no node of another release looks for.
fn key(note: Note<'_>) -> String {
    note.key(&Registration::unnamed())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::web::site_id::SiteId;

    const MINUTE: Duration = Duration::from_mins(1);
    const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);

    fn keep(store: &MemoryStore, suffix: &str) -> bool {
        let site = &SiteId::main();
        let note = Note::UsedState { site, suffix };
        let kept = store.keep(note, b"", MINUTE, NOW).now_or_never();
        kept.unwrap().unwrap()
    }

    /// C6: of threads that use a state at the same moment, one is the first.
    #[test]
    fn one_alone_is_the_first_to_keep_a_key() {
        const THREADS: usize = 4;
        const ROUNDS: usize = 2000;
        let store = MemoryStore::new();
        let barrier = Barrier::new(THREADS);
        let firsts = || {
            let first = |round: usize| {
                barrier.wait();
                keep(&store, &format!("state {round}"))
            };
            (0..ROUNDS).filter(|round| first(*round)).count()
        };
        let firsts: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(firsts)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(firsts, ROUNDS);
    }
}
