//! Token refresh as callers and the provider see it (section L).

use std::time::Duration;

use bff::dev::provider::endpoints::Endpoint;
use bff::dev::provider::tamper::Stage;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::bff::Bff;
use crate::support::browser::Fetch;
use crate::support::call::{Call, signed_in};
use crate::support::clock::{nine_o_clock, soon};
use crate::support::faults::Fault;
use crate::support::idp::{CLIENT_ID, Idp, PUBLIC_URL};
use crate::support::journey::{parameter, refusal};
use crate::support::upstream::{Answer, Seen, Upstream};
use crate::websocket::{closed_with, echo};

/// A second after the access tokens of nine o'clock have expired.
const EXPIRED: Duration = Duration::from_secs(301);

/// After the refresh is due, and long before the token expires.
const DUE: Duration = Duration::from_secs(255);

/// The refresh tokens that the provider was shown, in order.
fn presented(idp: &Idp) -> Vec<String> {
    idp.asked(Endpoint::Token)
        .iter()
        .filter_map(|asked| asked.form.value("refresh_token").map(str::to_owned))
        .collect()
}

/// The tokens of one kind that the provider gave out, in order.
fn issued(idp: &Idp, kind: &str) -> Vec<String> {
    idp.issued_secrets()
        .into_iter()
        .filter(|(known, _)| *known == kind)
        .map(|(_, secret)| secret)
        .collect()
}

fn bearers(seen: &[Seen]) -> Vec<String> {
    seen.iter()
        .map(|seen| seen.bearer().unwrap().to_owned())
        .collect()
}

/// L2: two hundred calls on an expired token, a slow provider, refresh tokens that are good once,
/// and the first caller leaving meanwhile: one refresh, and everybody is answered with its token.
#[tokio::test]
async fn a_storm_of_calls_brings_one_refresh() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .set("provider.timeout", "60s")
        .start();
    let alice = signed_in(&bff, "alice").await;
    let call = Call::get("/api/orders").of(&alice);

    for storm in 1..=2 {
        clock.advance(EXPIRED);
        let before = upstream.seen().len();
        let gate = idp.hold(Endpoint::Token);
        let first = call.begin(bff.public_addr).await;
        idp.asked_times(Endpoint::Token, 1 + storm).await;
        drop(first);
        let mut waiting = Vec::new();
        for _ in 0..200 {
            waiting.push(call.begin(bff.public_addr).await);
        }
        // Whatever was sent before this has been read once this is answered.
        let settled = Call::get("/bff/session?slide=false").of(&alice);
        assert_eq!(settled.send(bff.public_addr).await.status, 200);
        assert_eq!(upstream.seen().len(), before, "nobody goes with the old");
        drop(gate);

        let replies = join_all(waiting.iter_mut().map(|wire| call.answer_on(wire))).await;
        for reply in replies {
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        assert_eq!(idp.refreshes(), storm, "storm {storm}");
        let newest = issued(&idp, "access token").pop().unwrap();
        let seen = &upstream.seen()[before..];
        assert!(seen.len() >= 200);
        assert!(bearers(seen).iter().all(|bearer| *bearer == newest));
    }
}

/// I14: sixty-four people at once, all with an expired token: each call carries the token of who
/// makes it.
#[tokio::test]
async fn nobody_is_served_with_another_persons_token() {
    const PEOPLE: usize = 64;
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::with_crowd(&clock, PEOPLE), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .set("provider.timeout", "60s")
        .start();
    let mut calls = Vec::new();
    for person in 0..PEOPLE {
        let browser = signed_in(&bff, &format!("user-{person}")).await;
        calls.push(Call::get(&format!("/api/of/user-{person}")).of(&browser));
    }
    clock.advance(EXPIRED);
    let gate = idp.hold(Endpoint::Token);
    let mut waiting = Vec::new();
    for _ in 0..4 {
        for call in &calls {
            waiting.push((call, call.begin(bff.public_addr).await));
        }
    }
    idp.asked_times(Endpoint::Token, 2 * PEOPLE).await;
    drop(gate);
    let replies = waiting.iter_mut().map(|(call, wire)| call.answer_on(wire));
    for reply in join_all(replies).await {
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert_eq!(idp.refreshes(), PEOPLE);
    let seen = upstream.seen();
    assert_eq!(seen.len(), 4 * PEOPLE);
    for seen in seen {
        let token = idp.core.introspect(seen.bearer().unwrap()).unwrap();
        assert_eq!(seen.target, format!("/api/of/{}", token.sub));
    }
}

/// L1: a due refresh goes on beside the call while the token is still good for a while.
#[tokio::test]
async fn a_due_refresh_holds_nobody_up() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    let call = Call::get("/api/orders").of(&alice);
    clock.advance(Duration::from_secs(200));
    assert_eq!(call.send(bff.public_addr).await.status, 200);
    assert_eq!(idp.refreshes(), 0, "not due yet");

    clock.advance(DUE - Duration::from_secs(200));
    let gate = idp.hold(Endpoint::Token);
    assert_eq!(call.send(bff.public_addr).await.status, 200);
    idp.asked_times(Endpoint::Token, 2).await;
    drop(gate);
    let first = issued(&idp, "access token").remove(0);
    assert_eq!(bearers(&upstream.seen()), vec![first.clone(), first]);
}

