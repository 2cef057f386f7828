//! No store: each session travels whole in its browser's cookie.
//!
//! What this process has seen lately it keeps at hand, one object a session: so that calls which still
//! carry the cookie of a moment ago share one refresh and its tokens, and what is open learns of the
//! end. What was ended it remembers, since the cookie opens all the same (E13). Both end with the
//! process, and no other process knows of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::sync::Cache;

use crate::clock::{Clock, Timestamp};
use crate::session::id::SessionHash;
use crate::session::record::{Session, Tokens};
use crate::session::store::memory::MemoryStore;
use crate::session::store::revocations::Revocations;
use crate::session::store::{
    Admission, Condition, Cursor, Found, Limit, Listed, SaveOutcome, SessionStore, StoreFuture, Who,
};
use crate::web::ending::EndReason;

/// Ends that are remembered, at about 200 bytes each.
const MOST_ENDS: usize = 200_000;

/// Sessions that are remembered to be too large.
const MOST_OUTGROWN: u64 = 10_000;

/// The sessions that this process has seen, and those that have ended.
#[derive(Debug)]
pub struct CookieStore {
    seen: MemoryStore,
    /// Locked before anything of `seen`. A session is looked up here and taken in under one lock: of
    /// an end and a cookie that come together, the end wins.
    over: Mutex<Revocations>,
    /// The tokens with which sessions became too large for their cookies. Bounded: what is pushed out
    /// is found out again.
    outgrown: Cache<SessionHash, u64>,
    clock: Arc<dyn Clock>,
    idle_timeout: Duration,
    capacity: usize,
}

impl CookieStore {
    /// A store that has seen nothing, for sessions with these limits; keeps `capacity` at hand.
    pub fn new(
        idle_timeout: Duration,
        max_lifetime: Duration,
        capacity: usize,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            seen: MemoryStore::new(idle_timeout, max_lifetime),
            over: Mutex::new(Revocations::new(max_lifetime, MOST_ENDS)),
            outgrown: Cache::new(MOST_OUTGROWN),
            clock,
            idle_timeout,
            capacity,
        }
    }

    /// Whether the session with the tokens of now is too large for its cookie.
    pub(in crate::session) fn has_outgrown(&self, session: &Session) -> bool {
        self.outgrown.get(&session.hash) == Some(session.tokens().version)
    }

    /// Notes that it is.
    pub(in crate::session) fn outgrows(&self, session: &Session) {
        self.outgrown.insert(session.hash, session.tokens().version);
    }

    /// Whether a cookie that carries these tokens and this last use would bring nothing new.
    pub(in crate::session) fn knows(
        &self,
        hash: &SessionHash,
        version: u64,
        seen: Timestamp,
    ) -> bool {
        self.seen.get(hash).is_some_and(|session| {
            session.tokens().version >= version && session.last_seen() >= seen
        })
    }

    /// Takes in what an opened cookie carried, unless it is over. An old cookie never takes newer
    /// tokens' place.
    pub(in crate::session) fn take_in(&self, carried: Session) {
        let now = self.clock.now();
        let mut over = lock(&self.over);
        if let Some(session) = self.seen.get(&carried.hash) {
            session.replace_tokens(&carried.tokens());
            session.seen_at(carried.last_seen());
            return;
        }
        // Not the session's end: its browser may hold a later cookie than this one.
        if now >= carried.expires(self.idle_timeout) {
            return;
        }
        if let Some(reason) = over.covers(&carried) {
            over.end(&carried.hash, reason, carried.created);
            return;
        }
        if over.may_have_forgotten(&carried) {
            return;
        }
        self.seen.put(Arc::new(carried));
        drop(over);
        self.make_room();
    }

    /// Lets go of those that were used least lately and that nothing waits for: their cookies bring
    /// them back.
    fn make_room(&self) {
        while self.seen.len() > self.capacity && self.seen.let_go_of_the_idlest() {}
    }
}

impl SessionStore for CookieStore {
    fn at_hand(&self, hash: &SessionHash, now: Timestamp) -> Option<Arc<Session>> {
        self.seen.at_hand(hash, now)
    }

