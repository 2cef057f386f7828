//! The sessions that this process holds, one object each: moka keeps them within a budget of bytes, and a
//! map beside it finds them.
//!
//! A look-up does not ask moka, whose books cost eight times what finding a session does: it learns of uses
//! by the slides alone. What it pushes out stays the one object of its hash for as long as somebody has it
//! or something is open on its behalf, and is let go with a later [`settle`](Shelf::settle). What happens to
//! it then is for the store to say.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::session::id::SessionHash;
use crate::session::record::Session;
use crate::session::weight;
use crate::web::uniform::UniformState;

/// Enough that two workers seldom meet at one lock, which is held for one look-up.
const SHARDS: usize = 64;

type Shard = HashMap<SessionHash, Weak<Session>, UniformState>;
type Leaving = HashMap<SessionHash, Arc<Session>, UniformState>;

/// Sessions, within so many bytes.
pub(super) struct Shelf {
    shards: Box<[Mutex<Shard>]>,
    kept: Cache<SessionHash, Arc<Session>, UniformState>,
    /// What was pushed out and is not let go yet. Locked after a shard, and while moka works.
    leaving: Arc<Mutex<Leaving>>,
}

impl Shelf {
    /// Room for sessions of so many bytes. The one that was used least lately goes first, and whoever comes
    /// is taken in: moka's own choice, `TinyLFU`, may refuse a newcomer.
    pub(super) fn new(bytes: u64) -> Self {
        let leaving = Arc::new(Mutex::new(Leaving::default()));
        let pushed_out = Arc::clone(&leaving);
        let kept = Cache::builder()
            .max_capacity(bytes)
            .weigher(|_, session: &Arc<Session>| weight::of(session))
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(move |_, session: Arc<Session>, cause| {
                if cause.was_evicted() {
                    lock(&pushed_out).insert(session.hash, session);
                }
            })
            .build_with_hasher(UniformState::default());
        Self {
            shards: std::iter::repeat_with(Mutex::default)
                .take(SHARDS)
                .collect(),
            kept,
            leaving,
        }
    }

    /// The shard of a session, locked. `None` never comes: the last byte names a shard in every case.
    fn shard(&self, hash: &SessionHash) -> Option<MutexGuard<'_, Shard>> {
        let [.., last] = hash.as_bytes();
        let shard = self.shards.get(usize::from(*last) % SHARDS)?;
        Some(lock(shard))
    }

    /// The session of this hash.
    pub(super) fn get(&self, hash: &SessionHash) -> Option<Arc<Session>> {
        self.shard(hash)?.get(hash)?.upgrade()
    }

    /// Takes a session in, the one of its hash from now on.
    pub(super) fn put(&self, session: Arc<Session>) {
        if let Some(mut shard) = self.shard(&session.hash) {
            shard.insert(session.hash, Arc::downgrade(&session));
            self.kept.insert(session.hash, session);
        }
    }

    /// A session was used, so that it is not the next to go; it comes back if it was about to.
    pub(super) fn used(&self, session: &Arc<Session>) {
        if self.kept.get(&session.hash).is_none() {
            self.weigh(session);
        }
    }

    /// Weighs a session anew, whose tokens are others than before.
    pub(super) fn weigh(&self, session: &Arc<Session>) {
        // Under its lock, so that an end that comes at the same moment is not undone.
        if let Some(shard) = self.shard(&session.hash)
            && has(&shard, session)
        {
            self.kept.insert(session.hash, Arc::clone(session));
        }
    }

    /// Takes a session out, to the one caller who found it.
    pub(super) fn take(&self, hash: &SessionHash) -> Option<Arc<Session>> {
        let mut shard = self.shard(hash)?;
        let session = shard.remove(hash)?.upgrade();
        self.kept.invalidate(hash);
        session
    }

    /// Lets go of what was pushed out and nobody has any more; what that was.
    pub(super) fn settle(&self) -> Vec<Session> {
        let mut gone = Vec::new();
        for session in self.pushed_out() {
            let hash = session.hash;
            let Some(mut shard) = self.shard(&hash) else {
                continue;
            };
            // Whoever comes to have it finds it under this lock.
            let stays = match Arc::try_unwrap(session) {
                Ok(session) if session.ending.is_awaited() => {
                    let session = Arc::new(session);
                    shard.insert(hash, Arc::downgrade(&session));
                    session
                }
                Ok(session) => {
                    shard.remove(&hash);
                    gone.push(session);
                    continue;
                }
                Err(session) => session,
            };
            lock(&self.leaving).insert(hash, stays);
        }
        gone
    }

    /// Takes what was pushed out since, and has neither ended nor come back.
    pub(super) fn pushed_out(&self) -> Vec<Arc<Session>> {
        self.kept.run_pending_tasks();
        let leaving = std::mem::take(&mut *lock(&self.leaving));
        let leaves = |session: &Arc<Session>| {
            let shard = self.shard(&session.hash);
            shard.is_some_and(|shard| has(&shard, session))
                && !self.kept.contains_key(&session.hash)
        };
        leaving.into_values().filter(leaves).collect()
    }

    /// Those that are wanted.
    pub(super) fn those(&self, wanted: impl Fn(&Arc<Session>) -> bool) -> Vec<Arc<Session>> {
        let mut those = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            those.extend(shard.values().filter_map(Weak::upgrade).filter(&wanted));
        }
        those
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// How many bytes they take, about.
    pub(super) fn bytes(&self) -> u64 {
        self.kept.weighted_size()
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shelf({} sessions)", self.len())
    }
}

