//! Sessions in a file, for one process that outlives its own restarts.
//!
//! One connection holds the file, and its lock, for as long as the process lives: a second `bff` on
//! the same file is told so, and goes on by itself once the first has ended. The lock is the
//! operating system's and falls with the process, however it ends.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteLockingMode, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Row as _};

use crate::clock::Timestamp;
use crate::session::id::SessionHash;
use crate::session::store::StoreError;
use crate::session::store::record_store::{Event, Listener, Row};
use crate::web::ending::EndReason;

use super::dialect::{
    Dialect, SCHEMA_VERSION, Schema, SchemaState, Trouble, Value, away, judge_schema, speak, taken,
    unusable,
};
use super::row::{bytes_of, to_row};
use super::statements::columns;
use super::{Migrations, SqlSettings, SqlStore};

/// Sessions in a SQLite file.
pub type SqliteStore = SqlStore<Sqlite>;

impl SqliteStore {
    /// The store in the file at `path`, which is opened when it is first needed.
    pub fn new(path: &Path, settings: SqlSettings) -> Self {
        let sqlite = Sqlite {
            path: path.to_owned(),
            migrations: settings.migrations,
        };
        Self::over(sqlite, settings.timeout)
    }
}

/// The file.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    migrations: Migrations,
}

/// How long a step waits for a former connection of this process to close its file.
const BUSY: Duration = Duration::from_millis(250);

/// The file's time in milliseconds, for leases and remembered ends.
macro_rules! clock {
    () => {
        "CAST(unixepoch('subsec') * 1000 AS INTEGER)"
    };
}

const END_FIND: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM bff_sessions WHERE hash = $1 AND ended IS NULL AND expires <= $2"
);

const END: &str = concat!(
    "UPDATE bff_sessions SET ended = $2, forget_at = ",
    clock!(),
    " + max(ends - $3, 0), subject = '', provider_sid = NULL, name = '', folded = '', \
     sealed = x'' ",
    "WHERE hash = $1"
);

speak!(SqliteRow, SqliteConnection, |text| text.to_owned());

impl Dialect for Sqlite {
    type Connection = SqliteConnection;
    type Row = SqliteRow;

    const CONNECTIONS: usize = 1;
    const SHARED: bool = false;

    const LOAD: &'static str = concat!(
        "SELECT ",
        columns!(),
        ", ended FROM bff_sessions WHERE hash = $1 AND (ended IS NULL OR forget_at > ",
        clock!(),
        ")"
    );
    const STANDINGS: &'static str = concat!(
        "WITH RECURSIVE asked (place) AS ",
        "(SELECT 0 UNION ALL SELECT place + 1 FROM asked WHERE place + 1 < $2) ",
        "SELECT version, ended FROM asked LEFT JOIN bff_sessions ",
        "ON hash = substr($1, place * 32 + 1, 32) AND (ended IS NULL OR forget_at > ",
        clock!(),
        ") ORDER BY place"
    );
    const TIME: &'static str = "";
    const COUNT: &'static str = "SELECT count(*) FROM bff_sessions WHERE ended IS NULL";
    const LOCK_SUBJECT: &'static str = "";
    const LEASE: &'static str = concat!(
        "INSERT INTO bff_leases (name, owner, expires) VALUES ($1, $2, ",
        clock!(),
        " + $3) ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, \
         expires = excluded.expires WHERE bff_leases.owner = excluded.owner \
         OR bff_leases.expires <= ",
        clock!(),
        " RETURNING expires"
    );
    const FORGET: [&'static str; 2] = [
        concat!("DELETE FROM bff_leases WHERE expires <= ", clock!()),
        concat!("DELETE FROM bff_sessions WHERE forget_at <= ", clock!()),
    ];

    async fn connect(&self) -> Result<SqliteConnection, Trouble> {
        self.create()?;
        let options = SqliteConnectOptions::new()
            .filename(&self.path)
            .locking_mode(SqliteLockingMode::Exclusive)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY)
            .disable_statement_logging();
        let mut connection = options.connect().await?;
        self.inspect(&mut connection).await?;
        Ok(connection)
    }

    async fn inspect(&self, connection: &mut SqliteConnection) -> Result<(), Trouble> {
        let statements = match self.schema(connection).await? {
            SchemaState::Current => return Ok(()),
            SchemaState::LacksSites => SITES,
            SchemaState::Missing => SCHEMA,
        };
        sqlx::raw_sql(statements).execute(&mut *connection).await?;
        Ok(())
    }

    async fn fetch(
        connection: &mut SqliteConnection,
        statement: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        fetch(connection, statement, values).await
    }

    fn replace(&self) -> &'static str {
        "UPDATE bff_sessions SET version = $2, sealed = $3 \
         WHERE hash = $1 AND version = $2 - 1 AND ended IS NULL RETURNING version"
    }

    fn tellings(&self, _: Event) -> Vec<String> {
        Vec::new()
    }

    async fn end(
        &self,
        connection: &mut SqliteConnection,
        hash: &SessionHash,
        reason: EndReason,
        now: Timestamp,
        due: i64,
        _: &[String],
    ) -> Result<Option<Row>, sqlx::Error> {
        let hash = bytes_of(hash);
        fetch(connection, "BEGIN IMMEDIATE", &[]).await?;
        let found = fetch(connection, END_FIND, &[hash, Value::Int(due)]).await?;
        let row = found.first().map(to_row).transpose()?;
        if row.is_some() {
            let now = Value::Int(now.unix_millis());
            let values = [hash, Value::Int(reason as i64), now];
            fetch(connection, END, &values).await?;
        }
        fetch(connection, "COMMIT", &[]).await?;
        Ok(row)
    }

    /// Nobody else is there to be heard.
    async fn listen(&self, listener: Arc<dyn Listener>) -> Result<(), Trouble> {
        listener.subscribed();
        std::future::pending().await
    }

    async fn announce(&self, _: &mut SqliteConnection, _: &str) -> Result<(), sqlx::Error> {
        Ok(())
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn explain(&self, error: sqlx::Error) -> StoreError {
        let file = self.path.display();
        let code = error
            .as_database_error()
            .and_then(|error| error.code()?.parse::<i32>().ok())
            // The rest of an extended code says where it happened.
            .map(|code| code & 0xff);
        match code {
            Some(5 | 6) => taken(format!(
                "{file} is in use by another bff, and a SQLite file serves one: end the other, \
                     or give several one store in Redis or PostgreSQL"
            )),
            Some(13) => unusable(format!("no room is left for {file}: free some")),
            Some(11 | 26) => unusable(format!(
                "{file} is damaged or no SQLite database: restore it, or move it away, which \
                     signs everybody out"
            )),
            Some(3 | 8 | 14 | 23) => unusable(format!(
                "{file} cannot be opened for writing: let bff own it and its folder"
            )),
            Some(1) => unusable(format!("{file} is not as bff made it: {error}")),
            Some(_) => unusable(format!("{file}: {error}")),
            None => away(format!("{file}: {error}")),
        }
    }
}

