//! A crash under load: what a browser was told of is there after the restart.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Mutex;

use super::person::Person;
use super::{Kind, Setup, World, figure, on_stores, pass};
use crate::support::clock::soon;

/// How many people sign in and call at a time.
const AT_ONCE: usize = 8;

/// DESIGN §4: a session whose cookie reached its browser outlives `kill -9` of its node.
async fn a_crash_loses_no_session(kind: Kind, rounds: usize) {
    let setup = Setup {
        nodes: 1,
        ..Setup::default()
    };
    let Some(mut world) = World::start(kind, setup).await else {
        return;
    };
    let next = Arc::new(AtomicUsize::new(0));
    let signed_in = Arc::new(Mutex::new(Vec::<Person>::new()));
    let (mut broken_off, mut kept) = (0, 0);
    for round in 0..rounds {
        let stop = AtomicBool::new(false);
        let addr = world.addr(0);
        let load = (0..AT_ONCE).map(|_| async {
            let mut failures = 0;
            while !stop.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed) % super::USERS;
                let name = format!("user-{number}");
                let person = Person::try_to_sign_in(&world.provider, addr, &name).await;
                let Some(person) = person else {
                    failures += 1;
                    continue;
                };
                signed_in.lock().await.push(person.clone());
                if let Some(reply) = person.call(addr).await {
                    assert_eq!(reply.status, 200, "{}", reply.text());
                }
            }
            failures
        });
        let moment = Duration::from_millis((round as u64 * 37) % 200);
        let kill = async {
            soon("somebody to sign in", async {
                while signed_in.lock().await.is_empty() {
                    pass(Duration::from_millis(1)).await;
                }
            })
            .await;
            pass(moment).await;
            let id = world.nodes[0].id().to_string();
            let killed = Command::new("/bin/kill").args(["-KILL", &id]).status();
            assert!(killed.unwrap().success());
            stop.store(true, Ordering::Relaxed);
        };
        let (failures, ()) = tokio::join!(join_all(load), kill);
        broken_off += failures.into_iter().sum::<usize>();
        world.nodes[0].kill();
        world.nodes[0].start().await;
        let people = std::mem::take(&mut *signed_in.lock().await);
        let standing = join_all(people.iter().map(|person| person.told(addr))).await;
        for (person, told) in people.iter().zip(standing) {
            assert_eq!(told, "200", "round {round}: {} is lost", person.name);
        }
        kept += people.len();
        world.people.lock().unwrap().extend(people);
    }
    assert!(broken_off > 0, "no login was under way when the node died");
    figure!(
        "{kind:?}: {rounds} x kill -9 under load: {kept} sessions acknowledged, all live; {broken_off} logins broken off"
    );
    world.logs_are_clean();
}

on_stores! { a_crash_loses_no_session:
    a_crash_on_sqlite_loses_no_session(Kind::Sqlite, 3);
    a_crash_on_redis_loses_no_session(Kind::Redis, 3);
    a_crash_on_postgres_loses_no_session(Kind::Postgres, 3);
    #[ignore = "large"]
    large_crashes_on_sqlite(Kind::Sqlite, 100);
    #[ignore = "large"]
    large_crashes_on_redis(Kind::Redis, 100);
    #[ignore = "large"]
    large_crashes_on_postgres(Kind::Postgres, 100);
}