fn has(shard: &Shard, session: &Arc<Session>) -> bool {
    let own = shard.get(&session.hash);
    own.is_some_and(|own| std::ptr::eq(own.as_ptr(), Arc::as_ptr(session)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Timestamp;
    use crate::session::fixture;
    use crate::session::record::Times;
    use crate::web::ending::EndReason;

    const HOUR: Duration = Duration::from_hours(1);
    const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);

    fn session(number: u8) -> Arc<Session> {
        let hash = SessionHash::from_slice(&[number; 32]).unwrap();
        let new = fixture::new_session(hash, "alice");
        Arc::new(Session::new(new, Times::beginning(NOW, HOUR, HOUR)))
    }

    /// A shelf with room for so many.
    fn shelf(sessions: u64) -> Shelf {
        Shelf::new(sessions * u64::from(weight::of(&session(0))))
    }

    /// What moka pushes out is dropped by whichever thread comes by: now.
    fn settled(shelf: &Shelf) -> Vec<SessionHash> {
        let settle = |_| shelf.settle().into_iter().map(|session| session.hash);
        let mut gone: Vec<_> = (0..1000).flat_map(settle).collect();
        gone.sort_unstable();
        gone
    }

    #[test]
    fn the_one_that_was_used_least_lately_goes() {
        let shelf = shelf(4);
        let hashes: Vec<_> = (1..=4).map(|number| session(number).hash).collect();
        for number in 1..=4 {
            shelf.put(session(number));
        }
        // A use counts once moka's books have the session.
        shelf.kept.run_pending_tasks();
        shelf.used(&shelf.get(&hashes[0]).unwrap());
        shelf.put(session(5));
        assert_eq!(settled(&shelf), [hashes[1]]);
        assert!(shelf.get(&hashes[0]).is_some(), "it was used");
        assert!(shelf.get(&session(5).hash).is_some(), "who comes is let in");
        assert_eq!(shelf.len(), 4);
    }

    /// There is one object of a session for as long as anybody has it, or its end is waited for.
    #[test]
    fn what_somebody_has_stays_the_one_of_its_hash() {
        let shelf = shelf(2);
        let (had, awaited) = (session(1), session(2));
        let ending = awaited.ending.clone();
        shelf.put(Arc::clone(&had));
        shelf.put(awaited);
        for number in 3..=6 {
            shelf.put(session(number));
        }
        assert_eq!(settled(&shelf), [session(3).hash, session(4).hash]);
        assert!(Arc::ptr_eq(&shelf.get(&had.hash).unwrap(), &had));
        let found = shelf.get(&session(2).hash).unwrap();
        found.ending.come(EndReason::Logout);
        assert_eq!(ending.reason(), Some(EndReason::Logout));
        // Used, it is kept as any other is; let go, it is gone.
        shelf.used(&had);
        drop((had, found, ending));
        assert_eq!(settled(&shelf), [session(2).hash, session(5).hash]);
        assert!(shelf.get(&session(1).hash).is_some());
    }

    /// An end is an end: what was weighed at the same moment does not come back.
    #[test]
    fn what_was_taken_out_is_not_put_back() {
        let shelf = shelf(4);
        let session = session(1);
        shelf.put(Arc::clone(&session));
        assert!(shelf.take(&session.hash).is_some());
        assert!(shelf.take(&session.hash).is_none());
        shelf.weigh(&session);
        shelf.used(&session);
        assert!(shelf.get(&session.hash).is_none());
        shelf.kept.run_pending_tasks();
        assert_eq!((shelf.len(), shelf.bytes()), (0, 0));
    }
}
