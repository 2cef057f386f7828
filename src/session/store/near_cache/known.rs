//! What this process knows of sessions: each once, as it was at some moment or later, or that it is
//! over. It never asks; what it is told, it takes in.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::clock::Timestamp;
use crate::session::id::SessionHash;
use crate::session::record::Session;
use crate::session::store::due::Due;
use crate::session::store::record_store::{Event, Standing};
use crate::session::store::shelf::Shelf;
use crate::session::store::{Lookups, Memory};
use crate::web::ending::EndReason;
use crate::web::uniform::UniformState;

const SHARDS: usize = 64;

/// Ends that are remembered, at about 200 bytes each.
const ENDS_REMEMBERED: u64 = 100_000;

/// What is known since this moment, before all others, is never fresh: the next look asks the store.
const NEVER: Timestamp = Timestamp::from_unix_millis(i64::MIN);

/// The sessions that are remembered. A session says itself as of when it is known; that is changed under
/// the lock of its shard alone.
pub(super) struct Known {
    sessions: Shelf,
    shards: Box<[Mutex<Shard>]>,
    /// Sessions that are over, which never changes again.
    ended: Cache<SessionHash, EndReason, UniformState>,
    ends: Mutex<Due>,
    counts: Box<[Count]>,
    most: u64,
}

/// What is heard of sessions while they are looked up: as many as there are look-ups.
type Shard = HashMap<SessionHash, Heard, UniformState>;

/// How looks at some of the sessions were answered.
#[derive(Default)]
struct Count {
    from_memory: AtomicU64,
    from_store: AtomicU64,
}

/// What is known of a session.
pub(super) enum Entry {
    /// It lives, as far as is known.
    Live(Arc<Session>),
    /// It is over.
    Ended(EndReason),
}

/// What was heard of a session since the first of the look-ups under way began.
#[derive(Default)]
struct Heard {
    looks: usize,
    is_over: bool,
    version: u64,
}

/// A look-up under way. What is heard of its session meanwhile may be what the answer does not know.
pub(super) struct Look<'a> {
    known: &'a Known,
    hash: SessionHash,
    /// Before the store was asked: what it answers is of then or later.
    asked: Timestamp,
}

/// A session as the store answered it, taken in.
pub(super) struct Taken {
    /// The one of its hash in this process.
    pub(super) session: Arc<Session>,
    /// Whether something was heard that the answer does not know. It is no lie: it was so after the
    /// question. But it is not remembered as fresh.
    pub(super) is_overtaken: bool,
}

impl Known {
    /// Nothing yet, and room for so many bytes.
    pub(super) fn new(most: u64) -> Self {
        Self {
            sessions: Shelf::new(most),
            shards: std::iter::repeat_with(Mutex::default)
                .take(SHARDS)
                .collect(),
            ended: Cache::builder()
                .max_capacity(ENDS_REMEMBERED)
                .eviction_policy(EvictionPolicy::lru())
                .build_with_hasher(UniformState::default()),
            ends: Mutex::default(),
            counts: std::iter::repeat_with(Count::default)
                .take(SHARDS)
                .collect(),
            most,
        }
    }

