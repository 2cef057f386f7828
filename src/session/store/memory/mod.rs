//! Sessions in this process, within so many bytes.
//!
//! Where there is no room for all, those end that nobody would miss ([`ranks`]): a login that has just succeeded
//! stays, and so does whoever is busy. moka's own bound lies a little above ours, a net that nothing should
//! fall into. Only what the cookie store has seen lives by moka's order, since it merely forgets.

mod indexes;
mod ranks;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use self::indexes::Indexes;
use self::ranks::Ranks;
use crate::clock::Timestamp;
use crate::session::id::SessionHash;
use crate::session::record::Session;
use crate::session::store::due::Due;
use crate::session::store::kept::Kept;
use crate::session::store::shelf::Shelf;
use crate::session::store::{
    Admission, Condition, Found, Lease, Leased, Limit, Listed, Memory, Note, Notes, OnLimit, Over,
    SaveOutcome, SessionStore, StoreError, StoreFuture, Within,
};
use crate::session::tokens::Tokens;
use crate::session::weight;
use crate::web::ending::EndReason;
use crate::web::registration::Registration;
use crate::web::uniform::UniformState;

/// The default store: nothing outlives the process.
#[derive(Debug)]
pub struct MemoryStore {
    shelf: Shelf,
    /// Locked after the indexes.
    due: Mutex<Due>,
    /// What finds a session otherwise than by its cookie. Locked before all else, and by whoever takes a
    /// session in or out.
    indexes: Mutex<Indexes>,
    /// Who goes first where there is no room. Locked after the indexes.
    ranks: Mutex<Ranks>,
    when_full: WhenFull,
    /// Why sessions ended, for their browsers, each for as long as it could have lived. Bounded: who is
    /// pushed out is told the general thing.
    ended: Cache<SessionHash, Ended, UniformState>,
    kept: Mutex<Kept>,
    /// When it was last said that there is no room.
    told: Mutex<Option<Timestamp>>,
    most: u64,
}

/// What becomes of sessions that there is no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WhenFull {
    /// They end.
    Ends,
    /// They are forgotten, since a cookie brings them back.
    Forgets,
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

/// Ends that are remembered, at about 300 bytes each: so many, or a sixteenth of the sessions' memory.
const ENDS_REMEMBERED: u64 = 100_000;
const AN_END: u64 = 300;

/// Between our bound and moka's.
const SPARE: u64 = 16;

/// How often it is said that there is no room.
const TOLD_EVERY: Duration = Duration::from_hours(1);

impl MemoryStore {
    /// An empty store for sessions of so many bytes; beyond that some end.
    pub fn new(most: u64) -> Self {
        Self::with(most, WhenFull::Ends)
    }

    /// The same, for sessions that can be forgotten.
    pub(super) fn forgetting(most: u64) -> Self {
        Self::with(most, WhenFull::Forgets)
    }

    fn with(most: u64, when_full: WhenFull) -> Self {
        Self {
            shelf: Shelf::new(most),
            due: Mutex::default(),
            indexes: Mutex::default(),
            ranks: Mutex::default(),
            when_full,
            ended: Cache::builder()
                .max_capacity(ENDS_REMEMBERED.min(most / SPARE / AN_END).max(1000))
                // The last end is remembered, whatever came before.
                .eviction_policy(EvictionPolicy::lru())
                .expire_after(InItsTime)
                .build_with_hasher(UniformState::default()),
            kept: Mutex::default(),
            told: Mutex::default(),
            most,
        }
    }

    pub(super) fn get(&self, hash: &SessionHash) -> Option<Arc<Session>> {
        self.shelf.get(hash)
    }

    fn queue(&self, session: &Session) {
        lock(&self.due).put(session.hash, session.expires());
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
        let session = self.shelf.get(hash)?;
        // Whoever finds it gone finds the reason as well.
        let remember = session.ends.since(session.created);
        self.ended.insert(*hash, Ended { reason, remember });
        self.shelf.take(hash);
        self.forget(indexes, &session);
        session.ending.come(reason);
        Some(session)
    }

    /// Lets go of what else is known of a session that is gone.
    fn forget(&self, indexes: &mut Indexes, session: &Session) {
        indexes.remove(session);
        lock(&self.ranks).remove(&session.hash);
        lock(&self.due).remove(&session.hash);
    }

