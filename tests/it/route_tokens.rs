//! Which token a route's calls carry, and what becomes of a session's several tokens (A15, A16).

use std::collections::HashSet;
use std::time::Duration;

use bff::dev::provider::core::Introspection;
use bff::dev::provider::endpoints::Endpoint;
use bff::dev::provider::tamper::Stage;
use futures_util::future::join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::bff::{Bff, BffBuilder};
use crate::support::browser::{Browser, Fetch};
use crate::support::call::{Call, signed_in};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::faults::Fault;
use crate::support::idp::{CLIENT_ID, Idp, PUBLIC_URL};
use crate::support::journey::refusal;
use crate::support::upstream::{Answer, Upstream};
use crate::support::wire::Reply;
use crate::websocket::echo;

/// A second after the access tokens of nine o'clock have expired.
const EXPIRED: Duration = Duration::from_secs(301);

/// The API of the route `/orders`, which has tokens of its own by the refresh token.
const ORDERS: &str = "https://orders.example.com";

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// A route of each kind of token.
const ROUTES: [&str; 4] = ["/api", "/orders", "/mail", "/clock"];

/// A product with [`ROUTES`].
fn with_routes<'a>(idp: &'a Idp, upstream: &Upstream) -> BffBuilder<'a> {
    add_routes(Bff::with(idp, upstream), upstream)
}

fn add_routes<'a>(bff: BffBuilder<'a>, upstream: &Upstream) -> BffBuilder<'a> {
    bff.set("provider.timeout", "60s")
        .route(
            toml::toml! { path = "/orders"
            token = { resource = "https://orders.example.com" } },
            upstream,
        )
        .route(
            toml::toml! { path = "/mail"
            token = { exchange = { audience = "mail" } } },
            upstream,
        )
        .route(
            toml::toml! { path = "/clock"
            token = "client" },
            upstream,
        )
}

/// What the last call carried, as the provider knows it.
fn carried(idp: &Idp, upstream: &Upstream) -> Introspection {
    let seen = upstream.last();
    let bearer = seen.bearer().expect("a token");
    idp.core.introspect(bearer).expect("a live token")
}

/// How many token requests there were by each of the grants: refresh, exchange, our own.
fn bought(idp: &Idp) -> [usize; 3] {
    let asked = idp.asked(Endpoint::Token);
    ["refresh_token", TOKEN_EXCHANGE, "client_credentials"].map(|grant| {
        let of =
            |asked: &&crate::support::idp::Asked| asked.form.value("grant_type") == Some(grant);
        asked.iter().filter(of).count()
    })
}

/// That no refresh token was shown twice, and each one that came was shown but for the last.
fn none_is_lost(idp: &Idp) {
    let asked = idp.asked(Endpoint::Token);
    let shown: Vec<_> = asked
        .iter()
        .filter_map(|asked| asked.form.value("refresh_token"))
        .collect();
    let issued: Vec<_> = idp
        .issued_secrets()
        .into_iter()
        .filter_map(|(kind, secret)| (kind == "refresh token").then_some(secret))
        .collect();
    assert_eq!(issued.len(), shown.len() + 1);
    assert!(
        shown
            .iter()
            .zip(&issued)
            .all(|(shown, issued)| shown == issued)
    );
}

async fn get(bff: &Bff<'_>, browser: &Browser, path: &str) -> Reply {
    Call::get(path).of(browser).send(bff.public_addr).await
}

async fn is_served(bff: &Bff<'_>, browser: &Browser, path: &str) {
    let reply = get(bff, browser, path).await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
}

/// A15, A16: four routes of one session, and each carries what it asks for.
#[tokio::test]
async fn each_route_carries_its_own_token() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = with_routes(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    let mut bearers = HashSet::new();
    for (path, of, audience) in [
        ("/api", "alice", &[][..]),
        ("/orders", "alice", &[ORDERS]),
        ("/mail", "alice", &["mail"]),
        ("/clock", CLIENT_ID, &[]),
    ] {
        is_served(&bff, &alice, path).await;
        let token = carried(&idp, &upstream);
        assert_eq!(token.sub, of, "{path}");
        assert_eq!(token.audience, audience, "{path}");
        assert_eq!(token.actor, None, "{path}");
        bearers.insert(upstream.last().bearer().unwrap().to_owned());
        let before = bought(&idp);
        is_served(&bff, &alice, path).await;
        assert_eq!(bought(&idp), before, "{path}: it is kept");
    }
    assert_eq!(bearers.len(), ROUTES.len());
    // Our own is nobody's: it serves the next person as well.
    let bob = signed_in(&bff, "bob").await;
    for path in ROUTES {
        is_served(&bff, &bob, path).await;
        let of = if path == "/clock" { CLIENT_ID } else { "bob" };
        assert_eq!(carried(&idp, &upstream).sub, of, "{path}");
    }
    assert_eq!(bought(&idp), [2, 2, 1]);
}

