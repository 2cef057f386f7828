//! What this process knows of sessions: each once, as it was at some moment or later, or that it is
//! over. It never asks; what it is told, it takes in.

use std::cmp::Reverse;
use std::collections::hash_map::Entry as Slot;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;
use crate::session::id::SessionHash;
use crate::session::record::Session;
use crate::session::store::Lookups;
use crate::session::store::record_store::{Event, Standing};
use crate::web::ending::EndReason;
use crate::web::uniform::UniformState;

const SHARDS: usize = 64;

/// What is known since this moment, before all others, is never fresh: the next look asks the store.
const NEVER: Timestamp = Timestamp::from_unix_millis(i64::MIN);

/// The sessions that are remembered.
pub(super) struct Known {
    shards: Box<[Mutex<Shard>]>,
    /// Each remembered session once, at the end it had when it was queued.
    ends: Mutex<BinaryHeap<Reverse<(Timestamp, SessionHash)>>>,
    /// How many of a shard are young.
    room: usize,
}

/// What is known of some sessions. Two generations: a full one pushes the older one out.
#[derive(Default)]
struct Shard {
    young: HashMap<SessionHash, Entry, UniformState>,
    old: HashMap<SessionHash, Entry, UniformState>,
    /// What is heard of sessions while they are looked up: as many as there are look-ups.
    looked_up: HashMap<SessionHash, Heard, UniformState>,
    /// How looks were answered: counted under the lock that each takes anyway.
    lookups: Lookups,
}

/// What is known of a session.
#[derive(Clone)]
pub(super) enum Entry {
    /// A session, as it was at that moment or later.
    Live(Arc<Session>, Timestamp),
    /// It is over, which never changes again.
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
    /// Nothing yet.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            shards: std::iter::repeat_with(Mutex::default)
                .take(SHARDS)
                .collect(),
            ends: Mutex::default(),
            room: (capacity / SHARDS / 2).max(1),
        }
    }

    fn shard(&self, hash: &SessionHash) -> Option<MutexGuard<'_, Shard>> {
        let [.., last] = hash.as_bytes();
        let shard = self.shards.get(usize::from(*last) % SHARDS)?;
        Some(lock(shard))
    }

    /// A session that is known to be as it was at a moment that `is_fresh`.
    pub(super) fn at_hand(
        &self,
        hash: &SessionHash,
        is_fresh: impl Fn(Timestamp) -> bool,
    ) -> Option<Arc<Session>> {
        let mut shard = self.shard(hash)?;
        let found = shard.at_hand(hash, is_fresh);
        if found.is_some() {
            shard.lookups.from_memory += 1;
        } else {
            shard.lookups.from_store += 1;
        }
        found
    }

    /// How looks were answered so far.
    pub(super) fn lookups(&self) -> Lookups {
        let mut all = Lookups::default();
        for shard in &self.shards {
            let Lookups {
                from_memory,
                from_store,
            } = lock(shard).lookups;
            all.from_memory += from_memory;
            all.from_store += from_store;
        }
        all
    }

    /// What is known of a session.
    pub(super) fn get(&self, hash: &SessionHash) -> Option<Entry> {
        self.shard(hash)?.get(hash)
    }

    /// Begins a look-up at `now`.
    pub(super) fn look(&self, hash: SessionHash, now: Timestamp) -> Look<'_> {
        if let Some(mut shard) = self.shard(&hash) {
            shard.looked_up.entry(hash).or_default().looks += 1;
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
        shard.hear_of_end(hash);
        let before = shard.get(hash);
        match reason {
            Some(reason) => shard.insert(*hash, Entry::Ended(reason), self.room),
            None => drop(shard.young.remove(hash)),
        }
        drop(shard);
        if let Some(Entry::Live(session, _)) = before {
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
            Event::Ended(..) => shard.hear_of_end(&hash),
            Event::Changed(_, version) => shard.hear_of_version(&hash, version),
        }
        let Some(Entry::Live(session, _)) = shard.get(&hash) else {
            return false;
        };
        match event {
            Event::Ended(..) => {}
            Event::Changed(_, version) if session.tokens().version < version => {
                session.changes.notify_waiters();
            }
            Event::Changed(..) => return false,
        }
        shard.young.insert(hash, Entry::Live(session, NEVER));
        matches!(event, Event::Ended(..))
    }

    /// Whether a session is remembered or looked up: whether it matters what becomes of it.
    pub(super) fn concerns(&self, hash: &SessionHash) -> bool {
        self.shard(hash).is_some_and(|mut shard| {
            shard.looked_up.contains_key(hash) || matches!(shard.get(hash), Some(Entry::Live(..)))
        })
    }

    /// The next look at a session asks the store.
    pub(super) fn invalidate(&self, hash: &SessionHash) {
        if let Some(mut shard) = self.shard(hash)
            && let Some(Entry::Live(session, _)) = shard.get(hash)
        {
            shard.young.insert(*hash, Entry::Live(session, NEVER));
        }
    }

    /// What the store answered of a session at `asked` or later.
    pub(super) fn stands(&self, hash: &SessionHash, standing: Standing, asked: Timestamp) {
        match standing {
            Standing::Live(version) => {
                let Some(mut shard) = self.shard(hash) else {
                    return;
                };
                match shard.get(hash) {
                    Some(Entry::Live(session, known_at)) if session.tokens().version >= version => {
                        let entry = Entry::Live(session, asked.max(known_at));
                        shard.young.insert(*hash, entry);
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
        let mut stale = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            let entries = shard.young.iter().chain(&shard.old);
            stale.extend(entries.filter_map(|(hash, entry)| match entry {
                Entry::Live(session, known_at) if session.ending.is_awaited() => {
                    (!is_fresh(*known_at)).then_some(*hash)
                }
                Entry::Live(..) | Entry::Ended(_) => None,
            }));
        }
        stale
    }

    /// Has a session looked at when it ends, unless it is used.
    pub(super) fn queue(&self, session: &Session) {
        self.queue_at(session.hash, session.expires());
    }

    /// Has a session looked at then.
    pub(super) fn queue_at(&self, hash: SessionHash, moment: Timestamp) {
        lock(&self.ends).push(Reverse((moment, hash)));
    }

    /// Whether some session's end, as it was queued, has come.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let ends = lock(&self.ends);
        ends.peek().is_some_and(|Reverse((end, _))| *end <= now)
    }

    /// The next session whose end, as it was queued, has come.
    pub(super) fn pop_due(&self, now: Timestamp) -> Option<SessionHash> {
        let mut ends = lock(&self.ends);
        let Reverse((end, hash)) = ends.peek().copied()?;
        if end > now {
            return None;
        }
        ends.pop();
        Some(hash)
    }
}

impl Look<'_> {
    /// Makes the session that the store answered our own.
    pub(super) fn take_in(&self, read: Arc<Session>) -> Taken {
        let alone = |session| Taken {
            session,
            is_overtaken: false,
        };
        let Some(mut shard) = self.known.shard(&self.hash) else {
            return alone(read);
        };
        let version = read.tokens().version;
        let heard = shard.looked_up.get(&self.hash);
        let is_overtaken = heard.is_some_and(|heard| heard.is_over || heard.version > version);
        let known_at = if is_overtaken { NEVER } else { self.asked };
        match shard.get(&self.hash) {
            Some(Entry::Live(session, before)) => {
                session.replace_tokens(&read.tokens());
                session.seen_at(read.last_seen(), read.expires());
                let known_at = if is_overtaken {
                    NEVER
                } else {
                    known_at.max(before)
                };
                let entry = Entry::Live(Arc::clone(&session), known_at);
                shard.young.insert(self.hash, entry);
                Taken {
                    session,
                    is_overtaken,
                }
            }
            Some(Entry::Ended(reason)) => {
                read.ending.come(reason);
                alone(read)
            }
            None => {
                let entry = Entry::Live(Arc::clone(&read), known_at);
                shard.insert(self.hash, entry, self.known.room);
                drop(shard);
                self.known.queue(&read);
                Taken {
                    session: read,
                    is_overtaken,
                }
            }
        }
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        if let Some(mut shard) = self.known.shard(&self.hash)
            && let Slot::Occupied(mut heard) = shard.looked_up.entry(self.hash)
        {
            heard.get_mut().looks -= 1;
            if heard.get().looks == 0 {
                heard.remove();
            }
        }
    }
}

