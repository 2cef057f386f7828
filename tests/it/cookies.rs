//! Our cookies beside those of others: what is read of them, and what is taken back.

use std::path::Path;

use bff::dev::provider::client::{Proof, RelyingParty};
use bff::secret::State;
use serde_json::Value;

use crate::support::bff::{Bff, BffBuilder};
use crate::support::browser::{Browser, Fetch};
use crate::support::call::{Call, cookie_of, signed_in};
use crate::support::clock::nine_o_clock;
use crate::support::idp::Idp;
use crate::support::journey::{SESSION_COOKIE, parameter, refusal};
use crate::support::upstream::Upstream;
use crate::support::wire::Reply;

const HERE: &str = "http://localhost:8080";
const THERE: &str = "http://localhost:9090";

/// The names of the cookies that an answer takes back.
fn taken_back(reply: &Reply) -> Vec<&str> {
    let lines = reply.all("set-cookie").into_iter();
    lines
        .filter(|line| line.ends_with("Max-Age=0"))
        .map(|line| line.split('=').next().unwrap())
        .collect()
}

/// Every place that takes cookies back from whoever signs out, fails to sign in, or is signed in no
/// more.
async fn all_that_take_back(bff: &Bff<'_>, cookie: &str) -> Vec<(String, Reply)> {
    let navigates = |target: &str| {
        Call::bare("GET", target)
            .header("Host", crate::support::call::HOST)
            .header("Sec-Fetch-Site", "none")
            .header("Sec-Fetch-Mode", "navigate")
            .header("Sec-Fetch-Dest", "document")
            .header("Accept", "text/html")
    };
    let calls = [
        ("a call", Call::get("/api/orders")),
        ("who is signed in", Call::get("/bff/session")),
        ("the list", Call::get("/bff/sessions")),
        ("the user", Call::get("/bff/user")),
        ("a logout", Call::new("POST", "/bff/logout")),
        ("a link to log out", navigates("/bff/logout?sid=x")),
        ("the way on", navigates("/bff/logout/continue")),
        ("a login", navigates("/bff/login")),
        ("a callback", navigates("/bff/callback?state=x&code=y")),
        ("a page", navigates("/reports/7")),
    ];
    let mut replies = Vec::new();
    for (name, call) in calls {
        let call = call.header("Cookie", cookie);
        replies.push((name.to_owned(), call.send(bff.public_addr).await));
    }
    replies
}

fn with_page<'a>(idp: &'a Idp, upstream: &Upstream) -> BffBuilder<'a> {
    let page = toml::toml! { path = "/reports"  csrf = "origin" };
    Bff::with(idp, upstream).route(page, upstream)
}

/// G6: what does not open with a key of ours is another's: the session cookie of a `bff` on another
/// port of this host, its chunks, its logins and logouts under way. One GET took them all back, and
/// its user was signed out there.
#[tokio::test]
async fn what_does_not_open_is_left_alone() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    for in_cookies in [false, true] {
        let built = |store: bool| {
            let builder = with_page(&idp, &upstream);
            let key = bff::secret::random_base64url::<32>(&bff::clock::SystemRandomness);
            let builder = builder
                .variable("BFF_SESSION_KEY", &key)
                .set("session.keys", vec!["env:BFF_SESSION_KEY"]);
            if store {
                builder.set("session.store", "cookie").start()
            } else {
                builder.set("session.store", "memory").start()
            }
        };
        let (ours, others) = (built(in_cookies), built(in_cookies));
        let mut alice = signed_in(&others, "alice").await;
        // Seven logins under way, of which five are kept, and one that was signed out by a script.
        for _ in 0..7 {
            assert_eq!(alice.begin_login("").await.status, 303);
        }
        let mut bob = signed_in(&others, "bob").await;
        bob.fetch(Fetch::new("POST", "/bff/logout").csrf()).await;
        let logout = format!("{SESSION_COOKIE}-logout");
        let on_the_way = bob.jar.cookie(&logout).unwrap().value.clone();
        let strangers = format!(
            "{}; {logout}={on_the_way}; {SESSION_COOKIE}-1=chunk; {SESSION_COOKIE}-login-abcdefghijkl=x",
            cookie_of(&alice)
        );
        for (name, reply) in all_that_take_back(&ours, &strangers).await {
            assert_eq!(taken_back(&reply), [""; 0], "{name}, cookies: {in_cookies}");
        }
        assert_eq!(alice.signed_in().await.as_deref(), Some("alice"));
    }
    assert!(upstream.seen().is_empty());
}

