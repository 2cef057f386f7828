//! Rows in a SQL database: what SQLite and PostgreSQL have in common, which is nearly all.
//!
//! Every step is one statement, or one transaction where it has to be. A [`Dialect`] says how its
//! database is reached, what its faults mean, and the few statements that differ.

pub mod dialect;
mod pool;
mod row;
mod statements;
#[cfg(feature = "postgres")]
mod tables;
mod telling;

#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::session::id::SessionHash;
use crate::session::store::record_store::{
    Counted, Event, Insertion, Listener, Lookup, RecordStore, Replacement, Row, Rows, Standing,
};
use crate::session::store::{Cursor, OnLimit, Recency, StoreError, StoreFuture};
use crate::web::ending::EndReason;

use dialect::{Cells as _, Dialect, Value};
use pool::Pool;
use row::{
    ROW_COLUMNS, among, bytes_of, insert_values, int, key, literally, to_hash, to_reason, to_row,
    to_standing,
};
use statements::{
    EXPIRED, FORGET_NOTES, INSERT, IS_LIVE, KEEP, LATEST, LIVE_OF_SUBJECT, OF_PROVIDER_SID,
    OF_SUBJECT, PAGE, PEEK, RELEASE, RESEAL, SLIDE, TAKE,
};
use telling::Telling;

/// How a store in a database is used.
#[derive(Debug, Clone, Copy)]
pub struct SqlSettings {
    /// How long a call may take, connecting included.
    pub timeout: Duration,
    /// What happens to an older schema.
    pub migrations: Migrations,
}

/// What happens where the schema is missing or old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrations {
    /// It is brought up to date when a connection is made.
    Run,
    /// The store is unusable until `bff migrate` was run.
    Check,
}

/// Rows in a database.
#[derive(Debug)]
pub struct SqlStore<D: Dialect> {
    pool: Arc<Pool<D>>,
    telling: Telling<D>,
}

impl<D: Dialect> SqlStore<D> {
    fn over(dialect: D, timeout: Duration) -> Self {
        let pool = Arc::new(Pool::new(dialect, timeout));
        Self {
            telling: Telling::new(&pool),
            pool,
        }
    }

