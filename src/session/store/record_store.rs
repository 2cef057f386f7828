//! What lies outside this process: rows, as SQLite, Redis and PostgreSQL keep them.
//!
//! A [`RecordStore`] knows no token, no clock and no cookie: it keeps sealed bytes under a hash, finds
//! them by what stands in the clear, and makes each step at once or not at all. When to ask it, what
//! to remember of its answers and how to open them is [`NearCache`](super::near_cache::NearCache)'s.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::session::id::SessionHash;
use crate::session::record::{Facts, Times};
use crate::session::store::{Cursor, Limit, Recency, StoreFuture, Within};
use crate::web::ending::EndReason;
#[cfg(doc)]
use crate::web::registration::Registration;

/// A session as it is written down: what finds it in the clear, all else sealed (G5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Who has it, and where. A row of a release before sites is of the main one, and its registration
    /// is [`unnamed`](Registration::unnamed).
    pub facts: Facts,
    /// The moments of its life.
    pub times: Times,
    /// Counts the tokens that the session has had, from 1: a write names the version it makes, and
    /// is refused unless it follows the one that is stored.
    pub version: u64,
    /// The rest, sealed by the key ring.
    pub sealed: Box<[u8]>,
}

impl Deref for Row {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

/// Which rows are meant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rows {
    /// Of these sessions.
    pub within: Within,
    /// Also those that name no registration, where only some registrations' are meant.
    pub unnamed_too: bool,
}

impl Rows {
    /// All of them.
    pub fn all() -> Self {
        Self::default()
    }

    /// Whether a row of these facts is meant.
    pub fn take(&self, facts: &Facts) -> bool {
        let is_unnamed = facts.registration.is_unnamed();
        let unnamed = self.unnamed_too && is_unnamed;
        let site = self.within.site.as_ref();
        (unnamed || self.within.takes_registration(&facts.registration))
            && site.is_none_or(|site| site.takes(&facts.site))
    }
}

/// A limit, and the rows that count against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// How many, and what happens beyond.
    pub limit: Limit,
    /// Those of the subject that are among these.
    pub among: Rows,
}

/// What is found under a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// A session, which may have run into a limit.
    Row(Row),
    /// It was ended, and this is why; remembered until its absolute limit.
    Ended(EndReason),
    /// Nothing, or nothing any more.
    Nothing,
}

/// What became of a new row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Insertion {
    /// It is stored. These of the same subject are the oldest beyond the limit; they were ended as
    /// superseded in the same step, or are yet to be ended by the caller.
    Stored {
        /// To be ended by the caller, oldest first; empty where the store did it itself.
        beyond: Vec<SessionHash>,
    },
    /// The subject has as many as it may have; nothing is stored.
    Refused,
}

/// What became of new tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replacement {
    /// They are stored.
    Saved,
    /// The session is over; nothing is stored, and nothing brings it back (L8).
    Ended,
    /// Another version stands there than the one before ours: somebody else was faster.
    Overtaken,
}

/// What a session is still worth, without its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It lives, at this version.
    Live(u64),
    /// It was ended, and this is why.
    Ended(EndReason),
    /// There is none.
    Nothing,
}

/// What one node tells the others. A store sends these itself, in the step that makes them true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The session is over.
    Ended(SessionHash, EndReason),
    /// The session has other tokens than before: those of this version.
    Changed(SessionHash, u64),
}

/// Who hears what other nodes tell.
pub trait Listener: Send + Sync + fmt::Debug {
    /// The channel stands: from now on every event is heard.
    fn subscribed(&self);

    /// An event of this or of another node. Those of one session come in the order in which they came
    /// to be, those of two in any.
    fn heard(&self, event: Event);

    /// As [`heard`](Self::heard), in the clear: of a node of the release before, or of anybody.
    fn hinted(&self, event: Event);

    /// An [`announce`](RecordStore::announce)d heartbeat came back by this server: every event that this
    /// one told before it was heard.
    fn echoed(&self, heartbeat: &str, by: Server);
}

/// One of the servers that a store's channel goes by: a Cluster has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// Which, from 0.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

impl Server {
    /// The only one.
    pub const ONLY: Self = Self { number: 0, of: 1 };
}

