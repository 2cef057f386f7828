//! What is done for as long as the process runs, beside all requests: nodes are heard and told, the
//! store's clock is looked at, and what the store holds is kept small.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::NearCache;
use super::cleaning::CLEAN_EVERY;
use crate::session::id::SessionHash;
use crate::session::store::StoreError;
use crate::session::store::record_store::{Event, Listener, Server};
use crate::session::store::voice::Heartbeat;

/// How often what cannot be heard is looked at, where something is open on its behalf.
const LOOK_AFTER: Duration = Duration::from_millis(250);
const LOOKED_AT_ONCE: usize = 500;

/// Before the store is asked again about what was heard of: whoever floods the channel makes no more
/// trips than this allows.
const BETWEEN_CONFIRMATIONS: Duration = Duration::from_millis(20);

/// How often the store's clock is looked at: a clock that was moved is noticed within this.
const COMPARE_EVERY: Duration = Duration::from_secs(1);

/// How often the other nodes are told how our clock stands: well within the time for which they believe it.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Before the push channel is opened again.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_millis(250);

impl NearCache {
    /// Opens the push channel again and again.
    pub(super) async fn listen(&self) {
        loop {
            let listener = Arc::new(ChannelListener(self.clone()));
            let Err(error) = self.0.records.listen(listener).await else {
                continue;
            };
            self.0.freshness.unsubscribed();
            tracing::debug!(%error, "the store's push channel is cut");
            tokio::time::sleep(LISTEN_AGAIN_AFTER).await;
        }
    }

    /// Sends heartbeats round the channel, each of which proves that all before it was heard, and tells the
    /// others with some of them how our clock stands.
    pub(super) async fn prove(&self) {
        let Some(every) = self.0.freshness.heartbeat_every() else {
            return std::future::pending().await;
        };
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut compared, mut told) = (None, None);
        loop {
            tick.tick().await;
            if compared.is_none_or(|at: Instant| at.elapsed() >= COMPARE_EVERY) {
                compared = Some(Instant::now());
                // Told by `ask`, and tried again.
                drop(self.compare_clocks().await);
            }
            let heartbeat = Heartbeat {
                node: self.0.node.as_str().into(),
                number: self.0.freshness.next_heartbeat(self.0.clock.now()),
                said: self.0.skew.own_now(),
                ahead: self.0.skew.ahead(),
            }
            .to_string();
            let sent = if told.is_none_or(|at: Instant| at.elapsed() >= TELL_EVERY) {
                told = Some(Instant::now());
                self.0.records.announce(&heartbeat)
            } else {
                self.0.records.prove(&heartbeat)
            };
            let announced = timeout(self.0.settings.timeout, sent);
            if let Err(error) = announced.await.unwrap_or_else(|_| Err(self.0.late())) {
                self.0.health.failed(&error);
            }
        }
    }

    /// Looks at sessions with something open on their behalf, where the channel might not have told
    /// of their end: while it is cut, and once when it is back.
    pub(super) async fn look_after_streams(&self) {
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
        let (freshness, now) = (&self.0.freshness, self.0.clock.now());
        let is_fresh = |known_at| freshness.is_fresh(known_at, now);
        for hashes in self.0.known.stale(is_fresh).chunks(LOOKED_AT_ONCE) {
            self.look_at(hashes.to_vec()).await?;
        }
        Ok(())
    }

    /// Asks what these sessions are worth, in one trip.
    async fn look_at(&self, hashes: Vec<SessionHash>) -> Result<(), StoreError> {
        let asked = self.0.clock.now();
        let hashes: Arc<[_]> = hashes.into();
        let standings = self.ask({
            let hashes = Arc::clone(&hashes);
            move |inner| async move { inner.records.standings(&hashes).await }
        });
        for (hash, standing) in hashes.iter().zip(standings.await?) {
            self.0.known.stands(hash, standing, asked);
        }
        Ok(())
    }

    /// Asks about what was heard of: one trip after the other, however much is told.
    pub(super) async fn confirm_what_was_heard(&self) {
        loop {
            let hashes = self.0.unconfirmed.next(LOOKED_AT_ONCE).await;
            if self.look_at(hashes.clone()).await.is_err() {
                for hash in &hashes {
                    self.0.known.invalidate(hash);
                }
                self.0.freshness.invalidate();
            }
            tokio::time::sleep(BETWEEN_CONFIRMATIONS).await;
        }
    }

    /// Keeps the count, and what the store should forget.
    pub(super) async fn keep_house(&self) {
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
}

/// Hears what the nodes tell.
struct ChannelListener(NearCache);

impl Listener for ChannelListener {
    fn subscribed(&self) {
        let inner = &self.0.0;
        inner.freshness.subscribed(inner.clock.now());
    }

    fn heard(&self, event: Event) {
        let (Event::Ended(hash, _) | Event::Changed(hash, _)) = event;
        let inner = &self.0.0;
        if inner.known.hear(event) && !inner.unconfirmed.add(hash) {
            inner.freshness.invalidate();
        }
    }

    /// The store says whether it is true: whoever may speak on the channel is not believed.
    fn hinted(&self, event: Event) {
        let (Event::Ended(hash, _) | Event::Changed(hash, _)) = event;
        let inner = &self.0.0;
        if inner.known.concerns(&hash) && !inner.unconfirmed.add(hash) {
            inner.known.invalidate(&hash);
            inner.freshness.invalidate();
        }
    }

    fn echoed(&self, heartbeat: &str, by: Server) {
        let inner = &self.0.0;
        let Some(heartbeat) = Heartbeat::read(heartbeat) else {
            return;
        };
        if *heartbeat.node == *inner.node {
            inner.freshness.came_back(heartbeat.number, by);
        } else {
            inner.skew.heard(&heartbeat);
        }
    }
}

impl fmt::Debug for ChannelListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelListener")
    }
}
