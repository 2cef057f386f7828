//! `/bff/sessions`: a user's own sessions, listed and ended.

use std::time::Duration;

use bff::dev::provider::endpoints::Endpoint;
use serde_json::{Value, json};

use crate::support::bff::Bff;
use crate::support::browser::{Browser, Fetch};
use crate::support::clock::nine_o_clock;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::{SESSION_COOKIE, refusal};
use crate::support::upstream::Upstream;
use crate::support::wire::Reply;

async fn listed(browser: &mut Browser) -> Vec<Value> {
    let reply = browser.fetch(Fetch::get("/bff/sessions").csrf()).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    reply.json()["sessions"].as_array().unwrap().clone()
}

async fn end(browser: &mut Browser, query: &str) -> Reply {
    let target = format!("/bff/sessions{query}");
    browser.fetch(Fetch::new("DELETE", &target).csrf()).await
}

async fn tag(browser: &mut Browser) -> String {
    let session = browser.session().await;
    session["session"]["tag"].as_str().unwrap().to_owned()
}

/// A browser that calls itself `user_agent` and in which `user` signs in.
async fn signs_in_as(bff: &Bff<'_>, user: &str, user_agent: &str) -> Browser {
    let mut browser = bff.browser();
    let callback = browser.callback_url(&format!("login_hint={user}")).await;
    let fields = [("User-Agent", user_agent)];
    let reply = browser.curl("GET", callback.as_str(), &fields, None).await;
    assert_eq!(reply.status, 303, "{reply:?}");
    browser.stand_on(PUBLIC_URL);
    browser
}

/// The user sees their own sessions, the present one first, then by their last use; nobody else's,
/// and no secret.
#[tokio::test]
async fn a_user_sees_their_own_sessions() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut curl = signs_in_as(&bff, "alice", "curl/8.14.1").await;
    bff.clock().advance(Duration::from_mins(1));
    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let mut firefox = signs_in_as(&bff, "alice", firefox).await;
    bff.clock().advance(Duration::from_mins(1));
    let mut odd = signs_in_as(&bff, "alice", "<b>mine</b>").await;
    let mut bob = signs_in_as(&bff, "bob", "curl/8.14.1").await;
    bff.clock().advance(Duration::from_mins(4));
    curl.fetch(Fetch::get("/api/orders").csrf()).await;

    let sessions = listed(&mut firefox).await;
    let mut browsers: Vec<&str> = Vec::new();
    for session in &sessions {
        browsers.push(session["browser"].as_str().unwrap());
    }
    assert_eq!(browsers, ["Firefox on Linux", "curl", "Unknown browser"]);
    assert_eq!(
        sessions[0],
        json!({
            "tag": tag(&mut firefox).await,
            "current": true,
            "browser": "Firefox on Linux",
            "created_at": "2026-11-21T09:01:00Z",
            "last_seen": "2026-11-21T09:06:00Z",
            "expires_in": 1800,
        })
    );
    assert_eq!(
        sessions[1],
        json!({
            "tag": tag(&mut curl).await,
            "current": false,
            "browser": "curl",
            "created_at": "2026-11-21T09:00:00Z",
            "last_seen": "2026-11-21T09:06:00Z",
            "expires_in": 1800,
        })
    );
    assert_eq!(sessions[2]["last_seen"], "2026-11-21T09:02:00Z");
    assert_eq!(sessions[2]["expires_in"], 1800 - 240);
    assert_eq!(listed(&mut bob).await.len(), 1);
    assert_eq!(listed(&mut odd).await[0]["browser"], "Unknown browser");
}

/// One of them can be ended by its tag; it learns that this came from elsewhere, and its tokens are
/// revoked.
#[tokio::test]
async fn a_user_ends_a_session_elsewhere() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut here = bff.browser();
    here.sign_in("alice").await;
    let mut there = bff.browser();
    there.sign_in("alice").await;
    let mut bob = bff.browser();
    bob.sign_in("bob").await;
    let (of_there, of_bob) = (tag(&mut there).await, tag(&mut bob).await);
    for wrong in ["?tag=nothing", "?tag=", &format!("?tag={of_bob}")] {
        let reply = end(&mut here, wrong).await;
        assert_eq!(refusal(&reply), "404 no_such_session", "{wrong}");
    }
    let query = format!("?tag={of_there}");
    let reply = end(&mut here, &query).await;
    assert_eq!(reply.status_and_text(), "204\n");
    assert_eq!(reply.header("set-cookie"), None);
    assert_eq!(
        refusal(&end(&mut here, &query).await),
        "404 no_such_session"
    );
    assert_eq!(there.session().await["ended"], "signed_out_elsewhere");
    assert_eq!(here.signed_in().await.as_deref(), Some("alice"));
    assert_eq!(bob.signed_in().await.as_deref(), Some("bob"));
    idp.asked_times(Endpoint::Revocation, 1).await;
}

/// The present one ends as by a logout without the provider.
#[tokio::test]
async fn a_user_ends_the_present_session() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut here = bff.browser();
    here.sign_in("alice").await;
    let old = here.jar.clone();
    let query = format!("?tag={}", tag(&mut here).await);
    assert_eq!(end(&mut here, &query).await.status, 204);
    assert!(here.jar.cookie(SESSION_COOKIE).is_none());
    here.jar = old;
    assert_eq!(here.session().await["ended"], "logout");
    assert_eq!(idp.count(Endpoint::EndSession), 0);
}

