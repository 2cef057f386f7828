//! What the store answers, made our own.

use std::future::Future;
use std::sync::Arc;

use super::known::Look;
use super::{Inner, NearCache};
use crate::session::id::SessionHash;
use crate::session::record::Session;
use crate::session::seal::UnsealError;
use crate::session::store::record_store::{Lookup, Row};
use crate::session::store::{Found, Listed, StoreError};

/// How often the store is asked for an answer that no event overtook.
const LOOKS: usize = 3;

impl NearCache {
    /// Asks the store. An event that comes while the answer is under way may be what the answer does
    /// not know yet: then it is asked again, and at last taken for what it is.
    pub(super) async fn load(&self, hash: SessionHash) -> Result<Found, StoreError> {
        for looks in 1.. {
            let look = self.0.known.look(hash, self.0.clock.now());
            let lookup = self
                .ask(move |inner| async move { inner.records.load(&hash).await })
                .await?;
            let (found, is_overtaken) = self.take_in(&hash, lookup, &look)?;
            if !is_overtaken || looks == LOOKS {
                return Ok(found);
            }
        }
        Ok(Found::Nothing)
    }

    /// Makes the store's answer our own; and whether an event overtook it.
    fn take_in(
        &self,
        hash: &SessionHash,
        lookup: Lookup,
        look: &Look<'_>,
    ) -> Result<(Found, bool), StoreError> {
        let inner = &self.0;
        match lookup {
            Lookup::Row(row) => match inner.sealer.open(&row) {
                Ok(session) => {
                    let taken = look.take_in(session);
                    if inner.sealer.is_outdated(&row.sealed) {
                        self.reseal(&taken.session);
                    }
                    let found = match taken.session.ending.reason() {
                        None => Found::Live(taken.session),
                        Some(reason) => Found::Ended(reason),
                    };
                    Ok((found, taken.is_overtaken))
                }
                Err(error) => Ok((inner.unreadable(&row, error)?, false)),
            },
            Lookup::Ended(reason) => {
                inner.known.end(hash, Some(reason));
                Ok((Found::Ended(reason), false))
            }
            Lookup::Nothing => {
                inner.known.end(hash, None);
                Ok((Found::Nothing, false))
            }
        }
    }

    /// Seals a row by the first key, beside the request: so an old key can be retired (G7).
    fn reseal(&self, session: &Arc<Session>) {
        let (this, session) = (self.clone(), Arc::clone(session));
        self.0.runtime.spawn(async move {
            let tokens = Arc::clone(&session.tokens());
            let sealed = this.0.sealer.contents(&session, &tokens);
            let (hash, version) = (session.hash, tokens.version);
            let resealed = this.ask(move |inner| async move {
                inner.records.reseal(&hash, version, &sealed).await
            });
            if let Err(error) = resealed.await {
                tracing::debug!(session_id = ?hash, %error, "a record keeps its old key for now");
            }
        });
    }

    pub(super) async fn listed(
        &self,
        rows: impl Future<Output = Result<Vec<Row>, StoreError>>,
    ) -> Result<Vec<Listed>, StoreError> {
        let rows = rows.await?;
        Ok(rows.into_iter().map(|row| self.0.listed(row)).collect())
    }
}

impl Inner {
    /// A row that does not open is nobody's logout if a key may yet come, and the end for its own
    /// browser if it is damaged. The row stays, for whoever looks into it.
    fn unreadable(&self, row: &Row, error: UnsealError) -> Result<Found, StoreError> {
        let hash = row.hash;
        self.health.noticed(&format!(
            "the record of session {hash:?} does not open: {error}"
        ));
        match error {
            UnsealError::UnknownKey | UnsealError::NewerForm => {
                Err(StoreError::Unusable(error.into()))
            }
            UnsealError::Corrupt => Ok(Found::Nothing),
        }
    }

    pub(super) fn listed(&self, row: Row) -> Listed {
        let row = self.sealer.named(row);
        let session = self.sealer.open(&row).ok();
        Listed {
            facts: row.facts,
            times: row.times,
            session,
        }
    }
}
