//! In which order sessions go where there is no room for all: the longest unused of the user who has most of
//! them first, so that one account cannot sign everybody out.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::session::id::SessionHash;
use crate::session::record::Session;
use crate::web::uniform::UniformState;

/// As many sessions as a person's browsers have. Users with no more are alike, and the longest unused of all
/// theirs goes: else one of two busy sessions would go before a million that nobody uses.
const FEW: usize = 4;

/// Sessions that are looked at for one that can go. A use is noted here when somebody looks, so that a
/// request has nothing to do with it.
const LOOKED_AT: usize = 1000;

/// Before every moment.
const EVER: Timestamp = Timestamp::from_unix_millis(i64::MIN);

/// The sessions of this process by who has them, by their last use, and by what they weigh.
#[derive(Debug, Default)]
pub(super) struct Ranks {
    places: HashMap<SessionHash, Place, UniformState>,
    /// The sessions of each user, the longest unused first.
    by_use: BTreeSet<(Arc<User>, Timestamp, SessionHash)>,
    users: BTreeMap<Arc<User>, Rank>,
    /// The user whose session goes next is the last one.
    by_rank: BTreeSet<(Rank, Arc<User>)>,
    bytes: u64,
}

/// Who has sessions: an account at an issuer, at whichever site and by whichever client.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct User {
    issuer: Arc<str>,
    subject: Box<str>,
}

/// The later in the order, the sooner they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// How many they have, from [`FEW`] on.
    level: usize,
    /// The last use of the one that they used least lately.
    unused_since: Reverse<Timestamp>,
    count: usize,
}

#[derive(Debug)]
struct Place {
    user: Arc<User>,
    used: Timestamp,
    weight: u32,
}