/// L1: a token of unknown lifetime is used until an upstream refuses it.
#[tokio::test]
async fn a_token_of_unknown_lifetime_is_used_until_it_is_refused() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    idp.misbehave(Fault::no_token("expires_in"));
    let bff = Bff::with(&idp, &upstream)
        .set("session.idle_timeout", "8h")
        .start();
    let alice = signed_in(&bff, "alice").await;
    let call = Call::get("/api/orders").of(&alice);
    clock.advance(Duration::from_hours(3));
    assert_eq!(call.send(bff.public_addr).await.status, 200);
    assert_eq!(idp.refreshes(), 0);

    let first = issued(&idp, "access token").remove(0);
    upstream.answers(move |seen| match seen.bearer() {
        Some(bearer) if bearer == first => Answer::status(401),
        _ => Answer::text("welcome"),
    });
    assert_eq!(call.send(bff.public_addr).await.text(), "welcome");
    assert_eq!(idp.refreshes(), 1);
}

/// L3: every refresh shows the refresh token that came last, each once.
#[tokio::test]
async fn each_refresh_token_is_used_once() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    for _ in 0..3 {
        clock.advance(EXPIRED);
        let reply = Call::get("/api/orders").of(&alice).send(bff.public_addr);
        assert_eq!(reply.await.status, 200);
    }
    assert_eq!(presented(&idp), issued(&idp, "refresh token")[..3]);
    assert_eq!(bearers(&upstream.seen()), issued(&idp, "access token")[1..]);
}

/// L3: where no new refresh token comes, the old one is kept.
#[tokio::test]
async fn a_refresh_token_without_a_successor_is_kept() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    let answer = json!({ "access_token": "at-of-a-provider-that-does-not-rotate",
        "token_type": "Bearer", "expires_in": 300 });
    idp.misbehave(Fault::Answer(
        Endpoint::Token,
        200,
        "application/json",
        answer.to_string().into_bytes(),
    ));
    for _ in 0..2 {
        clock.advance(EXPIRED);
        let reply = Call::get("/api/orders").of(&alice).send(bff.public_addr);
        assert_eq!(reply.await.status, 200);
    }
    let only = issued(&idp, "refresh token").remove(0);
    assert_eq!(presented(&idp), vec![only.clone(), only]);
}

