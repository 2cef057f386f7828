//! Whether what is remembered of the store is current, and how that is known.
//!
//! A channel that says nothing may be quiet or cut. So each node sends heartbeats of its own round it:
//! stores hand on a heartbeat behind what they were told before it, so when it comes back, all of that has
//! been heard. The moment it was sent bounds how old a remembered answer is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::session::store::record_store::Server;

/// What is known of the push channel.
#[derive(Debug)]
pub(super) struct Freshness {
    is_shared: bool,
    bound: Duration,
    /// Since when every event was heard; the end of time while the channel is cut.
    heard_since: AtomicI64,
    /// When the last heartbeat was sent that came back; the beginning of time until one does.
    proven: AtomicI64,
    /// Our heartbeats on their way.
    heartbeats: Mutex<Heartbeats>,
    /// Counts what may have kept events from us.
    gaps: AtomicU64,
    /// The count of gaps at which open streams were last looked after.
    looked_after: AtomicU64,
}

/// Our heartbeats on their way, by their numbers; none before one that came back.
#[derive(Debug, Default)]
struct Heartbeats {
    count: u64,
    under_way: BTreeMap<u64, UnderWay>,
}

/// A heartbeat on its way.
#[derive(Debug)]
struct UnderWay {
    said: Timestamp,
    /// By which servers it came.
    came: BTreeSet<usize>,
}

/// How many heartbeats may be on their way. More are, where a server hangs: then the older give way.
const HEARTBEATS: usize = 64;

const CUT: i64 = i64::MAX;
const UNPROVEN: i64 = i64::MIN;

impl Freshness {
    /// Of a store that others may write to, or not; with answers at most `bound` old.
    pub(super) fn new(is_shared: bool, bound: Duration) -> Self {
        Self {
            is_shared,
            bound,
            heard_since: AtomicI64::new(CUT),
            proven: AtomicI64::new(UNPROVEN),
            heartbeats: Mutex::default(),
            gaps: AtomicU64::new(1),
            looked_after: AtomicU64::new(0),
        }
    }

    /// Whether what was known at `known_at` may be answered at `now`.
    pub(super) fn is_fresh(&self, known_at: Timestamp, now: Timestamp) -> bool {
        if !self.is_shared {
            return known_at.unix_millis() != i64::MIN;
        }
        let known_at = known_at.unix_millis();
        if self.heard_since.load(Ordering::Acquire) <= known_at {
            let proven = self.proven.load(Ordering::Acquire);
            return self.is_within(proven.max(known_at), now);
        }
        self.is_within(known_at, now)
    }

    /// Whether no event can have been missed within the bound.
    pub(super) fn hears_everything(&self, now: Timestamp) -> bool {
        !self.is_shared || self.is_within(self.proven.load(Ordering::Acquire), now)
    }

    fn is_within(&self, moment: i64, now: Timestamp) -> bool {
        let age = now.unix_millis().saturating_sub(moment);
        // A moment ahead of us is of a clock that was put back: it proves nothing.
        let age = u64::try_from(age).ok().map(Duration::from_millis);
        !self.bound.is_zero() && age.is_some_and(|age| age <= self.bound)
    }

    /// The channel stands since `now`.
    pub(super) fn subscribed(&self, now: Timestamp) {
        self.heartbeats().under_way.clear();
        self.proven.store(UNPROVEN, Ordering::Release);
        self.heard_since.store(now.unix_millis(), Ordering::Release);
        self.gaps.fetch_add(1, Ordering::AcqRel);
    }

    /// The channel is cut.
    pub(super) fn unsubscribed(&self) {
        self.heard_since.store(CUT, Ordering::Release);
        self.proven.store(UNPROVEN, Ordering::Release);
        self.gaps.fetch_add(1, Ordering::AcqRel);
    }

    /// How often a heartbeat should be sent; `None` where nobody else could be heard.
    pub(super) fn heartbeat_every(&self) -> Option<Duration> {
        const MOST: Duration = Duration::from_secs(1);
        let every = if self.bound.is_zero() {
            MOST
        } else {
            (self.bound / 4).clamp(Duration::from_millis(20), MOST)
        };
        self.is_shared.then_some(every)
    }

    /// The number of the heartbeat that is said at `now`.
    pub(super) fn next_heartbeat(&self, now: Timestamp) -> u64 {
        let mut heartbeats = self.heartbeats();
        heartbeats.count += 1;
        let number = heartbeats.count;
        let heartbeat = UnderWay {
            said: now,
            came: BTreeSet::new(),
        };
        heartbeats.under_way.insert(number, heartbeat);
        if heartbeats.under_way.len() > HEARTBEATS {
            heartbeats.under_way.pop_first();
        }
        number
    }

    /// A heartbeat of ours came back by one of the servers. It proves that we hear everything once it came
    /// by all of them; one that comes again, or behind a later one, proves nothing.
    pub(super) fn came_back(&self, number: u64, by: Server) {
        let mut heartbeats = self.heartbeats();
        let Some(heartbeat) = heartbeats.under_way.get_mut(&number) else {
            return;
        };
        heartbeat.came.insert(by.number);
        if heartbeat.came.len() >= by.of {
            self.proven
                .store(heartbeat.said.unix_millis(), Ordering::Release);
            heartbeats.under_way = heartbeats.under_way.split_off(&(number + 1));
        }
    }

