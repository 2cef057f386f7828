//! The session and its cookie: what the browser holds, what it is told, and when it is over.

use std::time::Duration;

use bff::clock::SystemRandomness;
use bff::dev::provider::client::{Proof, RelyingParty};
use serde_json::{Value, json};

use crate::support::bff::Bff;
use crate::support::browser::{Browser, Fetch};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::faults::Fault;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::{SESSION_COOKIE, login_url, parameter, refusal};
use crate::support::upstream::Upstream;
use crate::support::wire::Reply;

/// A session key as `bff keygen` prints it.
fn key() -> String {
    bff::secret::random_base64url::<32>(&SystemRandomness)
}

/// The `Set-Cookie` of the session in a callback's answer, without the value.
fn session_line(callback: &Reply, name: &str) -> String {
    let start = format!("{name}=");
    let line = callback
        .all("set-cookie")
        .into_iter()
        .find_map(|line| line.strip_prefix(&start))
        .unwrap();
    let (value, attributes) = line.split_once(';').unwrap();
    assert!(name.len() + value.len() <= 4096, "G8: {}", value.len());
    format!("{name}=…;{attributes}")
}

/// G1, G8: the session cookie, to the letter, in each form that the configuration allows.
#[tokio::test]
async fn the_session_cookie_is_bound_to_the_host() {
    let deleted = "; Max-Age=0";
    for (key, value, expected) in [
        (
            "session.cookie.same_site",
            toml::Value::from("Strict"),
            "__Host-Http-bff=…; HttpOnly; SameSite=Strict; Secure; Path=/",
        ),
        (
            "session.cookie.same_site",
            "Lax".into(),
            "__Host-Http-bff=…; HttpOnly; SameSite=Lax; Secure; Path=/",
        ),
        (
            "session.cookie.persistent",
            true.into(),
            "__Host-Http-bff=…; HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=28800",
        ),
        (
            "session.cookie.name",
            "__Host-shop".into(),
            "__Host-shop=…; HttpOnly; SameSite=Strict; Secure; Path=/",
        ),
    ] {
        let idp = Idp::start(&nine_o_clock());
        let bff = Bff::with(&idp, &Upstream::start()).set(key, value).start();
        let mut browser = bff.browser();
        let visit = browser.sign_in("alice").await;
        let name = expected.split('=').next().unwrap();
        assert_eq!(
            session_line(visit.reply_of("/bff/callback"), name),
            expected
        );
        assert_eq!(browser.jar.refused(), &[] as &[String]);
        // It is taken back with the attributes that it was given with (E2).
        let logout = browser
            .fetch(Fetch::new("POST", "/bff/logout").csrf())
            .await;
        let (attributes, _) = expected.split_once("; Max-Age").unwrap_or((expected, ""));
        assert_eq!(
            logout.all("set-cookie")[0],
            attributes.replace('…', "") + deleted
        );
        assert!(browser.jar.cookie(name).is_none());
    }
}

/// G1: on http loopback, where browsers take no `Secure`, the cookie says so by its plain name.
#[tokio::test]
async fn the_session_cookie_on_http_loopback_is_plain() {
    let idp = Idp::start(&nine_o_clock());
    let origin = "http://localhost:8080";
    idp.core.register(RelyingParty {
        client_id: "app".to_owned(),
        proof: Proof::Secret(idp.client_secret.clone()),
        redirect_uris: vec![format!("{origin}/bff/callback")],
        post_logout_redirect_uris: vec![],
        backchannel_logout_uri: None,
        frontchannel_logout_uri: None,
        id_token_alg: "RS256".to_owned(),
    });
    let bff = Bff::with(&idp, &Upstream::start())
        .set("server.public_url", origin)
        .start();
    let mut browser = bff.browser();
    browser.resolve(origin, bff.public_addr);
    let visit = browser
        .visit(&format!("{origin}/bff/login?login_hint=alice"))
        .await;
    let callback = visit.reply_of("/bff/callback");
    assert_eq!(
        session_line(callback, "bff-8080"),
        "bff-8080=…; HttpOnly; SameSite=Strict; Path=/"
    );
    let begun = visit.reply_of("/bff/login").all("set-cookie")[0];
    assert!(begun.starts_with("bff-8080-login-"), "{begun}");
    assert!(begun.ends_with("; HttpOnly; SameSite=Lax; Path=/; Max-Age=90000"));
    assert_eq!(browser.jar.refused(), &[] as &[String]);
    browser.stand_on(origin);
    let session = browser.fetch(Fetch::get("/bff/session").csrf()).await;
    assert_eq!(session.json()["user"]["sub"], "alice");
}