/// Keeps rows. Every method is one step: done whole, or not at all and answered with an error.
///
/// A method whose answer got lost may have been carried out; each may be called again.
pub trait RecordStore: Send + Sync + fmt::Debug + 'static {
    /// Where it is, as the operator knows it, without a password.
    fn place(&self) -> String;

    /// Connects, and brings the schema up to date or finds it to be so. Every other method does the
    /// same first when it has to, so that a store that was away at start is used once it is back;
    /// this one says at start and to `bff migrate` what is wrong.
    fn prepare(&self) -> StoreFuture<'_, ()>;

    /// Takes a new row in; it is durable once this answers. A limit counts the live sessions of the
    /// subject at `now` (those not ended, not expired) among some rows, over all nodes and at any moment:
    /// of inserts that come together, exactly as many stay as may stay.
    fn insert<'a>(
        &'a self,
        row: &'a Row,
        limit: Option<&'a Counted>,
        now: Timestamp,
    ) -> StoreFuture<'a, Insertion>;

    /// What lies under a hash. Never changes anything.
    fn load<'a>(&'a self, hash: &'a SessionHash) -> StoreFuture<'a, Lookup>;

    /// What each of these is worth, in their order, in one trip. For sessions with open streams.
    fn standings<'a>(&'a self, hashes: &'a [SessionHash]) -> StoreFuture<'a, Vec<Standing>>;

    /// Puts other sealed contents in place, as `version`, if the version before is stored (L3).
    /// Tells the others [`Event::Changed`].
    fn replace<'a>(
        &'a self,
        hash: &'a SessionHash,
        version: u64,
        sealed: &'a [u8],
    ) -> StoreFuture<'a, Replacement>;

    /// Seals the contents anew under the same version, where that version is still stored (G7).
    fn reseal<'a>(
        &'a self,
        hash: &'a SessionHash,
        version: u64,
        sealed: &'a [u8],
    ) -> StoreFuture<'a, ()>;

    /// Notes a use: `seen` and `expires` only ever move forward. Whether the session lives.
    fn slide<'a>(
        &'a self,
        hash: &'a SessionHash,
        seen: Timestamp,
        expires: Timestamp,
    ) -> StoreFuture<'a, bool>;

    /// Ends a session at `now`: it is gone once this answers, and the reason is remembered for as long as
    /// it could have lived. Tells the others [`Event::Ended`]. The row as it was, to the one caller who
    /// ended it.
    fn end<'a>(
        &'a self,
        hash: &'a SessionHash,
        reason: EndReason,
        now: Timestamp,
    ) -> StoreFuture<'a, Option<Row>>;

    /// As [`end`](Self::end) with [`EndReason::Expired`], if `expires` is not after `now`.
    fn end_expired<'a>(
        &'a self,
        hash: &'a SessionHash,
        now: Timestamp,
    ) -> StoreFuture<'a, Option<Row>>;

    /// Sessions whose `expires` is not after `now`; `at_most` of them, longest expired first.
    fn expired(&self, now: Timestamp, at_most: usize) -> StoreFuture<'_, Vec<SessionHash>>;

    /// Removes remembered ends, notes and leases whose time is over, where the store does not
    /// forget by itself. Called about once a minute.
    fn forget(&self, now: Timestamp) -> StoreFuture<'_, ()>;

    /// The rows of a subject among these, oldest first (E10: there may be several).
    fn of_subject<'a>(&'a self, subject: &'a str, among: &'a Rows) -> StoreFuture<'a, Vec<Row>>;

    /// The rows of a session at the provider among these, oldest first.
    fn of_provider_sid<'a>(&'a self, sid: &'a str, among: &'a Rows) -> StoreFuture<'a, Vec<Row>>;

    /// Rows among these of whose lower-cased name a [word begins](super::begins_a_word) with `word`, in
    /// the order of that name's bytes, then of the hash, after a cursor. Sessions that begin or end
    /// meanwhile make no other row come twice or be left out. An empty word takes all.
    fn page<'a>(
        &'a self,
        word: &'a str,
        among: &'a Rows,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> StoreFuture<'a, Vec<Row>>;

    /// Rows among these by their last use, the last one first, behind a place in that order; and the
    /// place behind them, if there may be more. A store may go by `expires` where that is what it sorts
    /// by: the two differ in the last stretch of a session's life, and by what sites say of theirs.
    fn latest<'a>(
        &'a self,
        among: &'a Rows,
        after: Option<Recency>,
        at_most: usize,
    ) -> StoreFuture<'a, (Vec<Row>, Option<Recency>)>;

    /// How many sessions there are, about.
    fn count(&self) -> StoreFuture<'_, u64>;

    /// Takes or renews the lease of `name` for `owner`, for `span` of the store's own time. Whether
    /// the owner holds it now.
    fn lease<'a>(&'a self, name: &'a str, owner: &'a str, span: Duration) -> StoreFuture<'a, bool>;

    /// Gives a lease back, if the owner still holds it.
    fn release<'a>(&'a self, name: &'a str, owner: &'a str) -> StoreFuture<'a, ()>;

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

    /// Opens the push channel and hands on what comes, until it breaks: then answers, with an error.
    /// A store of one process has no other to hear: it calls `subscribed` and waits for ever.
    fn listen(&self, listener: Arc<dyn Listener>) -> StoreFuture<'_, ()>;

    /// Sends a heartbeat round the whole channel, by each of its servers, behind all events so far; every
    /// listener is told of it with [`Listener::echoed`].
    fn announce<'a>(&'a self, heartbeat: &'a str) -> StoreFuture<'a, ()>;

    /// As [`announce`](Self::announce), of a heartbeat that none but this node has to be told of.
    fn prove<'a>(&'a self, heartbeat: &'a str) -> StoreFuture<'a, ()> {
        self.announce(heartbeat)
    }

    /// What the store's own clock shows, which all nodes share; `None` where it has none, or may not
    /// be asked.
    fn time(&self) -> StoreFuture<'_, Option<Timestamp>>;

    /// Whether other processes may change what is here; if not, no answer ever grows stale.
    fn is_shared(&self) -> bool;

    /// Whether the store answers, its schema is known, and it takes writes. Quick; for `/readyz`.
    fn check(&self) -> StoreFuture<'_, ()>;
}
