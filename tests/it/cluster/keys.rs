//! Keys change under live sessions, and nothing in a store is worth stealing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bff::secret::SessionKey;
use bff::session::seal::{FieldReader, Keys};

use super::person::Person;
use super::refresh::all_live;
use super::{Kind, Setup, Store, World, figure, new_key, on_stores, pass, sqlite_file};
use crate::support::canary::{Canaries, sightings};
use crate::support::clock::soon;
use crate::support::journey::SESSION_COOKIE;
use crate::support::node::{Node, ask};

/// How the nodes get their new ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Reload,
    Restart,
}

/// G7: a new key takes the place of the old one as `bff keygen --rotate` says, and nobody is signed
/// out by any step, nor while the nodes differ.
async fn keys_rotate(kind: Kind, how: How) {
    let is_shared = matches!(kind, Kind::Redis | Kind::Postgres);
    let setup = Setup {
        nodes: if is_shared { 3 } else { 1 },
        ..Setup::default()
    };
    let Some(mut world) = World::start(kind, setup).await else {
        return;
    };
    let mut people = world.people(4).await;
    assert!(all_live(&world, &people).await);
    let (old, new) = (world.keys[0].clone(), new_key());
    let sealed_by_old = how_many_sealed_by(&world, &old);
    if is_shared {
        take_up(&mut world, &[old.clone(), new.clone()], how, &mut people).await;
    }
    take_up(&mut world, &[new.clone(), old.clone()], how, &mut people).await;
    let news = Keys::of(&SessionKey::parse(&new).unwrap());
    for person in &people {
        let opened = news.open(SESSION_COOKIE, person.cookie.as_bytes());
        assert!(opened.is_some(), "a cookie of the old key");
    }
    world.people.lock().unwrap().extend(people.clone());
    assert!(all_live(&world, &people).await);
    let mut resealed = 0;
    if let Some(before) = sealed_by_old {
        assert_eq!(
            before,
            people.len(),
            "every record was sealed by the old key"
        );
        if how == How::Restart {
            // Each was looked up anew, and is sealed anew beside that.
            soon("all records to be sealed anew", async {
                while how_many_sealed_by(&world, &old) != Some(0) {
                    pass(Duration::from_millis(20)).await;
                }
            })
            .await;
            resealed = before;
            take_up(&mut world, &[new], how, &mut people).await;
        }
    }
    figure!(
        "{kind:?}: a new key by {how:?}: {} sessions live on {} nodes, cookies renewed, {resealed} records sealed anew",
        people.len(),
        setup.nodes
    );
    world.logs_are_clean();
}

/// Gives the nodes their ring, one after the other; everybody calls all of them at each step, and
/// keeps the cookie that comes.
async fn take_up(world: &mut World, keys: &[String], how: How, people: &mut [Person]) {
    let before: Vec<_> = world.nodes.iter().map(reloads).collect();
    if how == How::Reload {
        world.ring(keys);
        for (node, before) in world.nodes.iter().zip(before) {
            soon("the keys to be read again", async {
                while reloads(node) == before {
                    look_in(world, people).await;
                }
            })
            .await;
        }
        look_in(world, people).await;
        return;
    }
    world.ring(keys);
    for node in 0..world.nodes.len() {
        world.nodes[node].stop().await;
        world.nodes[node].start().await;
        look_in(world, people).await;
    }
}

fn reloads(node: &Node) -> usize {
    node.log().matches("session keys reloaded").count()
}

/// Everybody asks every node who is signed in, and is.
async fn look_in(world: &World, people: &mut [Person]) {
    let prefix = format!("{SESSION_COOKIE}=");
    for person in people.iter_mut() {
        for addr in world.addrs() {
            let call = person.calls("GET", "/bff/session");
            let reply = ask(addr, &call).await.unwrap();
            assert_eq!(reply.json()["authenticated"], true, "{}", reply.text());
            let given = reply.header("set-cookie");
            let given = given.and_then(|line| line.strip_prefix(&prefix)?.split(';').next());
            if let Some(cookie) = given {
                cookie.clone_into(&mut person.cookie);
            }
            assert_eq!(person.told(addr).await, "200");
        }
    }
}