/// L2, L3, A15: two hundred calls on four routes with everything expired: one purchase a token, the two that
/// spend the refresh token one after the other, and nothing lost.
#[tokio::test]
async fn a_storm_over_four_routes_buys_each_token_once() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    let bff = with_routes(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    for storm in 1..=3 {
        clock.advance(EXPIRED);
        let (before, asked) = (upstream.seen().len(), idp.count(Endpoint::Token));
        let gate = idp.hold(Endpoint::Token);
        let mut waiting = Vec::new();
        for at in 0..200 {
            let call = Call::get(ROUTES[at % 4]).of(&alice);
            let wire = call.begin(bff.public_addr).await;
            waiting.push((call, wire));
        }
        // Our own, and the first of those that spend the refresh token.
        idp.asked_times(Endpoint::Token, asked + 2).await;
        assert_eq!(upstream.seen().len(), before, "nobody goes with the old");
        drop(gate);
        let answers = waiting.iter_mut().map(|(call, wire)| call.answer_on(wire));
        for reply in join_all(answers).await {
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        assert_eq!(bought(&idp), [2 * storm, storm, storm], "storm {storm}");
        let carried: HashSet<_> = upstream.seen()[before..]
            .iter()
            .map(|seen| (seen.target.clone(), seen.bearer().unwrap().to_owned()))
            .collect();
        assert_eq!(carried.len(), 4, "one token a route");
    }
    none_is_lost(&idp);
}

/// I13, A15: an upstream that refuses a token has that one renewed and no other; and one that is never
/// pleased brings one purchase in thirty seconds.
#[tokio::test]
async fn a_refused_token_is_renewed_alone() {
    for (path, grant) in [("/api", 0), ("/orders", 0), ("/mail", 1), ("/clock", 2)] {
        let clock = nine_o_clock();
        let (idp, upstream) = (Idp::start(&clock), Upstream::start());
        let bff = with_routes(&idp, &upstream).start();
        let alice = signed_in(&bff, "alice").await;
        for path in ROUTES {
            is_served(&bff, &alice, path).await;
        }
        let mut expected = bought(&idp);
        let refused = upstream.seen().into_iter().find(|seen| seen.target == path);
        let refused = refused.unwrap().bearer().unwrap().to_owned();
        upstream.answers(move |seen| {
            Answer::status(if seen.bearer() == Some(&refused) {
                401
            } else {
                200
            })
        });
        for path in ROUTES {
            is_served(&bff, &alice, path).await;
        }
        expected[grant] += 1;
        assert_eq!(bought(&idp), expected, "{path}");

        upstream.answers(|_| Answer::status(401));
        for _ in 0..5 {
            assert_eq!(get(&bff, &alice, path).await.status, 401, "{path}");
        }
        assert_eq!(bought(&idp), expected, "{path}: not again so soon");
        clock.advance(Duration::from_secs(31));
        for _ in 0..5 {
            assert_eq!(get(&bff, &alice, path).await.status, 401, "{path}");
        }
        expected[grant] += 1;
        assert_eq!(bought(&idp), expected, "{path}: once in time");
    }
}

/// A15: one token's renewal takes no other along.
#[tokio::test]
async fn tokens_are_renewed_each_on_its_own() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    let bff = with_routes(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    idp.core.set_access_token_seconds(3600);
    let mut kept = Vec::new();
    for path in ["/orders", "/mail"] {
        is_served(&bff, &alice, path).await;
        kept.push(upstream.last().bearer().unwrap().to_owned());
    }
    let own = |upstream: &Upstream| upstream.last().bearer().unwrap().to_owned();
    is_served(&bff, &alice, "/api").await;
    let first = own(&upstream);
    clock.advance(EXPIRED);
    is_served(&bff, &alice, "/api").await;
    assert_ne!(own(&upstream), first);
    let before = bought(&idp);
    for (path, bearer) in ["/orders", "/mail"].iter().zip(kept) {
        is_served(&bff, &alice, path).await;
        assert_eq!(upstream.last().bearer(), Some(bearer.as_str()), "{path}");
    }
    assert_eq!(bought(&idp), before);
}

/// A16: whatever asks for an exchange, what is exchanged lives. One that an upstream's 401 brought about showed
/// the provider a token that had ended.
#[tokio::test]
async fn what_is_exchanged_lives() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    let bff = with_routes(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    idp.core.set_access_token_seconds(3600);
    is_served(&bff, &alice, "/mail").await;
    let refused = upstream.last().bearer().unwrap().to_owned();
    upstream.answers(move |seen| {
        Answer::status(if seen.bearer() == Some(&refused) {
            401
        } else {
            200
        })
    });
    clock.advance(EXPIRED);
    is_served(&bff, &alice, "/mail").await;
    assert_eq!(bought(&idp), [1, 2, 0]);
}

/// A16: an exchanged token of which nobody says how long it lives is believed as long as what it came of.
#[tokio::test]
async fn an_exchanged_token_without_a_lifetime_ends_with_its_source() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    idp.misbehave(Fault::Remove(Stage::ExchangedToken, "expires_in"));
    let bff = with_routes(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    is_served(&bff, &alice, "/mail").await;
    clock.advance(Duration::from_secs(200));
    is_served(&bff, &alice, "/mail").await;
    assert_eq!(bought(&idp), [0, 1, 0]);
    clock.advance(EXPIRED - Duration::from_secs(200));
    is_served(&bff, &alice, "/mail").await;
    assert_eq!(bought(&idp), [1, 2, 0]);
}

/// What a route says of its token holds for whoever calls: with a session and without.
#[tokio::test]
async fn a_token_of_ours_serves_where_the_route_says_so() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .route(
            toml::toml! { path = "/either"
            auth = "optional"
            token = { user_or_client = { scopes = ["read"], audience = "catalog" } } },
            &upstream,
        )
        .route(
            toml::toml! { path = "/bare"
            token = "none" },
            &upstream,
        )
        .route(
            toml::toml! { path = "/public"
            auth = "none"
            methods = ["GET"]
            token = "client" },
            &upstream,
        )
        .start();
    let alice = signed_in(&bff, "alice").await;
    is_served(&bff, &alice, "/either").await;
    assert_eq!(carried(&idp, &upstream).sub, "alice");
    is_served(&bff, &alice, "/bare").await;
    assert!(upstream.last().all("authorization").is_empty());
    for path in ["/either", "/public"] {
        let reply = Call::get(path).send(bff.public_addr).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        let token = carried(&idp, &upstream);
        assert_eq!(token.sub, CLIENT_ID, "{path}");
        if path == "/either" {
            assert_eq!(
                (token.audience, token.scope),
                (vec!["catalog".to_owned()], vec!["read".to_owned()])
            );
        }
    }
    // No session is looked for, so a person's call is one of nobody's.
    is_served(&bff, &alice, "/public").await;
    assert_eq!(carried(&idp, &upstream).sub, CLIENT_ID);
    let reply = Call::get("/bare").send(bff.public_addr).await;
    assert_eq!(refusal(&reply), "401 login_required");
}

