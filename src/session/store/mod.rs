//! Where sessions live: one trait, one implementation a kind of store.

pub mod cookie;
mod freshness;
mod health;
mod kept;
pub mod memory;
pub mod near_cache;
pub mod record_store;
#[cfg(feature = "redis")]
pub mod redis;
mod revocations;
pub(in crate::session) mod sealed;
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
use crate::session::record::{Session, Tokens};
use crate::web::ending::EndReason;

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

/// A place in the list of sessions by their last use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recency {
    /// Where it stands, in the store's own measure.
    pub at: Timestamp,
    /// Which of those that stand there.
    pub hash: SessionHash,
}

/// Whether a folded name, or a word in it, begins with a folded text: a last name is found as the
/// first one is.
pub fn begins_a_word(name: &str, text: &str) -> bool {
    name.match_indices(text).any(|(at, _)| {
        at == 0
            || name
                .get(..at)
                .is_some_and(|before| before.ends_with([' ', '-']))
    })
}

/// A name as the list of sessions sorts it and a search compares it.
pub fn folded(name: &str) -> String {
    name.to_lowercase()
}

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

/// Whose sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who<'a> {
    /// All of a user.
    Subject(&'a str),
    /// Those that came of one session at the provider; of this user, where one is named (E10).
    ProviderSid {
        /// The provider's name for it.
        sid: &'a str,
        /// Whose it must be.
        subject: Option<&'a str>,
    },
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
    Admitted(Vec<Arc<Session>>),
    /// The user has as many as there may be.
    Refused,
}

/// A session as it is listed: what stands in the clear, and the session where it opens.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of Session")]
pub struct Listed {
    pub hash: SessionHash,
    pub subject: Box<str>,
    pub provider_sid: Option<Box<str>>,
    pub name: Box<str>,
    pub created: Timestamp,
    pub seen: Timestamp,
    pub expires: Timestamp,
    pub ends: Timestamp,
    /// `None` where the record does not open: it is damaged, or its key is not in the ring.
    pub session: Option<Arc<Session>>,
}

impl Listed {
    /// The place behind this one in the list of all.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            name: folded(&self.name).into(),
            hash: self.hash,
        }
    }
}

/// Keeps sessions, as this process sees them.
pub trait SessionStore: Send + Sync + fmt::Debug {
    /// The session, if this process has it at hand and knows it to be current. Never waits: this is
    /// the hot path.
    fn at_hand(&self, hash: &SessionHash, now: Timestamp) -> Option<Arc<Session>>;

    /// The session, wherever it is, as it is now.
    fn find<'a>(&'a self, hash: &'a SessionHash, now: Timestamp) -> StoreFuture<'a, Found>;

    /// Takes a new session in; it is kept once this answers. The oldest of the same subject beyond
    /// the limit are ended as superseded, on every node and however many log in at once.
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

    /// Notes that the session was used. Where that takes a trip, it is made beside the request.
    fn slide(&self, session: &Arc<Session>, now: Timestamp);

    /// Ends a session: it is gone once this answers, and comes to the one caller who ended it.
    fn end<'a>(
        &'a self,
        hash: &'a SessionHash,
        reason: EndReason,
    ) -> StoreFuture<'a, Option<Arc<Session>>>;

    /// Ends those of these sessions that cannot be listed, and that began by then, but for one (E13). A
    /// store that lists all of them has nothing to do.
    fn end_unseen<'a>(
        &'a self,
        _who: Who<'a>,
        _began_by: Timestamp,
        _except: Option<&'a SessionHash>,
        _reason: EndReason,
    ) -> StoreFuture<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Ends a session that seems to have run into a limit, if it has: whether this ended it.
    fn expire<'a>(&'a self, hash: &'a SessionHash, now: Timestamp) -> StoreFuture<'a, bool>;

    /// Ends what has expired at `now`; those that this process ended, for their tokens. Called a few
    /// times a second.
    fn sweep(&self, now: Timestamp) -> StoreFuture<'_, Vec<Arc<Session>>>;

    /// All sessions of a subject, oldest first.
    fn of_subject<'a>(&'a self, subject: &'a str) -> StoreFuture<'a, Vec<Listed>>;

    /// Those of a subject that are live and were used last, at most so many, the last one first; and how
    /// many there are in all.
    fn newest_of_subject<'a>(
        &'a self,
        subject: &'a str,
        at_most: usize,
        now: Timestamp,
    ) -> StoreFuture<'a, (Vec<Listed>, usize)> {
        Box::pin(async move {
            let mut listed = self.of_subject(subject).await?;
            listed.retain(|listed| now < listed.expires);
            let total = listed.len();
            listed.sort_by_key(|listed| std::cmp::Reverse(listed.seen));
            listed.truncate(at_most);
            Ok((listed, total))
        })
    }

    /// All sessions of one at the provider, oldest first.
    fn of_provider_sid<'a>(&'a self, sid: &'a str) -> StoreFuture<'a, Vec<Listed>>;

    /// Sessions by lower-cased name, then hash, of whose name a [word begins](begins_a_word) with a
    /// lower-cased text.
    fn page<'a>(
        &'a self,
        word: &'a str,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> StoreFuture<'a, Vec<Listed>>;

    /// Those used last, the last one first, behind a place in that order; and the place behind them, if
    /// there may be more.
    fn latest(
        &self,
        after: Option<Recency>,
        at_most: usize,
    ) -> StoreFuture<'_, (Vec<Listed>, Option<Recency>)>;

    /// One session as it is listed, even where its record does not open. A store that lists nothing
    /// shows nothing.
    fn inspect<'a>(&'a self, hash: &'a SessionHash) -> StoreFuture<'a, Option<Listed>> {
        let _ = hash;
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Takes or renews what lets one node alone refresh a session's tokens; whether `owner` has it.
    fn lease<'a>(&'a self, hash: &'a SessionHash, owner: &'a str) -> StoreFuture<'a, bool>;

    /// Gives it back.
    fn release<'a>(&'a self, hash: &'a SessionHash, owner: &'a str) -> StoreFuture<'a, ()>;

    /// How long other nodes may yet need to write down what they could not while the store was away:
    /// a lease that ran out meanwhile says nothing of its owner.
    fn unsettled(&self) -> Duration {
        Duration::ZERO
    }

    /// Keeps a small value for `span`, if there is none under `key`: whether this was the first.
    fn keep<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        span: Duration,
        now: Timestamp,
    ) -> StoreFuture<'a, bool>;

    /// Takes a kept value out: it comes to one caller alone.
    fn take<'a>(&'a self, key: &'a str, now: Timestamp) -> StoreFuture<'a, Option<Vec<u8>>>;

    /// Looks at a kept value, and leaves it.
    fn peek<'a>(&'a self, key: &'a str, now: Timestamp) -> StoreFuture<'a, Option<Vec<u8>>>;

    /// Does what no request waits for, for as long as the process runs: hears what other nodes tell,
    /// and whether it still hears them.
    fn tend(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// How many sessions there are, about.
    fn count(&self) -> u64;

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
