//! How often a token may make us fetch the provider's keys: so often in total, with a share that is
//! kept for each kind of token, so that neither starves the other (D15, D16, E14).

use std::time::Duration;

use crate::clock::Timestamp;

/// Fetches at once, and one more each time that `REFILL` has passed.
///
/// A provider that is being set up rotates its keys a few times within a minute, and both a login
/// and a logout token may be what meets each of them.
const BURST: u32 = 6;
const REFILL: Duration = Duration::from_secs(30);

/// Fetches that only tokens of one source can take.
const KEPT: u32 = 2;

/// Where a token came from that asks for newer keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The provider gave it to us when we called: at a login, at a refresh.
    Provider,
    /// Whoever called us: anyone can make up a logout token with an unknown `kid`.
    Stranger,
}

/// What is looked for in the keys.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// Any keys: there are none.
    Any,
    /// The key that made a signature, by the name that the token gives it.
    Key(Option<&'a str>),
}

/// The token bucket, the shares in it, and what was looked for in vain of late.
///
/// A plain "not within so many seconds of the last" would refuse a rotation that follows the first
/// fetch closely (D16).
pub(super) struct KeyFetches {
    /// In time: a fetch costs `REFILL`. Never less than both shares together.
    level: Duration,
    filled_at: Timestamp,
    provider: Share,
    stranger: Share,
}

#[derive(Default)]
struct Share {
    /// How much of the level is for this source alone.
    kept: Duration,
    in_vain: Vec<InVain>,
}

/// A key that was not in a set fetched for its sake. Only a fetch writes one down, so the bucket
/// bounds how many there are.
struct InVain {
    kid: Option<String>,
    at: Timestamp,
}

impl KeyFetches {
    const FULL: Duration = REFILL.saturating_mul(BURST);
    const FULL_SHARE: Duration = REFILL.saturating_mul(KEPT);

    pub(super) fn new(now: Timestamp) -> Self {
        let full = || Share {
            kept: Self::FULL_SHARE,
            in_vain: Vec::new(),
        };
        Self {
            level: Self::FULL,
            filled_at: now,
            provider: full(),
            stranger: full(),
        }
    }

    /// Whether keys may be fetched now; counts the fetch.
    pub(super) fn take(&mut self, source: Source, wanted: Wanted<'_>, now: Timestamp) -> bool {
        self.refill(now);
        let (own, other) = match source {
            Source::Provider => (&mut self.provider, &self.stranger),
            Source::Stranger => (&mut self.stranger, &self.provider),
        };
        if let Wanted::Key(kid) = wanted
            && own.was_in_vain(kid, now)
        {
            return false;
        }
        match self.level.checked_sub(REFILL) {
            Some(rest) if rest >= other.kept => {
                self.level = rest;
                own.kept = own.kept.saturating_sub(REFILL);
                true
            }
            _ => false,
        }
    }

    /// A fetch did not bring this key. Each source remembers for itself: a stranger's signature
    /// under a `kid` of the provider's must not keep a login from looking.
    pub(super) fn remember(&mut self, source: Source, kid: Option<&str>, now: Timestamp) {
        let share = match source {
            Source::Provider => &mut self.provider,
            Source::Stranger => &mut self.stranger,
        };
        share.in_vain.retain(|one| one.counts(now));
        if !share.was_in_vain(kid, now) {
            share.in_vain.push(InVain {
                kid: kid.map(str::to_owned),
                at: now,
            });
        }
    }

    fn refill(&mut self, now: Timestamp) {
        let passed = now.since(self.filled_at);
        self.level = self.level.saturating_add(passed).min(Self::FULL);
        for share in [&mut self.provider, &mut self.stranger] {
            // Half each, so that the shares never hold more than the level.
            share.kept = share.kept.saturating_add(passed / 2).min(Self::FULL_SHARE);
        }
        // A clock set back must not be a source of fetches.
        self.filled_at = self.filled_at.max(now);
    }
}

