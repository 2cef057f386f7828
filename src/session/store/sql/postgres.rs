//! Sessions in PostgreSQL, for several nodes.
//!
//! What one node changes, the others hear by `NOTIFY`, which PostgreSQL delivers in the order of commits.
//! It holds one lock of the whole server until the commit is on the disk: changes that told by it were
//! written one after the other. So what is told waits in a table, which the statement writes that makes the
//! change, and is said in a transaction that has nothing to put on the disk ([`telling`](super::telling)). The
//! table is not logged: a crash empties it, and cuts off everybody who could have heard. A user without
//! rights on it tells in the statement itself. Leases and remembered ends run by the database's clock.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::postgres::{
    PgConnectOptions, PgConnection, PgDatabaseError, PgListener, PgPoolOptions, PgRow,
};
use sqlx::{ConnectOptions as _, Executor as _, Row as _};
use tokio::time::timeout;

use crate::clock::Timestamp;
use crate::session::id::SessionHash;
use crate::session::store::StoreError;
use crate::session::store::record_store::{Event, Listener, Row, Server};
use crate::session::store::voice::{Voice, reason_of};
use crate::web::ending::EndReason;

use super::dialect::{
    Dialect, Schema, SchemaState, Trouble, Value, away, judge_schema, speak, unusable,
};
use super::row::{bytes_of, to_row};
use super::statements::columns;
use super::tables::{MAY_WAIT, SCHEMA, SITES};
use super::{SqlSettings, SqlStore};

/// Sessions in a PostgreSQL database.
pub type PostgresStore = SqlStore<Postgres>;

impl PostgresStore {
    /// The store at `url`, which is connected to when it is first needed; `ca` holds the roots that
    /// its certificate has to lead to.
    ///
    /// # Errors
    ///
    /// If the URL names no database that could be connected to.
    pub fn new(
        url: &str,
        ca: Option<&Path>,
        settings: SqlSettings,
        voice: Voice,
    ) -> Result<Self, StoreError> {
        let options: PgConnectOptions = url.parse().map_err(|error| {
            let sentence = format!("session.store_url is no URL of a PostgreSQL database: {error}");
            unusable(sentence)
        })?;
        let mut options = options.application_name("bff").disable_statement_logging();
        if let Some(ca) = ca {
            options = options.ssl_root_cert(ca);
        }
        let postgres = Postgres {
            options,
            settings,
            voice,
            waits: AtomicBool::new(false),
        };
        Ok(Self::over(postgres, settings.timeout))
    }
}

/// The database.
#[derive(Debug)]
pub struct Postgres {
    options: PgConnectOptions,
    settings: SqlSettings,
    voice: Voice,
    /// Whether we may have what is told wait.
    waits: AtomicBool,
}

/// Where nodes hear each other.
const CHANNEL: &str = "bff_events";

/// The one server that heartbeats go round by.
const SERVER: &str = "postgres";

/// The database's time in milliseconds, for leases and remembered ends.
macro_rules! clock {
    () => {
        "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
    };
}

/// The row as it was, with the others told. It is locked before it is emptied, so that of several
/// callers one finds it, and `expires` is judged by the latest use.
macro_rules! end {
    ($waits:literal, $told:literal) => {
        concat!(
            "WITH found AS (SELECT * FROM bff_sessions \
                WHERE hash = $1 AND ended IS NULL AND expires <= $4 FOR UPDATE), \
             emptied AS (UPDATE bff_sessions SET ended = $2, forget_at = ",
            clock!(),
            " + greatest(found.ends - $3, 0), subject = '', provider_sid = NULL, name = '', \
                    folded = '', sealed = '' \
                FROM found WHERE bff_sessions.hash = found.hash \
                RETURNING bff_sessions.hash AS gone)",
            $waits,
            " SELECT ",
            columns!(),
            $told,
            " FROM found JOIN emptied ON hash = gone"
        )
    };
}
const END: &str = end!(
    "",
    ", pg_notify('bff_events', $5), pg_notify('bff_events', $6)"
);
const END_AND_WAIT: &str = end!(
    ", told AS (INSERT INTO bff_told (line) SELECT $5 FROM emptied)",
    ", CASE WHEN $6 <> '' THEN pg_notify('bff_events', $6) END"
);

