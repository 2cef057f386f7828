//! How often a login has been tried in a row: the count travels sealed in the `state`, since a
//! cookie that the browser loses cannot count.

use std::time::Duration;

use crate::clock::{Randomness, Timestamp};
use crate::session::seal::{FieldReader, FieldWriter, Keys};

/// Logins that failed within this time belong together.
pub(in crate::auth) const WITHIN: Duration = Duration::from_mins(1);

/// So many in a row are no accident: one more would fail as well.
pub(in crate::auth) const MOST: usize = 3;

/// What the count is sealed for.
const PLACE: &str = "login attempts";

/// Logins that failed one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::auth) struct Attempts(Option<Counted>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted {
    failed: usize,
    since: Timestamp,
}

impl Attempts {
    /// Nothing was counted.
    pub(in crate::auth) const NONE: Self = Self(None);

    /// One more that failed, `now`.
    #[must_use]
    pub(in crate::auth) fn and_one_more(self, now: Timestamp) -> Self {
        let counted = match self.0 {
            Some(counted) if now < counted.since + WITHIN => Counted {
                failed: counted.failed.saturating_add(1),
                ..counted
            },
            _ => Counted {
                failed: 1,
                since: now,
            },
        };
        Self(Some(counted))
    }

    /// Whether the next would only be another.
    pub(in crate::auth) fn are_too_many(self) -> bool {
        self.0.is_some_and(|counted| counted.failed >= MOST)
    }

    /// The count as it travels; none where there is nothing to count.
    pub(in crate::auth) fn seal(self, keys: &Keys, randomness: &dyn Randomness) -> Option<String> {
        let counted = self.0?;
        let fields = FieldWriter::default()
            .number(i64::try_from(counted.failed).unwrap_or(i64::MAX))
            .number(counted.since.unix_millis());
        Some(keys.seal(PLACE, fields.finish(), randomness))
    }

    /// The count that `text` is; nothing was counted where it is none of ours.
    pub(in crate::auth) fn open(keys: &Keys, text: &str) -> Self {
        let counted = || {
            let plaintext = keys.open(PLACE, text.as_bytes())?;
            let mut fields = FieldReader::new(&plaintext);
            Some(Counted {
                failed: usize::try_from(fields.number()?).ok()?,
                since: Timestamp::from_unix_millis(fields.number()?),
            })
        };
        Self(counted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SeededRandomness;
    use crate::secret::SessionKey;

    /// Three within a minute are too many, also over the way through an address; three in an hour
    /// are not, and a count that somebody made up counts nothing.
    #[test]
    fn three_within_a_minute_are_too_many() {
        let randomness = SeededRandomness::new(1);
        let keys = Keys::of(&SessionKey::random(&randomness));
        let start = Timestamp::from_unix_seconds(1_000_000);
        for (name, pause, expected) in [("at once", 1, true), ("every minute", 60, false)] {
            let mut attempts = Attempts::NONE;
            for nth in 1..=3_u64 {
                let now = start + Duration::from_secs(nth * pause);
                let text = attempts.seal(&keys, &randomness).unwrap_or_default();
                attempts = Attempts::open(&keys, &text).and_one_more(now);
                let is_last = nth == 3;
                assert_eq!(attempts.are_too_many(), is_last && expected, "{name} {nth}");
            }
        }
        assert_eq!(Attempts::open(&keys, "AAAA"), Attempts::NONE);
        assert_eq!(Attempts::NONE.seal(&keys, &randomness), None);
    }
}
