//! How what nodes tell each other leaves a database in which it waits: at once where nothing was told just
//! now, else together with all that comes within a moment.
//!
//! A step leaves what it tells in a table, in the transaction that makes it true. Its node then says all
//! that is there, or waits for the turn. What a dead node left is said before the next heartbeat of any
//! other, which waits in the same table.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use crate::session::store::StoreError;

use super::dialect::Dialect;
use super::pool::Pool;

/// For how long what comes waits for more; the statement `SAY` has it too.
const MOMENT: Duration = Duration::from_millis(50);

/// Says what waits.
#[derive(Debug)]
pub(super) struct Telling<D: Dialect> {
    pool: Arc<Pool<D>>,
    /// Whether a task is about to.
    is_due: Arc<AtomicBool>,
}

impl<D: Dialect> Telling<D> {
    pub(super) fn new(pool: &Arc<Pool<D>>) -> Self {
        Self {
            pool: Arc::clone(pool),
            is_due: Arc::default(),
        }
    }

    /// Something may wait.
    pub(super) fn say(&self) {
        if !self.pool.dialect().waits() || self.is_due.swap(true, Ordering::AcqRel) {
            return;
        }
        let (pool, is_due) = (Arc::clone(&self.pool), Arc::clone(&self.is_due));
        tokio::spawn(async move {
            loop {
                // Whoever comes from here on is not seen for certain.
                is_due.store(false, Ordering::Release);
                match say(&pool).await {
                    Ok(true) => return,
                    Ok(false) => {}
                    // The next heartbeat says it.
                    Err(error) => {
                        tracing::debug!(%error, "what waited to be told was not said");
                        return;
                    }
                }
                if is_due.swap(true, Ordering::AcqRel) {
                    return;
                }
                sleep(MOMENT).await;
            }
        });
    }
}

/// Whether nothing waits any more.
async fn say<D: Dialect>(pool: &Pool<D>) -> Result<bool, StoreError> {
    pool.step(async {
        let mut held = pool.hold().await?;
        let said = D::fetch(&mut held.connection, D::SAY, &[]).await?;
        let waits = said.is_empty()
            && !D::fetch(&mut held.connection, D::WAITING, &[])
                .await?
                .is_empty();
        Ok((held, !waits))
    })
    .await
}
