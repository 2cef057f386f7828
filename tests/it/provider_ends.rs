//! Ends that the provider sets: of the refresh token, and of the user's session there (G9, L4).

use std::time::Duration;

use bff::clock::Clock as _;
use bff::dev::provider::tamper::Stage;
use serde_json::{Value, json};

use crate::support::bff::Bff;
use crate::support::browser::Browser;
use crate::support::call::{Call, signed_in};
use crate::support::clock::nine_o_clock;
use crate::support::faults::Fault;
use crate::support::idp::Idp;
use crate::support::journey::refusal;
use crate::support::upstream::Upstream;

/// A second after an access token has expired.
const EXPIRED: Duration = Duration::from_secs(301);

/// `session.max_lifetime` of these stories, in seconds.
const LONGEST: u64 = 4 * 3600;

fn start<'a>(idp: &'a Idp, upstream: &Upstream) -> Bff<'a> {
    Bff::with(idp, upstream)
        .set("session.max_lifetime", "4h")
        .set("session.idle_timeout", "4h")
        .start()
}

/// Seconds until the session ends, however active, as the page is told.
async fn ends_in(bff: &Bff<'_>, browser: &Browser) -> u64 {
    let call = Call::get("/bff/session?slide=false").of(browser);
    let facts = call.send(bff.public_addr).await.json();
    facts["session"]["ends_in"].as_u64().unwrap()
}

async fn told(bff: &Bff<'_>, browser: &Browser) -> String {
    let reply = Call::get("/api/orders")
        .of(browser)
        .send(bff.public_addr)
        .await;
    match reply.status {
        200 => "200".to_owned(),
        _ => format!("{} {}", refusal(&reply), reply.json()["ended"]),
    }
}

/// DESIGN §8: what the provider says of its refresh token's end bounds the session, which ends by it as one that
/// was used up: it seemed to live on, and the next call met a dead grant.
#[tokio::test]
async fn a_refresh_token_that_ends_ends_the_session() {
    let nine = nine_o_clock().now().unix_seconds();
    for (name, value) in [
        ("refresh_token_expires_in", json!(600)),
        ("refresh_expires_in", json!("600")),
        ("x_refresh_token_expires_in", json!(600)),
        ("refresh_token_timeout", json!(600)),
        ("authorization_expires_in", json!(600)),
        ("refresh_token_expires_at", json!(nine + 600)),
    ] {
        let clock = nine_o_clock();
        let (idp, upstream) = (Idp::start(&clock), Upstream::start());
        idp.misbehave(Fault::token(name, value));
        let bff = start(&idp, &upstream);
        let alice = signed_in(&bff, "alice").await;
        assert_eq!(ends_in(&bff, &alice).await, 600, "{name}");
        clock.advance(Duration::from_secs(599));
        assert_eq!(ends_in(&bff, &alice).await, 1, "{name}");
        clock.advance(Duration::from_secs(1));
        let expected = "401 session_expired \"expired\"";
        assert_eq!(told(&bff, &alice).await, expected, "{name}");
        assert_eq!(idp.refreshes(), 0, "{name}");
    }
}

/// DESIGN §8: each refresh that says something of it puts the end where it says; one that brings another refresh
/// token and says nothing leaves it open.
#[tokio::test]
async fn a_refresh_moves_the_end_of_the_grant() {
    let clock = nine_o_clock();
    let (idp, upstream) = (Idp::start(&clock), Upstream::start());
    let says = |stage, value: Value| Fault::Set(stage, "refresh_expires_in", value);
    idp.misbehave(says(Stage::TokenResponse, json!(1800)));
    let bff = start(&idp, &upstream);
    let alice = signed_in(&bff, "alice").await;
    let mut passed = 0;
    for (value, expected) in [
        (Some(json!(1800)), Some(1800)),
        (Some(json!(900)), Some(900)),
        (Some(json!(0)), None),
        (Some(json!(3600)), Some(3600)),
        (None, None),
    ] {
        idp.behave();
        idp.misbehave(Fault::All(match &value {
            Some(value) => vec![says(Stage::RefreshResponse, value.clone())],
            None => Vec::new(),
        }));
        clock.advance(EXPIRED);
        passed += EXPIRED.as_secs();
        assert_eq!(told(&bff, &alice).await, "200", "{value:?}");
        let expected = expected.unwrap_or(LONGEST - passed);
        assert_eq!(ends_in(&bff, &alice).await, expected, "{value:?}");
    }
    assert_eq!(idp.refreshes(), 5);

    // The one that is there stays as it is where no other comes.
    idp.behave();
    idp.misbehave(says(Stage::RefreshResponse, json!(1800)));
    clock.advance(EXPIRED);
    assert_eq!(told(&bff, &alice).await, "200");
    idp.behave();
    idp.misbehave(Fault::Remove(Stage::RefreshResponse, "refresh_token"));
    clock.advance(EXPIRED);
    // The provider of the tests has rotated, and takes this one for spent the next time.
    assert_eq!(told(&bff, &alice).await, "200");
    assert_eq!(ends_in(&bff, &alice).await, 1800 - EXPIRED.as_secs());
}

/// DESIGN §8: an ID token that says when the session at the provider ends bounds ours, and not below a minute:
/// the provider's clock may not be ours.
#[tokio::test]
async fn a_session_ends_with_the_one_at_the_provider() {
    for (after, expected) in [(600, 600), (10, 60), (100_000, LONGEST)] {
        let clock = nine_o_clock();
        let (idp, upstream) = (Idp::start(&clock), Upstream::start());
        idp.misbehave(Fault::claim(
            "session_expiry",
            clock.now().unix_seconds() + after,
        ));
        let bff = start(&idp, &upstream);
        let alice = signed_in(&bff, "alice").await;
        assert_eq!(ends_in(&bff, &alice).await, expected, "{after}");
        clock.advance(Duration::from_secs(expected - 1));
        assert_eq!(told(&bff, &alice).await, "200", "{after}");
        clock.advance(Duration::from_secs(1));
        let over = "401 session_expired \"expired\"";
        assert_eq!(told(&bff, &alice).await, over, "{after}");
    }
}

/// What makes no sense is no end, and is told of once.
#[tokio::test]
async fn an_end_that_is_none_ends_nothing() {
    let nine = nine_o_clock().now().unix_seconds();
    let claim = |value: Value| Fault::claim("session_expiry", value);
    for (name, fault) in [
        ("a claim in the past", claim(json!(nine - 1))),
        ("a claim of now", claim(json!(nine))),
        ("a negative claim", claim(json!(-1))),
        ("a claim of text", claim(json!("soon"))),
        ("a claim beyond all", claim(json!(1e300))),
        ("a claim in milliseconds", claim(json!(nine * 1000))),
        (
            "a span that is negative",
            Fault::token("refresh_expires_in", -5),
        ),
        ("a span of text", Fault::token("refresh_expires_in", "soon")),
        (
            "a span beyond all",
            Fault::token("refresh_expires_in", 1e300),
        ),
        (
            "a moment that is over",
            Fault::token("refresh_token_expires_at", nine - 5),
        ),
    ] {
        let (idp, upstream) = (Idp::start(&nine_o_clock()), Upstream::start());
        idp.misbehave(fault);
        let bff = start(&idp, &upstream);
        for user in ["alice", "bob"] {
            let browser = signed_in(&bff, user).await;
            assert_eq!(ends_in(&bff, &browser).await, LONGEST, "{name}");
            assert_eq!(told(&bff, &browser).await, "200", "{name}");
        }
        assert_eq!(bff.logs().lines_with("provider.odd_end").len(), 1, "{name}");
    }
}
