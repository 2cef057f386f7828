//! Whoever may speak on the channel between nodes, and may do nothing else, does them no harm.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::person::Person;
use super::refresh::all_live;
use super::{Kind, Setup, Store, World, figure, on_stores, pass};
use crate::support::clock::soon;
use crate::support::node::Node;

/// What a flood may make a node grow by, beside what it holds anyway for those who sign in meanwhile.
const BOUND: u64 = 32 * 1024 * 1024;

const AT_ONCE: usize = 1000;
const WORD: &str = "loudly";

/// Somebody who may speak on the channel and hear it.
enum Loud {
    Redis(BufReader<TcpStream>),
    Postgres(PgConnection),
}

impl Loud {
    /// Nothing but the channel is open to them.
    async fn on(store: &Store) -> Self {
        match store {
            Store::Redis(redis) => {
                let rights = ["resetkeys", "resetchannels", "&bff:events", "-@all"];
                let commands = ["+publish", "+subscribe"];
                let user = ["ACL", "SETUSER", "loud", "on", ">loudly"];
                let all = [user.as_slice(), &rights, &commands].concat();
                assert_eq!(redis.cli(&all), "OK");
                let stream = TcpStream::connect(redis.address()).await.unwrap();
                let mut loud = BufReader::new(stream);
                let hello = format!("AUTH loud {WORD}\r\n");
                loud.get_mut().write_all(hello.as_bytes()).await.unwrap();
                assert_eq!(line(&mut loud).await, "+OK");
                Self::Redis(loud)
            }
            Store::Postgres(server, url) => {
                let role = format!("CREATE ROLE loud LOGIN PASSWORD '{WORD}'");
                let database = url.rsplit('/').next().unwrap();
                let database = database.split('?').next().unwrap();
                server.run(database, &role).await;
                let url = server.url_as("loud", WORD, database);
                let mut loud = PgConnection::connect(&url).await.unwrap();
                let peeks = sqlx::query("SELECT hash FROM bff_sessions");
                assert!(peeks.fetch_all(&mut loud).await.is_err());
                Self::Postgres(loud)
            }
            other => panic!("{other:?} has no channel"),
        }
    }

    /// Says all of this.
    async fn say(&mut self, said: &[String]) {
        match self {
            Self::Redis(loud) => {
                let mut commands = String::new();
                for text in said {
                    writeln!(commands, "PUBLISH bff:events \"{text}\"\r").unwrap();
                }
                loud.get_mut().write_all(commands.as_bytes()).await.unwrap();
                for _ in said {
                    let heard = line(loud).await;
                    assert!(heard.starts_with(':'), "{heard}");
                }
            }
            Self::Postgres(loud) => {
                let statement = "SELECT count(pg_notify('bff_events', said)) FROM unnest($1) said";
                let query = sqlx::query(statement).bind(said.to_vec());
                query.fetch_one(loud).await.unwrap();
            }
        }
    }
}

async fn line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    soon("a line of Redis", stream.read_line(&mut line))
        .await
        .unwrap();
    line.trim_end().to_owned()
}

/// The hash of the one session there is.
async fn the_hash(store: &Store) -> String {
    match store {
        Store::Redis(redis) => {
            let keys = redis.cli(&["KEYS", "bff:s:*"]);
            assert_eq!(keys.lines().count(), 1, "{keys}");
            keys.trim().replace("bff:s:", "")
        }
        Store::Postgres(_, url) => {
            let mut connection = PgConnection::connect(url).await.unwrap();
            let query = "SELECT encode(hash, 'hex') FROM bff_sessions WHERE ended IS NULL";
            sqlx::query_scalar(query)
                .fetch_one(&mut connection)
                .await
                .unwrap()
        }
        other => panic!("{other:?}"),
    }
}

/// The `number`th way to write a hash: each of its letters small or capital.
fn spelling(hash: &str, number: usize) -> String {
    let mut letters = 0;
    hash.chars()
        .map(|digit| {
            if !digit.is_ascii_alphabetic() {
                return digit;
            }
            letters += 1;
            match number >> (letters - 1) & 1 {
                1 => digit.to_ascii_uppercase(),
                _ => digit,
            }
        })
        .collect()
}

/// The end of a session, as a node of the release before tells it.
fn told_plainly(kind: Kind, hash: &str) -> String {
    match kind {
        Kind::Redis => format!("e 1 {hash}"),
        _ => format!("e{hash}1"),
    }
}