impl Sqlite {
    /// Creates the file where it is missing, for the owner's eyes only: SQLite would ask the umask.
    /// The files beside it get their rights from it.
    fn create(&self) -> Result<(), StoreError> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let opened = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.path);
        opened.map(drop).map_err(|error| {
            let file = self.path.display();
            let mend = match error.kind() {
                io::ErrorKind::NotFound => "create its folder",
                io::ErrorKind::StorageFull => "free some room",
                _ => "let bff own it and its folder",
            };
            let sentence = format!("{file} cannot be opened ({error}): {mend}");
            unusable(sentence)
        })
    }

    async fn schema(&self, connection: &mut SqliteConnection) -> Result<SchemaState, Trouble> {
        let row = sqlx::query(
            "SELECT user_version, EXISTS \
             (SELECT 1 FROM pragma_table_info('bff_sessions') WHERE name = 'site') \
             FROM pragma_user_version",
        );
        let row = row.fetch_one(connection).await?;
        let version: i64 = row.try_get(0)?;
        let found = Schema {
            version: (version > 0).then_some(version),
            knows_sites: row.try_get(1)?,
        };
        Ok(judge_schema(&self.place(), found, self.migrations)?)
    }
}

const SCHEMA: &str = concat!(
    "BEGIN IMMEDIATE;",
    "CREATE TABLE bff_sessions (
        hash BLOB PRIMARY KEY,
        version INTEGER NOT NULL,
        subject TEXT NOT NULL,
        provider_sid TEXT,
        name TEXT NOT NULL,
        folded TEXT NOT NULL,
        created INTEGER NOT NULL,
        seen INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        ends INTEGER NOT NULL,
        sealed BLOB NOT NULL,
        ended INTEGER,
        forget_at INTEGER,
        site TEXT,
        issuer TEXT,
        client_id TEXT
    );
    CREATE INDEX bff_sessions_subject ON bff_sessions (subject) WHERE ended IS NULL;
    CREATE INDEX bff_sessions_sid ON bff_sessions (provider_sid) WHERE ended IS NULL;
    CREATE INDEX bff_sessions_name ON bff_sessions (folded, hash) WHERE ended IS NULL;
    CREATE INDEX bff_sessions_expires ON bff_sessions (expires, hash) WHERE ended IS NULL;
    CREATE INDEX bff_sessions_forget ON bff_sessions (forget_at) WHERE forget_at IS NOT NULL;
    CREATE TABLE bff_leases (
        name TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        expires INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE bff_notes (
        key TEXT PRIMARY KEY,
        value BLOB NOT NULL,
        expires INTEGER NOT NULL
    );
    CREATE INDEX bff_notes_expires ON bff_notes (expires);
    PRAGMA user_version = 1;",
    "COMMIT;"
);

/// What a schema from before sites lacks. A `bff` from then reads and writes past it.
const SITES: &str = "BEGIN IMMEDIATE;
    ALTER TABLE bff_sessions ADD COLUMN site TEXT;
    ALTER TABLE bff_sessions ADD COLUMN issuer TEXT;
    ALTER TABLE bff_sessions ADD COLUMN client_id TEXT;
    COMMIT;";

// The number in the text of the schema.
const _: () = assert!(SCHEMA_VERSION == 1);
