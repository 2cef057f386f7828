//! The near cache: what this process knows of sessions that live in a store outside it, so that a
//! request costs no network trip.
//!
//! An answer from here is never older than [`NearCacheSettings::max_staleness`]. The store tells of
//! every end and every change; a heartbeat of our own that it sends round behind them proves that we hear
//! it ([`freshness`](super::freshness)). Where we do not, each look goes to the store.
//!
//! One [`Session`] stands for one row in this process, so that whoever holds it sees other tokens and
//! learns of its end.

mod cleaning;
mod known;
mod lists;
mod notes;
mod reading;
mod tending;
mod unconfirmed;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use self::known::{Entry, Known};
use self::unconfirmed::Unconfirmed;
use crate::clock::{Clock, Randomness, Timestamp};
use crate::secret::random_base64url;
use crate::session::id::SessionHash;
use crate::session::inherited::Inherited;
use crate::session::record::{Session, Times};
use crate::session::seal::Keys;
use crate::session::store::freshness::Freshness;
use crate::session::store::health::Health;
use crate::session::store::record_store::{Counted, Insertion, RecordStore, Replacement, Rows};
use crate::session::store::sealed::Sealer;
use crate::session::store::skew::{HouseClock, Skew};
use crate::session::store::{
    Admission, Condition, Found, Limit, Lookups, Memory, Over, SaveOutcome, SessionStore,
    StoreError, StoreFuture, Within,
};
use crate::session::tokens::Tokens;
use crate::telemetry::StoreMetrics;
use crate::web::ending::EndReason;

/// How the near cache behaves.
#[derive(Debug, Clone)]
pub struct NearCacheSettings {
    /// `session.store`, for people.
    pub kind: &'static str,
    /// How old an answer may be; zero asks the store each time.
    pub max_staleness: Duration,
    /// The bytes of sessions that are remembered; those in use come on top.
    pub memory: u64,
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
    sealer: Sealer,
    inherited: Inherited,
    /// The time of the house, by which sessions live.
    clock: Arc<dyn Clock>,
    skew: Arc<Skew>,
    randomness: Arc<dyn Randomness>,
    /// Where the store is spoken to: its connections outlive any worker, and no browser that leaves
    /// breaks a step off.
    runtime: Handle,
    known: Known,
    unconfirmed: Unconfirmed,
    freshness: Freshness,
    health: Health,
    metrics: StoreMetrics,
    /// How many sessions the store held when it was last asked.
    count: AtomicU64,
    /// When sessions that nobody uses any more were last looked for.
    cleaned: AtomicI64,
    /// Who we are among the nodes.
    node: String,
}

impl NearCache {
    /// The near cache of `records`, which are spoken to on `runtime`.
    pub fn new(
        records: Arc<dyn RecordStore>,
        settings: NearCacheSettings,
        (keys, inherited): (Keys, Inherited),
        clock: Arc<dyn Clock>,
        randomness: Arc<dyn Randomness>,
        runtime: Handle,
        metrics: StoreMetrics,
    ) -> Self {
        let node = random_base64url::<9>(&*randomness);
        let skew = Arc::new(Skew::new(Arc::clone(&clock)));
        // A store of one process has no clock but the machine's.
        let clock: Arc<dyn Clock> = if records.is_shared() {
            Arc::new(HouseClock(Arc::clone(&skew)))
        } else {
            clock
        };
        Self(Arc::new(Inner {
            freshness: Freshness::new(records.is_shared(), settings.max_staleness),
            known: Known::new(settings.memory),
            unconfirmed: Unconfirmed::default(),
            records,
            settings,
            sealer: Sealer::new(keys.clone(), inherited.clone(), Arc::clone(&randomness)),
            keys,
            inherited,
            clock,
            skew,
            randomness,
            runtime,
            health: Health::default(),
            metrics,
            count: AtomicU64::new(0),
            cleaned: AtomicI64::new(0),
            node,
        }))
    }

    /// The time by which sessions here live, which nodes that share the store share as well.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.0.clock)
    }

    /// Looks at the store's clock; what it shows, where it has one.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    pub async fn compare_clocks(&self) -> Result<Option<Timestamp>, StoreError> {
        let skew = &self.0.skew;
        let before = skew.own_now();
        let there = self
            .ask(|inner| async move { inner.records.time().await })
            .await?;
        if let Some(there) = there {
            skew.measured(before, there, skew.own_now());
        }
        Ok(there)
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
        let started = Instant::now();
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
        inner.metrics.called(started.elapsed());
        match &answer {
            Ok(_) => inner.health.answered(),
            Err(error) => {
                match error {
                    StoreError::Away(_) | StoreError::Taken(_) => inner.metrics.away(),
                    StoreError::Unusable(_) => inner.metrics.unusable(),
                }
                inner.health.failed(error);
            }
        }
        answer
    }
}

impl Inner {
    /// What becomes of a call when its time is over.
    fn late(&self) -> StoreError {
        let (place, within) = (self.records.place(), self.settings.timeout);
        StoreError::Away(format!("{place}: no answer within {within:?}").into())
    }

    /// The rows of these sessions: those that name no registration are of the inherited one.
    fn rows(&self, within: Within) -> Rows {
        let unnamed_too = within.takes_registration(&self.inherited.now());
        Rows {
            within,
            unnamed_too,
        }
    }
}

