//! A few connections, opened when needed and thrown away at the first fault.
//!
//! sqlx's own pool keeps trying an address that refuses until its time is over, and hands out dead
//! connections one by one after an outage. Here a call says at once what is wrong, and one fault
//! ends all connections that lie idle: the next call meets the database as it is now.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::Connection as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use crate::session::store::StoreError;

use super::dialect::{Dialect, Trouble, away};

/// A connection that lay idle for longer is asked first whether it still stands.
const FRESH: Duration = Duration::from_secs(1);

/// The connections of a store.
#[derive(Debug)]
pub(super) struct Pool<D: Dialect> {
    dialect: D,
    timeout: Duration,
    permits: Semaphore,
    idle: Mutex<Vec<(D::Connection, Instant)>>,
}

/// A connection in use; closed when dropped, unless the step went well.
#[derive(Debug)]
pub(super) struct Held<'a, D: Dialect> {
    pub(super) connection: D::Connection,
    permit: SemaphorePermit<'a>,
}

impl<D: Dialect> Pool<D> {
    pub(super) fn new(dialect: D, timeout: Duration) -> Self {
        Self {
            dialect,
            timeout,
            permits: Semaphore::new(D::CONNECTIONS),
            idle: Mutex::default(),
        }
    }

    pub(super) fn dialect(&self) -> &D {
        &self.dialect
    }

    /// Does `work` in time, and keeps its connection for the next if it went well. What was begun
    /// on a connection that is not kept, the database takes back.
    pub(super) async fn step<'a, T>(
        &'a self,
        work: impl Future<Output = Result<(Held<'a, D>, T), Trouble>>,
    ) -> Result<T, StoreError> {
        let error = match timeout(self.timeout, work).await {
            Ok(Ok((held, value))) => {
                // Behind it the permit falls: who gets it next finds the connection.
                self.idle().push((held.connection, Instant::now()));
                drop(held.permit);
                return Ok(value);
            }
            Ok(Err(trouble)) => self.explain(trouble),
            Err(_) => away(format!(
                "{}: no answer within {:?}",
                self.dialect.place(),
                self.timeout
            )),
        };
        self.idle().clear();
        Err(error)
    }

    /// A connection that works, idle or new.
    pub(super) async fn hold(&self) -> Result<Held<'_, D>, Trouble> {
        let permit = self.permits.acquire().await;
        let permit = permit.map_err(|_| away("the store was closed".to_owned()))?;
        loop {
            let idle = self.idle().pop();
            let (mut connection, fresh) = match idle {
                Some((connection, since)) => (connection, since.elapsed() < FRESH),
                None => (self.dialect.connect().await?, true),
            };
            if fresh || connection.ping().await.is_ok() {
                return Ok(Held { connection, permit });
            }
        }
    }

    pub(super) fn explain(&self, trouble: Trouble) -> StoreError {
        match trouble {
            Trouble::Sql(error) => self.dialect.explain(error),
            Trouble::Store(error) => error,
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(D::Connection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