    /// One statement on a connection of its own.
    async fn ask(
        &self,
        statement: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<D::Row>, StoreError> {
        self.pool
            .step(async {
                let mut held = self.pool.hold().await?;
                let rows = D::fetch(&mut held.connection, statement, values).await?;
                Ok((held, rows))
            })
            .await
    }

    /// As [`ask`](Self::ask), and reads each row of the answer.
    async fn ask_each<T>(
        &self,
        statement: &'static str,
        values: &[Value<'_>],
        read: impl Fn(&D::Row) -> Result<T, sqlx::Error> + Send,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.ask(statement, values).await?;
        let read: Result<_, _> = rows.iter().map(read).collect();
        read.map_err(|error| self.pool.dialect().explain(error))
    }

    async fn end_if_due(
        &self,
        hash: &SessionHash,
        reason: EndReason,
        now: Timestamp,
        due: i64,
    ) -> Result<Option<Row>, StoreError> {
        let ending = self.pool.step(async {
            let mut held = self.pool.hold().await?;
            let dialect = self.pool.dialect();
            let told = dialect.tellings(Event::Ended(*hash, reason));
            let connection = &mut held.connection;
            let row = dialect
                .end(connection, hash, reason, now, due, &told)
                .await?;
            Ok((held, row))
        });
        let row = ending.await?;
        if row.is_some() {
            self.telling.say();
        }
        Ok(row)
    }

    async fn insert_within(
        &self,
        row: &Row,
        counted: &Counted,
        now: Timestamp,
    ) -> Result<Insertion, StoreError> {
        let limit = counted.limit;
        self.pool
            .step(async {
                let mut held = self.pool.hold().await?;
                let connection = &mut held.connection;
                D::fetch(connection, "BEGIN", &[]).await?;
                if !D::LOCK_SUBJECT.is_empty() {
                    D::fetch(connection, D::LOCK_SUBJECT, &[Value::Text(&row.subject)]).await?;
                }
                let mut values = vec![Value::Text(&row.subject), Value::Int(now.unix_millis())];
                values.extend(among(&counted.among));
                values.push(bytes_of(&row.hash));
                let others = D::fetch(connection, LIVE_OF_SUBJECT, &values).await?;
                let beyond = (others.len() + 1).saturating_sub(limit.most);
                let outcome = if beyond > 0 && limit.on_limit == OnLimit::Refuse {
                    Insertion::Refused
                } else {
                    D::fetch(connection, INSERT, &insert_values(row, &key(&row.name))).await?;
                    let oldest = others.iter().take(beyond).map(to_hash);
                    Insertion::Stored {
                        beyond: oldest.collect::<Result<_, _>>()?,
                    }
                };
                D::fetch(connection, "COMMIT", &[]).await?;
                Ok((held, outcome))
            })
            .await
    }
}

impl<D: Dialect> RecordStore for SqlStore<D> {
    fn place(&self) -> String {
        self.pool.dialect().place()
    }

    fn prepare(&self) -> StoreFuture<'_, ()> {
        self.check()
    }

    fn insert<'a>(
        &'a self,
        row: &'a Row,
        limit: Option<&'a Counted>,
        now: Timestamp,
    ) -> StoreFuture<'a, Insertion> {
        Box::pin(async move {
            if let Some(limit) = limit {
                return self.insert_within(row, limit, now).await;
            }
            self.ask(INSERT, &insert_values(row, &key(&row.name)))
                .await?;
            Ok(Insertion::Stored { beyond: Vec::new() })
        })
    }

    fn load<'a>(&'a self, hash: &'a SessionHash) -> StoreFuture<'a, Lookup> {
        Box::pin(async move {
            let read = |row: &D::Row| match row.int(ROW_COLUMNS)? {
                Some(reason) => Ok(Lookup::Ended(to_reason(reason)?)),
                None => Ok(Lookup::Row(to_row(row)?)),
            };
            let found = self.ask_each(D::LOAD, &[bytes_of(hash)], read).await?;
            Ok(found.into_iter().next().unwrap_or(Lookup::Nothing))
        })
    }

    fn standings<'a>(&'a self, hashes: &'a [SessionHash]) -> StoreFuture<'a, Vec<Standing>> {
        Box::pin(async move {
            if hashes.is_empty() {
                return Ok(Vec::new());
            }
            let all: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
            let values = [Value::Bytes(&all), Value::Int(int(hashes.len()))];
            self.ask_each(D::STANDINGS, &values, to_standing).await
        })
    }

    fn replace<'a>(
        &'a self,
        hash: &'a SessionHash,
        version: u64,
        sealed: &'a [u8],
    ) -> StoreFuture<'a, Replacement> {
        Box::pin(async move {
            let told = self.pool.dialect().tellings(Event::Changed(*hash, version));
            let mut values = vec![
                bytes_of(hash),
                Value::Int(int(version)),
                Value::Bytes(sealed),
            ];
            values.extend(told.iter().map(|told| Value::Text(told)));
            let replace = self.pool.dialect().replace();
            if !self.ask(replace, &values).await?.is_empty() {
                self.telling.say();
                return Ok(Replacement::Saved);
            }
            let live = self.ask(IS_LIVE, &[bytes_of(hash)]).await?;
            Ok(if live.is_empty() {
                Replacement::Ended
            } else {
                Replacement::Overtaken
            })
        })
    }

    fn reseal<'a>(
        &'a self,
        hash: &'a SessionHash,
        version: u64,
        sealed: &'a [u8],
    ) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let values = [
                bytes_of(hash),
                Value::Int(int(version)),
                Value::Bytes(sealed),
            ];
            self.ask(RESEAL, &values).await.map(drop)
        })
    }

    fn slide<'a>(
        &'a self,
        hash: &'a SessionHash,
        seen: Timestamp,
        expires: Timestamp,
    ) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            let values = [
                bytes_of(hash),
                Value::Int(seen.unix_millis()),
                Value::Int(expires.unix_millis()),
            ];
            Ok(!self.ask(SLIDE, &values).await?.is_empty())
        })
    }

    fn end<'a>(
        &'a self,
        hash: &'a SessionHash,
        reason: EndReason,
        now: Timestamp,
    ) -> StoreFuture<'a, Option<Row>> {
        Box::pin(self.end_if_due(hash, reason, now, i64::MAX))
    }

    fn end_expired<'a>(
        &'a self,
        hash: &'a SessionHash,
        now: Timestamp,
    ) -> StoreFuture<'a, Option<Row>> {
        Box::pin(self.end_if_due(hash, EndReason::Expired, now, now.unix_millis()))
    }

    fn expired(&self, now: Timestamp, at_most: usize) -> StoreFuture<'_, Vec<SessionHash>> {
        Box::pin(async move {
            let values = [Value::Int(now.unix_millis()), Value::Int(int(at_most))];
            self.ask_each(EXPIRED, &values, to_hash).await
        })
    }

    fn forget(&self, now: Timestamp) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.ask(FORGET_NOTES, &[Value::Int(now.unix_millis())])
                .await?;
            for statement in D::FORGET {
                self.ask(statement, &[]).await?;
            }
            Ok(())
        })
    }

    fn of_subject<'a>(&'a self, subject: &'a str, rows: &'a Rows) -> StoreFuture<'a, Vec<Row>> {
        Box::pin(async move {
            let mut values = vec![Value::Text(subject), Value::Int(0)];
            values.extend(among(rows));
            self.ask_each(OF_SUBJECT, &values, to_row).await
        })
    }

    fn of_provider_sid<'a>(&'a self, sid: &'a str, rows: &'a Rows) -> StoreFuture<'a, Vec<Row>> {
        Box::pin(async move {
            let mut values = vec![Value::Text(sid), Value::Int(0)];
            values.extend(among(rows));
            self.ask_each(OF_PROVIDER_SID, &values, to_row).await
        })
    }

    fn page<'a>(
        &'a self,
        word: &'a str,
        rows: &'a Rows,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> StoreFuture<'a, Vec<Row>> {
        Box::pin(async move {
            let word = literally(&key(word));
            let (after_blank, after_hyphen) = (format!("% {word}%"), format!("%-{word}%"));
            let name = after.map(|cursor| key(&cursor.name));
            let hash = after.map(|cursor| *cursor.hash.as_bytes());
            let mut values = vec![
                Value::Text(name.as_deref().unwrap_or_default()),
                Value::Bytes(hash.as_ref().map_or(&[], |hash| hash)),
            ];
            values.extend(among(rows));
            values.extend([
                Value::Text(&after_blank),
                Value::Text(&after_hyphen),
                Value::Int(int(at_most)),
            ]);
            self.ask_each(PAGE, &values, to_row).await
        })
    }

    fn latest<'a>(
        &'a self,
        rows: &'a Rows,
        after: Option<Recency>,
        at_most: usize,
    ) -> StoreFuture<'a, (Vec<Row>, Option<Recency>)> {
        Box::pin(async move {
            let seen = after.map_or(i64::MAX, |after| after.at.unix_millis());
            let hash = after.map(|after| *after.hash.as_bytes());
            let mut values = vec![
                Value::Int(seen),
                Value::Bytes(hash.as_ref().map_or(&[], |hash| hash)),
            ];
            values.extend(among(rows));
            values.push(Value::Int(int(at_most)));
            let rows = self.ask_each(LATEST, &values, to_row).await?;
            let last = rows.last().filter(|_| rows.len() >= at_most);
            let next = last.map(|row| Recency {
                at: row.times.seen,
                hash: row.hash,
            });
            Ok((rows, next))
        })
    }

    fn count(&self) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            let counts = self.ask_each(D::COUNT, &[], |row| row.int(0)).await?;
            let count = counts.into_iter().next().flatten().unwrap_or(0);
            Ok(u64::try_from(count).unwrap_or(0))
        })
    }

    fn lease<'a>(&'a self, name: &'a str, owner: &'a str, span: Duration) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            let values = [
                Value::Text(name),
                Value::Text(owner),
                Value::Int(int(span.as_millis())),
            ];
            Ok(!self.ask(D::LEASE, &values).await?.is_empty())
        })
    }

    fn release<'a>(&'a self, name: &'a str, owner: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let values = [Value::Text(name), Value::Text(owner)];
            self.ask(RELEASE, &values).await.map(drop)
        })
    }

    fn keep<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        span: Duration,
        now: Timestamp,
    ) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            let values = [
                Value::Text(key),
                Value::Bytes(value),
                Value::Int((now + span).unix_millis()),
                Value::Int(now.unix_millis()),
            ];
            Ok(!self.ask(KEEP, &values).await?.is_empty())
        })
    }

    fn peek<'a>(&'a self, key: &'a str, now: Timestamp) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let values = [Value::Text(key), Value::Int(now.unix_millis())];
            let found = self.ask_each(PEEK, &values, |row| row.bytes(0)).await?;
            Ok(found.into_iter().next().flatten())
        })
    }

    fn take<'a>(&'a self, key: &'a str, now: Timestamp) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let values = [Value::Text(key), Value::Int(now.unix_millis())];
            let taken = self.ask_each(TAKE, &values, |row| row.bytes(0)).await?;
            Ok(taken.into_iter().next().flatten())
        })
    }

    fn listen(&self, listener: Arc<dyn Listener>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let listened = self.pool.dialect().listen(listener).await;
            listened.map_err(|trouble| self.pool.explain(trouble))
        })
    }

    fn announce<'a>(&'a self, heartbeat: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let announcing = self.pool.step(async {
                let mut held = self.pool.hold().await?;
                let dialect = self.pool.dialect();
                dialect.announce(&mut held.connection, heartbeat).await?;
                Ok((held, ()))
            });
            announcing.await?;
            self.telling.say();
            Ok(())
        })
    }

    fn time(&self) -> StoreFuture<'_, Option<Timestamp>> {
        Box::pin(async move {
            if D::TIME.is_empty() {
                return Ok(None);
            }
            let shown = self.ask_each(D::TIME, &[], |row| row.int(0)).await?;
            let shown = shown.into_iter().next().flatten();
            Ok(shown.map(Timestamp::from_unix_millis))
        })
    }

    fn is_shared(&self) -> bool {
        D::SHARED
    }

    fn check(&self) -> StoreFuture<'_, ()> {
        Box::pin(self.pool.step(async {
            let mut held = self.pool.hold().await?;
            self.pool.dialect().inspect(&mut held.connection).await?;
            // A write tells what no question does: that there is room for it.
            let values = [Value::Text("check"), Value::Text("check"), Value::Int(1000)];
            D::fetch(&mut held.connection, D::LEASE, &values).await?;
            Ok((held, ()))
        }))
    }
}