const REPLACE: &str = "WITH changed AS (UPDATE bff_sessions \
        SET version = $2, sealed = $3 \
        WHERE hash = $1 AND version = $2 - 1 AND ended IS NULL RETURNING hash) \
    SELECT pg_notify('bff_events', $4), pg_notify('bff_events', $5) FROM changed";
const REPLACE_AND_WAIT: &str = "WITH changed AS (UPDATE bff_sessions \
        SET version = $2, sealed = $3 \
        WHERE hash = $1 AND version = $2 - 1 AND ended IS NULL RETURNING hash), \
     told AS (INSERT INTO bff_told (line) SELECT $4 FROM changed) \
    SELECT CASE WHEN $5 <> '' THEN pg_notify('bff_events', $5) END FROM changed";

// PostgreSQL's texts hold no NUL; a name that does is shown with a mark in its place.
speak!(PgRow, PgConnection, |text| text.replace('\0', "\u{fffd}"));

impl Dialect for Postgres {
    type Connection = PgConnection;
    type Row = PgRow;

    const CONNECTIONS: usize = 8;
    const SHARED: bool = true;

    const LOAD: &'static str = concat!(
        "SELECT ",
        columns!(),
        ", ended FROM bff_sessions WHERE hash = $1 AND (ended IS NULL OR forget_at > ",
        clock!(),
        ")"
    );
    const STANDINGS: &'static str = concat!(
        "SELECT version, ended FROM generate_series(0, ($2 - 1)::int) AS place \
         LEFT JOIN bff_sessions ON hash = substr($1, place * 32 + 1, 32) \
         AND (ended IS NULL OR forget_at > ",
        clock!(),
        ") ORDER BY place"
    );
    const TIME: &'static str = concat!("SELECT ", clock!());
    /// To count ten million takes a second, of each of a hundred nodes. Beyond some it is what the database
    /// last found the index of the living to hold.
    const COUNT: &'static str = "SELECT CASE WHEN reltuples < 100000 \
            THEN (SELECT count(*) FROM bff_sessions WHERE ended IS NULL) \
            ELSE reltuples::bigint END \
        FROM pg_class WHERE oid = to_regclass('bff_sessions_expires')";
    /// In the order in which they came, some to a message, which may be no longer than 8,000 octets.
    const SAY: &'static str = concat!(
        "WITH turn AS (INSERT INTO bff_turns (name, expires) VALUES ('told', ",
        clock!(),
        " + 50) ON CONFLICT (name) DO UPDATE SET expires = excluded.expires \
            WHERE bff_turns.expires <= ",
        clock!(),
        " RETURNING name), \
         said AS (DELETE FROM bff_told WHERE EXISTS (SELECT FROM turn) RETURNING place, line), \
         counted AS (SELECT place, line, (row_number() OVER (ORDER BY place) - 1) / 40 AS message FROM said), \
         messages AS (SELECT string_agg(line, E'\\n' ORDER BY place) AS lines FROM counted \
            GROUP BY message ORDER BY message) \
         SELECT pg_notify('bff_events', lines) FROM messages"
    );
    const WAITING: &'static str = "SELECT 1 FROM bff_told LIMIT 1";
    const LOCK_SUBJECT: &'static str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
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

    async fn connect(&self) -> Result<PgConnection, Trouble> {
        let mut connection = self.options.connect().await?;
        self.inspect(&mut connection).await?;
        let waits = sqlx::query(MAY_WAIT).fetch_one(&mut connection).await?;
        self.waits.store(waits.try_get(0)?, Ordering::Relaxed);
        Ok(connection)
    }

    async fn inspect(&self, connection: &mut PgConnection) -> Result<(), Trouble> {
        let found = sqlx::query(
            "SELECT current_setting('transaction_read_only') = 'on', \
             current_setting('server_encoding')",
        );
        let found = found.fetch_one(&mut *connection).await?;
        if found.try_get(0)? {
            let sentence = format!("{} takes no writes: it is a standby", self.place());
            return Err(away(sentence).into());
        }
        let encoding: String = found.try_get(1)?;
        if encoding != "UTF8" {
            let sentence = format!(
                "{} is encoded in {encoding}: create the database with ENCODING 'UTF8'",
                self.place()
            );
            return Err(unusable(sentence).into());
        }
        if self.schema(connection).await? != SchemaState::Current {
            self.migrate(connection).await?;
        }
        Ok(())
    }

    async fn fetch(
        connection: &mut PgConnection,
        statement: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        fetch(connection, statement, values).await
    }

    fn replace(&self) -> &'static str {
        if self.waits() {
            REPLACE_AND_WAIT
        } else {
            REPLACE
        }
    }

    fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// Two, since statements tell two: PostgreSQL sends the same twice of one transaction but once, and
    /// nothing is told where the second may be left out.
    fn tellings(&self, event: Event) -> Vec<String> {
        let sealed = format!("s{}", self.voice.event(event));
        let second = if self.voice.speaks_plainly() {
            match event {
                Event::Ended(hash, reason) => format!("e{}{}", hash.to_hex(), reason as u8),
                Event::Changed(hash, version) => format!("c{}{version}", hash.to_hex()),
            }
        } else if self.waits() {
            String::new()
        } else {
            sealed.clone()
        };
        vec![sealed, second]
    }

    async fn end(
        &self,
        connection: &mut PgConnection,
        hash: &SessionHash,
        reason: EndReason,
        now: Timestamp,
        due: i64,
        told: &[String],
    ) -> Result<Option<Row>, sqlx::Error> {
        let mut values = vec![
            bytes_of(hash),
            Value::Int(reason as i64),
            Value::Int(now.unix_millis()),
            Value::Int(due),
        ];
        values.extend(told.iter().map(|told| Value::Text(told)));
        let end = if self.waits() { END_AND_WAIT } else { END };
        let ended = fetch(connection, end, &values).await?;
        ended.first().map(to_row).transpose()
    }

    async fn listen(&self, listener: Arc<dyn Listener>) -> Result<(), Trouble> {
        let deadline = self.settings.timeout;
        let silent = || away(format!("{} fell silent", self.place()));
        // sqlx's listener wants a pool, to connect anew when it is cut off. What was told in between
        // nobody would know of, so it has to end instead.
        let one = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(deadline)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(self.options.clone());
        let mut channel = PgListener::connect_with(&one).await?;
        channel.eager_reconnect(false);
        let listening = timeout(deadline, channel.listen(CHANNEL));
        listening.await.map_err(|_| silent())??;
        listener.subscribed();
        loop {
            match timeout(deadline, channel.try_recv()).await {
                Ok(Ok(Some(told))) => {
                    for line in told.payload().split('\n') {
                        self.tell(&*listener, line);
                    }
                }
                Ok(Ok(None)) => {
                    let sentence = format!("{} cut off the listening connection", self.place());
                    return Err(away(sentence).into());
                }
                Ok(Err(error)) => return Err(error.into()),
                // Nobody spoke, or a cable was cut: only asking tells.
                Err(_) => {
                    let asked = timeout(deadline, channel.execute("SELECT 1"));
                    asked.await.map_err(|_| silent())??;
                }
            }
        }
    }

    async fn announce(
        &self,
        connection: &mut PgConnection,
        heartbeat: &str,
    ) -> Result<(), sqlx::Error> {
        let sealed = format!("w{}", self.voice.heartbeat(SERVER, heartbeat));
        let statement = if self.waits() {
            "INSERT INTO bff_told (line) VALUES ($1)"
        } else {
            "SELECT pg_notify('bff_events', $1)"
        };
        fetch(connection, statement, &[Value::Text(&sealed)]).await?;
        Ok(())
    }

    /// Without the password.
    fn place(&self) -> String {
        let options = &self.options;
        let database = options
            .get_database()
            .unwrap_or_else(|| options.get_username());
        let (host, port) = (options.get_host(), options.get_port());
        format!("PostgreSQL at {host}:{port}/{database}")
    }

    fn explain(&self, error: sqlx::Error) -> StoreError {
        let place = self.place();
        let sqlx::Error::Database(answered) = &error else {
            return match &error {
                sqlx::Error::Configuration(_) => unusable(format!(
                    "{place} cannot be connected to ({error}): mend session.store_url"
                )),
                sqlx::Error::Tls(_) => self.untrusted(&error),
                // What rustls refuses comes as this.
                sqlx::Error::Io(refused) if refused.kind() == io::ErrorKind::InvalidData => {
                    self.untrusted(&error)
                }
                _ => away(format!("{place}: {error}")),
            };
        };
        let answered = answered.downcast_ref::<PgDatabaseError>();
        let (code, said) = (answered.code(), answered.message().to_owned());
        let (class, _) = code.split_at_checked(2).unwrap_or((code, ""));
        let mend = match (class, code) {
            ("28", _) => "mend the user or the password in session.store_url, or pg_hba.conf",
            (_, "3D000") => "create the database, or mend its name in session.store_url",
            (_, "42501") => {
                "grant it, or run `bff migrate` with a user who may; one who owns the tables, or \
                 has all rights on them, serves"
            }
            (_, "42P01" | "42703" | "3F000") => "run `bff migrate`",
            (_, "53100") => "its disk is full, free some room",
            // Connections, operators and failovers come and go; so do deadlocks.
            ("08" | "25" | "40" | "53" | "55" | "57", _) => {
                return away(format!("{place} says {said:?}"));
            }
            _ => "look into its log",
        };
        unusable(format!("{place} says {said:?}: {mend}"))
    }
}

