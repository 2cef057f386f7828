//! The store in PostgreSQL: the contract, outages, and what may be wrong with a database.

use std::sync::Arc;
use std::time::Duration;

use bff::session::store::record_store::{Event, Lookup, RecordStore};
use bff::session::store::sql::postgres::PostgresStore;
use bff::session::store::sql::{Migrations, SqlSettings};
use bff::web::ending::EndReason;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::contract::{self, Nodes, hash, listening, now, row, told_until, until};
use super::{away, unusable, voice};
use crate::support::clock::soon;
use crate::support::servers::postgres::Postgres;

const SETTINGS: SqlSettings = SqlSettings {
    timeout: Duration::from_secs(5),
    migrations: Migrations::Run,
};

fn store(url: &str) -> Arc<dyn RecordStore> {
    Arc::new(PostgresStore::new(url, None, SETTINGS, voice()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_keeps_the_contract() {
    let Some(server) = Postgres::start().await else {
        return;
    };
    contract::holds(async || {
        let url = server.fresh_database().await;
        Nodes {
            one: store(&url),
            other: store(&url),
        }
    })
    .await;
}

/// Neither a stop nor a crash of the server needs a restart here, whoever called when.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_heals_without_a_restart() {
    let Some(mut server) = Postgres::start().await else {
        return;
    };
    let url = server.fresh_database().await;
    server.stop();
    // Away at start: no fault of the configuration, and used once it is there.
    let store = store(&url);
    let sentence = away(store.prepare().await);
    assert!(sentence.contains("PostgreSQL at 127.0.0.1:"), "{sentence}");
    assert!(!sentence.contains("correct-horse"), "{sentence}");
    server.restart().await;
    store.insert(&row(1), None, now()).await.unwrap();

    for round in 0..2 {
        let mut calls = JoinSet::new();
        for _ in 0..8 {
            let store = store.clone();
            calls.spawn(async move { store.load(&hash(1)).await.unwrap() });
        }
        calls.join_all().await;
        let mut told = listening(&store).await;
        if round == 0 {
            server.stop();
        } else {
            server.kill();
        }
        assert_eq!(soon("the end of listening", told.recv()).await, None);
        for _ in 0..10 {
            away(store.load(&hash(1)).await);
            away(store.check().await);
            away(store.slide(&hash(1), now(), now()).await);
        }
        server.restart().await;
        assert_eq!(store.load(&hash(1)).await.unwrap(), Lookup::Row(row(1)));
        store.check().await.unwrap();
        let mut told = listening(&store).await;
        assert_eq!(told_until(&store, &mut told, "back").await, []);
    }
}

/// What other nodes tell meanwhile is lost: that it was, must be known.
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_in_the_channel_is_never_hidden() {
    let Some(server) = Postgres::start().await else {
        return;
    };
    let url = server.fresh_database().await;
    let (store, other) = (store(&url), store(&url));
    let mut told = listening(&store).await;
    assert_eq!(told_until(&other, &mut told, "heard").await, []);
    server
        .run(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE query LIKE 'LISTEN%' AND datname = 'test_0'",
        )
        .await;
    assert_eq!(soon("the end of listening", told.recv()).await, None);

    // All of them cut: the calls after it go on with new connections.
    store.insert(&row(1), None, now()).await.unwrap();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'test_0'";
    server.run("postgres", cut).await;
    until("the next connection", || async {
        store.load(&hash(1)).await.is_ok()
    })
    .await;
    let mut told = listening(&store).await;
    until("the other's next connection", || async {
        other.check().await.is_ok()
    })
    .await;
    other.end(&hash(1), EndReason::Logout, now()).await.unwrap();
    assert_eq!(told_until(&other, &mut told, "again").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_will_not_do_is_named_with_the_remedy() {
    let Some(server) = Postgres::start().await else {
        return;
    };
    let refused = async |url: &str| {
        let sentence = unusable(store(url).prepare().await);
        assert!(sentence.contains("PostgreSQL at 127.0.0.1:"), "{sentence}");
        assert!(!sentence.contains("horse"), "{sentence}");
        sentence
    };
    let wrong = server.url_as("postgres", "wrong-horse", "postgres");
    let sentence = refused(&wrong).await;
    assert!(sentence.contains("the user or the password"), "{sentence}");
    let sentence = refused(&server.url_as("nobody", "wrong-horse", "postgres")).await;
    assert!(sentence.contains("the user or the password"), "{sentence}");
    let sentence = refused(&server.url("nowhere")).await;
    assert!(sentence.contains("create the database"), "{sentence}");

    server
        .run("postgres", "CREATE ROLE guest LOGIN PASSWORD 'guest-horse'")
        .await;
    let url = server.fresh_database().await;
    let guest = server.url_as("guest", "guest-horse", "test_0");
    let sentence = refused(&guest).await;
    assert!(sentence.contains("grant it"), "{sentence}");

    store(&url).prepare().await.unwrap();
    let sentence = refused(&guest).await;
    assert!(sentence.contains("grant it"), "{sentence}");
    server
        .run("test_0", "UPDATE bff_schema SET version = 99")
        .await;
    let sentence = refused(&url).await;
    assert!(
        sentence.contains("version 99, of a newer bff"),
        "{sentence}"
    );

    server
        .run(
            "postgres",
            "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
        )
        .await;
    let sentence = refused(&server.url("latin")).await;
    assert!(sentence.contains("ENCODING 'UTF8'"), "{sentence}");

    // No such thing as a URL: known before anything is asked.
    for url in ["", "sessions.db", "postgres://u:p@host:notaport/db"] {
        let sentence = unusable(PostgresStore::new(url, None, SETTINGS, voice()));
        assert!(sentence.contains("session.store_url"), "{sentence}");
    }
}

/// While a failover is under way, the URL may lead to a server that takes no writes yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_away_until_it_takes_writes() {
    let Some(server) = Postgres::start().await else {
        return;
    };
    let url = server.fresh_database().await;
    let store = store(&url);
    store.insert(&row(1), None, now()).await.unwrap();
    let read_only = |on: &str| {
        format!(
            "ALTER DATABASE test_0 SET default_transaction_read_only = {on}; \
                 SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'test_0'"
        )
    };
    server.run("postgres", &read_only("on")).await;
    away(store.check().await);
    let sentence = away(store.insert(&row(2), None, now()).await);
    assert!(sentence.contains("takes no writes"), "{sentence}");
    server.run("postgres", &read_only("off")).await;
    store.insert(&row(2), None, now()).await.unwrap();
    store.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_together_migrate_once() {
    let Some(server) = Postgres::start().await else {
        return;
    };
    let url = server.fresh_database().await;
    let check_only = SqlSettings {
        migrations: Migrations::Check,
        ..SETTINGS
    };
    let checking = PostgresStore::new(&url, None, check_only, voice()).unwrap();
    let sentence = unusable(checking.prepare().await);
    assert!(sentence.contains("run `bff migrate`"), "{sentence}");

    let mut nodes = JoinSet::new();
    for number in 0..8 {
        let store = store(&url);
        nodes.spawn(async move {
            store.prepare().await.unwrap();
            store.insert(&row(number), None, now()).await.unwrap();
        });
    }
    nodes.join_all().await;
    checking.prepare().await.unwrap();
    assert_eq!(checking.count().await.unwrap(), 8);
}

/// §4: each event was a NOTIFY in the commit that made it true, which holds a lock until that is on the disk:
/// changes were written one after the other, and each woke every node. What comes within a moment is said
/// together.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_within_a_moment_is_few_notifications() {
    let Some(server) = Postgres::start().await else {
        return;
    };
    let url = server.fresh_database().await;
    let (one, other) = (store(&url), store(&url));
    let ended: Vec<_> = (0..200).map(hash).collect();
    for number in 0..200 {
        one.insert(&row(number), None, now()).await.unwrap();
    }
    let mut ears = sqlx::postgres::PgListener::connect(&url).await.unwrap();
    ears.listen("bff_events").await.unwrap();
    let mut told = listening(&other).await;
    let began = tokio::time::Instant::now();
    let ends = ended
        .iter()
        .map(|hash| one.end(hash, EndReason::Logout, now()));
    futures_util::future::try_join_all(ends).await.unwrap();
    let events = told_until(&one, &mut told, "word").await;
    let took = began.elapsed();
    let expected = ended
        .iter()
        .map(|hash| Event::Ended(*hash, EndReason::Logout));
    let mut expected: Vec<_> = expected.collect();
    expected.sort_by_key(contract::of);
    assert_eq!(events, expected, "each, once");
    let mut messages = 0;
    loop {
        let heard = soon("a message", ears.recv()).await.unwrap();
        // Those in the clear, for fear of a node of the release before, are by themselves.
        messages += usize::from(!heard.payload().starts_with('e'));
        if heard.payload().lines().any(|line| line.starts_with('w')) {
            break;
        }
    }
    // Forty to a message, and one each fifty milliseconds.
    let most = usize::try_from(took.as_millis() / 50).unwrap() + 200 / 40 + 2;
    assert!(messages <= most, "{messages} messages in {took:?}");
}

/// §4: a role with the rights of the release before has everything told as it was then.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_have_it_wait_tells_each_change_at_once() {
    let Some(server) = Postgres::start().await else {
        return;
    };
    let url = server.fresh_database().await;
    store(&url).prepare().await.unwrap();
    let database = url.rsplit('/').next().unwrap();
    let database = database.split('?').next().unwrap();
    let rights = "CREATE ROLE plain LOGIN PASSWORD 'word'; \
        GRANT SELECT ON bff_schema TO plain; \
        GRANT SELECT, INSERT, UPDATE, DELETE ON bff_sessions, bff_leases, bff_notes TO plain";
    server.run(database, rights).await;
    let plain = server.url_as("plain", "word", database);
    let (one, other) = (store(&plain), store(&plain));
    let mut told = listening(&other).await;
    one.insert(&row(1), None, now()).await.unwrap();
    one.replace(&hash(1), 2, b"new").await.unwrap();
    one.end(&hash(1), EndReason::Logout, now()).await.unwrap();
    let events = told_until(&one, &mut told, "word").await;
    let ended = Event::Ended(hash(1), EndReason::Logout);
    assert_eq!(events, [Event::Changed(hash(1), 2), ended]);
}

/// §4: each node had all sessions counted every five seconds; a hundred nodes of ten million kept twenty
/// cores busy with it. Beyond some they are as many as the database last found.
#[tokio::test(flavor = "multi_thread")]
async fn millions_are_not_counted_one_by_one() {
    let Some(server) = Postgres::start().await else {
        return;
    };
    let url = server.fresh_database().await;
    let store = store(&url);
    store.insert(&row(1), None, now()).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 1);
    let database = url.rsplit('/').next().unwrap();
    let database = database.split('?').next().unwrap();
    let found = "UPDATE pg_class SET reltuples = 10000000 WHERE relname = 'bff_sessions_expires'";
    server.run(database, found).await;
    assert_eq!(store.count().await.unwrap(), 10_000_000);
}

/// A database that hangs is away in time, and calls after it work again.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_hangs_ends_in_time() {
    let Some(server) = Postgres::start().await else {
        return;
    };
    let url = server.fresh_database().await;
    let settings = SqlSettings {
        timeout: Duration::from_millis(300),
        ..SETTINGS
    };
    store(&url).insert(&row(1), None, now()).await.unwrap();
    let hasty = PostgresStore::new(&url, None, settings, voice()).unwrap();
    until("a first answer", || async { hasty.check().await.is_ok() }).await;
    let holding = tokio::spawn({
        let hold = "BEGIN; LOCK TABLE bff_sessions; SELECT pg_sleep(1); COMMIT";
        let url = url.clone();
        async move {
            use sqlx::Connection as _;
            let mut holder = sqlx::PgConnection::connect(&url).await.unwrap();
            sqlx::raw_sql(hold).execute(&mut holder).await.unwrap();
        }
    });
    until("the lock to hold", || async {
        hasty.load(&hash(1)).await.is_err()
    })
    .await;
    let started = tokio::time::Instant::now();
    let sentence = away(hasty.load(&hash(1)).await);
    assert!(sentence.contains("no answer within 300ms"), "{sentence}");
    assert!(started.elapsed() < Duration::from_millis(900));
    soon("the lock to be gone", holding).await.unwrap();
    assert_eq!(hasty.load(&hash(1)).await.unwrap(), Lookup::Row(row(1)));
}