    fn find<'a>(&'a self, hash: &'a SessionHash, now: Timestamp) -> StoreFuture<'a, Found> {
        Box::pin(async move {
            if let Some(session) = self.seen.get(hash) {
                return Ok(Found::Live(session));
            }
            if let Some(reason) = lock(&self.over).reason(hash) {
                return Ok(Found::Ended(reason));
            }
            self.seen.find(hash, now).await
        })
    }

    fn insert(
        &self,
        session: Arc<Session>,
        limit: Option<Limit>,
        now: Timestamp,
    ) -> StoreFuture<'_, Admission> {
        Box::pin(async move {
            let admission = self.seen.insert(session, limit, now).await;
            self.make_room();
            admission
        })
    }

    fn save_tokens<'a>(
        &'a self,
        session: &'a Arc<Session>,
        tokens: Arc<Tokens>,
    ) -> StoreFuture<'a, SaveOutcome> {
        self.seen.save_tokens(session, tokens)
    }

    /// The browser is told with the answer.
    fn slide(&self, session: &Arc<Session>, now: Timestamp) {
        self.seen.slide(session, now);
    }

    fn end<'a>(
        &'a self,
        hash: &'a SessionHash,
        reason: EndReason,
    ) -> StoreFuture<'a, Option<Arc<Session>>> {
        Box::pin(async move {
            let mut over = lock(&self.over);
            // Of one that was not seen it is not known when it began: at the latest now.
            let created = self.seen.get(hash).map(|session| session.created);
            over.end(hash, reason, created.unwrap_or_else(|| self.clock.now()));
            Ok(self.seen.remove(hash, reason))
        })
    }

    fn end_all_of<'a>(
        &'a self,
        who: Who<'a>,
        except: Option<&'a SessionHash>,
        reason: EndReason,
        now: Timestamp,
    ) -> StoreFuture<'a, Vec<SessionHash>> {
        Box::pin(async move {
            lock(&self.over).end_all(who, except, reason, now);
            let mut ended = Vec::new();
            for listed in self.all_of(who).await? {
                if except != Some(&listed.hash)
                    && self.end(&listed.hash, reason).await?.is_some()
                    && listed.expires > now
                {
                    ended.push(listed.hash);
                }
            }
            Ok(ended)
        })
    }

    /// Remembered by nobody: what a cookie of a session that ran into a limit carries says so itself.
    fn expire<'a>(&'a self, hash: &'a SessionHash, now: Timestamp) -> StoreFuture<'a, bool> {
        self.seen.expire(hash, now)
    }

    fn sweep(&self, now: Timestamp) -> StoreFuture<'_, Vec<Arc<Session>>> {
        lock(&self.over).forget(now);
        self.seen.sweep(now)
    }

    /// Those that this process has seen.
    fn of_subject<'a>(&'a self, subject: &'a str) -> StoreFuture<'a, Vec<Listed>> {
        self.seen.of_subject(subject)
    }

    fn of_provider_sid<'a>(&'a self, sid: &'a str) -> StoreFuture<'a, Vec<Listed>> {
        self.seen.of_provider_sid(sid)
    }

    fn page<'a>(
        &'a self,
        name_prefix: &'a str,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> StoreFuture<'a, Vec<Listed>> {
        self.seen.page(name_prefix, after, at_most)
    }

    fn lease<'a>(&'a self, hash: &'a SessionHash, owner: &'a str) -> StoreFuture<'a, bool> {
        self.seen.lease(hash, owner)
    }

    fn release<'a>(&'a self, hash: &'a SessionHash, owner: &'a str) -> StoreFuture<'a, ()> {
        self.seen.release(hash, owner)
    }

    fn keep<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        span: Duration,
        now: Timestamp,
    ) -> StoreFuture<'a, bool> {
        self.seen.keep(key, value, span, now)
    }

    fn take<'a>(&'a self, key: &'a str, now: Timestamp) -> StoreFuture<'a, Option<Vec<u8>>> {
        self.seen.take(key, now)
    }

    fn tend(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.seen.tend()
    }

    fn count(&self) -> u64 {
        self.seen.count()
    }

    fn kind(&self) -> &'static str {
        "cookie"
    }

    fn condition(&self) -> Pin<Box<dyn Future<Output = Condition> + Send + '_>> {
        self.seen.condition()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