    fn shard(&self, hash: &SessionHash) -> Option<MutexGuard<'_, Shard>> {
        Some(lock(self.shards.get(place(hash))?))
    }

    /// A session that is known to be as it was at a moment that `is_fresh`.
    pub(super) fn at_hand(
        &self,
        hash: &SessionHash,
        is_fresh: impl Fn(Timestamp) -> bool,
    ) -> Option<Arc<Session>> {
        let found = self.sessions.get(hash);
        let found = found.filter(|session| is_fresh(session.known_at()));
        if let Some(count) = self.counts.get(place(hash)) {
            let answered = match found {
                Some(_) => &count.from_memory,
                None => &count.from_store,
            };
            answered.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    /// How looks were answered so far.
    pub(super) fn lookups(&self) -> Lookups {
        let mut all = Lookups::default();
        for count in &self.counts {
            all.from_memory += count.from_memory.load(Ordering::Relaxed);
            all.from_store += count.from_store.load(Ordering::Relaxed);
        }
        all
    }

    /// What the sessions take of this process's memory.
    pub(super) fn memory(&self) -> Memory {
        Memory {
            used: self.sessions.bytes(),
            most: self.most,
        }
    }

    /// What is known of a session.
    pub(super) fn get(&self, hash: &SessionHash) -> Option<Entry> {
        let live = self.sessions.get(hash).map(Entry::Live);
        live.or_else(|| self.ended.get(hash).map(Entry::Ended))
    }

    /// A session was used here.
    pub(super) fn used(&self, session: &Arc<Session>) {
        self.sessions.used(session);
    }

    /// A session has other tokens than before.
    pub(super) fn weigh(&self, session: &Arc<Session>) {
        self.sessions.weigh(session);
    }

    /// Lets go of what there is no room for and nobody has.
    pub(super) fn settle(&self) {
        for session in self.sessions.settle() {
            // Unless it was read again meanwhile, which is done under this lock.
            if let Some(_shard) = self.shard(&session.hash)
                && self.sessions.get(&session.hash).is_none()
            {
                lock(&self.ends).remove(&session.hash);
            }
        }
    }

    /// Begins a look-up at `now`.
    pub(super) fn look(&self, hash: SessionHash, now: Timestamp) -> Look<'_> {
        if let Some(mut shard) = self.shard(&hash) {
            shard.entry(hash).or_default().looks += 1;
        }
        Look {
            known: self,
            hash,
            asked: now,
        }
    }

    /// Notes the end of a session, and tells what is open on its behalf. Without a reason there is
    /// nothing in the store, which is not remembered: it may have lost its memory.
    pub(super) fn end(&self, hash: &SessionHash, reason: Option<EndReason>) {
        let Some(mut shard) = self.shard(hash) else {
            return;
        };
        hear_of_end(&mut shard, hash);
        if let Some(reason) = reason {
            self.ended.insert(*hash, reason);
        }
        let before = self.sessions.take(hash);
        lock(&self.ends).remove(hash);
        drop(shard);
        if let Some(session) = before {
            session.ending.come(reason.unwrap_or(EndReason::Expired));
        }
    }

    /// One of us told of an event: the next look at its session asks the store. Whether somebody here
    /// has to learn what the store answers.
    pub(super) fn hear(&self, event: Event) -> bool {
        let (Event::Ended(hash, _) | Event::Changed(hash, _)) = event;
        let Some(mut shard) = self.shard(&hash) else {
            return false;
        };
        match event {
            Event::Ended(..) => hear_of_end(&mut shard, &hash),
            Event::Changed(_, version) => hear_of_version(&mut shard, &hash, version),
        }
        let Some(session) = self.sessions.get(&hash) else {
            return false;
        };
        match event {
            Event::Ended(..) => {}
            Event::Changed(_, version) if session.tokens().version < version => {
                session.changes.notify_waiters();
            }
            Event::Changed(..) => return false,
        }
        session.know_at(NEVER);
        matches!(event, Event::Ended(..))
    }

    /// Whether a session is remembered or looked up: whether it matters what becomes of it.
    pub(super) fn concerns(&self, hash: &SessionHash) -> bool {
        self.shard(hash)
            .is_some_and(|shard| shard.contains_key(hash) || self.sessions.get(hash).is_some())
    }

    /// The next look at a session asks the store.
    pub(super) fn invalidate(&self, hash: &SessionHash) {
        if let Some(_shard) = self.shard(hash)
            && let Some(session) = self.sessions.get(hash)
        {
            session.know_at(NEVER);
        }
    }

    /// What the store answered of a session at `asked` or later.
    pub(super) fn stands(&self, hash: &SessionHash, standing: Standing, asked: Timestamp) {
        match standing {
            Standing::Live(version) => {
                let Some(shard) = self.shard(hash) else {
                    return;
                };
                match self.sessions.get(hash) {
                    Some(session) if session.tokens().version >= version => {
                        session.know_at(asked.max(session.known_at()));
                    }
                    _ => {
                        drop(shard);
                        self.hear(Event::Changed(*hash, version));
                    }
                }
            }
            Standing::Ended(reason) => self.end(hash, Some(reason)),
            Standing::Nothing => self.end(hash, None),
        }
    }

    /// Sessions in use that are not known as of a moment that `is_fresh`.
    pub(super) fn stale(&self, is_fresh: impl Fn(Timestamp) -> bool) -> Vec<SessionHash> {
        let stale =
            |session: &Arc<Session>| session.ending.is_awaited() && !is_fresh(session.known_at());
        let stale = self.sessions.those(stale).into_iter();
        stale.map(|session| session.hash).collect()
    }

    /// Has a session looked at when it ends, unless it is used.
    pub(super) fn queue(&self, session: &Session) {
        self.queue_at(session.hash, session.expires());
    }

    /// Has a session looked at then.
    pub(super) fn queue_at(&self, hash: SessionHash, moment: Timestamp) {
        lock(&self.ends).put(hash, moment);
    }

    /// Whether some session's end, as it was queued, has come.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        lock(&self.ends).is_due(now)
    }

    /// The next session whose end, as it was queued, has come.
    pub(super) fn pop_due(&self, now: Timestamp) -> Option<SessionHash> {
        lock(&self.ends).pop(now)
    }
}