/// A cable that is cut says nothing: no end of a stream, no reset.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_is_noticed() {
    let Some(server) = Postgres::start().await else {
        return;
    };
    let url = server.fresh_database().await;
    store(&url).insert(&row(1), None, now()).await.unwrap();
    let cable = Cable::to(server.port()).await;
    let through = url.replace(&server.port().to_string(), &cable.port.to_string());
    let settings = SqlSettings {
        timeout: Duration::from_secs(2),
        ..SETTINGS
    };
    let store: Arc<dyn RecordStore> =
        Arc::new(PostgresStore::new(&through, None, settings, voice()).unwrap());
    let mut told = listening(&store).await;
    assert_eq!(told_until(&store, &mut told, "heard").await, []);
    // Longer than the listening connection waits in silence: it asks, and goes on.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(told_until(&store, &mut told, "still").await, []);

    cable.cut.send_replace(true);
    let sentence = away(store.load(&hash(1)).await);
    assert!(sentence.contains("no answer within 2s"), "{sentence}");
    assert_eq!(soon("the end of listening", told.recv()).await, None);
    cable.cut.send_replace(false);
    assert_eq!(store.load(&hash(1)).await.unwrap(), Lookup::Row(row(1)));
    listening(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_certificate_is_checked() {
    let Some(mut server) = Postgres::start().await else {
        return;
    };
    let root = server.certify();
    server.stop();
    server.restart().await;
    let port = server.port();
    let url = |host: &str| {
        format!("postgres://postgres:correct-horse@{host}:{port}/postgres?sslmode=verify-full")
    };
    let with = |host: &str, ca| PostgresStore::new(&url(host), ca, SETTINGS, voice()).unwrap();
    with("localhost", Some(&*root)).prepare().await.unwrap();
    let in_the_url = format!("{}&sslrootcert={}", url("localhost"), root.display());
    store(&in_the_url).prepare().await.unwrap();
    for (name, refused) in [
        ("another root", with("localhost", None)),
        ("another name", with("127.0.0.1", Some(&*root))),
    ] {
        let sentence = unusable(refused.prepare().await);
        assert!(
            sentence.contains("check its certificate"),
            "{name}: {sentence}"
        );
    }
}

/// A way to the server that can be cut without a word to either side.
struct Cable {
    port: u16,
    cut: watch::Sender<bool>,
}

impl Cable {
    async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cut, is_cut) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut is_cut = is_cut.clone();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                    let cut = async { is_cut.wait_for(|cut| *cut).await.is_ok() };
                    let is_cut = tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => false,
                        is_cut = cut => is_cut,
                    };
                    if is_cut {
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        Self { port, cut }
    }
}
