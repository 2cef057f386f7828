//! The near cache: what this process knows of sessions that live in a store outside it, so that a
//! request costs no network trip.
//!
//! An answer from here is never older than [`NearCacheSettings::max_staleness`]. The store tells of
//! every end and every change; a word of our own that it sends round behind them proves that we hear
//! it ([`freshness`](super::freshness)). Where we do not, each look goes to the store.
//!
//! One [`Session`] stands for one row in this process, so that whoever holds it sees other tokens and
//! learns of its end.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::clock::{Clock, Randomness, Timestamp};
use crate::secret::random_base64url;
use crate::session::id::{SessionHash, UniformState};
use crate::session::record::{Session, Tokens};
use crate::session::seal::{Keys, UnsealError};
use crate::session::store::freshness::Freshness;
use crate::session::store::health::Health;
use crate::session::store::record_store::{
    Event, Insertion, Listener, Lookup, RecordStore, Replacement, Row, Standing,
};
use crate::session::store::sealed;
use crate::session::store::{
    Admission, Condition, Cursor, Found, LEASE_SPAN, Limit, Listed, STORE_AGAIN_AFTER, SaveOutcome,
    SessionStore, StoreError, StoreFuture,
};
use crate::web::ending::EndReason;

/// How the near cache behaves.
#[derive(Debug, Clone)]
pub struct NearCacheSettings {
    /// `session.store`, for people.
    pub kind: &'static str,
    /// Without a call for this long, a session ends.
    pub idle_timeout: Duration,
    /// How long an end is remembered: no session lives longer.
    pub max_lifetime: Duration,
    /// How old an answer may be; zero asks the store each time.
    pub max_staleness: Duration,
    /// Sessions that are remembered; those with open streams come on top.
    pub capacity: usize,
    /// How long the store may take for an answer.
    pub timeout: Duration,
}

/// Sessions in a store outside this process.
#[derive(Debug, Clone)]
pub struct NearCache(Arc<Inner>);

struct Inner {
    records: Arc<dyn RecordStore>,
    settings: NearCacheSettings,
    keys: Keys,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    /// Where the store is spoken to: its connections outlive any worker, and no browser that leaves
    /// breaks a step off.
    runtime: Handle,
    shards: Box<[Mutex<Shard>]>,
    /// Each remembered session once, at the end it had when it was queued.
    ends: Mutex<BinaryHeap<Reverse<(Timestamp, SessionHash)>>>,
    freshness: Freshness,
    health: Health,
    /// How many sessions the store held when it was last asked.
    count: AtomicU64,
    /// When sessions that nobody uses any more were last looked for.
    cleaned: AtomicI64,
    /// Who we are among the nodes.
    node: String,
}

/// What is known of some sessions. Two generations: a full one pushes the older one out.
#[derive(Default)]
struct Shard {
    young: HashMap<SessionHash, Entry, UniformState>,
    old: HashMap<SessionHash, Entry, UniformState>,
    /// Counts the events that came, so that a look-up under way when one came for its session is made
    /// again: its answer may be of before.
    events: u64,
    /// Whose the last of them were. Those of others are no reason to look again, or a busy house would
    /// never come to an end of it.
    heard: VecDeque<SessionHash>,
}

#[derive(Clone)]
enum Entry {
    /// A session, as it was at that moment or later.
    Live(Arc<Session>, Timestamp),
    /// It is over, which never changes again.
    Ended(EndReason),
}

/// When an answer was asked for, and what had been heard by then.
#[derive(Clone, Copy)]
struct Learnt {
    asked: Timestamp,
    events: u64,
}

const SHARDS: usize = 64;

/// Events of a shard that are told apart; where more came during a look-up, one is taken for its own.
const HEARD: usize = 128;

/// After this many answers that an event overtook, the store is as good as away.
const LOOKS: usize = 8;

/// How often what cannot be heard is looked at, where something is open on its behalf.
const LOOK_AFTER: Duration = Duration::from_millis(250);
const LOOKED_AT_ONCE: usize = 500;