/// L4: a dead grant ends the session: 401, the cookie taken back, its sockets closed, and the
/// provider asked once.
#[tokio::test]
async fn a_dead_grant_ends_the_session() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    upstream.answers(echo);
    let bff = Bff::with(&idp, &upstream).start();
    let mut alice = signed_in(&bff, "alice").await;
    let mut socket = alice.web_socket("/api/socket").await.unwrap();
    clock.advance(EXPIRED);
    idp.misbehave(Fault::invalid_grant());

    let call = Call::get("/api/orders").of(&alice);
    let gate = idp.hold(Endpoint::Token);
    let mut waiting = Vec::new();
    for _ in 0..20 {
        waiting.push(call.begin(bff.public_addr).await);
    }
    idp.asked_times(Endpoint::Token, 2).await;
    drop(gate);
    for reply in join_all(waiting.iter_mut().map(|wire| call.answer_on(wire))).await {
        assert_eq!(reply.status, 401, "{}", reply.text());
        assert_eq!(reply.json()["code"], "session_expired");
        assert_eq!(reply.json()["ended"], "refresh_refused");
        let deleted = reply.header("set-cookie").unwrap();
        assert!(deleted.contains("Max-Age=0"), "{deleted}");
    }
    assert_eq!(closed_with(&mut socket).await, Some(1008));
    assert_eq!(upstream.web_sockets_closed(1).await, [Some(1008)]);
    assert_eq!(idp.refreshes(), 1, "no storm of retries");

    // Nor is the provider asked again by whoever still has the cookie.
    let reply = call.send(bff.public_addr).await;
    assert_eq!(reply.json()["code"], "session_expired");
    assert_eq!(idp.refreshes(), 1);
    let session = alice.fetch(Fetch::get("/bff/session").csrf()).await.json();
    assert_eq!(session["authenticated"], false);
    assert_eq!(upstream.seen().len(), 1, "the socket alone went upstream");
}

/// L4, B10: a page whose session turns out dead at the refresh is like any other that nobody is signed
/// in for: the login begins, or the page is shown to nobody in particular. It was a 401. And the first
/// answer that says so says why, as does what is asked next with the same cookie.
#[tokio::test]
async fn a_session_that_dies_at_the_refresh_is_as_if_it_had_been_over() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .route(
            toml::toml! { path = "/reports"  csrf = "origin" },
            &upstream,
        )
        .route(
            toml::toml! { path = "/both"  auth = "optional"  csrf = "origin" },
            &upstream,
        )
        .start();
    let dead = async || {
        idp.behave();
        let alice = signed_in(&bff, "alice").await;
        clock.advance(EXPIRED);
        idp.misbehave(Fault::invalid_grant());
        alice
    };
    let mut alice = dead().await;
    let visit = alice.click(&format!("{PUBLIC_URL}/reports/7?full=1")).await;
    let begun = visit.reply_of("/reports/7");
    assert_eq!(begun.status, 303, "{}", begun.text());
    assert!(
        begun
            .location()
            .unwrap()
            .as_str()
            .starts_with(&idp.url("/authorize?"))
    );
    assert!(upstream.seen().is_empty());

    let mut alice = dead().await;
    let visit = alice.click(&format!("{PUBLIC_URL}/both/7")).await;
    assert_eq!(visit.last().status, 200);
    assert_eq!(upstream.the_one().bearer(), None);
    assert_eq!(alice.session().await["ended"], "refresh_refused");

    let alice = dead().await;
    let problem = Call::get("/api/orders").of(&alice).send(bff.public_addr);
    let problem = problem.await.json();
    assert_eq!(problem["code"], "session_expired");
    assert_eq!(problem["ended"], "refresh_refused");
    let session = Call::get("/bff/session").of(&alice).send(bff.public_addr);
    assert_eq!(session.await.json()["ended"], "refresh_refused");
}

