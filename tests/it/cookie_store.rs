//! Sessions that travel in the browser's cookie: `session.store = "cookie"` (G8, E13).

use std::time::Duration;

use bff::clock::SystemRandomness;
use bff::dev::provider::endpoints::Endpoint;
use bff::dev::provider::tamper::Stage;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::bff::{Bff, BffBuilder};
use crate::support::browser::{Browser, Fetch};
use crate::support::call::{Call, cookie_of, signed_in};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::faults::Fault;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::{LOGIN_COOKIE, SESSION_COOKIE, refusal};
use crate::support::upstream::{Answer, Upstream};
use crate::support::wire::Reply;
use crate::websocket::{closed_with, echo};

/// A second after the access tokens of nine o'clock have expired.
const EXPIRED: Duration = Duration::from_secs(301);

const MINUTE: Duration = Duration::from_mins(1);

async fn call(browser: &mut Browser, target: &str) -> Reply {
    browser.fetch(Fetch::get(target).csrf()).await
}

/// Asks `/api/orders` with a Cookie line from earlier on.
async fn replay(bff: &Bff<'_>, cookie: &str) -> Reply {
    let call = Call::get("/api/orders").header("Cookie", cookie);
    call.send(bff.public_addr).await
}

/// The names of the session's cookies in this browser.
fn chunks(browser: &Browser) -> Vec<&str> {
    let own = browser.jar.cookies().iter();
    own.map(|cookie| cookie.name.as_str())
        .filter(|name| name.starts_with(SESSION_COOKIE) && !name.starts_with(LOGIN_COOKIE))
        .collect()
}

/// The names of the cookies that an answer sets, and of those that it takes back.
fn set_and_taken_back(reply: &Reply) -> (Vec<String>, Vec<String>) {
    let lines = reply.all("set-cookie");
    let (taken_back, set): (Vec<_>, Vec<_>) = lines
        .into_iter()
        .partition(|line| line.ends_with("Max-Age=0"));
    let names = |lines: Vec<&str>| {
        let names = lines.iter().map(|line| line.split('=').next().unwrap());
        names.map(str::to_owned).collect()
    };
    (names(set), names(taken_back))
}

/// A product that can be started again with the keys that it had.
fn with_key<'a>(idp: &'a Idp, upstream: &Upstream, key: &str) -> BffBuilder<'a> {
    Bff::in_cookies(idp, upstream).variable("BFF_SESSION_KEY", key)
}

fn key() -> String {
    bff::secret::random_base64url::<32>(&SystemRandomness)
}

/// L2, G11: the refreshed tokens travel back with the answer, which nobody may keep; calls that are
/// under way with the old cookie share them, and buy none again.
#[tokio::test]
async fn refreshed_tokens_travel_back_to_the_browser() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    upstream.answers(|_| Answer::text("hello").header("Cache-Control", "public, max-age=60"));
    let bff = Bff::in_cookies(&idp, &upstream)
        .set("provider.timeout", "60s")
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    let reply = call(&mut alice, "/api/orders").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("set-cookie"), None, "nothing has changed");
    let old = cookie_of(&alice);

    clock.advance(EXPIRED);
    let gate = idp.hold(Endpoint::Token);
    let with_old = Call::get("/api/orders").header("Cookie", &old);
    let mut waiting = Vec::new();
    for _ in 0..50 {
        waiting.push(with_old.begin(bff.public_addr).await);
    }
    idp.asked_times(Endpoint::Token, 2).await;
    drop(gate);
    for reply in join_all(waiting.iter_mut().map(|wire| with_old.answer_on(wire))).await {
        assert_eq!(reply.status, 200);
        assert_eq!(set_and_taken_back(&reply).0, [SESSION_COOKIE]);
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
    assert_eq!(idp.refreshes(), 1);

    let reply = call(&mut alice, "/api/orders").await;
    assert_eq!(set_and_taken_back(&reply).0, [SESSION_COOKIE]);
    assert_ne!(cookie_of(&alice), old);
    let reply = call(&mut alice, "/api/orders").await;
    assert_eq!(reply.header("set-cookie"), None, "it has the newest");
    assert_eq!(replay(&bff, &old).await.status, 200, "the old one goes on");
    let tokens: Vec<_> = upstream
        .seen()
        .iter()
        .skip(1)
        .map(|seen| seen.bearer().unwrap().to_owned())
        .collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(idp.refreshes(), 1);
}