/// Asks `/api/orders` with these Cookie fields.
async fn call_with(bff: &Bff<'_>, cookies: &[String]) -> Reply {
    let mut fields = vec![("X-CSRF", "1")];
    fields.extend(cookies.iter().map(|cookie| ("Cookie", cookie.as_str())));
    let url = format!("{PUBLIC_URL}/api/orders");
    bff.browser().curl("GET", &url, &fields, None).await
}

/// G2: of two cookies of our name the one that opens counts, in any order and on any line; names
/// are told apart by case.
#[tokio::test]
async fn the_cookie_is_found_wherever_it_stands() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream).start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let value = browser.session_cookie().unwrap();
    let ours = format!("{SESSION_COOKIE}={value}");
    let bad = format!("{SESSION_COOKIE}=bad");
    let cases = [
        ("alone", vec![ours.clone()], 200),
        ("first", vec![format!("{ours}; {bad}")], 200),
        ("last", vec![format!("{bad}; {ours}")], 200),
        ("on two lines", vec![bad.clone(), ours.clone()], 200),
        ("among others", vec![format!("a=1; {ours};b=2; =; c")], 200),
        ("no space", vec![format!("a=1;{ours};b=2")], 200),
        ("lower case", vec![ours.to_ascii_lowercase()], 401),
        (
            "another case",
            vec![ours.replace("__Host-Http", "__HoSt-HtTp")],
            401,
        ),
        ("a longer name", vec![format!("x{ours}")], 401),
        ("in a value", vec![format!("a={ours}")], 401),
        ("quoted", vec![format!("{SESSION_COOKIE}=\"{value}\"")], 401),
    ];
    for (name, cookies, expected) in cases {
        let reply = call_with(&bff, &cookies).await;
        assert_eq!(reply.status, expected, "{name}");
    }
    assert_eq!(upstream.seen().len(), 6);
}

/// G4: an id that we did not issue is never adopted, and a planted session is not raised.
#[tokio::test]
async fn no_presented_id_is_adopted() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    // The attacker plants their own session in the browser of alice, who signs in.
    let mut attacker = bff.browser();
    attacker.sign_in("bob").await;
    let planted = attacker.jar.cookie(SESSION_COOKIE).unwrap().clone();
    let mut browser = bff.browser();
    browser.jar.plant(planted.clone());
    browser.sign_in("alice").await;
    assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
    let own = browser.session_cookie().unwrap();
    assert_ne!(own, planted.value);
    let reply = call_with(&bff, &[format!("{SESSION_COOKIE}={}", planted.value)]).await;
    assert_eq!(refusal(&reply), "401 session_superseded");
    // The same with a value of nobody's.
    let mut browser = bff.browser();
    let made_up = crate::support::cookie_jar::Cookie {
        value: "A".repeat(own.len()),
        ..planted
    };
    browser.jar.plant(made_up.clone());
    browser.sign_in("alice").await;
    assert_ne!(browser.session_cookie(), Some(made_up.value));
    assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
}

