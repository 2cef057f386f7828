//! Where sessions live: one trait, one implementation a kind of store.

pub mod memory;
pub mod record_store;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::session::id::SessionHash;
use crate::session::record::{Session, Tokens};
use crate::web::ending::EndReason;

/// The store could not be asked. Never a reason to end a session: the answer is 503.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is away, or too slow: this heals by itself.
    #[error("the session store does not answer: {0}")]
    Away(#[source] Cause),
    /// It answers, and will not do until somebody mends it: a wrong password, a schema of a newer
    /// version, a full disk. The cause says what to mend, in one sentence.
    #[error("the session store cannot be used: {0}")]
    Unusable(#[source] Cause),
}

/// What was behind an error.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// How many sessions a subject may have, and what happens beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// At least 1.
    pub most: usize,
    /// What happens to one more.
    pub on_limit: OnLimit,
}

/// What happens when a subject signs in once more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLimit {
    /// The oldest session ends as superseded.
    EndOldest,
    /// The login is refused.
    Refuse,
}

/// A place in the list of all sessions, which stays good while sessions come and go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The lower-cased name of the last row of the page before.
    pub name: Box<str>,
    /// Its hash.
    pub hash: SessionHash,
}

/// A name as the list of sessions sorts it and a search compares it.
pub fn folded(name: &str) -> String {
    name.to_lowercase()
}

/// What a store answers, in its own time.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveOutcome {
    /// It is stored.
    Saved,
    /// The session had ended; nothing was stored, and nothing brings it back (L8).
    Ended,
}

/// Keeps sessions.
pub trait SessionStore: Send + Sync + fmt::Debug {
    /// The session, if this process has it at hand. Never waits: this is the hot path.
    fn at_hand(&self, hash: &SessionHash) -> Option<Arc<Session>>;

    /// The session, wherever it is.
    fn load<'a>(&'a self, hash: &'a SessionHash) -> StoreFuture<'a, Option<Arc<Session>>>;

    /// Takes a new session in; it is kept once this answers.
    fn insert(&self, session: Arc<Session>) -> StoreFuture<'_, ()>;

    /// Replaces the tokens, all at once (L3).
    fn save_tokens<'a>(
        &'a self,
        session: &'a Arc<Session>,
        tokens: Tokens,
    ) -> StoreFuture<'a, SaveOutcome>;

    /// Notes that the session was used.
    fn slide<'a>(
        &'a self,
        session: &'a Arc<Session>,
        now: Timestamp,
    ) -> StoreFuture<'a, SaveOutcome>;

    /// Ends a session: it is gone once this answers. `None` where there was none.
    fn end<'a>(
        &'a self,
        hash: &'a SessionHash,
        reason: EndReason,
    ) -> StoreFuture<'a, Option<Arc<Session>>>;

    /// Ends what has expired at `now`; how many. Called about once a second.
    fn sweep(&self, now: Timestamp) -> usize;

    /// How many sessions there are, about.
    fn count(&self) -> u64;
}
