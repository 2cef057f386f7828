//! The store away, standing still, loading or refusing writes: nobody is signed out, and all heals
//! by itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use sqlx::{Connection as _, PgConnection};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use super::person::{Pending, takes_cookie, told};
use super::refresh::all_live;
use super::{Kind, PROMPT, Setup, Store, World, figure, on_stores, pass};
use crate::support::clock::soon;
use crate::support::servers::redis::Redis;

/// What becomes of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// It is stopped, and started again.
    Stopped,
    /// It takes no writes.
    ReadOnly,
    /// It is started again with much to read first.
    Loading,
}

/// How long a store may take to be found again.
const HEALS_WITHIN: Duration = Duration::from_secs(6);

/// DESIGN §4: the store being away is never a logout.
async fn an_outage_signs_nobody_out(kind: Kind, trouble: Trouble, span: Duration) {
    let setup = Setup {
        store_timeout: PROMPT,
        ..Setup::default()
    };
    let Some(mut world) = World::start(kind, setup).await else {
        return;
    };
    let people = world.people(6).await;
    assert!(all_live(&world, &people).await);
    let mut sockets = Vec::new();
    for (number, person) in people.iter().enumerate() {
        sockets.push(person.socket(world.addr(number)).await);
    }
    if trouble == Trouble::Loading {
        // Three milliseconds a key; what comes meanwhile is answered every sixteenth.
        let keys = (span.as_millis() / 3).to_string();
        let fill = "for i = 1, ARGV[1] do \
                    redis.call('SET', 'filler:' .. i, string.rep('x', 4096)) end";
        let redis = world.store.redis();
        redis.arguments_with("--key-load-delay", "3000");
        redis.arguments_with("--loading-process-events-interval-bytes", "65536");
        redis.cli(&["EVAL", fill, "0", &keys]);
        redis.cli(&["BGREWRITEAOF"]);
        redis
            .says(&["INFO", "persistence"], "aof_rewrite_in_progress:0")
            .await;
    }

    let began = Instant::now();
    begin(&mut world.store, trouble).await;
    let calm = AtomicBool::new(false);
    let addrs = world.addrs();
    let callers = people.iter().map(async |person| {
        let mut seen = BTreeMap::<String, usize>::new();
        while !calm.load(Ordering::Relaxed) {
            for addr in &addrs {
                let reply = person.call(*addr).await.expect("an answer");
                let told = told(&reply);
                if told == "503 store_unavailable" {
                    assert!(reply.header("retry-after").is_some(), "{reply:?}");
                } else {
                    assert_eq!(told, "200", "{}", reply.text());
                }
                assert!(!takes_cookie(&reply), "the cookie is taken away");
                *seen.entry(told).or_default() += 1;
            }
            pass(Duration::from_millis(20)).await;
        }
        seen
    });
    let (nodes, store, provider) = (&world.nodes, &mut world.store, &world.provider);
    let rest = async {
        pass(span / 2).await;
        let sentence = soon("/readyz to tell", async {
            loop {
                let ready = nodes[0].ready().await;
                if ready.status == 503 {
                    let detail = &ready.json()["checks"]["session_store"]["detail"];
                    break detail.as_str().unwrap().to_owned();
                }
                pass(Duration::from_millis(20)).await;
            }
        })
        .await;
        // Nobody can sign in either, and nobody is told that it was their fault.
        if let Some(pending) = Pending::begin(provider, addrs[1], "user-9").await
            && let Some(reply) = pending.finish(addrs[1]).await
        {
            assert_eq!(reply.status, 503, "{}", reply.text());
            assert!(!takes_cookie(&reply));
        }
        pass(span.saturating_sub(began.elapsed())).await;
        end(store, trouble).await;
        let healed = Instant::now();
        calm.store(true, Ordering::Relaxed);
        (sentence, healed)
    };
    let (seen, (sentence, healed)) = tokio::join!(join_all(callers), rest);
    soon("all to be served again", async {
        let mut in_a_row = 0;
        while in_a_row < 3 {
            let live = all_live(&world, &people).await;
            in_a_row = if live { in_a_row + 1 } else { 0 };
            pass(Duration::from_millis(10)).await;
        }
    })
    .await;
    let took = healed.elapsed();
    assert!(took < HEALS_WITHIN, "it took {took:?} to heal");
    for socket in &mut sockets {
        socket.send(Message::text("still here")).await.unwrap();
        let said = soon("an echo", socket.next()).await.unwrap().unwrap();
        assert_eq!(said, Message::text("still here"));
    }
    for node in &world.nodes {
        node.until_ready().await;
    }
    // Ends are heard again.
    people[0].sign_out(world.addr(0)).await;
    let acknowledged = Instant::now();
    soon("the end to be heard", async {
        for node in [1, 2] {
            while people[0].status(world.addr(node)).await == 200 {
                assert!(acknowledged.elapsed() < Duration::from_secs(2), "unheard");
            }
        }
    })
    .await;
    let mut all = BTreeMap::<String, usize>::new();
    for (told, count) in seen.into_iter().flatten() {
        *all.entry(told).or_default() += count;
    }
    figure!(
        "{kind:?} {trouble:?} for {span:?}: answers {all:?}, nobody signed out, served again {took:?} after, sockets open; /readyz: {sentence:?}"
    );
    world.logs_are_clean();
}

