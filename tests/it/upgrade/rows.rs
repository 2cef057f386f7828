//! The rows of a store as text, there and back.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteConnection;

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

/// What `.dump` of sqlite3 writes, with the columns named.
pub(super) async fn statements_of(connection: &mut SqliteConnection) -> Vec<String> {
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
pub(super) fn statements_of_dump(dump: &str) -> Vec<String> {
    let is_ours = |line: &&str| {
        let others = ["--", "\\", "SET ", "SELECT pg_catalog.set_config"];
        !line.is_empty() && !others.iter().any(|start| line.starts_with(start))
    };
    dump.lines().filter(is_ours).map(str::to_owned).collect()
}

/// What lies under each key.
pub(super) async fn keys_of(connection: &mut MultiplexedConnection) -> BTreeMap<String, Kept> {
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

impl Kept {
    /// Puts it under its key again.
    pub(super) async fn put_back(&self, connection: &mut MultiplexedConnection, key: &str) {
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

/// What a command is answered.
pub(super) async fn ask<T: redis::FromRedisValue>(
    connection: &mut MultiplexedConnection,
    words: &[&str],
) -> T {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(connection).await.unwrap()
}