/// How often this process looks for sessions that nobody uses any more, and how many it takes.
const CLEAN_EVERY: Duration = Duration::from_secs(10);
const CLEAN_AT_ONCE: usize = 200;

/// Before the push channel is opened again.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// What is known since this moment, before all others, is never fresh: the next look asks the store.
const NEVER: Timestamp = Timestamp::from_unix_millis(i64::MIN);

impl NearCache {
    /// The near cache of `records`, which are spoken to on `runtime`.
    pub fn new(
        records: Arc<dyn RecordStore>,
        settings: NearCacheSettings,
        keys: Keys,
        clock: Arc<dyn Clock>,
        randomness: Arc<dyn Randomness>,
        runtime: Handle,
    ) -> Self {
        let node = random_base64url::<9>(&*randomness);
        Self(Arc::new(Inner {
            freshness: Freshness::new(records.is_shared(), settings.max_staleness),
            records,
            settings,
            keys,
            clock,
            randomness,
            runtime,
            shards: std::iter::repeat_with(Mutex::default)
                .take(SHARDS)
                .collect(),
            ends: Mutex::default(),
            health: Health::default(),
            count: AtomicU64::new(0),
            cleaned: AtomicI64::new(0),
            node,
        }))
    }

    /// Carries a step out where the store is spoken to, within the deadline, whoever leaves.
    async fn ask<T, F>(
        &self,
        step: impl FnOnce(Arc<Inner>) -> F + Send + 'static,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let inner = Arc::clone(&self.0);
        let within = inner.settings.timeout;
        let answer = inner.runtime.spawn({
            let inner = Arc::clone(&inner);
            async move {
                let answer = timeout(within, step(Arc::clone(&inner))).await;
                answer.unwrap_or_else(|_| Err(inner.late()))
            }
        });
        let answer = answer
            .await
            .unwrap_or_else(|_| Err(StoreError::Away("the process is stopping".into())));
        match &answer {
            Ok(_) => inner.health.answered(),
            Err(error) => inner.health.failed(error),
        }
        answer
    }

    /// Asks the store. An event that comes while the answer is under way may be what the answer does
    /// not know yet: then it is asked again.
    async fn load(&self, hash: SessionHash) -> Result<Found, StoreError> {
        for _ in 0..LOOKS {
            let events = self.0.events(&hash);
            // Before the store is asked: what it answers is of then or later.
            let asked = self.0.clock.now();
            let lookup = self
                .ask(move |inner| async move { inner.records.load(&hash).await })
                .await?;
            let learnt = Learnt { asked, events };
            if let Some(found) = self.take_in(hash, lookup, learnt)? {
                return Ok(found);
            }
        }
        Err(StoreError::Away(
            "its answers are overtaken by events".into(),
        ))
    }

    /// Makes the store's answer our own; `None` where an event overtook it.
    fn take_in(
        &self,
        hash: SessionHash,
        lookup: Lookup,
        learnt: Learnt,
    ) -> Result<Option<Found>, StoreError> {
        let inner = &self.0;
        match lookup {
            Lookup::Row(row) => match sealed::open(&row, &inner.keys) {
                Ok(session) => {
                    let Some(session) = inner.remember(session, learnt) else {
                        return Ok(None);
                    };
                    if inner.keys.is_outdated_bytes(&row.sealed) {
                        self.reseal(&session);
                    }
                    Ok(Some(match session.ending.reason() {
                        None => Found::Live(session),
                        Some(reason) => Found::Ended(reason),
                    }))
                }
                Err(error) => inner.unreadable(&row, error).map(Some),
            },
            Lookup::Ended(reason) => {
                inner.end_here(&hash, Some(reason));
                Ok(Some(Found::Ended(reason)))
            }
            Lookup::Nothing => {
                inner.end_here(&hash, None);
                Ok(Some(Found::Nothing))
            }
        }
    }

