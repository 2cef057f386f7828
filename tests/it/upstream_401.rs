//! What becomes of an upstream that refuses the token (I13, K2).

use std::time::Duration;

use crate::support::bff::Bff;
use crate::support::call::{Call, signed_in};
use crate::support::clock::nine_o_clock;
use crate::support::faults::Fault;
use crate::support::idp::Idp;
use crate::support::upstream::{Answer, Upstream};

use bff::dev::provider::endpoints::Endpoint;

/// 401 to the first token that ever comes, and to the same again.
fn refuses_the_first_token(upstream: &Upstream) {
    let first = std::sync::OnceLock::new();
    upstream.answers(move |seen| {
        let token = seen.bearer().unwrap().to_owned();
        if *first.get_or_init(|| token.clone()) == token {
            Answer::text("the token was revoked")
                .with_status(401)
                .header("www-authenticate", "Bearer error=\"invalid_token\"")
        } else {
            Answer::text("welcome")
        }
    });
}

/// I13: one refresh, and one more try where the upstream cannot act twice: the method is idempotent
/// and there is no body. Any other call has the upstream's answer, and the next one the new token.
#[tokio::test]
async fn a_refused_token_is_replaced_once_where_that_is_safe() {
    for (name, call, status) in [
        ("GET", Call::get("/api"), 200),
        ("HEAD", Call::new("HEAD", "/api"), 200),
        ("DELETE", Call::new("DELETE", "/api"), 200),
        ("OPTIONS", Call::new("OPTIONS", "/api"), 200),
        ("PUT, no body", Call::new("PUT", "/api").body(""), 200),
        ("PUT, a body", Call::new("PUT", "/api").body("{}"), 401),
        (
            "DELETE, a body",
            Call::new("DELETE", "/api").body("{}"),
            401,
        ),
        ("POST, a body", Call::new("POST", "/api").body("{}"), 401),
        ("POST, no body", Call::new("POST", "/api").body(""), 401),
        ("PATCH", Call::new("PATCH", "/api").body("{}"), 401),
    ] {
        let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
        refuses_the_first_token(&upstream);
        let bff = Bff::with(&idp, &upstream).start();
        let alice = signed_in(&bff, "alice").await;
        let reply = call.of(&alice).send(bff.public_addr).await;
        assert_eq!(reply.status, status, "{name}");
        let tries = if status == 200 { 2 } else { 1 };
        assert_eq!(upstream.seen().len(), tries, "{name}");
        assert_eq!(idp.refreshes(), 1, "{name}");
        if status == 401 {
            let challenge = reply.header("www-authenticate");
            assert_eq!(challenge, Some("Bearer error=\"invalid_token\""), "{name}");
            assert_eq!(reply.text(), "the token was revoked", "{name}");
            let next = Call::get("/api").of(&alice).send(bff.public_addr).await;
            assert_eq!(next.status, 200, "{name}: with the new token");
        }
    }
}

/// I13, L4: whichever call meets a dead grant first tells its page that the session is over, and why.
/// One that may not be repeated had the upstream's own 401, and the session seemed to live on.
#[tokio::test]
async fn a_call_that_may_not_be_repeated_tells_of_the_end_too() {
    for (name, call) in [
        ("POST", Call::new("POST", "/api").body("{}")),
        ("PUT", Call::new("PUT", "/api").body("{}")),
        ("GET", Call::get("/api")),
    ] {
        let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
        refuses_the_first_token(&upstream);
        let bff = Bff::with(&idp, &upstream).start();
        let alice = signed_in(&bff, "alice").await;
        idp.misbehave(Fault::invalid_grant());
        let reply = call.of(&alice).send(bff.public_addr).await;
        assert_eq!(reply.status, 401, "{name}");
        assert_eq!(reply.json()["code"], "session_expired", "{name}");
        assert_eq!(reply.json()["ended"], "refresh_refused", "{name}");
        assert_eq!(upstream.seen().len(), 1, "{name}: sent once");
    }
}

