//! The ID token: every fault that a provider, or somebody in its place, can put into one.

use std::time::Duration;

use bff::clock::{Clock as _, SystemRandomness};
use bff::dev::provider::endpoints::Endpoint;
use bff::dev::provider::tamper::Stage;
use bff::secret::random_base64url;
use serde_json::{Value, json};
use url::Url;

use crate::support::bff::Bff;
use crate::support::browser::Fetch;
use crate::support::clock::nine_o_clock;
use crate::support::faults::{Fault, KeySetFault, SAME_KID, SignatureFault};
use crate::support::idp::Idp;
use crate::support::journey::{SESSION_COOKIE, login_url, parameter, refusal};
use crate::support::upstream::Upstream;

/// A whole login while `fault` is active, in a product that has just started.
async fn check(idp: &Idp, name: &str, fault: Option<Fault>, expected: &str) {
    check_query(idp, name, "", fault, expected).await;
}

async fn check_query(idp: &Idp, name: &str, query: &str, fault: Option<Fault>, expected: &str) {
    if let Some(fault) = fault {
        idp.misbehave(fault);
    }
    let bff = Bff::with(idp, &Upstream::start())
        .set("provider.trusted_audiences", vec!["friend".to_owned()])
        .set("provider.id_token_algs", vec!["RS256".to_owned()])
        .start();
    let mut browser = bff.browser();
    let visit = browser
        .visit(&login_url(&format!("login_hint=alice&{query}")))
        .await;
    let reply = visit.reply_of("/bff/callback");
    assert_eq!(refusal(reply), expected, "{name}");
    assert_eq!(browser.login_cookies(), Vec::<String>::new(), "{name}");
    let signed_in = reply.status == 303;
    let has_cookie = browser.jar.cookie(SESSION_COOKIE).is_some();
    assert_eq!(has_cookie, signed_in, "{name}");
    let sub = browser.signed_in().await;
    assert_eq!(sub.is_some(), signed_in, "{name}: {sub:?}");
    drop(bff);
    idp.behave();
}

const REFUSED: &str = "400 login_failed";
const TAKEN: &str = "303 ";
/// Signed in, but not as strongly or as lately as was asked for.
const TOO_WEAK: &str = "403 step_up_failed";

/// D1 to D12, D14, D15, D17, C10: whatever is wrong with the ID token, nobody is signed in.
#[tokio::test]
async fn a_bad_id_token_signs_nobody_in() {
    let idp = Idp::start(&nine_o_clock());
    let now = idp.clock().now().unix_seconds();
    for (name, fault) in Fault::bad_id_tokens(now) {
        check(&idp, name, Some(fault), REFUSED).await;
    }
}

/// C8, C9, D5, D7, D8, D9, D12, D14, D15, D17: what is only odd signs people in.
#[tokio::test]
async fn an_odd_id_token_signs_people_in() {
    let idp = Idp::start(&nine_o_clock());
    for (name, fault) in Fault::odd_but_valid() {
        check(&idp, name, Some(fault), TAKEN).await;
    }
    let no_kid = Fault::Signature(SignatureFault::NoKid);
    check(&idp, "D14 no kid, two keys", Some(no_kid), TAKEN).await;
    let twin = Fault::Keys(KeySetFault::SymmetricTwin);
    check(&idp, "D3 an oct key beside ours", Some(twin), TAKEN).await;
}

/// D4: what the header brings along or points at is passed over.
#[tokio::test]
async fn keys_in_the_header_are_passed_over() {
    let idp = Idp::start(&nine_o_clock());
    for (name, value) in [
        ("jku", json!("https://evil.example/jwks")),
        ("x5u", json!("https://evil.example/chain")),
        ("x5c", json!(["MIIB"])),
        ("jwk", json!({"kty": "oct", "k": "AAAA"})),
    ] {
        let fault = Fault::Set(Stage::IdTokenHeader, name, value);
        check(&idp, name, Some(fault), TAKEN).await;
    }
}

/// D5: a token of another kind is no ID token.
#[tokio::test]
async fn a_token_of_another_kind_is_refused() {
    let idp = Idp::start(&nine_o_clock());
    for kind in [
        "at+jwt",
        "logout+jwt",
        "dpop+jwt",
        "oauth-authz-req+jwt",
        "client-authentication+jwt",
        "secevent+jwt",
        "application/at+jwt",
    ] {
        let fault = Fault::Set(Stage::IdTokenHeader, "typ", json!(kind));
        check(&idp, kind, Some(fault), REFUSED).await;
    }
}