    /// Seals a row by the first key, beside the request: so an old key can be retired (G7).
    fn reseal(&self, session: &Arc<Session>) {
        let (this, session) = (self.clone(), Arc::clone(session));
        self.0.runtime.spawn(async move {
            let tokens = Arc::clone(&session.tokens());
            let sealed = this.0.contents(&session, &tokens);
            let (hash, version) = (session.hash, tokens.version);
            let resealed = this
                .ask(move |inner| async move { inner.records.reseal(&hash, version, &sealed).await });
            if let Err(error) = resealed.await {
                tracing::debug!(session.id_hash = ?hash, %error, "a record keeps its old key for now");
            }
        });
    }

    async fn listed(
        &self,
        rows: impl Future<Output = Result<Vec<Row>, StoreError>>,
    ) -> Result<Vec<Listed>, StoreError> {
        let rows = rows.await?;
        Ok(rows.into_iter().map(|row| self.0.listed(row)).collect())
    }

    /// Opens the push channel again and again.
    async fn listen(&self) {
        loop {
            let listener = Arc::new(Ears(self.clone()));
            let Err(error) = self.0.records.listen(listener).await else {
                continue;
            };
            self.0.freshness.unsubscribed();
            tracing::debug!(%error, "the store's push channel is cut");
            tokio::time::sleep(LISTEN_AGAIN_AFTER).await;
        }
    }

    /// Sends words round the channel, each of which proves that all before it was heard.
    async fn prove(&self) {
        let Some(every) = self.0.freshness.word_every() else {
            return std::future::pending().await;
        };
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let word = self.0.freshness.next_word(&self.0.node, self.0.clock.now());
            let announced = timeout(self.0.settings.timeout, self.0.records.announce(&word));
            if let Err(error) = announced.await.unwrap_or_else(|_| Err(self.0.late())) {
                self.0.health.failed(&error);
            }
        }
    }

    /// Looks at sessions with something open on their behalf, where the channel might not have told
    /// of their end: while it is cut, and once when it is back.
    async fn look_after_streams(&self) {
        let mut tick = interval(LOOK_AFTER);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let gap = self.0.freshness.unlooked_gap();
            let hears = self.0.freshness.hears_everything(self.0.clock.now());
            if hears && gap.is_none() {
                continue;
            }
            // An outage ends nobody's stream.
            if self.look_at_streams().await.is_ok()
                && hears
                && let Some(gap) = gap
            {
                self.0.freshness.looked_after(gap);
            }
        }
    }

    async fn look_at_streams(&self) -> Result<(), StoreError> {
        let doubtful = self.0.doubtful(self.0.clock.now());
        for hashes in doubtful.chunks(LOOKED_AT_ONCE) {
            let asked = self.0.clock.now();
            let standings = self.ask({
                let hashes = hashes.to_vec();
                move |inner| async move { inner.records.standings(&hashes).await }
            });
            for (hash, standing) in hashes.iter().zip(standings.await?) {
                self.0.stands(hash, standing, asked);
            }
        }
        Ok(())
    }

    /// Keeps the count, and what the store should forget.
    async fn keep_house(&self) {
        let mut tick = interval(CLEAN_EVERY / 2);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for round in 0_u64.. {
            tick.tick().await;
            let count = self
                .ask(|inner| async move { inner.records.count().await })
                .await;
            // Told by `ask`; the next round tries again.
            let Ok(count) = count else {
                continue;
            };
            self.0.count.store(count, Ordering::Relaxed);
            if round.is_multiple_of(12) {
                let forgot = self.ask(|inner| async move {
                    let now = inner.clock.now();
                    inner.records.forget(now).await
                });
                drop(forgot.await);
            }
        }
    }

    /// Ends sessions that no process has at hand any more.
    async fn clean(&self, now: Timestamp) -> Result<Vec<Arc<Session>>, StoreError> {
        let hashes = self
            .ask(move |inner| async move { inner.records.expired(now, CLEAN_AT_ONCE).await })
            .await?;
        let mut ended = Vec::new();
        for hash in hashes {
            ended.extend(self.end_expired(hash, now).await?);
        }
        Ok(ended)
    }

    /// `Some` where this ended it; the session where its record opens.
    async fn end_expired(
        &self,
        hash: SessionHash,
        now: Timestamp,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        let row = self
            .ask(move |inner| async move {
                let remember = inner.settings.max_lifetime;
                inner.records.end_expired(&hash, now, remember).await
            })
            .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        self.0.end_here(&hash, Some(EndReason::Expired));
        Ok(sealed::open(&row, &self.0.keys).ok())
    }
}