/// G9: an answer now and then says that the session was used; a look says nothing.
#[tokio::test]
async fn use_is_written_into_the_cookie_now_and_then() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    let bff = Bff::in_cookies(&idp, &upstream)
        .set("session.idle_timeout", "10m")
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    for (after, target, renews) in [
        (30, "/bff/session", false),
        (30, "/bff/session?slide=false", false),
        (1, "/bff/session", true),
        (61, "/bff/user", true),
        (61, "/api/orders", true),
        (1, "/api/orders", false),
    ] {
        clock.advance(Duration::from_secs(after));
        let reply = call(&mut alice, target).await;
        assert_eq!(reply.status, 200);
        let renewed = reply.header("set-cookie").is_some();
        assert_eq!(renewed, renews, "{after} s, {target}");
    }
    assert_eq!(alice.jar.refused(), &[] as &[String]);
}

/// E2: a cookie that was copied before the logout opens nothing afterwards.
#[tokio::test]
async fn a_copied_cookie_is_dead_after_the_logout() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = Bff::in_cookies(&idp, &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    let copied = cookie_of(&alice);
    let fetch = Fetch::new("POST", "/bff/logout").csrf();
    alice.stand_on(PUBLIC_URL);
    assert_eq!(alice.fetch(fetch).await.status, 200);
    assert!(alice.session_cookie().is_none());
    for _ in 0..8 {
        // A connection each: one comes to each worker.
        let reply = replay(&bff, &copied).await;
        assert_eq!(refusal(&reply), "401 session_expired");
        assert_eq!(set_and_taken_back(&reply).1, [SESSION_COOKIE]);
    }
    assert!(upstream.seen().is_empty());
}

/// G9: a cookie that was copied while it was good is not good for ever: it says itself when the session
/// was last used and when it ends, to a process that was started meanwhile too.
#[tokio::test]
async fn a_copied_cookie_expires() {
    for (restarts, after, at_least_once) in [
        (false, 10, false),
        (true, 10, false),
        (false, 60, true),
        (true, 60, true),
    ] {
        let clock = nine_o_clock();
        let (idp, upstream, key) = (Idp::start(&clock), Upstream::start(), key());
        let start = || {
            with_key(&idp, &upstream, &key)
                .set("session.idle_timeout", "10m")
                .set("session.max_lifetime", "1h")
                .start()
        };
        let mut bff = start();
        let mut alice = signed_in(&bff, "alice").await;
        let mut steps = after;
        while at_least_once && steps > 5 {
            clock.advance(5 * MINUTE);
            steps -= 5;
            assert_eq!(call(&mut alice, "/api/orders").await.status, 200);
        }
        let cookie = cookie_of(&alice);
        assert_eq!(replay(&bff, &cookie).await.status, 200);
        clock.advance(steps * MINUTE - Duration::from_secs(1));
        assert_eq!(
            replay(&bff, &cookie).await.status,
            200,
            "{restarts} {after}"
        );
        // The copy knows nothing of the use just now.
        clock.advance(if restarts || at_least_once {
            Duration::from_secs(1)
        } else {
            10 * MINUTE
        });
        if restarts {
            drop(bff);
            bff = start();
        }
        let reply = replay(&bff, &cookie).await;
        assert_eq!(refusal(&reply), "401 session_expired", "{restarts} {after}");
        let fields = [("Cookie", cookie.as_str()), ("X-CSRF", "1")];
        let session = format!("{PUBLIC_URL}/bff/session");
        let reply = bff.browser().curl("GET", &session, &fields, None).await;
        assert_eq!(reply.json()["ended"], "expired", "{restarts} {after}");
    }
}

