//! One session a user, however many logins at once and at however many nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::person::{Pending, told};
use super::{Kind, Setup, World, figure, on_stores, pass};
use crate::support::clock::soon;

const END_OLDEST: Setup = Setup {
    session: "max_per_user = 1\non_limit = \"end_oldest\"",
    nodes: 3,
    provider: "",
    routes: &[],
    relays: false,
    store_timeout: "10s",
    access_tokens: 300,
};

const REFUSE: Setup = Setup {
    session: "max_per_user = 1\non_limit = \"refuse\"",
    ..END_OLDEST
};

/// DESIGN §4: of logins that come together over three nodes one session lives; the others learn
/// that another login took their place, or were refused.
async fn logins_at_once(kind: Kind, setup: Setup, logins: usize, rounds: usize) {
    let Some(world) = World::start(kind, setup).await else {
        return;
    };
    let refuses = setup.session.contains("refuse");
    let mut longest = Duration::ZERO;
    for round in 0..rounds {
        let name = format!("user-{round}");
        let mut pending = Vec::new();
        for number in 0..logins {
            let begun = Pending::begin(&world.provider, world.addr(number), &name).await;
            pending.push(begun.unwrap());
        }
        let finished = pending.iter().enumerate().map(|(number, pending)| {
            let addr = world.addr(number);
            async move { (pending, pending.finish(addr).await.unwrap()) }
        });
        let finished = join_all(finished).await;
        let began = Instant::now();
        let mut people = Vec::new();
        for (pending, reply) in &finished {
            if let Some(person) = pending.signed_in(reply) {
                people.push(person);
                continue;
            }
            assert!(refuses, "{}", reply.text());
            assert_eq!(reply.status, 403, "{}", told(reply));
            assert!(reply.text().contains("session_limit"), "{}", reply.text());
        }
        assert_eq!(
            people.len(),
            if refuses { 1 } else { logins },
            "round {round}"
        );
        // An end is heard of, which takes a moment; then all nodes agree, and stay so.
        let standing = async || {
            let mut told = BTreeMap::<String, usize>::new();
            for node in 0..3 {
                let calls = people.iter().map(|person| person.told(world.addr(node)));
                for answer in join_all(calls).await {
                    *told.entry(answer).or_default() += 1;
                }
            }
            told
        };
        let mut settled = BTreeMap::from([("200".to_owned(), 3)]);
        if !refuses {
            settled.insert("401 session_superseded".to_owned(), 3 * (logins - 1));
        }
        soon("one session to be left", async {
            while standing().await != settled {
                pass(Duration::from_millis(5)).await;
            }
        })
        .await;
        longest = longest.max(began.elapsed());
        assert_eq!(standing().await, settled, "round {round}");
    }
    figure!(
        "{kind:?} {}: {rounds} rounds of {logins} logins at once: one session lived each time; longest until all nodes agreed {longest:?}",
        if refuses { "refuse" } else { "end_oldest" }
    );
}

on_stores! { logins_at_once:
    of_ten_logins_over_redis_one_lives(Kind::Redis, END_OLDEST, 10, 4);
    of_ten_logins_over_postgres_one_lives(Kind::Postgres, END_OLDEST, 10, 4);
    of_ten_logins_over_redis_nine_are_refused(Kind::Redis, REFUSE, 10, 4);
    of_ten_logins_over_postgres_nine_are_refused(Kind::Postgres, REFUSE, 10, 4);
    #[ignore = "large"]
    large_logins_over_redis(Kind::Redis, END_OLDEST, 10, 200);
    #[ignore = "large"]
    large_logins_over_postgres(Kind::Postgres, END_OLDEST, 10, 200);
    #[ignore = "large"]
    large_refusals_over_redis(Kind::Redis, REFUSE, 10, 200);
    #[ignore = "large"]
    large_refusals_over_postgres(Kind::Postgres, REFUSE, 10, 200);
}