/// D1, N4: the algorithms are those of the configuration, whatever the provider would sign with. The log
/// names the other one and the key: how one client's tokens are signed stands in no metadata.
#[tokio::test]
async fn the_configuration_names_the_algorithms() {
    for (signs, allowed, expected) in [
        ("RS256", vec!["RS256"], TAKEN),
        ("ES256", vec!["RS256"], REFUSED),
        ("PS256", vec!["RS256"], REFUSED),
        ("RS256", vec!["PS256", "ES256"], REFUSED),
        ("ES256", vec!["ES256"], TAKEN),
        ("PS256", vec!["ES256", "PS256"], TAKEN),
    ] {
        let idp = Idp::start(&nine_o_clock());
        idp.sign_with(signs);
        let allowed: Vec<String> = allowed.into_iter().map(str::to_owned).collect();
        let name = format!("{signs} of {allowed:?}");
        let bff = Bff::with(&idp, &Upstream::start())
            .set("provider.id_token_algs", allowed)
            .start();
        let mut browser = bff.browser();
        let visit = browser.visit(&login_url("login_hint=alice")).await;
        assert_eq!(refusal(visit.reply_of("/bff/callback")), expected, "{name}");
        let said = format!("it is signed with {signs}, which provider.id_token_algs does not list");
        let log = bff.logs().text();
        assert_eq!(log.contains(&said), expected == REFUSED, "{name}: {log}");
    }
}

/// D1: where none is configured, those that the provider offers and we know are taken, and no other. A
/// provider that signs with anything but RS256 signed nobody in.
#[tokio::test]
async fn the_provider_may_choose_among_our_algorithms() {
    for (signs, offered, expected) in [
        ("RS256", json!(["RS256", "ES256"]), TAKEN),
        ("ES256", json!(["RS256", "ES256"]), TAKEN),
        ("ES256", json!(["ES256"]), TAKEN),
        ("PS256", json!(["PS256", "HS256", "none"]), TAKEN),
        ("ES256", json!(["RS256"]), REFUSED),
        ("RS256", json!(["ES256"]), REFUSED),
        ("RS256", json!(null), TAKEN),
        ("ES256", json!(null), REFUSED),
    ] {
        let idp = Idp::start(&nine_o_clock());
        idp.sign_with(signs);
        let name = format!("{signs} of {offered}");
        let list = "id_token_signing_alg_values_supported";
        idp.misbehave(Fault::Set(Stage::Metadata, list, offered));
        let bff = Bff::with(&idp, &Upstream::start()).start();
        let mut browser = bff.browser();
        let visit = browser.visit(&login_url("login_hint=alice")).await;
        assert_eq!(refusal(visit.reply_of("/bff/callback")), expected, "{name}");
    }
}

/// D7, D8: others may share the audience if we trust them, and if we are who asked.
#[tokio::test]
async fn a_trusted_audience_may_stand_beside_us() {
    let idp = Idp::start(&nine_o_clock());
    let both = Fault::claim("aud", json!(["app", "friend"]));
    idp.misbehave(Fault::claim("azp", "app"));
    check(&idp, "with azp", Some(both.clone()), TAKEN).await;
    check(&idp, "without azp", Some(both.clone()), REFUSED).await;
    idp.misbehave(Fault::claim("azp", "friend"));
    check(&idp, "for the friend", Some(both), REFUSED).await;
    idp.misbehave(Fault::claim("azp", "app"));
    let friend = Fault::claim("aud", "friend");
    check(&idp, "the friend alone", Some(friend), REFUSED).await;
    let upper_case = Fault::claim("aud", "APP");
    check(&idp, "another case", Some(upper_case), REFUSED).await;
}

/// D9: two clocks may differ by a minute, to the second.
#[tokio::test]
async fn the_clocks_may_differ_by_a_minute() {
    let idp = Idp::start(&nine_o_clock());
    let now = idp.clock().now().unix_seconds();
    for (name, seconds, expected) in [
        ("exp", -59, TAKEN),
        ("exp", -60, REFUSED),
        ("iat", 60, TAKEN),
        ("iat", 61, REFUSED),
        ("nbf", 60, TAKEN),
        ("nbf", 61, REFUSED),
    ] {
        let fault = Fault::claim(name, now + seconds);
        check(&idp, &format!("{name} {seconds}"), Some(fault), expected).await;
    }
}