async fn begin(store: &mut Store, trouble: Trouble) {
    match (store, trouble) {
        (Store::Redis(redis), Trouble::Stopped) => redis.stop(),
        (Store::Redis(redis), Trouble::Loading) => {
            redis.stop();
            redis.launch();
        }
        (Store::Redis(redis), Trouble::ReadOnly) => {
            // A master that nobody reaches, so that all data stay.
            redis.cli(&["REPLICAOF", "127.0.0.1", "1"]);
            redis.says(&["SET", "bff:probe", "1"], "READONLY").await;
        }
        (Store::Postgres(postgres, _), Trouble::Stopped) => postgres.stop(),
        (Store::Postgres(_, url), Trouble::ReadOnly) => {
            read_only(url, "on").await;
        }
        (other, _) => panic!("{other:?}"),
    }
}

async fn end(store: &mut Store, trouble: Trouble) {
    match (store, trouble) {
        (Store::Redis(redis), Trouble::Stopped) => redis.restart().await,
        (Store::Redis(redis), Trouble::Loading) => loaded(redis).await,
        (Store::Redis(redis), Trouble::ReadOnly) => {
            redis.cli(&["REPLICAOF", "NO", "ONE"]);
        }
        (Store::Postgres(postgres, _), Trouble::Stopped) => postgres.restart().await,
        (Store::Postgres(_, url), Trouble::ReadOnly) => {
            read_only(url, "off").await;
        }
        (other, _) => panic!("{other:?}"),
    }
}

async fn loaded(redis: &Redis) {
    let patience = Instant::now();
    while !redis.cli(&["PING"]).contains("PONG") {
        assert!(patience.elapsed() < Duration::from_mins(2), "it loads");
        pass(Duration::from_millis(20)).await;
    }
}

/// Every transaction of every connection, there and to come, reads only; or writes again.
async fn read_only(url: &str, value: &'static str) {
    let url = format!("{url}&options=-c%20default_transaction_read_only%3Doff");
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let alter = format!("ALTER SYSTEM SET default_transaction_read_only = {value}");
    for statement in [alter.as_str(), "SELECT pg_reload_conf()"] {
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        sqlx::raw_sql(statement)
            .execute(&mut connection)
            .await
            .unwrap();
    }
    connection.close().await.unwrap();
}

const SHORT: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_secs(30);