impl Shard {
    fn at_hand(
        &mut self,
        hash: &SessionHash,
        is_fresh: impl Fn(Timestamp) -> bool,
    ) -> Option<Arc<Session>> {
        if let Some(Entry::Live(session, known_at)) = self.young.get(hash) {
            return is_fresh(*known_at).then(|| Arc::clone(session));
        }
        match self.get(hash)? {
            Entry::Live(session, known_at) => is_fresh(known_at).then_some(session),
            Entry::Ended(_) => None,
        }
    }

    fn hear_of_end(&mut self, hash: &SessionHash) {
        if let Some(heard) = self.looked_up.get_mut(hash) {
            heard.is_over = true;
        }
    }

    fn hear_of_version(&mut self, hash: &SessionHash, version: u64) {
        if let Some(heard) = self.looked_up.get_mut(hash) {
            heard.version = heard.version.max(version);
        }
    }

    /// What is known of a session; found among the older, it is young again.
    fn get(&mut self, hash: &SessionHash) -> Option<Entry> {
        if let Some(entry) = self.young.get(hash) {
            return Some(entry.clone());
        }
        let entry = self.old.remove(hash)?;
        self.young.insert(*hash, entry.clone());
        Some(entry)
    }

    fn insert(&mut self, hash: SessionHash, entry: Entry, room: usize) {
        self.old.remove(&hash);
        self.young.insert(hash, entry);
        if self.young.len() > room {
            let pushed_out = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
            // What somebody holds must learn of its end, and stay the only one of its kind.
            let held = |entry: &Entry| match entry {
                Entry::Live(session, _) => {
                    Arc::strong_count(session) > 1 || session.ending.is_awaited()
                }
                Entry::Ended(_) => false,
            };
            self.young
                .extend(pushed_out.into_iter().filter(|(_, entry)| held(entry)));
        }
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
        Known::new(1000)
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
        assert!(shard.looked_up.is_empty());
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