impl SessionStore for NearCache {
    fn at_hand(&self, hash: &SessionHash, now: Timestamp) -> Option<Arc<Session>> {
        let freshness = &self.0.freshness;
        self.0
            .known
            .at_hand(hash, |known_at| freshness.is_fresh(known_at, now))
    }

    fn memory(&self) -> Option<Memory> {
        Some(self.0.known.memory())
    }

    fn lookups(&self) -> Option<Lookups> {
        Some(self.0.known.lookups())
    }

    fn find<'a>(&'a self, hash: &'a SessionHash, _: Timestamp) -> StoreFuture<'a, Found> {
        Box::pin(async move {
            match self.0.known.get(hash) {
                Some(Entry::Ended(reason)) => Ok(Found::Ended(reason)),
                Some(Entry::Live(_)) | None => self.load(*hash).await,
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
            let hash = session.hash;
            let look = self.0.known.look(hash, now);
            let row = self.0.sealer.row(&session, &session.tokens());
            let limit = limit.map(|limit| Counted {
                limit,
                among: self.0.rows(limit.scope.around(&session)),
            });
            let inserted = self.ask(move |inner| async move {
                inner.records.insert(&row, limit.as_ref(), now).await
            });
            match inserted.await? {
                Insertion::Refused => Ok(Admission::Refused),
                Insertion::Stored { beyond } => {
                    // Another login may have taken its place already.
                    if look.take_in(session).is_overtaken {
                        self.load(hash).await?;
                    }
                    let mut over = Vec::new();
                    for hash in beyond {
                        let reason = EndReason::Superseded;
                        let ended = self.end(&hash, reason).await?;
                        over.extend(ended.map(|session| Over { session, reason }));
                    }
                    Ok(Admission::Admitted(over))
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
            let sealed = self.0.sealer.contents(session, &tokens);
            let (hash, version) = (session.hash, tokens.version);
            let replaced = self.ask(move |inner| async move {
                inner.records.replace(&hash, version, &sealed).await
            });
            Ok(match replaced.await? {
                Replacement::Saved => {
                    session.replace_tokens(&tokens);
                    self.0.known.weigh(session);
                    SaveOutcome::Saved
                }
                Replacement::Ended => {
                    self.load(hash).await?;
                    SaveOutcome::Ended
                }
                Replacement::Overtaken => {
                    self.load(hash).await?;
                    // Our own write may have been carried out though its answer got lost.
                    if session.tokens().are_those_of(&tokens) {
                        SaveOutcome::Saved
                    } else {
                        SaveOutcome::Overtaken
                    }
                }
            })
        })
    }

    fn slide(&self, session: &Arc<Session>, seen: Timestamp, expires: Timestamp) {
        let before = session.times();
        session.seen_at(seen, expires);
        self.0.known.used(session);
        let used = Times {
            seen,
            expires,
            ..before
        };
        let (this, session) = (self.clone(), Arc::clone(session));
        session.changes.notify_waiters();
        let hash = session.hash;
        self.0.runtime.spawn(async move {
            let slid = this
                .ask(move |inner| async move { inner.records.slide(&hash, seen, expires).await });
            match slid.await {
                Ok(true) => {}
                // It is over; why, the store knows.
                Ok(false) => drop(this.load(hash).await),
                // The next request tries again.
                Err(_) => session.take_use_back(used, before),
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
                    inner.records.end(&hash, reason, inner.clock.now()).await
                })
                .await?;
            let Some(row) = row else {
                // Somebody else was faster; the browser is told what the store remembers.
                self.load(hash).await?;
                return Ok(None);
            };
            self.0.known.end(&hash, Some(reason));
            Ok(self.0.sealer.open(&row).ok())
        })
    }

    fn expire<'a>(&'a self, hash: &'a SessionHash, now: Timestamp) -> StoreFuture<'a, bool> {
        Box::pin(self.end_if_expired(*hash, now))
    }

    fn sweep(&self, now: Timestamp) -> StoreFuture<'_, Vec<Over>> {
        self.0.known.settle();
        Box::pin(async move {
            let ended = self.end_expired_sessions(now).await?.into_iter();
            let reason = EndReason::Expired;
            Ok(ended.map(|session| Over { session, reason }).collect())
        })
    }

    fn tend(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            tokio::join!(
                self.listen(),
                self.prove(),
                self.confirm_what_was_heard(),
                self.look_after_streams(),
                self.keep_house(),
            );
        })
    }

    fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    fn clock_skew(&self) -> Option<i64> {
        self.0.skew.ahead()
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
                Ok(()) => match self.0.skew.condition() {
                    Condition::Well => self.0.health.condition(),
                    Condition::Noticed(clocks) => match self.0.health.condition() {
                        Condition::Noticed(fault) => {
                            Condition::Noticed(format!("{fault}; {clocks}"))
                        }
                        Condition::Well | Condition::Unwell(_) => Condition::Noticed(clocks),
                    },
                    unwell @ Condition::Unwell(_) => unwell,
                },
                Err(error) => Condition::Unwell(error.to_string()),
            }
        })
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearCache")
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}
