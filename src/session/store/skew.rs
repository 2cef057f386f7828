//! Whose clock is right: how far this node's is from the store's, which all nodes share, and what
//! follows from it.
//!
//! Each node measures that, and tells the others with its heartbeats. One that differs where most agree with
//! the store is wrong: it goes by the store's time and is not ready. Where most differ, or where there
//! is nobody to ask, either may be wrong, and the earlier of the two decides: no session ends by a clock
//! that another contradicts. And who differs cleans nothing up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{Clock, Timestamp};
use crate::session::store::Condition;
use crate::session::store::voice::Heartbeat;

/// Clocks that differ by no more are taken to agree, in milliseconds.
const TOLERANCE: i64 = 30_000;

/// A measurement that took longer says too little.
const TRIP: Duration = Duration::from_secs(2);

/// What moves by less is the measurement's own blur, in milliseconds.
const BLUR: i64 = 1_000;

/// What a node last said of its clock is believed for this long; a heartbeat that is older when it comes was
/// sent round by somebody else.
const BELIEVED_FOR: Duration = Duration::from_secs(10);

/// Nodes whose heartbeats are remembered. Of a larger house these are a sample, which is as good a judge.
const NODES: usize = 256;

const UNKNOWN: i64 = i64::MIN;

/// What is known of the clocks of this house.
#[derive(Debug)]
pub(super) struct Skew {
    own: Arc<dyn Clock>,
    /// How far our clock is ahead of the store's, in milliseconds.
    ahead: AtomicI64,
    /// What is taken off our clock before anything is judged by it.
    correction: AtomicI64,
    others: Mutex<HashMap<Box<str>, Other>>,
    verdict: Mutex<Verdict>,
}

#[derive(Debug)]
struct Other {
    ahead: i64,
    heard: Instant,
}

/// Which clock is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// None, as far as is known.
    None,
    /// Ours or the store's; there is nobody to ask.
    One,
    /// Ours.
    Ours,
    /// The store's.
    Stores,
}

/// The time by which sessions live: our clock's, put right.
#[derive(Debug)]
pub(super) struct HouseClock(pub(super) Arc<Skew>);

impl Clock for HouseClock {
    fn now(&self) -> Timestamp {
        let correction = self.0.correction.load(Ordering::Relaxed);
        Timestamp::from_unix_millis(self.0.own.now().unix_millis().saturating_sub(correction))
    }
}

impl Skew {
    /// Nothing was measured yet, and `own` is taken to be right.
    pub(super) fn new(own: Arc<dyn Clock>) -> Self {
        Self {
            own,
            ahead: AtomicI64::new(UNKNOWN),
            correction: AtomicI64::new(0),
            others: Mutex::default(),
            verdict: Mutex::new(Verdict::None),
        }
    }

    /// Our clock as it stands.
    pub(super) fn own_now(&self) -> Timestamp {
        self.own.now()
    }

    /// How far our clock is ahead of the store's, in milliseconds, where that is known.
    pub(super) fn ahead(&self) -> Option<i64> {
        let ahead = self.ahead.load(Ordering::Relaxed);
        (ahead != UNKNOWN).then_some(ahead)
    }

    /// Whether our clock and the store's differ, whichever is wrong.
    pub(super) fn differs(&self) -> bool {
        self.ahead().is_some_and(is_far)
    }

    /// The store showed `there` between two looks at our own clock.
    pub(super) fn measured(&self, before: Timestamp, there: Timestamp, after: Timestamp) {
        let (before, after) = (before.unix_millis(), after.unix_millis());
        let trip = after.saturating_sub(before);
        if !(0..=millis(TRIP)).contains(&trip) {
            // Slow, or our clock was moved meanwhile. The next one tells.
            return;
        }
        let ahead = before
            .saturating_add(trip / 2)
            .saturating_sub(there.unix_millis());
        self.ahead.store(ahead, Ordering::Relaxed);
        self.judge();
    }