/// M7: 200,000 spellings of one hash, sent by a role without any right on a table, made a node grow
/// from 19 to 242 MB and logins fail with 503: each was looked up by itself. They are one doubt.
async fn a_flood_is_one_doubt(kind: Kind, messages: usize) {
    let Some(world) = World::start(kind, Setup::default()).await else {
        return;
    };
    let alice = world.person(0, 0).await;
    let hash = the_hash(&world.store).await;
    assert!(all_live(&world, std::slice::from_ref(&alice)).await);
    let mut loud = Loud::on(&world.store).await;
    let before: Vec<_> = world.nodes.iter().map(Node::memory).collect();
    let over = AtomicBool::new(false);
    let peaks: Vec<_> = before.iter().map(|_| AtomicU64::new(0)).collect();
    let began = Instant::now();
    let flood = async {
        for from in (0..messages).step_by(AT_ONCE) {
            let said = (from..from + AT_ONCE).map(|number| {
                let hash = spelling(&hash, number);
                told_plainly(kind, &hash)
            });
            loud.say(&said.collect::<Vec<_>>()).await;
        }
        let took = began.elapsed();
        // What is under way yet.
        pass(Duration::from_millis(500)).await;
        over.store(true, Ordering::Relaxed);
        took
    };
    let watch = async {
        while !over.load(Ordering::Relaxed) {
            for (node, peak) in world.nodes.iter().zip(&peaks) {
                peak.fetch_max(node.memory(), Ordering::Relaxed);
            }
            pass(Duration::from_millis(20)).await;
        }
    };
    let others = async {
        let (mut logins, mut slowest) = (0, Duration::ZERO);
        while !over.load(Ordering::Relaxed) {
            let asked = Instant::now();
            let name = format!("user-{}", 1 + logins % 100);
            let somebody = Person::sign_in(&world.provider, world.addr(logins), &name).await;
            for person in [&somebody, &alice] {
                assert_eq!(person.told(world.addr(logins)).await, "200");
            }
            slowest = slowest.max(asked.elapsed());
            logins += 1;
        }
        (logins, slowest)
    };
    let (took, (), (logins, slowest)) = tokio::join!(flood, watch, others);
    let grown = before.iter().zip(&peaks).map(|(before, peak)| {
        (
            before / 1024 / 1024,
            peak.load(Ordering::Relaxed) / 1024 / 1024,
        )
    });
    figure!(
        "{kind:?}: {messages} spellings of one hash in {took:?}: {logins} logins beside them, the slowest with two calls {slowest:?}; MiB before and at most, by node: {:?}",
        grown.collect::<Vec<_>>()
    );
    assert!(logins > 0);
    for (before, peak) in before.iter().zip(&peaks) {
        let grown = peak.load(Ordering::Relaxed).saturating_sub(*before);
        assert!(grown < BOUND, "grown by {grown} bytes");
    }
    world.logs_are_clean();
}

on_stores! { a_flood_is_one_doubt:
    a_flood_of_the_channel_of_redis_is_one_doubt(Kind::Redis, 20_000);
    a_flood_of_the_channel_of_postgres_is_one_doubt(Kind::Postgres, 20_000);
    #[ignore = "large"]
    large_flood_of_redis(Kind::Redis, 200_000);
    #[ignore = "large"]
    large_flood_of_postgres(Kind::Postgres, 200_000);
}

/// What a Redis was asked for records.
fn looks(store: &Store) -> u64 {
    let Store::Redis(redis) = store else {
        panic!("{store:?}");
    };
    let stats = redis.cli(&["INFO", "commandstats"]);
    let line = stats
        .lines()
        .find(|line| line.starts_with("cmdstat_hmget:"));
    let calls = line.and_then(|line| line.split(['=', ',']).nth(1));
    calls.map_or(0, |calls| calls.parse().unwrap())
}

/// M7: a word with a time to come made each request a read of the store, since nothing was proven any
/// more. Words made up, and words said once more, prove nothing and spoil nothing; and no hash is to be
/// heard on the channel.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_forged_word_changes_nothing() {
    let Some(world) = World::start(Kind::Redis, Setup::default()).await else {
        return;
    };
    let alice = world.person(0, 0).await;
    let hash = the_hash(&world.store).await;
    let mut loud = Loud::on(&world.store).await;
    let mut ears = Loud::on(&world.store).await;
    let Loud::Redis(ears) = &mut ears else {
        panic!("of Redis");
    };
    // Beyond the time for which nodes speak in the clear, for fear of an older one.
    pass(Duration::from_secs(11)).await;
    let subscribe = b"SUBSCRIBE bff:events\r\n";
    ears.get_mut().write_all(subscribe).await.unwrap();
    let mut heard = String::new();
    soon("words", async {
        while heard.matches("\nw ").count() < 6 {
            let mut some = [0; 4096];
            let read = ears.read(&mut some).await.unwrap();
            heard += &String::from_utf8_lossy(&some[..read]);
        }
    })
    .await;
    let lines = heard.lines().filter(|line| line.starts_with("w "));
    let old: Vec<_> = lines.map(str::to_owned).collect();
    let future = 4_000_000_000_000_u64;
    let made_up = old.iter().map(|word| {
        let mut parts: Vec<_> = word.split(' ').collect();
        let future = future.to_string();
        // As the release before said it, with its place for a time; and any piece of ours.
        parts.truncate(3);
        format!("{} 7 {future}", parts.join(" "))
    });
    let said: Vec<_> = old.iter().cloned().chain(made_up).collect();
    assert_eq!(alice.status(world.addr(0)).await, 200);
    let asked = looks(&world.store);
    for _ in 0..20 {
        loud.say(&said).await;
        for _ in 0..10 {
            assert_eq!(alice.status(world.addr(0)).await, 200);
        }
    }
    let asked = looks(&world.store) - asked;
    assert!(asked < 10, "{asked} reads for 200 calls");

    // The words made up sound like an older node's, so that for a while ends are told in the clear too.
    pass(Duration::from_secs(11)).await;
    alice.sign_out(world.addr(0)).await;
    soon("the end to be heard", async {
        let mut said = String::new();
        while said.matches("\ns ").count() < 1 {
            let mut some = [0; 4096];
            let read = ears.read(&mut some).await.unwrap();
            said += &String::from_utf8_lossy(&some[..read]);
            assert!(!said.contains(&hash), "{said}");
        }
    })
    .await;
    world.logs_are_clean();
}
