//! The Redis store: its promises on one server, on a Cluster and under Sentinel; and what becomes
//! of it when they fail, refuse or vanish.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bff::secret::StoreUrl;
use bff::session::store::StoreError;
use bff::session::store::record_store::{Event, Lookup, RecordStore, Rows};
use bff::session::store::redis::RedisStore;
use bff::web::ending::EndReason;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::contract::{HOUR, Nodes, Told, hash, holds, listening, now, row, row_with, told_until};
use super::{away, unusable, voice};
use crate::support::clock::soon;
use crate::support::logs::Logs;
use crate::support::servers::redis::{Certificates, Cluster, Redis, Watched, is_here};

fn store(url: &str) -> Arc<dyn RecordStore> {
    settled(url, None, Duration::from_secs(2))
}

fn settled(url: &str, ca: Option<&Path>, timeout: Duration) -> Arc<dyn RecordStore> {
    Arc::new(RedisStore::new(&StoreUrl::new(url), ca, timeout, voice()).unwrap())
}

/// The key of a session.
fn key(number: usize) -> String {
    let hash = hash(number);
    let digits = hash.as_bytes().iter().map(|byte| format!("{byte:02x}"));
    format!("bff:s:{}", digits.collect::<String>())
}

/// Writes and reads, as a login and a request do.
async fn works(store: &Arc<dyn RecordStore>, number: usize) {
    store.insert(&row(number), None, now()).await.unwrap();
    let found = store.load(&hash(number)).await.unwrap();
    assert_eq!(found, Lookup::Row(row(number)));
}