    /// Another node's heartbeat.
    pub(super) fn heard(&self, heartbeat: &Heartbeat) {
        let (Some(theirs), Some(ours)) = (heartbeat.ahead, self.ahead()) else {
            return;
        };
        // Both in the store's time.
        let said = heartbeat.said.unix_millis().saturating_sub(theirs);
        let now = self.own.now().unix_millis().saturating_sub(ours);
        if now.abs_diff(said) > BELIEVED_FOR.as_millis().try_into().unwrap_or(u64::MAX) {
            return;
        }
        let other = Other {
            ahead: theirs,
            heard: Instant::now(),
        };
        let mut others = self.others();
        if others.len() < NODES || others.contains_key(&heartbeat.node) {
            others.insert(heartbeat.node.clone(), other);
        }
        drop(others);
        self.judge();
    }

    /// How this node is, for `/readyz`.
    pub(super) fn condition(&self) -> Condition {
        self.judge();
        let verdict = *lock(&self.verdict);
        match sentence(verdict, self.ahead().unwrap_or_default()) {
            None => Condition::Well,
            Some(sentence) if verdict == Verdict::Ours => Condition::Unwell(sentence),
            Some(sentence) => Condition::Noticed(sentence),
        }
    }

    fn judge(&self) {
        let Some(ours) = self.ahead() else {
            return;
        };
        let verdict = {
            let mut others = self.others();
            others.retain(|_, other| other.heard.elapsed() <= BELIEVED_FOR);
            verdict(ours, others.values().map(|other| other.ahead))
        };
        let correction = match verdict {
            Verdict::None => 0,
            Verdict::One | Verdict::Stores => ours.max(0),
            Verdict::Ours => ours,
        };
        let before = self.correction.load(Ordering::Relaxed);
        if correction == 0 || correction.abs_diff(before) > BLUR.unsigned_abs() {
            self.correction.store(correction, Ordering::Relaxed);
        }
        let before = std::mem::replace(&mut *lock(&self.verdict), verdict);
        if before != verdict {
            if let Some(sentence) = sentence(verdict, ours) {
                tracing::warn!(event = "clock.differs", ahead_ms = ours, "{sentence}");
            } else {
                tracing::info!(
                    event = "clock.agrees",
                    "this node's clock agrees with the session store's again"
                );
            }
        }
    }

    fn others(&self) -> MutexGuard<'_, HashMap<Box<str>, Other>> {
        lock(&self.others)
    }
}

/// Who is wrong, given how far ahead of the store we are and the others say they are. The store has a
/// voice as well: where as many differ as agree, it is right.
fn verdict(ours: i64, others: impl Iterator<Item = i64>) -> Verdict {
    if !is_far(ours) {
        return Verdict::None;
    }
    let (mut nodes, mut far) = (1_usize, 1_usize);
    for other in others {
        nodes += 1;
        far += usize::from(is_far(other));
    }
    match nodes {
        1 => Verdict::One,
        _ if 2 * far > nodes => Verdict::Stores,
        _ => Verdict::Ours,
    }
}

fn is_far(ahead: i64) -> bool {
    ahead.unsigned_abs() > TOLERANCE.unsigned_abs()
}