/// D9: a date that is no date is refused, and harms nothing.
#[tokio::test]
async fn a_date_that_is_none_is_refused() {
    let idp = Idp::start(&nine_o_clock());
    for name in ["exp", "iat", "nbf"] {
        for value in [
            json!(1e300),
            json!(-1e300),
            json!(u64::MAX),
            json!("1795251900"),
            json!([1_795_251_900]),
            json!({}),
            json!(true),
        ] {
            let case = format!("{name} {value}");
            check(&idp, &case, Some(Fault::claim(name, value)), REFUSED).await;
        }
    }
}

/// D10: the ID token of another login, good as it is, is refused here.
#[tokio::test]
async fn the_id_token_of_another_login_is_refused() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    bff.browser().sign_in("bob").await;
    let issued = idp.issued_secrets();
    let (_, of_bob) = issued.iter().find(|(kind, _)| *kind == "ID token").unwrap();
    idp.misbehave(Fault::token("id_token", of_bob.clone()));
    let mut browser = bff.browser();
    let visit = browser.visit(&login_url("login_hint=alice")).await;
    assert_eq!(refusal(visit.last()), REFUSED);
    assert_eq!(browser.signed_in().await, None);
}

/// D13: who asked for a recent sign-in gets one, or nothing.
#[tokio::test]
async fn a_sign_in_must_be_as_recent_as_asked() {
    let idp = Idp::start(&nine_o_clock());
    let now = idp.clock().now().unix_seconds();
    let auth_time = |seconds: i64| Some(Fault::claim("auth_time", now - seconds));
    let cases = [
        ("max_age=300", None, TAKEN),
        ("max_age=0", None, TAKEN),
        ("max_age=300", auth_time(360), TAKEN),
        ("max_age=300", auth_time(361), TOO_WEAK),
        ("max_age=0", auth_time(61), TOO_WEAK),
        ("max_age=300", auth_time(-3600), TOO_WEAK),
        ("max_age=300", Some(Fault::no_claim("auth_time")), TOO_WEAK),
        (
            "max_age=300",
            Some(Fault::claim("auth_time", "just now")),
            REFUSED,
        ),
        // Nobody asked.
        ("", auth_time(86_400), TAKEN),
        ("", Some(Fault::no_claim("auth_time")), TAKEN),
    ];
    for (query, fault, expected) in cases {
        let name = format!("{query} {fault:?}");
        check_query(&idp, &name, query, fault, expected).await;
    }
}

/// D13: the operator's own `max_age` counts where no link says one, and a link's does not lift it.
#[tokio::test]
async fn the_operator_may_ask_for_a_recent_sign_in() {
    let idp = Idp::start(&nine_o_clock());
    let now = idp.clock().now().unix_seconds();
    let bff = Bff::with(&idp, &Upstream::start())
        .set("provider.authorize_params.max_age", "300")
        .start();
    idp.misbehave(Fault::claim("auth_time", now - 3600));
    for query in ["login_hint=alice", "login_hint=alice&max_age=86400"] {
        let mut browser = bff.browser();
        let visit = browser.visit(&login_url(query)).await;
        assert_eq!(refusal(visit.last()), TOO_WEAK, "{query}");
    }
}

/// D15: keys that rotate are fetched again, once.
#[tokio::test]
async fn a_rotated_key_is_fetched() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    // The fetch of its own that the product makes at its start is not to be counted later.
    idp.asked_times(Endpoint::Jwks, 1).await;
    bff.browser().sign_in("alice").await;
    let fetched = idp.count(Endpoint::Jwks);
    // Seconds after the first fetch, twice in a row: a plain cool-down would fail here (D16).
    for rotation in 1..=2 {
        idp.core.rotate_keys().unwrap();
        bff.browser().sign_in("alice").await;
        assert_eq!(idp.count(Endpoint::Jwks), fetched + rotation);
    }
    bff.browser().sign_in("alice").await;
    assert_eq!(idp.count(Endpoint::Jwks), fetched + 2);
}

