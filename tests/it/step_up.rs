//! A second, stronger login that a call asks for, and the session that goes on in it (K1).

use bff::dev::provider::tamper::Stage;
use serde_json::{Value, json};
use url::Url;

use crate::support::bff::Bff;
use crate::support::browser::{Browser, EventSource, Fetch};
use crate::support::call::{home, signed_in};
use crate::support::clock::nine_o_clock;
use crate::support::faults::Fault;
use crate::support::idp::{Idp, PUBLIC_URL};
use crate::support::journey::{parameter, refusal};
use crate::support::upstream::{Answer, Seen, Upstream};
use crate::websocket::{closed_with, echo, says_back};

/// An API that wants a second factor: as it would say so, whatever the token.
fn wants_a_second_factor(seen: &Seen) -> Answer {
    if seen.target.ends_with("/orders") {
        return Answer::text("orders");
    }
    Answer::status(401).header(
        "WWW-Authenticate",
        "Bearer realm=\"x\", error=\"insufficient_user_authentication\", acr_values=\"mfa\", max_age=\"300\"",
    )
}

async fn call(browser: &mut Browser, path: &str) -> String {
    let reply = browser.fetch(Fetch::get(path).csrf()).await;
    if reply.status == 200 {
        return reply.text();
    }
    refusal(&reply)
}

/// The next event's name and data.
async fn said(stream: &mut EventSource) -> (String, Value) {
    loop {
        let text = stream.event().await.expect("the stream goes on");
        let field = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(&format!("{name}: ")))
        };
        if let (Some(name), Some(data)) = (field("event"), field("data")) {
            return (name.to_owned(), serde_json::from_str(data).unwrap());
        }
    }
}

/// K1: an API that asks for another login is answered by no refresh: the page gets the link that begins it,
/// and after it the call succeeds.
#[tokio::test]
async fn an_api_that_asks_for_a_second_factor_gets_it() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    upstream.answers(wants_a_second_factor);
    alice.stand_on(&format!("{PUBLIC_URL}/desk"));
    let reply = alice.fetch(Fetch::get("/api/pay").csrf()).await;
    assert_eq!(refusal(&reply), "401 step_up_required");
    assert_eq!(upstream.seen().len(), 1, "no second try");
    assert_eq!(idp.refreshes(), 0);
    let problem = reply.json();
    assert_eq!(problem["acr_values"], "mfa");
    assert_eq!(problem["max_age"], 300);
    assert_eq!(call(&mut alice, "/api/orders").await, "orders");

    let link = home().join(problem["login_url"].as_str().unwrap()).unwrap();
    let begun = alice.open(&format!("{link}&login_hint=alice")).await;
    let asked: Url = begun.location().unwrap();
    assert_eq!(parameter(&asked, "acr_values").as_deref(), Some("mfa"));
    assert_eq!(parameter(&asked, "max_age").as_deref(), Some("300"));
    let core = std::sync::Arc::clone(&idp.core);
    upstream.answers(move |seen| {
        let strong = core.introspect(seen.bearer().unwrap_or_default());
        Answer::text(if strong.is_some() { "paid" } else { "no" })
    });
    alice.visit(&format!("{link}&login_hint=alice")).await;
    alice.stand_on(&format!("{PUBLIC_URL}/desk"));
    assert_eq!(call(&mut alice, "/api/pay").await, "paid");
    let session = alice.session().await;
    assert_eq!(session["auth"]["acr"], "mfa", "{session}");
}

/// K1: other challenges, and those that only look like it, are refusals of the token as ever.
#[tokio::test]
async fn only_that_challenge_asks_for_a_login() {
    for challenge in [
        "Bearer error=\"invalid_token\"",
        "Basic error=\"insufficient_user_authentication\"",
        "Bearer realm=\"error=insufficient_user_authentication\"",
        "Bearer error=\"insufficient_scope\", acr_values=\"mfa\"",
    ] {
        let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
        let bff = Bff::with(&idp, &upstream).start();
        let mut alice = signed_in(&bff, "alice").await;
        upstream.answers(move |_| Answer::status(401).header("WWW-Authenticate", challenge));
        let reply = alice.fetch(Fetch::get("/api/pay").csrf()).await;
        assert_eq!(reply.status, 401, "{challenge}");
        assert!(!reply.text().contains("step_up"), "{challenge}");
        assert_eq!(idp.refreshes(), 1, "{challenge}");
    }
}

/// K1: of a token of ours an API can ask no login of the user.
#[tokio::test]
async fn a_token_of_our_own_asks_nobody_for_a_login() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .route(
            "path = '/ours'\ntoken = 'client'".parse().unwrap(),
            &upstream,
        )
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    upstream.answers(wants_a_second_factor);
    let reply = alice.fetch(Fetch::get("/ours/pay").csrf()).await;
    assert_eq!(reply.status, 401);
    assert!(!reply.text().contains("step_up"), "{}", reply.text());
    assert_eq!(upstream.seen().len(), 2, "once more with another token");
}

