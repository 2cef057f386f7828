//! The stores that outlive a process, running: filled with what a release left, and read as that
//! release reads.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bff::clock::{Clock as _, SystemClock};
use redis::aio::MultiplexedConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, Row as _};
use tempfile::TempDir;

use super::reader::Record;
use super::rows::{Rows, ask, keys_of, statements_of, statements_of_dump};
use crate::support::servers::postgres::Postgres;
use crate::support::servers::redis::{Redis, is_here};

/// `session.store`; that in memory leaves nothing behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
    Redis,
    Cookie,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Sqlite, Self::Postgres, Self::Redis, Self::Cookie];

    /// `session.store`.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Cookie => "cookie",
        }
    }

    /// The name of its fixture.
    pub(super) fn file(self) -> String {
        format!("{}.json", self.word())
    }
}

/// A store that runs.
#[derive(Debug)]
pub(super) enum Store {
    Sqlite(TempDir),
    Postgres(Postgres, String),
    Redis(Redis),
    Cookie,
}

/// The rows of a selection as records, whichever database it is of.
macro_rules! read_all {
    ($select:expr, $connection:expr) => {
        sqlx::query(sqlx::AssertSqlSafe($select))
            .fetch_all($connection)
            .await
            .unwrap()
            .iter()
            .map(|row| Record {
                hash: row.get(0),
                version: row.get(1),
                subject: row.get(2),
                provider_sid: row.get(3),
                created: row.get(5),
                ends: row.get(8),
                sealed: row.get(9),
            })
            .collect()
    };
}

/// The columns that release 0.2.0 reads, in its order.
const COLUMNS: &str =
    "hash, version, subject, provider_sid, name, created, seen, expires, ends, sealed";

impl Store {
    /// An empty one; `None` where it is not installed.
    pub(super) async fn start(kind: Kind) -> Option<Self> {
        Some(match kind {
            Kind::Sqlite => Self::Sqlite(tempfile::tempdir().unwrap()),
            Kind::Postgres => {
                let server = Postgres::start().await?;
                let url = server.fresh_database().await;
                Self::Postgres(server, url)
            }
            Kind::Redis if is_here() => Self::Redis(Redis::start(&[]).await),
            Kind::Redis => return None,
            Kind::Cookie => Self::Cookie,
        })
    }

    /// `session.store_url`.
    pub(super) fn url(&self) -> Option<String> {
        match self {
            Self::Sqlite(dir) => Some(format!("sqlite://{}", file(dir).display())),
            Self::Postgres(_, url) => Some(url.clone()),
            Self::Redis(redis) => Some(redis.url()),
            Self::Cookie => None,
        }
    }

    /// All that it holds.
    pub(super) async fn rows(&self) -> Rows {
        match self {
            Self::Sqlite(dir) => Rows::Sql(statements_of(&mut open(dir).await).await),
            Self::Postgres(server, url) => Rows::Sql(statements_of_dump(&server.dump(url))),
            Self::Redis(redis) => Rows::Redis(keys_of(&mut connect(redis).await).await),
            Self::Cookie => Rows::None,
        }
    }

    /// Puts back what was held at `made`. What runs by the store's own clock has as long to go as it
    /// had then.
    pub(super) async fn put_back(&self, rows: &Rows, made: i64) {
        match (self, rows) {
            (Self::Redis(redis), Rows::Redis(keys)) => {
                let mut connection = connect(redis).await;
                for (key, kept) in keys {
                    kept.put_back(&mut connection, key).await;
                }
            }
            (_, Rows::Sql(statements)) => {
                let since = SystemClock.now().unix_millis() - made;
                let forget = format!("UPDATE bff_sessions SET forget_at = forget_at + {since};");
                self.run(&(statements.join("\n") + &forget)).await;
            }
            _ => {}
        }
    }

    /// As a node of the release before, which wrote these rows, writes them beside us.
    pub(super) async fn write_beside(&self, rows: &Rows, made: i64) {
        match rows {
            Rows::Sql(statements) => {
                let is_a_row = |line: &&String| {
                    line.starts_with("INSERT")
                        && ["bff_sessions", "bff_notes"]
                            .iter()
                            .any(|table| line.contains(table))
                };
                let inserts = statements.iter().filter(is_a_row);
                let inserts = Rows::Sql(inserts.cloned().collect());
                self.put_back(&inserts, made).await;
            }
            other => self.put_back(other, made).await,
        }
    }

    /// Which version the store says it has, in the place where a node of the release before looks.
    pub(super) async fn schema_version(&self) -> String {
        match self {
            Self::Sqlite(dir) => {
                let version = sqlx::query_scalar::<_, i64>("PRAGMA user_version");
                let found = version.fetch_one(&mut open(dir).await).await;
                found.unwrap().to_string()
            }
            Self::Postgres(_, url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                let version = sqlx::query_scalar::<_, i64>("SELECT max(version) FROM bff_schema");
                version
                    .fetch_one(&mut connection)
                    .await
                    .unwrap()
                    .to_string()
            }
            Self::Redis(redis) => redis.cli(&["GET", "bff:schema"]),
            Self::Cookie => String::new(),
        }
    }

    /// The sessions that live, as release 0.2.0 reads them.
    pub(super) async fn records(&self) -> Vec<Record> {
        let select = format!("SELECT {COLUMNS} FROM bff_sessions WHERE ended IS NULL");
        match self {
            Self::Sqlite(dir) => read_all!(select, &mut open(dir).await),
            Self::Postgres(_, url) => {
                read_all!(select, &mut PgConnection::connect(url).await.unwrap())
            }
            Self::Redis(redis) => records_of(&mut connect(redis).await).await,
            Self::Cookie => Vec::new(),
        }
    }

    async fn run(&self, statements: &str) {
        let statements = sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned()));
        match self {
            Self::Sqlite(dir) => drop(statements.execute(&mut open(dir).await).await.unwrap()),
            Self::Postgres(_, url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                statements.execute(&mut connection).await.unwrap();
            }
            other => panic!("{other:?} knows no SQL"),
        }
    }
}

fn file(dir: &TempDir) -> PathBuf {
    dir.path().join("sessions.db")
}

async fn open(dir: &TempDir) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(file(dir))
        .create_if_missing(true)
        .busy_timeout(Duration::from_secs(10));
    options.connect().await.unwrap()
}

async fn connect(redis: &Redis) -> MultiplexedConnection {
    let client = redis::Client::open(redis.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

async fn records_of(connection: &mut MultiplexedConnection) -> Vec<Record> {
    let names: Vec<String> = ask(connection, &["KEYS", "bff:s:*"]).await;
    let mut records = Vec::new();
    for name in names {
        let fields: BTreeMap<String, Vec<u8>> = ask(connection, &["HGETALL", &name]).await;
        if fields.contains_key("ended") {
            continue;
        }
        let words = |field: &str| String::from_utf8(fields[field].clone()).unwrap();
        let digits = name.strip_prefix("bff:s:").unwrap().as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        records.push(Record {
            hash: digits.map(|pair| byte(pair).unwrap()).collect(),
            version: words("version").parse().unwrap(),
            subject: words("subject"),
            provider_sid: fields.contains_key("sid").then(|| words("sid")),
            created: words("created").parse().unwrap(),
            ends: words("ends").parse().unwrap(),
            sealed: fields["data"].clone(),
        });
    }
    records
}
