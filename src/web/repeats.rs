//! A warning that a thousand requests have cause to give is given once a minute, with a count of
//! the times it was left out.
//!
//! Whoever may warn often holds one [`Repeats`] and asks it before each warning:
//!
//! ```
//! # use bff::clock::Timestamp;
//! # use bff::web::repeats::Repeats;
//! # let now = Timestamp::from_unix_seconds(0);
//! let warnings = Repeats::default();
//! if let Some(left_out) = warnings.due("unknown key", now) {
//!     tracing::warn!(left_out, "a logout token was signed with a key that nobody knows");
//! }
//! ```
//!
//! The cause tells one warning from the next: a code or a fixed sentence, never a text that a
//! stranger chose.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

/// After a warning, the same one is left out for this long.
const SILENCE: Duration = Duration::from_mins(1);

/// More causes than any part has; beyond them, new ones wait until another's minute is over.
const MOST_CAUSES: usize = 256;

/// Which warnings were given lately.
#[derive(Debug, Default)]
pub struct Repeats(Mutex<HashMap<Box<str>, Given>>);

#[derive(Debug, Clone, Copy)]
struct Given {
    at: Timestamp,
    left_out: u64,
}

impl Repeats {
    /// How often this warning was left out since it was last given, if it is to be given now;
    /// `None` where it was given less than a minute ago, and is counted.
    pub fn due(&self, cause: &str, now: Timestamp) -> Option<u64> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = Given {
            at: now,
            left_out: 0,
        };
        if let Some(given) = all.get_mut(cause) {
            if given.is_fresh(now) {
                given.left_out += 1;
                return None;
            }
            return Some(std::mem::replace(given, first).left_out);
        }
        if all.len() >= MOST_CAUSES {
            all.retain(|_, given| given.is_fresh(now));
        }
        if all.len() >= MOST_CAUSES {
            return None;
        }
        all.insert(cause.into(), first);
        Some(0)
    }
}

impl Given {
    /// A clock that was set back makes nobody wait until it is as late again.
    fn is_fresh(self, now: Timestamp) -> bool {
        self.at <= now && now < self.at + SILENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    /// N4: once a cause and minute, with a count of the rest.
    #[test]
    fn a_warning_is_given_once_a_minute() {
        let warnings = Repeats::default();
        assert_eq!(warnings.due("a", at(0)), Some(0));
        assert_eq!(warnings.due("a", at(1)), None);
        assert_eq!(warnings.due("b", at(1)), Some(0), "another cause");
        assert_eq!(warnings.due("a", at(59)), None);
        assert_eq!(warnings.due("a", at(60)), Some(2));
        assert_eq!(warnings.due("a", at(61)), None);
        // The count waits for as long as nothing happens.
        assert_eq!(warnings.due("a", at(10_000)), Some(1));
        assert_eq!(warnings.due("a", at(9_000)), Some(0), "a clock set back");
    }

    /// Causes without end take no room without end.
    #[test]
    fn causes_are_bounded() {
        let warnings = Repeats::default();
        for cause in 0..2 * MOST_CAUSES {
            warnings.due(&cause.to_string(), at(0));
        }
        assert_eq!(warnings.0.lock().unwrap().len(), MOST_CAUSES);
        assert_eq!(warnings.due("late", at(1)), None);
        assert_eq!(warnings.due("late", at(60)), Some(0));
        assert_eq!(warnings.0.lock().unwrap().len(), 1);
    }
}
