//! Where sessions live: one trait, one implementation a kind of store.

pub mod memory;

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
#[error("the session store does not answer")]
pub struct StoreError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

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