/// D15: however many logins miss the same key, one fetch brings it.
#[tokio::test]
async fn a_missing_key_is_fetched_once_for_all() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    // The fetch of its own that the product makes at its start is not to be counted later.
    idp.asked_times(Endpoint::Jwks, 1).await;
    bff.browser().sign_in("alice").await;
    idp.core.rotate_keys().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut browser = bff.browser();
        let callback = browser.callback_url("login_hint=alice").await;
        waiting.push((browser, callback));
    }
    let fetched = idp.count(Endpoint::Jwks);
    let exchanged = idp.count(Endpoint::Token);
    let gate = idp.hold(Endpoint::Jwks);
    let logins: Vec<_> = waiting
        .into_iter()
        .map(|(mut browser, callback)| {
            tokio::spawn(async move { browser.open(callback.as_str()).await.status })
        })
        .collect();
    idp.asked_times(Endpoint::Token, exchanged + 20).await;
    idp.asked_times(Endpoint::Jwks, fetched + 1).await;
    drop(gate);
    for login in logins {
        assert_eq!(login.await.unwrap(), 303);
    }
    assert_eq!(idp.count(Endpoint::Jwks), fetched + 1);
}

/// D15, D16: three rotations within a minute, each met by a login, and a fourth by a logout token: all
/// are followed. The third failed its login, with 400.
#[tokio::test]
async fn three_rotations_within_a_minute_are_followed() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut alice = bff.browser();
    alice.sign_in("alice").await;
    for _ in 0..3 {
        idp.core.rotate_keys().unwrap();
        bff.browser().sign_in("bob").await;
    }
    idp.core.rotate_keys().unwrap();
    let replies = idp.sign_out("alice", bff.public_addr).await;
    assert_eq!(replies[0].status, 200, "{}", replies[0].text());
    assert_eq!(alice.signed_in().await, None);
}

/// D15: a new key under the `kid` of the old one: the signature brings it to light, and a logout token
/// by it is taken. Logins failed for ten minutes.
#[tokio::test]
async fn a_new_key_under_an_old_kid_is_fetched() {
    for by in ["login", "logout"] {
        let idp = Idp::start(&nine_o_clock());
        idp.misbehave(Fault::Keys(KeySetFault::SameKids));
        idp.misbehave(Fault::Set(Stage::IdTokenHeader, "kid", json!(SAME_KID)));
        idp.misbehave(Fault::Set(Stage::LogoutTokenHeader, "kid", json!(SAME_KID)));
        let bff = Bff::with(&idp, &Upstream::start()).start();
        let mut alice = bff.browser();
        alice.sign_in("alice").await;
        idp.core.rotate_keys().unwrap();
        if by == "login" {
            bff.browser().sign_in("bob").await;
        } else {
            let replies = idp.sign_out("alice", bff.public_addr).await;
            assert_eq!(replies[0].status, 200, "{}", replies[0].text());
            assert_eq!(alice.signed_in().await, None);
        }
    }
}

/// D16: a login that would need keys fetched too often is 503: later it may go well. It was 400.
#[tokio::test]
async fn a_login_that_is_throttled_heals() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    // The fetch of its own that the product makes at its start leaves the burst whole.
    idp.asked_times(Endpoint::Jwks, 1).await;
    bff.browser().sign_in("alice").await;
    for attempt in 0..5 {
        let kid = json!(format!("made-up-{attempt}"));
        idp.misbehave_once(Fault::Set(Stage::IdTokenHeader, "kid", kid));
        let visit = bff.browser().visit(&login_url("login_hint=bob")).await;
        let expected = if attempt < 4 {
            REFUSED
        } else {
            "503 provider_unavailable"
        };
        assert_eq!(refusal(visit.last()), expected, "{attempt}");
    }
    idp.core.rotate_keys().unwrap();
    let visit = bff.browser().visit(&login_url("login_hint=bob")).await;
    assert_eq!(refusal(visit.last()), "503 provider_unavailable");
    bff.clock().advance(Duration::from_secs(30));
    bff.browser().sign_in("bob").await;
}

/// D16: tokens with made-up kids, however many, cost the provider a burst of fetches, and one
/// more each 30 s; nobody waits.
#[tokio::test]
async fn made_up_kids_cause_few_fetches() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    // The fetch of its own that the product makes at its start is not to be counted later.
    idp.asked_times(Endpoint::Jwks, 1).await;
    bff.browser().sign_in("alice").await;
    let fetched = idp.count(Endpoint::Jwks);
    let made_up = async || {
        idp.behave();
        let kid = json!(random_base64url::<16>(&SystemRandomness));
        idp.misbehave(Fault::Set(Stage::IdTokenHeader, "kid", kid));
        let mut browser = bff.browser();
        let callback = browser.callback_url("login_hint=alice").await;
        let reply = browser.open(callback.as_str()).await;
        reply.status
    };
    for attempt in 0..300 {
        let expected = if attempt < 4 { 400 } else { 503 };
        assert_eq!(made_up().await, expected, "{attempt}");
    }
    assert_eq!(idp.count(Endpoint::Jwks), fetched + 4, "the burst");
    bff.clock().advance(Duration::from_secs(30));
    for _ in 0..20 {
        made_up().await;
    }
    assert_eq!(idp.count(Endpoint::Jwks), fetched + 5, "one refill");
    // Whoever has an honest token is signed in all the while.
    idp.behave();
    bff.browser().sign_in("alice").await;
}

