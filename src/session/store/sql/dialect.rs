//! What a kind of database has to say for itself.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::session::id::SessionHash;
use crate::session::store::StoreError;
use crate::session::store::record_store::{Event, Listener, Row};
use crate::web::ending::EndReason;

use super::Migrations;

/// The schema that this `bff` knows. It counts changes that an older `bff` could not live with.
pub(super) const SCHEMA_VERSION: i64 = 1;

/// A kind of database.
pub trait Dialect: Send + Sync + fmt::Debug + Sized + 'static {
    /// How it is talked to.
    type Connection: sqlx::Connection + fmt::Debug + Send;
    /// What it answers.
    type Row: Cells + Send + Sync;

    /// How many connections may be open.
    const CONNECTIONS: usize;
    /// Whether other processes may change what is here.
    const SHARED: bool;

    /// `$1` hash → ended, and a row's columns; an end past its time is not found.
    const LOAD: &'static str;
    /// `$1` hashes one behind the other, `$2` how many → for each version, ended.
    const STANDINGS: &'static str;
    /// → how many live, about: each node asks every few seconds.
    const COUNT: &'static str;
    /// The time in milliseconds; empty where that is the machine's.
    const TIME: &'static str;
    /// Holds back other inserts of the subject `$1` until the transaction ends; empty where no
    /// other connection is.
    const LOCK_SUBJECT: &'static str;
    /// `$1` name, `$2` owner, `$3` span → a row where the lease was taken.
    const LEASE: &'static str;
    /// Says what waits, if it is our turn → a row where it was. Unused where nothing
    /// [`waits`](Self::waits).
    const SAY: &'static str = "";
    /// → a row where something waits.
    const WAITING: &'static str = "";
    /// Removes what is over in the store's own time.
    const FORGET: [&'static str; 2];

    /// Opens a connection, and brings the schema up to date or finds it to be so.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Trouble>> + Send;

    /// Whether the schema is known and writes are taken, as far as asking tells.
    fn inspect(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// Runs a statement.
    fn fetch(
        connection: &mut Self::Connection,
        statement: &'static str,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Vec<Self::Row>, sqlx::Error>> + Send;

    /// `$1` hash, `$2` version, `$3` sealed, and from `$4` on what to tell → a row where it was replaced.
    fn replace(&self) -> &'static str;

    /// Whether what is told waits in the database for who says it.
    fn waits(&self) -> bool {
        false
    }

    /// What the others are told of an event; where there are none, nothing.
    fn tellings(&self, event: Event) -> Vec<String>;

    /// Ends a session whose `expires` is not after `due`, if it lives, and tells the others. It is
    /// remembered for as long as it could have lived from `now` on.
    fn end(
        &self,
        connection: &mut Self::Connection,
        hash: &SessionHash,
        reason: EndReason,
        now: Timestamp,
        due: i64,
        told: &[String],
    ) -> impl Future<Output = Result<Option<Row>, sqlx::Error>> + Send;

    /// As [`RecordStore::listen`](super::RecordStore::listen).
    fn listen(
        &self,
        listener: Arc<dyn Listener>,
    ) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// As [`RecordStore::announce`](super::RecordStore::announce).
    fn announce(
        &self,
        connection: &mut Self::Connection,
        heartbeat: &str,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// The database, as the operator knows it.
    fn place(&self) -> String;

    /// What a fault means, and what to mend.
    fn explain(&self, error: sqlx::Error) -> StoreError;
}

/// What goes into a statement.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// A number.
    Int(i64),
    /// A text.
    Text(&'a str),
    /// A text, or none.
    MaybeText(Option<&'a str>),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// What a statement answers, by column.
pub trait Cells {
    /// A number, or null.
    ///
    /// # Errors
    ///
    /// If the column holds something else.
    fn int(&self, column: usize) -> Result<Option<i64>, sqlx::Error>;

    /// A text, or null.
    ///
    /// # Errors
    ///
    /// If the column holds something else.
    fn text(&self, column: usize) -> Result<Option<String>, sqlx::Error>;

    /// Bytes, or null.
    ///
    /// # Errors
    ///
    /// If the column holds something else.
    fn bytes(&self, column: usize) -> Result<Option<Vec<u8>>, sqlx::Error>;
}

/// Why a step came to nothing: what the database said, or what that means.
#[derive(Debug)]
pub enum Trouble {
    /// Yet to be [`explain`](Dialect::explain)ed.
    Sql(sqlx::Error),
    /// Explained.
    Store(StoreError),
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A sentence for the operator. It says all that is to be known: what was behind it would only say it
/// again, with lines of the database's own source.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Fault(String);

pub(super) fn away(sentence: String) -> StoreError {
    StoreError::Away(Box::new(Fault(sentence)))
}

pub(super) fn taken(sentence: String) -> StoreError {
    StoreError::Taken(Box::new(Fault(sentence)))
}

pub(super) fn unusable(sentence: String) -> StoreError {
    StoreError::Unusable(Box::new(Fault(sentence)))
}

/// What is found of a schema.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schema {
    /// `None` where there is none yet.
    pub(super) version: Option<i64>,
    /// Whether sessions have the columns that say whose site's they are. They came within a version,
    /// since a `bff` that does not know them reads and writes past them.
    pub(super) knows_sites: bool,
}

/// What to do about a schema.
pub(super) fn judge_schema(
    place: &str,
    found: Schema,
    migrations: Migrations,
) -> Result<SchemaState, StoreError> {
    match found.version {
        Some(SCHEMA_VERSION) if found.knows_sites => Ok(SchemaState::Current),
        Some(SCHEMA_VERSION) if migrations == Migrations::Run => Ok(SchemaState::LacksSites),
        Some(newer) if newer > SCHEMA_VERSION => Err(unusable(format!(
            "the schema in {place} is version {newer}, of a newer bff, and this one knows \
                 version {SCHEMA_VERSION}: upgrade this bff"
        ))),
        _ if migrations == Migrations::Run => Ok(SchemaState::Missing),
        _ => Err(unusable(format!(
            "the schema in {place} is missing or old: run `bff migrate`"
        ))),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SchemaState {
    /// As this `bff` knows it.
    Current,
    /// As it was before sites.
    LacksSites,
    /// There is none.
    Missing,
}

/// Makes a dialect's rows readable, and its statements runnable: the same words for each of sqlx's
/// drivers, whose common bounds would be longer.
macro_rules! speak {
    ($row:ty, $connection:ty, |$text:ident| $bound:expr) => {
        impl $crate::session::store::sql::dialect::Cells for $row {
            fn int(&self, column: usize) -> Result<Option<i64>, sqlx::Error> {
                sqlx::Row::try_get(self, column)
            }

            fn text(&self, column: usize) -> Result<Option<String>, sqlx::Error> {
                sqlx::Row::try_get(self, column)
            }

            fn bytes(&self, column: usize) -> Result<Option<Vec<u8>>, sqlx::Error> {
                sqlx::Row::try_get(self, column)
            }
        }

        async fn fetch(
            connection: &mut $connection,
            statement: &'static str,
            values: &[Value<'_>],
        ) -> Result<Vec<$row>, sqlx::Error> {
            let bound = |$text: &str| -> String { $bound };
            let mut query = sqlx::query(statement);
            for value in values {
                query = match *value {
                    Value::Int(number) => query.bind(number),
                    Value::Text(text) => query.bind(bound(text)),
                    Value::MaybeText(text) => query.bind(text.map(bound)),
                    Value::Bytes(bytes) => query.bind(bytes.to_vec()),
                };
            }
            query.fetch_all(connection).await
        }
    };
}
pub(super) use speak;