/// §4: with the same keys a restart signs nobody out; with others everybody.
#[tokio::test]
async fn a_restart_signs_nobody_out() {
    let clock = nine_o_clock();
    let (idp, upstream, own) = (Idp::start(&clock), Upstream::start(), key());
    let bff = with_key(&idp, &upstream, &own).start();
    let mut alice = signed_in(&bff, "alice").await;
    let told = alice.session().await;
    clock.advance(EXPIRED);
    assert_eq!(call(&mut alice, "/api/orders").await.status, 200);
    drop(bff);

    let bff = with_key(&idp, &upstream, &own).start();
    alice.resolve(PUBLIC_URL, bff.public_addr);
    let again = alice.session().await;
    assert_eq!(again["user"], told["user"]);
    assert_eq!(again["session"]["tag"], told["session"]["tag"]);
    assert_eq!(again["auth"], told["auth"]);
    clock.advance(EXPIRED);
    assert_eq!(call(&mut alice, "/api/orders").await.status, 200);
    assert_eq!(idp.refreshes(), 2, "with the refresh token of before");
    // Counted beside the requests, a few times a second.
    soon("the session to be counted", async {
        while !bff.metrics().unwrap().contains("bff_sessions 1") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    drop(bff);

    let bff = with_key(&idp, &upstream, &key()).start();
    alice.resolve(PUBLIC_URL, bff.public_addr);
    let reply = call(&mut alice, "/api/orders").await;
    assert_eq!(refusal(&reply), "401 login_required");
    assert!(!chunks(&alice).is_empty(), "it may be another's");
    alice.sign_in("alice").await;
    assert_eq!(call(&mut alice, "/api/orders").await.status, 200);
}

/// G8, I3, E2: eight kibibytes of tokens travel in several cookies, none larger than a browser takes; no
/// upstream sees one of them, shrunk ones leave nothing behind, and a logout takes them all.
#[tokio::test]
async fn large_tokens_travel_in_chunks() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    let large = "large".repeat(8 * 1024 / 5);
    idp.misbehave(Fault::no_claim("at_hash"));
    idp.misbehave(Fault::token("access_token", large.as_str()));
    let small = Fault::Set(
        Stage::RefreshResponse,
        "access_token",
        json!("small".repeat(10)),
    );
    idp.misbehave(small);
    idp.misbehave(Fault::Remove(Stage::RefreshedIdTokenClaims, "at_hash"));
    let bff = Bff::in_cookies(&idp, &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    let names = [0, 1, 2, 3].map(|index| match index {
        0 => SESSION_COOKIE.to_owned(),
        index => format!("{SESSION_COOKIE}-{index}"),
    });
    assert_eq!(chunks(&alice), names);
    assert_eq!(alice.jar.refused(), &[] as &[String]);
    let all = cookie_of(&alice);
    let with_another = Call::get("/api/orders").header("Cookie", &format!("a=1; {all}; b=2"));
    assert_eq!(with_another.send(bff.public_addr).await.status, 200);
    let seen = upstream.last();
    assert_eq!(seen.bearer(), Some(large.as_str()));
    assert_eq!(seen.all("cookie"), ["a=1; b=2"]);

    clock.advance(EXPIRED);
    let reply = call(&mut alice, "/api/orders").await;
    let (set, taken_back) = set_and_taken_back(&reply);
    assert_eq!(set, names[..1]);
    assert_eq!(taken_back, names[1..]);
    assert_eq!(chunks(&alice), names[..1]);
    assert_eq!(call(&mut alice, "/api/orders").await.status, 200);
    assert_eq!(upstream.last().bearer(), Some("small".repeat(10).as_str()));

    let mut bob = signed_in(&bff, "bob").await;
    assert_eq!(chunks(&bob), names);
    let logout = bob.fetch(Fetch::new("POST", "/bff/logout").csrf()).await;
    assert_eq!(set_and_taken_back(&logout).1, names);
    assert!(
        !chunks(&bob)
            .iter()
            .any(|name| names.iter().any(|own| own == name))
    );
    // What remains of chunks is no session, and may be another's.
    let own: Vec<&str> = all
        .split("; ")
        .filter(|cookie| !cookie.starts_with(LOGIN_COOKIE))
        .collect();
    let reply = replay(&bff, &own[1..].join("; ")).await;
    assert_eq!(refusal(&reply), "401 login_required");
    assert_eq!(reply.header("set-cookie"), None);
}

/// I11: no upstream sets a chunk.
#[tokio::test]
async fn an_upstream_sets_no_chunk() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(|_| {
        let chunk = format!("{SESSION_COOKIE}-3=x; Path=/; Secure; HttpOnly");
        Answer::text("hello").header("Set-Cookie", &chunk)
    });
    let bff = Bff::in_cookies(&idp, &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    let reply = call(&mut alice, "/api/orders").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("set-cookie"), None);
}

/// G8: a session that no browser could carry is no login, and the log says what makes it large.
#[tokio::test]
async fn a_session_that_is_too_large_is_no_login() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::in_cookies(&idp, &upstream).start();
    let mut alice = bff.browser();
    idp.misbehave_once(Fault::no_claim("at_hash"));
    idp.misbehave_once(Fault::token("access_token", "large".repeat(5_000)));
    let callback = alice.callback_url("login_hint=alice").await;
    let reply = alice.open(callback.as_str()).await;
    assert_eq!(refusal(&reply), "400 login_failed");
    assert!(chunks(&alice).is_empty());
    let said = bff.logs().lines_with("octets of cookies").join("\n");
    assert!(said.contains("access_token of 25000"), "{said}");
    idp.asked_times(Endpoint::Revocation, 1).await;
    alice.sign_in("alice").await;
}

