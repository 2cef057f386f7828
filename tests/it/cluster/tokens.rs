//! Several tokens of one session over several nodes: each bought once, and none that outlives its session
//! (A15, A16, L2, L3, L8).

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::person::{Person, told};
use super::provider::Purchase;
use super::{Kind, Setup, World, figure, on_stores, pass};
use crate::support::clock::soon;
use crate::support::node::ask;

/// A route of each kind of token, beside `/api` with the session's own.
const ROUTES: &[(&str, &str)] = &[
    ("/orders", "{ resource = \"https://orders.example.com\" }"),
    ("/mail", "{ exchange = { audience = \"mail\" } }"),
    ("/clock", "\"client\""),
];

const PATHS: [&str; 4] = ["/api", "/orders", "/mail", "/clock"];

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// Seconds that a token lives that no storm may see expire, nor be due.
const OUTLASTS_A_STORM: u64 = 60;

fn setup() -> Setup {
    Setup {
        routes: ROUTES,
        ..Setup::default()
    }
}

/// Status and code of a call to one of [`PATHS`].
async fn asked(world: &World, person: &Person, path: &str, node: usize) -> String {
    let target = format!("{path}/of/{}", person.name);
    let reply = ask(world.addr(node), &person.calls("GET", &target)).await;
    told(&reply.expect("an answer"))
}

/// Has somebody whose four tokens are there and have ended; those that are bought next live for long.
async fn with_expired_tokens(world: &World, number: usize) -> Person {
    world.provider.core.set_access_token_seconds(1);
    let person = world.person(number, number).await;
    for (node, path) in PATHS.into_iter().enumerate() {
        assert_eq!(asked(world, &person, path, node).await, "200", "{path}");
    }
    pass(Duration::from_millis(1100)).await;
    world
        .provider
        .core
        .set_access_token_seconds(OUTLASTS_A_STORM);
    person
}

/// How many tokens were bought for each grant and audience.
fn counted(purchases: &[Purchase]) -> BTreeMap<(&str, Option<&str>), usize> {
    let mut counted = BTreeMap::new();
    for purchase in purchases {
        let key = (purchase.grant.as_str(), purchase.audience.as_deref());
        *counted.entry(key).or_default() += 1;
    }
    counted
}

/// So many calls at once over four routes and three nodes, with everything expired: each of the session's tokens
/// is bought once, our own once a process, everybody is answered with the one that came, and the refresh token is
/// good for the next. Somebody with the session's own token alone, whose row is of the form of before, is
/// served beside it.
async fn four_routes_buy_each_token_once(kind: Kind, calls: usize, rounds: usize) {
    let Some(world) = World::start(kind, setup()).await else {
        return;
    };
    let plain = world.person(1000, 0).await;
    let mut slowest = Duration::ZERO;
    let mut spent = 0;
    for round in 0..rounds {
        let person = with_expired_tokens(&world, round).await;
        let bought = world.provider.purchases(0).len();
        let (decided, shown) = (world.provider.decided(), world.api.count());
        let came = world.provider.came();
        let began = Instant::now();
        world.provider.hold(true);
        let calls: Vec<_> = (0..calls)
            .map(|number| {
                let target = format!("{}/of/{}", PATHS[number % 4], person.name);
                let (call, node) = (person.calls("GET", &target), world.addr(number / 4));
                tokio::spawn(async move { told(&ask(node, &call).await.expect("an answer")) })
            })
            .collect();
        world.provider.came_times(came + 1).await;
        world.provider.hold(false);
        for call in calls {
            assert_eq!(call.await.unwrap(), "200");
        }
        slowest = slowest.max(began.elapsed());

        let purchases = world.provider.purchases(bought);
        let counts = counted(&purchases);
        let resource = Some("https://orders.example.com");
        assert_eq!(counts[&("refresh_token", None)], 1, "{counts:?}");
        assert_eq!(counts[&("refresh_token", resource)], 1, "{counts:?}");
        assert_eq!(counts[&(EXCHANGE, Some("mail"))], 1, "{counts:?}");
        let ours = counts.get(&("client_credentials", None)).copied();
        assert!(ours.unwrap_or_default() <= world.nodes.len(), "{counts:?}");
        assert_eq!(counts.len(), 3 + usize::from(ours.is_some()), "{counts:?}");
        let carried: HashSet<_> = world.api.shown(shown).into_iter().collect();
        for path in &PATHS[..3] {
            let of_path = carried
                .iter()
                .filter(|(target, _)| target.starts_with(path));
            assert_eq!(of_path.count(), 1, "{path}");
        }
        let rotations = world.provider.rotations(decided);
        assert_eq!(rotations.len(), 2);
        assert!(rotations.iter().all(|rotation| rotation.granted.is_some()));
        spent += rotations.len();
        for node in 0..world.nodes.len() {
            assert_eq!(plain.told(world.addr(node)).await, "200");
            for path in PATHS {
                assert_eq!(asked(&world, &person, path, node).await, "200", "{path}");
            }
        }
    }
    let presented: HashSet<_> = world
        .provider
        .rotations(0)
        .into_iter()
        .map(|rotation| rotation.presented)
        .collect();
    assert_eq!(
        presented.len(),
        world.provider.decided(),
        "a refresh token was used twice"
    );
    figure!(
        "{kind:?}: {rounds} storms of {calls} calls on 4 routes of one session over 3 nodes, everything expired: one purchase a token ({spent} uses of a refresh token, none twice), no 401; slowest storm {slowest:?}"
    );
    world.logs_are_clean();
}