/// A16: who acts for the user is said where the route wants it, and Entra ID's form of the exchange is spoken.
#[tokio::test]
async fn an_exchange_is_asked_for_in_the_form_of_the_route() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .route(
            toml::toml! { path = "/acting"
            token = { exchange = { audience = "mail", actor = "client", requested_token_type = "urn:ietf:params:oauth:token-type:jwt" } } },
            &upstream,
        )
        .route(
            toml::toml! { path = "/behalf"
            token = { exchange = { grant = "jwt-bearer", scopes = ["api://mail/.default"] } } },
            &upstream,
        )
        .start();
    let alice = signed_in(&bff, "alice").await;
    let form = || idp.asked(Endpoint::Token).last().unwrap().form.clone();

    is_served(&bff, &alice, "/acting").await;
    let token = carried(&idp, &upstream);
    assert_eq!(token.actor.as_deref(), Some(CLIENT_ID));
    assert_eq!(
        (token.sub.as_str(), token.audience),
        ("alice", vec!["mail".to_owned()])
    );
    let asked = form();
    assert_eq!(
        asked.value("requested_token_type"),
        Some("urn:ietf:params:oauth:token-type:jwt")
    );
    let actor = asked.value("actor_token").unwrap();
    assert_eq!(idp.core.introspect(actor).unwrap().sub, CLIENT_ID);
    assert_eq!(bought(&idp), [0, 1, 1]);

    is_served(&bff, &alice, "/behalf").await;
    let token = carried(&idp, &upstream);
    assert_eq!(
        (token.sub.as_str(), token.scope),
        ("alice", vec!["api://mail/.default".to_owned()])
    );
    let asked = form();
    assert_eq!(asked.value("grant_type"), Some(JWT_BEARER));
    assert_eq!(asked.value("requested_token_use"), Some("on_behalf_of"));
    assert_eq!(asked.value("audience"), None);
}