/// All others at once; a query that says something else is not taken for that.
#[tokio::test]
async fn a_user_ends_all_other_sessions() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browsers = Vec::new();
    for _ in 0..4 {
        let mut browser = bff.browser();
        browser.sign_in("alice").await;
        browsers.push(browser);
    }
    let mut bob = bff.browser();
    bob.sign_in("bob").await;
    let mut here = browsers.pop().unwrap();
    for query in ["?tga=x", "?all", "?tag=a&tag=b", "?tag=a&x=1"] {
        assert_eq!(refusal(&end(&mut here, query).await), "400 bad_request");
    }
    assert_eq!(listed(&mut here).await.len(), 4);
    let reply = end(&mut here, "").await;
    assert_eq!(reply.status_and_text(), "200\n{\"ended\":3}");
    for browser in &mut browsers {
        assert_eq!(browser.session().await["ended"], "signed_out_elsewhere");
    }
    assert_eq!(end(&mut here, "").await.json(), json!({ "ended": 0 }));
    assert_eq!(listed(&mut here).await.len(), 1);
    assert_eq!(bob.signed_in().await.as_deref(), Some("bob"));
}

/// H2: without the header, from elsewhere, and without a session, nothing is told and nothing ends.
#[tokio::test]
async fn the_list_needs_a_session_and_the_header() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut here = bff.browser();
    here.sign_in("alice").await;
    let mut there = bff.browser();
    there.sign_in("alice").await;
    for method in ["GET", "DELETE"] {
        let forged = here.fetch(Fetch::new(method, "/bff/sessions")).await;
        assert_eq!(refusal(&forged), "403 csrf", "{method}");
        here.stand_on("https://evil.example");
        let target = format!("{PUBLIC_URL}/bff/sessions");
        let foreign = Fetch::new(method, &target).csrf().credentials();
        let foreign = here.fetch(foreign).await;
        assert_eq!(refusal(&foreign), "403 origin_not_allowed", "{method}");
        here.stand_on(PUBLIC_URL);
        let mut stranger = bff.browser();
        stranger.stand_on(PUBLIC_URL);
        let reply = stranger.fetch(Fetch::new(method, "/bff/sessions").csrf());
        assert_eq!(refusal(&reply.await), "401 login_required", "{method}");
    }
    assert_eq!(listed(&mut here).await.len(), 2);
    let posted = here.fetch(Fetch::new("POST", "/bff/sessions").csrf()).await;
    assert_eq!(posted.header("allow"), Some("GET, DELETE"));
}

/// The list is bounded: the present one, then those used last, and how many there are. One user's 3,000
/// sessions took 40 ms and 468 KB.
#[tokio::test]
async fn a_list_shows_the_newest_hundred() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("session.store", "memory")
        .set("session.max_per_user", "none")
        .start();
    let mut first = bff.browser();
    first.sign_in("alice").await;
    bff.clock().advance(Duration::from_secs(1));
    let mut last = bff.browser();
    for _ in 0..120 {
        last = bff.browser();
        last.sign_in("alice").await;
    }
    // The first was used least lately of all, and heads its own list.
    for (browser, total) in [(&mut last, 121), (&mut first, 121)] {
        let reply = browser
            .fetch(Fetch::get("/bff/sessions?slide=false").csrf())
            .await;
        let (list, own) = (reply.json(), tag(browser).await);
        let shown = list["sessions"].as_array().unwrap();
        assert_eq!((shown.len(), &list["total"]), (100, &json!(total)));
        assert_eq!(shown[0]["tag"], own.as_str());
        assert_eq!(shown.iter().filter(|one| one["current"] == true).count(), 1);
    }
}

/// All others end at once, and the provider hears of their tokens a few at a time. It was asked 5,998
/// times at once.
#[tokio::test]
async fn revocations_are_spread() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("session.store", "memory")
        .start();
    let mut here = bff.browser();
    here.sign_in("alice").await;
    for _ in 0..40 {
        bff.browser().sign_in("alice").await;
    }
    let gate = idp.hold(Endpoint::Revocation);
    let reply = end(&mut here, "").await;
    assert_eq!(reply.json(), json!({ "ended": 40 }));
    assert_eq!(listed(&mut here).await.len(), 1);
    idp.asked_times(Endpoint::Revocation, 8).await;
    // Whoever could ask would have asked meanwhile.
    for _ in 0..20 {
        assert_eq!(here.signed_in().await.as_deref(), Some("alice"));
    }
    assert_eq!(idp.count(Endpoint::Revocation), 8);
    drop(gate);
    idp.asked_times(Endpoint::Revocation, 80).await;
}

/// 64 sessions a user by default: one more ends the oldest.
#[tokio::test]
async fn a_user_has_64_sessions_by_default() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start())
        .set("session.store", "memory")
        .start();
    let mut oldest = bff.browser();
    oldest.sign_in("alice").await;
    for at in 0..64 {
        bff.clock().advance(Duration::from_millis(10));
        assert_eq!(oldest.signed_in().await.as_deref(), Some("alice"), "{at}");
        bff.browser().sign_in("alice").await;
    }
    assert_eq!(oldest.session().await["ended"], "superseded");
}
