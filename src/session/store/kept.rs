//! Small values that are kept in this process for a while: states that were used, logout tokens that
//! were seen, ways to the provider's logout.
//!
//! Nothing is pushed out before its time, or a used callback would reach the token endpoint again
//! (C6) and a used logout token be taken again (E9). What strangers can have kept is bounded by whoever
//! lets them (`web/strangers/`); the bound here is only against faults of our own.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use crate::clock::Timestamp;

/// At about 200 bytes each.
const MOST: usize = 1_000_000;

/// What is kept, by its key.
#[derive(Debug, Default)]
pub(super) struct Kept {
    values: HashMap<Arc<str>, Value>,
    /// Each key once for each time that it was kept, by when that ends.
    ends: BinaryHeap<Reverse<(Timestamp, Arc<str>)>>,
}

#[derive(Debug)]
struct Value {
    bytes: Box<[u8]>,
    until: Timestamp,
}

/// No more is taken in.
#[derive(Debug, thiserror::Error)]
#[error("{MOST} small values are kept already, which no use of them explains")]
pub(super) struct Full;

impl Kept {
    /// Keeps a value, if there is none under its key: whether this was the first.
    ///
    /// # Errors
    ///
    /// More is kept than there can be cause for.
    pub(super) fn keep(
        &mut self,
        key: &str,
        bytes: &[u8],
        until: Timestamp,
        now: Timestamp,
    ) -> Result<bool, Full> {
        self.let_go(now);
        if self.values.contains_key(key) {
            return Ok(false);
        }
        if self.values.len() >= MOST {
            return Err(Full);
        }
        let key: Arc<str> = key.into();
        let bytes = bytes.into();
        self.values.insert(Arc::clone(&key), Value { bytes, until });
        self.ends.push(Reverse((until, key)));
        Ok(true)
    }

    /// Looks at a value.
    pub(super) fn peek(&self, key: &str, now: Timestamp) -> Option<Vec<u8>> {
        let value = self.values.get(key)?;
        (now < value.until).then(|| value.bytes.to_vec())
    }

    /// Takes a value out.
    pub(super) fn take(&mut self, key: &str, now: Timestamp) -> Option<Vec<u8>> {
        let value = self.values.remove(key)?;
        (now < value.until).then(|| value.bytes.into())
    }

    fn let_go(&mut self, now: Timestamp) {
        while let Some(Reverse((until, _))) = self.ends.peek()
            && *until <= now
            && let Some(Reverse((_, key))) = self.ends.pop()
        {
            // It may have been taken since, and kept again for longer.
            if self
                .values
                .get(&key)
                .is_some_and(|value| value.until <= now)
            {
                self.values.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);
    const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);

    /// C6, E9: what is kept is forgotten in its time, by the clock that is passed in.
    #[test]
    fn a_kept_value_has_its_time() {
        let mut kept = Kept::default();
        let keep = |kept: &mut Kept, now| kept.keep("key", b"new", now + MINUTE, now).unwrap();
        assert!(keep(&mut kept, NOW));
        assert!(!keep(&mut kept, NOW));
        assert!(keep(&mut kept, NOW + MINUTE));
        assert_eq!(kept.take("key", NOW + MINUTE).unwrap(), b"new");
        assert_eq!(kept.take("key", NOW + MINUTE), None);
        assert!(keep(&mut kept, NOW + MINUTE));
        // The end of the value that was taken does not take this one along.
        assert!(!keep(&mut kept, NOW + MINUTE + MINUTE / 2));
        assert_eq!(kept.take("key", NOW + 3 * MINUTE), None);
        kept.let_go(NOW + 3 * MINUTE);
        assert!(kept.values.is_empty() && kept.ends.is_empty());
    }

    /// C6, E9: a flood pushes nothing out that counts still.
    #[test]
    fn what_is_kept_is_not_pushed_out() {
        let mut kept = Kept::default();
        assert!(kept.keep("used", b"", NOW + MINUTE, NOW).unwrap());
        for flood in 0..101_000 {
            let fresh = kept.keep(&flood.to_string(), b"", NOW + MINUTE, NOW);
            assert!(fresh.unwrap());
        }
        assert!(!kept.keep("used", b"", NOW + MINUTE, NOW).unwrap());
    }
}
