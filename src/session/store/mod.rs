//! Where sessions live: one trait, one implementation a kind of store.

pub mod cookie;
pub mod directory;
mod due;
mod freshness;
mod health;
mod kept;
mod limit;
pub mod memory;
pub mod near_cache;
mod notes;
pub mod record_store;
#[cfg(feature = "redis")]
pub mod redis;
mod revocations;
pub(in crate::session) mod sealed;
mod shelf;
mod skew;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub mod sql;
#[cfg_attr(
    not(any(feature = "redis", feature = "postgres")),
    expect(dead_code, reason = "a store of one process has no channel")
)]
pub mod voice;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::session::id::SessionHash;
use crate::session::record::Session;
use crate::session::tokens::Tokens;
use crate::web::ending::EndReason;

pub use directory::{
    At, Cursor, Directory, Listed, Recency, SiteFilter, Who, Within, begins_a_word, folded,
};
pub use limit::{Limit, LimitScope, OnLimit};
pub use notes::{Note, Notes};

/// The store could not be asked. Never a reason to end a session: the answer is 503.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is away, or too slow: this heals by itself.
    #[error("the session store does not answer: {0}")]
    Away(#[source] Cause),
    /// Another process has it, and it serves one: this heals once that process ends.
    #[error("the session store does not answer: {0}")]
    Taken(#[source] Cause),
    /// It answers, and will not do until somebody mends it: a wrong password, a schema of a newer
    /// version, a full disk. The cause says what to mend, in one sentence.
    #[error("the session store cannot be used: {0}")]
    Unusable(#[source] Cause),
}

/// What was behind an error.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What a store answers, in its own time.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What is found under a hash.
#[derive(Debug, Clone)]
pub enum Found {
    /// A session, which may have run into a limit.
    Live(Arc<Session>),
    /// It was ended, and this is why.
    Ended(EndReason),
    /// Nothing, or nothing any more.
    Nothing,
}

impl Found {
    /// The session, if it lives.
    pub fn live(self) -> Option<Arc<Session>> {
        match self {
            Self::Live(session) => Some(session),
            Self::Ended(_) | Self::Nothing => None,
        }
    }
}

/// What became of new tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveOutcome {
    /// They are stored.
    Saved,
    /// The session had ended; nothing was stored, and nothing brings it back (L8).
    Ended,
    /// Others had come first, and stand.
    Overtaken,
}

/// What became of a new session.
#[derive(Debug)]
pub enum Admission {
    /// It is kept, in the place of these, which have ended.
    Admitted(Vec<Over>),
    /// The user has as many as there may be.
    Refused,
}

/// A session that a step ended on its way.
#[derive(Debug)]
pub struct Over {
    /// As it was last stored.
    pub session: Arc<Session>,
    /// Why it ended.
    pub reason: EndReason,
}

/// The memory of this process that sessions take, about, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// That they take.
    pub used: u64,
    /// That they may take.
    pub most: u64,
}

/// Finds and keeps sessions, as this process sees them; lists them, keeps notes, and lets one node alone
/// refresh.
pub trait SessionStore: Directory + Notes + Lease + Send + Sync + fmt::Debug {
    /// The session, if this process has it at hand and knows it to be current. Never waits: this is
    /// the hot path.
    fn at_hand(&self, hash: &SessionHash, now: Timestamp) -> Option<Arc<Session>>;

    /// The session, wherever it is, as it is now.
    fn find<'a>(&'a self, hash: &'a SessionHash, now: Timestamp) -> StoreFuture<'a, Found>;

    /// Takes a new session in; it is kept once this answers. The oldest of the same user beyond the
    /// limit are ended as superseded, on every node and however many log in at once. A store that has no room
    /// ends others as evicted.
    fn insert(
        &self,
        session: Arc<Session>,
        limit: Option<Limit>,
        now: Timestamp,
    ) -> StoreFuture<'_, Admission>;

    /// Replaces the tokens, all at once (L3).
    fn save_tokens<'a>(
        &'a self,
        session: &'a Arc<Session>,
        tokens: Arc<Tokens>,
    ) -> StoreFuture<'a, SaveOutcome>;

    /// Notes that the session was used, and until when it lives by that. Where it takes a trip, it is made
    /// beside the request.
    fn slide(&self, session: &Arc<Session>, seen: Timestamp, expires: Timestamp);

    /// Ends a session: it is gone once this answers, and comes to the one caller who ended it.
    fn end<'a>(
        &'a self,
        hash: &'a SessionHash,
        reason: EndReason,
    ) -> StoreFuture<'a, Option<Arc<Session>>>;

    /// Ends a session that seems to have run into a limit, if it has: whether this ended it.
    fn expire<'a>(&'a self, hash: &'a SessionHash, now: Timestamp) -> StoreFuture<'a, bool>;

    /// Ends what has expired at `now`, and what there is no room for; those that this process ended, for
    /// what follows. Called a few times a second.
    fn sweep(&self, now: Timestamp) -> StoreFuture<'_, Vec<Over>>;

    /// Does what no request waits for, for as long as the process runs: hears what other nodes tell,
    /// and whether it still hears them.
    fn tend(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// How many sessions there are, about.
    fn count(&self) -> u64;

    /// The memory of this process that sessions take, where they have a bound.
    fn memory(&self) -> Option<Memory>;

    /// How looks at sessions were answered, where some go further than this process.
    fn lookups(&self) -> Option<Lookups> {
        None
    }

    /// How far this node's clock is ahead of the store's, in milliseconds, where the store has one of
    /// its own.
    fn clock_skew(&self) -> Option<i64> {
        None
    }

    /// Which store this is, in the word of `session.store`.
    fn kind(&self) -> &'static str;

    /// How the store is.
    fn condition(&self) -> Pin<Box<dyn Future<Output = Condition> + Send + '_>>;
}

/// What one node alone may do: spend a session's refresh token, or fetch one of its other tokens.
#[derive(Debug, Clone, Copy)]
pub struct Leased<'a> {
    /// Of which session.
    pub hash: &'a SessionHash,
    /// Which token, where that takes no refresh token.
    pub key: Option<&'a str>,
}

/// Lets one node alone fetch a token of a session.
pub trait Lease: Send + Sync + fmt::Debug {
    /// Takes or renews a lease; whether `owner` has it.
    fn lease<'a>(&'a self, what: Leased<'a>, owner: &'a str) -> StoreFuture<'a, bool>;

    /// Gives it back.
    fn release<'a>(&'a self, what: Leased<'a>, owner: &'a str) -> StoreFuture<'a, ()>;

    /// How long other nodes may yet need to write down what they could not while the store was away:
    /// a lease that ran out meanwhile says nothing of its owner.
    fn unsettled(&self) -> Duration {
        Duration::ZERO
    }
}

/// How looks at sessions were answered since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lookups {
    /// From memory.
    pub from_memory: u64,
    /// Not without asking the store.
    pub from_store: u64,
}

/// How a store is, in a sentence where it is not well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It serves.
    Well,
    /// It serves, and somebody should look: a record could not be opened.
    Noticed(String),
    /// It does not serve.
    Unwell(String),
}

/// How long a lease lasts unless it is renewed: how long a refresh waits for a node that died.
pub const LEASE_SPAN: Duration = Duration::from_secs(5);

/// New tokens that the store cannot take are offered to it again this often.
pub const STORE_AGAIN_AFTER: Duration = Duration::from_millis(500);
