//! Whether what is remembered of the store is current, and how that is known.
//!
//! A channel that says nothing may be quiet or cut. So each node sends words of its own round it:
//! stores hand on a word behind what they were told before it, so when it comes back, all of that has
//! been heard. The moment it was sent bounds how old a remembered answer is.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Timestamp;

/// What is known of the push channel.
#[derive(Debug)]
pub(super) struct Freshness {
    is_shared: bool,
    bound: Duration,
    /// Since when every event was heard; the end of time while the channel is cut.
    heard_since: AtomicI64,
    /// When the last word was sent that came back; the beginning of time until one does.
    proven: AtomicI64,
    /// Counts what may have kept events from us.
    gaps: AtomicU64,
    /// The count of gaps at which open streams were last looked after.
    looked_after: AtomicU64,
    words: AtomicU64,
}

const CUT: i64 = i64::MAX;
const UNPROVEN: i64 = i64::MIN;

impl Freshness {
    /// Of a store that others may write to, or not; with answers at most `bound` old.
    pub(super) const fn new(is_shared: bool, bound: Duration) -> Self {
        Self {
            is_shared,
            bound,
            heard_since: AtomicI64::new(CUT),
            proven: AtomicI64::new(UNPROVEN),
            gaps: AtomicU64::new(1),
            looked_after: AtomicU64::new(0),
            words: AtomicU64::new(0),
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

    /// How often a word should be sent; `None` where nobody else could be heard.
    pub(super) fn word_every(&self) -> Option<Duration> {
        let fits = self.is_shared && !self.bound.is_zero();
        fits.then(|| (self.bound / 4).clamp(Duration::from_millis(20), Duration::from_secs(1)))
    }

    /// A word that says who sends it and when.
    pub(super) fn next_word(&self, node: &str, now: Timestamp) -> String {
        let number = self.words.fetch_add(1, Ordering::Relaxed);
        format!("{node} {number} {}", now.unix_millis())
    }

    /// A word came back. Those of other nodes prove nothing of ours.
    pub(super) fn echoed(&self, node: &str, word: &str) {
        let sent = word
            .strip_prefix(node)
            .and_then(|rest| rest.rsplit_once(' '))
            .and_then(|(_, sent)| sent.parse().ok());
        if let Some(sent) = sent {
            self.proven.store(sent, Ordering::Release);
        }
    }

    /// Something was heard that could not be looked into: what is open is looked after as after a gap.
    pub(super) fn doubt(&self) {
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
        let word = freshness.next_word("node", sent);
        freshness.echoed("node", &word);
    }

    #[test]
    fn what_is_heard_stays_fresh_as_long_as_words_come_back() {
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
            "the last word is too old"
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
    fn a_word_before_the_gap_proves_nothing_after_it() {
        let freshness = hearing_since(0);
        prove(&freshness, at(100));
        freshness.subscribed(at(200));
        assert!(!freshness.hears_everything(at(1500)));
        freshness.echoed("node", "other 1 1001400");
        assert!(!freshness.hears_everything(at(1500)), "another node's word");
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
        assert_eq!(freshness.word_every(), None);
    }

    #[test]
    fn where_nobody_else_writes_nothing_grows_stale() {
        let freshness = Freshness::new(false, BOUND);
        assert!(freshness.is_fresh(at(0), at(1_000_000_000)));
        assert!(freshness.hears_everything(at(1_000_000_000)));
        assert!(!freshness.is_fresh(Timestamp::from_unix_millis(i64::MIN), at(0)));
    }
}