on_stores! { an_outage_signs_nobody_out:
    a_store_that_is_stopped_signs_nobody_out
        (Kind::Redis, Trouble::Stopped, SHORT)(Kind::Postgres, Trouble::Stopped, SHORT);
    a_store_that_takes_no_writes_signs_nobody_out
        (Kind::Redis, Trouble::ReadOnly, SHORT)(Kind::Postgres, Trouble::ReadOnly, SHORT);
    a_redis_that_loads_signs_nobody_out(Kind::Redis, Trouble::Loading, SHORT);
    #[ignore = "large"]
    large_stop_of_redis(Kind::Redis, Trouble::Stopped, LONG);
    #[ignore = "large"]
    large_refusal_of_redis(Kind::Redis, Trouble::ReadOnly, LONG);
    #[ignore = "large"]
    large_load_of_redis(Kind::Redis, Trouble::Loading, LONG);
    #[ignore = "large"]
    large_stop_of_postgres(Kind::Postgres, Trouble::Stopped, LONG);
    #[ignore = "large"]
    large_refusal_of_postgres(Kind::Postgres, Trouble::ReadOnly, LONG);
}

/// L3: tokens that the provider gave out just before the store went away are stored once it is
/// back, however long that takes; nobody shows the old refresh token again, on any node.
async fn a_refresh_outlasts_the_store(kind: Kind, span: Duration, rounds: usize) {
    let setup = Setup {
        store_timeout: PROMPT,
        ..Setup::default()
    };
    let Some(mut world) = World::start(kind, setup).await else {
        return;
    };
    for round in 0..rounds {
        world.provider.core.set_access_token_seconds(1);
        let mut people = Vec::new();
        for number in 0..3 {
            people.push(world.person(round * 3 + number, number).await);
        }
        pass(Duration::from_millis(1100)).await;
        world.provider.core.set_access_token_seconds(300);
        let from = world.provider.decided();
        let came = world.provider.came();
        world.provider.hold(true);
        let addrs = world.addrs();
        let first = people.iter().enumerate().map(|(number, person)| {
            let (person, addr) = (person.clone(), addrs[number]);
            tokio::spawn(async move { person.call(addr).await })
        });
        let first: Vec<_> = first.collect();
        world.provider.came_times(came + people.len()).await;
        begin(&mut world.store, Trouble::Stopped).await;
        world.provider.hold(false);
        for call in first {
            let reply = call.await.unwrap().unwrap();
            assert_eq!(reply.status, 503, "{}", reply.text());
            assert!(reply.header("retry-after").is_some());
            assert!(!takes_cookie(&reply));
        }
        // Meanwhile everybody asks every node again and again.
        let calm = AtomicBool::new(false);
        let callers = people.iter().flat_map(|person| {
            addrs.iter().map(|addr| async {
                while !calm.load(Ordering::Relaxed) {
                    let reply = person.call(*addr).await.unwrap();
                    assert!(matches!(reply.status, 200 | 503), "{}", reply.text());
                    pass(Duration::from_millis(10)).await;
                }
            })
        });
        let callers = join_all(callers);
        let store = &mut world.store;
        let rest = async {
            pass(span).await;
            end(store, Trouble::Stopped).await;
            pass(Duration::from_secs(3)).await;
            calm.store(true, Ordering::Relaxed);
        };
        tokio::join!(callers, rest);
        soon("all to be served again", async {
            while !all_live(&world, &people).await {
                pass(Duration::from_millis(20)).await;
            }
        })
        .await;
        let rotations = world.provider.rotations(from);
        assert!(
            rotations.iter().all(|rotation| rotation.granted.is_some()),
            "round {round}: a spent refresh token was shown"
        );
        assert_eq!(rotations.len(), people.len(), "round {round}");
    }
    figure!(
        "{kind:?}: {rounds} x 3 refreshes answered while the store was away for {span:?}: all stored and used, each once"
    );
}

on_stores! { a_refresh_outlasts_the_store:
    a_refresh_outlasts_its_lease
        (Kind::Redis, Duration::from_secs(6), 1)(Kind::Postgres, Duration::from_secs(6), 1);
    #[ignore = "large"]
    large_refresh_over_an_outage_of_redis(Kind::Redis, Duration::from_secs(12), 10);
    #[ignore = "large"]
    large_refresh_over_an_outage_of_postgres(Kind::Postgres, Duration::from_secs(12), 10);
}