    fn heartbeats(&self) -> MutexGuard<'_, Heartbeats> {
        self.heartbeats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was heard that could not be looked into: what is open is looked after as after a gap.
    pub(super) fn invalidate(&self) {
        self.gaps.fetch_add(1, Ordering::AcqRel);
    }

    /// The count of gaps, if open streams have not been looked after since the last.
    pub(super) fn unlooked_gap(&self) -> Option<u64> {
        let gaps = self.gaps.load(Ordering::Acquire);
        (self.looked_after.load(Ordering::Acquire) != gaps).then_some(gaps)
    }

    /// Open streams were looked after at this count of gaps.
    pub(super) fn looked_after(&self, gaps: u64) {
        self.looked_after.store(gaps, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(1);

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_unix_millis(1_000_000 + millis)
    }

    fn hearing_since(millis: i64) -> Freshness {
        let freshness = Freshness::new(true, BOUND);
        freshness.subscribed(at(millis));
        freshness
    }

    fn prove(freshness: &Freshness, sent: Timestamp) {
        freshness.came_back(freshness.next_heartbeat(sent), Server::ONLY);
    }

    #[test]
    fn what_is_heard_stays_fresh_as_long_as_heartbeats_come_back() {
        let freshness = hearing_since(0);
        for second in 1..100 {
            prove(&freshness, at(second * 1000));
            assert!(
                freshness.is_fresh(at(500), at(second * 1000 + 900)),
                "{second}"
            );
        }
        assert!(freshness.is_fresh(at(500), at(100_000)));
        assert!(
            !freshness.is_fresh(at(500), at(100_001)),
            "the last heartbeat is too old"
        );
    }

    #[test]
    fn what_was_known_before_a_gap_is_fresh_for_the_bound_alone() {
        let freshness = hearing_since(0);
        prove(&freshness, at(100));
        freshness.unsubscribed();
        assert!(freshness.is_fresh(at(50), at(1050)));
        assert!(!freshness.is_fresh(at(50), at(1051)));
        freshness.subscribed(at(2000));
        prove(&freshness, at(2100));
        assert!(
            !freshness.is_fresh(at(50), at(2200)),
            "an event may have been missed"
        );
        assert!(freshness.is_fresh(at(2001), at(2200)));
    }

    #[test]
    fn a_heartbeat_before_the_gap_proves_nothing_after_it() {
        let freshness = hearing_since(0);
        prove(&freshness, at(100));
        freshness.subscribed(at(200));
        assert!(!freshness.hears_everything(at(1500)));
        prove(&freshness, at(1400));
        assert!(freshness.hears_everything(at(1500)));
    }

    #[test]
    fn a_clock_put_back_proves_nothing() {
        let freshness = hearing_since(0);
        prove(&freshness, at(5000));
        assert!(!freshness.is_fresh(at(100), at(4000)));
        assert!(!freshness.is_fresh(at(4500), at(4000)));
    }

    #[test]
    fn without_a_bound_each_look_goes_to_the_store() {
        let freshness = Freshness::new(true, Duration::ZERO);
        freshness.subscribed(at(0));
        prove(&freshness, at(0));
        assert!(!freshness.is_fresh(at(0), at(0)));
        assert_eq!(freshness.heartbeat_every(), Some(Duration::from_secs(1)));
    }

    /// Whoever may speak on the channel can send our heartbeats once more, and make up others.
    #[test]
    fn a_heartbeat_proves_once_and_none_was_said_before_it_was() {
        let freshness = hearing_since(0);
        let (first, second) = (
            freshness.next_heartbeat(at(1000)),
            freshness.next_heartbeat(at(2000)),
        );
        freshness.came_back(second, Server::ONLY);
        assert!(freshness.hears_everything(at(3000)));
        for number in [first, second, second + 1] {
            freshness.came_back(number, Server::ONLY);
            assert!(freshness.hears_everything(at(3000)), "heartbeat {number}");
            assert!(!freshness.hears_everything(at(3001)), "heartbeat {number}");
        }
    }

    /// What one server of a Cluster told says nothing of what the other did.
    #[test]
    fn a_heartbeat_proves_when_it_came_by_all_servers() {
        let freshness = hearing_since(0);
        let by = |number| Server { number, of: 3 };
        let heartbeat = freshness.next_heartbeat(at(1000));
        for number in [0, 2, 0] {
            freshness.came_back(heartbeat, by(number));
            assert!(!freshness.hears_everything(at(1000)));
        }
        freshness.came_back(heartbeat, by(1));
        assert!(freshness.hears_everything(at(1000)));
        for _ in 0..2 * HEARTBEATS {
            freshness.came_back(freshness.next_heartbeat(at(1100)), by(0));
        }
        assert_eq!(freshness.heartbeats().under_way.len(), HEARTBEATS);
    }

    #[test]
    fn where_nobody_else_writes_nothing_grows_stale() {
        let freshness = Freshness::new(false, BOUND);
        assert!(freshness.is_fresh(at(0), at(1_000_000_000)));
        assert!(freshness.hears_everything(at(1_000_000_000)));
        assert!(!freshness.is_fresh(Timestamp::from_unix_millis(i64::MIN), at(0)));
    }
}