/// L8: a logout races the purchases of three nodes: whatever they bring is revoked, in whichever order they come.
async fn a_logout_revokes_what_comes_late(kind: Kind, rounds: usize) {
    let Some(world) = World::start(kind, setup()).await else {
        return;
    };
    let (mut bought, mut refused) = (0, 0);
    for round in 0..rounds {
        let person = with_expired_tokens(&world, round).await;
        let from = world.provider.purchases(0).len();
        let came = world.provider.came();
        world.provider.hold(true);
        let calls: Vec<_> = (0..24)
            .map(|number| {
                let target = format!("{}/of/{}", PATHS[number % 3], person.name);
                let (call, node) = (person.calls("GET", &target), world.addr(number / 3));
                tokio::spawn(async move { told(&ask(node, &call).await.expect("an answer")) })
            })
            .collect();
        world.provider.came_times(came + 1).await;
        // By turns the logout and the purchases are first, by a little more each time.
        let lead = Duration::from_millis(4 * round as u64);
        let (logout_waits, purchases_wait) = match round % 2 {
            0 => (Duration::ZERO, lead),
            _ => (lead, Duration::ZERO),
        };
        tokio::join!(
            async {
                pass(logout_waits).await;
                person.sign_out(world.addr(round)).await;
            },
            async {
                pass(purchases_wait).await;
                world.provider.hold(false);
            }
        );
        for call in calls {
            let told = call.await.unwrap();
            let is_over = told == "401 session_expired" || told == "401 login_required";
            assert!(told == "200" || is_over, "{told}");
            refused += usize::from(is_over);
        }
        for node in 0..world.nodes.len() {
            soon("the end on every node", async {
                while asked(&world, &person, "/mail", node).await == "200" {
                    pass(Duration::from_millis(20)).await;
                }
            })
            .await;
        }
        let late = world.provider.purchases(from);
        let of_session = late.iter().filter(|one| one.grant != "client_credentials");
        for purchase in of_session {
            bought += 1;
            let what = format!(
                "the revocation of {:?}",
                (&purchase.grant, &purchase.audience)
            );
            soon(&what, async {
                while !world.provider.was_revoked(&purchase.access_token) {
                    pass(Duration::from_millis(20)).await;
                }
            })
            .await;
        }
    }
    figure!(
        "{kind:?}: {rounds} logouts that raced purchases on 3 nodes: {bought} tokens came and were revoked, {refused} of {} calls told of the end",
        rounds * 24
    );
    world.logs_are_clean();
}

/// L3: a node that dies while it exchanges holds the others up for as long as its lease, and no longer.
async fn a_node_dies_in_an_exchange(kind: Kind) {
    let Some(mut world) = World::start(kind, setup()).await else {
        return;
    };
    let person = world.person(0, 1).await;
    let came = world.provider.came();
    world.provider.hold(true);
    let (call, node) = (person.calls("GET", "/mail/of/user-0"), world.addr(0));
    let dying = tokio::spawn(async move { ask(node, &call).await });
    world.provider.came_times(came + 1).await;
    world.nodes[0].kill();
    assert!(dying.await.unwrap().is_none());
    world.provider.hold(false);
    let began = Instant::now();
    assert_eq!(asked(&world, &person, "/mail", 1).await, "200");
    let took = began.elapsed();
    // The session's own is held up by nothing.
    assert_eq!(asked(&world, &person, "/api", 2).await, "200");
    assert_eq!(asked(&world, &person, "/mail", 2).await, "200");
    figure!("{kind:?}: a node died in an exchange: the next one had the token after {took:?}");
    world.logs_are_clean();
}

on_stores! { four_routes_buy_each_token_once:
    calls_over_nodes_buy_each_token_once(Kind::Redis, 300, 2)(Kind::Postgres, 300, 2);
    #[ignore = "large"]
    large_tokens_over_redis(Kind::Redis, 300, 20);
    #[ignore = "large"]
    large_tokens_over_postgres(Kind::Postgres, 300, 20);
}

on_stores! { a_logout_revokes_what_comes_late:
    a_logout_races_every_purchase(Kind::Redis, 8)(Kind::Postgres, 8);
}

on_stores! { a_node_dies_in_an_exchange:
    an_exchange_outlives_its_node(Kind::Redis)(Kind::Postgres);
}