/// G6: whatever does not open is the same as no cookie, and stays where it is: it may be another's.
#[tokio::test]
async fn a_cookie_that_does_not_open_is_no_cookie() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream)
        .route(
            toml::toml! { path = "/reports"  csrf = "origin" },
            &upstream,
        )
        .start();
    let other = Bff::with(&idp, &upstream).start();
    let (mut browser, mut stranger) = (bff.browser(), other.browser());
    browser.sign_in("alice").await;
    stranger.sign_in("alice").await;
    let value = browser.session_cookie().unwrap();
    browser.begin_login("").await;
    let login = browser.login_cookies().pop().unwrap();
    let login = browser.jar.cookie(&login).unwrap().value.clone();
    let changed = |at: usize| {
        let mut bytes = value.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let cases = [
        ("empty", String::new()),
        ("garbage", "garbage".to_owned()),
        ("another version or key", changed(0)),
        ("another nonce", changed(20)),
        ("other text", changed(value.len() / 2)),
        ("another tag", changed(value.len() - 2)),
        ("cut short", value[..value.len() - 4].to_owned()),
        ("too long", format!("{value}AAAA")),
        ("padded", format!("{value}==")),
        (
            "sealed by another process",
            stranger.session_cookie().unwrap(),
        ),
        ("a login's", login),
        ("huge", "A".repeat(8000)),
        ("no ASCII", "ü…".to_owned()),
    ];
    for (name, value) in cases {
        let cookie = format!("{SESSION_COOKIE}={value}");
        let reply = call_with(&bff, std::slice::from_ref(&cookie)).await;
        assert_eq!(refusal(&reply), "401 login_required", "{name}");
        assert_eq!(reply.header("set-cookie"), None, "{name}");
        let fields = [("Cookie", cookie.as_str()), ("X-CSRF", "1")];
        let session = format!("{PUBLIC_URL}/bff/session");
        let reply = bff.browser().curl("GET", &session, &fields, None).await;
        assert_eq!(reply.status, 200, "{name}");
        assert_eq!(reply.json()["authenticated"], false, "{name}");
        assert_eq!(reply.header("set-cookie"), None, "{name}");
        // A page begins the login, and so ends no loop.
        let fields = [("Cookie", cookie.as_str()), ("Accept", "text/html")];
        let page = format!("{PUBLIC_URL}/reports/7");
        let reply = bff.browser().curl("GET", &page, &fields, None).await;
        assert_eq!(reply.status, 303, "{name}");
    }
    let reply = call_with(&bff, &[]).await;
    assert_eq!(refusal(&reply), "401 login_required");
    assert_eq!(reply.header("set-cookie"), None, "nothing to take back");
    assert!(upstream.seen().is_empty());
}