/// D17: a key that is no longer published stops working with the next fetch.
#[tokio::test]
async fn a_removed_key_stops_working() {
    let idp = Idp::start(&nine_o_clock());
    let bff = Bff::with(&idp, &Upstream::start()).start();
    bff.browser().sign_in("alice").await;
    // The set is empty from now on, which nobody knows yet.
    idp.misbehave(Fault::Keys(KeySetFault::Empty));
    bff.browser().sign_in("alice").await;
    idp.misbehave_once(Fault::Set(Stage::IdTokenHeader, "kid", json!("unknown")));
    for name in ["the one that brings the new set", "the one of the old key"] {
        let visit = bff.browser().visit(&login_url("login_hint=alice")).await;
        assert_eq!(refusal(visit.last()), REFUSED, "{name}");
    }
}

/// D17: a fetch that fails leaves the keys that were there.
#[tokio::test]
async fn keys_outlive_a_failed_fetch() {
    for fault in [
        Fault::unavailable(Endpoint::Jwks),
        Fault::Answer(Endpoint::Jwks, 200, "application/json", b"[]".to_vec()),
        Fault::Answer(Endpoint::Jwks, 200, "text/html", b"<p>".to_vec()),
    ] {
        let idp = Idp::start(&nine_o_clock());
        let bff = Bff::with(&idp, &Upstream::start()).start();
        // The fetch of its own that the product makes at its start is not to be counted later.
        idp.asked_times(Endpoint::Jwks, 1).await;
        bff.browser().sign_in("alice").await;
        let fetched = idp.count(Endpoint::Jwks);
        idp.misbehave(fault.clone());
        idp.misbehave_once(Fault::Set(Stage::IdTokenHeader, "kid", json!("unknown")));
        let visit = bff.browser().visit(&login_url("login_hint=alice")).await;
        assert!(visit.last().status >= 400, "{fault:?}");
        assert_eq!(idp.count(Endpoint::Jwks), fetched + 1, "{fault:?}");
        bff.browser().sign_in("alice").await;
    }
}

/// D17: without keys nobody can be judged: the provider is away, not the token wrong.
#[tokio::test]
async fn without_any_keys_the_provider_is_away() {
    let idp = Idp::start(&nine_o_clock());
    idp.misbehave(Fault::unavailable(Endpoint::Jwks));
    let bff = Bff::with(&idp, &Upstream::start()).start();
    let mut browser = bff.browser();
    let visit = browser.visit(&login_url("login_hint=alice")).await;
    assert_eq!(refusal(visit.last()), "503 provider_unavailable");
    idp.behave();
    browser.sign_in("alice").await;
}

/// D18: a refreshed ID token of another user or another issuer ends the session, also where its
/// signature says nothing; the tokens that came with it are revoked, and none of them was used.
#[tokio::test]
async fn a_refresh_about_somebody_else_ends_the_session() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream)
        .set("session.idle_timeout", "8h")
        .start();
    for (name, fault) in Fault::refreshed_id_tokens_of_another() {
        let mut browser = bff.browser();
        browser.sign_in("alice").await;
        let (refreshed, called) = (idp.refreshes(), upstream.seen().len());
        let revoked = idp.count(Endpoint::Revocation);
        bff.clock().advance(Duration::from_secs(295));
        idp.misbehave(fault);
        let old = browser.jar.clone();
        let reply = browser.fetch(Fetch::get("/api/orders").csrf()).await;
        idp.behave();
        assert_eq!(refusal(&reply), "401 session_expired", "{name}");
        assert_eq!(reply.json()["ended"], "refresh_refused", "{name}");
        assert!(browser.jar.cookie(SESSION_COOKIE).is_none(), "{name}");
        assert_eq!(idp.refreshes(), refreshed + 1, "{name}");
        assert_eq!(upstream.seen().len(), called, "{name}: a token was used");
        idp.asked_times(Endpoint::Revocation, revoked + 2).await;
        let asked = idp.asked(Endpoint::Revocation).split_off(revoked);
        let tokens: Vec<_> = asked
            .iter()
            .filter_map(|asked| asked.form.value("token"))
            .collect();
        for kind in ["refresh token", "access token"] {
            let mut issued = idp.issued_secrets().into_iter().rev();
            let (_, newest) = issued.find(|(known, _)| *known == kind).unwrap();
            assert!(tokens.contains(&newest.as_str()), "{name}: {kind}");
        }
        browser.jar = old;
        let reply = browser.fetch(Fetch::get("/api/orders").csrf()).await;
        assert_eq!(refusal(&reply), "401 session_expired", "{name}: replayed");
        assert_eq!(idp.refreshes(), refreshed + 1, "{name}: tried again");
    }
}