impl Look<'_> {
    /// Makes the session that the store answered our own.
    pub(super) fn take_in(&self, read: Arc<Session>) -> Taken {
        let alone = |session| Taken {
            session,
            is_overtaken: false,
        };
        let Some(shard) = self.known.shard(&self.hash) else {
            return alone(read);
        };
        let sessions = &self.known.sessions;
        let version = read.tokens().version;
        let heard = shard.get(&self.hash);
        let is_overtaken = heard.is_some_and(|heard| heard.is_over || heard.version > version);
        let session = match self.known.get(&self.hash) {
            Some(Entry::Live(session)) => {
                if session.tokens().version < version {
                    session.replace_tokens(&read.tokens());
                    sessions.weigh(&session);
                }
                session.seen_at(read.last_seen(), read.expires());
                session
            }
            Some(Entry::Ended(reason)) => {
                read.ending.come(reason);
                return alone(read);
            }
            None => {
                self.known.queue(&read);
                sessions.put(Arc::clone(&read));
                read
            }
        };
        session.know_at(if is_overtaken {
            NEVER
        } else {
            self.asked.max(session.known_at())
        });
        drop(shard);
        Taken {
            session,
            is_overtaken,
        }
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        if let Some(mut shard) = self.known.shard(&self.hash)
            && let Slot::Occupied(mut heard) = shard.entry(self.hash)
        {
            heard.get_mut().looks -= 1;
            if heard.get().looks == 0 {
                heard.remove();
            }
        }
    }
}

/// Which shard a session is in: its last byte names one in every case.
fn place(hash: &SessionHash) -> usize {
    let [.., last] = hash.as_bytes();
    usize::from(*last) % SHARDS
}

fn hear_of_end(shard: &mut Shard, hash: &SessionHash) {
    if let Some(heard) = shard.get_mut(hash) {
        heard.is_over = true;
    }
}

fn hear_of_version(shard: &mut Shard, hash: &SessionHash, version: u64) {
    if let Some(heard) = shard.get_mut(hash) {
        heard.version = heard.version.max(version);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::session::fixture;
    use crate::session::record::Times;

    const HOUR: Duration = Duration::from_hours(1);
    const ROOM: u64 = 1 << 20;
    const ALL: fn(Timestamp) -> bool = |known_at| known_at != NEVER;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_unix_millis(1_000_000 + millis)
    }

    fn hash() -> SessionHash {
        SessionHash::from_slice(&[7; 32]).unwrap()
    }

    fn read(version: u64) -> Arc<Session> {
        let mut new = fixture::new_session(hash(), "alice");
        new.tokens = fixture::tokens(version);
        Arc::new(Session::new(new, Times::beginning(at(0), HOUR, HOUR)))
    }

    fn known() -> Known {
        Known::new(ROOM)
    }

    /// What is heard while the store is asked counts for its own session, if the answer lacks it.
    #[test]
    fn an_answer_is_overtaken_by_what_it_lacks_alone() {
        let ended = Event::Ended(hash(), EndReason::Logout);
        let other = SessionHash::from_slice(&[8; 32]).unwrap();
        let cases: [(&str, Option<Event>, bool); 5] = [
            ("nothing", None, false),
            ("its end", Some(ended), true),
            ("other tokens", Some(Event::Changed(hash(), 3)), true),
            ("these tokens", Some(Event::Changed(hash(), 2)), false),
            (
                "another's end",
                Some(Event::Ended(other, EndReason::Logout)),
                false,
            ),
        ];
        for (name, heard, is_overtaken) in cases {
            let known = known();
            let look = known.look(hash(), at(1));
            if let Some(event) = heard {
                known.hear(event);
            }
            assert_eq!(look.take_in(read(2)).is_overtaken, is_overtaken, "{name}");
            assert_eq!(
                known.at_hand(&hash(), ALL).is_none(),
                is_overtaken,
                "{name}"
            );
        }
    }

    /// Looks that are over leave nothing behind, however many there were and whatever was heard.
    #[test]
    fn a_look_leaves_nothing_behind() {
        let known = known();
        let (one, other) = (known.look(hash(), at(1)), known.look(hash(), at(2)));
        known.hear(Event::Ended(hash(), EndReason::Logout));
        drop(one);
        assert!(known.concerns(&hash()));
        assert!(other.take_in(read(1)).is_overtaken);
        drop(other);
        let shard = known.shard(&hash()).unwrap();
        assert!(shard.is_empty());
        drop(shard);
        assert!(!known.look(hash(), at(3)).take_in(read(1)).is_overtaken);
    }

    #[test]
    fn what_is_heard_is_looked_up_once_it_is_news() {
        let known = known();
        let ended = Event::Ended(hash(), EndReason::Logout);
        assert!(!known.hear(ended), "nobody here knows it");
        let taken = known.look(hash(), at(1)).take_in(read(2));
        assert!(!known.hear(Event::Changed(hash(), 2)));
        assert!(known.at_hand(&hash(), ALL).is_some());
        assert!(!known.hear(Event::Changed(hash(), 3)));
        assert!(known.at_hand(&hash(), ALL).is_none());

        known.stands(&hash(), Standing::Live(2), at(2));
        assert!(known.at_hand(&hash(), ALL).is_some());
        assert!(known.hear(ended), "somebody has to be told");
        assert!(known.at_hand(&hash(), ALL).is_none());
        known.stands(&hash(), Standing::Ended(EndReason::Logout), at(3));
        assert_eq!(taken.session.ending.reason(), Some(EndReason::Logout));
        assert!(!known.hear(ended), "it is over");
    }
}