/// G7: keys rotate while the product runs: the first seals, all open, and a key that is removed
/// ends what was not seen since and nothing else: who looks at the session gets it sealed anew.
/// Logins under way are no exception.
#[tokio::test]
async fn keys_rotate_without_signing_anybody_out() {
    let idp = Idp::start(&nine_o_clock());
    let (a, b, c, d) = (key(), key(), key(), key());
    let upstream = Upstream::start();
    let builder = Bff::with(&idp, &upstream)
        .file("one.key", &a)
        .file("two.key", &b)
        .set(
            "session.keys",
            vec!["file:one.key".to_owned(), "file:two.key".to_owned()],
        );
    let (one, two) = (builder.path("one.key"), builder.path("two.key"));
    let bff = builder.start();
    let reloaded = async |times: usize| {
        let seen = async {
            while bff.logs().lines_with("session keys reloaded").len() < times {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        soon("the keys to be read again", seen).await;
    };
    let mut before = bff.browser();
    before.sign_in("alice").await;
    let mut absent = bff.browser();
    absent.sign_in("alice").await;
    let mut under_way = bff.browser();
    let callback = under_way.callback_url("login_hint=bob").await;

    // The second first: for a moment both files hold one key, which is a fault and changes nothing.
    std::fs::write(&two, &a).unwrap();
    std::fs::write(&one, &c).unwrap();
    reloaded(1).await;
    assert_eq!(before.signed_in().await.as_deref(), Some("alice"));
    assert_eq!(under_way.open(callback.as_str()).await.status, 303);
    assert_eq!(under_way.signed_in().await.as_deref(), Some("bob"));
    let mut after = bff.browser();
    after.sign_in("alice").await;

    std::fs::write(&two, &d).unwrap();
    reloaded(2).await;
    let reply = absent.fetch(Fetch::get("/api/orders").csrf()).await;
    assert_eq!(refusal(&reply), "401 login_required");
    absent.sign_in("alice").await;
    assert_eq!(absent.signed_in().await.as_deref(), Some("alice"));
    for browser in [&mut before, &mut after, &mut under_way] {
        assert!(browser.signed_in().await.is_some(), "sealed by the new key");
    }
}

/// A browser in which alice is signed in, with an idle timeout of ten minutes in an hour at most.
async fn alice(bff: &Bff<'_>) -> Browser {
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    browser
}

async fn call(browser: &mut Browser, target: &str) -> Reply {
    browser.fetch(Fetch::get(target).csrf()).await
}

/// G9: the idle timeout, to the second, wherever the last use was.
#[tokio::test]
async fn an_idle_session_ends() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream)
        .set("session.idle_timeout", "10m")
        .set("session.max_lifetime", "1h")
        .start();
    for used_by in ["/api/orders", "/bff/session", "/bff/user"] {
        let mut browser = alice(&bff).await;
        bff.clock().advance(Duration::from_mins(5));
        assert_eq!(call(&mut browser, used_by).await.status, 200);
        bff.clock().advance(Duration::from_secs(599));
        let session = call(&mut browser, "/bff/session?slide=false").await.json();
        assert_eq!(session["session"]["expires_in"], 1, "{used_by}");
        bff.clock().advance(Duration::from_secs(1));
        let old = browser.jar.clone();
        let reply = call(&mut browser, "/api/orders").await;
        assert_eq!(refusal(&reply), "401 session_expired", "{used_by}");
        assert_eq!(browser.session_cookie(), None, "{used_by}: taken back");
        browser.jar = old.clone();
        let reply = call(&mut browser, "/bff/session").await;
        assert_eq!(reply.json()["authenticated"], false, "{used_by}");
        assert_eq!(browser.session_cookie(), None, "{used_by}: taken back");
        browser.jar = old;
        let reply = call(&mut browser, "/bff/user").await;
        assert_eq!(reply.status, 401, "{used_by}");
    }
}

/// G9: however busy, after its lifetime a session is over.
#[tokio::test]
async fn a_busy_session_ends_at_its_limit() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream)
        .set("session.idle_timeout", "10m")
        .set("session.max_lifetime", "1h")
        .start();
    let mut browser = alice(&bff).await;
    for minute in (5..60).step_by(5) {
        bff.clock().advance(Duration::from_mins(5));
        let session = call(&mut browser, "/bff/session").await.json();
        let ends_in = (60 - minute) * 60;
        assert_eq!(session["session"]["ends_in"], ends_in);
        assert_eq!(session["session"]["expires_in"], ends_in.min(600));
    }
    bff.clock().advance(Duration::from_secs(299));
    assert_eq!(call(&mut browser, "/api/orders").await.status, 200);
    bff.clock().advance(Duration::from_secs(1));
    let reply = call(&mut browser, "/api/orders").await;
    assert_eq!(refusal(&reply), "401 session_expired");
}

