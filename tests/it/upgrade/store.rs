//! The stores, and their rows as text.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bff::clock::{Clock as _, SystemClock};
use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, Row as _};
use tempfile::TempDir;

use super::reader::Record;
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

/// What a store held.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Rows {
    /// Nothing: the cookies are all there is.
    None,
    /// Statements, those that make the tables first.
    Sql(Vec<String>),
    /// By key.
    Redis(BTreeMap<String, Kept>),
}

/// What lies under a key of Redis.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    /// How long it had to live, in milliseconds; -1 for ever.
    ttl: i64,
    value: Shape,
}

/// Bytes are text where they can be, else `base64:` and so on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Shape {
    String(String),
    Hash(BTreeMap<String, String>),
    SortedSet(Vec<(String, f64)>),
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

/// What `.dump` of sqlite3 writes, with the columns named.
async fn statements_of(connection: &mut SqliteConnection) -> Vec<String> {
    let made =
        "SELECT sql || ';' FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC, name";
    let made = sqlx::query_scalar(made).fetch_all(&mut *connection).await;
    let mut statements: Vec<String> = made.unwrap();
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name";
    let tables = sqlx::query_scalar(tables).fetch_all(&mut *connection).await;
    let tables: Vec<String> = tables.unwrap();
    for table in tables {
        let columns = "SELECT name FROM pragma_table_info($1) ORDER BY cid";
        let columns = sqlx::query_scalar(columns).bind(&table);
        let columns: Vec<String> = columns.fetch_all(&mut *connection).await.unwrap();
        let quoted: Vec<String> = columns
            .iter()
            .map(|name| format!("quote({name})"))
            .collect();
        let select = format!(
            "SELECT 'INSERT INTO {table} ({}) VALUES (' || {} || ');' FROM {table}",
            columns.join(", "),
            quoted.join(" || ', ' || "),
        );
        let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(select));
        let rows: Vec<String> = rows.fetch_all(&mut *connection).await.unwrap();
        statements.extend(rows);
    }
    let version = "SELECT 'PRAGMA user_version = ' || user_version || ';' FROM pragma_user_version";
    let version = sqlx::query_scalar(version).fetch_one(connection).await;
    statements.push(version.unwrap());
    statements
}

/// Without what is about the session of whoever runs the dump.
fn statements_of_dump(dump: &str) -> Vec<String> {
    let is_ours = |line: &&str| {
        let others = ["--", "\\", "SET ", "SELECT pg_catalog.set_config"];
        !line.is_empty() && !others.iter().any(|start| line.starts_with(start))
    };
    dump.lines().filter(is_ours).map(str::to_owned).collect()
}

async fn connect(redis: &Redis) -> MultiplexedConnection {
    let client = redis::Client::open(redis.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

async fn keys_of(connection: &mut MultiplexedConnection) -> BTreeMap<String, Kept> {
    let names: Vec<String> = ask(connection, &["KEYS", "*"]).await;
    let mut keys = BTreeMap::new();
    for name in names {
        let kind: String = ask(connection, &["TYPE", &name]).await;
        let value = match kind.as_str() {
            "string" => Shape::String(text(ask(connection, &["GET", &name]).await)),
            "hash" => {
                let fields: BTreeMap<String, Vec<u8>> = ask(connection, &["HGETALL", &name]).await;
                let fields = fields.into_iter();
                Shape::Hash(fields.map(|(name, value)| (name, text(value))).collect())
            }
            "zset" => {
                let range = ["ZRANGE", &name, "0", "-1", "WITHSCORES"];
                let members: Vec<(Vec<u8>, f64)> = ask(connection, &range).await;
                let members = members.into_iter();
                Shape::SortedSet(members.map(|(name, score)| (text(name), score)).collect())
            }
            other => panic!("{name} is a {other}"),
        };
        let ttl = ask(connection, &["PTTL", &name]).await;
        keys.insert(name, Kept { ttl, value });
    }
    keys
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

async fn ask<T: redis::FromRedisValue>(
    connection: &mut MultiplexedConnection,
    words: &[&str],
) -> T {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(connection).await.unwrap()
}

impl Kept {
    async fn put_back(&self, connection: &mut MultiplexedConnection, key: &str) {
        let mut command;
        match &self.value {
            Shape::String(value) => {
                command = redis::cmd("SET");
                command.arg(key).arg(bytes(value));
            }
            Shape::Hash(fields) => {
                command = redis::cmd("HSET");
                command.arg(key);
                for (name, value) in fields {
                    command.arg(name).arg(bytes(value));
                }
            }
            Shape::SortedSet(members) => {
                command = redis::cmd("ZADD");
                command.arg(key);
                for (member, score) in members {
                    command.arg(*score).arg(bytes(member));
                }
            }
        }
        command.exec_async(connection).await.unwrap();
        if self.ttl >= 0 {
            let mut expire = redis::cmd("PEXPIRE");
            expire.arg(key).arg(self.ttl);
            expire.exec_async(connection).await.unwrap();
        }
    }
}

const ENCODED: &str = "base64:";

fn text(bytes: Vec<u8>) -> String {
    let encoded = |bytes: &[u8]| format!("{ENCODED}{}", STANDARD.encode(bytes));
    match String::from_utf8(bytes) {
        Ok(text) if !text.starts_with(ENCODED) => text,
        Ok(text) => encoded(text.as_bytes()),
        Err(other) => encoded(other.as_bytes()),
    }
}

fn bytes(text: &str) -> Vec<u8> {
    match text.strip_prefix(ENCODED) {
        Some(encoded) => STANDARD.decode(encoded).unwrap(),
        None => text.as_bytes().to_vec(),
    }
}