/// D18: any other doubt costs the ID token alone: the new access token is used, the session goes on,
/// and the ID token of the login stays for the logout. A provider whose clock is fast, or that moves
/// `auth_time`, signed everybody out for good.
#[tokio::test]
async fn a_refreshed_id_token_in_doubt_costs_nobody_the_session() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream)
        .set("session.idle_timeout", "8h")
        .start();
    // The caretaker's own fetch of the keys is over before any is made to fail.
    idp.asked_times(Endpoint::Jwks, 1).await;
    let mut cases = Fault::doubtful_refreshed_id_tokens(idp.clock().now().unix_seconds());
    let whole = |value| Fault::Set(Stage::RefreshResponse, "id_token", value);
    cases.extend([
        ("an empty ID token", whole(json!(""))),
        ("no JWT", whole(json!("garbage"))),
        ("a JWT of garbage", whole(json!("a.b.c"))),
        ("a number", whole(json!(7))),
    ]);
    for (name, fault) in cases {
        let mut browser = bff.browser();
        browser.sign_in("alice").await;
        let issued = |kind| {
            let mut issued = idp.issued_secrets().into_iter().rev();
            issued.find(|(known, _)| *known == kind).unwrap().1
        };
        let first = issued("ID token");
        let refreshed = idp.refreshes();
        bff.clock().advance(Duration::from_secs(301));
        idp.misbehave(fault);
        let reply = browser.fetch(Fetch::get("/api/orders").csrf()).await;
        idp.behave();
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        assert_eq!(idp.refreshes(), refreshed + 1, "{name}");
        let newest = issued("access token");
        assert_eq!(upstream.last().bearer(), Some(newest.as_str()), "{name}");
        let session = browser.session().await;
        assert_eq!(session["authenticated"], true, "{name}");
        let logout = session["logout_url"].as_str().unwrap();
        let visit = browser.click(logout).await;
        let onward = visit.replies[0].header("location").unwrap();
        let onward = Url::parse(onward).unwrap();
        assert_eq!(parameter(&onward, "id_token_hint"), Some(first), "{name}");
    }
}

/// D18: one that leaves unsaid what may be, or comes with none, goes on.
#[tokio::test]
async fn a_refresh_may_leave_things_unsaid() {
    let idp = Idp::start(&nine_o_clock());
    let upstream = Upstream::start();
    let bff = Bff::with(&idp, &upstream)
        .set("session.idle_timeout", "8h")
        .start();
    let stage = Stage::RefreshedIdTokenClaims;
    for fault in [
        Fault::Remove(stage, "auth_time"),
        Fault::Remove(stage, "nonce"),
        Fault::Remove(stage, "sid"),
        Fault::Set(stage, "name", Value::from("Alice Anders")),
        Fault::Remove(Stage::RefreshResponse, "id_token"),
        Fault::Remove(Stage::RefreshResponse, "refresh_token"),
    ] {
        let mut browser = bff.browser();
        browser.sign_in("alice").await;
        let refreshed = idp.refreshes();
        bff.clock().advance(Duration::from_secs(295));
        idp.misbehave(fault.clone());
        let reply = browser.fetch(Fetch::get("/api/orders").csrf()).await;
        idp.behave();
        assert_eq!(reply.status, 200, "{fault:?}: {}", reply.text());
        assert_eq!(idp.refreshes(), refreshed + 1, "{fault:?}");
        assert_eq!(browser.signed_in().await.as_deref(), Some("alice"));
    }
}