impl Inner {
    fn shard(&self, hash: &SessionHash) -> Option<MutexGuard<'_, Shard>> {
        let [.., last] = hash.as_bytes();
        let shard = self.shards.get(usize::from(*last) % SHARDS)?;
        Some(lock(shard))
    }

    /// What becomes of a call when its time is over.
    fn late(&self) -> StoreError {
        StoreError::Away(format!("no answer within {:?}", self.settings.timeout).into())
    }

    fn contents(&self, session: &Session, tokens: &Tokens) -> Vec<u8> {
        sealed::contents(session, tokens, &self.keys, &*self.randomness)
    }

    fn events(&self, hash: &SessionHash) -> u64 {
        self.shard(hash).map_or(0, |shard| shard.events)
    }

    /// The one session of this hash in this process, brought up to what was read; `None` where
    /// something was heard since it was asked for.
    fn remember(&self, read: Arc<Session>, learnt: Learnt) -> Option<Arc<Session>> {
        let mut shard = self.shard(&read.hash)?;
        if shard.has_heard(&read.hash, learnt.events) {
            return None;
        }
        match shard.get(&read.hash) {
            Some(Entry::Live(session, before)) => {
                session.replace_tokens(&read.tokens());
                session.seen_at(read.last_seen());
                let entry = Entry::Live(Arc::clone(&session), learnt.asked.max(before));
                shard.young.insert(read.hash, entry);
                Some(session)
            }
            Some(Entry::Ended(reason)) => {
                read.ending.come(reason);
                Some(read)
            }
            None => {
                let entry = Entry::Live(Arc::clone(&read), learnt.asked);
                shard.insert(read.hash, entry, self.room());
                drop(shard);
                self.queue(&read);
                Some(read)
            }
        }
    }

    fn room(&self) -> usize {
        (self.settings.capacity / SHARDS / 2).max(1)
    }

    fn queue(&self, session: &Session) {
        let end = session.expires(self.settings.idle_timeout);
        lock(&self.ends).push(Reverse((end, session.hash)));
    }

    fn pop_due(&self, now: Timestamp) -> Option<SessionHash> {
        let mut ends = lock(&self.ends);
        let Reverse((end, hash)) = ends.peek().copied()?;
        if end > now {
            return None;
        }
        ends.pop();
        Some(hash)
    }

    /// Notes an end in this process, and tells what is open on the session's behalf. Without a
    /// reason there is nothing in the store, which is not remembered: it may have lost its memory.
    fn end_here(&self, hash: &SessionHash, reason: Option<EndReason>) {
        let Some(mut shard) = self.shard(hash) else {
            return;
        };
        shard.note(*hash);
        let before = shard.get(hash);
        match reason {
            Some(reason) => shard.insert(*hash, Entry::Ended(reason), self.room()),
            None => drop(shard.young.remove(hash)),
        }
        drop(shard);
        if let Some(Entry::Live(session, _)) = before {
            session.ending.come(reason.unwrap_or(EndReason::Expired));
        }
    }

    /// An end was heard of: the next look at the session goes to the store. Whether it is known here.
    fn doubt(&self, hash: &SessionHash) -> bool {
        let Some(mut shard) = self.shard(hash) else {
            return false;
        };
        shard.note(*hash);
        let Some(Entry::Live(session, _)) = shard.get(hash) else {
            return false;
        };
        shard.young.insert(*hash, Entry::Live(session, NEVER));
        true
    }

    /// Another node gave the session other tokens: the next look goes to the store.
    fn changed(&self, hash: &SessionHash, version: u64) {
        let Some(mut shard) = self.shard(hash) else {
            return;
        };
        shard.note(*hash);
        if let Some(Entry::Live(session, _)) = shard.get(hash)
            && session.tokens().version < version
        {
            session.changes.notify_waiters();
            shard.young.insert(*hash, Entry::Live(session, NEVER));
        }
    }

    fn stands(&self, hash: &SessionHash, standing: Standing, asked: Timestamp) {
        match standing {
            Standing::Live(version) => {
                let Some(mut shard) = self.shard(hash) else {
                    return;
                };
                if let Some(Entry::Live(session, known_at)) = shard.get(hash)
                    && session.tokens().version >= version
                {
                    let entry = Entry::Live(session, asked.max(known_at));
                    shard.young.insert(*hash, entry);
                }
            }
            Standing::Ended(reason) => self.end_here(hash, Some(reason)),
            Standing::Nothing => self.end_here(hash, None),
        }
    }

    /// Sessions in use whose end we might not have heard of.
    fn doubtful(&self, now: Timestamp) -> Vec<SessionHash> {
        let mut doubtful = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            let entries = shard.young.iter().chain(&shard.old);
            doubtful.extend(entries.filter_map(|(hash, entry)| match entry {
                Entry::Live(session, known_at) if session.ending.is_awaited() => {
                    (!self.freshness.is_fresh(*known_at, now)).then_some(*hash)
                }
                Entry::Live(..) | Entry::Ended(_) => None,
            }));
        }
        doubtful
    }

    /// A row that does not open is nobody's logout if a key may yet come, and the end for its own
    /// browser if it is damaged. The row stays, for whoever looks into it.
    fn unreadable(&self, row: &Row, error: UnsealError) -> Result<Found, StoreError> {
        let hash = row.hash;
        self.health.noticed(&format!(
            "the record of session {hash:?} does not open: {error}"
        ));
        match error {
            UnsealError::UnknownKey => Err(StoreError::Unusable(error.into())),
            UnsealError::Corrupt => Ok(Found::Nothing),
        }
    }

    fn listed(&self, row: Row) -> Listed {
        let session = sealed::open(&row, &self.keys).ok();
        Listed {
            hash: row.hash,
            subject: row.subject,
            provider_sid: row.provider_sid,
            name: row.name,
            created: row.created,
            seen: row.seen,
            expires: row.expires,
            ends: row.ends,
            session,
        }
    }
}

