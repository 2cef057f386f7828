//! When each session's time is up, as it was when it was last looked at.

use std::collections::{BTreeSet, HashMap};

use crate::clock::Timestamp;
use crate::session::id::SessionHash;
use crate::web::uniform::UniformState;

/// Each session once, at the end that it had when it was put here. One that was used meanwhile is put here
/// again when its turn comes, so that no request is held up by this.
#[derive(Debug, Default)]
pub(super) struct Due {
    order: BTreeSet<(Timestamp, SessionHash)>,
    ends: HashMap<SessionHash, Timestamp, UniformState>,
}

impl Due {
    /// Has a session looked at then, and not before.
    pub(super) fn put(&mut self, hash: SessionHash, end: Timestamp) {
        if let Some(before) = self.ends.insert(hash, end) {
            self.order.remove(&(before, hash));
        }
        self.order.insert((end, hash));
    }

    /// It is gone.
    pub(super) fn remove(&mut self, hash: &SessionHash) {
        if let Some(end) = self.ends.remove(hash) {
            self.order.remove(&(end, *hash));
        }
    }

    /// Whether some session's time is up.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.order.first().is_some_and(|(end, _)| *end <= now)
    }

    /// Takes the next whose time is up.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<SessionHash> {
        if !self.is_due(now) {
            return None;
        }
        let (_, hash) = self.order.pop_first()?;
        self.ends.remove(&hash);
        Some(hash)
    }
}