impl Share {
    fn was_in_vain(&self, kid: Option<&str>, now: Timestamp) -> bool {
        self.in_vain
            .iter()
            .any(|one| one.kid.as_deref() == kid && one.counts(now))
    }
}

impl InVain {
    /// For as long as one fetch takes to come back into the bucket: whatever is asked for again and
    /// again leaves the rest of it to others. Not before it was, by a clock set back.
    fn counts(&self, now: Timestamp) -> bool {
        now >= self.at && now.since(self.at) < REFILL
    }
}

#[cfg(test)]
mod tests {
    use super::Source::{Provider, Stranger};
    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    fn check(asked: &[(i64, Source, bool)]) {
        let mut fetches = KeyFetches::new(at(0));
        for (turn, (seconds, source, given)) in asked.iter().enumerate() {
            let taken = fetches.take(*source, Wanted::Any, at(*seconds));
            assert_eq!(taken, *given, "{turn}: {source:?} at {seconds} s");
        }
    }

    /// D16: a burst in total, then one each 30 s, never more than the burst saved up; a clock that
    /// goes back gives nothing.
    #[test]
    fn fetches_are_rationed() {
        let alone = [
            (0, true),
            (0, true),
            (0, true),
            (0, true),
            (0, false),
            (29, false),
            (30, true),
            (31, false),
            (59, false),
            (0, false),
            (60, true),
            (60, false),
        ];
        check(&alone.map(|(seconds, given)| (seconds, Provider, given)));
        let mut fetches = KeyFetches::new(at(0));
        let mut given = 0;
        for seconds in 0..10_000 {
            for source in [Provider, Stranger, Stranger] {
                given += u32::from(fetches.take(source, Wanted::Any, at(seconds)));
            }
        }
        assert!((BURST..=BURST + 10_000 / 30).contains(&given), "{given}");
    }

    /// D16, E14: a flood of either leaves the other its share, at once and for as long as it lasts.
    #[test]
    fn neither_starves_the_other() {
        for (flood, other) in [(Stranger, Provider), (Provider, Stranger)] {
            check(&[
                (0, flood, true),
                (0, flood, true),
                (0, flood, true),
                (0, flood, true),
                (0, flood, false),
                (0, other, true),
                (0, flood, false),
                (0, other, true),
                (0, other, false),
            ]);
            let mut fetches = KeyFetches::new(at(0));
            let mut given = 0;
            for seconds in 0..3_600 {
                fetches.take(flood, Wanted::Any, at(seconds));
                if seconds % 60 == 59 {
                    given += usize::from(fetches.take(other, Wanted::Any, at(seconds)));
                }
            }
            assert_eq!(given, 60, "{flood:?} floods; one a minute is kept");
        }
    }

    /// D16: a key that was just looked for in vain is not looked for again, by the same source; that
    /// takes nothing from the others, and gives nobody more.
    #[test]
    fn a_key_is_not_looked_for_twice_at_once() {
        let mut fetches = KeyFetches::new(at(100));
        let gone = Wanted::Key(Some("gone"));
        assert!(fetches.take(Stranger, gone, at(100)));
        fetches.remember(Stranger, Some("gone"), at(100));
        for _ in 0..100 {
            assert!(!fetches.take(Stranger, gone, at(129)));
        }
        assert!(fetches.take(Provider, gone, at(100)), "another's memory");
        for other in [Wanted::Key(None), Wanted::Key(Some("new")), Wanted::Any] {
            assert!(fetches.take(Stranger, other, at(100)), "{other:?}");
        }
        assert!(!fetches.take(Stranger, gone, at(129)));
        assert!(fetches.take(Stranger, gone, at(160)), "later");
        // A clock set back puts off no key's turn, and what is over takes no room.
        fetches.remember(Stranger, Some("late"), at(1_000_000));
        assert_eq!(fetches.stranger.in_vain.len(), 1);
        assert!(fetches.take(Stranger, Wanted::Key(Some("late")), at(1_000)));
    }
}