/// G9: looking with `slide=false` puts nothing off, and neither does what is not a use.
#[tokio::test]
async fn looking_is_not_using() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream)
        .set("session.idle_timeout", "10m")
        .route(toml::toml! { path = "/open"  auth = "none" }, &upstream)
        .start();
    for target in [
        "/bff/session?slide=false",
        "/bff/user?slide=false",
        "/open/x",
        "/nowhere",
        "/bff/login",
    ] {
        let mut browser = alice(&bff).await;
        for minute in 1..10 {
            bff.clock().advance(Duration::from_mins(1));
            browser.stand_on(PUBLIC_URL);
            call(&mut browser, target).await;
            let session = call(&mut browser, "/bff/session?slide=false").await.json();
            let left = (10 - minute) * 60;
            assert_eq!(session["session"]["expires_in"], left, "{target}");
        }
        bff.clock().advance(Duration::from_mins(1));
        assert_eq!(browser.signed_in().await, None, "{target}");
    }
}

/// G9: a page that polls every few seconds kept its session for ever. What a route or the call itself
/// says is no use puts nothing off, though it is answered as any other; the word stays here.
#[tokio::test]
async fn a_call_may_say_that_it_is_no_use() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream)
        .set("session.idle_timeout", "10m")
        .route(toml::toml! { path = "/poll"  activity = false }, &upstream)
        .start();
    let quiet = |target: &str| Fetch::get(target).csrf().header("X-BFF-Activity", "none");
    let seconds_left = async |browser: &mut Browser| {
        let session = call(browser, "/bff/session?slide=false").await.json();
        session["session"]["expires_in"].as_u64().unwrap()
    };
    for (fetch, upstream_sees) in [
        (Fetch::get("/poll/x").csrf(), true),
        (quiet("/api/x"), true),
        (quiet("/bff/session"), false),
        (quiet("/bff/user"), false),
    ] {
        let mut browser = alice(&bff).await;
        for minute in 1..10 {
            bff.clock().advance(Duration::from_mins(1));
            let reply = browser.fetch(fetch.clone()).await;
            assert_eq!(reply.status, 200, "{fetch:?}");
            let left = seconds_left(&mut browser).await;
            assert_eq!(left, (10 - minute) * 60, "{fetch:?}");
        }
        if upstream_sees {
            let seen = upstream.last();
            assert!(seen.bearer().is_some(), "{fetch:?}");
            assert_eq!(seen.header("x-bff-activity"), None, "{fetch:?}");
        }
        bff.clock().advance(Duration::from_mins(1));
        let over = browser.fetch(fetch.clone()).await;
        assert_ne!(over.json()["authenticated"], true, "{fetch:?}");
        assert_eq!(browser.signed_in().await, None, "{fetch:?}");
    }
    let mut browser = alice(&bff).await;
    for other in ["some", ""] {
        bff.clock().advance(Duration::from_mins(2));
        let fetch = Fetch::get("/api/x").csrf().header("X-BFF-Activity", other);
        browser.fetch(fetch).await;
        assert_eq!(seconds_left(&mut browser).await, 600, "{other:?} is a use");
    }
}

/// G9: uses are written down at most once in a tenth of the idle timeout.
#[tokio::test]
async fn uses_are_written_down_now_and_then() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream)
        .set("session.idle_timeout", "10m")
        .start();
    for (used_after, left_then) in [(59, 541), (60, 600)] {
        let mut browser = alice(&bff).await;
        bff.clock().advance(Duration::from_secs(used_after));
        let session = call(&mut browser, "/bff/session").await.json();
        assert_eq!(session["session"]["expires_in"], left_then);
    }
}

