//! `X-BFF-Session`: a page that was made for one session does not act in another.

use crate::support::bff::Bff;
use crate::support::browser::{Browser, Fetch};
use crate::support::call::{Call, HOST, home};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::refusal;
use crate::support::upstream::Upstream;

async fn tag(browser: &mut Browser) -> String {
    browser.session().await["session"]["tag"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// The tag of the cookie's own session passes and stays here; another's is 409 and nothing goes
/// upstream, also where a second user signed in in another tab.
#[tokio::test]
async fn a_page_of_another_user_is_told_so() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let mut browser = bff.browser();
    browser.sign_in("alice").await;
    let of_alice = tag(&mut browser).await;
    let call = |tag: &str| {
        Fetch::get("/api/orders")
            .csrf()
            .header("X-BFF-Session", tag)
    };
    let reply = browser.fetch(call(&of_alice)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(upstream.the_one().header("x-bff-session"), None);

    browser
        .fetch(Fetch::new("POST", "/bff/logout").csrf())
        .await;
    browser.sign_in("bob").await;
    let reply = browser.fetch(call(&of_alice)).await;
    assert_eq!(refusal(&reply), "409 user_changed");
    assert_eq!(reply.header("set-cookie"), None, "bob stays signed in");
    let twice = call(&tag(&mut browser).await).header("X-BFF-Session", &of_alice);
    assert_eq!(refusal(&browser.fetch(twice).await), "409 user_changed");
    assert_eq!(upstream.seen().len(), 1);
    let of_bob = tag(&mut browser).await;
    assert_eq!(browser.fetch(call(&of_bob)).await.status, 200);
    // What asks who is signed in is answered, whatever page it is.
    let asked = Fetch::get("/bff/session").csrf();
    let asked = asked.header("X-BFF-Session", &of_alice);
    assert_eq!(browser.fetch(asked).await.json()["user"]["sub"], "bob");
}

/// Without a session the header says nothing: where one is needed it is missing.
#[tokio::test]
async fn without_a_session_the_header_says_nothing() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .route(
            toml::toml! { path = "/maybe"  auth = "optional" },
            &upstream,
        )
        .route(toml::toml! { path = "/open"  auth = "none" }, &upstream)
        .start();
    let mut browser = bff.browser();
    browser.stand_on(PUBLIC_URL);
    for (path, expected) in [("/api", 401), ("/maybe", 200), ("/open", 200)] {
        let fetch = Fetch::get(path).csrf().header("X-BFF-Session", "x");
        assert_eq!(browser.fetch(fetch).await.status, expected, "{path}");
    }
    browser.sign_in("alice").await;
    for (path, expected) in [("/api", 409), ("/maybe", 409), ("/open", 200)] {
        let fetch = Fetch::get(path).csrf().header("X-BFF-Session", "x");
        assert_eq!(browser.fetch(fetch).await.status, expected, "{path}");
    }
    for seen in upstream.seen() {
        assert_eq!(seen.header("x-bff-session"), None);
    }
}

/// A WebSocket of another user's page is not opened.
#[tokio::test]
async fn a_socket_of_another_users_page_is_not_opened() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(crate::websocket::echo);
    let bff = Bff::with(&idp, &upstream).start();
    let mut alice = bff.browser();
    alice.sign_in("alice").await;
    let own = tag(&mut alice).await;
    for (tag, expected) in [(own.as_str(), 101), ("another", 409)] {
        let call = Call::bare("GET", "/api/socket")
            .header("Host", HOST)
            .header("Origin", PUBLIC_URL)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "c2l4dGVlbiBieXRlcy4uLg==")
            .header("X-BFF-Session", tag)
            .of(&alice);
        let mut wire = call.begin(bff.public_addr).await;
        let page = home();
        let head = soon("an answer", wire.head(&page)).await.unwrap();
        assert_eq!(head.status, expected, "{tag}");
    }
    assert_eq!(upstream.seen().len(), 1);
}

/// A session that another login took the place of says so, to calls and to the app.
#[tokio::test]
async fn a_superseded_session_says_so() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .set("session.max_per_user", 1)
        .start();
    let mut first = bff.browser();
    first.sign_in("alice").await;
    let old = first.jar.clone();
    let mut second = bff.browser();
    second.sign_in("alice").await;
    assert_eq!(first.session().await["ended"], "superseded");
    first.jar = old.clone();
    let reply = first.fetch(Fetch::get("/api/orders").csrf()).await;
    assert_eq!(refusal(&reply), "401 session_superseded");
    assert_eq!(reply.json()["login_url"], "/bff/login");
    first.jar = old;
    let reply = first.fetch(Fetch::get("/bff/sessions").csrf()).await;
    assert_eq!(refusal(&reply), "401 session_superseded");
    assert_eq!(reply.header("set-cookie"), None, "it may be of a new login");
    assert!(upstream.seen().is_empty());
    assert_eq!(second.signed_in().await.as_deref(), Some("alice"));
}
