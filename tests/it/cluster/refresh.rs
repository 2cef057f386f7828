//! One refresh a session, however many nodes; and a node's death in the middle of it.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::person::Person;
use super::{Kind, Setup, World, figure, on_stores, pass};

/// Chance that is the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// L2: calls over three nodes, all on expired tokens, on a handful of sessions and all on one: one
/// refresh a session, everybody is answered with the token it brought, and the refresh token it brought
/// is good for the next.
async fn storms_bring_one_refresh_a_session(kind: Kind, calls: usize, rounds: usize) {
    let Some(world) = World::start(kind, Setup::default()).await else {
        return;
    };
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        world.provider.core.set_access_token_seconds(1);
        let mut people = Vec::new();
        for number in 0..7 {
            people.push(world.person(round * 7 + number, number).await);
        }
        // Tokens of the first storms outlast all of them, and end before the second.
        for (expire_after, seconds) in [(1, OUTLASTS_STORMS), (OUTLASTS_STORMS, 300)] {
            pass(Duration::from_secs(expire_after) + Duration::from_millis(100)).await;
            world.provider.core.set_access_token_seconds(seconds);
            for crowd in [&people[..6], &people[6..]] {
                slowest = slowest.max(storm(&world, crowd, calls).await);
            }
        }
    }
    figure!(
        "{kind:?}: {rounds} x 4 storms of {calls} calls over 3 nodes, on 6 sessions and on 1: one refresh a session each; slowest storm {slowest:?}"
    );
    world.logs_are_clean();
}

/// Seconds that a token lives that no storm may see expire, nor be due: both storms, on a machine
/// that does much else.
const OUTLASTS_STORMS: u64 = 10;

/// So many calls at once on these sessions, whose tokens have expired. How long it took.
async fn storm(world: &World, people: &[Person], calls: usize) -> Duration {
    let (before, shown_before) = (world.provider.decided(), world.api.count());
    let began = Instant::now();
    world.provider.hold(true);
    let came = world.provider.came();
    let calls = (0..calls).map(|number| {
        let person = people[number % people.len()].clone();
        let node = world.addr(number / people.len());
        tokio::spawn(async move { person.told(node).await })
    });
    let calls: Vec<_> = calls.collect();
    world.provider.came_times(came + people.len()).await;
    world.provider.hold(false);
    for call in calls {
        assert_eq!(call.await.unwrap(), "200");
    }
    let took = began.elapsed();
    let rotations = world.provider.rotations(before);
    let mut newest = BTreeMap::new();
    for rotation in &rotations {
        let granted = rotation.granted.as_ref().expect("a refresh is granted");
        let path = format!("/api/of/{}", rotation.subject);
        let before = newest.insert(path, &granted.access_token);
        assert!(
            before.is_none(),
            "a second refresh in a storm of {took:?}: {:?}",
            rotations
                .iter()
                .filter(|other| other.subject == rotation.subject)
                .map(|other| (other.connection, other.came - began, other.decided - began))
                .collect::<Vec<_>>()
        );
    }
    assert_eq!(newest.len(), people.len());
    for (target, token) in world.api.shown(shown_before) {
        assert_eq!(&token, newest[&target], "not the current token");
    }
    took
}

on_stores! { storms_bring_one_refresh_a_session:
    calls_over_nodes_bring_one_refresh_a_session(Kind::Redis, 300, 1)(Kind::Postgres, 300, 1);
    #[ignore = "large"]
    large_storms_over_redis(Kind::Redis, 300, 20);
    #[ignore = "large"]
    large_storms_over_postgres(Kind::Postgres, 300, 20);
}

/// What a run of kills came to.
#[derive(Debug, Default)]
struct Toll {
    rounds: usize,
    slow_rounds: usize,
    calls: usize,
    unanswered: usize,
    /// Sessions whose refresh died unseen with its node, by whether the provider was slow.
    excused_fast: usize,
    excused_slow: usize,
    /// The longest that an answer lay between the provider's decision and the kill, unseen.
    unseen_fast: Duration,
    unseen_slow: Duration,
    rotations: usize,
    longest_wait: Duration,
}

impl Toll {
    fn add(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.slow_rounds += other.slow_rounds;
        self.calls += other.calls;
        self.unanswered += other.unanswered;
        self.excused_fast += other.excused_fast;
        self.excused_slow += other.excused_slow;
        self.unseen_fast = self.unseen_fast.max(other.unseen_fast);
        self.unseen_slow = self.unseen_slow.max(other.unseen_slow);
        self.rotations += other.rotations;
        self.longest_wait = self.longest_wait.max(other.longest_wait);
    }
}

/// How long a slow provider takes over a refresh.
const SLOW: Duration = Duration::from_millis(120);

/// L2, L5: a node dies at any moment of a refresh. A session is lost only where the provider had
/// answered its rotation to the dead node and nobody ever learnt the answer.
async fn a_node_dies(kind: Kind, worlds: usize, rounds: usize, slow_each: usize) {
    // Rounds are mostly waits for the leases of the dead, so worlds pass side by side.
    let tolls = (1..=worlds).map(|seed| one_dies(kind, 4, rounds / worlds, slow_each, seed));
    let mut sum = Toll::default();
    for toll in join_all(tolls).await.into_iter().flatten() {
        sum.add(&toll);
    }
    figure!("{kind:?}: kills of a node: {sum:?}");
}