/// The session is there, as soon as the store is well again.
async fn heals(store: &Arc<dyn RecordStore>, number: usize) {
    soon("the store to heal", async {
        loop {
            match store.load(&hash(number)).await {
                Ok(found) => return assert_eq!(found, Lookup::Row(row(number))),
                Err(StoreError::Away(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await;
}

#[track_caller]
fn is_unusable<T: std::fmt::Debug>(outcome: Result<T, StoreError>, needle: &str) {
    let sentence = unusable(outcome);
    assert!(sentence.contains(needle), "{sentence}");
}

#[tokio::test]
async fn one_server_keeps_the_promises() {
    if !is_here() {
        return;
    }
    let redis = Redis::start(&[]).await;
    holds(async || {
        redis.cli(&["FLUSHALL"]);
        let (one, other) = (store(&redis.url()), store(&redis.url()));
        Nodes { one, other }
    })
    .await;
}

#[tokio::test]
async fn a_cluster_keeps_the_promises() {
    if !is_here() {
        return;
    }
    let cluster = Cluster::start().await;
    holds(async || {
        for node in &cluster.nodes {
            node.cli(&["FLUSHALL"]);
        }
        let (one, other) = (store(&cluster.url()), store(&cluster.url()));
        Nodes { one, other }
    })
    .await;
}

#[tokio::test]
async fn a_restart_is_healed() {
    if !is_here() {
        return;
    }
    let mut redis = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let store = store(&redis.url());
    store.prepare().await.unwrap();
    works(&store, 1).await;

    redis.stop();
    away(store.load(&hash(1)).await);
    away(store.insert(&row(2), None, now()).await);
    away(store.check().await);

    redis.restart().await;
    heals(&store, 1).await;
    store.check().await.unwrap();

    // Nobody called while it was away: the first call finds it back.
    redis.stop();
    redis.restart().await;
    // Whatever the sockets have to tell is heard by then.
    drop(TcpStream::connect(redis.address()).await.unwrap());
    tokio::task::yield_now().await;
    let found = store.load(&hash(1)).await.unwrap();
    assert_eq!(found, Lookup::Row(row(1)));
}

#[tokio::test]
async fn a_store_that_is_away_at_start_is_used_once_it_is_there() {
    if !is_here() {
        return;
    }
    let mut redis = Redis::start(&[]).await;
    redis.stop();
    let store = store(&redis.url());
    away(store.prepare().await);
    away(store.load(&hash(1)).await);
    redis.restart().await;
    works(&store, 1).await;
    store.prepare().await.unwrap();
}

#[tokio::test]
async fn a_server_that_hangs_is_away_within_the_timeout() {
    if !is_here() {
        return;
    }
    let redis = Redis::start(&[]).await;
    let timeout = Duration::from_millis(300);
    let store = settled(&redis.url(), None, timeout);
    works(&store, 1).await;
    redis.pause();
    for _ in 0..2 {
        let asked = Instant::now();
        away(store.load(&hash(1)).await);
        assert!(asked.elapsed() < 3 * timeout, "{:?}", asked.elapsed());
    }
    redis.resume();
    heals(&store, 1).await;
}

#[tokio::test]
async fn a_server_that_loads_its_file_is_away() {
    if !is_here() {
        return;
    }
    let options = [
        "--appendonly",
        "yes",
        "--loading-process-events-interval-bytes",
        "1024",
        "--key-load-delay",
        "0",
    ];
    let mut redis = Redis::start(&options).await;
    let store = store(&redis.url());
    works(&store, 1).await;
    let fill = "for i = 1, 20000 do redis.call('SET', 'x' .. i, i) end";
    redis.cli(&["EVAL", fill, "0"]);
    redis.cli(&["BGREWRITEAOF"]);
    redis
        .says(&["INFO", "persistence"], "aof_rewrite_in_progress:0")
        .await;
    redis.stop();
    // Microseconds a key.
    redis.arguments_with("--key-load-delay", "1000");
    redis.launch();
    soon("the file to be loaded", async {
        while !redis.cli(&["PING"]).contains("LOADING") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    away(store.load(&hash(1)).await);
    away(store.check().await);
    redis.cli(&["CONFIG", "SET", "key-load-delay", "0"]);
    heals(&store, 1).await;
}

#[tokio::test]
async fn a_replica_is_away_until_it_is_a_master_again() {
    if !is_here() {
        return;
    }
    let (redis, other) = (Redis::start(&[]).await, Redis::start(&[]).await);
    let store = store(&redis.url());
    works(&store, 1).await;
    redis.cli(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    away(store.insert(&row(2), None, now()).await);
    away(store.check().await);
    redis.cli(&["REPLICAOF", "NO", "ONE"]);
    store.check().await.unwrap();
    works(&store, 3).await;
}

#[tokio::test]
async fn sentinel_leads_to_the_new_master() {
    if !is_here() {
        return;
    }
    let mut watched = Watched::start().await;
    let store = store(&watched.url());
    store.prepare().await.unwrap();
    works(&store, 1).await;
    let mut told = listening(&store).await;
    store.end(&hash(9), EndReason::Logout, now()).await.unwrap();
    assert_eq!(told_until(&store, &mut told, "before").await, []);
    watched.replica.says(&["EXISTS", &key(1)], "1").await;

    watched.master.kill();
    away(store.load(&hash(1)).await);
    assert_eq!(soon("the channel to end", told.recv()).await, None);
    heals(&store, 1).await;
    works(&store, 2).await;
    assert_eq!(watched.replica.cli(&["EXISTS", "bff:n"]), "1");

    let mut told = listening(&store).await;
    store.end(&hash(2), EndReason::Logout, now()).await.unwrap();
    let events = told_until(&store, &mut told, "after").await;
    assert_eq!(events, [Event::Ended(hash(2), EndReason::Logout)]);
}

/// One that asks for no password is not told ours: it may be another's.
#[tokio::test]
async fn a_sentinel_that_asks_for_a_password_is_told_ours() {
    if !is_here() {
        return;
    }
    let watched = Watched::guarded("word").await;
    let url = watched.url().replace("://", "://:word@");
    store(&url).prepare().await.unwrap();
    works(&store(&url), 1).await;
    let url = watched.url().replace("://", "://:other@");
    is_unusable(store(&url).prepare().await, "wrong user or password");
}

#[tokio::test]
async fn a_master_that_sentinel_does_not_know_is_named() {
    if !is_here() {
        return;
    }
    let watched = Watched::start().await;
    let url = watched.url().replace("mymaster", "other");
    is_unusable(store(&url).prepare().await, "no master named \"other\"");
}

#[tokio::test]
async fn a_cluster_heals_when_its_nodes_come_back() {
    if !is_here() {
        return;
    }
    let mut cluster = Cluster::start().await;
    let store = store(&cluster.url());
    store.prepare().await.unwrap();
    for number in 0..6 {
        works(&store, number).await;
    }
    let mut told = listening(&store).await;
    for node in &mut cluster.nodes {
        // In memory alone, so this one's sessions are lost; it is told by their absence below.
        node.stop();
    }
    away(store.load(&hash(1)).await);
    assert_eq!(soon("the channel to end", told.recv()).await, None);
    for node in &mut cluster.nodes {
        node.restart().await;
    }
    cluster.is_well().await;
    soon("the store to heal", async {
        while store.load(&hash(1)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    for number in 0..6 {
        works(&store, number).await;
    }
}

/// A master that hangs, which breaks no connection: the slots are asked for anew.
#[tokio::test]
async fn a_cluster_leads_to_the_new_master() {
    if !is_here() {
        return;
    }
    let cluster = Cluster::start().await;
    let replica = cluster.add_replica().await;
    let store = settled(&cluster.url(), None, Duration::from_millis(500));
    for number in 0..12 {
        works(&store, number).await;
    }
    let written = cluster.nodes[0].cli(&["DBSIZE"]);
    replica.says(&["DBSIZE"], &written).await;
    let mut told = listening(&store).await;
    cluster.nodes[0].pause();
    assert_eq!(soon("the channel to end", told.recv()).await, None);
    replica.says(&["ROLE"], "master").await;
    for number in 0..12 {
        heals(&store, number).await;
    }
    soon("all masters to hear", async {
        while store.announce("word").await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let mut told = listening(&store).await;
    store.end(&hash(5), EndReason::Logout, now()).await.unwrap();
    let events = told_until(&store, &mut told, "after").await;
    assert_eq!(events, [Event::Ended(hash(5), EndReason::Logout)]);
}

/// A user is not left without a sign that sessions may be lost.
#[tokio::test]
async fn settings_that_lose_sessions_are_warned_of() {
    if !is_here() {
        return;
    }
    let logs = Logs::capture();
    let _here = logs.listen();
    let warned = || {
        let lines = logs.lines_with("WARN");
        let has = |needle: &str| lines.iter().any(|line| line.contains(needle));
        (has("set appendonly yes"), has("noeviction"))
    };
    let redis = Redis::start(&["--appendonly", "yes"]).await;
    redis.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    store(&redis.url()).prepare().await.unwrap();
    assert_eq!(warned(), (false, false));
    redis.cli(&["CONFIG", "SET", "maxmemory", "100mb"]);
    store(&redis.url()).prepare().await.unwrap();
    assert_eq!(warned(), (false, true));
    redis.cli(&["CONFIG", "SET", "appendonly", "no"]);
    redis.cli(&["CONFIG", "SET", "save", "3600 1"]);
    store(&redis.url()).prepare().await.unwrap();
    assert_eq!(warned(), (false, true));
    redis.cli(&["CONFIG", "SET", "save", ""]);
    store(&redis.url()).prepare().await.unwrap();
    assert_eq!(warned(), (true, true));
}

#[tokio::test]
async fn a_wrong_password_is_told() {
    if !is_here() {
        return;
    }
    let redis = Redis::with_password("right").await;
    let at = |credentials: &str| {
        let url = format!("redis://{credentials}127.0.0.1:{}", redis.port());
        store(&url)
    };
    works(&at(":right@"), 1).await;
    works(&at("default:right@"), 2).await;
    for credentials in ["", ":canary@", "somebody:canary@"] {
        let store = at(credentials);
        let expected = "wrong user or password in session.store_url";
        is_unusable(store.prepare().await, expected);
        is_unusable(store.load(&hash(1)).await, expected);
        let shown = format!("{store:?} {:?}", store.check().await);
        assert!(!shown.contains("canary"), "{shown}");
    }
    let url = format!("redis+cluster://:canary@{}", redis.address());
    is_unusable(store(&url).prepare().await, "wrong user or password");
}

/// The permissions in the docs of the module suffice, and are named where one is missing.
#[tokio::test]
async fn a_user_needs_no_more_than_is_written_down() {
    if !is_here() {
        return;
    }
    let redis = Redis::start(&[]).await;
    let source = include_str!("../../../src/session/store/redis/mod.rs");
    let (_, rest) = source
        .split_once("//! ACL SETUSER bff on >PASSWORD")
        .unwrap();
    let (rules, _) = rest.split_once("```").unwrap();
    let rules = rules.replace("//!", "");
    let set = |more: &[&str]| {
        let mut arguments = vec!["ACL", "SETUSER", "bff", "on", ">word"];
        arguments.extend(rules.split_whitespace());
        arguments.extend(more);
        assert_eq!(redis.cli(&arguments), "OK");
    };
    set(&[]);
    let url = format!("redis://bff:word@{}", redis.address());
    store(&url).prepare().await.unwrap();
    holds(async || {
        redis.cli(&["FLUSHALL"]);
        let (one, other) = (store(&url), store(&url));
        Nodes { one, other }
    })
    .await;

    redis.cli(&["FLUSHALL"]);
    set(&["-hset"]);
    is_unusable(store(&url).insert(&row(1), None, now()).await, "ACL LOG");
    set(&["resetkeys", "~other:*"]);
    is_unusable(store(&url).load(&hash(1)).await, "ACL LOG");
    set(&["resetchannels"]);
    is_unusable(store(&url).announce("word").await, "ACL LOG");
}

#[tokio::test]
async fn tls_is_verified() {
    if !is_here() {
        return;
    }
    let certificates = Certificates::new();
    let redis = Redis::with_tls(&certificates).await;
    let url = format!("rediss://{}", redis.address());
    let timeout = Duration::from_secs(2);
    let trusting = settled(&url, Some(&certificates.ca()), timeout);
    trusting.prepare().await.unwrap();
    works(&trusting, 1).await;
    let mut told = listening(&trusting).await;
    assert_eq!(told_until(&trusting, &mut told, "word").await, []);

    is_unusable(store(&url).prepare().await, "session.store_ca");
    let other = Certificates::new();
    let distrusting = settled(&url, Some(&other.ca()), timeout);
    is_unusable(distrusting.prepare().await, "session.store_ca");
    away(store(&redis.url()).prepare().await);

    let key = certificates.ca().with_file_name("key.pem");
    let unread = RedisStore::new(&StoreUrl::new(url.as_str()), Some(&key), timeout, voice());
    is_unusable(unread, "holds no certificate");
    let unread = RedisStore::new(&StoreUrl::new("redis://a,b"), None, timeout, voice());
    is_unusable(unread, "session.store_url names several hosts");
}

#[tokio::test]
async fn the_wrong_kind_of_redis_is_told() {
    if !is_here() {
        return;
    }
    let redis = Redis::start(&[]).await;
    let url = format!("redis+cluster://{}", redis.address());
    is_unusable(store(&url).prepare().await, "is no Cluster");
    let cluster = Cluster::start().await;
    let stores = cluster.nodes.iter().map(|node| store(&node.url()));
    let mut told = 0;
    for store in stores {
        if let Err(StoreError::Unusable(cause)) = store.insert(&row(1), None, now()).await {
            assert!(cause.to_string().contains("redis+cluster://"), "{cause}");
            told += 1;
        }
    }
    assert!(told >= 2, "{told}");
}

#[tokio::test]
async fn a_full_server_is_told() {
    if !is_here() {
        return;
    }
    let redis = Redis::start(&[]).await;
    let store = store(&redis.url());
    works(&store, 1).await;
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    is_unusable(store.check().await, "maxmemory");
    is_unusable(store.insert(&row(2), None, now()).await, "maxmemory");
    // Who is signed in stays so.
    let found = store.load(&hash(1)).await.unwrap();
    assert_eq!(found, Lookup::Row(row(1)));
    redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    store.check().await.unwrap();
}

#[tokio::test]
async fn sessions_of_a_newer_version_are_left_alone() {
    if !is_here() {
        return;
    }
    let redis = Redis::start(&[]).await;
    redis.cli(&["SET", "bff:schema", "2"]);
    let store = store(&redis.url());
    is_unusable(store.prepare().await, "written by a newer bff");
    is_unusable(store.load(&hash(1)).await, "written by a newer bff");
    assert_eq!(redis.cli(&["GET", "bff:schema"]), "2");
}

/// No gap is hidden: who listens is told that it listens no more.
#[tokio::test]
async fn a_cut_channel_ends_listening() {
    if !is_here() {
        return;
    }
    let redis = Redis::start(&[]).await;
    let store = store(&redis.url());
    let mut told = listening(&store).await;
    redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    assert_eq!(soon("the channel to end", told.recv()).await, None);

    let mut told = listening(&store).await;
    redis.pause();
    let paused = Instant::now();
    assert_eq!(soon("the channel to end", told.recv()).await, None);
    assert!(paused.elapsed() < Duration::from_secs(2));
    redis.resume();

    let mut told = listening(&store).await;
    store.announce("word").await.unwrap();
    let heard = soon("the word", told.recv()).await;
    assert_eq!(heard, Some(Told::Echo("word".to_owned())));
}

/// A word comes back once, and only when every master's copy did.
#[tokio::test]
async fn a_word_in_a_cluster_comes_from_every_master() {
    if !is_here() {
        return;
    }
    let cluster = Cluster::start().await;
    let (one, other) = (store(&cluster.url()), store(&cluster.url()));
    let mut told = listening(&other).await;
    let [first, second, _] = cluster.nodes.as_slice() else {
        panic!("three masters")
    };
    // Whoever may speak on the channel can make up words, in the clear as nodes once sent them.
    for (node, word) in [(first, "forged"), (second, "forged 1 1795251600000")] {
        let copy = format!("w {} {word}", node.address());
        node.cli(&["PUBLISH", "bff:events", &copy]);
    }
    assert_eq!(told_until(&one, &mut told, "word").await, []);
    one.announce("last").await.unwrap();
    let heard = soon("the word", told.recv()).await;
    assert_eq!(heard, Some(Told::Echo("last".to_owned())));

    // One master's connection is cut: all listening ends.
    second.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    assert_eq!(soon("the channel to end", told.recv()).await, None);
}

/// What time takes away is gone from Redis too, though the test's clock stands in another year.
#[tokio::test]
async fn keys_live_as_long_as_their_sessions() {
    if !is_here() {
        return;
    }
    let redis = Redis::start(&[]).await;
    let store = store(&redis.url());
    let later = row_with(2, |row| row.times.ends = now() + 24 * HOUR);
    store.insert(&later, None, now()).await.unwrap();
    let sooner = row_with(1, |row| row.times.ends = now() + 8 * HOUR);
    store.insert(&sooner, None, now()).await.unwrap();
    let keys = redis.cli(&["KEYS", "bff:*"]);
    assert_eq!(keys.lines().count(), 7, "{keys}");
    for key in keys.lines().filter(|key| *key != "bff:schema") {
        let hours = if key == self::key(1) { 9 } else { 25 };
        let left: u64 = redis.cli(&["TTL", key]).parse().unwrap();
        let (most, least) = (hours * 3600, hours * 3600 - 60);
        assert!((least..=most).contains(&left), "{key}: {left}");
    }
    // A record lost by whatever accident leaves nothing behind in the indexes.
    redis.cli(&["DEL", &key(1)]);
    let left = [later];
    assert_eq!(store.of_subject("alice", &Rows::all()).await.unwrap(), left);
    assert_eq!(
        store.of_provider_sid("sid-1", &Rows::all()).await.unwrap(),
        left
    );
    assert_eq!(store.page("", &Rows::all(), None, 10).await.unwrap(), left);
    let expired = store.expired(now() + 99 * HOUR, 10).await.unwrap();
    assert_eq!(expired, [hash(2)]);
    assert_eq!(store.count().await.unwrap(), 1);
    assert_eq!(redis.cli(&["ZCARD", "bff:n"]), "1");
}

/// Lines of Redis as somebody hears them who subscribed to all of the channel.
async fn overhear(redis: &Redis) -> BufReader<TcpStream> {
    let mut ears = TcpStream::connect(redis.address()).await.unwrap();
    let subscribe = b"SUBSCRIBE bff:events\r\n";
    ears.write_all(subscribe).await.unwrap();
    let mut ears = BufReader::new(ears);
    overheard(&mut ears, ":1").await;
    ears
}

/// How many messages are overheard until one has this in it, itself among them.
async fn overheard(ears: &mut BufReader<TcpStream>, last: &str) -> usize {
    let mut messages = 0;
    soon(last, async {
        loop {
            let mut line = String::new();
            ears.read_line(&mut line).await.unwrap();
            messages += usize::from(line.trim_end() == "message");
            if line.contains(last) {
                return messages;
            }
        }
    })
    .await
}

/// §4: each event was a message of its own, which the store sent to each node: 20,000 changes a second and
/// a hundred nodes were more than a Redis can hand on. What comes within a moment comes together.
#[tokio::test]
async fn what_is_told_within_a_moment_is_few_messages() {
    if !is_here() {
        return;
    }
    let redis = Redis::start(&[]).await;
    let (one, other) = (store(&redis.url()), store(&redis.url()));
    let ended: Vec<_> = (0..200).map(hash).collect();
    for number in 0..200 {
        one.insert(&row(number), None, now()).await.unwrap();
    }
    let mut ears = overhear(&redis).await;
    let mut told = listening(&other).await;
    let began = Instant::now();
    let ends = ended
        .iter()
        .map(|hash| one.end(hash, EndReason::Logout, now()));
    futures_util::future::try_join_all(ends).await.unwrap();
    let took = began.elapsed();
    let mut events = told_until(&one, &mut told, "word").await;
    events.dedup();
    let all = ended
        .iter()
        .map(|hash| Event::Ended(*hash, EndReason::Logout));
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(super::contract::of);
    assert_eq!(events, all, "each, once");
    // In the clear to nodes of the release before, for fear that one is there; those are messages each.
    let messages = overheard(&mut ears, "w ").await - 200;
    let moments = usize::try_from(took.as_millis() / 20).unwrap() + 3;
    assert!(messages <= moments, "{messages} messages in {took:?}");
}

/// §4: what waits is told though its node is gone: by the next heartbeat of any, and before it.
#[tokio::test]
async fn a_heartbeat_tells_what_a_dead_node_left_waiting() {
    if !is_here() {
        return;
    }
    let redis = Redis::start(&[]).await;
    let (one, other) = (store(&redis.url()), store(&redis.url()));
    let mut told = listening(&other).await;
    let left = format!("c 2 {}", hash(1).to_hex());
    redis.cli(&["RPUSH", "bff:told", &left]);
    redis.cli(&["SET", "bff:told:turn", "", "PX", "60000"]);
    one.announce("word").await.unwrap();
    let heard = soon("what waited", told.recv()).await;
    assert_eq!(heard, Some(Told::Hint(Event::Changed(hash(1), 2))));
    let heard = soon("the word", told.recv()).await;
    assert_eq!(heard, Some(Told::Echo("word".to_owned())));
}

/// §4: a heartbeat for every node, of every node, is the square of them.
#[tokio::test]
async fn a_node_proves_to_itself_alone_that_it_hears() {
    if !is_here() {
        return;
    }
    let redis = Redis::start(&[]).await;
    let cluster = Cluster::start().await;
    for url in [redis.url(), cluster.url()] {
        let (one, other) = (store(&url), store(&url));
        let (mut told_one, mut told_other) = (listening(&one).await, listening(&other).await);
        for word in ["first", "second"] {
            one.prove(word).await.unwrap();
            assert_eq!(
                soon(word, told_one.recv()).await,
                Some(Told::Echo(word.to_owned()))
            );
        }
        // Behind both of them.
        one.announce("third").await.unwrap();
        let heard = soon("the third", told_other.recv()).await;
        assert_eq!(heard, Some(Told::Echo("third".to_owned())), "{url}");
    }
}

/// §4: a user with the rights of the release before has everything told as it was then.
#[tokio::test]
async fn who_may_not_keep_a_list_tells_each_event_at_once() {
    if !is_here() {
        return;
    }
    let redis = Redis::start(&[]).await;
    let mut rights = vec!["ACL", "SETUSER", "bff", "on", ">word", "~bff:*"];
    rights.extend(["resetchannels", "&bff:events", "+@all", "-rpush", "-lrange"]);
    assert_eq!(redis.cli(&rights), "OK");
    let url = format!("redis://bff:word@{}", redis.address());
    let (one, other) = (store(&url), store(&url));
    let mut told = listening(&other).await;
    for number in 1..20 {
        one.insert(&row(number), None, now()).await.unwrap();
        one.end(&hash(number), EndReason::Logout, now())
            .await
            .unwrap();
        one.prove(&format!("word {number}")).await.unwrap();
    }
    let events = told_until(&one, &mut told, "word").await;
    assert_eq!(events.len(), 19, "{events:?}");
}