/// I13, K2: a token that the upstream always refuses brings no storm of refreshes, and 403 none
/// at all; both answers pass, and the session lives.
#[tokio::test]
async fn an_upstream_that_is_never_pleased_brings_no_storm() {
    for (status, refreshes) in [(401, 1), (403, 0)] {
        let clock = nine_o_clock();
        let (idp, upstream) = (Idp::start(&clock), Upstream::start());
        upstream.answers(move |_| Answer::text("no").with_status(status));
        let bff = Bff::with(&idp, &upstream).start();
        let alice = signed_in(&bff, "alice").await;
        let call = Call::get("/api/orders").of(&alice);
        for _ in 0..20 {
            let reply = call.send(bff.public_addr).await;
            assert_eq!((reply.status, reply.text()), (status, "no".to_owned()));
            assert_eq!(reply.header("set-cookie"), None);
        }
        assert_eq!(idp.refreshes(), refreshes, "{status}");
        assert_eq!(upstream.seen().len(), 20 + refreshes, "{status}");
        clock.advance(Duration::from_secs(31));
        call.send(bff.public_addr).await;
        assert_eq!(idp.refreshes(), 2 * refreshes, "{status}: another in time");
    }
}

/// I13: where no other token is to be had, the upstream's own answer passes; where the grant is
/// dead, the session ends.
#[tokio::test]
async fn a_refused_token_without_a_successor_is_the_upstreams_answer() {
    for (name, fault, code) in [
        (
            "the provider is away",
            Fault::unavailable(Endpoint::Token),
            None,
        ),
        (
            "the grant is dead",
            Fault::invalid_grant(),
            Some("session_expired"),
        ),
    ] {
        let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
        refuses_the_first_token(&upstream);
        let bff = Bff::with(&idp, &upstream).start();
        let alice = signed_in(&bff, "alice").await;
        idp.misbehave(fault);
        let call = Call::get("/api/orders").of(&alice);
        let reply = call.send(bff.public_addr).await;
        assert_eq!(reply.status, 401, "{name}");
        match code {
            None => assert_eq!(reply.text(), "the token was revoked", "{name}"),
            Some(code) => assert_eq!(reply.json()["code"], code, "{name}"),
        }
        assert_eq!(upstream.seen().len(), 1, "{name}");
        let session = Call::get("/bff/session").of(&alice).send(bff.public_addr);
        let alive = session.await.json()["authenticated"] == true;
        assert_eq!(alive, code.is_none(), "{name}");
    }
}

/// I13: many calls that are refused at once share one refresh.
#[tokio::test]
async fn refused_calls_share_one_refresh() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    refuses_the_first_token(&upstream);
    let bff = Bff::with(&idp, &upstream)
        .set("provider.timeout", "60s")
        .start();
    let alice = signed_in(&bff, "alice").await;
    let call = Call::get("/api/orders").of(&alice);
    let gate = idp.hold(Endpoint::Token);
    let mut waiting = Vec::new();
    for _ in 0..20 {
        waiting.push(call.begin(bff.public_addr).await);
    }
    upstream.seen_times(20).await;
    idp.asked_times(Endpoint::Token, 2).await;
    drop(gate);
    let answers = waiting.iter_mut().map(|wire| call.answer_on(wire));
    for reply in futures_util::future::join_all(answers).await {
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert_eq!(idp.refreshes(), 1);
}

/// I13: without a session there is no token to replace.
#[tokio::test]
async fn a_refusal_of_an_anonymous_call_passes() {
    let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
    upstream.answers(|_| Answer::text("who are you?").with_status(401));
    let bff = Bff::with(&idp, &upstream)
        .route(toml::toml! { path = "/maybe" auth = "optional" }, &upstream)
        .start();
    let reply = Call::get("/maybe").send(bff.public_addr).await;
    assert_eq!(
        (reply.status, reply.text()),
        (401, "who are you?".to_owned())
    );
    assert_eq!(upstream.seen().len(), 1);
    assert_eq!(idp.count(Endpoint::Token), 0);
}