/// G6, E2: what is ours and over is taken back all the same, and nothing beside it. A login that is
/// over is remembered for a day.
#[tokio::test]
async fn what_is_ours_and_over_is_taken_back() {
    let clock = nine_o_clock();
    let idp = Idp::start(&clock);
    let bff = with_page(&idp, &Upstream::start())
        .set("session.store", "memory")
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    assert_eq!(alice.begin_login("").await.status, 303);
    // The browser keeps it past its Max-Age, as one with another clock would.
    let cookies = format!("{}; other=1", cookie_of(&alice));
    clock.advance(std::time::Duration::from_hours(1));
    for (name, reply) in all_that_take_back(&bff, &cookies).await {
        let expected = match name.as_str() {
            "a login" | "a page" | "a callback" | "the way on" => Vec::new(),
            _ => vec![SESSION_COOKIE],
        };
        assert_eq!(taken_back(&reply), expected, "{name}");
    }
}

/// G2: two session cookies that both open are none, in either order and on any lines: which of two
/// people is meant, no order says. The first one won.
#[tokio::test]
async fn two_session_cookies_that_open_are_none() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    for builder in [
        Bff::with(&idp, &upstream).set("session.store", "memory"),
        Bff::in_cookies(&idp, &upstream),
    ] {
        let bff = builder.start();
        let alice = cookie_of(&signed_in(&bff, "alice").await);
        let mallory = cookie_of(&signed_in(&bff, "bob").await);
        let junk = format!("{SESSION_COOKIE}={}", "A".repeat(107));
        for (lines, expected) in [
            (vec![alice.clone()], 200),
            (vec![format!("{junk}; {alice}")], 200),
            (vec![alice.clone(), junk], 200),
            (vec![format!("{alice}; {mallory}")], 401),
            (vec![mallory.clone(), alice.clone()], 401),
            (vec![format!("{alice}; a=1; {alice}")], 401),
        ] {
            let mut call = Call::get("/api/orders");
            for line in &lines {
                call = call.header("Cookie", line);
            }
            let reply = call.send(bff.public_addr).await;
            assert_eq!(reply.status, expected, "{lines:?}");
            assert_eq!(taken_back(&reply), [""; 0], "both live");
        }
        let told = bff.logs().lines_with("several session cookies");
        assert!(told.len() >= 3, "{told:?}");
    }
}

/// G2: at most four values of our name are tried, so that a head full of them costs four decryptions.
#[tokio::test]
async fn a_fifth_value_is_not_tried() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream)
        .set("session.store", "memory")
        .start();
    let own = cookie_of(&signed_in(&bff, "alice").await);
    for (before, expected) in [(3, 200), (4, 401)] {
        let junk = format!("{SESSION_COOKIE}={}; ", "A".repeat(107)).repeat(before);
        let call = Call::get("/api/orders").header("Cookie", &format!("{junk}{own}"));
        assert_eq!(
            call.send(bff.public_addr).await.status,
            expected,
            "{before}"
        );
    }
}

/// The provider knows the app at both of these places.
fn known_at_localhost(idp: &Idp) {
    let places = |path: &str| {
        [HERE, THERE]
            .map(|origin| format!("{origin}{path}"))
            .to_vec()
    };
    idp.core.register(RelyingParty {
        client_id: "app".to_owned(),
        proof: Proof::Secret(idp.client_secret.clone()),
        redirect_uris: places("/bff/callback"),
        post_logout_redirect_uris: places("/bff/logout/callback"),
        backchannel_logout_uri: None,
        frontchannel_logout_uri: None,
        id_token_alg: "RS256".to_owned(),
    });
}

async fn sign_in_at(browser: &mut Browser, origin: &str, user: &str) {
    let url = format!("{origin}/bff/login?login_hint={user}");
    let visit = browser.visit(&url).await;
    assert_eq!(visit.reply_of("/bff/callback").status, 303, "{visit:?}");
}

async fn session_at(browser: &mut Browser, origin: &str) -> (Option<String>, Reply) {
    browser.stand_on(origin);
    let reply = browser.fetch(Fetch::get("/bff/session").csrf()).await;
    let user = reply.json()["user"]["sub"].clone();
    (user.as_str().map(str::to_owned), reply)
}