impl Postgres {
    /// `s` and an event, `w` and a heartbeat, both sealed. In the clear, as the release before tells them:
    /// `e` hash reason, `c` hash version. What another version may send is passed over.
    fn tell(&self, listener: &dyn Listener, payload: &str) {
        match payload.split_at_checked(1) {
            Some(("w", said)) => {
                if let Some(heartbeat) = self.voice.read_heartbeat(SERVER, said) {
                    listener.echoed(&heartbeat, Server::ONLY);
                }
            }
            Some(("s", sealed)) => {
                if let Some(event) = self.voice.read_event(sealed) {
                    listener.heard(event);
                }
            }
            Some((kind, rest)) => {
                if let Some(event) = read_event(kind, rest) {
                    listener.hinted(event);
                }
            }
            None => {}
        }
    }

    fn untrusted(&self, error: &sqlx::Error) -> StoreError {
        let sentence = format!(
            "{} offers no TLS that could be trusted ({error}): check its certificate, \
             session.store_ca and the URL's sslmode",
            self.place()
        );
        unusable(sentence)
    }

    async fn schema(&self, connection: &mut PgConnection) -> Result<SchemaState, Trouble> {
        let known = "SELECT to_regclass('bff_schema') IS NOT NULL";
        let known = sqlx::query(known).fetch_one(&mut *connection).await?;
        let found = if known.try_get(0)? {
            let found = sqlx::query(
                "SELECT max(version), to_regclass('bff_turns') IS NOT NULL \
                 AND EXISTS (SELECT 1 FROM pg_attribute \
                 WHERE attrelid = to_regclass('bff_sessions') AND attname = 'site' \
                 AND NOT attisdropped) FROM bff_schema",
            );
            let found = found.fetch_one(connection).await?;
            Schema {
                version: found.try_get(0)?,
                knows_sites: found.try_get(1)?,
            }
        } else {
            Schema {
                version: None,
                knows_sites: false,
            }
        };
        Ok(judge_schema(
            &self.place(),
            found,
            self.settings.migrations,
        )?)
    }

