//! An upgrade while people work, and its rolling back: nodes of the release before and of this one on
//! one store, in each mix that a deployment goes through. `BFF_TEST_OLDER` is the binary of the release
//! before, as `tests/upgrade.sh` builds it; without it all nodes are of today.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

use super::person::{Pending, Person};
use super::revoke::{End, refused};
use super::{Kind, Setup, World, figure, older, on_stores, pass};

/// Which release a node is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Release {
    Before,
    This,
}

use Release::{Before, This};

/// What two nodes run: up, with both of today for a while, and down again.
const MIXES: [[Release; 2]; 5] = [
    [Before, Before],
    [Before, This],
    [This, This],
    [This, Before],
    [Before, Before],
];

/// Seconds that an access token lives, so that each life sees the end of one.
const TOKEN: u64 = 4;

/// How long another node may serve a session that has ended: `session.max_staleness`, and a margin for
/// a machine that does much else.
const BOUND: Duration = Duration::from_millis(1000 + 900);

/// What happened, over all mixes.
#[derive(Debug, Default)]
struct Tally {
    calls: usize,
    logins: usize,
    ends: usize,
    /// The longest that an end took to reach the other node.
    slowest: Duration,
    /// The last to end, for whoever asks later why.
    over: Vec<(Person, End)>,
}

struct Story {
    world: World,
    tally: Mutex<Tally>,
}

impl Release {
    fn program(self) -> PathBuf {
        match self {
            Before => older().unwrap_or_else(|| This.program()),
            This => env!("CARGO_BIN_EXE_bff").into(),
        }
    }
}

/// E10, L2, L3: nobody is lost, whichever nodes of which releases they meet. Logins, refreshes and ends
/// are on both, and one that began before a node was replaced goes on after it.
async fn an_upgrade_loses_nobody(kind: Kind, lives: usize, at_once: usize) {
    let setup = Setup {
        nodes: 2,
        session: "max_per_user = 2",
        ..Setup::default()
    };
    let Some(world) = World::start(kind, setup).await else {
        return;
    };
    world.provider.core.set_access_token_seconds(TOKEN);
    let mut story = Story {
        world,
        tally: Mutex::default(),
    };
    story.run(0, Before).await;
    story.run(1, Before).await;
    let mut lasting = story.world.people(8).await;
    let mut under_way: Option<Pending> = None;
    for (number, mix) in MIXES.into_iter().enumerate() {
        for (at, release) in mix.into_iter().enumerate() {
            if number > 0 && MIXES[number - 1][at] != release {
                story.run(at, release).await;
            }
            story.all_are_served(&lasting).await;
        }
        if let Some(pending) = under_way.take() {
            // It began at the other node, of the mix before.
            let reply = pending.finish(story.world.addr(1)).await.unwrap();
            let person = pending.signed_in(&reply);
            lasting.push(person.unwrap_or_else(|| panic!("{mix:?}: {}", reply.text())));
        }
        let over = std::mem::take(&mut story.tally.lock().unwrap().over);
        for (person, end) in &over {
            for node in [0, 1] {
                assert_eq!(person.told(story.world.addr(node)).await, end.told());
            }
        }
        let first = lasting.len() + number * lives + 100;
        stream::iter(first..first + lives)
            .for_each_concurrent(at_once, |user| story.life(user))
            .await;
        story.all_are_served(&lasting).await;
        let name = format!("user-{}", 50 + number);
        let begun = Pending::begin(&story.world.provider, story.world.addr(0), &name).await;
        under_way = begun;
    }
    let rotations = story.world.provider.rotations(0);
    let presented: HashSet<_> = rotations.iter().map(|use_| &use_.presented).collect();
    assert_eq!(
        presented.len(),
        rotations.len(),
        "a refresh token was used twice"
    );
    assert!(rotations.iter().all(|use_| use_.granted.is_some()));
    let tally = story.tally.lock().unwrap();
    figure!(
        "{kind:?}, releases {}: {} mixes of two nodes: {} calls, {} logins, {} refreshes, {} ends: nobody lost; an end reached the other node within {:?}",
        if older().is_some() {
            "before and this"
        } else {
            "this and this"
        },
        MIXES.len(),
        tally.calls,
        tally.logins,
        rotations.len(),
        tally.ends,
        tally.slowest,
    );
    story.world.logs_are_clean();
}

impl Story {
    /// Puts a node of this release in the place of whichever runs there.
    async fn run(&mut self, at: usize, release: Release) {
        let node = &mut self.world.nodes[at];
        node.stop().await;
        node.runs(release.program());
        node.start().await;
    }

    /// Each of them, at each node.
    async fn all_are_served(&self, people: &[Person]) {
        for person in people {
            self.is_served(person, 0).await;
            self.is_served(person, 1).await;
        }
    }

    async fn is_served(&self, person: &Person, node: usize) {
        assert_eq!(
            person.told(self.world.addr(node)).await,
            "200",
            "{person:?}"
        );
        self.tally.lock().unwrap().calls += 1;
    }

    /// From the login to the end: at either node by turns, and each step looked at from the other.
    async fn life(&self, user: usize) {
        let (here, there) = (user % 2, 1 - user % 2);
        let name = format!("user-{user}");
        let (provider, addr) = (&self.world.provider, |node| self.world.addr(node));
        let pending = Pending::begin(provider, addr(here), &name).await.unwrap();
        let ends_at = if user % 4 < 2 { here } else { there };
        let reply = pending.finish(addr(ends_at)).await.unwrap();
        let person = pending.signed_in(&reply);
        let person = person.unwrap_or_else(|| panic!("{}", reply.text()));
        self.tally.lock().unwrap().logins += 1;
        for _ in 0..5 {
            self.is_served(&person, there).await;
            self.is_served(&person, here).await;
        }
        // The token ends, and one of them fetches the next.
        pass(Duration::from_secs(TOKEN) + Duration::from_millis(50)).await;
        let (first, second) = if user % 8 < 4 {
            (here, there)
        } else {
            (there, here)
        };
        for _ in 0..5 {
            self.is_served(&person, first).await;
            self.is_served(&person, second).await;
        }
        let end = End::ALL[user % End::ALL.len()];
        end.come(&self.world, here, &person).await;
        let acknowledged = Instant::now();
        let (_, took) = refused(&person, addr(there), end, acknowledged).await;
        assert!(
            took < BOUND,
            "{end:?} of {name} reached the other node after {took:?}"
        );
        assert_eq!(person.told(addr(here)).await, end.told());
        let mut tally = self.tally.lock().unwrap();
        tally.ends += 1;
        tally.slowest = tally.slowest.max(took);
        tally.over.push((person, end));
        if tally.over.len() > 10 {
            tally.over.remove(0);
        }
    }
}

on_stores! { an_upgrade_loses_nobody:
    an_upgrade_and_its_rolling_back_lose_nobody(Kind::Redis, 20, 20)(Kind::Postgres, 20, 20);
    #[ignore = "large"]
    large_upgrade_on_redis(Kind::Redis, 200, 24);
    #[ignore = "large"]
    large_upgrade_on_postgres(Kind::Postgres, 200, 24);
}