/// G1, G6: cookies know no ports: on this machine the port is in the name, so that two products on two
/// ports of localhost sign nobody out of one another; and neither's API sees the other's.
#[tokio::test]
async fn two_on_two_ports_of_localhost_do_not_meet() {
    let idp = Idp::start(&nine_o_clock());
    known_at_localhost(&idp);
    let upstream = Upstream::start();
    let start = |origin: &str| {
        Bff::with(&idp, &upstream)
            .set("server.public_url", origin)
            .start()
    };
    let (here, there) = (start(HERE), start(THERE));
    let mut browser = here.browser();
    browser.resolve(HERE, here.public_addr);
    browser.resolve(THERE, there.public_addr);
    sign_in_at(&mut browser, HERE, "alice").await;
    sign_in_at(&mut browser, THERE, "bob").await;
    let names = |browser: &Browser| {
        let cookies = browser.jar.cookies().iter();
        let mut names: Vec<_> = cookies
            .map(|cookie| cookie.name.clone())
            .filter(|name| name.starts_with("bff-8080") || name.starts_with("bff-9090"))
            .filter(|name| !name.contains("-login-"))
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&browser), ["bff-8080", "bff-9090"]);
    assert_eq!(
        session_at(&mut browser, HERE).await.0.as_deref(),
        Some("alice")
    );
    assert_eq!(
        session_at(&mut browser, THERE).await.0.as_deref(),
        Some("bob")
    );
    let call = browser.fetch(Fetch::get("/api/orders").csrf()).await;
    assert_eq!(call.status, 200);
    assert_eq!(
        upstream.last().all("cookie"),
        [""; 0],
        "no cookie of either"
    );
    // A login under way at one, and a logout at the other.
    browser.stand_on(HERE);
    let begun = browser
        .open(&format!("{HERE}/bff/login?login_hint=alice"))
        .await;
    assert_eq!(begun.status, 303);
    browser.stand_on(THERE);
    let logout = browser
        .fetch(Fetch::new("POST", "/bff/logout").csrf())
        .await;
    assert_eq!(taken_back(&logout), ["bff-9090"]);
    assert_eq!(session_at(&mut browser, THERE).await.0, None);
    assert_eq!(
        session_at(&mut browser, HERE).await.0.as_deref(),
        Some("alice")
    );
    let left = names(&browser);
    assert_eq!(left, ["bff-8080", "bff-9090-logout"]);
    let suffix = parameter(&begun.location().unwrap(), "state").unwrap();
    let name = format!("bff-8080-login-{}", State::new(suffix).cookie_suffix());
    assert!(browser.jar.cookie(&name).is_some(), "the login under way");
}

/// G1: a session of a release that put no port into the name goes on, under the new name from the first
/// look at it; so do its logins under way.
#[tokio::test]
async fn a_session_under_the_former_name_is_taken_over() {
    let key = bff::secret::random_base64url::<32>(&bff::clock::SystemRandomness);
    let dir = tempfile::tempdir().unwrap();
    for store in ["sqlite", "cookie"] {
        let idp = Idp::start(&nine_o_clock());
        known_at_localhost(&idp);
        let upstream = Upstream::start();
        let builder = || at_localhost(&idp, &upstream, store, &key, dir.path());
        let before = builder().set("session.cookie.name", "bff").start();
        let mut browser = before.browser();
        browser.resolve(HERE, before.public_addr);
        sign_in_at(&mut browser, HERE, "alice").await;
        let begun = browser
            .open(&format!("{HERE}/bff/login?login_hint=alice"))
            .await;
        let authorize = begun.location().unwrap();
        assert!(browser.jar.cookie("bff").is_some(), "{store}");
        drop(before);

        let after = builder().start();
        browser.resolve(HERE, after.public_addr);
        browser.stand_on(HERE);
        let call = browser.fetch(Fetch::get("/api/orders").csrf()).await;
        assert_eq!(call.status, 200, "{store}");
        assert_eq!(upstream.last().all("cookie"), [""; 0]);
        let (user, reply) = session_at(&mut browser, HERE).await;
        assert_eq!(user.as_deref(), Some("alice"), "{store}");
        let moved = if store == "cookie" { &call } else { &reply };
        assert_eq!(taken_back(moved), ["bff"], "{store}");
        assert!(browser.jar.cookie("bff").is_none(), "{store}");
        assert!(browser.jar.cookie("bff-8080").is_some(), "{store}");
        let (user, reply) = session_at(&mut browser, HERE).await;
        assert_eq!(user.as_deref(), Some("alice"), "{store}");
        assert_eq!(reply.all("set-cookie"), [""; 0], "{store}");
        // The login that had begun ends as well.
        let callback = browser.open(authorize.as_str()).await.location().unwrap();
        let ended = browser.open(callback.as_str()).await;
        assert_eq!(ended.status, 303, "{store}: {}", refusal(&ended));
        let taken = taken_back(&ended);
        assert!(
            taken.iter().any(|name| name.starts_with("bff-login-")),
            "{taken:?}"
        );
        assert_eq!(
            session_at(&mut browser, HERE).await.0.as_deref(),
            Some("alice")
        );
    }
}