async fn one_dies(
    kind: Kind,
    sessions: usize,
    rounds: usize,
    slow_each: usize,
    seed: usize,
) -> Option<Toll> {
    let mut world = World::start(kind, Setup::default()).await?;
    world.provider.core.set_access_token_seconds(1);
    let mut people = world.people(sessions).await;
    let mut toll = Toll::default();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (seed as u64) << 40);
    for round in 0..rounds {
        // All tokens have run out: each session is refreshed in this round.
        pass(Duration::from_millis(1050)).await;
        let is_slow = round % slow_each == slow_each - 1;
        world
            .provider
            .take_time(if is_slow { SLOW } else { Duration::ZERO });
        let from = world.provider.decided();
        let victim = usize::try_from(dice.below(3)).unwrap();
        let moment = Duration::from_micros(dice.below(if is_slow { 220_000 } else { 60_000 }));
        let mut calls = Vec::new();
        for person in &people {
            for (node, addr) in world.addrs().into_iter().enumerate() {
                let person = person.clone();
                calls.push(tokio::spawn(async move {
                    let began = Instant::now();
                    (node, person.call(addr).await, person.name, began.elapsed())
                }));
            }
        }
        pass(moment).await;
        world.nodes[victim].kill();
        let killed = Instant::now();
        // Restarted at once, beside the calls of the others.
        world.nodes[victim].launch();
        let mut lost = HashSet::new();
        for call in calls {
            let (node, reply, name, took) = call.await.unwrap();
            toll.calls += 1;
            match reply {
                None => {
                    assert_eq!(node, victim, "round {round}: a living node gave no answer");
                    toll.unanswered += 1;
                }
                Some(reply) if reply.status == 200 => {}
                Some(reply) if reply.status == 401 => drop(lost.insert(name)),
                Some(reply) => panic!("round {round}: {} to {name}", reply.text()),
            }
            toll.longest_wait = toll.longest_wait.max(took);
        }
        world.nodes[victim].serves().await;
        for person in &people {
            for addr in world.addrs() {
                match person.status(addr).await {
                    200 => assert!(!lost.contains(&person.name), "{} is back", person.name),
                    401 => drop(lost.insert(person.name.clone())),
                    other => panic!("round {round}: {other} to {}", person.name),
                }
            }
        }
        for name in lost {
            let unseen = assert_excused(&world, &name, from, killed, round);
            if is_slow {
                toll.excused_slow += 1;
                toll.unseen_slow = toll.unseen_slow.max(unseen);
            } else {
                toll.excused_fast += 1;
                toll.unseen_fast = toll.unseen_fast.max(unseen);
            }
            let number: usize = name.strip_prefix("user-").unwrap().parse().unwrap();
            let at = people.iter().position(|person| person.name == name);
            people[at.unwrap()] = world.person(number, number).await;
        }
        toll.rounds += 1;
        toll.slow_rounds += usize::from(is_slow);
        toll.rotations = world.provider.decided();
        if toll.rounds.is_multiple_of(50) {
            figure!("{kind:?}, world {seed}, so far: {toll:?}");
        }
    }
    world.logs_are_clean();
    Some(toll)
}

/// Why a session may be gone: its last granted rotation was asked for by the node that was killed,
/// before it was, on a connection that ended with it; and neither of the two tokens that it gave
/// was ever shown to anybody, so nobody had learnt them. How long before the kill it was decided.
fn assert_excused(
    world: &World,
    name: &str,
    from: usize,
    killed: Instant,
    round: usize,
) -> Duration {
    let rotations: Vec<_> = world
        .provider
        .rotations(from)
        .into_iter()
        .filter(|rotation| rotation.subject == name)
        .collect();
    let last = rotations
        .iter()
        .rfind(|rotation| rotation.granted.is_some())
        .unwrap_or_else(|| panic!("round {round}: {name} was lost with no rotation granted"));
    let granted = last.granted.as_ref().unwrap();
    assert!(
        last.came <= killed,
        "round {round}: {name}: granted after the kill"
    );
    let closed = world.provider.closed(last.connection);
    let closed =
        closed.unwrap_or_else(|| panic!("round {round}: {name}: granted to a living node"));
    let apart = if closed > killed {
        closed - killed
    } else {
        killed - closed
    };
    assert!(
        apart < Duration::from_millis(500),
        "round {round}: {name}: the connection ended {apart:?} from the kill"
    );
    let presented = rotations
        .iter()
        .any(|rotation| rotation.presented == granted.refresh_token);
    assert!(
        !presented,
        "round {round}: {name}: the new refresh token was known"
    );
    let used = world
        .api
        .shown(0)
        .iter()
        .any(|(_, token)| *token == granted.access_token);
    assert!(
        !used,
        "round {round}: {name}: the new access token was used"
    );
    killed.saturating_duration_since(last.decided)
}

on_stores! { a_node_dies:
    a_node_dies_and_no_session_with_it(Kind::Redis, 2, 8, 4)(Kind::Postgres, 2, 8, 4);
    #[ignore = "large"]
    large_kills_on_redis(Kind::Redis, 5, 1000, 5);
    #[ignore = "large"]
    large_kills_on_postgres(Kind::Postgres, 5, 1000, 5);
}

/// Everybody's calls to every node are answered with 200.
pub(super) async fn all_live(world: &World, people: &[Person]) -> bool {
    let calls = people.iter().flat_map(|person| {
        let addrs = world.addrs();
        addrs.into_iter().map(move |addr| person.call(addr))
    });
    let answers = join_all(calls).await;
    answers
        .into_iter()
        .all(|answer| answer.is_some_and(|reply| reply.status == 200))
}