/// M4: a WebSocket learns of the end, and its answer can carry the cookie.
#[tokio::test]
async fn a_socket_carries_the_cookie_and_learns_of_the_end() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    upstream.answers(echo);
    let bff = Bff::in_cookies(&idp, &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    alice.stand_on(PUBLIC_URL);
    clock.advance(EXPIRED);
    let handshake = Call::bare("GET", "/api/socket")
        .header("Host", crate::support::call::HOST)
        .header("Origin", PUBLIC_URL)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "c2l4dGVlbiBieXRlcy4uLg==")
        .of(&alice);
    let mut wire = handshake.begin(bff.public_addr).await;
    let reply = soon("an answer", wire.head(&crate::support::call::home()))
        .await
        .unwrap();
    assert_eq!(reply.status, 101);
    assert_eq!(set_and_taken_back(&reply).0, [SESSION_COOKIE]);
    drop(wire);
    let mut socket = alice.web_socket("/api/socket").await.unwrap();
    let logout = alice.fetch(Fetch::new("POST", "/bff/logout").csrf()).await;
    assert_eq!(logout.status, 200);
    assert_eq!(closed_with(&mut socket).await, Some(1008));
}

/// L4: a dead refresh token ends the session for every copy of its cookie.
#[tokio::test]
async fn a_refused_refresh_ends_every_copy() {
    let clock = nine_o_clock();
    let idp = Idp::start(&clock);
    let bff = Bff::in_cookies(&idp, &Upstream::start()).start();
    let mut alice = signed_in(&bff, "alice").await;
    let copied = cookie_of(&alice);
    idp.core.revoke_all();
    clock.advance(EXPIRED);
    let reply = call(&mut alice, "/api/orders").await;
    assert_eq!(refusal(&reply), "401 session_expired");
    assert!(chunks(&alice).is_empty());
    assert_eq!(refusal(&replay(&bff, &copied).await), "401 session_expired");
    assert_eq!(idp.refreshes(), 1);
}
