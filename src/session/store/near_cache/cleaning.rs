//! What has expired ends: what this process has at hand when its time comes, and now and then what no
//! process has. All by the store's time, and nothing while our clock differs from it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::NearCache;
use super::known::Entry;
use crate::clock::Timestamp;
use crate::session::id::SessionHash;
use crate::session::record::Session;
use crate::session::store::{Found, StoreError};
use crate::web::ending::EndReason;

/// How often this process looks for sessions that nobody uses any more, and how many it takes.
pub(super) const CLEAN_EVERY: Duration = Duration::from_secs(10);
const CLEAN_AT_ONCE: usize = 200;

impl NearCache {
    /// Ends what has expired; `now` says whether it is worth a look at the store's clock.
    pub(super) async fn end_expired_sessions(
        &self,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        let cleaned = Timestamp::from_unix_millis(self.0.cleaned.load(Ordering::Relaxed));
        let cleans = now.since(cleaned) >= CLEAN_EVERY;
        if self.0.skew.differs() || !(cleans || self.0.known.is_due(now)) {
            return Ok(Vec::new());
        }
        let Some(now) = self.cleaning_time(now).await? else {
            return Ok(Vec::new());
        };
        let mut ended = self.end_due(now).await?;
        if cleans {
            self.0.cleaned.store(now.unix_millis(), Ordering::Relaxed);
            ended.extend(self.clean(now).await?);
        }
        Ok(ended)
    }

    /// Ends a session that ran into a limit as our clock had it, if it has as it stands.
    pub(super) async fn end_if_expired(
        &self,
        hash: SessionHash,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut now = now;
        if self.0.records.is_shared() {
            // Our clock may have been moved since the store's was looked at.
            self.compare_clocks().await?;
            now = self.0.clock.now();
        }
        Ok(self.end_expired(hash, now).await?.is_some())
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

    /// The time by which expired sessions are cleaned up, which is the store's; `None` while our clock
    /// and the store's differ.
    async fn cleaning_time(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        if !self.0.records.is_shared() {
            return Ok(Some(now));
        }
        let there = self.compare_clocks().await?;
        Ok((!self.0.skew.differs()).then_some(there.unwrap_or(now)))
    }

    /// Ends what this process has at hand and has expired.
    async fn end_due(&self, now: Timestamp) -> Result<Vec<Arc<Session>>, StoreError> {
        let known = &self.0.known;
        let mut ended = Vec::new();
        while let Some(hash) = known.pop_due(now) {
            let Some(Entry::Live(session)) = known.get(&hash) else {
                continue;
            };
            if session.expires() > now {
                known.queue(&session);
                continue;
            }
            match self.end_expired(hash, now).await {
                Ok(Some(session)) => ended.push(session),
                // Used on another node, or ended there: the store knows.
                Ok(None) => match self.load(hash).await? {
                    Found::Live(session) => known.queue(&session),
                    Found::Ended(_) | Found::Nothing => {}
                },
                Err(error) => {
                    // Later, and nothing is forgotten.
                    known.queue_at(hash, now + CLEAN_EVERY);
                    return Err(error);
                }
            }
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
            .ask(move |inner| async move { inner.records.end_expired(&hash, now).await })
            .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        self.0.known.end(&hash, Some(EndReason::Expired));
        Ok(self.0.sealer.open(&row).ok())
    }
}