/// A15, M2: a WebSocket's handshake carries the token of its route too.
#[tokio::test]
async fn a_socket_carries_the_token_of_its_route() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(echo);
    let bff = with_routes(&idp, &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    alice.stand_on(PUBLIC_URL);
    for (path, audience) in [("/orders", ORDERS), ("/mail", "mail")] {
        let mut socket = alice.web_socket(path).await.unwrap();
        assert_eq!(carried(&idp, &upstream).audience, [audience], "{path}");
        socket.send(Message::text("hello")).await.unwrap();
        let said = soon("an echo", socket.next()).await.unwrap().unwrap();
        assert_eq!(said, Message::text("hello"));
    }
}

/// The tokens that the provider was told to revoke.
fn revoked(idp: &Idp) -> HashSet<String> {
    let asked = idp.asked(Endpoint::Revocation);
    let tokens = asked.iter().filter_map(|asked| asked.form.value("token"));
    tokens.map(str::to_owned).collect()
}

/// E5, A16: exchanged tokens, and all others of a session, die with it.
#[tokio::test]
async fn a_logout_revokes_every_token_of_the_session() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = with_routes(&idp, &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    for path in ROUTES {
        is_served(&bff, &alice, path).await;
    }
    let seen = upstream.seen();
    let of_session = seen.iter().filter(|seen| seen.target != "/clock");
    let of_session: Vec<_> = of_session
        .map(|seen| seen.bearer().unwrap().to_owned())
        .collect();
    let ours = upstream.last().bearer().unwrap().to_owned();
    alice.stand_on(PUBLIC_URL);
    let logout = alice.fetch(Fetch::new("POST", "/bff/logout").csrf()).await;
    assert_eq!(logout.status, 200);
    // The refresh token, and three access tokens.
    idp.asked_times(Endpoint::Revocation, 4).await;
    let revoked = revoked(&idp);
    for token in of_session {
        assert!(revoked.contains(&token));
    }
    assert!(!revoked.contains(&ours), "ours is nobody's session's");
    assert_eq!(get(&bff, &alice, "/mail").await.status, 401);
}

/// L8, A15, A16: a token that comes when the session is over is revoked, and no call goes with it.
#[tokio::test]
async fn a_token_that_comes_after_the_logout_is_revoked() {
    for path in ["/orders", "/mail"] {
        let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
        let bff = with_routes(&idp, &upstream).start();
        let mut alice = signed_in(&bff, "alice").await;
        alice.stand_on(PUBLIC_URL);
        // The session's own token lives as long as the exchange takes.
        let revocations = idp.hold(Endpoint::Revocation);
        let gate = idp.hold(Endpoint::Token);
        let call = Call::get(path).of(&alice);
        let mut waiting = call.begin(bff.public_addr).await;
        idp.asked_times(Endpoint::Token, 2).await;
        let logout = alice.fetch(Fetch::new("POST", "/bff/logout").csrf()).await;
        assert_eq!(logout.status, 200);
        drop(gate);
        let reply = call.answer_on(&mut waiting).await;
        assert_eq!(reply.status, 401, "{path}: {}", reply.text());
        assert!(upstream.seen().is_empty(), "{path}");
        drop(revocations);
        let issued = idp.issued_secrets();
        let late = ["access token", "refresh token"].map(|kind| {
            let latest = issued.iter().rfind(|(known, _)| *known == kind);
            latest.unwrap().1.as_str()
        });
        idp.asked_until("the revocation of what came late", |asked| {
            let mut tokens = late.iter();
            tokens.all(|late| asked.iter().any(|one| one.revokes(late)))
        })
        .await;
    }
}