fn sentence(verdict: Verdict, ahead: i64) -> Option<String> {
    let seconds = ahead.unsigned_abs() / 1000;
    let where_ = if ahead < 0 { "behind" } else { "ahead of" };
    let differs = format!("the clock of this node is {seconds} s {where_} the session store's");
    match verdict {
        Verdict::None => None,
        Verdict::One => Some(format!(
            "{differs}, and no other node tells which is right: sessions live by the earlier, and \
             none is cleaned up; set both by NTP"
        )),
        Verdict::Ours => Some(format!(
            "{differs}, and most nodes agree with the store: set this node's by NTP; until then it \
             goes by the store's and ends no session by itself"
        )),
        Verdict::Stores => Some(format!(
            "{differs}, and most nodes' differ from it: set the store's and theirs by NTP; until then \
             sessions live by the earlier, and none is cleaned up"
        )),
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const MINUTE: i64 = 60_000;
    /// 2026-11-21T09:00:00Z, by the store's clock.
    const NINE: i64 = 1_795_251_600_000;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_unix_millis(millis)
    }

    /// A node whose clock is so far ahead, just measured.
    fn node(ahead: i64) -> Arc<Skew> {
        let clock = ManualClock::starting_at(at(NINE + ahead));
        let skew = Skew::new(Arc::new(clock));
        skew.measured(at(NINE + ahead), at(NINE), at(NINE + ahead));
        Arc::new(skew)
    }

    fn heartbeat(node: &str, ahead: i64) -> Heartbeat {
        Heartbeat {
            node: node.into(),
            number: 1,
            said: at(NINE + ahead),
            ahead: Some(ahead),
        }
    }

    #[test]
    fn the_many_are_right() {
        let off = 31 * MINUTE;
        let cases: &[(&str, i64, &[i64], Verdict)] = &[
            ("alone and right", 0, &[], Verdict::None),
            ("within the tolerance", TOLERANCE, &[0, 0], Verdict::None),
            ("alone", off, &[], Verdict::One),
            ("one of two", off, &[0], Verdict::Ours),
            ("behind", -off, &[0], Verdict::Ours),
            ("both of two", off, &[off], Verdict::Stores),
            ("one of three", off, &[0, 900], Verdict::Ours),
            ("two of three", off, &[-off, 0], Verdict::Stores),
            (
                "two of four: the store decides",
                off,
                &[off, 0, 0],
                Verdict::Ours,
            ),
            ("the right one of three", 0, &[off, off], Verdict::None),
        ];
        for (name, ours, others, expected) in cases {
            assert_eq!(verdict(*ours, others.iter().copied()), *expected, "{name}");
        }
    }

    #[test]
    fn the_time_of_the_house() {
        let off = 31 * MINUTE;
        let cases: &[(&str, i64, &[i64], i64)] = &[
            ("all agree", 900, &[0], NINE + 900),
            ("ahead of the others", off, &[0], NINE),
            ("behind the others", -off, &[0], NINE),
            ("most are ahead: the earlier", off, &[off], NINE),
            ("most are behind: the earlier", -off, &[-off], NINE - off),
            ("alone and ahead: the earlier", off, &[], NINE),
            ("alone and behind: the earlier", -off, &[], NINE - off),
        ];
        for (name, ours, others, expected) in cases {
            let skew = node(*ours);
            for (number, other) in others.iter().enumerate() {
                skew.heard(&heartbeat(&number.to_string(), *other));
            }
            let clock = HouseClock(Arc::clone(&skew));
            assert_eq!(clock.now().unix_millis(), *expected, "{name}");
        }
    }

    #[test]
    fn only_the_odd_one_out_is_not_ready() {
        let off = 31 * MINUTE;
        let odd = node(off);
        assert!(matches!(odd.condition(), Condition::Noticed(_)));
        odd.heard(&heartbeat("other", 0));
        let Condition::Unwell(sentence) = odd.condition() else {
            panic!("{odd:?}");
        };
        assert!(sentence.contains("1860 s ahead of"), "{sentence}");
        odd.heard(&heartbeat("a third", off));
        assert!(matches!(odd.condition(), Condition::Noticed(_)));
        odd.measured(at(NINE + 5), at(NINE), at(NINE + 15));
        assert_eq!(odd.condition(), Condition::Well);
        assert_eq!(odd.ahead(), Some(10));
    }

    /// A heartbeat is sealed, so it can only be said once more; by then it is old.
    #[tokio::test(start_paused = true)]
    async fn an_old_word_counts_for_nothing() {
        let skew = node(31 * MINUTE);
        let mut old = heartbeat("other", 0);
        old.said = old.said - Duration::from_secs(11);
        skew.heard(&old);
        assert_eq!(*lock(&skew.verdict), Verdict::One);
        skew.heard(&heartbeat("other", 0));
        assert_eq!(*lock(&skew.verdict), Verdict::Ours);
        tokio::time::advance(BELIEVED_FOR + Duration::from_millis(1)).await;
        skew.judge();
        assert_eq!(*lock(&skew.verdict), Verdict::One, "it fell silent");
    }

    #[test]
    fn a_slow_measurement_is_none() {
        let skew = node(0);
        skew.measured(at(NINE), at(NINE - 31 * MINUTE), at(NINE + 2001));
        skew.measured(at(NINE + 100), at(NINE - 31 * MINUTE), at(NINE));
        assert_eq!(skew.ahead(), Some(0));
    }
}