/// L5: a provider that cannot help costs nobody the session: calls go on while the token lives,
/// then they are told to come again, and within five seconds of its return all is well.
#[tokio::test]
async fn an_outage_of_the_provider_heals_by_itself() {
    let unhelpful = |status, body: &str| {
        Fault::Answer(
            Endpoint::Token,
            status,
            "text/html",
            body.as_bytes().to_vec(),
        )
    };
    for (name, fault) in [
        ("500", unhelpful(500, "oops")),
        ("503", Fault::unavailable(Endpoint::Token)),
        ("429", unhelpful(429, "later")),
        ("200 and no JSON", unhelpful(200, "<html>")),
        ("hangs up", Fault::DropUnheard(Endpoint::Token)),
        (
            "a redirect",
            Fault::Redirect(Endpoint::Token, "/elsewhere".to_owned()),
        ),
        (
            "invalid_client",
            Fault::Error(Endpoint::Token, 401, "invalid_client"),
        ),
        (
            "no access token",
            unhelpful(200, r#"{"token_type":"Bearer"}"#),
        ),
    ] {
        let clock = nine_o_clock();
        let (idp, upstream) = (Idp::start(&clock), Upstream::start());
        let bff = Bff::with(&idp, &upstream)
            .set("provider.timeout", "250ms")
            .start();
        let alice = signed_in(&bff, "alice").await;
        let call = Call::get("/api/orders").of(&alice);
        idp.misbehave(fault);

        clock.advance(Duration::from_secs(285));
        assert_eq!(
            call.send(bff.public_addr).await.status,
            200,
            "{name}: alive"
        );
        clock.advance(EXPIRED - Duration::from_secs(285));
        let reply = call.send(bff.public_addr).await;
        assert_eq!(reply.status, 503, "{name}: {}", reply.text());
        assert_eq!(reply.json()["code"], "provider_unavailable", "{name}");
        let retry_after: u64 = reply.header("retry-after").unwrap().parse().unwrap();
        assert!(retry_after <= 5, "{name}: {retry_after}");
        assert_eq!(reply.header("set-cookie"), None, "{name}: the cookie stays");

        // Nobody hammers it meanwhile.
        let asked = idp.count(Endpoint::Token);
        for _ in 0..10 {
            assert_eq!(call.send(bff.public_addr).await.status, 503, "{name}");
        }
        assert_eq!(idp.count(Endpoint::Token), asked, "{name}");
        let session = Call::get("/bff/session").of(&alice).send(bff.public_addr);
        assert_eq!(session.await.json()["authenticated"], true, "{name}");

        idp.behave();
        clock.advance(Duration::from_secs(5));
        let reply = call.send(bff.public_addr).await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
    }
}

/// L2, L5: a provider that swallows a refresh holds no call up for longer than `provider.timeout`,
/// while the refresh goes on and serves whoever comes after it. Calls hung for eight deadlines.
#[tokio::test]
async fn calls_do_not_wait_for_a_refresh_without_end() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .set("provider.timeout", "1s")
        .start();
    let alice = signed_in(&bff, "alice").await;
    let call = Call::get("/api/orders").of(&alice);

    clock.advance(Duration::from_secs(295));
    let gate = idp.hold(Endpoint::Token);
    let reply = call.send(bff.public_addr).await;
    assert_eq!(reply.status, 200, "on with the old token while it lives");
    clock.advance(EXPIRED - Duration::from_secs(295));
    let reply = call.send(bff.public_addr).await;
    assert_eq!(refusal(&reply), "503 provider_unavailable");
    assert_eq!(reply.header("retry-after"), Some("5"));
    assert_eq!(reply.header("set-cookie"), None, "the cookie stays");
    let id = reply.header("x-request-id").unwrap();
    let lines = bff.logs().lines_with(id).join("\n");
    assert!(lines.contains("longer than a call waits"), "{lines}");
    assert_eq!(idp.refreshes(), 1, "it goes on");

    drop(gate);
    soon("the end of the refresh", async {
        while call.send(bff.public_addr).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let newest = issued(&idp, "access token").pop().unwrap();
    assert_eq!(upstream.last().bearer(), Some(newest.as_str()));
    assert_eq!(idp.count(Endpoint::Token), 2, "one refresh served them all");
}

/// L4: "sign in again" is an end like a dead grant, and no outage. It was a 503 for as long as the
/// session could live, while `/bff/session` said that the user was signed in.
#[tokio::test]
async fn a_provider_that_wants_the_user_ends_the_session() {
    for code in [
        "interaction_required",
        "login_required",
        "consent_required",
        "account_selection_required",
    ] {
        let clock = nine_o_clock();
        let (idp, upstream) = (Idp::start(&clock), Upstream::start());
        let bff = Bff::with(&idp, &upstream).start();
        let alice = signed_in(&bff, "alice").await;
        clock.advance(EXPIRED);
        idp.misbehave(Fault::Error(Endpoint::Token, 400, code));
        let reply = Call::get("/api/orders").of(&alice).send(bff.public_addr);
        let reply = reply.await;
        assert_eq!(refusal(&reply), "401 session_expired", "{code}");
        assert_eq!(reply.json()["ended"], "refresh_refused", "{code}");
        assert_eq!(idp.refreshes(), 1, "{code}");
        let session = Call::get("/bff/session").of(&alice).send(bff.public_addr);
        assert_eq!(session.await.json()["authenticated"], false, "{code}");
        let metric = format!("outcome=\"refused\",cause=\"{code}\"");
        assert!(bff.metrics().unwrap().contains(&metric), "{code}");
    }
}

/// L4, L5, A8, N4: what says nothing of the grant ends nothing. The log, by the id that the page
/// shows, and the metric tell one from the other; the browser is told no cause; `/readyz` stays as it
/// is. "Cannot be reached" was said of a rotated client secret.
#[tokio::test]
async fn a_refusal_that_is_no_end_is_told_apart() {
    let token = Endpoint::Token;
    for (fault, cause, said) in [
        (
            Fault::Error(token, 401, "invalid_client"),
            "invalid_client",
            "status 401, invalid_client",
        ),
        (
            Fault::Error(token, 401, "unauthorized_client"),
            "unauthorized_client",
            "status 401, unauthorized_client",
        ),
        (
            Fault::Error(token, 400, "invalid_request"),
            "invalid_request",
            "status 400, invalid_request",
        ),
        (
            Fault::Error(token, 400, "temporarily_unavailable"),
            "temporarily_unavailable",
            "status 400, temporarily_unavailable",
        ),
        (
            Fault::Error(token, 400, "slow_down"),
            "slow_down",
            "status 400, slow_down",
        ),
        (
            Fault::Error(token, 429, "canary_of_a_word"),
            "too_many_requests",
            "status 429",
        ),
        (
            Fault::Error(token, 500, "invalid_grant"),
            "server_error",
            "status 500",
        ),
        (
            Fault::Error(token, 400, "canary_of_a_word"),
            "refused",
            "status 400",
        ),
    ] {
        let clock = nine_o_clock();
        let (idp, upstream) = (Idp::start(&clock), Upstream::start());
        let bff = Bff::with(&idp, &upstream)
            .route(
                toml::toml! { path = "/page"
                csrf = "origin" },
                &upstream,
            )
            .start();
        let mut alice = signed_in(&bff, "alice").await;
        clock.advance(EXPIRED);
        idp.misbehave(fault);
        let reply = alice.fetch(Fetch::get("/api/orders").csrf()).await;
        assert_eq!(refusal(&reply), "503 provider_unavailable", "{cause}");
        let page = alice.open(&format!("{PUBLIC_URL}/page")).await;
        assert_eq!(page.status, 503, "{cause}");
        let id = page.header("x-request-id").unwrap();
        assert!(page.text().contains(id), "{cause}");
        for answer in [reply.text(), page.text()] {
            let names_no_cause = !answer.contains("reached") && !answer.contains(cause);
            assert!(names_no_cause, "{cause}: {answer}");
        }
        let lines = bff.logs().lines_with(id).join("\n");
        assert!(lines.contains(&format!("now: {cause}")), "{lines}");
        assert!(!lines.contains("\"level\":\"DEBUG\""), "{lines}");
        for level in ["INFO", "WARN"] {
            let level = format!("\"level\":\"{level}\"");
            let lines = bff.logs().lines_with(said);
            assert!(lines.iter().any(|line| line.contains(&level)), "{said}");
        }
        let log = bff.logs().text();
        assert!(!log.contains("canary_of_a_word") && !log.contains("as the test asked"));
        let metric = format!("outcome=\"unavailable\",cause=\"{cause}\"");
        assert!(bff.metrics().unwrap().contains(&metric), "{cause}");
        bff.ready().await;
    }
}

/// L4: a session of a client that is not configured any more is neither refreshed nor ended, nor is its ID
/// token shown to the provider that is: refresh tokens went to whichever client was there. It heals when
/// its client is back.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_session_is_refreshed_at_its_own_client_alone() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    let dir = tempfile::TempDir::new().unwrap();
    let store = format!("sqlite://{}", dir.path().join("sessions.db").display());
    let key = bff::secret::random_base64url::<32>(&bff::clock::SystemRandomness);
    let start = |client_id: &str| {
        Bff::with(&idp, &upstream)
            .set("session.store", "sqlite")
            .set("session.store_url", store.as_str())
            .set("session.keys", vec!["env:BFF_SESSION_KEY"])
            .variable("BFF_SESSION_KEY", &key)
            .set("provider.client_id", client_id)
            .start()
    };
    let before = start(CLIENT_ID);
    let mut alice = before.browser();
    alice.sign_in("alice").await;
    let mut bob = before.browser();
    bob.sign_in("bob").await;
    drop(before);

    let gone = start("another");
    for browser in [&mut alice, &mut bob] {
        browser.resolve(PUBLIC_URL, gone.public_addr);
    }
    clock.advance(DUE);
    let call = || Fetch::get("/api/orders").csrf();
    assert_eq!(
        alice.fetch(call()).await.status,
        200,
        "while the token lives"
    );
    clock.advance(Duration::from_mins(1));
    let reply = alice.fetch(call()).await;
    assert_eq!(refusal(&reply), "401 token_unrefreshable");
    assert_eq!(alice.signed_in().await.as_deref(), Some("alice"));
    let silent = alice.begin_login("prompt=none").await.location().unwrap();
    assert_eq!(parameter(&silent, "id_token_hint"), None);
    let link = bob.session().await["logout_url"].clone();
    bob.click(link.as_str().unwrap()).await;
    assert_eq!(bob.signed_in().await, None);
    assert_eq!(idp.count(Endpoint::EndSession), 0, "it ended here alone");
    assert_eq!(idp.count(Endpoint::Revocation), 0);
    assert_eq!(idp.refreshes(), 0);
    assert!(!gone.logs().lines_with("refresh.client_gone").is_empty());
    drop(gone);

    let back = start(CLIENT_ID);
    alice.resolve(PUBLIC_URL, back.public_addr);
    assert_eq!(alice.fetch(call()).await.status, 200);
    assert_eq!(idp.refreshes(), 1);
}

/// L4: where the refusal lasts, and a login may get past it, the app is told so by a code of its own;
/// the session stays and heals. Not where a login would fail as well.
#[tokio::test]
async fn a_token_that_stays_unrefreshable_asks_for_a_login() {
    let token = Endpoint::Token;
    let plain = |status| Fault::Answer(token, status, "text/plain", b"later".to_vec());
    let (login, wait) = ("401 token_unrefreshable", "503 provider_unavailable");
    for (name, fault, expected) in [
        (
            "401 unauthorized_client",
            Fault::Error(token, 401, "unauthorized_client"),
            login,
        ),
        (
            "400 invalid_request",
            Fault::Error(token, 400, "invalid_request"),
            login,
        ),
        (
            "invalid_client",
            Fault::Error(token, 401, "invalid_client"),
            wait,
        ),
        ("429", plain(429), wait),
        ("500", plain(500), wait),
        ("a page of a proxy", plain(403), wait),
        ("away", Fault::DropUnheard(token), wait),
    ] {
        let clock = nine_o_clock();
        let (idp, upstream) = (Idp::start(&clock), Upstream::start());
        let bff = Bff::with(&idp, &upstream).start();
        let alice = signed_in(&bff, "alice").await;
        let call = Call::get("/api/orders").of(&alice);
        idp.misbehave(fault);
        // A second before the five minutes are over.
        clock.advance(Duration::from_secs(300 + 299));
        let reply = call.send(bff.public_addr).await;
        assert_eq!(refusal(&reply), wait, "{name}: at first");
        clock.advance(Duration::from_secs(6));
        let reply = call.send(bff.public_addr).await;
        assert_eq!(refusal(&reply), expected, "{name}");
        assert_eq!(reply.json()["login_url"], "/bff/login", "{name}");
        assert_eq!(reply.header("set-cookie"), None, "{name}: the cookie stays");
        assert!(upstream.seen().is_empty(), "{name}");

        idp.behave();
        clock.advance(Duration::from_secs(5));
        let reply = call.send(bff.public_addr).await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
    }
}

/// L6: where nobody can tell whether the request arrived, the same refresh token is shown once
/// more; then what the provider says holds.
#[tokio::test]
async fn an_ambiguous_refresh_is_tried_once_more() {
    for (name, fault, status) in [
        ("unheard", Fault::DropUnheard(Endpoint::Token), 200),
        ("carried out", Fault::DropAfterwards(Endpoint::Token), 401),
    ] {
        let clock = nine_o_clock();
        let (idp, upstream) = (Idp::start(&clock), Upstream::start());
        let bff = Bff::with(&idp, &upstream).start();
        let alice = signed_in(&bff, "alice").await;
        clock.advance(EXPIRED);
        idp.misbehave_once(fault);
        let reply = Call::get("/api/orders").of(&alice).send(bff.public_addr);
        let reply = reply.await;
        assert_eq!(reply.status, status, "{name}: {}", reply.text());
        let first = issued(&idp, "refresh token").remove(0);
        assert_eq!(presented(&idp), vec![first.clone(), first], "{name}");
    }
}

/// L7: a refresh that claims a wider scope is no fault of the session, and says nothing that the
/// browser sees; what is kept is cut in `src/oidc`.
#[tokio::test]
async fn a_wider_scope_gets_nobody_further() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    let session = Call::get("/bff/session").of(&alice);
    let facts = |mut session: serde_json::Value| {
        session.as_object_mut().unwrap().remove("session");
        session.as_object_mut().unwrap().remove("token");
        session
    };
    let before = facts(session.send(bff.public_addr).await.json());
    idp.misbehave(Fault::Set(
        Stage::RefreshResponse,
        "scope",
        json!("openid profile email offline_access admin"),
    ));
    clock.advance(EXPIRED);
    let call = Call::get("/api/orders").of(&alice);
    assert_eq!(call.send(bff.public_addr).await.status, 200);
    assert_eq!(facts(session.send(bff.public_addr).await.json()), before);
    clock.advance(EXPIRED);
    assert_eq!(call.send(bff.public_addr).await.status, 200);
    let forms = idp.asked(Endpoint::Token);
    let asked = forms
        .last()
        .unwrap()
        .form
        .value("scope")
        .unwrap_or_default();
    assert!(!asked.contains("admin"), "{asked}");
}