/// G11: no answer of ours may be kept, whatever it is.
#[tokio::test]
async fn nothing_of_ours_is_ever_stored() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    for signs_in in [false, true] {
        for (method, target) in [
            ("GET", "/bff/login"),
            ("GET", "/bff/login?max_age=x"),
            ("POST", "/bff/login"),
            ("GET", "/bff/login/resume?login=abcdefghijkl"),
            ("GET", "/bff/callback"),
            ("GET", "/bff/callback?code=x&state=y"),
            ("POST", "/bff/callback"),
            ("GET", "/bff/logout"),
            ("POST", "/bff/logout"),
            ("GET", "/bff/logout?return_to=//x"),
            ("GET", "/bff/logout/continue"),
            ("GET", "/bff/logout/callback"),
            ("GET", "/bff/session"),
            ("GET", "/bff/session/events"),
            ("GET", "/bff/sessions"),
            ("DELETE", "/bff/sessions?tag=x"),
            ("GET", "/bff/user"),
            ("POST", "/bff/backchannel-logout"),
            ("GET", "/bff/backchannel"),
            ("GET", "/bff/frontchannel-logout"),
            ("GET", "/bff/nothing"),
            ("GET", "/api/orders"),
        ] {
            for csrf in ["1", "0"] {
                if signs_in && target == "/api/orders" && csrf == "1" {
                    // The upstream's answer is the upstream's (G12).
                    continue;
                }
                let mut browser = bff.browser();
                if signs_in {
                    browser.sign_in("alice").await;
                }
                let url = format!("{PUBLIC_URL}{target}");
                let fields = [("X-CSRF", csrf)];
                let reply = browser.curl(method, &url, &fields, None).await;
                assert_eq!(
                    reply.header("cache-control"),
                    Some("no-store"),
                    "{method} {target} {signs_in} {}",
                    reply.status
                );
            }
        }
    }
}

/// What differs from one session to the next, taken out.
fn steady(mut session: Value) -> String {
    let tag = session["session"]["tag"].as_str().unwrap().to_owned();
    assert!(tag.len() >= 12, "{tag}");
    session["session"]["tag"] = json!("[tag]");
    let link = session["logout_url"].as_str().unwrap();
    let (start, sid) = link.split_once("sid=").unwrap();
    assert!(sid.len() >= 22, "128 bits: {sid}");
    session["logout_url"] = json!(format!("{start}sid=[sid]"));
    serde_json::to_string_pretty(&session).unwrap()
}

/// G13: what `/bff/session` says of somebody who is signed in.
#[tokio::test]
async fn the_app_is_told_who_is_signed_in() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = alice(&bff).await;
    let reply = call(&mut browser, "/bff/session").await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let cookie = browser.session_cookie().unwrap();
    assert!(!reply.text().contains(&cookie));
    insta::assert_snapshot!(steady(reply.json()), @r#"
    {
      "auth": {
        "acr": "pwd",
        "amr": [
          "pwd"
        ],
        "auth_time": "2026-11-21T09:00:00Z"
      },
      "authenticated": true,
      "logout_url": "/bff/logout?sid=[sid]",
      "session": {
        "created_at": "2026-11-21T09:00:00Z",
        "ends_in": 28800,
        "expires_in": 1800,
        "tag": "[tag]"
      },
      "token": {
        "expires_in": 300
      },
      "user": {
        "email": "alice@example.com",
        "name": "Alice Adams",
        "sub": "alice"
      }
    }
    "#);
}

/// An `auth_time` that is no date in seconds is left out, and said once in the log: the app was told
/// an empty string, or 1970.
#[tokio::test]
async fn an_auth_time_that_is_no_date_is_left_out() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let said = || bff.logs().lines_with("`auth_time` is no date").len();
    let before = said();
    for odd in [
        json!(1_795_251_600_000_i64),
        json!(0),
        json!("2026-11-21"),
        json!(null),
    ] {
        idp.misbehave(Fault::claim("auth_time", odd.clone()));
        let mut browser = alice(&bff).await;
        idp.behave();
        let told = browser.session().await;
        assert_eq!(told["auth"]["auth_time"], json!(null), "{odd}");
    }
    assert_eq!(said(), before + 1);
}