impl Shard {
    /// Something was heard of a session.
    fn note(&mut self, hash: SessionHash) {
        self.events += 1;
        if self.heard.len() == HEARD {
            self.heard.pop_front();
        }
        self.heard.push_back(hash);
    }

    /// Whether anything was heard of a session since so many events had come.
    fn has_heard(&self, hash: &SessionHash, since: u64) -> bool {
        let news = usize::try_from(self.events - since).unwrap_or(usize::MAX);
        news > self.heard.len() || self.heard.iter().rev().take(news).any(|own| own == hash)
    }

    /// What is known of a session; found among the older, it is young again.
    fn get(&mut self, hash: &SessionHash) -> Option<Entry> {
        if let Some(entry) = self.young.get(hash) {
            return Some(entry.clone());
        }
        let entry = self.old.remove(hash)?;
        self.young.insert(*hash, entry.clone());
        Some(entry)
    }

    fn insert(&mut self, hash: SessionHash, entry: Entry, room: usize) {
        self.old.remove(&hash);
        self.young.insert(hash, entry);
        if self.young.len() > room {
            let pushed_out = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
            // What somebody holds must learn of its end, and stay the only one of its kind.
            let held = |entry: &Entry| match entry {
                Entry::Live(session, _) => {
                    Arc::strong_count(session) > 1 || session.ending.is_awaited()
                }
                Entry::Ended(_) => false,
            };
            self.young
                .extend(pushed_out.into_iter().filter(|(_, entry)| held(entry)));
        }
    }
}

impl SessionStore for NearCache {
    fn at_hand(&self, hash: &SessionHash, now: Timestamp) -> Option<Arc<Session>> {
        let mut shard = self.0.shard(hash)?;
        if let Some(Entry::Live(session, known_at)) = shard.young.get(hash) {
            return self
                .0
                .freshness
                .is_fresh(*known_at, now)
                .then(|| Arc::clone(session));
        }
        match shard.get(hash)? {
            Entry::Live(session, known_at) => {
                self.0.freshness.is_fresh(known_at, now).then_some(session)
            }
            Entry::Ended(_) => None,
        }
    }