/// How many records name this key; `None` where the store shows none.
fn how_many_sealed_by(world: &World, key: &str) -> Option<usize> {
    let key = Keys::of(&SessionKey::parse(key).unwrap());
    let sealed = sealed(&world.store)?;
    Some(
        sealed
            .iter()
            .filter(|sealed| !key.is_outdated_bytes(sealed))
            .count(),
    )
}

/// The sealed part of each record.
fn sealed(store: &Store) -> Option<Vec<Vec<u8>>> {
    match store {
        Store::Memory | Store::Sqlite(_) => None,
        Store::Redis(redis) => {
            let keys = redis.cli(&["KEYS", "bff:s:*"]);
            let script = "return redis.sha1hex('') and (string.gsub(redis.call('HGET', KEYS[1], \
                          'data'), '.', function (c) return string.format('%02x', string.byte(c)) end))";
            let data = keys
                .lines()
                .map(|key| redis.cli(&["EVAL", script, "1", key]));
            Some(data.map(|data| unhex(&data)).collect())
        }
        Store::Postgres(..) => {
            let text = psql(store, "SELECT encode(sealed, 'hex') FROM bff_sessions");
            Some(text.lines().map(unhex).collect())
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.trim().as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").unwrap();
    let mut programs = versions.map(|version| version.unwrap().path().join("bin").join(name));
    programs.find(|program| program.exists()).unwrap()
}

fn psql(store: &Store, statement: &str) -> String {
    let url = store.url().unwrap();
    let output = Command::new(program("psql"))
        .args(["-X", "-A", "-t", "-c", statement, &url])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

on_stores! { keys_rotate:
    keys_rotate_by_reload
        (Kind::Memory, How::Reload)(Kind::Sqlite, How::Reload)
        (Kind::Redis, How::Reload)(Kind::Postgres, How::Reload);
    keys_rotate_by_restart
        (Kind::Sqlite, How::Restart)(Kind::Redis, How::Restart)(Kind::Postgres, How::Restart);
}

/// G5: after logins, calls, refreshes, logouts and a key rotation, all that a store wrote holds no
/// secret in any spelling.
async fn a_dump_is_worth_nothing(kind: Kind, people: usize) {
    let setup = Setup {
        nodes: if kind == Kind::Sqlite { 1 } else { 3 },
        ..Setup::default()
    };
    let Some(mut world) = World::start(kind, setup).await else {
        return;
    };
    world.provider.core.set_access_token_seconds(1);
    let crowd = world.people(people).await;
    for _ in 0..2 {
        pass(Duration::from_millis(1050)).await;
        assert!(all_live(&world, &crowd).await);
    }
    assert!(world.provider.decided() >= 2 * people);
    for person in crowd.iter().step_by(3) {
        person.sign_out(world.addr(1)).await;
    }
    let old = world.keys[0].clone();
    let mut living: Vec<_> = crowd.iter().skip(1).step_by(3).cloned().collect();
    take_up(
        &mut world,
        &[old.clone(), new_key()],
        How::Restart,
        &mut living,
    )
    .await;
    let new = world.keys[1].clone();
    take_up(&mut world, &[new, old], How::Restart, &mut living).await;
    world.people.lock().unwrap().extend(living.clone());
    let canaries = spelled(&world, &crowd);
    // Someone who looks for what is there finds it: the dump is one, and of these sessions.
    let marker = "user-1";
    let (mut bytes, mut found, mut marked) = (0, String::new(), false);
    for (place, content) in dump(&world.store) {
        bytes += content.len();
        marked |= crate::support::wire::find(&content, marker.as_bytes()).is_some();
        found += &sightings(&place, &content, &canaries);
    }
    assert!(marked, "the dump shows no session");
    assert!(found.is_empty(), "a canary sang:\n{found}");
    world.logs_are_clean();
    figure!(
        "{kind:?}: {bytes} bytes of dump searched for {} spellings of secrets, cookies and session ids: none",
        canaries.len()
    );
}

/// Every secret as bytes, in hexadecimal and in Base64; session ids as well.
fn spelled(world: &World, people: &[Person]) -> Canaries {
    let rings: Vec<_> = world
        .keys
        .iter()
        .map(|key| Keys::of(&SessionKey::parse(key).unwrap()))
        .collect();
    let mut canaries = Canaries::new();
    for (kind, secret) in world.canaries() {
        canaries.push((kind, hex(secret.as_bytes())));
        // Without the last characters, which depend on what follows.
        let coded = STANDARD_NO_PAD.encode(&secret);
        canaries.push((kind, coded[..coded.len() - 3].to_owned()));
        canaries.push((kind, secret));
    }
    for person in people {
        let cookie = person.cookie.as_bytes();
        let opened = rings
            .iter()
            .find_map(|ring| ring.open(SESSION_COOKIE, cookie));
        let opened = opened.expect("a cookie opens");
        let id = FieldReader::new(&opened).bytes().unwrap().to_vec();
        assert_eq!(id.len(), 32);
        canaries.push(("session id", hex(&id)));
        canaries.push(("session id", URL_SAFE_NO_PAD.encode(&id)));
        canaries.push(("session id", STANDARD_NO_PAD.encode(&id)));
    }
    for key in &world.keys {
        canaries.push(("session key", key.clone()));
    }
    canaries
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// All that the store wrote, by place.
fn dump(store: &Store) -> Vec<(String, Vec<u8>)> {
    match store {
        Store::Memory => Vec::new(),
        Store::Sqlite(dir) => {
            assert!(sqlite_file(dir).exists());
            files(dir.path())
        }
        Store::Redis(redis) => {
            assert_eq!(redis.cli(&["SAVE"]), "OK");
            let place = redis.cli(&["CONFIG", "GET", "dir"]);
            let place = place.lines().nth(1).unwrap();
            let mut all = files(Path::new(place));
            for kind in [".rdb", ".aof"] {
                assert!(all.iter().any(|(place, _)| place.ends_with(kind)), "{kind}");
            }
            all.push((
                "SLOWLOG".to_owned(),
                redis.cli(&["SLOWLOG", "GET", "-1"]).into(),
            ));
            all
        }
        Store::Postgres(..) => {
            psql(store, "CHECKPOINT");
            let dumped = Command::new(program("pg_dump"))
                .args(["--inserts", &store.url().unwrap()])
                .output()
                .unwrap();
            assert!(dumped.status.success(), "{dumped:?}");
            let mut all = files(Path::new(&psql(store, "SHOW data_directory")));
            // Databases of PostgreSQL's own hold nothing of ours, and much else.
            let own = psql(
                store,
                "SELECT oid FROM pg_database WHERE datname = current_database()",
            );
            let own = format!("/base/{own}/");
            all.retain(|(place, _)| place.contains(&own) || place.contains("/pg_wal/"));
            for (_, content) in &mut all {
                // A log's file is as long as it may become.
                let end = content.iter().rposition(|byte| *byte != 0);
                content.truncate(end.map_or(0, |end| end + 1));
            }
            all.push(("pg_dump".to_owned(), dumped.stdout));
            all
        }
    }
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else if let Ok(content) = std::fs::read(&path) {
            all.push((path.display().to_string(), content));
        }
    }
    all
}

on_stores! { a_dump_is_worth_nothing:
    a_dump_of_sqlite_is_worth_nothing(Kind::Sqlite, 6);
    a_dump_of_redis_is_worth_nothing(Kind::Redis, 6);
    a_dump_of_postgres_is_worth_nothing(Kind::Postgres, 6);
    #[ignore = "large"]
    large_dump_of_sqlite(Kind::Sqlite, 40);
    #[ignore = "large"]
    large_dump_of_redis(Kind::Redis, 40);
    #[ignore = "large"]
    large_dump_of_postgres(Kind::Postgres, 40);
}