    /// Of several nodes that find an old schema one brings it up to date, and the others wait.
    async fn migrate(&self, connection: &mut PgConnection) -> Result<(), Trouble> {
        // The session's lock and no transaction's: what another node made while this one waited is
        // only seen by a transaction that begins after.
        let (lock, unlock) = (
            "SELECT pg_advisory_lock(7235124811006370866)",
            "SELECT pg_advisory_unlock(7235124811006370866)",
        );
        sqlx::raw_sql(lock).execute(&mut *connection).await?;
        let statements = match self.schema(connection).await? {
            SchemaState::Current => None,
            SchemaState::LacksSites => Some(SITES),
            SchemaState::Missing => Some(SCHEMA),
        };
        if let Some(statements) = statements {
            // Statements sent together are one transaction.
            sqlx::raw_sql(statements).execute(&mut *connection).await?;
        }
        sqlx::raw_sql(unlock).execute(&mut *connection).await?;
        Ok(())
    }
}

fn read_event(kind: &str, rest: &str) -> Option<Event> {
    let (hash, number) = rest.split_at_checked(64)?;
    let (hash, number) = (SessionHash::from_hex(hash)?, number.parse().ok()?);
    match kind {
        "e" => Some(Event::Ended(hash, reason_of(number))),
        "c" => Some(Event::Changed(hash, number)),
        _ => None,
    }
}