    fn find<'a>(&'a self, hash: &'a SessionHash, _: Timestamp) -> StoreFuture<'a, Found> {
        Box::pin(async move {
            let known = self.0.shard(hash).and_then(|mut shard| shard.get(hash));
            match known {
                Some(Entry::Ended(reason)) => Ok(Found::Ended(reason)),
                Some(Entry::Live(..)) | None => self.load(*hash).await,
            }
        })
    }

    fn insert(
        &self,
        session: Arc<Session>,
        limit: Option<Limit>,
        now: Timestamp,
    ) -> StoreFuture<'_, Admission> {
        Box::pin(async move {
            let learnt = Learnt {
                asked: now,
                events: self.0.events(&session.hash),
            };
            let row = sealed::row(
                &session,
                &session.tokens(),
                self.0.settings.idle_timeout,
                &self.0.keys,
                &*self.0.randomness,
            );
            let inserted =
                self.ask(move |inner| async move { inner.records.insert(&row, limit, now).await });
            match inserted.await? {
                Insertion::Refused => Ok(Admission::Refused),
                Insertion::Stored { beyond } => {
                    // Another login may have taken its place already.
                    let hash = session.hash;
                    if self.0.remember(session, learnt).is_none() {
                        self.load(hash).await?;
                    }
                    let mut superseded = Vec::new();
                    for hash in beyond {
                        superseded.extend(self.end(&hash, EndReason::Superseded).await?);
                        tracing::info!(session.id_hash = ?hash, "another login took its place");
                    }
                    Ok(Admission::Admitted(superseded))
                }
            }
        })
    }

    fn save_tokens<'a>(
        &'a self,
        session: &'a Arc<Session>,
        tokens: Arc<Tokens>,
    ) -> StoreFuture<'a, SaveOutcome> {
        Box::pin(async move {
            let sealed = self.0.contents(session, &tokens);
            let (hash, version) = (session.hash, tokens.version);
            let replaced = self.ask(move |inner| async move {
                inner.records.replace(&hash, version, &sealed).await
            });
            Ok(match replaced.await? {
                Replacement::Saved => {
                    session.replace_tokens(&tokens);
                    SaveOutcome::Saved
                }
                Replacement::Ended => {
                    self.load(hash).await?;
                    SaveOutcome::Ended
                }
                Replacement::Overtaken => {
                    self.load(hash).await?;
                    // Our own write may have been carried out though its answer got lost.
                    if session.tokens().bearer == tokens.bearer {
                        SaveOutcome::Saved
                    } else {
                        SaveOutcome::Overtaken
                    }
                }
            })
        })
    }

    fn slide(&self, session: &Arc<Session>, now: Timestamp) {
        let before = session.last_seen();
        session.seen_at(now);
        let (this, session) = (self.clone(), Arc::clone(session));
        session.changes.notify_waiters();
        let (hash, expires) = (session.hash, session.expires(self.0.settings.idle_timeout));
        self.0.runtime.spawn(async move {
            let slid = this
                .ask(move |inner| async move { inner.records.slide(&hash, now, expires).await });
            match slid.await {
                Ok(true) => {}
                // It is over; why, the store knows.
                Ok(false) => drop(this.load(hash).await),
                // The next request tries again.
                Err(_) => session.unsee(now, before),
            }
        });
    }

    fn end<'a>(
        &'a self,
        hash: &'a SessionHash,
        reason: EndReason,
    ) -> StoreFuture<'a, Option<Arc<Session>>> {
        Box::pin(async move {
            let hash = *hash;
            let row = self
                .ask(move |inner| async move {
                    let remember = inner.settings.max_lifetime;
                    inner.records.end(&hash, reason, remember).await
                })
                .await?;
            let Some(row) = row else {
                // Somebody else was faster; the browser is told what the store remembers.
                self.load(hash).await?;
                return Ok(None);
            };
            self.0.end_here(&hash, Some(reason));
            Ok(sealed::open(&row, &self.0.keys).ok())
        })
    }

    fn expire<'a>(&'a self, hash: &'a SessionHash, now: Timestamp) -> StoreFuture<'a, bool> {
        Box::pin(async move { Ok(self.end_expired(*hash, now).await?.is_some()) })
    }

    fn sweep(&self, now: Timestamp) -> StoreFuture<'_, Vec<Arc<Session>>> {
        Box::pin(async move {
            let mut ended = Vec::new();
            while let Some(hash) = self.0.pop_due(now) {
                let known = self.0.shard(&hash).and_then(|mut shard| shard.get(&hash));
                let Some(Entry::Live(session, _)) = known else {
                    continue;
                };
                if session.expires(self.0.settings.idle_timeout) > now {
                    self.0.queue(&session);
                    continue;
                }
                match self.end_expired(hash, now).await {
                    Ok(Some(session)) => ended.push(session),
                    // Used on another node, or ended there: the store knows.
                    Ok(None) => match self.load(hash).await? {
                        Found::Live(session) => self.0.queue(&session),
                        Found::Ended(_) | Found::Nothing => {}
                    },
                    Err(error) => {
                        // Later, and nothing is forgotten.
                        lock(&self.0.ends).push(Reverse((now + CLEAN_EVERY, hash)));
                        return Err(error);
                    }
                }
            }
            let cleaned = Timestamp::from_unix_millis(self.0.cleaned.load(Ordering::Relaxed));
            if now.since(cleaned) >= CLEAN_EVERY {
                self.0.cleaned.store(now.unix_millis(), Ordering::Relaxed);
                ended.extend(self.clean(now).await?);
            }
            Ok(ended)
        })
    }

    fn of_subject<'a>(&'a self, subject: &'a str) -> StoreFuture<'a, Vec<Listed>> {
        let subject = subject.to_owned();
        let rows = self.ask(move |inner| async move { inner.records.of_subject(&subject).await });
        Box::pin(self.listed(rows))
    }

    /// Of thousands, those that are shown are opened, and no other.
    fn newest_of_subject<'a>(
        &'a self,
        subject: &'a str,
        at_most: usize,
        now: Timestamp,
    ) -> StoreFuture<'a, (Vec<Listed>, usize)> {
        let subject = subject.to_owned();
        let rows = self.ask(move |inner| async move { inner.records.of_subject(&subject).await });
        Box::pin(async move {
            let mut rows = rows.await?;
            rows.retain(|row| now < row.expires);
            let total = rows.len();
            rows.sort_by_key(|row| Reverse(row.seen));
            rows.truncate(at_most);
            let listed = self.listed(std::future::ready(Ok(rows))).await?;
            Ok((listed, total))
        })
    }

    fn of_provider_sid<'a>(&'a self, sid: &'a str) -> StoreFuture<'a, Vec<Listed>> {
        let sid = sid.to_owned();
        let rows = self.ask(move |inner| async move { inner.records.of_provider_sid(&sid).await });
        Box::pin(self.listed(rows))
    }

    fn page<'a>(
        &'a self,
        name_prefix: &'a str,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> StoreFuture<'a, Vec<Listed>> {
        let (prefix, after) = (name_prefix.to_owned(), after.cloned());
        let rows = self.ask(move |inner| async move {
            inner.records.page(&prefix, after.as_ref(), at_most).await
        });
        Box::pin(self.listed(rows))
    }

    fn inspect<'a>(&'a self, hash: &'a SessionHash) -> StoreFuture<'a, Option<Listed>> {
        Box::pin(async move {
            let hash = *hash;
            let lookup = self.ask(move |inner| async move { inner.records.load(&hash).await });
            Ok(match lookup.await? {
                Lookup::Row(row) => Some(self.0.listed(row)),
                Lookup::Ended(_) | Lookup::Nothing => None,
            })
        })
    }

    fn lease<'a>(&'a self, hash: &'a SessionHash, owner: &'a str) -> StoreFuture<'a, bool> {
        let (name, owner) = (lease_name(hash), format!("{}-{owner}", self.0.node));
        Box::pin(
            self.ask(
                move |inner| async move { inner.records.lease(&name, &owner, LEASE_SPAN).await },
            ),
        )
    }

    fn release<'a>(&'a self, hash: &'a SessionHash, owner: &'a str) -> StoreFuture<'a, ()> {
        let (name, owner) = (lease_name(hash), format!("{}-{owner}", self.0.node));
        Box::pin(self.ask(move |inner| async move { inner.records.release(&name, &owner).await }))
    }

    fn unsettled(&self) -> Duration {
        // Theirs may be a call that waits in vain for one deadline more; then they try again.
        let span = self.0.settings.timeout + 2 * STORE_AGAIN_AFTER;
        self.0.health.settles_within(span)
    }

    fn keep<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        span: Duration,
        now: Timestamp,
    ) -> StoreFuture<'a, bool> {
        // What is kept may be an address with an ID token in it.
        let sealed = self.0.keys.seal_bytes(key, value, &*self.0.randomness);
        let key = key.to_owned();
        Box::pin(
            self.ask(
                move |inner| async move { inner.records.keep(&key, &sealed, span, now).await },
            ),
        )
    }

    fn take<'a>(&'a self, key: &'a str, now: Timestamp) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let owned = key.to_owned();
            let sealed = self
                .ask(move |inner| async move { inner.records.take(&owned, now).await })
                .await?;
            let opened = sealed.and_then(|sealed| self.0.keys.open_bytes(key, &sealed).ok());
            Ok(opened.map(|opened| opened.to_vec()))
        })
    }

    fn tend(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            tokio::join!(
                self.listen(),
                self.prove(),
                self.look_after_streams(),
                self.keep_house(),
            );
        })
    }

    fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    fn kind(&self) -> &'static str {
        self.0.settings.kind
    }

    fn condition(&self) -> Pin<Box<dyn Future<Output = Condition> + Send + '_>> {
        Box::pin(async {
            match self
                .ask(|inner| async move { inner.records.check().await })
                .await
            {
                Ok(()) => self.0.health.condition(),
                Err(error) => Condition::Unwell(error.to_string()),
            }
        })
    }
}