/// K2: a token that lacks a scope is refused with 403, which is the page's to read; no refresh mends it.
#[tokio::test]
async fn a_scope_that_lacks_is_the_upstreams_answer() {
    const CHALLENGE: &str = "Bearer error=\"insufficient_scope\", scope=\"orders\"";
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    upstream.answers(|_| Answer::status(403).header("WWW-Authenticate", CHALLENGE));
    let reply = alice.fetch(Fetch::get("/api/pay").csrf()).await;
    assert_eq!(reply.status, 403);
    assert_eq!(reply.header("www-authenticate"), Some(CHALLENGE));
    assert_eq!((idp.refreshes(), upstream.seen().len()), (0, 1));
}

/// K1, D13: a provider that answers with less is told to the user on one page, whose link leads to no login
/// of the same kind; the session that was there stays.
#[tokio::test]
async fn a_provider_that_answers_with_less_is_told_once() {
    for (query, weak) in [
        ("step_up=true&acr_values=gold%20mfa", "pwd"),
        ("step_up=true&acr_values=mfa", ""),
    ] {
        let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
        let bff = Bff::with(&idp, &upstream).start();
        let mut alice = signed_in(&bff, "alice").await;
        let before = alice.session_cookie();
        idp.misbehave(Fault::Set(Stage::IdTokenClaims, "acr", json!(weak)));
        let visit = alice
            .visit(&format!("{PUBLIC_URL}/bff/login?{query}&login_hint=alice"))
            .await;
        let page = visit.reply_of("/bff/callback");
        assert_eq!(refusal(page), "403 step_up_failed", "{query}");
        assert!(!page.text().contains("acr_values"), "{}", page.text());
        assert_eq!(alice.session_cookie(), before);
        assert!(call(&mut alice, "/api/orders").await.contains("orders"));
    }
}

/// D13: of a plain link the answer may be weaker, unless the operator says otherwise of all.
#[tokio::test]
async fn the_operator_may_hold_every_login_to_its_acr() {
    for essential in [false, true] {
        let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
        let mut bff = Bff::with(&idp, &upstream);
        if essential {
            bff = bff.set("provider.essential_acr", true);
        }
        let bff = bff.start();
        let mut alice = bff.browser();
        let link = format!("{PUBLIC_URL}/bff/login?acr_values=nonsense&login_hint=alice");
        let visit = alice.visit(&link).await;
        let page = visit.reply_of("/bff/callback");
        assert_eq!(page.status, if essential { 403 } else { 303 });
        assert_eq!(alice.session_cookie().is_some(), !essential);
    }
}

/// K1: who signs in once more stays in their session: a new id and cookie, the same tag; the streams and
/// sockets of other tabs go on, and the app hears `renewed`.
#[tokio::test]
async fn a_second_login_of_the_same_user_renews_the_session() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(echo);
    for limit in [64, 1] {
        let bff = Bff::with(&idp, &upstream)
            .set("session.max_per_user", limit)
            .start();
        let mut alice = signed_in(&bff, "alice").await;
        alice.stand_on(PUBLIC_URL);
        let (before, cookie) = (alice.session().await, alice.session_cookie().unwrap());
        let old = alice.jar.clone();
        let mut stream = alice.event_source("/bff/session/events").await;
        assert_eq!(said(&mut stream).await.0, "signed_in");
        let mut socket = alice.web_socket("/api/socket").await.unwrap();

        alice.sign_in("alice").await;
        let (name, data) = said(&mut stream).await;
        assert_eq!(name, "renewed", "{data}");
        assert_eq!(data["tag"], before["session"]["tag"]);
        says_back(&mut socket, "still here").await;
        let after = alice.session().await;
        assert_eq!(after["session"]["tag"], before["session"]["tag"]);
        assert_eq!(after["logout_url"], before["logout_url"]);
        assert_ne!(alice.session_cookie().unwrap(), cookie);

        // The old id is dead.
        let mut stale = bff.browser();
        stale.jar = old;
        stale.stand_on(PUBLIC_URL);
        let reply = stale.fetch(Fetch::get("/api/x").csrf()).await;
        assert_eq!(refusal(&reply), "401 session_superseded");

        // And the streams end with the new session.
        alice.stand_on(PUBLIC_URL);
        alice.fetch(Fetch::new("POST", "/bff/logout").csrf()).await;
        let ended = ("ended".to_owned(), json!({ "reason": "logout" }));
        assert_eq!(said(&mut stream).await, ended);
        assert_eq!(closed_with(&mut socket).await, Some(1008));
    }
}