    /// One step under one lock: of logins that come together as many stay as may (§4).
    fn admit(&self, session: Arc<Session>, limit: Option<Limit>, now: Timestamp) -> Admission {
        let mut indexes = lock(&self.indexes);
        let mut over = Vec::new();
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
                            let ended = self.remove_from(&mut indexes, &hash, reason);
                            over.extend(ended.map(|session| Over { session, reason }));
                        }
                    }
                }
            }
        }
        // Before it comes, so that it is not the one who goes.
        over.extend(self.make_room(&mut indexes, weight::of(&session), now));
        self.put_into(&mut indexes, session);
        Admission::Admitted(over)
    }

    /// Ends sessions until there is room for so many bytes.
    fn make_room(&self, indexes: &mut Indexes, bytes: u32, now: Timestamp) -> Vec<Over> {
        let mut over = Vec::new();
        if self.when_full == WhenFull::Forgets {
            return over;
        }
        let room = (self.most - self.most / SPARE).saturating_sub(u64::from(bytes));
        loop {
            let mut ranks = lock(&self.ranks);
            let next = (ranks.bytes() > room).then(|| ranks.next(now, |hash| self.get(hash)));
            drop(ranks);
            let Some(hash) = next.flatten() else {
                break;
            };
            over.extend(self.evict(indexes, &hash));
        }
        if !over.is_empty() {
            self.tell(now);
        }
        over
    }

    fn evict(&self, indexes: &mut Indexes, hash: &SessionHash) -> Option<Over> {
        let reason = EndReason::Evicted;
        let session = self.remove_from(indexes, hash, reason)?;
        Some(Over { session, reason })
    }

    /// What whoever runs this should do about it.
    fn tell(&self, now: Timestamp) {
        let mut told = lock(&self.told);
        if told.is_none_or(|at| now.since(at) >= TOLD_EVERY) {
            *told = Some(now);
            tracing::warn!(
                event = "store.full",
                remedy = "raise session.memory, or take a shared store (docs/stores.md)",
                "sessions take all of session.memory, {} MiB: for each that begins another ends, the longest unused",
                self.most >> 20
            );
        }
    }

    /// Takes a session in that this process has not seen.
    pub(super) fn put(&self, session: Arc<Session>) {
        self.put_into(&mut lock(&self.indexes), session);
    }

    fn put_into(&self, indexes: &mut Indexes, session: Arc<Session>) {
        self.queue(&session);
        indexes.add(&session);
        lock(&self.ranks).add(&session, weight::of(&session));
        self.shelf.put(session);
    }

    /// A session was used, or has other tokens than before.
    pub(super) fn moved_on(&self, session: &Arc<Session>) {
        if lock(&self.ranks).weigh(&session.hash, weight::of(session)) {
            self.shelf.weigh(session);
        }
    }

    /// Has done with what moka pushed out, and with what there is no room for since tokens have grown.
    fn settle(&self, now: Timestamp) -> Vec<Over> {
        let mut indexes = lock(&self.indexes);
        if self.when_full == WhenFull::Forgets {
            for session in self.shelf.settle() {
                self.forget(&mut indexes, &session);
            }
            return Vec::new();
        }
        let mut over = self.make_room(&mut indexes, 0, now);
        for session in self.shelf.pushed_out() {
            over.extend(self.evict(&mut indexes, &session.hash));
        }
        over
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
            if !session.advance_tokens(&tokens) {
                return Ok(SaveOutcome::Overtaken);
            }
            self.moved_on(session);
            Ok(match session.ending.reason() {
                None => SaveOutcome::Saved,
                Some(_) => SaveOutcome::Ended,
            })
        })
    }

    fn slide(&self, session: &Arc<Session>, seen: Timestamp, expires: Timestamp) {
        session.seen_at(seen, expires);
        self.shelf.used(session);
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

    fn sweep(&self, now: Timestamp) -> StoreFuture<'_, Vec<Over>> {
        Box::pin(async move {
            let mut over = Vec::new();
            loop {
                let next = lock(&self.due).pop(now);
                let Some(hash) = next else {
                    break;
                };
                let Some(session) = self.get(&hash) else {
                    continue;
                };
                if session.expires() > now {
                    self.queue(&session);
                } else {
                    let reason = EndReason::Expired;
                    let ended = self.remove(&hash, reason);
                    over.extend(ended.map(|session| Over { session, reason }));
                }
            }
            over.extend(self.settle(now));
            Ok(over)
        })
    }

    fn tend(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::pending())
    }

    fn count(&self) -> u64 {
        self.shelf.len() as u64
    }

    fn memory(&self) -> Option<Memory> {
        Some(Memory {
            used: lock(&self.ranks).bytes(),
            most: self.most,
        })
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
    fn lease<'a>(&'a self, _: Leased<'a>, _: &'a str) -> StoreFuture<'a, bool> {
        Box::pin(std::future::ready(Ok(true)))
    }

    fn release<'a>(&'a self, _: Leased<'a>, _: &'a str) -> StoreFuture<'a, ()> {
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