/// L8, A16: an exchange that the provider refuses since a logout revoked what was shown is the session's end, and
/// nothing that the user may not do.
#[tokio::test]
async fn an_exchange_that_a_logout_overtook_is_an_end() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = with_routes(&idp, &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    alice.stand_on(PUBLIC_URL);
    let gate = idp.hold(Endpoint::Token);
    let call = Call::get("/mail").of(&alice);
    let mut waiting = call.begin(bff.public_addr).await;
    idp.asked_times(Endpoint::Token, 2).await;
    let logout = alice.fetch(Fetch::new("POST", "/bff/logout").csrf()).await;
    assert_eq!(logout.status, 200);
    idp.asked_times(Endpoint::Revocation, 2).await;
    drop(gate);
    let reply = call.answer_on(&mut waiting).await;
    assert_eq!(refusal(&reply), "401 session_expired");
    assert!(bff.logs().lines_with("\"declined\"").is_empty());
}

/// G8, A15: a cookie carries the whole set, and a process that was started since goes on with it.
#[tokio::test]
async fn a_cookie_carries_every_token() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let key = bff::secret::random_base64url::<32>(&bff::clock::SystemRandomness);
    let start = || {
        add_routes(Bff::in_cookies(&idp, &upstream), &upstream)
            .variable("BFF_SESSION_KEY", &key)
            .start()
    };
    let bff = start();
    let mut alice = signed_in(&bff, "alice").await;
    alice.stand_on(PUBLIC_URL);
    let mut carried = Vec::new();
    for path in ROUTES {
        let reply = alice.fetch(Fetch::get(path).csrf()).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        carried.push(upstream.last().bearer().unwrap().to_owned());
    }
    let before = bought(&idp);
    drop(bff);
    let bff = start();
    alice.resolve(PUBLIC_URL, bff.public_addr);
    for (path, bearer) in ROUTES.iter().zip(&carried).take(3) {
        is_served(&bff, &alice, path).await;
        assert_eq!(upstream.last().bearer(), Some(bearer.as_str()), "{path}");
    }
    assert_eq!(bought(&idp), before);
}