/// G13: what `/bff/user` says, as Duende's frontends read it.
#[tokio::test]
async fn the_app_is_told_the_claims_as_a_list() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = alice(&bff).await;
    let reply = call(&mut browser, "/bff/user").await;
    let mut list = reply.json();
    for claim in list.as_array_mut().unwrap() {
        let name = claim["type"].as_str().unwrap();
        if matches!(name, "bff:logout_url" | "bff:session_state") {
            assert!(claim["value"].as_str().unwrap().len() >= 12);
            claim["value"] = json!("[…]");
        }
    }
    let lines: Vec<String> = list
        .as_array()
        .unwrap()
        .iter()
        .map(Value::to_string)
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    {"type":"email","value":"alice@example.com"}
    {"type":"name","value":"Alice Adams"}
    {"type":"sub","value":"alice"}
    {"type":"bff:logout_url","value":"[…]"}
    {"type":"bff:session_expires_in","value":1800}
    {"type":"bff:session_state","value":"[…]"}
    "#);
}

/// G13: nobody is told so, with 200 or with 401 as the configuration says; `/bff/user` has 401.
#[tokio::test]
async fn the_app_is_told_that_nobody_is_signed_in() {
    for anonymous in [200, 401] {
        let idp = Idp::start(&nine_o_clock());
        let bff = Bff::with(&idp, &Upstream::start())
            .set("session.anonymous", anonymous)
            .start();
        let mut browser = bff.browser();
        browser.stand_on(PUBLIC_URL);
        let reply = call(&mut browser, "/bff/session").await;
        assert_eq!(
            reply.status_and_text(),
            format!("{anonymous}\n{{\"authenticated\":false,\"login_url\":\"/bff/login\"}}")
        );
        let reply = call(&mut browser, "/bff/user").await;
        assert_eq!(refusal(&reply), "401 login_required");
        assert_eq!(reply.json()["login_url"], "/bff/login");
        assert_eq!(reply.header("set-cookie"), None);
        let mut browser = alice(&bff).await;
        assert_eq!(call(&mut browser, "/bff/session").await.status, 200);
    }
}

/// G13: the claims that the configuration lets out, and no others.
#[tokio::test]
async fn the_configuration_lets_claims_out() {
    for (claims, expected) in [
        (
            vec!["email"],
            json!({ "sub": "alice", "email": "alice@example.com" }),
        ),
        (vec![], json!({ "sub": "alice" })),
        (
            vec!["nonce", "at_hash", "sid", "aud"],
            json!({ "sub": "alice" }),
        ),
    ] {
        let idp = Idp::start(&nine_o_clock());
        let claims: Vec<String> = claims.into_iter().map(str::to_owned).collect();
        let bff = Bff::with(&idp, &Upstream::start())
            .set("provider.claims", claims.clone())
            .start();
        let mut browser = alice(&bff).await;
        assert_eq!(browser.session().await["user"], expected, "{claims:?}");
    }
}

/// G13, H2: neither is told to whom cannot send the header.
#[tokio::test]
async fn the_facts_need_the_header() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = alice(&bff).await;
    for path in ["/bff/session", "/bff/user"] {
        for fetch in [
            Fetch::get(path),
            Fetch::get(path).header("X-CSRF", "true"),
            Fetch::image(path),
        ] {
            browser.stand_on(PUBLIC_URL);
            assert_eq!(refusal(&browser.fetch(fetch).await), "403 csrf", "{path}");
        }
        let reply = browser.open(&format!("{PUBLIC_URL}{path}")).await;
        assert_eq!(refusal(&reply), "403 csrf", "{path}");
        for site in ["https://evil.example/", "https://sibling.app.example/"] {
            browser.stand_on(site);
            let url = format!("{PUBLIC_URL}{path}");
            let reply = browser.fetch(Fetch::get(&url).csrf().credentials()).await;
            assert_eq!(refusal(&reply), "403 origin_not_allowed", "{path} {site}");
            assert_eq!(reply.header("access-control-allow-origin"), None);
        }
    }
}