/// Hears what the nodes tell.
struct Ears(NearCache);

impl Ears {
    /// The store says whether it is true, and why: whoever may speak on the channel is not believed
    /// to sign anybody out.
    fn heard_of_end(&self, hash: SessionHash) {
        if !self.0.0.doubt(&hash) {
            return;
        }
        let cache = self.0.clone();
        self.0.0.runtime.spawn(async move {
            if cache.load(hash).await.is_err() {
                cache.0.freshness.doubt();
            }
        });
    }
}

impl Listener for Ears {
    fn subscribed(&self) {
        let inner = &self.0.0;
        inner.freshness.subscribed(inner.clock.now());
    }

    fn heard(&self, event: Event) {
        match event {
            Event::Ended(hash, _) => self.heard_of_end(hash),
            Event::Changed(hash, version) => self.0.0.changed(&hash, version),
        }
    }

    fn echoed(&self, word: &str) {
        let inner = &self.0.0;
        inner.freshness.echoed(&inner.node, word);
    }
}

impl fmt::Debug for Ears {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ears")
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearCache")
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}

fn lease_name(hash: &SessionHash) -> String {
    format!("refresh {}", hash.to_hex())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u8) -> SessionHash {
        SessionHash::from_slice(&[number; 32]).unwrap()
    }

    #[test]
    fn only_what_is_heard_of_a_session_makes_its_answer_old() {
        let mut shard = Shard::default();
        shard.note(hash(1));
        let asked = shard.events;
        assert!(!shard.has_heard(&hash(1), asked), "that was before");
        for _ in 0..HEARD {
            shard.note(hash(2));
            assert!(!shard.has_heard(&hash(1), asked));
        }
        assert!(shard.has_heard(&hash(2), asked));
        shard.note(hash(2));
        assert!(
            shard.has_heard(&hash(1), asked),
            "more came than is remembered"
        );
        let asked = shard.events;
        shard.note(hash(1));
        assert!(shard.has_heard(&hash(1), asked));
    }
}