/// G8: a set that no browser could carry is told of, each token by what it is for; the call goes on.
#[tokio::test]
async fn a_set_that_is_too_large_for_a_cookie_is_told_of() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let large = json!("large".repeat(5_000));
    idp.misbehave(Fault::Set(Stage::ExchangedToken, "access_token", large));
    let bff = add_routes(Bff::in_cookies(&idp, &upstream), &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    alice.stand_on(PUBLIC_URL);
    let reply = alice.fetch(Fetch::get("/mail").csrf()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("set-cookie"), None);
    let said = bff.logs().lines_with("octets of cookies").join("\n");
    let part = "access_token (exchange audience=mail) of 25";
    assert!(said.contains(part), "{said}");
    let reply = alice.fetch(Fetch::get("/api").csrf()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// A15, G4: what a database keeps of the set outlives the process.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_database_keeps_every_token() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    let dir = tempfile::TempDir::new().unwrap();
    let store = format!("sqlite://{}", dir.path().join("sessions.db").display());
    let key = bff::secret::random_base64url::<32>(&bff::clock::SystemRandomness);
    let start = || {
        with_routes(&idp, &upstream)
            .set("session.store", "sqlite")
            .set("session.store_url", store.as_str())
            .set("session.keys", vec!["env:BFF_SESSION_KEY"])
            .variable("BFF_SESSION_KEY", &key)
            .start()
    };
    let bff = start();
    let mut alice = signed_in(&bff, "alice").await;
    let mut kept = Vec::new();
    for path in ROUTES {
        is_served(&bff, &alice, path).await;
        kept.push(upstream.last().bearer().unwrap().to_owned());
    }
    let before = bought(&idp);
    drop(bff);
    let stored = std::fs::read(dir.path().join("sessions.db")).unwrap();
    for token in &kept {
        let stands = stored.windows(token.len()).any(|at| at == token.as_bytes());
        assert!(!stands, "a token in clear");
    }
    let bff = start();
    alice.resolve(PUBLIC_URL, bff.public_addr);
    for (path, bearer) in ROUTES.iter().zip(&kept).take(3) {
        is_served(&bff, &alice, path).await;
        assert_eq!(upstream.last().bearer(), Some(bearer.as_str()), "{path}");
    }
    assert_eq!(bought(&idp), before);
    clock.advance(EXPIRED);
    for path in ROUTES {
        is_served(&bff, &alice, path).await;
    }
    none_is_lost(&idp);
}

/// L4: whichever route meets a dead refresh token first, the session is over.
#[tokio::test]
async fn a_dead_grant_ends_the_session_from_any_route() {
    for path in ["/orders", "/mail"] {
        let clock = nine_o_clock();
        let (idp, upstream) = (Idp::start(&clock), Upstream::start());
        let bff = with_routes(&idp, &upstream).start();
        let alice = signed_in(&bff, "alice").await;
        is_served(&bff, &alice, path).await;
        idp.core.revoke_all();
        clock.advance(EXPIRED);
        let reply = get(&bff, &alice, path).await;
        assert_eq!(refusal(&reply), "401 session_expired", "{path}");
        assert_eq!(reply.json()["ended"], "refresh_refused", "{path}");
        let reply = get(&bff, &alice, "/api").await;
        assert_eq!(refusal(&reply), "401 session_expired", "{path}");
    }
}

/// The session's own route goes on, also when its token has ended meanwhile.
async fn own_route_goes_on(bff: &Bff<'_>, alice: &Browser, idp: &Idp, name: &str) {
    let reply = get(bff, alice, "/api").await;
    assert_eq!(reply.status, 200, "{name}: {}", reply.text());
    idp.behave();
    idp.core.refuse_exchanges(None);
    bff.clock().advance(EXPIRED);
    for path in ["/api", "/orders", "/mail"] {
        let reply = get(bff, alice, path).await;
        assert_eq!(reply.status, 200, "{name}, {path}: {}", reply.text());
    }
}

/// A15, A16: what the provider refuses to give for a route is 403, by the code that it said, and never an end
/// of the session or a fault of ours; its code is in the log and the metrics.
#[tokio::test]
async fn a_token_that_the_provider_refuses_is_forbidden() {
    let token = |code| Fault::Error(Endpoint::Token, 400, code);
    for (path, code, fault) in [
        ("/mail", "invalid_target", None),
        ("/mail", "invalid_scope", None),
        ("/mail", "invalid_request", None),
        ("/mail", "invalid_grant", None),
        ("/mail", "unauthorized_client", None),
        ("/mail", "unsupported_grant_type", None),
        ("/mail", "access_denied", None),
        ("/mail", "interaction_required", None),
        ("/orders", "invalid_target", Some(token("invalid_target"))),
        ("/orders", "invalid_scope", Some(token("invalid_scope"))),
        ("/orders", "invalid_request", Some(token("invalid_request"))),
        (
            "/orders",
            "unauthorized_client",
            Some(token("unauthorized_client")),
        ),
        // Of the user is asked something before they may have this one, which their session survives.
        (
            "/orders",
            "interaction_required",
            Some(token("interaction_required")),
        ),
        (
            "/orders",
            "consent_required",
            Some(token("consent_required")),
        ),
        ("/orders", "refused", Some(token("canary_of_a_word"))),
        ("/mail", "refused", Some(token("canary_of_a_word"))),
    ] {
        let name = format!("{path} {code}");
        let clock = nine_o_clock();
        let (idp, upstream) = (Idp::start(&clock), Upstream::start());
        let bff = with_routes(&idp, &upstream).start();
        let alice = signed_in(&bff, "alice").await;
        match fault {
            Some(fault) => idp.misbehave(fault),
            None => idp.core.refuse_exchanges(Some(code)),
        }
        let asked = idp.count(Endpoint::Token);
        let reply = get(&bff, &alice, path).await;
        assert_eq!(refusal(&reply), "403 forbidden", "{name}");
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        let says_it = detail.contains(&format!("the code {code}."));
        assert_eq!(says_it, code != "refused", "{name}: {detail}");
        assert_eq!(reply.header("retry-after"), None, "{name}");
        assert_eq!(reply.header("set-cookie"), None, "{name}");
        // No storm of those who try again.
        for _ in 0..5 {
            assert_eq!(
                refusal(&get(&bff, &alice, path).await),
                "403 forbidden",
                "{name}"
            );
        }
        assert_eq!(idp.count(Endpoint::Token), asked + 1, "{name}");
        let said = bff.logs().lines_with("refresh.failed").join("\n");
        for part in ["\"outcome\":\"declined\"", &format!("\"code\":\"{code}\"")] {
            assert!(said.contains(part), "{name}: {said}");
        }
        assert!(!bff.logs().text().contains("canary_of_a_word"), "{name}");
        let metric = format!("outcome=\"declined\",cause=\"{code}\"");
        assert!(bff.metrics().unwrap().contains(&metric), "{name}");
        own_route_goes_on(&bff, &alice, &idp, &name).await;
    }
}

/// L5, A16: an outage is one whatever the token is for: 503, with a moment to come back at.
#[tokio::test]
async fn an_outage_of_a_routes_token_is_one() {
    let token = Endpoint::Token;
    let plain = |status| Fault::Answer(token, status, "text/plain", b"later".to_vec());
    let no_such = |stage| Fault::Remove(stage, "access_token");
    for (name, fault) in [
        ("invalid_client", Fault::Error(token, 401, "invalid_client")),
        ("slow_down", Fault::Error(token, 400, "slow_down")),
        ("429", plain(429)),
        ("500", plain(500)),
        ("503", plain(503)),
        ("a page", plain(200)),
        ("away", Fault::DropUnheard(token)),
        (
            "of another kind",
            Fault::Set(Stage::ExchangedToken, "issued_token_type", json!("urn:x")),
        ),
        (
            "no kind",
            Fault::Remove(Stage::ExchangedToken, "issued_token_type"),
        ),
        ("no token", no_such(Stage::ExchangedToken)),
        (
            "MAC",
            Fault::Set(Stage::ExchangedToken, "token_type", json!("mac")),
        ),
        ("no token of ours", no_such(Stage::ClientToken)),
        (
            "no header carries it",
            Fault::Set(Stage::ExchangedToken, "access_token", json!("a\nb")),
        ),
    ] {
        let at = match &fault {
            Fault::Set(Stage::ExchangedToken, ..) | Fault::Remove(Stage::ExchangedToken, _) => {
                &["/mail"][..]
            }
            Fault::Remove(Stage::ClientToken, _) => &["/clock"],
            _ => &["/orders", "/mail", "/clock"],
        };
        for path in at {
            let name = format!("{path} {name}");
            let clock = nine_o_clock();
            let (idp, upstream) = (Idp::start(&clock), Upstream::start());
            let bff = with_routes(&idp, &upstream).start();
            let alice = signed_in(&bff, "alice").await;
            idp.misbehave(fault.clone());
            let reply = get(&bff, &alice, path).await;
            assert_eq!(refusal(&reply), "503 provider_unavailable", "{name}");
            assert!(reply.header("retry-after").is_some(), "{name}");
            assert!(upstream.seen().is_empty(), "{name}");
            own_route_goes_on(&bff, &alice, &idp, &name).await;
        }
    }
}

/// A15: a session without a refresh token has no token for another API, and the log says what to add.
#[tokio::test]
async fn a_resource_needs_a_refresh_token() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = with_routes(&idp, &upstream)
        .set("provider.scopes", vec!["openid"])
        .start();
    let alice = signed_in(&bff, "alice").await;
    let reply = get(&bff, &alice, "/orders").await;
    assert_eq!(refusal(&reply), "403 forbidden");
    let said = bff.logs().lines_with("offline_access").join("\n");
    assert!(said.contains("\"level\":\"WARN\""), "{said}");
    let metric = "outcome=\"declined\",cause=\"no_refresh_token\"";
    assert!(bff.metrics().unwrap().contains(metric));
    for path in ["/api", "/mail", "/clock"] {
        is_served(&bff, &alice, path).await;
    }
    assert_eq!(idp.refreshes(), 0);
}

/// A16: a refusal of the next token does not take away the one that lives.
#[tokio::test]
async fn a_living_token_serves_though_the_next_is_refused() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    let bff = with_routes(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    is_served(&bff, &alice, "/mail").await;
    idp.core.refuse_exchanges(Some("access_denied"));
    for after in [285, 10] {
        clock.advance(Duration::from_secs(after));
        is_served(&bff, &alice, "/mail").await;
    }
    clock.advance(Duration::from_secs(10));
    assert_eq!(refusal(&get(&bff, &alice, "/mail").await), "403 forbidden");
}