/// L8: a logout during a refresh wins: the call is refused, what the refresh brought is revoked,
/// and the session stays ended.
#[tokio::test]
async fn a_logout_during_a_refresh_wins() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    let bff = Bff::with(&idp, &upstream)
        .set("provider.timeout", "60s")
        .start();
    let mut alice = signed_in(&bff, "alice").await;
    clock.advance(EXPIRED);
    let gate = idp.hold(Endpoint::Token);
    let call = Call::get("/api/orders").of(&alice);
    let mut waiting = call.begin(bff.public_addr).await;
    idp.asked_times(Endpoint::Token, 2).await;
    let logout = alice.fetch(Fetch::new("POST", "/bff/logout").csrf()).await;
    assert_eq!(logout.status, 200);
    drop(gate);

    let reply = call.answer_on(&mut waiting).await;
    assert_eq!(reply.status, 401, "{}", reply.text());
    assert_eq!(call.send(bff.public_addr).await.status, 401);
    assert!(upstream.seen().is_empty());
    let newest = issued(&idp, "refresh token").pop().unwrap();
    let revoked = || {
        let asked = idp.asked(Endpoint::Revocation);
        let tokens = asked.iter().filter_map(|asked| asked.form.value("token"));
        tokens.map(str::to_owned).collect::<Vec<_>>()
    };
    soon("the revocation of the new refresh token", async {
        let mut count = 1;
        while !revoked().contains(&newest) {
            idp.asked_times(Endpoint::Revocation, count).await;
            count = idp.count(Endpoint::Revocation) + 1;
        }
    })
    .await;
}

/// L9: an access token is opaque: what it says of its own end counts for nothing beside
/// `expires_in`.
#[tokio::test]
async fn an_access_tokens_own_expiry_is_not_read() {
    // {"alg":"none"}.{"exp":1}, and a signature of sorts.
    const LONG_EXPIRED: &str = "eyJhbGciOiJub25lIn0.eyJleHAiOjF9.c2lnbmF0dXJl";
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    idp.misbehave_once(Fault::token("access_token", LONG_EXPIRED));
    idp.misbehave_once(Fault::no_claim("at_hash"));
    let bff = Bff::with(&idp, &upstream).start();
    let alice = signed_in(&bff, "alice").await;
    let call = Call::get("/api/orders").of(&alice);
    assert_eq!(call.send(bff.public_addr).await.status, 200);
    assert_eq!(upstream.the_one().bearer(), Some(LONG_EXPIRED));
    assert_eq!(idp.refreshes(), 0);
    clock.advance(EXPIRED);
    assert_eq!(call.send(bff.public_addr).await.status, 200);
    assert_ne!(upstream.last().bearer(), Some(LONG_EXPIRED));
    assert_eq!(idp.refreshes(), 1);
}