impl Ranks {
    /// Takes a session in.
    pub(super) fn add(&mut self, session: &Session, weight: u32) {
        let user = User {
            issuer: Arc::clone(&session.registration.issuer),
            subject: session.subject.clone(),
        };
        let user = match self.users.get_key_value(&user) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::new(user),
        };
        let used = session.last_looked_at();
        self.bytes += u64::from(weight);
        self.by_use.insert((Arc::clone(&user), used, session.hash));
        self.rank(&user, |count| count + 1);
        let place = Place { user, used, weight };
        self.places.insert(session.hash, place);
    }

    /// It is gone.
    pub(super) fn remove(&mut self, hash: &SessionHash) {
        if let Some(place) = self.places.remove(hash) {
            let Place { user, used, weight } = place;
            self.bytes -= u64::from(weight);
            self.by_use.remove(&(Arc::clone(&user), used, *hash));
            self.rank(&user, |count| count - 1);
        }
    }

    /// A session's weight is another than before; `false` where it is not there any more.
    pub(super) fn weigh(&mut self, hash: &SessionHash, weight: u32) -> bool {
        let Some(place) = self.places.get_mut(hash) else {
            return false;
        };
        let before = std::mem::replace(&mut place.weight, weight);
        self.bytes = self.bytes - u64::from(before) + u64::from(weight);
        true
    }

    /// What they weigh, all of them.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The session that goes next.
    pub(super) fn next(
        &mut self,
        now: Timestamp,
        find: impl Fn(&SessionHash) -> Option<Arc<Session>>,
    ) -> Option<SessionHash> {
        for _ in 0..LOOKED_AT {
            let (level, used, hash) = self.last()?;
            let Some(session) = find(&hash) else {
                return Some(hash);
            };
            // What is open uses its session. Beyond a few that counts for nothing, or an account that
            // floods us would keep all of its own.
            let is_open = level == FEW && session.ending.is_awaited();
            let last_used = if is_open {
                now
            } else {
                session.last_looked_at()
            };
            if last_used <= used {
                return Some(hash);
            }
            self.use_at(&hash, last_used);
        }
        // All of those are busy, and none is looked for for ever.
        self.last().map(|(_, _, hash)| hash)
    }

    fn last(&self) -> Option<(usize, Timestamp, SessionHash)> {
        let (rank, user) = self.by_rank.last()?;
        let (_, used, hash) = self.longest_unused(user)?;
        Some((rank.level, *used, *hash))
    }

    fn longest_unused(&self, user: &Arc<User>) -> Option<&(Arc<User>, Timestamp, SessionHash)> {
        let from = (Arc::clone(user), EVER, SessionHash::FIRST);
        let first = self.by_use.range(from..).next();
        first.filter(|(own, _, _)| own == user)
    }

    fn use_at(&mut self, hash: &SessionHash, used: Timestamp) {
        if let Some(place) = self.places.get_mut(hash) {
            let before = std::mem::replace(&mut place.used, used);
            let user = Arc::clone(&place.user);
            self.by_use.remove(&(Arc::clone(&user), before, *hash));
            self.by_use.insert((Arc::clone(&user), used, *hash));
            self.rank(&user, |count| count);
        }
    }

    /// Ranks a user anew whose sessions are others than before, or were used.
    fn rank(&mut self, user: &Arc<User>, counted: impl Fn(usize) -> usize) {
        let before = self.users.remove(user);
        if let Some(rank) = before {
            self.by_rank.remove(&(rank, Arc::clone(user)));
        }
        let count = counted(before.map_or(0, |rank| rank.count));
        if let Some((_, used, _)) = self.longest_unused(user) {
            let rank = Rank {
                level: count.max(FEW),
                unused_since: Reverse(*used),
                count,
            };
            self.users.insert(Arc::clone(user), rank);
            self.by_rank.insert((rank, Arc::clone(user)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::session::fixture;
    use crate::session::record::Times;
    use crate::web::registration::Registration;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_hours(1);
    const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);

    /// Sessions by number, each a second younger than the one before.
    #[derive(Default)]
    struct Stage {
        ranks: Ranks,
        sessions: HashMap<SessionHash, Arc<Session>, UniformState>,
    }

    fn hash(number: usize) -> SessionHash {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
        SessionHash::from_slice(&bytes).unwrap()
    }

    fn second(number: usize) -> Timestamp {
        NOW + SECOND * u32::try_from(number).unwrap()
    }

    impl Stage {
        fn begin(&mut self, number: usize, subject: &str) {
            self.begin_at("https://id.example.com", number, subject);
        }

        fn begin_at(&mut self, issuer: &str, number: usize, subject: &str) {
            let mut new = fixture::new_session(hash(number), subject);
            new.facts.registration = Registration::new(issuer, "app");
            let times = Times::beginning(second(number), HOUR, HOUR);
            let session = Arc::new(Session::new(new, times));
            self.ranks.add(&session, 1);
            self.sessions.insert(session.hash, session);
        }

        /// Has the next one go.
        fn go(&mut self) -> usize {
            let now = second(self.sessions.len() + 1000);
            let sessions = &self.sessions;
            let next = self.ranks.next(now, |hash| sessions.get(hash).cloned());
            let next = next.unwrap();
            self.ranks.remove(&next);
            self.sessions.remove(&next);
            let (number, _) = next.as_bytes().split_first_chunk().unwrap();
            usize::try_from(u64::from_be_bytes(*number)).unwrap()
        }
    }

    #[test]
    fn the_longest_unused_of_the_user_with_most_goes_first() {
        let mut stage = Stage::default();
        stage.begin(0, "bob");
        for number in 1..=6 {
            stage.begin(number, "mallory");
        }
        stage.begin(7, "carol");
        stage.sessions[&hash(1)].look_at(second(10));
        // Down to as many as a person has, and then whoever was unused for longest.
        assert_eq!([(); 5].map(|()| stage.go()), [2, 3, 0, 4, 5]);
        assert_eq!([(); 3].map(|()| stage.go()), [6, 7, 1]);
        assert!(stage.ranks.users.is_empty() && stage.ranks.by_rank.is_empty());
        assert_eq!(stage.ranks.bytes(), 0);
    }

    /// A subject is a name within an issuer: nobody is made to pay by whoever chose theirs elsewhere.
    #[test]
    fn a_user_is_of_one_issuer() {
        let mut stage = Stage::default();
        stage.begin(0, "alice");
        for number in 1..=9 {
            stage.begin_at("https://other.example", number, "alice");
        }
        assert_eq!([(); 5].map(|()| stage.go()), [1, 2, 3, 4, 5]);
    }

    /// What is open keeps the few sessions of a person, and not the many of one who floods us.
    #[test]
    fn what_is_open_uses_its_session() {
        let mut stage = Stage::default();
        stage.begin(0, "bob");
        let open = stage.sessions[&hash(0)].ending.clone();
        for number in 1..=6 {
            stage.begin(number, "mallory");
        }
        let flooded: Vec<_> = stage.sessions.values().map(|s| s.ending.clone()).collect();
        assert_eq!([(); 2].map(|()| stage.go()), [1, 2]);
        drop(flooded);
        assert_eq!([(); 4].map(|()| stage.go()), [3, 4, 5, 6]);
        drop(open);
        assert_eq!(stage.go(), 0);
    }

    /// Where everybody is busy somebody goes all the same, after a bounded search.
    #[test]
    fn one_goes_though_all_are_busy() {
        let mut stage = Stage::default();
        for number in 0..LOOKED_AT + 500 {
            stage.begin(number, &number.to_string());
        }
        for number in 0..LOOKED_AT + 500 {
            stage.sessions[&hash(number)].look_at(second(10_000 + number));
        }
        assert_eq!(stage.go(), LOOKED_AT);
        assert_eq!(stage.sessions.len(), LOOKED_AT + 499);
    }

    #[test]
    fn what_is_weighed_anew_counts_as_it_is() {
        let mut stage = Stage::default();
        stage.begin(0, "bob");
        assert!(stage.ranks.weigh(&hash(0), 500));
        assert!(!stage.ranks.weigh(&hash(1), 500));
        assert_eq!(stage.ranks.bytes(), 500);
        stage.go();
        assert_eq!(stage.ranks.bytes(), 0);
    }
}