/// G14: no state, nonce, verifier, cookie or link of a session is in the log.
#[tokio::test]
async fn no_secret_of_a_session_is_logged() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    let begun = browser.begin_login("login_hint=alice").await;
    let location = begun.location().unwrap();
    let name = browser.login_cookies().pop().unwrap();
    let mut secrets = vec![browser.jar.cookie(&name).unwrap().value.clone()];
    for name in ["state", "nonce"] {
        secrets.push(parameter(&location, name).unwrap());
    }
    let callback = browser.open(location.as_str()).await.location().unwrap();
    browser.open(callback.as_str()).await;
    let asked = idp.asked(bff::dev::provider::endpoints::Endpoint::Token);
    secrets.push(asked[0].form.value("code_verifier").unwrap().to_owned());
    secrets.push(browser.session_cookie().unwrap());
    let link = browser.session().await["logout_url"]
        .as_str()
        .unwrap()
        .to_owned();
    secrets.push(link.split_once("sid=").unwrap().1.to_owned());
    browser.click(&link).await;
    // Failures are logged too.
    browser.open(callback.as_str()).await;
    call_with(&bff, &[format!("{SESSION_COOKIE}={}", secrets[4])]).await;
    for secret in &secrets {
        assert!(secret.len() >= 22, "{secret}");
        let lines = bff.logs().lines_with(secret);
        assert!(lines.is_empty(), "{lines:?}");
        let metrics = bff.metrics().unwrap();
        assert!(!metrics.contains(secret.as_str()), "{secret}");
    }
}

/// B10, C13, H7: a page route takes our own pages' requests without the header, other sites'
/// navigations, and nothing else of theirs.
#[tokio::test]
async fn a_page_route_is_for_people_and_our_own_pages() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream)
        .set("session.cookie.same_site", "Lax")
        .route(
            toml::toml! { path = "/reports"  csrf = "origin" },
            &upstream,
        )
        .start();
    let mut browser = alice(&bff).await;
    let page = format!("{PUBLIC_URL}/reports/7");
    for fetch in [
        Fetch::get("/reports/7"),
        Fetch::image("/reports/7"),
        Fetch::frame("/reports/7"),
        Fetch::new("POST", "/reports/7"),
    ] {
        browser.stand_on(PUBLIC_URL);
        let reply = browser.fetch(fetch.clone()).await;
        assert_eq!(reply.status, 200, "{fetch:?}");
    }
    let visit = browser.submit("/reports/7", &[("a", "1")]).await;
    assert_eq!(visit.last().status, 200, "a form of our own page");
    browser.stand_on("https://mail.example/");
    let visit = browser.click(&page).await;
    assert_eq!(visit.last().status, 200, "a link of another site");
    let seen = upstream.seen().len();
    assert_eq!(seen, 6);
    for site in ["https://evil.example/", "https://sibling.app.example/"] {
        for fetch in [
            Fetch::get(&page).credentials(),
            Fetch::get(&page).no_cors(),
            Fetch::image(&page),
            Fetch::frame(&page),
            Fetch::new("POST", &page).no_cors(),
        ] {
            browser.stand_on(site);
            let reply = browser.fetch(fetch.clone()).await;
            assert_eq!(refusal(&reply), "403 origin_not_allowed", "{fetch:?}");
        }
        browser.stand_on(site);
        let visit = browser.submit(&page, &[("a", "1")]).await;
        assert_eq!(refusal(visit.last()), "403 origin_not_allowed", "{site}");
    }
    assert_eq!(upstream.seen().len(), seen, "nothing reached the upstream");
}

/// G3, G4: two sessions of one person share no value.
#[tokio::test]
async fn two_sessions_share_nothing() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..16 {
        let mut browser = bff.browser();
        browser.visit(&login_url("login_hint=alice")).await;
        let session = browser.session().await;
        for value in [
            browser.session_cookie().unwrap(),
            session["session"]["tag"].to_string(),
            session["logout_url"].to_string(),
        ] {
            assert!(seen.insert(value), "a value came twice");
        }
    }
}