/// A session under the former name that is over is taken back under that name; where both names have one, the
/// current one counts.
#[tokio::test]
async fn the_former_name_counts_where_nothing_else_opens() {
    let key = bff::secret::random_base64url::<32>(&bff::clock::SystemRandomness);
    let dir = tempfile::tempdir().unwrap();
    let idp = Idp::start(&nine_o_clock());
    known_at_localhost(&idp);
    let upstream = Upstream::start();
    let builder = || at_localhost(&idp, &upstream, "sqlite", &key, dir.path());
    let before = builder().set("session.cookie.name", "bff").start();
    let mut alice = before.browser();
    alice.resolve(HERE, before.public_addr);
    sign_in_at(&mut alice, HERE, "alice").await;
    let former = alice.jar.cookie("bff").unwrap().value.clone();
    drop(before);
    let after = builder().start();
    let mut bob = after.browser();
    bob.resolve(HERE, after.public_addr);
    sign_in_at(&mut bob, HERE, "bob").await;
    let current = bob.jar.cookie("bff-8080").unwrap().value.clone();
    let session = async |cookie: String| {
        let call = Call::get("/bff/session").with("Host", "localhost:8080");
        call.header("Cookie", &cookie).send(after.public_addr).await
    };
    let user = |reply: &Reply| reply.json()["user"]["sub"].clone();
    let both = format!("bff={former}; bff-8080={current}");
    assert_eq!(user(&session(both).await), "bob");
    // A value opens under the name that it was sealed for, and no other.
    let swapped = session(format!("bff-8080={former}")).await;
    assert_eq!(user(&swapped), Value::Null);
    let swapped = session(format!("bff={current}")).await;
    assert_eq!(user(&swapped), Value::Null);
    alice.resolve(HERE, after.public_addr);
    alice.stand_on(HERE);
    alice.fetch(Fetch::new("POST", "/bff/logout").csrf()).await;
    let over = session(format!("bff={former}")).await;
    assert_eq!(taken_back(&over), ["bff"]);
}

fn at_localhost<'a>(
    idp: &'a Idp,
    upstream: &Upstream,
    store: &str,
    key: &str,
    dir: &Path,
) -> BffBuilder<'a> {
    let builder = Bff::with(idp, upstream)
        .set("server.public_url", HERE)
        .variable("BFF_SESSION_KEY", key)
        .set("session.keys", vec!["env:BFF_SESSION_KEY"])
        .set("session.store", store);
    if store == "sqlite" {
        let url = format!("sqlite://{}/sessions.db", dir.display());
        builder.set("session.store_url", url)
    } else {
        builder
    }
}

/// G8: of a value that opens, the chunks that are left over behind it are taken back; a whole cookie of
/// such a name is not.
#[tokio::test]
async fn a_whole_cookie_is_nobodys_chunk() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = Bff::in_cookies(&idp, &upstream).start();
    let alice = cookie_of(&signed_in(&bff, "alice").await);
    let whole = signed_in(&bff, "bob").await;
    let whole = whole.session_cookie().unwrap();
    let whole = whole.as_str();
    for (index, value, taken) in [
        (
            5,
            "left-over-of-a-chunk",
            vec![format!("{SESSION_COOKIE}-5")],
        ),
        (1, whole, Vec::new()),
        (2, whole.get(1..).unwrap(), Vec::new()),
    ] {
        let cookie = format!("{alice}; {SESSION_COOKIE}-{index}={value}");
        let call = Call::get("/api/orders").header("Cookie", &cookie);
        let reply = call.send(bff.public_addr).await;
        assert_eq!(reply.status, 200, "{index}");
        assert_eq!(taken_back(&reply), taken, "{index}");
    }
}
